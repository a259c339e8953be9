"""The exact posterior given one evoked response, by weighted independent samples.

The likelihood is exact (`likelihood.Likelihood`), so the posterior can be sampled without any
training, by randomize-then-optimize. Its mean is the estimate of least squared error: no method
whatsoever correlates better with the truth, on average over the prior.
"""

from copy import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import chi2

from jrlib.inference import randomize_then_optimize
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior, conditional_means, draw_coupling, log_prior_of_products

N_BANK = 2000  # simulations of the prior from which descents start
N_STARTS, N_ATTEMPTS = 12, 4  # descents side by side, and how often at most
CHANCE = 1e-6  # of a deviance so large, which says that the mode was missed
HEAT = (0.1, 0.01, 1e-3)  # parts of the response to which the data are first to be met
SAME = 0.05  # distance between two ends of descents, in prior standard deviations
FARTHEST = 40.0  # in prior standard deviations, that a descent may look: products overflow beyond
DEEP = 20.0  # of the deviance above the lowest, where another end is no mode that matters
# What a posterior must have to be accepted.
ENOUGH, LARGEST = 100.0, 0.05
MOST = 1_000_000  # simulations, beyond which a posterior is given up; accepted ones took fewer


@dataclass(frozen=True)
class ReferencePosterior:
    """The posterior given one observation, by weighted independent draws.

    theta : (n, 9) draws; weights : (n,), adding up to 1
    mean, std : (13,) of `QUANTITY_NAMES`
    deviance : of the most probable point, its prior's part included: about the number of samples
    n_modes : distinct ends of the descents that are about as probable as the best
    n_simulations : what it took
    ess, rhat : see `randomize_then_optimize.Draws`
    """

    theta: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    deviance: float
    n_modes: int
    n_simulations: int
    ess: float
    rhat: float

    @property
    def accepted(self):
        """Whether R-hat, the effective number of draws and the largest weight are good enough."""
        return bool(
            self.n_modes == 1
            and self.rhat <= randomize_then_optimize.R_HAT
            and self.ess >= ENOUGH
            and self.weights.max() <= LARGEST
        )

    def sample(self, n, rng):
        """n equal draws (n, 9), with the numpy Generator `rng`; NaN where there are none."""
        if not len(self.theta):
            return np.full((n, 9), np.nan)
        return self.theta[rng.choice(len(self.theta), n, p=self.weights)]


class _GivenUp(Exception):
    """A posterior took more than `MOST` simulations."""


class Reference:
    """Draws reference posteriors under one likelihood.

    likelihood : a `Likelihood`
    prior : a `Prior` cut at positive ranges

    The coordinates (8,) are those in which the prior is about N(0, I): `Prior.to_standard` of A_e,
    A_i, b_e and b_i, and the logarithms of C a_1..C a_4 through the Cholesky factor of their prior
    covariance. What the prior of the products really is corrects the weights. C itself, of which
    the data say nothing once the products are given, is drawn from its conditional density.
    """

    def __init__(self, likelihood, prior=None):
        self.likelihood, self.prior = likelihood, Prior() if prior is None else prior
        rng = np.random.default_rng(0)
        logs = np.log(quantities(self.prior.sample(20_000, rng))[:, 9:])
        self._centre, self._root = logs.mean(axis=0), np.linalg.cholesky(np.cov(logs.T))
        self._bank = rng.standard_normal((N_BANK, 8))
        self._outputs = likelihood.respond(self.theta(self._bank))
        # |residuals|^2 at the truth has a chi-square distribution; beyond this the mode is missed.
        self._explained = chi2.isf(CHANCE, likelihood.rank + 8)
        self.n_simulations = 0

    def at(self, noise_factor):
        """The same for noise whose covariance is noise_factor times as large."""
        other = copy(self)
        covariance = noise_factor * self.likelihood.covariance
        other.likelihood = replace(self.likelihood, covariance=covariance)
        return other

    def products(self, points):
        """C a_1..C a_4 (n, 4) at points (n, 8)."""
        return np.exp(self._centre + points[:, 4:] @ self._root.T)

    def theta(self, points, coupling=1.0):
        """Parameters (n, 9) at points (n, 8), with C (n,) as given."""
        standard = np.hstack([points[:, :4], np.zeros((len(points), 5))])
        theta = self.prior.from_standard(standard)
        theta[:, 8] = coupling
        theta[:, 4:8] = self.products(points) / theta[:, 8:]
        return theta

    def points(self, theta):
        """The coordinates (n, 8) of parameters (n, 9)."""
        logs = np.log(quantities(theta)[:, 9:]) - self._centre
        standard = self.prior.to_standard(theta)[:, :4]
        return np.hstack([standard, np.linalg.solve(self._root, logs.T).T])

    def posterior(self, observed, n, rng, *, most=None, starts=None):
        """The `ReferencePosterior` given one output of the matched filter, (n_times,) mV.

        n, most : draws, and up to how many where R-hat asks for more; rng : numpy Generator
        starts : points (m, 8) from which descents start, the first `N_STARTS` of them at once; by
            default those of a bank of prior draws whose responses are nearest to the data

        Descents meet the data roughly before they meet them exactly. Where no mode is found, or the
        draws would take more than `MOST` simulations, there are none.
        """
        target = self.likelihood.whiten(observed)
        self.n_simulations = 0
        if starts is None:
            distances = np.sum((self.likelihood.whiten(self._outputs) - target) ** 2, axis=1)
            starts = self._bank[np.argsort(distances)[: N_ATTEMPTS * N_STARTS]]
        mode = self._mode(target, starts)
        if mode.costs.min() > self._explained:
            return self._failure(mode)
        return self._draws(target, mode, n, rng, most)

    def posterior_near(self, observed, n, rng, starts):
        """The same where points starts (m, 8) are known to be near the mode, in fewer simulations.

        One descent from each, and no more draws than n, whatever their R-hat.
        """
        target = self.likelihood.whiten(observed)
        self.n_simulations = 0
        mode = randomize_then_optimize.minimize(self._residual(target), starts)
        if mode.costs.min() > self._explained:
            return self._failure(mode)
        return self._draws(target, mode, n, rng, None)

    def log_density(self, points, observed):
        """Log posterior density (n,) at points (n, 8) given an output of the matched filter.

        Up to a constant; -inf where the products cannot be, NaN where the model diverges.
        """
        misfit = self._respond(points) - self.likelihood.whiten(observed)
        normal = np.sum(points**2, axis=1) + np.sum(misfit**2, axis=1)
        return self._correction(points) - 0.5 * normal

    def _mode(self, target, starts):
        """The `randomize_then_optimize.Minimum` of descents to the whitened data, with more starts while none fits."""
        size = np.sqrt(np.mean(target**2))
        best = None
        for first in range(0, len(starts), N_STARTS):
            ends = starts[first : first + N_STARTS]
            for part in HEAT:
                if part * size > 1.0:
                    roughly = self._residual(target, 1.0 / (part * size))
                    ends = randomize_then_optimize.minimize(roughly, ends, iterations=15).points
            mode = randomize_then_optimize.minimize(self._residual(target), ends)
            if best is None or mode.costs.min() < best.costs.min():
                best = mode
            if best.costs.min() < self._explained:
                break
        return best

    def _draws(self, target, mode, n, rng, most):
        """The `ReferencePosterior` given whitened data, from the `randomize_then_optimize.Minimum` of the descents."""
        residual = self._residual(target, limit=MOST)
        options = {"most": most, "correction": self._correction}
        try:
            draws = randomize_then_optimize.sample(residual, mode, n, rng, **options)
        except _GivenUp:
            return self._failure(mode)
        return self._summary(draws, mode, rng) if draws.ess > 0 else self._failure(mode)

    def spread(self, posterior):
        """Standard deviations (8,) of a `ReferencePosterior` in these coordinates, or NaN."""
        if not len(posterior.theta):
            return np.full(8, np.nan)
        points = self.points(posterior.theta)
        deviation = points - posterior.weights @ points
        return np.sqrt(posterior.weights @ deviation**2)

    def bound(self, theta):
        """Standard deviations (8,) of the linear model that is tangent at theta (1, 9)."""
        _, slopes = randomize_then_optimize.differentiate(self._respond, self.points(theta))
        return np.sqrt(np.diag(np.linalg.inv(np.eye(8) + slopes[0].T @ slopes[0])))

    def _respond(self, points):
        """Whitened responses (n, rank) at points (n, 8)."""
        return self.likelihood.whiten(self.likelihood.respond(self.theta(points)))

    def _residual(self, target, scale=1.0, limit=np.inf):
        def residual(points):
            self.n_simulations += len(points)
            if self.n_simulations > limit:
                raise _GivenUp
            within = np.clip(points, -FARTHEST, FARTHEST)
            misfit = scale * (self._respond(within) - target)
            misfit[(within != points).any(axis=1)] = np.nan
            return np.hstack([points, np.nan_to_num(misfit, nan=1e9)])

        return residual

    def _correction(self, points):
        """Log prior of the products over the normal density that the residuals take for it."""
        log_prior = log_prior_of_products(self.products(points), self.prior)
        return log_prior + 0.5 * np.sum(points[:, 4:] ** 2, axis=1)

    def _failure(self, mode):
        """What stands for a posterior that could not be drawn from: no draws, NaN."""
        nothing = np.full(len(QUANTITY_NAMES), np.nan)
        return ReferencePosterior(
            theta=np.empty((0, 9)),
            weights=np.empty(0),
            mean=nothing,
            std=nothing,
            deviance=float(mode.costs.min()),
            n_modes=0,
            n_simulations=self.n_simulations,
            ess=0.0,
            rhat=np.inf,
        )

    def _summary(self, draws, mode, rng):
        best = mode.points[mode.best]
        near = mode.found & (mode.costs < mode.costs.min() + DEEP)
        others = mode.points[near & (np.abs(mode.points - best).max(axis=1) > SAME)]
        kept = draws.weights > 0
        points, weights = draws.points[kept], draws.weights[kept]
        products = self.products(points)
        theta = self.theta(points, draw_coupling(products, rng, self.prior))
        drawn = quantities(theta)
        mean = weights @ drawn
        mean[4:9] = weights @ conditional_means(products, self.prior)
        return ReferencePosterior(
            theta=theta,
            weights=weights,
            mean=mean,
            std=np.sqrt(weights @ (drawn - mean) ** 2),
            deviance=float(mode.costs.min()),
            n_modes=1 + _count(others),
            n_simulations=self.n_simulations,
            ess=draws.ess,
            rhat=draws.rhat,
        )


def fit(reference, observed, starts):
    """The `randomize_then_optimize.Minimum` of descents to one observation (n_times,), mV, from points starts (m, 8).

    The best `N_STARTS` of them should come first: the others are for when none of these fits.
    """
    return reference._mode(reference.likelihood.whiten(observed), starts)


def _count(points):
    """How many of the points (n, 8) are no nearer than `SAME` to one before."""
    kept = []
    for point in points:
        if all(np.abs(point - other).max() > SAME for other in kept):
            kept.append(point)
    return len(kept)
