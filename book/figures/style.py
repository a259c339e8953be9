"""The house style, and the figures and tables that more than one chapter draws."""

import matplotlib as mpl
import numpy as np
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats
from scipy.optimize import isotonic_regression

from figures import drawn

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
