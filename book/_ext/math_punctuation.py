"""Sphinx extension: a full stop after a formula stays on the formula's line.

A browser may break a line on either side of a formula, which is a picture to it, whatever comes
next. A formula and the punctuation after it are put into a span that `custom.css` keeps together.
"""

import re

from docutils import nodes

PUNCTUATION = re.compile(r"[.,;:!?)\]’”%]+")


def keep_together(app, doctree):
    """Wrap each formula in a line of text that punctuation follows, with that punctuation."""
    for formula in list(doctree.findall(nodes.math)):
        parent = formula.parent
        place = parent.index(formula) + 1
        following = parent[place] if place < len(parent) else None
        if isinstance(following, nodes.Text) and (found := PUNCTUATION.match(following)):
            kept, rest = nodes.Text(found[0]), nodes.Text(following[found.end() :])
            together = nodes.inline("", "", formula, kept, classes=["together"])
            parent[place - 1 : place + 1] = [together, rest]


def setup(app):
    app.connect("doctree-read", keep_together)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
