"""Other ways to train a posterior for every noise level: flow matching, and ensembles.

`calibration` trains one normalising flow by maximum likelihood (NPE) on more and more simulations.
Here are the alternatives at one budget, on the same simulations in as many passes: the mean density
of several such flows (an ensemble), and a vector field trained by flow matching (FMPE).
"""

import numpy as np
import pandas as pd

from experiments.compared_methods import TEST, observations, test_set
from experiments.comparison import SEED
from experiments.comparison import SIZES as STUDY_SIZES
from experiments.results import Result, check_tier, command_line
from jrlib.diagnostics import scoring
from jrlib.diagnostics.calibration import ranks
from jrlib.inference import amortised
from jrlib.inference.exact_posterior import Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

NAME = "ways"  # of the results in the store
ENSEMBLE = "ensemble"  # what stands for a seed where all networks answer together
# Simulations and passes over them of each training; trainings by kind of flow (see
# `amortised.train`); test simulations that are answered, and samples of each.
SIZES = {
    "smoke": {
        "n_simulations": 200,
        "passes": 2,
        "trainings": {"spline": 2, "matching": 1},
        "n_checked": 20,
        "n_samples": 19,
        "noise_factors": [1e6],
    },
    "fast": {
        "n_simulations": 2000,
        "passes": 10,
        "trainings": {"spline": 2, "matching": 1},
        "n_checked": 60,
        "n_samples": 49,
        "noise_factors": [1e4, 1e6],
    },
    "paper": {
        "n_simulations": 30_000,
        "passes": 50,
        "trainings": {"spline": 3, "matching": 1},
        "n_checked": 200,
        "n_samples": 99,
        "noise_factors": [1.0, 1e2, 1e4, 1e6],
    },
}


def cell(
    convention,
    flow,
    n_simulations,
    passes,
    n_trainings,
    n_test,
    n_checked,
    n_samples,
    noise_factors,
    seed,
):
    """Train several networks alike, and let each, and all together, answer test simulations.

    convention : name of a `Convention`; flow : see `amortised.train`
    n_simulations, passes : of each training; n_trainings : with seeds from `seed` on
    n_test : size of the test set, of which the first n_checked are used; n_samples : of each

    Returns a `Result`: the table "scores" (`scoring.score` of the posterior means, with columns
    noise_factor and network: the seed, or `ENSEMBLE` where there are several); and arrays, the
    first axes being networks and noise factors: means and ranks (m, k, n_checked, 13) of
    `QUANTITY_NAMES`, ranks of the truth among the samples; log_q (m, k, n_checked), the networks'
    log density of the truth in the coordinates of `exact_posterior.Reference`.
    """
    test = test_set(convention, n_test, "standard")
    reference = Reference(Likelihood.of(test, 1.0))
    options = {"epochs": passes, "flow": flow}
    networks = {
        str(seed + i): amortised.train(reference, n_simulations, seed=seed + i, **options)
        for i in range(n_trainings)
    }
    if len(networks) > 1:
        networks[ENSEMBLE] = amortised.ensemble(list(networks.values()))
    theta = test.theta[:n_checked]
    truth, points = quantities(theta), reference.points(theta)[:, np.newaxis]
    rng, scores = np.random.default_rng(seed), []
    arrays = {"means": [], "ranks": [], "log_q": []}
    for name, network in networks.items():
        for noise_factor in noise_factors:
            observed = observations(test, noise_factor, seed=TEST)[:n_checked].astype(float)
            means = network.mean(observed, noise_factor, seed=seed)
            score = scoring.score(truth, means, QUANTITY_NAMES, scale=Prior().quantity_std)
            scores.append(score.assign(noise_factor=noise_factor, network=name))
            drawn = network.draw_points(observed, noise_factor, n_samples, seed=seed)
            samples = quantities(network.parameters(drawn.reshape(-1, drawn.shape[2]), rng))
            samples = samples.reshape(*drawn.shape[:2], -1)
            arrays["means"].append(means)
            arrays["ranks"].append(ranks(samples, truth))
            arrays["log_q"].append(network.log_prob(points, observed, noise_factor)[:, 0])
    shape = len(networks), len(noise_factors)
    return Result(
        {"scores": pd.concat(scores, ignore_index=True).round(6)},
        {
            name: np.array(rows, np.float32).reshape(*shape, *rows[0].shape)
            for name, rows in arrays.items()
        },
    )


def grid(tier, seed):
    """The configurations of `cell` at a tier, CLASSIC only; ValueError for an unknown one."""
    check_tier(tier)
    size = dict(SIZES[tier])
    shared = {"convention": "CLASSIC", "n_test": STUDY_SIZES[tier].n_test, "seed": seed}
    return [
        {"flow": flow, "n_trainings": n_trainings, **shared, **size}
        for flow, n_trainings in size.pop("trainings").items()
    ]


if __name__ == "__main__":
    pass  # so that results are made by experiments.flow_alternatives, not by __main__

    command_line(NAME, cell, grid, SEED)
