"""Sphinx extension: the data of figures and tables as CSV files to download.

A figure or table that a cell shows has its data beside it as text/csv (see `figures`). While a
page is read, the data become files `_data/<name>.csv` beside the executed notebooks, and the
caption of the figure, or a line below the table, gets a link to them. The link is an ordinary
download reference, so every builder of Sphinx treats it in its own way. A figure or table without
data gets a warning, which fails a build that has warnings as errors.
"""

import os
import re
from pathlib import Path

import nbformat
from docutils import nodes
from sphinx.addnodes import download_reference
from sphinx.util.logging import getLogger

CSV = "text/csv"
LOG = getLogger(__name__)


def add_links(app, doctree):
    """Write the data of a page's figures and tables, and link to them."""
    cells = [node for node in doctree.findall(nodes.container) if "cell_metadata" in node]
    if not cells:
        return
    folder = Path(app.env.mystnb_config.output_folder)
    notebook = nbformat.read(folder / f"{app.env.docname}.ipynb", as_version=4)
    for cell in cells:
        for output in notebook.cells[cell["cell_index"]].get("outputs", []):
            shown = output.get("data", {})
            table = re.search(r'id="(tab-[^"]+)"', shown.get("text/html", ""))
            figure = next(cell.findall(nodes.figure), None)
            if not table and not (figure and "image/svg+xml" in shown):
                continue
            name = table[1] if table else cell["cell_metadata"]["mystnb"]["figure"]["name"]
            if CSV not in shown:
                LOG.warning("%s has no data beside it", name, location=cell)
                continue
            file = folder / "_data" / f"{name}.csv"
            file.parent.mkdir(exist_ok=True)
            file.write_text(output.data[CSV], encoding="utf-8")
            target = "/" + Path(os.path.relpath(file, app.srcdir)).as_posix()
            link = download_reference("", "Data (CSV)", reftarget=target)
            line = nodes.paragraph("", "", link, classes=["data-link"])
            if table:
                cell.children[-1].append(line)
            else:
                figure.append(nodes.legend("", line))


def setup(app):
    # Before Sphinx collects the files to download (priority 500).
    app.connect("doctree-read", add_links, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
