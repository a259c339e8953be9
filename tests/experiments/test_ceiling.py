"""Reference posteriors: against importance sampling, prior conditionals and their own ranks."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import kstest

import jrlib
from experiments import exact_posteriors
from jrlib.inference import exact_posterior
from jrlib.inference.exact_posterior import Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
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
    reference = Reference(likelihood)
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
    reference = Reference(likelihood)
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
    found = Reference(likelihood).posterior(observed[0], 500, rng, most=2000)
    truth = quantities(theta)[0]
    assert found.accepted
    assert found.ess > 0.9 * len(found.theta)
    identifiable = [*range(4), *range(9, 13)]
    assert (np.abs(found.mean - truth) < 5 * found.std)[identifiable].all()
    relative = found.std / truth
    assert (relative[identifiable] < 0.05).all()
    prior = Prior().quantity_std
    coupling = QUANTITY_NAMES.index("C")
    assert found.std[coupling] > 0.1 * prior[coupling]
    # Along the null direction the posterior is the prior's: C as drawn given the true products.
    expected = draw_coupling(np.tile(truth[9:], (4000, 1)), rng)
    drawn = found.sample(1000, rng)[:, coupling]
    assert drawn.mean() == pytest.approx(expected.mean(), abs=0.2 * expected.std())
    assert drawn.std() == pytest.approx(expected.std(), rel=0.15)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_the_truth_takes_every_rank_as_often(kind):
    """Simulation-based calibration, small: 30 draws of the prior."""
    prior = Prior(kind=kind)
    likelihood, theta, observed = observe("RELEASED", 1e5, 30, seed=7, prior=prior)
    reference, rng = Reference(likelihood, prior), np.random.default_rng(8)
    ranks = []
    for row, truth in zip(observed, quantities(theta), strict=True):
        draws = quantities(reference.posterior(row, 100, rng).sample(99, rng))
        ranks.append(((draws < truth).sum(axis=0) + rng.random(13)) / 100)
    for values in np.transpose(ranks):
        assert kstest(values, "uniform").pvalue > 1e-4


def test_what_nothing_explains_is_a_failure_and_says_so():
    likelihood, _, observed = observe("RELEASED", 1.0, 1, seed=9)
    upside_down = -observed[0]
    found = Reference(likelihood).posterior(upside_down, 20, np.random.default_rng(10))
    assert not found.accepted
    assert found.deviance > 10 * likelihood.rank
    assert np.isnan(found.mean).all()
    assert np.isnan(found.sample(5, np.random.default_rng(11))).all()


def test_the_fraction_of_the_ceiling():
    """A method at half the ceiling everywhere; what the equations do not hold is left out."""
    rows = [("CLASSIC", 1.0, name) for name in QUANTITY_NAMES]
    by = ["convention", "noise_factor", "parameter"]
    ceilings = pd.DataFrame(rows, columns=by).assign(value=0.8, low=0.7, high=0.9)
    half = pd.DataFrame(rows, columns=by).assign(value=0.4, low=0.35, high=0.45, method="half")
    half["n_simulations"] = 1000
    half.loc[~half.parameter.isin(IDENTIFIABLE_NAMES), ["value", "low", "high"]] = -1.0
    mean = half.assign(value=np.nan, method="mean predictor")
    (row,) = exact_posteriors.fractions(pd.concat([half, mean]), ceilings).itertuples()
    assert row.method == "half"
    np.testing.assert_allclose([row.value, row.low, row.high], [0.5, 0.35 / 0.9, 0.45 / 0.7])
    more = half.assign(value=0.6, n_simulations=3000)
    both = (
        exact_posteriors.fractions(pd.concat([half, more]), ceilings)
        .set_index("n_simulations")
        .value
    )
    np.testing.assert_allclose([both[1000], both[3000]], [0.5, 0.75])


def test_what_failed_is_counted_and_not_scored():
    table = pd.DataFrame(
        {
            "accepted": [True, False, True, False, False],
            "ess": [100.0, 0.0, 300.0, 90.0, 0.0],
            "rhat": [1.0, np.inf, 1.002, 1.3, np.inf],
            "n_modes": [1, 0, 1, 2, 0],
            "deviance": [60.0, 1e5, 70.0, 65.0, 66.0],
            "n_simulations": [1000, 500, 6000, 10, exact_posterior.MOST + 5],
        }
    )
    expected = ["accepted", "no mode found", "accepted", "poor", "given up"]
    assert exact_posteriors.outcome(table).to_list() == expected
    (row,) = exact_posteriors.summary({("CLASSIC", 1.0): (table, {})}).to_dict("records")
    assert row["observations"] == 5
    assert [row[name] for name in exact_posteriors.OUTCOMES] == [2, 1, 1, 1]
    assert (row["effective draws"], row["simulations"]) == (200.0, 15.0)
    with pytest.raises(ValueError, match="fewer than"):
        exact_posteriors.scores({("CLASSIC", 1.0): (table, {})})


def test_the_density_of_the_reference_is_that_of_likelihood_and_prior():
    """Differences of log densities, against the likelihood and the prior of theta at one C."""
    likelihood, _, observed = observe("CLASSIC", 1e4, 1, seed=3)
    reference, observed = Reference(likelihood), observed[0]
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
    reference = Reference(likelihood)
    away = np.full((exact_posterior.N_STARTS, 8), 5000.0)
    found = reference.posterior(observed[0], 50, np.random.default_rng(0), starts=away)
    assert not found.accepted
    assert found.n_modes == 0
    away[0] = 0.0
    found = reference.posterior(observed[0], 50, np.random.default_rng(0), starts=away)
    assert found.n_modes == 1
    assert found.ess > 10


def test_a_posterior_that_takes_too_long_is_a_failure(monkeypatch):
    likelihood, _, observed = observe("CLASSIC", 1e6, 1, seed=8)
    reference = Reference(likelihood)
    whole = reference.posterior(observed[0], 50, np.random.default_rng(0))
    assert whole.ess > 10
    monkeypatch.setattr(exact_posterior, "MOST", whole.n_simulations - 1)
    given_up = reference.posterior(observed[0], 50, np.random.default_rng(0))
    assert given_up.n_modes == 0
    assert given_up.ess == 0
    monkeypatch.setattr(exact_posterior, "MOST", whole.n_simulations)
    again = reference.posterior(observed[0], 50, np.random.default_rng(0))
    np.testing.assert_array_equal(again.mean, whole.mean)
