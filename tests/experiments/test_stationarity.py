"""Steps of Metropolis: on a density known in closed form, and from right and from wrong draws."""

import numpy as np
import pytest

from experiments import compared_methods, exact_posteriors, posterior_stationarity
from jrlib.diagnostics import stationarity
from jrlib.inference import exact_posterior
from jrlib.inference.likelihood import Likelihood
from jrlib.priors import draw_coupling


class Normal:
    """Stands for a `exact_posterior.Reference` whose posterior is N(0, I), with nothing beyond 3 in x_1."""

    def log_density(self, points, observed):
        return np.where(points[:, 0] > 3.0, np.nan, -0.5 * np.sum(points**2, axis=1))


def test_wide_draws_of_a_normal_density_settle_as_calculated():
    """Draws s times as wide are less probable by 4 (s^2 - 1), which the chains make good."""
    rng = np.random.default_rng(0)
    wide = 1.5 * rng.standard_normal((4000, 8))
    wide[:, 0] = np.minimum(wide[:, 0], 2.9)
    changes = [
        stationarity.metropolis(Normal(), None, points, np.eye(8), 300, rng)[0].mean()
        for points in (wide / 1.5, wide)
    ]
    np.testing.assert_allclose(changes, [0.0, 5.0], atol=0.2)


def test_steps_that_go_nowhere_change_nothing():
    points = np.random.default_rng(1).standard_normal((10, 8))
    still = np.zeros((8, 8))
    change, taken = stationarity.metropolis(Normal(), None, points, still, 5, np.random)
    assert (change == 0).all()
    assert taken == 1


WHERE = {"convention": "CLASSIC", "noise_factor": 1e4}
SIZES = {"n": 2, "n_draws": 1000, "n_test": 4, "seed": 11}


@pytest.fixture(scope="module")
def exact():
    config = {**WHERE, **SIZES, "first": 0}
    return exact_posteriors.gather([config], [exact_posteriors.cell(**config)])


def walk(gathered):
    found = posterior_stationarity.cell(**WHERE, **SIZES, n_steps=150, gathered=gathered)
    return next(posterior_stationarity.summary([WHERE], [found]).itertuples())


def test_the_draws_of_two_posteriors_stay_as_they_are(exact):
    """198 draws of a log density with a standard deviation of 2: the error is about 0.2."""
    found = walk(exact)
    assert abs(found.change) < 0.6
    assert found.low < found.change < found.high
    assert found.observations == 2
    assert 0.05 < found.taken < 0.9
    assert abs(found.rounding) < 0.01


def test_draws_that_were_moved_towards_their_mean_leave_the_curved_ridge_and_return(exact):
    test, rng = compared_methods.test_set("CLASSIC", 4, "standard"), np.random.default_rng(2)
    reference = exact_posterior.Reference(Likelihood.of(test, WHERE["noise_factor"]))
    table, arrays = exact[tuple(WHERE.values())]
    moved = []
    for theta in arrays["draws"].astype(float):
        points = reference.points(theta)
        points = points.mean(axis=0) + 0.85 * (points - points.mean(axis=0))
        moved.append(reference.theta(points, draw_coupling(reference.products(points), rng)))
    wrong = {"draws": np.array(moved, np.float32)}
    assert walk({tuple(WHERE.values()): (table, wrong)}).low > 0.6
