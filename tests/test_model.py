"""The integrators against SciPy, their order, linear limits, and what they refuse."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import lsim, lti

import jrlib
from jrlib.model import DivergenceWarning, right_hand_side, sigmoid, simulate
from jrlib.parameters import CLASSIC, CONVENTIONS, RELEASED, TYPICAL, Convention


def pulse_drive(dt, seconds=0.5):
    """60/s on both inputs for 50 ms, on a background of 120/s."""
    time = np.arange(round(seconds / dt)) * dt
    on = (time < 0.05 - dt / 2)[:, None]
    return np.array([0.0, 120.0, 0.0]) + on * np.array([33.6, 60.0, 60.0])


def dop853(theta, drive, dt, convention):
    """Reference: SciPy's DOP853, restarted wherever the drive changes; states on the same grid."""
    changes = np.flatnonzero(np.any(np.diff(drive, axis=0), axis=1)) + 1
    edges = [0, *changes, len(drive)]
    state, states = np.zeros(6), [np.zeros((1, 6))]
    for start, end in pairwise(edges):
        solution = solve_ivp(
            lambda t, y, u=drive[start]: right_hand_side(y, theta, u, convention),
            (0.0, (end - start) * dt),
            state,
            method="DOP853",
            t_eval=np.arange(1, end - start + 1) * dt,
            rtol=1e-12,
            atol=1e-13,
        )
        assert solution.success
        states.append(solution.y.T)
        state = solution.y[:, -1]
    return np.concatenate(states)[: len(drive)]


@pytest.mark.parametrize("convention", CONVENTIONS.values(), ids=CONVENTIONS)
@pytest.mark.parametrize(("refine", "tolerance"), [(1, 1e-3), (4, 5e-6)])
def test_rk4_agrees_with_dop853_over_the_prior(convention, refine, tolerance):
    theta = np.vstack([TYPICAL, jrlib.sample_prior(8, np.random.default_rng(0))])
    drive = pulse_drive(1e-3)
    ours = simulate(
        theta,
        np.repeat(drive, refine, axis=0),
        dt=1e-3 / refine,
        save_every=refine,
        convention=convention,
    )
    for row in range(len(theta)):
        states = dop853(theta[row], drive, 1e-3, convention)
        reference = states[:, 1] - states[:, 2]
        assert np.abs(ours[row] - reference).max() < tolerance * np.ptp(reference)


def test_rk4_at_1_ms_is_accurate_to_3e_5_mv_at_the_typical_parameters():
    drive = np.tile([0.0, 120.0, 0.0], (2000, 1))
    drive[np.arange(2000) % 1000 < 50, 1] += 60.0
    reference = dop853(TYPICAL, drive, 1e-3, CLASSIC)
    exact = reference[:, 1] - reference[:, 2]
    assert np.ptp(exact) == pytest.approx(11.7, abs=0.05)
    assert np.abs(simulate(TYPICAL, drive) - exact).max() < 3e-5


@pytest.mark.parametrize(("method", "order"), [("rk4", 4), ("heun", 2), ("euler", 1)])
def test_measured_order_of_convergence(method, order):
    """Halving the step divides the error at the end by 2^order."""
    drive = pulse_drive(1e-3, seconds=0.2)
    reference = dop853(TYPICAL, drive, 1e-3, CLASSIC)[-1]
    errors = []
    for factor in (2, 4, 8):
        fine = simulate(
            TYPICAL,
            np.repeat(drive, factor, axis=0),
            dt=1e-3 / factor,
            method=method,
            save_every=factor,
            states=True,
        )
        errors.append(np.linalg.norm((fine[-1] - reference)[:3]))
    measured = np.log2(np.array(errors[:-1]) / errors[1:])
    np.testing.assert_allclose(measured, order, atol=0.15)


def test_without_feedback_the_model_is_a_linear_filter():
    """With v_max = 0 each synapse is A b s / (s + b)^2's impulse response A b t exp(-b t)."""
    silent = Convention("silent", v_max=0.0, v_0=6.0, r=0.56)
    drive = pulse_drive(1e-4)
    states = simulate(TYPICAL, drive, dt=1e-4, convention=silent, states=True)
    time = np.arange(len(drive)) * 1e-4
    for k, (gain, rate) in enumerate([(3.25, 100.0), (3.25, 100.0), (22.0, 50.0)]):
        synapse = lti([gain * rate], [1, 2 * rate, rate**2])
        _, expected, _ = lsim(synapse, drive[:, k], time, interp=False)
        np.testing.assert_allclose(states[:, k], expected, atol=1e-6 * np.abs(expected).max())


def test_a_constant_input_leads_to_the_filters_steady_state():
    silent = Convention("silent", v_max=0.0, v_0=6.0, r=0.56)
    drive = np.tile([10.0, 20.0, 30.0], (3000, 1))
    final = simulate(TYPICAL, drive, convention=silent, states=True)[-1]
    expected = [3.25 / 100 * 10, 3.25 / 100 * 20, 22 / 50 * 30, 0, 0, 0]
    np.testing.assert_allclose(final, expected, atol=1e-9)


def test_the_released_sigmoid_is_flat_and_the_classic_one_is_not():
    low, high = sigmoid(np.array([-10.0, 10.0]), RELEASED)
    assert 0.499 * RELEASED.v_max > low > 0.495 * RELEASED.v_max
    assert high / low < 1.006
    low, high = sigmoid(np.array([-10.0, 10.0]), CLASSIC)
    assert high / low > 1000


def test_in_volts_the_released_model_is_the_public_codes_euler_loop():
    """The public code's loop: volts, v_max 0.05, v_0 0.006, r 0.56, Euler at 1 ms."""
    drive = pulse_drive(1e-3)
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = TYPICAL * [1e-3, 1e-3, *[1] * 7]
    y, source = np.zeros(6), []
    for u in drive:
        source.append(y[1] - y[2])
        rate = [0.05 / (1 + np.exp(0.56 * (0.006 - v)))
                for v in (y[1] - y[2], C * a_1 * y[0], C * a_3 * y[0])]  # fmt: skip
        push = [
            A_e * b_e * (u[0] + rate[0]) - 2 * b_e * y[3] - b_e**2 * y[0],
            A_e * b_e * (u[1] + C * a_2 * rate[1]) - 2 * b_e * y[4] - b_e**2 * y[1],
            A_i * b_i * (u[2] + C * a_4 * rate[2]) - 2 * b_i * y[5] - b_i**2 * y[2],
        ]
        y = y + 1e-3 * np.array([*y[3:], *push])
    ours = simulate(TYPICAL, drive, convention=RELEASED, method="euler")
    np.testing.assert_allclose(ours, 1e3 * np.array(source), rtol=1e-9, atol=1e-12)


def test_only_the_products_with_c_matter():
    theta = jrlib.sample_prior(8, np.random.default_rng(7))
    moved = theta.copy()
    moved[:, 8] *= 1.25
    moved[:, 4:8] /= 1.25
    one, two = simulate(theta, pulse_drive(1e-3)), simulate(moved, pulse_drive(1e-3))
    np.testing.assert_allclose(one, two, atol=1e-8 * np.abs(one).max())


def test_the_numbers_depend_neither_on_threads_nor_on_the_batch():
    theta = jrlib.sample_prior(7, np.random.default_rng(8))
    drive = pulse_drive(1e-3)
    all_at_once = simulate(theta, drive)
    np.testing.assert_array_equal(all_at_once, simulate(theta, drive, threads=1))
    np.testing.assert_array_equal(all_at_once, np.stack([simulate(row, drive) for row in theta]))


def test_saving_starting_and_driving_row_by_row():
    theta = jrlib.sample_prior(3, np.random.default_rng(9))
    drive = pulse_drive(1e-3)
    states = simulate(theta, drive, states=True)
    source = states[..., 1] - states[..., 2]
    np.testing.assert_array_equal(simulate(theta, drive, save_every=7), source[:, ::7])
    later = simulate(theta, drive[200:], initial=states[:, 200], states=True)
    np.testing.assert_array_equal(later, states[:, 200:])
    own = simulate(theta, np.stack([drive, 2 * drive, 0 * drive]))
    np.testing.assert_array_equal(own[1], simulate(theta[1], 2 * drive))


def test_empty_batches_and_empty_drives():
    assert simulate(np.empty((0, 9)), pulse_drive(1e-3)).shape == (0, 500)
    assert simulate(TYPICAL, np.empty((0, 3))).shape == (0,)


def test_a_diverging_row_is_nan_and_named_and_the_others_are_untouched():
    theta = np.tile(TYPICAL, (3, 1))
    theta[1, 2] = -100.0  # a negative time constant grows without bound
    drive = np.tile([0.0, 120.0, 0.0], (20000, 1))
    with pytest.warns(DivergenceWarning, match="1 of 3 .* rows 1"):
        out = simulate(theta, drive)
    assert np.isnan(out[1]).all()
    np.testing.assert_array_equal(out[[0, 2]], simulate(theta[[0, 2]], drive))


def test_right_hand_side_agrees_with_a_small_euler_step():
    theta = jrlib.sample_prior(5, np.random.default_rng(10))
    state = np.random.default_rng(11).normal(size=(5, 6)) * [10, 10, 10, 500, 500, 500]
    drive = np.array([[33.6, 120.0, 60.0]] * 2)
    step = simulate(theta, drive, dt=1e-3, method="euler", initial=state, states=True)
    np.testing.assert_allclose(
        (step[:, 1] - step[:, 0]) / 1e-3, right_hand_side(state, theta, drive[0]), rtol=1e-9
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"theta": TYPICAL[:8]}, "theta: got shape"),
        ({"drive": np.zeros((10, 2))}, r"drive: got shape \(1, 10, 2\)"),
        ({"drive": np.zeros((2, 10, 3))}, "drive: got shape"),
        ({"drive": np.full((10, 3), np.nan)}, "drive: not finite"),
        ({"method": "rk5"}, "method: got 'rk5', expected one of rk4, heun, euler"),
        ({"convention": "SI"}, "convention: got 'SI'"),
        ({"dt": 0.0}, "dt: got 0.0"),
        ({"initial": np.zeros(5)}, "initial: got shape"),
        ({"initial": np.full(6, np.inf)}, "initial: not finite"),
        ({"save_every": 0}, "save_every: got 0"),
        ({"threads": 0}, "threads: got 0"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"theta": TYPICAL, "drive": np.zeros((10, 3)), **arguments})
