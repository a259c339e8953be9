"""The exact likelihood of an evoked response, and its Fisher information.

One source drives all electrodes and the sensor noise is Gaussian, so the matched filter's output
holds all that the sensors know, and its likelihood is a normal density with a known covariance.
"""

from dataclasses import dataclass

import numpy as np

from jrlib.parameters import Convention, check_theta
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import decimation
from jrlib.simulation import gradients
from jrlib.simulation.protocol import Protocol, simulate_erp


@dataclass(frozen=True)
class Likelihood:
    """The exact likelihood of the matched filter's output, in mV.

    convention, protocol : of the model
    filtering : (n_times, protocol.n_times), what is applied to a response at the protocol's rate:
        `datasets.decimation`, or the identity
    covariance : (n_times, n_times) of the output's noise, mV^2
    singular_below : fraction of the largest eigenvalue below which another one counts as zero

    The raw recording's noise is white. Averaging, baseline correction and decimation give its
    average a covariance that can be singular: at the protocol's own rate the mean over the baseline
    is zero without error. Along such directions response and data agree whatever the parameters
    are, so the density is taken on the range of the covariance, the span of its eigenvectors above
    `singular_below` times its largest eigenvalue; `scipy.stats.multivariate_normal` with
    allow_singular=True does the same.
    Raises ValueError for shapes that do not fit, and where there is no noise and so no density.
    """

    convention: Convention
    protocol: Protocol
    filtering: np.ndarray
    covariance: np.ndarray
    singular_below: float = 1e-10

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
        kept = values > self.singular_below * values[-1]
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
        noise = (
            dataset.source_noise * noise_models.noise_sd(noise_factor) / noise_models.SENSOR_NOISE
        )
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
            gradients.gradients([1.0], theta, self.convention, self.protocol), 1, 0
        )  # (9, n_times at the protocol's rate)
        return self.whiten(slopes @ self.filtering.T).T

    def fisher_information(self, theta):
        """Fisher information of the logarithms of the nine parameters at theta (9,): (9, 9).

        The first eight rows and columns are the information on the logarithms of
        `IDENTIFIABLE_NAMES`; with the ninth, C, the matrix has a null direction. The square roots
        of the inverse's diagonal are relative standard errors. Derivatives are those of
        `gradients.gradients`.
        """
        derivatives = self.derivatives(theta)
        return derivatives.T @ derivatives
