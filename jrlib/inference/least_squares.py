"""Least squares by scipy: the best fit of one response, and profiles of the likelihood.

Both search smoothly from a few initial guesses, one after the other, with scipy's trust region.
`randomize_then_optimize.minimize` is for thousands of descents at once, which scipy cannot batch,
along valleys so narrow and curved that they need the acceleration too.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import optimize
from scipy.stats import chi2

from jrlib.parameters import IDENTIFIABLE_NAMES, PARAMETER_NAMES, RANGES, identifiable
from jrlib.priors import Prior


@dataclass(frozen=True)
class FitSettings:
    """How `fit` searches.

    difference_step : of the forward differences, in prior standard deviations
    tolerance : relative gain or step below which a descent ends
    max_evaluations : of the residuals at most, in a descent
    n_guesses : initial guesses at most, for an observation
    unexplained_probability : chance of so large a residual under the true parameters, below which
        an observation counts as not explained
    """

    difference_step: float = 1e-4
    tolerance: float = 1e-4
    max_evaluations: int = 60
    n_guesses: int = 4
    unexplained_probability: float = 1e-3


def profile(
    likelihood,
    observed,
    name,
    *,
    values,
    bounds=None,
    initial=None,
    n_guesses=1,
    seed=0,
    max_evaluations=60,
):
    """Profile likelihood of one identifiable combination: the others are fitted at each value.

    likelihood : a `Likelihood`; observed : (n_times,) mV
    name : of `IDENTIFIABLE_NAMES`; values : (m,), above 0, in its unit
    bounds : (8, 2) within which the other seven are fitted; by default what the ranges of Table 1
        allow, for a product the products of its factors' ends
    initial : (8,), an initial guess at each value as well, such as a known truth
    n_guesses : random initial guesses at each value, log-uniform within the bounds, from `seed`
    max_evaluations : of the residuals at most, in a descent

    Least squares on the whitened residuals in logarithmic coordinates (trust region, scipy). From
    the best of the fits two sweeps go outwards and back; at each value they start from the
    neighbour's optimum.
    Returns a DataFrame, a row per value in rising order: value, deviance (-2 log likelihood, up to
    the constant that makes a perfect fit 0), and the eight fitted combinations.
    Raises ValueError for an unknown name, values that are not positive, and no guesses.
    """
    if name not in IDENTIFIABLE_NAMES:
        raise ValueError(f"name: got {name!r}, expected one of {', '.join(IDENTIFIABLE_NAMES)}")
    values = np.sort(np.asarray(values, dtype=float))
    if values.ndim != 1 or not (np.isfinite(values).all() and (values > 0).all()):
        raise ValueError(f"values: got {values}, expected finite numbers (m,) above 0")
    if n_guesses < 1:
        raise ValueError(f"n_guesses: got {n_guesses}, expected at least 1")
    fixed = IDENTIFIABLE_NAMES.index(name)
    free = np.delete(np.arange(8), fixed)
    low, high = np.log(identifiable_ranges() if bounds is None else np.asarray(bounds)).T
    target = likelihood.whiten(observed)
    rng = np.random.default_rng(seed)

    def descend(value, guess):
        """scipy's result near a guess (8,), with the whole point (8,) as `point`."""
        point = guess.copy()
        point[fixed] = np.log(value)

        def whole(x):
            point[free] = x
            return _theta(point)

        found = optimize.least_squares(
            lambda x: likelihood.whiten(likelihood.respond(whole(x))[0]) - target,
            np.clip(guess[free], low[free] + 1e-9, high[free] - 1e-9),
            lambda x: likelihood.derivatives(whole(x)[0])[:, free],
            bounds=(low[free], high[free]),
            x_scale="jac",
            max_nfev=max_evaluations,
        )
        point[free] = found.x
        found.point = point
        return found

    known = np.empty((0, 8)) if initial is None else np.log(initial)[np.newaxis]
    fits = []
    for value in values:
        guesses = [*known, *rng.uniform(low, high, (n_guesses, 8))]
        fits.append(_best(descend(value, guess) for guess in guesses))
    first = int(np.argmin([found.cost for found in fits]))
    above, below = range(first, len(values)), range(first, -1, -1)
    for way in (above, below, above[::-1], below[::-1]):  # outwards, and back again
        for i, neighbour in zip(way[1:], way, strict=False):
            fits[i] = _best([fits[i], descend(values[i], fits[neighbour].point)])
    points = np.exp([found.point for found in fits])
    frame = pd.DataFrame(points, columns=list(IDENTIFIABLE_NAMES))
    frame.insert(0, "deviance", [2.0 * found.cost for found in fits])
    frame.insert(0, "value", values)
    return frame


def fit(likelihood, observed, rng, *, prior=None, settings=None):
    """The most probable parameters behind one output of the matched filter, and what they cost.

    likelihood : a `likelihood.Likelihood`; observed : (n_times,) mV
    prior : a `Prior`; its coordinates N(0, I) are the ones searched
    settings : `FitSettings`

    Trust-region least squares (scipy) on the whitened residuals and the prior's coordinates, with
    forward differences: nine simulations a gradient. It starts at the prior's middle. While the
    residual is larger than noise can be (chi-square), it starts again from a sample of the prior by
    the numpy Generator `rng`; the best end counts.

    Returns theta (9,), whether it explains the observation, and the number of simulations.
    """
    prior = Prior() if prior is None else prior
    settings = FitSettings() if settings is None else settings
    target = likelihood.whiten(observed)
    bound = chi2.isf(settings.unexplained_probability, likelihood.rank)
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
        step = settings.difference_step
        return (residuals(point + step * np.eye(len(point))) - at(point)).T / step

    def descend(guess):
        return optimize.least_squares(
            at,
            guess,
            gradient,
            ftol=settings.tolerance,
            xtol=settings.tolerance,
            max_nfev=settings.max_evaluations,
        )

    def explains(found):
        return bool(np.sum(found.fun[: likelihood.rank] ** 2) < bound)

    d = len(PARAMETER_NAMES)
    guesses = (rng.standard_normal(d) if k else np.zeros(d) for k in range(settings.n_guesses))
    best = _best((descend(guess) for guess in guesses), explains)
    return prior.from_standard(best.x[np.newaxis])[0], explains(best), count


def _best(ends, enough=lambda found: False):
    """The result of lowest cost among ends of descents, made in turn until one is good enough."""
    best = None
    for found in ends:
        best = found if best is None or found.cost < best.cost else best
        if enough(best):
            break
    return best


def identifiable_ranges():
    """The ranges (8, 2) that those of Table 1 allow the combinations `IDENTIFIABLE_NAMES`."""
    return identifiable(RANGES.T).T


def _theta(point):
    """Parameters (1, 9) whose eight combinations have these logarithms (8,); C is 1."""
    return np.append(np.exp(point), 1.0)[np.newaxis]
