"""Drawings of the chapter on training."""

import matplotlib.pyplot as plt
import pandas as pd

from experiments.compared_methods import METHODS
from figures.style import BLACK, COLORS, GREY, WIDTH, drawing, ink
from jrlib.parameters import PARAMETERS, RANGES

SENSORS = "64 sensors"  # the panel that shows potentials, not responses
CHANNEL = "channel"  # the series of a channel with its noise


def waveforms(times, values, quantity, **words):
    """Rows of waveforms for `data`.

    times : (n_times,) s; values : (n, n_times); quantity : the column that they go into
    words : further columns, the same for all rows
    """
    axes = {"number": range(1, len(values) + 1), "time (ms)": 1e3 * times}
    points = pd.MultiIndex.from_product(axes.values(), names=axes)
    return pd.DataFrame(words | {quantity: values.ravel()}, points).reset_index()


@drawing
def data(frame):
    """Simulated responses in each convention, and one of them as 64 noisy sensors see it.

    frame : columns panel (a convention or `SENSORS`), series (`CHANNEL` or other), number, "time
        (ms)", and "response (mV)" or, of the sensors, "potential (µV)"
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7), width_ratios=(1, 1, 1.15))
    for ax, (panel, rows) in zip(axes, frame.groupby("panel", sort=False), strict=True):
        quantity = "potential (µV)" if panel == SENSORS else "response (mV)"
        for (series, _), line in rows.groupby(["series", "number"], sort=False):
            style = {"color": COLORS.get(panel), "lw": 0.7, "alpha": 0.6}
            if panel == SENSORS:
                noisy = series == CHANNEL
                style = {"color": GREY, "lw": 0.3} if noisy else {"color": COLORS["CLASSIC"]}
            ax.plot(line["time (ms)"], line[quantity], **style)
        ax.set(title=panel, xlabel="time after the pulse (ms)", xlim=(-100, 600))
        ax.set_ylabel(quantity if panel == SENSORS else "$y_1 - y_2$ (mV)")
    return fig


@drawing
def learning_curves(history):
    """Losses of each network by epoch: a row of panels for each convention.

    history : columns convention, method, seed, epoch, train_loss, validation_loss, kept (the epoch
        whose weights are kept) and mean_predictor_loss
    """
    conventions, methods = history.convention.unique(), history.method.unique()
    fig, axes = plt.subplots(
        len(conventions), len(methods), figsize=(WIDTH, 3.9), sharex=True, sharey="row"
    )
    reference = history.mean_predictor_loss.iloc[0]
    for row, convention in zip(axes, conventions, strict=True):
        for ax, method in zip(row, methods, strict=True):
            ax.set_yscale("log")
            ax.xaxis.set_major_locator(plt.MaxNLocator(3, integer=True))
            ax.axhline(reference, color=BLACK, lw=0.9, ls=":")
            shown = history[(history.convention == convention) & (history.method == method)]
            for _, line in shown.groupby("seed"):
                ax.plot(line.epoch, line.train_loss, color=GREY, lw=0.8)
                ax.plot(line.epoch, line.validation_loss, color=COLORS[convention], lw=1.1)
                kept = line[line.epoch == line.kept]
                ax.plot(kept.epoch, kept.validation_loss, "o", ms=4, color=COLORS[convention])
            if convention == conventions[0]:
                ax.set_title(METHODS[method].label.replace(", ", ",\n"), fontsize=8)
        lowest = history[history.convention == convention][["train_loss", "validation_loss"]].min()
        row[0].set_ylabel(f"{convention}\nmean squared error")
        ticks = [0.01, 0.02, 0.03, 0.05, 0.1, 0.2]
        row[0].set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        row[0].set_ylim(0.85 * min(*lowest, reference), 5 * reference)
        row[0].minorticks_off()
        words = {"training": GREY, "validation": ink(convention), "⋯ mean predictor": BLACK}
        for i, (text, color) in enumerate(words.items()):
            style = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 8}
            row[-1].annotate(text, (0.97, 0.97 - 0.11 * i), color=color, **style)
    fig.supxlabel("epoch", fontsize=10)
    return fig


@drawing
def predicted_against_true(estimates):
    """Estimates over true values: a row of panels for each method, a column for each parameter.

    estimates : rows of `comparison.predictions`, of one convention and of the nine parameters, with
        a column pearson: the correlation that is written into the panel
    """
    (convention,) = estimates.convention.unique()
    methods = estimates.method.unique()
    size = (WIDTH, 0.8 * len(methods) + 0.5)
    fig, axes = plt.subplots(len(methods), len(PARAMETERS), figsize=size)
    for row, method in zip(axes, methods, strict=True):
        for ax, parameter, span in zip(row, PARAMETERS, RANGES, strict=True):
            chosen = (estimates.method == method) & (estimates.parameter == parameter.name)
            points = estimates[chosen]
            ax.plot(span, span, color=GREY, lw=0.7)
            style = {"ms": 2.0, "mew": 0, "alpha": 0.5, "rasterized": True}
            ax.plot(points.true, points.estimate, ".", color=COLORS[convention], **style)
            ax.annotate(
                f"{points.pearson.iloc[0]:z.2f}".replace("-", "−"),
                (0.05, 0.95),
                xycoords="axes fraction",
                va="top",
                fontsize=7,
                fontweight="bold",
                bbox={"fc": "white", "ec": "none", "pad": 0.6, "alpha": 0.75},
            )
            ax.set(xlim=span, ylim=span, xticks=[], yticks=[])
            if method == methods[0]:
                ax.set_title(f"${parameter.symbol}$", loc="center")
        label = METHODS[method].label.replace(", ", ",\n")
        style = {"xycoords": "axes fraction", "ha": "right", "va": "center", "fontsize": 7.5}
        row[0].annotate(label, (-0.1, 0.5), **style)
    fig.supxlabel("true value", fontsize=9)
    fig.supylabel("estimate", fontsize=9)
    return fig
