"""Metrics against SciPy, their invariances, and the coverage of the bootstrap intervals."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.feature_selection import r_regression
from sklearn.metrics import r2_score, root_mean_squared_error

from jrlib.diagnostics import scoring

RNG = np.random.default_rng(11)
TRUTH = RNG.normal(size=(120, 3)) * [1.0, 50.0, 1e-3] + [0.0, 1e4, 0.0]
ESTIMATE = 0.6 * TRUTH + RNG.normal(size=(120, 3)) * [0.5, 30.0, 5e-3]
TIED = np.round(TRUTH / [0.5, 25.0, 5e-4]), np.round(ESTIMATE / [0.5, 25.0, 2e-3])
SCALE = np.array([1.0, 50.0, 1e-3])


@pytest.mark.parametrize("truth, estimate", [(TRUTH, ESTIMATE), TIED])
def test_correlations_are_those_of_scipy(truth, estimate):
    columns = list(zip(truth.T, estimate.T, strict=True))
    expected = [stats.pearsonr(x, y).statistic for x, y in columns]
    np.testing.assert_allclose(scoring.pearson(truth, estimate), expected, rtol=1e-9)
    expected = [stats.spearmanr(x, y).statistic for x, y in columns]
    np.testing.assert_allclose(scoring.spearman(truth, estimate), expected, rtol=1e-9)


def test_rmse_and_r2_by_their_definitions():
    error = ((ESTIMATE - TRUTH) ** 2).mean(axis=0)
    np.testing.assert_allclose(scoring.rmse(TRUTH, ESTIMATE, SCALE), np.sqrt(error) / SCALE)
    np.testing.assert_allclose(scoring.r2(TRUTH, ESTIMATE), 1 - error / TRUTH.var(axis=0))
    mean = np.broadcast_to(TRUTH.mean(axis=0), TRUTH.shape)
    np.testing.assert_allclose(scoring.r2(TRUTH, mean), 0, atol=1e-9)
    np.testing.assert_allclose(scoring.rmse(TRUTH, mean, TRUTH.std(axis=0)), 1)


def test_invariances():
    moved = ESTIMATE * [2.0, 0.1, 1e3] + [5.0, -1.0, 1.0]
    pearson = scoring.pearson(TRUTH, ESTIMATE)
    np.testing.assert_allclose(scoring.pearson(TRUTH, moved), pearson, rtol=1e-9)
    np.testing.assert_allclose(scoring.pearson(TRUTH, -moved), -pearson, rtol=1e-9)
    np.testing.assert_allclose(scoring.pearson(ESTIMATE, TRUTH), pearson, rtol=1e-9)
    bent = np.arctan((ESTIMATE - ESTIMATE.mean(axis=0)) / ESTIMATE.std(axis=0))
    spearman = scoring.spearman(TRUTH, ESTIMATE)
    np.testing.assert_allclose(scoring.spearman(TRUTH, bent), spearman, rtol=1e-9)
    order = np.random.default_rng(0).permutation(len(TRUTH))
    np.testing.assert_allclose(scoring.spearman(TRUTH[order], ESTIMATE[order]), spearman)
    np.testing.assert_allclose(scoring.pearson(TRUTH, TRUTH), 1)
    np.testing.assert_allclose(scoring.spearman(TRUTH, TRUTH**3), 1)
    np.testing.assert_allclose(scoring.r2(TRUTH, TRUTH), 1)


@pytest.mark.parametrize("truth, estimate", [(TRUTH, ESTIMATE), TIED])
def test_a_weighted_metric_is_the_metric_of_the_repeated_rows(truth, estimate):
    weights = scoring._multiplicities(np.random.default_rng(4), 5, len(truth))
    np.testing.assert_array_equal(weights.sum(axis=1), len(truth))
    for function in (scoring._pearson, scoring._spearman, scoring._rmse, scoring._r2):
        together = function(weights, truth, estimate)
        for row, counts in zip(together, weights.astype(int), strict=True):
            repeated = np.repeat(truth, counts, axis=0), np.repeat(estimate, counts, axis=0)
            alone = function(np.ones((1, len(truth))), *repeated)[0]
            np.testing.assert_allclose(row, alone, rtol=1e-8)


def test_score_is_tidy_and_agrees_with_the_functions():
    table = scoring.score(TRUTH, ESTIMATE, ["a", "b", "c"], scale=SCALE, n_bootstrap=50)
    assert list(table.columns) == ["parameter", "metric", "value", "low", "high", "n"]
    assert list(table.metric) == list(scoring.METRICS) * 3
    assert (table.n == 120).all()
    wide = table.pivot(index="parameter", columns="metric", values="value")
    np.testing.assert_allclose(wide["pearson"], scoring.pearson(TRUTH, ESTIMATE))
    np.testing.assert_allclose(wide["spearman"], scoring.spearman(TRUTH, ESTIMATE))
    np.testing.assert_allclose(wide["rmse"], scoring.rmse(TRUTH, ESTIMATE, SCALE))
    np.testing.assert_allclose(wide["r2"], scoring.r2(TRUTH, ESTIMATE))
    assert ((table.low < table.value) & (table.value < table.high)).all()


def test_intervals_depend_on_the_seed_alone(monkeypatch):
    def table(seed):
        return scoring.score(TRUTH, ESTIMATE, "abc", scale=SCALE, n_bootstrap=60, seed=seed)

    first = table(1)
    assert not first.low.equals(table(2).low)
    monkeypatch.setattr(scoring, "CHUNK", 7 * len(TRUTH))  # nine chunks instead of one
    pd.testing.assert_frame_equal(first, table(1))


def test_intervals_are_those_of_scipy():
    x, y = TRUTH[:, 0], ESTIMATE[:, 0]
    peer = stats.bootstrap(
        (x, y),
        lambda x, y, axis: stats.pearsonr(x, y, axis=axis).statistic,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4000,
        rng=np.random.default_rng(5),
    ).confidence_interval
    row = scoring.score(x[:, None], y[:, None], ["a"], scale=[1.0], n_bootstrap=4000).iloc[0]
    assert row.metric == "pearson"
    width = peer.high - peer.low
    assert row.low == pytest.approx(peer.low, abs=0.05 * width)
    assert row.high == pytest.approx(peer.high, abs=0.05 * width)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_coverage_of_the_intervals(correlation):
    # Columns are independent repetitions of a test set of 100 simulations; a bivariate normal has
    # Spearman's correlation 6 / pi arcsin(rho / 2) and R^2 = rho^2 for the best prediction rho x.
    repetitions, n = 400, 100
    rng = np.random.default_rng(6)
    x = rng.standard_normal((n, repetitions))
    truth = correlation * x + np.sqrt(1 - correlation**2) * rng.standard_normal(x.shape)
    table = scoring.score(truth, x, range(repetitions), scale=np.ones(repetitions), n_bootstrap=400)
    spearman = 6 / np.pi * np.arcsin(correlation / 2)
    for metric, value in (("pearson", correlation), ("spearman", spearman)):
        rows = table[table.metric == metric]
        covered = np.mean((rows.low <= value) & (value <= rows.high))
        assert 0.91 < covered < 0.98, metric  # 0.95 +- 0.011 by chance


def test_a_constant_estimate_has_no_correlation_but_an_error():
    constant = np.full_like(TRUTH, 0.1)
    table = scoring.score(TRUTH, constant, "abc", scale=SCALE, n_bootstrap=20)
    correlations = table[table.metric.isin(["pearson", "spearman"])]
    assert correlations[["value", "low", "high"]].isna().all().all()
    others = table[~table.metric.isin(["pearson", "spearman"])]
    assert np.isfinite(others[["value", "low", "high"]]).all().all()
    assert np.isnan(scoring.pearson(constant, TRUTH)).all()
    assert np.isnan(scoring.r2(constant, TRUTH)).all()


def test_two_rows_still_score():
    table = scoring.score(TRUTH[:2], ESTIMATE[:2], "abc", scale=SCALE, n_bootstrap=30)
    assert (table.n == 2).all()
    assert np.isfinite(table.value).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"truth": TRUTH[:1], "estimate": ESTIMATE[:1]}, "truth: got shape"),
        ({"estimate": ESTIMATE[:, 0]}, "estimate: got shape"),
        ({"estimate": ESTIMATE[:-1]}, r"estimate: got shape \(119, 3\)"),
        ({"estimate": np.where(TRUTH[7, 1] == TRUTH, np.nan, 0)}, "estimate: .* row 7, column 1"),
        ({"names": ["a"]}, "names: got 1, expected 3"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale: got"),
        ({"n_bootstrap": 0}, "n_bootstrap: got 0"),
        ({"level": 95}, "level: got 95"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"truth": TRUTH, "estimate": ESTIMATE, "names": "abc", "scale": SCALE} | change
    with pytest.raises(ValueError, match=message):
        scoring.score(**arguments)


@pytest.mark.parametrize("truth, estimate", [(TRUTH, ESTIMATE), TIED])
def test_scores_are_those_of_scikit_learn(truth, estimate):
    np.testing.assert_allclose(
        scoring.pearson(truth, estimate),
        [r_regression(x[:, None], y)[0] for x, y in zip(estimate.T, truth.T, strict=True)],
        rtol=1e-9,
    )
    np.testing.assert_allclose(
        scoring.r2(truth, estimate), r2_score(truth, estimate, multioutput="raw_values"), rtol=1e-9
    )
    np.testing.assert_allclose(
        scoring.rmse(truth, estimate, np.ones(3)),
        root_mean_squared_error(truth, estimate, multioutput="raw_values"),
        rtol=1e-9,
    )


def make_estimates(n=500, k=2, seed=0):
    """Truths (n, k), optimal estimates, and estimates (3, n, k) of three trainings."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((n, k))
    optimum = truth + 0.5 * rng.standard_normal(truth.shape)
    return truth, optimum, truth + rng.standard_normal((3, n, k))


def test_a_fraction_is_the_ratio_of_two_correlations_on_the_same_rows():
    truth, optimum, (estimate, *_) = make_estimates()
    frame = scoring.fraction_of_optimal(truth, estimate, optimum, names=["one", "other"])
    assert list(frame.columns) == ["parameter", "optimal", "value", "low", "high", "n"]
    expected = scoring.pearson(truth, estimate) / scoring.pearson(truth, optimum)
    np.testing.assert_allclose(frame.value, expected)
    np.testing.assert_allclose(frame.optimal, scoring.pearson(truth, optimum))
    assert ((frame.low < expected) & (expected < frame.high)).all()


def test_the_optimum_reaches_all_of_itself_and_nothing_is_left_to_chance():
    truth, optimum, _ = make_estimates()
    frame = scoring.fraction_of_optimal(
        truth, optimum, optimum, names=["one", "other"], averages={"both": ["one", "other"]}
    )
    assert (frame[["value", "low", "high"]] == 1.0).all().all()


def test_a_fraction_is_that_of_a_plain_loop_with_averages_and_trainings():
    truth, optimum, trainings = make_estimates(60, 3)
    names, chosen = ["a", "b", "c"], [0, 2]
    options = {"names": names, "averages": {"a and c": ["a", "c"]}}
    frame = scoring.fraction_of_optimal(
        truth, trainings, optimum, **options, n_bootstrap=200, level=0.9, seed=3
    )

    def fraction(rows):
        def correlations(estimate):
            columns = zip(truth[rows].T, estimate[rows].T, strict=True)
            return np.array([np.corrcoef(x, y)[0, 1] for x, y in columns])

        reached = np.mean([correlations(training) for training in trainings], axis=0)
        possible = correlations(optimum)
        return [*(reached / possible), reached[chosen].mean() / possible[chosen].mean()]

    resamples = np.random.default_rng(3).integers(60, size=(200, 60))
    low, high = np.quantile([fraction(rows) for rows in resamples], [0.05, 0.95], axis=0)
    assert list(frame.parameter) == ["a", "b", "c", "a and c"]
    assert (frame.n == 60).all()
    np.testing.assert_allclose(frame.value, fraction(np.arange(60)), rtol=1e-10)
    np.testing.assert_allclose(frame.low, low, rtol=1e-10)
    np.testing.assert_allclose(frame.high, high, rtol=1e-10)
    np.testing.assert_allclose(
        frame.optimal.iloc[-1], scoring.pearson(truth, optimum)[chosen].mean(), rtol=1e-10
    )


def test_a_fraction_knows_no_units():
    truth, optimum, trainings = make_estimates()
    options = {"names": ["one", "other"], "averages": {"both": ["one", "other"]}}
    plain = scoring.fraction_of_optimal(truth, trainings, optimum, **options)
    moved = scoring.fraction_of_optimal(
        1e3 * truth + 5.0, [2.0, 1e-4] * trainings - 1.0, 30.0 * optimum, **options
    )
    pd.testing.assert_frame_equal(plain, moved, rtol=1e-9)


def test_coverage_of_the_intervals_of_fractions():
    # Columns are independent repetitions of a test set of 100 simulations. The optimum correlates
    # by 1 / sqrt(1 + 0.25) with the truth, and the estimate adds noise to the optimum.
    repetitions, n = 400, 100
    rng = np.random.default_rng(8)
    truth = rng.standard_normal((n, repetitions))
    optimum = truth + 0.5 * rng.standard_normal(truth.shape)
    estimate = optimum + 0.75 * rng.standard_normal(truth.shape)
    value = np.sqrt(1.25 / (1.25 + 0.75**2))
    table = scoring.fraction_of_optimal(
        truth, estimate, optimum, names=range(repetitions), n_bootstrap=400
    )
    covered = np.mean((table.low <= value) & (value <= table.high))
    assert 0.91 < covered < 0.98  # 0.95 +- 0.011 by chance


def test_a_constant_estimate_has_no_fraction():
    truth, optimum, _ = make_estimates()
    frame = scoring.fraction_of_optimal(
        truth, np.ones_like(truth), optimum, names="ab", averages={"both": "ab"}
    )
    assert frame[["value", "low", "high"]].isna().all().all()
    assert np.isfinite(frame.optimal).all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"estimate": np.zeros((0, 500, 2))}, "estimate: got no training"),
        ({"estimate": np.zeros((3, 499, 2))}, r"estimate: got shape \(499, 2\), expected"),
        ({"optimum": np.zeros((500, 3))}, r"optimum: got shape \(500, 3\), expected"),
        ({"optimum": np.full((500, 2), np.nan)}, "optimum: not finite at row 0, column 0"),
        ({"names": ["one"]}, "names: got 1, expected 2"),
        ({"averages": {"all": ["third"]}}, "averages: 'all' names 'third', expected some of"),
        ({"averages": {"none": []}}, "averages: 'none' names no quantity"),
        ({"n_bootstrap": 0}, "n_bootstrap: got 0"),
        ({"level": 95}, "level: got 95"),
    ],
)
def test_bad_input_of_a_fraction_is_named(change, message):
    truth, optimum, trainings = make_estimates()
    arguments = {"truth": truth, "estimate": trainings, "optimum": optimum}
    with pytest.raises(ValueError, match=message):
        scoring.fraction_of_optimal(**arguments | {"names": ["one", "other"]} | change)
