"""Unknown gain: the posterior that is drawn from, and what both answers are made of."""

from dataclasses import fields
from functools import cache

import numpy as np
import pandas as pd
import pytest

from experiments import known_and_unknown_gain
from experiments.results import Result
from jrlib.inference import unknown_gain
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

GAINS = known_and_unknown_gain.KNOWN, known_and_unknown_gain.UNKNOWN
SHORT = Protocol(n_trials=2, epoch=(-0.02, 0.1), baseline=(-0.02, 0.0), pulse_width=0.02)


@cache
def experiment():
    """Dataset, likelihood, and the reference of the gain 1."""
    dataset = make_dataset(20, 5, convention="CLASSIC", protocol=SHORT, threads=1)
    likelihood = Likelihood.of(dataset, 1e4)
    return dataset, likelihood, ExactSampler(likelihood)


def points(n, seed=0):
    """Coordinates (n, 9) of draws of the prior, whose products can be."""
    dataset, likelihood, _ = experiment()
    reference, rng = unknown_gain.UnknownGainSampler(likelihood, 0.5), np.random.default_rng(seed)
    theta = dataset.theta[:n]
    return reference.points(theta, unknown_gain.draw_gains(n, 0.5, rng))


def test_a_gain_that_hardly_varies_is_a_known_one():
    dataset, likelihood, plain = experiment()
    unsure, at = unknown_gain.UnknownGainSampler(likelihood, 1e-9), points(10)
    found = unsure.log_density(at, dataset.erp[0]) + 0.5 * at[:, 8] ** 2
    np.testing.assert_allclose(found, plain.log_density(at[:, :8], dataset.erp[0]), rtol=1e-6)


def test_at_a_given_gain_the_density_is_that_of_a_known_gain():
    dataset, likelihood, plain = experiment()
    unsure, at, g = unknown_gain.UnknownGainSampler(likelihood, 0.5), points(10), 1.7
    at[:, 8] = np.log(g) / 0.5
    observed = g * dataset.erp[0].astype(float)
    reference, data = unknown_gain.with_known_gain(plain, observed, g)
    gap = unsure.log_density(at, observed) - reference.log_density(at[:, :8], data)
    np.testing.assert_allclose(gap, -0.5 * at[0, 8] ** 2, atol=1e-6 * np.abs(gap).max())


def test_data_and_noise_c_times_as_large_move_the_log_gain_by_log_c():
    dataset, likelihood, _ = experiment()
    unsure, at, c = unknown_gain.UnknownGainSampler(likelihood, 0.5), points(10), 2.5
    moved = at + np.log(c) / 0.5 * np.eye(9)[8]
    observed = dataset.erp[0].astype(float)
    one = unsure.log_density(at, observed) + 0.5 * at[:, 8] ** 2
    other = unsure.at(c**2).log_density(moved, c * observed) + 0.5 * moved[:, 8] ** 2
    np.testing.assert_allclose(one, other, rtol=1e-9)


def test_the_gain_of_a_known_response_has_its_posterior():
    """The response does not depend on the parameters: the density of log g alone, by quadrature."""
    dataset, likelihood, _ = experiment()

    class Fixed(Likelihood):
        def respond(self, theta):
            return np.tile(shape, (len(theta), 1))

    same = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    fixed = Fixed(**same)
    shape = 3.0 * dataset.erp[0] / np.linalg.norm(fixed.whiten(dataset.erp[0]))
    rng = np.random.default_rng(1)
    noise = rng.multivariate_normal(np.zeros(dataset.n_times), fixed.covariance, method="eigh")
    observed = 1.6 * shape + noise
    drawn = unknown_gain.UnknownGainSampler(fixed, 0.5).posterior(observed, 4000, rng)
    grid = np.linspace(-3.0, 3.0, 2001)
    misfit = np.exp(grid)[:, np.newaxis] * fixed.whiten(shape) - fixed.whiten(observed)
    log_density = -0.5 * np.sum(misfit**2, axis=1) - 0.5 * (grid / 0.5) ** 2
    density = np.exp(log_density - log_density.max())
    density /= density.sum()
    mean = density @ grid
    std = np.sqrt(density @ (grid - mean) ** 2)
    found, spread = known_and_unknown_gain._moments(drawn)
    assert found == pytest.approx(mean, abs=5.0 * std / np.sqrt(drawn.effective_sample_size))
    assert spread == pytest.approx(std, rel=0.1)
    assert drawn.samples.shape == (len(drawn.log_gain), 9)


def test_coordinates_go_to_quantities_and_back():
    dataset, likelihood, _ = experiment()
    reference = unknown_gain.UnknownGainSampler(likelihood, 0.5)
    gains = np.linspace(0.5, 2.0, len(dataset))
    known = reference.known(reference.points(dataset.theta, gains))
    chosen = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]
    np.testing.assert_allclose(known[:, :8], quantities(dataset.theta)[:, chosen], rtol=1e-6)
    np.testing.assert_allclose(known[:, 8], np.log(gains), atol=1e-12)
    z = np.random.default_rng(2).standard_normal((5, 9))
    np.testing.assert_allclose(known_and_unknown_gain.STANDARD.to_standard(z), z)


def test_what_cannot_be_is_named():
    dataset, likelihood, _ = experiment()
    with pytest.raises(ValueError, match=r"gain_sd: got 0\.0, expected a number above 0"):
        unknown_gain.UnknownGainSampler(likelihood, 0.0)
    with pytest.raises(ValueError, match=r"gains: .* 20 finite numbers above 0"):
        unknown_gain.amplify(dataset, np.zeros(20))
    with pytest.raises(ValueError, match="truth: got 2 answers, expected at least 3"):
        known_and_unknown_gain.scores(*np.ones((3, 2, 9)))
    for grid in (known_and_unknown_gain.exact_grid, known_and_unknown_gain.npe_grid):
        with pytest.raises(ValueError, match="tier"):
            grid("huge", 0)


def test_the_scores_of_answers():
    rng = np.random.default_rng(3)
    scale = np.append(Prior().quantity_std[[0, 1, 2, 3, 9, 10, 11, 12]], 1.0)
    truth = scale * rng.standard_normal((500, 9))
    truth[:, 8] /= truth[:, 8].std()
    std = np.tile(0.5 * scale, (500, 1))
    table = known_and_unknown_gain.scores(truth, truth + std * rng.standard_normal((500, 9)), std)
    assert list(table.parameter) == list(unknown_gain.NAMES)
    np.testing.assert_allclose(table.contraction, 0.75, rtol=1e-6)
    np.testing.assert_allclose(table.value, 1.0 / np.sqrt(1.25), atol=0.05)


def test_cells():
    config = known_and_unknown_gain.npe_grid("smoke", 0)[1] | {"noise_factor": 1e6}
    arrays = known_and_unknown_gain.npe_cell(**config).arrays
    assert arrays["mean"].shape == (2, config["n_test"], 9)
    np.testing.assert_allclose(arrays["mean"][0, :, 8], arrays["truth"][:, 8], rtol=1e-5)
    assert arrays["ranks"].max() <= config["n_samples"]
    config = known_and_unknown_gain.exact_grid("smoke", 0)[1] | {"n": 1, "noise_factor": 1e6}
    result = known_and_unknown_gain.exact_cell(**config)
    assert list(result.tables["observations"].gain) == [
        known_and_unknown_gain.KNOWN,
        known_and_unknown_gain.UNKNOWN,
    ]
    assert result.arrays["std"][0, 8] == 0.0 < result.arrays["std"][1, 8]
    np.testing.assert_allclose(result.arrays["truth"][0], arrays["truth"][0], rtol=1e-5)
    answers = known_and_unknown_gain.exact_answers([config], [result])
    assert set(answers) == {"CLASSIC"}


def test_networks_are_compared_on_the_observations_that_have_exact_posteriors():
    rng, n = np.random.default_rng(4), 40
    truth = rng.standard_normal((n, 9)).astype(np.float32)
    known = {"convention": "CLASSIC", "seed": 0}
    table = pd.DataFrame({"number": np.repeat(np.arange(5), 2), "gain": 5 * [*GAINS]})
    table["accepted"] = ~((table.number == 2) & (table.gain == known_and_unknown_gain.UNKNOWN))
    exact = dict.fromkeys(("truth", "mean"), truth[table.number])
    exact["std"] = np.full((10, 9), 0.1, np.float32)
    seen = {"mean": np.stack([truth, -truth]), "std": np.full((2, n, 9), 0.1, np.float32)}
    seen |= {"ranks": np.full((2, n, 9), 50, np.uint8), "tarp": np.zeros((2, n), np.uint8)}
    seen["ranks"][1, : n // 4] = 0
    networks = [known | {"n_test": n, "n_samples": 99}], [Result(arrays={"truth": truth} | seen)]
    found = known_and_unknown_gain.compare(
        ([known], [Result({"observations": table}, exact)]), networks
    )
    by = ["answer", "observations", "gain"]
    assert found.groupby(by).n.first().to_dict() == {
        **{(answer, "same", each): 4 for answer in ("exact", "NPE") for each in GAINS},
        **{("NPE", "all", each): n for each in GAINS},
    }
    value = found.groupby(by).value.mean()
    np.testing.assert_allclose(value.xs(known_and_unknown_gain.KNOWN, level="gain"), 1.0, rtol=1e-6)
    np.testing.assert_allclose(value["NPE", :, known_and_unknown_gain.UNKNOWN], -1.0, rtol=1e-6)
    held = known_and_unknown_gain.covered(*networks).groupby("gain")
    assert held.covered.mean().to_dict() == {
        known_and_unknown_gain.KNOWN: 1.0,
        known_and_unknown_gain.UNKNOWN: 0.75,
    }
    assert held.size().to_dict() == {
        known_and_unknown_gain.KNOWN: 8,
        known_and_unknown_gain.UNKNOWN: 9,
    }
