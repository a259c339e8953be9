"""Tables as HTML with their data beside them."""

import itertools
import re

import pandas as pd
from IPython.display import HTML

from experiments.compared_methods import METHODS
from figures import drawn
from figures.noise import METRICS
from jrlib.parameters import QUANTITY_NAMES


class Table(HTML):
    """A table for a notebook: HTML, and its data beside it as text/csv."""

    def __init__(self, markup, frame):
        super().__init__(markup)
        self.frame = frame

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/csv": self.frame.to_csv(index=False)}


def table(frame, name, caption, formats=None, data=None):
    """An HTML table with an id and a caption.

    frame : DataFrame; strings in its cells may hold HTML
    name : id of the table, such as "tab-parameters"
    caption : plain text or HTML
    formats : column -> format such as "{:.2f}", or function; missing values are left blank
    data : DataFrame for the CSV; without it, the frame, its texts without HTML

    The caption and the first column stay in view when a narrow page makes the table scroll
    sideways.
    """
    shown = frame.astype(object).rename_axis(columns=None)
    for column, form in (formats or {}).items():
        show = form.format if isinstance(form, str) else form
        shown[column] = [show(v) if pd.notna(v) else "" for v in frame[column]]
    body = shown.to_html(index=False, escape=False, border=0, table_id=name, na_rep="")
    stays = "position: sticky; left: 0; background: var(--pst-color-background, Canvas)"
    body = re.sub(r"(<tr[^>]*>\s*<t[hd])>", rf'\1 style="{stays}">', body)
    head = body.index(">") + 1
    # As wide as what is seen of the page; the margin keeps that from stretching a narrow table.
    width = "min(88vw, 99cqi)"
    stays = f"position: sticky; left: 0; width: {width}; margin-right: calc(-1 * {width})"
    caption = f'<div style="{stays}">{caption}</div>'
    if data is None:
        data = frame.map(lambda cell: drawn.plain(cell) if isinstance(cell, str) else cell)
        data = data.rename(columns=drawn.plain)
    return Table(f"{body[:head]}\n  <caption>{caption}</caption>{body[head:]}", data)


def formulas(text):
    """A text in which the names of parameters, written as in `QUANTITY_NAMES`, are formulas."""
    return re.sub(r"(?<![\w$])(C )?([AabC]_[ei1-4]|C a_k|C(?=,))(?!\w)", r"$\1\2$", text)


def quality_table(scores, name, caption, by="noise_factor", head="noise"):
    """Table of one metric: a row for each quantity in each group, a column for each method.

    scores : rows of `comparison.scores`, of one metric; a mean predictor without values is left out
    name, caption : see `table`; the caption gets a sentence on bold numbers
    by, head : column of scores that makes the groups, in their order there, and its heading
    """
    scores = scores.dropna(subset="value")
    (metric,) = scores.metric.unique()
    label, reference = METRICS[metric]
    apart = (scores.low > reference) | (scores.high < reference)
    cells = [
        f"{f'<b>{value:z.2f}</b>' if bold else f'{value:z.2f}'}"
        f"<br><small>{low:z.2f}..{high:z.2f}</small>"
        for value, low, high, bold in zip(scores.value, scores.low, scores.high, apart, strict=True)
    ]
    wide = scores.assign(cell=cells).pivot(index=[by, "parameter"], columns="method", values="cell")
    wide = wide[[method for method in METHODS if method in wide]]
    rows = itertools.product(scores[by].unique(), QUANTITY_NAMES)
    wide = wide.reindex([row for row in rows if row in wide.index])
    wide.columns = [METHODS[method].label.replace(", ", ",<br>") for method in wide]
    groups = [f"{key:,.10g}" if isinstance(key, float) else key for key, _ in wide.index]
    wide.insert(0, "parameter", [f"${quantity}$" for _, quantity in wide.index])
    wide.insert(1, head, groups)
    note = f"Bold: the interval leaves out {reference:g}, what always answering the mean would get."
    return table(wide, name, f"{label}. {caption} {note}", data=scores)
