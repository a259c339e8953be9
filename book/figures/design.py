"""Drawings of the chapter on better experiments."""

import matplotlib.pyplot as plt

from figures.style import BLACK, COLORS, GREY, PURPLE, RED, SKY, WIDTH, drawing
from figures.tables import symbol

# The settings that are compared in detail, and what their panels are called.
TITLES = {
    "white noise": "white noise, known gain",
    "both": "noise of real EEG, unknown gain",
}
SETTING_COLORS = (BLACK, RED, SKY, PURPLE)


@drawing
def designs(frame):
    """How much more than the study's design each of the others tells: dots and bars.

    frame : rows of `stimulus_designs.gains`; the first design comes lowest
    """
    names = list(frame.design.unique())
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 0.7 + 0.27 * len(names)), sharey=True)
    fig.get_layout_engine().set(wspace=0.06)
    for ax, (setting, title) in zip(axes, TITLES.items(), strict=True):
        for convention, shift in (("CLASSIC", 0.14), ("RELEASED", -0.14)):
            rows = frame[(frame.convention == convention) & (frame.setting == setting)]
            heights = rows.design.map(names.index) + shift
            low, middle, high = (
                rows[f"{name} (nats)"] for name in ("lower quartile", "median", "upper quartile")
            )
            color = COLORS[convention]
            ax.hlines(heights, low, high, color=color, lw=1.2, alpha=0.6)
            ax.plot(middle, heights, "o", color=color, ms=4, mew=0, label=convention)
        ax.axvline(0.0, color=GREY, lw=0.8)
        ax.set_xscale("symlog", linthresh=3.0)
        ax.set_xticks([-30, -10, -3, 0, 3, 10], ["−30", "−10", "−3", "0", "3", "10"])
        ax.minorticks_off()
        ax.set(title=title, xlabel="nats more than the study's design")
    axes[0].set_yticks(range(len(names)), names)
    axes[1].legend(loc="lower right")
    return fig


@drawing
def settings(frame):
    """What a recording leaves of the prior's standard deviation, in each setting.

    frame : columns convention, setting, parameter, "lower quartile", "median" and "upper quartile"
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.3), sharey=True)
    parameters = list(frame.parameter.unique())
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        settings = panel.groupby("setting", sort=False)
        for k, ((setting, rows), color) in enumerate(zip(settings, SETTING_COLORS, strict=True)):
            x = rows.parameter.map(parameters.index) + 0.17 * (k - 1.5)
            low, high = rows["lower quartile"], rows["upper quartile"]
            ax.vlines(x, low, high, color=color, lw=1.2, alpha=0.6)
            ax.plot(x, rows["median"], "o", color=color, ms=3.6, mew=0, label=setting)
        ax.axhline(1.0, color=GREY, lw=0.8)
        ax.set(title=convention, yscale="log")
        ax.set_xticks(range(len(parameters)), [symbol(name) for name in parameters])
    axes[0].set_ylabel("standard deviation left,\nover that of the prior")
    axes[0].legend(loc="lower left", fontsize=8)
    return fig
