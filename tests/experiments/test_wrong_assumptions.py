"""Faults of a recording: each is noticed by its own check, and a run tells of all."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

from experiments import faults, wrong_assumptions
from experiments.exact_posteriors import leaves_envelope
from experiments.runs import Runs
from jrlib.diagnostics import misfit
from jrlib.inference.amortised import NetworkSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.sensors.datasets import make_dataset
from jrlib.sensors.spatial_filter import SpatialFilter
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
    return dataset, Likelihood.of(dataset, NOISE), SpatialFilter(dataset.gain)


def p_values(n=150, **fault):
    """Those of `misfit.noise_checks` for n recordings: a dict of arrays (n,)."""
    dataset, likelihood, sensors = experiment()
    data = faults.record(dataset.theta[:n], dataset, NOISE, rng=np.random.default_rng(0), **fault)
    found = [misfit.noise_checks(likelihood, *sensors.split(row)) for row in data]
    return {name: np.array([row[name] for row in found]) for name in found[0]}


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


def test_late_responses_are_the_same_later():
    dataset, _, _ = experiment()
    theta, rng = dataset.theta[:5], np.random.default_rng(7)
    early, late = (
        np.einsum("c,nct->nt", dataset.gain, faults.record(theta, dataset, 1e-12, rng=rng, **fault))
        for fault in ({}, {"delay": 0.005})
    )
    expected = dataset.erp[:5] * (dataset.gain @ dataset.gain)
    np.testing.assert_allclose(early, expected, atol=1e-6 * np.abs(expected).max())
    offsets = late[:, 5:] - early[:, :-5]  # of the baselines
    assert np.ptp(offsets, axis=1).max() < 1e-5 * np.ptp(early)


def test_the_tables_of_a_run_and_their_summary(tmp_path):
    config = wrong_assumptions.Config(
        "RELEASED",
        0,
        noise_factors=(1e6,),
        n_simulations=100,
        n_test=10,
        n_faultless=2,
        n_faulty=1,
        network=NetworkSettings(epochs=2),
    )
    found = Runs("smoke", tmp_path).get("wrong_assumptions", [config])
    table = found.table("recordings")
    assert len(table) == 1 + len(faults.FAULTS) == len(found.arrays()["mean"])
    assert table[list(misfit.CHECKS)].stack().between(0.0, 1.0).all()
    rows = wrong_assumptions.summary(found).set_index("fault")
    assert list(rows.index) == list(faults.FAULTS)
    assert rows.noticed["noise correlated over 5 cm"] == 1.0
    scores = found.table("scores").pivot(index="fault", columns="metric", values="value")
    for metric in ("noticed", "answered"):
        assert (scores[metric] == rows[metric].loc[scores.index]).all()
    asked = {name: faults.FAULTS[name] for name in ("nothing", "noise correlated over 5 cm")}
    said = wrong_assumptions.verdicts(config, asked, noise_factor=1e6, number=0).set_index("fault")
    assert "electrodes" in said.verdict["noise correlated over 5 cm"]
    assert "No check objects" in said.verdict["nothing"]
    assert (said[["noise checks, ms", "response, ms"]] > 0.0).all(axis=None)
    with pytest.raises(ValueError, match="tier"):
        wrong_assumptions.grid("huge", 0)


def test_uniform_p_values_stay_in_the_envelope():
    p = (np.arange(100) + 0.5) / 100
    right = pd.DataFrame({"convention": "CLASSIC"} | dict.fromkeys(misfit.CHECKS, p))
    frame = wrong_assumptions.uniformity(right, nominal=np.linspace(0.0, 1.0, 11))
    assert list(frame.check.unique()) == list(misfit.CHECKS)
    assert (frame.recordings == 100).all()
    np.testing.assert_allclose(frame.observed, frame.nominal)
    assert not leaves_envelope(frame)
    small = wrong_assumptions.uniformity(right.assign(response=p / 2), nominal=[0.25])
    assert list(small.check[small.observed > small.high]) == ["response"]
