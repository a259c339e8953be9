"""Classic fitting: it finds the best parameters, knows when it has not, and counts right."""

import numpy as np
import pytest

from jrlib.inference import least_squares
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import TYPICAL
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset


@pytest.fixture(scope="module")
def experiment():
    test = make_dataset(4, 0, convention="RELEASED")
    return test, Likelihood.of(test, 1.0), test.observe(1.0, seed=0)


def test_a_fit_is_at_least_as_probable_as_the_truth(experiment):
    test, likelihood, observed = experiment
    prior, rng = Prior(), np.random.default_rng(0)
    for truth, output in zip(test.theta, observed, strict=True):
        theta, explained, _ = least_squares.fit(likelihood, output, rng)

        def log_posterior(theta, output=output):
            standard = prior.to_standard(theta)
            return likelihood.log_likelihood(theta, output)[0] - 0.5 * np.sum(standard**2)

        assert explained
        assert log_posterior(theta[np.newaxis]) > log_posterior(truth[np.newaxis]) - 0.1


def test_what_the_response_shows_is_found(experiment):
    """Under RELEASED the gain and the rate of inhibition are stiff."""
    test, likelihood, observed = experiment
    theta, _, _ = least_squares.fit(likelihood, observed[0], np.random.default_rng(0))
    np.testing.assert_allclose(theta[[1, 3]], test.theta[0, [1, 3]], rtol=0.02)


def test_every_simulation_is_counted(experiment, monkeypatch):
    _, likelihood, observed = experiment
    simulated, respond = [], Likelihood.respond
    monkeypatch.setattr(
        Likelihood,
        "respond",
        lambda self, theta: (simulated.append(len(theta)), respond(self, theta))[1],
    )
    _, _, count = least_squares.fit(likelihood, observed[1], np.random.default_rng(0))
    assert count == sum(simulated)
    assert set(simulated) == {1, 9}


def test_what_no_parameters_give_is_not_explained_after_all_guesses(experiment, monkeypatch):
    _, likelihood, _ = experiment
    guesses, search = [], least_squares.optimize.least_squares

    def watched(function, point, *arguments, **options):
        guesses.append(point)
        return search(function, point, *arguments, **options)

    monkeypatch.setattr(least_squares.optimize, "least_squares", watched)
    settings = least_squares.FitSettings(max_evaluations=3)
    output = -3.0 * likelihood.respond(TYPICAL)[0]
    _, explained, _ = least_squares.fit(
        likelihood, output, np.random.default_rng(0), settings=settings
    )
    assert not explained
    assert len(guesses) == settings.n_guesses
    assert len(np.unique(guesses, axis=0)) == settings.n_guesses
