"""Sobol's indices of the evoked response over the whole prior."""

from dataclasses import dataclass

from experiments.runs import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS
from jrlib.diagnostics import sensitivity

SIZES = {"smoke": {"n": 8}, "fast": {"n": 512}, "paper": {}}


@dataclass(frozen=True)
class Config:
    """One convention.

    convention : name of a `Convention`
    seed : of the points and of the bootstrap; n : a power of 2, 11 n responses are simulated
    """

    convention: str
    seed: int
    n: int = 8192


def run(config):
    """`sensitivity.global_sensitivity` as the table "indices" of a `Result`."""
    indices = sensitivity.global_sensitivity(config.n, config.seed, config.convention)
    return Result({"indices": indices})


def grid(tier, seed):
    """The configurations of a tier; ValueError for an unknown one."""
    check_tier(tier)
    return [Config(convention, seed, **SIZES[tier]) for convention in CONVENTIONS]


EXPERIMENT = Experiment(
    "global_sensitivity",
    Config,
    run,
    grid,
    tables={
        "indices": {"summary": str, "parameter": str}
        | dict.fromkeys(("first", "first_error", "total", "total_error"), float)
    },
)
