"""The published results: none missing, none altered, and small."""

import hashlib
import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from experiments import comparison
from experiments.results import Store

RESULTS = Path(__file__).parent.parent / "results"
STORE = Store(RESULTS, "paper")
LARGEST_WEIGHTS, LARGEST = 30e6, 45e6  # bytes under results/paper: of weights, of all arrays


@pytest.mark.parametrize("grid", comparison.GRIDS)
def test_no_cell_of_the_paper_tier_is_missing(grid):
    table = comparison.status(STORE, comparison.GRIDS[grid]("paper", comparison.SEED))
    assert (table.done == table.cells).all(), (
        f"run python -m experiments.comparison run --of {grid}\n{table}"
    )


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
