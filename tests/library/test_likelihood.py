"""The exact likelihood against scipy, Monte Carlo, the sensors, and the prior's geometry."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.ensemble import HistGradientBoostingRegressor

from jrlib import priors
from jrlib.inference import least_squares
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import (
    CLASSIC,
    CONVENTIONS,
    IDENTIFIABLE_NAMES,
    RELEASED,
    TYPICAL,
    identifiable,
)
from jrlib.priors import Prior, sample_prior
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

# Short, so that dense matrices over channels and samples stay small.
SHORT = Protocol(n_trials=5, isi=0.5, epoch=(-0.1, 0.4), baseline=(-0.1, 0.0))


def dataset(n=3, convention=CLASSIC, sampling_rate=250.0, protocol=None):
    return make_dataset(
        n, 0, convention=convention, sampling_rate=sampling_rate, protocol=protocol, threads=1
    )


@pytest.mark.parametrize("sampling_rate", [1000.0, 250.0])
def test_likelihood_is_scipys_normal_density(sampling_rate):
    """At 1000 Hz the covariance is singular: the mean over the baseline has no noise."""
    data = dataset(protocol=SHORT, sampling_rate=sampling_rate)
    likelihood = Likelihood.of(data, noise_factor=100.0)
    singular = sampling_rate == 1000.0
    assert likelihood.rank == data.n_times - singular
    observed = data.source([0], 100.0, torch.Generator().manual_seed(1)).numpy()[0]
    observed = observed.astype(float)
    if singular:  # float32 rounding leaves the range, where scipy's density is zero
        observed -= observed[SHORT.baseline_slice].mean()
    found = likelihood.log_likelihood(data.theta, observed)
    expected = [
        multivariate_normal(erp, likelihood.covariance, allow_singular=True).logpdf(observed)
        for erp in likelihood.respond(data.theta)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_whitened_noise_is_white():
    data = dataset()
    likelihood = Likelihood.of(data, noise_factor=1e4)
    rows = np.zeros(4000, int)
    observed = data.source(rows, 1e4, torch.Generator().manual_seed(0)).numpy()
    residual = likelihood.whiten(observed - likelihood.respond(data.theta[:1]))
    assert residual.shape == (4000, likelihood.rank)
    # Eigenvalues of a sample covariance of pure noise lie within (1 +- sqrt(rank / n))^2.
    values = np.linalg.eigvalsh(np.cov(residual.T))
    edge = np.sqrt(likelihood.rank / 4000)
    assert (1 - 1.1 * edge) ** 2 < values[0]
    assert values[-1] < (1 + 1.1 * edge) ** 2


@pytest.mark.parametrize("noise_factor", [1.0, 1e4])
def test_fisher_information_is_the_variance_of_the_score(noise_factor):
    """The score by differences of the log-likelihood itself, over draws of noise at the truth."""
    likelihood = Likelihood.of(dataset(), noise_factor)
    information = likelihood.fisher_information(TYPICAL)
    rng = np.random.default_rng(3)
    white = rng.standard_normal((400, likelihood.rank))
    observed = likelihood.respond(TYPICAL)[0] + white @ np.linalg.pinv(likelihood._whitener)
    scores = []
    for k in range(9):
        up, down = (
            likelihood.log_likelihood(
                np.tile(TYPICAL * np.exp(h * np.eye(9)[k]), (len(observed), 1)), observed
            )
            for h in (1e-4, -1e-4)
        )
        scores.append((up - down) / 2e-4)
    spread = np.std(scores, axis=1)
    np.testing.assert_allclose(spread, np.sqrt(np.diag(information)), rtol=0.15)
    correlation = np.corrcoef(scores)
    expected = information / np.sqrt(np.outer(np.diag(information), np.diag(information)))
    np.testing.assert_allclose(correlation, expected, atol=0.2)


def test_fisher_information_is_the_curvature_of_the_expected_log_likelihood():
    """Without noise in the data the deviance grows as the information's quadratic form."""
    likelihood = Likelihood.of(dataset(), 1.0)
    information = likelihood.fisher_information(TYPICAL)
    truth = likelihood.respond(TYPICAL)[0]
    rng = np.random.default_rng(0)
    for direction in rng.standard_normal((5, 9)):
        direction /= np.sqrt(direction @ information @ direction)  # one standard error
        moved = TYPICAL * np.exp(0.01 * np.stack([direction, 0 * direction, -direction]))
        up, here, down = likelihood.log_likelihood(moved, truth)
        assert -(up + down - 2 * here) / 1e-4 == pytest.approx(1.0, rel=1e-2)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_information_has_the_analytic_null_direction(convention):
    likelihood = Likelihood.of(dataset(1, convention), 1.0)
    null = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0]) / np.sqrt(5.0)
    derivatives = likelihood.derivatives(TYPICAL)
    assert np.linalg.norm(derivatives @ null) < 1e-9 * np.linalg.norm(derivatives)
    information = likelihood.fisher_information(TYPICAL)
    # In products the ninth direction is gone, and moving C moves all four products.
    np.testing.assert_allclose(
        information[8], information[4:8].sum(axis=0), atol=1e-8 * np.trace(information)
    )


@pytest.mark.parametrize("convention", [RELEASED, CLASSIC])
def test_the_matched_filter_loses_nothing(convention):
    """Likelihood ratios from the channels and their dense covariance equal those of the filter."""
    made = make_dataset(6, 1, convention=convention, protocol=SHORT, sampling_rate=100.0)
    gain = made.gain[::9] - made.gain[::9].mean()  # eight electrodes, against their own average
    made = replace(made, gain=gain)
    noise_factor = 1e4
    filtered = Likelihood.of(made, noise_factor)
    n = len(gain)
    channels = made.sensors([2], noise_factor, torch.Generator().manual_seed(5)).numpy()[0]
    channels = channels.astype(float)  # in units of the raw noise at factor 1
    reference_projection = np.eye(n) - 1.0 / n
    covariance = noise_factor * np.kron(reference_projection, made.covariance)
    inverse = np.linalg.pinv(covariance, rcond=1e-9, hermitian=True)

    means = (
        gain[:, np.newaxis]
        / noise_models.SENSOR_NOISE
        * filtered.respond(made.theta)[:, np.newaxis]
    )
    residuals = (channels - means).reshape(len(means), -1)
    dense = -0.5 * np.einsum("ni,ij,nj->n", residuals, inverse, residuals)
    output = noise_models.SENSOR_NOISE * gain @ channels / (gain @ gain)
    found = filtered.log_likelihood(made.theta, output)
    assert np.ptp(found) > 1.0
    np.testing.assert_allclose(found - found[0], dense - dense[0], rtol=1e-4, atol=1e-3)


def test_profile_is_the_parabola_of_the_information_near_the_truth():
    likelihood = Likelihood.of(dataset(1), 1.0)
    truth = identifiable(TYPICAL)[0]
    covariance = np.linalg.inv(likelihood.fisher_information(TYPICAL)[:8, :8])
    k = IDENTIFIABLE_NAMES.index("C a_4")
    error = np.sqrt(covariance[k, k])
    assert error < 0.01  # so that the response is linear over a few of them
    values = truth[k] * np.exp(error * np.array([-2.0, 0.0, 2.0]))
    observed = likelihood.respond(TYPICAL)[0]
    box = np.stack([0.9 * truth, 1.1 * truth], axis=1)
    frame = least_squares.profile(likelihood, observed, "C a_4", values=values, bounds=box)
    np.testing.assert_allclose(frame.deviance, [4.0, 0.0, 4.0], rtol=0.05, atol=1e-3)
    np.testing.assert_allclose(frame.loc[1, list(IDENTIFIABLE_NAMES)].astype(float), truth, 1e-3)
    # The others move as the information says: along the column of the covariance.
    moved = np.log(frame.loc[2, list(IDENTIFIABLE_NAMES)].to_numpy(float) / truth)
    np.testing.assert_allclose(moved, 2.0 * covariance[k] / error, rtol=0.05, atol=1e-4)


def test_profile_of_a_product_is_flat_in_released():
    likelihood = Likelihood.of(dataset(1, RELEASED), 1e4)
    observed = likelihood.respond(TYPICAL)[0]
    frame = least_squares.profile(likelihood, observed, "C a_3", values=[20.0, 60.0])
    assert (frame.deviance < 0.1).all()
    np.testing.assert_allclose(frame["C a_3"], [20.0, 60.0])


def test_conditional_means_are_what_an_ideal_regression_learns():
    rng = np.random.default_rng(0)
    theta = sample_prior(20_000, rng)
    products = identifiable(theta)[:, 4:]
    means = priors.conditional_means(products)
    truth = theta[:, 4:]
    residual = truth - means
    # Unbiased, and orthogonal to any function of the products.
    sd = residual.std(axis=0) / np.sqrt(len(theta))
    assert (np.abs(residual.mean(axis=0)) < 4.0 * sd).all()
    for function in (np.log(products), products**2, means):
        correlations = np.corrcoef(residual.T, function.T)[:5, 5:]
        assert (np.abs(correlations) < 4.0 / np.sqrt(len(theta))).all()
    # Trees grown on half of the draws come close on the other half, and not above.
    half = len(theta) // 2
    for k in (0, 4):
        trees = HistGradientBoostingRegressor(random_state=0)
        trees.fit(np.log(products[:half]), truth[:half, k])
        learned = np.corrcoef(trees.predict(np.log(products[half:])), truth[half:, k])[0, 1]
        ceiling = np.corrcoef(means[half:, k], truth[half:, k])[0, 1]
        assert ceiling - 0.06 < learned < ceiling + 0.005


def test_conditional_means_of_one_set_of_products_against_rejection():
    """Products that only C near the top of its range can give."""
    prior = Prior(kind="uniform")
    theta = prior.sample(2_000_000, np.random.default_rng(1))
    target = np.array([700.0, 560.0, 175.0, 175.0])
    near = (np.abs(identifiable(theta)[:, 4:] / target - 1.0) < 0.08).all(axis=1)
    assert near.sum() > 100
    expected, spread = theta[near, 4:].mean(axis=0), theta[near, 4:].std(axis=0)
    (found,) = priors.conditional_means([target], prior)
    assert (np.abs(found - expected) < 4.0 * spread / np.sqrt(near.sum()) + 0.02 * found).all()


def test_products_that_leave_no_choice():
    prior = Prior()
    edge = prior.high[4:8] * prior.high[8]
    np.testing.assert_allclose(
        priors.conditional_means([edge], prior), [prior.high[4:]], rtol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Likelihood.of(dataset(1), 0.0), "noise_factor: got 0"),
        (lambda: Likelihood.of(dataset(1), 1.0).whiten(np.zeros(300)), "got 300 samples"),
        (lambda: priors.conditional_means([[1.0, 1.0, 1.0, 1.0]]), "row 0"),
        (lambda: priors.conditional_means([[1.0] * 4], Prior(truncated=False)), "prior"),
        (
            lambda: least_squares.profile(None, None, "C", values=[1.0]),
            "name: got 'C', expected one of A_e",
        ),
        (lambda: least_squares.profile(None, None, "C a_1", values=[0.0]), "values"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
