"""Drawings and tables of the chapter on calibrated inference."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from claims import ledger
from experiments.compared_methods import METHODS
from experiments.settings import CONVENTIONS
from figures.axes import draw_excess, label_lines, noise_positions, note_lines, panel_grid
from figures.ledger import MARKS
from figures.style import BLACK, BLUE, COLORS, DASHED, GREEN, GREY, SKY, WIDTH, drawing, ink
from figures.tables import formulas, symbol, table, with_interval
from jrlib.parameters import IDENTIFIABLE_NAMES

ALL_LEVELS = "network for all levels"
LABELS = {name: method.label for name, method in METHODS.items()} | {ALL_LEVELS: ALL_LEVELS}
GROUPS = {
    "synaptic": ("$A_e, A_i, b_e, b_i$", GREEN),
    "products": ("$C a_1 \\ldots C a_4$", BLUE),
}
FOLDED = "{}<br>{:,.10g}"  # heading of a column: convention and noise factor


@drawing
def budgets(frame):
    """Correlations against simulations to train on, and the optimal ones, for two groups.

    frame : rows of `amortised_posteriors.learning_curves`, for the groups of `GROUPS`
    """
    fig, panels = panel_grid(frame, "correlation", height=4.6)
    for ax, panel in panels:
        for group, line in panel.groupby("group", sort=False):
            _, color = GROUPS[group]
            ax.vlines(line.n_simulations, line.low, line.high, color=color, lw=2.5, alpha=0.4)
            ax.plot(line.n_simulations, line.value, "o-", color=color, ms=3, lw=1.3)
            ax.axhline(line.optimal.iloc[-1], color=color, lw=1.0, ls=":")
        ax.set(xscale="log", ylim=(-0.15, 1.03))
    note_lines(fig.axes[-len(frame.noise_factor.unique())], GROUPS.values(), y=0.15)
    fig.supxlabel("simulations to train on", fontsize=10)
    return fig


@drawing
def curves(frame):
    """Correlations of every method against simulations to train on, and the optimal one.

    frame : rows of `comparison.averaged`, with columns optimal, optimal_low and optimal_high, which
        are NaN where there is no optimal correlation
    """
    label = "correlation, mean over eight quantities"
    fig, panels = panel_grid(frame, label, height=6.2)
    shown = [name for name in LABELS if name in set(frame.method)]
    shifts = dict(zip(shown, np.linspace(0.9, 1.11, len(shown)), strict=True))
    for ax, panel in panels:
        best = panel.iloc[0]
        ax.axhspan(best.optimal_low, best.optimal_high, color=GREY, alpha=0.2, lw=0)
        ax.axhline(best.optimal, color=GREY, lw=1.0, ls=":", label="_optimal")
        for method in (name for name in shown if name in set(panel.method)):
            line = panel[panel.method == method].sort_values("n_simulations")
            style = {"color": COLORS.get(method, BLACK), "label": LABELS[method]}
            x, dashes = line.n_simulations * shifts[method], (0, (2.5, 1.2))
            ax.vlines(x, line.low, line.high, lw=0.9, alpha=0.5, **style)
            style["ls"] = dashes if method in DASHED else "-"
            ax.plot(x, line.value, marker="o", ms=2.8, lw=1.1, **style)
        ax.set(xscale="log", ylim=(-0.1, 1.02))
    for ax in fig.axes:
        if ax.get_subplotspec().is_last_col():
            label_lines(ax)
    fig.supxlabel("simulations to train on", fontsize=10)
    return fig


@drawing
def ranks(frame):
    """Ranks of the truth, less what is expected: a line for each quantity.

    frame : rows of `amortised_posteriors.uniformity` of the ranks
    """
    fig, panels = panel_grid(frame, "observed − expected", height=3.8)
    for ax, panel in panels:
        draw_excess(ax, panel, color=COLORS[panel.convention.iloc[0]])
        outside = panel.groupby("series").outside.first()
        text = f"{outside.sum()} of {len(outside)} outside"
        ax.annotate(text, (0.97, 0.03), xycoords="axes fraction", ha="right", fontsize=8)
    fig.axes[0].set_ylim(-0.15, 0.12)
    fig.supxlabel("rank of the truth, as a fraction of the posterior samples", fontsize=10)
    return fig


@drawing
def regions(frame):
    """Coverage of credible regions less what they claim: solid, dashed and grey lines.

    frame : rows of `amortised_posteriors.uniformity` of the regions, for the largest training and,
        of the regions of highest density, for the smallest
    """
    few, many = frame.n_simulations.min(), frame.n_simulations.max()
    looks = {
        ("highest density", many): {"lw": 1.5},
        ("TARP", many): {"lw": 1.5, "ls": "--"},
        ("highest density", few): {"lw": 1.0, "color": GREY},
    }
    fig, panels = panel_grid(frame, "coverage − nominal", height=3.8)
    for ax, panel in panels:
        for key, lines in panel.groupby(["check", "n_simulations"], sort=False):
            draw_excess(ax, lines, **{"color": COLORS[panel.convention.iloc[0]]} | looks[key])
    color = COLORS[frame.convention.iloc[-1]]
    notes = [("highest density", color), ("TARP (dashed)", color)]
    if few < many:
        notes.append((f"{few:,} simulations", GREY))
    note_lines(fig.axes[-len(frame.noise_factor.unique())], notes)
    fig.supxlabel("credibility of the region", fontsize=10)
    return fig


@drawing
def sizes(frame):
    """How often regions of one credibility hold the truth, for small, middle and large responses.

    frame : rows of `amortised_posteriors.coverage_by_size`
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.8), sharey=True)
    (credibility,) = frame.nominal.unique()
    for ax, (convention, panel) in zip(axes, frame.groupby("convention", sort=False), strict=True):
        for k, (_, dots) in enumerate(panel.groupby("responses", sort=False)):
            x = noise_positions(dots.noise_factor) + 0.3 * (k - 1)
            ax.plot(x, dots.observed, "o", ms=3 + 2 * k, color=COLORS[convention])
        ax.axhspan(panel.low.min(), panel.high.max(), color=GREY, alpha=0.25, lw=0)
        ax.axhline(credibility, color=GREY, lw=0.7)
        ax.set_title(convention)
        _powers_of_ten(ax, panel.noise_factor.unique())
    label = f"{100 * credibility:.0f} % regions that hold the truth"
    axes[0].set(ylabel=label, ylim=(0.0, 1.02))
    fig.supxlabel("noise factor", fontsize=10)
    return fig


def _powers_of_ten(axes, factors):
    """Write noise factors above 0 along a horizontal axis."""
    positions = noise_positions(factors)
    axes.set_xticks(positions, [f"$10^{{{x:g}}}$" for x in positions])
    axes.set_xlim(positions.min() - 0.8, positions.max() + 0.8)


@drawing
def corrections(frame, *, n_weighed, aim):
    """How near samples of the network are to exact ones, a dot for each response.

    frame : columns convention, noise_factor, relative_ess and c2st, as of the table "exact" of
        `amortised_posteriors`
    n_weighed : samples that are weighed; aim : accuracy of the classifier up to which it is content
    """
    fig, axes = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    for i, (convention, rows) in enumerate(frame.groupby("convention", sort=False)):
        color, shift = COLORS[convention], 0.6 * i - 0.3
        for ax, column in zip(axes, ("relative_ess", "c2st"), strict=True):
            x = noise_positions(rows.noise_factor) + shift
            ax.plot(x, rows[column], "o", color=color, ms=4, mew=0, alpha=0.4)
            median = rows.groupby("noise_factor")[column].median()
            centre = noise_positions(median.index) + shift
            ax.hlines(median, centre - 0.25, centre + 0.25, color=color, lw=2.0)
        style = {"xycoords": "axes fraction", "va": "top", "color": ink(color)}
        axes[0].annotate(convention, (0.03, 0.95 - 0.09 * i), **style)
    ends = 0.5 / n_weighed, 1.2
    axes[0].set(yscale="log", ylabel="relative effective sample size", ylim=ends)
    axes[1].set(ylabel="C2ST, network and exact", ylim=(0.45, 1.02))
    for ax, level in zip(axes, (1 / n_weighed, aim), strict=True):
        ax.axhline(level, color=GREY, lw=0.8, ls=":")
        _powers_of_ten(ax, frame.noise_factor.unique())
    fig.supxlabel("noise factor", fontsize=10)
    return fig


@drawing
def answers(frame):
    """Posterior samples of one response, of the network and exact ones, and the truth.

    frame : columns series ("network", "exact" or "truth") and those of `QUANTITY_NAMES`
    """
    fig, axes = plt.subplots(1, 3, figsize=(WIDTH, 2.7))
    looks = {
        "network": {"marker": ".", "color": SKY, "ms": 3, "mew": 0, "alpha": 0.35},
        "exact": {"marker": ".", "color": BLUE, "ms": 3, "mew": 0, "alpha": 0.6},
        "truth": {"marker": "+", "color": BLACK, "ms": 9, "mew": 1.4},
    }
    for ax, (x, y) in zip(axes, [("A_i", "b_i"), ("C a_1", "C a_2"), ("a_4", "C")], strict=True):
        for name, style in looks.items():
            rows = frame[frame.series == name]
            ax.plot(rows[x], rows[y], ls="", **style)
        ax.set(xlabel=symbol(x), ylabel=symbol(y))
    for i, name in enumerate(["network", "exact"]):
        style = {"xycoords": "axes fraction", "ha": "right", "va": "top"}
        axes[0].annotate(name, (0.98, 0.97 - 0.1 * i), color=ink(looks[name]["color"]), **style)
    return fig


def fractions_table(fractions, name, caption, *, below):
    """Table of fractions of optimal: a row for each quantity, a column for each setting.

    fractions : as from `exact_posteriors.fractions_of_optimal`, of the quantities to be shown
    name, caption : see `figures.table`; the caption gets two sentences on what the entries are
    below : label of a further row -> Series of cells by convention and noise factor
    """
    setting = ["convention", "noise_factor"]
    cells = [*map(with_interval, fractions.value, fractions.low, fractions.high)]
    wide = fractions.assign(cell=cells).pivot(index="parameter", columns=setting, values="cell")
    wide = wide.reindex([name for name in IDENTIFIABLE_NAMES if name in wide.index])
    columns = sorted(wide.columns, key=lambda column: (CONVENTIONS.index(column[0]), column[1]))
    wide = wide[columns].rename(index=symbol).astype(object)
    for label, row in below.items():
        wide.loc[label] = [row.get(column, "") for column in columns]
    wide.columns = [FOLDED.format(*column) for column in columns]
    entries = (
        "Entries: correlation with the truth over that of the exact posterior mean on the same "
        "responses, with 95 % bootstrap intervals, both correlations resampled together."
    )
    wide = wide.rename_axis("parameter").reset_index()
    return table(wide, name, f"{caption} {entries}", data=fractions)


def answers_table(fractions, summary, *, name, caption):
    """Table of the fractions of optimal that corrected answers reach, and of how these went.

    fractions : see `fractions_table`; summary : as from `corrected_answers.summary`
    """
    setting = ["convention", "noise_factor"]
    compared, went = fractions.groupby(setting), summary.set_index(setting)
    seconds = "{0.seconds:.1f}<br><small>{0.slow_seconds:.1f}</small>".format
    uncorrected = "{0.uncorrected:.0f} of {0.n:.0f}".format
    below = {
        "smallest": compared.value.min().map("<b>{:.2f}</b>".format),
        "compared": compared.n.first().map(str),
        "not corrected": went.apply(uncorrected, axis=1),
        "C2ST": went.c2st.map("{:.2f}".format),
        "seconds": went.apply(seconds, axis=1),
    }
    return fractions_table(fractions, name, caption, below=below)


def corrections_table(corrections, name, caption):
    """Table of how the exact posteriors went that start from samples of the network.

    corrections : as from `amortised_posteriors.exact_summary`; name, caption : see `figures.table`
    """
    heads = {
        "convention": "convention",
        "noise_factor": "noise factor",
        "accepted": "accepted",
        "n_simulations": "simulations",
        "relative_ess": "relative effective sample size",
        "c2st": "C2ST",
        "c2st_refined": "weighted",
        "n_refined": "of so many",
    }
    formats = {"noise_factor": "{:,.10g}", "n_simulations": "{:.0f}", "relative_ess": "{:.2g}"}
    formats |= {"c2st": "{:.2f}", "c2st_refined": "{:.2f}"}
    formats = {heads[column]: form for column, form in formats.items()}
    return table(corrections[[*heads]].rename(columns=heads), name, caption, formats=formats)


def objections_table(objections, name, caption):
    """Table of how often the local test objects to posteriors of the network, or to wider ones.

    objections : as from `local_calibration.rejections`; name, caption : see `figures.table`
    """
    shown = objections.rename(columns={"noise_factor": "noise factor", "widened": "times as wide"})
    formats = dict.fromkeys(["mean", "lowest", "highest"], lambda part: f"{100 * part:.0f} %")
    formats |= {"noise factor": "{:,.10g}", "times as wide": "{:g}"}
    return table(shown, name, caption, formats=formats)


def curves_table(curves, name, caption):
    """Table of learning curves: a row for each method, a column for each number of simulations.

    curves : as of the drawing `curves`; name, caption : see `figures.table`
    """
    keys = ["convention", "noise_factor", "method"]
    columns = [f"{n:,}" for n in sorted(curves.n_simulations.unique())]
    rows = curves.assign(head=curves.n_simulations.map("{:,}".format))
    wide = rows.pivot(index=keys, columns="head", values="value")[columns]
    wide["optimal"] = curves.groupby(keys).optimal.first()
    wide = wide.reset_index()
    for column, order in {
        "convention": curves.convention.unique(),
        "noise_factor": curves.noise_factor.unique(),
        "method": LABELS,
    }.items():
        wide[column] = pd.Categorical(wide[column], [*order])
    wide = wide.sort_values(keys).astype(dict.fromkeys(keys, object))
    wide["method"] = wide.method.map(LABELS)
    formats = {"noise factor": "{:,.10g}"} | dict.fromkeys([*columns, "optimal"], "{:z.2f}")
    wide = wide.rename(columns={"noise_factor": "noise factor"})
    return table(wide, name, caption, formats=formats, data=curves)


def tests_table(passed, name, caption):
    """Table of tests that are passed or failed: a column for each check.

    passed : columns convention, noise_factor, check and passed; name, caption : see `figures.table`
    """
    keys = ["convention", "noise_factor"]
    wide = passed.pivot(index=keys, columns="check", values="passed")[passed.check.unique()]
    wide = wide.loc[[*passed[keys].drop_duplicates().itertuples(index=False, name=None)]]
    wide = wide.replace({True: "passed", False: "<b>failed</b>"}).reset_index()
    wide = wide.rename(columns={"noise_factor": "noise factor"})
    return table(wide, name, caption, formats={"noise factor": "{:,.10g}"})


def ways_table(ways, name, caption):
    """Table of ways to train: three measures, a column for each noise factor.

    ways : as from `flow_alternatives.summary`; name, caption : see `figures.table`
    """
    first = ways.trained.iloc[0]
    more = [
        f"{row.nats:+z.2f}<br><small>± {row.error:.2f}</small>" if row.trained != first else None
        for row in ways.itertuples()
    ]
    measures = {
        "correlation": ways.correlation.map("{:.3f}".format),
        f"nats more than {first}": more,
        "lines of ranks outside": ways.outside.map("{:.3g}".format),
    }
    rows = ways.assign(trained=_ways(ways), head=ways.noise_factor.map("{:,.10g}".format))
    rows = pd.concat([rows.assign(measure=key, cell=cells) for key, cells in measures.items()])
    wide = rows.dropna(subset="cell").pivot(
        index=["measure", "trained"], columns="head", values="cell"
    )
    pairs = rows.dropna(subset="cell")[["measure", "trained"]].drop_duplicates()
    wide = wide.loc[[*pairs.itertuples(index=False, name=None)], rows["head"].unique()]
    return table(wide.reset_index(), name, caption, data=ways)


def _ways(ways):
    """What each way to train is called: with the number of networks where these answer together."""
    together = ways.trained.str.endswith("together")
    return ways.trained.where(~together, ways.n_trainings.astype(str) + " " + ways.trained)


def widths_table(widths, name, caption):
    """Table of half-widths of intervals: a row for each method, a column for each quantity.

    widths : as from `interval_widths`; name, caption : see `figures.table`
    """
    keys = ["convention", "method"]
    wide = widths.pivot(index=keys, columns="parameter", values="half_width")
    wide = wide[[*IDENTIFIABLE_NAMES]].rename(columns=symbol)
    held = widths.groupby(keys).coverage.agg(["min", "max"])
    cells = [f"<small>{low:.2f}..{high:.2f}</small>" for low, high in held.to_numpy()]
    wide.insert(0, "coverage", pd.Series(cells, held.index))
    order = [(a, b) for a in widths.convention.unique() for b in widths.method.unique()]
    wide = wide.loc[[key for key in order if key in wide.index]].reset_index()
    formats = dict.fromkeys(map(symbol, IDENTIFIABLE_NAMES), "{:.3f}")
    return table(wide, name, caption, formats=formats, data=widths)


def claims_table(entries, name, caption):
    """Table of claims: what counts for each, and in each convention what decides it.

    entries : of the ledger; name, caption : see `figures.table`
    """
    findings = ledger.findings_table(entries)
    deciding = findings.drop_duplicates(["claim", "convention"]).set_index(["claim", "convention"])
    cells = [
        f"<b>{MARKS[row.outcome]}</b><br><small>{formulas(row.finding)}: {row.value}</small>"
        for row in deciding.itertuples()
    ]
    outcomes = pd.Series(cells, deciding.index).unstack(sort=False)
    rows = [
        {"claim": entry["says"], "what counts for it": entry["counts_for"]}
        | outcomes.loc[entry["id"]].to_dict()
        for entry in entries
    ]
    return table(pd.DataFrame(rows), name, caption, data=findings)
