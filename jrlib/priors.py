"""Priors over the parameters, and what they imply for the products C a_k.

The model knows C and a_1..a_4 only through the products, so what a prior says of the products, and
of C once they are given, is a density of its own; both are integrals over C by quadrature.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr, ndtri
from scipy.stats import truncnorm

from jrlib.parameters import (
    PARAMETER_NAMES,
    PARAMETERS,
    RANGES,
    check_theta,
)


@dataclass(frozen=True)
class Prior:
    """Independent priors over the nine parameters.

    kind: "normal" is the study's Normal(middle of the range, range / 4), "uniform" the box of its
    inference notebook. truncated: cut the normal at the range (default); False draws from the
    whole normal as the public code does, and then a few values are negative. ranges: (9, 2).
    """

    kind: str = "normal"
    truncated: bool = True
    ranges: tuple = field(default=tuple(map(tuple, RANGES.tolist())))

    def __post_init__(self):
        if self.kind not in ("normal", "uniform"):
            raise ValueError(f"kind: got {self.kind!r}, expected 'normal' or 'uniform'")
        ranges = np.asarray(self.ranges, dtype=float)
        if ranges.shape != RANGES.shape:
            raise ValueError(f"ranges: got shape {ranges.shape}, expected {RANGES.shape}")
        for name, (low, high) in zip(PARAMETER_NAMES, ranges, strict=True):
            if not (np.isfinite([low, high]).all() and low < high):
                raise ValueError(f"ranges: {name} has ({low}, {high}), expected finite low < high")
        object.__setattr__(self, "ranges", tuple(map(tuple, ranges.tolist())))

    @property
    def low(self):
        return np.array(self.ranges)[:, 0]

    @property
    def high(self):
        return np.array(self.ranges)[:, 1]

    @property
    def _width(self):
        """Standard deviations of the untruncated normal and its half width in them, (9,) and 2."""
        return (self.high - self.low) / 4.0, 2.0

    @property
    def mean(self):
        """Prior mean (9,)."""
        return (self.low + self.high) / 2.0

    @property
    def std(self):
        """Prior standard deviation (9,), of the truncated normal where it is truncated."""
        if self.kind == "uniform":
            return (self.high - self.low) / np.sqrt(12.0)
        sd, cut = self._width
        return sd * (truncnorm.std(-cut, cut) if self.truncated else 1.0)

    @property
    def quantity_std(self):
        """Prior standard deviation of the nine parameters and of C a_1..C a_4, (13,)."""
        mean, variance = self.mean, self.std**2
        square = variance + mean**2  # of independent factors, the mean squares multiply
        products = square[4:8] * square[8] - (mean[4:8] * mean[8]) ** 2
        return np.sqrt(np.concatenate([variance, products]))

    def sample(self, n, rng):
        """Draw theta (n, 9) with the numpy Generator `rng`."""
        if n < 0:
            raise ValueError(f"n: got {n}, expected at least 0")
        return self.from_standard(rng.standard_normal((n, len(PARAMETERS))))

    def log_prob(self, theta):
        """Log density of theta (n, 9) -> (n,); -inf outside the support."""
        theta = check_theta(theta)
        inside = ((theta >= self.low) & (theta <= self.high)).all(axis=1)
        if self.kind == "uniform":
            return np.where(inside, -np.log(self.high - self.low).sum(), -np.inf)
        sd, cut = self._width
        density = -0.5 * ((theta - self.mean) / sd) ** 2 - np.log(sd * np.sqrt(2.0 * np.pi))
        if not self.truncated:
            return density.sum(axis=1)
        density = density - np.log(ndtr(cut) - ndtr(-cut))
        return np.where(inside, density.sum(axis=1), -np.inf)

    def to_standard(self, theta):
        """Coordinates z (n, 9) in which this prior is N(0, I): the probit of each parameter's cdf.

        Values on the edge of the range map to +-8.2 standard deviations rather than to infinity;
        values outside the support raise a ValueError.
        """
        theta = check_theta(theta)
        sd, cut = self._width
        if self.kind == "normal" and not self.truncated:
            return (theta - self.mean) / sd
        outside = np.argwhere((theta < self.low) | (theta > self.high))
        if len(outside):
            row, column = outside[0]
            raise ValueError(
                f"theta: {PARAMETER_NAMES[column]} = {theta[row, column]} in row {row} lies "
                f"outside the prior's range {self.ranges[column]}"
            )
        if self.kind == "uniform":
            cdf = (theta - self.low) / (self.high - self.low)
        else:
            cdf = truncnorm.cdf((theta - self.mean) / sd, -cut, cut)
        tiny = np.finfo(float).eps / 2.0
        return ndtri(np.clip(cdf, tiny, 1.0 - tiny))

    def from_standard(self, z):
        """The inverse of `to_standard`: z (n, 9) -> theta (n, 9)."""
        z = np.asarray(z, dtype=np.float64)
        sd, cut = self._width
        if self.kind == "normal" and not self.truncated:
            return self.mean + sd * z
        if self.kind == "uniform":
            return self.low + (self.high - self.low) * ndtr(z)
        # Invert in the lower tail, where the cdf keeps its relative precision, and mirror.
        below, above = ndtr(-cut), ndtr(cut)
        lower = ndtri(below + ndtr(-np.abs(z)) * (above - below))
        return np.clip(self.mean - np.sign(z) * sd * lower, self.low, self.high)


def sample_prior(n, rng, *, kind="normal", truncated=True):
    """Draw theta (n, 9) from the study's prior with the numpy Generator `rng`: see `Prior`."""
    return Prior(kind=kind, truncated=truncated).sample(n, rng)


# Of Gauss-Legendre quadrature over C, whose conditional density is smooth between its ends.
N_NODES = 64


def conditional_means(products, prior=None, *, n_nodes=N_NODES):
    """Prior means of a_1..a_4 and C given the products C a_1..C a_4: (n, 5) from (n, 4).

    What an ideal regression with endless data makes of the five parameters when it knows the
    products exactly, and of all functions of the products the one that correlates best with them.

    Given products p, C has the density prior(C) prod_k prior_k(p_k / C) / C on the interval where
    all five keep their ranges. The means are integrals over it by Gauss-Legendre quadrature.
    prior : a `Prior`, independent, with positive ranges and nothing outside them
    n_nodes : of the quadrature
    Raises ValueError for another prior, and for products that it cannot give, naming the row.
    """
    prior = Prior() if prior is None else prior
    start, stop = _interval(products, prior)
    bad = np.flatnonzero(~(start <= stop))
    if len(bad):
        raise ValueError(
            f"products: {np.asarray(products)[bad[0]]} in row {bad[0]} come from no parameters "
            f"within the prior's ranges"
        )
    couplings, probabilities, _ = _couplings(products, prior, n_nodes)
    factors = products / couplings[..., np.newaxis]  # (n_nodes, n, 4)
    return np.einsum("mn,mnk->nk", probabilities, np.dstack([factors, couplings]))


def log_prior_of_products(products, prior=None, *, n_nodes=N_NODES):
    """Log prior density (n,) of the logarithms of C a_1..C a_4, from (n, 4).

    The integral over C of the density in `conditional_means`; -inf for products that cannot be.
    """
    prior = Prior() if prior is None else prior
    start, stop = _interval(products, prior)
    _, _, log_density = _couplings(products, prior, n_nodes)
    return np.where(start < stop, log_density, -np.inf)


def possible(products, prior=None):
    """Whether the prior's ranges allow products C a_1..C a_4 (n, 4): (n,) booleans."""
    start, stop = _interval(products, Prior() if prior is None else prior)
    return start < stop


def draw_coupling(products, rng, prior=None, *, n_nodes=N_NODES):
    """Draw C (n,) from its density given C a_1..C a_4 (n, 4), with the numpy Generator `rng`."""
    prior = Prior() if prior is None else prior
    couplings, probabilities, _ = _couplings(products, prior, n_nodes)
    cumulated = np.cumsum(probabilities, axis=0) - 0.5 * probabilities
    luck = rng.random(couplings.shape[1])
    rows = zip(luck, cumulated.T, couplings.T, strict=True)
    return np.array([np.interp(u, below, nodes) for u, below, nodes in rows])


def _interval(products, prior):
    """Smallest and largest C (n,) that leave C and all a_k within the prior's ranges."""
    low, high = prior.low[4:], prior.high[4:]
    if (prior.kind == "normal" and not prior.truncated) or not (low > 0).all():
        raise ValueError("prior: expected one that is cut at positive ranges")
    products = np.asarray(products, dtype=float)
    if products.ndim != 2 or products.shape[1] != 4:
        raise ValueError(f"products: got shape {products.shape}, expected (n, 4)")
    start = np.maximum((products / high[:4]).max(axis=1), low[4])
    return start, np.minimum((products / low[:4]).min(axis=1), high[4])


def _couplings(products, prior, n_nodes):
    """Gauss-Legendre nodes of C given products (n, 4), (n_nodes, n), and their probabilities.

    Also the log density (n,) of the logarithms of the products, the integral over C.
    """
    start, stop = _interval(products, prior)
    low, high = prior.low[4:], prior.high[4:]
    nodes, weights = np.polynomial.legendre.leggauss(n_nodes)
    couplings = start + (stop - start) * (nodes[:, np.newaxis] + 1.0) / 2.0  # (n_nodes, n)
    theta = np.tile(prior.mean, (*couplings.shape, 1))
    # Rounding may carry a value at the interval's end out of its range.
    theta[..., 8] = np.clip(couplings, low[4], high[4])
    theta[..., 4:8] = np.clip(products / couplings[..., np.newaxis], low[:4], high[:4])
    density = prior.log_prob(theta.reshape(-1, 9)).reshape(couplings.shape)
    density = density - 4.0 * np.log(couplings)  # d a_k = d p_k / C, for each of the four
    top = density.max(axis=0)
    mass = np.exp(density - top) * weights[:, np.newaxis]
    total = mass.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        log_density = top + np.log(total * (stop - start) / 2.0) + np.log(products).sum(axis=1)
    return couplings, mass / total, log_density
