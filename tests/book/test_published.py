"""The published results: none missing, none altered, nothing left over, and small."""

import functools
import itertools

import pytest
from safetensors import safe_open

from experiments import NAMES
from experiments.experiment import load
from experiments.runs import RESULTS, Runs
from experiments.settings import SEED

PAPER = RESULTS / "paper"
LARGEST_WEIGHTS, LARGEST = 30e6, 45e6  # bytes under results/paper: of weights, of all arrays
MOST_FILES = 200  # of the folder results


@functools.cache
def stored(name):
    """All stored runs of an experiment; tables and arrays have their checksums, or it raises."""
    return Runs().all(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_run_of_the_paper_tier_is_missing(name):
    missing = Runs().missing(name, load(name).grid("paper", SEED))
    assert not missing, f"run python -m experiments run {name}"


@pytest.mark.parametrize("name", NAMES)
def test_every_table_array_and_weight_is_what_it_was_and_of_a_run(name):
    found, folder = stored(name), PAPER / name
    weighed = found.runs.run[found.runs.weights_sha256.fillna("") != ""]
    for run in weighed:
        found.weights(run)  # raises unless they have their checksum
    expected = {"runs.csv", *(f"{table}.csv" for table in found.experiment.tables)}
    expected |= {f"weights/{run}.safetensors" for run in weighed}
    arrays = folder / "arrays.safetensors"
    if arrays.exists():
        expected.add(arrays.name)
        with safe_open(arrays, "numpy") as file:
            assert {key.partition("/")[0] for key in file.keys()} <= {*found.names}  # noqa: SIM118
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert {path.as_posix() for path in files if path.parts[0] != ".spool"} == expected
    for table in found.experiment.tables:
        head, *lines = (folder / f"{table}.csv").read_text().splitlines()
        assert head.startswith("run,")
        assert {line.partition(",")[0] for line in lines} <= {*found.names}


def test_the_folder_is_small_and_has_no_names_that_say_nothing():
    assert {path.name for path in PAPER.iterdir() if path.is_dir()} <= {*NAMES}
    parts = ("*.csv", "*.json", "paper/**/*.csv", "paper/**/*.safetensors")
    files = set(itertools.chain.from_iterable(RESULTS.glob(pattern) for pattern in parts))
    assert len(files) <= MOST_FILES


def test_weights_and_other_arrays_are_small():
    weights = sum(path.stat().st_size for path in PAPER.glob("*/weights/*.safetensors"))
    arrays = sum(path.stat().st_size for path in PAPER.glob("*/arrays.safetensors"))
    assert 0 < weights < LARGEST_WEIGHTS
    assert weights + arrays < LARGEST
