"""What inference answers when its assumptions are wrong, and which checks notice it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments import comparison
from experiments.compared_methods import test_set
from experiments.exact_posteriors import FEWEST
from experiments.faults import FAULTS, record
from experiments.results import Result, check_tier
from jrlib.diagnostics import scoring
from jrlib.diagnostics.misfit import (
    CHECKS,
    IDENTIFIABLE,
    LEVEL,
    Sensors,
    check,
)
from jrlib.inference import amortised
from jrlib.inference.exact_posterior import Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import QUANTITY_NAMES, quantities

NAME = "trust"  # of the results in the store
N_DRAWS = 200  # of the estimator's posterior
PASSES = 50  # over the simulations, at most


@dataclass(frozen=True)
class Size:
    """How large a cell is.

    n_simulations, seen : of the estimator's training, see `amortised_posteriors.Size`
    n_right, n_wrong : recordings with nothing wrong, and with each of the faults
    """

    n_simulations: int
    seen: int
    n_right: int
    n_wrong: int
    noise_factors: tuple = (1e4, 1e6)


SIZES = {
    "smoke": Size(200, 400, 3, 1, (1e4,)),
    "fast": Size(4000, 100_000, 20, 4),
    "paper": Size(30_000, 1_500_000, 60, 8),
}


def cell(convention, n_simulations, seen, seed, n_test, n_right, n_wrong, noise_factors):
    """Train an estimator, give it recordings with and without `FAULTS`, and check these.

    convention : name of a `Convention`; n_simulations, seen... : see `Size`
    n_test : size of the test set of `comparison`, whose first simulations are recorded

    Returns a `Result`: the table "recordings", a row each: noise_factor, fault, number, the p
    values of `CHECKS`, noticed (whether the `Verdict` has objections), answered (whether the
    estimator gave draws that the prior allows) and error, the root mean square over
    `IDENTIFIABLE_NAMES` of the posterior mean's error in posterior standard deviations; and the
    arrays truth, mean and std (rows, 13) of `QUANTITY_NAMES`.
    """
    test = test_set(convention, n_test, "standard")
    reference, sensors = Reference(Likelihood.of(test, 1.0)), Sensors(test.gain)
    epochs = max(2, min(PASSES, round(seen / n_simulations)))
    model = amortised.train(reference, n_simulations, seed=seed, epochs=epochs)
    rng = np.random.default_rng(seed)
    rows, found = [], []
    for noise_factor in noise_factors:
        assumed = reference.at(noise_factor)
        for fault, options in FAULTS.items():
            theta = test.theta[: n_wrong if options else n_right]
            recordings = record(theta, test, noise_factor, rng, **options)
            for number, data in enumerate(recordings):
                source, _ = sensors.split(data)
                starts, mean, std = _answer(model, source, noise_factor, rng)
                verdict = check(assumed, sensors, data, starts)
                truth = quantities(theta[number : number + 1])[0]
                rows.append(
                    {
                        "noise_factor": noise_factor,
                        "fault": fault,
                        "number": number,
                        **verdict.p_values,
                        "noticed": bool(verdict.objections),
                        "answered": bool(np.isfinite(mean).all()),
                        "error": np.sqrt(np.mean(((mean - truth) / std)[IDENTIFIABLE] ** 2)),
                    }
                )
                found.append({"truth": truth, "mean": mean, "std": std})
    arrays = {name: np.array([row[name] for row in found], np.float32) for name in found[0]}
    return Result({"recordings": pd.DataFrame(rows)}, arrays)


def _answer(model, source, noise_factor, rng):
    """Draws (N_DRAWS, 8), mean and std (13,) of an `Amortised` posterior given a waveform.

    Where it gives no draws that the prior allows, draws of the prior, and NaN.
    """
    try:
        (points,), _ = model.draw(
            source[np.newaxis], noise_factor, N_DRAWS, seed=int(rng.integers(2**31))
        )
    except ValueError:
        nothing = np.full(len(QUANTITY_NAMES), np.nan)
        return rng.standard_normal((N_DRAWS, amortised.N_COORDINATES)), nothing, nothing
    values = quantities(model.parameters(points, rng))
    return points, values.mean(axis=0), values.std(axis=0)


def summary(result):
    """What the checks and the estimator make of each fault: a DataFrame, from a cell's `Result`.

    Columns: noise_factor, fault, n (recordings), noticed (part of them), each of `CHECKS` (part of
    them to which it objects by itself, at `LEVEL`), answered (part), error (median) and correlation
    (of posterior mean and truth, mean over `IDENTIFIABLE_NAMES`; NaN for fewer than `FEWEST`).
    """
    table = result.tables["recordings"]
    rows = []
    for (noise_factor, fault), part in table.groupby(["noise_factor", "fault"], sort=False):
        kept = part.index[part.answered]
        truth, mean = (result.arrays[name][kept][:, IDENTIFIABLE] for name in ("truth", "mean"))
        enough = len(kept) >= FEWEST
        rows.append(
            {
                "noise_factor": noise_factor,
                "fault": fault,
                "n": len(part),
                "noticed": part.noticed.mean(),
                **(part[list(CHECKS)] < LEVEL).mean(),
                "answered": part.answered.mean(),
                "error": part.error.median(),
                "correlation": np.mean(scoring.pearson(truth, mean)) if enough else np.nan,
            }
        )
    return pd.DataFrame(rows)


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = vars(SIZES[tier]) | {"noise_factors": list(SIZES[tier].noise_factors)}
    n_test = comparison.SIZES[tier].n_test
    return [
        {"convention": convention, "seed": seed, "n_test": n_test, **size}
        for convention in comparison.CONVENTIONS
    ]
