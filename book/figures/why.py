"""Drawings of the chapter that explains the comparison, and how its numbers are written."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from experiments.compared_methods import METHODS, VARIANTS
from experiments.explanations import FACTORS, POPULATIONS
from figures.axes import label_lines
from figures.style import BLACK, BLUE, COLORS, GREY, RED, SKY, WIDTH, drawing, ink
from figures.tables import symbol, table
from jrlib.parameters import IDENTIFIABLE_NAMES, PARAMETER_NAMES
from jrlib.priors import Prior

SYMBOLS = [symbol(name) for name in PARAMETER_NAMES]
METHOD_STYLES = {"MLP": "-", "Ridge": (0, (4, 1.5)), "EEGTransformer": (0, (1.2, 1.2))}
INTEGRATORS = {"euler": ("Euler", "-", 1.2), "rk4": ("Runge–Kutta", "--", 1.0)}


def percent(fraction):
    """A fraction as per cent with two significant digits."""
    return f"{two_digits(100 * fraction)} %"


def two_digits(number):
    """A number with two significant digits, written out."""
    return f"{float(f'{number:.2g}'):g}"


def power_of_ten(number):
    """The order of magnitude of a number in 0..1, as 10 to a power."""
    digits = str(round(-np.log10(number))).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10⁻{digits}"


def counted(number, noun):
    """A number of things, in the singular or plural."""
    return f"{number} {noun}{'s' if number > 1 else ''}"


@drawing
def sigmoids(frame, stimulus):
    """The sigmoids over potentials that occur, and below where those of each population lie.

    frame : as from `explanations.firing_rates`, with a column convention; stimulus : its rate, 1/s
    """
    fig, (top, bottom) = plt.subplots(
        2, 1, figsize=(WIDTH, 4.4), sharex=True, height_ratios=(2.2, 1)
    )
    for i, (name, rows) in enumerate(frame.groupby("convention", sort=False)):
        rows = rows.set_index("series")
        curve, ends = rows.loc["sigmoid"], rows.loc[list(POPULATIONS), ["5 % (mV)", "95 % (mV)"]]
        top.plot(
            curve["potential (mV)"], curve["firing rate (1/s)"], color=COLORS[name], label=name
        )
        bottom.hlines(np.arange(3) + 0.24 * (i - 1), *ends.to_numpy().T, color=COLORS[name], lw=4)
    top.axhline(stimulus, color=GREY, lw=1.0, ls=":", label="_stimulus")
    top.set(yscale="log", ylim=(1e-3, 200), ylabel="firing rate (1/s)")
    top.annotate("stimulus", (0.0, 1.25 * stimulus), color=GREY, fontsize=8, ha="center")
    bottom.set_xscale("symlog", linthresh=10, linscale=0.6)
    bottom.set(ylim=(2.6, -0.6), xlabel="potential (mV)")
    ticks = [-1e4, -1e3, -100, -10, 0, 10, 100, 1e3]
    bottom.set_xticks(ticks, [f"{tick:,.0f}".replace("-", "−") for tick in ticks])
    bottom.set_yticks(range(3), POPULATIONS)
    label_lines(top)
    return fig


@drawing
def sensitivities(frame):
    """Relative sensitivity to each parameter over the prior: medians and the middle 90 %.

    frame : as from `local_information.over_prior`, by parameter
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.2))
    for i, (name, rows) in enumerate(frame.groupby("convention", sort=False)):
        rows = rows.set_index("parameter").loc[list(PARAMETER_NAMES)]
        x, color = np.arange(9) + 0.2 * (i - 1), COLORS[name]
        ax.vlines(x, rows.low, rows.high, lw=1.4, color=color)
        ax.plot(x, rows["median"], "o", ms=5, color=color)
        place = (0.99, 0.93 - 0.08 * i)
        ax.annotate(name, place, xycoords="axes fraction", color=ink(name), ha="right")
    ax.set(yscale="log", ylabel="relative change of the response\nper relative change")
    ax.set_xticks(range(9), SYMBOLS)
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    ax.set_ylim(top=30.0)
    return fig


@drawing
def known_products(frame):
    """Truth against the mean given the products for C and a_1, and the correlations of all five.

    frame : rows of the two frames of `explanations.known_products`, told apart by the column
        series, "samples" and "correlations"
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7))
    points = frame[frame.series == "samples"]
    for ax, name in zip(axes, ("C", "a_1"), strict=False):
        cloud = points[points.parameter == name]
        style = {"ms": 2, "mew": 0, "color": BLUE, "alpha": 0.5, "rasterized": True}
        ax.plot(cloud.truth, cloud.ideal, "o", **style)
        ends = Prior().ranges[PARAMETER_NAMES.index(name)]
        ax.plot(ends, ends, color=GREY, lw=0.8)
        ax.set(title=symbol(name), xlabel="truth", ylabel="mean given the products")
    bars = frame[frame.series == "correlations"].set_index("parameter").loc[list(FACTORS)]
    axes[2].bar(range(5), bars.ideal, color=SKY, width=0.6)
    axes[2].plot(range(5), bars.learned, "o", color=BLACK)
    axes[2].set(title="Ceiling", ylabel="Pearson correlation", ylim=(0, 1))
    axes[2].set_xticks(range(5), [symbol(name) for name in bars.index])
    return fig


@drawing
def spectrum(frame):
    """Standard errors along the eigendirections: at typical parameters, and the middle 90 %.

    frame : as from `local_information.over_prior`, by rank
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.4))
    for name, rows in frame.groupby("convention", sort=False):
        ax.fill_between(rows["rank"], rows.low, rows.high, color=COLORS[name], alpha=0.18, lw=0)
        ax.plot(rows["rank"], rows.typical, "o-", color=COLORS[name], label=name)
    ax.axhline(1.0, color=GREY, lw=0.8, ls=":")
    ax.annotate("100 %", (1.0, 1.5), color=GREY, fontsize=8)
    ax.set(yscale="log", xlabel="direction, stiffest first", ylabel="relative standard error")
    ax.set_xticks(range(1, 9))
    label_lines(ax)
    return fig


@drawing
def directions(frame):
    """Weights of the combinations in the eigendirections, a matrix for each convention.

    frame : as from `local_information.eigendirections`, with a column convention
    """
    conventions = frame.convention.unique()
    fig, axes = plt.subplots(1, len(conventions), figsize=(WIDTH, 3.4), sharey=True)
    for ax, name in zip(axes, conventions, strict=True):
        rows = frame[frame.convention == name]
        weights = rows.pivot(index="direction", columns="combination", values="weight")
        weights = weights[list(IDENTIFIABLE_NAMES)].to_numpy()
        image = ax.imshow(weights, cmap="RdBu_r", vmin=-1, vmax=1, aspect="auto")
        for (i, j), weight in np.ndenumerate(weights):
            if abs(weight) >= 0.15:
                color = "white" if abs(weight) > 0.6 else BLACK
                style = {"ha": "center", "va": "center", "fontsize": 6.5, "color": color}
                ax.annotate(f"{weight:.1f}".replace("-", "−"), (j, i), **style)
        ax.set_xticks(range(8), [symbol(name) for name in IDENTIFIABLE_NAMES], fontsize=8)
        ax.set_yticks(range(8), range(1, 9))
        ax.set_title(name)
        ax.spines[:].set_visible(False)
    axes[0].set_ylabel("direction, stiffest first")
    fig.colorbar(image, ax=axes, label="weight", aspect=30, pad=0.01)
    return fig


@drawing
def profiles(frame):
    """Profile likelihoods, a panel for each combination.

    frame : columns convention, combination, "factor of the typical value", deviance and "noise
        factor"
    """
    names = frame.combination.unique()
    fig, axes = plt.subplots(1, len(names), figsize=(WIDTH, 2.8), sharey=True, squeeze=False)
    for ax, name in zip(axes[0], names, strict=True):
        for convention, rows in frame[frame.combination == name].groupby("convention", sort=False):
            factor, style = rows["factor of the typical value"], {"label": convention, "ms": 2.5}
            ax.plot(factor, rows.deviance, "o-", color=COLORS[convention], **style)
        ax.axhline(3.84, color=GREY, lw=0.8, ls=":")
        ends = factor.min(), factor.max()
        ax.set(title=symbol(name), xscale="log", ylim=(-0.5, 16))
        ax.set_xticks([ends[0], 1.0, ends[1]], [f"{ends[0]:.2g}", "1", f"{ends[1]:g}"])
        ax.xaxis.set_minor_locator(plt.NullLocator())
    axes[0, 0].set_ylabel("deviance")
    lines = axes[0, -1].get_legend_handles_labels()
    fig.legend(*lines, loc="outside upper right", ncols=2)
    noise = f"noise factor {frame['noise factor'].iloc[0]:,.10g}"
    fig.supxlabel(f"factor of the typical value; {noise}", fontsize=9)
    return fig


@drawing
def sobol(frame):
    """Sobol's indices of summaries of the response, a row of panels for each convention.

    frame : columns convention, summary, parameter, first, first_error, total, total_error and
        local, the share that the derivatives at the typical parameters predict
    """
    conventions, summaries = frame.convention.unique(), frame.summary.unique()
    fig, axes = plt.subplots(
        len(conventions), len(summaries), figsize=(WIDTH, 4.3), sharex=True, sharey=True
    )
    y = np.arange(9)
    for (i, j), ax in np.ndenumerate(axes):
        rows = frame[(frame.convention == conventions[i]) & (frame.summary == summaries[j])]
        rows, color = rows.set_index("parameter").loc[list(PARAMETER_NAMES)], COLORS[conventions[i]]
        ax.barh(y, rows.total.clip(0, 1), height=0.75, alpha=0.3, color=color)
        ax.hlines(y - 0.27, *_interval(rows.total, rows.total_error), lw=0.8, color=color)
        ax.barh(y, rows["first"].clip(0, 1), height=0.3, color=color)
        ax.hlines(y, *_interval(rows["first"], rows.first_error), lw=0.8, color=BLACK)
        style = {"color": BLACK, "ms": 3, "mfc": "white", "mew": 0.8, "clip_on": False}
        ax.plot(rows.local, y, "o", zorder=3, **style)
        ax.tick_params(axis="y", length=0)
        if i == 0:
            ax.set_title(summaries[j], fontsize=9)
        if j == 0:
            ax.set_ylabel(conventions[i])
            ax.set_yticks(range(9), SYMBOLS, fontsize=8)
    axes[0, 0].set(ylim=(8.6, -0.6), xlim=(0, 1))
    axes[0, 0].set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes[-1, len(summaries) // 2].set_xlabel("part of the variance")
    return fig


def _interval(value, error):
    """Ends of the intervals of shares, within 0..1."""
    return (value - error).clip(0, 1), (value + error).clip(0, 1)


@drawing
def recovered(frame):
    """Correlations of a_k and of the products over the signal-to-noise ratio.

    frame : rows of `comparison.scores` of one metric; and a row for each a_k, the ceiling of its
        score, whose method is "products known exactly"
    """
    fig, axes = plt.subplots(2, 4, figsize=(WIDTH, 4.4), sharex=True, sharey=True)
    names = [*FACTORS[:4], *IDENTIFIABLE_NAMES[4:]]
    for ax, name in zip(axes.flat, names, strict=True):
        rows = frame[frame.parameter == name]
        ax.axhline(0, color="#bbbbbb", lw=0.8)
        for value in rows.value[rows.method == "products known exactly"]:
            ax.axhline(value, color=GREY, lw=0.8, ls=":")
        for convention in rows.convention[rows.method.isin(METHOD_STYLES)].unique():
            for method, dashes in METHOD_STYLES.items():
                line = rows[(rows.convention == convention) & (rows.method == method)]
                line, color = line.sort_values("snr_db"), COLORS[convention]
                ax.vlines(line.snr_db, line.low, line.high, lw=0.8, alpha=0.5, color=color)
                style = {"marker": "o", "ms": 2.5, "lw": 1.2, "ls": dashes, "color": color}
                label = f"{convention}, {METHODS[method].label}"
                ax.plot(line.snr_db, line.value, label=label, **style)
        ax.set_title(symbol(name))
    axes[0, 0].set_ylim(-0.25, 1.02)
    for ax in axes[:, 0]:
        ax.set_ylabel("Pearson correlation", fontsize=9)
    for ax in axes[1]:
        ax.set_xlabel("SNR (dB)", fontsize=9)
    lines = axes[0, 0].get_legend_handles_labels()
    fig.legend(*lines, loc="outside upper center", ncols=2, fontsize=8)
    return fig


@drawing
def readout(frame):
    """What the LSTM recovers when it is read out at different times, and its gradients.

    frame : columns panel ("size of the response", "accuracy" or "gradient"), series, "time (s)",
        value, low and high. The sizes and the gradients are relative to their largest.
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    size, accuracy, gradient = (
        frame[frame.panel == panel] for panel in ("size of the response", "accuracy", "gradient")
    )
    left.fill_between(size["time (s)"], size.value, color="#dddddd", lw=0)
    for (name, line), color in zip(
        accuracy.groupby("series", sort=False), (BLUE, RED), strict=True
    ):
        left.vlines(line["time (s)"], line.low, line.high, color=color, lw=1.0, alpha=0.5)
        left.plot(line["time (s)"], line.value, "o-", color=color, label=symbol(name))
    left.set(title="Accuracy", ylabel="Pearson correlation", ylim=(-0.2, 1.02), xlim=(-0.2, 1.05))
    left.axhline(0, color="#bbbbbb", lw=0.8)
    left.legend(loc="center right")
    for (name, line), color in zip(
        gradient.groupby("series", sort=False), (GREY, RED, BLUE), strict=True
    ):
        label = name.replace(", ", ",\n")
        right.plot(line["time (s)"], line.value, color=color, label=label)
    right.set(yscale="log", ylim=(1e-40, 1e3), title="Gradient by the input", xlim=(-0.2, 1.05))
    right.set_ylabel("relative to the largest")
    right.legend(loc="upper center", fontsize=8)
    for ax in (left, right):
        ax.set_xlabel("time after the pulse (s)")
    return fig


@drawing
def integration_errors(frame):
    """Effects of 1 % of each parameter beside the errors of integration, for each convention.

    frame : columns convention, series ("1 % of the parameter" or a method of integration),
        parameter and "relative change of the response"
    """
    conventions = frame.convention.unique()
    fig, axes = plt.subplots(1, len(conventions), figsize=(WIDTH, 3.0), sharey=True)
    for ax, name in zip(axes, conventions, strict=True):
        rows = frame[frame.convention == name].set_index("series")
        values = rows["relative change of the response"]
        effects = values[["1 % of the parameter"]]
        ax.plot(range(len(effects)), effects, "o", ms=5, color=COLORS[name])
        for method in values.index.drop("1 % of the parameter"):
            label, ls, lw = INTEGRATORS.get(method, (method, ":", 1.0))
            ax.axhline(values[method], color=BLACK, lw=lw, ls=ls)
            if ax is axes[0]:
                ax.annotate(label, (0, (1.4 if ls == "-" else 1.5) * values[method]), fontsize=8)
        ax.set(title=name, yscale="log", ylim=(1e-8, 0.1))
        ax.set_xticks(range(9), SYMBOLS, fontsize=8)
    axes[0].set_ylabel("relative change of the response")
    return fig


def beside_ridge(scores, noise_factors, caption):
    """Table of scores averaged over the eight combinations, and of their excess over ridge.

    scores : rows of `comparison.scores` of one metric; a mean that is not defined counts as 0
    noise_factors : of the columns, for each convention
    """
    eight = scores[scores.parameter.isin(IDENTIFIABLE_NAMES)]
    columns = ["convention", "noise_factor"]
    mean = eight.pivot_table(index="method", columns=columns, values="value").fillna(0.0)
    mean = mean.loc[[method for method in METHODS if method in mean.index]]
    conventions = scores.convention.unique()
    mean = mean[[(name, factor) for name in conventions for factor in noise_factors]]
    gain = (mean - mean.loc["Ridge"]).map("{:+z.2f}".format)
    cells = mean.map("{:z.2f}".format) + "<br><small>" + gain + "</small>"
    cells.columns = [f"{name},<br>noise {factor:,.10g}" for name, factor in cells]
    cells.insert(0, "method", [METHODS[method].label for method in cells.index])
    return table(cells, "tab-why-ridge", caption)


def variants(scores, caption):
    """Table of scores by variant, for the methods that have been trained in several.

    scores : rows of `comparison.scores` of one metric and noise factor; what is not defined counts
        as 0
    """
    scores = scores.fillna({"value": 0.0})
    groups = {symbol(name): [name] for name in ("A_e", "A_i", "b_e", "b_i", "C")}
    groups |= {"mean $a_k$": FACTORS[:4], "mean $C a_k$": IDENTIFIABLE_NAMES[4:]}
    by = ["convention", "method", "variant"]
    means = {
        label: scores[scores.parameter.isin(names)].groupby(by).value.mean()
        for label, names in groups.items()
    }
    order = [scores[name].unique() for name in by]  # with the standard variant first
    rows = pd.DataFrame(means).reindex(pd.MultiIndex.from_product(order, names=by)).dropna()
    rows = rows.reset_index()
    rows = rows[rows.duplicated(["convention", "method"], keep=False)]
    rows["method"] = [METHODS[method].label for method in rows.method]
    rows["variant"] = [VARIANTS[variant].label for variant in rows.variant]
    formats = dict.fromkeys(groups, "{:z.2f}")
    return table(rows, "tab-why-variants", caption, formats=formats)
