"""Are the exact posteriors' samples right? Steps of a Markov chain must leave them as they are.

A chain that leaves the exact posterior unchanged, random-walk Metropolis, is started from each of
the samples that `exact_posteriors` has kept. If they are samples of that posterior, then so are the
chains' later states, and nothing changes on average. Where they are too wide the log density rises,
by 4 (s^2 - 1) for eight normal coordinates that are s times too wide; too narrow, it falls.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments import exact_posteriors, tables
from experiments.compared_methods import test_set
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import TEST
from jrlib.diagnostics.stationarity import metropolis
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood


@dataclass(frozen=True)
class Config:
    """Chains from the samples of all exact posteriors of one convention and noise factor.

    exact : runs of `exact_posteriors`; n_steps : of each chain
    step_scales : of the steps in turn, see `metropolis`
    """

    convention: str
    noise_factor: float
    seed: int
    exact: tuple[str, ...] = field(metadata={"named": False})
    n_steps: int = 100
    step_scales: tuple[float, ...] = (0.4, 0.1)


SIZES = {"smoke": {"n_steps": 10}, "fast": {"n_steps": 30}, "paper": {"n_steps": 100}}


def run(config, upstream):
    """Walk on from the kept samples of each accepted posterior.

    Half of the samples give the steps' covariance to the chains that start from the other half, so
    that no chain knows where it starts.

    Returns a `Result` with the table "observations", a row each: number; change, the mean change of
    the log posterior density; rounding, what rounding to single precision, in which the samples are
    kept, costs them of it, as rounding once more does; taken, the fraction of the steps.
    """
    exact = upstream["exact"]
    table, samples = exact.table("observations"), exact.stack("samples")
    test = test_set(config.convention, exact.runs.n_test.iloc[0], "standard")
    observed = test.observe(config.noise_factor, seed=TEST)
    sampler = ExactSampler(
        Likelihood.of(test, config.noise_factor),
        settings=exact.config(exact.names[0]).sampler,
    )
    rows = []
    for row in np.flatnonzero(table.accepted):
        number = int(table.number[row])
        rng = np.random.default_rng([config.seed, number])
        kept = samples[row]
        theta = kept.astype(float)
        points = sampler.points(theta)
        halves = points[1::2], points[::2]
        root = np.array([np.linalg.cholesky(np.cov(half.T)) for half in halves])
        root = root[np.arange(len(points)) % 2]  # of the half that a chain does not start from
        change, taken = metropolis(
            sampler,
            observed[number],
            points,
            root=root,
            n_steps=config.n_steps,
            rng=rng,
            scales=config.step_scales,
        )
        again = sampler.points(theta + (rng.random(theta.shape) - 0.5) * np.spacing(kept))
        exactly, rounded = (sampler.log_density(x, observed[number]) for x in (points, again))
        rows.append((number, change.mean(), np.mean(exactly - rounded), taken))
    columns = ["number", "change", "rounding", "taken"]
    return Result({"observations": pd.DataFrame(rows, columns=columns)})


def grid(tier, seed):
    """The configurations of a tier."""
    check_tier(tier)
    blocks = {}
    for config in exact_posteriors.grid(tier, seed):
        if config.variant == "standard":
            setting = config.convention, config.noise_factor
            blocks.setdefault(setting, []).append(tables.run_name(config))
    return [
        Config(convention, noise_factor, seed, exact=tuple(exact), **SIZES[tier])
        for (convention, noise_factor), exact in blocks.items()
    ]


EXPERIMENT = Experiment(
    "posterior_stationarity",
    Config,
    run,
    grid,
    tables={"observations": {"number": int, "change": float, "rounding": float, "taken": float}},
    upstream={"exact": "exact_posteriors"},
)


def summary(table):
    """What the steps changed: a DataFrame, a row for each convention and noise factor.

    table : "observations" of a `runs.Found`
    Columns: convention, noise factor, observations; change of the mean log posterior density, and
    low and high, its 95 % interval over the observations; rounding and taken as from `run`, means.
    """
    rows = []
    settings = table.groupby(["convention", "noise_factor"], sort=False)
    for (convention, noise_factor), part in settings:
        part = part[["change", "rounding", "taken"]]
        mean, error = part.mean(), part.std() / np.sqrt(len(part))
        rows.append(
            {
                "convention": convention,
                "noise factor": noise_factor,
                "observations": len(part),
                "change": mean.change,
                "low": mean.change - 1.96 * error.change,
                "high": mean.change + 1.96 * error.change,
                "rounding": mean.rounding,
                "taken": mean.taken,
            }
        )
    return pd.DataFrame(rows)
