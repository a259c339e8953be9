"""Least-squares fits of the comparison's first test observations, one by one."""

import numpy as np
import pandas as pd

from experiments import compared_methods
from experiments.results import Result
from jrlib.diagnostics import scoring
from jrlib.inference.least_squares import fit
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import PARAMETER_NAMES
from jrlib.priors import Prior


def fits(convention, noise_factor, n_fits, seed):
    """Fit the first test observations of the comparison, each on its own.

    Returns a `Result` with the tables "fits" (simulations and explained, one row per observation)
    and "scores" (`scoring.score` of the nine parameters).
    """
    test = compared_methods.test_set(convention, n_fits, "standard")
    likelihood = Likelihood.of(test, noise_factor)
    observed = compared_methods.observations(test, noise_factor, seed=compared_methods.TEST)
    rng = np.random.default_rng(seed)
    ends = [fit(likelihood, output, rng) for output in observed]
    theta, explained, simulations = (np.array(column) for column in zip(*ends, strict=True))
    table = pd.DataFrame({"simulations": simulations, "explained": explained})
    scores = scoring.score(test.theta, theta, PARAMETER_NAMES, scale=Prior().std)
    return Result(tables={"fits": table, "scores": scores.round(6)})
