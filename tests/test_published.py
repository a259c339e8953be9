"""The published results: whole, small, and what their cells give when they are computed again."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from jrlib import comparison, metrics, study
from jrlib.parameters import QUANTITY_NAMES, Prior, quantities
from jrlib.results import Store

RESULTS = Path(__file__).parent.parent / "results"
STORE = Store(RESULTS, "paper")
LARGEST_WEIGHTS, LARGEST = 30e6, 45e6  # bytes under results/paper: of weights, of all arrays


def stored(**wanted):
    """The first cell of the paper tier with these settings, and its result."""
    for config in study.comparison_grid("paper", study.SEED):
        if all(config[name] == value for name, value in wanted.items()):
            return config, STORE.stored(study.NAME, config)
    raise AssertionError(f"the grid has no cell with {wanted}")


def assert_same_scores(result, scores, atol):
    columns = ["value", "low", "high"]
    expected = result.tables["scores"]
    assert list(expected.parameter) == list(scores.parameter)
    assert list(expected.metric) == list(scores.metric)
    np.testing.assert_allclose(scores[columns], expected[columns], atol=atol)


@pytest.mark.parametrize("grid", study.GRIDS)
def test_no_cell_of_the_paper_tier_is_missing(grid):
    table = study.status(STORE, study.GRIDS[grid]("paper", study.SEED))
    assert (table.done == table.cells).all(), f"run python -m jrlib.study run --of {grid}\n{table}"


def test_every_file_is_in_the_manifest_and_what_it_was():
    """Without a clone's history too: names, checksums, nothing left over."""
    manifest = json.loads((RESULTS / "manifest.json").read_text())
    listed = {
        f"{entry['path']}/{name}": sha for entry in manifest for name, sha in entry["files"].items()
    }
    for path, expected in listed.items():
        assert hashlib.sha256((RESULTS / path).read_bytes()).hexdigest() == expected, path
    found = {
        path.relative_to(RESULTS).as_posix()
        for tier in ("fast", "paper")
        for path in (RESULTS / tier).rglob("*")
        if path.is_file() and path.name != "record.json" and "." not in path.parent.name
    }
    assert found == set(listed)


def test_weights_and_other_arrays_are_small():
    paths = list((RESULTS / "paper").rglob("*.safetensors"))
    weights = sum(
        array.nbytes
        for path in paths
        for name, array in load_file(path).items()
        if name.startswith("weights/") or path.parts[-3] == "npe"  # nothing but weights there
    )
    assert 0 < weights < LARGEST_WEIGHTS
    assert sum(path.stat().st_size for path in paths) < LARGEST


@pytest.mark.parametrize("convention", study.CONVENTIONS)
@pytest.mark.parametrize("method", ["CNNBiLSTM", "VanillaLSTM"])
def test_kept_weights_give_the_stored_scores(convention, method):
    config, result = stored(convention=convention, method=method, keep="weights")
    test = comparison.test_set(convention, config["n_test"], config["variant"])
    estimates = comparison.estimate(comparison.reload(config, result), test, config["noise_factor"])
    spread = Prior().quantity_std
    np.testing.assert_allclose(estimates / spread, result.arrays["estimates"] / spread, atol=1e-3)
    scores = metrics.score(quantities(test.theta), estimates, QUANTITY_NAMES, scale=spread)
    assert_same_scores(result, scores, atol=1e-3)


@pytest.mark.parametrize("convention", study.CONVENTIONS)
@pytest.mark.parametrize("method, noise_factor", [("Ridge", 1e4), ("MLP", 1e6), ("Mean", 0.0)])
def test_cells_give_the_stored_scores_when_they_are_computed_again(
    convention, method, noise_factor
):
    wanted = {"convention": convention, "method": method, "noise_factor": noise_factor}
    config, result = stored(**wanted, variant="standard")
    again = comparison.cell(**config)
    assert_same_scores(result, again.tables["scores"], atol=0.02 if method == "MLP" else 1e-3)
