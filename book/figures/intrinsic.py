"""Drawings of the chapter on intrinsic noise and on an unknown gain."""

import matplotlib.pyplot as plt

from experiments.settings import CONVENTIONS
from figures.axes import draw_excess
from figures.style import BLACK, BLUE, COLORS, GREEN, GREY, PURPLE, SKY, WIDTH, drawing, ink
from figures.tables import symbol
from jrlib.inference.unknown_gain import NAMES

INPUT_COLORS = {"none": GREY, "mild": GREEN, "strong": BLUE, "Jansen and Rit's": PURPLE}
ANSWER_COLORS = {"exact": BLACK, "NPE": BLUE}
AVERAGE = "average"  # among the trials: the average of all of them
DASHES = (0, (3, 1.5))


@drawing
def trials(frame, n_trials):
    """Single responses and their average above, and what they differ by below.

    frame : columns input, trial (or `AVERAGE`), "time (s)", "response (mV)" and "less the average
        (mV)"
    n_trials : of which the average is taken
    """
    names = frame["input"].unique()
    fig, axes = plt.subplots(2, len(names), figsize=(WIDTH, 3.6), sharex=True, sharey="row")
    for (above, below), name in zip(axes.T, names, strict=True):
        for trial, rows in frame[frame["input"] == name].groupby("trial", sort=False):
            style = {"color": SKY, "lw": 0.7} if trial != AVERAGE else {"color": BLACK, "lw": 1.0}
            above.plot(rows["time (s)"], rows["response (mV)"], **style)
            if trial != AVERAGE:
                below.plot(rows["time (s)"], rows["less the average (mV)"], **style)
        above.set_title(name, fontsize=9)
    axes[0, 0].set_ylabel("response (mV)")
    axes[1, 0].set_ylabel("less the average")
    fig.supxlabel("time (s)", fontsize=10)
    n_shown = frame.trial.nunique() - 1
    shown = {1: "one trial", 6: "six trials"}.get(n_shown, f"{n_shown} trials")
    notes = {shown: SKY, f"average of {n_trials}": BLACK}
    _notes(axes[0, 0], notes, (0.98, 0.2), step=0.13, ha="right")
    return fig


@drawing
def recovery(frame):
    """Correlations for each quantity, a dot for each input.

    frame : columns convention, input, parameter, correlation, low and high
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    inputs = [name for name in INPUT_COLORS if name in set(frame["input"])]
    for ax, rows, parameters in _panels(axes, frame):
        for k, name in enumerate(inputs):
            line = rows[rows["input"] == name]
            x = line.parameter.map(parameters.index) + 0.18 * (k - (len(inputs) - 1) / 2)
            color = INPUT_COLORS[name]
            ax.vlines(x, line.low, line.high, color=color, lw=1.0, alpha=0.6)
            ax.plot(x, line.correlation, "o", color=color, ms=3.5, mew=0)
    axes[0].set(ylabel="correlation", ylim=(-0.3, 1.05))
    _notes(axes[1], {name: INPUT_COLORS[name] for name in inputs}, (0.6, 0.54), step=0.075)
    return fig


@drawing
def averaged(frame):
    """Mean correlations against the number of trials that are averaged.

    frame : columns convention, input, quantities ("synaptic" or "products"), "trials averaged" and
        "mean correlation"
    """
    styles = {"synaptic": "-", "products": DASHES}
    fig, axes = _against_trials(frame, "mean correlation", "quantities", styles)
    for ax in axes:
        ax.axhline(0.0, color="#bbbbbb", lw=0.8)
    axes[0].set_ylim(-0.1, 1.05)
    colors = {name: INPUT_COLORS[name] for name in frame["input"].unique()}
    _notes(axes[1], colors, (0.03, 0.56), step=0.085)
    _notes(axes[1], {"dashed: the products": BLACK}, (0.03, 0.2))
    return fig


@drawing
def ignored(frame, claimed):
    """How often intervals hold the truth, with the noise in training and without it.

    frame : columns convention, input, trained ("with" or "without" the noise), "trials averaged"
        and "part that holds the truth"
    claimed : part of them that is claimed to hold the truth
    """
    styles = {"with": "-", "without": DASHES}
    fig, axes = _against_trials(frame, "part that holds the truth", "trained", styles)
    for ax in axes:
        ax.axhline(claimed, color=GREY, lw=0.8)
    axes[0].set(ylabel=f"{100 * claimed:g} % intervals that hold the truth", ylim=(0.0, 1.0))
    colors = {name: INPUT_COLORS[name] for name in frame["input"].unique()}
    _notes(axes[1], colors, (0.03, 0.42), step=0.085)
    _notes(axes[1], {"dashed: noise ignored": BLACK}, (0.03, 0.08))
    return fig


@drawing
def coverage(frame):
    """Coverage less nominal coverage of regions, a panel for each number of trials.

    frame : as of `intrinsic_noise.coverage_of_regions`
    """
    conventions, numbers = frame.convention.unique(), frame.n_trials.unique()
    fig, axes = plt.subplots(
        len(conventions),
        len(numbers),
        figsize=(WIDTH, 3.4),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    for row, convention in zip(axes, conventions, strict=True):
        for ax, n_trials in zip(row, numbers, strict=True):
            rows = frame[(frame.convention == convention) & (frame.n_trials == n_trials)]
            for region, ls in (("highest density", "-"), ("TARP", "--")):
                curve = rows[rows.region == region].assign(series=region)
                draw_excess(ax, curve, color=COLORS[convention], lw=1.4, ls=ls)
            if convention == conventions[0]:
                ax.set_title("1 trial" if n_trials == 1 else f"{n_trials} trials", fontsize=9)
        row[0].set_ylabel(f"{convention}\ncoverage − nominal", fontsize=9)
    fig.supxlabel("credibility of the region", fontsize=10)
    return fig


@drawing
def variability(frame):
    """Correlations from the average alone, and from the average with how much the trials differ.

    frame : columns convention, input, parameter, "correlation, average" and "correlation, and
        variability"
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    inputs = [name for name in INPUT_COLORS if name in set(frame["input"])]
    for ax, rows, parameters in _panels(axes, frame):
        for k, name in enumerate(inputs):
            line = rows[rows["input"] == name]
            x = line.parameter.map(parameters.index) + 0.3 * (k - (len(inputs) - 1) / 2)
            ends = line["correlation, average"], line["correlation, and variability"]
            _open_to_filled(ax, x, *ends, color=INPUT_COLORS[name], lw=1.2)
    axes[0].set(ylabel="correlation", ylim=(-0.1, 1.05))
    _notes(axes[1], {name: INPUT_COLORS[name] for name in inputs}, (0.03, 0.34), step=0.08)
    _notes(axes[1], {"○ average  ● and variability": BLACK}, (0.03, 0.17))
    return fig


@drawing
def gain(frame):
    """Correlations where the gain is known and where it is not.

    frame : columns convention, answer, parameter, "correlation, gain known" (NaN for the gain
        itself) and "correlation, gain unknown"
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharey=True)
    answers = list(frame.answer.unique())
    for ax, rows, parameters in _panels(axes, frame):
        for k, answer in enumerate(answers):
            line = rows[rows.answer == answer]
            x = line.parameter.map(parameters.index) + 0.3 * (k - (len(answers) - 1) / 2)
            ends = line["correlation, gain unknown"], line["correlation, gain known"]
            _open_to_filled(ax, x, *ends, color=ANSWER_COLORS[answer], lw=1.0)
    axes[0].set(ylabel="correlation", ylim=(-0.35, 1.05))
    _notes(axes[1], {name: ANSWER_COLORS[name] for name in answers}, (0.3, 0.46), step=0.08)
    _notes(axes[1], {"● gain known  ○ unknown": BLACK}, (0.3, 0.29))
    return fig


def _panels(axes, frame):
    """Prepare a panel for each convention: its axes, its rows, and the parameters along it."""
    parameters = [name for name in NAMES if name in set(frame.parameter)]
    for ax, convention in zip(axes, CONVENTIONS, strict=True):
        ax.axhline(0.0, color="#bbbbbb", lw=0.8)
        ax.set_title(convention)
        ax.set_xticks(range(len(parameters)), [symbol(name) for name in parameters], fontsize=9)
        yield ax, frame[frame.convention == convention], parameters


def _open_to_filled(axes, x, low, high, *, color, lw):
    """Draw open dots, filled dots, and lines between the two."""
    style = {"color": color, "ms": 4.5, "ls": ""}
    axes.vlines(x, low, high, color=color, lw=lw)
    axes.plot(x, low, "o", mfc="white", **style)
    axes.plot(x, high, "o", **style)


def _against_trials(frame, column, kind, styles):
    """Draw a column against the number of trials, a line for each input and kind.

    kind : column that decides on the style of a line; styles : a dict, its values -> style
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    numbers = sorted(frame["trials averaged"].unique())
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        for (name, which), rows in panel.groupby(["input", kind], sort=False):
            x, style = rows["trials averaged"], {"ms": 3, "lw": 1.2, "ls": styles[which]}
            ax.plot(x, rows[column], "o", color=INPUT_COLORS[name], **style)
        ax.set(xscale="log", title=convention)
        ax.set_xticks(numbers, [str(n) for n in numbers])
        ax.minorticks_off()
    axes[0].set_ylabel(column)
    fig.supxlabel("trials averaged", fontsize=10)
    return fig, axes


def _notes(axes, texts, place, *, step=0.0, ha="left"):
    """Write texts, a dict of their colours, one below the other from a place in the axes."""
    for k, (text, color) in enumerate(texts.items()):
        at = (place[0], place[1] - step * k)
        style = {"color": ink(color), "fontsize": 8.5, "ha": ha}
        axes.annotate(text, at, xycoords="axes fraction", **style)
