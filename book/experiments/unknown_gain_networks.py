"""Networks that know the gain and networks that do not, given the same observations.

Neural posterior estimation with gains drawn in training answers the observations of
`unknown_gain_exact`, and many more, twice: knowing the gain, and not knowing it.

At the paper tier a training takes half a minute.
"""

import itertools
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, EEG_NOISE, TRAIN, VALIDATION
from experiments.unknown_gain_exact import (
    FEWEST_ANSWERS,
    KNOWN,
    UNKNOWN,
    accepted,
    scores,
    test_observations,
)
from jrlib.diagnostics import calibration
from jrlib.inference import flows
from jrlib.inference.exact_posterior import SamplerSettings
from jrlib.inference.flows import NPESettings
from jrlib.inference.likelihood import Likelihood
from jrlib.inference.unknown_gain import (
    N_COORDINATES,
    NAMES,
    UnknownGainSampler,
    amplify,
    draw_gains,
)
from jrlib.priors import Prior
from jrlib.sensors.datasets import beside, make_dataset

GAINS = KNOWN, UNKNOWN  # in the order of the arrays' first axis
# The prior of the coordinates of `UnknownGainSampler`, N(0, I), as one of nine parameters.
STANDARD = Prior(kind="normal", truncated=False, ranges=((-2.0, 2.0),) * N_COORDINATES)
N_SEEDS = {"smoke": 1, "fast": 1, "paper": 2}
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
        "n_samples": 49,
        "training": NPESettings(epochs=10, batch_size=256, learning_rate=2e-3),
    },
    "paper": {},
}


@dataclass(frozen=True)
class Config:
    """Two posteriors in one convention, one that sees the gain and one that does not.

    convention : name of a `Convention`; seed : of the trainings and their simulations
    n_simulations, n_validation, training : of either training
    n_test, n_samples : observations that they answer, and samples for each, up to 255
    noise_factor : of the sensor noise; gain_sd : standard deviation of log g
    credibility : of the central intervals whose coverage is noted
    n_bootstrap : resamples for the intervals of the scores
    sampler : whose coordinates the posteriors live in
    """

    convention: str
    seed: int
    n_simulations: int = 8000
    n_validation: int = 800
    n_test: int = 100
    n_samples: int = 99
    noise_factor: float = EEG_NOISE
    gain_sd: float = 0.5
    credibility: float = 0.9
    n_bootstrap: int = 1000
    training: NPESettings = field(
        default=NPESettings(epochs=14, batch_size=256, learning_rate=2e-3)
    )
    sampler: SamplerSettings = field(default=SamplerSettings())


def run(config):
    """Train both posteriors and let them answer the test observations; a `Result`.

    What sees the gain has its logarithm beside the data (`datasets.beside`). Both are posteriors of
    the coordinates of `UnknownGainSampler`; where the gain is seen the ninth is chance.

    The table "scores" has the columns gain (of `GAINS`), those of `unknown_gain_exact.scores`, and
    covered: how often the central interval holds the truth. The arrays are truth (n_test, 9) of
    `NAMES`; mean and std (2, n_test, 9), the first axis being `GAINS`; ranks, alike, and tarp
    (2, n_test), small integers, how many of the samples count.
    """
    test, gains, observed = test_observations(config)
    likelihood = Likelihood.of(test, config.noise_factor)
    sampler = UnknownGainSampler(likelihood, config.gain_sd, settings=config.sampler)
    sets = []
    for stream, n in ((TRAIN, config.n_simulations), (VALIDATION, config.n_validation)):
        rng = np.random.default_rng([config.seed, stream, N_COORDINATES])
        plain = make_dataset(n, [config.seed, stream], convention=config.convention, threads=1)
        drawn = draw_gains(len(plain), config.gain_sd, rng)
        sets.append((_in_coordinates(plain, drawn, sampler), np.log(drawn), rng))
    scale = float(np.median(np.std(sets[0][0].erp, axis=1)))
    points = sampler.points(test.theta, gains)
    truth, arrays = sampler.known(points), []
    for gain in GAINS:
        shown, data, wanted = [part for part, _, _ in sets], observed, points.copy()
        if gain == KNOWN:
            shown = [
                beside(_with_chance(part, rng), logs[:, np.newaxis], scale)
                for part, logs, rng in sets
            ]
            data = np.column_stack([observed, scale * np.log(gains)])
            wanted[:, 8] = np.random.default_rng(config.seed).standard_normal(len(wanted))
        trained = flows.train_npe(
            *shown,
            noise_factor=config.noise_factor,
            seed=config.seed,
            prior=STANDARD,
            settings=config.training,
        )
        n_samples = config.n_samples
        found = calibration.evaluate(trained, wanted, data, n_samples=n_samples, seed=config.seed)
        samples = sampler.known(found.samples.reshape(-1, N_COORDINATES))
        samples = samples.reshape(*found.samples.shape)
        if gain == KNOWN:
            samples[..., 8] = truth[:, np.newaxis, 8]
        arrays.append(
            {
                "mean": samples.mean(axis=1, dtype=float).astype(np.float32),
                "std": samples.std(axis=1).astype(np.float32),
                "ranks": calibration.ranks(samples, truth).astype(np.uint8),
                "tarp": (found.tarp * (n_samples + 1)).astype(np.uint8),
            }
        )
    stacked = {name: np.stack([each[name] for each in arrays]) for name in arrays[0]}
    stacked |= {"truth": truth.astype(np.float32)}
    return Result({"scores": score_answers(config, stacked)}, stacked)


def score_answers(config, arrays):
    """The table "scores" of `run`, from its configuration and its arrays: a DataFrame."""
    frames = []
    for k, gain in enumerate(GAINS):
        frame = scores(
            arrays["truth"],
            arrays["mean"][k],
            arrays["std"][k],
            gain=gain,
            n_bootstrap=config.n_bootstrap,
        )
        levels = np.abs(2.0 * (arrays["ranks"][k] + 0.5) / (config.n_samples + 1) - 1.0)
        covered = (levels <= config.credibility).mean(axis=0)
        frame = frame.assign(gain=gain, covered=covered[[NAMES.index(p) for p in frame.parameter]])
        frames.append(frame[list(EXPERIMENT.tables["scores"])])
    return pd.concat(frames, ignore_index=True)


def _in_coordinates(dataset, gains, sampler):
    """A `Dataset` seen with gains (n,), its parameters being those of an `UnknownGainSampler`."""
    return replace(amplify(dataset, gains), theta=sampler.points(dataset.theta, gains))


def _with_chance(dataset, rng):
    """The same with chance in the place of the ninth coordinate."""
    chance = rng.standard_normal(len(dataset))
    return replace(dataset, theta=np.column_stack([dataset.theta[:, :8], chance]))


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [
        Config(convention, seed + repeat, **SIZES[tier])
        for repeat in range(N_SEEDS[tier])
        for convention in CONVENTIONS
    ]


def compare(exact, networks):
    """Scores of exact posteriors and of networks, with and without the gain: a DataFrame.

    exact, networks : runs of `unknown_gain_exact` and of this experiment, each a `runs.Found`

    A row for each convention, answer ("exact" or "NPE"), observations ("same": those whose exact
    posteriors are accepted, or "all" that the networks answer), gain, seed and parameter, with the
    columns of `unknown_gain_exact.scores`. Where fewer than `FEWEST_ANSWERS` are accepted, the rows
    of the same are missing.
    """
    frames, same = [], {}

    def add(gain, truth, mean, std, **keys):
        if len(truth) >= FEWEST_ANSWERS:
            frames.append(scores(truth, mean, std, gain=gain).assign(gain=gain, **keys))

    for convention, (table, arrays) in accepted(exact).items():
        for gain in GAINS:
            rows = (table.gain == gain).to_numpy()
            same[convention] = table.number[rows].to_numpy()
            answers = {key: array[rows] for key, array in arrays.items()}
            keys = {"convention": convention, "answer": "exact", "observations": "same"}
            add(gain, **answers, **keys, seed=table.seed.iloc[0])
    for name in networks.names:
        config, arrays = networks.config(name), networks.arrays(name)
        every = np.arange(config.n_test)
        chosen = {"same": same.get(config.convention, every[:0]), "all": every}
        for (which, rows), (k, gain) in itertools.product(chosen.items(), enumerate(GAINS)):
            answers = {key: arrays[key][k][rows] for key in ("mean", "std")}
            answers["truth"] = arrays["truth"][rows]
            keys = {"convention": config.convention, "answer": "NPE", "observations": which}
            add(gain, **answers, **keys, seed=config.seed)
    return pd.concat(frames, ignore_index=True)


def over_seeds(frame):
    """The table of `compare` with the seeds put together: means, and the hull of the intervals."""
    by = ["convention", "answer", "observations", "gain", "parameter"]
    spans = {name: (name, "mean") for name in ("value", "contraction", "n")}
    spans |= {"low": ("low", "min"), "high": ("high", "max")}
    return frame.groupby(by, sort=False).agg(**spans).reset_index()


EXPERIMENT = Experiment(
    "unknown_gain_networks",
    Config,
    run,
    grid,
    tables={
        "scores": {"gain": str, "parameter": str}
        | dict.fromkeys(("value", "low", "high", "contraction", "covered"), float)
        | {"n": int}
    },
    level="retrained",
)
