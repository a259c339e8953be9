"""The amortised posterior: its weights are exact, its features and its support what they claim."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from jrlib.inference import amortised
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import RANGES, quantities
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

SMALL = amortised.NetworkSettings(
    epochs=6, width=32, n_blocks=1, hidden=32, splines=2, bins=6, noise_factors=(1e5, 1e8)
)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset(40, 0, convention="RELEASED", protocol=Protocol(n_trials=1))


@pytest.fixture(scope="module")
def reference(dataset):
    return ExactSampler(Likelihood.of(dataset, 1.0))


@pytest.fixture(scope="module")
def trained(reference):
    return amortised.train(reference, 3000, seed=1, settings=SMALL)


@pytest.fixture(scope="module")
def matched(reference):
    """The same by flow matching."""
    return amortised.train(reference, 1000, seed=1, settings=replace(SMALL, flow="matching"))


def observe(dataset, noise_factor, seed):
    noise = torch.Generator().manual_seed(seed)
    return dataset.source(np.arange(len(dataset)), noise_factor, noise).double().numpy()


def test_scores_have_the_noise_that_the_network_is_told(reference, trained):
    """The projection turns the filter's noise into independent normals of variance factor."""
    covariance = trained.projection.T @ reference.likelihood.covariance @ trained.projection
    np.testing.assert_allclose(covariance, np.eye(len(covariance)), atol=1e-6)


def test_features_depend_on_the_ratio_of_signal_and_noise_only():
    embedding = amortised.ScoreEmbedding(3, width=4, n_blocks=1, n_out=2)
    scores, level = torch.tensor([[0.5, -20.0, 3.0]]), torch.tensor([[1.0]])
    once = embedding.squeeze(torch.cat([scores, level], 1))
    louder = torch.cat([10.0 * scores, level + 2.0 * np.log(10.0)], 1)
    torch.testing.assert_close(embedding.squeeze(louder)[:, :-1], once[:, :-1])


def test_training_learns_and_keeps_the_best_weights(trained):
    losses = trained.history.validation_loss
    assert losses.iloc[-1] < losses.iloc[0] - 0.1
    # 8 coordinates with about the density of N(0, I): the entropy of the prior.
    assert losses.min() < 8 * 0.5 * np.log(2 * np.pi * np.e)


@pytest.mark.parametrize("noise_factor", [1e7, 1e8])
def test_refined_means_agree_with_the_reference(dataset, reference, trained, noise_factor):
    """A small and hardly trained network: the weights make its draws exact all the same."""
    observed = observe(dataset, noise_factor, seed=2)[0]
    exact = ExactSampler(Likelihood.of(dataset, noise_factor))
    expected = exact.posterior(observed, 1000, np.random.default_rng(3), most=4000)
    assert expected.accepted
    found = trained.refine(observed, noise_factor, 8000, seed=4)
    assert found.relative_effective_sample_size > 0.02
    np.testing.assert_allclose((found.mean - expected.mean) / expected.std, 0, atol=0.25)
    np.testing.assert_allclose(found.std / expected.std, 1, atol=0.25)


def test_exact_draws_start_from_the_flow(dataset, trained):
    """The same posterior as from the reference's own starts."""
    observed = observe(dataset, 1e6, seed=15)[1]
    exact = ExactSampler(Likelihood.of(dataset, 1e6))
    expected = exact.posterior(observed, 1000, np.random.default_rng(16), most=4000)
    found = trained.exact(observed, 1e6, 1000, seed=17, most=4000)
    assert expected.accepted
    assert found.accepted
    np.testing.assert_allclose((found.mean - expected.mean) / expected.std, 0, atol=0.25)
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-6)


def test_means_are_those_of_the_samples(dataset, trained):
    observed = observe(dataset, 1e6, seed=5)[:3]
    means = trained.mean(observed, 1e6, seed=6, n_points=1024)
    for row, mean in zip(observed, means, strict=True):
        drawn = quantities(trained.sample(row, 1e6, 3000, seed=7))
        np.testing.assert_allclose((drawn.mean(axis=0) - mean) / drawn.std(axis=0), 0, atol=0.12)


def test_samples_stay_within_the_ranges(dataset, trained):
    theta = trained.sample(observe(dataset, 1e5, seed=8)[0], 1e5, 2000, seed=9)
    assert theta.shape == (2000, 9)
    assert ((theta >= RANGES[:, 0]) & (theta <= RANGES[:, 1])).all()


def test_the_same_seed_gives_the_same_numbers(dataset, reference, trained):
    again = amortised.train(reference, 3000, seed=1, settings=SMALL)
    observed = observe(dataset, 1e6, seed=10)[0]
    first, second = (model.sample(observed, 1e6, 5, seed=11) for model in (trained, again))
    np.testing.assert_array_equal(first, second)


def test_weights_go_there_and_back_and_members_average(dataset, reference, trained):
    observed = observe(dataset, 1e6, seed=12)[0]
    other = amortised.train(reference, 300, seed=2, settings=SMALL)
    both = amortised.ensemble([trained, other])
    again = amortised.AmortisedPosterior.from_state(*both.state(), reference)
    points = np.random.default_rng(13).standard_normal((1, 50, 8))
    models = trained, other, both, again
    log_q = [model.log_prob(points, observed[np.newaxis], 1e6) for model in models]
    np.testing.assert_allclose(log_q[2], np.logaddexp(log_q[0], log_q[1]) - np.log(2), atol=1e-5)
    np.testing.assert_array_equal(log_q[2], log_q[3])


@pytest.mark.parametrize("kind", ["trained", "matched"])
def test_densities_are_those_of_the_base_carried_along(dataset, request, kind):
    """log q = log N(base) + log |d base / d point|, the Jacobian by central differences."""
    model, observed = request.getfixturevalue(kind), observe(dataset, 1e6, seed=18)[:1]
    point, step = np.random.default_rng(19).standard_normal((1, 8)), 1e-2
    moved = np.vstack([point + sign * step * np.eye(8) for sign in (1, -1)])
    ends = model.base(moved, np.tile(observed, (16, 1)), 1e6)
    jacobian = (ends[:8] - ends[8:]) / (2 * step)
    (base,) = model.base(point, observed, 1e6)
    expected = np.linalg.slogdet(jacobian)[1] - 0.5 * (base @ base + 8 * np.log(2 * np.pi))
    assert model.log_prob(point[np.newaxis], observed, 1e6)[0, 0] == pytest.approx(
        expected, abs=0.05
    )


def test_flow_matching_learns_and_goes_to_disk_and_back(dataset, reference, matched):
    losses = matched.history.validation_loss
    assert losses.iloc[-1] < losses.iloc[0]
    observed = observe(dataset, 1e5, seed=20)
    again = amortised.AmortisedPosterior.from_state(*matched.state(), reference)
    means = matched.mean(observed, 1e5, seed=21)
    np.testing.assert_array_equal(again.mean(observed, 1e5, seed=21), means)
    # b_i is what a response says most about.
    assert np.corrcoef(means[:, 3], dataset.theta[:, 3])[0, 1] > 0.3
    drawn = matched.draw_points(observed, 1e5, 20, seed=22)
    values = quantities(matched.parameters(drawn.reshape(-1, 8), np.random.default_rng(23)))
    values = values.reshape(len(observed), 20, 13)
    error = (values.mean(axis=1) - means) / values.std(axis=1)
    np.testing.assert_allclose(error.mean(axis=0), 0, atol=0.2)


def test_bad_input_is_named(dataset, reference, trained):
    observed = observe(dataset, 1e6, seed=14)
    with pytest.raises(ValueError, match=r"observations: got shape \(1, 10\)"):
        trained.sample(observed[0, :10], 1e6, 10, seed=0)
    broken = observed[:3].copy()
    broken[1, 5] = np.nan
    with pytest.raises(ValueError, match="NaN or infinity in row 1"):
        trained.mean(broken, 1e6, seed=0)
    with pytest.raises(ValueError, match=r"noise_factor: got 1.0, expected 100000 to 1e\+08"):
        trained.sample(observed[0], 1.0, 10, seed=0)
    with pytest.raises(ValueError, match="n_samples: got 0"):
        trained.sample(observed[0], 1e6, 0, seed=0)
    with pytest.raises(ValueError, match="n_simulations: got 10"):
        amortised.train(reference, 10, seed=0)
    with pytest.raises(ValueError, match="flow: got 'score', expected one of spline, matching"):
        amortised.NetworkSettings(flow="score")
    with pytest.raises(ValueError, match="noise_factors: got"):
        amortised.NetworkSettings(noise_factors=(2.0, 1.0))
