"""Tables as HTML with their data beside them."""

import itertools
import re
from html.parser import HTMLParser
from pathlib import Path

from IPython.display import HTML
from pandas.io.formats.style import Styler

from experiments.compared_methods import METHODS
from jrlib.parameters import QUANTITY_NAMES

METRICS = {  # metric: (name on axes and tables, what the mean predictor gets)
    "pearson": ("Pearson correlation", 0.0),
    "spearman": ("Spearman correlation", 0.0),
    "rmse": ("RMSE / prior sd", 1.0),
    "r2": ("$R^2$", 0.0),
}
# The table as the pages' style sheet expects it: with an id of its own, and without the classes
# and ids that pandas would give to each cell.
_Styler = Styler.from_custom_template(Path(__file__).parent / "templates", html_table="table.tpl")


class Table(HTML):
    """A table for a notebook: HTML, and its data beside it as text/csv."""

    def __init__(self, markup, frame):
        super().__init__(markup)
        self.frame = frame

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/csv": self.frame.to_csv(index=False)}


def table(frame, name, caption, *, formats=None, data=None):
    """An HTML table with an id and a caption.

    frame : DataFrame; strings in its cells and columns may hold HTML
    name : id of the table, such as "tab-parameters"
    caption : plain text or HTML
    formats : column -> format such as "{:.2f}", or function; missing values are left blank
    data : DataFrame for the CSV; without it, the frame, its texts without HTML

    The pages' style sheet keeps the caption and the first column in view when a narrow page makes
    the table scroll sideways.
    """
    shown = frame.reset_index(drop=True).rename_axis(columns=None)
    formats = dict.fromkeys(shown, str) | (formats or {})
    styler = _Styler(shown, caption=caption).hide(axis="index").format(formats, na_rep="")
    if data is None:
        data = frame.map(lambda cell: plain(cell) if isinstance(cell, str) else cell)
        data = data.rename(columns=plain)
    return Table(styler.to_html(table_uuid=name, exclude_styles=True), data)


class _Words(HTMLParser):
    """Gathers the text of HTML; a line break becomes a space."""

    def __init__(self, markup):
        super().__init__()
        self.words = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag == "br":
            self.words.append(" ")

    def handle_data(self, data):
        self.words.append(data)


def plain(text):
    """A text without HTML, line breaks and the dollar signs of formulas."""
    return "".join(_Words(text).words).replace("\n", " ").replace("$", "").strip()


def symbol(quantity):
    """The formula of one of `QUANTITY_NAMES`: "C a_1" becomes "$C a_1$"."""
    return f"${quantity}$"


def formulas(text):
    """A text in which the names of parameters, written as in `QUANTITY_NAMES`, are formulas."""
    return re.sub(r"(?<![\w$])(C )?([AabC]_[ei1-4]|C a_k|C(?=,))(?!\w)", r"$\1\2$", text)


def with_interval(value, low, high, *, bold=False, form="{:z.2f}"):
    """A cell of a table: a number, bold on request, and below it its interval."""
    number = form.format(value)
    number = f"<b>{number}</b>" if bold else number
    return f"{number}<br><small>{form.format(low)}..{form.format(high)}</small>"


def quality_table(scores, name, caption, *, by="noise_factor", head="noise"):
    """Table of one metric: a row for each quantity in each group, a column for each method.

    scores : rows of `comparison.scores`, of one metric; a mean predictor without values is left out
    name, caption : see `table`; the caption gets a sentence on bold numbers
    by, head : column of scores that makes the groups, in their order there, and its heading
    """
    scores = scores.dropna(subset="value")
    (metric,) = scores.metric.unique()
    label, reference = METRICS[metric]
    cells = [
        with_interval(
            row.value, row.low, row.high, bold=row.low > reference or row.high < reference
        )
        for row in scores.itertuples()
    ]
    wide = scores.assign(cell=cells).pivot(index=[by, "parameter"], columns="method", values="cell")
    wide = wide[[method for method in METHODS if method in wide]]
    rows = itertools.product(scores[by].unique(), QUANTITY_NAMES)
    wide = wide.reindex([row for row in rows if row in wide.index])
    wide.columns = [METHODS[method].label.replace(", ", ",<br>") for method in wide]
    groups = [f"{key:,.10g}" if isinstance(key, float) else key for key, _ in wide.index]
    wide.insert(0, "parameter", [symbol(quantity) for _, quantity in wide.index])
    wide.insert(1, head, groups)
    note = f"Bold: the interval leaves out {reference:g}, what always answering the mean would get."
    return table(wide, name, f"{label}. {caption} {note}", data=scores)
