"""Randomize-then-optimize: independent weighted draws of a posterior with Gaussian noise.

A density proportional to exp(-|H(y)|^2 / 2), H being the residuals of data and of a Gaussian prior
in units of their noise, is what least squares minimises. Perturb the residuals at random, minimise
again, and the minimum is a draw from a density that is known and close to the one wanted
(Bardsley, Solonen, Haario & Laine, SIAM J. Sci. Comput. 36, 2014): with J the derivative of H and
the columns of Q an orthonormal basis of the range of J at the best point, the solutions y of

    Q^T H(y) = xi,  xi ~ N(0, I),  have the density  |det Q^T J(y)| exp(-|Q^T H(y)|^2 / 2) / const

where y is a one-to-one function of xi. Each draw weighs exp(-|H|^2 / 2) over it, which mends
what the perturbation got wrong; where H is linear, all weigh the same. The draws follow a curved
ridge as thin as one likes, since each is the solution of an equation and not a step of a walk.

Where one basis does not do, because the ridge turns too far, several do: Q from points all along
it, each with its share of the draws, which then weigh by the density of the whole mixture (Owen &
Zhou, J. Am. Stat. Assoc. 95, 2000). All those densities come from the same H and J.
"""

from dataclasses import dataclass, replace

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

STEP = 1e-3  # of the central differences
LONGEST = 2.0  # steps of a descent, in units of the coordinates
BENT = 1.5  # largest acceleration over velocity at which a step is taken
SOLVED = 1e-4  # |Q^T H - xi|^2 below which an equation counts as solved
GAIN = 1e-4  # decrease of |H|^2 still to be had, below which a minimum counts as found
STALE = 0.1  # a step that leaves more than this part of |H|^2 asks for new derivatives
NEWTON = 1e-12  # damping that leaves even the sloppiest direction its whole step
DEEP = 10.0  # below the highest log density, where a draw no longer gives a basis
R_HAT, N_CHAINS = 1.01, 4


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


@dataclass(frozen=True)
class Draws:
    """Independent draws with their weights, and how far to trust them.

    points (n, d); weights (n,), adding up to 1: 0 where the equation was not solved
    solved : part of the equations that were
    rhat : largest rank-normalised R-hat (Vehtari et al., Bayesian Anal. 16, 2021) over coordinates
        of `N_CHAINS` chains by which independence Metropolis turns the draws into equal ones
    """

    points: np.ndarray
    weights: np.ndarray
    solved: float
    rhat: float

    @property
    def ess(self):
        """Effective number of draws, 1 / sum of the squared weights."""
        total = np.sum(self.weights**2)
        return float(1.0 / total) if total > 0 else 0.0


def differentiate(residual, points):
    """Values (N, m) and, by central differences, derivatives (N, m, d) at points (N, d)."""
    n, d = points.shape
    shifts = STEP * np.vstack([np.zeros(d), np.eye(d), -np.eye(d)])
    values = residual((points[:, np.newaxis] + shifts).reshape(-1, d)).reshape(n, 2 * d + 1, -1)
    return values[:, 0], np.moveaxis(values[:, 1 : d + 1] - values[:, d + 1 :], 1, 2) / (2.0 * STEP)


def minimize(residual, start, *, basis=None, target=None, jacobians=None, iterations=200):
    """Least squares from many starts at once, made for narrow curved valleys.

    residual : function of points (N, d) -> (N, m)
    start : (N, d)
    basis, target : (m, d) and (N, d): solve basis^T residual = target instead
    jacobians : (m, d) or (N, m, d), of the start, where they are known nearly enough

    Levenberg-Marquardt with geodesic acceleration (Transtrum & Sethna, arXiv:1201.5885). Where an
    equation is solved, the derivatives are kept up to date by Broyden's rule instead of by central
    differences, for as long as steps do what they promise.
    """
    y = np.array(start, dtype=float)
    n = len(y)
    damping = np.full(n, 1e-3 if jacobians is None else NEWTON)
    active, found, failed = np.ones(n, bool), np.zeros(n, bool), np.zeros(n, bool)

    def reduced(values, rows):
        return values if basis is None else values @ basis - target[rows]

    if jacobians is None:
        values, slopes = differentiate(residual, y)
        fresh = np.ones(n, bool)
    else:
        values, fresh = residual(y), np.zeros(n, bool)
        slopes = np.array(np.broadcast_to(jacobians, (n, *np.shape(jacobians)[-2:])))
    r = reduced(values, slice(None))
    cost = np.sum(r**2, axis=1)
    for _ in range(iterations):
        i = np.flatnonzero(active)
        if not len(i):
            break
        old = i[failed[i] & ~fresh[i]]
        if len(old):  # the derivatives are the first suspect when a step fails
            values[old], slopes[old] = differentiate(residual, y[old])
            fresh[old] = True
        own = slopes[i] if basis is None else np.einsum("nmk,mq->nqk", slopes[i], basis)
        scale = np.sqrt(np.sum(own**2, axis=1)) + 1e-8
        left, singular, right = np.linalg.svd(own / scale[:, np.newaxis], full_matrices=False)
        filtered = singular / (singular**2 + damping[i, np.newaxis])

        def solve(b, left=left, right=right, filtered=filtered, scale=scale):
            projected = np.einsum("nmk,nm->nk", left, b)
            return np.einsum("nkl,nk->nl", right, projected * filtered) / scale

        promised = np.sum(np.einsum("nmk,nm->nk", left, r[i]) ** 2, axis=1)
        done = (promised < GAIN) & fresh[i] if basis is None else cost[i] < SOLVED
        velocity = -solve(r[i])
        length = np.linalg.norm(velocity, axis=1)
        velocity *= np.minimum(1.0, LONGEST / np.maximum(length, 1e-300))[:, np.newaxis]
        h = 0.1
        along = reduced(residual(y[i] + h * velocity), i)
        bend = 2.0 / h * ((along - r[i]) / h - np.einsum("nmk,nk->nm", own, velocity))
        acceleration = -solve(bend)
        ratio = np.linalg.norm(acceleration, axis=1) / np.maximum(length, 1e-300)
        straight = ratio < BENT
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
        stale = (cost_there[taken] > STALE * cost[k]) | (basis is None)
        y[k], values[k], r[k] = y[i][taken] + moved, there[taken], r_there[taken]
        cost[k], fresh[k] = cost_there[taken], False
        again = k[stale]
        if len(again):
            values[again], slopes[again] = differentiate(residual, y[again])
            fresh[again] = True
        failed[i] = ~taken
        tighter = np.where(fresh[i], np.maximum(damping[i] * 10.0, 1e4 * NEWTON), damping[i])
        damping[i] = np.where(taken, np.maximum(damping[i] / 10.0, NEWTON), tighter)
        found[i[done]] = True
        active[i[done | (damping[i] > 1e6)]] = False
    values, slopes = differentiate(residual, y)
    return Minimum(y, values, slopes, found)


def sample(residual, mode, n, rng, *, most=None, correction=None, n_bases=8, enough=0.3):
    """Draw from the density proportional to exp(-|residual(y)|^2 / 2 + correction(y)).

    residual : function of points (N, d) -> (N, m), the prior's residuals among them
    mode : a `Minimum` of it; its best point gives the first basis
    n : number of draws; n more are added until R-hat is at most `R_HAT`, or there are `most`
    rng : numpy Generator
    correction : function of points (N, d) -> (N,), what else the log density has, -inf included
    n_bases, enough : when the draws are worth less than `enough` n, as many again are drawn from
        bases at `n_bases` of them that lie far apart

    Returns `Draws`.
    """
    correction = correction or (lambda points: np.zeros(len(points)))
    first = mode.points[mode.best], mode.jacobians[mode.best]
    parts = [_solve(residual, *first, n, rng)]
    target, log_weights = _weigh(parts, correction)
    if _normalised(log_weights)[1] < enough * n:
        for row in _far_apart(parts[0].points, target, n_bases):
            near = parts[0].points[row], parts[0].jacobians[row]
            parts.append(_solve(residual, *near, n // n_bases, rng))
    while True:
        draws = _mix(parts, correction, rng)
        n_drawn = len(draws.points)
        if draws.rhat <= R_HAT or n_drawn + n > (most or n_drawn):
            return draws
        parts.append(_solve(residual, *first, n, rng))


def _mix(parts, correction, rng):
    """The `Draws` of all parts, in random order, so that the chains mix them."""
    points = np.concatenate([part.points for part in parts])
    solved = float(np.mean(np.concatenate([part.found for part in parts])))
    order = rng.permutation(len(points))
    points, log_weights = points[order], _weigh(parts, correction)[1][order]
    weights, _ = _normalised(log_weights)
    if np.sum(weights > 0) < 2 * N_CHAINS:
        return Draws(points, weights, solved, np.inf)
    chains = np.moveaxis(_chains(points, log_weights, rng), 2, 0)
    rhat = max(array_stats.rhat(chain, chain_axis=0, draw_axis=1) for chain in chains)
    return Draws(points, weights, solved, float(rhat))


@dataclass(frozen=True)
class _Part(Minimum):
    """Draws made with one basis (m, d), on the side of its folds where det Q^T J has this sign.

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


def _solve(residual, start, jacobian, n, rng):
    """n draws with the basis of the range of a jacobian (m, d), from its point start (d,)."""
    basis, triangle = np.linalg.qr(jacobian)
    target = rng.standard_normal((n, len(start)))
    starts = np.tile(start, (n, 1))
    options = {"basis": basis, "target": target, "jacobians": jacobian, "iterations": 80}
    end = minimize(residual, starts, **options)
    part = _Part(**vars(end), basis=basis, sign=np.linalg.slogdet(triangle)[0])
    solved = np.sum((end.residuals @ basis - target) ** 2, axis=1) < SOLVED
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


def _normalised(log_weights):
    """Weights that add up to 1 (all 0 when none is finite), and their effective number."""
    top = np.max(log_weights)
    if not np.isfinite(top):
        return np.zeros(len(log_weights)), 0.0
    weights = np.exp(log_weights - top)
    weights /= weights.sum()
    return weights, 1.0 / np.sum(weights**2)


def _far_apart(points, target, n):
    """Rows of up to n probable points, each as far as possible from those before it."""
    rows = np.flatnonzero(target > np.max(target) - DEEP)
    if not len(rows):
        return []
    spread = points[rows] / (points[rows].std(axis=0) + 1e-12)
    chosen = [int(np.argmax(target[rows]))]
    distance = np.full(len(rows), np.inf)
    while len(chosen) < min(n, len(rows)):
        distance = np.minimum(distance, np.linalg.norm(spread - spread[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return rows[chosen]


def _chains(points, log_weights, rng):
    """Independence Metropolis over the draws, in `N_CHAINS` chains: (N_CHAINS, length, d)."""
    length = len(points) // N_CHAINS
    rows = np.arange(N_CHAINS * length).reshape(N_CHAINS, length)
    luck = np.log(rng.random((N_CHAINS, length)))
    for chain, chances in zip(rows, luck, strict=True):
        for j in range(1, length):
            old, new = log_weights[chain[j - 1]], log_weights[chain[j]]
            if new == -np.inf or new - old <= chances[j]:
                chain[j] = chain[j - 1]
    return points[rows]
