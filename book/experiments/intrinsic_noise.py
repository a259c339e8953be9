"""Where no likelihood exists: intrinsic noise p(t) in the model, so that no trial is like another.

With noise in the input of a nonlinear model the response to a stimulus is random, and nobody can
write down its density; the average over trials only hides that. But it can still be simulated, and
that is all that neural posterior estimation (`jrlib.inference.flows`) asks for. A run compares, on
the same noisy responses, a posterior that was trained on such responses with one that was trained
on the deterministic model, and with one that sees how much the trials differ beside their average.

At the paper tier a training takes about a quarter of a minute, and all runs about 20 minutes.
"""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from scipy.signal import resample_poly

from experiments.exact_posteriors import ENVELOPE_LEVEL
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, STUDY_NOISE, TEST, TRAIN, VALIDATION
from jrlib.diagnostics import calibration, scoring
from jrlib.inference import flows
from jrlib.inference.flows import NPESettings
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, identifiable
from jrlib.priors import Prior
from jrlib.sensors.datasets import beside, make_dataset
from jrlib.simulation.integration import simulate
from jrlib.simulation.protocol import Protocol

# The input p(t) by name: options of `Protocol`. Jansen and Rit's lies between 120/s and 320/s, and
# the strong noise is as wide.
WIDE = 200.0 / 12.0**0.5  # standard deviation, 1/s
INPUTS = {
    "none": {"noise": 0.0, "background": 0.0},
    "mild": {"noise": 10.0, "background": 0.0},
    "strong": {"noise": WIDE, "background": 0.0},
    "Jansen and Rit's": {"noise": WIDE, "background": 220.0},
}
# The posteriors that answer, and what each of them was trained on.
ANSWERS = {
    "with": "responses with intrinsic noise",
    "without": "responses of the deterministic model",
    "variability": "responses with intrinsic noise, and how much trials differ",
}
LARGEST_COUNT = 255  # samples of each posterior at most, so that ranks fit a byte
PRIOR_SD = Prior().quantity_std[[QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]]
# Numbers of trials that are averaged, number of seeds, inputs, and inputs for which, at the largest
# number of trials, the variability is told.
EXTENTS = {
    "smoke": ((2,), 1, ("none", "strong"), ("strong",)),
    "fast": ((1, 10), 1, ("none", "strong"), ("strong",)),
    "paper": ((1, 10, 60), 2, tuple(INPUTS), ("strong", "Jansen and Rit's")),
}
SIZES = {
    "smoke": {
        "n_simulations": 100,
        "n_validation": 20,
        "n_test": 20,
        "n_samples": 19,
        "training": NPESettings(epochs=2, batch_size=256, learning_rate=2e-3),
    },
    "fast": {
        "n_simulations": 1000,
        "n_validation": 100,
        "n_test": 100,
        "n_samples": 49,
        "training": NPESettings(epochs=10, batch_size=256, learning_rate=2e-3),
    },
    "paper": {},
}


@dataclass(frozen=True)
class Config:
    """Posteriors for several inputs in one convention, at one number of averaged trials.

    convention : name of a `Convention`; n_trials : that are averaged
    seed : of trainings and simulations, but for the test simulations, which are always the same
    variable : inputs for which a posterior is told the variability of the trials too
    noise_factor : of the sensor noise in the recording
    n_simulations, n_validation, training : of each training
    n_test, n_samples : test simulations, and samples of each posterior, up to `LARGEST_COUNT`
    sampling_rate : of the responses, Hz
    recordings_at_once : bounds the memory; the noise that is drawn depends on it
    n_bins, highest_frequency : bins of time, and of frequency up to so many Hz, in which the
        variability is told
    credibility : of the central intervals whose coverage is noted
    n_bootstrap : resamples for the intervals of the scores
    inputs : their names, such as those of `INPUTS`; noise, background : what they are, see
        `Protocol`
    """

    convention: str
    n_trials: int
    seed: int
    variable: tuple[str, ...] = ()
    noise_factor: float = STUDY_NOISE
    n_simulations: int = 6000
    n_validation: int = 600
    n_test: int = 200
    n_samples: int = 59
    sampling_rate: float = 250.0
    recordings_at_once: int = 64
    n_bins: int = 12
    highest_frequency: float = 45.0
    credibility: float = 0.9
    n_bootstrap: int = 1000
    training: NPESettings = field(
        default=NPESettings(epochs=14, batch_size=256, learning_rate=2e-3)
    )
    inputs: tuple[str, ...] = tuple(INPUTS)
    noise: tuple[float, ...] = field(
        default=tuple(options["noise"] for options in INPUTS.values()), metadata={"named": False}
    )
    background: tuple[float, ...] = field(
        default=tuple(options["background"] for options in INPUTS.values()),
        metadata={"named": False},
    )


def trials(theta, protocol, convention, *, rng, noise=0.0, sampling_rate=250.0, at_once=64):
    """Single responses (n, n_trials, n_times) of one recording for each theta (n, 9), mV, float32.

    protocol : a `Protocol`; convention : a `Convention` or its name
    rng : numpy Generator, of intrinsic and sensor noise
    noise : standard deviation of white noise in the recording, mV
    sampling_rate : Hz; as in `make_dataset`, whose averages are those of these responses
    at_once : recordings that are simulated at once; the noise depends on it as on rng
    Raises ValueError for noise that is negative or not finite.
    """
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise: got {noise}, expected a standard deviation in mV from 0")
    options = {"dt": protocol.dt, "method": protocol.method, "noise": protocol.noise}
    options |= {"convention": convention, "threads": 1, "dtype": np.float32}
    every = round(1.0 / (protocol.dt * sampling_rate))
    parts = []
    for first in range(0, len(theta), at_once):
        seed = int(rng.integers(2**63))
        recording = simulate(theta[first : first + at_once], protocol.drive, seed=seed, **options)
        recording += np.float32(noise) * rng.standard_normal(recording.shape, np.float32)
        single = protocol.correct_baseline(protocol.epochs(recording, protocol.n_trials))
        parts.append(resample_poly(single, 1, every, axis=-1, padtype="edge"))
    return np.concatenate(parts)


def variability(single, *, sampling_rate=250.0, n_bins=12, highest_frequency=45.0):
    """How much trials differ, (n, 2 n_bins), from single responses (n, n_trials, n_times).

    sampling_rate, highest_frequency : Hz
    Logarithms of the standard deviation over trials, in bins of time, and of the amplitude spectrum
    of the deviations from the mean, in bins of frequency up to the highest.
    Raises ValueError for a single trial.
    """
    n_trials, n_times = single.shape[1:]
    if n_trials < 2:
        raise ValueError(f"single: got {n_trials} trial, expected at least 2, which can differ")
    deviations = single - single.mean(axis=1, keepdims=True)
    freedom = n_trials - 1
    over_time = np.sum(deviations**2, axis=1) / freedom
    power = np.sum(np.abs(np.fft.rfft(deviations)) ** 2, axis=1) / (freedom * n_times)
    low = np.fft.rfftfreq(n_times, 1.0 / sampling_rate) <= highest_frequency
    parts = [
        0.5 * np.log(part.mean(axis=1))
        for values in (over_time, power[:, low])
        for part in np.array_split(values, n_bins, axis=1)
    ]
    return np.stack(parts, axis=1)


def assess(posterior, theta, observed, *, n_samples, seed, credibility=0.9, n_bootstrap=1000):
    """What a `Posterior` says of observations (n, n_times), against the truth theta (n, 9).

    n_samples : of each posterior; seed : of these; n_bootstrap : resamples for the intervals

    Returns a DataFrame, a row for each of `IDENTIFIABLE_NAMES`: parameter, value, low, high
    (Pearson's correlation of posterior mean and truth, see `scoring.score`), n, contraction (one
    minus mean posterior variance over prior variance), error (root mean square of the mean's error
    in posterior standard deviations), nats (see `calibration.Evaluation`, the median over the
    observations) and covered (how often the central interval of that credibility holds the truth);
    and arrays of small integers, how many of the samples count: ranks (n, 8) of the truth, and tarp
    and highest_density (n,), see `levels`.
    Raises ValueError for more samples than `LARGEST_COUNT`.
    """
    if not n_samples <= LARGEST_COUNT:
        raise ValueError(
            f"n_samples: got {n_samples}, expected at most {LARGEST_COUNT}, which fit a byte"
        )
    found = calibration.evaluate(posterior, theta, observed, n_samples=n_samples, seed=seed)
    truth = identifiable(theta)
    samples = identifiable(found.samples.reshape(-1, theta.shape[1]))
    samples = samples.reshape(len(truth), n_samples, -1)
    mean, std = samples.mean(axis=1), samples.std(axis=1)
    scores = scoring.score(truth, mean, IDENTIFIABLE_NAMES, scale=PRIOR_SD, n_bootstrap=n_bootstrap)
    scores = scores[scores.metric == "pearson"].drop(columns="metric").reset_index(drop=True)
    scores["contraction"] = 1.0 - np.mean((std / PRIOR_SD) ** 2, axis=0)
    scores["error"] = np.sqrt(np.mean(((mean - truth) / std) ** 2, axis=0))
    scores["nats"] = np.median(found.gain)
    counts = {name: getattr(found, name) * (n_samples + 1) for name in ("tarp", "highest_density")}
    counts = {"ranks": calibration.ranks(samples, truth)} | counts
    arrays = {name: each.astype(np.uint8) for name, each in counts.items()}
    covered = interval_levels(arrays["ranks"], n_samples) <= credibility
    return scores.round(5).assign(covered=covered.mean(axis=0)), arrays


def interval_levels(ranks, n_samples):
    """Levels in 0..1 of the smallest central intervals that hold the truth, from its ranks."""
    return np.abs(2.0 * ((ranks + 0.5) / (n_samples + 1)) - 1.0)


def run(config):
    """Train posteriors for each input, and let them answer the same noisy responses; a `Result`.

    Its table "scores" is that of `assess`, with the columns input and answer (of `ANSWERS`) before
    it. The first axis of the arrays, which are those of `assess`, are the pairs of input and answer
    in the order of the table.
    """
    inputs = zip(config.inputs, config.noise, config.background, strict=True)
    ignorant, frames, counts = {}, [], []
    for name, noise, background in inputs:
        protocol = Protocol(n_trials=config.n_trials, noise=noise, background=background)
        quiet = replace(protocol, noise=0.0)
        if quiet not in ignorant:
            sets = _datasets(quiet, config)
            ignorant[quiet] = sets, _train(sets, config.noise_factor, config)
        sets, deterministic = ignorant[quiet]
        if protocol.noise:
            sets = _datasets(protocol, config)
        test = sets[-1]
        observed = test.observe(config.noise_factor, seed=TEST)
        answers = {"without": (deterministic, observed)}
        if protocol.noise:
            answers["with"] = _train(sets, config.noise_factor, config), observed
        if name in config.variable:
            sets = _with_variability(sets, config)
            answers["variability"] = _train(sets, 0.0, config), sets[-1].erp
        for answer, (posterior, data) in answers.items():
            scores, found = assess(
                posterior,
                test.theta,
                data,
                n_samples=config.n_samples,
                seed=config.seed,
                credibility=config.credibility,
                n_bootstrap=config.n_bootstrap,
            )
            scores.insert(0, "answer", answer)
            scores.insert(0, "input", name)
            frames.append(scores)
            counts.append(found)
    arrays = {name: np.stack([found[name] for found in counts]) for name in counts[0]}
    return Result({"scores": pd.concat(frames, ignore_index=True)}, arrays)


def _datasets(protocol, config):
    """The `Dataset` to train on, that to validate with and that to test, of one protocol."""
    sizes = {TRAIN: config.n_simulations, VALIDATION: config.n_validation, TEST: config.n_test}
    return [
        make_dataset(
            n,
            [0 if stream == TEST else config.seed, stream],
            convention=config.convention,
            protocol=protocol,
            sampling_rate=config.sampling_rate,
            threads=1,
        )
        for stream, n in sizes.items()
    ]


def _train(sets, noise_factor, config):
    """A `Posterior` trained on the first of some datasets and validated with the second."""
    return flows.train_npe(
        *sets[:2], noise_factor=noise_factor, seed=config.seed, settings=config.training
    )


def _with_variability(sets, config):
    """Averages and `variability` of new recordings of the parameters of some `Dataset`s: a list.

    The sensor noise is in the responses already: they are to be taken at noise factor 0. A factor
    of e in the variability counts as much as a typical response is large.
    """
    scale, seen = float(np.median(np.std(sets[0].erp, axis=1))), []
    for number, dataset in enumerate(sets):
        single = trials(
            dataset.theta,
            Protocol(**dataset.manifest["protocol"]),
            config.convention,
            rng=np.random.default_rng([config.seed, TEST + 1, number]),
            noise=dataset.source_noise * np.sqrt(config.noise_factor),
            sampling_rate=config.sampling_rate,
            at_once=config.recordings_at_once,
        )
        told = variability(
            single,
            sampling_rate=config.sampling_rate,
            n_bins=config.n_bins,
            highest_frequency=config.highest_frequency,
        )
        seen.append(beside(replace(dataset, erp=single.mean(axis=1)), told, scale))
    return seen


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    numbers_of_trials, n_seeds, inputs, variable = EXTENTS[tier]
    shared = {
        "inputs": inputs,
        "noise": tuple(INPUTS[name]["noise"] for name in inputs),
        "background": tuple(INPUTS[name]["background"] for name in inputs),
        **SIZES[tier],
    }
    return [
        Config(
            convention,
            n_trials,
            seed + repeat,
            variable=variable if n_trials == max(numbers_of_trials) else (),
            **shared,
        )
        for repeat in range(n_seeds)
        for n_trials in numbers_of_trials[::-1]
        for convention in CONVENTIONS
    ]


def levels(found, *, input_name, answer):
    """Levels in 0..1, uniform if calibrated, of one input and answer in all runs: a dict of arrays.

    found : runs of this experiment, a `runs.Found`; their test responses come one after the other
    intervals (n, 8), tarp and highest_density (n,) are the levels of the smallest central intervals
    and regions that hold the truth.
    """
    parts = []
    for name in found.names:
        table = found.where(run=name).table("scores")
        pairs = list(dict.fromkeys(zip(table["input"], table["answer"], strict=True)))
        k, n_samples = pairs.index((input_name, answer)), found.config(name).n_samples
        each = {key: array[k] for key, array in found.arrays(name).items()}
        intervals = interval_levels(each.pop("ranks"), n_samples)
        regions = {key: (array + 0.5) / (n_samples + 1) for key, array in each.items()}
        parts.append({"intervals": intervals} | regions)
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def coverage_of_regions(found, *, input_name, answer, nominal, level=ENVELOPE_LEVEL):
    """How often regions of all quantities hold the truth, all seeds together; a DataFrame.

    found : runs of this experiment, a `runs.Found`; input_name, answer : of `INPUTS`, `ANSWERS`
    nominal : credibilities at which to look; level : of the envelope at each of them
    Columns: convention, n_trials, region ("highest density" or "TARP"), and those of
    `calibration.coverage`.
    """
    frames, by = [], ["convention", "n_trials"]
    asked = found.runs[by].drop_duplicates().sort_values("n_trials", kind="stable")
    for keys in asked.to_dict("records"):
        reached = levels(found.where(**keys), input_name=input_name, answer=answer)
        for region, key in (("highest density", "highest_density"), ("TARP", "tarp")):
            frame = calibration.coverage(reached[key], nominal, level)
            frames.append(frame.assign(**keys, region=region))
    return pd.concat(frames, ignore_index=True)


def over_seeds(frame):
    """The table "scores" with the seeds put together: means, and the hull of their intervals."""
    by = ["convention", "n_trials", "input", "answer", "parameter"]
    spans = {"low": ("low", "min"), "high": ("high", "max"), "n_seeds": ("seed", "nunique")}
    means = ("value", "contraction", "error", "nats", "covered", "n")
    spans |= {name: (name, "mean") for name in means}
    return frame.groupby(by, sort=False).agg(**spans).reset_index()


EXPERIMENT = Experiment(
    "intrinsic_noise",
    Config,
    run,
    grid,
    tables={
        "scores": {"input": str, "answer": str, "parameter": str}
        | dict.fromkeys(("value", "low", "high"), float)
        | {"n": int}
        | dict.fromkeys(("contraction", "error", "nats", "covered"), float)
    },
    level="retrained",
)
