"""Weighted samples: closed forms, resampling, and what is left when nothing weighs."""

import numpy as np
import pytest

from jrlib.inference.weighted_samples import WeightedSamples, effective_sample_size, normalised


def test_moments_and_effective_sample_size_of_a_density_drawn_from_a_wider_one():
    """N(1, 1) by samples of N(0, 2^2): the mean squared weight is known in closed form."""
    rng = np.random.default_rng(0)
    x = 2.0 * rng.standard_normal((100_000, 1))
    weights = normalised(-0.5 * (x[:, 0] - 1.0) ** 2 + 0.125 * x[:, 0] ** 2)
    found = WeightedSamples(x, weights)
    np.testing.assert_allclose([found.mean[0], found.std[0]], [1.0, 1.0], atol=0.02)
    # E w^2 = integral p^2 / q = 2 / sqrt(7 / 4) exp(1 / 7), for w = p / q.
    expected = np.sqrt(7.0) / 4.0 * np.exp(-1.0 / 7.0)
    assert found.relative_effective_sample_size == pytest.approx(expected, rel=0.02)
    drawn = found.resample(20_000, rng)
    np.testing.assert_allclose([drawn.mean(), drawn.std()], [1.0, 1.0], atol=0.03)


def test_equal_weights_are_worth_their_number_and_one_weight_is_worth_one():
    assert effective_sample_size(np.full(50, 0.02)) == pytest.approx(50.0)
    assert effective_sample_size(np.eye(50)[3]) == 1.0
    assert effective_sample_size(np.zeros(50)) == 0.0


def test_samples_that_were_left_out_count_among_those_drawn():
    found = WeightedSamples(np.ones((2, 1)), np.array([0.5, 0.5]), n_drawn=8)
    assert found.relative_effective_sample_size == 0.25


def test_logarithms_that_are_not_finite_have_no_weight():
    weights = normalised(np.array([0.0, np.nan, -np.inf, np.log(3.0), np.inf]) + 1000.0)
    np.testing.assert_allclose(weights, [0.25, 0.0, 0.0, 0.75, 0.0])
    np.testing.assert_array_equal(normalised(np.full(3, np.nan)), np.zeros(3))


@pytest.mark.parametrize("n", [0, 3])
def test_where_nothing_weighs_moments_are_unknown(n):
    nothing = WeightedSamples(np.ones((n, 2)), np.zeros(n))
    assert nothing.relative_effective_sample_size == 0.0
    assert np.isnan(nothing.mean).all()
    assert np.isnan(nothing.std).all()
    assert np.isnan(WeightedSamples(np.ones((0, 2)), np.zeros(0)).resample(4, None)).all()


def test_weights_of_another_shape_are_named():
    with pytest.raises(ValueError, match=r"weights: got shape \(3,\), expected \(2,\)"):
        WeightedSamples(np.ones((2, 1)), np.ones(3))
