"""Intrinsic noise: what it does to trials and averages, and what a run says of it."""

import numpy as np
import pytest

from experiments import intrinsic_noise
from experiments.runs import Runs
from jrlib.parameters import IDENTIFIABLE_NAMES, TYPICAL
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol, simulate_erp

SD = 50.0


def test_without_noise_the_mean_of_the_trials_is_the_deterministic_average():
    protocol = Protocol(n_trials=3)
    dataset = make_dataset(70, 0, convention="CLASSIC", protocol=protocol, threads=1)
    single = intrinsic_noise.trials(
        dataset.theta, protocol, "CLASSIC", rng=np.random.default_rng(0)
    )
    assert single.shape == (70, 3, dataset.n_times)
    np.testing.assert_allclose(
        single.mean(axis=1), dataset.erp, atol=1e-5 * np.abs(dataset.erp).max()
    )


def test_trials_differ_as_noise_through_one_synapse_does():
    """In RELEASED no feedback to speak of: h(t) = A b t exp(-b t) of white noise, less its mean
    over the baseline, has the variance A^2 sd^2 dt (1 / (4 b) + 1 / (b^2 T))."""
    protocol = Protocol(n_trials=2, noise=SD)
    theta = np.tile(TYPICAL, (300, 1))
    single = intrinsic_noise.trials(
        theta, protocol, "RELEASED", rng=np.random.default_rng(1), sampling_rate=1000.0
    )
    late = single[..., protocol.times > 0.1]
    a, b = TYPICAL[0], TYPICAL[2]
    expected = a**2 * SD**2 * protocol.dt * (0.25 / b + 1.0 / (b**2 * 0.2))
    assert late.var(axis=0).mean() == pytest.approx(expected, rel=0.05)


def test_the_variance_of_the_average_falls_as_one_over_the_number_of_trials():
    theta = np.tile(TYPICAL, (400, 1))
    found = {
        n: simulate_erp(
            theta, Protocol(n_trials=n, noise=SD), "RELEASED", rng=np.random.default_rng(n)
        )
        for n in (1, 9)
    }
    ratio = found[1].var(axis=0).mean() / found[9].var(axis=0).mean()
    assert ratio == pytest.approx(9.0, rel=0.1)
    quiet = simulate_erp(TYPICAL, Protocol(), "RELEASED")
    error = found[9].std(axis=0).max() / np.sqrt(400)
    np.testing.assert_allclose(found[9].mean(axis=0), quiet, atol=5.0 * error)


def test_sensor_noise_of_the_trials_is_that_of_the_average():
    """The average's covariance is that which a dataset takes its noise from."""
    protocol, sd = Protocol(n_trials=4), 2.0
    dataset = make_dataset(1, 0, protocol=protocol, threads=1)
    theta = np.tile(dataset.theta, (300, 1))
    single = intrinsic_noise.trials(
        theta, protocol, "CLASSIC", rng=np.random.default_rng(2), noise=sd
    )
    variance = (single.mean(axis=1) - dataset.erp).var(axis=0)
    assert variance.mean() == pytest.approx(sd**2 * np.diag(dataset.covariance).mean(), rel=0.05)


def test_variability_of_white_noise_is_its_size_at_all_times_and_frequencies():
    sd = np.array([0.5, 3.0])[:, np.newaxis, np.newaxis]
    white = sd * np.random.default_rng(3).standard_normal((2, 200, 301))
    found = intrinsic_noise.variability(white, n_bins=12)
    assert found.shape == (2, 24)
    np.testing.assert_allclose(found, np.broadcast_to(np.log(sd[:, 0]), found.shape), atol=0.05)


def test_what_cannot_be_is_named():
    rng = np.random.default_rng(4)
    with pytest.raises(ValueError, match="noise: got -1"):
        intrinsic_noise.trials(TYPICAL[np.newaxis], Protocol(), "CLASSIC", rng=rng, noise=-1.0)
    with pytest.raises(ValueError, match="single: got 1 trial, expected at least 2"):
        intrinsic_noise.variability(np.zeros((3, 1, 301)))
    with pytest.raises(ValueError, match="n_samples: got 300, expected at most 255"):
        intrinsic_noise.assess(None, None, None, n_samples=300, seed=0)
    with pytest.raises(ValueError, match="tier"):
        intrinsic_noise.grid("huge", 0)


def test_a_run_and_its_scores(tmp_path):
    config = intrinsic_noise.grid("smoke", 0)[1]
    found = Runs("smoke", tmp_path).get("intrinsic_noise", [config])
    pairs = [("none", "without"), *(("strong", answer) for answer in ("without", "with"))]
    pairs.append(("strong", "variability"))
    table = found.table("scores")
    assert len(table) == len(pairs) * len(IDENTIFIABLE_NAMES)
    assert list(dict.fromkeys(zip(table["input"], table.answer, strict=True))) == pairs
    for k, (name, answer) in enumerate(pairs):
        levels = intrinsic_noise.levels(found, input_name=name, answer=answer)
        assert levels["intervals"].shape == (config.n_test, len(IDENTIFIABLE_NAMES))
        assert all(np.all((values > 0.0) & (values < 1.0)) for values in levels.values())
        ranks = found.arrays()["ranks"][k]
        inside = np.abs(2.0 * (ranks + 0.5) / (config.n_samples + 1) - 1.0) <= 0.9
        rows = table[(table["input"] == name) & (table.answer == answer)]
        np.testing.assert_allclose(rows.covered, inside.mean(axis=0))
    assert (intrinsic_noise.over_seeds(table).n_seeds == 1).all()
    nominal = [0.0, 0.5, 1.0]
    coverage = intrinsic_noise.coverage_of_regions(
        found, input_name="strong", answer="with", nominal=nominal
    )
    levels = intrinsic_noise.levels(found, input_name="strong", answer="with")
    for region, key in (("highest density", "highest_density"), ("TARP", "tarp")):
        rows = coverage[coverage.region == region]
        assert list(rows.nominal) == nominal
        assert list(rows.observed) == [0.0, np.mean(levels[key] <= 0.5), 1.0]
