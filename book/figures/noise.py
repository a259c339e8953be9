"""Drawings of the chapter that compares methods across noise levels."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.compared_methods import METHODS, VARIANTS
from experiments.comparison import MEAN
from figures.axes import label_lines, noise_axis, noise_positions
from figures.style import COLORS, DASHED, GREY, WIDTH, drawing
from figures.tables import METRICS, symbol, table, with_interval
from jrlib.parameters import QUANTITY_NAMES


@drawing
def quality(scores):
    """Fig. 4: how well each method estimates each quantity, across noise levels.

    scores : rows of `comparison.scores` and `comparison.mean_scores`, of one convention and metric;
        the latter are drawn in a panel of their own, in which the lines carry the methods' names
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


def ranking_table(ranks, name, caption, *, by):
    """Table that ranks methods: a row for each, the best first.

    ranks : rows of `comparison.mean_scores`, with a column over that says what the means are over
    name, caption : see `figures.table`
    by : the convention and the entry of over whose means make the order
    """
    cells = [*map(with_interval, ranks.value, ranks.low, ranks.high)]
    columns = [*ranks[["convention", "over"]].drop_duplicates().itertuples(index=False, name=None)]
    keys = {"index": "method", "columns": ["convention", "over"]}
    order = ranks.pivot(**keys, values="value")[by].sort_values(ascending=False).index
    wide = ranks.assign(cell=cells).pivot(**keys, values="cell").loc[order, columns]
    wide.columns = [f"{convention},<br>{over}" for convention, over in wide]
    wide.insert(0, "method", [METHODS[method].label for method in wide.index])
    return table(wide, name, caption, data=ranks)


def published_table(published, name, caption):
    """Table of the published correlations: a row for each method and parameter.

    published : rows of `public_notebooks.published_comparison`
    name, caption : see `figures.table`
    """
    rows = []
    for (method, parameter), group in published.groupby(["method", "parameter"], sort=False):
        row = {"parameter": symbol(parameter), "method": METHODS[method].label}
        for variant, ours in group.sort_values("run").groupby("variant", sort=False):
            row["published"] = ", ".join(f"{value:.2f}" for value in ours.published)
            outside = ", ".join(f"{value:.2f}" for value in ours.published[~ours.inside])
            note = f"<br><b>not {outside}</b>" if outside else ""
            interval = with_interval(*ours[["median", "low", "high"]].iloc[0])
            row[f"ours,<br>{VARIANTS[variant].label}"] = interval + note
        rows.append(row)
    return table(pd.DataFrame(rows), name, caption, data=published)


@drawing
def sampling(differences):
    """What a finer sampling changes: a group of dots for each quantity, and of diamonds at the end.

    differences : rows of `comparison.differences`
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    ax.axhline(0.0, color="#bbbbbb", lw=0.8)
    places = np.append(np.arange(len(QUANTITY_NAMES)), len(QUANTITY_NAMES) + 1.2)
    methods = differences.method.unique()
    for method, offset in zip(methods, np.linspace(-0.27, 0.27, len(methods)), strict=True):
        rows = differences[differences.method == method].set_index("parameter")
        each, mean, color = rows.loc[[*QUANTITY_NAMES]], rows.loc[MEAN], COLORS[method]
        ax.vlines(places[:-1] + offset, each.low, each.high, lw=1.0, alpha=0.6, color=color)
        ax.plot(places[:-1] + offset, each.value, "o", ms=3.2, mew=0, color=color)
        last = places[-1] + 2 * offset
        ax.vlines(last, mean.low, mean.high, lw=1.3, color=color)
        ax.plot(last, mean.value, "D", ms=3.5, color=color, label=METHODS[method].label)
    ax.axvline(places[-1] - 1.1, color=GREY, lw=0.7, ls=":")
    ax.set_xticks(places, [*map(symbol, QUANTITY_NAMES), "mean"])
    ax.set(ylabel="correlation at 1000 Hz\nminus at 250 Hz", xlim=(-0.6, places[-1] + 0.8))
    label_lines(ax)
    return fig
