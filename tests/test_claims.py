"""The published numbers beside ours, and the ledger of claims."""

import numpy as np
import pytest

from jrlib import claims, comparison
from jrlib.parameters import PARAMETER_NAMES, quantities
from jrlib.results import Result

PUBLISHED_CELL = {
    "convention": "RELEASED",
    "method": "EEGTransformer",
    "noise_factor": 1.0,
    "seed": 0,
    "n_simulations": 10,
    "n_test": 400,
    "epochs": 1,
    "variant": "published",
    "keep": "estimates",
}


def cell_with_correlations(correlations, seed, rng):
    """A cell of the published variant whose estimates have about these correlations (9,)."""
    theta = comparison.test_set("RELEASED", 400, "published").theta
    standard = (theta - theta.mean(axis=0)) / theta.std(axis=0)
    r = np.asarray(correlations)
    made = r * standard + np.sqrt(1 - r**2) * rng.standard_normal(theta.shape)
    estimates = quantities(theta.mean(axis=0) + theta.std(axis=0) * made).astype(np.float32)
    return {**PUBLISHED_CELL, "seed": seed}, Result(arrays={"estimates": estimates})


def test_published_values_lie_inside_where_ours_are_the_same_and_only_there():
    rng = np.random.default_rng(0)
    published = np.array(claims.PUBLISHED["EEGTransformer", 1])
    moved = published.copy()
    moved[2] = -0.2  # b_e, where 0.54 was published
    same, other = (
        claims.published_comparison([cell_with_correlations(r, seed, rng) for seed in range(3)])
        for r in (published, moved)
    )
    assert list(same.columns) == [
        *("variant", "method", "run", "parameter", "published", "low", "median", "high", "inside")
    ]
    assert tuple(same.parameter[same.run == 1]) == PARAMETER_NAMES
    first = same[same.run == 1]
    assert first.inside.all()
    np.testing.assert_allclose(first["median"], published, atol=0.12)
    # The width is that of 100 simulations: the standard error of Fisher's z is 1 / sqrt(97).
    width = np.arctanh(first.high) - np.arctanh(first.low)
    np.testing.assert_allclose(width, 2 * 1.96 / np.sqrt(97), rtol=0.35)
    outside = other[(other.run == 1) & ~other.inside]
    assert list(outside.parameter) == ["b_e"]


def test_seeds_are_pooled():
    rng = np.random.default_rng(1)
    pairs = [cell_with_correlations(np.full(9, r), i, rng) for i, r in enumerate((0.0, 0.8))]
    both = claims.published_comparison(pairs).iloc[0]
    low, high = (claims.published_comparison([pair]).iloc[0] for pair in pairs)
    assert both.low == pytest.approx(low.low, abs=0.06)
    assert both.high == pytest.approx(high.high, abs=0.06)
    assert low["median"] < both["median"] < high["median"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "Ridge"}, "no cell of a method with published numbers"),
        ({"epochs": 7}, "differ by more than their seed"),
    ],
)
def test_cells_that_cannot_be_compared_are_named(change, message):
    rng = np.random.default_rng(0)
    config, result = cell_with_correlations(np.zeros(9), 0, rng)
    pairs = [({**config, **change}, result)]
    if "epochs" in change:
        pairs.append((config, result))
    with pytest.raises(ValueError, match=message):
        claims.published_comparison(pairs)
    with pytest.raises(ValueError, match="keep='estimates'"):
        claims.published_comparison([(config, Result())])
