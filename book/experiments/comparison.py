"""The grid of the comparison, its scores, and a command line that computes it.

    python -m experiments.comparison list --tier paper        every cell of the grid
    python -m experiments.comparison status --tier paper      how many are computed, and what is left
    python -m experiments.comparison run --tier paper         compute what is missing, two cells at a time
    python -m experiments.comparison run --dask tcp://host:8786   ... on the workers of a Dask cluster
    python -m experiments.comparison run --of curves          the learning curves instead of the comparison;
                                                   "longer": the LSTM trained for longer

A run that is stopped loses the cells it was at; given again, it goes on with the others.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from experiments.compared_methods import METHODS, VARIANTS, cell
from experiments.results import TIERS, Store, check_tier, write_manifest
from jrlib.parameters import get_convention

NAME = "comparison"  # of the results in the store
SEED = 2025  # the first one, of the book's
CONVENTIONS = ("RELEASED", "CLASSIC")
RECORDED = 1.0  # noise factor of the published numbers, of the variants, and where weights are kept
# Which methods each variant is computed for, and in which conventions.
VARIED = {
    "frozen": (("EEGTransformer", "VanillaLSTM", "NPE"), CONVENTIONS),
    "untruncated": (("EEGTransformer", "VanillaLSTM", "NPE", "MLP", "Ridge"), CONVENTIONS),
    "1000Hz": (("EEGTransformer", "CNNBiLSTM", "NPE", "MLP", "Ridge"), ("CLASSIC",)),
    "published": (("EEGTransformer", "VanillaLSTM", "NPE"), ("RELEASED",)),
    "published-same": (("EEGTransformer", "VanillaLSTM", "NPE"), ("RELEASED",)),
}


@dataclass(frozen=True)
class Size:
    """How large the comparison is at a tier.

    n_simulations : per cell, of which 80 % train, 10 % validate and stop early, and 10 % are left
        over, as in the public code
    n_test : test simulations, the same for all cells of a convention
    epochs : of the networks, at most
    n_seeds, n_seeds_cheap : trainings of a network, and of a method that takes seconds
    noise_factors : of the grid
    variants : names of `VARIED` that are computed as well
    """

    n_simulations: int
    n_test: int
    epochs: int
    n_seeds: int
    n_seeds_cheap: int
    noise_factors: tuple
    variants: tuple = tuple(VARIED)


SIZES = {
    "smoke": Size(100, 40, 2, 1, 1, (1.0,), ("published",)),
    "fast": Size(400, 500, 12, 2, 2, (1.0, 1e4, 1e6), ("published",)),
    "paper": Size(1000, 2000, 50, 3, 5, (0.0, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e4, 1e6)),
}


@dataclass(frozen=True)
class Curve:
    """Learning curves: trainings on more simulations than the comparison has.

    budgets : pairs of simulations for a training, and trainings on so many
    """

    methods: tuple
    noise_factors: tuple
    budgets: tuple


NETWORKS = tuple(name for name, method in METHODS.items() if method.is_network)
LSTM = "VanillaLSTM"  # which learns or does not, by chance
OTHERS = tuple(name for name in NETWORKS if name != LSTM)
BASELINES = ("MLP", "Ridge")  # those that have something to learn
CURVES = {
    "smoke": (Curve((*NETWORKS, "NPE", *BASELINES), (1.0,), ((200, 1),)),),
    "fast": (
        Curve((*NETWORKS, "NPE", *BASELINES), (1.0,), ((1000, 1),)),
        Curve(BASELINES, (1.0,), ((4000, 1),)),
    ),
    "paper": (
        Curve(OTHERS, (1.0,), ((3000, 1), (10_000, 1), (30_000, 1))),
        Curve((LSTM,), (1.0,), ((3000, 3), (10_000, 1), (30_000, 1))),
        Curve(("NPE",), (1.0, 1e4), ((3000, 1), (10_000, 1), (30_000, 1))),
        Curve(BASELINES, (1.0, 1e4), ((3000, 3), (10_000, 3), (30_000, 3), (100_000, 1))),
    ),
}
# How many simulations a network sees in training on them at most, epoch after epoch. NPE, which
# takes `flows.train_npe`'s epochs, has no such limit.
SEEN = {"smoke": 400, "fast": 5000, "paper": 200_000}
LONGER = 3  # times as many epochs, see `longer_grid`

# The same for NPE's own chapter: simulations and epochs of training, and of a second training at
# the size of the published study; test simulations, and samples of the posterior for each.
_FEW = {"n_few": 1000, "epochs_few": 40}
NPE_SIZES = {
    "smoke": {"n": 200, "epochs": 2, "n_few": 100, "epochs_few": 2, "n_test": 100, "n_samples": 30},
    "fast": {"n": 10_000, "epochs": 10, **_FEW, "n_test": 300, "n_samples": 150},
    "paper": {"n": 100_000, "epochs": 20, **_FEW, "n_test": 500, "n_samples": 200},
}


def grid(
    tier,
    seed,
    *,
    variant="standard",
    conventions=CONVENTIONS,
    methods=tuple(METHODS),
    noise_factors=None,
):
    """The configurations of `compared_methods.cell`: all combinations, the first seed's before others.

    noise_factors : the tier's by default
    Raises ValueError for an unknown tier, variant, convention or method.
    """
    check_tier(tier)
    if variant not in VARIANTS:
        raise ValueError(f"variant: got {variant!r}, expected one of {', '.join(VARIANTS)}")
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    size = SIZES[tier]
    return [
        {
            **_config(size, convention, method, noise_factor, seed + repeat),
            "variant": variant,
            "keep": _keep(convention, variant, noise_factor, repeat),
        }
        for repeat in range(max(size.n_seeds, size.n_seeds_cheap))
        for convention in conventions
        for noise_factor in (size.noise_factors if noise_factors is None else noise_factors)
        for method in methods
        if repeat < (size.n_seeds if METHODS[method].is_network else size.n_seeds_cheap)
    ]


def variant_grid(tier, seed, variant):
    """The configurations of `compared_methods.cell` for a variant, at one noise level; see `grid`."""
    methods, conventions = VARIED[variant]
    options = {"methods": methods, "conventions": conventions, "noise_factors": [RECORDED]}
    return grid(tier, seed, variant=variant, **options)


def tabulated_grid(tier, seed):
    """The same in the third convention, TABULATED, at one noise level, for what takes seconds."""
    cheap = [name for name, method in METHODS.items() if not method.is_network]
    options = {"methods": cheap, "noise_factors": [RECORDED]}
    return grid(tier, seed, conventions=("TABULATED",), **options)


def curves_grid(tier, seed):
    """The configurations of `compared_methods.cell` for `CURVES`, few simulations first."""
    check_tier(tier)
    size = SIZES[tier]
    configs = [
        {
            **_config(size, convention, method, noise_factor, seed + repeat),
            "n_simulations": n_simulations,
            "epochs": max(1, min(size.epochs, round(SEEN[tier] / n_simulations))),
        }
        for curve in CURVES[tier]
        for noise_factor in curve.noise_factors
        for method in curve.methods
        for n_simulations, n_trainings in curve.budgets
        for repeat in range(n_trainings)
        for convention in CONVENTIONS
    ]
    return sorted(configs, key=lambda config: config["n_simulations"])


def longer_grid(tier, seed):
    """The vanilla LSTM trained `LONGER` times as many epochs on the grid's own simulations.

    It tells what more simulations do from what the longer training does that comes with them; under
    CLASSIC, where the curves see this network learn. The others stop early.
    """
    options = {"conventions": ["CLASSIC"], "methods": [LSTM], "noise_factors": [RECORDED]}
    return [
        {**config, "epochs": LONGER * config["epochs"], "keep": "scores"}
        for config in grid(tier, seed, **options)
    ]


def _config(size, convention, method, noise_factor, seed):
    """The configuration of a standard cell, of which only the scores are kept."""
    return {
        "convention": get_convention(convention).name,
        "method": method,
        "noise_factor": float(noise_factor),
        "seed": seed,
        "n_simulations": size.n_simulations,
        "n_test": size.n_test,
        "epochs": size.epochs,
        "variant": "standard",
        "keep": "scores",
    }


def _keep(convention, variant, noise_factor, repeat):
    """Weights take megabytes: kept once for every method in the conventions that are compared."""
    if variant.startswith("published"):
        return "estimates"
    recorded = (variant, noise_factor, repeat) == ("standard", RECORDED, 0)
    return "weights" if recorded and convention in CONVENTIONS else "scores"


def comparison_grid(tier, seed):
    """The configurations of all grids on as many simulations as the study, first seed first."""
    configs = grid(tier, seed) + tabulated_grid(tier, seed)
    for variant in SIZES[tier].variants:
        configs += variant_grid(tier, seed, variant)
    return sorted(configs, key=lambda config: config["seed"])


# For the command line.
GRIDS = {"comparison": comparison_grid, "curves": curves_grid, "longer": longer_grid}


def compute(store, configs, **options):
    """`store.get_many` for cells: their results, in the order of configs."""
    return store.get_many(NAME, cell, configs, **options)


def scores(configs, results):
    """Metrics of cells, averaged over seeds.

    configs, results : as given to and returned by `compute`
    Returns a DataFrame with a row for each variant, convention, noise factor, method, number of
    simulations, parameter (of `QUANTITY_NAMES`) and metric: value (mean over the seeds), low, high
    (the hull of the seeds' 95 % bootstrap intervals over test simulations, so it covers both
    sources of chance), spread (standard deviation over the seeds), n (test simulations), n_seeds,
    snr_db.
    """
    settings = ("variant", "convention", "noise_factor", "method", "n_simulations")
    frames = []
    for config, result in zip(configs, results, strict=True):
        keys = {name: config[name] for name in (*settings, "seed")}
        frames.append(result.tables["scores"].assign(**keys, snr_db=result.values["snr_db"]))
    by = [*settings, "parameter", "metric", "n", "snr_db"]
    grouped = pd.concat(frames).groupby(by, sort=False)
    return grouped.agg(
        value=("value", "mean"),
        low=("low", "min"),
        high=("high", "max"),
        spread=("value", "std"),
        n_seeds=("seed", "nunique"),
    ).reset_index()


def status(store, configs):
    """How much is computed: a DataFrame by variant and method of cells, done, and hours of work.

    hours : processor time of the cells left, from the mean of those done (NaN before the first)
    """
    rows = []
    for config in configs:
        stored = store.stored(NAME, config)
        seconds = None if stored is None else stored.record["cpu_seconds"]
        rows.append((config["variant"], config["method"], stored is not None, seconds))
    frame = pd.DataFrame(rows, columns=["variant", "method", "done", "seconds"])
    table = frame.groupby(["variant", "method"], sort=False).agg(
        cells=("done", "size"), done=("done", "sum"), seconds=("seconds", "mean")
    )
    table["hours"] = (table.cells - table.done) * table.seconds.astype(float) / 3600.0
    return table.drop(columns="seconds").reset_index()


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m experiments.comparison",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("list", "status", "run"))
    parser.add_argument("--of", default="comparison", choices=GRIDS, help="whose cells")
    parser.add_argument("--tier", default="fast", choices=TIERS)
    parser.add_argument("--seed", default=SEED, type=int, help="the first one")
    parser.add_argument("--results", default="results", type=Path, help="folder of the store")
    parser.add_argument("--jobs", default=2, type=int, help="cells side by side")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, instead of --jobs")
    chosen = parser.parse_args(arguments)
    store = Store(chosen.results, chosen.tier)
    configs = GRIDS[chosen.of](chosen.tier, chosen.seed)
    if chosen.command == "list":
        print(pd.DataFrame(configs).to_string(index=False))
        return
    if chosen.command == "run":
        compute(store, configs, n_jobs=chosen.jobs, dask=chosen.dask)
        write_manifest(chosen.results)
    table = status(store, configs)
    print(table.to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    print(f"{table.done.sum()} of {table.cells.sum()} cells are in {store.root / store.tier}")


if __name__ == "__main__":
    sys.exit(main())
