"""The house style, and the figures and tables that more than one chapter draws."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib_inline.backend_inline import set_matplotlib_formats

from jrlib.parameters import PARAMETERS

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
GREY = "#777777"
COLORS = {
    "RELEASED": ORANGE,
    "TABULATED": PURPLE,
    "CLASSIC": BLUE,
    "truth": BLACK,
    "prior": GREY,
    "posterior": BLUE,
    "EEGTransformer": BLUE,
    "VanillaLSTM": RED,
    "CNNBiLSTM": GREEN,
    "NPE": PURPLE,
    "Ridge": ORANGE,
    "MLP": SKY,
    "Mean": GREY,
}
WIDTH = 7.2  # inches: the text column


def use_house_style():
    """Set matplotlib to the book's style: SVG that is the same from run to run, plain axes."""
    set_matplotlib_formats("svg", metadata={"Date": None}, bbox_inches="tight")
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


def stamp(figure, text):
    """Write tier, sample size and seeds in small grey type under a figure; returns the figure."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=7.5, color=GREY)
    return figure


def table(frame, name, caption, formats=None, index=False):
    """An HTML table with an id and a caption.

    frame : DataFrame; strings in its cells may hold HTML
    name : id of the table, such as "tab-parameters"
    caption : plain text or HTML
    formats : column -> format such as "{:.2f}", or function; missing values are left blank
    index : show the index too
    """
    shown = frame.astype(object)
    for column, form in (formats or {}).items():
        show = form.format if isinstance(form, str) else form
        shown[column] = [show(v) if pd.notna(v) else "" for v in frame[column]]
    body = shown.to_html(index=index, escape=False, border=0, table_id=name, na_rep="")
    head = body.index(">") + 1
    return HTML(f"{body[:head]}\n  <caption>{caption}</caption>{body[head:]}")


def label_lines(axes, *, gap=0.02):
    """Write each labelled line's label beside its last point, in its colour, without overlap."""
    low, high = axes.get_ylim()
    log = axes.get_yscale() == "log"
    scale = np.log10 if log else np.asarray
    lines = [line for line in axes.lines if not line.get_label().startswith("_")]
    ends = [np.clip(line.get_ydata()[-1], min(low, high), max(low, high)) for line in lines]
    heights = (scale(ends) - scale(low)) / (scale(high) - scale(low))
    spacing = 13 / 72 / (axes.get_position().height * axes.figure.get_figheight())
    lowest = -np.inf
    for i in np.argsort(heights):
        lowest = max(heights[i], lowest + spacing)
        axes.annotate(
            lines[i].get_label(),
            (1 + gap, lowest),
            xycoords="axes fraction",
            color=lines[i].get_color(),
            va="center",
            fontsize=9,
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
