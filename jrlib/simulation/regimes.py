"""Regimes of the model under a constant input: equilibria, bifurcations and limit cycles.

The input is p, a constant firing rate that reaches the excitatory synapses (drive column 1).
Everything here is about one column, theta (9,). At an equilibrium the potential v = y_1 - y_2
determines all the rest, the input included: the curve of equilibria is explicit when it is traced
by v, folds and all, and no continuation is needed.

Reference: F. Grimbert and O. Faugeras, Bifurcation analysis of Jansen's neural mass model, Neural
Computation 18 (2006) 3052-3068.
"""

import functools
import itertools

import numpy as np
import pandas as pd
from scipy.integrate import solve_bvp
from scipy.linalg import expm
from scipy.optimize import brentq

from jrlib.parameters import CLASSIC, TYPICAL, get_convention
from jrlib.simulation.equations import _column, jacobian, right_hand_side, sigmoid
from jrlib.simulation.integration import simulate

# The 15 pairs of six eigenvalues, (15, 2).
_PAIRS = np.array(list(itertools.combinations(range(6), 2)))


def equilibria(v, theta=TYPICAL, convention=CLASSIC):
    """Equilibria at which y_1 - y_2 equals v, and the constant inputs that hold them there.

    Setting the derivatives of the model to zero leaves
    y_0 = A_e / b_e S(v), y_2 = A_i / b_i C a_4 S(C a_3 y_0), y_1 = v + y_2 and
    p = b_e / A_e y_1 - C a_2 S(C a_1 y_0).

    v: (...), mV. Returns p (...), 1/s, and the states (..., 6), mV and mV/s.
    """
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = _column(theta)
    v = np.asarray(v, dtype=float)
    state = np.zeros((*v.shape, 6))
    y0 = A_e / b_e * sigmoid(v, convention)
    y2 = A_i / b_i * C * a_4 * sigmoid(C * a_3 * y0, convention)
    state[..., 0], state[..., 1], state[..., 2] = y0, v + y2, y2
    return b_e / A_e * (v + y2) - C * a_2 * sigmoid(C * a_1 * y0, convention), state


def _eigenvalues(v, theta, convention):
    return np.linalg.eigvals(jacobian(equilibria(v, theta, convention)[1], theta, convention))


def _potentials(p_range, theta, convention, *, spacing):
    """Grid of v (m,) whose equilibria have inputs in p_range, and where it has no gap (m - 1,).

    0 <= S <= v_max bounds y_2 and the feedback, and with them v.
    """
    A_e, A_i, b_e, b_i, _, a_2, _, a_4, C = _column(theta)
    low, high = map(float, p_range)
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"p_range: got {p_range!r}, expected two finite inputs, low < high")
    if not spacing > 0.0:
        raise ValueError(f"spacing: got {spacing}, expected mV above 0")
    rate = np.abs(C) * get_convention(convention).v_max
    lowest = A_e / b_e * low - A_i / b_i * a_4 * rate
    highest = A_e / b_e * (high + a_2 * rate)
    v = np.arange(lowest, highest + spacing, spacing)
    p, _ = equilibria(v, theta, convention)
    inside = np.flatnonzero((p >= low) & (p <= high))
    return v[inside], np.diff(inside) == 1


def equilibrium_curve(p_range, theta=TYPICAL, convention=CLASSIC, spacing=0.01):
    """The curve of equilibria with inputs in p_range (low, high), every `spacing` mV of v.

    Returns a DataFrame ordered by v, with columns p (1/s), v (mV), growth (1/s, the largest real
    part of the eigenvalues), frequency (Hz, of that eigenvalue; 0 if it is real) and stable.
    """
    v, _ = _potentials(p_range, theta, convention, spacing=spacing)
    values = _eigenvalues(v, theta, convention)
    leading = np.take_along_axis(values, values.real.argmax(-1)[:, np.newaxis], -1)[:, 0]
    return pd.DataFrame(
        {
            "p": equilibria(v, theta, convention)[0],
            "v": v,
            "growth": leading.real,
            "frequency": np.abs(leading.imag) / (2.0 * np.pi),
            "stable": leading.real < 0.0,
        }
    )


def bifurcations(p_range, theta=TYPICAL, convention=CLASSIC, spacing=0.01):
    """Folds and Hopf points of the equilibria with inputs in p_range (low, high).

    At a fold the determinant of the Jacobian changes sign. At a Hopf point the product of the sums
    of any two eigenvalues does, and the two whose sum vanishes are complex. Each change of sign
    between neighbours `spacing` mV apart is solved by Brent's method.

    Returns a DataFrame ordered by v, with columns kind ("fold" or "Hopf"), p (1/s), v (mV) and
    frequency (Hz, 0 at a fold).
    """

    def fold_test(v):
        return _eigenvalues(v, theta, convention).prod(-1).real

    def hopf_test(v):
        return _eigenvalues(v, theta, convention)[..., _PAIRS].sum(-1).prod(-1).real

    grid, adjacent = _potentials(p_range, theta, convention, spacing=spacing)
    rows = []
    for kind, test in (("fold", fold_test), ("Hopf", hopf_test)):
        values = test(grid)
        for k in np.flatnonzero(adjacent & (values[:-1] * values[1:] < 0.0)):
            v = brentq(test, grid[k], grid[k + 1], xtol=1e-13)
            p = float(equilibria(v, theta, convention)[0])
            pairs = _eigenvalues(v, theta, convention)[_PAIRS]
            frequency = np.abs(pairs[np.abs(pairs.sum(-1)).argmin(), 0].imag) / (2.0 * np.pi)
            if kind == "fold":
                rows.append((kind, p, v, 0.0))
            elif frequency > 0.0:  # two real eigenvalues of opposite sign are no Hopf point
                rows.append((kind, p, v, frequency))
    table = pd.DataFrame(rows, columns=["kind", "p", "v", "frequency"])
    return table.sort_values("v", ignore_index=True)


def limit_cycles(
    hopf_v, theta=TYPICAL, convention=CLASSIC, *, step=0.1, max_period=1.0, max_cycles=400
):
    """Limit cycles, stable and unstable, along the branch that is born at a Hopf point.

    Each cycle solves a boundary value problem over one period, with the period and the input as
    unknowns: the state returns; y_1 - y_2 is stationary at phase 0; and its value there lies, with
    the input, `step` further along the branch (pseudo-arclength in the plane of peak potential and
    A_e / b_e p, both in mV), so that the branch may turn back in p. Where the solver fails the step
    is halved. Stability comes from the Floquet multipliers.

    hopf_v: y_1 - y_2 at the Hopf point, mV, from `bifurcations`. step: mV. The branch ends where it
    shrinks to an equilibrium, where the period exceeds max_period (s), as it does on the way to a
    homoclinic orbit, where the solver fails at a hundredth of the step, or after max_cycles.

    Returns a DataFrame with columns p (1/s), low, high (mV, extremes of y_1 - y_2), frequency (Hz),
    multiplier (largest modulus of the nontrivial Floquet multipliers) and stable.
    """
    theta = _column(theta)
    p, state = equilibria(hopf_v, theta, convention)
    values, vectors = np.linalg.eig(jacobian(state, theta, convention))
    oscillating = np.flatnonzero(values.imag > 0.0)
    k = oscillating[np.abs(values.real[oscillating]).argmin()]
    mode = step * vectors[:, k] / (vectors[1, k] - vectors[2, k])
    phase = np.linspace(0.0, 1.0, 101)
    orbit = state[:, np.newaxis] + np.real(mode[:, np.newaxis] * np.exp(2j * np.pi * phase))
    unknowns = np.array([2.0 * np.pi / values[k].imag, p])
    per_input = theta[0] / theta[2]  # mV of potential per 1/s of input
    place, direction = np.array([hopf_v, per_input * p]), np.array([1.0, 0.0])

    rows, stride = [], step
    while len(rows) < max_cycles and stride > step / 100.0:
        target = place + stride * direction
        found = _solve_cycle(
            phase, orbit, unknowns, line=(target, direction), theta=theta, convention=convention
        )
        if not found.success:
            stride /= 2.0
            continue
        stride = min(2.0 * stride, step)
        phase, orbit, unknowns = found.x, found.y, found.p
        y = found.sol(np.linspace(0.0, 1.0, 1001))
        v = y[1] - y[2]
        if unknowns[0] > max_period or v[0] < v.mean():  # the peak became a trough: it turned back
            break
        moved = np.array([v[0], per_input * unknowns[1]]) - place
        place, direction = place + moved, moved / np.linalg.norm(moved)
        multiplier = floquet_multipliers(found.sol, unknowns[0], theta, convention=convention)[1]
        rows.append((unknowns[1], v.min(), v.max(), 1.0 / unknowns[0], np.abs(multiplier)))
    table = pd.DataFrame(rows, columns=["p", "low", "high", "frequency", "multiplier"])
    return table.assign(stable=table["multiplier"] < 1.0)


def _solve_cycle(phase, orbit, unknowns, *, line, theta, convention):
    """The cycle (6, m) and its (period, p) on a line, by a point (2,) of it and its normal (2,)."""
    A_e, _, b_e = theta[:3]
    target, direction = line

    def field(_, y, unknowns):
        drive = np.array([0.0, unknowns[1], 0.0])
        return unknowns[0] * right_hand_side(y.T, theta, drive, convention=convention).T

    def field_jacobian(_, y, unknowns):
        by_unknowns = np.zeros((6, 2, y.shape[1]))
        by_unknowns[:, 0] = field(_, y, (1.0, unknowns[1]))
        by_unknowns[4, 1] = unknowns[0] * A_e * b_e
        return unknowns[0] * np.moveaxis(jacobian(y.T, theta, convention), 0, -1), by_unknowns

    def conditions(first, last, unknowns):
        place = np.array([first[1] - first[2], A_e / b_e * unknowns[1]])
        return np.append(last - first, [first[4] - first[5], direction @ (place - target)])

    return solve_bvp(
        field,
        conditions,
        phase,
        orbit,
        p=unknowns,
        fun_jac=field_jacobian,
        tol=1e-4,
        max_nodes=3000,
    )


def floquet_multipliers(cycle, period, theta=TYPICAL, convention=CLASSIC, n_steps=256):
    """Floquet multipliers (6,) of a limit cycle: the trivial one first, then by falling modulus.

    The trivial multiplier, 1 but for rounding, belongs to a shift along the cycle. The monodromy
    matrix is the product of the exponentials of the Jacobian in the middle of n_steps equal steps.

    cycle: function of the phase (m,) in 0..1 that returns states (6, m). period: s.
    """
    middle = (np.arange(n_steps) + 0.5) / n_steps
    steps = expm(jacobian(cycle(middle).T, theta, convention) * period / n_steps)
    values = np.linalg.eigvals(functools.reduce(np.matmul, steps[::-1]))
    values = values[np.argsort(-np.abs(values))]
    trivial = np.abs(values - 1.0).argmin()
    return np.concatenate([values[[trivial]], np.delete(values, trivial)])


def cycle_folds(cycles):
    """Inputs p (1/s) at which a branch from `limit_cycles` turns back: vertices of p over low."""
    p, low = cycles["p"].to_numpy(), cycles["low"].to_numpy()
    turns = np.flatnonzero(np.diff(p)[:-1] * np.diff(p)[1:] < 0.0) + 1
    parabolas = [np.polyfit(low[k - 1 : k + 2], p[k - 1 : k + 2], 2) for k in turns]
    return np.array([c - b**2 / (4.0 * a) for a, b, c in parabolas])


def sweep(inputs, theta=TYPICAL, convention=CLASSIC, *, transient=8.0, duration=4.0, dt=1e-3):
    """What the simulated column settles on while a constant input steps through `inputs`.

    The first simulation starts from zero, each later one from the last state of the one before, as
    when a knob is turned slowly. Rising and falling inputs together show coexisting regimes.

    inputs: (m,), 1/s. transient, duration: discarded and recorded time at each input, s.
    Returns a DataFrame with columns p (1/s), low, high (mV, extremes of y_1 - y_2 in the record)
    and frequency (Hz; 0 without oscillation, NaN if the record holds less than two periods).
    """
    theta = _column(theta)
    discarded = round(transient / dt)
    state, rows = np.zeros(6), []
    for p in np.asarray(inputs, dtype=float):
        drive = np.broadcast_to([0.0, p, 0.0], (discarded + round(duration / dt) + 1, 3))
        y = simulate(theta, drive, dt=dt, convention=convention, initial=state, states=True)
        v, state = y[discarded:, 1] - y[discarded:, 2], y[-1]
        earlier, later = np.ptp(v[: len(v) // 2]), np.ptp(v[len(v) // 2 :])
        oscillates = later > max(0.9 * earlier, 1e-3 * np.abs(v).max())  # and does not die out
        rows.append((p, v.min(), v.max(), crossing_frequency(v, dt) if oscillates else 0.0))
    return pd.DataFrame(rows, columns=["p", "low", "high", "frequency"])


def crossing_frequency(v, dt):
    """Frequency (Hz) of a periodic record v (n,), dt s apart, from upward crossings of mid-range.

    NaN if there are fewer than two.
    """
    above = v - (v.min() + v.max()) / 2.0
    k = np.flatnonzero((above[:-1] < 0.0) & (above[1:] >= 0.0))
    if len(k) < 2:
        return np.nan
    times = (k + above[k] / (above[k] - above[k + 1])) * dt
    return (len(times) - 1) / (times[-1] - times[0])
