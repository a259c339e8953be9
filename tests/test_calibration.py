"""Amortised posteriors of the study: the same code at small size, with stored weights and ranks."""

import numpy as np
import pytest

from jrlib import amortised, calibration, comparison, study
from jrlib.ceiling import Reference
from jrlib.metrics import pearson
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.reference import Likelihood

CONFIG = {
    "convention": "RELEASED",
    "n_simulations": 1000,
    "seen": 12_000,
    "seed": 3,
    "n_test": 200,
    "n_checked": 100,
    "n_samples": 99,
    "n_refined": 2,
    "n_weighed": 500,
    "noise_factors": [1e5, 2e6],
    "keep": True,
}


@pytest.fixture(scope="module")
def result():
    return calibration.cell(**CONFIG)


def test_stored_weights_give_the_stored_scores(result):
    test = comparison.test_set("RELEASED", CONFIG["n_test"], "standard")
    reference = Reference(Likelihood.of(test, 1.0))
    start = "weights/"
    weights = {
        name.removeprefix(start): array
        for name, array in result.arrays.items()
        if name.startswith(start)
    }
    model = amortised.Amortised.from_state(weights, result.values["config"], reference)
    observed = comparison.observations(test, 2e6, seed=comparison.TEST).astype(float)
    expected = pearson(quantities(test.theta), model.mean(observed, 2e6, seed=CONFIG["seed"]))
    scores = result.tables["scores"]
    scores = scores[(scores.metric == "pearson") & (scores.noise_factor == 2e6)]
    found = scores.set_index("parameter").value.reindex(QUANTITY_NAMES)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ranks_and_levels_are_within_their_ranges_and_not_far_from_uniform(result):
    """At high noise the posterior is near the prior, which even a short training finds."""
    n = CONFIG["n_checked"]
    assert result.arrays["ranks"].shape == (2, n, len(QUANTITY_NAMES))
    assert result.arrays["refined"].shape == (2, CONFIG["n_refined"], len(QUANTITY_NAMES))
    part = result.arrays["ranks"][-1] / CONFIG["n_samples"]
    assert ((part >= 0) & (part <= 1)).all()
    assert np.abs(part.mean(axis=0) - 0.5).max() < 0.15  # 5 standard errors of a uniform mean
    for name in ("highest_density", "tarp"):
        levels = result.arrays[name]
        assert levels.shape == (2, n)
        assert ((levels > 0) & (levels < 1)).all()


def test_the_grid_keeps_the_weights_of_one_training_a_convention():
    for tier in calibration.SIZES:
        configs = calibration.grid(tier, 2025)
        kept = [config for config in configs if config["keep"]]
        assert [config["convention"] for config in kept] == list(study.CONVENTIONS)
        largest = max(config["n_simulations"] for config in configs)
        assert all(config["n_simulations"] == largest for config in kept)
    with pytest.raises(ValueError, match="tier: got 'large'"):
        calibration.grid("large", 2025)
