"""Models of the sensor noise: its size, its spectrum and its correlation between electrodes."""

import numpy as np

from jrlib.sensors.heads import montage_info

#: Standard deviation of the white noise of one channel of the raw recording at noise factor 1, V:
#: the EEG entry of `mne.make_ad_hoc_cov`, before the average reference. See `noise_sd`.
SENSOR_NOISE = 0.2e-6

#: Distance over which the noise of real EEG is correlated between electrodes, m.
CORRELATION_LENGTH = 0.05


def noise_sd(noise_factor):
    """Standard deviation of the raw recording's sensor noise at a noise factor, V.

    The factor multiplies the noise covariance, as in the public code, so the standard deviation
    grows with its square root: 1 is 0.2 microvolts, and 10,000, at 20 microvolts, real EEG.
    Raises ValueError for a factor below 0.
    """
    if not (np.isfinite(noise_factor) and noise_factor >= 0):
        raise ValueError(f"noise_factor: got {noise_factor}, expected a finite number from 0")
    return float(SENSOR_NOISE * np.sqrt(noise_factor))


def aperiodic_spectrum(frequencies, exponent=1.0, corner=1.0):
    """Power of aperiodic noise at frequencies (m,), Hz, over that at 0; see the next function."""
    return 1.0 / (1.0 + (np.asarray(frequencies) / corner) ** exponent)


def aperiodic_autocovariance(duration, dt, exponent=1.0, corner=1.0):
    """Autocovariance of noise with the aperiodic spectrum of real EEG, variance 1.

    The power spectrum falls like 1 / f^exponent above `corner` (Hz) and is flat below it, where
    recordings are high-pass filtered: 1 / (1 + (f / corner)^exponent), up to the Nyquist frequency.
    Exponents of scalp EEG lie between 0.5 and 2 (Donoghue et al., Nature Neuroscience 23, 2020).

    Returns (m,), the values at lags 0, dt, ... below `duration` (s); at lag 0 it is 1.
    Raises ValueError for a duration, step, exponent or corner not above 0.
    """
    for name, value in [("duration", duration), ("dt", dt), ("corner", corner)]:
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: got {value}, expected a number above 0")
    if not (np.isfinite(exponent) and exponent >= 0):
        raise ValueError(f"exponent: got {exponent}, expected a number from 0")
    m = round(duration / dt)
    n = 8 * max(m, round(1.0 / (corner * dt)))  # so long that the ends of the circle do not meet
    values = np.fft.irfft(aperiodic_spectrum(np.fft.rfftfreq(n, dt), exponent, corner), n)
    return values[:m] / values[0]


def electrode_covariance(montage="biosemi64", reach=0.0):
    """Covariance (n_channels, n_channels) of noise of variance 1 over the electrodes of a montage.

    reach : m; noise of two electrodes d apart has the correlation exp(-d / reach). 0: independent
    Before the average reference. Raises ValueError for a reach below 0.
    """
    if not (np.isfinite(reach) and reach >= 0):
        raise ValueError(f"reach: got {reach}, expected a distance in m from 0")
    positions = np.array([channel["loc"][:3] for channel in montage_info(montage)["chs"]])
    distance = np.linalg.norm(positions[:, np.newaxis] - positions, axis=-1)
    return np.exp(-distance / reach) if reach else np.eye(len(positions))


def square_root(covariance):
    """The symmetric square root of a covariance matrix, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def draw_noise(shape, over_time, rng, *, over_channels=None):
    """Gaussian noise of a covariance over time and over channels.

    shape : (..., n_channels, n_times); rng : numpy Generator
    over_time : (n_times, n_times) covariance of each channel's noise
    over_channels : (n_channels, n_channels) covariance over the channels; None for independent ones
    """
    white = rng.standard_normal(shape)
    if over_channels is not None:
        white = square_root(over_channels) @ white
    return white @ square_root(over_time)


def _positive_noise(noise_factor, rng):
    positive = noise_sd(noise_factor) > 0
    if positive and rng is None:
        raise ValueError("rng: a numpy Generator is needed when noise_factor is above 0")
    return positive
