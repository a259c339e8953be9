"""Randomize-then-optimize: independent weighted samples of a posterior with Gaussian noise.

A density proportional to exp(-|H(y)|^2 / 2), H being the residuals of data and of a Gaussian prior
in units of their noise, is what least squares minimises. Perturb the residuals at random, minimise
again, and the minimum is a sample of a density that is known and close to the one wanted
(Bardsley, Solonen, Haario & Laine, SIAM J. Sci. Comput. 36, 2014): with J the derivative of H and
the columns of Q an orthonormal basis of the range of J at the best point, the solutions y of

    Q^T H(y) = xi,  xi ~ N(0, I),  have the density  |det Q^T J(y)| exp(-|Q^T H(y)|^2 / 2) / const

where y is a one-to-one function of xi. Each sample weighs exp(-|H|^2 / 2) over it, which mends
what the perturbation got wrong; where H is linear, all weigh the same. The samples follow a curved
ridge as thin as one likes, since each is the solution of an equation and not a step of a walk.

Where one basis does not do, because the ridge turns too far, several do: Q from points all along
it, each with its share of the samples, which then weigh by the density of the whole mixture (Owen &
Zhou, J. Am. Stat. Assoc. 95, 2000). All those densities come from the same H and J.
"""

from dataclasses import dataclass, replace

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from jrlib.inference.weighted_samples import (
    WeightedSamples,
    effective_sample_size,
    normalised,
)
from jrlib.simulation.gradients import central_differences


@dataclass(frozen=True)
class Settings:
    """How descents walk and when samples are good enough. Points are in prior standard deviations.

    difference_step : of the central differences
    longest_step : of a descent
    largest_bend : acceleration over velocity up to which a step is taken
    bend_step : fraction of the velocity after which the acceleration is measured
    solved_below : |Q^T H - xi|^2 below which an equation counts as solved
    found_below : decrease of |H|^2 still to be had, below which a minimum counts as found
    stale_above : a step that leaves more than this fraction of |H|^2 asks for new derivatives
    first_damping, largest_damping : of a descent without known derivatives at its start, and where
        a descent is given up
    newton_damping, retry_damping : what leaves even the sloppiest direction its whole step, and the
        least after a step that failed
    max_steps, max_solver_steps : at most, of a descent to a minimum and to the solution of a
        perturbed equation
    n_bases, few_effective : when the effective sample size is below `few_effective` n, as many
        samples again are drawn from bases at `n_bases` samples that lie far apart
    basis_depth : distance from the highest log density beyond which a sample gives no basis
    largest_rhat, n_chains : samples are added while R-hat of so many chains is above this
    """

    difference_step: float = 1e-3
    longest_step: float = 2.0
    largest_bend: float = 1.5
    bend_step: float = 0.1
    solved_below: float = 1e-4
    found_below: float = 1e-4
    stale_above: float = 0.1
    first_damping: float = 1e-3
    largest_damping: float = 1e6
    newton_damping: float = 1e-12
    retry_damping: float = 1e-8
    max_steps: int = 200
    max_solver_steps: int = 80
    n_bases: int = 8
    few_effective: float = 0.3
    basis_depth: float = 10.0
    largest_rhat: float = 1.01
    n_chains: int = 4


DEFAULTS = Settings()


@dataclass(frozen=True)
class Minimum:
    """Ends of N descents: points (N, d), residuals (N, m), jacobians (N, m, d), found (N,)."""

    points: np.ndarray
    residuals: np.ndarray
    jacobians: np.ndarray
    found: np.ndarray

    @property
    def costs(self):
        """|H|^2, (N,)."""
        return np.sum(self.residuals**2, axis=1)

    @property
    def best(self):
        """Number of the lowest."""
        return int(np.argmin(self.costs))


@dataclass(frozen=True, eq=False, kw_only=True)
class SolvedSamples(WeightedSamples):
    """Weighted solutions of perturbed equations, and how far to trust them.

    samples (n, d) : the solutions; their weight is 0 where the equation was not solved
    solved : fraction of the equations that were
    rhat : largest rank-normalised R-hat (Vehtari et al., Bayesian Anal. 16, 2021) over coordinates
        of the chains by which independence Metropolis turns the samples into equally weighted ones
    """

    solved: float
    rhat: float


def minimize(
    residual, initial, *, basis=None, target=None, jacobians=None, max_steps=None, settings=DEFAULTS
):
    """Least squares from many initial guesses at once, made for narrow curved valleys.

    residual : function of points (N, d) -> (N, m)
    initial : (N, d), the initial guesses
    basis, target : (m, d) and (N, d): solve basis^T residual = target instead
    jacobians : (m, d) or (N, m, d), of the guesses, where they are known nearly enough
    max_steps : at most; by default the settings' own

    Levenberg-Marquardt with geodesic acceleration (Transtrum & Sethna, arXiv:1201.5885). Where an
    equation is solved, the derivatives are kept up to date by Broyden's rule instead of by central
    differences, for as long as steps do what they promise.
    """
    y = np.array(initial, dtype=float)
    n = len(y)
    first, newton = settings.first_damping, settings.newton_damping
    damping = np.full(n, first if jacobians is None else newton)
    active, found, failed = np.ones(n, bool), np.zeros(n, bool), np.zeros(n, bool)

    def differences(points):
        return central_differences(residual, points, step=settings.difference_step)

    def reduced(values, rows):
        return values if basis is None else values @ basis - target[rows]

    if jacobians is None:
        values, slopes = differences(y)
        fresh = np.ones(n, bool)
    else:
        values, fresh = residual(y), np.zeros(n, bool)
        slopes = np.array(np.broadcast_to(jacobians, (n, *np.shape(jacobians)[-2:])))
    r = reduced(values, slice(None))
    cost = np.sum(r**2, axis=1)
    for _ in range(max_steps or settings.max_steps):
        i = np.flatnonzero(active)
        if not len(i):
            break
        old = i[failed[i] & ~fresh[i]]
        if len(old):  # the derivatives are the first suspect when a step fails
            values[old], slopes[old] = differences(y[old])
            fresh[old] = True
        own = slopes[i] if basis is None else np.einsum("nmk,mq->nqk", slopes[i], basis)
        scale = np.sqrt(np.sum(own**2, axis=1)) + 1e-8
        left, singular, right = np.linalg.svd(own / scale[:, np.newaxis], full_matrices=False)
        filtered = singular / (singular**2 + damping[i, np.newaxis])

        def solve(b, left=left, right=right, filtered=filtered, scale=scale):
            projected = np.einsum("nmk,nm->nk", left, b)
            return np.einsum("nkl,nk->nl", right, projected * filtered) / scale

        promised = np.sum(np.einsum("nmk,nm->nk", left, r[i]) ** 2, axis=1)
        done = (
            (promised < settings.found_below) & fresh[i]
            if basis is None
            else cost[i] < settings.solved_below
        )
        velocity = -solve(r[i])
        length = np.linalg.norm(velocity, axis=1)
        velocity *= np.minimum(1.0, settings.longest_step / np.maximum(length, 1e-300))[
            :, np.newaxis
        ]
        h = settings.bend_step
        along = reduced(residual(y[i] + h * velocity), i)
        bend = 2.0 / h * ((along - r[i]) / h - np.einsum("nmk,nk->nm", own, velocity))
        acceleration = -solve(bend)
        ratio = np.linalg.norm(acceleration, axis=1) / np.maximum(length, 1e-300)
        straight = ratio < settings.largest_bend
        step = velocity + 0.5 * np.where(straight[:, np.newaxis], acceleration, 0.0)
        there = residual(y[i] + step)
        r_there = reduced(there, i)
        cost_there = np.sum(r_there**2, axis=1)
        taken = straight & (cost_there < cost[i])
        k = i[taken]
        moved, changed = step[taken], there[taken] - values[k]
        error = changed - np.einsum("nmk,nk->nm", slopes[k], moved)
        share = moved / np.sum(moved**2, axis=1, keepdims=True)
        slopes[k] += error[:, :, np.newaxis] * share[:, np.newaxis]  # Broyden
        stale = (cost_there[taken] > settings.stale_above * cost[k]) | (basis is None)
        y[k], values[k], r[k] = y[i][taken] + moved, there[taken], r_there[taken]
        cost[k], fresh[k] = cost_there[taken], False
        again = k[stale]
        if len(again):
            values[again], slopes[again] = differences(y[again])
            fresh[again] = True
        failed[i] = ~taken
        tighter = np.where(
            fresh[i], np.maximum(damping[i] * 10.0, settings.retry_damping), damping[i]
        )
        damping[i] = np.where(taken, np.maximum(damping[i] / 10.0, newton), tighter)
        found[i[done]] = True
        active[i[done | (damping[i] > settings.largest_damping)]] = False
    values, slopes = differences(y)
    return Minimum(y, values, slopes, found)


def sample(residual, mode, n, *, rng, most=None, correction=None, settings=DEFAULTS):
    """Sample the density proportional to exp(-|residual(y)|^2 / 2 + correction(y)).

    residual : function of points (N, d) -> (N, m), the prior's residuals among them
    mode : a `Minimum` of it; its best point gives the first basis
    n : number of samples; n more are added until R-hat is small enough, or there are `most`
    rng : numpy Generator
    correction : function of points (N, d) -> (N,), what else the log density has, -inf included
    settings : `Settings`

    Returns `SolvedSamples`.
    """
    correction = correction or (lambda points: np.zeros(len(points)))

    def solve(start, jacobian, n):
        return _solve(residual, (start, jacobian), n, rng=rng, settings=settings)

    first = mode.points[mode.best], mode.jacobians[mode.best]
    parts = [solve(*first, n)]
    target, log_weights = _weigh(parts, correction)
    if effective_sample_size(normalised(log_weights)) < settings.few_effective * n:
        for row in _far_apart(parts[0].points, target, settings):
            near = parts[0].points[row], parts[0].jacobians[row]
            parts.append(solve(*near, n // settings.n_bases))
    while True:
        samples = _mix(parts, correction, rng=rng, n_chains=settings.n_chains)
        if samples.rhat <= settings.largest_rhat or samples.n_drawn + n > (most or 0):
            return samples
        parts.append(solve(*first, n))


def _mix(parts, correction, *, rng, n_chains):
    """The `SolvedSamples` of all parts, in random order, so that the chains mix them."""
    points = np.concatenate([part.points for part in parts])
    solved = float(np.mean(np.concatenate([part.found for part in parts])))
    order = rng.permutation(len(points))
    points, log_weights = points[order], _weigh(parts, correction)[1][order]
    weights, rhat = normalised(log_weights), np.inf
    if np.sum(weights > 0) >= 2 * n_chains:
        chains = np.moveaxis(_chains(points, log_weights, rng=rng, n_chains=n_chains), 2, 0)
        rhat = max(array_stats.rhat(chain, chain_axis=0, draw_axis=1) for chain in chains)
    return SolvedSamples(points, weights, solved=solved, rhat=float(rhat))


@dataclass(frozen=True)
class _Part(Minimum):
    """Solutions with one basis (m, d), on the side of its folds where det Q^T J has this sign.

    Where the ridge turns away from the basis, the equation has two solutions, one on either side,
    or none; on one side the solution is a one-to-one function of xi.
    """

    basis: np.ndarray
    sign: float

    def log_density(self, end):
        """Log density that this basis gives the points of a `Minimum`; a constant is left out."""
        signs, logdet = np.linalg.slogdet(np.einsum("nmk,mq->nqk", end.jacobians, self.basis))
        density = logdet - 0.5 * np.sum((end.residuals @ self.basis) ** 2, axis=1)
        return np.where(signs == self.sign, density, -np.inf)


def _solve(residual, at, n, *, rng, settings):
    """n solutions with the basis of the range of a jacobian, from its point.

    at : the point (d,) and its jacobian (m, d)
    """
    start, jacobian = at
    basis, triangle = np.linalg.qr(jacobian)
    target = rng.standard_normal((n, len(start)))
    end = minimize(
        residual,
        np.tile(start, (n, 1)),
        basis=basis,
        target=target,
        jacobians=jacobian,
        max_steps=settings.max_solver_steps,
        settings=settings,
    )
    part = _Part(**vars(end), basis=basis, sign=np.linalg.slogdet(triangle)[0])
    gap = np.sum((end.residuals @ basis - target) ** 2, axis=1)
    solved = gap < settings.solved_below
    return replace(part, found=solved & np.isfinite(part.log_density(end)))


def _weigh(parts, correction):
    """Log density wanted, and log weights by the mixture of all parts' bases; -inf if unsolved."""
    n = sum(len(part.points) for part in parts)
    targets, weights = [], []
    for part in parts:
        target = -0.5 * part.costs + correction(part.points)
        densities = [np.log(len(p.points) / n) + p.log_density(part) for p in parts]
        density = np.where(part.found, logsumexp(densities, axis=0), 0.0)
        targets.append(np.where(part.found, target, -np.inf))
        weights.append(targets[-1] - density)
    return np.concatenate(targets), np.concatenate(weights)


def _far_apart(points, target, settings):
    """Rows of up to `n_bases` probable points, each as far as possible from those before it."""
    rows = np.flatnonzero(target > np.max(target) - settings.basis_depth)
    if not len(rows):
        return []
    spread = points[rows] / (points[rows].std(axis=0) + 1e-12)
    chosen = [int(np.argmax(target[rows]))]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < min(settings.n_bases, len(rows)):
        distance = np.minimum(distance, np.linalg.norm(spread - spread[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return rows[chosen]


def _chains(points, log_weights, *, rng, n_chains):
    """Chains of independence Metropolis over the samples, (n_chains, length, d)."""
    length = len(points) // n_chains
    rows = np.arange(n_chains * length).reshape(n_chains, length)
    luck = np.log(rng.random((n_chains, length)))
    for chain, chances in zip(rows, luck, strict=True):
        for j in range(1, length):
            old, new = log_weights[chain[j - 1]], log_weights[chain[j]]
            if new == -np.inf or new - old <= chances[j]:
                chain[j] = chain[j - 1]
    return points[rows]
