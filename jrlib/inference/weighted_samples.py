"""Samples of a density, each with a weight: what importance sampling leaves."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class WeightedSamples:
    """Independent samples and their weights.

    samples : (n, k)
    weights : (n,), adding up to 1; n may be 0, and all weights are 0 where none is finite
    mean, std : means and standard deviations of what the samples tell of. By default these are the
        weighted ones of the k columns; whoever knows better ones (such as conditional means) or
        asks for other quantities gives them.
    n_drawn : number of samples from which these are left; by default n. It is larger where samples
        of weight 0 have been left out.
    """

    samples: np.ndarray
    weights: np.ndarray
    mean: np.ndarray = None
    std: np.ndarray = None
    n_drawn: int = None

    def __post_init__(self):
        if self.weights.shape != self.samples.shape[:1]:
            raise ValueError(
                f"weights: got shape {self.weights.shape}, expected ({len(self.samples)},), one "
                f"for each sample"
            )
        if self.n_drawn is None:
            object.__setattr__(self, "n_drawn", len(self.samples))
        if self.mean is None:
            object.__setattr__(self, "mean", self.expectation(self.samples))
        if self.std is None:
            object.__setattr__(self, "std", self.spread(self.samples))

    @property
    def effective_sample_size(self):
        """1 / sum of the squared weights (Kish): 0 where nothing has a weight."""
        return effective_sample_size(self.weights)

    @property
    def relative_effective_sample_size(self):
        """The effective sample size over `n_drawn`: 1 where all weigh the same."""
        return self.effective_sample_size / self.n_drawn if self.n_drawn else 0.0

    def expectation(self, values):
        """Weighted mean (m,) of values (n, m), one row for each sample; NaN if nothing weighs."""
        kept = self.weights > 0
        if not kept.any():
            return np.full(values.shape[1], np.nan)
        return self.weights[kept] @ values[kept]

    def spread(self, values, mean=None):
        """Weighted standard deviations (m,) of values (n, m), around their mean (m,)."""
        mean = self.expectation(values) if mean is None else mean
        return np.sqrt(self.expectation((values - mean) ** 2))

    def resample(self, n, rng):
        """n equally weighted samples (n, k), with the numpy Generator `rng`; NaN if there are none.

        They are drawn with replacement, so some of them repeat.
        """
        if not len(self.samples):
            return np.full((n, self.samples.shape[1]), np.nan)
        return self.samples[rng.choice(len(self.samples), n, p=self.weights)]


def effective_sample_size(weights):
    """1 / sum of the squared weights (n,) that add up to 1 (Kish); 0 where all weights are 0."""
    total = np.sum(weights**2)
    return float(1.0 / total) if total > 0 else 0.0


def normalised(log_weights):
    """Weights (n,) that add up to 1, from their logarithms up to a constant.

    Where a logarithm is NaN or infinite the weight is 0; all are 0 when none is finite.
    """
    log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    top = np.max(log_weights, initial=-np.inf)
    if not np.isfinite(top):
        return np.zeros(len(log_weights))
    weights = np.exp(log_weights - top)
    return weights / weights.sum()
