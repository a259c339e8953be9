"""Networks trained in other ways: each for itself and all together."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import logsumexp

from experiments import compared_methods, flow_alternatives
from experiments.experiment import Result
from experiments.runs import Runs
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


def made_up(config):
    """Uniform ranks; each further network gives the truth a nat more, flow matching two less."""
    n = config.n_checked
    matching = config.network.flow == "matching"
    networks = ["4"] if matching else ["4", "5", flow_alternatives.ENSEMBLE]
    more = np.array([-2.0]) if matching else np.array([-1.0, 1.0, 2.0])
    shape = len(networks), 2, n
    uniform = np.floor((np.arange(n) + 0.5) / n * (config.n_samples + 1))
    ranks = np.broadcast_to(uniform[:, np.newaxis], (*shape, 13)).copy()
    if matching:
        ranks[:, 1, :, 2] = 0.0
    rows = [
        {"parameter": "A_e", "metric": "pearson", "value": 0.1 * k, "low": 0.0, "high": 1.0, "n": n}
        | {"noise_factor": factor, "network": name}
        for k, name in enumerate(networks)
        for factor in config.noise_factors
    ]
    log_q = np.broadcast_to(more[:, np.newaxis, np.newaxis], shape)
    return Result({"scores": pd.DataFrame(rows)}, {"log_q": log_q, "ranks": ranks})


def test_ways_to_train_are_compared_with_one_network(tmp_path):
    small = replace(SMALL, n_checked=200)
    configs = [
        replace(small, n_trainings=2),
        replace(small, network=replace(small.network, flow="matching")),
    ]
    experiment = replace(flow_alternatives.EXPERIMENT, run=made_up)
    found = Runs("smoke", tmp_path).get(experiment, configs, jobs=1)
    ways = flow_alternatives.summary(found, np.linspace(0.0, 1.0, 11))
    assert list(ways.trained.unique()) == ["NPE", "NPE together", "FMPE"]
    at = ways[ways.noise_factor == 1e6].set_index("trained")
    assert at.nats.to_dict() == {"NPE": 0.0, "NPE together": 2.0, "FMPE": -2.0}
    assert at.correlation.to_dict() == pytest.approx({"NPE": 0.05, "NPE together": 0.2, "FMPE": 0})
    assert at.outside.to_dict() == {"NPE": 0, "NPE together": 0, "FMPE": 1}
    assert (ways[ways.noise_factor == 1e4].outside == 0).all()


def test_the_grid():
    configs = flow_alternatives.grid("paper", 1)
    assert [config.network.flow for config in configs] == ["spline", "matching"]
    assert len({config.n_simulations for config in configs}) == 1
    with pytest.raises(ValueError, match="tier"):
        flow_alternatives.grid("huge", 1)
