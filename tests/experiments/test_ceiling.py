"""Exact posteriors of many observations: what failed is counted, and what they allow."""

import numpy as np
import pandas as pd
import pytest

from experiments import exact_posteriors
from jrlib.inference.exact_posterior import SamplerSettings
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES


def test_the_fraction_of_the_ceiling():
    """A method at half the ceiling everywhere; what the equations do not hold is left out."""
    rows = [("CLASSIC", 1.0, name) for name in QUANTITY_NAMES]
    by = ["convention", "noise_factor", "parameter"]
    ceilings = pd.DataFrame(rows, columns=by).assign(value=0.8, low=0.7, high=0.9)
    half = pd.DataFrame(rows, columns=by).assign(value=0.4, low=0.35, high=0.45, method="half")
    half["n_simulations"] = 1000
    half.loc[~half.parameter.isin(IDENTIFIABLE_NAMES), ["value", "low", "high"]] = -1.0
    mean = half.assign(value=np.nan, method="mean predictor")
    (row,) = exact_posteriors.fractions(pd.concat([half, mean]), ceilings).itertuples()
    assert row.method == "half"
    np.testing.assert_allclose([row.value, row.low, row.high], [0.5, 0.35 / 0.9, 0.45 / 0.7])
    more = half.assign(value=0.6, n_simulations=3000)
    both = (
        exact_posteriors.fractions(pd.concat([half, more]), ceilings)
        .set_index("n_simulations")
        .value
    )
    np.testing.assert_allclose([both[1000], both[3000]], [0.5, 0.75])


def test_what_failed_is_counted_and_not_scored():
    table = pd.DataFrame(
        {
            "accepted": [True, False, True, False, False],
            "ess": [100.0, 0.0, 300.0, 90.0, 0.0],
            "rhat": [1.0, np.inf, 1.002, 1.3, np.inf],
            "n_modes": [1, 0, 1, 2, 0],
            "deviance": [60.0, 1e5, 70.0, 65.0, 66.0],
            "n_simulations": [1000, 500, 6000, 10, SamplerSettings.max_simulations + 5],
        }
    )
    expected = ["accepted", "no mode found", "accepted", "poor", "given up"]
    assert exact_posteriors.outcome(table).to_list() == expected
    (row,) = exact_posteriors.summary({("CLASSIC", 1.0): (table, {})}).to_dict("records")
    assert row["observations"] == 5
    assert [row[name] for name in exact_posteriors.OUTCOMES] == [2, 1, 1, 1]
    assert (row["effective draws"], row["simulations"]) == (200.0, 15.0)
    with pytest.raises(ValueError, match="fewer than"):
        exact_posteriors.scores({("CLASSIC", 1.0): (table, {})})
