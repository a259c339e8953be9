"""Sobol's indices of the evoked response over the whole prior."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS
from jrlib.diagnostics import sensitivity
from jrlib.parameters import PARAMETER_NAMES, TYPICAL
from jrlib.priors import Prior
from jrlib.simulation import gradients
from jrlib.simulation.protocol import Protocol, simulate_erp

SIZES = {"smoke": {"n": 8}, "fast": {"n": 512}, "paper": {}}


@dataclass(frozen=True)
class Config:
    """One convention.

    convention : name of a `Convention`
    seed : of the points and of the bootstrap; n : a power of 2, 11 n responses are simulated
    """

    convention: str
    seed: int
    n: int = 8192


def run(config):
    """`sensitivity.global_sensitivity` as the table "indices" of a `Result`."""
    indices = sensitivity.global_sensitivity(config.n, config.seed, config.convention)
    return Result({"indices": indices})


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [Config(convention, seed, **SIZES[tier]) for convention in CONVENTIONS]


def local_shares(convention, samples, *, step=1e-3):
    """What share of the variance each parameter would have if the model were linear in it.

    convention : name of a `Convention`
    samples : (n, 9) of the prior, along the principal components of whose responses the shapes of
        responses are compared
    step : of the central differences at `TYPICAL`, a fraction of a parameter
    Returns a DataFrame with a row for each summary of `sensitivity.summaries` and each parameter:
    summary, parameter, local (the share; NaN for a summary that does not move).
    """
    moved = gradients.responses([1 - step, 1 + step], convention=convention)  # (9, 2, n_times)
    responses = np.vstack([*moved, simulate_erp(samples, convention=convention)])
    summaries = sensitivity.summaries(responses, Protocol().times)
    steps = summaries.to_numpy()[:18].reshape(9, 2, -1)
    slopes = (steps[:, 1] - steps[:, 0]) / (2 * step)
    squares = (slopes * (Prior().std / TYPICAL)[:, np.newaxis]) ** 2
    total = squares.sum(axis=0)
    shares = pd.DataFrame(squares / np.where(total > 0, total, np.nan), columns=summaries.columns)
    shares.insert(0, "parameter", PARAMETER_NAMES)
    return shares.melt("parameter", var_name="summary", value_name="local")


EXPERIMENT = Experiment(
    "global_sensitivity",
    Config,
    run,
    grid,
    tables={
        "indices": {"summary": str, "parameter": str}
        | dict.fromkeys(("first", "first_error", "total", "total_error"), float)
    },
)
