"""The store of results: what comes back, what is damaged, and what several processes do."""

import os
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from experiments import computing, provenance, runs, storage, tables
from experiments.experiment import Experiment, Result
from experiments.runs import Runs
from experiments.storage import CorruptResultError

CALLS = []
SCHEMA = {"x": float, "square": float, "label": str, "odd": bool, "n": int}


@dataclass(frozen=True)
class Config:
    seed: int
    x: float = 1.0
    label: str = "a"
    trained: str | None = None


def square(config):
    CALLS.append(config.x)
    x = config.x
    table = {"x": [x, np.nan], "square": [x**2 / 3, 0.1 + 0.2]}
    table |= {"label": ["NA", "007"], "odd": [True, False], "n": [1, 2]}
    return Result(
        {"squares": pd.DataFrame(table)},
        {"ramp": np.arange(6, dtype=np.float32).reshape(2, 3) * x},
        {"root": abs(x) ** 0.5, "word": "null"},
        {"layer": np.ones(3, np.float32) * x},
        {"width": 3},
    )


def grid(tier, seed):
    return [Config(seed, float(x)) for x in range(3)]


SQUARE = Experiment(
    "square", Config, square, grid, {"squares": SCHEMA}, {"root": float, "word": str}
)


@pytest.fixture(autouse=True)
def _forget_calls():
    CALLS.clear()


def files(folder):
    return sorted(
        p for p in folder.rglob("*") if p.is_file() and p.name not in ("lock", ".environments.lock")
    )


def test_a_stored_result_comes_back_to_the_last_bit_without_a_second_call(tmp_path):
    first = Runs("fast", tmp_path).get(SQUARE, [Config(1, 0.1)])
    again = Runs("fast", tmp_path).get(SQUARE, [Config(1, 0.1)])
    assert CALLS == [0.1]
    for found in (first, again):
        table = found.table("squares")
        assert table["square"].tolist() == [0.1**2 / 3, 0.1 + 0.2]
        assert table["label"].tolist() == ["NA", "007"]  # a column stands for the field
        assert table["odd"].tolist() == [True, False]
        assert np.isnan(table["x"][1])
        assert found.value("root") == 0.1**0.5
        assert found.value("word") == "null"
        assert found.arrays()["ramp"].dtype == np.float32
        expected = np.arange(3, 6, dtype=np.float32) * 0.1
        np.testing.assert_array_equal(found.arrays()["ramp"][1], expected)
        weights, about = found.weights()
        assert about == {"width": 3}
        np.testing.assert_array_equal(weights["layer"], np.full(3, 0.1, np.float32))
        assert found.config() == Config(1, 0.1)


def test_results_come_in_the_order_asked_for_and_are_chosen_by_fields(tmp_path):
    configs = [Config(2, 3.0), Config(1, 2.0), Config(2, 1.0)]
    found = Runs("fast", tmp_path).get(SQUARE, configs, jobs=1, progress=False)
    assert found.runs.x.tolist() == [3.0, 2.0, 1.0]
    assert found.stack("ramp").shape == (6, 3)
    assert found.where(seed=2).runs.x.tolist() == [3.0, 1.0]
    assert found.where(seed=2, x=1.0).value("root") == 1.0
    assert len(found.table("squares")) == 6
    with pytest.raises(ValueError, match="colour: no such column"):
        found.where(colour="red")
    with pytest.raises(ValueError, match="run: there are 3, say which"):
        found.arrays()


def test_another_configuration_or_tier_is_another_result(tmp_path):
    store = Runs("fast", tmp_path)
    store.get(SQUARE, [Config(1)])
    store.get(SQUARE, [Config(1, label="b")])
    Runs("smoke", tmp_path).get(SQUARE, [Config(1)])
    assert CALLS == [1.0, 1.0, 1.0]


def test_tables_are_sorted_files_without_hashes_that_name_no_function(tmp_path):
    Runs("fast", tmp_path).get(SQUARE, grid("fast", 7), jobs=1, progress=False)
    folder = tmp_path / "fast" / "square"
    names = ["seed7", "seed7-x=0", "seed7-x=2"]  # 1 is the default
    assert [p.relative_to(tmp_path).as_posix() for p in files(tmp_path)] == [
        "environments.csv",
        "fast/square/arrays.safetensors",
        "fast/square/runs.csv",
        "fast/square/squares.csv",
        *sorted(f"fast/square/weights/{name}.safetensors" for name in names),
    ]
    assert pd.read_csv(folder / "runs.csv").run.tolist() == names
    assert pd.read_csv(folder / "squares.csv").run.tolist() == [n for n in names for _ in range(2)]
    for path in folder.glob("*.csv"):
        assert "def " not in path.read_text()
        assert "test_runs" not in path.read_text()


def test_newer_than_computes_older_results_anew(tmp_path):
    first = Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    date = first.runs.computed[0]
    Runs("fast", tmp_path, newer_than=date).get(SQUARE, [Config(1)])
    assert len(CALLS) == 1
    again = Runs("fast", tmp_path, newer_than="now").get(SQUARE, [Config(1)])
    assert len(CALLS) == 2
    assert again.runs.computed[0] > date
    assert len(Runs("fast", tmp_path).all(SQUARE)) == 1


def test_a_new_field_takes_its_default_for_older_rows(tmp_path):
    Runs("fast", tmp_path).get(SQUARE, [Config(1, 2.0)])

    @dataclass(frozen=True)
    class Longer(Config):
        rate: float = 0.5

    longer = replace(SQUARE, config=Longer)
    Runs("fast", tmp_path).get(longer, [Longer(1, 2.0)])
    assert CALLS == [2.0]
    Runs("fast", tmp_path).get(longer, [Longer(1, 2.0, rate=0.25)])
    assert CALLS == [2.0, 2.0]
    both = Runs("fast", tmp_path).all(longer)
    assert sorted(both.runs.rate) == [0.25, 0.5]


def test_a_default_that_stands_for_older_rows_cannot_change_unnoticed(tmp_path):
    Runs("fast", tmp_path).get(SQUARE, [Config(1)])

    @dataclass(frozen=True)
    class Changed:
        seed: int
        x: float = 2.0
        label: str = "a"
        trained: str | None = None

    with pytest.raises(tables.TableError, match="run seed1 has the configuration of seed1-x=1"):
        Runs("fast", tmp_path).get(replace(SQUARE, config=Changed), [Changed(1)])


def test_rows_of_an_older_revision_are_not_used_and_of_a_newer_one_are_an_error(tmp_path):
    Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    newer = replace(SQUARE, revision=2, why="the square is a third of it")
    Runs("fast", tmp_path).get(newer, [Config(1)])
    assert CALLS == [1.0, 1.0]
    with pytest.raises(tables.TableError, match=r"runs.csv, line 2: run seed1 has revision 2"):
        Runs("fast", tmp_path).get(SQUARE, [Config(1)])


def doubled(config, upstream):
    (run,) = upstream["trained"].names
    return Result(values={"double": 2.0 * upstream["trained"].value("root"), "of": run})


def test_runs_are_built_on_the_runs_that_their_configuration_names(tmp_path, monkeypatch):
    built = Experiment(
        "doubled",
        Config,
        doubled,
        lambda tier, seed: [],
        values={"double": float, "of": str},
        upstream={"trained": "square"},
    )
    monkeypatch.setattr(runs, "load", {"square": SQUARE}.get)
    store = Runs("fast", tmp_path)
    configs = [Config(7, trained="seed7-x=2"), Config(7, trained="seed7-x=0")]
    found = store.get(built, configs, jobs=1, progress=False)
    assert found.runs["double"].tolist() == [2.0 * 2.0**0.5, 0.0]
    assert found.runs.of.tolist() == ["seed7-x=2", "seed7-x=0"]
    assert sorted(CALLS) == [0.0, 2.0]
    with pytest.raises(ValueError, match=r"trained: doubled is built on square seed9, which is"):
        store.get(built, [Config(7, trained="seed9")])


@pytest.mark.parametrize("file", ["squares.csv", "arrays.safetensors"])
@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_damaged_result_is_an_error_that_deletes_nothing(tmp_path, file, damage):
    Runs("fast", tmp_path).get(SQUARE, [Config(1, 2.0)])
    path = tmp_path / "fast" / "square" / file
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        place = len(content) - 5
        flipped = bytes([content[place] ^ 1])
        path.write_bytes(
            content[:place] + (b"" if damage == "cut" else flipped + content[place + 1 :])
        )
    left = {p: p.read_bytes() for p in files(tmp_path)}
    with pytest.raises(CorruptResultError, match="restore the file"):
        Runs("fast", tmp_path).get(SQUARE, [Config(1, 2.0)])
    assert {p: p.read_bytes() for p in files(tmp_path)} == left
    assert CALLS == [2.0]
    path.write_bytes(content)
    assert len(Runs("fast", tmp_path).get(SQUARE, [Config(1, 2.0)])) == 1


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_damaged_weights_are_an_error_once_they_are_asked_for(tmp_path, damage):
    found = Runs("fast", tmp_path).get(SQUARE, [Config(1, 2.0)])
    path = tmp_path / "fast" / "square" / "weights" / "seed1-x=2.safetensors"
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[-2] ^= 1
        path.write_bytes(content[:-1] if damage == "cut" else content)
    with pytest.raises(CorruptResultError, match="restore"):
        found.weights()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("square,", "cube,"), "squares.csv: column square is missing"),
        (lambda text: text.replace("True", "perhaps"), "squares.csv: odd holds 'perhaps'"),
        (lambda text: text.replace(",n\n", ",n,more\n"), "squares.csv"),
    ],
)
def test_a_table_of_another_form_names_file_and_column(tmp_path, change, message):
    stored = Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    path = tmp_path / "fast" / "square" / "squares.csv"
    text = change(path.read_text())
    with pytest.raises(tables.TableError, match=message):
        tables.from_lines(text.splitlines(), {"run": str} | SCHEMA, path)
    assert len(stored) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("run,seed,x", "run,seed,y"), "runs.csv: unknown column y"),
        (lambda text: text.replace(",root,", ",roots,"), "unknown column roots"),
        (lambda text: text.replace("seed,x", "x").replace("seed1,1,", "seed1,"), "column seed"),
        (lambda text: text + text.splitlines()[1] + "\n", "line 3: run seed1 is there twice"),
        (lambda text: text.replace("seed1,1,1.0", "seed1,1,much"), "line 2, x: got 'much'"),
        (lambda text: "null", "runs.csv: unknown column null"),
        (lambda text: "[]", r"runs.csv: unknown column \[\]"),
        (lambda text: "", "runs.csv: column run is missing"),
        (lambda text: text.replace("seed1,1,1.0", "seed1,1,3.0"), "has the configuration of"),
    ],
)
def test_damage_to_the_runs_names_file_and_field_and_deletes_nothing(tmp_path, change, message):
    Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    path = tmp_path / "fast" / "square" / "runs.csv"
    path.write_text(change(path.read_text()))
    left = {p: p.read_bytes() for p in files(tmp_path)}
    with pytest.raises(tables.TableError, match=message):
        Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    assert {p: p.read_bytes() for p in files(tmp_path)} == left


def test_an_unreadable_file_is_an_error_and_not_computed_again(tmp_path, monkeypatch):
    Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    path = tmp_path / "fast" / "square" / "runs.csv"
    read = Path.read_text

    def refusing(self, *arguments, **options):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refusing)
    with pytest.raises(PermissionError, match=r"runs\.csv"):
        Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    assert CALLS == [1.0]


def test_a_full_disk_or_a_folder_that_cannot_be_written_is_told_before_computing(
    tmp_path, monkeypatch
):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=10))
        with pytest.raises(OSError, match="0 MB are free, 200 are needed"):
            Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where the folder should be")
    with pytest.raises(OSError, match="results cannot be written here"):
        Runs("fast", blocked).get(SQUARE, [Config(1)])
    assert CALLS == []


def test_stored_results_are_read_from_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert len(Runs("fast", tmp_path).get(SQUARE, [Config(1)])) == 1


def test_what_killed_processes_leave_is_removed_and_what_others_write_stays(tmp_path):
    store = Runs("fast", tmp_path)
    store.get(SQUARE, [Config(1)])
    spool = tmp_path / "fast" / "square" / ".spool"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = storage.this_process().rpartition("-")[0]
    gone = [
        spool / f"a.{host}-{dead.pid}.partial",
        spool.parent / f"runs.csv.{host}-{dead.pid}.partial",
    ]
    kept = [spool / f"b.{host}-{os.getpid()}.partial", spool / "c.elsewhere-1.partial"]
    for path in (*gone, *kept):
        path.write_text("half")
    store.get(SQUARE, [Config(1)])
    assert not any(path.exists() for path in gone)
    assert all(path.exists() for path in kept)


WORKER = """
    import os, signal, sys
    from dataclasses import dataclass
    sys.path[:0] = [{book!r}, "."]
    from experiments.experiment import Experiment, Result
    from experiments.runs import Runs

    @dataclass(frozen=True)
    class Config:
        i: int

    def slow(config):
        with open("calls", "a") as file:
            file.write(f"{{config.i}}\\n")
        if config.i == 2 and not os.path.exists("second_run"):
            os.kill(os.getpid(), signal.SIGKILL)
        return Result(values={{"i": config.i}})

    SLOW = Experiment("slow", Config, slow, lambda tier, seed: [], values={{"i": int}})
    if __name__ == "__main__":
        store = Runs("fast", "store")
        found = store.get(SLOW, [Config(i) for i in range(4)], jobs=1, progress=False)
        print(list(found.runs.computed))
        assert list(found.runs.i) == [0, 1, 2, 3]
"""


def worker(tmp_path):
    book = str(Path(runs.__file__).parents[1])
    (tmp_path / "slow.py").write_text(textwrap.dedent(WORKER.format(book=book)))
    return [sys.executable, "slow.py"], {"cwd": tmp_path, "text": True}


def test_a_killed_run_loses_what_it_was_computing_and_nothing_else(tmp_path):
    command, options = worker(tmp_path)
    assert subprocess.run(command, **options).returncode == -9
    kept = sorted((tmp_path / "store/fast/slow/.spool").glob("*.safetensors"))
    dates = [storage.read_record(path)["computed"] for path in kept]
    assert len(dates) == 2
    (tmp_path / "second_run").touch()
    second = subprocess.run(command, **options, capture_output=True)
    assert second.returncode == 0, second.stderr
    assert all(date in second.stdout for date in dates)
    assert (tmp_path / "calls").read_text().split() == ["0", "1", "2", "2", "3"]


def test_two_processes_may_compute_the_same_runs(tmp_path):
    (tmp_path / "second_run").touch()
    command, options = worker(tmp_path)
    both = [subprocess.Popen(command, **options, stderr=subprocess.PIPE) for _ in range(2)]
    for process in both:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    lines = (tmp_path / "store/fast/slow/runs.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["run", "i0", "i1", "i2", "i3"]


def test_the_second_process_finds_what_the_first_has_done_meanwhile(tmp_path):
    def meddling(config):
        other = Runs("fast", tmp_path)  # stands for another process
        if config.x == 5.0:
            folder = other.folder(SQUARE)
            _, result, record = computing.compute(0, SQUARE, Config(1, 6.0), {}, "")
            storage.write_spooled(SQUARE, folder, Config(1, 6.0), result, record)
        return square(config)

    experiment = replace(SQUARE, run=meddling)
    configs = [Config(1, 5.0), Config(1, 6.0)]
    found = Runs("fast", tmp_path).get(experiment, configs, jobs=1, progress=False)
    assert found.runs.x.tolist() == [5.0, 6.0]
    assert CALLS == [6.0, 5.0]


def blas_threads(config):
    np.linalg.eigvalsh(np.eye(3))
    most = max(pool["num_threads"] for pool in threadpool_info())
    return Result(values={"threads": most})


def test_the_number_of_threads_is_always_the_same(tmp_path):
    """Sums over several threads are rounded otherwise, and training makes much of a last bit."""
    threads = Experiment("threads", Config, blas_threads, grid, values={"threads": int})
    with threadpool_limits(2):
        assert Runs("fast", tmp_path).get(threads, [Config(1)]).value("threads") == 1


def test_side_by_side_gives_the_same_as_one_by_one(tmp_path):
    one, two = (
        Runs("fast", tmp_path / str(jobs)).get(SQUARE, grid("fast", 1), jobs=jobs, progress=False)
        for jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.stack("ramp"), two.stack("ramp"))
    assert one.runs.sha256.tolist() == two.runs.sha256.tolist()


def kept_memory(config):
    return Result(values={"kept": os.environ.get("MALLOC_TRIM_THRESHOLD_", "") or "none"})


def stuck(config):
    if config.x == 0.0:
        raise RuntimeError("no root")
    time.sleep(60.0)


def test_an_error_in_one_run_ends_the_others_and_leaves_no_process(tmp_path):
    experiment = replace(SQUARE, run=stuck)
    start = time.monotonic()
    with pytest.raises(RuntimeError, match="no root"):
        Runs("fast", tmp_path).get(experiment, grid("fast", 1), progress=False)
    assert time.monotonic() - start < 40.0
    assert not computing._POOLS


ORPHANS = """
    import os, signal, sys, time
    sys.path[:0] = [{book!r}, "."]
    from dataclasses import dataclass
    from experiments.experiment import Experiment, Result
    from experiments.runs import Runs

    @dataclass(frozen=True)
    class Config:
        i: int

    def slow(config):
        open(f"{{os.getpid()}}.pid", "w").close()
        time.sleep(60.0)

    def grid(tier, seed):
        return []

    SLOW = Experiment("slow", Config, slow, grid)
    if __name__ == "__main__":
        Runs("fast", "store").get(SLOW, [Config(1), Config(2)], progress=False)
"""


def test_no_process_outlives_a_run_that_is_killed(tmp_path):
    book = str(Path(runs.__file__).parents[1])
    (tmp_path / "orphans.py").write_text(textwrap.dedent(ORPHANS.format(book=book)))
    process = subprocess.Popen([sys.executable, "orphans.py"], cwd=tmp_path)
    for _ in range(600):
        if len(list(tmp_path.glob("*.pid"))) == 2:
            break
        time.sleep(0.1)
    pids = [int(path.stem) for path in tmp_path.glob("*.pid")]
    assert len(pids) == 2
    process.kill()
    process.wait()
    for _ in range(100):
        if not any(storage.alive(pid) for pid in pids):
            break
        time.sleep(0.1)
    assert not any(storage.alive(pid) for pid in pids)


def test_processes_keep_the_memory_that_they_free(tmp_path, monkeypatch):
    kept = Experiment("kept", Config, kept_memory, grid, values={"kept": str})
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    computing._POOLS.clear()  # processes that another test has left
    found = Runs("smoke", tmp_path).get(kept, grid("smoke", 1), progress=False)
    assert found.runs.kept.tolist() == ["4000000000"] * 3
    assert "MALLOC_TRIM_THRESHOLD_" not in os.environ
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "7")
    with computing.lasting_memory():
        assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"
    assert os.environ["MALLOC_TRIM_THRESHOLD_"] == "7"


def test_rows_say_where_they_come_from(tmp_path):
    found = Runs("fast", tmp_path).get(SQUARE, [Config(1)])
    row = found.runs.iloc[0]
    assert row.commit == provenance.commit()
    assert row.device == "cpu"
    assert row.environment == "environment 1"
    (known,) = pd.read_csv(tmp_path / "environments.csv").to_dict("records")
    assert known["numpy"] == np.__version__
    assert known["processor"]
    store = Runs("fast", tmp_path)
    store.get(SQUARE, [Config(1)])
    (used,) = store.provenance().to_dict("records")
    assert (used["result"], used["tier"], used["runs"]) == ("square", "fast", 1)


def test_runs_without_weights_say_so(tmp_path):
    light = replace(SQUARE, run=lambda config: replace(square(config), weights={}, about={}))
    Runs("fast", tmp_path).get(light, [Config(1)])
    found = Runs("fast", tmp_path).get(light, [Config(1)])
    assert found.runs.weights_sha256.tolist() == [""]
    with pytest.raises(ValueError, match="seed1: keeps no weights"):
        found.weights()


def test_the_paper_tier_refuses_code_that_is_not_committed(tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "commit", lambda: "f" * 40 + "+")
    with pytest.raises(ValueError, match="commit: the code has changes that are not committed"):
        Runs("paper", tmp_path).get(SQUARE, [Config(1)])
    monkeypatch.setattr(runs, "commit", lambda: "f" * 40)
    assert len(Runs("paper", tmp_path).get(SQUARE, [Config(1)])) == 1


def test_the_commit_is_that_of_this_code_and_not_of_a_repository_around_it(tmp_path, monkeypatch):
    assert len(provenance.commit().rstrip("+")) in (0, 40)
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "around it"], check=True)
    inner = tmp_path / "book" / "experiments" / "provenance.py"
    inner.parent.mkdir(parents=True)
    inner.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(inner))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() == ""
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "tracked"], check=True)
    assert len(provenance.commit()) == 40
    inner.write_text("changed = True\n")
    assert provenance.commit().endswith("+")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda path: Runs("huge", path), "tier: got 'huge'"),
        (lambda path: Runs("fast", path, newer_than="yesterday"), "newer_than"),
        (lambda path: Runs("fast", path).get("cubes", []), "experiment: got 'cubes'"),
        (lambda path: Runs("fast", path).get(SQUARE, [{"x": 1.0}]), "config: got"),
        (lambda path: Runs("fast", path).get(SQUARE, [Config(1, 2)]), "Config.x: got 2, expected"),
        (lambda path: Runs("fast", path).get(SQUARE, [Config(1, float("nan"))]), "Config.x"),
        (lambda path: Runs("fast", path).get(SQUARE, [Config(1, label="")]), "Config.label"),
    ],
)
def test_bad_input_is_named(tmp_path, call, message):
    with pytest.raises(ValueError, match=message):
        call(tmp_path)
    assert CALLS == []


def test_a_function_that_returns_something_else_is_named(tmp_path):
    with pytest.raises(TypeError, match="square: run returned float, not a Result"):
        Runs("fast", tmp_path).get(replace(SQUARE, run=lambda config: 0.5), [Config(1)])
    short = replace(SQUARE, run=lambda config: Result(values={"root": 1.0, "word": "w"}))
    with pytest.raises(ValueError, match=r"square: tables are \[\], not \['squares'\]"):
        Runs("fast", tmp_path).get(short, [Config(1)])
    assert not files(tmp_path)


def test_a_second_configuration_of_one_name_is_refused(tmp_path):
    from dataclasses import field

    @dataclass(frozen=True)
    class Silent:
        method: str
        rate: float = field(default=0.1, metadata={"named": False})

    experiment = Experiment(
        "silent",
        Silent,
        lambda config: Result(values={"r": config.rate}),
        grid,
        values={"r": float},
    )
    store = Runs("fast", tmp_path)
    assert store.get(experiment, [Silent("a", 0.2)]).names == ["a"]
    with pytest.raises(ValueError, match=r"run a is stored with rate = 0\.2, and asked"):
        store.get(experiment, [Silent("a")])
