"""Exact posteriors: against importance sampling, prior conditionals and their own ranks."""

import numpy as np
import pytest
from scipy.stats import kstest

import jrlib
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior, draw_coupling, log_prior_of_products
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

ONE_TRIAL = Protocol(n_trials=1)


def observe(convention, noise_factor, n, seed, prior=None):
    """A likelihood, parameters (n, 9) from the prior, and what is observed under them."""
    dataset = make_dataset(n, seed, convention=convention, protocol=ONE_TRIAL, prior=prior)
    likelihood = Likelihood.of(dataset, noise_factor)
    rng = np.random.default_rng([seed, 1])
    noise = rng.multivariate_normal(np.zeros(dataset.n_times), likelihood.covariance, size=n)
    return likelihood, dataset.theta, dataset.erp + noise


def test_coordinates_go_there_and_back():
    likelihood, theta, _ = observe("CLASSIC", 1.0, 20, seed=0)
    reference = ExactSampler(likelihood)
    again = reference.theta(reference.points(theta), theta[:, 8])
    np.testing.assert_allclose(again, theta, rtol=1e-9)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_prior_of_the_products_against_draws(kind):
    """The density, weighed over draws from a wider normal, gives the moments of prior draws."""
    prior = Prior(kind=kind)
    rng = np.random.default_rng(1)
    logs = np.log(quantities(prior.sample(100_000, rng))[:, 9:])
    mean, covariance = logs.mean(axis=0), np.cov(logs.T)
    proposal = rng.multivariate_normal(mean, 1.5 * covariance, size=100_000)
    deviation = np.linalg.solve(np.linalg.cholesky(1.5 * covariance), (proposal - mean).T)
    log_weights = log_prior_of_products(np.exp(proposal), prior) + 0.5 * (deviation**2).sum(axis=0)
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    np.testing.assert_allclose(weights @ proposal, mean, atol=0.01)
    found = np.cov(proposal.T, aweights=weights)
    np.testing.assert_allclose(found, covariance, atol=0.02 * covariance.max())


def test_drawn_couplings_have_the_priors_distribution():
    """Theta from the prior, C drawn anew given its products: again from the prior."""
    rng = np.random.default_rng(2)
    theta = jrlib.sample_prior(4000, rng)
    drawn = draw_coupling(quantities(theta)[:, 9:], rng)
    cdf = np.sort(jrlib.sample_prior(100_000, rng)[:, 8])
    assert kstest(np.searchsorted(cdf, drawn) / len(cdf), "uniform").pvalue > 0.001
    assert np.corrcoef(drawn, theta[:, 8])[0, 1] < 0.99  # it is not the old C that comes back


def test_where_noise_is_high_importance_sampling_from_the_prior_agrees():
    likelihood, _, observed = observe("RELEASED", 1e7, 2, seed=3)
    rng = np.random.default_rng(4)
    reference = ExactSampler(likelihood)
    theta = jrlib.sample_prior(40_000, rng)
    responses = likelihood.whiten(likelihood.respond(theta))
    for row in observed:
        log_weights = -0.5 * np.sum((responses - likelihood.whiten(row)) ** 2, axis=1)
        weights = np.exp(log_weights - log_weights.max())
        weights /= weights.sum()
        assert 1 / np.sum(weights**2) > 200
        values = quantities(theta)
        mean = weights @ values
        std = np.sqrt(weights @ (values - mean) ** 2)
        found = reference.posterior(row, 500, rng, most=3000)
        assert found.accepted
        np.testing.assert_allclose((found.mean - mean) / std, 0, atol=0.25)
        np.testing.assert_allclose(found.std / std, 1, atol=0.25)


def test_where_noise_is_low_the_products_are_known_and_their_factors_are_not():
    likelihood, theta, observed = observe("CLASSIC", 1.0, 1, seed=5)
    rng = np.random.default_rng(6)
    found = ExactSampler(likelihood).posterior(observed[0], 500, rng, most=2000)
    truth = quantities(theta)[0]
    assert found.accepted
    assert found.effective_sample_size > 0.9 * len(found.samples)
    identifiable = [*range(4), *range(9, 13)]
    assert (np.abs(found.mean - truth) < 5 * found.std)[identifiable].all()
    relative = found.std / truth
    assert (relative[identifiable] < 0.05).all()
    prior = Prior().quantity_std
    coupling = QUANTITY_NAMES.index("C")
    assert found.std[coupling] > 0.1 * prior[coupling]
    # Along the null direction the posterior is the prior's: C as drawn given the true products.
    expected = draw_coupling(np.tile(truth[9:], (4000, 1)), rng)
    drawn = found.resample(1000, rng)[:, coupling]
    assert drawn.mean() == pytest.approx(expected.mean(), abs=0.2 * expected.std())
    assert drawn.std() == pytest.approx(expected.std(), rel=0.15)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_the_truth_takes_every_rank_as_often(kind):
    """Simulation-based calibration, small: 30 draws of the prior."""
    prior = Prior(kind=kind)
    likelihood, theta, observed = observe("RELEASED", 1e5, 30, seed=7, prior=prior)
    reference, rng = ExactSampler(likelihood, prior), np.random.default_rng(8)
    ranks = []
    for row, truth in zip(observed, quantities(theta), strict=True):
        draws = quantities(reference.posterior(row, 100, rng).resample(99, rng))
        ranks.append(((draws < truth).sum(axis=0) + rng.random(13)) / 100)
    for values in np.transpose(ranks):
        assert kstest(values, "uniform").pvalue > 1e-4


def test_what_nothing_explains_is_a_failure_and_says_so():
    likelihood, _, observed = observe("RELEASED", 1.0, 1, seed=9)
    upside_down = -observed[0]
    found = ExactSampler(likelihood).posterior(upside_down, 20, np.random.default_rng(10))
    assert not found.accepted
    assert found.deviance > 10 * likelihood.rank
    assert np.isnan(found.mean).all()
    assert np.isnan(found.resample(5, np.random.default_rng(11))).all()


def test_the_density_of_the_reference_is_that_of_likelihood_and_prior():
    """Differences of log densities, against the likelihood and the prior of theta at one C."""
    likelihood, _, observed = observe("CLASSIC", 1e4, 1, seed=3)
    reference, observed = ExactSampler(likelihood), observed[0]
    points = np.random.default_rng(2).standard_normal((4, 8)) * 0.3
    theta = reference.theta(points, coupling=500.0)
    expected = reference.likelihood.log_likelihood(theta, observed)
    expected -= 0.5 * np.sum(points[:, :4] ** 2, axis=1)
    expected += log_prior_of_products(reference.products(points))
    found = reference.log_density(points, observed)
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=1e-9, atol=1e-6)


def test_descents_that_run_away_end_as_a_failure():
    """Products overflow far out; a descent that gets there is lost, the others are not."""
    likelihood, _, observed = observe("CLASSIC", 1e6, 1, seed=8)
    reference = ExactSampler(likelihood)
    away = np.full((SamplerSettings.n_guesses, 8), 5000.0)
    found = reference.posterior(observed[0], 50, np.random.default_rng(0), initial=away)
    assert not found.accepted
    assert found.n_modes == 0
    away[0] = 0.0
    found = reference.posterior(observed[0], 50, np.random.default_rng(0), initial=away)
    assert found.n_modes == 1
    assert found.effective_sample_size > 10


def test_a_posterior_that_takes_too_long_is_a_failure():
    likelihood, _, observed = observe("CLASSIC", 1e6, 1, seed=8)

    def found(**options):
        sampler = ExactSampler(likelihood, settings=SamplerSettings(**options))
        return sampler.posterior(observed[0], 50, np.random.default_rng(0))

    whole = found()
    assert whole.effective_sample_size > 10
    given_up = found(max_simulations=whole.n_simulations - 1)
    assert given_up.n_modes == 0
    assert given_up.effective_sample_size == 0
    again = found(max_simulations=whole.n_simulations)
    np.testing.assert_array_equal(again.mean, whole.mean)
