"""book/chapters.py, on small notebooks that do what a run must notice."""

import importlib.util
import json
import threading
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

SCRIPT = Path(__file__).resolve().parents[2] / "book" / "chapters.py"
SHOW = "from IPython.display import display\ndisplay({data}, raw=True);"
IMAGE = {"image/svg+xml": "<svg xmlns='http://www.w3.org/2000/svg'/>"}
MARKUP = {"text/html": '<table id="tab-one"></table>'}
CSV = {"text/csv": "x\n1\n"}
FIGURE, TABLE = SHOW.format(data=IMAGE | CSV), SHOW.format(data=MARKUP | CSV)


@pytest.fixture(scope="module")
def chapters():
    spec = importlib.util.spec_from_file_location("chapters", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def book(tmp_path):
    """An empty book; `write(book, name, cells, makes)` adds chapters to it."""
    folder = tmp_path / "book"
    folder.mkdir()
    return folder


def write(book, name, *cells, makes=(), parameters='tier = "fast"\nseed = 1\nnewer_than = ""'):
    cells = [
        new_markdown_cell(f"# {name}"),
        new_code_cell(parameters, metadata={"tags": ["parameters"]}),
        *cells,
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel, "makes": list(makes)})
    nbformat.write(notebook, book / f"{name}.ipynb")
    names = sorted(path.stem for path in book.glob("*.ipynb"))
    lines = ["format: jb-book", "root: intro", "chapters:", *(f"- file: {n}" for n in names)]
    (book / "_toc.yml").write_text("\n".join(lines) + "\n")


def figure_cell(name):
    return new_code_cell(FIGURE, metadata={"mystnb": {"figure": {"name": name}}})


def started(book):
    path = book / "_build" / "chapters" / "smoke" / "started"
    return list(json.loads(path.read_text()).values()) if path.exists() else []


def executed(book, name):
    return nbformat.read(book / "_build" / "chapters" / "smoke" / f"{name}.ipynb", as_version=4)


def test_a_chapter_that_makes_what_it_declares_passes(chapters, book, capsys):
    figure = figure_cell("fig-one")
    figure.source += "\nfrom myst_nb import glue\nglue('number', 3, display=False)"
    write(book, "good", figure, new_code_cell(TABLE), makes=["fig-one", "tab-one"])
    assert chapters.run(book, "smoke", parameters={"seed": 7})
    assert "ok" in capsys.readouterr().out
    injected = executed(book, "good").cells[2].source
    assert 'tier = "smoke"' in injected
    assert "seed = 7" in injected
    assert 'newer_than = "20' in injected
    assert not started(book)


def test_every_difference_from_what_is_declared_is_named(chapters, book, capsys):
    cells = [figure_cell("fig-extra"), new_code_cell(FIGURE), new_code_cell(TABLE)]
    cells.append(new_code_cell(metadata={"mystnb": {"figure": {"name": "fig-missing"}}}))
    write(book, "bad", *cells, makes=["fig-missing", "tab-missing"])
    assert not chapters.run(book, "smoke")
    out = capsys.readouterr().out
    for problem in (
        "fig-missing is declared, but not made",
        "tab-missing is declared, but not made",
        "fig-extra is made, but not declared",
        "tab-one is made, but not declared",
        "cell 4 shows an image that has no figure name",
    ):
        assert f"bad: {problem}" in out


def test_figures_and_tables_have_data_beside_them(chapters, book, capsys):
    figure = figure_cell("fig-one")
    figure.source = SHOW.format(data=IMAGE)
    table = new_code_cell(SHOW.format(data=MARKUP))
    write(book, "bad", figure, table, makes=["fig-one", "tab-one"])
    assert not chapters.run(book, "smoke")
    out = capsys.readouterr().out
    assert "bad: fig-one has no data beside it" in out
    assert "bad: tab-one has no data beside it" in out


def test_a_figure_must_be_all_that_its_cell_shows(chapters, book, capsys):
    cell = figure_cell("fig-one")
    cell.source += "\n'and this'"
    write(book, "bad", cell, makes=["fig-one"])
    assert not chapters.run(book, "smoke")
    assert (
        "bad: cell 3 shows more than fig-one; end its last line with ;" in capsys.readouterr().out
    )


def test_a_cell_that_raises_fails_its_chapter_and_the_others_run(chapters, book, capsys):
    write(book, "a", new_code_cell("1 / 0"))
    write(book, "b", new_code_cell("import warnings\nwarnings.warn('look here')"))
    assert not chapters.run(book, "smoke")
    out = capsys.readouterr().out
    assert "a: cell 3 raised ZeroDivisionError" in out
    assert "b " in out
    assert "UserWarning: look here" in out


def test_a_run_that_was_stopped_goes_on_with_the_same_start(chapters, book, monkeypatch):
    write(book, "a", makes=[])
    write(book, "b", makes=[])
    seen = []

    def stop_in_b(notebook, executed, parameters):
        seen.append(parameters["newer_than"])
        if notebook.stem == "b":
            raise KeyboardInterrupt
        return [], []

    with monkeypatch.context() as patch:
        patch.setattr(chapters, "run_chapter", stop_in_b)
        with pytest.raises(KeyboardInterrupt):
            chapters.run(book, "smoke")
        assert started(book) == seen[:1]
        patch.setattr(chapters, "run_chapter", lambda *_: (["broken"], []))
        assert not chapters.run(book, "smoke", ["a"])  # another request, with its own start
        assert len(started(book)) == 2

        def note(notebook, executed, parameters):
            seen.append(parameters["newer_than"])
            return [], []

        patch.setattr(chapters, "run_chapter", note)
        assert chapters.run(book, "smoke")
        assert len(seen) == 4
        assert set(seen) == {seen[0]}
        assert len(started(book)) == 1
        assert chapters.run(book, "smoke")  # a run after a complete one begins anew
        assert seen[-1] > seen[0]


def test_stored_results_are_kept_on_request(chapters, book, monkeypatch):
    write(book, "a")
    given = []
    monkeypatch.setattr(chapters, "run_chapter", lambda *a: (given.append(a[2]), ([], []))[1])
    assert chapters.run(book, "smoke", stored=True)
    assert given[0]["newer_than"] == ""


def test_chapters_run_side_by_side_after_the_experiments_that_they_share(
    chapters, book, monkeypatch
):
    for name in ("a", "b"):
        write(book, name)
    meet, seen = threading.Barrier(2, timeout=60.0), []

    def run_chapter(notebook, executed, parameters):
        meet.wait()  # for the other one
        seen.append(parameters["newer_than"])
        return [], []

    monkeypatch.setattr(chapters, "run_chapter", run_chapter)
    monkeypatch.setattr(chapters, "compute", lambda *given, **more: seen.append((*given, more)))
    assert chapters.run(book, "smoke", parameters={"seed": 7}, experiments=("npe",), jobs=2)
    (experiments, tier, more), *others = seen
    assert (experiments, tier, more["seed"]) == (("npe",), "smoke", 7)
    assert others == [more["newer_than"]] * 2
    assert more["newer_than"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tier": "huge"}, r"tier: got 'huge', expected one of smoke, fast, paper"),
        ({"tier": "smoke", "chapters": ["b"]}, r"chapter: got 'b', expected one of a"),
        ({"tier": "smoke", "parameters": {"sead": 1}}, r"a\.ipynb has none called sead"),
    ],
)
def test_bad_requests_stop_before_anything_runs(chapters, book, arguments, message):
    write(book, "a")
    with pytest.raises(ValueError, match=message):
        chapters.run(book, **arguments)
    assert not list(book.rglob("_build/**/*.ipynb"))


def test_a_chapter_without_the_parameters_is_refused(chapters, book):
    write(book, "a", parameters="seed = 1")
    with pytest.raises(ValueError, match=r"a\.ipynb has none called tier, newer_than"):
        chapters.run(book, "smoke")


def test_parameters_from_the_command_line_become_python_values(chapters):
    assert [chapters._value(t) for t in ("7", "0.5", "[1, 2]", "CLASSIC")] == [
        7,
        0.5,
        [1, 2],
        "CLASSIC",
    ]


def test_chapters_come_in_the_order_of_the_contents(chapters, book):
    for name in ("a", "b", "c"):
        write(book, name)
    (book / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nparts:\n"
        "- chapters:\n  - file: c\n- chapters:\n  - file: a\n    sections:\n    - file: b\n"
    )
    assert chapters.chapters_in_toc(book) == ["c", "a", "b"]
