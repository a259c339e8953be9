"""What the chapters read off the comparison's runs: means, differences, epochs and estimates."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments import comparison, runs
from jrlib.parameters import QUANTITY_NAMES
from jrlib.priors import Prior


def rows(values, *, variant="standard", metric="pearson"):
    """Rows of the table "scores": values is (n_seeds, n_quantities)."""
    setting = {"variant": variant, "convention": "CLASSIC", "noise_factor": 1.0, "metric": metric}
    setting |= {"method": "Ridge", "n_simulations": 100, "n": 50, "snr_db": 10.0}
    seeds, parameters = np.indices(np.shape(values))
    return pd.DataFrame(
        setting
        | {
            "seed": seeds.ravel(),
            "parameter": np.array(QUANTITY_NAMES)[parameters.ravel()],
            "value": np.ravel(values),
            "low": np.ravel(values) - 0.1,
            "high": np.ravel(values) + 0.1,
        }
    )


def test_means_are_over_the_quantities_of_each_seed_and_then_over_the_seeds():
    frame = rows([[0.1, 0.3, 0.9], [0.2, np.nan, 0.9]])
    (mean,) = comparison.mean_scores(frame, ("A_e", "A_i")).itertuples()
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.2, 0.2, 0.2))
    assert (mean.parameter, mean.n_seeds, mean.snr_db) == (comparison.MEAN, 2, 10.0)
    (mean,) = comparison.mean_scores(frame).itertuples()
    assert (mean.low, mean.high) == pytest.approx((1.3 / 3, 0.55))
    assert mean.value == pytest.approx((1.3 / 3 + 0.55) / 2)


def test_differences_are_paired_by_seed_and_their_mean_has_students_interval():
    rng = np.random.default_rng(0)
    one, other = rng.uniform(size=(2, 4, len(QUANTITY_NAMES)))
    shuffled = rows(other, variant="1000Hz").sample(frac=1.0, random_state=1)
    found = comparison.differences(rows(one), shuffled).set_index("parameter")
    each = pd.DataFrame(other - one, columns=QUANTITY_NAMES)
    for column, expected in (("value", each.mean()), ("low", each.min()), ("high", each.max())):
        np.testing.assert_allclose(found.loc[[*QUANTITY_NAMES], column], expected)
    of_seed, mean = each.mean(axis=1), found.loc[comparison.MEAN]
    expected = stats.ttest_1samp(of_seed, 0.0).confidence_interval(0.95)
    assert mean.value == pytest.approx(of_seed.mean())
    assert (mean.low, mean.high) == pytest.approx((expected.low, expected.high))
    assert (found.n_seeds == 4).all()
    once = comparison.differences(rows(one[:1]), rows(other[:1])).set_index("parameter")
    assert np.isnan(once.loc[comparison.MEAN, ["low", "high"]].astype(float)).all()


def test_the_mean_predictors_loss_is_the_variance_of_scaled_parameters():
    theta = Prior().sample(400, np.random.default_rng(3))
    scaled = (theta - theta.min(axis=0)) / np.ptp(theta, axis=0)
    expected = np.mean((scaled - scaled.mean(axis=0)) ** 2)
    assert comparison.mean_predictor_loss(400, 3, Prior()) == pytest.approx(expected)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    sizes = {"n_simulations": 60, "n_test": 40, "epochs": 3, "npe_epochs": 2, "keep": "weights"}
    methods = ("CNNBiLSTM", "NPE", "Ridge")
    configs = [comparison.configuration("RELEASED", name, 0, **sizes) for name in methods]
    root = tmp_path_factory.mktemp("results")
    return runs.Runs("smoke", root=root).get("comparison", configs, jobs=1)


def test_kept_epochs_are_those_of_the_lowest_validation_loss(found):
    kept = comparison.kept_epochs(found).set_index("method")
    history = found.table("history")
    assert set(kept.index) == {"CNNBiLSTM", "NPE"}
    for method, row in kept.iterrows():
        losses = history[history.method == method].set_index("epoch").validation_loss
        assert row.epochs == len(losses)
        assert row.validation_loss == losses[row.kept] == losses.min()


def test_estimates_are_made_again_from_weights_and_by_fitting_what_has_none(found):
    predicted = comparison.predictions(found, n_npe=7)
    n = predicted.groupby("method").simulation.nunique()
    assert n.to_dict() == {"CNNBiLSTM": 40, "NPE": 7, "Ridge": 40}
    np.testing.assert_allclose(predicted.estimate, predicted.stored, rtol=1e-5)
    assert list(predicted.parameter[: len(QUANTITY_NAMES)]) == list(QUANTITY_NAMES)
    again = comparison.scores_again(found, predicted)
    assert (again.stored.notna() == ((again.method != "NPE") & again.value.notna())).all()
    np.testing.assert_allclose(again.value, again.stored.fillna(again.value), atol=2e-5)


def test_other_noise_changes_the_estimates_that_are_made_again(found):
    predicted = comparison.predictions(found, noise_factor=1e4)
    apart = (predicted.estimate != predicted.stored).groupby(predicted.method).mean()
    assert (apart > 0.5).all()  # strongly shrunk ridge estimates are constant in float32


def test_averages_are_over_quantities_with_a_value_and_so_are_the_ends_of_the_intervals():
    frame = rows([[0.1, np.nan, 0.3]])  # a_1 and so on are not asked for
    (mean,) = comparison.averaged(frame, QUANTITY_NAMES[:2]).itertuples()
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.1, 0.0, 0.2))
    (mean,) = comparison.averaged(frame, QUANTITY_NAMES[:3]).itertuples()
    assert (mean.value, mean.low, mean.high) == pytest.approx((0.2, 0.1, 0.3))
    assert comparison.averaged(frame, QUANTITY_NAMES[1:2]).empty
