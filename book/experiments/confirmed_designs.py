"""Inference run on a few designs: does it learn what the linear model says that it would?"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import EEG_NOISE
from experiments.stimulus_designs import DESIGNS, STUDY
from jrlib.diagnostics import scoring
from jrlib.diagnostics.design_information import likelihood, prior_covariance
from jrlib.inference import amortised
from jrlib.inference.amortised import AnswerSettings, NetworkSettings
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, identifiable, quantities
from jrlib.priors import Prior
from jrlib.simulation.protocol import Protocol

NOISE_RANGE = (EEG_NOISE / 2.0, 2.0 * EEG_NOISE)  # of the network's training
# The study's design, and the two of a minute that promise the most.
DESIGNS_OF_TIER = {
    "smoke": (STUDY,),
    "fast": (STUDY, "four times as strong"),
    "paper": (STUDY, "four times as strong", "pulse of 300 ms"),
}
SIZES = {
    "smoke": {
        "n_simulations": 200,
        "n_test": 20,
        "n_answered": 2,
        "n_samples": 50,
        "network": NetworkSettings(epochs=2, noise_factors=NOISE_RANGE),
    },
    "fast": {
        "n_simulations": 1000,
        "n_test": 100,
        "n_answered": 3,
        "n_samples": 100,
        "network": NetworkSettings(epochs=6, noise_factors=NOISE_RANGE),
    },
    "paper": {},
}


@dataclass(frozen=True)
class Config:
    """One design in one convention, with white noise and a known gain.

    convention : name of a `Convention`
    design : a name, such as those of `stimulus_designs.DESIGNS`; protocol says what it means
    seed : of the training, of the test parameters and of their noise
    noise_factor : of the sensor noise, above 0
    n_simulations, network : of the training of an `AmortisedPosterior`
    n_test : samples of the prior whose responses the network answers; the first of them are those
        of `stimulus_designs`
    n_answered, n_samples, answers : how many of them are answered with the exact likelihood too, by
        how many samples, and how
    n_covariance : samples from which the prior's covariance is estimated
    n_bootstrap : resamples for the intervals of the scores
    sampling_rate : of the responses, Hz
    sampler : of the exact posteriors
    protocol : stimulus and recording
    """

    convention: str
    design: str
    seed: int
    noise_factor: float = EEG_NOISE
    n_simulations: int = 30_000
    n_test: int = 500
    n_answered: int = 60
    n_samples: int = 300
    n_covariance: int = 20_000
    n_bootstrap: int = 1000
    sampling_rate: float = 250.0
    network: NetworkSettings = field(default=NetworkSettings(epochs=50, noise_factors=NOISE_RANGE))
    answers: AnswerSettings = field(default=AnswerSettings())
    sampler: SamplerSettings = field(default=SamplerSettings())
    protocol: Protocol = field(default=Protocol(), metadata={"named": False})


def run(config):
    """What inference learns from a design; a `Result` with the tables

    scores : `scoring.score` of the network's posterior means
    log_q : sample (its number) and the network's log density of the truth, in the coordinates of
        `ExactSampler`. Its mean is the expected information, up to a constant of the prior and to
        what the network falls short.
    answers : sample; relative_effective_sample_size, 0 where nothing was found; and nats, by how
        much half the log determinant of the covariance of the logarithms of `IDENTIFIABLE_NAMES` is
        below the prior's, which `stimulus_designs` takes from the linear model
    """
    seed, noise_factor = config.seed, config.noise_factor
    assumed = likelihood(
        config.protocol, config.convention, 1.0, sampling_rate=config.sampling_rate
    )
    sampler = ExactSampler(assumed, settings=config.sampler)
    model = amortised.train(sampler, config.n_simulations, seed=seed, settings=config.network)
    model.answers = config.answers
    theta = Prior().sample(config.n_test, np.random.default_rng(seed))
    noisy = sampler.at(noise_factor).likelihood
    observed = noisy.observe(theta, np.random.default_rng([seed, 1]))
    scores = scoring.score(
        quantities(theta),
        model.mean(observed, noise_factor, seed=seed),
        QUANTITY_NAMES,
        scale=Prior().quantity_std,
        n_bootstrap=config.n_bootstrap,
    )
    log_q = model.log_prob(sampler.points(theta)[:, np.newaxis], observed, noise_factor)[:, 0]
    before = np.linalg.slogdet(prior_covariance(n=config.n_covariance))[1]
    rows = []
    for number in range(config.n_answered):
        found = model.answer(observed[number], noise_factor, config.n_samples, seed=seed + number)
        logs = np.log(identifiable(found.samples))
        left = np.linalg.slogdet(np.cov(logs.T, aweights=found.weights))[1]
        relative = found.relative_effective_sample_size
        rows.append((number, round(relative, 4), 0.5 * (before - left) if relative > 0 else np.nan))
    return Result(
        {
            "scores": scores.round(6),
            "log_q": pd.DataFrame({"sample": np.arange(config.n_test), "log_q": log_q}),
            "answers": pd.DataFrame(rows, columns=list(EXPERIMENT.tables["answers"])),
        }
    )


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [
        Config("CLASSIC", design, seed, **DESIGNS[design], **SIZES[tier])
        for design in DESIGNS_OF_TIER[tier]
    ]


def compare(found, information):
    """What inference learns from designs, beside what the linear model promises; a DataFrame.

    found : runs of this experiment in one convention, a `runs.Found`
    information : rows of the table "information" of `stimulus_designs`, of the same convention and
        noise factor, with white noise and a known gain

    A row for each design. Columns: promised and exact, the medians of the nats; off, exact less
    promised, and more, exact less exact under the study's design, each a median over the samples of
    the prior, with low and high, the quantiles of 5 % and 95 %; found, for how many of the n
    samples there is a posterior; log_q, the network's mean log density of the truth less that under
    the study's design; and correlation, of its means with the truth, mean over
    `IDENTIFIABLE_NAMES`.
    """
    designs = list(found.runs.design)
    promised = information.pivot(index="sample", columns="design", values="nats")[designs]
    exact = found.table("answers").pivot(index="sample", columns="design", values="nats")[designs]
    differences = {"off": exact - promised.loc[exact.index.intersection(promised.index)]}
    differences["more"] = exact.sub(exact[STUDY], axis=0)
    scores = found.table("scores").query("metric == 'pearson'")
    scores = scores[scores.parameter.isin(IDENTIFIABLE_NAMES)]
    log_q = found.table("log_q").groupby("design").log_q.mean()
    columns = {"promised": promised.median(), "exact": exact.median()}
    for name, values in differences.items():
        low, middle, high = (values.quantile(part) for part in (0.05, 0.5, 0.95))
        columns |= {name: middle, f"{name}_low": low, f"{name}_high": high}
    columns |= {"found": exact.notna().sum(), "n": len(exact), "log_q": log_q - log_q[STUDY]}
    columns["correlation"] = scores.groupby("design").value.mean()
    return pd.DataFrame(columns).loc[designs].rename_axis("design").reset_index()


EXPERIMENT = Experiment(
    "confirmed_designs",
    Config,
    run,
    grid,
    tables={
        "scores": {
            "parameter": str,
            "metric": str,
            "value": float,
            "low": float,
            "high": float,
            "n": int,
        },
        "log_q": {"sample": int, "log_q": float},
        "answers": {"sample": int, "relative_effective_sample_size": float, "nats": float},
    },
    level="retrained",
)
