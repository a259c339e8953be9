"""The exact posterior given one evoked response, by weighted independent samples.

The likelihood is exact (`likelihood.Likelihood`), so the posterior can be sampled without any
training, by randomize-then-optimize. Its mean is the estimate of least squared error: no method
whatsoever correlates better with the truth, on average over the prior.
"""

from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.stats import chi2

from jrlib.inference import randomize_then_optimize
from jrlib.inference.weighted_samples import WeightedSamples
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior, conditional_means, draw_coupling, log_prior_of_products
from jrlib.simulation.gradients import central_differences


@dataclass(frozen=True)
class SamplerSettings:
    """Where an `ExactSampler` looks for a posterior, and when it accepts one.

    n_moment_samples : samples of the prior whose moments give the coordinates
    n_bank : simulations of the prior from which initial guesses are taken
    bank_seed : of the random numbers of both
    n_guesses, n_attempts : initial guesses side by side, and how often so many are tried at most
    rough_scales : misfits, as fractions of the response's size, to which the data are to be met
        before they are met exactly; n_rough_steps : of the descents to these
    missed_probability : chance of so large a deviance under the model; beyond it the mode was
        missed
    farthest : in prior standard deviations, that a descent may look: products overflow beyond
    mode_depth : of |H|^2 above the lowest, where another end is no mode that matters
    same_mode_distance : largest distance in any coordinate, in prior standard deviations, between
        two ends that count as one mode
    max_simulations : beyond which a posterior is given up
    min_effective, largest_weight : the effective sample size that an accepted posterior has at
        least, and the largest weight that any of its samples has
    descents : settings of `randomize_then_optimize`; its `largest_rhat` is asked of an accepted
        posterior too
    """

    n_moment_samples: int = 20_000
    n_bank: int = 2000
    bank_seed: int = 0
    n_guesses: int = 12
    n_attempts: int = 4
    rough_scales: tuple[float, ...] = (0.1, 0.01, 1e-3)
    n_rough_steps: int = 15
    missed_probability: float = 1e-6
    farthest: float = 40.0
    mode_depth: float = 20.0
    same_mode_distance: float = 0.05
    max_simulations: int = 1_000_000
    min_effective: float = 100.0
    largest_weight: float = 0.05
    descents: randomize_then_optimize.Settings = field(
        default_factory=randomize_then_optimize.Settings
    )


@dataclass(frozen=True, eq=False, kw_only=True)
class ExactPosterior(WeightedSamples):
    """The posterior given one observation, by weighted independent samples of theta.

    samples : (n, 9), none where no mode was found or the posterior was given up
    mean, std : (13,) of `QUANTITY_NAMES`
    deviance : |H|^2 at the most probable point, the prior's part included: about the number of
        samples in time where the model explains the data
    n_modes : number of distinct ends of the descents that are about as probable as the best
    n_simulations : that it took
    rhat : see `randomize_then_optimize.SolvedSamples`
    accepted : whether there is one mode, and R-hat, the effective sample size and the largest
        weight are good enough
    """

    deviance: float
    n_modes: int
    n_simulations: int
    rhat: float
    accepted: bool


class _GivenUpError(Exception):
    """A posterior took more simulations than it may."""


class ExactSampler:
    """Samples exact posteriors under one likelihood.

    likelihood : a `Likelihood`
    prior : a `Prior` cut at positive ranges
    settings : `SamplerSettings`

    The coordinates (8,) are those in which the prior is about N(0, I): `Prior.to_standard` of A_e,
    A_i, b_e and b_i, and the logarithms of C a_1..C a_4 through the Cholesky factor of their prior
    covariance. What the prior of the products really is corrects the weights. C itself, of which
    the data say nothing once the products are given, is drawn from its conditional density.
    """

    def __init__(self, likelihood, prior=None, *, settings=None):
        self.likelihood, self.prior = likelihood, Prior() if prior is None else prior
        self.settings = settings = SamplerSettings() if settings is None else settings
        rng = np.random.default_rng(settings.bank_seed)
        logs = np.log(quantities(self.prior.sample(settings.n_moment_samples, rng))[:, 9:])
        self._centre, self._root = logs.mean(axis=0), np.linalg.cholesky(np.cov(logs.T))
        self._bank = rng.standard_normal((settings.n_bank, 8))
        self._outputs = likelihood.respond(self.theta(self._bank))
        # |residuals|^2 at the truth has a chi-square distribution; beyond this the mode is missed.
        self._explained = chi2.isf(settings.missed_probability, likelihood.rank + 8)
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

    def posterior(self, observed, n, rng, *, most=None, initial=None):
        """The `ExactPosterior` given one output of the matched filter, (n_times,) mV.

        n, most : samples, and up to how many where R-hat asks for more; rng : numpy Generator
        initial : initial guesses (m, 8) of descents, the first `n_guesses` of them at once; by
            default those of a bank of prior samples whose responses are nearest to the data

        Descents meet the data roughly before they meet them exactly. Where no mode is found, or the
        samples would take more than `max_simulations`, there are none.
        """
        self.n_simulations = 0
        if initial is None:
            whiten, tried = self.likelihood.whiten, self.settings
            distances = np.sum((whiten(self._outputs) - whiten(observed)) ** 2, axis=1)
            initial = self._bank[np.argsort(distances)[: tried.n_attempts * tried.n_guesses]]
        mode = self.fit(observed, initial)
        return self._from_mode(observed, mode, n, rng=rng, most=most)

    def posterior_near(self, observed, n, rng, *, initial):
        """The same where initial guesses (m, 8) are known to be near the mode, in less time.

        There is one descent from each, and there are no more samples than n, whatever their R-hat.
        """
        self.n_simulations = 0
        residual = self._residual(self.likelihood.whiten(observed))
        descents = self.settings.descents
        mode = randomize_then_optimize.minimize(residual, initial, settings=descents)
        return self._from_mode(observed, mode, n, rng=rng)

    def fit(self, observed, initial):
        """The best fits of one observation (n_times,), mV, from initial guesses (m, 8).

        The first `n_guesses` of them are tried at once; the others are for when none of these fits.
        Returns the `randomize_then_optimize.Minimum`.
        """
        target, settings = self.likelihood.whiten(observed), self.settings
        size = np.sqrt(np.mean(target**2))
        best = None
        for first in range(0, len(initial), settings.n_guesses):
            ends = initial[first : first + settings.n_guesses]
            for scale in settings.rough_scales:
                if scale * size > 1.0:
                    ends = randomize_then_optimize.minimize(
                        self._residual(target, 1.0 / (scale * size)),
                        ends,
                        max_steps=settings.n_rough_steps,
                        settings=settings.descents,
                    ).points
            mode = randomize_then_optimize.minimize(
                self._residual(target), ends, settings=settings.descents
            )
            if best is None or mode.costs.min() < best.costs.min():
                best = mode
            if best.costs.min() < self._explained:
                break
        return best

    def log_density(self, points, observed):
        """Log posterior density (n,) at points (n, 8) given an output of the matched filter.

        Up to a constant; -inf where the products cannot be, NaN where the model diverges.
        """
        misfit = self._respond(points) - self.likelihood.whiten(observed)
        normal = np.sum(points**2, axis=1) + np.sum(misfit**2, axis=1)
        return self._correction(points) - 0.5 * normal

    def spread(self, posterior):
        """Standard deviations (8,) of an `ExactPosterior` in these coordinates, or NaN."""
        if not len(posterior.samples):
            return np.full(8, np.nan)
        return posterior.spread(self.points(posterior.samples))

    def bound(self, theta):
        """Standard deviations (8,) of the linear model that is tangent at theta (1, 9)."""
        step = self.settings.descents.difference_step
        _, slopes = central_differences(self._respond, self.points(theta), step=step)
        return np.sqrt(np.diag(np.linalg.inv(np.eye(8) + slopes[0].T @ slopes[0])))

    def _respond(self, points):
        """Whitened responses (n, rank) at points (n, 8)."""
        return self.likelihood.whiten(self.likelihood.respond(self.theta(points)))

    def _residual(self, target, scale=1.0, limit=np.inf):
        farthest = self.settings.farthest

        def residual(points):
            self.n_simulations += len(points)
            if self.n_simulations > limit:
                raise _GivenUpError
            within = np.clip(points, -farthest, farthest)
            misfit = scale * (self._respond(within) - target)
            misfit[(within != points).any(axis=1)] = np.nan
            return np.hstack([points, np.nan_to_num(misfit, nan=1e9)])

        return residual

    def _correction(self, points):
        """Log prior of the products over the normal density that the residuals take for it."""
        log_prior = log_prior_of_products(self.products(points), self.prior)
        return log_prior + 0.5 * np.sum(points[:, 4:] ** 2, axis=1)

    def _from_mode(self, observed, mode, n, *, rng, most=None):
        """The `ExactPosterior` from the `Minimum` in which the descents ended."""
        if mode.costs.min() > self._explained:
            return self._failure(mode)
        target = self.likelihood.whiten(observed)
        try:
            found = randomize_then_optimize.sample(
                self._residual(target, limit=self.settings.max_simulations),
                mode,
                n,
                rng=rng,
                most=most,
                correction=self._correction,
                settings=self.settings.descents,
            )
        except _GivenUpError:
            return self._failure(mode)
        if not found.weights.any():
            return self._failure(mode)
        kept = found.weights > 0
        return self._summary(
            found.samples[kept], found.weights[kept], mode, rng=rng, rhat=found.rhat
        )

    def _summary(self, points, weights, mode, *, rng, rhat):
        """The `ExactPosterior` of points (n, 8) and their weights (n,), all above 0."""
        products = self.products(points)
        samples = WeightedSamples(
            self.theta(points, draw_coupling(products, rng, self.prior)), weights
        )
        values = quantities(samples.samples)
        mean = samples.expectation(values)
        mean[4:9] = samples.expectation(conditional_means(products, self.prior))
        n_modes, needed = self._n_modes(mode), self.settings
        return ExactPosterior(
            samples=samples.samples,
            weights=weights,
            mean=mean,
            std=samples.spread(values, mean),
            deviance=float(mode.costs.min()),
            n_modes=n_modes,
            n_simulations=self.n_simulations,
            rhat=rhat,
            accepted=bool(
                n_modes == 1
                and rhat <= needed.descents.largest_rhat
                and samples.effective_sample_size >= needed.min_effective
                and weights.max() <= needed.largest_weight
            ),
        )

    def _failure(self, mode):
        """What stands for a posterior that could not be sampled: no samples, NaN."""
        nothing = np.full(len(QUANTITY_NAMES), np.nan)
        return ExactPosterior(
            samples=np.empty((0, 9)),
            weights=np.empty(0),
            mean=nothing,
            std=nothing,
            deviance=float(mode.costs.min()),
            n_modes=0,
            n_simulations=self.n_simulations,
            rhat=np.inf,
            accepted=False,
        )

    def _n_modes(self, mode):
        """How many distinct ends of descents are about as probable as the best one."""
        near = mode.found & (mode.costs < mode.costs.min() + self.settings.mode_depth)
        modes = [mode.points[mode.best]]
        for point in mode.points[near]:
            distances = [np.abs(point - other).max() for other in modes]
            if min(distances) > self.settings.same_mode_distance:
                modes.append(point)
        return len(modes)
