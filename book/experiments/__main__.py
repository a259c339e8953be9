"""The experiments from the command line, in the folder book/:

    python -m experiments list                                  the experiments there are
    python -m experiments status comparison --tier paper        what is computed, and what is left
    python -m experiments run comparison --tier fast            compute what is missing
    python -m experiments run comparison --dask tcp://host:8786 ... on the workers of a cluster
    python -m experiments verify --seconds 120                  compute stored runs again

What is stopped loses the runs that it was at; given again, it goes on with the others.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from experiments import NAMES, runs, tables
from experiments.experiment import TIERS, load
from experiments.settings import SEED


def status(store, experiment, seed):
    """How much of an experiment's grid is computed: a DataFrame of one row.

    Columns: experiment, runs, done, and hours: processor time of what is left, from the mean of
    what is done (NaN before the first).
    """
    configs = list(dict.fromkeys(experiment.grid(store.tier, seed)))
    missing = set(store.missing(experiment, configs))
    done = [config for config in configs if config not in missing]
    seconds = store.get(experiment, done).runs.cpu_seconds.mean() if done else float("nan")
    row = {"experiment": experiment.name, "runs": len(configs), "done": len(done)}
    return pd.DataFrame([row | {"hours": len(missing) * seconds / 3600.0 if missing else 0.0}])


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("list", "status", "run", "verify"))
    parser.add_argument("names", nargs="*", metavar="experiment", help="all of them by default")
    parser.add_argument("--tier", default="paper", choices=TIERS)
    parser.add_argument("--seed", default=SEED, type=int, help="the first one")
    parser.add_argument("--results", default=runs.RESULTS, type=Path, help="folder of the results")
    parser.add_argument("--jobs", default=2, type=int, help="runs side by side")
    parser.add_argument("--dask", metavar="ADDRESS", help="of a Dask scheduler, instead of --jobs")
    parser.add_argument("--seconds", default=120.0, type=float, help="to verify for")
    chosen = parser.parse_args(arguments)
    try:
        experiments = [load(name) for name in chosen.names or NAMES]
    except ValueError as error:
        parser.error(str(error))
    store = runs.Runs(chosen.tier, chosen.results)
    if chosen.command == "list":
        for experiment in experiments:
            for config in experiment.grid(chosen.tier, chosen.seed):
                print(experiment.name, tables.run_name(config))
        return 0
    if chosen.command == "verify":
        from experiments import verify

        return verify.main(store, experiments, chosen.seconds)
    for experiment in experiments:
        if chosen.command == "run":
            configs = experiment.grid(chosen.tier, chosen.seed)
            store.get(experiment, configs, jobs=chosen.jobs, dask=chosen.dask)
        table = status(store, experiment, chosen.seed)
        print(table.to_string(index=False, float_format="{:.2f}".format, na_rep=""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
