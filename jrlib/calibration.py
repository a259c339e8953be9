"""How near amortised inference comes to the ceiling, and whether its uncertainty is right.

Posteriors of `amortised`, trained on budgets from a thousand simulations upwards, answer the test
simulations of `comparison` at several noise levels. A calibrated posterior gives ranks and levels
(see `posterior`) that are uniform; no single check finds every fault.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jrlib import amortised, metrics, study
from jrlib.ceiling import Reference
from jrlib.comparison import TEST, observations, test_set
from jrlib.parameters import QUANTITY_NAMES, Prior, quantities
from jrlib.posterior import level, ranks, tarp_levels
from jrlib.reference import Likelihood
from jrlib.results import Result, check_tier, command_line

PASSES = 200
NAME = "calibration"  # of the results in the store


@dataclass(frozen=True)
class Size:
    """How large the trainings and their checks are.

    budgets : pairs of simulations for a training, and trainings on so many
    seen : how many simulations a training sees at most, those of before with new noise counted
        again, and no simulation more than `PASSES` times
    n_checked, n_samples : test simulations that are sampled, and samples of each
    n_refined, n_weighed : test simulations whose samples are weighed, and samples of each
    """

    budgets: tuple
    seen: int
    n_checked: int
    n_samples: int
    n_refined: int
    n_weighed: int
    noise_factors: tuple


SIZES = {
    "smoke": Size(((200, 1),), 400, 20, 19, 2, 100, (1.0, 1e6)),
    "fast": Size(((1000, 1), (4000, 1)), 40_000, 100, 99, 5, 1000, (1.0, 1e4, 1e6)),
    "paper": Size(
        ((1000, 3), (3000, 3), (10_000, 3), (30_000, 2), (100_000, 1), (300_000, 1)),
        20_000_000,
        500,
        199,
        20,
        5000,
        (1.0, 1e2, 1e4, 1e6),
    ),
}


def cell(
    convention,
    n_simulations,
    seen,
    seed,
    n_test,
    n_checked,
    n_samples,
    n_refined,
    n_weighed,
    noise_factors,
    keep,
):
    """Train an `Amortised` posterior and let it answer test simulations at each noise factor.

    convention : name of a `Convention`; n_simulations, seen, n_checked... : see `Size`
    n_test : size of the test set; keep : whether the weights are wanted

    Returns a `Result`: the tables "history", "scores" (see `metrics.score`, of the posterior means
    of all test simulations) and "refined" (number and efficiency), both with a column
    noise_factor; arrays, the first axis being the noise factors: ranks (k, n_checked, 13) of the
    truth among the samples, highest_density and tarp (k, n_checked), refined (k, n_refined, 13),
    the corrected means; on demand the weights, as "weights/name"; the value "config".
    """
    test = test_set(convention, n_test, "standard")
    reference = Reference(Likelihood.of(test, 1.0))
    epochs = max(2, min(PASSES, round(seen / n_simulations)))
    model = amortised.train(reference, n_simulations, seed=seed, epochs=epochs)
    truth, points = quantities(test.theta), reference.points(test.theta)[:n_checked]
    rng = np.random.default_rng(seed)
    apart = rng.standard_normal(points.shape)
    scores, refined, arrays = [], [], []
    for noise_factor in noise_factors:
        observed = observations(test, noise_factor, seed=TEST).astype(float)
        means = model.mean(observed, noise_factor, seed=seed)
        score = metrics.score(truth, means, QUANTITY_NAMES, scale=Prior().quantity_std)
        scores.append(score.assign(noise_factor=noise_factor))
        checked = observed[:n_checked]
        drawn, log_q = model.draw(checked, noise_factor, n_samples, seed=seed)
        at_truth = model.log_prob(points[:, np.newaxis], checked, noise_factor)
        theta = model.parameters(drawn.reshape(-1, points.shape[1]), rng)
        samples = quantities(theta).reshape(*drawn.shape[:2], -1)
        weighed = [
            model.refine(row, noise_factor, n_weighed, seed=seed + number)
            for number, row in enumerate(observed[:n_refined])
        ]
        refined += [
            {"noise_factor": noise_factor, "number": number, "efficiency": found.efficiency}
            for number, found in enumerate(weighed)
        ]
        arrays.append(
            {
                "ranks": ranks(samples, truth[:n_checked]),
                "highest_density": level(log_q > at_truth),
                "tarp": tarp_levels(drawn, points, apart),
                "refined": np.array([found.mean for found in weighed]),
            }
        )
    stacked = {name: np.array([row[name] for row in arrays], np.float32) for name in arrays[0]}
    weights, config = model.state()
    if keep:
        stacked |= {f"weights/{name}": array for name, array in weights.items()}
    tables = {
        "history": model.history,
        "scores": pd.concat(scores, ignore_index=True).round(6),
        "refined": pd.DataFrame(refined).round(6),
    }
    return Result(tables, stacked, {"config": config})


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    shared = {name: value for name, value in vars(size).items() if name != "budgets"}
    shared["noise_factors"] = list(size.noise_factors)
    configs = [
        {
            "convention": convention,
            "n_simulations": budget,
            "seed": seed + repeat,
            "n_test": study.SIZES[tier].n_test,
            "keep": repeat == 0 and budget == size.budgets[-1][0],
            **shared,
        }
        for budget, n_seeds in size.budgets
        for repeat in range(n_seeds)
        for convention in study.CONVENTIONS
    ]
    return sorted(configs, key=lambda config: config["seed"])


if __name__ == "__main__":
    from jrlib.calibration import (
        cell,  # so that results are made by jrlib.calibration, not by __main__
    )

    command_line(NAME, cell, grid, study.SEED)
