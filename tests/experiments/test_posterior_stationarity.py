"""Steps of Metropolis from right and from wrong samples of exact posteriors."""

from dataclasses import replace

import numpy as np
import pytest

from experiments import compared_methods, exact_posteriors, posterior_stationarity, tables
from experiments.experiment import Result
from experiments.runs import Runs
from jrlib.inference import exact_posterior
from jrlib.inference.likelihood import Likelihood
from jrlib.priors import draw_coupling

CONFIG = exact_posteriors.Config("CLASSIC", 1e4, 0, 11, n_observations=2, n_test=4)


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    return Runs("smoke", tmp_path_factory.mktemp("exact")).get(
        exact_posteriors.EXPERIMENT, [CONFIG]
    )


def walk(exact):
    """The only row of the summary of chains from a `Found` of exact posteriors."""
    convention, noise_factor = CONFIG.convention, CONFIG.noise_factor
    config = posterior_stationarity.Config(
        convention, noise_factor, CONFIG.seed, exact=tuple(exact.names), n_steps=150
    )
    table = posterior_stationarity.run(config, {"exact": exact}).tables["observations"]
    table = table.assign(convention=convention, noise_factor=noise_factor)
    return next(posterior_stationarity.summary(table).itertuples())


def test_the_draws_of_two_posteriors_stay_as_they_are(exact):
    """198 draws of a log density with a standard deviation of 2: the error is about 0.2."""
    found = walk(exact)
    assert abs(found.change) < 0.6
    assert found.low < found.change < found.high
    assert found.observations == 2
    assert 0.05 < found.taken < 0.9
    assert abs(found.rounding) < 0.01


def test_draws_that_were_moved_towards_their_mean_leave_the_curved_ridge_and_return(
    exact, tmp_path
):
    test, rng = compared_methods.test_set("CLASSIC", 4, "standard"), np.random.default_rng(2)
    sampler = exact_posterior.ExactSampler(Likelihood.of(test, CONFIG.noise_factor))
    moved = []
    for theta in exact.stack("samples").astype(float):
        points = sampler.points(theta)
        points = points.mean(axis=0) + 0.85 * (points - points.mean(axis=0))
        moved.append(sampler.theta(points, draw_coupling(sampler.products(points), rng)))
    columns = list(exact_posteriors.EXPERIMENT.tables["observations"])
    wrong = Result(
        {"observations": exact.table("observations")[columns]},
        {"samples": np.array(moved, np.float32)},
    )
    made = replace(exact_posteriors.EXPERIMENT, run=lambda config: wrong)
    assert walk(Runs("smoke", tmp_path).get(made, [CONFIG])).low > 0.6


def test_the_grid_builds_on_all_exact_posteriors_of_a_setting():
    configs = posterior_stationarity.grid("paper", 2025)
    names = {tables.run_name(c) for c in exact_posteriors.grid("paper", 2025)}
    named = [name for config in configs for name in config.exact]
    assert len(set(named)) == len(named)
    assert set(named) == {name for name in names if "uniform" not in name}
    with pytest.raises(ValueError, match="tier: got 'large'"):
        posterior_stationarity.grid("large", 2025)
