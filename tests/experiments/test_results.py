"""The store: exact matching, provenance, damage, and runs that are killed."""

import json
import os
import subprocess
import sys
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_info, threadpool_limits

from experiments import provenance, results
from experiments.results import CorruptResultWarning, Result, Store

CALLS = []


def square(x, label="a"):
    CALLS.append(x)
    return Result(
        tables={"squares": pd.DataFrame({"x": [x], "square": [x**2 / 3]})},
        arrays={"weights": np.arange(6, dtype=np.float32).reshape(2, 3) * x},
        values={"label": label, "root": x**0.5},
    )


@pytest.fixture(autouse=True)
def _forget_calls():
    CALLS.clear()


def folder_of(store):
    return next(iter(store.used))


def test_a_stored_result_comes_back_to_the_last_bit_without_a_second_call(tmp_path):
    first = Store(tmp_path, "fast").get("square", square, {"x": 0.1})
    again = Store(tmp_path, "fast").get("square", square, {"x": 0.1})
    assert CALLS == [0.1]
    assert again.tables["squares"]["square"][0] == 0.1**2 / 3
    np.testing.assert_array_equal(first.arrays["weights"], again.arrays["weights"])
    assert again.values == {"label": "a", "root": 0.1**0.5}


def test_another_configuration_or_tier_is_another_result(tmp_path):
    store = Store(tmp_path, "fast")
    store.get("square", square, {"x": 1.0})
    store.get("square", square, {"x": 1.0, "label": "b"})
    Store(tmp_path, "smoke").get("square", square, {"x": 1.0})
    assert CALLS == [1.0, 1.0, 1.0]


def test_the_order_of_the_configuration_does_not_matter(tmp_path):
    store = Store(tmp_path, "fast")
    store.get("square", square, {"x": 1.0, "label": "b"})
    store.get("square", square, {"label": "b", "x": 1.0})
    assert CALLS == [1.0]


def scaled(x, by):
    return Result(values={"scaled": by * x})


def test_what_is_given_besides_does_not_tell_results_apart(tmp_path):
    store = Store(tmp_path, "fast")
    (first,) = store.get_many("scaled", scaled, [{"x": 2.0}], given={"by": 3.0})
    (again,) = store.get_many("scaled", scaled, [{"x": 2.0}], given={"by": 4.0})
    assert first.values == again.values == {"scaled": 6.0}
    assert first.record["config"] == {"x": 2.0}


def test_newer_than_computes_older_results_anew(tmp_path):
    record = Store(tmp_path, "fast").get("square", square, {"x": 1.0}).record
    Store(tmp_path, "fast", newer_than=record["computed"]).get("square", square, {"x": 1.0})
    assert len(CALLS) == 1
    Store(tmp_path, "fast", newer_than="now").get("square", square, {"x": 1.0})
    assert len(CALLS) == 2


@pytest.mark.parametrize("file", ["squares.csv", "arrays.safetensors", "record.json"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_result_is_reported_set_aside_and_computed_anew(tmp_path, file, damage):
    store = Store(tmp_path, "fast")
    store.get("square", square, {"x": 2.0})
    path = folder_of(store) / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = bytes([content[middle] ^ 1])
        path.write_bytes(
            content[:middle] + (b"" if damage == "cut" else flipped + content[middle + 1 :])
        )
    if (file, damage) == ("record.json", "gone"):  # nothing says that there was a result
        again = Store(tmp_path, "fast").get("square", square, {"x": 2.0})
    else:
        with pytest.warns(CorruptResultWarning, match="set aside"):
            again = Store(tmp_path, "fast").get("square", square, {"x": 2.0})
        assert list(tmp_path.glob("fast/square/*.corrupt-*"))
    assert CALLS == [2.0, 2.0]
    assert again.tables["squares"]["square"][0] == 4 / 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Store(tmp_path, "fast").get("square", square, {"x": 2.0})
    assert CALLS == [2.0, 2.0]


def test_a_killed_run_leaves_a_store_that_the_next_run_goes_on_with(tmp_path):
    (tmp_path / "slow.py").write_text(
        textwrap.dedent("""
        import os, signal
        from experiments.results import Result

        def slow(i):
            if i == 2 and not os.path.exists("second_run"):
                os.kill(os.getpid(), signal.SIGKILL)
            return Result(values={"i": i})
        """)
    )
    run = textwrap.dedent("""
        import sys
        sys.path.insert(0, ".")
        from slow import slow
        from experiments.results import Store
        store = Store("store", "fast")
        configs = [{"i": i} for i in range(4)]
        results = store.get_many("slow", slow, configs, n_jobs=1, progress=False)
        print([r.record["computed"] for r in results])
        assert [r.values["i"] for r in results] == [0, 1, 2, 3]
    """)
    command = [sys.executable, "-c", run]
    environment_of_jrlib = {"PYTHONPATH": str(Path(results.__file__).parents[1])}
    arguments = {"cwd": tmp_path, "env": environment_of_jrlib, "capture_output": True, "text": True}
    assert subprocess.run(command, **arguments).returncode == -9
    before = sorted(tmp_path.glob("store/fast/slow/*/record.json"))
    kept = [json.loads(path.read_text())["computed"] for path in before]
    assert len(kept) == 2
    (tmp_path / "second_run").touch()
    second = subprocess.run(command, **arguments)
    assert second.returncode == 0, second.stderr
    assert all(date in second.stdout for date in kept)


def test_provenance_says_when_code_has_changed(tmp_path, monkeypatch):
    store = Store(tmp_path, "fast")
    store.get("square", square, {"x": 1.0})
    assert store.provenance()["note"].tolist() == [""]
    monkeypatch.setattr(provenance, "fingerprint", lambda function: "another")
    store = Store(tmp_path, "fast")
    store.get("square", square, {"x": 1.0})
    assert "code changed" in store.provenance()["note"][0]


def blas_threads():
    np.linalg.eigvalsh(np.eye(3))
    return Result(values={"threads": [pool["num_threads"] for pool in threadpool_info()]})


def test_the_number_of_threads_is_always_the_same(tmp_path):
    """Sums over several threads are rounded otherwise, and training makes much of a last bit."""
    with threadpool_limits(2):
        result = Store(tmp_path, "fast").get("threads", blas_threads, {})
        assert set(result.values["threads"]) == {1}


def test_side_by_side_gives_the_same_as_one_by_one(tmp_path):
    configs = [{"x": float(x)} for x in range(4)]
    one = Store(tmp_path / "one", "fast").get_many("square", square, configs, n_jobs=1)
    two = Store(tmp_path / "two", "fast").get_many("square", square, configs, n_jobs=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.arrays["weights"], b.arrays["weights"])


def kept_memory(x):
    return Result(values={"x": x, "kept": os.environ.get("MALLOC_TRIM_THRESHOLD_")})


def test_processes_keep_the_memory_that_they_free(tmp_path, monkeypatch):
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    get_reusable_executor().shutdown()  # processes that another test has left
    found = Store(tmp_path, "smoke").get_many("kept", kept_memory, [{"x": 1}, {"x": 2}])
    assert [result.values["kept"] for result in found] == ["4000000000"] * 2
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    with results._lasting_memory():
        assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"


def test_the_manifest_lists_every_published_result_with_its_checksums(tmp_path):
    for tier in ("smoke", "fast", "paper"):
        Store(tmp_path, tier).get("square", square, {"x": 3.0})
    entries = json.loads(results.write_manifest(tmp_path).read_text())
    assert [entry["tier"] for entry in entries] == ["fast", "paper"]
    for entry in entries:
        assert set(entry["files"]) == {"squares.csv", "arrays.safetensors"}
        assert entry["config"] == {"x": 3.0}
        assert entry["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: Store(path, "huge"), "tier: got 'huge'"),
        (lambda path: Store(path, "fast", newer_than="yesterday"), "newer_than"),
        (lambda path: Store(path, "fast").get("a/b", square, {"x": 1.0}), "name"),
        (lambda path: Store(path, "fast").get("a", square, {"x": np.ones(2)}), "config"),
        (lambda path: Store(path, "fast").get("a", square, {"x": float("nan")}), "config"),
    ],
)
def test_bad_input_is_named(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)


def test_a_function_that_returns_something_else_is_named(tmp_path):
    with pytest.raises(TypeError, match="returned float, not a Result"):
        Store(tmp_path, "fast").get("root", _plain, {"x": 4.0})


def _plain(x):
    return x**0.5


def test_the_command_line_computes_what_is_missing_of_a_tier(tmp_path):
    def grid(tier, seed):
        return [{"x": float(x), "label": tier} for x in range(seed, seed + 2)]

    options = ["--tier", "paper", "--results", str(tmp_path), "--jobs", "1"]
    results.command_line("square", square, grid, 3, options)
    results.command_line("square", square, grid, 3, [*options, "--seed", "4"])
    assert CALLS == [3.0, 4.0, 5.0]
    listed = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(entry["config"]["x"] for entry in listed) == [3.0, 4.0, 5.0]


def test_weights_are_the_arrays_of_that_name():
    arrays = {"weights/a/b": np.ones(2), "other": np.zeros(1)}
    assert list(results.weights_of(Result(arrays=arrays))) == ["a/b"]
    with pytest.raises(ValueError, match="result: holds no weights"):
        results.weights_of(Result(arrays={"other": np.zeros(1)}))
