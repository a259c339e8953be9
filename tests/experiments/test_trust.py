"""Checks of a recording: uniform p values when nothing is wrong, and each fault noticed."""

from dataclasses import fields
from functools import cache, cached_property

import numpy as np
import pytest
from scipy.stats import kstest

from experiments import faults, wrong_assumptions
from jrlib.diagnostics import misfit
from jrlib.inference.exact_posterior import Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.sensors import heads, noise_models
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

# Short epochs at their own rate, where the covariance over time is singular.
SHORT = Protocol(n_trials=2, epoch=(-0.02, 0.1), baseline=(-0.02, 0.0), pulse_width=0.02)
NOISE = 1e2


@cache
def experiment(n=150):
    """Dataset, likelihood and sensors."""
    dataset = make_dataset(
        n, 5, convention="RELEASED", protocol=SHORT, sampling_rate=1000.0, threads=1
    )
    return dataset, Likelihood.of(dataset, NOISE), misfit.Sensors(dataset.gain)


def p_values(n=150, **fault):
    """Those of `misfit.noise_checks` for n recordings: a dict of arrays (n,)."""
    dataset, likelihood, sensors = experiment()
    data = faults.record(dataset.theta[:n], dataset, NOISE, np.random.default_rng(0), **fault)
    found = [misfit.noise_checks(likelihood, *sensors.split(row)) for row in data]
    return {name: np.array([row[name] for row in found]) for name in found[0]}


class LinearLikelihood(Likelihood):
    """Of a response that is linear in eight coordinates, of which four are known well."""

    def respond(self, points):
        return points @ self.slopes

    @cached_property
    def slopes(self):
        slopes = np.random.default_rng(1).standard_normal((8, self.rank))
        slopes *= np.array([30.0] * 4 + [0.1] * 4)[:, np.newaxis]
        return slopes @ np.linalg.pinv(self.whiten(np.eye(len(self.covariance))))


class LinearReference(Reference):
    def theta(self, points, coupling=1.0):
        return points


@cache
def linear_reference():
    _, likelihood, _ = experiment()
    same = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    return LinearReference(LinearLikelihood(**same))


def test_the_rest_holds_nothing_of_the_source_and_noise_of_the_same_size():
    gain = heads.MOMENT_PER_MV * heads.lead_field()
    for reach in (0.0, 0.05):
        covariance = noise_models.electrode_covariance(reach=reach)
        source, rest = misfit.Sensors(gain, covariance).split(np.diag(np.ones(64)))
        maps = np.vstack([source, rest])
        assert maps.shape == (63, 64)
        np.testing.assert_allclose(maps @ gain, np.eye(63)[0], atol=1e-9)
        noise = maps @ covariance @ maps.T / noise_models.matched_noise(reach=reach) ** 2
        np.testing.assert_allclose(noise, np.eye(63), atol=1e-7)


def test_p_values_are_uniform_when_nothing_is_wrong():
    _, likelihood, _ = experiment()
    assert likelihood.rank == SHORT.n_times - 1
    for name, values in p_values().items():
        assert kstest(values, "uniform").pvalue > 1e-3, name


def test_so_are_those_of_the_response_in_a_linear_model():
    dataset, _, _ = experiment()
    reference, rng = linear_reference(), np.random.default_rng(2)
    points = reference.points(reference.prior.sample(50, rng))
    responses = reference.likelihood.respond(points)
    noise = rng.multivariate_normal(
        np.zeros(dataset.n_times), reference.likelihood.covariance, size=50, method="eigh"
    )
    starts = rng.standard_normal((20, 8))
    found = [misfit.response_checks(reference, row, starts) for row in responses + noise]
    for name in found[0]:
        assert kstest([row[name] for row in found], "uniform").pvalue > 1e-3, name


def test_parameters_that_the_prior_does_not_know_and_responses_that_the_model_does_not_have():
    dataset, _, _ = experiment()
    reference, rng = linear_reference(), np.random.default_rng(3)
    starts = rng.standard_normal((20, 8))
    noise = rng.multivariate_normal(
        np.zeros(dataset.n_times), reference.likelihood.covariance, method="eigh"
    )
    far = reference.likelihood.respond(6.0 * np.eye(8))[0]
    found = misfit.response_checks(reference, far + noise, starts)
    assert found["parameters"] < 1e-3
    assert min(found["response"], found["residual"]) > 1e-3
    wave = 10.0 * noise.std() * np.sin(np.linspace(0.0, 6.0, dataset.n_times))
    found = misfit.response_checks(reference, wave + noise, starts)
    assert max(found["response"], found["residual"]) < 1e-6


@pytest.mark.parametrize(
    "fault, notices, silent",
    [
        ({"tilt": 20.0}, "topography", ("noise level", "electrodes", "noise spectrum")),
        ({"noise": 1.3}, "noise level", ("topography", "electrodes", "noise spectrum")),
        ({"reach": 0.05}, "electrodes", ("noise spectrum",)),
        ({"aperiodic": True}, "noise spectrum", ()),
        ({"strength": 0.5}, None, misfit.CHECKS.keys() - {"response", "residual", "parameters"}),
    ],
)
def test_each_fault_is_noticed_by_its_own_check(fault, notices, silent):
    rates = {name: np.mean(values < 0.01) for name, values in p_values(30, **fault).items()}
    if notices:
        assert rates[notices] > 0.8
    for name in silent:
        assert rates[name] < 0.15, name


def test_a_flat_spectrum_and_one_that_is_not():
    rng = np.random.default_rng(4)
    for n in (100, 101):
        white = rng.standard_normal((200, 3, n))
        assert kstest([misfit.flatness(rows) for rows in white], "uniform").pvalue > 1e-3
    white = rng.standard_normal((5, 301))
    assert misfit.flatness(white[:, 1:] + 0.4 * white[:, :-1]) < 1e-6


def test_noise_that_fits_in_total_but_leans_on_one_electrode():
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((60, 300))
    assert misfit.sphericity(rows) > 1e-3
    rows[:10] = 0.8 * rows[0] + 0.6 * rows[:10]
    assert misfit.sphericity(rows) < 1e-6


def test_holms_correction():
    names = [*misfit.CHECKS][:4]
    verdict = misfit.Verdict(dict(zip(names, (0.01, 0.04, 0.03, 0.005), strict=True)))
    assert [verdict.corrected[name] for name in names] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert verdict.objections == [names[3], names[0]]
    assert names[0] in str(verdict)
    assert misfit.CHECKS[names[3]] in str(verdict)
    assert "No check objects" in str(misfit.Verdict(dict.fromkeys(names, 0.4)))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda data: data[:63], r"data: got shape \(63, 121\), expected \(64, n_times\)"),
        (lambda data: data[:, :99], "99 samples, expected 121"),
        (lambda data: np.where(np.arange(64)[:, None] == 3, np.nan, data), "NaN.* channels.*3"),
        (lambda data: np.where(np.arange(64)[:, None] == 5, 0.0, data), "no signal.* channels.*5"),
        (lambda data: 1e6 * data, "data:.*microvolts, expected volts: multiply them by 1e-06"),
        (lambda data: 1e3 * data, "data:.*millivolts, expected volts: multiply them by 0.001"),
        (lambda data: 1e-3 * data, "data:.*multiply them by 1000; .* the noise factor is wrong"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(spoil, message):
    dataset, _, sensors = experiment()
    (data,) = faults.record(dataset.theta[:1], dataset, NOISE, np.random.default_rng(6))
    with pytest.raises(ValueError, match=message):
        misfit.check(linear_reference(), sensors, spoil(data), np.zeros((4, 8)))


def test_late_responses_are_the_same_later():
    dataset, _, _ = experiment()
    theta, rng = dataset.theta[:5], np.random.default_rng(7)
    early, late = (
        np.einsum("c,nct->nt", dataset.gain, faults.record(theta, dataset, 1e-12, rng, **fault))
        for fault in ({}, {"delay": 0.005})
    )
    expected = dataset.erp[:5] * (dataset.gain @ dataset.gain)
    np.testing.assert_allclose(early, expected, atol=1e-6 * np.abs(expected).max())
    offsets = late[:, 5:] - early[:, :-5]  # of the baselines
    assert np.ptp(offsets, axis=1).max() < 1e-5 * np.ptp(early)


def test_the_table_of_a_cell_and_its_summary():
    result = wrong_assumptions.cell("RELEASED", 100, 200, 0, 10, 2, 1, [1e6])
    table = result.tables["recordings"]
    assert len(table) == 1 + len(faults.FAULTS) == len(result.arrays["mean"])
    assert table[list(misfit.CHECKS)].stack().between(0.0, 1.0).all()
    rows = wrong_assumptions.summary(result).set_index("fault")
    assert list(rows.index) == list(faults.FAULTS)
    assert rows.noticed["noise correlated over 5 cm"] == 1.0
    with pytest.raises(ValueError, match="tier"):
        wrong_assumptions.grid("huge", 0)
