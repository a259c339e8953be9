"""Datasets: parameters with their evoked responses, seen by noisy sensors.

One source drives all electrodes, so a dataset keeps each simulation's source waveform once and
makes sensor data on demand: waveform x gain + noise. The noise is drawn afresh at every call from
the exact distribution that filtering, averaging, baseline correction and average reference give it.
"""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import torch
from scipy.signal import resample_poly

from jrlib.parameters import CLASSIC, PARAMETER_NAMES, get_convention
from jrlib.priors import Prior
from jrlib.sensors import heads, noise_models
from jrlib.sensors.spatial_filter import SpatialFilter
from jrlib.simulation.protocol import Protocol, averaging_covariance, simulate_erp


@dataclass(frozen=True)
class Dataset:
    """Simulated experiments.

    theta : (n, 9) float64
    erp : (n, n_times) float32, mV: the noise-free averaged response of the source y_1 - y_2
    times : (n_times,) s
    gain : (n_channels,) V per mV, average reference
    covariance : (n_times, n_times): covariance of one channel's average when the recording's noise
        is white with sd 1 (before the average reference)
    manifest : how it was made, JSON
    noise_seed : None, or the seed of one record of noise that all simulations share, whatever the
        generator: what comes of a fixed random state for each simulation, as in the public code
    """

    theta: np.ndarray
    erp: np.ndarray
    times: np.ndarray
    gain: np.ndarray
    covariance: np.ndarray
    manifest: dict = field(default_factory=dict)
    noise_seed: int | None = None

    def __len__(self):
        return len(self.theta)

    @property
    def n_times(self):
        return len(self.times)

    @property
    def n_channels(self):
        return len(self.gain)

    @property
    def input_scale(self):
        """Median over simulations of the RMS of the noise-free `sensors`, for standardising inputs.

        The median, because amplitudes span decades. Take it from the training set only.
        """
        rms = np.sqrt(np.mean(self.erp.astype(np.float64) ** 2, axis=1))
        return float(np.median(rms) * np.sqrt(np.mean(self.gain**2)) / noise_models.SENSOR_NOISE)

    def subset(self, rows):
        """The same experiment with the given rows only."""
        return replace(self, theta=self.theta[rows], erp=self.erp[rows])

    def split(self, rng, fractions=(0.8, 0.1, 0.1)):
        """Shuffle with the numpy Generator `rng` and cut into parts of these fractions."""
        if abs(sum(fractions) - 1.0) > 1e-9 or min(fractions) < 0:
            raise ValueError(f"fractions: got {fractions}, expected parts that add up to 1")
        cuts = np.round(np.cumsum(fractions)[:-1] * len(self)).astype(int)
        return tuple(self.subset(rows) for rows in np.split(rng.permutation(len(self)), cuts))

    def sensors(self, rows, noise_factor, generator):
        """Averaged sensor data, float32 torch (len(rows), n_channels, n_times).

        In units of the sensor noise's standard deviation in the raw recording at noise factor 1
        (0.2 microvolts). `noise_factor` multiplies the noise covariance, see
        `noise_models.noise_sd`; `generator` is a torch.Generator.
        """
        erp = torch.from_numpy(self.erp[rows])
        signal = erp[:, None, :] * self._unit_gain[None, :, None]
        noise = self._noise((len(erp), self.n_channels), noise_factor, generator)
        return signal if noise is None else signal + noise - noise.mean(dim=1, keepdim=True)

    def source(self, rows, noise_factor, generator):
        """The waveform that a `SpatialFilter` finds in the sensors: the source plus noise, in mV.

        Float32 torch (len(rows), n_times). With one source and white, average-referenced noise it
        is a sufficient statistic of the sensors: nothing is lost.
        """
        erp = torch.from_numpy(self.erp[rows])
        noise = self._noise((len(erp),), noise_factor, generator)
        return erp if noise is None else erp + noise * self.source_noise

    def observe(self, noise_factor, seed):
        """The waveforms (n, n_times), mV, float32, that a spatial filter finds in noisy sensors.

        noise_factor : multiplies the covariance of the sensor noise, see `noise_models.noise_sd`
        seed : of one draw of noise for the whole dataset, a whole number
        """
        noise = torch.Generator().manual_seed(seed)
        return self.source(np.arange(len(self)), noise_factor, noise).numpy()

    def snr_db(self, noise_factor):
        """Median over simulations of the average's signal-to-noise ratio after the spatial filter.

        10 log10 of the response's mean square over the noise's, both over the whole epoch.
        """
        signal = np.mean(self.erp.astype(np.float64) ** 2, axis=1)
        noise = noise_factor * self.source_noise**2 * np.mean(np.diag(self.covariance))
        return float(10.0 * np.log10(np.median(signal) / noise)) if noise > 0 else np.inf

    @property
    def source_noise(self):
        """Standard deviation of one raw sample after the spatial filter at noise factor 1, mV."""
        return float(noise_models.SENSOR_NOISE / SpatialFilter(self.gain).sensitivity)

    @property
    def _unit_gain(self):
        return torch.from_numpy((self.gain / noise_models.SENSOR_NOISE).astype(np.float32))

    @cached_property
    def _noise_root(self):
        """Symmetric square root of the covariance, float32 torch (n_times, n_times)."""
        return torch.from_numpy(noise_models.square_root(self.covariance).astype(np.float32))

    def _noise(self, shape, noise_factor, generator):
        """Averaged noise (*shape, n_times) in units of the raw noise's sd at factor 1, or None."""
        sd = noise_models.noise_sd(noise_factor) / noise_models.SENSOR_NOISE
        if sd == 0:
            return None
        if self.noise_seed is not None:
            shape = (1, *shape[1:])
            generator = torch.Generator().manual_seed(self.noise_seed)
        white = torch.randn(*shape, self.n_times, generator=generator)
        return sd * (white @ self._noise_root)


def make_dataset(
    n,
    seed,
    *,
    convention=CLASSIC,
    prior=None,
    protocol=None,
    montage="biosemi64",
    head="sphere",
    sampling_rate=250.0,
    drop_outliers=False,
    noise_seed=None,
    threads=None,
):
    """Draw n parameter vectors, simulate their evoked responses, and put sensors over them.

    seed : int or numpy Generator
    convention, prior, protocol : see `Convention`, `Prior` and `Protocol`; the study's by default
    montage, head : see `heads.lead_field`
    sampling_rate : Hz; responses and noise covariance are low-pass filtered and decimated to it.
        It must divide the protocol's rate; that rate itself leaves the samples as they are.
    drop_outliers : leave out simulations whose mean absolute amplitude lies more than 3
        interquartile ranges outside the quartiles, as the public code does. Their number is in the
        manifest; the dataset is then shorter than n.
    noise_seed : see `Dataset`

    Simulations that diverge (parameters of the untruncated prior may be negative) are dropped and
    counted in the manifest, after a `DivergenceWarning` has named them.
    Raises ValueError for an n below 1 or a sampling rate that does not divide the protocol's.
    """
    if n != int(n) or n < 1:
        raise ValueError(f"n: got {n}, expected a whole number of simulations from 1")
    convention = get_convention(convention)
    prior = Prior() if prior is None else prior
    protocol = Protocol() if protocol is None else protocol
    rng = np.random.default_rng(seed)
    theta = prior.sample(int(n), rng)
    filtering = decimation(protocol, sampling_rate)
    erp = np.empty((len(theta), len(filtering)), np.float32)
    options = {"rng": rng, "threads": threads, "reduce": filtering, "out": erp}
    simulate_erp(theta, protocol, convention, **options)

    keep = np.isfinite(erp).all(axis=1)
    n_diverged = int(np.sum(~keep))
    if drop_outliers:
        amplitude = np.abs(erp).mean(axis=1)
        low, high = np.percentile(amplitude[keep], [25, 75])
        margin = 3.0 * (high - low)
        keep &= (amplitude >= low - margin) & (amplitude <= high + margin)
    return Dataset(
        theta=theta[keep],
        erp=erp if keep.all() else erp[keep],
        times=protocol.times[:: round(1.0 / (protocol.dt * sampling_rate))],
        gain=heads.MOMENT_PER_MV * heads.lead_field(montage, head),
        covariance=filtering @ averaging_covariance(protocol) @ filtering.T,
        noise_seed=noise_seed,
        manifest={
            "n_drawn": int(n),
            "n_diverged": n_diverged,
            "n_outliers": int(n - n_diverged - keep.sum()),
            "seed": None if isinstance(seed, np.random.Generator) else seed,
            "convention": vars(convention),
            "prior": vars(prior),
            "protocol": vars(protocol),
            "montage": montage,
            "head": head,
            "sampling_rate": sampling_rate,
        },
    )


def beside(dataset, columns, scale):
    """The `Dataset` with further data beside each response, as if they were samples without noise.

    columns : (n, k); scale : mV for a unit of them, so that they count as much as the response
    Their times are NaN. Raises ValueError for another number of rows, and for NaN or infinity.
    """
    columns = np.asarray(columns, dtype=float)
    if columns.ndim != 2 or len(columns) != len(dataset) or not np.isfinite(columns).all():
        raise ValueError(
            f"columns: got shape {columns.shape}, expected ({len(dataset)}, k), all finite"
        )
    k = columns.shape[1]
    return replace(
        dataset,
        erp=np.hstack([dataset.erp, scale * columns]).astype(np.float32),
        times=np.append(dataset.times, np.full(k, np.nan)),
        covariance=np.pad(dataset.covariance, (0, k)),
    )


def decimation(protocol, sampling_rate):
    """Anti-aliasing filter and decimation of an epoch as one matrix (n_out, n_times).

    A zero-phase Kaiser-window low-pass filter (`scipy.signal.resample_poly`) with the end samples
    held beyond the edges; the identity at the protocol's own rate.
    """
    factor = 1.0 / (protocol.dt * sampling_rate) if sampling_rate > 0 else 0.0
    if factor < 1 or abs(factor - round(factor)) > 1e-6:
        raise ValueError(
            f"sampling_rate: got {sampling_rate} Hz, expected {1.0 / protocol.dt:g} Hz divided "
            f"by a whole number"
        )
    identity = np.eye(protocol.n_times)
    if round(factor) == 1:
        return identity
    return resample_poly(identity, 1, round(factor), axis=0, padtype="edge")


@dataclass(frozen=True)
class TargetScaler:
    """Min-max scaling of parameters to 0..1, fitted on a training set (n, 9)."""

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def fit(cls, theta):
        """Raises ValueError when a parameter does not vary, naming it."""
        low, high = theta.min(axis=0), theta.max(axis=0)
        for name, same in zip(PARAMETER_NAMES, low == high, strict=True):
            if same:
                raise ValueError(f"theta: {name} takes one value only, so it cannot be scaled")
        return cls(low, high)

    def transform(self, theta):
        return (theta - self.low) / (self.high - self.low)

    def inverse(self, scaled):
        return self.low + (self.high - self.low) * scaled
