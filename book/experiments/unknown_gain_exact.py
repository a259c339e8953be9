"""Exact posteriors of the same observations with a known gain and with an unknown one.

The size of the lead field depends on a skull and a cortical patch that nobody has measured, so that
the data are g times the response plus noise, with log g normal. As one more coordinate, g leaves
the likelihood what it was, and the exact posterior can still be sampled. `unknown_gain_networks`
has networks answer the same observations.

At the paper tier an exact posterior takes about three seconds.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, EEG_NOISE, TEST
from jrlib.diagnostics.scoring import score
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.inference.unknown_gain import (
    GAIN,
    NAMES,
    UnknownGainSampler,
    amplify,
    draw_gains,
    with_known_gain,
)
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset

KNOWN, UNKNOWN = "known", "unknown"
IDENTIFIABLE = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]
FEWEST_ANSWERS = 3  # answers of which a correlation can be spoken
BLOCK = 6  # observations in a run
# Observations of a convention at a tier, and what else their runs have.
N_OBSERVATIONS = {"smoke": 3, "fast": 4, "paper": 24}
SIZES = {
    "smoke": {"n_samples": 50, "n_test": 20},
    "fast": {"n_samples": 60},
    "paper": {},
}


@dataclass(frozen=True)
class Config:
    """Some test observations in one convention, each with its gain known and unknown.

    convention : name of a `Convention`
    first, n : number of the first observation, and how many there are
    seed : of the posteriors' samples, with the observation's number
    n_samples : of each posterior; n_test : test simulations, of which the observations are some
    noise_factor : of the sensor noise; gain_sd : standard deviation of log g
    min_effective : effective sample size that an accepted posterior has at least
    sampler : of the posteriors
    """

    convention: str
    first: int
    seed: int
    n: int = BLOCK
    n_samples: int = 150
    n_test: int = 100
    noise_factor: float = EEG_NOISE
    gain_sd: float = 0.5
    min_effective: float = 30.0
    sampler: SamplerSettings = field(default=SamplerSettings())


def test_observations(config):
    """Test simulations, their gains (n_test,) and outputs (n_test, n_times), mV: a triple.

    config : convention, n_test, noise_factor and gain_sd count
    """
    test = make_dataset(config.n_test, [0, TEST], convention=config.convention, threads=1)
    gains = draw_gains(len(test), config.gain_sd, np.random.default_rng([0, TEST]))
    observed = amplify(test, gains).observe(config.noise_factor, seed=TEST)
    return test, gains, observed.astype(float)


def run(config):
    """Exact posteriors of the observations; a `Result`.

    Its table "observations" has a row for each observation and gain (`KNOWN` or `UNKNOWN`): number,
    gain, accepted (whether there is one mode and enough effective samples), effective_sample_size,
    rhat, n_modes, deviance, n_simulations. The arrays truth, mean and std (2 n, 9) are of `NAMES`,
    their first axis being that of the table. NaN for what could not be sampled.
    """
    test, gains, observed = test_observations(config)
    likelihood = Likelihood.of(test, config.noise_factor)
    plain = ExactSampler(likelihood, settings=config.sampler)
    unsure = UnknownGainSampler(likelihood, config.gain_sd, settings=config.sampler)
    rows, found = [], []
    for number in range(config.first, config.first + config.n):
        log_gain = np.log(gains[number])
        asked = {
            KNOWN: with_known_gain(plain, observed[number], gains[number]),
            UNKNOWN: (unsure, observed[number]),
        }
        for gain, (sampler, data) in asked.items():
            rng = np.random.default_rng([config.seed, number])
            posterior = sampler.posterior(data, config.n_samples, rng)
            enough = posterior.effective_sample_size >= config.min_effective
            rows.append(
                {
                    "number": number,
                    "gain": gain,
                    "accepted": bool(posterior.n_modes == 1 and enough),
                    "effective_sample_size": round(posterior.effective_sample_size, 1),
                    "rhat": round(posterior.rhat, 5),
                    "n_modes": posterior.n_modes,
                    "deviance": round(posterior.deviance, 3),
                    "n_simulations": sampler.n_simulations,
                }
            )
            of_gain = (log_gain, 0.0) if gain == KNOWN else _moments(posterior)
            truth = quantities(test.theta[number : number + 1])[0]
            values = {"truth": (truth, log_gain)}
            values |= {"mean": (posterior.mean, of_gain[0]), "std": (posterior.std, of_gain[1])}
            found.append({k: np.append(v[IDENTIFIABLE], g) for k, (v, g) in values.items()})
    arrays = {name: np.array([row[name] for row in found], np.float32) for name in found[0]}
    return Result({"observations": pd.DataFrame(rows)}, arrays)


def _moments(posterior):
    """Mean and standard deviation of log g in an `UnknownGainPosterior`; NaN without samples."""
    if not len(posterior.log_gain):
        return np.nan, np.nan
    mean = posterior.weights @ posterior.log_gain
    return mean, np.sqrt(posterior.weights @ (posterior.log_gain - mean) ** 2)


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    total = N_OBSERVATIONS[tier]
    return [
        Config(convention, first, seed, n=min(BLOCK, total - first), **SIZES[tier])
        for first in range(0, total, BLOCK)
        for convention in CONVENTIONS
    ]


def accepted(found):
    """Observations of which both posteriors are accepted, by convention.

    found : runs of this experiment, a `runs.Found`
    Returns a dict: name of the convention -> the table "observations" and the arrays by name, all
    runs together, without the observations of which a posterior is not accepted, known or unknown.
    """
    answers = {}
    for convention in found.runs.convention.unique():
        part = found.where(convention=convention)
        table = part.table("observations")
        kept = table.groupby("number").accepted.transform("all").to_numpy()
        arrays = {name: part.stack(name)[kept] for name in ("truth", "mean", "std")}
        answers[convention] = table[kept].reset_index(drop=True), arrays
    return answers


def scores(truth, mean, std, *, gain, n_bootstrap=1000):
    """Correlation and contraction of answers (n, 9) for `NAMES`: a DataFrame, a row each.

    gain : `KNOWN`, which leaves the row of the gain itself out, or `UNKNOWN`
    n_bootstrap : resamples for the intervals
    Columns: parameter, value, low, high (Pearson's, see `scoring.score`; NaN for a constant
    answer), n and contraction (one minus mean posterior variance over prior variance, that of log g
    being its variance in truth). Raises ValueError for fewer than `FEWEST_ANSWERS` answers.
    """
    if len(truth) < FEWEST_ANSWERS:
        raise ValueError(f"truth: got {len(truth)} answers, expected at least {FEWEST_ANSWERS}")
    scale = np.append(Prior().quantity_std[IDENTIFIABLE], truth[:, 8].std())
    frame = score(truth, mean, NAMES, scale=scale, n_bootstrap=n_bootstrap)
    frame = frame[frame.metric == "pearson"].drop(columns="metric").reset_index(drop=True)
    frame = frame.assign(contraction=1.0 - np.mean((std / scale) ** 2, axis=0))
    return frame if gain == UNKNOWN else frame[frame.parameter != GAIN]


EXPERIMENT = Experiment(
    "unknown_gain_exact",
    Config,
    run,
    grid,
    tables={
        "observations": {
            "number": int,
            "gain": str,
            "accepted": bool,
            "effective_sample_size": float,
            "rhat": float,
            "n_modes": int,
            "deviance": float,
            "n_simulations": int,
        }
    },
)
