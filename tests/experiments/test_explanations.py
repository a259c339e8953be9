"""What explains the comparison, against what can be worked out by other means."""

import numpy as np
import pytest
import torch

from experiments import explanations, local_information
from jrlib.parameters import TYPICAL
from jrlib.priors import Prior
from jrlib.simulation.protocol import Protocol


def test_without_coupling_the_loops_contribute_nothing():
    cut = np.where(np.arange(9) == 8, 0.0, TYPICAL)
    found = explanations.contribution_of_loops(np.vstack([TYPICAL, cut]), "CLASSIC")
    assert found[0] > 0.1
    assert found[1] == 0.0


def test_firing_rates_stay_between_those_of_the_sigmoid():
    frame, swing = explanations.firing_rates(TYPICAL[np.newaxis], "CLASSIC", Protocol(n_trials=1))
    rates = frame["firing rate (1/s)"].dropna()
    assert 0.0 < swing < np.ptp(rates)
    visited = frame[frame.series != "sigmoid"]
    assert list(visited.series) == list(explanations.POPULATIONS)
    assert (visited["5 % (mV)"] < visited["95 % (mV)"]).all()


def test_nothing_is_learned_beyond_the_mean_given_the_products():
    points, correlations = explanations.known_products(Prior(), 4000, seed=0)
    assert len(points) == 5 * 2000
    assert (correlations.learned < correlations.ideal + 0.01).all()
    assert (correlations.ideal < 1.0).all()


def test_a_single_waveform_explains_itself_and_half_of_two():
    wave, other = torch.eye(2, 8)
    one, two = torch.outer(torch.ones(4), wave), torch.stack([wave, other])
    assert explanations.share_of_one_waveform(one[None]) == pytest.approx(1.0)
    assert explanations.share_of_one_waveform(two[None]) == pytest.approx(0.5)


def test_components_that_hold_the_variance_are_counted():
    responses = np.random.default_rng(0).normal(size=(50, 3)) @ np.eye(3, 20)
    assert explanations.n_components(responses, 0.9999) == 3


def test_integration_errors_fall_with_the_order_of_the_rule():
    error = local_information.integration_errors(
        TYPICAL[np.newaxis], "CLASSIC", ("euler", "heun", "rk4")
    )
    assert error.loc[0].is_monotonic_decreasing


def test_eigendirections_are_orthonormal():
    frame = local_information.eigendirections("CLASSIC", 1.0)
    weights = frame.pivot(index="direction", columns="combination", values="weight").to_numpy()
    np.testing.assert_allclose(weights @ weights.T, np.eye(8), atol=1e-9)
