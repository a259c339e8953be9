"""Profile likelihoods of single combinations, for the response at the typical parameters."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, EEG_NOISE
from jrlib.inference import least_squares
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, TYPICAL, identifiable
from jrlib.sensors.datasets import make_dataset

# Combinations whose likelihood is profiled, and how far: from the typical value over this factor to
# the typical value times it.
FACTORS = {"A_e": 3.0, "b_i": 1.3, "C a_1": 4.0, "C a_4": 1.6}
SIZES = {"smoke": {"n_values": 3}, "fast": {"n_values": 5}, "paper": {}}
SMOKE_COMBINATIONS = ("C a_1",)


@dataclass(frozen=True)
class Config:
    """One combination in one convention.

    convention : name of a `Convention`; combination : of `IDENTIFIABLE_NAMES`
    seed : of the random initial guesses; n_guesses : of these, at each value
    factor : the values are evenly spaced in the logarithm, from the typical one over the factor to
        the typical one times the factor; n_values : how many, odd, so that the typical one is there
    noise_factor : of the sensor noise
    max_evaluations : of the residuals, in a descent
    """

    convention: str
    combination: str
    seed: int
    factor: float = field(metadata={"named": False})
    noise_factor: float = EEG_NOISE
    n_values: int = 21
    n_guesses: int = 1
    max_evaluations: int = 60


def run(config):
    """Profile likelihood of a combination for the noise-free response at `TYPICAL`; a `Result`.

    With data free of noise the deviance is what noise adds nothing to: twice the mean log
    likelihood ratio against the truth. The table "profile" is that of `least_squares.profile`, with
    every combination relative to its typical value. The truth is among the initial guesses.
    """
    dataset = make_dataset(1, 0, convention=config.convention, threads=1)
    likelihood = Likelihood.of(dataset, config.noise_factor)
    truth = identifiable(TYPICAL)[0]
    factors = np.geomspace(1.0 / config.factor, config.factor, config.n_values)
    frame = least_squares.profile(
        likelihood,
        likelihood.respond(TYPICAL)[0],
        config.combination,
        values=truth[IDENTIFIABLE_NAMES.index(config.combination)] * factors,
        initial=truth,
        n_guesses=config.n_guesses,
        seed=config.seed,
        max_evaluations=config.max_evaluations,
    )
    frame[list(IDENTIFIABLE_NAMES)] /= truth
    return Result({"profile": frame.drop(columns="value")})


def grid(tier, seed, *, noise_factor=EEG_NOISE):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = {"noise_factor": float(noise_factor), **SIZES[tier]}
    return [
        Config(convention, name, seed, factor=FACTORS[name], **size)
        for name in (SMOKE_COMBINATIONS if tier == "smoke" else FACTORS)
        for convention in CONVENTIONS
    ]


def curves(found):
    """The profiles one below the other.

    found : `runs.Found` of this experiment
    Returns a DataFrame: convention, combination, "noise factor", "factor of the typical value" and
    deviance.
    """
    frames = []
    for (convention, name), rows in found.table("profile").groupby(
        ["convention", "combination"], sort=False
    ):
        columns = {
            "convention": convention,
            "combination": name,
            "noise factor": rows.noise_factor,
            "factor of the typical value": rows[name],
            "deviance": rows.deviance,
        }
        frames.append(pd.DataFrame(columns))
    return pd.concat(frames, ignore_index=True)


EXPERIMENT = Experiment(
    "profile_likelihoods",
    Config,
    run,
    grid,
    tables={"profile": dict.fromkeys(("deviance", *IDENTIFIABLE_NAMES), float)},
)
