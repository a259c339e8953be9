"""Drawings of the chapter that compares methods across noise levels."""

import matplotlib.pyplot as plt
import numpy as np

from experiments.compared_methods import METHODS
from figures.style import (
    COLORS,
    DASHED,
    WIDTH,
    label_lines,
)
from jrlib.parameters import QUANTITY_NAMES

METRICS = {  # metric: (name on axes and tables, what the mean predictor gets)
    "pearson": ("Pearson correlation", 0.0),
    "spearman": ("Spearman correlation", 0.0),
    "rmse": ("RMSE / prior sd", 1.0),
    "r2": ("$R^2$", 0.0),
}


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

    scores : rows of `comparison.scores`, of one convention and metric
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
