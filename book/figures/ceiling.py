"""Drawings of the chapter on how well anyone could do: exact posteriors, and what they allow."""

import matplotlib.pyplot as plt
import numpy as np

from experiments.compared_methods import METHODS
from experiments.settings import CONVENTIONS
from figures.axes import draw_excess, noise_positions, panel_grid
from figures.style import BLACK, BLUE, COLORS, GREY, RED, SKY, WIDTH, drawing, ink
from figures.tables import symbol, table, with_interval
from jrlib.parameters import QUANTITY_NAMES

TRUTH = "truth"  # the series of a frame of posterior samples that is what made the data
OPTIMAL, BEST = "optimal", "best method"  # series of the figure of optimal correlations
# How the tables write what is in a column.
_WORDS = {
    "metric": {"pearson": "correlation", "contraction": "contraction"}.get,
    "parameter": symbol,
    "method": lambda name: METHODS[name].label,
    "noise_factor": "{:,.10g}".format,
}


@drawing
def failures(frame):
    """The rates of the two synapses of each observation, by the worst outcome at any noise level.

    frame : as from `exact_posteriors.outcomes`
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0), sharex=True, sharey=True)
    severity = frame.outcome.map({"accepted": 0, "poor": 1}).fillna(2)  # 2: there are no samples
    for ax, convention in zip(axes, CONVENTIONS, strict=True):
        rows = frame.assign(severity=severity)[frame.convention == convention]
        worst = rows.groupby("number")[["b_e", "b_i", "severity"]].max()
        color, style = COLORS[convention], {"marker": "o", "ms": 3.5, "ls": ""}
        kinds = ({"color": "#bbbbbb", "mew": 0}, {"color": color, "mfc": "none"}, {"color": color})
        for which, kind in enumerate(kinds):
            points = worst[worst.severity == which]
            ax.plot(points.b_e, points.b_i, **style, **kind)
        ends = [rows.b_e.min(), rows.b_i.max()]
        ax.plot(ends, ends, color=GREY, lw=0.8)
        ax.set(title=convention, xlabel="$b_e$ (1/s)")
    axes[0].set_ylabel("$b_i$ (1/s)")
    return fig


@drawing
def samples(frame, limits, pairs=(("a_4", "C"), ("C a_1", "C a_2"), ("A_i", "b_i"))):
    """Posterior samples given one observation, a panel for each pair of quantities.

    frame : columns series, which is `TRUTH` in one row and the name of a posterior in the others,
        and `QUANTITY_NAMES`
    limits : of the axes, a dict of each quantity; pairs : of quantities
    """
    (truth,) = frame[frame.series == TRUTH].to_dict("records")
    posteriors = frame[frame.series != TRUTH].groupby("series", sort=False)
    colors = dict(zip(posteriors.groups, (BLUE, SKY), strict=False))
    fig, axes = plt.subplots(1, len(pairs), figsize=(WIDTH, 2.7))
    for ax, (x, y) in zip(axes, pairs, strict=True):
        ax.set(xlabel=symbol(x), ylabel=symbol(y), xlim=limits[x], ylim=limits[y])
        for name, rows in reversed([*posteriors]):  # the narrowest lies above the others
            style = {"color": colors[name], "ms": 3.5, "mew": 0, "alpha": 0.6}
            ax.plot(rows[x], rows[y], ".", **style)
        if y == "C":
            line = np.linspace(*limits[x], 100)
            ax.plot(line, truth[x] * truth[y] / line, color=RED, lw=0.9)
        ax.plot(truth[x], truth[y], "+", color=BLACK, ms=9, mew=1.4)
    _notes(axes[0], dict(reversed(colors.items())), (0.98, 0.97), step=0.09, ha="right")
    return fig


@drawing
def ranks(frame):
    """Distribution of ranks less the uniform one, a line for each quantity.

    frame : as from `exact_posteriors.coverage_of_ranks`. A row of panels for each convention, a
        column for each noise factor.
    """
    fig, panels = panel_grid(frame, "observed − expected", height=3.8)
    for ax, rows in panels:
        first = rows.iloc[0]
        draw_excess(ax, rows.assign(series=rows.parameter), color=COLORS[first.convention])
        ax.set_title(f"noise factor {first.noise_factor:,.10g}\nn = {first.n}", fontsize=9)
    fig.supxlabel("rank of the truth, as a fraction of the posterior samples", fontsize=10)
    return fig


@drawing
def optimal(frame):
    """The optimal correlation and that of the best method of each quantity, across noise levels.

    frame : columns series (`OPTIMAL` or `BEST`), convention, noise_factor, parameter, value, low
        and high
    """
    factors = frame.noise_factor[frame.series == OPTIMAL].unique()
    rows = [QUANTITY_NAMES[:4], QUANTITY_NAMES[4:8], QUANTITY_NAMES[9:], ("C", ".", ".", ".")]
    fig, axes = plt.subplot_mosaic(rows, figsize=(WIDTH, 6.6), sharex=True, sharey=True)
    styles = {
        OPTIMAL: {"marker": "o", "ms": 3, "lw": 1.3},
        BEST: {"marker": "x", "ms": 4, "lw": 1.0, "ls": "--"},
    }
    for name, ax in axes.items():
        ax.axhline(0.0, color="#bbbbbb", lw=0.8)
        lines = frame[frame.parameter == name].groupby(["convention", "series"], sort=False)
        for (convention, series), line in lines:
            x = noise_positions(line.noise_factor) + 0.16 * (CONVENTIONS.index(convention) - 0.5)
            ax.vlines(x, line.low, line.high, lw=1.0, alpha=0.6, color=COLORS[convention])
            ax.plot(x, line.value, color=COLORS[convention], **styles[series])
        ax.set(title=symbol(name), ylim=(-0.25, 1.02))
        ax.set_xticks(noise_positions(factors), [f"$10^{{{np.log10(f):g}}}$" for f in factors])
        ax.tick_params(labelsize=8)
    for row in rows:
        axes[row[0]].set_ylabel("correlation", fontsize=8.5)
    for name in ("C", "C a_2", "C a_3", "C a_4"):
        axes[name].tick_params(labelbottom=True)
    axes["C"].set_xlabel("noise factor", fontsize=8.5)
    notes = {f"{name}: optimal (dots), best method (crosses)": COLORS[name] for name in CONVENTIONS}
    _notes(axes["C"], notes, (1.12, 0.7), step=0.2, fontsize=10)
    for text in axes["C"].texts:
        text.set_in_layout(False)  # there are empty panels for them
    return fig


@drawing
def fractions(frame):
    """What fraction of the optimal correlation each method reaches: a dot for each noise level.

    frame : rows of `exact_posteriors.fractions_of_methods` of one parameter
    """
    methods = [name for name in METHODS if name in set(frame.method)]
    factors = np.sort(frame.noise_factor.unique())
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharex=True, sharey=True)
    for ax, convention in zip(axes, CONVENTIONS, strict=True):
        ax.axvline(1.0, color="#bbbbbb", lw=0.8)
        for k, (factor, color) in enumerate(_factor_colors(factors).items()):
            here = (frame.convention == convention) & (frame.noise_factor == factor)
            rows = frame[here]
            y = rows.method.map(methods.index) + 0.18 * (k - (len(factors) - 1) / 2)
            ax.hlines(y, rows.low, rows.high, color=color, lw=1.0, alpha=0.6)
            ax.plot(rows.value, y, "o", color=color, ms=4, label=f"noise factor {factor:,.10g}")
        ax.set(title=convention, xlabel="fraction of optimal")
    axes[0].set_yticks(range(len(methods)), [METHODS[name].label for name in methods])
    axes[0].set(ylim=(len(methods) - 0.5, -0.5), xlim=(min(0.0, frame.low.min()) - 0.03, 1.1))
    fig.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=len(factors))
    return fig


@drawing
def bounds(frame):
    """Standard deviations of exact posteriors against the bound of the tangent linear model.

    frame : as from `exact_posteriors.linear_bounds`
    """
    colors = _factor_colors(frame.noise_factor.unique())
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharex=True, sharey=True)
    for ax, convention in zip(axes, CONVENTIONS, strict=True):
        notes = {}
        for factor, color in colors.items():
            rows = frame[(frame.convention == convention) & (frame.noise_factor == factor)]
            found = rows["standard deviation"]
            ax.plot(rows.bound, found, ".", color=color, ms=3, mew=0, alpha=0.7)
            notes[f"{factor:,.10g}: median ratio {(found / rows.bound).median():.2f}"] = color
        ax.set(xscale="log", yscale="log", title=convention, xlabel="bound")
        ax.plot([1e-4, 2.0], [1e-4, 2.0], color=GREY, lw=0.8)
        _notes(ax, notes, (0.03, 0.97), step=0.07)
    axes[0].set_ylabel("exact posterior standard deviation")
    return fig


def _factor_colors(factors):
    """A colour for each noise factor: a dict."""
    colors = plt.get_cmap("viridis")(np.linspace(0.0, 0.85, len(factors)))
    return dict(zip(factors, colors, strict=True))


def _notes(axes, texts, place, *, step, ha="left", fontsize=8.5):
    """Write texts, a dict of their colours, one below the other from a place in the axes."""
    for k, (text, color) in enumerate(texts.items()):
        style = {"color": ink(color), "fontsize": fontsize, "ha": ha, "va": "top"}
        axes.annotate(text, (place[0], place[1] - step * k), xycoords="axes fraction", **style)


def interval_table(frame, name, caption, *, rows, columns):
    """Table of numbers with their intervals.

    frame : columns value, low and high, and those that rows and columns name
    name, caption : see `figures.table`
    rows, columns : lists, of columns of the frame; there is a row and a column of the table for
        each of their combinations, in the order of the frame
    """
    cells = [*map(with_interval, frame.value, frame.low, frame.high)]
    words = {name: frame[name].map(_WORDS[name]) for name in [*rows, *columns] if name in _WORDS}
    wide = frame.assign(cell=cells, **words).pivot_table(
        "cell", rows, columns, aggfunc="first", sort=False
    )
    wide.columns = ["<br>".join(column) for column in wide]
    wide = wide.reset_index().rename(columns={"metric": "measure"})
    return table(wide, name, caption, data=frame)
