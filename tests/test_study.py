"""The comparison: grids, cells that learn what can be learned, and scores over seeds."""

import numpy as np
import pandas as pd
import pytest

from jrlib import study
from jrlib.parameters import PARAMETER_NAMES, Prior

CELL = {"convention": "RELEASED", "noise_factor": 1.0, "seed": 0, "n_test": 60, "epochs": 1}


def test_the_grid_is_the_product_of_its_axes():
    configs = study.grid("fast", 7, methods=["Ridge", "Mean"], noise_factors=[0.0, 1.0])
    frame = pd.DataFrame(configs)
    assert len(frame) == 2 * 2 * 2 * study.SIZES["fast"].n_seeds
    assert not frame.duplicated().any()
    assert sorted(frame.seed.unique()) == [7, 8]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tier": "huge"}, "tier: got 'huge'"),
        ({"methods": ["GRU"]}, "method: got 'GRU', expected one of EEGTransformer"),
        ({"conventions": ["SI"]}, "convention: got 'SI'"),
    ],
)
def test_bad_grids_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        study.grid(**{"tier": "fast", "seed": 0, **arguments})


def test_train_and_test_simulations_differ_and_the_test_set_is_shared():
    train = study.training_set("RELEASED", 50, seed=study.TEST)
    test = study.test_set("RELEASED", 50)
    assert not np.isin(train.theta, test.theta).any()
    np.testing.assert_array_equal(test.theta, study.test_set("RELEASED", 50).theta)


@pytest.mark.parametrize("method", study.METHODS)
def test_every_method_gives_finite_estimates_that_its_seed_determines(method):
    results = [
        study.cell(**{**CELL, "method": method, "n_simulations": 60, "seed": seed})
        for seed in (0, 0, 1)
    ]
    one, two, other = (result.arrays["estimates"] for result in results)
    assert one.shape == (60, 9)
    assert np.isfinite(one).all()
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


def test_ridge_finds_the_inhibitory_gain_and_the_mean_predictor_knows_nothing():
    """In RELEASED the response is linear in A_i, so ridge regression has to find it."""
    configs = [{**CELL, "method": method, "n_simulations": 200} for method in ("Ridge", "Mean")]
    scores = study.scores(configs, [study.cell(**config) for config in configs], n_bootstrap=50)
    values = scores.set_index(["method", "metric", "parameter"]).value.sort_index()
    assert values["Ridge", "pearson", "A_i"] > 0.98
    assert values["Mean", "pearson"].isna().all()
    np.testing.assert_allclose(values["Mean", "rmse"].to_numpy(float), 1.0, atol=0.25)


def test_scores_average_seeds_and_cover_them():
    truth = study.test_set("RELEASED", 60).theta
    rng = np.random.default_rng(0)
    configs, results = [], []
    for seed, noise in enumerate((0.2, 0.6)):
        estimates = truth + noise * Prior().std * rng.standard_normal(truth.shape)
        configs.append({**CELL, "method": "Ridge", "n_simulations": 10, "seed": seed})
        results.append(study.Result(arrays={"estimates": estimates}, values={"snr_db": 0.0}))
    both = study.scores(configs, results, n_bootstrap=100)
    pairs = zip(configs, results, strict=True)
    single = [study.scores([config], [result], n_bootstrap=100) for config, result in pairs]
    assert (both.n_seeds == 2).all()
    assert tuple(both.parameter.unique()) == PARAMETER_NAMES
    np.testing.assert_allclose(both.value, (single[0].value + single[1].value) / 2)
    np.testing.assert_allclose(both.low, np.minimum(single[0].low, single[1].low))
    np.testing.assert_allclose(both.high, np.maximum(single[0].high, single[1].high))
