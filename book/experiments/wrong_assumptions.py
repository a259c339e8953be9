"""What inference answers when its assumptions are wrong, and which checks notice it.

Faults are put into recordings of which the truth is known. At the paper tier a run trains for about
four processor minutes; a recording that the model explains takes half a second, another one two or
three: about ten minutes in all.
"""

import time
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.exact_posteriors import ENVELOPE_LEVEL
from experiments.experiment import Experiment, Result, check_tier
from experiments.faults import FAULTS, record
from experiments.settings import CONVENTIONS, EEG_NOISE, N_TEST, TEST
from jrlib.diagnostics import calibration, misfit, scoring
from jrlib.diagnostics.misfit import CHECKS, CheckSettings
from jrlib.inference import amortised
from jrlib.inference.amortised import AnswerSettings, NetworkSettings
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.sensors.datasets import make_dataset
from jrlib.sensors.spatial_filter import SpatialFilter

NOTHING = "nothing"  # the fault of a recording with which nothing is wrong
IDENTIFIABLE = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]
SIZES = {
    "smoke": {
        "noise_factors": (EEG_NOISE,),
        "n_simulations": 200,
        "n_test": N_TEST["smoke"],
        "n_faultless": 3,
        "n_faulty": 1,
        "network": NetworkSettings(epochs=2),
    },
    "fast": {
        "n_simulations": 2000,
        "n_test": N_TEST["fast"],
        "n_faultless": 10,
        "n_faulty": 1,
        "network": NetworkSettings(epochs=20),
    },
    "paper": {},
}


@dataclass(frozen=True)
class Config:
    """Recordings with and without faults in one convention, and an estimator that answers them.

    convention : name of a `Convention`, which is assumed
    seed : of the estimator's training and of the noise
    noise_factors : of the sensor noise, above 0
    n_simulations, network : of the training of the estimator, an `AmortisedPosterior`
    n_test : test simulations; the first `n_faultless` of them are recorded with nothing wrong, the
        first `n_faulty` with each of the other faults
    faults : names in `FAULTS`
    n_samples : of the estimator's posterior, from which the checks start
    answers : how the estimator is sampled; sampler : of the model; checks : how they are made
    """

    convention: str
    seed: int
    noise_factors: tuple[float, ...] = (EEG_NOISE, 1e6)
    n_simulations: int = 30_000
    n_test: int = N_TEST["paper"]
    n_faultless: int = 60
    n_faulty: int = 8
    n_samples: int = 200
    faults: tuple[str, ...] = tuple(FAULTS)
    network: NetworkSettings = field(default=NetworkSettings(epochs=50))
    answers: AnswerSettings = field(default=AnswerSettings())
    sampler: SamplerSettings = field(default=SamplerSettings())
    checks: CheckSettings = field(default=CheckSettings())


def run(config):
    """Train an estimator, give it recordings with and without faults, and check these; a `Result`.

    Its table "recordings" has the columns noise_factor, fault, number (of the test simulation), the
    p values of `CHECKS`, noticed (whether the `Verdict` has objections), answered (whether the
    estimator gave samples that the prior allows) and error: the root mean square over
    `IDENTIFIABLE_NAMES` of the posterior mean's error in posterior standard deviations. Its arrays
    truth, mean and std (rows, 13) of `QUANTITY_NAMES` have a row for each recording. The table
    "scores" has the parts of the recordings that were noticed and answered, see `_parts`.
    """
    test = make_dataset(config.n_test, [0, TEST], convention=config.convention, threads=1)
    sampler = ExactSampler(Likelihood.of(test, 1.0), settings=config.sampler)
    sensors, rng = SpatialFilter(test.gain), np.random.default_rng(config.seed)
    model = amortised.train(
        sampler, config.n_simulations, seed=config.seed, settings=config.network
    )
    model.answers = config.answers
    rows, found = [], []
    for noise_factor in config.noise_factors:
        assumed = sampler.at(noise_factor)
        for fault in config.faults:
            theta = test.theta[: config.n_faultless if fault == NOTHING else config.n_faulty]
            recordings = record(theta, test, noise_factor, rng=rng, **FAULTS[fault])
            for number, data in enumerate(recordings):
                source, _ = sensors.split(data)
                guesses, mean, std = _answer(
                    model, source, noise_factor, n_samples=config.n_samples, rng=rng
                )
                verdict = misfit.check(
                    assumed, sensors, data, guesses=guesses, settings=config.checks
                )
                truth = quantities(theta[number : number + 1])[0]
                rows.append(
                    {
                        "noise_factor": noise_factor,
                        "fault": fault,
                        "number": number,
                        **verdict.p_values,
                        "noticed": bool(verdict.objections),
                        "answered": bool(np.isfinite(mean).all()),
                        "error": np.sqrt(np.mean(((mean - truth) / std)[IDENTIFIABLE] ** 2)),
                    }
                )
                found.append({"truth": truth, "mean": mean, "std": std})
    arrays = {name: np.array([row[name] for row in found], np.float32) for name in found[0]}
    frame = pd.DataFrame(rows)[list(EXPERIMENT.tables["recordings"])]
    return Result({"recordings": frame, "scores": _parts(frame)}, arrays)


def _answer(model, source, noise_factor, *, n_samples, rng):
    """Samples (n_samples, 8), mean and std (13,) of an amortised posterior given a waveform.

    Where it gives no samples that the prior allows, samples of the prior, and NaN.
    """
    try:
        (points,) = model.draw_points(
            source[np.newaxis], noise_factor, n_samples, seed=int(rng.integers(2**31))
        )
    except ValueError:
        nothing = np.full(len(QUANTITY_NAMES), np.nan)
        return rng.standard_normal((n_samples, amortised.N_COORDINATES)), nothing, nothing
    values = quantities(model.parameters(points, rng))
    return points, values.mean(axis=0), values.std(axis=0)


def _parts(recordings):
    """Parts of the recordings that were noticed and answered, at all noise factors together.

    recordings : the table of a run
    Returns a DataFrame with the columns fault, metric ("noticed" or "answered"), value and n.
    """
    rows = []
    for fault, part in recordings.groupby("fault", sort=False):
        for metric in ("noticed", "answered"):
            rows.append((fault, metric, part[metric].mean(), len(part)))
    return pd.DataFrame(rows, columns=["fault", "metric", "value", "n"])


def summary(found, fewest=3):
    """What the checks and the estimator make of each fault: a DataFrame.

    found : runs of this experiment, a `runs.Found`
    fewest : answers for which a correlation is given

    Columns: convention, noise_factor, fault, n (recordings), noticed (part of them), each of
    `CHECKS` (part of them to which it objects by itself, at the level of the run's settings),
    answered (part), error (median) and correlation (of posterior mean and truth, mean over
    `IDENTIFIABLE_NAMES`; NaN for fewer than `fewest` answers).
    """
    rows = []
    for run_name in found.names:
        table, arrays = found.where(run=run_name).table("recordings"), found.arrays(run_name)
        level, by = found.config(run_name).checks.level, ["convention", "noise_factor", "fault"]
        for keys, part in table.groupby(by, sort=False):
            kept = part.index[part.answered]
            truth, mean = (arrays[name][kept][:, IDENTIFIABLE] for name in ("truth", "mean"))
            enough = len(kept) >= fewest
            rows.append(
                {
                    **dict(zip(by, keys, strict=True)),
                    "n": len(part),
                    "noticed": part.noticed.mean(),
                    **(part[list(CHECKS)] < level).mean(),
                    "answered": part.answered.mean(),
                    "error": part.error.median(),
                    "correlation": np.mean(scoring.pearson(truth, mean)) if enough else np.nan,
                }
            )
    return pd.DataFrame(rows)


def uniformity(recordings, *, nominal, level=ENVELOPE_LEVEL):
    """Distributions of the checks' p values, to be compared with the uniform one; a DataFrame.

    recordings : rows of the table "recordings", in which nothing is wrong
    nominal : p values at which to look; level : of the envelope at each of them
    Columns: convention, check, recordings (their number), and those of `calibration.coverage`.
    """
    frames = []
    for convention, part in recordings.groupby("convention", sort=False):
        for name in CHECKS:
            frame = calibration.coverage(part[name], nominal, level)
            frames.append(frame.assign(convention=convention, check=name, recordings=len(part)))
    return pd.concat(frames, ignore_index=True)


def verdicts(config, faults, *, noise_factor, number):
    """What the checks say of recordings of one test simulation, and what they cost; a DataFrame.

    config : a `Config`, but no estimator is trained: the descents start from samples of the prior
    faults : a dict of the faults' names to their options, see `faults.record`
    noise_factor : of the sensor noise; number : of the test simulation
    Columns: fault, verdict in words, and milliseconds that the checks of the noise and of the
    response took, "noise checks, ms" and "response, ms".
    """
    test = make_dataset(config.n_test, [0, TEST], convention=config.convention, threads=1)
    sampler = ExactSampler(Likelihood.of(test, noise_factor), settings=config.sampler)
    sensors, rng, rows = SpatialFilter(test.gain), np.random.default_rng(config.seed), []
    for fault, options in faults.items():
        theta = test.theta[number : number + 1]
        (data,) = record(theta, test, noise_factor, rng=rng, **options)
        begin = time.perf_counter()
        source, rest = sensors.split(data)
        noise = misfit.noise_checks(sampler.likelihood, source, rest)
        between = time.perf_counter()
        guesses = rng.standard_normal((config.n_samples, amortised.N_COORDINATES))
        response = misfit.response_checks(sampler, source, guesses, settings=config.checks)
        took = 1e3 * (between - begin), 1e3 * (time.perf_counter() - between)
        verdict = misfit.Verdict(noise | response, config.checks.level)
        rows.append((fault, str(verdict), *took))
    return pd.DataFrame(rows, columns=["fault", "verdict", "noise checks, ms", "response, ms"])


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [Config(convention, seed, **SIZES[tier]) for convention in CONVENTIONS]


EXPERIMENT = Experiment(
    "wrong_assumptions",
    Config,
    run,
    grid,
    tables={
        "recordings": {"noise_factor": float, "fault": str, "number": int}
        | dict.fromkeys(CHECKS, float)
        | {"noticed": bool, "answered": bool, "error": float},
        "scores": {"fault": str, "metric": str, "value": float, "n": int},
    },
    level="retrained",
)
