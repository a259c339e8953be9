"""Sensitivity and Fisher information of the response, locally, at many parameters of the prior."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.runs import Experiment, Result, check_tier
from jrlib.diagnostics import sensitivity
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import CONVENTIONS, PARAMETER_NAMES, TYPICAL
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset

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
    likelihood = Likelihood.of(make_dataset(1, 0, convention=config.convention, threads=1), 1.0)
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
)
