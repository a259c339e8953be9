"""How much each of many experiments would tell of the parameters, without any inference.

A design is a stimulus and a recording of the response to it, or a recording of ongoing activity
without a stimulus. What it would tell is taken from the Fisher information at samples of the prior;
`confirmed_designs` runs inference on a few of them.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, EEG_NOISE, STUDY_NOISE
from jrlib.diagnostics import design_information
from jrlib.diagnostics.design_information import OngoingActivity
from jrlib.parameters import IDENTIFIABLE_NAMES
from jrlib.priors import Prior
from jrlib.sensors import noise_models
from jrlib.simulation.protocol import Protocol

STUDY = "as in the study"
ONGOING = "spectrum of ongoing activity"
# The study's recording, and what differs from it: a minute each, but for the last. A pulse to one
# population is as strong as all three together.
STIMULI = {
    STUDY: {},
    "pulse of 5 ms": {"pulse_width": 0.005},
    "pulse of 20 ms": {"pulse_width": 0.02},
    "pulse of 100 ms": {"pulse_width": 0.1},
    "pulse of 300 ms": {"pulse_width": 0.3},
    "half as strong": {"pulse": (16.8, 30.0, 30.0)},
    "twice as strong": {"pulse": (67.2, 120.0, 120.0)},
    "four times as strong": {"pulse": (134.4, 240.0, 240.0)},
    "to pyramidal cells only": {"pulse": (153.6, 0.0, 0.0)},
    "to excitatory cells only": {"pulse": (0.0, 153.6, 0.0)},
    "to inhibitory cells only": {"pulse": (0.0, 0.0, 153.6)},
    "pairs, 100 ms apart": {"pair": 0.1},
    "pairs, 200 ms apart": {"pair": 0.2},
    "pairs, 400 ms apart": {"pair": 0.4},
    "two a second": {
        "isi": 0.5,
        "n_trials": 120,
        "epoch": (-0.1, 0.4),
        "baseline": (-0.1, 0.0),
    },
    "background of 300/s": {"background": 300.0},
    "ten minutes": {"n_trials": 600},
}
# By the design's name, what the fields `protocol` and `ongoing` of its configuration are.
DESIGNS = {name: {"protocol": Protocol(**options)} for name, options in STIMULI.items()}
DESIGNS[ONGOING] = {"ongoing": OngoingActivity()}
# By the setting's name, whether the noise is like that of real EEG (in place of white, independent
# noise), and whether the gain from the source to the sensors is unknown.
SETTINGS = {
    "white noise": {"aperiodic": False, "unknown_gain": False},
    "unknown gain": {"aperiodic": False, "unknown_gain": True},
    "noise of real EEG": {"aperiodic": True, "unknown_gain": False},
    "both": {"aperiodic": True, "unknown_gain": True},
}
SIZES = {
    "smoke": {"n_samples": 3, "noise_factors": (EEG_NOISE,)},
    "fast": {"n_samples": 5, "noise_factors": (EEG_NOISE,)},
    "paper": {},
}
SMOKE_DESIGNS = (STUDY, ONGOING)


@dataclass(frozen=True)
class Config:
    """One design in one convention.

    convention : name of a `Convention`
    design : a name, such as those of `DESIGNS`; protocol and ongoing say what it means
    seed : of the samples of the prior; n_samples : how many of them
    noise_factors : of the sensor noise
    gain_sd : standard deviation of the logarithm of an unknown gain; at 1 it may well be a factor
        of e too high or too low
    correlation_length : m, over which noise like that of real EEG is correlated between electrodes
    sampling_rate : of the responses, Hz
    n_covariance : samples from which the prior's covariance is estimated
    protocol : stimulus and recording; for ongoing activity only its length counts
    ongoing : what is looked at instead of the response to a stimulus, None for the response
    """

    convention: str
    design: str
    seed: int
    noise_factors: tuple[float, ...] = (STUDY_NOISE, EEG_NOISE)
    n_samples: int = 60
    gain_sd: float = 1.0
    correlation_length: float = noise_models.CORRELATION_LENGTH
    sampling_rate: float = 250.0
    n_covariance: int = 20_000
    protocol: Protocol = field(default=Protocol(), metadata={"named": False})
    ongoing: OngoingActivity | None = field(default=None, metadata={"named": False})


def run(config):
    """How much a design would tell at samples of the prior; a `Result`.

    Its table "information" has the columns sample (its number), noise_factor, setting (of
    `SETTINGS`), nats (gain of information on the eight combinations) and, for each of
    `IDENTIFIABLE_NAMES`, the standard deviation of its logarithm that is left over that of the
    prior. Samples at which the column has no rest under a constant input have NaN.
    """
    prior = design_information.prior_covariance(n=config.n_covariance)
    noises = [(factor, real) for factor in config.noise_factors for real in (False, True)]
    told_by = _ongoing_activity(config, noises) if config.ongoing else _response(config, noises)
    samples, rows = Prior().sample(config.n_samples, np.random.default_rng(config.seed)), []
    for number, theta in enumerate(samples):
        told = told_by(theta)
        for factor in config.noise_factors:
            for name, setting in SETTINGS.items():
                information = told[factor, setting["aperiodic"]]
                gain_sd = config.gain_sd if setting["unknown_gain"] else 0.0
                left = design_information.posterior_covariance(information, prior, gain_sd)
                ratio = np.sqrt(np.diag(left) / np.diag(prior))
                with np.errstate(invalid="ignore"):  # NaN for a sample without a rest
                    nats = 0.5 * (np.linalg.slogdet(prior)[1] - np.linalg.slogdet(left)[1])
                rows.append((number, factor, name, nats, *ratio))
    frame = pd.DataFrame(rows, columns=list(EXPERIMENT.tables["information"]))
    return Result({"information": frame})


def _response(config, noises):
    """A function from theta (9,) to a dict: noise of the list -> information (9, 9)."""
    likelihoods = {
        (factor, aperiodic): design_information.likelihood(
            config.protocol,
            config.convention,
            factor,
            aperiodic=aperiodic,
            correlation_length=config.correlation_length,
            sampling_rate=config.sampling_rate,
        )
        for factor, aperiodic in noises
    }

    def informations(theta):
        slopes = design_information.slopes(
            config.protocol, config.convention, theta, sampling_rate=config.sampling_rate
        )
        white = {noise: likelihoods[noise].whiten(slopes) for noise in noises}
        return {noise: white[noise] @ white[noise].T for noise in noises}

    return informations


def _ongoing_activity(config, noises):
    """The same as `_response`, of a recording without a stimulus that takes as long."""
    duration = config.protocol.n_trials * config.protocol.isi
    noise_sd = {
        (factor, aperiodic): design_information.source_noise(
            factor, aperiodic=aperiodic, correlation_length=config.correlation_length
        )
        for factor, aperiodic in noises
    }

    def informations(theta):
        slopes = design_information.spectrum_slopes(
            theta, config.convention, ongoing=config.ongoing
        )
        return {
            (factor, aperiodic): design_information.spectrum_information(
                *slopes,
                duration=duration,
                noise_sd=noise_sd[factor, aperiodic],
                aperiodic=aperiodic,
                ongoing=config.ongoing,
            )
            for factor, aperiodic in noises
        }

    return informations


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [
        Config(convention, design, seed, **DESIGNS[design], **SIZES[tier])
        for convention in CONVENTIONS
        for design in (SMOKE_DESIGNS if tier == "smoke" else DESIGNS)
    ]


def gains(information):
    """How many nats more than the study's design each of the others tells; a DataFrame.

    information : rows of the table "information", at one noise factor

    A row for each convention, setting and design but the study's, those that tell little in CLASSIC
    with white noise first, with the `quartiles` over the samples of the prior, in nats.
    """
    by = ["convention", "setting", "sample"]
    nats = information.pivot(index=by, columns="design", values="nats")
    more = nats.drop(columns=STUDY).sub(nats[STUDY], axis=0)
    order = more.loc["CLASSIC", "white noise"].median().sort_values().index
    long = more[order].melt(var_name="design", value_name="nats", ignore_index=False)
    return quartiles(long, ["design", "convention", "setting"], "nats", unit=" (nats)").dropna()


def quartiles(frame, by, column, *, unit=""):
    """Quartiles of a column in groups, which keep their order: a DataFrame.

    Columns: those of `by`, and "lower quartile", "median" and "upper quartile", each with the unit.
    """
    names = {0.25: "lower quartile", 0.5: "median", 0.75: "upper quartile"}
    names = {part: name + unit for part, name in names.items()}
    found = frame.groupby(by, sort=False)[column].quantile(list(names))
    return found.unstack(sort=False).rename(columns=names).reset_index()


EXPERIMENT = Experiment(
    "stimulus_designs",
    Config,
    run,
    grid,
    tables={
        "information": {"sample": int, "noise_factor": float, "setting": str, "nats": float}
        | dict.fromkeys(IDENTIFIABLE_NAMES, float)
    },
    # Directions of which the data hardly speak are a difference of nearly equal numbers.
    rounding=5e-3,
)
