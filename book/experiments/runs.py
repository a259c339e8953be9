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

import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from filelock import FileLock
from tqdm import tqdm

from experiments import tables
from experiments.computing import compute, dask_workers, lasting_memory, side_by_side
from experiments.experiment import RECORD, check_tier, load
from experiments.provenance import commit
from experiments.storage import (
    CorruptResultError,
    Stored,
    clean,
    damaged,
    read_record,
    read_spooled,
    read_weights,
    spool_path,
    this_process,
    weights_digest,
    write_spooled,
)

RESULTS = Path(__file__).resolve().parents[2] / "results"
SPACE = 200e6  # bytes that must be free before anything is computed
MERGE_EVERY = 120.0  # seconds between merges while runs are computed


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
        weights, about = read_weights(path)
        if weights_digest(weights, about) != digest:
            raise CorruptResultError(damaged(path, run))
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
        with dask_workers(dask), lasting_memory():
            if dask is not None:
                delayed = (joblib.delayed(compute)(*task) for task in tasks)
                done = joblib.Parallel(n_jobs=-1, return_as="generator_unordered")(delayed)
            elif jobs == 1 or len(configs) < 2:
                done = (compute(*task) for task in tasks)
            else:
                done = side_by_side(tasks, jobs)
            hidden = not progress or len(configs) < 2
            merged = time.monotonic()
            for i, result, record in tqdm(done, experiment.name, len(configs), disable=hidden):
                write_spooled(experiment, folder, configs[i], result, record)
                if time.monotonic() - merged > MERGE_EVERY:
                    self._merge(experiment)
                    merged = time.monotonic()
        self._merge(experiment)

    def _spooled(self, experiment, config):
        """Whether another process has finished a run meanwhile."""
        path = spool_path(self.folder(experiment), tables.run_name(config))
        return path.exists() and not self._too_old(read_record(path)["computed"])

    def _too_old(self, computed):
        return self.newer_than is not None and _instant(computed) < self.newer_than

    def _check_writable(self, folder):
        """OSError, naming the folder, where a result could not be written."""
        spool = folder / ".spool"
        try:
            spool.mkdir(parents=True, exist_ok=True)
            probe = spool / f"{this_process()}.partial"
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
            clean(spool)
            paths = sorted(spool.glob("*.safetensors"))
            if paths:
                stored = self._stored(experiment)
                stored.add([read_spooled(experiment, path) for path in paths], self.root)
                stored.write()
                for path in paths:
                    path.unlink()

    def _stored(self, experiment):
        return Stored(experiment, self.folder(experiment), self._too_old)

    def _found(self, experiment, stored, names):
        frames, arrays = stored.read(set(names))
        runs = stored.frame.set_index("run", drop=False).loc[names].reset_index(drop=True)
        used = [self.used[experiment.name]] if experiment.name in self.used else []
        self.used[experiment.name] = pd.concat([*used, runs], ignore_index=True)
        configs = {run: config for config, run in stored.configs.items()}
        return Found(experiment, runs, configs, frames, arrays, self.folder(experiment))


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
