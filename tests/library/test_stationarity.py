"""Steps of Metropolis on a density that is known in closed form."""

import numpy as np

from jrlib.diagnostics import stationarity


class Normal:
    """Stands for an `ExactSampler` whose posterior is N(0, I), with nothing beyond 3 in x_1."""

    def log_density(self, points, observed):
        return np.where(points[:, 0] > 3.0, np.nan, -0.5 * np.sum(points**2, axis=1))


def test_wide_draws_of_a_normal_density_settle_as_calculated():
    """Draws s times as wide are less probable by 4 (s^2 - 1), which the chains make good."""
    rng = np.random.default_rng(0)
    wide = 1.5 * rng.standard_normal((4000, 8))
    wide[:, 0] = np.minimum(wide[:, 0], 2.9)
    changes = [
        stationarity.metropolis(Normal(), None, points, root=np.eye(8), n_steps=300, rng=rng)[
            0
        ].mean()
        for points in (wide / 1.5, wide)
    ]
    np.testing.assert_allclose(changes, [0.0, 5.0], atol=0.2)


def test_steps_that_go_nowhere_change_nothing():
    points = np.random.default_rng(1).standard_normal((10, 8))
    still = np.zeros((8, 8))
    change, taken = stationarity.metropolis(
        Normal(), None, points, root=still, n_steps=5, rng=np.random
    )
    assert (change == 0).all()
    assert taken == 1
