"""Which experiment would say more? Expected information of designs, from the Fisher information.

In the logarithms x of `IDENTIFIABLE_NAMES` the prior is about normal with covariance P. A response
with derivatives J, whitened by its noise, leaves about the posterior covariance (P^-1 + J'J)^-1:
the linear model that is tangent at one parameter vector. Averaged over the prior, the expected gain
is E[log det(I + P J'J)] / 2 nats. No inference is run, so that hundreds of designs can be compared.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import newton

from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import get_convention, identifiable
from jrlib.priors import Prior
from jrlib.sensors import heads, noise_models
from jrlib.sensors.datasets import decimation
from jrlib.sensors.spatial_filter import SpatialFilter
from jrlib.simulation import gradients
from jrlib.simulation.equations import jacobian
from jrlib.simulation.integration import simulate
from jrlib.simulation.protocol import averaging_covariance, simulate_erp
from jrlib.simulation.regimes import equilibria


@dataclass(frozen=True)
class OngoingActivity:
    """A recording without stimulus, of which the spectrum is looked at.

    background : constant excitatory input, 1/s; at 300/s five of six columns of the prior still
        are at rest
    noise : standard deviation, 1/s, of the noise that is added to it at each step of `dt` s; by
        default as wide as Jansen and Rit's 120/s to 320/s
    lowest, highest, spacing : of the frequencies that are looked at, Hz
    log_step : of a parameter's logarithm, in central differences
    settling_time, watched : the rest is looked for in a simulation of so many seconds; it has
        settled if the potentials move in the last `watched` seconds by less than `tolerance` times
        what they moved in all
    """

    background: float = 300.0
    noise: float = 200.0 / 12.0**0.5
    dt: float = 1e-3
    lowest: float = 1.0
    highest: float = 45.0
    spacing: float = 0.5
    log_step: float = 1e-3
    settling_time: float = 4.0
    watched: float = 0.5
    tolerance: float = 1e-3

    @property
    def frequencies(self):
        """The frequencies that are looked at, (m,), Hz."""
        return np.arange(self.lowest, self.highest + self.spacing, self.spacing)


def source_noise(
    noise_factor, *, aperiodic=False, correlation_length=noise_models.CORRELATION_LENGTH
):
    """Standard deviation, mV, that the raw sensor noise has after the spatial filter: a float.

    noise_factor : the raw noise has a standard deviation of `noise_models.noise_sd(noise_factor)`
        in each channel
    aperiodic : noise like that of real EEG, which is correlated between electrodes over
        `correlation_length` (m), in place of independent noise
    """
    gain = heads.MOMENT_PER_MV * heads.lead_field()
    over_channels = None
    if aperiodic:
        over_channels = noise_models.electrode_covariance(reach=correlation_length)
    spatial_filter = SpatialFilter(gain, over_channels)
    return float(noise_models.noise_sd(noise_factor) * (1.0 / spatial_filter.sensitivity))


def likelihood(
    protocol,
    convention,
    noise_factor,
    *,
    aperiodic=False,
    correlation_length=noise_models.CORRELATION_LENGTH,
    sampling_rate=250.0,
):
    """The exact `Likelihood` of a design's response after the spatial filter.

    protocol : a `Protocol`; convention : a `Convention` or its name
    noise_factor, correlation_length : see `source_noise`
    aperiodic : noise with a 1/f spectrum that is correlated between electrodes, in place of white,
        independent noise
    sampling_rate : Hz, of the response
    """
    colour = None
    if aperiodic:
        duration = protocol.n_trials * protocol.isi
        colour = noise_models.aperiodic_autocovariance(duration, protocol.dt)
    filtering = decimation(protocol, sampling_rate)
    noise = source_noise(noise_factor, aperiodic=aperiodic, correlation_length=correlation_length)
    covariance = filtering @ averaging_covariance(protocol, colour) @ filtering.T
    return Likelihood(
        get_convention(convention), protocol, filtering, covariance=noise**2 * covariance
    )


def prior_covariance(prior=None, n=20_000, seed=0):
    """Covariance (8, 8) of the logarithms of `IDENTIFIABLE_NAMES`, from n samples of the prior."""
    samples = (Prior() if prior is None else prior).sample(n, np.random.default_rng(seed))
    return np.cov(np.log(identifiable(samples)).T)


def slopes(protocol, convention, theta, *, sampling_rate=250.0):
    """What a design's response owes to each unknown: (9, n_times) at the sampling rate (Hz), mV.

    Derivatives at theta (9,) by the logarithms of `IDENTIFIABLE_NAMES`, and by that of the gain,
    which is the response itself.
    """
    derivatives = gradients.gradients([1.0], theta=theta, convention=convention, protocol=protocol)
    response = simulate_erp(theta, protocol, convention)
    both = np.vstack([derivatives[:8, 0], response])
    return both @ decimation(protocol, sampling_rate).T


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


def spectrum(theta, frequencies, convention, *, ongoing=None):
    """Power spectrum (m,) of y_1 - y_2 at rest, mV^2 / Hz, one-sided; NaN where it has no rest.

    theta : (9,); frequencies : (m,) Hz; convention : a `Convention` or its name
    ongoing : `OngoingActivity`, the default one if None
    It is that of the model linearised at the equilibrium on which it settles: |H(f)|^2 times the
    spectrum of the input.
    """
    ongoing = OngoingActivity() if ongoing is None else ongoing
    rest = _rest(theta, convention, ongoing)
    matrix = jacobian(rest, theta, convention)
    if not (np.isfinite(matrix).all() and np.linalg.eigvals(matrix).real.max() < 0.0):
        return np.full(len(frequencies), np.nan)
    source = np.zeros(6)
    source[4] = theta[0] * theta[2]
    resolvent = 2j * np.pi * np.asarray(frequencies)[:, np.newaxis, np.newaxis] * np.eye(6) - matrix
    gain = np.linalg.solve(
        resolvent, np.broadcast_to(source[:, np.newaxis], (len(resolvent), 6, 1))
    )
    return 2.0 * ongoing.noise**2 * ongoing.dt * np.abs(gain[:, 1, 0] - gain[:, 2, 0]) ** 2


def _rest(theta, convention, ongoing):
    """The state (6,) on which a constant input holds the column, NaN where it does not settle."""
    n_steps, n_watched = (
        round(duration / ongoing.dt) for duration in (ongoing.settling_time, ongoing.watched)
    )
    drive = np.tile([0.0, ongoing.background, 0.0], (n_steps, 1))
    states = simulate(theta, drive, dt=ongoing.dt, convention=convention, states=True)
    moved = np.ptp(states[-n_watched:, :3], axis=0).max()
    if not moved < ongoing.tolerance * np.ptp(states[:, :3]):
        return np.full(6, np.nan)

    def excess(v):
        return float(equilibria(v, theta, convention)[0]) - ongoing.background

    v = states[-1, 1] - states[-1, 2]
    return equilibria(newton(excess, v, x1=v + 1e-4, tol=1e-12), theta, convention)[1]


def spectrum_slopes(theta, convention, *, ongoing=None):
    """The `spectrum`, (m,), and its derivatives, (9, m), as those of `slopes`, mV^2 / Hz.

    ongoing : `OngoingActivity`, the default one if None, at whose m frequencies they are taken
    """
    ongoing = OngoingActivity() if ongoing is None else ongoing
    frequencies, step = ongoing.frequencies, ongoing.log_step

    def at(logs):  # of the first eight parameters over their values in theta
        thetas = theta * np.exp(np.pad(logs, ((0, 0), (0, 1))))
        return np.array(
            [spectrum(each, frequencies, convention, ongoing=ongoing) for each in thetas]
        )

    (power,), (derivatives,) = gradients.central_differences(at, np.zeros((1, 8)), step=step)
    return power, np.array([*derivatives.T, 2.0 * power])


def spectrum_information(power, derivatives, *, duration, noise_sd, aperiodic=False, ongoing=None):
    """Information (9, 9) in the spectrum of ongoing activity, or NaN; see `posterior_covariance`.

    power, derivatives : from `spectrum_slopes`; ongoing : the same as there
    duration : of the recording, s
    noise_sd : of the raw sensor noise after the spatial filter, mV, see `source_noise`
    aperiodic : the sensor noise has a 1/f spectrum instead of a flat one
    Whittle's likelihood: ordinates of the periodogram, 1 / duration apart, are independent and
    exponential, so each tells the derivatives of its log expectation with weight 1.
    """
    ongoing = OngoingActivity() if ongoing is None else ongoing
    spacing = ongoing.spacing
    everywhere = np.arange(round(0.5 / ongoing.dt / spacing) + 1) * spacing
    floor = noise_models.aperiodic_spectrum(everywhere) if aperiodic else np.ones(len(everywhere))
    floor = noise_sd**2 / (spacing * floor.sum()) * floor
    floor = floor[np.round(ongoing.frequencies / spacing).astype(int)]
    slopes = derivatives / (power + floor)  # of log (power + floor)
    return duration * spacing * slopes @ slopes.T
