"""Designs: the tables of the cells, and inference against the linear model."""

import numpy as np
import pytest

from experiments import stimulus_designs
from jrlib import parameters


def test_the_table_of_a_cell():
    table = stimulus_designs.cell("CLASSIC", "as in the study", [1.0, 1e4], 2, 0).tables["draws"]
    assert len(table) == 2 * 2 * len(stimulus_designs.SETTINGS)
    nats = table.pivot(index="draw", columns=["noise_factor", "setting"], values="nats")
    assert (nats[1.0] > nats[1e4]).all(axis=None)
    for setting in ("unknown gain", "both"):
        assert (nats[1e4, setting] < nats[1e4, "white noise"]).all()
    assert (table[list(parameters.IDENTIFIABLE_NAMES)] <= 1.0 + 1e-9).all(axis=None)
    with pytest.raises(ValueError, match="tier"):
        stimulus_designs.grid("huge", 0)


def test_inference_confirms_the_linear_model_where_little_is_left_open():
    """Exact posteriors keep as much information as the tangent linear model promises."""
    n, factor = 3, 1e4
    found = stimulus_designs.confirm(
        "CLASSIC", "as in the study", factor, 300, 3, 20, n, 200, seed=0
    )
    table = stimulus_designs.cell("CLASSIC", "as in the study", [factor], n, 0).tables["draws"]
    promised = table[table.setting == "white noise"].nats
    nats = found.tables["answers"].nats
    assert (found.tables["answers"].efficiency > 0.3).all()
    np.testing.assert_allclose(nats, promised, atol=1.0)
    assert list(found.tables["log_q"].draw) == list(range(20))
    assert set(found.tables["scores"].parameter) >= set(parameters.IDENTIFIABLE_NAMES)
    with pytest.raises(ValueError, match="tier"):
        stimulus_designs.confirm_grid("huge", 0)
