"""The comparison's grid, its scores over seeds, and that it can be stopped and spread out."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pytest

from experiments import __main__ as command
from experiments import comparison
from experiments.compared_methods import METHODS
from experiments.runs import Runs
from experiments.settings import CONVENTIONS, N_TEST, SEED, STUDY_NOISE
from experiments.tables import run_name, to_row
from jrlib.parameters import QUANTITY_NAMES

CHEAP = {"methods": ("Ridge", "Mean"), "conventions": ("RELEASED",)}
PARTS = {
    "standard": comparison.standard_grid,
    "tabulated": comparison.tabulated_grid,
    "curves": comparison.curves_grid,
    "longer": comparison.longer_grid,
}


def as_frame(configs):
    return pd.DataFrame([to_row(config) for config in configs])


def test_the_standard_grid_is_the_product_of_its_axes():
    configs = comparison.standard_grid(
        "paper", 7, methods=["VanillaLSTM", "Mean"], noise_factors=[0.0, 1.0]
    )
    frame, size = as_frame(configs), comparison.SIZES["paper"]
    assert len(frame) == 2 * 2 * (size["n_seeds"] + size["n_seeds_cheap"])
    assert not frame.duplicated().any()
    assert frame.seed.min() == 7
    assert frame.seed.nunique() == max(size["n_seeds"], size["n_seeds_cheap"])
    assert frame.seed.is_monotonic_increasing
    assert set(frame.noise_factor) == {0.0, 1.0}


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_the_grid_has_no_run_twice_and_keeps_one_set_of_weights_a_method(tier):
    configs = comparison.grid(tier, 0)
    assert len(set(configs)) == len({run_name(config) for config in configs}) == len(configs)
    frame = as_frame(configs)
    kept = frame[frame.keep == "weights"]
    assert not kept.duplicated(["convention", "method"]).any()
    assert len(kept) == 2 * len(METHODS)


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_the_grid_is_made_of_its_parts(tier):
    parts = [set(grid(tier, 0)) for grid in PARTS.values()]
    parts += [
        set(comparison.variant_grid(tier, 0, name)) for name in comparison.SIZES[tier]["variants"]
    ]
    assert set(comparison.grid(tier, 0)) == set().union(*parts)
    assert len(comparison.grid(tier, 0)) == sum(len(part) for part in parts)


def test_the_names_of_runs_say_what_is_not_as_in_the_study():
    (config, *_), longer = comparison.standard_grid("paper", SEED, methods=["CNNBiLSTM"]), "longer"
    assert run_name(replace(config, noise_factor=1.0)) == "RELEASED-CNNBiLSTM-seed2025"
    assert run_name(replace(config, noise_factor=1e4)).endswith("-noise_factor=10000")
    assert run_name(comparison.longer_grid("paper", SEED)[0]).endswith(f"-variant={longer}")


def test_the_paper_tier_has_the_seeds_it_promises():
    size = comparison.SIZES["paper"]
    assert size["n_seeds"] >= 3
    assert size["n_seeds_cheap"] >= 5


def test_the_paper_tier_is_of_the_studys_size():
    size = comparison.SIZES["paper"]
    assert {0.0, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e4} <= set(size["noise_factors"])
    assert (size["n_simulations"], size["n_test"]) == (1000, 2000)
    assert set(size["variants"]) == set(comparison.VARIED)


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_all_experiments_have_the_same_test_simulations(tier):
    assert {config.n_test for config in comparison.grid(tier, 0)} == {N_TEST[tier]}


def test_the_seeds_of_a_grid_follow_each_other(monkeypatch):
    size = comparison.SIZES["paper"] | {"n_seeds": 3, "n_seeds_cheap": 5, "noise_factors": (1.0,)}
    monkeypatch.setitem(comparison.SIZES, "paper", size)
    frame = as_frame(comparison.standard_grid("paper", 7, methods=["VanillaLSTM", "Mean"]))
    assert sorted(frame.seed.unique()) == [7, 8, 9, 10, 11]
    assert sorted(frame[frame.method == "VanillaLSTM"].seed.unique()) == [7, 8, 9]
    assert frame.seed.is_monotonic_increasing


@pytest.mark.parametrize("tier", comparison.CURVES)
def test_curves_go_on_where_the_standard_grid_ends(tier):
    """Every method that learns has more simulations than the grid, and the same test set."""
    size = comparison.SIZES[tier]
    frame = as_frame(comparison.curves_grid(tier, 7))
    assert not frame.duplicated().any()
    assert frame.n_simulations.is_monotonic_increasing
    assert frame.n_simulations.min() > size["n_simulations"]
    assert set(frame.n_test) == {size["n_test"]}
    assert set(frame.noise_factor) <= set(size["noise_factors"])
    assert set(frame.method) == set(METHODS) - {"Mean"}
    for _, rows in frame.groupby(["method", "noise_factor", "n_simulations"]):
        seeds = rows.groupby("convention").seed.apply(list)
        assert set(seeds.index) == set(CONVENTIONS)
        assert all(each == list(range(7, 7 + len(each))) for each in seeds)


def test_curves_of_the_paper_tier_go_as_far_as_is_said():
    frame = as_frame(comparison.curves_grid("paper", 0))
    largest = frame[frame.noise_factor == STUDY_NOISE].groupby("method").n_simulations.max()
    assert largest.min() >= 30 * comparison.SIZES["paper"]["n_simulations"]
    assert largest["MLP"] >= 100 * comparison.SIZES["paper"]["n_simulations"]


@pytest.mark.parametrize("tier", comparison.CURVES)
def test_networks_of_the_curves_see_no_more_than_is_said(tier):
    frame = as_frame(comparison.curves_grid(tier, 0))
    frame = frame[frame.method.isin(comparison.NETWORKS)]
    epochs, most = frame["training.epochs"], comparison.SIZES[tier]["epochs"]
    passes = comparison.SIZES[tier]["most_seen"] / frame.n_simulations
    assert (epochs <= np.minimum(np.maximum(passes + 0.5, 1), most)).all()
    stopped = epochs < most
    assert (epochs[stopped] >= passes[stopped] - 0.5).all()  # nor less than they may


@pytest.mark.parametrize("tier", comparison.SIZES)
def test_longer_trainings_differ_from_the_grids_in_their_epochs_only(tier):
    longer = comparison.longer_grid(tier, 0)
    networks = [config for config in comparison.standard_grid(tier, 0) if config.training]
    prolonged = {
        replace(
            config,
            variant="longer",
            training=replace(config.training, epochs=3 * config.training.epochs),
        )
        for config in networks
    }
    assert set(longer) <= prolonged
    assert len(set(longer)) == len(longer) == comparison.SIZES[tier]["n_seeds"]
    assert {config.training.patience for config in longer} == {None}  # it does train for so long


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
        comparison.standard_grid(**{"tier": "fast", "seed": 0, **arguments})


@pytest.mark.parametrize("grid", [comparison.grid, *PARTS.values()])
def test_every_part_names_an_unknown_tier(grid):
    with pytest.raises(ValueError, match="tier: got 'huge'"):
        grid("huge", 0)


def invented(configs, values):
    """Rows of the table "scores" with configurations, for values and half widths."""
    return pd.concat(
        pd.DataFrame({"parameter": QUANTITY_NAMES, "metric": "pearson", "n": 500}).assign(
            **asdict(config), snr_db=3.0, value=value, low=value - half, high=value + half
        )
        for config, (value, half) in zip(configs, values, strict=True)
    )


def test_scores_average_seeds_and_cover_them():
    options = {"noise_factors": [1.0], "methods": ["Ridge"], "conventions": ["CLASSIC"]}
    configs = comparison.standard_grid("paper", 0, **options)[:2]
    scores = comparison.scores(invented(configs, [(0.5, 0.1), (0.7, 0.02)]))
    assert tuple(scores.parameter) == QUANTITY_NAMES
    for column, expected in (("value", 0.6), ("low", 0.4), ("high", 0.72), ("n_seeds", 2)):
        np.testing.assert_allclose(scores[column], expected)
    np.testing.assert_allclose(scores.spread, 0.2 / np.sqrt(2))


def test_scores_keep_numbers_of_simulations_apart():
    configs = [config for config in comparison.curves_grid("fast", 0) if config.method == "Ridge"]
    values = [(1e-4 * config.n_simulations, 0.5) for config in configs]
    scores = comparison.scores(invented(configs, values))
    assert set(scores.n_simulations) == {config.n_simulations for config in configs}
    np.testing.assert_allclose(scores.value, 1e-4 * scores.n_simulations)


@pytest.fixture
def small(monkeypatch, tmp_path):
    """The command line on a grid of a few cheap runs."""
    size = {"n_simulations": 60, "epochs": 1, "n_seeds": 1, "n_seeds_cheap": 2, "variants": ()}
    monkeypatch.setitem(comparison.SIZES, "smoke", comparison.SIZES["smoke"] | size)

    def grid(tier, seed):
        return comparison.standard_grid(tier, seed, **CHEAP)

    monkeypatch.setattr(comparison, "EXPERIMENT", replace(comparison.EXPERIMENT, grid=grid))
    return tmp_path


def test_the_command_line_lists_runs_and_reports(small, capsys):
    call = ["comparison", "--tier", "smoke", "--results", str(small), "--jobs", "1"]
    command.main(["list", *call])
    assert capsys.readouterr().out.count("RELEASED") == 4
    command.main(["status", *call])
    assert capsys.readouterr().out.split()[-3:] == ["comparison", "4", "0"]
    command.main(["run", *call])
    assert capsys.readouterr().out.split()[-4:] == ["comparison", "4", "4", "0.00"]


def test_a_comparison_that_was_killed_gives_the_same_tables(small):
    """Runs that a stopped process had finished, and those computed after it, are the same."""
    call = ["run", "comparison", "--tier", "smoke", "--jobs", "1"]
    command.main([*call, "--results", str(small / "whole")])
    configs = comparison.EXPERIMENT.grid("smoke", SEED)
    Runs("smoke", small / "stopped").get(comparison.EXPERIMENT, configs[:2], jobs=1)
    partial = small / "stopped" / "smoke" / "comparison" / "scores.csv.here-0.partial"
    partial.write_text("parameter,met")  # killed while writing
    command.main([*call, "--results", str(small / "stopped")])
    whole, stopped = (
        Runs("smoke", small / name).get(comparison.EXPERIMENT, configs)
        for name in ("whole", "stopped")
    )
    assert whole.table("scores").equals(stopped.table("scores"))


def test_two_dask_workers_give_the_numbers_of_one_process(tmp_path):
    distributed = pytest.importorskip("distributed")
    configs = comparison.standard_grid("smoke", 0, **CHEAP)
    alone = Runs("smoke", tmp_path / "alone").get("comparison", configs, jobs=1)
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster:
        store = Runs("smoke", tmp_path / "dask")
        spread = store.get("comparison", configs, dask=cluster.scheduler_address)
    assert alone.table("scores").equals(spread.table("scores"))
    for name in ("snr_db", "n_train"):
        assert alone.runs[name].equals(spread.runs[name])
