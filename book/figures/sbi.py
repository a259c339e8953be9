"""Drawings of the chapter on posterior distributions."""

import matplotlib.pyplot as plt
import numpy as np

from figures.style import BLACK, COLORS, GREY, RED, WIDTH, drawing, ink
from figures.tables import symbol
from jrlib.parameters import PARAMETERS, QUANTITY_NAMES

TRAINING = ["convention", "simulations"]  # columns that tell the trained posteriors apart
HIGHEST = 6.0  # times the prior's highest density, where peaks of posteriors are cut off


def _trainings(frame):
    """Rows, colour and title of each training; those on few simulations are red."""
    for (convention, n), rows in frame.groupby(TRAINING, sort=False):
        color = COLORS[convention] if n == frame.simulations.max() else RED
        yield rows, color, f"{convention}\n{n:,} simulations"


@drawing
def training(frame):
    """Learning curves, a panel for each training, with a dot at the weights that are kept.

    frame : columns convention, simulations, epoch, and the losses with their signs changed, which
        are information gained: "on training simulations (nats)" and "on new simulations (nats)"
    """
    n_panels = len(frame[TRAINING].drop_duplicates())
    fig, axes = plt.subplots(1, n_panels, figsize=(WIDTH, 2.7), sharey=True)
    for ax, (rows, color, title) in zip(axes, _trainings(frame), strict=True):
        rows = rows.set_index("epoch")
        seen, new = (rows[f"on {kind} simulations (nats)"] for kind in ("training", "new"))
        ax.plot(seen, color=GREY, lw=1.2)
        ax.plot(new, color=color)
        ax.plot(new.idxmax(), new.max(), "o", ms=5, color=color)
        ax.axhline(0.0, color=GREY, lw=0.7, ls=":")
        ax.set_title(title, fontsize=9)
        ax.xaxis.set_major_locator(plt.MaxNLocator(4, integer=True))
        ax.margins(y=0.08)
    axes[0].set_ylabel("information gained (nats)")
    style = {"xycoords": "axes fraction", "ha": "right"}
    axes[-1].annotate("training", (0.97, 0.2), color=GREY, **style)
    axes[-1].annotate("validation", (0.97, 0.1), color=ink(color), **style)
    fig.supxlabel("epoch (pass over the simulations)", fontsize=10)
    return fig


@drawing
def marginals(frame):
    """Densities of the nine parameters before and after a response, and the truth.

    frame : as from `npe.marginals`, of posteriors that are named by their conventions
    """
    fig, axes = plt.subplots(3, 3, figsize=(WIDTH, 4.9))
    for ax, parameter in zip(axes.flat, PARAMETERS, strict=True):
        series = dict(list(frame[frame.parameter == parameter.name].groupby("series", sort=False)))
        (truth,), prior = series.pop("truth").value, series.pop("prior")
        ax.fill_between(prior.value, prior.density, color=GREY, alpha=0.25, lw=0)
        highest, most = prior.density.max(), HIGHEST * prior.density.max()
        for name, curve in series.items():
            ax.plot(curve.value, curve.density, color=COLORS[name], lw=1.4)
            highest = max(highest, min(curve.density.max(), most))
        ax.axvline(truth, color=BLACK, lw=1.0, ls="--")
        ax.set(xlim=prior.value.iloc[[0, -1]], ylim=(0, 1.1 * highest), yticks=[])
        ax.spines["left"].set_visible(False)
        unit = f" ({parameter.unit})" if parameter.unit else ""
        ax.set_xlabel(f"{symbol(parameter.name)}{unit}", labelpad=1)
    fig.supylabel("probability density", fontsize=10)
    notes = [*((name, ink(name)) for name in series), ("prior", GREY), ("- - truth", BLACK)]
    style = {"xycoords": "axes fraction", "ha": "right", "va": "top", "fontsize": 8.5}
    for i, (text, color) in enumerate(notes):
        axes[1, 2].annotate(text, (0.99, 0.97 - 0.13 * i), color=color, **style)
    return fig


@drawing
def pairs(frame, prior):
    """Samples of a posterior in pairs of parameters, and each parameter with its prior.

    frame : column series ("prior", "posterior" or "truth"), then a column for each parameter
    prior : the `Prior`, whose ranges are shown
    """
    names, color = [name for name in frame if name != "series"], COLORS["CLASSIC"]
    series = dict(list(frame.drop(columns="series").groupby(frame.series)))
    truth, posterior = series["truth"].iloc[0], series["posterior"]
    all_ranges = zip((parameter.name for parameter in PARAMETERS), prior.ranges, strict=True)
    ranges = {name: ends for name, ends in all_ranges if name in names}
    fig, axes = plt.subplots(len(names), len(names), figsize=(WIDTH, 6.4))
    for (i, j), ax in np.ndenumerate(axes):
        row, column = names[i], names[j]
        if j > i:
            ax.set_axis_off()
            continue
        ax.set(xlim=ranges[column], xticks=[], yticks=[])
        if i == j:
            bins = np.linspace(*ranges[row], 31)
            for name, style in (
                ("prior", {"fill": True, "color": GREY, "alpha": 0.25}),
                ("posterior", {"color": color}),
            ):
                ax.stairs(np.histogram(series[name][row], bins, density=True)[0], bins, **style)
            ax.axvline(truth[row], color=BLACK, lw=1.0, ls="--")
            ax.spines["left"].set_visible(False)
        else:
            ax.set_ylim(ranges[row])
            style = {"ms": 1.5, "alpha": 0.25, "mew": 0, "color": color, "rasterized": True}
            ax.plot(posterior[column], posterior[row], ".", **style)
            ax.plot(truth[column], truth[row], "+", color=BLACK, ms=9, mew=1.4)
            if row == "C" and column.startswith("a_"):
                values = np.linspace(*ranges[column], 100)
                ax.plot(values, truth[row] * truth[column] / values, color=RED, lw=0.9)
        if i == len(names) - 1:
            ax.set_xlabel(symbol(column))
            ax.set_xticks(ranges[column])
            ax.tick_params(axis="x", labelsize=7)
        if j == 0 and i > 0:
            ax.set_ylabel(symbol(row), rotation=0, ha="right", va="center")
    fig.text(0.55, 0.93, "+  truth", fontsize=10)
    fig.text(0.55, 0.90, "—  same product $C a_k$ as the truth", fontsize=10, color=ink(RED))
    fig.text(0.55, 0.87, "•  posterior", fontsize=10, color=color)
    return fig


@drawing
def predictive(frame):
    """Responses to parameters from prior and posterior, and the observed one, by convention.

    frame : rows of `npe.predictive_check`, with a column convention
    """
    conventions = frame.convention.unique()
    fig, axes = plt.subplots(1, len(conventions), figsize=(WIDTH, 2.9))
    for ax, name in zip(axes, conventions, strict=True):
        styles = {
            "prior": {"color": GREY, "lw": 0.5, "alpha": 0.35},
            "posterior": {"color": COLORS[name], "lw": 0.8, "alpha": 0.5},
            "observed": {"color": BLACK, "lw": 1.0, "ls": "--"},
        }
        lowest = {}
        for series, style in styles.items():
            rows = frame[(frame.convention == name) & (frame.series == series)]
            waves = rows.pivot(index="time (ms)", columns="line", values="response (mV)")
            ax.plot(waves, **style)
            lowest[series] = np.quantile(waves.min(), 0.1)
        low = 1.1 * min(lowest["observed"], lowest["prior"])
        ax.set(title=name, xlabel="time after the pulse (ms)", xlim=(-100, 600))
        ax.set_ylim(low, -0.15 * low)
    axes[0].set_ylabel("evoked response (mV)")
    for i, (series, style) in enumerate(styles.items()):
        place = (0.98, 0.05 + 0.09 * i)
        style = {"xycoords": "axes fraction", "ha": "right", "color": style["color"], "fontsize": 9}
        axes[-1].annotate(series, place, **style)
    return fig


@drawing
def contraction(frame):
    """Contraction of each quantity by convention, the products right of a line.

    frame : columns convention, parameter (all of `QUANTITY_NAMES`) and contraction
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    places = np.where(np.arange(13) < 9, np.arange(13.0), np.arange(13) + 0.6)
    for i, (name, rows) in enumerate(frame.groupby("convention", sort=False)):
        style = {"linefmt": COLORS[name], "markerfmt": "o", "basefmt": " "}
        stems = ax.stem(places + (-0.13, 0.13)[i], rows.contraction, **style)
        plt.setp(stems.stemlines, lw=1.0, alpha=0.6)
        plt.setp(stems.markerline, ms=6)
        place = (0.36, 0.95 - 0.1 * i)
        ax.annotate(name, place, xycoords="axes fraction", color=ink(name), va="top")
    ax.axhline(0.0, color=GREY, lw=0.8)
    ax.axvline(8.8, color=GREY, lw=0.7, ls=":")
    ax.set_xticks(places, [symbol(name) for name in QUANTITY_NAMES])
    ax.set(ylabel="contraction", ylim=(-0.08, 1.05))
    return fig


@drawing
def recovery(frame, prior):
    """Posterior mean over truth, a row of panels for each convention.

    frame : columns convention, parameter, truth and "posterior mean", in the parameter's unit
    prior : the `Prior`, whose ranges are shown
    """
    rows = list(frame.groupby("convention", sort=False))
    fig, axes = plt.subplots(len(rows), len(PARAMETERS), figsize=(WIDTH, 2.5))
    for row, (name, points) in zip(axes, rows, strict=True):
        for ax, parameter, span in zip(row, PARAMETERS, prior.ranges, strict=True):
            of_one = points[points.parameter == parameter.name]
            ax.plot(span, span, color=GREY, lw=0.7)
            style = {"ms": 1.6, "alpha": 0.5, "color": COLORS[name], "rasterized": True}
            ax.plot(of_one.truth, of_one["posterior mean"], ".", **style)
            ax.set(xlim=span, ylim=span, xticks=[], yticks=[])
            if ax in axes[0]:
                ax.set_title(symbol(parameter.name), loc="center")
        row[0].set_ylabel(name, fontsize=8.5)
    return fig


@drawing
def ranks(frame):
    """Histograms of ranks over the band of a calibrated posterior, a row for each training.

    frame : rows of `npe.rank_counts`, with columns convention and simulations
    """
    trainings = list(_trainings(frame))
    fig, axes = plt.subplots(
        len(trainings), len(PARAMETERS), figsize=(WIDTH, 3.2), sharey=True, sharex=True
    )
    for row, (bars, color, title) in zip(axes, trainings, strict=True):
        for ax, parameter in zip(row, PARAMETERS, strict=True):
            bins = bars[bars.parameter == parameter.name]
            edges = [*bins["rank from"], bins["rank below"].iloc[-1]]
            ax.axhspan(bins.low.iloc[0], bins.high.iloc[0], color=GREY, alpha=0.25, lw=0)
            ax.stairs(bins["count"], edges, baseline=None, color=color, lw=1.2)
            ax.set(xticks=[], yticks=[], xlim=(0, edges[-1]), ylim=(0, 2.4 * bins["count"].mean()))
            if ax in axes[0]:
                ax.set_title(symbol(parameter.name), loc="center")
        row[0].set_ylabel(title.replace("\n", ",\n").removesuffix(" simulations"), fontsize=8)
    return fig


@drawing
def coverage(frame):
    """How often regions of a given credibility hold the truth, a panel for each training.

    frame : rows of `npe.coverages`, with columns convention and simulations
    """
    n_panels = len(frame[TRAINING].drop_duplicates())
    fig, axes = plt.subplots(1, n_panels, figsize=(WIDTH, 2.9), sharey=True)
    for ax, (rows, color, title) in zip(axes, _trainings(frame), strict=True):
        styles = {"HPD": {"color": color}, "TARP": {"color": BLACK, "lw": 1.0, "ls": "--"}}
        for regions, style in styles.items():
            curve = rows[rows.regions == regions]
            if regions == "HPD":  # the band is that of both
                band = {"color": GREY, "alpha": 0.25, "lw": 0}
                ax.fill_between(curve.nominal, curve.low, curve.high, **band)
                ax.plot(curve.nominal, curve.nominal, color=GREY, lw=0.7)
            ax.plot(curve.nominal, curve.observed, **style)
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.set_title(title, fontsize=9)
    axes[0].set_ylabel("holds the truth (part of simulations)")
    axes[0].annotate("HPD regions (solid)", (0.97, 0.14), ha="right", fontsize=8.5)
    axes[0].annotate("TARP (dashed)", (0.97, 0.05), ha="right", fontsize=8.5)
    fig.supxlabel("credibility of the region", fontsize=10)
    return fig
