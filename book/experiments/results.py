"""A store of results: numbers and weights with where they came from.

A result belongs to (tier, name, configuration). It lies in `<root>/<tier>/<name>/<key>/`, the key
being a hash of the configuration, as readable files: tables as CSV, arrays and weights as
safetensors, and `record.json` with scalars, configuration, provenance and a checksum per file. A
stored result is used when its configuration is exactly the one asked for. When the code that made
it has changed since, it is still used, and `Store.provenance` says so.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import time
import uuid
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import safetensors.numpy
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from experiments.provenance import commit, environment, fingerprint

TIERS = ("smoke", "fast", "paper")


def check_tier(tier):
    """ValueError, naming those there are, unless tier is one of `TIERS`."""
    if tier not in TIERS:
        raise ValueError(f"tier: got {tier!r}, expected one of {', '.join(TIERS)}")


@dataclass(frozen=True)
class Result:
    """What a computation gives: tables (DataFrames), arrays (weights too) and values (JSON)."""

    tables: dict = field(default_factory=dict)
    arrays: dict = field(default_factory=dict)
    values: dict = field(default_factory=dict)
    record: dict = field(default_factory=dict)


def weights_of(result):
    """The trained weights that a `Result` holds as arrays "weights/name": a dict by name.

    Raises ValueError where there are none.
    """
    start = "weights/"
    arrays = result.arrays.items()
    weights = {name.removeprefix(start): a for name, a in arrays if name.startswith(start)}
    if not weights:
        raise ValueError(
            "result: holds no weights; compute it with a configuration that keeps them"
        )
    return weights


class CorruptResultWarning(UserWarning):
    """A stored result failed its checksum or could not be read; it was set aside."""


class Store:
    """Results of one tier below `root`, computed on demand.

    root : folder, made when missing
    tier : "smoke", "fast" or "paper"
    newer_than : ISO date and time; what was stored before is computed anew ("" uses everything,
        "now" nothing)
    """

    def __init__(self, root, tier, newer_than=""):
        check_tier(tier)
        self.root, self.tier = Path(root), tier
        self.newer_than = None
        if newer_than:
            now = datetime.now(UTC)
            try:
                date = now if newer_than == "now" else datetime.fromisoformat(newer_than)
            except ValueError:
                raise ValueError(
                    f"newer_than: got {newer_than!r}, expected 'now', '' or an ISO date and time"
                ) from None
            self.newer_than = date if date.tzinfo else date.astimezone()
        self.used = {}

    def get(self, name, function, config):
        """The `Result` of `function(**config)`: stored if there is one, else computed and stored.

        name : short name of the result, also its folder
        function : a function at the top level of a module, returning a `Result`
        config : its keyword arguments, JSON types only (ValueError otherwise)
        """
        return self.get_many(name, function, [config], n_jobs=1)[0]

    def stored(self, name, config):
        """The stored `Result` for a configuration, or None: nothing is computed."""
        return self._load(self._folder(name, config), config)

    def get_many(self, name, function, configs, n_jobs=2, dask=None, progress=True, given=None):
        """The results for several configurations, computed `n_jobs` side by side where missing.

        Each is stored as soon as it is done, so a run that is stopped goes on where it was.

        given : further arguments of `function`, a dict of anything: other results that it builds
            on. Only the configurations tell stored results apart, so they must say which these are.
        dask : address of a Dask scheduler, such as "tcp://host:8786". Its workers then compute what
            is missing; they need jrlib, but no common disk, as results come back to be stored here.
            ImportError, saying what to install, without the package `distributed`.
        """
        if not name.replace("-", "").isalnum():
            raise ValueError(f"name: got {name!r}, expected letters, digits and hyphens")
        folders = [self._folder(name, config) for config in configs]
        results = [self._load(*pair) for pair in zip(folders, configs, strict=True)]
        missing = [i for i, result in enumerate(results) if result is None]
        given = given or {}
        jobs = (joblib.delayed(_compute)(i, name, function, configs[i], given) for i in missing)
        with _dask_workers(dask), _lasting_memory():
            if dask is None and (n_jobs == 1 or len(missing) < 2):
                computed = (job(*arguments) for job, arguments, _ in jobs)
            else:
                n_jobs = n_jobs if dask is None else -1
                computed = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(jobs)
            bar = tqdm(computed, name, len(missing), disable=not progress or len(missing) < 2)
            for i, result, record in bar:
                _write(folders[i], result, record)
                results[i] = _read(folders[i])
        code = fingerprint(function)
        for folder, result in zip(folders, results, strict=True):
            self.used[folder] = (result.record, result.record["code"] != code)
        return results

    def provenance(self):
        """One row for each name used so far, for the page that shows the results.

        Columns: result, tier, number, computed (first and last day), processor minutes, commit
        (first and last), note. The note says when the code has changed since the result was
        computed.
        """
        rows = []
        frame = pd.DataFrame(
            [{**record, "changed": changed} for record, changed in self.used.values()],
            columns=["name", "computed", "wall_seconds", "commit", "changed"],
        )
        for name, group in frame.groupby("name", sort=False):
            days = sorted({date[:10] for date in group["computed"]})
            changed = int(group["changed"].sum())
            commits = [name[:8] for name in group.sort_values("computed")["commit"]]
            note = f"code changed since {changed} of them were computed" if changed else ""
            rows.append(
                {
                    "result": name,
                    "tier": self.tier,
                    "number": len(group),
                    "computed": days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}",
                    "minutes": group["wall_seconds"].sum() / 60.0,
                    "commit": " to ".join(dict.fromkeys([commits[0], commits[-1]])),
                    "note": note,
                }
            )
        columns = ["result", "tier", "number", "computed", "minutes", "commit", "note"]
        return pd.DataFrame(rows, columns=columns)

    def _folder(self, name, config):
        return self.root / self.tier / name / _key(config)

    def _load(self, folder, config):
        """The stored result, or None where there is none that may be used."""
        if not (folder / "record.json").exists():
            return None
        try:
            result = _read(folder)
        except (OSError, ValueError, KeyError, safetensors.SafetensorError) as error:
            aside = folder.with_name(f"{folder.name}.corrupt-{uuid.uuid4().hex[:6]}")
            folder.rename(aside)
            warnings.warn(
                f"{folder}: {error}; set aside as {aside.name} and computed anew",
                CorruptResultWarning,
                stacklevel=4,
            )
            return None
        if result.record["config"] != json.loads(_canonical(config)):
            return None
        computed = datetime.fromisoformat(result.record["computed"])
        return None if self.newer_than and computed < self.newer_than else result


def _canonical(config):
    """The configuration as JSON text in one form only."""
    try:
        return json.dumps(config, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"config: {config!r} is not plain JSON: {error}") from None


def _key(config):
    return hashlib.sha256(_canonical(config).encode()).hexdigest()[:16]


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


def _compute(i, name, function, config, given):
    """Run function(**config, **given): i, its `Result` and the record of how it was made."""
    start, cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(1):  # sums are rounded another way on another number of threads
        result = function(**config, **given)
    if not isinstance(result, Result):
        raise TypeError(f"{function.__qualname__} returned {type(result).__name__}, not a Result")
    record = {
        "name": name,
        "function": f"{function.__module__}.{function.__qualname__}",
        "config": config,
        "computed": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "wall_seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "code": fingerprint(function),
        "commit": commit(),
        **environment(),
    }
    return i, result, record


def _write(folder, result, record):
    """Write into a folder beside the target, then rename: a killed run leaves no half result."""
    partial = folder.with_name(f"{folder.name}.partial-{uuid.uuid4().hex[:6]}")
    partial.mkdir(parents=True)
    for table, frame in result.tables.items():
        frame.to_csv(partial / f"{table}.csv", index=False, lineterminator="\n")
    if result.arrays:
        arrays = {key: np.ascontiguousarray(array) for key, array in result.arrays.items()}
        safetensors.numpy.save_file(arrays, partial / "arrays.safetensors")
    files = {path.name: _checksum(path) for path in sorted(partial.iterdir())}
    content = {"values": result.values, **record, "files": files}
    content["checksum"] = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    (partial / "record.json").write_text(json.dumps(content, indent=1) + "\n")
    if folder.exists():
        shutil.rmtree(folder)
    partial.rename(folder)


def _read(folder):
    """Read a stored result; ValueError when a file is missing or is not what was written."""
    record = json.loads((folder / "record.json").read_text())
    checksum = record.pop("checksum")
    if hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest() != checksum:
        raise ValueError("record.json fails its checksum")
    tables, arrays = {}, {}
    for name, expected in record["files"].items():
        path = folder / name
        if not path.exists() or _checksum(path) != expected:
            raise ValueError(f"{name} is missing or fails its checksum")
        if path.suffix == ".csv":
            tables[path.stem] = pd.read_csv(path)
        else:
            arrays = safetensors.numpy.load_file(path)
    return Result(tables, arrays, record.pop("values"), record)


def _checksum(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_manifest(root):
    """Write `<root>/manifest.json`: a line per stored result, of the tiers fast and paper."""
    root = Path(root)
    entries = []
    for tier in TIERS[1:]:
        for path in sorted((root / tier).glob("*/*/record.json")):
            if "." in path.parent.name:  # set aside or unfinished
                continue
            record = json.loads(path.read_text())
            entries.append(
                {
                    "tier": tier,
                    "path": str(path.parent.relative_to(root).as_posix()),
                    **{k: v for k, v in record.items() if k not in ("values", "checksum")},
                }
            )
    path = root / "manifest.json"
    partial = path.with_suffix(f".partial-{uuid.uuid4().hex[:6]}")
    partial.write_text(json.dumps(entries, indent=1) + "\n")
    partial.replace(path)
    return path


def command_line(name, function, grid, seed, arguments=None, given=None):
    """Compute what is missing of a grid, as `python -m <module of function>` does.

    grid : function of tier and seed that gives the configurations; seed : the default one
    arguments : of the command, a list of texts; those it was called with if None
    given : function of store, tier and seed that gives what `Store.get_many` calls so
    """
    module = function.__module__
    parser = argparse.ArgumentParser(
        prog=f"python -m {module}", description=f"Compute the results {name!r} of a tier."
    )
    parser.add_argument("--tier", default="fast", choices=TIERS)
    parser.add_argument("--seed", default=seed, type=int)
    parser.add_argument("--results", default="results", type=Path, help="folder of the store")
    parser.add_argument("--jobs", default=2, type=int, help="cells side by side")
    chosen = parser.parse_args(arguments)
    store = Store(chosen.results, chosen.tier)
    configs = grid(chosen.tier, chosen.seed)
    further = given and given(store, chosen.tier, chosen.seed)
    store.get_many(name, function, configs, n_jobs=chosen.jobs, given=further)
    write_manifest(chosen.results)
