"""Least-squares fits of the comparison's first test observations, one by one."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.compared_methods import SCORES, test_set
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, STUDY_NOISE, TEST
from jrlib.diagnostics import scoring
from jrlib.inference.least_squares import FitSettings, fit
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import PARAMETER_NAMES
from jrlib.priors import Prior


@dataclass(frozen=True)
class Config:
    """The first test observations of a convention, each fitted on its own.

    seed : of the initial guesses; noise_factor : of the observations; n_fits : how many are fitted
    n_bootstrap : resamples for the scores' intervals
    """

    convention: str
    seed: int
    noise_factor: float = STUDY_NOISE
    n_fits: int = 30
    n_bootstrap: int = 1000
    settings: FitSettings = field(default=FitSettings())


def run(config):
    """Fit the observations.

    Returns a `Result` with the tables "fits" (simulations and explained, a row per observation) and
    "scores" (`scoring.score` of the nine parameters).
    """
    test = test_set(config.convention, config.n_fits, "standard")
    likelihood = Likelihood.of(test, config.noise_factor)
    observed = test.observe(config.noise_factor, seed=TEST)
    rng = np.random.default_rng(config.seed)
    ends = [fit(likelihood, output, rng, settings=config.settings) for output in observed]
    theta, explained, simulations = (np.array(column) for column in zip(*ends, strict=True))
    scores = scoring.score(
        test.theta, theta, PARAMETER_NAMES, scale=Prior().std, n_bootstrap=config.n_bootstrap
    )
    table = pd.DataFrame({"simulations": simulations, "explained": explained})
    return Result({"fits": table, "scores": scores.round(6)})


SIZES = {"smoke": {"n_fits": 2}, "fast": {"n_fits": 4}, "paper": {"n_fits": 30}}


def grid(tier, seed):
    """Both conventions that are compared."""
    check_tier(tier)
    return [Config(convention, seed, **SIZES[tier]) for convention in CONVENTIONS]


EXPERIMENT = Experiment(
    "least_squares_fits",
    Config,
    run,
    grid,
    tables={
        "fits": {"simulations": int, "explained": bool},
        "scores": SCORES,
    },
)
