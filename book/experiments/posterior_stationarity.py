"""Are the reference posterior's draws right? Steps of a Markov chain must leave them as they are.

A chain that leaves the exact posterior unchanged, random-walk Metropolis, is started from each of
the draws that `ceiling` has kept. If they are draws of that posterior, then so are the chains'
later states, and nothing changes on average. Where they are too wide the log density rises, by
4 (s^2 - 1) for eight normal coordinates that are s times too wide; too narrow, it falls.
"""

import numpy as np
import pandas as pd

from experiments import comparison, exact_posteriors
from experiments.compared_methods import TEST, observations, test_set
from experiments.results import Result, check_tier, command_line
from jrlib.diagnostics.stationarity import metropolis
from jrlib.inference import exact_posterior
from jrlib.inference.likelihood import Likelihood

NAME = "stationarity"  # of the results in the store
N_STEPS = {"smoke": 10, "fast": 30, "paper": 100}


def cell(convention, noise_factor, n, n_steps, n_draws, n_test, seed, *, gathered):
    """Walk on from the kept draws of the accepted among n observations.

    convention, noise_factor, n, n_draws, n_test : of the ceiling's cells; n_steps : of each chain
    gathered : their results, as from `exact_posteriors.gather`

    A half of the draws gives the steps' covariance to the chains that start from the other half,
    so that no chain knows where it starts.

    Returns a `Result` with the table "observations", a row each: number; change, the mean change of
    the log posterior density; rounding, what rounding to single precision, in which the draws are
    kept, costs them of it, as rounding once more does; taken, the part of the steps.
    """
    table, arrays = gathered[convention, noise_factor]
    test = test_set(convention, n_test, "standard")
    observed = observations(test, noise_factor, seed=TEST)
    reference = exact_posterior.Reference(Likelihood.of(test, noise_factor))
    rows = []
    for row in np.flatnonzero(table.accepted):
        number = int(table.number[row])
        rng = np.random.default_rng([seed, number])
        kept = arrays["draws"][row]
        theta = kept.astype(float)
        points = reference.points(theta)
        halves = points[1::2], points[::2]
        root = np.array([np.linalg.cholesky(np.cov(half.T)) for half in halves])
        root = root[np.arange(len(points)) % 2]  # of the half that a chain does not start from
        change, taken = metropolis(reference, observed[number], points, root, n_steps, rng)
        again = reference.points(theta + (rng.random(theta.shape) - 0.5) * np.spacing(kept))
        exact, rounded = (reference.log_density(x, observed[number]) for x in (points, again))
        rows.append((number, change.mean(), np.mean(exact - rounded), taken))
    columns = ["number", "change", "rounding", "taken"]
    return Result({"observations": pd.DataFrame(rows, columns=columns)})


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = exact_posteriors.SIZES[tier]
    return [
        {
            "convention": convention,
            "noise_factor": noise_factor,
            "n": n,
            "n_steps": N_STEPS[tier],
            "n_draws": size.n_draws,
            "n_test": comparison.SIZES[tier].n_test,
            "seed": seed,
        }
        for (variant, convention, noise_factor), n in size.n.items()
        if variant == "standard"
    ]


def draws(store, tier, seed):
    """What `cell` is given: the ceiling's draws from a `results.Store`, computed where missing."""
    configs = exact_posteriors.grid(tier, seed)
    found = store.get_many(exact_posteriors.NAME, exact_posteriors.cell, configs)
    return {"gathered": exact_posteriors.gather(configs, found)}


def summary(configs, results):
    """What the steps changed: a DataFrame, a row for each configuration.

    Columns: convention, noise factor, observations; change of the mean log posterior density, and
    low and high, its 95 % interval over the observations; rounding and taken as from `cell`, means.
    """
    rows = []
    for config, result in zip(configs, results, strict=True):
        table = result.tables["observations"]
        mean, error = table.mean(), table.std() / np.sqrt(len(table))
        rows.append(
            {
                "convention": config["convention"],
                "noise factor": config["noise_factor"],
                "observations": len(table),
                "change": mean.change,
                "low": mean.change - 1.96 * error.change,
                "high": mean.change + 1.96 * error.change,
                "rounding": mean.rounding,
                "taken": mean.taken,
            }
        )
    return pd.DataFrame(rows)


if __name__ == "__main__":
    pass  # so that results are made by experiments.posterior_stationarity

    command_line(NAME, cell, grid, comparison.SEED, given=draws)
