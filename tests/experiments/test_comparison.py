"""Runs of the comparison: they learn what can be learned, and keep what they should."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from experiments import compared_methods, comparison
from experiments.settings import TEST, VALIDATION
from experiments.tables import run_name
from jrlib.diagnostics import scoring
from jrlib.neural.baselines import BASELINES
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

SIZES = {"n_simulations": 60, "n_test": 60, "epochs": 1, "keep": "weights"}


def configured(method, seed=0, **changes):
    return comparison.configuration("RELEASED", method, seed, **SIZES | changes)


def computed(method, seed=0, **changes):
    return comparison.run(configured(method, seed, **changes))


def pearson(result):
    scores = result.tables["scores"]
    return scores[scores.metric == "pearson"].set_index("parameter").value


def test_train_and_test_simulations_differ_and_the_test_set_is_shared():
    train = compared_methods.training_set("RELEASED", 50, seed=TEST, variant="standard")
    test = compared_methods.test_set("RELEASED", 50, "standard")
    assert not np.isin(train.theta, test.theta).any()
    again = compared_methods.test_set.__wrapped__("RELEASED", 50, "standard")
    np.testing.assert_array_equal(test.theta, again.theta)
    np.testing.assert_array_equal(test.erp, again.erp)


@pytest.mark.parametrize("method", compared_methods.METHODS)
def test_every_method_gives_estimates_that_its_seed_determines_and_its_scores_follow(method):
    one, two, other = (computed(method, seed) for seed in (0, 0, 1))
    estimates = one.arrays["estimates"]
    assert estimates.shape == (60, len(QUANTITY_NAMES))
    np.testing.assert_array_equal(estimates, two.arrays["estimates"])
    assert not np.array_equal(estimates, other.arrays["estimates"])
    assert one.tables["scores"].equals(two.tables["scores"])
    assert one.tables["history"].equals(two.tables["history"])
    has_epochs = compared_methods.METHODS[method].kind not in BASELINES
    assert bool(len(one.tables["history"])) == has_epochs
    truth = quantities(compared_methods.test_set("RELEASED", 60, "standard").theta)
    again = scoring.score(truth, estimates, QUANTITY_NAMES, scale=Prior().quantity_std)
    for column in ("value", "low", "high"):
        np.testing.assert_allclose(one.tables["scores"][column], again[column], atol=2e-5)


@pytest.mark.parametrize("method", ["EEGTransformer-time", "VanillaLSTM-mean", "CNNBiLSTM", "NPE"])
def test_a_rebuilt_model_gives_the_same_estimates_and_scores(method):
    config = configured(method)
    result = comparison.run(config)
    about = json.loads(json.dumps(result.about))
    again = comparison.rescore(config, result.weights, about)
    estimates = again.arrays["estimates"]
    np.testing.assert_allclose(estimates, result.arrays["estimates"], rtol=1e-5)
    values = [table["scores"].value for table in (again.tables, result.tables)]
    np.testing.assert_allclose(*values, atol=1e-5)
    assert again.values["snr_db"] == result.values["snr_db"]


def test_what_is_kept_is_what_was_asked_for():
    kept = {keep: computed("CNNBiLSTM", keep=keep) for keep in comparison.KEEP}
    assert not kept["scores"].arrays
    assert set(kept["estimates"].arrays) == set(kept["weights"].arrays) == {"estimates"}
    assert not kept["scores"].weights
    assert not kept["estimates"].weights
    assert kept["weights"].weights
    with pytest.raises(ValueError, match="keep: got 'all', expected one of scores"):
        configured("Mean", keep="all")


def test_what_is_kept_makes_no_other_run():
    scores, weights = (configured("CNNBiLSTM", keep=keep) for keep in ("scores", "weights"))
    assert scores == weights
    assert run_name(scores) == run_name(weights)


@pytest.mark.parametrize("method", compared_methods.METHODS)
def test_a_configuration_holds_the_settings_of_its_method_and_no_others(method):
    config = configured(method, variant="frozen", epochs=3)
    made = compared_methods.METHODS[method]
    options = {name for name in comparison.OPTIONS.values() if getattr(config, name) is not None}
    assert options == ({comparison.OPTIONS[made.kind]} if made.options else set())
    assert (config.training is not None) == made.is_network
    if made.is_network:
        assert (config.training.epochs, config.training.frozen_noise) == (3, True)
    assert config.npe is None or config.npe.frozen_noise


def test_ridge_finds_the_inhibitory_gain_and_the_mean_predictor_knows_nothing():
    """In RELEASED the response is linear in A_i, so ridge regression has to find it."""
    ridge, mean = (computed(method, n_simulations=250) for method in ("Ridge", "Mean"))
    assert pearson(ridge)["A_i"] > 0.98
    assert pearson(mean).isna().all()
    rmse = mean.tables["scores"].query("metric == 'rmse'").value
    np.testing.assert_allclose(rmse, 1.0, atol=0.3)


def test_products_are_scored_as_products():
    """The mean of C a_k is not the product of the means: a baseline is fitted to it."""
    constant = computed("Mean", n_simulations=250).arrays["estimates"][0]
    simulated = compared_methods.training_set("RELEASED", 250, seed=0, variant="standard")
    train, _, _ = simulated.split(np.random.default_rng([0, VALIDATION]))
    np.testing.assert_allclose(constant, quantities(train.theta).mean(axis=0), rtol=1e-6)
    assert not np.allclose(constant[9:], constant[4:8] * constant[8], rtol=1e-4)


@pytest.mark.parametrize("variant", compared_methods.VARIANTS)
def test_variants_change_what_they_say(variant):
    train = compared_methods.training_set("RELEASED", 300, seed=0, variant=variant)
    test = compared_methods.test_set("RELEASED", 300, variant)
    inside = (train.theta >= Prior().low) & (train.theta <= Prior().high)
    published = variant.startswith("published")
    assert inside.all() == (variant not in ("untruncated", "published", "published-same"))
    assert (test.manifest["protocol"]["method"] == "euler") == published
    assert train.n_times == (1201 if variant == "1000Hz" else 301)
    rows = np.arange(3)
    one, two = (
        train.sensors(rows, 1e4, torch.Generator().manual_seed(seed)) - train.sensors(rows, 0, None)
        for seed in (0, 1)
    )
    same = variant == "published-same"
    assert torch.allclose(one, two, atol=1e-2) == same
    assert torch.allclose(one[0], one[1], atol=1e-2) == same
    if same:  # test and training simulations share the record too
        three = test.sensors(rows, 1e4, None) - test.sensors(rows, 0, None)
        assert torch.allclose(one, three, atol=1e-2)


def test_variants_share_the_standard_test_simulations_unless_they_are_published():
    standard = compared_methods.test_set("CLASSIC", 30, "standard")
    for variant in ("frozen", "untruncated"):
        np.testing.assert_array_equal(
            compared_methods.test_set("CLASSIC", 30, variant).erp, standard.erp
        )
    finer = compared_methods.test_set("CLASSIC", 30, "1000Hz")
    np.testing.assert_array_equal(finer.theta, standard.theta)
    # Away from the pulse's corners both sampling rates show the same waveform.
    late = standard.times > 0.2
    np.testing.assert_allclose(
        finer.erp[:, ::4][:, late], standard.erp[:, late], atol=2e-3 * np.ptp(standard.erp)
    )


def test_frozen_noise_reaches_the_training():
    for method in ("CNNBiLSTM", "NPE"):
        fresh, frozen = (
            computed(method, variant=variant, epochs=2) for variant in ("standard", "frozen")
        )
        assert not np.allclose(fresh.arrays["estimates"], frozen.arrays["estimates"])


def test_shared_noise_needs_no_generator_and_leaves_the_signal_alone():
    dataset = compared_methods.training_set("RELEASED", 4, seed=0, variant="standard")
    shared = dataclasses.replace(dataset, noise_seed=3)
    rows = np.arange(4)
    noise = shared.source(rows, 100.0, None) - dataset.source(rows, 0.0, None)
    sd = 10.0 * dataset.source_noise * np.sqrt(np.mean(np.diag(dataset.covariance)))
    assert torch.allclose(noise[0], noise[3], atol=1e-3 * sd)
    assert 0.5 < noise[0].std() / sd < 1.5
