"""Drawings of the chapter on wrong assumptions."""

import matplotlib.pyplot as plt
import numpy as np

from figures.axes import draw_excess, label_lines
from figures.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    drawing,
    ink,
)

CHECK_COLORS = (BLUE, ORANGE, GREEN, SKY, RED, PURPLE, BLACK)


@drawing
def uniformity(frame):
    """Distributions of the checks' p values, less the uniform one.

    frame : as of `wrong_assumptions.uniformity`
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.2), sharey=True)
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        checks = panel.groupby("check", sort=False)
        for (check, rows), color in zip(checks, CHECK_COLORS, strict=True):
            draw_excess(ax, rows.assign(series=check), color=color, lw=1.1)
        ax.set_title(f"{convention}, {panel.recordings.iloc[0]} recordings")
    axes[0].set_ylabel("part of p values below,\nless what is expected")
    fig.supxlabel("p value", fontsize=10)
    label_lines(axes[1])
    return fig


@drawing
def objections(frame, together):
    """How often each check objects to each fault: two panels of coloured squares with percentages.

    frame : columns convention, fault, check and "part of recordings"
    together : the check of all checks, which is set apart as the last column
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.6), sharey=True)
    checks, faults = frame.check.unique(), frame.fault.unique()
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        parts = panel.pivot(index="fault", columns="check", values="part of recordings")
        parts = parts.loc[faults, checks].to_numpy()
        ax.imshow(parts, vmin=0.0, vmax=1.0, cmap="cividis", aspect="auto")
        for (row, column), value in np.ndenumerate(parts):
            color = "white" if value < 0.5 else "black"
            style = {"ha": "center", "va": "center", "fontsize": 7.5, "color": color}
            ax.text(column, row, f"{100 * value:.0f}", **style)
        ax.axvline(list(checks).index(together) - 0.5, color="white", lw=3)
        ax.set_title(convention)
        ax.set_xticks(range(len(checks)), checks, rotation=60, ha="right")
        ax.spines[:].set_visible(False)
        ax.tick_params(length=0)
    axes[0].set_yticks(range(len(faults)), faults)
    return fig


@drawing
def errors(frame, largest):
    """Errors of the estimator, a mark for each recording: whether anything warns of them.

    frame : columns convention, fault, noticed (whether the checks object) and "error (posterior
        standard deviations)"
    largest : error at which larger ones are drawn
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 4.2), sharex=True, sharey=True)
    faults = list(frame.fault.unique())
    marks = {True: ("o", SKY, 0.15), False: ("D", RED, -0.15)}
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        for noticed, (marker, color, shift) in marks.items():
            rows = panel[panel.noticed == noticed]
            x = rows["error (posterior standard deviations)"].clip(upper=largest)
            style = {"marker": marker, "color": color, "ms": 3.5, "mew": 0, "alpha": 0.8, "ls": ""}
            ax.plot(x, rows.fault.map(faults.index) + shift, **style)
        ax.axvline(1.0, color=GREY, lw=0.8)
        ax.set(xscale="log", title=convention, xlabel="error / posterior standard deviation")
        ax.minorticks_off()
    axes[0].set_xlim(0.2, 1.5 * largest)
    axes[0].set_yticks(range(len(faults)), faults)
    axes[0].invert_yaxis()
    for noticed, text, x in ((True, "● noticed", 0.62), (False, "◆ not noticed", 1.0)):
        style = {"color": ink(marks[noticed][1]), "fontsize": 9, "ha": "right"}
        axes[1].annotate(text, (x, 1.02), xycoords="axes fraction", **style)
    return fig
