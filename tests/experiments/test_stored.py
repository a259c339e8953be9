"""The stored results of the paper tier: a sample of them, computed again."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import amortised_posteriors, compared_methods, comparison
from experiments.compared_methods import cell, estimate, reload
from experiments.provenance import fingerprint
from experiments.results import Store
from jrlib.diagnostics import scoring
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

RESULTS = Path(__file__).parents[1] / "results"
# MNE fits dipoles to the layers of the sphere, and where its search ends hangs on the last digit:
# between the kernels of OpenBLAS for four processors, gains differ by 5e-4 (5e-3 dB).
SAME_DB = 0.01


@pytest.fixture(scope="module")
def store():
    return Store(RESULTS, "paper")


def stored_cells(store, **chosen):
    """Configurations of the grid and its curves that are stored, with their results."""
    for config in comparison.grid("paper", comparison.SEED) + comparison.curves_grid(
        "paper", comparison.SEED
    ):
        if all(config[name] == value for name, value in chosen.items()):
            result = store.stored(comparison.NAME, config)
            if result is not None:
                yield config, result


def assert_same_scores(ours, theirs, atol):
    """Tables as from `scoring.score`: the same rows, values and intervals.

    Between processors sums are rounded in different ways, and a trained network makes more of it.
    """
    pd.testing.assert_frame_equal(ours[["parameter", "metric"]], theirs[["parameter", "metric"]])
    ends = ["value", "low", "high"]
    np.testing.assert_allclose(ours[ends], theirs[ends], atol=atol)


@pytest.mark.parametrize(
    ("method", "convention", "atol"),
    [
        ("EEGTransformer", "RELEASED", 1e-2),
        ("CNNBiLSTM", "RELEASED", 1e-3),
        ("CNNBiLSTM", "CLASSIC", 1e-3),
        ("VanillaLSTM", "RELEASED", 1e-3),
        ("VanillaLSTM", "CLASSIC", 1e-3),
        ("VanillaLSTM-mean", "RELEASED", 1e-2),
        ("NPE", "RELEASED", 1e-2),
    ],
)
def test_stored_weights_give_the_stored_scores(store, method, convention, atol):
    """Weights reloaded, test simulations and noise made again, estimates scored again."""
    chosen = {"method": method, "convention": convention, "keep": "weights"}
    config, result = next(stored_cells(store, **chosen))
    test = compared_methods.test_set(config["convention"], config["n_test"], config["variant"])
    estimates = estimate(reload(config, result), test, config["noise_factor"])
    scale = Prior().quantity_std
    np.testing.assert_allclose(
        estimates / scale, result.arrays["estimates"] / scale, atol=atol, rtol=0
    )
    truth = quantities(test.theta)
    scores = scoring.score(truth, estimates, QUANTITY_NAMES, scale=scale)
    assert_same_scores(scores, result.tables["scores"], atol=1e-3)


@pytest.mark.parametrize("convention", comparison.CONVENTIONS)
@pytest.mark.parametrize(
    ("method", "n_simulations", "noise_factor", "atol"),
    [
        ("Mean", 1000, 0.0, 1e-6),
        ("Mean", 1000, 1e4, 1e-6),
        ("Ridge", 1000, 1e4, 1e-3),
        ("Ridge", 30_000, 1e4, 1e-3),
        ("MLP", 1000, 1e4, 0.05),
        ("MLP", 1000, 1e6, 0.02),
    ],
)
def test_stored_cells_are_what_their_configuration_gives(
    store, method, n_simulations, noise_factor, atol, convention
):
    chosen = {"n_simulations": n_simulations, "noise_factor": noise_factor, "seed": comparison.SEED}
    config, result = next(stored_cells(store, method=method, convention=convention, **chosen))
    again = cell(**config)
    assert_same_scores(again.tables["scores"], result.tables["scores"], atol)
    assert again.values["n_train"] == result.values["n_train"]
    assert again.values["snr_db"] == pytest.approx(result.values["snr_db"], abs=SAME_DB)


def test_the_code_behind_the_stored_cells_is_this_code(store):
    """Otherwise they would have to be computed again: python -m experiments.comparison run --tier paper."""
    code = fingerprint(cell)
    old = [config for config, found in stored_cells(store) if found.record["code"] != code]
    assert not old, f"{len(old)} cells were made by other code, {old[0]} among them"


@pytest.mark.parametrize("convention", comparison.CONVENTIONS)
def test_stored_networks_for_all_noise_levels_give_their_stored_means(store, convention):
    (config,) = (
        config
        for config in amortised_posteriors.grid("paper", comparison.SEED)
        if config["keep"] and config["convention"] == convention
    )
    result = store.stored(amortised_posteriors.NAME, config)
    model = amortised_posteriors.reload(config, result)
    test = compared_methods.test_set(convention, config["n_test"], "standard")
    for row, noise_factor in enumerate(config["noise_factors"]):
        observed = compared_methods.observations(test, noise_factor, seed=compared_methods.TEST)[
            :20
        ]
        means = model.mean(observed.astype(float), noise_factor, seed=config["seed"])
        gap = (means - result.arrays["means"][row, :20]) / Prior().quantity_std
        assert np.abs(gap).max() < 1e-2


def test_stored_answers_are_what_the_stored_network_gives_corrected(store):
    """The first test responses; where draws are exact, other rounding leaves their means alike."""
    config = next(
        config
        for config in amortised_posteriors.answers_grid("paper", comparison.SEED)
        if config["convention"] == "CLASSIC" and config["noise_factor"] == 1e4
    )
    stored = store.stored(amortised_posteriors.ANSWERS, config)
    given = amortised_posteriors.trainings(store, "paper", comparison.SEED)
    again = amortised_posteriors.answers(**(config | {"n_answered": 3, "n_told": 0}), **given)
    scale = Prior().quantity_std
    np.testing.assert_allclose(
        again.arrays["means"] / scale, stored.arrays["means"][:3] / scale, atol=0.02
    )
    efficiency = stored.tables["answers"].efficiency[:3]
    np.testing.assert_allclose(again.tables["answers"].efficiency, efficiency, atol=0.1)
