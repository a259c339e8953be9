"""How well could anyone do? Reference posteriors of many observations, and what they allow.

The likelihood is exact (`reference.Likelihood`), so the posterior can be drawn from without any
training, by randomize-then-optimize (`rto`). Its mean is the estimate of least squared error: no
method whatsoever correlates better with the truth, on average over the prior.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from jrlib import rto
from jrlib.comparison import TEST, observations, test_set
from jrlib.parameters import Prior, quantities
from jrlib.reference import (
    Likelihood,
    conditional_means,
    draw_coupling,
    log_prior_of_products,
)
from jrlib.results import Result

N_BANK = 2000  # simulations of the prior from which descents start
N_STARTS = 12
HEAT = (0.1, 0.01, 1e-3)  # parts of the response to which the data are first to be met
SAME = 0.05  # distance between two ends of descents, in prior standard deviations
DEEP = 20.0  # of the deviance above the lowest, where another end is no mode that matters
# What a posterior must have to be accepted.
ENOUGH, LARGEST = 100.0, 0.05
MORE = 6  # times `n_draws`, at most
N_RANKED = 99  # equal draws of each posterior that are kept, and among which the truth is ranked
N_TEST = 2000  # size of the test set whose first observations are used


@dataclass(frozen=True)
class ReferencePosterior:
    """The posterior given one observation, by weighted independent draws.

    theta : (n, 9) draws; weights : (n,), adding up to 1
    mean, std : (13,) of `QUANTITY_NAMES`
    deviance : of the most probable point, its prior's part included: about the number of samples
    n_modes : distinct ends of the descents that are about as probable as the best
    n_simulations : what it took
    ess, rhat : see `rto.Draws`
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
            self.rhat <= rto.R_HAT
            and self.ess >= ENOUGH
            and self.weights.max() <= LARGEST
            and self.n_modes == 1
        )

    def sample(self, n, rng):
        """n equal draws (n, 9), with the numpy Generator `rng`."""
        return self.theta[rng.choice(len(self.theta), n, p=self.weights)]


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
        self._responses = self._respond(self._bank)
        self.n_simulations = 0

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

    def posterior(self, observed, n, rng, *, most=None):
        """The `ReferencePosterior` given one output of the matched filter, (n_times,) mV.

        n, most : draws, and up to how many where R-hat asks for more; rng : numpy Generator.
        Descents start from those of a bank of prior draws whose
        responses are nearest to the data, and meet the data roughly before they meet them exactly.
        """
        target = self.likelihood.whiten(observed)
        self.n_simulations = 0
        distance = np.sum((self._responses - target) ** 2, axis=1)
        ends = self._bank[np.argsort(distance)[:N_STARTS]]
        size = np.sqrt(np.mean(target**2))
        for part in HEAT:
            if part * size > 1.0:
                roughly = self._residual(target, 1.0 / (part * size))
                ends = rto.minimize(roughly, ends, iterations=15).points
        residual = self._residual(target)
        mode = rto.minimize(residual, ends)
        options = {"most": most, "correction": self._correction}
        draws = rto.sample(residual, mode, n, rng, **options)
        return self._summary(draws, mode, rng)

    def _respond(self, points):
        """Whitened responses (n, rank) at points (n, 8)."""
        return self.likelihood.whiten(self.likelihood.respond(self.theta(points)))

    def _residual(self, target, scale=1.0):
        def residual(points):
            self.n_simulations += len(points)
            misfit = scale * (self._respond(points) - target)
            return np.hstack([points, np.nan_to_num(misfit, nan=1e9)])

        return residual

    def _correction(self, points):
        """Log prior of the products over the normal density that the residuals take for it."""
        log_prior = log_prior_of_products(self.products(points), self.prior)
        return log_prior + 0.5 * np.sum(points[:, 4:] ** 2, axis=1)

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


def _count(points):
    """How many of the points (n, 8) are no nearer than `SAME` to one before."""
    kept = []
    for point in points:
        if all(np.abs(point - other).max() > SAME for other in kept):
            kept.append(point)
    return len(kept)


def cell(convention, noise_factor, first, n, n_draws, seed):
    """Reference posteriors of test observations first..first + n - 1, as `comparison` has them.

    convention : name of a `Convention`; noise_factor : above 0
    n_draws : of each posterior; seed : with the observation's number, of its random numbers

    Returns a `Result`: the table "observations", a row each: number, accepted, ess, rhat, largest
    (weight), n_modes, deviance, n_simulations; the arrays truth, mean, std (n, 13) of
    `QUANTITY_NAMES`, ranks (n, 13), how many of `N_RANKED` equal draws lie below the truth, and
    these draws (n, `N_RANKED`, 9).
    """
    test = test_set(convention, N_TEST, "standard")
    observed = observations(test, noise_factor, seed=TEST)
    reference = Reference(Likelihood.of(test, noise_factor))
    rows, arrays = [], {name: [] for name in ("truth", "mean", "std", "ranks", "draws")}
    for number in range(first, first + n):
        rng = np.random.default_rng([seed, number])
        found = reference.posterior(observed[number], n_draws, rng, most=MORE * n_draws)
        truth = quantities(test.theta[number : number + 1])[0]
        draws = found.sample(N_RANKED, rng)
        rows.append(
            {
                "number": number,
                "accepted": found.accepted,
                "ess": round(found.ess, 1),
                "rhat": round(found.rhat, 5),
                "largest": round(float(found.weights.max()), 5),
                "n_modes": found.n_modes,
                "deviance": round(found.deviance, 3),
                "n_simulations": found.n_simulations,
            }
        )
        arrays["truth"].append(truth)
        arrays["mean"].append(found.mean)
        arrays["std"].append(found.std)
        arrays["ranks"].append((quantities(draws) < truth).sum(axis=0))
        arrays["draws"].append(draws)
    stacked = {name: np.array(values, dtype=np.float32) for name, values in arrays.items()}
    return Result({"observations": pd.DataFrame(rows)}, stacked)
