"""Models of the sensor noise: spectra, averages by Monte Carlo, and correlated electrodes."""

import numpy as np
import pytest

from jrlib.sensors import heads, noise_models
from jrlib.sensors.spatial_filter import SpatialFilter
from jrlib.simulation.protocol import Protocol, averaging_covariance


def test_aperiodic_noise_has_its_spectrum():
    white = noise_models.aperiodic_autocovariance(1.0, 1e-3, exponent=0.0)
    np.testing.assert_allclose(white, np.eye(1, len(white))[0], atol=1e-12)
    values = noise_models.aperiodic_autocovariance(60.0, 1e-3)
    assert values[0] == 1.0
    frequencies = np.array([2.0, 10.0, 50.0, 200.0])
    lags = np.arange(1, len(values)) * 1e-3
    taper = 0.5 * (1.0 + np.cos(np.pi * lags / lags[-1]))
    waves = np.cos(2.0 * np.pi * np.outer(frequencies, lags))
    power = 1.0 + 2.0 * waves @ (taper * values[1:])
    falls = power * (1.0 + frequencies)
    np.testing.assert_allclose(falls, falls[0], rtol=0.02)


@pytest.mark.parametrize("name", ["duration", "dt", "corner", "exponent"])
def test_aperiodic_noise_says_what_is_wrong(name):
    options = {"duration": 1.0, "dt": 1e-3, "corner": 1.0, "exponent": 1.0, name: -1.0}
    with pytest.raises(ValueError, match=name):
        noise_models.aperiodic_autocovariance(**options)


def test_the_average_of_coloured_noise_by_monte_carlo():
    edges = {"epoch": (-0.02, 0.1), "baseline": (-0.02, 0.0), "transient": 0.0}
    protocol = Protocol(n_trials=5, isi=0.1, pulse_width=0.02, dt=0.01, **edges)
    colour = noise_models.aperiodic_autocovariance(1.0, protocol.dt)
    n_steps = len(protocol.drive)
    lag = np.abs(np.subtract.outer(np.arange(n_steps), np.arange(n_steps)))
    root = np.linalg.cholesky(colour[lag])
    recording = np.random.default_rng(0).standard_normal((40_000, n_steps)) @ root.T
    averages = protocol.correct_baseline(protocol.epochs(recording, 5)).mean(axis=1)
    expected = averaging_covariance(protocol, colour)
    error = 4.0 * np.max(np.diag(expected)) / np.sqrt(len(averages) / 2)
    np.testing.assert_allclose(np.cov(averages.T), expected, atol=error)


def test_correlated_electrodes_are_weighed_accordingly():
    gain = heads.MOMENT_PER_MV * heads.lead_field()
    independent = SpatialFilter(gain)
    assert independent.sensitivity == pytest.approx(np.linalg.norm(gain))
    # Noise that all electrodes share is gone with the average reference.
    everywhere = SpatialFilter(gain, noise_models.electrode_covariance(reach=1e6))
    assert 1.0 / everywhere.sensitivity < 1e-2 / independent.sensitivity
    with pytest.raises(ValueError, match="reach"):
        noise_models.electrode_covariance(reach=-1.0)


def test_drawn_noise_has_its_covariances():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((2, 3, 3))
    over_channels, over_time = root @ np.swapaxes(root, 1, 2)
    over_time = over_time[:2, :2]
    noise = noise_models.draw_noise((50_000, 3, 2), over_time, rng, over_channels=over_channels)
    expected = np.kron(over_channels, over_time)
    error = 4.0 * np.diag(expected).max() * np.sqrt(2.0 / len(noise))
    np.testing.assert_allclose(np.cov(noise.reshape(-1, 6).T), expected, atol=error)
    independent = noise_models.draw_noise((50_000, 3, 2), over_time, rng)
    expected = np.kron(np.eye(3), over_time)
    np.testing.assert_allclose(np.cov(independent.reshape(-1, 6).T), expected, atol=error)
