"""Runs of experiments, and the tables in which their results are kept.

An experiment is a module with a frozen `Config`, a function `run` and a `grid` of configurations;
`Experiment` says how they belong together. What its runs gave lies in one folder for each tier:

    results/paper/comparison/runs.csv             a row for each run: configuration and provenance
                             scores.csv           further tables, each row with the name of its run
                             arrays.safetensors   arrays by "run/name"
                             weights/<run>.safetensors
    results/environments.csv                      a row for each software and machine

A run is known by its experiment and its configuration, never by the code that made it. Whether the
numbers are still those of the code is not declared but measured: see `experiments.verify`.

Each run that is done goes into a file of its own in the folder `.spool`, at once and whole; later
they are merged into the tables under a lock. So a run that is stopped loses what it was computing
and nothing else, and several processes may work on the same results.
"""

import contextlib
import dataclasses
import hashlib
import importlib
import itertools
import json
import multiprocessing
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy
from filelock import FileLock
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from experiments import tables
from experiments.provenance import commit, environment

TIERS = ("smoke", "fast", "paper")
RESULTS = Path(__file__).resolve().parents[2] / "results"
SPACE = 200e6  # bytes that must be free before anything is computed
MERGE_EVERY = 120.0  # seconds between merges while runs are computed
# What `runs.csv` says of each run after its configuration and its values.
RECORD = {
    "revision": int,
    "computed": str,
    "seconds": float,
    "cpu_seconds": float,
    "commit": str,
    "environment": str,
    "device": str,
    "sha256": str,
    "weights_sha256": str,
}


class CorruptResultError(ValueError):
    """What is stored is not what was written; the message names the file and what to do."""


def check_tier(tier):
    """ValueError, naming those there are, unless tier is one of `TIERS`."""
    if tier not in TIERS:
        raise ValueError(f"tier: got {tier!r}, expected one of {', '.join(TIERS)}")


@dataclass(frozen=True)
class Result:
    """What a run gives.

    tables : DataFrames by name; values : numbers and words by name; arrays, weights : by name
    about : plain JSON that belongs to the weights, such as what it takes to rebuild a network
    """

    tables: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    weights: dict = field(default_factory=dict)
    about: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Experiment:
    """How a computation, its configurations and its tables belong together.

    name : also of the folder
    config : a frozen dataclass that holds every number that changes the result
    run : function of a configuration -> `Result`, at the top level of a module; with upstream, of
        a configuration and a dict field -> `Found`, the runs that the field names
    grid : function of tier and seed -> the configurations of that tier
    tables : by name, what columns they have: a dict column -> float, int, bool or str
    values : by name, their types
    level : how `verify` compares a run that is computed again: "exact" where the computation is
        deterministic up to rounding, "retrained" where training differs between processors
    rescore : function of a configuration, the weights and what belongs to them -> `Result` of what
        stored weights give again, where weights are kept; then the level is "rescored"
    revision : goes up by hand when the meaning of the results changes; rows of older ones are not
        used. `why` gives the reason.
    upstream : field of the configuration -> name of the experiment whose runs it names, one or a
        tuple of them
    """

    name: str
    config: type
    run: Callable
    grid: Callable
    tables: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    level: str = "exact"
    rescore: Callable | None = None
    revision: int = 1
    why: str = ""
    upstream: dict = field(default_factory=dict)

    @property
    def columns(self):
        """The columns of `runs.csv` and their kinds, for `tables.parse`."""
        config = {name: kind for name, (kind, _) in tables.fields(self.config).items()}
        return {"run": str} | config | self.values | RECORD

    def named(self, config):
        """The runs that a configuration is built on: a dict field -> (experiment's name, names)."""
        found = {}
        for name, experiment in self.upstream.items():
            value = getattr(config, name)
            names = () if value is None else value if isinstance(value, tuple) else (value,)
            found[name] = experiment, names
        return found


def load(name):
    """The `Experiment` of a name; ValueError, naming those there are, for an unknown one."""
    package = importlib.import_module("experiments")
    if name not in package.NAMES:
        raise ValueError(f"experiment: got {name!r}, expected one of {', '.join(package.NAMES)}")
    return importlib.import_module(f"experiments.{name}").EXPERIMENT


class Found:
    """The results of several runs of one experiment, in the order in which they were asked for.

    runs : DataFrame with a row for each: run, the configuration's fields, the values, provenance
    """

    def __init__(self, experiment, runs, configs, frames, arrays, folder):
        self.experiment, self.runs, self._configs = experiment, runs, configs
        self._frames, self._arrays, self._folder = frames, arrays, folder

    def __len__(self):
        return len(self.runs)

    @property
    def names(self):
        """Names of the runs, a list."""
        return list(self.runs.run)

    def table(self, name):
        """All rows of a table, each with its run and the fields of the run's configuration.

        A column of the table stands for a field of the same name.
        """
        frame = self._frames[name]
        columns = [c for c in self.experiment.columns if c not in RECORD]
        known = self.runs[columns].drop(columns=set(columns) & set(frame.columns) - {"run"})
        return known.merge(frame, on="run", how="inner", validate="one_to_many")

    def where(self, **fields):
        """The runs whose columns have these values, as a `Found`."""
        kept = np.ones(len(self.runs), bool)
        for name, value in fields.items():
            if name not in self.runs:
                raise ValueError(f"{name}: no such column, there are {', '.join(self.runs)}")
            kept &= (self.runs[name] == value).to_numpy()
        runs = self.runs[kept].reset_index(drop=True)
        return Found(self.experiment, runs, self._configs, self._frames, self._arrays, self._folder)

    def arrays(self, run=None):
        """The arrays of one run, by name; without a name of the only run."""
        return self._arrays[self._one(run)]

    def stack(self, name):
        """An array of all runs, one after the other along the first axis."""
        return np.concatenate([self._arrays[run][name] for run in self.runs.run])

    def value(self, name):
        """A value or field of the only run."""
        self._one(None)
        return self.runs[name].iloc[0]

    def config(self, run=None):
        """The configuration of one run."""
        return self._configs[self._one(run)]

    def weights(self, run=None):
        """The weights of one run, by name, and what belongs to them, a dict."""
        run = self._one(run)
        path = self._folder / "weights" / f"{run}.safetensors"
        digest = self.runs[self.runs.run == run].weights_sha256.iloc[0]
        if not digest:
            raise ValueError(f"{run}: keeps no weights")
        weights, about = _read_weights(path)
        if weights_digest(weights, about) != digest:
            raise CorruptResultError(_damaged(path, run))
        return weights, about

    def _one(self, run):
        if run is None:
            if len(self.runs) != 1:
                raise ValueError(f"run: there are {len(self.runs)}, say which")
            return self.runs.run.iloc[0]
        if run not in set(self.runs.run):
            raise ValueError(f"run: {run!r} is not among the {len(self.runs)} that were asked for")
        return run


class Runs:
    """The results of one tier, computed where they are missing.

    root : folder of all results; tier : "smoke", "fast" or "paper"
    newer_than : ISO date and time; runs that were computed before are computed again ("" uses
        everything, "now" nothing)
    """

    def __init__(self, tier="paper", root=RESULTS, newer_than=""):
        check_tier(tier)
        self.root, self.tier = Path(root), tier
        self.newer_than = _instant(newer_than)
        self.used = {}

    def folder(self, experiment):
        """Where the results of an experiment lie."""
        return self.root / self.tier / experiment.name

    def get(self, experiment, configs, *, jobs=2, dask=None, progress=True):
        """The results of configurations as a `Found`, computed where they are missing.

        experiment : an `Experiment` or its name; configs : of its type, a list
        jobs : runs side by side
        dask : address of a Dask scheduler, such as "tcp://host:8786", whose workers compute; they
            need the same packages, but no common disk

        Every run is kept as soon as it is done, so what is stopped goes on where it was. Raises
        ValueError for a configuration of another type or with a field of another type, and OSError
        before anything is computed where the results cannot be written.
        """
        experiment = load(experiment) if isinstance(experiment, str) else experiment
        configs = list(configs)
        for config in configs:
            if type(config) is not experiment.config:
                raise ValueError(f"config: got {config!r}, expected {experiment.config}")
            tables.check(config)
        names = [tables.run_name(config) for config in configs]
        missing = self.missing(experiment, configs)
        if missing:
            self._compute(experiment, missing, jobs, dask, progress)
        return self._found(experiment, self._stored(experiment), names)

    def all(self, experiment):
        """All runs of an experiment that are stored, as a `Found`."""
        experiment = load(experiment) if isinstance(experiment, str) else experiment
        self._merge(experiment)
        stored = self._stored(experiment)
        return self._found(experiment, stored, list(stored.configs.values()))

    def missing(self, experiment, configs):
        """Those of the configurations that are not stored."""
        experiment = load(experiment) if isinstance(experiment, str) else experiment
        self._merge(experiment)
        stored = self._stored(experiment)
        known = {tables.run_name(config): config for config in stored.configs}
        lost = [config for config in configs if config not in stored.configs]
        for config in lost:
            name = tables.run_name(config)
            if name in known:
                old, new = tables.to_row(known[name]), tables.to_row(config)
                field = next(field for field in new if new[field] != old[field])
                raise ValueError(
                    f"{self.folder(experiment) / 'runs.csv'}: run {name} is stored with {field} = "
                    f"{old[field]!r}, and asked for with {new[field]!r}; give the new "
                    f"configuration a name of its own, or raise the experiment's revision"
                )
        return list(dict.fromkeys(lost))

    def provenance(self):
        """What has been used so far: a DataFrame with a row for each experiment.

        Columns: result, tier, runs, computed (first and last day), minutes of processor time, and
        commits (first and last).
        """
        rows = []
        for name, runs in self.used.items():
            runs = runs.drop_duplicates("run").sort_values("computed")
            days = [runs.computed.iloc[0][:10], runs.computed.iloc[-1][:10]]
            commits = [c[:8] for c in (runs.commit.iloc[0], runs.commit.iloc[-1])]
            rows.append(
                {
                    "result": name,
                    "tier": self.tier,
                    "runs": len(runs),
                    "computed": " to ".join(dict.fromkeys(days)),
                    "minutes": runs.cpu_seconds.sum() / 60.0,
                    "commit": " to ".join(dict.fromkeys(commits)),
                }
            )
        columns = ["result", "tier", "runs", "computed", "minutes", "commit"]
        return pd.DataFrame(rows, columns=columns)

    def upstream(self, experiment, config):
        """What a configuration is built on: a dict field -> `Found`, computed where missing."""
        found = {}
        for name, (source, runs) in experiment.named(config).items():
            source = load(source)
            grid = source.grid(self.tier, config.seed)
            known = {tables.run_name(c): c for c in [*grid, *self._stored(source).configs]}
            lost = [run for run in runs if run not in known]
            if lost:
                raise ValueError(
                    f"{name}: {experiment.name} is built on {source.name} {lost[0]}, which is "
                    f"neither stored nor in the grid of tier {self.tier}"
                )
            found[name] = self.get(source, [known[run] for run in runs])
        return found

    def _compute(self, experiment, configs, jobs, dask, progress):
        folder = self.folder(experiment)
        self._check_writable(folder)
        made_at = commit()
        if self.tier == "paper" and made_at.endswith("+"):
            raise ValueError(
                "commit: the code has changes that are not committed, so nobody could tell later "
                "what made the results of the paper tier; commit them first"
            )
        upstream = {}
        for config in configs:
            upstream[config] = self.upstream(experiment, config)
        tasks = (
            (i, experiment, config, upstream[config], made_at)
            for i, config in enumerate(configs)
            if not self._spooled(experiment, config)
        )
        with _dask_workers(dask), _lasting_memory():
            if dask is not None:
                delayed = (joblib.delayed(_run)(*task) for task in tasks)
                done = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")(delayed)
            elif jobs == 1 or len(configs) < 2:
                done = (_run(*task) for task in tasks)
            else:
                done = _side_by_side(tasks, jobs)
            hidden = not progress or len(configs) < 2
            merged = time.monotonic()
            for i, result, record in tqdm(done, experiment.name, len(configs), disable=hidden):
                _spool(experiment, folder, configs[i], result, record)
                if time.monotonic() - merged > MERGE_EVERY:
                    self._merge(experiment)
                    merged = time.monotonic()
        self._merge(experiment)

    def _spooled(self, experiment, config):
        """Whether another process has finished a run meanwhile."""
        path = _spool_path(self.folder(experiment), tables.run_name(config))
        return path.exists() and not self._too_old(_read_record(path)["computed"])

    def _too_old(self, computed):
        return self.newer_than is not None and _instant(computed) < self.newer_than

    def _check_writable(self, folder):
        """OSError, naming the folder, where a result could not be written."""
        spool = folder / ".spool"
        try:
            spool.mkdir(parents=True, exist_ok=True)
            probe = spool / f"{_me()}.partial"
            probe.write_bytes(b"x" * 4096)
            probe.unlink()
        except OSError as error:
            raise OSError(f"{folder}: results cannot be written here: {error}") from error
        free = shutil.disk_usage(spool).free
        if free < SPACE:
            raise OSError(f"{folder}: {free / 1e6:.0f} MB are free, {SPACE / 1e6:.0f} are needed")

    def _merge(self, experiment):
        """Put what lies in the spool into the tables; nothing where there is none."""
        folder = self.folder(experiment)
        spool = folder / ".spool"
        if not spool.is_dir() or not os.access(spool, os.W_OK):
            return
        with FileLock(spool / "lock"):
            _clean(spool)
            paths = sorted(spool.glob("*.safetensors"))
            if paths:
                stored = self._stored(experiment)
                stored.add([_read_spooled(experiment, path) for path in paths], self.root)
                stored.write()
                for path in paths:
                    path.unlink()

    def _stored(self, experiment):
        return _Stored(experiment, self.folder(experiment), self._too_old)

    def _found(self, experiment, stored, names):
        frames, arrays = stored.read(set(names))
        runs = stored.frame.set_index("run", drop=False).loc[names].reset_index(drop=True)
        used = [self.used[experiment.name]] if experiment.name in self.used else []
        self.used[experiment.name] = pd.concat([*used, runs], ignore_index=True)
        configs = {run: config for config, run in stored.configs.items()}
        return Found(experiment, runs, configs, frames, arrays, self.folder(experiment))


class _Stored:
    """The tables of one folder. `frame` and `configs` hold what may be used of `runs.csv`."""

    def __init__(self, experiment, folder, too_old=lambda computed: False):
        self.experiment, self.folder = experiment, folder
        self.rows, self.lines, self.new, self.new_weights = {}, {}, {}, {}
        path = folder / "runs.csv"
        if _exists(path):
            self._read_runs(path)
        usable = {
            run: row
            for run, row in self.rows.items()
            if row["revision"] == experiment.revision and not too_old(row["computed"])
        }
        self.configs = {self._config(row, path): run for run, row in usable.items()}
        self.frame = pd.DataFrame(usable.values(), columns=list(experiment.columns))

    def _read_runs(self, path):
        lines = _text(path).splitlines()
        columns = self.experiment.columns
        names = lines[0].split(",") if lines else []
        defaults = tables.fields(self.experiment.config)
        for name in names:
            if name not in columns:
                raise tables.TableError(f"{path}: unknown column {name}")
        for name in columns:
            fresh = name in defaults and defaults[name][1] is not dataclasses.MISSING
            if name not in names and not fresh:
                raise tables.TableError(f"{path}: column {name} is missing")
        raw = tables.from_lines(lines, dict.fromkeys(names, str), path)
        for number, cells in enumerate(raw.to_dict("records"), 2):
            row = {
                name: _parse(cells[name], name, kind, f"{path}, line {number}, {name}")
                if name in cells
                else defaults[name][1]
                for name, kind in columns.items()
            }
            if row["run"] in self.rows:
                raise tables.TableError(f"{path}, line {number}: run {row['run']} is there twice")
            if row["revision"] > self.experiment.revision:
                raise tables.TableError(
                    f"{path}, line {number}: run {row['run']} has revision {row['revision']}, this "
                    f"code knows {self.experiment.revision}; update the code"
                )
            self.rows[row["run"]] = row

    def _config(self, row, path):
        names = tables.fields(self.experiment.config)
        config = tables.from_row(self.experiment.config, {name: row[name] for name in names})
        if tables.run_name(config) != row["run"]:
            raise tables.TableError(
                f"{path}: run {row['run']} has the configuration of {tables.run_name(config)}; a "
                f"default that stands for older rows has changed, or the file was edited"
            )
        return config

    def read(self, runs):
        """The tables and arrays of some runs, each run checked against its checksum."""
        lines = {name: self._lines(name) for name in self.experiment.tables}
        arrays = self._arrays(runs)
        path = self.folder / "runs.csv"
        for run in runs:
            parts = {name: found[1].get(run, []) for name, found in lines.items()}
            if digest(parts, arrays.get(run, {})) != self.rows[run]["sha256"]:
                raise CorruptResultError(_damaged(path.parent, run))
        frames = {}
        for name, (head, rows) in lines.items():
            kept = [line for run in runs if run in rows for line in rows[run]]
            columns = {"run": str} | self.experiment.tables[name]
            whole = [head or tables.head(columns), *kept]
            frames[name] = tables.from_lines(whole, columns, self.folder / f"{name}.csv")
        return frames, {run: arrays.get(run, {}) for run in runs}

    def _lines(self, name):
        """The head and, by run, the lines of a table."""
        path, by_run = self.folder / f"{name}.csv", {}
        if not _exists(path):
            return "", by_run
        head, *lines = _text(path).splitlines()
        for line in lines:
            by_run.setdefault(line.partition(",")[0], []).append(line)
        return head, by_run

    def _arrays(self, runs):
        path = self.folder / "arrays.safetensors"
        found = {}
        if not _exists(path):
            return found
        try:
            with safetensors.safe_open(path, "numpy") as file:
                for key in file.keys():  # noqa: SIM118  (it is no dict)
                    run, _, name = key.partition("/")
                    if runs is None or run in runs:
                        found.setdefault(run, {})[name] = file.get_tensor(key)
        except safetensors.SafetensorError as error:
            raise CorruptResultError(f"{path}: {error}; restore the file") from None
        return found

    def add(self, spooled, root):
        """Take runs (config, result, record) in; one that is stored already only if it is newer."""
        for config, result, record in spooled:
            run = tables.run_name(config)
            old = self.rows.get(run)
            if (
                old
                and old["revision"] == record["revision"]
                and old["computed"] >= record["computed"]
            ):
                continue
            row = {"run": run} | tables.to_row(config) | result.values | record
            row["environment"] = _environment_name(root, record["environment"])
            self.rows[run] = row
            self.new[run] = result

    def write(self):
        """Write all tables anew, `runs.csv` last, each file whole or not at all."""
        if not self.new:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        for run, result in self.new.items():
            path = self.folder / "weights" / f"{run}.safetensors"
            if result.weights:
                path.parent.mkdir(exist_ok=True)
                _replace(path, _weights_bytes(result.weights, result.about))
            else:
                path.unlink(missing_ok=True)
        arrays = self._arrays(None)
        for name, columns in self.experiment.tables.items():
            _, by_run = self._lines(name)
            for run, result in self.new.items():
                where = f"{self.experiment.name}, {run}, table {name}"
                by_run[run] = _table_lines(run, result.tables[name], columns, where)
            lines = [line for run in sorted(self.rows) for line in by_run.get(run, [])]
            lines = [tables.head(["run", *columns]), *lines]
            _replace(self.folder / f"{name}.csv", ("\n".join(lines) + "\n").encode())
        arrays |= {run: result.arrays for run, result in self.new.items()}
        flat = {
            f"{run}/{name}": np.ascontiguousarray(array)
            for run in sorted(self.rows)
            for name, array in sorted(arrays.get(run, {}).items())
        }
        if flat:
            _replace(self.folder / "arrays.safetensors", safetensors.numpy.save(flat))
        columns = self.experiment.columns
        cells = [
            [tables.show(self.rows[run][name]) for name in columns] for run in sorted(self.rows)
        ]
        frame = pd.DataFrame(cells, columns=list(columns), dtype=object)
        _replace(self.folder / "runs.csv", frame.to_csv(index=False, lineterminator="\n").encode())


def digest(lines, arrays):
    """Checksum of a run's tables and arrays.

    lines : dict of each table's name to its lines, the run's name first; arrays : by name
    """
    total = hashlib.sha256()
    for name in sorted(lines):
        total.update("\n".join([name, *lines[name], ""]).encode())
    _update(total, arrays)
    return total.hexdigest()


def weights_digest(weights, about):
    """Checksum of a run's weights and of what belongs to them."""
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    _update(total, weights)
    return total.hexdigest()


def _update(total, arrays):
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name} {array.dtype} {array.shape}".encode())
        total.update(array.tobytes())


def _run(i, experiment, config, upstream, made_at):
    """Compute one run: i, its `Result` and the record of how it was made."""
    start, cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(1):  # sums are rounded another way on another number of threads
        given = (upstream,) if experiment.upstream else ()
        result = experiment.run(config, *given)
    if not isinstance(result, Result):
        raise TypeError(f"{experiment.name}: run returned {type(result).__name__}, not a Result")
    for kind in ("tables", "values"):
        got, expected = set(getattr(result, kind)), set(getattr(experiment, kind))
        if got != expected:
            raise ValueError(f"{experiment.name}: {kind} are {sorted(got)}, not {sorted(expected)}")
    for name, kind in experiment.values.items():
        value = result.values[name]
        plain = tables.parse(tables.show(kind(value)), kind, f"{experiment.name}, {name}")
        result.values[name] = plain
    record = {
        "revision": experiment.revision,
        "computed": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "commit": made_at,
        "environment": environment(),
        "device": _device(),
    }
    return i, result, record


def _device():
    """The graphics card that torch has used in this process, or the word cpu."""
    torch = sys.modules.get("torch")
    used = torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0
    return torch.cuda.get_device_name() if used else "cpu"


def _table_lines(run, frame, columns, where):
    return [f"{run},{line}" for line in tables.to_lines(frame, columns, where)]


def _spool(experiment, folder, config, result, record):
    """Write one run into the spool: a file that appears whole or not at all."""
    run = tables.run_name(config)
    lines = {
        name: _table_lines(run, result.tables[name], columns, f"{experiment.name}, table {name}")
        for name, columns in experiment.tables.items()
    }
    weighed = weights_digest(result.weights, result.about) if result.weights else ""
    record = record | {"sha256": digest(lines, result.arrays), "weights_sha256": weighed}
    texts = {
        "row": json.dumps({name: tables.show(v) for name, v in tables.to_row(config).items()}),
        "values": json.dumps({name: tables.show(v) for name, v in result.values.items()}),
        "record": json.dumps(record),
        "tables": json.dumps(lines),
        "about": json.dumps(result.about),
    }
    arrays = {f"arrays/{name}": a for name, a in result.arrays.items()}
    arrays |= {f"weights/{name}": a for name, a in result.weights.items()}
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    _replace(_spool_path(folder, run), safetensors.numpy.save(arrays, texts))


def _spool_path(folder, run):
    return folder / ".spool" / f"{run}.safetensors"


def _read_texts(path):
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return {name: json.loads(text) for name, text in file.metadata().items()}
    except (safetensors.SafetensorError, json.JSONDecodeError, AttributeError) as error:
        raise CorruptResultError(
            f"{path}: {error}; remove the file to have its run computed again"
        ) from None


def _read_record(path):
    return _read_texts(path)["record"]


def _read_spooled(experiment, path):
    """A run from the spool: configuration, `Result` and record."""
    texts = _read_texts(path)
    kinds = experiment.columns
    row, values = (
        {name: tables.parse(text, kinds[name], f"{path}, {name}") for name, text in cells.items()}
        for cells in (texts["row"], texts["values"])
    )
    everything = safetensors.numpy.load_file(path)
    arrays, weights = (
        {key.partition("/")[2]: array for key, array in everything.items() if key.startswith(start)}
        for start in ("arrays/", "weights/")
    )
    frames = {}
    for name, columns in experiment.tables.items():
        whole = [tables.head(["run", *columns]), *texts["tables"][name]]
        frame = tables.from_lines(whole, {"run": str} | columns, path)
        frames[name] = frame.drop(columns="run")
    config = tables.from_row(experiment.config, row)
    return config, Result(frames, arrays, values, weights, texts["about"]), texts["record"]


def _weights_bytes(weights, about):
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.items()}
    return safetensors.numpy.save(arrays, {"about": json.dumps(about)})


def _read_weights(path):
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about = json.loads((file.metadata() or {}).get("about", "{}"))
        return safetensors.numpy.load_file(path), about
    except FileNotFoundError:
        raise CorruptResultError(f"{path}: is missing; restore it") from None
    except (safetensors.SafetensorError, json.JSONDecodeError) as error:
        raise CorruptResultError(f"{path}: {error}; restore the file") from None


def _environment_name(root, found):
    """The name of a software and machine in `<root>/environments.csv`, added where it is new."""
    path = Path(root) / "environments.csv"
    columns = {"environment": str} | dict.fromkeys(found, str)
    with FileLock(Path(root) / ".environments.lock"):
        lines = _text(path).splitlines() if _exists(path) else [tables.head(columns)]
        known = tables.from_lines(lines, columns, path)
        same = (known[list(found)] == pd.Series(found)).all(axis=1)
        if same.any():
            return known.environment[same].iloc[0]
        name = f"environment {len(known) + 1}"
        row = pd.DataFrame([{"environment": name} | found], columns=list(columns))
        lines += tables.to_lines(row, columns, path)
        _replace(path, ("\n".join(lines) + "\n").encode())
    return name


def _parse(text, name, kind, where):
    """The value of a cell of `runs.csv`; only these words of the provenance may be empty."""
    if name in ("weights_sha256", "commit"):
        return text
    return tables.parse(text, kind, where)


def _damaged(path, run):
    return (
        f"{path}: what is stored of run {run} does not have its checksum in runs.csv; restore the "
        f"files, or remove the run's row from runs.csv to have it computed again"
    )


def _exists(path):
    """Whether a file is there; an OSError other than that it is not is an error."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _text(path):
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise tables.TableError(f"{path}: {error}") from None


def _replace(path, content):
    """Write a file that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.{_me()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def _me():
    return f"{socket.gethostname()}-{os.getpid()}"


def _clean(spool):
    """Remove what killed processes of this machine have left half written."""
    for folder in (spool, spool.parent, spool.parent / "weights"):
        for path in folder.glob("*.partial"):
            host, _, pid = path.name.removesuffix(".partial").rpartition("-")
            if host.endswith(socket.gethostname()) and not _alive(int(pid)):
                path.unlink(missing_ok=True)


def _alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _instant(text):
    """The time that `newer_than` means, or None for everything."""
    if not text:
        return None
    now = datetime.now(UTC)
    try:
        date = now if text == "now" else datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f"newer_than: got {text!r}, expected 'now', '' or an ISO date and time"
        ) from None
    return date if date.tzinfo else date.astimezone()


_POOLS = {}  # by the number of processes; starting one takes seconds, so they are kept


def _side_by_side(tasks, jobs):
    """Yield what `_run` returns for each of the tasks, in whichever order they are done.

    The processes are those of the standard library: joblib's restart whenever one has grown by
    300 MB, which the memory of a trained network always does.
    """
    if jobs not in _POOLS:
        _POOLS[jobs] = ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_leave_with_parent,
            initargs=(os.getpid(),),
        )
    pool, tasks = _POOLS[jobs], iter(tasks)
    waiting = {pool.submit(_run, *task) for task in itertools.islice(tasks, jobs + 1)}
    try:
        while waiting:
            done, waiting = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
            waiting |= {pool.submit(_run, *task) for task in itertools.islice(tasks, len(done))}
            for each in done:
                yield each.result()
    except BaseException:  # what is still being computed is of no use to anybody
        del _POOLS[jobs]
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise


def _leave_with_parent(parent):
    """Let this process end when the one that started it is gone, killed for example."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def _dask_workers(address):
    """Within it joblib runs its jobs on the workers of a Dask scheduler, unless address is None."""
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("dask: needs the package distributed: pip install distributed") from error
    with Client(address) as client, joblib.parallel_config("dask", client=client):
        yield


@contextlib.contextmanager
def _lasting_memory():
    """Processes started within it keep the memory that they free, unless the user says otherwise.

    glibc (Linux) otherwise gives a network's memory back to the system in every batch and asks for
    it again: LSTMs train 1.4 times as fast without.
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    added = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "4000000000"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
