"""Randomize-then-optimize: against closed forms, quadrature, and SciPy's least squares."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from jrlib.inference import randomize_then_optimize
from jrlib.inference.randomize_then_optimize import Settings


def linear(rng, m=20, d=4):
    """Residuals of a linear model with prior N(0, I), and the posterior's mean and covariance."""
    design, data = rng.normal(size=(m, d)) * [1.0, 3.0, 0.1, 10.0], rng.normal(size=m)
    covariance = np.linalg.inv(np.eye(d) + design.T @ design)
    return lambda y: np.hstack([y, y @ design.T - data]), covariance @ design.T @ data, covariance


def banana(y):
    """A ridge a hundred times as thin as it is long, bent by more than its length."""
    return np.column_stack([y[:, 0], (y[:, 1] - y[:, 0] ** 2) / 0.01, 0.3 * y[:, 1]])


def banana_moments():
    """By quadrature: means of y_0, y_1, y_0^2, and y_1^2."""
    x = np.linspace(-5, 5, 4001)[:, None]
    y = x**2 + np.linspace(-0.08, 0.08, 401)
    points = np.column_stack([np.broadcast_to(x, y.shape).ravel(), y.ravel()])
    weights = np.exp(-0.5 * np.sum(banana(points) ** 2, axis=1))
    weights /= weights.sum()
    moments = np.column_stack([points, points**2])
    return weights @ moments


def test_descents_end_where_scipys_do():
    start = np.random.default_rng(1).normal(size=(20, 2)) * 2
    ends = randomize_then_optimize.minimize(banana, start)
    assert ends.found.mean() > 0.9
    for row, cost in zip(start[ends.found], ends.costs[ends.found], strict=True):
        theirs = least_squares(lambda y: banana(y[None])[0], row, xtol=1e-12, ftol=1e-12)
        assert cost == pytest.approx(2 * theirs.cost, abs=1e-4)


def test_draws_are_added_until_the_chains_agree():
    mode = randomize_then_optimize.minimize(banana, np.ones((1, 2)))
    few = randomize_then_optimize.sample(banana, mode, 40, rng=np.random.default_rng(6))
    more = randomize_then_optimize.sample(banana, mode, 40, rng=np.random.default_rng(6), most=4000)
    assert few.rhat > Settings().largest_rhat >= more.rhat
    assert 40 < len(more.samples) <= 4000


def test_a_linear_model_is_drawn_from_exactly():
    rng = np.random.default_rng(2)
    residual, mean, covariance = linear(rng)
    mode = randomize_then_optimize.minimize(residual, np.zeros((1, 4)))
    np.testing.assert_allclose(mode.points[0], mean, atol=1e-5)
    samples = randomize_then_optimize.sample(residual, mode, 4000, rng=rng)
    assert samples.solved == 1.0
    np.testing.assert_allclose(samples.weights, 1 / 4000, rtol=1e-4)
    whitened = (samples.samples - mean) @ np.linalg.cholesky(np.linalg.inv(covariance))
    np.testing.assert_allclose(whitened.mean(axis=0), 0, atol=4 / np.sqrt(4000))
    np.testing.assert_allclose(np.cov(whitened.T), np.eye(4), atol=0.1)
    assert samples.rhat < 1.01


@pytest.mark.parametrize("few_effective", [0.0, 2.0])
def test_a_curved_ridge_is_followed_with_one_basis_or_with_several(few_effective):
    settings = Settings(few_effective=few_effective)
    rng = np.random.default_rng(3)
    mode = randomize_then_optimize.minimize(banana, rng.normal(size=(8, 2)))
    samples = randomize_then_optimize.sample(banana, mode, 4000, rng=rng, settings=settings)
    assert samples.effective_sample_size > 2000
    assert samples.rhat < 1.01
    expected = banana_moments()
    moments = np.column_stack([samples.samples, samples.samples**2])
    means = samples.weights @ moments
    errors = np.sqrt(samples.weights**2 @ (moments - means) ** 2)
    assert (np.abs(means - expected) < 4 * errors + 1e-3).all()


def test_a_correction_reweighs():
    """Half of a normal: what is cut off weighs nothing."""
    rng = np.random.default_rng(4)
    mode = randomize_then_optimize.minimize(lambda y: y, np.ones((1, 1)))
    cut = lambda y: np.where(y[:, 0] > 0, 0.0, -np.inf)  # noqa: E731
    samples = randomize_then_optimize.sample(lambda y: y, mode, 4000, rng=rng, correction=cut)
    assert samples.weights[samples.samples[:, 0] <= 0].sum() == 0
    assert samples.weights @ samples.samples[:, 0] == pytest.approx(np.sqrt(2 / np.pi), abs=0.04)
    assert samples.effective_sample_size == pytest.approx(2000, rel=0.1)


def test_a_density_without_support_says_so():
    mode = randomize_then_optimize.minimize(lambda y: y, np.ones((1, 1)))
    nowhere = lambda y: np.full(len(y), -np.inf)  # noqa: E731
    samples = randomize_then_optimize.sample(
        lambda y: y, mode, 50, rng=np.random.default_rng(5), correction=nowhere
    )
    assert samples.effective_sample_size == 0
    assert samples.rhat == np.inf
