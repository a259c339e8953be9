"""Run the chapters from zero with papermill and check that each made what it declares.

    python book/chapters.py --tier fast                  all chapters, in the order of the contents
    python book/chapters.py --tier fast noise -p seed 7  one chapter, with a parameter changed
    python book/chapters.py --tier fast --stored         keep the results that are stored

Where all chapters run, the experiments of the tier are computed first, so that the chapters, which
are then executed side by side, find what they share. Executed notebooks go to
`book/_build/chapters/<tier>/`. From zero means that results stored before the run began are
computed anew. A run that was killed or failed goes on where it was when the same command is given
again: the file `started` beside the notebooks holds the time at which it began.

The run fails when a cell raises, when a parameter is not in a chapter's parameters cell, when the
figures and tables made are not the ones in the notebook's metadata `makes`, or when one of them has
no data beside it as text/csv. A figure is made by a cell with `mystnb.figure.name` in its metadata
and an image among its outputs, a table by an HTML output with `id="tab-..."`.
"""

import argparse
import ast
import json
import os
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import papermill
import yaml

from experiments import NAMES, runs
from experiments.experiment import TIERS, check_tier, load
from experiments.settings import SEED

BOOK = Path(__file__).resolve().parent
IMAGE_TYPES = ("image/svg+xml", "image/png")
DATA_TYPE = "text/csv"
GLUED = "application/papermill.record/"  # how myst_nb's glue keeps a number without showing it


def chapters_in_toc(book):
    """Names of the notebooks in `<book>/_toc.yml`, in its order."""

    def files(entry):
        if isinstance(entry, list):
            return [name for item in entry for name in files(item)]
        if isinstance(entry, dict):
            own = [entry[key] for key in ("root", "file") if key in entry]
            return own + [name for value in entry.values() for name in files(value)]
        return []

    names = files(yaml.safe_load((book / "_toc.yml").read_text()))
    return [name for name in names if (book / f"{name}.ipynb").exists()]


def unknown_parameters(notebook, parameters):
    """Which of the parameters the notebook's parameters cell does not have."""
    known = papermill.inspect_notebook(str(notebook))
    return [name for name in parameters if name not in known]


def differences_from_declared(notebook):
    """How the figures and tables in an executed notebook differ from its metadata `makes`."""
    declared = notebook.metadata.get("makes", [])
    made, problems = [], []
    for number, cell in enumerate(notebook.cells):
        outputs = [output.get("data", {}) for output in cell.get("outputs", [])]
        name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
        if any(kind in data for data in outputs for kind in IMAGE_TYPES):
            if not name:
                problems.append(f"cell {number} shows an image that has no figure name")
            elif sum(any(not kind.startswith(GLUED) for kind in data) for data in outputs) > 1:
                problems.append(f"cell {number} shows more than {name}; end its last line with ;")
        for data in outputs:
            found = re.findall(r'id="(tab-[^"]+)"', data.get("text/html", ""))
            found += [name] if name and any(kind in data for kind in IMAGE_TYPES) else []
            problems += [f"{item} has no data beside it" for item in found if DATA_TYPE not in data]
            made += found
    problems += [f"{name} is declared, but not made" for name in declared if name not in made]
    problems += [f"{name} is made, but not declared" for name in made if name not in declared]
    problems += [f"{name} is made twice" for name in sorted(set(made)) if made.count(name) > 1]
    return problems


def warnings_in(notebook):
    """Lines in the notebook's error streams that report a Python warning."""
    streams = (
        output.text
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output.output_type == "stream" and output.name == "stderr"
    )
    return [line for text in streams for line in text.splitlines() if re.search(r"Warning: ", line)]


def run_chapter(notebook, executed, parameters):
    """Execute one notebook; returns what went wrong and the warnings it printed."""
    # tqdm misses ipywidgets, which would put scripts of a CDN into the pages.
    os.environ.setdefault("PYTHONWARNINGS", "ignore:IProgress not found")
    try:
        papermill.execute_notebook(
            str(notebook),
            str(executed),
            parameters=parameters,
            # Not cwd=, which changes the directory of this whole process, other chapters' included.
            resources={"metadata": {"path": str(notebook.parent)}},
            progress_bar=sys.stderr.isatty(),
            start_timeout=180,
        )
    except papermill.PapermillExecutionError as error:
        return [f"cell {error.cell_index} raised {error.ename}: {error.evalue}"], []
    except Exception as error:  # the kernel did not start, or died
        return [f"{type(error).__name__}: {error}"], []
    result = nbformat.read(executed, as_version=4)
    return differences_from_declared(result), warnings_in(result)


def compute(experiments, tier, *, seed, newer_than):
    """Compute what is missing of the experiments at a tier, in their order."""
    store = runs.Runs(tier, newer_than=newer_than)
    for experiment in map(load, experiments):
        begin = time.perf_counter()
        store.get(experiment, experiment.grid(tier, seed))
        print(f"{experiment.name:<26}{time.perf_counter() - begin:>8.1f} s", flush=True)


def run(book, tier, chapters=(), *, parameters=None, stored=False, experiments=(), jobs=2):
    """Run chapters (all of them when none is named) and print a summary; True when all went well.

    stored : use results that were stored before
    experiments : names of those that are computed before the chapters; jobs : chapters side by side

    ValueError, before anything runs, for an unknown tier or chapter, or for a parameter that one of
    the chapters does not have.
    """
    known = chapters_in_toc(book)
    check_tier(tier)
    for name in chapters:
        if name not in known:
            raise ValueError(f"chapter: got {name!r}, expected one of {', '.join(known)}")
    folder = book / "_build" / "chapters" / tier
    folder.mkdir(parents=True, exist_ok=True)
    given = {**(parameters or {}), "tier": tier, "newer_than": ""}
    chapters = list(chapters) or known
    for name in chapters:
        unknown = unknown_parameters(book / f"{name}.ipynb", given)
        if unknown:
            raise ValueError(f"parameter: {name}.ipynb has none called {', '.join(unknown)}")

    started = _Started(folder / "started", chapters, given)
    if not stored:
        given["newer_than"] = started.begin()
    seed, newer_than = given.get("seed", SEED), given["newer_than"]
    compute(experiments, tier, seed=seed, newer_than=newer_than)
    rows, problems = {}, []
    with ThreadPoolExecutor(jobs) as pool:

        def execute(name):
            begin = time.perf_counter()
            found = run_chapter(book / f"{name}.ipynb", folder / f"{name}.ipynb", given)
            return name, time.perf_counter() - begin, *found

        try:
            for future in as_completed([pool.submit(execute, name) for name in chapters]):
                name, seconds, wrong, warned = future.result()
                rows[name] = f"{name:<18}{seconds:>8.1f} s   {'failed' if wrong else 'ok'}"
                print(rows[name], flush=True)
                print(*(f"    {line}\n" for line in warned), sep="", end="")
                problems += [f"{name}: {problem}" for problem in wrong]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if len(rows) > 1:
        print(f"\nTier {tier}:", *(rows[name] for name in chapters), sep="\n")
    if problems:
        print(f"\n{len(problems)} problems:", *problems, sep="\n  ")
        return False
    started.end()
    print(f"Executed notebooks: {folder}")
    return True


class _Started:
    """When each unfinished run began, in a JSON file: {what was asked for: time}."""

    def __init__(self, path, chapters, parameters):
        self.path = path
        self.request = json.dumps([chapters, parameters], sort_keys=True)
        self.times = json.loads(path.read_text()) if path.exists() else {}

    def begin(self):
        """The time at which this run began, the first time it was asked for."""
        if self.request in self.times:
            print(f"Going on with the run of {self.times[self.request]}.")
            print(f"To begin anew, remove {self.path}")
        else:
            self.times[self.request] = datetime.now(UTC).isoformat(timespec="milliseconds")
            self._write()
        return self.times[self.request]

    def end(self):
        """The run is complete."""
        self.times.pop(self.request, None)
        self._write()

    def _write(self):
        if not self.times:
            self.path.unlink(missing_ok=True)
            return
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.times, indent=1) + "\n")
        partial.replace(self.path)


def _value(text):
    """A parameter from the command line: a Python literal where it is one, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", nargs="*", help="names of chapters (default: all)")
    parser.add_argument("--tier", default="fast", help=", ".join(TIERS))
    parser.add_argument("--stored", action="store_true", help="use stored results")
    parser.add_argument("--jobs", type=int, default=2, help="chapters side by side")
    parser.add_argument(
        "-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"), help="a parameter"
    )
    arguments = parser.parse_args()
    parameters = {name: _value(value) for name, value in arguments.p}
    try:
        complete = run(
            BOOK,
            arguments.tier,
            arguments.chapters,
            parameters=parameters,
            stored=arguments.stored,
            experiments=() if arguments.chapters else NAMES,
            jobs=arguments.jobs,
        )
    except ValueError as error:
        parser.error(str(error))
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
