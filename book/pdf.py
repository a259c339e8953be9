"""The whole book as one PDF: the built pages, one after the other, printed by Chromium.

    python book/pdf.py           book/_build/pdf/jansen-rit.pdf
    python book/pdf.py --code    jansen-rit-with-code.pdf, with the code that the pages fold away

The pages are taken from `book/_build/html/` as they are, so nothing is executed again and the PDF
says what the pages say. (Sphinx's builder of a single page would not execute anything either, but
elements of different chapters share an id there, and citations lead to the wrong one.) How it looks
on paper is in `_static/print.css`.
"""

import argparse
import io
import sys
from datetime import date
from html import escape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from browser import launched, settle
from bs4 import BeautifulSoup
from pypdf import PdfReader, PdfWriter
from pypdf.generic import NameObject, TextStringObject

from experiments import provenance

BOOK = Path(__file__).resolve().parent
HTML = BOOK / "_build" / "html"
OUTPUT = BOOK / "_build" / "pdf"
# An A4 sheet less the margins in print.css, in CSS pixels.
SHEET = {"width": 650, "height": 970}
PREPARE = """() => {
    // Tables that are too wide become smaller as a whole.
    for (const table of document.querySelectorAll("article table")) {
        const room = table.parentElement.clientWidth / table.scrollWidth;
        if (room < 1) table.style.zoom = room;
    }
    // Code stays on one sheet where it takes no more than half of it; see print.css.
    for (const cell of document.querySelectorAll(".cell_input")) {
        if (cell.clientHeight < innerHeight / 2) cell.style.breakInside = "avoid";
    }
    // The panels of what is drawn are no sections; what is left is the outline.
    for (const title of document.querySelectorAll(".jr-panel h2")) title.role = "none";
    const headings = document.querySelectorAll(":is(h1, h2, h3, h4, h5, h6):not([role])");
    return [...headings].map((heading) => heading.textContent.trim());
}"""
NUMBER = """(numbers) => {
    for (const link of document.querySelectorAll("nav a")) {
        link.dataset.page = numbers[link.hash.slice(1)];
    }
}"""


def assemble(html=HTML, code=False):
    """The pages in the folder `html` as one, to be read as a file in that folder.

    Ids that an earlier page has already get the page's name in front; links between the pages
    follow. Links to files beside the pages, which a PDF does not have, become plain text.
    """
    first = yaml.safe_load((BOOK / "_toc.yml").read_text())["root"] + ".html"
    front = _read(html / first)
    contents = front.select_one("nav.bd-docs-nav")
    for caption in contents.select("[role=heading]"):
        del caption["role"]
    names = [link["href"] for link in contents.find_all("a")][1:]  # after "#", this page
    pages = {first: front} | {name: _read(html / name) for name in names}
    articles = {name: page.article for name, page in pages.items()}

    anchors = {(name, ""): Path(name).stem for name in pages}  # (page, id there) -> id here
    for name, article in articles.items():
        taken = set(anchors.values())
        for element in article.find_all(id=True):
            own = element["id"]
            element["id"] = f"{anchors[name, '']}-{own}" if own in taken else own
            anchors[name, own] = element["id"]
        article["id"] = anchors[name, ""]
    for name, part in [(first, contents), *articles.items()]:
        for useless in part.select("a.headerlink, a[download]"):
            useless.decompose()
        for link in part.find_all("a", href=True):
            address = urlsplit(link["href"])
            target = (unquote(address.path) or name, unquote(address.fragment))
            if target in anchors:
                link["href"] = f"#{anchors[target]}"
            elif not address.scheme:
                del link["href"]
        for folded in part.select("details.hide"):
            if code:
                folded.summary.decompose()
                folded.unwrap()
            else:
                folded.decompose()
        for details in part.find_all("details"):
            details["open"] = ""

    scripts = {str(tag): tag for page in pages.values() for tag in page.head.find_all("script")}
    head = [
        f"<title>{escape(front.article.h1.get_text())}</title>",
        *front.find_all("link", rel="stylesheet"),
        *(text for text, tag in scripts.items() if _needed(tag)),
    ]
    body = [_title(), "<h1>Contents</h1>", contents, *articles.values()]
    return f"""<!DOCTYPE html>
        <html lang="en" data-theme="light">
        <head><meta charset="utf-8">{_text(head)}</head>
        <body class="pdf"><main class="bd-content">{_text(body)}</main></body>
        </html>"""


def _read(path):
    return BeautifulSoup(path.read_text(), "html.parser")


def _text(parts):
    return "\n".join(map(str, parts))


def _needed(script):
    """Whether a script acts on the text: MathJax and the book's own, but not the theme's."""
    name = Path(urlsplit(script.get("src", "")).path).name
    return "mathjax" in str(script).lower() or (name and (BOOK / "_static" / name).exists())


def _title():
    """The title page, from CITATION.cff and the commit."""
    citation = yaml.safe_load((BOOK.parent / "CITATION.cff").read_text())
    title, _, subtitle = citation["title"].partition(": ")
    head = provenance.commit()
    commit = f", commit {head[:12]}{head[40:]}" if head else ""
    return f"""<header class="pdf-title">
        <p>{escape(title)}</p>
        <p>{escape(subtitle[:1].upper() + subtitle[1:])}</p>
        <p>{escape(", ".join(author["name"] for author in citation["authors"]))}</p>
        <p>Version {citation["version"]}{commit}. Printed on {date.today()}.
        {citation["license"]} licence.</p>
    </header>"""


def write(output, html=HTML, code=False):
    """Print the pages in the folder `html` to the file `output`."""
    output.parent.mkdir(parents=True, exist_ok=True)
    options = {"prefer_css_page_size": True, "print_background": True}
    options |= {"outline": True, "tagged": True}
    address = f"{html.as_uri()}/pdf.html"  # answered from memory
    with launched() as browser:
        page = browser.new_page(viewport=SHEET, color_scheme="light")
        page.set_default_timeout(600_000)  # ms; seconds on a machine that is not busy
        page.emulate_media(media="print")
        book = assemble(html, code)
        page.route(address, lambda route: route.fulfill(body=book, content_type="text/html"))
        page.goto(address)
        settle(page)
        headings = page.evaluate(PREPARE)
        # Printed twice: the second time with the numbers of the pages in the contents.
        draft = PdfReader(io.BytesIO(page.pdf(**options)))
        numbers = {
            name.lstrip("/"): draft.get_destination_page_number(destination) + 1
            for name, destination in draft.named_destinations.items()
        }
        page.evaluate(NUMBER, numbers)
        printed = PdfWriter(io.BytesIO(page.pdf(**options)))
    # Chromium takes the outline's titles from what it paints, line by line and some of them twice.
    for item, title in zip(_items(printed.root_object["/Outlines"]), headings, strict=True):
        item[NameObject("/Title")] = TextStringObject(title)
    printed.write(output)


def _items(parent):
    """The entries of an outline, depth first."""
    item = parent.get("/First")
    while item is not None:
        item = item.get_object()
        yield item
        yield from _items(item)
        item = item.get("/Next")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--code", action="store_true", help="with the code that pages fold away")
    code = parser.parse_args().code
    if not (HTML / "index.html").exists():
        sys.exit("the book has not been built: jupyter-book build book/")
    output = OUTPUT / f"jansen-rit{'-with-code' if code else ''}.pdf"
    write(output, code=code)
    print(output)


if __name__ == "__main__":
    main()
