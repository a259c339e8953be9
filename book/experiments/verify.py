"""Are the stored results those of the code? Some are computed again and compared.

Runs are drawn at random within strata of cost, as many as the time allows. How a run is compared
depends on what it is:

- exact: the computation is deterministic, and its numbers have to agree up to rounding.
- rescored: the weights of a network are stored, and what they estimate has to agree up to rounding.
- retrained: training is chaotic, so that another processor may end with other weights; the new
  scores have to be those of a plausible further seed.

Where n runs of a stratum were drawn and all agree, at most 3 / n of it would not, with 95 %
confidence (the rule of three).
"""

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from experiments import runs, tables
from experiments.provenance import commit, environment

STRATA = (0.0, 5.0, 30.0, 120.0, np.inf)  # bounds of processor seconds for a run
SEEDS_APART = 5.0  # standard deviations between seeds that a further seed may be off
# Columns of a table "scores" that hold what was measured; the others say of what.
MEASURED = ("value", "low", "high", "n", "contraction", "error", "nats", "covered")
SMALLEST_SPREAD = 0.01  # of scores between seeds, where the stored seeds happen to agree
# Columns of what a computation has cost: times, and the steps of descents, which end a little
# sooner or later on another processor.
COSTS = ("seconds", "n_simulations", "simulations")
START = 3.0  # seconds that a computation takes besides what its record says
COLUMNS = {
    "experiment": str,
    "run": str,
    "tier": str,
    "stratum": str,
    "at_commit": str,
    "date": str,
    "machine": str,
    "level": str,
    "largest_deviation": float,
    "allowed": float,
    "passed": bool,
}


def stratum(seconds):
    """The stratum of a run that takes so many processor seconds to compute again, in words."""
    k = int(np.searchsorted(STRATA, seconds, side="right")) - 1
    if np.isinf(STRATA[k + 1]):
        return f"from {STRATA[k]:g} s"
    return f"{STRATA[k]:g} to {STRATA[k + 1]:g} s"


def cost(found, run):
    """Processor seconds that computing a stored run again takes, going by its record."""
    if level(found, run) == "rescored":
        return START
    return found.runs.cpu_seconds[found.runs.run == run].iloc[0] + START


def draw(found, seconds, rng):
    """Runs at random, from every stratum in turn, until their recorded times add up to seconds.

    found : list of `runs.Found`; rng : numpy Generator
    Returns a list of (`Found`, run). A stratum ends at its first run that takes longer than what is
    left.
    """
    waiting = {}
    for each in found:
        for run in each.names:
            takes = cost(each, run)
            waiting.setdefault(stratum(takes), []).append((takes, each, run))
    for candidates in waiting.values():
        rng.shuffle(candidates)
    drawn, left = [], seconds
    while any(waiting.values()):
        for candidates in waiting.values():
            if candidates:
                takes, each, run = candidates.pop()
                if takes > left:  # going on would favour the cheaper runs of the stratum
                    candidates.clear()
                    continue
                left -= takes
                drawn.append((each, run))
    return drawn


def level(found, run):
    """How a stored run is compared: "exact", "rescored" or "retrained"."""
    row = found.runs[found.runs.run == run].iloc[0]
    weighed = found.experiment.rescore is not None and row.weights_sha256
    if weighed:
        return "rescored"
    declared = found.experiment.level
    return declared(found.config(run)) if callable(declared) else declared


def again(store, found, run):
    """The `Result` of computing a stored run once more, or of scoring its weights again."""
    experiment, config = found.experiment, found.config(run)
    given = (store.upstream(experiment, config),) if experiment.upstream else ()
    with threadpool_limits(1):  # as in `computing.compute`
        if level(found, run) == "rescored":
            return experiment.rescore(config, *found.weights(run), *given)
        return experiment.run(config, *given)


def deviation(found, run, result):
    """By how much a `Result` differs from a stored run, and how much it may.

    Exact and rescored: the largest difference of a number in a table or array, over the largest
    absolute value of its column or array; infinite where words or shapes differ. Retrained: the
    largest difference of a score, in standard deviations between seeds.
    """
    if level(found, run) == "retrained":
        return _between_seeds(found, run, result), SEEDS_APART
    one, worst, allowed = found.where(run=run), 0.0, found.experiment.rounding
    for name, frame in result.tables.items():
        columns = list(found.experiment.tables[name])
        stored = one.table(name)[columns]
        if len(frame) != len(stored):
            return np.inf, allowed
        for column in columns:
            if column in COSTS:
                continue
            worst = max(worst, _difference(stored[column].to_numpy(), frame[column].to_numpy()))
    for name, array in result.arrays.items():
        worst = max(worst, _difference(one.arrays()[name], array))
    for name, value in result.values.items():
        worst = max(worst, _difference(np.array([one.value(name)]), np.array([value])))
    return worst, allowed


def verify(store, experiments, seconds, *, seed, note=None):
    """Compute stored runs again for about so many seconds: a DataFrame with the `COLUMNS`.

    store : `runs.Runs`; experiments : list of `experiment.Experiment`; seed : of what is drawn
    note : function that is given each row as soon as it is known, as a DataFrame
    """
    found = [store.all(experiment) for experiment in experiments]
    drawn = draw([each for each in found if len(each)], seconds, np.random.default_rng(seed))
    at_commit, machine = commit(), environment()["processor"]
    rows, start = [], time.monotonic()
    for each, run in drawn:
        if time.monotonic() - start > 1.5 * seconds:  # a slower machine than the recorded one
            break
        off, allowed = deviation(each, run, again(store, each, run))
        rows.append(
            {
                "experiment": each.experiment.name,
                "run": run,
                "tier": store.tier,
                "stratum": stratum(cost(each, run)),
                "at_commit": at_commit,
                "date": datetime.now(UTC).date().isoformat(),
                "machine": machine,
                "level": level(each, run),
                "largest_deviation": float(off),
                "allowed": allowed,
                "passed": bool(off <= allowed),
            }
        )
        if note is not None:
            note(pd.DataFrame(rows[-1:], columns=list(COLUMNS)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def summary(verified):
    """What the drawn runs say, a row for each stratum: drawn, passed, share that may not agree.

    The last column is 3 / n where all of n agree, with 95 % confidence, and NaN elsewhere.
    """
    by = verified.groupby("stratum", sort=False).passed.agg(drawn="size", passed="sum")
    agree = by.drawn == by.passed
    return by.assign(at_most=np.where(agree, np.minimum(3.0 / by.drawn, 1.0), np.nan)).reset_index()


def standing(found, verified):
    """What recomputations say of each stored run: a DataFrame with a row for each.

    found : list of `runs.Found`; verified : what `read` gives, of their tier
    Columns: experiment, run, stratum, level, and outcome: "agrees", "differs" or "unverified". The
    last time that a run was computed again counts, unless the stored one is newer.
    """
    columns = ["experiment", "run", "computed", "stratum", "level"]
    stored = [
        (each.experiment.name, run, computed, stratum(cost(each, run)), level(each, run))
        for each in found
        for run, computed in zip(each.runs.run, each.runs.computed, strict=True)
    ]
    last = verified.drop_duplicates(["experiment", "run"], keep="last")
    last = last[["experiment", "run", "date", "passed"]]
    rows = pd.DataFrame(stored, columns=columns).merge(last, "left", ["experiment", "run"])
    counts = rows.date.fillna("") >= rows.computed.str[:10]  # days
    outcomes = ["agrees", "differs"]
    rows["outcome"] = np.select([counts & rows.passed.eq(True), counts], outcomes, "unverified")
    return rows[["experiment", "run", "stratum", "level", "outcome"]]


def read(root=runs.RESULTS):
    """What earlier verifications have found, `<root>/verified.csv`: a DataFrame."""
    path = Path(root) / "verified.csv"
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    return tables.from_lines(path.read_text().splitlines(), COLUMNS, path)


def record(verified, root=runs.RESULTS):
    """Add what a verification has found to `<root>/verified.csv`."""
    path = Path(root) / "verified.csv"
    old = read(root)
    frame = pd.concat([old, verified], ignore_index=True) if len(old) else verified
    lines = [tables.head(COLUMNS), *tables.to_lines(frame, COLUMNS, path)]
    partial = path.with_suffix(".csv.partial")
    partial.write_text("\n".join(lines) + "\n")
    partial.replace(path)


def main(store, experiments, seconds):
    """The command `python -m experiments verify`: print, record and return 1 if one disagrees."""

    def note(row):
        record(row, store.root)
        shown = ["experiment", "run", "level", "largest_deviation", "allowed", "passed"]
        print(*row[shown].iloc[0], flush=True)

    seed = int(commit()[:8] or "0", 16)
    verified = verify(store, experiments, seconds, seed=seed, note=note)
    print(summary(verified).to_string(index=False))
    return int(not verified.passed.all())


def _difference(stored, new):
    """Largest difference of two arrays over the largest absolute value; NaN equals NaN."""
    stored, new = np.asarray(stored), np.asarray(new)
    if stored.shape != new.shape:
        return np.inf
    if not stored.size:
        return 0.0
    if stored.dtype == object or stored.dtype == bool:
        return 0.0 if np.array_equal(stored, new) else np.inf
    stored, new = stored.astype(float), new.astype(float)
    same = (stored == new) | (np.isnan(stored) & np.isnan(new))
    if same.all():
        return 0.0
    finite = np.isfinite(stored)
    if not np.isfinite(stored[~same]).all() or not np.isfinite(new[~same]).all():
        return np.inf
    scale = np.abs(stored[finite]).max()
    return float(np.abs(stored - new)[~same].max() / max(scale, np.finfo(float).tiny))


def _between_seeds(found, run, result):
    """Largest difference of the table "scores" from the stored one, in deviations between seeds."""
    kinds = found.experiment.tables["scores"]
    keys = [name for name in kinds if name not in MEASURED]
    config, everything = found.experiment.config, found.table("scores")
    left_out = {"seed", *kinds, *(f.name for f in dataclasses.fields(config) if not f.compare)}
    fields = [name for name in tables.fields(config) if name.partition(".")[0] not in left_out]
    shown = found.runs[fields].map(tables.show)
    alike = (shown == shown[found.runs.run == run].iloc[0]).all(axis=1)
    alike = everything[everything.run.isin(found.runs.run[alike])]
    spread = alike.groupby(keys).value.std().rename("spread")
    stored = everything[everything.run == run].set_index(keys).value
    new = result.tables["scores"].set_index(keys).value
    both = pd.concat([stored.rename("stored"), new.rename("new"), spread], axis=1)
    if (both.stored.isna() != both.new.isna()).any():
        return np.inf
    both = both.dropna(subset=["stored"])
    # Over parameters and metrics, against few seeds; NaN where there is no other seed.
    pooled = np.nan_to_num(np.sqrt((both.spread**2).mean()))
    scale = np.maximum(both.spread.fillna(pooled), max(pooled, SMALLEST_SPREAD))
    return float(((both.new - both.stored).abs() / (np.sqrt(2.0) * scale)).max())
