"""The spatial filter: one source's waveform out of many channels, and what it leaves.

One source drives all electrodes through the gain g, so the sensors are g times its waveform plus
noise. For noise of covariance S over the channels the estimate of least variance is
g' S^+ x / (g' S^+ g), with the pseudo-inverse S^+ as both are taken against the average reference
(the matched filter, or the beamformer of unit gain). With one source and Gaussian noise it is a
sufficient statistic of the sensors: nothing that they say about the source is lost.
"""

from functools import cached_property

import numpy as np
from scipy.linalg import null_space


class SpatialFilter:
    """What is assumed of the sensors: one source, and noise of a known shape over the channels.

    gain : (n_channels,) V per mV of the source, average reference
    covariance : (n_channels, n_channels) of the raw noise over the channels, up to a factor, before
        the average reference, which is taken here; None for independent noise of equal size
    Raises ValueError for a gain that is zero or not finite, and a covariance that does not fit it.
    """

    def __init__(self, gain, covariance=None):
        gain = np.asarray(gain, dtype=float)
        if gain.ndim != 1 or not np.isfinite(gain).all() or not gain.any():
            raise ValueError(
                f"gain: got shape {gain.shape}, expected finite numbers (n_channels,), not all 0"
            )
        if covariance is not None and np.shape(covariance) != (len(gain), len(gain)):
            raise ValueError(
                f"covariance: got shape {np.shape(covariance)}, expected {(len(gain),) * 2}, a row "
                f"and a column for each channel of the gain"
            )
        self.gain, self.covariance = gain, covariance

    @property
    def weights(self):
        """The filter, (n_channels,), mV per V: its product with the gain is 1."""
        if self.covariance is None:
            return self.gain / (self.gain @ self.gain)
        return self._maps[0]

    @property
    def sensitivity(self):
        """Sensor noise of sd s, V, leaves the waveform noise of sd s / sensitivity, mV."""
        if self.covariance is None:
            return np.linalg.norm(self.gain)
        return np.linalg.norm(self._topography)

    def waveform(self, data):
        """The source's waveform (..., n_times), mV, in sensor data (..., n_channels, n_times), V.

        Unbiased. Raises ValueError for another number of channels.
        """
        return self.weights @ self._check(data)

    def split(self, data):
        """The source's waveform (n_times,) and the rest (n_channels - 2, n_times), both in mV.

        data : (n_channels, n_times) V. Each row of the rest has independent noise of the same
        covariance over time as the waveform's, and nothing of the source.
        Raises ValueError for another number of channels, and for channels with NaN or flat.
        """
        data = self._check(data)
        faults = {
            "NaN or infinity": (
                ~np.isfinite(data).all(axis=1),
                "repair them or leave them out of data and gain",
            ),
            "no signal at all": (np.ptp(data, axis=1) == 0, "leave them out of data and gain"),
        }
        for fault, (bad, remedy) in faults.items():
            if bad.any():
                raise ValueError(f"data: {fault} in channels {np.flatnonzero(bad)}; {remedy}")
        source, rest = self._maps
        return source @ data, rest.T @ data

    def _check(self, data):
        data = np.asarray(data, dtype=float)
        if data.ndim < 2 or data.shape[-2] != len(self.gain):
            raise ValueError(
                f"data: got shape {data.shape}, expected ({len(self.gain)}, n_times), a row for "
                f"each channel of the gain"
            )
        return data

    @cached_property
    def _whitener(self):
        """(n_channels, n_channels - 1): in its columns' coordinates the noise is N(0, I)."""
        n = len(self.gain)
        covariance = np.eye(n) if self.covariance is None else self.covariance
        centre = np.eye(n) - 1.0 / n
        values, vectors = np.linalg.eigh(centre @ covariance @ centre)
        return vectors[:, 1:] / np.sqrt(values[1:])  # without the mean over the channels

    @cached_property
    def _topography(self):
        return self._whitener.T @ self.gain

    @cached_property
    def _maps(self):
        """The weights (n_channels,) of the source and those of the rest (n_channels, n - 2)."""
        topography = self._topography
        size = np.linalg.norm(topography)
        source = self._whitener @ topography / size**2
        return source, self._whitener @ null_space(topography[np.newaxis]) / size
