"""Classic fitting: least squares for each observation, with the simulations that it takes counted.

What trained networks are said to scale better than. A network simulates once, for its training, and
then nothing more; a fit simulates for each observation anew.
"""

import numpy as np
import pandas as pd
from scipy.optimize import least_squares
from scipy.stats import chi2

from jrlib import comparison, metrics
from jrlib.parameters import PARAMETER_NAMES, Prior
from jrlib.reference import Likelihood
from jrlib.results import Result

STEP = 1e-4  # of the forward differences, in prior standard deviations
TOLERANCE = 1e-4  # relative gain or step below which a descent ends
N_ITERATIONS = 60  # at most, in a descent
N_STARTS = 4  # at most, for an observation
CHANCE = 1e-3  # of a residual so large under the true parameters


def fit(likelihood, observed, rng, prior=None):
    """The most probable parameters behind one output of the matched filter, and what they cost.

    likelihood : a `reference.Likelihood`; observed : (n_times,) mV
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


def fits(convention, noise_factor, n_fits, seed):
    """Fit the first test observations of the comparison, each on its own.

    Returns a `Result` with the tables "fits" (simulations and explained, one row per observation)
    and "scores" (`metrics.score` of the nine parameters).
    """
    test = comparison.test_set(convention, n_fits, "standard")
    likelihood = Likelihood.of(test, noise_factor)
    observed = comparison.observations(test, noise_factor, seed=comparison.TEST)
    rng = np.random.default_rng(seed)
    ends = [fit(likelihood, output, rng) for output in observed]
    theta, explained, simulations = (np.array(column) for column in zip(*ends, strict=True))
    table = pd.DataFrame({"simulations": simulations, "explained": explained})
    scores = metrics.score(test.theta, theta, PARAMETER_NAMES, scale=Prior().std)
    return Result(tables={"fits": table, "scores": scores.round(6)})
