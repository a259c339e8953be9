"""The tables of one experiment on disk, and the spool from which finished runs are merged.

Every file appears whole or not at all. `runs.csv` is written last and says which runs there are, so
that whatever a killed process leaves behind is either complete or not looked at.
"""

import dataclasses
import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pandas as pd
import safetensors
import safetensors.numpy
from filelock import FileLock

from experiments import tables
from experiments.experiment import Result


class CorruptResultError(ValueError):
    """What is stored is not what was written; the message names the file and what to do."""


class Stored:
    """The tables of one folder. `frame` and `configs` hold what may be used of `runs.csv`."""

    def __init__(self, experiment, folder, too_old=lambda computed: False):
        self.experiment, self.folder = experiment, folder
        self.rows, self.lines, self.new, self.new_weights = {}, {}, {}, {}
        path = folder / "runs.csv"
        if exists(path):
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
                raise CorruptResultError(damaged(path.parent, run))
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
        if not exists(path):
            return "", by_run
        head, *lines = _text(path).splitlines()
        for line in lines:
            by_run.setdefault(line.partition(",")[0], []).append(line)
        return head, by_run

    def _arrays(self, runs):
        path = self.folder / "arrays.safetensors"
        found = {}
        if not exists(path):
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
                replace_file(path, _weights_bytes(result.weights, result.about))
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
            replace_file(self.folder / f"{name}.csv", ("\n".join(lines) + "\n").encode())
        arrays |= {run: result.arrays for run, result in self.new.items()}
        flat = {
            f"{run}/{name}": np.ascontiguousarray(array)
            for run in sorted(self.rows)
            for name, array in sorted(arrays.get(run, {}).items())
        }
        if flat:
            replace_file(self.folder / "arrays.safetensors", safetensors.numpy.save(flat))
        columns = self.experiment.columns
        cells = [
            [tables.show(self.rows[run][name]) for name in columns] for run in sorted(self.rows)
        ]
        frame = pd.DataFrame(cells, columns=list(columns), dtype=object)
        replace_file(
            self.folder / "runs.csv", frame.to_csv(index=False, lineterminator="\n").encode()
        )


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


def _table_lines(run, frame, columns, where):
    return [f"{run},{line}" for line in tables.to_lines(frame, columns, where)]


def write_spooled(experiment, folder, config, result, record):
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
    replace_file(spool_path(folder, run), safetensors.numpy.save(arrays, texts))


def spool_path(folder, run):
    return folder / ".spool" / f"{run}.safetensors"


def _read_texts(path):
    try:
        with safetensors.safe_open(path, "numpy") as file:
            return {name: json.loads(text) for name, text in file.metadata().items()}
    except (safetensors.SafetensorError, json.JSONDecodeError, AttributeError) as error:
        raise CorruptResultError(
            f"{path}: {error}; remove the file to have its run computed again"
        ) from None


def read_record(path):
    return _read_texts(path)["record"]


def read_spooled(experiment, path):
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


def read_weights(path):
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
        lines = _text(path).splitlines() if exists(path) else [tables.head(columns)]
        known = tables.from_lines(lines, columns, path)
        same = (known[list(found)] == pd.Series(found)).all(axis=1)
        if same.any():
            return known.environment[same].iloc[0]
        name = f"environment {len(known) + 1}"
        row = pd.DataFrame([{"environment": name} | found], columns=list(columns))
        lines += tables.to_lines(row, columns, path)
        replace_file(path, ("\n".join(lines) + "\n").encode())
    return name


def _parse(text, name, kind, where):
    """The value of a cell of `runs.csv`; only these words of the provenance may be empty."""
    if name in ("weights_sha256", "commit"):
        return text
    return tables.parse(text, kind, where)


def damaged(path, run):
    return (
        f"{path}: what is stored of run {run} does not have its checksum in runs.csv; restore the "
        f"files, or remove the run's row from runs.csv to have it computed again"
    )


def exists(path):
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


def replace_file(path, content):
    """Write a file that appears whole or not at all."""
    partial = path.with_name(f"{path.name}.{this_process()}.partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise


def this_process():
    return f"{socket.gethostname()}-{os.getpid()}"


def clean(spool):
    """Remove what killed processes of this machine have left half written."""
    for folder in (spool, spool.parent, spool.parent / "weights"):
        for path in folder.glob("*.partial"):
            host, _, pid = path.name.removesuffix(".partial").rpartition("-")
            if host.endswith(socket.gethostname()) and not alive(int(pid)):
                path.unlink(missing_ok=True)


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
