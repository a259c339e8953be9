"""Networks trained in other ways: each for itself and all together."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp

from experiments import compared_methods, flow_alternatives
from jrlib.diagnostics.scoring import pearson
from jrlib.inference.amortised import NetworkSettings
from jrlib.parameters import QUANTITY_NAMES, quantities

SMALL = flow_alternatives.Config(
    "CLASSIC",
    4,
    n_simulations=300,
    n_test=60,
    n_checked=30,
    n_samples=19,
    noise_factors=(1e4, 1e6),
    network=NetworkSettings(epochs=3),
)


def test_several_networks_and_their_mean_density():
    found = flow_alternatives.run(replace(SMALL, n_trainings=2))
    log_q = found.arrays["log_q"].astype(float)
    assert log_q.shape == (3, 2, 30)
    np.testing.assert_allclose(log_q[2], logsumexp(log_q[:2], axis=0) - np.log(2), atol=1e-3)
    # The scores are those of the means, network by network.
    truth = quantities(compared_methods.test_set("CLASSIC", 60, "standard").theta[:30])
    scores = found.tables["scores"]
    assert list(scores.network.unique()) == ["4", "5", flow_alternatives.ENSEMBLE]
    here = scores[(scores.metric == "pearson") & (scores.noise_factor == 1e6)]
    for name, means in zip(
        ["4", "5", flow_alternatives.ENSEMBLE], found.arrays["means"][:, 1], strict=True
    ):
        values = here[here.network == name].set_index("parameter").value.reindex(QUANTITY_NAMES)
        np.testing.assert_allclose(values, pearson(truth, means.astype(float)), atol=1e-4)
    ranks = found.arrays["ranks"]
    assert ranks.shape == (3, 2, 30, 13)
    assert ((ranks >= 0) & (ranks <= 19)).all()


def test_one_network_alone_has_no_ensemble():
    settings = replace(SMALL.network, flow="matching")
    found = flow_alternatives.run(replace(SMALL, network=settings))
    assert list(found.tables["scores"].network.unique()) == ["4"]
    assert np.isfinite(found.arrays["log_q"]).all()


def test_the_grid():
    configs = flow_alternatives.grid("paper", 1)
    assert [config.network.flow for config in configs] == ["spline", "matching"]
    assert len({config.n_simulations for config in configs}) == 1
    with pytest.raises(ValueError, match="tier"):
        flow_alternatives.grid("huge", 1)
