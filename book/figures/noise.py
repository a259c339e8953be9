"""Drawings of the chapter that compares methods across noise levels."""

import matplotlib.pyplot as plt
import numpy as np

from experiments.compared_methods import METHODS
from figures.axes import label_lines, noise_axis, noise_positions
from figures.style import COLORS, DASHED, WIDTH, drawing
from figures.tables import METRICS, symbol
from jrlib.parameters import QUANTITY_NAMES

MEAN = "mean"  # stands for a parameter where a score is a mean over all of `QUANTITY_NAMES`


@drawing
def quality(scores):
    """Fig. 4: how well each method estimates each quantity, across noise levels.

    scores : rows of `comparison.scores`, of one convention and metric, and rows in which parameter
        is `MEAN`; these are drawn in a panel of their own, in which the lines carry the methods'
        names
    Returns the figure: the synaptic parameters, then a_k above the products C a_k, then C.
    """
    (metric,) = scores.metric.unique()
    label, reference = METRICS[metric]
    snr = scores.groupby("noise_factor").snr_db.first()
    methods = [method for method in METHODS if method in COLORS]
    rows = [QUANTITY_NAMES[:4], QUANTITY_NAMES[4:8], QUANTITY_NAMES[9:], ("C", MEAN, MEAN, ".")]
    fig, axes = plt.subplot_mosaic(
        rows, figsize=(WIDTH, 7.4), sharex=True, sharey=True, height_ratios=(1, 1, 1, 1.25)
    )
    # Side by side within what is free around a noise level.
    steps = np.diff(np.sort(noise_positions(snr.index)))
    offsets = np.linspace(-0.42, 0.42, len(methods)) * min([0.5, *steps])
    for name, ax in axes.items():
        ax.axhline(reference, color="#bbbbbb", lw=0.8)
        shown = scores[scores.parameter == name]
        for method, offset in zip(methods, offsets, strict=True):
            _draw_method(ax, shown[shown.method == method], method, offset=offset)
        ax.set_title("mean over all thirteen" if name == MEAN else symbol(name))
        noise_axis(ax, snr)
        ax.tick_params(labelsize=7.5)
    if metric != "rmse":
        ax.set_ylim(-0.25, 1.02)
    axes["C a_4"].tick_params(labelbottom=True)
    for row in rows:
        axes[row[0]].set_ylabel(label, fontsize=8.5)
    axes[MEAN].set_xlabel("noise factor; below it signal-to-noise ratio (dB)", fontsize=8.5)
    label_lines(axes[MEAN])
    for text in axes[MEAN].texts:
        text.set_in_layout(False)  # there is an empty panel for them
    return fig


def _draw_method(axes, scores, method, *, offset):
    """Draw the line of one method and the intervals of its scores, shifted sideways by offset."""
    line = scores.sort_values("noise_factor")
    x, style = noise_positions(line.noise_factor) + offset, {"color": COLORS[method]}
    style["label"] = METHODS[method].label
    axes.vlines(x, line.low, line.high, lw=0.9, alpha=0.55, **style)
    style["ls"] = (0, (2.5, 1.2)) if method in DASHED else "-"
    # There is a gap after no noise, which has no place on the logarithmic axis.
    gap = (line.noise_factor == 0).sum()
    x, value = (np.insert(np.asarray(values), gap, np.nan) for values in (x, line.value))
    axes.plot(x, value, marker="o", ms=2.4, mew=0, lw=1.0, **style)
