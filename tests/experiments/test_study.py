"""The grid, its scores over seeds, and its command line, which can be stopped and spread out."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments import compared_methods, comparison
from experiments.compared_methods import METHODS
from experiments.results import Result, Store
from jrlib.parameters import QUANTITY_NAMES

CHEAP = {"methods": ("Ridge", "Mean"), "conventions": ("RELEASED",)}


def test_the_grid_is_the_product_of_its_axes():
    configs = comparison.grid("paper", 7, methods=["VanillaLSTM", "Mean"], noise_factors=[0.0, 1.0])
    frame = pd.DataFrame(configs)
    size = comparison.SIZES["paper"]
    assert len(frame) == 2 * 2 * (size.n_seeds + size.n_seeds_cheap)
    assert not frame.duplicated().any()
    assert frame.seed.min() == 7
    assert frame.seed.nunique() == max(size.n_seeds, size.n_seeds_cheap)
    assert frame.seed.is_monotonic_increasing
    assert set(frame.noise_factor) == {0.0, 1.0}


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_the_comparison_has_no_cell_twice_and_keeps_one_set_of_weights_a_method(tier):
    frame = pd.DataFrame(comparison.comparison_grid(tier, 0))
    assert not frame.duplicated().any()
    kept = frame[frame.keep == "weights"]
    assert not kept.duplicated(["convention", "method"]).any()
    assert len(kept) == 2 * len(METHODS)


def test_the_paper_tier_has_the_seeds_it_promises():
    size = comparison.SIZES["paper"]
    assert size.n_seeds >= 3
    assert size.n_seeds_cheap >= 5


def test_the_paper_tier_is_of_the_studys_size():
    size = comparison.SIZES["paper"]
    assert {0.0, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e4} <= set(size.noise_factors)
    assert (size.n_simulations, size.n_test) == (1000, 2000)
    assert set(size.variants) == set(comparison.VARIED)


def test_the_seeds_of_a_grid_follow_each_other(monkeypatch):
    size = comparison.Size(1000, 2000, 50, 3, 5, (1.0,))
    monkeypatch.setitem(comparison.SIZES, "paper", size)
    frame = pd.DataFrame(comparison.grid("paper", 7, methods=["VanillaLSTM", "Mean"]))
    assert sorted(frame.seed.unique()) == [7, 8, 9, 10, 11]
    assert sorted(frame[frame.method == "VanillaLSTM"].seed.unique()) == [7, 8, 9]
    assert frame.seed.is_monotonic_increasing


@pytest.mark.parametrize("tier", comparison.CURVES)
def test_curves_go_on_where_the_comparison_ends(tier):
    """Every method that learns has more simulations than the grid, and the same test set."""
    size = comparison.SIZES[tier]
    frame = pd.DataFrame(comparison.curves_grid(tier, 7))
    assert not frame.duplicated().any()
    assert frame.n_simulations.is_monotonic_increasing
    assert frame.n_simulations.min() > size.n_simulations
    assert set(frame.n_test) == {size.n_test}
    assert set(frame.noise_factor) <= set(size.noise_factors)
    assert set(frame.method) == set(METHODS) - {"Mean"}
    for _, rows in frame.groupby(["method", "noise_factor", "n_simulations"]):
        seeds = rows.groupby("convention").seed.apply(list)
        assert set(seeds.index) == set(comparison.CONVENTIONS)
        assert all(each == list(range(7, 7 + len(each))) for each in seeds)


def test_curves_of_the_paper_tier_go_as_far_as_is_said():
    frame = pd.DataFrame(comparison.curves_grid("paper", 0))
    largest = frame[frame.noise_factor == comparison.RECORDED].groupby("method").n_simulations.max()
    assert largest.min() >= 30 * comparison.SIZES["paper"].n_simulations
    assert largest["MLP"] >= 100 * comparison.SIZES["paper"].n_simulations


@pytest.mark.parametrize("tier", comparison.CURVES)
def test_networks_of_the_curves_see_no_more_than_is_said(tier):
    frame = pd.DataFrame(comparison.curves_grid(tier, 0))
    passes = comparison.SEEN[tier] / frame.n_simulations
    most = comparison.SIZES[tier].epochs
    assert (frame.epochs <= np.minimum(np.maximum(passes + 0.5, 1), most)).all()
    stopped = frame.epochs < most
    assert (frame.epochs[stopped] >= passes[stopped] - 0.5).all()  # nor less than they may


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_longer_trainings_differ_from_the_grids_in_their_epochs_only(tier):
    longer, standard = (
        pd.DataFrame(comparison.longer_grid(tier, 0)),
        pd.DataFrame(comparison.grid(tier, 0)),
    )
    keys = [name for name in standard if name not in ("epochs", "keep")]
    both = longer.merge(standard, on=keys, suffixes=("", "_standard"))
    assert len(both) == len(longer) == comparison.SIZES[tier].n_seeds
    assert (both.epochs == comparison.LONGER * both.epochs_standard).all()
    assert METHODS[longer.method.unique()[0]].patience is None  # it does train for so long


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tier": "huge"}, "tier: got 'huge'"),
        ({"methods": ["GRU"]}, "method: got 'GRU', expected one of EEGTransformer"),
        ({"conventions": ["SI"]}, "convention: got 'SI'"),
        ({"variant": "noisy"}, "variant: got 'noisy', expected one of standard, frozen"),
    ],
)
def test_bad_grids_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        comparison.grid(**{"tier": "fast", "seed": 0, **arguments})


def test_scores_average_seeds_and_cover_them():
    configs = comparison.grid(
        "fast", 0, noise_factors=[1.0], methods=["Ridge"], conventions=["CLASSIC"]
    )
    rows = {"parameter": QUANTITY_NAMES, "metric": "pearson", "n": 500}
    results = [
        Result({"scores": pd.DataFrame({**rows, "value": v, "low": v - w, "high": v + w})})
        for v, w in ((0.5, 0.1), (0.7, 0.02))
    ]
    results = [Result(result.tables, {}, {"snr_db": 3.0}) for result in results]
    scores = comparison.scores(configs, results)
    assert tuple(scores.parameter) == QUANTITY_NAMES
    for column, expected in (("value", 0.6), ("low", 0.4), ("high", 0.72), ("n_seeds", 2)):
        np.testing.assert_allclose(scores[column], expected)
    np.testing.assert_allclose(scores.spread, 0.2 / np.sqrt(2))


def test_scores_keep_numbers_of_simulations_apart():
    configs = [
        config for config in comparison.curves_grid("fast", 0) if config["method"] == "Ridge"
    ]
    row = {"parameter": ["C"], "metric": "pearson", "n": 500}
    results = [
        Result(
            {"scores": pd.DataFrame({**row, "value": 1e-4 * n, "low": 0.0, "high": 1.0})},
            values={"snr_db": 3.0},
        )
        for n in (config["n_simulations"] for config in configs)
    ]
    scores = comparison.scores(configs, results)
    assert set(scores.n_simulations) == {config["n_simulations"] for config in configs}
    np.testing.assert_allclose(scores.value, 1e-4 * scores.n_simulations)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The command line on a grid of a few cheap cells."""
    size = comparison.Size(60, 40, 1, 1, 2, (1.0,), ())
    monkeypatch.setitem(comparison.SIZES, "smoke", size)
    monkeypatch.setattr(
        compared_methods, "METHODS", {name: METHODS[name] for name in CHEAP["methods"]}
    )
    grid = comparison.grid
    monkeypatch.setattr(comparison, "grid", lambda tier, seed: grid(tier, seed, **CHEAP))
    monkeypatch.setattr(comparison, "tabulated_grid", lambda tier, seed: [])
    return tmp_path


def test_the_command_line_lists_runs_and_reports(small, capsys):
    call = ["--tier", "smoke", "--results", str(small), "--jobs", "1"]
    comparison.main(["list", *call])
    assert capsys.readouterr().out.count("RELEASED") == 4
    comparison.main(["status", *call])
    assert f"0 of 4 cells are in {small / 'smoke'}" in capsys.readouterr().out
    comparison.main(["run", *call])
    assert "4 of 4 cells" in capsys.readouterr().out
    assert json.loads((small / "manifest.json").read_text()) == []  # smoke is not published


def test_the_command_line_computes_the_curves_on_demand(monkeypatch, tmp_path, capsys):
    curve = comparison.Curve(("Ridge",), (1.0,), ((80, 2),))
    monkeypatch.setitem(comparison.CURVES, "smoke", (curve,))
    call = ["--of", "curves", "--tier", "smoke", "--results", str(tmp_path), "--jobs", "1"]
    comparison.main(["run", *call])
    configs = comparison.curves_grid("smoke", comparison.SEED)
    assert f"{len(configs)} of {len(configs)} cells" in capsys.readouterr().out
    stored = Store(tmp_path, "smoke")
    assert all(stored.stored(comparison.NAME, config) is not None for config in configs)


def test_a_study_that_was_killed_gives_the_same_tables(small):
    """Cells that a stopped run had finished, and those computed after it, make no difference."""
    call = ["run", "--tier", "smoke", "--jobs", "1"]
    comparison.main([*call, "--results", str(small / "whole")])
    configs = comparison.comparison_grid("smoke", comparison.SEED)
    comparison.compute(Store(small / "stopped", "smoke"), configs[:2], n_jobs=1)
    partial = (
        small / "stopped" / "smoke" / comparison.NAME / "0123.partial-abc"
    )  # killed while writing
    partial.mkdir()
    (partial / "scores.csv").write_text("parameter,met")
    comparison.main([*call, "--results", str(small / "stopped")])
    for config in configs:
        tables = [
            Store(small / name, "smoke").stored(comparison.NAME, config).tables["scores"]
            for name in ("whole", "stopped")
        ]
        assert tables[0].equals(tables[1])


def test_two_dask_workers_give_the_numbers_of_one_process(tmp_path):
    distributed = pytest.importorskip("distributed")
    configs = comparison.grid("smoke", 0, **CHEAP)
    alone = comparison.compute(Store(tmp_path / "alone", "smoke"), configs, n_jobs=1)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        store = Store(tmp_path / "dask", "smoke")
        spread = comparison.compute(store, configs, dask=cluster.scheduler_address)
    for one, other in zip(alone, spread, strict=True):
        assert one.tables["scores"].equals(other.tables["scores"])
        assert one.values == other.values


def test_the_module_is_a_command():
    command = [sys.executable, "-m", "experiments.comparison", "list", "--tier", "smoke"]
    assert "published" in subprocess.check_output(command, text=True)
