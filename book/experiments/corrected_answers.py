"""Answers of a trained network that the exact likelihood has corrected, in about a second each.

`AmortisedPosterior.answer` gives the first test simulations independent samples of the exact
posterior, found from a few samples of the network. Some answers are compared with exact posteriors
for which the search has started from the prior.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments import amortised_posteriors, tables
from experiments.amortised_posteriors import told_apart
from experiments.compared_methods import test_set
from experiments.exact_posteriors import fractions_of_optimal
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, TEST


@dataclass(frozen=True)
class Config:
    """A network's corrected answers to test simulations.

    trained : run of `amortised_posteriors` that kept its weights, of the same convention, with its
        settings of the answers and of the exact sampler
    n_answered, n_samples : test simulations, the first ones, and samples of each answer
    n_told, n_exact_samples : answers that a classifier is to tell from exact posteriors, and
        samples of each of these, from which n_samples are chosen
    """

    convention: str
    noise_factor: float
    seed: int
    trained: str = field(metadata={"named": False})
    n_answered: int = 200
    n_samples: int = 99
    n_told: int = 20
    n_exact_samples: int = 200


SIZES = {
    "smoke": {"n_answered": 3, "n_told": 1},
    "fast": {"n_answered": 4, "n_told": 1},
    "paper": {"n_answered": 200, "n_told": 20},
}


def run(config, upstream):
    """Let a trained network answer, and have the likelihood correct it.

    Returns a `Result`: the table "answers", a row each: number, relative_ess (the relative
    effective sample size; 0: the network's own samples), seconds, and c2st of the first n_told, the
    accuracy of a classifier that is to tell the answer's samples from exact ones that started from
    the prior (NaN where there are none); and the array means, (n_answered, 13), float32, of
    `QUANTITY_NAMES`.
    """
    trained = upstream["trained"]
    model, n = amortised_posteriors.reload(trained), config.n_samples
    noise_factor = config.noise_factor
    sampler = model.sampler.at(noise_factor)
    test = test_set(config.convention, trained.runs.n_test.iloc[0], "standard")
    observed = test.observe(noise_factor, seed=TEST)[: config.n_answered].astype(float)
    model.answer(observed[0], noise_factor, n, seed=config.seed)  # compiles what is not yet
    rows, means = [], []
    for number, row in enumerate(observed):
        start = time.perf_counter()
        found = model.answer(row, noise_factor, n, seed=config.seed + number)
        seconds = time.perf_counter() - start
        told = math.nan
        if number < config.n_told:
            rng = np.random.default_rng([config.seed, number])
            drawn = found.resample(n, rng)
            exact = sampler.posterior(row, config.n_exact_samples, rng)
            if exact.effective_sample_size >= sampler.settings.min_effective:
                pair = exact.resample(n, rng), drawn
                told = told_apart(*map(sampler.points, pair))
        rows.append(
            {
                "number": number,
                "relative_ess": round(found.relative_effective_sample_size, 4),
                "seconds": round(seconds, 3),
                "c2st": told,
            }
        )
        means.append(found.mean)
    return Result({"answers": pd.DataFrame(rows)}, {"means": np.array(means, np.float32)})


def grid(tier, seed):
    """The configurations of a tier."""
    check_tier(tier)
    kept = amortised_posteriors.kept(tier, seed)
    return [
        Config(
            convention, noise_factor, seed, trained=tables.run_name(kept[convention]), **SIZES[tier]
        )
        for noise_factor in kept[CONVENTIONS[0]].noise_factors
        for convention in CONVENTIONS
    ]


EXPERIMENT = Experiment(
    "corrected_answers",
    Config,
    run,
    grid,
    tables={"answers": {"number": int, "relative_ess": float, "seconds": float, "c2st": float}},
    upstream={"trained": "amortised_posteriors"},
)


def fractions(found, optima):
    """What fraction of the optimal correlation the answers' means reach, run by run.

    found : a `runs.Found`; optima : as from `exact_posteriors.optima`
    Returns a DataFrame as from `exact_posteriors.fractions_of_optimal`, with columns convention,
    noise_factor and seed.
    """
    labels = ["convention", "noise_factor", "seed"]
    estimates = [
        (row[labels].to_dict(), found.arrays(row.run)["means"]) for _, row in found.runs.iterrows()
    ]
    return fractions_of_optimal(estimates, optima)


def summary(table):
    """How the answers went: a DataFrame with a row for each convention and noise factor.

    table : "answers" of a `runs.Found`
    Columns: n, uncorrected (answers that are the network's own samples), c2st and seconds
    (medians), and slow_seconds (the time that nine of ten answers stay below).
    """
    grouped = table.groupby(["convention", "noise_factor"], sort=False)
    found = grouped.agg(
        n=("number", "size"),
        uncorrected=("relative_ess", lambda values: int((values == 0).sum())),
        c2st=("c2st", "median"),
        seconds=("seconds", "median"),
        slow_seconds=("seconds", lambda values: values.quantile(0.9)),
    )
    return found.reset_index()
