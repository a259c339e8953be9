"""Integration of batches of Jansen-Rit columns, and what divergence means."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numba
import numpy as np

from jrlib.parameters import CLASSIC, check_theta, get_convention
from jrlib.simulation import kernel
from jrlib.simulation.kernel import EXPONENTIAL, GAUSSIAN

METHODS = {"rk4": 4, "heun": 2, "euler": 1}  # name -> order of convergence


class DivergenceWarning(RuntimeWarning):
    """Some simulations left the finite numbers; the message names their rows, which are NaN."""


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
    dtype=np.float64,
    noise=0.0,
    seed=0,
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
    dtype : float64, or float32 for twice the speed; of the computation and of the result
    noise : standard deviation of white noise on the excitatory drive (column 1), 1/s, drawn anew
        each step and held over it
    seed : of the noise, a whole number from 0 below 2^63. A row's noise depends on nothing but the
        seed and the row's number, see `jrlib.simulation.kernel`.

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
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"noise: got {noise}, expected a standard deviation from 0")
    if seed != int(seed) or not 0 <= seed < 2**63:
        raise ValueError(f"seed: got {seed}, expected a whole number from 0 below 2^63")
    initial = np.zeros(6) if initial is None else np.asarray(initial, dtype=np.float64)
    if initial.shape not in ((6,), (n, 6)):
        raise ValueError(f"initial: got shape {initial.shape}, expected (6,) or ({n}, 6)")
    _check_finite("initial", initial)
    dtype = check_dtype(dtype)

    out = np.empty((n, -(-drive.shape[1] // int(save_every)), 6 if states else 1), dtype)
    arguments = [np.arange(n), cast(np.atleast_2d(initial), dtype), cast(drive, dtype)]
    arguments += [drive_changes(drive)]
    folded, solver = prepare(theta, convention, method=method, dt=dt, dtype=dtype)
    arguments += [dtype.type(noise), int(seed), solver, int(save_every), out]
    run_in_threads(kernel.integrate, folded, arguments, threads=threads)
    mark_divergence(out)
    if not states:
        out = out[..., 0]
    return out[0] if single else out


def check_dtype(dtype):
    """The dtype, or a ValueError when the kernel is not made for it."""
    dtype = np.dtype(dtype)
    if dtype not in EXPONENTIAL:
        raise ValueError(f"dtype: got {dtype}, expected float64 or float32")
    return dtype


def cast(array, dtype):
    """A contiguous copy of the type; what float32 cannot hold is infinite: divergence."""
    with np.errstate(over="ignore"):
        return np.require(array, dtype, ["C", "W"])  # read-only would mean compiling anew


def drive_changes(drive):
    """Where the kernel must load the drive (1 or n, n_steps, 3) anew: a bool for each step."""
    changes = np.ones(drive.shape[1], bool)
    if len(drive) == 1:
        differs = drive[0, 1:] != drive[0, :-1]
        changes[1:] = differs[:, 0] | differs[:, 1] | differs[:, 2]  # np.any takes 10 times as long
    return changes


def prepare(theta, convention, *, method, dt, dtype):
    """What the kernel wants to know: the folded parameters (n, 14), and the solver's constants."""
    with np.errstate(all="ignore"):  # what overflows ends as divergence
        folded = cast(kernel.fold(theta, convention), dtype)
    steps = tuple(map(dtype.type, (dt, dt / 2.0, dt / 6.0)))
    return folded, (METHODS[method], steps, EXPONENTIAL[dtype], GAUSSIAN[dtype])


def run_in_threads(function, folded, arguments, *, threads):
    """Call the compiled function(start, stop, folded, *arguments) on parts of folded (n, 14).

    Parts are whole blocks of lanes. The calling thread does the work when there is only one.
    """
    limit = numba.config.NUMBA_NUM_THREADS
    if threads is not None and not 1 <= threads <= limit:
        raise ValueError(f"threads: got {threads}, expected 1 to {limit}")
    n, lanes = len(folded), kernel.LANES[folded.dtype]
    n_blocks = -(-n // lanes)
    n_parts = max(1, min(threads or limit, n_blocks))
    edges = [min(n, lanes * (n_blocks * part // n_parts)) for part in range(n_parts + 1)]
    if n_parts == 1:
        function(0, n, folded, *arguments)
        return
    with ThreadPoolExecutor(n_parts) as pool:
        parts = [pool.submit(function, *part, folded, *arguments) for part in pairwise(edges)]
    for part in parts:
        part.result()


def _check_finite(name, array):
    finite = np.isfinite(array)
    if not finite.all():
        bad = np.argwhere(~finite)
        raise ValueError(f"{name}: not finite at index {tuple(map(int, bad[0]))}")


def mark_divergence(out):
    """Set the diverged rows of out (n, n_saved, k) to NaN, and say which they are.

    A state that is not finite never is again, so that the last sample tells.
    """
    rows = np.flatnonzero(~np.isfinite(out[:, -1:]).all(axis=(1, 2)))
    if len(rows):
        out[rows] = np.nan
        shown = ", ".join(map(str, rows[:10])) + (", ..." if len(rows) > 10 else "")
        warnings.warn(
            f"{len(rows)} of {len(out)} simulations diverged and are NaN: rows {shown}",
            DivergenceWarning,
            stacklevel=3,
        )
