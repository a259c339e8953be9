"""The integrators against SciPy, their order, linear limits, and what they refuse."""

import platform
import re
from itertools import pairwise

import numba
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.signal import lsim, lti
from scipy.stats import kstest

import jrlib
from jrlib.parameters import CLASSIC, CONVENTIONS, RELEASED, TYPICAL, Convention
from jrlib.simulation import kernel
from jrlib.simulation.equations import right_hand_side, sigmoid
from jrlib.simulation.integration import DivergenceWarning, simulate


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
            lambda t, y, u=drive[start]: right_hand_side(y, theta, u, convention=convention),
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


@pytest.fixture(scope="module", params=CONVENTIONS)
def exact(request):
    """A convention, nine parameter vectors, a drive, and DOP853's y_1 - y_2 at 1 kHz."""
    convention = CONVENTIONS[request.param]
    theta = np.vstack([TYPICAL, jrlib.sample_prior(8, np.random.default_rng(0))])
    drive = pulse_drive(1e-3)
    states = np.stack([dop853(row, drive, 1e-3, convention) for row in theta])
    return convention, theta, drive, states[..., 1] - states[..., 2]


@pytest.mark.parametrize(
    ("method", "refine", "dtype", "tolerance"),
    [
        ("rk4", 1, np.float64, 1e-3),
        ("rk4", 4, np.float64, 5e-6),
        ("heun", 8, np.float64, 1e-2),
        ("rk4", 1, np.float32, 1e-3),
    ],
)
def test_agreement_with_dop853_over_the_prior(exact, method, refine, dtype, tolerance):
    convention, theta, drive, reference = exact
    ours = simulate(
        theta,
        np.repeat(drive, refine, axis=0),
        dt=1e-3 / refine,
        save_every=refine,
        convention=convention,
        method=method,
        dtype=dtype,
    )
    assert ours.dtype == dtype
    assert (np.abs(ours - reference).max(axis=1) < tolerance * np.ptp(reference, axis=1)).all()


@pytest.mark.parametrize(
    ("method", "dtype", "tolerance"),
    [
        ("rk4", np.float64, 3e-5),
        ("rk4", np.float32, 5e-4),
    ],
)
def test_errors_at_1_ms_and_the_typical_parameters(method, dtype, tolerance):
    """In mV, with pulses of 60/s on 120/s, where the response spans 11.7 mV."""
    drive = np.tile([0.0, 120.0, 0.0], (2000, 1))
    drive[np.arange(2000) % 1000 < 50, 1] += 60.0
    reference = dop853(TYPICAL, drive, 1e-3, CLASSIC)
    exact = reference[:, 1] - reference[:, 2]
    assert np.ptp(exact) == pytest.approx(11.7, abs=0.05)
    ours = simulate(TYPICAL, drive, method=method, dtype=dtype)
    assert np.abs(ours - exact).max() < tolerance


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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_logistic_function_over_its_whole_range(dtype):
    """Against NumPy in twice the precision, over all exponents, both signs and infinity."""
    exponential = kernel.EXPONENTIAL[np.dtype(dtype)]
    limit = float(exponential[0])
    rng = np.random.default_rng(13)
    tiny = 10.0 ** rng.uniform(-30, 0, 20000)
    ends = [0.0, limit, 1e3, 1e5, 1e30, np.inf]
    x = np.concatenate([rng.uniform(0, 1.2 * limit, 200000), np.arange(2 * limit) / 2, tiny, ends])
    x = np.concatenate([x, -x]).astype(dtype)

    @numba.njit(error_model="numpy", fastmath={"contract"})
    def evaluate(x, exponential, out):
        for i in range(len(x)):
            out[i] = kernel._logistic(x[i], exponential)

    out = np.empty_like(x)
    evaluate(x, exponential, out)
    precise = np.clip(x.astype(np.longdouble), -limit, limit)
    expected = 1.0 / (1.0 + np.exp2(precise))
    assert np.max(np.abs(out / expected - 1.0)) < 4 * np.finfo(dtype).eps
    assert 2.0**-limit < np.finfo(dtype).eps / 2.0  # what is cut off is below rounding
    nan = np.full(3, np.nan, dtype)
    evaluate(nan, exponential, nan)
    assert np.isnan(nan).all()


@pytest.mark.parametrize("n", [1, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("method", ["rk4", "heun", "euler"])
def test_lanes_do_not_know_of_each_other(method, dtype, n):
    theta = jrlib.sample_prior(33, np.random.default_rng(14))
    options = {"dtype": dtype, "method": method, "states": True}
    everything = simulate(theta, pulse_drive(1e-3, 0.05), **options)
    part = simulate(theta[-n:], pulse_drive(1e-3, 0.05), **options)
    np.testing.assert_array_equal(part, everything[-n:])


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86 assembly")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_kernel_is_packed(dtype, monkeypatch):
    """A small edit can lose the vector code silently, and 4 times the speed with it."""
    features = numba.config.CPU_FEATURES or llvm_features()
    if "+fma" not in features:
        pytest.skip("this processor has no fused multiply-add")
    # Afresh: numba does not show the assembly of what it has loaded from its cache.
    options = {**kernel.OPTIONS, "cache": False}
    integrate = numba.njit(**options)(kernel.integrate.py_func)
    monkeypatch.setattr(kernel, "integrate", integrate)
    simulate(TYPICAL, pulse_drive(1e-3), dtype=dtype)
    (assembly,) = integrate.inspect_asm().values()
    suffix = {np.float64: "pd", np.float32: "ps"}[dtype]
    count = {
        name: len(re.findall(rf"\bv{name}{suffix}\b", assembly)) for name in ("div", "min", "max")
    }
    # The three methods have 12, 6 and 3 logistic functions, none of them scalar; the first stage of
    # two of them may be the same code.
    assert min(count.values()) >= 18
    assert len(re.findall(rf"\bvfn?m(?:add|sub)\d+{suffix}\b", assembly)) > 7 * 18
    assert not re.findall(rf"\bvmin{suffix.replace('p', 's')}\b", assembly)


def llvm_features():
    import llvmlite.binding

    return llvmlite.binding.get_host_cpu_features().flatten()


def test_philox_gives_its_known_answers():
    """The test vectors that Random123, the reference implementation, comes with."""

    @numba.njit
    def words(c, k):
        return kernel._philox(c[0], c[1], c[2], c[3], k[0], k[1])

    ones = 0xFFFFFFFF
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344, 0xA4093822, 0x299F31D0]
    for counter_and_key, answer in [
        ([0] * 6, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 6, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (pi, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:
        numbers = np.array(counter_and_key, dtype=np.uint64)
        assert list(words(numbers[:4], numbers[4:])) == answer


def noise_of(n, n_steps, seed, dtype=np.float64):
    """The numbers themselves: with Euler's method, y_4 holds the last step's, times A_e b_e dt."""
    initial = np.zeros(6)
    silent = Convention("silent", v_max=0.0, v_0=6.0, r=0.56)
    theta = np.tile(TYPICAL, (n, 1))
    options = {"convention": silent, "method": "euler", "states": True, "initial": initial}
    states = simulate(theta, np.zeros((n_steps, 3)), noise=1.0, seed=seed, dtype=dtype, **options)
    states = states.astype(np.float64)
    y, v = states[..., 1], states[..., 4]
    change = np.diff(v, axis=1) / 1e-3 + 200.0 * v[:, :-1] + 1e4 * y[:, :-1]
    return change / (3.25 * 100.0)


def test_the_noise_is_the_same_in_both_types():
    double, single = (noise_of(64, 2001, 3, dtype) for dtype in (np.float64, np.float32))
    np.testing.assert_allclose(single, double, atol=3e-4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_noise_is_standard_normal_and_white(dtype):
    noise = noise_of(64, 2001, 3, dtype)
    assert kstest(noise.ravel(), "norm").pvalue > 0.01
    assert abs(noise.mean()) < 4 / np.sqrt(noise.size)
    assert abs((noise**2).mean() - 1) < 4 * np.sqrt(2 / noise.size)
    for lag in range(1, 5):
        assert abs((noise[:, lag:] * noise[:, :-lag]).mean()) < 4 / np.sqrt(noise.size)
    across = np.corrcoef(noise) - np.eye(64)
    assert np.abs(across).max() < 5 / np.sqrt(2000)
    assert not np.allclose(noise, noise_of(64, 2001, seed=4))


def test_the_noise_of_a_row_is_its_own():
    theta = jrlib.sample_prior(40, np.random.default_rng(15))
    drive = pulse_drive(1e-3, 0.1)
    noisy = simulate(theta, drive, noise=30.0, seed=7)
    np.testing.assert_array_equal(noisy, simulate(theta, drive, noise=30.0, seed=7, threads=1))
    np.testing.assert_array_equal(noisy[:5], simulate(theta[:5], drive, noise=30.0, seed=7))
    single = simulate(theta, drive, noise=30.0, seed=7, dtype=np.float32)
    np.testing.assert_allclose(single, noisy, atol=1e-4 * np.ptp(noisy))
    same = simulate(np.tile(TYPICAL, (2, 1)), drive, noise=30.0, seed=7)
    assert np.abs(same[0] - same[1]).max() > 0.1


def test_read_only_input_needs_no_other_kernel():
    drive, initial = pulse_drive(1e-3), np.zeros(6)
    expected = simulate(TYPICAL, drive, initial=initial)
    drive.flags.writeable = initial.flags.writeable = False
    n_compiled = len(kernel.integrate.signatures)
    np.testing.assert_array_equal(simulate(TYPICAL, drive, initial=initial), expected)
    assert len(kernel.integrate.signatures) == n_compiled


def test_an_empty_batch_is_an_error_and_an_empty_drive_an_empty_answer():
    with pytest.raises(ValueError, match="theta: got an empty batch"):
        simulate(np.empty((0, 9)), pulse_drive(1e-3))
    assert simulate(TYPICAL, np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_diverging_row_is_nan_and_named_and_the_others_are_untouched(dtype):
    theta = np.tile(TYPICAL, (3, 1))
    theta[1, 2] = -100.0  # a negative time constant grows without bound
    drive = np.tile([0.0, 120.0, 0.0], (20000, 1))
    with pytest.warns(DivergenceWarning, match="1 of 3 .* rows 1"):
        out = simulate(theta, drive, dtype=dtype)
    assert np.isnan(out[1]).all()
    np.testing.assert_array_equal(out[[0, 2]], simulate(theta[[0, 2]], drive, dtype=dtype))


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
        ({"dtype": np.float16}, "dtype: got float16, expected float64 or float32"),
        ({"dtype": int}, "dtype: got int64, expected float64 or float32"),
        ({"noise": -1.0}, "noise: got -1.0"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate(**{"theta": TYPICAL, "drive": np.zeros((10, 3)), **arguments})
