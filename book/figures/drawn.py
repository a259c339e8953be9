"""The data in a figure: what was drawn with matplotlib, read back as a table."""

import html
import re
from functools import singledispatch

import numpy as np
import pandas as pd
from matplotlib.axis import Axis
from matplotlib.category import StrCategoryFormatter
from matplotlib.collections import FillBetweenPolyCollection, LineCollection, PathCollection
from matplotlib.container import BarContainer, ErrorbarContainer, StemContainer
from matplotlib.contour import ContourSet
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.offsetbox import OffsetBox
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.spines import Spine
from matplotlib.text import Text
from matplotlib.ticker import FixedFormatter, FuncFormatter

COLUMNS = ["panel", "series", "kind", "x", "x low", "x high", "y", "low", "high", "value"]
LABELS = {"x": "x label", "y": "y label"}
BOUNDS = {"x": ["x low", "x high"], "y": ["low", "high"]}
NOTE = "note"  # gid of a text of the figure that labels no axis


def data(figure):
    """What a figure shows, as numbers: a row for each point, bar, interval or cell of an image.

    Columns:

    panel, series : labels of the axes (without one, their title) and of what is drawn in them;
        artists of one kind that share a label are numbered
    kind : "line", "points", "bar", "interval", "band", "image" or "contour"
    x, y : as given to matplotlib, so not the logarithm on a logarithmic axis; a name where the
        axis has names at its ticks. The heading is the label of the axis if all panels have the
        same; otherwise two more columns hold the labels
    low, high; x low, x high : ends of an interval or band in y and in x, edges of a bar, where
        there are any. An interval at a point or bar of its own series is in that one's row
    value : what a colour or a contour stands for, if anything

    Not data: axes that are switched off, which hold a drawing; colour bars; and lines and bands
    right across a panel (axhline, axvspan) that have no label. TypeError for a kind of artist
    that is not known here; ValueError where the names of ticks do not tell positions apart.
    """
    figure.draw_without_rendering()  # settles limits and ticks
    panels = [_panel(ax) for ax in figure.axes if ax.axison and not hasattr(ax, "_colorbar")]
    panels = [panel for panel in panels if len(panel)]
    if not panels:
        return pd.DataFrame(columns=["panel", "series", "kind", "x", "y"])
    table = pd.concat(panels, ignore_index=True)
    table = table[[column for column in [*COLUMNS, *LABELS.values()] if column in table]]
    for axis, label in LABELS.items():
        first, *others = table[label].unique()
        if not others:
            table = table.drop(columns=label)
            if first and first not in table:
                table = table.rename(columns={axis: first})
    return table


def plain(text):
    """A label without line breaks, HTML and the dollar signs of formulas."""
    text = re.sub(r"<br>|\n", " ", text)
    return html.unescape(re.sub(r"</?[a-z][^>]*>", "", text)).replace("$", "").strip()


def _panel(ax):
    """The rows of `data` of one panel."""
    groups = {part: group for group in ax.containers for part in group.get_children()}
    ornaments = {ax.patch}
    for group in ax.containers:
        if isinstance(group, ErrorbarContainer):
            ornaments.update(group[1])  # the caps
        if isinstance(group, StemContainer):
            ornaments.update([group.stemlines, group.baseline])
    pieces, owners = [], {}
    for artist in ax.get_children():
        if artist in ornaments or not artist.get_visible():
            continue
        owner = groups.get(artist, artist)
        unnamed = re.fullmatch("_child[0-9]+|_container[0-9]+|_nolegend_", str(owner.get_label()))
        name = "" if unnamed else plain(str(owner.get_label())).lstrip("_")
        for rows in _read(artist, ax, name):
            if len(rows):
                pieces.append((name, owner, rows))
                same = owners.setdefault((name, rows.kind.iloc[0]), [])
                same += [owner] if owner not in same else []
    if not pieces:
        return pd.DataFrame()
    for name, owner, rows in pieces:
        same = owners[name, rows.kind.iloc[0]]
        twin = name and len(same) > 1
        rows["series"] = f"{name} {same.index(owner) + 1}" if twin else name
    rows = pd.concat([rows for *_, rows in pieces], ignore_index=True)
    rows = _join_intervals(_with_names(_with_names(rows, ax.xaxis), ax.yaxis))
    titles = [plain(ax.get_title(place)) for place in ("left", "center", "right")]
    rows["panel"] = plain(ax.get_label()) or " ".join(filter(None, titles))
    rows["x label"], rows["y label"] = _axis_label(ax, "x"), _axis_label(ax, "y")
    return rows


def _with_names(rows, axis):
    """Positions along an axis become the name of the nearest tick, where its ticks have names."""
    column, positions = axis.axis_name, rows[axis.axis_name].to_numpy(dtype=float)
    for locator, formatter in (
        (axis.get_minor_locator(), axis.get_minor_formatter()),
        (axis.get_major_locator(), axis.get_major_formatter()),
    ):
        if not isinstance(formatter, FixedFormatter | FuncFormatter | StrCategoryFormatter):
            continue
        places = np.asarray(locator(), dtype=float)
        names = [plain(str(text)) for text in formatter.format_ticks(places)]
        numbers = np.array([_number(name) for name in names])
        if not any(names) or np.allclose(numbers, places, rtol=0.05):
            continue  # numbers written in a way of their own
        values = numbers if np.isfinite(numbers).all() else np.array(names, dtype=object)
        nearest = np.abs(positions[:, np.newaxis] - places).argmin(axis=1)
        for piece, where in rows.assign(place=nearest).groupby(["series", "kind"], sort=False):
            if where.groupby("place")[column].nunique().max() > 1:
                raise ValueError(f"{piece}: two positions on an axis are nearest to one name")
        rows[column] = np.where(np.isfinite(positions), values[nearest], np.nan)
        edges = [bound for bound in BOUNDS[column] if bound in rows]
        rows.loc[rows.kind == "bar", edges] = np.nan
        return rows.dropna(axis=1, how="all")
    return rows


def _number(text):
    try:
        return float(re.sub(r"^10\^\{(.+)\}$", r"1e\1", text).replace("−", "-").replace(",", ""))
    except ValueError:
        return np.nan


def _join_intervals(rows):
    """Intervals at a point or bar of their own series go to that one's row."""
    for across, bounds in (("x", BOUNDS["y"]), ("y", BOUNDS["x"])):
        if not {*bounds, across} <= {*rows}:
            continue
        place = ["series", across]
        spans = rows[(rows.kind == "interval") & rows[bounds[0]].notna()]
        hosts = rows[rows.kind.isin(["line", "points", "bar"]) & rows.series.isin(spans.series)]
        if spans.duplicated(place).any() or hosts.duplicated(place).any():
            continue
        pairs = hosts.reset_index().merge(spans.reset_index(), on=place)
        rows.loc[pairs.index_x, bounds] = rows.loc[pairs.index_y, bounds].to_numpy()
        rows = rows.drop(index=pairs.index_y)
    return rows


def _axis_label(ax, axis):
    """The label of an axis: its own, its column's or row's, that of shared axes, the figure's."""
    figure = ax.figure
    notes = [text.get_text() for text in figure.texts if text.get_gid() == NOTE]
    along = f"{'col' if axis == 'x' else 'row'}span"
    spans = {other: getattr(other.get_subplotspec(), along, None) for other in figure.axes}
    shared = getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)
    beside = [other for other in shared if spans[other] and spans[other] == spans[ax]]
    for group in ([ax], beside, shared):
        labels = {plain(getattr(other, f"get_{axis}label")()) for other in group} - {""}
        if len(labels) == 1:
            return labels.pop()
    label = getattr(figure, f"get_sup{axis}label")()
    return "" if label in notes else plain(label)


@singledispatch
def _read(artist, ax, name):
    raise TypeError(f"the data of a {type(artist).__name__} cannot be read out of a figure")


@_read.register
def _(artist: Text | Axis | Spine | Legend | OffsetBox, ax, name):
    return []


@_read.register
def _(line: Line2D, ax, name):
    x, y = line.get_data(orig=False)
    in_x, in_y = line.get_transform().contains_branch_separately(ax.transData)
    if in_x and in_y:
        drawn = np.isfinite(x) & np.isfinite(y)
        kind = "points" if line.get_linestyle() == "None" else "line"
        return [_rows(kind, x=x[drawn], y=y[drawn])]
    if name and (in_x or in_y):
        return [_rows("line", x=x[:1]) if in_x else _rows("line", y=y[:1])]
    return []


@_read.register
def _(box: Rectangle, ax, name):
    low, high = np.sort(box.get_bbox().get_points(), axis=0)[:, :, np.newaxis]
    x, y = {"x low": low[0], "x high": high[0]}, {"low": low[1], "high": high[1]}
    in_x, in_y = box.get_data_transform().contains_branch_separately(ax.transData)
    if in_x and in_y:
        bars = [group for group in ax.containers if isinstance(group, BarContainer)]
        (bar,) = [group for group in bars if box in group] or [None]
        if bar is None:
            raise TypeError("a Rectangle is data as a bar or as a band across the panel only")
        middle, end = (low + high) / 2, np.where(np.abs(high) >= np.abs(low), high, low)
        if bar.orientation == "vertical":
            return [_rows("bar", x=middle[0], y=end[1], **x)]
        return [_rows("bar", x=end[0], y=middle[1], **y)]
    if name and (in_x or in_y):
        return [_rows("band", **(x if in_x else y))]
    return []


@_read.register
def _(lines: LineCollection, ax, name):
    corners = [path.vertices for path in lines.get_paths()]
    if all(len(each) == 2 for each in corners):
        ends = np.sort(np.reshape(corners, (-1, 2, 2)), axis=1)
        ends = ends[np.isfinite(ends).all(axis=(1, 2))]
        (left, low), (right, high) = ends.transpose(1, 2, 0)
        if (left == right).all():
            return [_rows("interval", x=left, low=low, high=high)]
        if (low == high).all():
            return [_rows("interval", y=low, **{"x low": left, "x high": right})]
    raise TypeError("lines of a LineCollection are data as vlines or as hlines only")


@_read.register
def _(band: FillBetweenPolyCollection, ax, name):
    along, across = ("x", "y") if band.t_direction == "x" else ("y", "x")
    corners = np.concatenate([path.vertices for path in band.get_paths()])
    ends = pd.DataFrame(corners, columns=["x", "y"]).groupby(along)[across].agg(["min", "max"])
    bounds = dict(zip(BOUNDS[across], ends.to_numpy().T, strict=True))
    return [_rows("band", **{along: ends.index}, **bounds)]


@_read.register
def _(points: PathCollection, ax, name):
    x, y = np.ma.filled(points.get_offsets(), np.nan).T
    values = {} if points.get_array() is None else {"value": points.get_array()}
    return [_rows("points", x=x, y=y, **values).dropna(subset=["x", "y"])]


@_read.register
def _(steps: StepPatch, ax, name):
    values, edges, _ = steps.get_data()
    bounds = {"x low": edges[:-1], "x high": edges[1:]}
    return [_rows("bar", x=(edges[:-1] + edges[1:]) / 2, y=values, **bounds)]


@_read.register
def _(image: AxesImage, ax, name):
    values = np.ma.filled(image.get_array().astype(float), np.nan)
    left, right, bottom, top = image.get_extent()
    first, last = (top, bottom) if image.origin == "upper" else (bottom, top)
    x, y = (
        start + (end - start) * (np.arange(n) + 0.5) / n
        for start, end, n in ((left, right, values.shape[1]), (first, last, values.shape[0]))
    )
    y, x = np.meshgrid(y, x, indexing="ij")
    return [_rows("image", x=x.ravel(), y=y.ravel(), value=values.ravel())]


@_read.register
def _(contours: ContourSet, ax, name):
    return [
        pd.concat(
            _rows("contour", x=polygon[:, 0], y=polygon[:, 1], value=level)
            for level, path in zip(contours.levels, contours.get_paths(), strict=True)
            for polygon in path.to_polygons(closed_only=False)
        )
    ]


def _rows(kind, x=np.nan, y=np.nan, **columns):
    return pd.DataFrame({"kind": kind, "x": x, "y": y, **columns})
