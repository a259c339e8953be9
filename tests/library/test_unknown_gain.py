"""Unknown gain: the posterior that is sampled, and its coordinates."""

from dataclasses import fields
from functools import cache

import numpy as np
import pytest

from jrlib.inference import unknown_gain
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

SHORT = Protocol(n_trials=2, epoch=(-0.02, 0.1), baseline=(-0.02, 0.0), pulse_width=0.02)


@cache
def experiment():
    """Dataset, likelihood, and the reference of the gain 1."""
    dataset = make_dataset(20, 5, convention="CLASSIC", protocol=SHORT, threads=1)
    likelihood = Likelihood.of(dataset, 1e4)
    return dataset, likelihood, ExactSampler(likelihood)


def points(n, seed=0):
    """Coordinates (n, 9) of draws of the prior, whose products can be."""
    dataset, likelihood, _ = experiment()
    reference, rng = unknown_gain.UnknownGainSampler(likelihood, 0.5), np.random.default_rng(seed)
    theta = dataset.theta[:n]
    return reference.points(theta, unknown_gain.draw_gains(n, 0.5, rng))


def test_a_gain_that_hardly_varies_is_a_known_one():
    dataset, likelihood, plain = experiment()
    unsure, at = unknown_gain.UnknownGainSampler(likelihood, 1e-9), points(10)
    found = unsure.log_density(at, dataset.erp[0]) + 0.5 * at[:, 8] ** 2
    np.testing.assert_allclose(found, plain.log_density(at[:, :8], dataset.erp[0]), rtol=1e-6)


def test_at_a_given_gain_the_density_is_that_of_a_known_gain():
    dataset, likelihood, plain = experiment()
    unsure, at, g = unknown_gain.UnknownGainSampler(likelihood, 0.5), points(10), 1.7
    at[:, 8] = np.log(g) / 0.5
    observed = g * dataset.erp[0].astype(float)
    reference, data = unknown_gain.with_known_gain(plain, observed, g)
    gap = unsure.log_density(at, observed) - reference.log_density(at[:, :8], data)
    np.testing.assert_allclose(gap, -0.5 * at[0, 8] ** 2, atol=1e-6 * np.abs(gap).max())


def test_data_and_noise_c_times_as_large_move_the_log_gain_by_log_c():
    dataset, likelihood, _ = experiment()
    unsure, at, c = unknown_gain.UnknownGainSampler(likelihood, 0.5), points(10), 2.5
    moved = at + np.log(c) / 0.5 * np.eye(9)[8]
    observed = dataset.erp[0].astype(float)
    one = unsure.log_density(at, observed) + 0.5 * at[:, 8] ** 2
    other = unsure.at(c**2).log_density(moved, c * observed) + 0.5 * moved[:, 8] ** 2
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_gain_of_a_known_response_has_its_posterior():
    """The response does not depend on the parameters: the density of log g alone, by quadrature."""
    dataset, likelihood, _ = experiment()

    class Fixed(Likelihood):
        def respond(self, theta):
            return np.tile(shape, (len(theta), 1))

    same = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    fixed = Fixed(**same)
    shape = 3.0 * dataset.erp[0] / np.linalg.norm(fixed.whiten(dataset.erp[0]))
    rng = np.random.default_rng(1)
    noise = rng.multivariate_normal(np.zeros(dataset.n_times), fixed.covariance, method="eigh")
    observed = 1.6 * shape + noise
    drawn = unknown_gain.UnknownGainSampler(fixed, 0.5).posterior(observed, 4000, rng)
    grid = np.linspace(-3.0, 3.0, 2001)
    misfit = np.exp(grid)[:, np.newaxis] * fixed.whiten(shape) - fixed.whiten(observed)
    log_density = -0.5 * np.sum(misfit**2, axis=1) - 0.5 * (grid / 0.5) ** 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ grid
    std = np.sqrt(density @ (grid - mean) ** 2)
    found = drawn.weights @ drawn.log_gain
    spread = np.sqrt(drawn.weights @ (drawn.log_gain - found) ** 2)
    assert found == pytest.approx(mean, abs=5.0 * std / np.sqrt(drawn.effective_sample_size))
    assert spread == pytest.approx(std, rel=0.1)
    assert drawn.samples.shape == (len(drawn.log_gain), 9)


def test_coordinates_go_to_quantities_and_back():
    dataset, likelihood, _ = experiment()
    reference = unknown_gain.UnknownGainSampler(likelihood, 0.5)
    gains = np.linspace(0.5, 2.0, len(dataset))
    known = reference.known(reference.points(dataset.theta, gains))
    chosen = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]
    np.testing.assert_allclose(known[:, :8], quantities(dataset.theta)[:, chosen], rtol=1e-6)
    np.testing.assert_allclose(known[:, 8], np.log(gains), atol=1e-12)


def test_what_cannot_be_is_named():
    dataset, likelihood, _ = experiment()
    with pytest.raises(ValueError, match=r"gain_sd: got 0\.0, expected a number above 0"):
        unknown_gain.UnknownGainSampler(likelihood, 0.0)
    with pytest.raises(ValueError, match=r"gains: .* 20 finite numbers above 0"):
        unknown_gain.amplify(dataset, np.zeros(20))
