"""Adds to the downloads of each page the notebook as it was executed, with its outputs.

The theme offers the source of a page, which has none. MyST-NB keeps the executed notebooks outside
the folder of the pages; they are copied into it, under `notebooks/`, where the link works offline.
"""

from pathlib import Path
from shutil import copyfile

FOLDER = "notebooks"


def add_download(app, pagename, templatename, context, doctree):
    """Copy the executed notebook of a page and put it first among the page's downloads."""
    if "kernelspec" not in (context.get("meta") or {}):
        return
    name = f"{pagename}.ipynb"
    copy = Path(app.outdir, FOLDER, name)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copyfile(Path(app.env.mystnb_config.output_folder, name), copy)
    for group in context["header_buttons"]:
        if group["label"] == "download-buttons":
            button = {
                "type": "link",
                "url": context["pathto"](f"{FOLDER}/{name}", 1),
                "text": "Notebook with outputs",
                "tooltip": "Download the notebook as it was executed for this page",
                "icon": "fas fa-book-open",
                "label": "download-executed-button",
            }
            group["buttons"].insert(0, button)


def setup(app):
    app.connect("html-page-context", add_download, priority=502)  # after the theme's 501
    return {"parallel_read_safe": True, "parallel_write_safe": True}
