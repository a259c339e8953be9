"""The book: settings, notebooks as they are committed, and pages as they were built."""

import itertools
import re
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
HTML = BOOK / "_build" / "html"
README = (ROOT / "README.md").read_text()


def toc():
    """Names of all pages in the table of contents."""
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in contents["parts"] for chapter in part["chapters"]]
    return [contents["root"], *chapters]


CHAPTERS = [name for name in toc() if not (BOOK / f"{name}.md").exists()]


def read(name):
    return nbformat.read(BOOK / f"{name}.ipynb", as_version=4)


def source(name):
    """The text of a page: of a notebook its markdown cells."""
    path = BOOK / f"{name}.md"
    if path.exists():
        return path.read_text()
    return "\n\n".join(cell.source for cell in read(name).cells if cell.cell_type == "markdown")


def figure_cells(notebook):
    return [cell for cell in notebook.cells if "figure" in cell.metadata.get("mystnb", {})]


def test_settings_in_the_book_are_links_to_the_roots():
    for name in ("_config.yml", "_toc.yml"):
        assert (BOOK / name).is_symlink(), f"book/{name} must be a link to ../{name}"
        assert (BOOK / name).resolve() == ROOT / name


def test_everything_jrlib_needs_is_pinned():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [line.split("#")[0].strip() for line in lines]
    requirements = [line for line in requirements if line]
    assert requirements[-1] == "-e ."
    assert all(re.fullmatch(r"[\w-]+==[\w.]+", line) for line in requirements[:-1])
    pinned = {line.split("==")[0] for line in requirements[:-1]}
    assert set(metadata["project"]["dependencies"]) <= pinned


def test_binder_installs_the_same_versions():
    """Binder runs `pip install -r binder/requirements.txt` in the repository's root."""
    folder = ROOT / "binder"
    lines = (folder / "requirements.txt").read_text().splitlines()
    options = dict(line.split() for line in lines if not line.startswith("#"))
    assert (folder / options.pop("-r")).resolve() == ROOT / "requirements.txt"
    assert list(options) == ["--extra-index-url"], "all packages are in the root's requirements.txt"
    python = (folder / "runtime.txt").read_text().strip()
    workflow = yaml.safe_load((ROOT / ".github/workflows/book.yml").read_text())
    (tested,) = {
        step["with"]["python-version"]
        for job in workflow["jobs"].values()
        for step in job["steps"]
        if "python-version" in step.get("with", {})
    }
    assert python == f"python-{tested}"
    (opened,) = re.findall(r"mybinder\.org\S*urlpath=lab/tree/(\S+?)[`)\s]", README)
    assert (ROOT / opened).exists()


def test_the_readmes_code_runs(monkeypatch):
    monkeypatch.setattr("matplotlib.pyplot.show", lambda *args, **kwargs: None)
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    names = {}
    exec(code, names)
    signal, back = names["erp"][0], names["source"]
    assert np.corrcoef(signal, back)[0, 1] > 0.99
    assert 8.0 < np.sum(np.diff(np.sign(names["alpha"] - names["alpha"].mean())) > 0) / 2 < 14.0


@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook_is_valid_and_without_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in notebook.cells:
        if cell.cell_type == "code":
            clear = f"jupyter nbconvert --clear-output --inplace book/{name}.ipynb"
            assert not cell.outputs, f"outputs are not committed: {clear}"
            assert cell.execution_count is None, clear


@pytest.mark.parametrize("name", CHAPTERS)
def test_notebook_begins_with_its_title_and_has_the_parameters(name):
    notebook = read(name)
    assert notebook.cells[0].cell_type == "markdown"
    assert re.match(r"# \S", notebook.cells[0].source)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    parameters = papermill.inspect_notebook(str(BOOK / f"{name}.ipynb"))
    assert {"tier", "seed", "newer_than"} <= parameters.keys()
    assert parameters["tier"]["default"] == '"paper"'
    assert parameters["newer_than"]["default"] == '""'


@pytest.mark.parametrize("name", CHAPTERS)
def test_chapter_opens_with_its_question_and_an_answer_in_numbers(name):
    opening = read(name).cells[0].source
    question, answer = re.search(r"\*\*([^*]+)\*\*(.*?)(\n\n|$)", opening, re.DOTALL).groups()[:2]
    assert question.endswith("?")
    assert "{glue:text}" in answer


@pytest.mark.parametrize("name", CHAPTERS)
def test_code_is_introduced_and_folded(name):
    cells = read(name).cells
    for before, cell in itertools.pairwise(cells):
        # A cell that only picks out numbers for the text is not shown, and has no place of its own.
        if cell.cell_type == "code" and "remove-input" not in cell.metadata.get("tags", []):
            last = before.source.strip().split("\n")[-1]
            assert before.cell_type == "markdown", f"no sentence above {cell.id}"
            assert not last.startswith(("#", "|", ":::")), f"no sentence above {cell.id}"
            tags = cell.metadata.get("tags", [])
            short = len(cell.source.splitlines()) <= 6
            assert {"hide-input", "parameters"} & set(tags) or short, f"{cell.id} is not folded"


@pytest.mark.parametrize("name", CHAPTERS)
def test_cells_that_are_not_shown_only_pick_out_numbers(name):
    for cell in read(name).cells:
        if "remove-input" in cell.metadata.get("tags", []):
            assert "glue(" in cell.source, cell.id
            assert "figures." not in cell.source, f"{cell.id} draws: its code should be shown"


def test_formulas_have_numbers_that_are_referred_to():
    pages = {name: source(name) for name in toc()}
    text = "\n".join(pages.values())
    labels = re.findall(r"^\$\$ \((eq-[a-z-]+)\)$|^:label: (\S+)$", text, re.MULTILINE)
    labels = [one or other for one, other in labels]
    plain, directives = (len(re.findall(mark, text, re.M)) for mark in (r"^\$\$", r"^```\{math\}"))
    assert plain // 2 + directives == len(labels)
    assert len(labels) == len(set(labels))
    assert set(re.findall(r"\{eq\}`([^`]+)`", text)) == set(labels)


def test_terms_of_the_glossary_are_linked_once_from_a_page():
    # Sphinx warns of links to terms that are not there.
    glossary = re.findall(r":::\{glossary\}\n(.*?)\n:::", source("glossary"), re.DOTALL)
    terms = [line for part in glossary for line in part.splitlines() if re.match(r"\S", line)]
    assert len(terms) == len(set(terms))
    assert not set(terms) & set(toc()), "a link to the page would be ambiguous"
    linked = set()
    for name in [name for name in toc() if name != "glossary"]:
        links = re.findall(r"\{term\}`(?:[^`<]*<)?([^`>]+)>?`", source(name))
        assert len(links) == len(set(links)), f"{name} links a term twice: {sorted(links)}"
        linked |= set(links)
    assert not set(terms) - linked, "terms that no page links to"


def test_references_are_cited_and_have_a_doi():
    entries = (BOOK / "references.bib").read_text().split("\n@")
    cited = re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", "\n".join(map(source, toc())))
    keys = [re.search(r"\{([^,]+),", entry)[1] for entry in entries]
    assert len(keys) == len(set(keys))
    assert set(keys) == {key for group in cited for key in group.split(",")}
    for key, entry in zip(keys, entries, strict=True):
        assert re.search(r"\bdoi +=|without a DOI", entry), f"{key}: no DOI, and no reason"


def test_the_front_page_names_every_page():
    assert set(re.findall(r"^\| \[\]\((\w+)\)", source("intro"), re.MULTILINE)) == {
        name for name in toc() if name not in ("intro", "references")
    }


def test_all_chapters_show_the_same_tier_and_seed():
    shown = [papermill.inspect_notebook(str(BOOK / f"{name}.ipynb")) for name in CHAPTERS]
    for name in ("tier", "seed"):
        assert len({parameters[name]["default"] for parameters in shown}) == 1, name


@pytest.mark.parametrize("name", CHAPTERS)
def test_figures_are_declared_and_described(name):
    notebook = read(name)
    declared = notebook.metadata["makes"]
    assert len(declared) == len(set(declared))
    assert all(re.fullmatch(r"(fig|tab)-[a-z0-9-]+", item) for item in declared)
    figures = figure_cells(notebook)
    names = [cell.metadata.mystnb.figure.name for cell in figures]
    assert sorted(names) == sorted(item for item in declared if item.startswith("fig-"))
    for cell in figures:
        figure, image = cell.metadata.mystnb.figure, cell.metadata.mystnb.image
        assert len(figure.caption) >= 40, f"{figure.name}: the caption says too little"
        assert len(image.alt) >= 40, f"{figure.name}: the alternative text says too little"


def test_names_of_figures_and_tables_are_unique_in_the_book():
    names = [item for name in CHAPTERS for item in read(name).metadata["makes"]]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def pages(built_book):
    """The built pages by file name, parsed."""
    files = sorted(built_book.glob("*.html"))
    return {file.name: BeautifulSoup(file.read_text(), "html.parser") for file in files}


def content(page):
    return page.find("article") or page


def test_every_page_of_the_contents_was_built(pages):
    assert {f"{name}.html" for name in toc()} <= pages.keys()


def test_pages_load_nothing_from_elsewhere(pages):
    for name, page in pages.items():
        sources = [tag["src"] for tag in page.find_all(src=True)]
        sources += [tag["href"] for tag in page.find_all("link", href=True)]
        for address in sources:
            parts = urlsplit(address)
            if parts.scheme == "data":
                continue
            assert not parts.scheme, f"{name} loads {address}"
            assert not parts.netloc, f"{name} loads {address}"
            assert (HTML / unquote(parts.path)).resolve().exists(), f"{name}: no {address}"
        for script in page.find_all(["script", "style"]):
            assert not re.search(r"https?://", script.get_text()), f"{name}: {script}"


def test_style_sheets_load_nothing_from_elsewhere(pages):
    for file in HTML.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", file.read_text()), file


def test_internal_links_lead_somewhere(pages):
    anchors = {
        name: {tag["id"] for tag in page.find_all(id=True)}
        | {tag["name"] for tag in page.find_all("a", attrs={"name": True})}
        for name, page in pages.items()
    }
    for name, page in pages.items():
        for link in page.find_all("a", href=True):
            parts = urlsplit(link["href"])
            if parts.scheme or parts.netloc or link["href"] == "#":
                continue
            target = unquote(parts.path) or name
            assert (HTML / target).exists(), f"{name} links to {link['href']}"
            if parts.fragment and target in anchors:
                assert unquote(parts.fragment) in anchors[target], f"{name}: {link['href']}"


def test_images_are_described(pages):
    for name, page in pages.items():
        for image in page.find_all("img"):
            alt = image.get("alt", "").strip()
            assert alt, f"{name}: {image['src']} has no alternative text"
            assert not re.search(r"\.(svg|png|jpe?g|gif)$|^_images", alt), f"{name}: {alt}"


def test_figures_have_captions(pages):
    for name, page in pages.items():
        for figure in page.find_all("figure"):
            caption = figure.find("figcaption")
            assert caption, f"{name}: {figure.get('id')} has no caption"
            assert len(caption.get_text().strip()) >= 40, f"{name}: {figure.get('id')}"


def test_data_of_figures_and_tables_can_be_downloaded(pages):
    for page in pages.values():
        for shown in page.select("figure[id^=fig-], table[id^=tab-]"):
            link = shown.find_parent(class_="cell_output").select_one(".data-link a[download]")
            assert link, f"{shown['id']} has no data to download"
            file = HTML / unquote(link["href"])
            assert file.name == f"{shown['id']}.csv"
            data = pd.read_csv(file)
            assert len(data), file.name
            assert not any(str(name).startswith("Unnamed") for name in data), file.name
            if shown.name == "figure":
                numbers = data.select_dtypes("number")
                assert numbers.notna().any(axis=1).all(), f"{file.name}: a row without a number"
                words = data.select_dtypes(exclude="number")
                assert words.notna().all(axis=None), f"{file.name}: a row without a name"
                # Without noise the signal-to-noise ratio is infinite.
                finite = numbers.drop(columns="snr_db", errors="ignore")
                assert not np.isinf(finite).any(axis=None), file.name


@pytest.mark.parametrize("name", CHAPTERS)
def test_page_shows_what_the_chapter_declares(pages, name):
    article = content(pages[f"{name}.html"])
    for item in read(name).metadata["makes"]:
        shown = article.find(id=item)
        assert shown, f"{name}.html does not show {item}"
        assert shown.find("img" if item.startswith("fig-") else "caption"), item


def test_pages_show_no_errors(pages):
    for name, page in pages.items():
        text = content(page).get_text()
        assert "Traceback (most recent call last)" not in text, name
        assert not page.select(".output.traceback, .problematic, .system-message"), name


@pytest.mark.parametrize("name", CHAPTERS)
def test_numbers_in_the_prose_were_filled_in(pages, name):
    notebook = read(name)
    prose = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    prose += [cell.metadata.mystnb.figure.caption for cell in figure_cells(notebook)]
    expected = sum(len(re.findall(r"\{glue:text\}`", text)) for text in prose)
    numbers = content(pages[f"{name}.html"]).select("span.pasted-text")
    assert len(numbers) == expected
    assert all(re.search(r"\w", number.get_text()) for number in numbers)
    assert not any(re.search(r"^nan$|^None$|\bnp\.", number.get_text()) for number in numbers)


@pytest.mark.parametrize("name", CHAPTERS)
def test_page_offers_its_notebook_with_outputs(pages, name):
    links = [link["href"] for link in pages[f"{name}.html"].find_all("a", href=True)]
    assert f"notebooks/{name}.ipynb" in links
    offered = nbformat.read(HTML / "notebooks" / f"{name}.ipynb", as_version=4)
    nbformat.validate(offered)
    assert [cell.source for cell in offered.cells] == [cell.source for cell in read(name).cells]
    outputs = [o for cell in offered.cells for o in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    shown = [cell for cell in figure_cells(offered) if cell.outputs]
    assert len(shown) == len(figure_cells(read(name)))
    assert any("text/html" in output.get("data", {}) for output in outputs)


def test_no_line_begins_with_the_punctuation_after_a_formula(pages):
    formulas = [math for page in pages.values() for math in page.select("article span.math")]
    kept = 0
    for math in formulas:
        followed = re.match(r"[.,;:!?)\]’”%]", str(math.next_sibling or ""))
        together = math.parent.get("class") == ["together"]
        assert together == bool(followed), math.parent
        kept += together
    assert len(formulas) > kept > 50


@pytest.mark.parametrize("name", CHAPTERS)
def test_formulas_in_tables_are_typeset(pages, name):
    page = pages[f"{name}.html"]
    if any("$" in table.get_text() for table in content(page).select(".text_html")):
        scripts = [script["src"] for script in page.find_all("script", src=True)]
        assert any("mathjax" in script for script in scripts), "MathJax comes with an equation"
