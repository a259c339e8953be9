"""Whether an uncertainty is right: ranks, coverage, regions around random points, and intervals."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom

from jrlib.inference.flows import N_PARAMETERS
from jrlib.parameters import check_theta


@dataclass(frozen=True)
class Evaluation:
    """A posterior on test simulations drawn from its prior; n of them, S samples each.

    truth : (n, 9), and samples : (n, S, 9), physical units
    ranks : (n, 9) number of samples below the truth, 0..S: uniform if the posterior is calibrated
        (simulation-based calibration, Talts et al., 2018)
    highest_density, tarp : (n,) credibility level of the smallest region that holds the truth,
        0..1: uniform if calibrated. The regions are those of highest density (Deistler et al.,
        2022) and balls around random points (TARP, Lemos et al., 2023).
    gain : (n,) log q(theta | x) - log p(theta), nats, at the truth: what was learnt from x
    """

    truth: np.ndarray
    samples: np.ndarray
    ranks: np.ndarray
    highest_density: np.ndarray
    tarp: np.ndarray
    gain: np.ndarray

    @property
    def mean(self):
        """(n, 9) posterior means."""
        return self.samples.mean(axis=1)

    @property
    def std(self):
        """(n, 9) posterior standard deviations."""
        return self.samples.std(axis=1)

    @property
    def levels(self):
        """(n, 9) level of the smallest central interval of each parameter that holds the truth."""
        return np.abs(2.0 * (self.ranks + 0.5) / (self.samples.shape[1] + 1) - 1.0)


def evaluate(trained, theta, observations, *, n_samples, seed):
    """Sample a `Posterior` for test simulations and compare with the truth: see `Evaluation`.

    theta : (n, 9), drawn from the posterior's own prior; observations : (n, n_times), mV
    n_samples : of the posterior given each observation
    Raises ValueError for other numbers of rows and for observations that it cannot have been given.
    """
    theta, x = check_theta(theta), trained.checked(observations)
    if len(theta) != len(x):
        raise ValueError(f"theta: got {len(theta)} rows for {len(x)} observations")
    truth = trained.prior.to_standard(theta)
    z = trained.sample_standard(x, n_samples, seed=seed)
    samples = trained.prior.from_standard(z.reshape(-1, N_PARAMETERS)).reshape(z.shape)
    both = np.concatenate([truth[:, None], z], axis=1)
    densities = trained.log_prob_standard(torch.from_numpy(both).float().transpose(0, 1), x)
    densities = densities.double().numpy().T
    reference = np.random.default_rng(seed).standard_normal(truth.shape)
    prior_density = -0.5 * (truth**2 + np.log(2.0 * np.pi)).sum(axis=1)
    return Evaluation(
        truth=theta,
        samples=samples,
        ranks=ranks(z, truth),
        highest_density=level(densities[:, 1:] > densities[:, :1]),
        tarp=tarp_levels(z, truth, reference),
        gain=densities[:, 0] - prior_density,
    )


def ranks(samples, truth):
    """How many of the samples (n, S, k) lie below the truth (n, k), parameter by parameter."""
    return (samples < truth[:, None]).sum(axis=1)


def tarp_levels(samples, truth, reference):
    """Level of the ball around reference (n, k) that just holds truth (n, k), by samples (n, S, k).

    Lemos et al. (2023). The points of reference may depend on anything but the truth.
    """
    radius = np.linalg.norm(truth - reference, axis=1)
    return level(np.linalg.norm(samples - reference[:, None], axis=2) < radius[:, None])


def coverage(levels, nominal, confidence=0.95):
    """How often the truth lies in regions of nominal credibility, and what chance allows.

    levels : (n,) level of the smallest region that holds the truth, as in `Evaluation`
    nominal : credibilities at which to look
    Returns a DataFrame: nominal, observed, and low..high: the binomial band in which a calibrated
    posterior's observed coverage lies with probability `confidence`, at each nominal level.
    """
    levels, nominal = np.asarray(levels, dtype=float), np.asarray(nominal, dtype=float)
    if levels.ndim != 1 or len(levels) == 0 or not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError("levels: expected at least one number in 0..1, one for each simulation")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, expected a number between 0 and 1")
    low, high = binom.interval(confidence, len(levels), nominal)
    observed = (levels[:, None] <= nominal).mean(axis=0)
    return pd.DataFrame(
        {
            "nominal": nominal,
            "observed": observed,
            "low": low / len(levels),
            "high": high / len(levels),
        }
    )


def conformal_half_widths(errors, level):
    """Half-widths (k,) of intervals around a point estimate that hold the truth with a probability.

    errors : (n, k) of simulations that the estimate was not fitted to; level : above 0, below 1
    Split conformal prediction (Lei et al., J. Am. Stat. Assoc. 113, 2018, Algorithm 2): the
    ceil((n + 1) level)-th smallest absolute error. Whatever the method, the estimate of a further
    simulation from the same prior is off by no more with at least that probability.
    Raises ValueError where n is too small for the level.
    """
    errors = np.asarray(errors, dtype=float)
    if errors.ndim != 2 or not np.isfinite(errors).all():
        raise ValueError(f"errors: expected finite numbers (n, k), got shape {errors.shape}")
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected a number between 0 and 1")
    place = int(np.ceil((len(errors) + 1) * level))
    if place > len(errors):
        raise ValueError(f"errors: {len(errors)} rows are too few for level {level}")
    return np.sort(np.abs(errors), axis=0)[place - 1]


def level(inside):
    """Level in 0..1 from which of S samples (n, S) lie inside; never 0 or 1, as S is finite."""
    return (inside.sum(axis=1) + 0.5) / (inside.shape[1] + 1)
