"""Random-walk Metropolis, which must leave samples of the exact posterior as they are."""

import numpy as np


def metropolis(sampler, observed, points, *, root, n_steps, rng, scales=(0.4, 0.1)):
    """Chains of random-walk Metropolis on the posterior given one observation.

    sampler : an `exact_posterior.ExactSampler`; observed : (n_times,) mV
    points : (n, 8), in the coordinates of the sampler: where the n chains start
    root : (8, 8), a root of the samples' own covariance, root root^T, or (n, 8, 8), one for each
        chain
    n_steps : of each chain; rng : numpy Generator
    scales : of the steps in turn, as fractions of the root: bold ones along a straight ridge, small
        ones on a curved one

    Returns how much the log densities have changed (n,), and which part of the steps was taken.
    """
    before = log_p = sampler.log_density(points, observed)
    n_taken = 0
    for step in range(n_steps):
        normal = scales[step % len(scales)] * rng.standard_normal((*points.shape, 1))
        proposed = points + (root @ normal)[..., 0]
        log_proposed = sampler.log_density(proposed, observed)
        taken = np.log(rng.random(len(points))) < log_proposed - log_p  # never where that is NaN
        points = np.where(taken[:, np.newaxis], proposed, points)
        log_p = np.where(taken, log_proposed, log_p)
        n_taken += taken.sum()
    return log_p - before, n_taken / (n_steps * len(points))
