"""What the drawings of several chapters put into one panel."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import isotonic_regression

from figures.style import GREY, WIDTH, ink


def panel_grid(frame, label, *, height, title="noise factor {:,.10g}"):
    """A figure with a row of panels for each convention and a column for each noise factor.

    frame : columns convention and noise_factor; label : of the vertical axes, below the convention
    height : of the figure, inches; title : of each column, a format of the noise factor
    Returns the figure and a list of pairs: the axes of a panel, and the rows of frame that are its.
    """
    conventions, factors = frame.convention.unique(), frame.noise_factor.unique()
    fig, axes = plt.subplots(
        len(conventions),
        len(factors),
        figsize=(WIDTH, height),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    panels = []
    for row, convention in zip(axes, conventions, strict=True):
        row[0].set_ylabel(f"{convention}\n{label}", fontsize=9)
        for ax, factor in zip(row, factors, strict=True):
            ax.tick_params(labelsize=8)
            here = (frame.convention == convention) & (frame.noise_factor == factor)
            panels.append((ax, frame[here]))
    for ax, factor in zip(axes[0], factors, strict=True):
        ax.set_title(title.format(factor), fontsize=9)
    return fig, panels


def note_lines(axes, notes, *, x=0.97, y=0.25):
    """Write words of one colour each below one another: notes are pairs, right-aligned at x, y."""
    for i, (text, color) in enumerate(notes):
        place = {"xycoords": "axes fraction", "ha": "right", "va": "bottom"}
        axes.annotate(text, (x, y - 0.1 * i), color=ink(color), fontsize=8, **place)


def draw_excess(axes, curves, *, color, lw=0.8, ls="-"):
    """Draw observed less nominal coverage, and the band that chance allows, in one panel.

    curves : rows of `calibration.coverage`, with a column "series" that tells the lines apart; all
        lines of a panel are of as many simulations, so that they have one band
    """
    if not axes.collections:
        (_, first), *_ = curves.groupby("series", sort=False)
        low, high = first.low - first.nominal, first.high - first.nominal
        axes.fill_between(first.nominal, low, high, color=GREY, alpha=0.25, lw=0)
        axes.axhline(0.0, color=GREY, lw=0.7)
    for label, curve in curves.groupby("series", sort=False):
        excess = curve.observed - curve.nominal
        axes.plot(curve.nominal, excess, color=color, lw=lw, ls=ls, alpha=0.8, label=label)


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
    axes.set_xticks(positions, minor=True)
    axes.set_xlim(min(positions) - 0.5, max(positions) + 0.5)


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
