"""Equilibria, bifurcations and limit cycles against the equations, simulations and literature."""

import numpy as np
import pytest

from jrlib.parameters import CONVENTIONS, RELEASED, TYPICAL
from jrlib.priors import sample_prior
from jrlib.simulation import equations, regimes
from jrlib.simulation.equations import right_hand_side
from jrlib.simulation.integration import simulate

P_RANGE = (-100.0, 400.0)
# Grimbert & Faugeras (2006) for p > 0; the two points at p < 0 as continued with AUTO in
# github.com/pclus/auto-tutorial, docs/2-Examples/Jansen-Rit.md.
LITERATURE = {"fold": [113.586, -41.3014], "Hopf": [-12.1475, 89.83, 315.70]}


@pytest.fixture(scope="module")
def points():
    return regimes.bifurcations(P_RANGE)


@pytest.fixture(scope="module")
def spike_branch(points):
    return regimes.limit_cycles(points[points.kind == "Hopf"].iloc[0].v, step=0.1)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_equilibria_solve_the_equations(convention):
    for theta in [TYPICAL, *sample_prior(5, np.random.default_rng(1))]:
        v = np.linspace(-20.0, 20.0, 41)
        p, state = regimes.equilibria(v, theta, convention)
        drive = np.stack([0.0 * p, p, 0.0 * p], axis=-1)
        rates = right_hand_side(state, theta, drive, convention=convention)
        scale = theta[2] ** 2 * (1.0 + np.abs(state).max())
        np.testing.assert_allclose(rates / scale, 0.0, atol=1e-13)
        np.testing.assert_allclose(state[:, 1] - state[:, 2], v, atol=1e-11)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_jacobian_is_the_derivative_of_the_equations(convention):
    rng = np.random.default_rng(2)
    theta = sample_prior(1, rng)[0]
    state = rng.normal(scale=[0.1, 5.0, 5.0, 10.0, 100.0, 100.0])
    steps = state + 1e-30j * np.eye(6)  # complex step: exact to rounding
    exact = right_hand_side(steps, theta, np.zeros(3), convention=convention).imag.T / 1e-30
    np.testing.assert_allclose(equations.jacobian(state, theta, convention), exact, rtol=1e-12)


def test_bifurcations_of_the_literature(points):
    for kind, expected in LITERATURE.items():
        found = points[points.kind == kind]
        np.testing.assert_allclose(found.p, expected, atol=0.006)
    assert points[points.kind == "Hopf"].frequency.between(7.0, 12.0).all()


def test_stability_changes_at_the_bifurcations_only(points):
    curve = regimes.equilibrium_curve(P_RANGE)
    changes = curve.v[1:][np.diff(curve.stable) != 0]
    bounding = points.v.iloc[[0, 2, 3, 4]]  # the second fold joins two unstable stretches
    np.testing.assert_allclose(changes, bounding, atol=0.011)


def test_small_perturbations_decay_as_the_eigenvalues_say():
    v = 1.0
    p, state = regimes.equilibria(v)
    values, vectors = np.linalg.eig(equations.jacobian(state))
    k = values.real.argmax()
    assert values[k].real < 0
    mode = np.real(vectors[:, k]) / np.abs(vectors[:, k]).max()
    path = simulate(
        TYPICAL, np.tile([0.0, p, 0.0], (101, 1)), initial=state + 1e-4 * mode, states=True
    )
    expected = 1e-4 * np.real(vectors[:, k] / np.abs(vectors[:, k]).max() * np.exp(values[k] * 0.1))
    np.testing.assert_allclose(path[-1] - state, expected, rtol=2e-3, atol=1e-9)


def test_released_model_has_one_stable_equilibrium_and_no_bifurcation():
    curve = regimes.equilibrium_curve(P_RANGE, convention=RELEASED)
    assert curve.stable.all()
    assert (np.diff(curve.p) > 0).all()
    assert regimes.bifurcations(P_RANGE, convention=RELEASED).empty
    # near-linear: p rises as it would if the sigmoid were constant
    slope = np.diff(curve.p) / np.diff(curve.v)
    np.testing.assert_allclose(slope, TYPICAL[2] / TYPICAL[0], rtol=1e-3)


def test_fold_of_cycles_of_the_literature(spike_branch):
    np.testing.assert_allclose(regimes.cycle_folds(spike_branch), [137.38], atol=0.05)
    turned = np.arange(len(spike_branch)) >= spike_branch.p.argmax()
    unstable = spike_branch.stable[~turned]
    assert not unstable.iloc[:-1].any()
    assert spike_branch.stable[turned].iloc[1:].all()


def test_stable_cycles_are_where_the_simulation_goes(points, spike_branch):
    alpha = regimes.limit_cycles(points[points.kind == "Hopf"].iloc[1].v, step=0.1)
    assert alpha.stable.all()
    assert alpha.p.iloc[-1] == pytest.approx(points.p.iloc[-1], abs=0.1)  # ends at the next Hopf
    spikes = spike_branch[spike_branch.p.argmax() + 2 :][::-1]
    for branch, inputs in ((alpha, [250.0, 150.0]), (spikes, [100.0, 120.0, 130.0])):
        simulated = regimes.sweep(inputs).query("p > 100")
        for column in ("low", "high", "frequency"):
            order = np.argsort(branch.p)
            expected = np.interp(simulated.p, branch.p.iloc[order], branch[column].iloc[order])
            np.testing.assert_allclose(simulated[column], expected, rtol=5e-3)


def test_trivial_multiplier_is_one_and_liouville_holds(points):
    hopf = points[points.kind == "Hopf"].iloc[1]
    _, state = regimes.equilibria(hopf.v)
    values = regimes.floquet_multipliers(
        lambda phase: np.repeat(state[:, np.newaxis], len(phase), axis=1), 1.0 / hopf.frequency
    )
    np.testing.assert_allclose(np.abs(values[:2]), 1.0, atol=1e-9)
    # Liouville: the product of the multipliers is exp(trace of the Jacobian x period)
    trace = -4.0 * TYPICAL[2] - 2.0 * TYPICAL[3]
    np.testing.assert_allclose(np.log(np.abs(values)).sum(), trace / hopf.frequency, rtol=1e-6)


def test_sweep_shows_bistability():
    up = regimes.sweep([60.0, 100.0]).iloc[-1]
    down = regimes.sweep([200.0, 150.0, 125.0, 110.0, 100.0]).iloc[-1]
    assert up.frequency == 0.0
    assert down.frequency == pytest.approx(10.4, abs=0.1)


def test_crossing_frequency_of_a_sine():
    t = np.arange(2000) * 1e-3
    assert regimes.crossing_frequency(np.sin(2 * np.pi * 10.3 * t), 1e-3) == pytest.approx(
        10.3, rel=1e-4
    )
    assert np.isnan(regimes.crossing_frequency(np.sin(2 * np.pi * 0.3 * t), 1e-3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: regimes.equilibria(0.0, np.tile(TYPICAL, (2, 1))), "theta: got 2 rows"),
        (lambda: regimes.bifurcations((100.0, 0.0)), "p_range"),
        (lambda: regimes.equilibrium_curve(P_RANGE, spacing=0.0), "spacing"),
        (lambda: equations.jacobian(np.zeros(6), convention="VOLTS"), "convention"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
