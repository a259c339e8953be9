"""The parameters of the Jansen-Rit model: Table 1, the three conventions, and priors.

A parameter vector theta has nine entries, always in the order of `PARAMETER_NAMES`, in mV and 1/s.
Everything else in jrlib reads names, order, units and ranges from here.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri
from scipy.stats import truncnorm


@dataclass(frozen=True)
class Parameter:
    """One row of Table 1. `symbol` is LaTeX without the dollar signs."""

    name: str
    symbol: str
    meaning: str
    typical: float
    low: float
    high: float
    unit: str


# Tilwani & O'Reilly (arXiv:2406.05002), Table 1; typical values after Jansen & Rit (1995).
PARAMETERS = (
    Parameter("A_e", "A_e", "average excitatory synaptic gain", 3.25, 2.6, 9.75, "mV"),
    Parameter("A_i", "A_i", "average inhibitory synaptic gain", 22.0, 17.6, 110.0, "mV"),
    Parameter("b_e", "b_e", "inverse time constant of excitatory PSPs", 100.0, 50.0, 150.0, "1/s"),
    Parameter("b_i", "b_i", "inverse time constant of inhibitory PSPs", 50.0, 25.0, 75.0, "1/s"),
    Parameter("a_1", "a_1", "contacts of the feedback excitatory loop", 1.0, 0.5, 1.5, ""),
    Parameter("a_2", "a_2", "contacts of the slow feedback excitatory loop", 0.8, 0.4, 1.2, ""),
    Parameter("a_3", "a_3", "contacts of the feedback inhibitory loop", 0.25, 0.125, 0.375, ""),
    Parameter(
        "a_4", "a_4", "contacts of the slow feedback inhibitory loop", 0.25, 0.125, 0.375, ""
    ),
    Parameter("C", "C", "average number of synapses between populations", 135.0, 65.0, 1350.0, ""),
)
PARAMETER_NAMES = tuple(parameter.name for parameter in PARAMETERS)
TYPICAL = np.array([parameter.typical for parameter in PARAMETERS])
RANGES = np.array([(parameter.low, parameter.high) for parameter in PARAMETERS])
TYPICAL.flags.writeable = RANGES.flags.writeable = False

# Only the products C a_k enter the equations: these eight numbers are all that data can speak of.
IDENTIFIABLE_NAMES = ("A_e", "A_i", "b_e", "b_i", "C a_1", "C a_2", "C a_3", "C a_4")
# What estimates are scored for: the nine parameters and the four products.
QUANTITY_NAMES = PARAMETER_NAMES + IDENTIFIABLE_NAMES[4:]


@dataclass(frozen=True)
class Convention:
    """The sigmoid's constants: S(v) = v_max / (1 + exp(r (v_0 - v))), v in mV.

    v_max: maximum firing rate, 1/s; v_0: potential at half of it, mV; r: slope, 1/mV.
    """

    name: str
    v_max: float
    v_0: float
    r: float


#: What the public code computes: volts throughout, but a slope that the literature gives per mV.
RELEASED = Convention("RELEASED", v_max=0.05, v_0=6.0, r=0.56e-3)
#: Table 1 of the study taken at its word.
TABULATED = Convention("TABULATED", v_max=50.0, v_0=6.0, r=0.56)
#: Jansen & Rit (1995): v_max = 2 e_0 = 5/s.
CLASSIC = Convention("CLASSIC", v_max=5.0, v_0=6.0, r=0.56)
CONVENTIONS = {convention.name: convention for convention in (RELEASED, TABULATED, CLASSIC)}


def get_convention(convention):
    """Return the `Convention` meant by a name or a `Convention`; ValueError for anything else."""
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention: got {convention!r}, expected a jrlib.Convention or one of "
            f"{', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[convention]


def check_theta(theta):
    """Return theta as a C-contiguous float64 array (n, 9), itself where it is one.

    theta: (9,) or (n, 9). Raises ValueError on another shape, on an empty batch, and on a NaN or
    an infinity, naming the parameter and the row. Negative values pass: the study's untruncated
    prior draws a few.
    """
    theta = np.array(theta, dtype=np.float64, order="C", ndmin=2, copy=None)
    if theta.ndim != 2 or theta.shape[1] != len(PARAMETERS):
        raise ValueError(
            f"theta: got shape {theta.shape}, expected (n, {len(PARAMETERS)}) with the columns "
            f"{', '.join(PARAMETER_NAMES)}"
        )
    if not len(theta):
        raise ValueError("theta: got an empty batch, expected at least one row")
    finite = np.isfinite(theta)
    if not finite.all():
        bad = np.argwhere(~finite)
        row, column = bad[0]
        raise ValueError(
            f"theta: {PARAMETER_NAMES[column]} is {theta[row, column]} in row {row}; every "
            f"parameter must be finite ({len(bad)} such values in all)"
        )
    return theta


def identifiable(theta):
    """Map theta (n, 9) to the combinations that enter the equations, IDENTIFIABLE_NAMES (n, 8)."""
    theta = check_theta(theta)
    return np.hstack([theta[:, :4], theta[:, 4:8] * theta[:, 8:]])


def quantities(theta):
    """Append the products C a_1..C a_4 to theta (n, 9): QUANTITY_NAMES, (n, 13)."""
    theta = check_theta(theta)
    return np.hstack([theta, theta[:, 4:8] * theta[:, 8:]])


def table():
    """Table 1 as a DataFrame: symbol (LaTeX), meaning, typical value, range, unit; a row each."""
    return pd.DataFrame([vars(parameter) for parameter in PARAMETERS]).set_index("name")


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
