"""Drawings of the chapter on calibrated inference."""

from figures.style import GREY


def draw_excess(axes, frames, *, color, lw=0.8, ls="-"):
    """Draw observed less nominal coverage, and the band that chance allows, in one panel.

    frames : dict of label -> DataFrame as from `calibration.coverage`, all on as many simulations
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
