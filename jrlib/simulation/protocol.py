"""The evoked-response experiment: pulse trains, epochs, baseline and averaging."""

from dataclasses import dataclass

import numpy as np

from jrlib.parameters import CLASSIC, check_theta, get_convention
from jrlib.simulation import kernel
from jrlib.simulation.integration import (
    METHODS,
    cast,
    check_dtype,
    drive_changes,
    mark_divergence,
    prepare,
    run_in_threads,
)

# A trial equals the one before it when no sample moved by more than this part of its range.
SETTLED = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-5}
PASSES = (3, 10)  # trials after which those that have settled are told from the others
CHUNK = 4096  # simulations at a time, so that what is neither theta nor result stays small


@dataclass(frozen=True)
class Protocol:
    """A train of equal pulses, and how the response is cut, baseline-corrected and averaged.

    n_trials : number of pulses
    isi : seconds from one pulse to the next
    pulse_width : s
    pulse : heights of the pulse on the three drive columns of `simulate`, 1/s
    pair : s from each pulse to a second one like it; 0 for none
    transient : seconds simulated and discarded before the recording starts; the first pulse comes
        one pre-stimulus interval later, so the first epoch starts with the recording
    epoch, baseline : (start, end) relative to the pulse, s, both ends included
    dt : integration step and sampling interval, s
    background : constant input p to the excitatory column, 1/s
    noise : standard deviation of the intrinsic noise p(t), 1/s, drawn anew each step and trial
    method : integrator, see `simulate`

    The defaults are the published study's: 60 pulses of 50 ms, one per second, at 1000 Hz.
    Raises ValueError for a duration that is no whole number of steps or does not fit.
    """

    n_trials: int = 60
    isi: float = 1.0
    pulse_width: float = 0.05
    pulse: tuple[float, float, float] = (33.6, 60.0, 60.0)
    pair: float = 0.0
    transient: float = 0.8
    epoch: tuple[float, float] = (-0.2, 1.0)
    baseline: tuple[float, float] = (-0.2, 0.0)
    dt: float = 1e-3
    background: float = 0.0
    noise: float = 0.0
    method: str = "rk4"

    def __post_init__(self):
        for name in ("pulse", "epoch", "baseline"):  # so that a list from JSON serves as well
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        numbers = [self.isi, self.pulse_width, self.pair, self.transient, self.dt]
        numbers += [self.background, self.noise]
        if not np.isfinite([*numbers, *self.pulse, *self.epoch, *self.baseline]).all():
            raise ValueError("Protocol: every number must be finite")
        if self.dt <= 0:
            raise ValueError(f"dt: got {self.dt}, expected a step in seconds above 0")
        if self.n_trials < 1 or self.n_trials != int(self.n_trials):
            raise ValueError(f"n_trials: got {self.n_trials}, expected a whole number from 1")
        if len(self.pulse) != 3:
            raise ValueError(f"pulse: got {len(self.pulse)} heights, expected 3, one per column")
        if self.noise < 0:
            raise ValueError(f"noise: got {self.noise}, expected a standard deviation from 0")
        if self.method not in METHODS:
            raise ValueError(f"method: got {self.method!r}, expected one of {', '.join(METHODS)}")
        if not 0 < self.pulse_width <= self.isi:
            raise ValueError(f"pulse_width: got {self.pulse_width}, expected 0 to isi = {self.isi}")
        if self.pair and not self.pulse_width <= self.pair <= self.isi - self.pulse_width:
            raise ValueError(
                f"pair: got {self.pair}, expected 0, or pulse_width = {self.pulse_width} to "
                f"isi - pulse_width = {self.isi - self.pulse_width}"
            )
        if self.transient < 0:
            raise ValueError(f"transient: got {self.transient}, expected seconds from 0")
        if not self.epoch[0] <= 0 < self.epoch[1]:
            raise ValueError(f"epoch: got {self.epoch}, expected a start up to 0 and an end after")
        if not self.epoch[0] <= self.baseline[0] <= self.baseline[1] <= self.epoch[1]:
            raise ValueError(f"baseline: got {self.baseline}, expected a part of {self.epoch}")
        durations = {
            "isi": [self.isi],
            "pulse_width": [self.pulse_width],
            "pair": [self.pair],
            "transient": [self.transient],
            "epoch": self.epoch,
            "baseline": self.baseline,
        }
        for name, values in durations.items():
            for value in values:
                if abs(value / self.dt - round(value / self.dt)) > 1e-6:
                    raise ValueError(f"{name}: {value} s is no whole number of {self.dt} s steps")

    def _steps(self, seconds):
        return round(seconds / self.dt)

    @property
    def _onset(self):
        """Step of the first pulse."""
        return self._steps(self.transient) - self._steps(self.epoch[0])

    @property
    def times(self):
        """Times of the epoch's samples relative to the pulse, s, (n_times,)."""
        return np.arange(self._steps(self.epoch[0]), self._steps(self.epoch[1]) + 1) * self.dt

    @property
    def n_times(self):
        """Samples per epoch: 1201 by default."""
        return self._steps(self.epoch[1]) - self._steps(self.epoch[0]) + 1

    @property
    def baseline_slice(self):
        """The baseline's samples within the epoch."""
        first, last = (self._steps(t) - self._steps(self.epoch[0]) for t in self.baseline)
        return slice(first, last + 1)

    @property
    def drive(self):
        """The deterministic drive of the whole recording, (n_steps, 3), 1/s.

        It ends with the last epoch's last sample. Where epochs are longer than the interval between
        pulses, the train goes on to there, so that the last epochs are like the others.
        """
        period = self._steps(self.isi)
        n_steps = self._onset + (self.n_trials - 1) * period + self._steps(self.epoch[1]) + 1
        drive = np.zeros((n_steps, 3))
        drive[:, 1] = self.background
        since_first = np.arange(n_steps) - self._onset
        phase, width, pair = since_first % period, *map(self._steps, (self.pulse_width, self.pair))
        on = (since_first >= 0) & ((phase < width) | ((phase >= pair) & (phase < pair + width)))
        on[-1] = False  # the last sample is taken where the last step starts
        drive[on] += self.pulse
        return drive

    def epochs(self, recording, n_trials=None):
        """Cut recordings (n, n_steps) at the pulses: a view (n, n_trials, n_times)."""
        windows = np.lib.stride_tricks.sliding_window_view(recording, self.n_times, axis=-1)
        first = self._onset + self._steps(self.epoch[0])
        return windows[..., first :: self._steps(self.isi), :][..., :n_trials, :]

    def correct_baseline(self, epochs):
        """Subtract each epoch's mean over the baseline; (..., n_times)."""
        return epochs - epochs[..., self.baseline_slice].mean(axis=-1, keepdims=True)


def simulate_erp(
    theta,
    protocol=None,
    convention=CLASSIC,
    *,
    rng=None,
    threads=None,
    dtype=np.float64,
    reduce=None,
    out=None,
):
    """Evoked response of y_1 - y_2: the baseline-corrected average over the protocol's trials.

    theta : (n, 9) or (9,)
    rng : numpy Generator that gives the noise its seed; needed when `protocol.noise` is above 0
    threads : as in `simulate`
    dtype : type of the computation, float64 or float32, and of the result
    reduce : matrix (n_out, n_times) applied to each response, `datasets.decimation` for instance
    out : array (n, n_out) of any floating type for the result, instead of a new one

    Returns (n, n_out) in mV, with n_out = n_times without `reduce`, or (n_out,) for a (9,) theta.

    Only averages are kept: no trace is ever stored. Without intrinsic noise the response to a
    regular train settles to a periodic one. A simulation ends when a trial repeats the last one
    to 1e-9 of its range (1e-5 in float32); that one stands for the rest of the average. One that
    does not settle (it oscillates by itself, say) is carried on, up to all `n_trials`. With
    `protocol.noise > 0` every trial is simulated with its own noise, which depends on the seed and
    the row's number only. Diverging simulations are NaN and are named by a `DivergenceWarning`.
    """
    protocol = Protocol() if protocol is None else protocol
    single = np.ndim(theta) == 1
    theta = check_theta(theta)
    convention = get_convention(convention)
    dtype = check_dtype(dtype)
    if protocol.noise > 0 and rng is None:
        raise ValueError("rng: a numpy Generator is needed when protocol.noise is above 0")
    seed = int(rng.integers(2**63)) if protocol.noise > 0 else 0
    start, band = _band(protocol.n_times, reduce)
    out = np.empty((len(theta), len(band)), dtype) if out is None else out
    if out.shape != (len(theta), len(band)):
        raise ValueError(f"out: got shape {out.shape}, expected {(len(theta), len(band))}")
    baseline = protocol.baseline_slice
    linear = baseline.start, baseline.stop, start, cast(band, dtype)
    drive = cast(protocol.drive[np.newaxis], dtype)
    changes = drive_changes(drive)
    noise = dtype.type(protocol.noise), seed
    first_epoch = protocol._onset + protocol._steps(protocol.epoch[0])
    train = first_epoch, protocol._steps(protocol.isi), protocol.n_times, protocol.n_trials
    # A noisy trial never repeats the one before it.
    tolerance = dtype.type(-1.0 if protocol.noise > 0 else SETTLED[dtype])

    def average(rows, n_trials):
        settled = np.empty(len(rows), bool)
        solution = {"method": protocol.method, "dt": protocol.dt, "dtype": dtype}
        folded, solver = prepare(theta[rows], convention, **solution)
        arguments = [rows, drive, changes, *noise, solver, (*train, n_trials, tolerance)]
        arguments += [linear, out, settled]
        run_in_threads(kernel.average, folded, arguments, threads=threads)
        return rows[~settled]

    # Simulations that take long to settle are gathered, so as not to hold up those beside them.
    passes = [n for n in PASSES if n < protocol.n_trials and not protocol.noise]
    for first in range(0, len(theta), CHUNK):
        rows = np.arange(first, min(first + CHUNK, len(theta)))
        for n_trials in (*passes, protocol.n_trials):
            rows = average(rows, n_trials) if len(rows) else rows
    mark_divergence(out[..., np.newaxis])
    return out[0] if single else out


def _band(n_times, matrix):
    """The nonzero part of a matrix (n_out, n_times): first columns (n_out,), band (n_out, w)."""
    if matrix is None:
        return np.arange(n_times), np.ones((n_times, 1))
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or not matrix.size or matrix.shape[1] != n_times:
        raise ValueError(f"reduce: got shape {matrix.shape}, expected (n_out, {n_times})")
    filled = matrix != 0
    start = filled.argmax(axis=1)
    width = (n_times - filled[:, ::-1].argmax(axis=1) - start).max()
    start = np.minimum(start, n_times - width)
    return start, np.take_along_axis(matrix, start[:, np.newaxis] + np.arange(width), axis=1)


def averaging_covariance(protocol=None, autocovariance=None):
    """Covariance (n_times, n_times) of an average's noise, from that of the recording.

    autocovariance : (m,) of the recording's noise at lags 0, dt, 2 dt, ..., and 0 beyond; by
        default white with sd 1

    Averaging n trials divides the variance of white noise by n. Epochs longer than the interval
    between pulses share samples: the last 0.2 s of a default epoch are the next one's baseline,
    which ties the two ends of the average together; coloured noise ties all epochs. Baseline
    correction then adds the mean's variance to all samples.
    """
    protocol = Protocol() if protocol is None else protocol
    n, n_times = protocol.n_trials, protocol.n_times
    period = protocol._steps(protocol.isi)
    by_lag = np.zeros(n_times + n * period)
    values = np.ones(1) if autocovariance is None else np.asarray(autocovariance, dtype=float)
    kept = values[: len(by_lag)]
    by_lag[: len(kept)] = kept
    lags = np.arange(-n_times + 1, n_times)
    shared = np.zeros(len(lags))
    for apart in range(-n + 1, n):  # pairs of trials so far apart
        shared += (n - abs(apart)) * by_lag[np.abs(lags + apart * period)]
    of_lag = np.subtract.outer(np.arange(n_times), np.arange(n_times)) + n_times - 1
    correct = np.eye(n_times)
    correct[:, protocol.baseline_slice] -= 1.0 / len(range(n_times)[protocol.baseline_slice])
    return correct @ (shared[of_lag] / n**2) @ correct.T
