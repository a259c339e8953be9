"""Where no likelihood exists: intrinsic noise p(t) in the model, so that no trial is like another.

With noise in the input of a nonlinear model the response to a stimulus is random, and nobody can
write down its density; the average over trials only hides that. But it can still be simulated, and
that is all that neural posterior estimation (`posterior`) asks for. A cell compares, on the same
noisy responses, a posterior that was trained on such responses with one that was trained on the
deterministic model, and with one that sees the variability of the trials beside their average.

At the paper tier a training takes about a quarter of a minute, and all cells about 20 minutes.
"""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.signal import resample_poly

from experiments import comparison
from experiments.compared_methods import TEST, TRAIN, VALIDATION, observations
from experiments.results import Result, check_tier, command_line
from jrlib.diagnostics import calibration, scoring
from jrlib.diagnostics.design_information import ONGOING_NOISE
from jrlib.inference import flows
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, identifiable
from jrlib.priors import Prior
from jrlib.sensors.datasets import beside, make_dataset
from jrlib.simulation.integration import simulate
from jrlib.simulation.protocol import Protocol

NAME = "intrinsic"  # of the results in the store
# The input p(t) by name: options of `Protocol`. Jansen and Rit's lies between 120/s and 320/s.
INPUTS = {
    "none": {},
    "mild": {"noise": 10.0},
    "strong": {"noise": ONGOING_NOISE},
    "Jansen and Rit's": {"noise": ONGOING_NOISE, "background": 220.0},
}
# What answers: what its posterior was trained on.
ANSWERS = {
    "with": "responses with intrinsic noise",
    "without": "responses of the deterministic model",
    "variability": "responses with intrinsic noise, and how much trials differ",
}
SAMPLING_RATE = 250.0  # Hz
N_BINS = 12  # of time, and of frequency, in which the variability is told
HIGHEST = 45.0  # Hz
MOST = 255  # samples of each posterior
ROWS = 64  # recordings at once
TRAINING = {"batch_size": 256, "learning_rate": 2e-3}
SCALE = Prior().quantity_std[[QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]]


@dataclass(frozen=True)
class Size:
    """How large the study is.

    n_simulations, epochs : of a training, a tenth more simulations being for validation
    n_test, n_samples : test simulations, and samples of each posterior, up to `MOST`
    inputs : names in `INPUTS`; n_trials : numbers of trials that are averaged; n_seeds : trainings
    variable : the input for which, at the largest number of trials, the variability is told
    """

    n_simulations: int
    epochs: int
    n_test: int
    n_samples: int
    inputs: tuple = tuple(INPUTS)
    n_trials: tuple = (1, 10, 60)
    n_seeds: int = 2
    variable: tuple = ("strong", "Jansen and Rit's")
    noise_factor: float = 1.0


SIZES = {
    "smoke": Size(100, 2, 20, 19, ("none", "strong"), (2,), 1, ("strong",)),
    "fast": Size(1000, 10, 100, 49, ("none", "strong"), (1, 10), 1, ("strong",)),
    "paper": Size(6000, 14, 200, 59),
}


def trials(theta, protocol, convention, rng, *, noise=0.0, sampling_rate=SAMPLING_RATE):
    """Single responses (n, n_trials, n_times) of one recording for each theta (n, 9), mV, float32.

    rng : numpy Generator, of intrinsic and sensor noise
    noise : standard deviation of white noise in the recording, mV
    sampling_rate : Hz; as in `make_dataset`, whose averages are those of these responses
    Raises ValueError for noise that is negative or not finite.
    """
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"noise: got {noise}, expected a standard deviation in mV from 0")
    options = {"dt": protocol.dt, "method": protocol.method, "noise": protocol.noise}
    options |= {"convention": convention, "threads": 1, "dtype": np.float32}
    every = round(1.0 / (protocol.dt * sampling_rate))
    parts = []
    for first in range(0, len(theta), ROWS):
        seed = int(rng.integers(2**63))
        recording = simulate(theta[first : first + ROWS], protocol.drive, seed=seed, **options)
        recording += np.float32(noise) * rng.standard_normal(recording.shape, np.float32)
        single = protocol.correct_baseline(protocol.epochs(recording, protocol.n_trials))
        parts.append(resample_poly(single, 1, every, axis=-1, padtype="edge"))
    return np.concatenate(parts)


def variability(single, sampling_rate=SAMPLING_RATE):
    """How much trials differ, (n, 2 `N_BINS`), from single responses (n, n_trials, n_times).

    Logarithms of the standard deviation over trials, in bins of time, and of the amplitude spectrum
    of the deviations from the mean, in bins of frequency up to `HIGHEST`.
    Raises ValueError for a single trial.
    """
    n_trials, n_times = single.shape[1:]
    if n_trials < 2:
        raise ValueError(f"single: got {n_trials} trial, expected at least 2, which can differ")
    deviations = single - single.mean(axis=1, keepdims=True)
    freedom = n_trials - 1
    over_time = np.sum(deviations**2, axis=1) / freedom
    power = np.sum(np.abs(np.fft.rfft(deviations)) ** 2, axis=1) / (freedom * n_times)
    low = np.fft.rfftfreq(n_times, 1.0 / sampling_rate) <= HIGHEST
    parts = [
        0.5 * np.log(part.mean(axis=1))
        for values in (over_time, power[:, low])
        for part in np.array_split(values, N_BINS, axis=1)
    ]
    return np.stack(parts, axis=1)


def with_variability(dataset, noise_factor, rng, scale):
    """Averages and `variability` of new recordings of a `Dataset`'s parameters, as a `Dataset`.

    The sensor noise is in the responses already: they are to be taken at noise factor 0.
    scale : mV that count as much as a factor of e in the variability, see `beside`
    """
    made = dataset.manifest
    noise = dataset.source_noise * np.sqrt(noise_factor)
    single = trials(
        dataset.theta, Protocol(**made["protocol"]), made["convention"]["name"], rng, noise=noise
    )
    averaged = replace(dataset, erp=single.mean(axis=1))
    return beside(averaged, variability(single), scale)


def assess(trained, theta, observed, n_samples, seed):
    """What a `Posterior` says of observations (n, n_times), against the truth theta (n, 9).

    Returns a DataFrame, a row for each of `IDENTIFIABLE_NAMES`: parameter, value, low, high
    (Pearson's correlation of posterior mean and truth, see `scoring.score`), contraction (one minus
    mean posterior variance over prior variance), error (root mean square of the mean's error in
    posterior standard deviations), n and nats (see `calibration.Evaluation`, the median over the
    observations); and arrays of small integers, how many of the samples count: ranks (n, 8) of the
    truth, and tarp and highest_density (n,), see `levels`.
    Raises ValueError for more samples than `MOST`.
    """
    if not n_samples <= MOST:
        raise ValueError(f"n_samples: got {n_samples}, expected at most {MOST}, which fit a byte")
    found = calibration.evaluate(trained, theta, observed, n_samples, seed=seed)
    truth = identifiable(theta)
    samples = identifiable(found.samples.reshape(-1, theta.shape[1]))
    samples = samples.reshape(len(truth), n_samples, -1)
    mean, std = samples.mean(axis=1), samples.std(axis=1)
    scores = scoring.score(truth, mean, IDENTIFIABLE_NAMES, scale=SCALE)
    scores = scores[scores.metric == "pearson"].drop(columns="metric").reset_index(drop=True)
    scores["contraction"] = 1.0 - np.mean((std / SCALE) ** 2, axis=0)
    scores["error"] = np.sqrt(np.mean(((mean - truth) / std) ** 2, axis=0))
    scores["nats"] = np.median(found.gain)
    counts = {name: getattr(found, name) * (n_samples + 1) for name in ("tarp", "highest_density")}
    counts = {"ranks": calibration.ranks(samples, truth)} | counts
    return scores.round(5), {name: each.astype(np.uint8) for name, each in counts.items()}


def cell(
    convention,
    inputs,
    n_trials,
    variable,
    noise_factor,
    n_simulations,
    epochs,
    seed,
    n_test,
    n_samples,
):
    """Train posteriors for each input, and let them answer the same noisy responses.

    convention : name of a `Convention`; inputs, variable : lists of names in `INPUTS`
    n_trials : that are averaged; noise_factor : of the sensor noise in the recording
    n_simulations... : see `Size`; seed : of trainings and simulations but for the test simulations

    Returns a `Result`: the table "scores" (see `assess`, with columns input and answer, of
    `ANSWERS`) and the arrays of `assess`, their first axis being the pairs of input and answer in
    the order of the table.
    """
    sizes = {TRAIN: n_simulations, VALIDATION: max(n_simulations // 10, 20), TEST: n_test}

    def experiments(protocol):  # to train on, to validate with and to test
        return [
            make_dataset(
                n,
                [0 if stream == TEST else seed, stream],
                convention=convention,
                protocol=protocol,
                sampling_rate=SAMPLING_RATE,
                threads=1,
            )
            for stream, n in sizes.items()
        ]

    def train(sets, noise_factor):
        options = {"noise_factor": noise_factor, "seed": seed, "epochs": epochs, **TRAINING}
        return flows.train_npe(*sets[:2], **options)

    ignorant, frames, counts = {}, [], []
    for name in inputs:
        protocol = Protocol(n_trials=n_trials, **INPUTS[name])
        quiet = replace(protocol, noise=0.0)
        if quiet not in ignorant:
            sets = experiments(quiet)
            ignorant[quiet] = sets, train(sets, noise_factor)
        sets, deterministic = ignorant[quiet]
        if protocol.noise:
            sets = experiments(protocol)
        test = sets[-1]
        observed = observations(test, noise_factor, TEST)
        answers = {"without": (deterministic, observed)}
        if protocol.noise:
            answers["with"] = train(sets, noise_factor), observed
        if name in variable:
            scale = float(np.median(np.std(sets[0].erp, axis=1)))
            streams = [np.random.default_rng([seed, TEST + 1, k]) for k in range(3)]
            pairs = zip(sets, streams, strict=True)
            sets = [with_variability(each, noise_factor, rng, scale) for each, rng in pairs]
            answers["variability"] = train(sets, 0.0), sets[-1].erp
        for answer, (trained, data) in answers.items():
            scores, found = assess(trained, test.theta, data, n_samples, seed)
            scores.insert(0, "answer", answer)
            scores.insert(0, "input", name)
            frames.append(scores)
            counts.append(found)
    arrays = {name: np.stack([found[name] for found in counts]) for name in counts[0]}
    return Result({"scores": pd.concat(frames, ignore_index=True)}, arrays)


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    return [
        {
            "convention": convention,
            "inputs": list(size.inputs),
            "n_trials": n_trials,
            "variable": list(size.variable) if n_trials == max(size.n_trials) else [],
            "noise_factor": size.noise_factor,
            "n_simulations": size.n_simulations,
            "epochs": size.epochs,
            "seed": seed + repeat,
            "n_test": size.n_test,
            "n_samples": size.n_samples,
        }
        for repeat in range(size.n_seeds)
        for n_trials in size.n_trials[::-1]
        for convention in comparison.CONVENTIONS
    ]


def levels(config, result):
    """Levels in 0..1, uniform if calibrated, for each pair of input and answer of a cell: a dict.

    config : the arguments of `cell`; result : what it returned
    The values are dicts of arrays: intervals (n_test, 8), tarp and highest_density (n_test,): the
    levels of the smallest central intervals and regions that hold the truth.
    """
    table, n = result.tables["scores"], config["n_samples"] + 1
    pairs = list(dict.fromkeys(zip(table["input"], table["answer"], strict=True)))
    middle = {name: (array + 0.5) / n for name, array in result.arrays.items()}
    intervals = np.abs(2.0 * middle.pop("ranks") - 1.0)
    return {
        pair: {"intervals": intervals[k], **{name: each[k] for name, each in middle.items()}}
        for k, pair in enumerate(pairs)
    }


def scores(configs, found):
    """Scores of all cells: a row for each convention, n_trials, input, answer, seed and parameter.

    A DataFrame with the columns of `assess` and covered: how often the central 90 % interval holds
    the truth.
    """
    frames = []
    for config, result in zip(configs, found, strict=True):
        frame = result.tables["scores"].copy()
        covered = [each["intervals"] <= 0.9 for each in levels(config, result).values()]
        frame["covered"] = np.concatenate([each.mean(axis=0) for each in covered])
        keys = {name: config[name] for name in ("convention", "n_trials", "seed")}
        frames.append(frame.assign(**keys))
    return pd.concat(frames, ignore_index=True)


def over_seeds(frame):
    """Rows of `scores` with the seeds put together: means, and the hull of their intervals."""
    by = ["convention", "n_trials", "input", "answer", "parameter"]
    spans = {"low": ("low", "min"), "high": ("high", "max"), "n_seeds": ("seed", "nunique")}
    means = ("value", "contraction", "error", "nats", "covered", "n")
    spans |= {name: (name, "mean") for name in means}
    return frame.groupby(by, sort=False).agg(**spans).reset_index()


if __name__ == "__main__":
    pass  # so that results are made by experiments.intrinsic_noise, not by __main__

    command_line(NAME, cell, grid, comparison.SEED)
