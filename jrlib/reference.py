"""What the data themselves can say: the exact likelihood, its Fisher information and its profiles.

One source drives all electrodes and the sensor noise is Gaussian, so the matched filter's output
holds all that the sensors know, and its likelihood is a normal density with a known covariance.
Nothing here is trained.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import least_squares

from jrlib import eeg, sensitivity
from jrlib.data import decimation
from jrlib.parameters import (
    IDENTIFIABLE_NAMES,
    RANGES,
    Convention,
    Prior,
    check_theta,
    identifiable,
)
from jrlib.protocol import Protocol, simulate_erp

SINGULAR = 1e-10  # eigenvalues below this part of the largest count as zero
# Gauss-Legendre nodes; the conditional density of C is smooth between its ends.
NODES = 64


@dataclass(frozen=True)
class Likelihood:
    """The exact likelihood of the matched filter's output, in mV.

    convention, protocol : of the model
    filtering : (n_times, protocol.n_times), what is applied to a response at the protocol's rate:
        `data.decimation`, or the identity
    covariance : (n_times, n_times) of the output's noise, mV^2

    The raw recording's noise is white. Averaging, baseline correction and decimation give its
    average a covariance that can be singular: at the protocol's own rate the mean over the baseline
    is zero without error. Along such directions response and data agree whatever the parameters
    are, so the density is taken on the range of the covariance, the span of its eigenvectors above
    `SINGULAR` times its largest eigenvalue; `scipy.stats.multivariate_normal` with
    allow_singular=True does the same.
    Raises ValueError for shapes that do not fit, and where there is no noise and so no density.
    """

    convention: Convention
    protocol: Protocol
    filtering: np.ndarray
    covariance: np.ndarray

    def __post_init__(self):
        n_times = len(self.covariance)
        expected = (n_times, self.protocol.n_times)
        if np.shape(self.filtering) != expected or np.shape(self.covariance) != (n_times, n_times):
            raise ValueError(
                f"filtering, covariance: got shapes {np.shape(self.filtering)} and "
                f"{np.shape(self.covariance)}, expected (n_times, {self.protocol.n_times}) and "
                f"(n_times, n_times)"
            )
        values, vectors = np.linalg.eigh(self.covariance)
        if not values[-1] > 0:
            raise ValueError("covariance: is zero, and without noise there is no density")
        kept = values > SINGULAR * values[-1]
        object.__setattr__(self, "_whitener", vectors[:, kept] / np.sqrt(values[kept]))
        constant = -0.5 * np.sum(np.log(2.0 * np.pi * values[kept]))
        object.__setattr__(self, "_log_constant", float(constant))

    @classmethod
    def of(cls, dataset, noise_factor):
        """The likelihood under which a `Dataset` is observed at a noise factor above 0."""
        if not noise_factor > 0:
            raise ValueError(f"noise_factor: got {noise_factor}, expected a number above 0")
        made = dataset.manifest
        protocol = Protocol(**made["protocol"])
        noise = dataset.source_noise * eeg.noise_sd(noise_factor) / eeg.SENSOR_NOISE
        return cls(
            Convention(**made["convention"]),
            protocol,
            decimation(protocol, made["sampling_rate"]),
            noise**2 * dataset.covariance,
        )

    @property
    def rank(self):
        """Number of directions in which the noise is not zero."""
        return self._whitener.shape[1]

    def respond(self, theta):
        """The noise-free output (n, n_times), mV, for theta (n, 9)."""
        return simulate_erp(
            check_theta(theta), self.protocol, self.convention, reduce=self.filtering
        )

    def observe(self, theta, rng):
        """The output (n, n_times), mV, for theta (n, 9) with noise by the numpy Generator `rng`."""
        silence = np.zeros(len(self.covariance))
        return self.respond(theta) + rng.multivariate_normal(silence, self.covariance, len(theta))

    def whiten(self, outputs):
        """Coordinates (..., rank) of outputs (..., n_times) in which the noise is N(0, I)."""
        outputs = np.asarray(outputs, dtype=float)
        if outputs.shape[-1] != len(self.covariance):
            raise ValueError(
                f"observed: got {outputs.shape[-1]} samples, expected {len(self.covariance)}"
            )
        return outputs @ self._whitener

    def log_likelihood(self, theta, observed):
        """Log density (n,) of an output under theta (n, 9).

        observed : (n_times,) for all rows, or (n, n_times), one for each
        """
        residual = self.whiten(np.asarray(observed, dtype=float) - self.respond(theta))
        return self._log_constant - 0.5 * np.sum(residual**2, axis=-1)

    def derivatives(self, theta):
        """Derivatives of the whitened output by the logarithm of each parameter, (rank, 9).

        theta : (9,). Those by a_1..a_4 are also those by the products C a_k at fixed C.
        """
        (slopes,) = np.moveaxis(
            sensitivity.gradients([1.0], theta, self.convention, self.protocol), 1, 0
        )  # (9, n_times at the protocol's rate)
        return self.whiten(slopes @ self.filtering.T).T

    def fisher_information(self, theta):
        """Fisher information of the logarithms of the nine parameters at theta (9,): (9, 9).

        The first eight rows and columns are the information on the logarithms of
        `IDENTIFIABLE_NAMES`; with the ninth, C, the matrix has a null direction. The square roots
        of the inverse's diagonal are relative standard errors. Derivatives are those of
        `sensitivity.gradients`.
        """
        derivatives = self.derivatives(theta)
        return derivatives.T @ derivatives


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


def conditional_means(products, prior=None):
    """Prior means of a_1..a_4 and C given the products C a_1..C a_4: (n, 5) from (n, 4).

    What an ideal regression with endless data makes of the five parameters when it knows the
    products exactly, and of all functions of the products the one that correlates best with them.

    Given products p, C has the density prior(C) prod_k prior_k(p_k / C) / C on the interval where
    all five keep their ranges. The means are integrals over it by Gauss-Legendre quadrature.
    prior : a `Prior`, independent, with positive ranges and nothing outside them
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
    couplings, probabilities, _ = _couplings(products, prior)
    factors = products / couplings[..., np.newaxis]  # (NODES, n, 4)
    return np.einsum("mn,mnk->nk", probabilities, np.dstack([factors, couplings]))


def log_prior_of_products(products, prior=None):
    """Log prior density (n,) of the logarithms of C a_1..C a_4, from (n, 4).

    The integral over C of the density in `conditional_means`; -inf for products that cannot be.
    """
    prior = Prior() if prior is None else prior
    start, stop = _interval(products, prior)
    _, _, log_density = _couplings(products, prior)
    return np.where(start < stop, log_density, -np.inf)


def possible(products, prior=None):
    """Whether the prior's ranges allow products C a_1..C a_4 (n, 4): (n,) booleans."""
    start, stop = _interval(products, Prior() if prior is None else prior)
    return start < stop


def draw_coupling(products, rng, prior=None):
    """Draw C (n,) from its density given C a_1..C a_4 (n, 4), with the numpy Generator `rng`."""
    couplings, probabilities, _ = _couplings(products, Prior() if prior is None else prior)
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


def _couplings(products, prior):
    """Gauss-Legendre nodes of C given products (n, 4), (NODES, n), and their probabilities.

    Also the log density (n,) of the logarithms of the products, the integral over C.
    """
    start, stop = _interval(products, prior)
    low, high = prior.low[4:], prior.high[4:]
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    couplings = start + (stop - start) * (nodes[:, np.newaxis] + 1.0) / 2.0  # (NODES, n)
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
