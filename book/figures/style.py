"""The house style of the figures, and the data that each of them carries."""

import functools

import matplotlib as mpl
import numpy as np
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.figure import Figure
from matplotlib_inline.backend_inline import set_matplotlib_formats

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

    A figure that a notebook shows has its data beside it as text/csv: see `drawing`.
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


def drawing(draw):
    """Decorate a function that draws a figure from a DataFrame, its first argument.

    The figure that the function returns carries the DataFrame as `figure.data`. Calling it raises
    TypeError for anything but a DataFrame, and ValueError for one without rows, with a column that
    has no name of words or with two columns of the same name.
    """

    @functools.wraps(draw)
    def draw_and_carry(data, *arguments, **options):
        _check(data)
        figure = draw(data, *arguments, **options)
        figure.data = data
        return figure

    return draw_and_carry


def _check(data):
    if not isinstance(data, pd.DataFrame):
        raise TypeError(f"data: got {type(data).__name__}, expected a DataFrame")
    if data.empty:
        raise ValueError(f"data: got a DataFrame of shape {data.shape}, expected rows to draw")
    if not all(isinstance(name, str) and name for name in data):
        raise ValueError(f"data: got columns {[*data]}, expected words")
    if not data.columns.is_unique:
        raise ValueError(f"data: got columns {[*data]}, expected each name once")


def _data_beside(figure, include=None, exclude=None):
    if not hasattr(figure, "data"):
        raise ValueError(
            "the figure carries no data: draw it with a function that is marked with "
            "figures.drawing and takes the data as a DataFrame"
        )
    return {"text/csv": figure.data.to_csv(index=False)}


def ink(color):
    """A colour, or that of a name in COLORS, dark enough for text on white (WCAG AA: 4.5 to 1)."""
    color = COLORS.get(color, color) if isinstance(color, str) else color
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear *= min(1.0, (1.05 / 4.5 - 0.05) / (linear @ [0.2126, 0.7152, 0.0722]))
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def stamp(figure, text):
    """Write tier, sample size and seeds in small grey type under a figure; returns the figure."""
    figure.supxlabel(text, x=0.99, ha="right", fontsize=7.5, color=GREY)
    return figure
