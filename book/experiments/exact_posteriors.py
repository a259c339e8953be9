"""How well could anyone do? Reference posteriors of many observations, and what they allow.

The likelihood is exact (`likelihood.Likelihood`), so the posterior can be drawn from without any
training, by randomize-then-optimize (`rto`). Its mean is the estimate of least squared error: no
method whatsoever correlates better with the truth, on average over the prior.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import comparison
from experiments.compared_methods import TEST, VARIANTS, observations, test_set
from experiments.results import Result, check_tier, command_line
from jrlib.diagnostics import scoring
from jrlib.inference.exact_posterior import MOST, Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

MORE = 6  # times `n_draws`, at most
N_RANKED = 99  # equal draws of each posterior that are kept, and among which the truth is ranked
FEWEST = 3  # accepted observations of which a correlation can be spoken
SIMULTANEOUS = 0.999  # pointwise level at which a whole line of ranks stays in its band in 95 %
OUTCOMES = ("accepted", "no mode found", "given up", "poor")
NAME = "ceiling"  # of the results in the store
BLOCK = 20  # observations in a cell


@dataclass(frozen=True)
class Size:
    """How large the computation is.

    n : observations, by variant of the comparison, convention and noise factor
    n_draws : of each posterior, at first
    """

    n: dict
    n_draws: int

    @property
    def noise_factors(self):
        """All of the standard variant, rising."""
        return sorted({factor for variant, _, factor in self.n if variant == "standard"})


SIZES = {
    "smoke": Size(
        {("standard", name, 1.0): 4 for name in comparison.CONVENTIONS}
        | {("uniform", "CLASSIC", 1.0): 3},
        1000,
    ),
    "fast": Size(
        {("standard", name, 1.0): 6 for name in comparison.CONVENTIONS}
        | {("uniform", "CLASSIC", 1.0): 6},
        1000,
    ),
    "paper": Size(
        {
            ("standard", name, factor): 200
            for name in comparison.CONVENTIONS
            for factor in (1.0, 1e2, 1e4, 1e6)
        }
        # For the ranks of the truth, at the noise of the study.
        | {("standard", "CLASSIC", 1.0): 300}
        | {("uniform", "CLASSIC", 1.0): 60},
        1000,
    ),
}


def cell(convention, noise_factor, first, n, n_draws, n_test, seed, variant="standard"):
    """Reference posteriors of test observations first..first + n - 1, as `comparison` has them.

    convention : name of a `Convention`; noise_factor : above 0
    n_draws : of each posterior, at first; n_test : size of the test set
    seed : of the random numbers, with the observation's number
    variant : of the comparison; its test set and the prior of that

    Returns a `Result`: the table "observations", a row each: number, accepted, ess, rhat, largest
    (weight), n_modes, deviance, n_simulations; and arrays: truth, mean and std (n, 13) of
    `QUANTITY_NAMES`; ranks (n, 13), how many of `N_RANKED` equal draws lie below the truth; these
    draws (n, `N_RANKED`, 9); spread and bound (n, 8), the posterior's standard deviations in the
    coordinates of `Reference`, and those that the Fisher information at the truth, the prior's
    included, allows a linear model (Cramer-Rao).
    """
    test = test_set(convention, n_test, variant)
    observed = observations(test, noise_factor, seed=TEST)
    prior = VARIANTS[variant].test.get("prior")
    reference = Reference(Likelihood.of(test, noise_factor), prior)
    rows, arrays = [], []
    for number in range(first, first + n):
        rng = np.random.default_rng([seed, number])
        found = reference.posterior(observed[number], n_draws, rng, most=MORE * n_draws)
        theta = test.theta[number : number + 1]
        truth, drawn = quantities(theta)[0], found.sample(N_RANKED, rng)
        drawn = np.hstack([drawn, drawn[:, 4:8] * drawn[:, 8:]])  # NaN for a failure, like all else
        rows.append(
            {
                "number": number,
                "accepted": found.accepted,
                "ess": round(found.ess, 1),
                "rhat": round(found.rhat, 5),
                "largest": round(float(found.weights.max(initial=0.0)), 5),
                "n_modes": found.n_modes,
                "deviance": round(found.deviance, 3),
                "n_simulations": found.n_simulations,
            }
        )
        arrays.append(
            {
                "truth": truth,
                "mean": found.mean,
                "std": found.std,
                "ranks": np.sum(drawn < truth, axis=0) if len(found.theta) else found.mean,
                "draws": drawn[:, :9],
                "spread": reference.spread(found),
                "bound": reference.bound(theta),
            }
        )
    stacked = {name: np.array([row[name] for row in arrays], np.float32) for name in arrays[0]}
    return Result({"observations": pd.DataFrame(rows)}, stacked)


def grid(tier, seed, variant="standard"):
    """The configurations of `cell` at a tier, for one variant; ValueError for an unknown tier."""
    check_tier(tier)
    size = SIZES[tier]
    which = {} if variant == "standard" else {"variant": variant}
    return [
        {
            "convention": convention,
            "noise_factor": noise_factor,
            "first": first,
            "n": min(BLOCK, n - first),
            "n_draws": size.n_draws,
            "n_test": comparison.SIZES[tier].n_test,
            "seed": seed,
            **which,
        }
        for (found, convention, noise_factor), n in size.n.items()
        if found == variant
        for first in range(0, n, BLOCK)
    ]


def gather(configs, cells):
    """Cells put together: a dict (convention, noise_factor) -> (observations, arrays), see `cell`.

    Where an observation is not accepted, its arrays are there all the same: the caller decides.
    """
    together = {}
    for config, found in zip(configs, cells, strict=True):
        key = config["convention"], config["noise_factor"]
        together.setdefault(key, []).append(found)
    return {
        key: (
            pd.concat([part.tables["observations"] for part in parts], ignore_index=True),
            {
                name: np.concatenate([part.arrays[name] for part in parts])
                for name in parts[0].arrays
            },
        )
        for key, parts in together.items()
    }


def scores(gathered, prior=None):
    """What the posterior means of accepted observations score: see `scoring.score`.

    gathered : as from `gather`; prior : the `Prior` that they are under
    Returns a DataFrame with the columns of `scoring.score`, convention and noise_factor, and a
    further metric, "contraction": 1 - mean posterior variance over prior variance, with an interval
    over the observations from the same resampling. Where fewer than `FEWEST` observations are
    accepted there is nothing to score, and no rows; ValueError where there are none at all.
    """
    scale, frames = (Prior() if prior is None else prior).quantity_std, []
    for (convention, noise_factor), (table, arrays) in gathered.items():
        kept = table.accepted.to_numpy()
        if kept.sum() < FEWEST:
            continue
        truth, mean = arrays["truth"][kept], arrays["mean"][kept]
        frame = scoring.score(truth, mean, QUANTITY_NAMES, scale=scale)
        variance = (arrays["std"][kept] / scale) ** 2
        rows = np.random.default_rng(0).integers(len(variance), size=(1000, len(variance)))
        low, high = np.quantile(1.0 - variance[rows].mean(axis=1), [0.025, 0.975], axis=0)
        contraction = {
            "parameter": QUANTITY_NAMES,
            "metric": "contraction",
            "value": 1.0 - variance.mean(axis=0),
            "low": low,
            "high": high,
            "n": len(variance),
        }
        frame = pd.concat([frame, pd.DataFrame(contraction)], ignore_index=True)
        frames.append(frame.assign(convention=convention, noise_factor=noise_factor))
    if not frames:
        raise ValueError(f"gathered: fewer than {FEWEST} observations are accepted everywhere")
    return pd.concat(frames, ignore_index=True)


def outcome(table):
    """How the draws of each observation went: a Series of `OUTCOMES`.

    table : "observations" of `cell`. "no mode found": no descent has explained the data, or none of
    the draws has any weight; "given up": they would take more than `MOST` simulations; "poor": they
    are there, but fail `ReferencePosterior.accepted`.
    """
    nothing = table.n_modes == 0
    cases = [table.accepted, nothing & (table.n_simulations > MOST), nothing]
    went = np.select(cases, ["accepted", "given up", "no mode found"], "poor")
    return pd.Series(went, table.index)


def summary(gathered):
    """How the draws went: a DataFrame, a row for each convention and noise factor of `gather`.

    Columns: convention, noise factor, observations, how many had each of the `OUTCOMES`, and
    medians over the accepted of effective draws, simulations (for an effective draw), R-hat and
    deviance (about the number of samples where the model explains the data).
    """
    rows = []
    for (convention, noise_factor), (table, _) in gathered.items():
        kept, went = table[table.accepted], outcome(table)
        counts = [int((went == name).sum()) for name in OUTCOMES]
        rows.append(
            {
                "convention": convention,
                "noise factor": noise_factor,
                "observations": len(table),
                **dict(zip(OUTCOMES, counts, strict=True)),
                "effective draws": kept.ess.median(),
                "simulations": (kept.n_simulations / kept.ess).median(),
                "R-hat": kept.rhat.median(),
                "deviance": kept.deviance.median(),
            }
        )
    return pd.DataFrame(rows)


def fractions(reached, ceilings):
    """Mean correlation of each method over `IDENTIFIABLE_NAMES`, over that of the ceiling.

    reached : rows of `comparison.scores`, ceilings : of `scores`, both of the metric "pearson"
    Returns a DataFrame: convention, noise_factor, method, n_simulations, value, and low and high
    from the opposite ends of both intervals, averaged likewise: wider than the interval of the
    ratio. A mean predictor, which has no correlation, is left out.
    """
    by = ["convention", "noise_factor", "parameter"]
    both = reached.dropna(subset="value").merge(ceilings, on=by, suffixes=("", "_ceiling"))
    both = both[both.parameter.isin(IDENTIFIABLE_NAMES)]
    names = ["value", "low", "high", "value_ceiling", "low_ceiling", "high_ceiling"]
    keys = ["convention", "noise_factor", "method", "n_simulations"]
    mean = both.groupby(keys, sort=False)[names].mean()
    mean["value"] /= mean.value_ceiling
    mean["low"] /= mean.high_ceiling
    mean["high"] /= mean.low_ceiling
    return mean[["value", "low", "high"]].reset_index()


if __name__ == "__main__":
    pass  # so that results are made by experiments.exact_posteriors, not by __main__

    def grids(tier, seed):
        return grid(tier, seed) + grid(tier, seed, "uniform")

    command_line(NAME, cell, grids, comparison.SEED)
