"""How much each of many experiments would tell, and inference run on a few of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.comparison import CONVENTIONS
from experiments.results import Result, check_tier
from jrlib.diagnostics import scoring
from jrlib.diagnostics.design_information import (
    BACKGROUND,
    GAIN_SD,
    ONGOING,
    REACH,
    likelihood,
    posterior_covariance,
    prior_covariance,
    slopes,
    spectrum_information,
    spectrum_slopes,
)
from jrlib.inference import amortised
from jrlib.inference.exact_posterior import Reference
from jrlib.parameters import (
    IDENTIFIABLE_NAMES,
    QUANTITY_NAMES,
    identifiable,
    quantities,
)
from jrlib.priors import Prior
from jrlib.sensors import noise_models
from jrlib.simulation.protocol import Protocol

NAME, CONFIRMED = "design", "design-confirmed"  # of the results in the store
# The study's recording, and what differs from it: a minute each, but for the last. A pulse to one
# population is as strong as all three together.
DESIGNS = {
    "as in the study": {},
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
    "background of 300/s": {"background": BACKGROUND},
    "ten minutes": {"n_trials": 600},
}
# What the sensors add and what is known of them: options of `likelihood` and of
# `posterior_covariance`.
SETTINGS = {
    "white noise": {},
    "unknown gain": {"gain_sd": GAIN_SD},
    "noise of real EEG": {"aperiodic": True},
    "both": {"aperiodic": True, "gain_sd": GAIN_SD},
}


@dataclass(frozen=True)
class Size:
    """Draws of the prior, designs and noise factors at a tier."""

    n: int
    designs: tuple = (*DESIGNS, ONGOING)
    noise_factors: tuple = (1.0, 1e4)


SIZES = {
    "smoke": Size(3, ("as in the study", ONGOING), (1e4,)),
    "fast": Size(10),
    "paper": Size(60),
}
# Of `confirm`: the study's design, and the two of a minute that promise the most.
SIZES_CONFIRMED = {
    "smoke": {
        "designs": ("as in the study",),
        "n_simulations": 200,
        "passes": 2,
        "n_test": 20,
        "n_answered": 2,
        "n_draws": 50,
    },
    "fast": {
        "designs": ("as in the study", "four times as strong"),
        "n_simulations": 2000,
        "passes": 10,
        "n_test": 100,
        "n_answered": 5,
        "n_draws": 100,
    },
    "paper": {
        "designs": ("as in the study", "four times as strong", "pulse of 300 ms"),
        "n_simulations": 30_000,
        "passes": 50,
        "n_test": 500,
        "n_answered": 60,
        "n_draws": 300,
    },
}


def cell(convention, design, noise_factors, n, seed):
    """How much a design would say at n draws of the prior; a `Result` with the table "draws".

    design : name in `DESIGNS`, or `ONGOING`: a minute of ongoing activity instead of a response
    Columns of the table: draw, noise_factor, setting (of `SETTINGS`), nats (gain of information on
    the eight combinations) and, for each of `IDENTIFIABLE_NAMES`, the standard deviation of its
    logarithm that is left over that of the prior. Draws without a rest have NaN.
    """
    prior, rows = prior_covariance(), []
    protocol = Protocol(**DESIGNS.get(design, {}))
    noises = [(factor, aperiodic) for factor in noise_factors for aperiodic in (False, True)]
    if design == ONGOING:
        noise_sd = {
            (factor, aperiodic): noise_models.noise_sd(factor)
            * noise_models.matched_noise(reach=REACH * aperiodic)
            for factor, aperiodic in noises
        }
    else:
        likelihoods = {noise: likelihood(protocol, convention, *noise) for noise in noises}

    def informations(theta):
        """What theta's recording tells at each of the noises."""
        if design == ONGOING:
            owed = spectrum_slopes(theta, BACKGROUND, convention)
            return {
                noise: spectrum_information(*owed, 60.0, noise_sd[noise], noise[1])
                for noise in noises
            }
        owed = slopes(protocol, convention, theta)
        white = {noise: likelihoods[noise].whiten(owed) for noise in noises}
        return {noise: white[noise] @ white[noise].T for noise in noises}

    for draw, theta in enumerate(Prior().sample(n, np.random.default_rng(seed))):
        told = informations(theta)
        for factor in noise_factors:
            for name, options in SETTINGS.items():
                information = told[factor, options.get("aperiodic", False)]
                left = posterior_covariance(information, prior, options.get("gain_sd", 0.0))
                ratio = np.sqrt(np.diag(left) / np.diag(prior))
                with np.errstate(invalid="ignore"):  # NaN for a draw without a rest
                    nats = 0.5 * (np.linalg.slogdet(prior)[1] - np.linalg.slogdet(left)[1])
                rows.append((draw, factor, name, nats, *ratio))
    columns = ["draw", "noise_factor", "setting", "nats", *IDENTIFIABLE_NAMES]
    return Result({"draws": pd.DataFrame(rows, columns=columns)})


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    return [
        {
            "convention": convention,
            "design": design,
            "noise_factors": list(size.noise_factors),
            "n": size.n,
            "seed": seed,
        }
        for convention in CONVENTIONS
        for design in size.designs
    ]


def confirm(
    convention, design, noise_factor, n_simulations, passes, n_test, n_answered, n_draws, seed
):
    """What inference learns from a design, in white noise with a known gain.

    design : name in `DESIGNS`; noise_factor : above 0
    n_simulations, passes : of the training of an `Amortised` posterior, for noise factors from half
        to twice the one given
    n_test : draws of the prior whose responses the network answers; the first of them are those of
        `cell`. n_answered : those among them whose answer the likelihood corrects, by n_draws

    Returns a `Result` with the tables
        scores : `scoring.score` of the network's posterior means
        log_q : draw, and the network's log density of the truth in the coordinates of `Reference`.
            Its mean is the expected information, up to a constant of the prior and to what the
            network falls short.
        answers : draw; efficiency, 0 where nothing was found; and nats, by how much half the log
            determinant of the covariance of the logarithms of `IDENTIFIABLE_NAMES` is below the
            prior's, which `cell` takes from the linear model
    """
    reference = Reference(likelihood(Protocol(**DESIGNS[design]), convention, 1.0))
    model = amortised.train(
        reference,
        n_simulations,
        seed=seed,
        epochs=passes,
        noise_factors=(noise_factor / 2.0, 2.0 * noise_factor),
    )
    theta = Prior().sample(n_test, np.random.default_rng(seed))
    noisy = reference.at(noise_factor).likelihood
    observed = noisy.observe(theta, np.random.default_rng([seed, 1]))
    means = model.mean(observed, noise_factor, seed=seed)
    scores = scoring.score(quantities(theta), means, QUANTITY_NAMES, scale=Prior().quantity_std)
    log_q = model.log_prob(reference.points(theta)[:, np.newaxis], observed, noise_factor)[:, 0]
    before, rows = np.linalg.slogdet(prior_covariance())[1], []
    for draw in range(n_answered):
        found = model.answer(observed[draw], noise_factor, n_draws, seed=seed + draw)
        logs = np.log(identifiable(found.theta))
        left = np.linalg.slogdet(np.cov(logs.T, aweights=found.weights))[1]
        nats = 0.5 * (before - left) if found.efficiency > 0 else np.nan
        rows.append((draw, round(found.efficiency, 4), nats))
    return Result(
        {
            "scores": scores.round(6),
            "log_q": pd.DataFrame({"draw": np.arange(n_test), "log_q": log_q}),
            "answers": pd.DataFrame(rows, columns=["draw", "efficiency", "nats"]),
        }
    )


def confirm_grid(tier, seed):
    """The configurations of `confirm` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = dict(SIZES_CONFIRMED[tier])
    shared = {"convention": "CLASSIC", "noise_factor": 1e4, "seed": seed}
    return [{"design": design, **shared, **size} for design in size.pop("designs")]
