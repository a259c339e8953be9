"""The house style, and the figures and tables that more than one chapter draws."""

import itertools
import re

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import HTML
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon
from matplotlib_inline.backend_inline import set_matplotlib_formats
from scipy.optimize import isotonic_regression

from jrlib import drawn
from jrlib.comparison import METHODS
from jrlib.parameters import PARAMETERS, QUANTITY_NAMES, TYPICAL
from jrlib.protocol import Protocol, simulate_erp

# Okabe & Ito's colours: told apart with any colour vision. One meaning each, in every chapter.
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#1a1a1a",
    "#e69f00",
    "#56b4e9",
    "#009e73",
    "#d6c700",
    "#0072b2",
    "#d55e00",
    "#cc79a7",
)
GREY = "#767676"
COLORS = {
    "RELEASED": ORANGE,
    "TABULATED": PURPLE,
    "CLASSIC": BLUE,
    "EEGTransformer": BLUE,
    "EEGTransformer-time": BLUE,
    "CNNBiLSTM": GREEN,
    "VanillaLSTM": RED,
    "VanillaLSTM-mean": RED,
    "NPE": PURPLE,
    "MLP": SKY,
    "Ridge": ORANGE,
}
DASHED = ("EEGTransformer-time", "VanillaLSTM-mean")  # they change one thing of the solid line's
WIDTH = 7.2  # inches: the text column
METRICS = {  # metric: (name on axes and tables, what the mean predictor gets)
    "pearson": ("Pearson correlation", 0.0),
    "spearman": ("Spearman correlation", 0.0),
    "rmse": ("RMSE / prior sd", 1.0),
    "r2": ("$R^2$", 0.0),
}


def use_house_style():
    """Set matplotlib to the book's style: SVG that is the same from run to run, plain axes.

    A figure that a notebook shows has its data beside it as text/csv: see `drawn.data`.
    """
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches="tight")
    formatters = InteractiveShell.instance().display_formatter
    formatters.mimebundle_formatter.for_type(Figure, _data_beside)
    mpl.rcParams.update(
        {
            "svg.hashsalt": "jrlib",
            "svg.fonttype": "path",
            "figure.figsize": (WIDTH, 3.6),
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "font.size": 10,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 10,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#444444",
            "axes.linewidth": 0.8,
            "lines.linewidth": 1.6,
            "lines.markersize": 4,
            "axes.prop_cycle": mpl.cycler(color=[BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK]),
            "image.cmap": "viridis",
        }
    )


def _data_beside(figure, include=None, exclude=None):
    data = drawn.data(figure)
    return {"text/csv": data.to_csv(index=False)} if len(data) else {}


def ink(color):
    """A colour, or that of a name in COLORS, dark enough for text on white (WCAG AA: 4.5 to 1)."""
    color = COLORS.get(color, color) if isinstance(color, str) else color
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear *= min(1.0, (1.05 / 4.5 - 0.05) / (linear @ [0.2126, 0.7152, 0.0722]))
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def stamp(figure, text):
    """Write tier, sample size and seeds in small grey type under a figure; returns the figure."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=7.5, color=GREY, gid=drawn.NOTE)
    return figure


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

    scores : rows of `study.scores`, of one metric; a mean predictor without values is left out
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


def noise_positions(factors):
    """Where noise factors lie on an axis: at log10, and 0 a step and a half below the others."""
    factors = np.asarray(factors, dtype=float)
    positive = factors > 0
    lowest = np.log10(factors[positive].min()) if positive.any() else 1.5
    return np.where(positive, np.log10(np.where(positive, factors, 1.0)), lowest - 1.5)


def noise_axis(axes, snr, decades=2):
    """Write noise factors and, below them, signal-to-noise ratios in dB along a horizontal axis.

    snr : Series of dB by noise factor; infinite at factor 0, which is called "none"
    decades : between the factors written out; 0 and 1 always are
    """
    shown, last = [], -np.inf
    for factor, x in zip(snr.index, noise_positions(snr.index), strict=True):
        if factor == 0 or (x >= last + decades and x % 1 == 0 and x >= 0):
            shown.append((x, factor))
            last = x if factor else last
    texts = [
        "none\n$\\infty$"
        if factor == 0
        else (f"{factor:g}" if factor < 1000 else f"$10^{{{x:g}}}$") + f"\n{snr[factor]:.0f}"
        for x, factor in shown
    ]
    axes.set_xticks([x for x, _ in shown], texts)
    positions = noise_positions(snr.index)
    axes.set_xticks(positions, [f"{factor:.10g}" for factor in snr.index], minor=True)
    axes.tick_params(axis="x", which="minor", labelbottom=False)  # names for `drawn.data` only
    axes.set_xlim(min(positions) - 0.5, max(positions) + 0.5)


def draw_quality(scores, means):
    """Fig. 4: how well each method estimates each quantity, across noise levels.

    scores : rows of `study.scores`, of one convention and metric
    means : over quantities, with columns noise_factor, method, value, low and high; drawn in a
        panel of their own, in which the lines carry the methods' names
    Returns the figure: the synaptic parameters, then a_k above the products C a_k, then C.
    """
    (metric,) = scores.metric.unique()
    label, reference = METRICS[metric]
    snr = scores.groupby("noise_factor").snr_db.first()
    methods = [method for method in METHODS if method in COLORS]
    rows = [QUANTITY_NAMES[:4], QUANTITY_NAMES[4:8], QUANTITY_NAMES[9:], ("C", "mean", "mean", ".")]
    fig, axes = plt.subplot_mosaic(
        rows, figsize=(WIDTH, 7.4), sharex=True, sharey=True, height_ratios=(1, 1, 1, 1.25)
    )
    # Side by side within what is free around a noise level.
    steps = np.diff(np.sort(noise_positions(snr.index)))
    offsets = np.linspace(-0.42, 0.42, len(methods)) * min([0.5, *steps])
    for name, ax in axes.items():
        ax.axhline(reference, color="#bbbbbb", lw=0.8)
        shown = means if name == "mean" else scores[scores.parameter == name]
        for method, offset in zip(methods, offsets, strict=True):
            line = shown[shown.method == method].sort_values("noise_factor")
            x, style = noise_positions(line.noise_factor) + offset, {"color": COLORS[method]}
            style["label"] = METHODS[method].label
            ax.vlines(x, line.low, line.high, lw=0.9, alpha=0.55, **style)
            style["ls"] = (0, (2.5, 1.2)) if method in DASHED else "-"
            # A gap after no noise, which has no place on the logarithmic axis.
            gap = (line.noise_factor == 0).sum()
            x, value = (np.insert(np.asarray(values), gap, np.nan) for values in (x, line.value))
            ax.plot(x, value, marker="o", ms=2.4, mew=0, lw=1.0, **style)
        ax.set_title("mean over all thirteen" if name == "mean" else f"${name}$")
        noise_axis(ax, snr)
        ax.tick_params(labelsize=7.5)
    if metric != "rmse":
        ax.set_ylim(-0.25, 1.02)
    axes["C a_4"].tick_params(labelbottom=True)
    for row in rows:
        axes[row[0]].set_ylabel(label, fontsize=8.5)
    axes["mean"].set_xlabel("noise factor; below it signal-to-noise ratio (dB)", fontsize=8.5)
    label_lines(axes["mean"])
    for text in axes["mean"].texts:
        text.set_in_layout(False)  # there is an empty panel for them
    return fig


def draw_excess(axes, frames, *, color, lw=0.8, ls="-"):
    """Draw observed less nominal coverage, and the band that chance allows, in one panel.

    frames : dict of label -> DataFrame as from `posterior.coverage`, all on as many simulations
    """
    frame = next(iter(frames.values()))
    low, high = frame.low - frame.nominal, frame.high - frame.nominal
    style = {"color": GREY, "alpha": 0.25, "lw": 0, "label": "band"}
    if not axes.collections:
        axes.fill_between(frame.nominal, low, high, **style)
        axes.axhline(0.0, color=GREY, lw=0.7)
    for label, frame in frames.items():
        excess = frame.observed - frame.nominal
        axes.plot(frame.nominal, excess, color=color, lw=lw, ls=ls, alpha=0.8, label=label)


def label_lines(axes):
    """Write each labelled line's label right of its last point, in its colour, without overlap."""
    axes.figure.draw_without_rendering()  # settles how high the axes are
    ends = {}
    for line in axes.lines:
        points = np.column_stack([line.get_xdata(), line.get_ydata()]).astype(float)
        points = points[np.isfinite(points).all(axis=1)]
        if len(points) and not line.get_label().startswith("_"):
            ends[line] = (axes.transScale + axes.transLimits).transform(points[-1]).clip(0.0, 1.0)
    spacing = 12.5 / 72 / (axes.get_position().height * axes.figure.get_figheight())
    lines = sorted(ends, key=lambda line: ends[line][1])
    steps = spacing * np.arange(len(lines))
    # The heights closest to the lines' ends that keep their distance.
    heights = isotonic_regression([ends[line][1] for line in lines] - steps).x
    heights = heights.clip(0.0, max(0.0, 1.0 - steps[-1])) + steps
    for line, height in zip(lines, heights, strict=True):
        axes.annotate(
            line.get_label(),
            ends[line],
            (1.06, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=ink(line.get_color()),
            va="center",
            fontsize=9,
            arrowprops={
                "arrowstyle": "-",
                "color": line.get_color(),
                "lw": 0.5,
                "relpos": (0.0, 0.5),
                "shrinkB": 3,
            },
        )


def draw_relative_sensitivities(frames):
    """Dots of `sensitivity.relative_sensitivity` per parameter on a logarithmic axis.

    frames : convention name -> DataFrame. Returns the figure.
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    positions = np.arange(len(PARAMETERS))
    for name, frame in frames.items():
        ax.plot(positions, frame.sensitivity, "o-", color=COLORS[name], lw=0.8, ms=6, label=name)
    ax.set(yscale="log", ylabel="relative change of the response\nper relative change")
    ax.set_xticks(positions, [f"${parameter.symbol}$" for parameter in PARAMETERS])
    ax.margins(x=0.03)
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    label_lines(ax)
    return fig


def flow_diagram():
    """Fig. 1: from the model's parameters to simulated EEG, and back to estimates of them.

    The waveform is the evoked response at the typical parameters in the CLASSIC convention; the
    head is a sketch. Returns the figure.
    """
    height, bottom, top = 3.95, 0.66, 3.48
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    page.axis("off")

    def write(x, y, text, size=9.5, **style):
        page.text(x, y, text, fontsize=size, **{"ha": "center", "va": "center"} | style)

    def box(left, low, width, high, face, edge):
        style = "round,pad=0,rounding_size=0.07"
        page.add_patch(FancyBboxPatch((left, low), width, high, style, fc=face, ec=edge, lw=1.0))

    def arrow(start, end, color, bend=0.0, width=1.5):
        page.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                connectionstyle=f"arc3,rad={bend}",
                mutation_scale=12,
                shrinkA=0,
                shrinkB=0,
                color=color,
                lw=width,
            )
        )

    # The stages: title, left edge, width.
    stages = [
        ("Jansen–Rit model", 0.06, 2.3),
        ("Simulated EEG", 2.66, 1.42),
        ("Inverse models", 4.38, 1.42),
        ("Estimates", 6.1, 1.04),
    ]
    for title, left, width in stages:
        box(left, bottom, width, top - bottom, "#f7f7f7", "#d0d0d0")
        write(left + width / 2, top + 0.19, title, 10.5, fontweight="bold")
    middle = (bottom + top) / 2
    for (_, left, width), (_, following, _) in itertools.pairwise(stages):
        arrow((left + width + 0.03, middle), (following - 0.03, middle), BLACK, width=1.8)

    # Stage 1: three populations; the pyramidal cells send to both kinds of interneurons.
    for x, color, name in ((0.52, BLUE, "excitatory"), (1.9, RED, "inhibitory")):
        page.add_patch(Circle((x, 2.83), 0.16, fc=color, ec="none"))
        write(x, 3.2, f"{name}\ninterneurons", 8.5, color=ink(color), linespacing=1.05)
    page.add_patch(Polygon([(1.21, 1.74), (0.98, 1.34), (1.44, 1.34)], fc=BLACK, ec="none"))
    write(1.21, 1.2, "pyramidal cells", 8.5)
    arrow((1.0, 1.56), (0.47, 2.64), BLACK, -0.28)
    arrow((0.68, 2.74), (1.15, 1.76), BLUE, -0.28)
    arrow((1.42, 1.56), (1.95, 2.64), BLACK, 0.28)
    arrow((1.74, 2.74), (1.27, 1.76), RED, 0.28)
    write(0.29, 2.08, "$C a_1$")
    write(0.81, 2.08, "$C a_2$", color=BLUE)
    write(2.14, 2.08, "$C a_3$")
    write(1.61, 2.08, "$C a_4$", color=ink(RED))
    write(0.4, 1.45, "$A_e,\\ b_e$", color=BLUE)
    write(2.02, 1.45, "$A_i,\\ b_i$", color=ink(RED))
    pulses = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    page.plot(
        0.2 + 0.08 * np.array([0, 1, 1, 2, 2, 5, 5, 6, 6, 7]), 0.78 + 0.17 * pulses, color=GREY
    )
    write(0.86, 0.86, "pulses, 1 per second", 8.5, color=GREY, ha="left")

    # Stage 2: the averaged response of the column, and where on the head it is seen.
    protocol = Protocol()
    shown = protocol.times <= 0.6
    response = figure.add_axes((2.76 / WIDTH, 2.42 / height, 1.22 / WIDTH, 0.72 / height))
    response.plot(protocol.times[shown], simulate_erp(TYPICAL, protocol)[shown], color=BLUE)
    response.axis("off")
    write(3.37, 3.26, "$y_1 - y_2$, averaged", 8.5)
    arrow((3.37, 2.36), (3.37, 2.06), BLACK, width=1.2)
    write(3.45, 2.21, "lead field", 8.5, ha="left", color=GREY)
    centre, radius = np.array([3.37, 1.44]), 0.45
    nose = centre + radius * np.array([(-0.16, 0.97), (0.0, 1.2), (0.16, 0.97)])
    page.plot(*nose.T, color=GREY, lw=1.2)
    page.add_patch(Circle(centre, radius, fc="white", ec=GREY, lw=1.2))
    ring = [(0.0, 1), (0.32, 6), (0.62, 12), (0.88, 18)]
    angles = [(r, 2 * np.pi * k / n) for r, n in ring for k in range(n)]
    sensors = np.array([(r * np.sin(a), r * np.cos(a)) for r, a in angles])
    potential = np.exp(-(((sensors - (-0.35, 0.25)) / 0.5) ** 2).sum(axis=1))
    potential -= 0.7 * np.exp(-(((sensors - (0.45, -0.2)) / 0.8) ** 2).sum(axis=1))
    where = centre + radius * sensors
    page.scatter(*where.T, s=13, c=potential, cmap="RdBu_r", vmin=-1, vmax=1, ec=GREY, lw=0.3)
    write(3.37, 0.82, "64 electrodes + noise", 8.5)

    # Stage 3: the methods; stage 4: what they estimate.
    names = {
        "EEGTransformer": "EEGTransformer",
        "VanillaLSTM": "vanilla LSTM",
        "CNNBiLSTM": "CNN-BiLSTM",
        "NPE": "SBI (NPE)",
    }
    for k, (name, label) in enumerate(names.items()):
        low = 2.86 - 0.68 * k
        box(4.48, low, 1.22, 0.48, "white", COLORS[name])
        write(5.09, low + 0.24, label, 9.0)
    groups = [
        ("gains", "$A_e \\quad A_i$"),
        ("rates", "$b_e \\quad b_i$"),
        ("connectivity", "$a_1 \\quad a_2$\n$a_3 \\quad a_4$\n$C$"),
    ]
    for (name, symbols), low, high in zip(
        groups, (2.68, 1.88, 0.82), (0.66, 0.66, 0.92), strict=True
    ):
        box(6.18, low, 0.88, high, "white", "#d0d0d0")
        write(6.62, low + high - 0.14, name, 8.5, color=GREY)
        write(6.62, low + (high - 0.2) / 2, symbols, 10.5, linespacing=1.2)

    # The loop is closed by comparing the estimates with the parameters behind the data.
    page.plot([6.62, 6.62, 1.21, 1.21], [0.6, 0.28, 0.28, 0.5], color=GREY, lw=1.2, ls=(0, (4, 2)))
    arrow((1.21, 0.52), (1.21, 0.63), GREY, width=1.2)
    write(
        3.9,
        0.28,
        "compared with the parameters behind the data",
        9.0,
        color=GREY,
        bbox={"fc": "white", "ec": "none", "pad": 3},
    )
    return figure
