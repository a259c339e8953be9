r"""The Jansen-Rit equations and their integration.

State y_0..y_5: the postsynaptic potential of each block (mV) and its derivative (mV/s),

    y_0' = y_3    y_3' = A_e b_e (u_0 + S(y_1 - y_2))        - 2 b_e y_3 - b_e^2 y_0
    y_1' = y_4    y_4' = A_e b_e (u_1 + C a_2 S(C a_1 y_0))  - 2 b_e y_4 - b_e^2 y_1
    y_2' = y_5    y_5' = A_i b_i (u_2 + C a_4 S(C a_3 y_0))  - 2 b_i y_5 - b_i^2 y_2

with S(v) = v_max / (1 + exp(r (v_0 - v))) (Jansen & Rit 1995, with the inputs u_0 and u_2 that the
public code of Tilwani & O'Reilly adds). The EEG source is y_1 - y_2.
"""

import math
import warnings

import numba
import numpy as np

from jrlib.parameters import CLASSIC, check_theta, get_convention

STATE_NAMES = ("y_0", "y_1", "y_2", "y_3", "y_4", "y_5")
METHODS = {"rk4": 4, "heun": 2, "euler": 1}  # name -> order of convergence


class DivergenceWarning(RuntimeWarning):
    """Some simulations left the finite numbers; the message names their rows, which are NaN."""


def sigmoid(v, convention=CLASSIC):
    """Firing rate (1/s) of a population at mean potential v (mV), any shape."""
    convention = get_convention(convention)
    with np.errstate(over="ignore"):  # far below v_0 the exponential overflows: the rate is 0
        return convention.v_max / (1.0 + np.exp(convention.r * (convention.v_0 - np.asarray(v))))


def right_hand_side(state, theta, drive, convention=CLASSIC):
    """Time derivative of the state: (..., 6) from state (..., 6), theta (..., 9), drive (..., 3).

    Plain NumPy, complex input included: the readable reference for the compiled integrators.
    """
    y0, y1, y2, y3, y4, y5 = np.moveaxis(np.asarray(state), -1, 0)
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = np.moveaxis(np.asarray(theta), -1, 0)
    u0, u1, u2 = np.moveaxis(np.asarray(drive), -1, 0)
    rate0 = u0 + sigmoid(y1 - y2, convention)
    rate1 = u1 + C * a_2 * sigmoid(C * a_1 * y0, convention)
    rate2 = u2 + C * a_4 * sigmoid(C * a_3 * y0, convention)
    return np.stack(
        [
            y3,
            y4,
            y5,
            A_e * b_e * rate0 - 2.0 * b_e * y3 - b_e**2 * y0,
            A_e * b_e * rate1 - 2.0 * b_e * y4 - b_e**2 * y1,
            A_i * b_i * rate2 - 2.0 * b_i * y5 - b_i**2 * y2,
        ],
        axis=-1,
    )


_compile = numba.njit(cache=True, nogil=True, error_model="numpy")
_inline = numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")


@_inline
def _sigmoid(v, v_max, v_0, r):
    return v_max / (1.0 + math.exp(r * (v_0 - v)))


@_inline
def _derivative(y, dy, p, u0, u1, u2, v_max, v_0, r):
    """dy <- f(y); p: A_e, A_i, b_e, b_i, a_1..a_4, C."""
    A_e, A_i, b_e, b_i, C = p[0], p[1], p[2], p[3], p[8]
    rate0 = u0 + _sigmoid(y[1] - y[2], v_max, v_0, r)
    rate1 = u1 + C * p[5] * _sigmoid(C * p[4] * y[0], v_max, v_0, r)
    rate2 = u2 + C * p[7] * _sigmoid(C * p[6] * y[0], v_max, v_0, r)
    dy[0], dy[1], dy[2] = y[3], y[4], y[5]
    dy[3] = A_e * b_e * rate0 - 2.0 * b_e * y[3] - b_e * b_e * y[0]
    dy[4] = A_e * b_e * rate1 - 2.0 * b_e * y[4] - b_e * b_e * y[1]
    dy[5] = A_i * b_i * rate2 - 2.0 * b_i * y[5] - b_i * b_i * y[2]


@_compile
def _integrate_row(y, p, drive, dt, v_max, v_0, r, order, save_every, states, out):
    """Advance y (6,) in place over the drive (n_steps, 3), writing every save_every-th state."""
    k1, k2, k3, k4, z = np.empty(6), np.empty(6), np.empty(6), np.empty(6), np.empty(6)
    for step in range(drive.shape[0]):
        if step % save_every == 0 and step // save_every < out.shape[0]:
            if states:
                out[step // save_every, :] = y
            else:
                out[step // save_every, 0] = y[1] - y[2]
        u0, u1, u2 = drive[step, 0], drive[step, 1], drive[step, 2]
        _derivative(y, k1, p, u0, u1, u2, v_max, v_0, r)
        if order == 1:
            for i in range(6):
                y[i] += dt * k1[i]
        elif order == 2:
            for i in range(6):
                z[i] = y[i] + dt * k1[i]
            _derivative(z, k2, p, u0, u1, u2, v_max, v_0, r)
            for i in range(6):
                y[i] += 0.5 * dt * (k1[i] + k2[i])
        else:
            for i in range(6):
                z[i] = y[i] + 0.5 * dt * k1[i]
            _derivative(z, k2, p, u0, u1, u2, v_max, v_0, r)
            for i in range(6):
                z[i] = y[i] + 0.5 * dt * k2[i]
            _derivative(z, k3, p, u0, u1, u2, v_max, v_0, r)
            for i in range(6):
                z[i] = y[i] + dt * k3[i]
            _derivative(z, k4, p, u0, u1, u2, v_max, v_0, r)
            for i in range(6):
                y[i] += dt / 6.0 * (k1[i] + 2.0 * (k2[i] + k3[i]) + k4[i])


@numba.njit(cache=True, nogil=True, error_model="numpy", parallel=True)
def _integrate(initial, theta, drive, dt, v_max, v_0, r, order, save_every, states, out):
    for row in numba.prange(theta.shape[0]):
        # One row of the drive serves all simulations, or each has its own.
        own = drive[row] if drive.shape[0] > 1 else drive[0]
        y = initial[row].copy()
        _integrate_row(y, theta[row], own, dt, v_max, v_0, r, order, save_every, states, out[row])


def simulate(
    theta,
    drive,
    *,
    dt=1e-3,
    convention=CLASSIC,
    method="rk4",
    initial=None,
    save_every=1,
    states=False,
    threads=None,
):
    """Integrate the Jansen-Rit model for a batch of parameter vectors.

    Parameters
    ----------
    theta : (n, 9) or (9,), in the order of `PARAMETER_NAMES`, mV and 1/s
    drive : (n_steps, 3), or (n, n_steps, 3) for a drive of its own for each row, 1/s
        Column k is added to the firing rate that enters the synapse of y_k: 0 the pyramidal cells'
        output, 1 the excitatory, 2 the inhibitory feedback. Held constant over each step.
    dt : step, s
    convention : a `Convention` or its name
    method : "rk4" (order 4), "heun" (2) or "euler" (1)
    initial : (6,) or (n, 6), mV and mV/s; the zero state by default
    save_every : keep every so many-th sample
    states : return all six states instead of y_1 - y_2
    threads : number of threads; all that numba has by default. The numbers do not depend on it.

    Returns
    -------
    y_1 - y_2 in mV, (n, ceil(n_steps / save_every)), or (n, ..., 6) with `states=True`. Sample 0 is
    the initial state, so sample j belongs to time j save_every dt. A (9,) theta drops the first
    axis. A simulation that diverges comes back as a row of NaN, and a `DivergenceWarning` names it.

    Raises
    ------
    ValueError : a shape, a name or a number that cannot be used, naming the argument.
    """
    single = np.ndim(theta) == 1
    theta = check_theta(theta)
    convention = get_convention(convention)
    n = len(theta)
    drive = np.ascontiguousarray(drive, dtype=np.float64)
    if drive.ndim == 2:
        drive = drive[np.newaxis]
    if drive.ndim != 3 or drive.shape[2] != 3 or drive.shape[0] not in (1, n):
        raise ValueError(
            f"drive: got shape {drive.shape}, expected (n_steps, 3), or (n, n_steps, 3) with "
            f"n = {n} as in theta"
        )
    _check_finite("drive", drive)
    if method not in METHODS:
        raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    if not (np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt: got {dt}, expected a step in seconds above 0")
    if save_every != int(save_every) or save_every < 1:
        raise ValueError(f"save_every: got {save_every}, expected a whole number from 1")
    initial = np.zeros(6) if initial is None else np.asarray(initial, dtype=np.float64)
    if initial.shape not in ((6,), (n, 6)):
        raise ValueError(f"initial: got shape {initial.shape}, expected (6,) or ({n}, 6)")
    _check_finite("initial", initial)
    initial = np.ascontiguousarray(np.broadcast_to(initial, (n, 6)))

    n_saved = -(-drive.shape[1] // int(save_every))
    out = np.empty((n, n_saved, 6 if states else 1))
    limit = numba.config.NUMBA_NUM_THREADS
    if threads is not None and not 1 <= threads <= limit:
        raise ValueError(f"threads: got {threads}, expected 1 to {limit}")
    before = numba.get_num_threads()
    numba.set_num_threads(limit if threads is None else threads)
    try:
        _integrate(
            initial,
            theta,
            drive,
            float(dt),
            convention.v_max,
            convention.v_0,
            convention.r,
            METHODS[method],
            int(save_every),
            states,
            out,
        )
    finally:
        numba.set_num_threads(before)
    if not states:
        out = out[..., 0]
    _mark_divergence(out)
    return out[0] if single else out


def _check_finite(name, array):
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise ValueError(f"{name}: not finite at index {tuple(map(int, bad[0]))}")


def _mark_divergence(out):
    """Set the rows of out that hold a NaN or an infinity to NaN, and say which they are."""
    rows = np.flatnonzero(~np.isfinite(out).all(axis=tuple(range(1, out.ndim))))
    if len(rows):
        out[rows] = np.nan
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        warnings.warn(
            f"{len(rows)} of {len(out)} simulations diverged and are NaN: rows {shown}",
            DivergenceWarning,
            stacklevel=3,
        )
