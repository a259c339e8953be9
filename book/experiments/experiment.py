"""What an experiment is: its configurations, its computation and the tables that it gives."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field

from experiments import tables

TIERS = ("smoke", "fast", "paper")
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
        deterministic up to rounding, "retrained" where training differs between processors; or a
        function of the configuration that says which
    rounding : how far apart a number may be on another processor, over the largest absolute value
        of its column; MNE's fit of dipoles alone makes gains differ by up to 5e-4
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
    level: str | Callable = "exact"
    rounding: float = 1e-3
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
