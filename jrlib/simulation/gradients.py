"""Evoked responses around a reference, their derivatives by each parameter, and differences."""

import numpy as np

from jrlib.parameters import CLASSIC, PARAMETER_NAMES, TYPICAL, check_theta
from jrlib.simulation.protocol import simulate_erp

FACTORS = tuple(np.linspace(0.5, 1.5, 41).tolist())
STEP = 1e-3  # of a factor, in the central differences


def responses(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None):
    """Evoked responses with one parameter at a time multiplied by each factor, (9, m, n_times), mV.

    factors: (m,). theta: (9,), the reference.
    """
    theta = single_theta(theta)
    factors = np.asarray(factors, dtype=float)
    grid = np.tile(theta, (len(theta), len(factors), 1))
    for k in range(len(theta)):
        grid[k, :, k] *= factors
    erp = simulate_erp(grid.reshape(-1, len(theta)), protocol, convention)
    return erp.reshape(*grid.shape[:2], -1)


def gradients(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Derivatives of `responses` by the factor, (9, m, n_times), mV.

    Central differences of fourth order: (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) / (12 h), h = step.
    """
    if not 0.0 < step < 0.1:
        raise ValueError(f"step: got {step}, expected a fraction between 0 and 0.1")
    factors = np.asarray(factors, dtype=float)
    if factors.ndim != 1 or not (np.isfinite(factors).all() and (factors > 2.0 * step).all()):
        raise ValueError(f"factors: got {factors}, expected numbers (m,) above {2.0 * step}")
    shifts = step * np.array([-2.0, -1.0, 1.0, 2.0])
    weights = np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
    shifted = responses(np.add.outer(factors, shifts).ravel(), theta, convention, protocol)
    shifted = shifted.reshape(len(PARAMETER_NAMES), len(factors), len(shifts), -1)
    return np.einsum("kfst,s->kft", shifted, weights)


def central_differences(function, points, *, step):
    """Values and derivatives of any function at many points, by central differences.

    function : of points (N, d) -> (N, m); points : (n, d); step : in the points' units
    Returns the values (n, m) and the derivatives (n, m, d), (f(+h) - f(-h)) / (2 h) with h = step.
    All 2 d + 1 shifted points of all n are given to the function at once.
    """
    n, d = points.shape
    shifts = step * np.vstack([np.zeros(d), np.eye(d), -np.eye(d)])
    values = function((points[:, np.newaxis] + shifts).reshape(-1, d)).reshape(n, 2 * d + 1, -1)
    slopes = (values[:, 1 : d + 1] - values[:, d + 1 :]) / (2.0 * step)
    return values[:, 0], np.moveaxis(slopes, 1, 2)


def single_theta(theta):
    """Parameters (9,) from (9,) or (1, 9); ValueError for several rows, and as `check_theta`."""
    theta = check_theta(theta)
    if len(theta) != 1:
        raise ValueError(f"theta: got {len(theta)} rows, expected one reference (9,)")
    return theta[0]
