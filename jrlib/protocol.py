"""The evoked-response experiment: pulse trains, epochs, baseline and averaging."""

from dataclasses import dataclass

import numpy as np

from jrlib.model import METHODS, simulate
from jrlib.parameters import CLASSIC, check_theta

# A trial equals the one before it when no sample moved by more than this part of its range.
SETTLED = 1e-9


@dataclass(frozen=True)
class Protocol:
    """A train of equal pulses, and how the response is cut, baseline-corrected and averaged.

    n_trials : number of pulses
    isi : seconds from one pulse to the next
    pulse_width : s
    pulse : heights of the pulse on the three drive columns of `simulate`, 1/s
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
    pulse: tuple = (33.6, 60.0, 60.0)
    transient: float = 0.8
    epoch: tuple = (-0.2, 1.0)
    baseline: tuple = (-0.2, 0.0)
    dt: float = 1e-3
    background: float = 0.0
    noise: float = 0.0
    method: str = "rk4"

    def __post_init__(self):
        for name in ("pulse", "epoch", "baseline"):  # so that a list from JSON serves as well
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        numbers = [self.isi, self.pulse_width, self.transient, self.dt, self.background, self.noise]
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
        if self.transient < 0:
            raise ValueError(f"transient: got {self.transient}, expected seconds from 0")
        if not self.epoch[0] <= 0 < self.epoch[1]:
            raise ValueError(f"epoch: got {self.epoch}, expected a start up to 0 and an end after")
        if not self.epoch[0] <= self.baseline[0] <= self.baseline[1] <= self.epoch[1]:
            raise ValueError(f"baseline: got {self.baseline}, expected a part of {self.epoch}")
        durations = {
            "isi": [self.isi],
            "pulse_width": [self.pulse_width],
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
        """The deterministic drive of the whole recording, (n_steps, 3), 1/s."""
        return self._drive(self.n_trials)

    def _drive(self, n_trials):
        """The drive from time 0 up to the last sample of epoch n_trials, (n_steps, 3), 1/s."""
        period = self._steps(self.isi)
        n_steps = self._onset + (n_trials - 1) * period + self._steps(self.epoch[1]) + 1
        drive = np.zeros((n_steps, 3))
        drive[:, 1] = self.background
        since_pulse = np.arange(n_steps) - self._onset
        # A pulse is on for its width from every multiple of the period, to the recording's end.
        on = (since_pulse >= 0) & (since_pulse % period < self._steps(self.pulse_width))
        on &= since_pulse < self.n_trials * period
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


def simulate_erp(theta, protocol=None, convention=CLASSIC, *, rng=None, threads=None, chunk=256):
    """Evoked response of y_1 - y_2: the baseline-corrected average over the protocol's trials.

    theta: (n, 9) or (9,). Returns (n, n_times) in mV, or (n_times,) for a (9,) theta.

    Without intrinsic noise the response to a regular train settles to a periodic one. Trials are
    then simulated only until one repeats the one before it to 1e-9 of its range; that one stands
    for the rest of the average. A simulation that does not settle (it oscillates by itself, say)
    is carried on, up to all `n_trials`. With `protocol.noise > 0` every trial is simulated with its
    own noise and `rng`, a numpy Generator, is required. Diverging simulations are NaN and are named
    by a `DivergenceWarning`. `chunk` rows are simulated at a time, to bound the memory.
    """
    protocol = Protocol() if protocol is None else protocol
    single = np.ndim(theta) == 1
    theta = check_theta(theta)
    if protocol.noise > 0 and rng is None:
        raise ValueError("rng: a numpy Generator is needed when protocol.noise is above 0")
    erp = np.empty((len(theta), protocol.n_times))

    def simulate_trials(rows, n_trials):
        drive = protocol._drive(n_trials)
        if protocol.noise > 0:
            drive = np.repeat(drive[np.newaxis], len(rows), axis=0)
            drive[..., 1] += protocol.noise * rng.standard_normal(drive.shape[:2])
        recording = simulate(
            theta[rows],
            drive,
            dt=protocol.dt,
            convention=convention,
            method=protocol.method,
            threads=threads,
        )
        return protocol.epochs(recording, n_trials)

    rows, n_trials = np.arange(len(theta)), min(3, protocol.n_trials)
    if protocol.noise > 0:
        n_trials = protocol.n_trials
        chunk = min(chunk, 16)
    while len(rows):
        unsettled = []
        for start in range(0, len(rows), chunk):
            part = rows[start : start + chunk]
            epochs = simulate_trials(part, n_trials)
            total = epochs.sum(axis=1)
            if n_trials < protocol.n_trials:
                last, before = epochs[:, -1], epochs[:, -2]
                change = np.abs(last - before).max(axis=1)
                settled = ~(change > SETTLED * np.ptp(last, axis=1))  # NaN rows are done as well
                total += (protocol.n_trials - n_trials) * last
                unsettled.append(part[~settled])
            erp[part] = total / protocol.n_trials
        rows = np.concatenate(unsettled) if unsettled else rows[:0]
        n_trials = min(2 * n_trials, protocol.n_trials)
    erp = protocol.correct_baseline(erp)
    return erp[0] if single else erp


def averaging_covariance(protocol=None):
    """Covariance (n_times, n_times) of an average's noise when the recording's is white with sd 1.

    Averaging n trials divides the variance by n. Epochs longer than the interval between pulses
    share samples: the last 0.2 s of a default epoch are the next one's baseline, which ties the two
    ends of the average together. Baseline correction then adds the mean's variance to all samples.
    """
    protocol = Protocol() if protocol is None else protocol
    n, n_times = protocol.n_trials, protocol.n_times
    period = protocol._steps(protocol.isi)
    lag = np.abs(np.subtract.outer(np.arange(n_times), np.arange(n_times)))
    shared = np.where(lag % period == 0, np.clip(n - lag // period, 0, n), 0)
    correct = np.eye(n_times)
    correct[:, protocol.baseline_slice] -= 1.0 / len(range(n_times)[protocol.baseline_slice])
    return correct @ (shared / n**2) @ correct.T
