"""Exact posteriors of many observations: what failed is counted, and what they allow."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import comparison, exact_posteriors
from experiments.exact_posteriors import ALL_EIGHT, EXPERIMENT, Config, Optimum
from experiments.experiment import Result
from experiments.runs import Runs
from jrlib.diagnostics.scoring import pearson
from jrlib.inference.exact_posterior import SamplerSettings
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES

IDENTIFIABLE = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]
WENT = pd.DataFrame(
    {
        "number": range(5),
        "accepted": [True, False, True, False, False],
        "ess": [100.0, 0.0, 300.0, 90.0, 0.0],
        "rhat": [1.0, np.inf, 1.002, 1.3, np.inf],
        "largest_weight": [0.01, 0.0, 0.01, 0.02, 0.0],
        "n_modes": [1, 0, 1, 2, 0],
        "deviance": [60.0, 1e5, 70.0, 65.0, 66.0],
        "n_simulations": [1000, 500, 6000, 10, SamplerSettings.max_simulations + 5],
    }
)


def stored(results, folder):
    """A `Found` of made-up results, a dict of each by its configuration."""
    made = replace(EXPERIMENT, run=results.get)
    return Runs("smoke", folder).get(made, list(results), jobs=1)


def test_what_failed_is_counted_and_not_scored(tmp_path):
    """Two accepted observations are one too few for a correlation."""
    nothing = {name: np.zeros((5, 13), np.float32) for name in ("truth", "mean", "std")}
    config = Config("CLASSIC", 1.0, 0, 1, n_observations=5)
    found = stored({config: Result({"observations": WENT}, nothing)}, tmp_path)
    table = found.table("observations")
    expected = ["accepted", "no mode found", "accepted", "poor", "given up"]
    assert exact_posteriors.outcome(table).to_list() == expected
    (row,) = exact_posteriors.summary(table).to_dict("records")
    assert row["observations"] == 5
    assert [row[name] for name in exact_posteriors.OUTCOMES] == [2, 1, 1, 1]
    assert (row["effective samples"], row["simulations"]) == (200.0, 15.0)
    with pytest.raises(ValueError, match="fewer than"):
        exact_posteriors.scores(found)


def test_optimal_estimates_are_the_means_of_accepted_observations_block_by_block(tmp_path):
    rng = np.random.default_rng(0)
    results = {}
    for first in (0, 5):
        arrays = {name: rng.standard_normal((5, 13)) for name in ("truth", "mean", "std")}
        table = WENT.assign(number=WENT.number + first)
        config = Config("CLASSIC", 1.0, first, 1, n_observations=5)
        results[config] = Result({"observations": table}, arrays)
    found = stored(results, tmp_path)
    ((setting, optimum),) = exact_posteriors.optima(found).items()
    assert setting == ("CLASSIC", 1.0)
    assert list(optimum.numbers) == [0, 2, 5, 7]
    for name in ("truth", "mean"):
        expected = np.concatenate([r.arrays[name][[0, 2]] for r in results.values()])
        np.testing.assert_array_equal(getattr(optimum, name), expected)
    assert list(optimum.among([7, 2, 3]).numbers) == [2, 7]
    scores = exact_posteriors.scores(found)
    expected = pearson(optimum.truth, optimum.mean)
    pearsons = scores[scores.metric == "pearson"].set_index("parameter").value
    np.testing.assert_allclose(pearsons.reindex(QUANTITY_NAMES), expected)


def test_what_the_chapter_draws_is_of_accepted_posteriors(tmp_path):
    """Ranks and standard deviations count where a posterior is accepted; outcomes are of all."""
    truth = np.arange(5 * 13, dtype=np.float32).reshape(5, 13)
    ranks = np.full((5, 13), np.nan)
    ranks[[0, 2]] = np.array([24, 74])[:, np.newaxis]
    ranks[:, 0] = 99  # of the first quantity the truth lies above all samples
    spread = np.arange(5 * 8, dtype=np.float32).reshape(5, 8)
    arrays = {"truth": truth, "ranks": ranks, "spread": spread, "bound": 2 * spread}
    config = Config("CLASSIC", 1.0, 0, 1, n_observations=5)
    found = stored({config: Result({"observations": WENT}, arrays)}, tmp_path)

    outcomes = exact_posteriors.outcomes(found)
    assert list(outcomes.b_e) == list(truth[:, QUANTITY_NAMES.index("b_e")])
    assert outcomes.outcome.to_list() == [
        "accepted",
        "no mode found",
        "accepted",
        "poor",
        "given up",
    ]

    curves = exact_posteriors.coverage_of_ranks(found)
    assert set(curves.parameter) == set(QUANTITY_NAMES)
    assert (curves.n == 2).all()
    half = curves[curves.nominal == 0.5].set_index("parameter").observed
    assert half["A_i"] == 0.5
    assert half["A_e"] == 0.0
    assert set(curves.parameter[curves.outside]) == {"A_e"}

    bounds = exact_posteriors.linear_bounds(found)
    assert list(bounds.number) == [0] * 8 + [2] * 8
    assert list(bounds["standard deviation"]) == [*spread[0], *spread[2]]
    assert (bounds.bound == 2 * bounds["standard deviation"]).all()
    assert list(bounds.coordinate[:8:7]) == ["A_e", "log C a_4"]


def made_up(n, noise):
    """An `Optimum` of every third of n observations, and the truth of all of them."""
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((n, 13))
    numbers = np.arange(0, n, 3)
    mean = truth + noise * rng.standard_normal(truth.shape)
    return truth, Optimum(numbers, truth[numbers], mean[numbers])


def test_the_fraction_of_optimal_is_that_of_the_same_observations():
    """What other observations say is of no account, and what the equations do not hold neither."""
    truth, optimum = made_up(300, noise=0.5)
    rng = np.random.default_rng(2)
    best, half = (rng.standard_normal(truth.shape) for _ in range(2))
    best[optimum.numbers] = optimum.mean
    half[optimum.numbers] = truth[optimum.numbers] + 2 * half[optimum.numbers]
    labels = {"convention": "CLASSIC", "noise_factor": 1.0, "n_simulations": 1000}
    frame = exact_posteriors.fractions_of_optimal(
        [
            (labels | {"method": "best"}, best),
            (labels | {"method": "half"}, half),
            (labels | {"method": "half", "n_simulations": 3000}, np.array([best, half])),
            (labels | {"method": "mean predictor"}, np.ones_like(best)),
            (labels | {"method": "no optimum", "noise_factor": 2.0}, best),
        ],
        {("CLASSIC", 1.0): optimum},
        n_bootstrap=50,
    )
    assert set(frame.method) == {"best", "half"}
    assert set(frame.parameter) == {*IDENTIFIABLE_NAMES, ALL_EIGHT}
    assert (frame.n == 100).all()
    ends = frame[frame.method == "best"][["value", "low", "high"]]
    np.testing.assert_allclose(ends, 1.0)
    optimal = pearson(optimum.truth, optimum.mean)[IDENTIFIABLE]
    reached = pearson(optimum.truth, half[optimum.numbers])[IDENTIFIABLE]
    means = frame[frame.parameter == ALL_EIGHT].set_index(["method", "n_simulations"]).value
    assert means["half", 1000] == pytest.approx(reached.mean() / optimal.mean())
    both = (reached.mean() + optimal.mean()) / 2  # of two trainings, one of them optimal
    assert means["half", 3000] == pytest.approx(both / optimal.mean())


def test_the_fractions_of_methods_are_those_of_their_stored_estimates(tmp_path):
    """Two of three trainings keep their estimates; the third and another method do not."""
    truth, optimum = made_up(90, noise=0.5)
    rng = np.random.default_rng(3)
    estimates = truth + rng.standard_normal((2, *truth.shape))
    kinds = comparison.EXPERIMENT.tables
    empty = {name: pd.DataFrame(columns=list(columns)) for name, columns in kinds.items()}
    results = {}
    for method, seed, arrays in (
        ("Ridge", 1, {"estimates": estimates[0]}),
        ("Ridge", 2, {"estimates": estimates[1]}),
        ("Ridge", 3, {}),
        ("MLP", 1, {}),
    ):
        config = comparison.configuration("CLASSIC", method, seed)
        results[config] = Result(empty, arrays, {"snr_db": 1.0, "n_train": 1})
    made = replace(comparison.EXPERIMENT, run=results.get)
    found = Runs("smoke", tmp_path).get(made, list(results), jobs=1)
    optima = {("CLASSIC", 1.0): optimum}
    frame = exact_posteriors.fractions_of_methods(found, optima, n_bootstrap=20)
    labels = {"convention": "CLASSIC", "noise_factor": 1.0}
    expected = exact_posteriors.fractions_of_optimal([(labels, estimates)], optima, n_bootstrap=20)
    np.testing.assert_array_equal(frame.value, expected.value)
    assert set(frame.method) == {"Ridge"}
    assert set(frame.n_trainings) == {2}


def test_there_are_no_fractions_without_a_common_observation():
    truth, optimum = made_up(300, noise=0.5)
    labels = {"convention": "CLASSIC", "noise_factor": 1.0}
    few = exact_posteriors.fractions_of_optimal([(labels, truth[:5])], {("CLASSIC", 1.0): optimum})
    assert few.empty
    assert {"parameter", "value", *labels} <= set(few.columns)


def test_the_grid_has_blocks_of_every_setting():
    configs = exact_posteriors.grid("paper", 2025)
    sizes = exact_posteriors.SIZES["paper"]["n_observations"]
    for (variant, convention, noise_factor), n in sizes.items():
        here = [
            config
            for config in configs
            if (config.variant, config.convention, config.noise_factor)
            == (variant, convention, noise_factor)
        ]
        numbers = [i for c in here for i in range(c.first, c.first + c.n_observations)]
        assert numbers == list(range(n))
    assert {config.simulations.prior_kind for config in configs} == {"normal", "uniform"}
    with pytest.raises(ValueError, match="tier: got 'large'"):
        exact_posteriors.grid("large", 2025)
