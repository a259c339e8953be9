"""Known and unknown gain: what exact posteriors and networks say of the same observations."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import unknown_gain_exact, unknown_gain_networks
from experiments.experiment import Result
from experiments.runs import Runs
from experiments.unknown_gain_exact import KNOWN, UNKNOWN
from experiments.unknown_gain_networks import GAINS
from jrlib.inference import unknown_gain
from jrlib.priors import Prior


def test_the_prior_of_the_networks_has_the_samplers_coordinates():
    z = np.random.default_rng(2).standard_normal((5, 9))
    np.testing.assert_allclose(unknown_gain_networks.STANDARD.to_standard(z), z)


def test_what_cannot_be_is_named():
    with pytest.raises(ValueError, match="truth: got 2 answers, expected at least 3"):
        unknown_gain_exact.scores(*np.ones((3, 2, 9)), gain=UNKNOWN)
    for experiment in (unknown_gain_exact, unknown_gain_networks):
        with pytest.raises(ValueError, match="tier"):
            experiment.grid("huge", 0)


def test_the_scores_of_answers():
    rng = np.random.default_rng(3)
    scale = np.append(Prior().quantity_std[[0, 1, 2, 3, 9, 10, 11, 12]], 1.0)
    truth = scale * rng.standard_normal((500, 9))
    truth[:, 8] /= truth[:, 8].std()
    std = np.tile(0.5 * scale, (500, 1))
    answers = truth, truth + std * rng.standard_normal((500, 9)), std
    table = unknown_gain_exact.scores(*answers, gain=UNKNOWN)
    assert list(table.parameter) == list(unknown_gain.NAMES)
    np.testing.assert_allclose(table.contraction, 0.75, rtol=1e-6)
    np.testing.assert_allclose(table.value, 1.0 / np.sqrt(1.25), atol=0.05)
    known = unknown_gain_exact.scores(*answers, gain=KNOWN)
    assert known.equals(table[table.parameter != unknown_gain.GAIN])


def test_the_runs_of_both(tmp_path):
    store = Runs("smoke", tmp_path)
    config = replace(unknown_gain_networks.grid("smoke", 0)[1], noise_factor=1e6)
    networks = store.get("unknown_gain_networks", [config])
    arrays = networks.arrays()
    assert arrays["mean"].shape == (2, config.n_test, 9)
    np.testing.assert_allclose(arrays["mean"][0, :, 8], arrays["truth"][:, 8], rtol=1e-5)
    assert arrays["ranks"].max() <= config.n_samples
    assert networks.table("scores").groupby("gain").size().to_dict() == {KNOWN: 8, UNKNOWN: 9}
    config = replace(unknown_gain_exact.grid("smoke", 0)[1], n=1, noise_factor=1e6)
    exact = store.get("unknown_gain_exact", [config])
    assert list(exact.table("observations").gain) == [KNOWN, UNKNOWN]
    found = exact.arrays()
    assert found["std"][0, 8] == 0.0 < found["std"][1, 8]
    np.testing.assert_allclose(found["truth"][0], arrays["truth"][0], rtol=1e-5)
    assert set(unknown_gain_exact.accepted(exact)) == {"CLASSIC"}


def test_networks_are_compared_on_the_observations_that_have_exact_posteriors(tmp_path):
    rng, n = np.random.default_rng(4), 40
    truth = rng.standard_normal((n, 9)).astype(np.float32)
    table = pd.DataFrame({"number": np.repeat(np.arange(5), 2), "gain": 5 * [*GAINS]})
    table["accepted"] = ~((table.number == 2) & (table.gain == UNKNOWN))
    for name in list(unknown_gain_exact.EXPERIMENT.tables["observations"])[3:]:
        table[name] = 1
    arrays = dict.fromkeys(("truth", "mean"), truth[table.number])
    arrays["std"] = np.full((10, 9), 0.1, np.float32)
    exact = given(unknown_gain_exact, tmp_path, Result({"observations": table}, arrays), n=5)
    seen = {"mean": np.stack([truth, -truth]), "std": np.full((2, n, 9), 0.1, np.float32)}
    seen |= {"ranks": np.full((2, n, 9), 50, np.uint8), "tarp": np.zeros((2, n), np.uint8)}
    seen["ranks"][1, : n // 4] = 0
    seen["truth"] = truth
    config = replace(unknown_gain_networks.grid("smoke", 0)[1], n_test=n, n_samples=99)
    scores = unknown_gain_networks.score_answers(config, seen)
    networks = given(
        unknown_gain_networks, tmp_path, Result({"scores": scores}, seen), n_test=n, n_samples=99
    )
    found = unknown_gain_networks.compare(exact, networks)
    by = ["answer", "observations", "gain"]
    assert found.groupby(by).n.first().to_dict() == {
        **{(answer, "same", each): 4 for answer in ("exact", "NPE") for each in GAINS},
        **{("NPE", "all", each): n for each in GAINS},
    }
    again = pd.concat([found, found.assign(seed=found.seed + 1, low=found.low - 1.0)])
    together = unknown_gain_networks.over_seeds(again)
    assert len(together) == len(found)
    np.testing.assert_allclose(together[["value", "n"]], found[["value", "n"]])
    np.testing.assert_allclose(together.low, found.low - 1.0)
    value = found.groupby(by).value.mean()
    np.testing.assert_allclose(value.xs(KNOWN, level="gain"), 1.0, rtol=1e-6)
    np.testing.assert_allclose(value["NPE", :, UNKNOWN], -1.0, rtol=1e-6)
    held = networks.table("scores").groupby("gain")
    assert held.covered.mean().to_dict() == {KNOWN: 1.0, UNKNOWN: 0.75}
    assert held.size().to_dict() == {KNOWN: 8, UNKNOWN: 9}


def given(module, folder, result, **fields):
    """A `runs.Found` of one run, of the smoke tier in CLASSIC, that gave this result."""
    experiment = replace(module.EXPERIMENT, run=lambda config: result)
    config = replace(module.grid("smoke", 0)[1], **fields)
    return Runs("smoke", folder).get(experiment, [config])
