"""Which experiment would say more? Expected information of designs, from the Fisher information.

In the logarithms x of `IDENTIFIABLE_NAMES` the prior is about normal with covariance P. A response
with derivatives J, whitened by its noise, leaves about the posterior covariance (P^-1 + J'J)^-1:
the linear model that is tangent at one parameter vector. Averaged over the prior, the expected gain
is E[log det(I + P J'J)] / 2 nats. No inference is run, so that hundreds of designs can be compared.
For a few of them `confirm` runs it, with a network and with the exact posterior.
"""

import numpy as np
from scipy.optimize import newton

from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import get_convention, identifiable
from jrlib.priors import Prior
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import decimation
from jrlib.simulation import gradients
from jrlib.simulation.equations import jacobian
from jrlib.simulation.integration import simulate
from jrlib.simulation.protocol import averaging_covariance, simulate_erp
from jrlib.simulation.regimes import equilibria

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


def likelihood(protocol, convention, noise_factor, aperiodic=False):
    """The exact `Likelihood` of a design's matched-filtered response at `SAMPLING_RATE`.

    noise_factor : the raw noise has a standard deviation of `noise_models.noise_sd(noise_factor)` a channel
    aperiodic : noise with a 1/f spectrum and correlated between electrodes (`REACH`) in place of
        white, independent noise
    """
    colour, reach = None, 0.0
    if aperiodic:
        duration = protocol.n_trials * protocol.isi
        colour, reach = noise_models.aperiodic_autocovariance(duration, protocol.dt), REACH
    filtering = decimation(protocol, SAMPLING_RATE)
    noise = noise_models.noise_sd(noise_factor) * noise_models.matched_noise(reach=reach)
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
    derivatives = gradients.gradients([1.0], theta, convention, protocol)[:8, 0]
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
    floor = noise_models.aperiodic_spectrum(everywhere) if aperiodic else np.ones(len(everywhere))
    floor = noise_sd**2 / (SPACING * floor.sum()) * floor
    floor = floor[np.round(FREQUENCIES / SPACING).astype(int)]
    slopes = derivatives / (power + floor)  # of log (power + floor)
    return duration * SPACING * slopes @ slopes.T
