"""Tables and a drawing of the chapter on reproducibility."""

import importlib

import matplotlib.pyplot as plt
import pandas as pd

from experiments import NAMES, comparison, npe, verify
from experiments.compared_methods import METHODS
from experiments.experiment import TIERS, load
from figures.style import BLUE, WIDTH, drawing


def grid_sizes(seed):
    """How many runs each experiment has at each tier: a DataFrame with a row for each."""
    return pd.DataFrame(
        [
            {"experiment": name, "what it computes": _about(name)}
            | {tier: len(dict.fromkeys(load(name).grid(tier, seed))) for tier in TIERS}
            for name in NAMES
        ]
    )


def comparison_sizes(seed):
    """Sizes of the comparison on as many simulations as the study had: a row for each tier."""
    rows = []
    for tier, size in comparison.SIZES.items():
        parts = (comparison.curves_grid, comparison.longer_grid)
        others = sum(len(part(tier, seed)) for part in parts)
        rows.append(
            {
                "tier": tier,
                "simulations": f"{size['n_simulations']:,}",
                "test": f"{size['n_test']:,}",
                "epochs, at most": size["epochs"],
                "seeds": size["n_seeds"],
                "seeds, cheap": size["n_seeds_cheap"],
                "noise factors": _listed(size["noise_factors"]),
                "variants": ", ".join(size["variants"]),
                "runs": len(dict.fromkeys(comparison.grid(tier, seed))) - others,
            }
        )
    return pd.DataFrame(rows)


def npe_sizes():
    """Sizes of the posteriors trained with NPE: a row for each tier."""
    heads = {
        "n": "simulations",
        "epochs": "epochs",
        "n_few": "few simulations",
        "epochs_few": "epochs of the few",
        "n_test": "test",
        "n_samples": "samples of each",
    }
    sizes = pd.DataFrame(npe.SIZES).T[[*heads]].rename(columns=heads)
    return sizes.rename_axis("tier").reset_index()


def curve_sizes(seed):
    """Sizes of the learning curves: a row for each tier."""
    return pd.DataFrame(
        [
            {
                "tier": tier,
                "networks": _budgets(curves, comparison.NETWORKS),
                "NPE": _budgets(curves, ["NPE"]),
                "baselines": _budgets(curves, comparison.REGRESSIONS),
                "noise factors": _listed(sorted({f for _, noise, _ in curves for f in noise})),
                "seen": f"{comparison.SIZES[tier]['most_seen']:,}",
                "runs": len(comparison.curves_grid(tier, seed)),
            }
            for tier, curves in comparison.CURVES.items()
        ]
    )


def stored(found, store):
    """What is stored of each experiment: a DataFrame with a row for each.

    found : list of `runs.Found`; store : the `runs.Runs` that they are from
    """
    rows = []
    for each in found:
        computed = each.runs.sort_values("computed")
        days, commits = computed.computed.str[:10], computed.commit.map(_commit)
        files = [path for path in store.folder(each.experiment).rglob("*") if path.is_file()]
        rows.append(
            {
                "experiment": each.experiment.name,
                "runs": len(each),
                "tables": ", ".join(["runs", *each.experiment.tables]),
                "with weights": int((each.runs.weights_sha256 != "").sum()),
                "megabytes": sum(path.stat().st_size for path in files) / 1e6,
                "hours": each.runs.cpu_seconds.sum() / 3600.0,
                "computed": _first_to_last(days),
                "commit": _first_to_last(commits),
            }
        )
    return pd.DataFrame(rows)


def strata(standing, verified):
    """What the last recomputations in each stratum of cost found: a DataFrame.

    standing : of `verify.standing`; verified : of `verify.read`
    A row for each stratum and machine, of the last commit at which runs of it were drawn; a stratum
    of which none were has one as well.
    """
    rows = []
    names = [verify.stratum(low) for low in verify.STRATA[:-1]]
    for name in names:
        drawn = verified[verified.stratum == name]
        drawn = drawn[drawn.at_commit == drawn.at_commit.iloc[-1]] if len(drawn) else drawn
        drawn = drawn.drop_duplicates(["experiment", "run", "machine"], keep="last")
        start = {"to compute again": name, "stored": int((standing.stratum == name).sum())}
        rows += [
            start | _found(group, machine)
            for machine, group in drawn.groupby("machine", sort=False)
        ] or [start | {"drawn": 0, "agree": 0, "what it says": "nothing drawn: unverified"}]
    columns = ["to compute again", "stored", "drawn", "agree", *_DEVIATIONS, "what it says", "made"]
    return pd.DataFrame(rows, columns=columns)


def by_experiment(standing):
    """How many runs of each experiment recomputation has confirmed: a row for each."""
    counts = pd.crosstab(standing.experiment, standing.outcome)
    counts = counts.reindex(index=NAMES, columns=["agrees", "differs", "unverified"], fill_value=0)
    counts.insert(0, "runs", counts.sum(axis=1))
    levels = standing.groupby("experiment")["level"].agg(
        lambda kinds: ", ".join(sorted(set(kinds)))
    )
    counts.insert(1, "compared", levels.reindex(NAMES, fill_value=""))
    names = {"agrees": "agree", "differs": "differ"}
    return counts.rename(columns=names).rename_axis("experiment").reset_index()


def processor_time(found):
    """Processor time of what is stored, for `timings`: a DataFrame, the longest last.

    Columns: result, a method of the comparison or another experiment, and "processor time (min)".
    """
    others = [name for name in NAMES if name != comparison.EXPERIMENT.name]
    seconds = dict.fromkeys([*(method.label for method in METHODS.values()), *others], 0.0)
    for each in found:
        labels = [each.experiment.name] * len(each)
        if each.experiment.name not in seconds:
            labels = [METHODS[method].label for method in each.runs.method]
        for label, cost in zip(labels, each.runs.cpu_seconds, strict=True):
            seconds[label] += cost
    frame = pd.DataFrame({"result": [*seconds], "processor time (min)": [*seconds.values()]})
    frame["processor time (min)"] /= 60.0
    return frame.sort_values("processor time (min)")


@drawing
def timings(frame):
    """Bars of the processor time, with the minutes beside them; frame : of `processor_time`."""
    fig, axes = plt.subplots(figsize=(WIDTH, 0.8 + 0.3 * len(frame)))
    bars = axes.barh(frame.result, frame["processor time (min)"], color=BLUE)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set(xlabel="processor time (min)")
    return fig


_DEVIATIONS = ("largest deviation", "... of trainings")


def _found(group, machine):
    """What recomputations of one stratum at one commit on one machine found."""
    (summary,) = verify.summary(group).to_dict("records")
    n, passed, trained = summary["drawn"], summary["passed"], group.level == "retrained"
    if passed < n:
        says = f"{n - passed} of {n} drawn differ"
    elif n > 3:  # up to which 3 / n says nothing
        rest = f"with 95 % confidence at most {summary['at_most']:.1%} would not"
        says = f"{n} drawn, all agree; so {rest}"
    else:
        says = f"{n} drawn, all agree; too few to say more"
    days = _first_to_last(sorted(group.date))
    return {
        "drawn": n,
        "agree": passed,
        _DEVIATIONS[0]: group.largest_deviation[~trained].max(),
        _DEVIATIONS[1]: group.largest_deviation[trained].max(),
        "what it says": says,
        "made": f"{days} at {_commit(group.at_commit.iloc[0])} on {machine}",
    }


def _commit(name):
    """A commit as it is shown: eight digits, and "+" where changes were not committed."""
    return name[:8] + "+" * name.endswith("+") or "none"


def _about(name):
    """The first line of an experiment's module: what it computes."""
    return importlib.import_module(f"experiments.{name}").__doc__.partition("\n")[0]


def _budgets(curves, methods):
    """How many simulations the curves of some methods have, and how many trainings on them."""
    budgets = {
        budget for names, _, several in curves if set(methods) & set(names) for budget in several
    }
    times = {1: ""} | {k: f" ({k} times)" for _, k in budgets if k > 1}
    return ", ".join(f"{n:,}{times[k]}" for n, k in sorted(budgets))


def _listed(noise_factors):
    return ", ".join(f"{factor:,.10g}" for factor in noise_factors)


def _first_to_last(values):
    values = list(values)
    return " to ".join(dict.fromkeys([values[0], values[-1]])) if values else ""
