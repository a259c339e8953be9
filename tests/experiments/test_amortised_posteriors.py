"""Amortised posteriors of the study: the same code at small size, with stored weights and ranks."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from experiments import amortised_posteriors, compared_methods, corrected_answers, tables
from experiments.amortised_posteriors import EXPERIMENT, Config
from experiments.exact_posteriors import ALL_EIGHT, Optimum, leaves_envelope
from experiments.experiment import Result
from experiments.runs import Runs
from experiments.settings import CONVENTIONS, TEST
from jrlib.diagnostics.calibration import coverage
from jrlib.diagnostics.scoring import pearson
from jrlib.inference.amortised import NetworkSettings
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

CONFIG = Config(
    "RELEASED",
    1000,
    3,
    keep=True,
    n_test=200,
    n_checked=100,
    n_samples=99,
    noise_factors=(1e5, 2e6),
    n_exact=2,
    n_exact_samples=400,
    most_exact_samples=2400,
    network=NetworkSettings(epochs=12),
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return Runs("smoke", tmp_path_factory.mktemp("amortised")).get(EXPERIMENT, [CONFIG])


@pytest.fixture(scope="module")
def test_set():
    return compared_methods.test_set("RELEASED", CONFIG.n_test, "standard")


def test_stored_weights_give_the_stored_scores(found, test_set):
    model = amortised_posteriors.reload(found)
    observed = test_set.observe(2e6, seed=TEST).astype(float)
    n = CONFIG.n_checked
    means = model.mean(observed[:n], 2e6, seed=CONFIG.seed)
    np.testing.assert_allclose(means, found.arrays()["means"][1], rtol=1e-3)
    expected = pearson(quantities(test_set.theta[:n]), means)
    scores = found.table("scores")
    scores = scores[(scores.metric == "pearson") & (scores.noise_factor == 2e6)]
    values = scores.set_index("parameter").value.reindex(QUANTITY_NAMES)
    np.testing.assert_allclose(values, expected, atol=1e-4)


def test_rescoring_the_weights_gives_the_same_arrays(found):
    again = amortised_posteriors.rescore(CONFIG, *found.weights())
    columns = list(EXPERIMENT.tables["scores"])
    scores = found.table("scores")[columns]
    pd.testing.assert_frame_equal(
        again.tables["scores"], scores, check_dtype=False, check_exact=True
    )
    for name, array in again.arrays.items():
        np.testing.assert_array_equal(array, found.arrays()[name])


def test_ranks_and_levels_are_within_their_ranges_and_not_far_from_uniform(found):
    """At high noise the posterior is near the prior, which even a short training finds."""
    n, arrays = CONFIG.n_checked, found.arrays()
    assert arrays["ranks"].shape == (2, n, len(QUANTITY_NAMES))
    below = arrays["ranks"][-1] / CONFIG.n_samples
    assert ((below >= 0) & (below <= 1)).all()
    assert np.abs(below.mean(axis=0) - 0.5).max() < 0.15  # 5 standard errors of a uniform mean
    for name in ("highest_density", "tarp", "relative_ess"):
        levels = arrays[name]
        assert levels.shape == (2, n)
        assert ((levels > 0) & (levels <= 1)).all()


def test_descents_from_the_network_find_what_descents_from_the_prior_find(found, test_set):
    observed = test_set.observe(2e6, seed=TEST)[0]
    sampler = ExactSampler(Likelihood.of(test_set, 2e6))
    exact = sampler.posterior(observed, 400, np.random.default_rng(0), most=2400)
    assert exact.accepted
    # Two means of a thousand effective samples each: four standard errors of the difference.
    gap = np.abs(found.arrays()["exact"][1, 0] - exact.mean) / Prior().quantity_std
    assert gap.max() < 4 * np.sqrt(2 / 1000)


def test_answers_are_the_exact_posterior_from_fewer_simulations(found, test_set):
    """Means of answers and of long references agree within the errors of the answers' samples."""
    config = corrected_answers.Config(
        "RELEASED", 2e6, 5, trained=found.names[0], n_answered=4, n_told=1
    )
    answered = corrected_answers.run(config, {"trained": found})
    table = answered.tables["answers"]
    assert (table.relative_ess > 0.2).all()
    assert table.c2st[0] < 0.7  # of 99 and 99 samples, half of them to train: 0.5 +- 0.05
    assert table.c2st[1:].isna().all()
    observed = test_set.observe(2e6, seed=TEST)
    sampler = ExactSampler(Likelihood.of(test_set, 2e6))
    for row, mean in zip(observed[:2], answered.arrays["means"], strict=False):
        exact = sampler.posterior(row, 400, np.random.default_rng(0), most=2400)
        assert np.abs((mean - exact.mean) / exact.std).max() < 5 / np.sqrt(0.2 * 99)


def test_where_no_mode_is_near_the_network_answers(found):
    model = amortised_posteriors.reload(found)
    noise = 1e-3 * np.random.default_rng(0).standard_normal(len(model.projection))
    answer = model.answer(noise, 1e5, 50, seed=1)
    assert not answer.corrected
    assert answer.relative_effective_sample_size == 0
    assert answer.samples.shape == (50, 9)
    np.testing.assert_allclose(answer.weights, 1 / 50)
    assert np.isfinite(answer.mean).all()


def test_what_the_weights_say_is_consistent(found):
    """After so short a training few samples count; then no classifier is asked about them."""
    table = found.table("exact")
    assert table.accepted.all()
    assert table.relative_ess.between(1 / CONFIG.n_weighed, 1).all()
    few = table.relative_ess * CONFIG.n_weighed < SamplerSettings.min_effective
    assert (table.c2st_refined.isna() == few).all()
    assert table.c2st.between(0.7, 1.0).all()  # far from exact, as the sample size says


def test_exact_posteriors_are_those_of_the_run(found, test_set):
    known = amortised_posteriors.optima(found)
    assert list(known) == [("RELEASED", 1e5), ("RELEASED", 2e6)]
    optimum = known["RELEASED", 2e6]
    assert list(optimum.numbers) == [0, 1]
    np.testing.assert_array_equal(optimum.mean, found.arrays()["exact"][1])
    np.testing.assert_array_equal(optimum.truth, quantities(test_set.theta)[:2])


def known(best, means, folder):
    """A run at noise factors 1 and 2, and optimal estimates, of the same truth."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((400, len(QUANTITY_NAMES)))
    noisy = lambda sd: truth + sd * rng.standard_normal(truth.shape)  # noqa: E731
    numbers = np.arange(0, 400, 2)
    optima = {
        ("CLASSIC", factor): Optimum(numbers, truth[numbers], noisy(best)[numbers])
        for factor in (1.0, 2.0)
    }
    config = Config("CLASSIC", 100, 1, n_checked=300, noise_factors=(1.0, 2.0))
    empty = {name: pd.DataFrame(columns=list(kinds)) for name, kinds in EXPERIMENT.tables.items()}
    arrays = {"means": np.array([noisy(sd)[:300] for sd in means])}
    result = Result(empty, arrays, {"n_scores": 1, "n_diverged": 0})
    made = replace(EXPERIMENT, run=lambda config: result)
    return Runs("smoke", folder).get(made, [config]), optima


def test_fractions_of_optimal(tmp_path):
    found, optima = known(best=0.5, means=(0.5, 2.0), folder=tmp_path)
    fractions = amortised_posteriors.fractions(found, optima)
    assert set(fractions.parameter) == {*IDENTIFIABLE_NAMES, ALL_EIGHT}
    assert (fractions.n == 150).all()  # accepted, and among those that were checked
    mean = fractions.groupby("noise_factor").value.mean()
    assert mean[1.0] == pytest.approx(1.0, abs=0.03)
    assert mean[2.0] == pytest.approx(np.sqrt(1.25 / 5.0), abs=0.05)
    assert ((fractions.low < fractions.value) & (fractions.value < fractions.high)).all()


def test_quantities_with_a_low_optimal_correlation_are_left_out(tmp_path):
    found, optima = known(best=10.0, means=(10.0, 10.0), folder=tmp_path)
    fractions = amortised_posteriors.fractions(found, optima)
    assert len(fractions) == 2 * (len(IDENTIFIABLE_NAMES) + 1)
    assert amortised_posteriors.telling(fractions).empty


def test_learning_curves_are_mean_correlations_beside_the_optimal_ones():
    rows = [("A_e", 1, 0.5, 0.8), ("A_e", 2, 0.7, 0.8), ("A_i", 1, 1.0, 0.6), ("A_i", 2, 1.0, 0.6)]
    fractions = pd.DataFrame(rows, columns=["parameter", "seed", "value", "optimal"])
    fractions = fractions.assign(convention="CLASSIC", noise_factor=1.0, n_simulations=100)
    groups = {"both": ("A_e", "A_i"), "one": ("A_e",)}
    curves = amortised_posteriors.learning_curves(fractions, groups).set_index("group")
    assert curves.value.to_dict() == pytest.approx({"both": 0.54, "one": 0.48})
    assert curves.low.to_dict() == pytest.approx({"both": 0.5, "one": 0.4})
    assert curves.high.to_dict() == pytest.approx({"both": 0.58, "one": 0.56})
    assert curves.optimal.to_dict() == pytest.approx({"both": 0.7, "one": 0.8})


def test_scores_are_averaged_over_the_trainings_of_a_budget(found):
    scores, stored = amortised_posteriors.scores(found), found.table("scores")
    assert len(scores) == len(stored)  # there is one training
    both = scores.merge(
        stored, on=["noise_factor", "parameter", "metric"], suffixes=("", "_stored")
    )
    for name in ("value", "low", "high", "n"):
        np.testing.assert_array_equal(both[name], both[f"{name}_stored"])


def test_a_trainings_time_follows_from_those_that_do_nothing_else():
    """Two seconds for each pass over a simulation, and one second for what else there is."""
    runs = pd.DataFrame({"run": ["a", "b", "c"], "n_simulations": [1, 2, 10]})
    runs = runs.assign(keep=runs.run == "c", cpu_seconds=[7.0, 9.0, 1000.0])
    history = pd.DataFrame({"run": ["a"] * 3 + ["b"] * 2 + ["c"] * 4})
    found = SimpleNamespace(runs=runs, table={"history": history}.__getitem__)
    assert amortised_posteriors.training_seconds(found) == pytest.approx(80.0)
    found.runs = runs[1:]
    assert np.isnan(amortised_posteriors.training_seconds(found))


def test_ranks_and_levels_that_are_not_uniform_are_outside(tmp_path):
    n, n_samples = 1000, 99
    uniform = (np.arange(n) + 0.5) / n
    ranks = np.repeat(np.floor(uniform * (n_samples + 1))[:, np.newaxis], 13, axis=1)
    ranks[:, 4] = n_samples
    arrays = {"ranks": ranks, "highest_density": uniform**2, "tarp": uniform}
    arrays = {name: array[np.newaxis] for name, array in arrays.items()}
    config = Config("CLASSIC", 100, 1, n_checked=n, n_samples=n_samples, noise_factors=(1.0,))
    empty = {name: pd.DataFrame(columns=list(kinds)) for name, kinds in EXPERIMENT.tables.items()}
    result = Result(empty, arrays, {"n_scores": 1, "n_diverged": 0})
    made = Runs("smoke", tmp_path).get(replace(EXPERIMENT, run=lambda config: result), [config])
    frame = amortised_posteriors.uniformity(made, np.linspace(0.0, 1.0, 11))
    outside = frame.groupby(["check", "series"]).outside.first()
    assert len(outside) == len(QUANTITY_NAMES) + 2
    assert set(outside[outside].index) == {
        ("ranks", QUANTITY_NAMES[4]),
        ("highest density", "highest density"),
    }


def test_thirds_of_the_responses_make_up_all(found):
    thirds = amortised_posteriors.coverage_by_size(found, 0.8)
    assert set(thirds.responses) == {"small", "middle", "large"}
    expected = (found.arrays()["highest_density"] <= 0.8).mean(axis=1)
    mean = thirds.groupby("noise_factor")[
        "observed"
    ].mean()  # of thirds that differ by one response
    np.testing.assert_allclose(mean, expected, atol=0.02)


def test_summaries_count_and_take_medians():
    exact = pd.DataFrame(
        {
            "convention": "CLASSIC",
            "noise_factor": 1.0,
            "accepted": [True, True, True, False],
            "ess": [100.0, 100.0, 200.0, 1.0],
            "n_simulations": [1000, 3000, 4000, 9],
            "relative_ess": [0.1, 0.2, 0.3, 0.4],
            "c2st": [0.5, 0.6, 0.8, np.nan],
            "c2st_refined": [np.nan, 0.5, np.nan, np.nan],
        }
    )
    (row,) = amortised_posteriors.exact_summary(exact).to_dict("records")
    assert (row["n"], row["accepted"], row["n_refined"]) == (4, 3, 1)
    assert row["n_simulations"] == 20.0
    assert row["relative_ess"] == pytest.approx(0.25)
    assert (row["c2st"], row["c2st_refined"]) == (0.6, 0.5)
    answers = exact.assign(number=range(4), relative_ess=[0.0, 0.5, 0.6, 0.0], seconds=[1, 2, 3, 4])
    (row,) = corrected_answers.summary(answers).to_dict("records")
    assert (row["n"], row["uncorrected"], row["c2st"]) == (4, 2, 0.6)
    assert (row["seconds"], row["slow_seconds"]) == pytest.approx((2.5, 3.7))


def test_how_many_simulations_are_needed():
    """The smallest budget from which on all are enough: a lucky small one does not count."""
    rows = [
        (1.0, 100, 0.99),
        (1.0, 1000, 0.90),
        (1.0, 10_000, 0.98),
        (1.0, 100_000, 0.99),
        (2.0, 100, 0.5),
        (2.0, 1000, 0.9),
    ]
    fractions = pd.DataFrame(rows, columns=["noise_factor", "n_simulations", "value"])
    fractions = fractions.assign(convention="CLASSIC", parameter=ALL_EIGHT)
    single = fractions.assign(parameter="A_e", value=1.0)  # of no account
    need = amortised_posteriors.needed(pd.concat([fractions, single]))
    assert need["CLASSIC", 1.0] == 10_000
    assert np.isnan(need["CLASSIC", 2.0])


def test_a_line_leaves_its_envelope_or_does_not():
    nominal = np.linspace(0.0, 1.0, 11)
    uniform = (np.arange(1000) + 0.5) / 1000
    assert not leaves_envelope(coverage(uniform, nominal, 0.999))
    assert leaves_envelope(coverage(uniform**2, nominal, 0.999))


def test_the_grid_keeps_the_weights_of_one_training_a_convention():
    for tier in amortised_posteriors.SIZES:
        configs = amortised_posteriors.grid(tier, 2025)
        kept = amortised_posteriors.kept(tier, 2025)
        assert [config for config in configs if config.keep] == list(kept.values())
        assert list(kept) == list(CONVENTIONS)
        largest = max(config.n_simulations for config in configs)
        assert all(config.n_simulations == largest for config in kept.values())
    with pytest.raises(ValueError, match="tier: got 'large'"):
        amortised_posteriors.grid("large", 2025)


def test_answers_are_those_of_the_training_that_was_kept():
    names = {tables.run_name(c) for c in amortised_posteriors.kept("paper", 2025).values()}
    configs = corrected_answers.grid("paper", 2025)
    assert {config.trained for config in configs} == names
    assert all(config.trained.startswith(config.convention) for config in configs)
    assert {config.noise_factor for config in configs} == set(Config.noise_factors)
    with pytest.raises(ValueError, match="tier: got 'large'"):
        corrected_answers.grid("large", 2025)
