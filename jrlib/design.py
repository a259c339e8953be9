r"""Which experiment would say more? Expected information of designs, from the Fisher information.

In the logarithms x of `IDENTIFIABLE_NAMES` the prior is about normal with covariance P. A response
with derivatives J, whitened by its noise, leaves about the posterior covariance (P^-1 + J'J)^-1:
the linear model that is tangent at one parameter vector. Averaged over the prior, the expected gain
is E[log det(I + P J'J)] / 2 nats. No inference is run, so that hundreds of designs can be compared.
For a few of them `confirm` runs it, with a network and with the exact posterior.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import newton

from jrlib import amortised, eeg, metrics, sensitivity
from jrlib.ceiling import Reference
from jrlib.data import decimation
from jrlib.dynamics import equilibria, jacobian
from jrlib.model import simulate
from jrlib.parameters import (
    IDENTIFIABLE_NAMES,
    QUANTITY_NAMES,
    Prior,
    get_convention,
    identifiable,
    quantities,
)
from jrlib.protocol import Protocol, averaging_covariance, simulate_erp
from jrlib.reference import Likelihood
from jrlib.results import Result, check_tier, command_line
from jrlib.study import CONVENTIONS, SEED

NAME, CONFIRMED = "design", "design-confirmed"  # of the results in the store
SAMPLING_RATE = 250.0  # Hz
GAIN_SD = 1.0  # of the logarithm of an unknown gain: a factor of e up or down
BACKGROUND = 300.0  # 1/s, at which five of six columns of the prior are still at rest
# Noise of the ongoing input, 1/s at each step DT, s: as wide as Jansen and Rit's 120/s to 320/s.
ONGOING_NOISE, DT = 200.0 / 12.0**0.5, 1e-3
ONGOING = "spectrum of ongoing activity"
SPACING = 0.5  # Hz, of the spectrum
FREQUENCIES = np.arange(1.0, 45.0 + SPACING, SPACING)
STEP = 1e-3  # of a logarithm, in central differences
REACH = 0.05  # m over which real EEG noise is correlated between electrodes
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


def likelihood(protocol, convention, noise_factor, aperiodic=False):
    """The exact `Likelihood` of a design's matched-filtered response at `SAMPLING_RATE`.

    noise_factor : the raw noise has a standard deviation of `eeg.noise_sd(noise_factor)` a channel
    aperiodic : noise with a 1/f spectrum and correlated between electrodes (`REACH`) in place of
        white, independent noise
    """
    colour, reach = None, 0.0
    if aperiodic:
        duration = protocol.n_trials * protocol.isi
        colour, reach = eeg.aperiodic_autocovariance(duration, protocol.dt), REACH
    filtering = decimation(protocol, SAMPLING_RATE)
    noise = eeg.noise_sd(noise_factor) * eeg.matched_noise(reach=reach)
    covariance = filtering @ averaging_covariance(protocol, colour) @ filtering.T
    return Likelihood(get_convention(convention), protocol, filtering, noise**2 * covariance)


def prior_covariance(prior=None, n=20_000, seed=0):
    """Covariance (8, 8) of the logarithms of `IDENTIFIABLE_NAMES`, from n draws of the prior."""
    draws = (Prior() if prior is None else prior).sample(n, np.random.default_rng(seed))
    return np.cov(np.log(identifiable(draws)).T)


def slopes(protocol, convention, theta):
    """What a design's response owes to each unknown: (9, n_times) at `SAMPLING_RATE`, mV.

    Derivatives at theta (9,) by the logarithms of `IDENTIFIABLE_NAMES`, and by that of the gain,
    which is the response itself.
    """
    derivatives = sensitivity.gradients([1.0], theta, convention, protocol)[:8, 0]
    response = simulate_erp(theta, protocol, convention)
    return np.vstack([derivatives, response]) @ decimation(protocol, SAMPLING_RATE).T


def posterior_covariance(information, prior, gain_sd=0.0):
    """What data leave of the prior's covariance in the tangent linear model: (8, 8).

    information : (9, 9), of the logarithms of `IDENTIFIABLE_NAMES` and of the gain
    prior : covariance (8, 8) of the logarithms of `IDENTIFIABLE_NAMES`
    gain_sd : standard deviation of the logarithm of the gain; 0 where it is known
    """
    n = 9 if gain_sd else 8
    precision = np.array(information[:n, :n])
    precision[:8, :8] += np.linalg.inv(prior)
    if gain_sd:
        precision[8, 8] += gain_sd**-2
    return np.linalg.inv(precision)[:8, :8]


def spectrum(theta, frequencies, background, convention, noise=ONGOING_NOISE):
    """Power spectrum (m,) of y_1 - y_2 at rest, mV^2 / Hz, one-sided; NaN where it has no rest.

    theta : (9,); frequencies : (m,) Hz; background : constant excitatory input, 1/s, to which noise
    of this standard deviation is added at each step of 1 ms. Of the model linearised at the
    equilibrium on which it settles: |H(f)|^2 times the spectrum of the input.
    """
    rest = _rest(theta, background, convention)
    matrix = jacobian(rest, theta, convention)
    if not (np.isfinite(matrix).all() and np.linalg.eigvals(matrix).real.max() < 0.0):
        return np.full(len(frequencies), np.nan)
    source = np.zeros(6)
    source[4] = theta[0] * theta[2]
    resolvent = 2j * np.pi * np.asarray(frequencies)[:, np.newaxis, np.newaxis] * np.eye(6) - matrix
    gain = np.linalg.solve(
        resolvent, np.broadcast_to(source[:, np.newaxis], (len(resolvent), 6, 1))
    )
    return 2.0 * noise**2 * DT * np.abs(gain[:, 1, 0] - gain[:, 2, 0]) ** 2


def _rest(theta, background, convention):
    """The state (6,) on which a constant input holds the column, NaN where it does not settle."""
    drive = np.tile([0.0, background, 0.0], (4000, 1))
    states = simulate(theta, drive, convention=convention, states=True)
    settled = np.ptp(states[-500:, :3], axis=0).max() < 1e-3 * np.ptp(states[:, :3])
    if not settled:
        return np.full(6, np.nan)

    def excess(v):
        return float(equilibria(v, theta, convention)[0]) - background

    v = states[-1, 1] - states[-1, 2]
    return equilibria(newton(excess, v, x1=v + 1e-4, tol=1e-12), theta, convention)[1]


def spectrum_slopes(theta, background, convention):
    """The `spectrum` at `FREQUENCIES`, (m,), and its derivatives, (9, m), as those of `slopes`."""

    def whole(theta):
        return spectrum(theta, FREQUENCIES, background, convention)

    power = whole(theta)
    derivatives = []
    for k in range(8):
        up, down = np.array([theta, theta])
        up[k], down[k] = theta[k] * np.exp(STEP), theta[k] * np.exp(-STEP)
        derivatives.append((whole(up) - whole(down)) / (2.0 * STEP))
    return power, np.array([*derivatives, 2.0 * power])


def spectrum_information(power, derivatives, duration, noise_sd, aperiodic=False):
    """Information (9, 9) in the spectrum of ongoing activity, or NaN; see `posterior_covariance`.

    power, derivatives : from `spectrum_slopes`
    duration : of the recording, s; noise_sd : of the raw sensor noise after the matched filter, mV
    Whittle's likelihood: ordinates of the periodogram, 1 / duration apart, are independent and
    exponential, so each tells the derivatives of its log expectation with weight 1.
    """
    everywhere = np.arange(round(0.5 / DT / SPACING) + 1) * SPACING
    floor = eeg.aperiodic_spectrum(everywhere) if aperiodic else np.ones(len(everywhere))
    floor = noise_sd**2 / (SPACING * floor.sum()) * floor
    floor = floor[np.round(FREQUENCIES / SPACING).astype(int)]
    slopes = derivatives / (power + floor)  # of log (power + floor)
    return duration * SPACING * slopes @ slopes.T


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
            (factor, aperiodic): eeg.noise_sd(factor) * eeg.matched_noise(reach=REACH * aperiodic)
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
        scores : `metrics.score` of the network's posterior means
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
    scores = metrics.score(quantities(theta), means, QUANTITY_NAMES, scale=Prior().quantity_std)
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


if __name__ == "__main__":
    from jrlib.design import cell, confirm  # so that results are made by jrlib.design

    command_line(NAME, cell, grid, SEED)
    command_line(CONFIRMED, confirm, confirm_grid, SEED)
