"""Table 1, the priors, and what they refuse."""

import numpy as np
import pytest
from scipy import stats

import jrlib
from jrlib.parameters import CLASSIC, RANGES, TYPICAL, check_theta, get_convention, table
from jrlib.priors import Prior

PRIORS = [Prior(), Prior(truncated=False), Prior(kind="uniform")]
EVERY_PRIOR = pytest.mark.parametrize("prior", PRIORS, ids=["truncated", "whole", "uniform"])


def exact(prior, k):
    """The k-th marginal as a SciPy distribution, built independently of jrlib's own formulas."""
    low, high = RANGES[k]
    if prior.kind == "uniform":
        return stats.uniform(low, high - low)
    middle, sd = (low + high) / 2, (high - low) / 4
    return stats.truncnorm(-2, 2, middle, sd) if prior.truncated else stats.norm(middle, sd)


def test_typical_values_lie_in_their_ranges():
    assert ((RANGES[:, 0] <= TYPICAL) & (RANGES[:, 1] >= TYPICAL)).all()
    assert tuple(table().index) == jrlib.PARAMETER_NAMES
    with pytest.raises(ValueError, match="read-only"):
        TYPICAL[0] = 1.0


@EVERY_PRIOR
def test_samples_follow_the_marginals(prior):
    theta = prior.sample(4000, np.random.default_rng(1))
    for k in range(9):
        assert stats.kstest(theta[:, k], exact(prior, k).cdf).pvalue > 1e-3
        assert prior.mean[k] == pytest.approx(exact(prior, k).mean())
        assert prior.std[k] == pytest.approx(exact(prior, k).std(), rel=1e-9)


@EVERY_PRIOR
def test_density_is_the_product_of_the_marginals(prior):
    theta = prior.sample(20, np.random.default_rng(2))
    expected = sum(exact(prior, k).logpdf(theta[:, k]) for k in range(9))
    np.testing.assert_allclose(prior.log_prob(theta), expected, rtol=1e-10)


@EVERY_PRIOR
def test_standard_coordinates_are_standard_normal_and_invert(prior):
    theta = prior.sample(4000, np.random.default_rng(3))
    z = prior.to_standard(theta)
    np.testing.assert_allclose(prior.from_standard(z), theta, rtol=1e-9)
    for k in range(9):
        assert stats.kstest(z[:, k], "norm").pvalue > 1e-3
    grid = np.tile(np.linspace(-5, 5, 21)[:, None], 9)
    np.testing.assert_allclose(prior.to_standard(prior.from_standard(grid)), grid, atol=1e-6)


def test_density_is_zero_and_standard_coordinates_an_error_outside_the_range():
    outside = TYPICAL.copy()
    outside[8] = 2000.0
    assert Prior().log_prob(outside[None])[0] == -np.inf
    assert np.isfinite(Prior(truncated=False).log_prob(outside[None])[0])
    with pytest.raises(ValueError, match=r"C = 2000.0 in row 0 lies outside"):
        Prior().to_standard(outside)


def test_the_untruncated_prior_draws_a_few_negative_values_as_the_public_code_does():
    theta = jrlib.sample_prior(20000, np.random.default_rng(4), truncated=False)
    expected = stats.norm.cdf(0, *[(65 + 1350) / 2, (1350 - 65) / 4])
    assert np.mean(theta[:, 8] < 0) == pytest.approx(expected, abs=4 * np.sqrt(expected / 20000))


def test_same_seed_same_draws():
    one, two = (jrlib.sample_prior(5, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_identifiable_does_not_see_the_null_direction():
    theta = jrlib.sample_prior(10, np.random.default_rng(6))
    moved = theta.copy()
    moved[:, 8] *= 2
    moved[:, 4:8] /= 2
    np.testing.assert_array_equal(jrlib.identifiable(theta), jrlib.identifiable(moved))


def test_conventions_are_found_by_name():
    assert get_convention("CLASSIC") is CLASSIC is get_convention(CLASSIC)
    with pytest.raises(ValueError, match=r"convention: got .classic., .* CLASSIC"):
        get_convention("classic")


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (np.ones(8), r"shape \(1, 8\)"),
        (np.ones((2, 3, 9)), r"shape \(2, 3, 9\)"),
        (np.where(np.arange(9) == 3, np.nan, TYPICAL), "b_i is nan in row 0"),
        (np.vstack([TYPICAL, np.where(np.arange(9) == 8, np.inf, TYPICAL)]), "C is inf in row 1"),
    ],
)
def test_bad_theta_is_named(theta, message):
    with pytest.raises(ValueError, match=message):
        check_theta(theta)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "box"}, "kind: got 'box'"),
        ({"ranges": RANGES[:3]}, "ranges: got shape"),
        ({"ranges": RANGES[:, ::-1]}, "ranges: A_e"),
    ],
)
def test_bad_priors_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Prior(**arguments)
