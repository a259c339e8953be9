"""Drawings of the chapter on sensitivity."""

import matplotlib.pyplot as plt
import numpy as np

from figures.style import (
    COLORS,
    WIDTH,
    label_lines,
)
from jrlib.parameters import PARAMETERS


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
