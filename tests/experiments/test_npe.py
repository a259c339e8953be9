"""Posteriors trained with NPE for their own chapter: what is stored rebuilds them."""

import numpy as np
import pytest

from experiments import npe
from jrlib.diagnostics import calibration
from jrlib.inference.flows import NPESettings, Posterior
from jrlib.priors import Prior


@pytest.mark.parametrize("prior", ["normal", "uniform"])
def test_study_stores_what_rebuilds_the_posterior(prior):
    settings = NPESettings(epochs=2)
    sizes = {"n_simulations": 40, "n_validation": 20}
    config = npe.Config("RELEASED", 0, noise_factor=1.0, prior=prior, settings=settings, **sizes)
    result = npe.run(config)
    rebuilt = Posterior.from_state(result.weights, result.about)
    assert rebuilt.prior == Prior(kind=prior)
    assert rebuilt.sample(np.sin(np.arange(301.0)), 4, seed=0).shape == (4, 9)
    assert list(result.tables["history"]) == ["epoch", "train_loss", "validation_loss"]


@pytest.fixture(scope="module")
def tested():
    settings = NPESettings(epochs=2)
    config = npe.Config("CLASSIC", 0, n_simulations=60, n_validation=20, settings=settings)
    result = npe.run(config)
    posterior = Posterior.from_state(result.weights, result.about)
    simulations = npe._simulate(config, npe.TEST, 30)
    observed = simulations.observe(config.noise_factor, config.seed)
    evaluation = calibration.evaluate(
        posterior, simulations.theta, observed, n_samples=20, seed=config.seed
    )
    return npe.Tested(config, posterior, simulations, observed, evaluation)


def test_every_rank_is_in_one_bin(tested):
    counts = npe.rank_counts(tested, n_bins=7)
    assert (counts.groupby("parameter")["count"].sum() == 30).all()


def test_contraction_is_that_of_the_samples(tested):
    samples = tested.evaluation.samples[..., 0]
    expected = 1.0 - samples.var(axis=1, ddof=1).mean() / Prior().std[0] ** 2
    assert tested.contraction[0] == pytest.approx(expected)


def test_marginals_integrate_to_one(tested):
    samples = {"CLASSIC": tested.evaluation.samples[0]}
    frame = npe.marginals(samples, Prior(), tested.evaluation.truth[0])
    prior = frame[(frame.series == "prior") & (frame.parameter == "C")]
    assert np.trapezoid(prior.density, prior.value) == pytest.approx(1.0, abs=0.01)
    assert frame[frame.series == "truth"].value.tolist() == tested.evaluation.truth[0].tolist()


def test_the_true_parameters_explain_the_response_but_for_the_filter(tested):
    theta = tested.simulations.theta[3:4]
    waves, misfit, noise = npe.predictive_check(tested, 3, theta, Prior().low[np.newaxis])
    assert misfit < 1.0  # per cent
    assert 0.0 < noise < 1.0
    observed = waves[waves.series == "observed"]["response (mV)"]
    np.testing.assert_array_equal(observed, tested.observed[3])
