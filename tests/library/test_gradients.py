"""Central differences: exact where the function is a polynomial of second order."""

import numpy as np

from jrlib.simulation.gradients import central_differences


def banana(y):
    """A ridge a hundred times as thin as it is long, bent by more than its length."""
    return np.column_stack([y[:, 0], (y[:, 1] - y[:, 0] ** 2) / 0.01, 0.3 * y[:, 1]])


def test_derivatives_of_a_polynomial():
    points = np.random.default_rng(0).normal(size=(5, 2))
    values, slopes = central_differences(banana, points, step=1e-3)
    np.testing.assert_array_equal(values, banana(points))
    x = points[:, 0]
    expected = np.zeros((5, 3, 2))
    expected[:, 0, 0], expected[:, 1, 0] = 1, -200 * x
    expected[:, 1, 1], expected[:, 2, 1] = 100, 0.3
    np.testing.assert_allclose(slopes, expected, atol=1e-9)
