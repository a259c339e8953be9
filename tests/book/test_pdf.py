"""The book as one PDF: what it is made of, and the file as Chromium printed it."""

import re

import pdf
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader
from test_book import CHAPTERS, read, toc


@pytest.fixture(scope="module", params=[False, True], ids=["", "with code"])
def assembled(built_book, request):
    """The pages as one, and whether with the code that they fold away."""
    return BeautifulSoup(pdf.assemble(built_book, request.param), "html.parser"), request.param


def test_ids_are_unique_and_links_lead_to_them(assembled):
    page, _ = assembled
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    for link in page.body.find_all("a", href=True):
        if re.match(r"https?:|mailto:", link["href"]):
            continue
        assert link["href"].startswith("#"), f"{link['href']} is not in the PDF"
        assert link["href"][1:] in ids


def test_citations_lead_to_the_references(assembled):
    page, _ = assembled
    links = page.select(".bibtex-citation a")
    assert links
    entries = {entry["id"]: entry.get_text() for entry in page.select(".citation-list .citation")}
    for link in links:
        author = re.match(r"\w+", link["title"].split(".")[0].split(" and ")[0].split()[-1])[0]
        assert author in entries[link["href"][1:]]


def test_folded_code_comes_on_request(assembled):
    page, code = assembled
    assert not page.select("details.hide")
    assert all(details.has_attr("open") for details in page.find_all("details"))
    for name in CHAPTERS:
        cells = [cell for cell in read(name).cells if cell.cell_type == "code"]
        # What only picks out numbers for the prose is on no page.
        cells = [cell for cell in cells if "remove-input" not in cell.metadata.get("tags", [])]
        hidden = [cell for cell in cells if "hide-input" in cell.metadata.get("tags", [])]
        shown = page.select(f"article#{name} .cell_input")
        assert len(shown) == len(cells) - (0 if code else len(hidden))


@pytest.fixture(scope="module")
def printed(book_and_browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("pdf") / "book.pdf"
    pdf.write(path, book_and_browser)
    return PdfReader(path)


@pytest.fixture(scope="module")
def starts(printed):
    """Index of the page on which each linked element is."""
    destinations = printed.named_destinations.items()
    return {
        name.lstrip("/"): printed.get_destination_page_number(target)
        for name, target in destinations
    }


def test_title_and_language_are_in_the_file(printed):
    assert printed.metadata.title == "Jansen–Rit, inferred"
    assert printed.root_object["/Lang"] == "en"
    assert printed.root_object["/MarkInfo"]["/Marked"]  # tagged, for screen readers


def test_chapters_begin_on_sheets_of_their_own_in_the_contents_order(printed, starts):
    begins = [starts[name] for name in toc()]
    assert begins == sorted(set(begins))
    assert len(toc()) < begins[-1] < len(printed.pages) < 200
    contents = printed.pages[1].extract_text()
    for begin in begins:
        assert re.search(rf"\b{begin + 1}\b", contents), contents


def test_the_outline_has_the_chapters(printed, starts):
    top = [item for item in printed.outline if not isinstance(item, list)]
    assert top[0].title == "Contents"
    for item, name in zip(top[1:], toc(), strict=True):
        assert printed.get_destination_page_number(item) == starts[name]
        if name in CHAPTERS:
            title = read(name).cells[0].source.splitlines()[0].removeprefix("# ")
            assert re.sub(r"^\d+\. ", "", item.title) == title  # some have a number in front


def test_links_lead_somewhere(printed, starts):
    links = [note.get_object() for page in printed.pages for note in page.get("/Annots", ())]
    inside = [str(link["/Dest"]).lstrip("/") for link in links if "/Dest" in link]
    outside = [link["/A"]["/URI"] for link in links if "/A" in link]
    assert len(inside) + len(outside) == len(links)
    assert set(inside) <= starts.keys()
    assert set(toc()) <= set(inside)
    assert all(address.startswith("https://") for address in outside)


def test_formulas_are_typeset(printed, starts):
    """On the sheet of an equation with a number: as curves, and not as the TeX they come from."""
    assert any(r"\frac" in cell.source for cell in read("model").cells)
    sheet = printed.pages[starts["equation-eq-model"]]
    text = sheet.extract_text()
    assert "(1.1)" in text
    assert not re.search(r"\\[a-z(\[]|\$|Math Processing Error", text), text
    assert curves(sheet) > 100


def curves(sheet):
    """How many lines and curves are drawn on a sheet, letters of fonts aside."""
    return len(re.findall(rb"\b[lc]\n", sheet.get_contents().get_data()))


def test_figures_are_drawn_as_vectors(printed, starts):
    sheet = printed.pages[starts["fig-flow"]]
    assert not list(sheet.images)
    assert curves(sheet) > 1000
