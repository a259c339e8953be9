"""Least squares: the best fit of one response, and profiles of the likelihood."""

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import chi2

from jrlib.parameters import IDENTIFIABLE_NAMES, PARAMETER_NAMES, RANGES, identifiable
from jrlib.priors import Prior


def profile(likelihood, observed, name, values, *, bounds=None, start=None, n_starts=1, seed=0):
    """Profile likelihood of one identifiable combination: the others are fitted at each value.

    likelihood : a `Likelihood`; observed : (n_times,) mV
    name : of `IDENTIFIABLE_NAMES`; values : (m,), above 0, in its unit
    bounds : (8, 2) within which the other seven are fitted; by default what the ranges of Table 1
        allow, for a product the products of its factors' ends
    start : (8,), a point from which to start at each value as well, such as a known truth
    n_starts : random starts at each value, log-uniform within the bounds, drawn from `seed`

    Least squares on the whitened residuals in logarithmic coordinates (trust region, scipy). From
    the best of the fits two sweeps go outwards and back; at each value they start from the
    neighbour's optimum.
    Returns a DataFrame, a row per value in rising order: value, deviance (-2 log likelihood, up to
    the constant that makes a perfect fit 0), and the eight fitted combinations.
    """
    if name not in IDENTIFIABLE_NAMES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(IDENTIFIABLE_NAMES)}")
    values = np.sort(np.asarray(values, dtype=float))
    if values.ndim != 1 or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"values: got {values}, expected finite numbers (m,) above 0")
    if n_starts < 1:
        raise ValueError(f"n_starts: got {n_starts}, expected at least 1")
    fixed = IDENTIFIABLE_NAMES.index(name)
    free = np.delete(np.arange(8), fixed)
    low, high = np.log(identifiable_ranges() if bounds is None else np.asarray(bounds)).T
    target = likelihood.whiten(observed)
    rng = np.random.default_rng(seed)

    def fit(value, start):
        """The best point (8,) near a start (8,), and its deviance."""
        point = start.copy()
        point[fixed] = np.log(value)

        def whole(x):
            point[free] = x
            return _theta(point)

        found = least_squares(
            lambda x: likelihood.whiten(likelihood.respond(whole(x))[0]) - target,
            np.clip(start[free], low[free] + 1e-9, high[free] - 1e-9),
            lambda x: likelihood.derivatives(whole(x)[0])[:, free],
            bounds=(low[free], high[free]),
            x_scale="jac",
            max_nfev=60,
        )
        point[free] = found.x
        return point, 2.0 * found.cost

    def best(value, starts):
        return min((fit(value, start) for start in starts), key=lambda pair: pair[1])

    known = np.empty((0, 8)) if start is None else np.log(start)[np.newaxis]
    fits = [best(value, [*known, *rng.uniform(low, high, (n_starts, 8))]) for value in values]
    first = int(np.argmin([deviance for _, deviance in fits]))
    above, below = range(first, len(values)), range(first, -1, -1)
    for way in (above, below, above[::-1], below[::-1]):  # outwards, and back again
        for i, neighbour in zip(way[1:], way, strict=False):
            again = fit(values[i], fits[neighbour][0])
            fits[i] = min(fits[i], again, key=lambda pair: pair[1])
    points = np.exp([point for point, _ in fits])
    frame = pd.DataFrame(points, columns=list(IDENTIFIABLE_NAMES))
    frame.insert(0, "deviance", [deviance for _, deviance in fits])
    frame.insert(0, "value", values)
    return frame


def identifiable_ranges():
    """The ranges (8, 2) that those of Table 1 allow the combinations `IDENTIFIABLE_NAMES`."""
    return identifiable(RANGES.T).T


def _theta(point):
    """Parameters (1, 9) whose eight combinations have these logarithms (8,); C is 1."""
    return np.append(np.exp(point), 1.0)[np.newaxis]


STEP = 1e-4  # of the forward differences, in prior standard deviations
TOLERANCE = 1e-4  # relative gain or step below which a descent ends
N_ITERATIONS = 60  # at most, in a descent
N_STARTS = 4  # at most, for an observation
CHANCE = 1e-3  # of a residual so large under the true parameters


def fit(likelihood, observed, rng, prior=None):
    """The most probable parameters behind one output of the matched filter, and what they cost.

    likelihood : a `likelihood.Likelihood`; observed : (n_times,) mV
    prior : a `Prior`; its coordinates N(0, I) are the ones searched

    Trust-region least squares (scipy) on the whitened residuals and the prior's coordinates, with
    forward differences: nine simulations a gradient. It starts at the prior's middle. While the
    residual is larger than noise can be (chi-square, chance `CHANCE`), it starts again from a draw
    of the prior by the numpy Generator `rng`, up to `N_STARTS` times in all; the best end counts.

    Returns theta (9,), whether it explains the observation, and the number of simulations.
    """
    prior = Prior() if prior is None else prior
    target = likelihood.whiten(observed)
    bound = chi2.isf(CHANCE, likelihood.rank)
    count, latest = 0, {}

    def residuals(points):
        nonlocal count
        count += len(points)
        outputs = likelihood.whiten(likelihood.respond(prior.from_standard(points)))
        return np.hstack([outputs - target, points])

    def at(point):
        if point.tobytes() not in latest:
            latest.clear()
            latest[point.tobytes()] = residuals(point[np.newaxis])[0]
        return latest[point.tobytes()]

    def gradient(point):
        return (residuals(point + STEP * np.eye(len(point))) - at(point)).T / STEP

    best = None
    for start in range(N_STARTS):
        point = rng.standard_normal(len(PARAMETER_NAMES)) if start else np.zeros(9)
        found = least_squares(
            at,
            point,
            gradient,
            ftol=TOLERANCE,
            xtol=TOLERANCE,
            max_nfev=N_ITERATIONS,
        )
        best = found if best is None or found.cost < best.cost else best
        explained = bool(np.sum(best.fun[: likelihood.rank] ** 2) < bound)
        if explained:
            break
    return prior.from_standard(best.x[np.newaxis])[0], explained, count
