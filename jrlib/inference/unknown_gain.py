"""The exact posterior when nobody knows the gain from the source to the sensors."""

from dataclasses import dataclass, replace

import numpy as np

from jrlib.inference.exact_posterior import ExactPosterior, ExactSampler
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities

GAIN = r"\log g"
NAMES = (*IDENTIFIABLE_NAMES, GAIN)
N_COORDINATES = 9


@dataclass(frozen=True, eq=False, kw_only=True)
class UnknownGainPosterior(ExactPosterior):
    """An `ExactPosterior` with log_gain (n,), the logarithm of the gain in each sample."""

    log_gain: np.ndarray


class UnknownGainSampler(ExactSampler):
    """Samples exact posteriors where log g is normal with mean 0 and standard deviation gain_sd.

    likelihood, prior, settings : as of `ExactSampler`. The ninth coordinate is log g / gain_sd.
    Raises ValueError for a gain_sd that is not above 0: where it is known, see `with_known_gain`.
    """

    def __init__(self, likelihood, gain_sd, prior=None, *, settings=None):
        if not 0.0 < gain_sd < np.inf:
            raise ValueError(f"gain_sd: got {gain_sd}, expected a number above 0")
        super().__init__(likelihood, prior, settings=settings)
        self.gain_sd = gain_sd
        luck = np.random.default_rng(self.settings.bank_seed + 1).standard_normal(
            (len(self._bank), 1)
        )
        self._bank = np.hstack([self._bank, luck])
        self._outputs = np.exp(gain_sd * luck) * self._outputs

    def products(self, points):
        """C a_1..C a_4 (n, 4) at points (n, 9)."""
        return super().products(points[:, :8])

    def points(self, theta, gain=1.0):
        """The coordinates (n, 9) of parameters (n, 9) and gains, one for all or (n,)."""
        logs = np.broadcast_to(np.log(gain) / self.gain_sd, len(theta))
        return np.column_stack([super().points(theta), logs])

    def known(self, points):
        """`NAMES` (n, 9) at points (n, 9)."""
        values = quantities(self.theta(points))[:, _IDENTIFIABLE]
        return np.column_stack([values, self.gain_sd * points[:, 8]])

    def _respond(self, points):
        return np.exp(self.gain_sd * points[:, 8:]) * super()._respond(points)

    def _correction(self, points):
        return super()._correction(points[:, :8])

    def _summary(self, points, weights, mode, **found):
        known = super()._summary(points, weights, mode, **found)
        return UnknownGainPosterior(**vars(known), log_gain=self.gain_sd * points[:, 8])

    def _failure(self, mode):
        return UnknownGainPosterior(**vars(super()._failure(mode)), log_gain=np.empty(0))


_IDENTIFIABLE = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]


def with_known_gain(sampler, observed, gain):
    """An `ExactSampler` and an output that say what an output (n_times,) says with a known gain.

    sampler : `ExactSampler` of the gain 1. What is g times as large has noise 1 / g as large.
    """
    return sampler.at(gain**-2.0), observed / gain


def draw_gains(n, gain_sd, rng):
    """Gains (n,), log-normal around 1, with the numpy Generator `rng`."""
    return np.exp(gain_sd * rng.standard_normal(n))


def amplify(dataset, gains):
    """The `Dataset` whose responses are gains (n,) times as large; the noise is what it was."""
    gains = np.asarray(gains, dtype=float)
    if gains.shape != (len(dataset),) or not (np.isfinite(gains) & (gains > 0.0)).all():
        raise ValueError(f"gains: got {gains}, expected {len(dataset)} finite numbers above 0")
    return replace(dataset, erp=(gains[:, np.newaxis] * dataset.erp).astype(np.float32))
