"""Sensitivity and Fisher information of the response, locally, at many parameters of the prior."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from jrlib.diagnostics import sensitivity
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import CONVENTIONS, IDENTIFIABLE_NAMES, PARAMETER_NAMES, TYPICAL
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol, simulate_erp

TYPICAL_SAMPLE = -1  # the number under which `TYPICAL` stands among the samples of the prior
SIZES = {"smoke": {"n_samples": 4}, "fast": {"n_samples": 60}, "paper": {}}


@dataclass(frozen=True)
class Config:
    """Samples of the prior in one convention.

    convention : name of a `Convention`; seed : of the samples; n_samples : how many of them
    """

    convention: str
    seed: int
    n_samples: int = 500


def run(config):
    """Local sensitivities and information at the typical parameters and at samples of the prior.

    Returns a `Result` with two tables, in which the column sample counts from 0, and is
    `TYPICAL_SAMPLE` for `TYPICAL`:
    sensitivity : parameter, value (relative change of the response per relative change of it)
    standard_errors : rank, value (standard errors of the eigendirections of the Fisher information
        of the logarithms of `IDENTIFIABLE_NAMES` at noise factor 1, 1 / sqrt(eigenvalue), from the
        stiffest direction, rank 1, to the sloppiest). They grow with the root of the noise factor.
    """
    likelihood = _likelihood(config.convention, 1.0)
    samples = Prior().sample(config.n_samples, np.random.default_rng(config.seed))
    sensitivities, errors = [], []
    for theta in [TYPICAL, *samples]:
        relative = sensitivity.jacobian(theta, config.convention)
        sensitivities.append(sensitivity.rms(relative.T))
        # Singular values rather than eigenvalues: squares would lose half of the digits.
        derivatives = likelihood.derivatives(theta)[:, :8]
        errors.append(1.0 / np.linalg.svd(derivatives, compute_uv=False))
    numbers = pd.RangeIndex(TYPICAL_SAMPLE, config.n_samples, name="sample")

    def long(rows, names, label):
        wide = pd.DataFrame(rows, index=numbers, columns=pd.Index(names, name=label))
        return wide.stack().rename("value").reset_index()

    return Result(
        {
            "sensitivity": long(sensitivities, PARAMETER_NAMES, "parameter"),
            "standard_errors": long(errors, range(1, 9), "rank"),
        }
    )


def _likelihood(convention, noise_factor):
    return Likelihood.of(make_dataset(1, 0, convention=convention, threads=1), noise_factor)


def over_prior(table, by):
    """What is typical, and how it varies over the prior.

    table : one of the tables of a `runs.Found`; by : "parameter" or "rank"
    Returns a DataFrame with a row for each convention and value of by: convention, by, typical (at
    `TYPICAL`), low, median and high (5th, 50th and 95th percentile over samples of the prior).
    """
    groups = ["convention", by]
    typical = table[table["sample"] == TYPICAL_SAMPLE].set_index(groups).value.rename("typical")
    samples = table[table["sample"] != TYPICAL_SAMPLE].groupby(groups, sort=False).value
    percentiles = samples.quantile([0.05, 0.5, 0.95]).unstack()
    percentiles.columns = ["low", "median", "high"]
    return pd.concat([typical, percentiles], axis=1).reset_index()


def eigendirections(convention, noise_factor):
    """Eigenvectors of the Fisher information of the eight combinations at `TYPICAL`.

    Returns a DataFrame with a row for each direction and combination: direction (1 is the
    stiffest), combination (of `IDENTIFIABLE_NAMES`), weight. The squares of a direction's weights
    add up to 1, and that of A_e is positive.
    """
    derivatives = _likelihood(convention, noise_factor).derivatives(TYPICAL)[:, :8]
    _, _, directions = np.linalg.svd(derivatives, full_matrices=False)
    directions = directions * np.sign(directions[:, :1])
    numbers = pd.Index(range(1, 9), name="direction")
    names = pd.Index(IDENTIFIABLE_NAMES, name="combination")
    return pd.DataFrame(directions, numbers, names).stack().rename("weight").reset_index()


def integration_errors(theta, convention, methods, *, finest=1e-4):
    """Errors of integrating with the protocol's step, relative to the rms of the response.

    theta : (n, 9); convention : name of a `Convention`; methods : of `Protocol`
    finest : s, step of the Runge-Kutta rule whose response stands for the exact one
    Returns a DataFrame with a row for each of theta and a column for each method.
    """
    every = round(Protocol().dt / finest)
    exact = simulate_erp(theta, Protocol(dt=finest), convention)[:, ::every]
    return pd.DataFrame(
        {
            method: sensitivity.rms(
                simulate_erp(theta, Protocol(method=method), convention) - exact
            )
            / sensitivity.rms(exact)
            for method in methods
        }
    )


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [Config(convention, seed, **SIZES[tier]) for convention in CONVENTIONS]


EXPERIMENT = Experiment(
    "local_information",
    Config,
    run,
    grid,
    tables={
        "sensitivity": {"sample": int, "parameter": str, "value": float},
        "standard_errors": {"sample": int, "rank": int, "value": float},
    },
    # Directions of which the data hardly speak are a difference of nearly equal numbers.
    rounding=5e-3,
)
