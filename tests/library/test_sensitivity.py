"""Sensitivities against exact symmetries, the linear limit and an independent derivative."""

import numpy as np
import pandas as pd
import pytest

from jrlib.diagnostics import sensitivity
from jrlib.parameters import CLASSIC, CONVENTIONS, PARAMETER_NAMES, RELEASED, TYPICAL
from jrlib.simulation import gradients
from jrlib.simulation.equations import right_hand_side
from jrlib.simulation.protocol import Protocol, simulate_erp

# rms(d ERP / d ln parameter) / max |ERP| at the typical parameters, from independent trials.
# A_e A_i b_e b_i a_1 a_2 a_3 a_4 C
TRIALS = {
    "RELEASED": [0.019, 0.21, 0.019, 0.21, 3e-5, 3e-5, 3e-5, 3e-5, 3e-5],
    "CLASSIC": [0.053, 0.30, 0.083, 0.31, 0.014, 0.076, 0.056, 0.25, 0.21],
}


@pytest.mark.parametrize("convention", TRIALS)
def test_sensitivities_of_the_trials(convention):
    table = sensitivity.relative_sensitivity(convention=convention)
    erp = simulate_erp(TYPICAL, convention=convention)
    over_peak = table.sensitivity * sensitivity.rms(erp) / np.abs(erp).max()
    np.testing.assert_allclose(over_peak, TRIALS[convention], rtol=0.16)
    assert (table.step_error < 1e-6).all()


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_only_the_products_of_c_and_a_matter(convention):
    theta = TYPICAL.copy()
    theta[8] *= 2.0
    theta[4:8] /= 2.0
    np.testing.assert_array_equal(
        simulate_erp(theta, convention=convention), simulate_erp(TYPICAL, convention=convention)
    )


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_exactly_one_direction_is_null(convention):
    values, directions = sensitivity.spectrum(convention=convention)
    null = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, -1.0]) / np.sqrt(5.0)
    assert values[-1] < 1e-10 * values[0]
    assert values[-2] > 10.0 * values[-1]
    np.testing.assert_allclose(np.abs(directions[-1] @ null), 1.0, rtol=1e-6)


def test_spectrum_says_how_visible_a_direction_is():
    values, directions = sensitivity.spectrum()
    reference = simulate_erp(TYPICAL)
    for k in (0, 3, 7):
        moved = simulate_erp(TYPICAL * np.exp(1e-5 * directions[k]))
        change = sensitivity.rms(moved - reference) / sensitivity.rms(reference)
        assert change == pytest.approx(1e-5 * values[k], rel=1e-2)


def test_jacobian_agrees_with_the_complex_step():
    """One pulse, by a Runge-Kutta of the test's own, with imaginary parameter changes."""
    protocol = Protocol(n_trials=1, transient=0.0, epoch=(-0.2, 0.3))
    for convention in CONVENTIONS:
        theta = TYPICAL * (1.0 + 1e-30j * np.eye(9))
        state, source = np.zeros((9, 6), complex), []
        for u in protocol.drive:
            source.append(state[:, 1] - state[:, 2])
            h = protocol.dt
            k1 = right_hand_side(state, theta, u, convention=convention)
            k2 = right_hand_side(state + h / 2 * k1, theta, u, convention=convention)
            k3 = right_hand_side(state + h / 2 * k2, theta, u, convention=convention)
            k4 = right_hand_side(state + h * k3, theta, u, convention=convention)
            state = state + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        source = protocol.correct_baseline(np.array(source).T)  # (9, n_times)
        exact = source.imag / 1e-30 / sensitivity.rms(source[0].real)
        found = sensitivity.jacobian(convention=convention, protocol=protocol)
        np.testing.assert_allclose(found.T, exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max())


def test_released_response_is_that_of_a_linear_filter():
    """A_e and A_i scale two linear parts, so their derivatives add up to the response itself."""
    derivative = sensitivity.jacobian(convention=RELEASED)
    erp = simulate_erp(TYPICAL, convention=RELEASED)
    erp = erp / sensitivity.rms(erp)
    difference = derivative[:, 0] + derivative[:, 1] - erp
    assert sensitivity.rms(difference) < 1e-3
    weak = sensitivity.relative_sensitivity(convention=RELEASED).sensitivity[4:]
    assert (weak < 3e-4).all()


def test_profiles_around_the_reference():
    table = sensitivity.profiles([0.9, 0.999, 1.0, 1.001, 1.1]).set_index(["parameter", "factor"])
    local = sensitivity.relative_sensitivity().set_index("parameter").sensitivity
    for name in PARAMETER_NAMES:
        rows = table.loc[name]
        assert rows.error[1.0] == 0.0
        assert rows.gradient[1.0] == pytest.approx(local[name], rel=1e-9)
        assert rows.error[1.001] == pytest.approx(1e-3 * local[name], rel=1e-2)
        assert rows.error[0.999] == pytest.approx(1e-3 * local[name], rel=1e-2)
        slope = (rows.error[1.1] + rows.error[0.9]) / 0.2
        assert slope == pytest.approx(local[name], rel=0.15)
    amplitude = np.ptp(simulate_erp(TYPICAL, convention=CLASSIC))
    assert table.loc["A_e"].amplitude[1.0] == pytest.approx(amplitude, rel=1e-12)


def test_sobol_indices_of_the_ishigami_function():
    """Closed form (Ishigami & Homma 1990), a = 7, b = 0.1, and an input that does nothing."""
    a, b = 7.0, 0.1

    def ishigami(points):
        x = np.pi * (2.0 * points - 1.0)
        wave = np.sin(x[:, 0]) * (1.0 + b * x[:, 2] ** 4) + a * np.sin(x[:, 1]) ** 2
        return pd.DataFrame({"wave": wave, "constant": 1.0})

    v_1, v_2 = 0.5 * (1.0 + b * np.pi**4 / 5.0) ** 2, a**2 / 8.0
    v_13 = b**2 * np.pi**8 * (1.0 / 18.0 - 1.0 / 50.0)
    whole = v_1 + v_2 + v_13
    table = sensitivity.sobol_indices(ishigami, ["x1", "x2", "x3", "none"], 4096, seed=1)
    wave = table[table.output == "wave"]
    expected = {
        "first": np.array([v_1, v_2, 0.0, 0.0]) / whole,
        "total": np.array([v_1 + v_13, v_2, v_13, 0.0]) / whole,
    }
    for index, values in expected.items():
        np.testing.assert_allclose(wave[index], values, atol=0.02)
        assert (np.abs(wave[index] - values) <= 1.5 * wave[f"{index}_error"] + 1e-3).all()
    assert table[table.output == "constant"]["total"].isna().all()


def test_released_summaries_owe_nothing_to_connectivity():
    """The loops are cut, and rms is that of a sum of two parts that A_e and A_i scale."""
    table = sensitivity.global_sensitivity(128, seed=0, convention=RELEASED)
    total = table.pivot(index="parameter", columns="summary", values="total")
    connectivity = list(PARAMETER_NAMES[4:])
    assert (total.loc[connectivity, ["amplitude", "rms"]] < 1e-3).all(axis=None)
    assert total.loc["A_i", "rms"] > 0.7
    assert total.loc["b_i", "shape 1"] > 0.9
    classic = sensitivity.global_sensitivity(128, seed=0, convention=CLASSIC)
    classic = classic.pivot(index="parameter", columns="summary", values="total")
    assert classic.loc["C", "rms"] > 0.2


def test_summaries_of_known_waveforms():
    times = np.linspace(-0.2, 1.0, 301)
    bump = np.exp(-0.5 * ((times - 0.1) / 0.02) ** 2)
    late = np.exp(-0.5 * ((times - 0.248) / 0.02) ** 2)
    frame = sensitivity.summaries(np.stack([bump, -2.0 * bump, 3.0 * late]), times)
    np.testing.assert_allclose(frame.amplitude, np.log([1.0, 2.0, 3.0]), atol=1e-6)
    np.testing.assert_allclose(frame.latency, [100.0, 100.0, 248.0])
    np.testing.assert_allclose(np.diff(frame.rms), np.log([2.0, 1.5]), atol=1e-6)
    # Scaling changes no shape.
    response = np.random.default_rng(0).standard_normal((20, 301)).cumsum(axis=1)
    scaled = sensitivity.summaries(response * np.arange(1, 21)[:, np.newaxis], times)
    shapes = ["shape 1", "shape 2"]
    np.testing.assert_allclose(
        np.abs(scaled[shapes]), np.abs(sensitivity.summaries(response, times)[shapes]), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sensitivity.profiles([0.0, 1.0]), "factors"),
        (lambda: sensitivity.profiles([[1.0]]), "factors"),
        (lambda: sensitivity.jacobian(step=0.5), "step"),
        (lambda: sensitivity.global_sensitivity(100, seed=0), "n: got 100"),
        (
            lambda: sensitivity.sobol_indices(lambda u: pd.DataFrame(u)[:3], "xy", 4, seed=0),
            "rows",
        ),
        (lambda: gradients.responses(theta=np.tile(TYPICAL, (2, 1))), "theta: got 2 rows"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
