"""NPE against an exact posterior; calibration code against exact and overconfident samplers."""

import json

import numpy as np
import pytest
import torch
from sbi.diagnostics import run_sbc
from scipy.stats import ks_2samp, kstest

from jrlib.diagnostics import calibration
from jrlib.inference import flows
from jrlib.parameters import quantities
from jrlib.priors import Prior
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import Dataset

N_TIMES = 12
NOISE = 1.0
# x = A z + noise. Column 8 repeats column 7, so z_7 - z_8 leaves no trace in x.
A = np.random.default_rng(1).standard_normal((N_TIMES, 9)) * [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.7, 0.7]
A[:, 8] = A[:, 7]
COVARIANCE = np.linalg.inv(np.eye(9) + A.T @ A / NOISE**2)  # of the exact posterior over z
INFORMATION = 0.5 * np.linalg.slogdet(np.eye(9) + A.T @ A / NOISE**2)[1]  # nats


def exact_mean(x):
    return x @ A @ COVARIANCE / NOISE**2


def linear_dataset(n, seed):
    """A `Dataset` whose responses are linear in z, with white noise of sd NOISE at factor 1."""
    z = np.random.default_rng(seed).standard_normal((n, 9))
    return Dataset(
        theta=Prior().from_standard(z),
        erp=(z @ A.T).astype(np.float32),
        times=np.arange(N_TIMES) / 250.0,
        gain=np.full(4, noise_models.SENSOR_NOISE / NOISE / 2.0),
        covariance=np.eye(N_TIMES),
    )


def observe(dataset, seed=0):
    noise = torch.Generator().manual_seed(seed)
    return dataset.source(np.arange(len(dataset)), 1.0, noise).numpy()


def train(n=5000, epochs=12):
    settings = flows.NPESettings(epochs=epochs, width=48, transforms=2)
    sets = linear_dataset(n, 2), linear_dataset(400, 3)
    return flows.train_npe(*sets, noise_factor=1.0, seed=4, settings=settings)


@pytest.fixture(scope="module")
def trained():
    return train()


@pytest.fixture(scope="module")
def test_data():
    dataset = linear_dataset(300, 5)
    return dataset, observe(dataset)


def test_agrees_with_the_exact_posterior_of_a_linear_model(trained, test_data):
    _, x = test_data
    samples = trained.sample_batch(x[:80], 250, seed=0)
    z = Prior().to_standard(samples.reshape(-1, 9)).reshape(samples.shape)
    sd = np.sqrt(np.diag(COVARIANCE))
    error = (z.mean(axis=1) - exact_mean(x[:80])) / sd
    assert np.sqrt((error**2).mean(axis=0)).max() < 0.35  # an untrained flow: above 1
    covariance = np.mean([np.cov(sample.T) for sample in z], axis=0)
    ratio = np.sqrt(np.diag(covariance)) / sd
    assert ratio.min() > 0.85
    assert ratio.max() < 1.25
    correlation = covariance / np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(correlation, COVARIANCE / np.outer(sd, sd), atol=0.2)


def test_learns_nothing_along_a_direction_that_leaves_no_trace(trained, test_data):
    samples = trained.sample_batch(test_data[1][:40], 250, seed=1)
    z = Prior().to_standard(samples.reshape(-1, 9)).reshape(samples.shape)
    difference, total = z[..., 7] - z[..., 8], z[..., 7] + z[..., 8]
    assert difference.std(axis=1).mean() == pytest.approx(np.sqrt(2.0), rel=0.1)
    assert total.std(axis=1).mean() < 0.5 * np.sqrt(2.0)


def test_gains_almost_all_the_information_and_not_more(trained, test_data):
    dataset, x = test_data
    gain = trained.log_prob(dataset.theta, x) - Prior().log_prob(dataset.theta)
    evaluation = calibration.evaluate(trained, dataset.theta, x, n_samples=50, seed=0)
    np.testing.assert_allclose(gain, evaluation.gain, atol=1e-3)
    # The exact gain averages the mutual information; on these rows it has this value.
    z = Prior().to_standard(dataset.theta)
    whitened = np.linalg.solve(np.linalg.cholesky(COVARIANCE), (z - exact_mean(x)).T)
    exact = INFORMATION - 0.5 * (whitened**2).sum(axis=0) + 0.5 * (z**2).sum(axis=1)
    assert exact.mean() - 0.6 < gain.mean() < exact.mean() + 0.05
    assert trained.history["validation_loss"].min() == pytest.approx(-gain.mean(), abs=0.5)


def test_log_prob_is_a_density_in_physical_units(trained, test_data):
    dataset, x = test_data
    # Importance sampling from the prior: the density integrates to 1.
    draws = Prior().sample(20_000, np.random.default_rng(0))
    wide = trained.log_prob(draws, np.repeat(x[:1] * 0.01, len(draws), axis=0))
    assert np.exp(wide - Prior().log_prob(draws)).mean() == pytest.approx(1.0, abs=0.3)
    outside = dataset.theta[:1] * 100.0
    assert trained.log_prob(outside, x[:1])[0] == -np.inf


def test_densities_and_samples_are_those_of_sbis_own_posterior(trained, test_data):
    """sbi's `DirectPosterior` over the standard coordinates, with the same network."""
    dataset, x = test_data
    theta = dataset.theta[:5]
    z = torch.from_numpy(Prior().to_standard(theta)).float()
    normal = -0.5 * (z**2).sum(dim=1) - 4.5 * np.log(2.0 * np.pi)
    expected = trained.sbi.log_prob_batched(z[None], torch.from_numpy(x[:5]))[0] - normal
    found = trained.log_prob(theta, x[:5]) - Prior().log_prob(theta)
    np.testing.assert_allclose(found, expected.detach(), atol=1e-4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = trained.sbi.sample((4000,), x=torch.from_numpy(x[0]), show_progress_bars=False)
    ours = Prior().to_standard(trained.sample(x[0], 4000, seed=1))
    for one, other in zip(ours.T, theirs.numpy().T, strict=True):
        assert ks_2samp(one, other).pvalue > 1e-4


def test_samples_stay_within_the_prior(trained, test_data):
    prior = Prior()
    samples = trained.sample_batch(test_data[1][:50], 100, seed=2)
    assert (samples >= prior.low).all()
    assert (samples <= prior.high).all()


def test_same_seed_same_samples_and_state_round_trip(trained, test_data):
    x = test_data[1][:3]
    samples = trained.sample_batch(x, 20, seed=7)
    np.testing.assert_array_equal(trained.sample_batch(x, 20, seed=7), samples)
    assert not np.array_equal(trained.sample_batch(x, 20, seed=8), samples)
    weights, config = trained.state()
    rebuilt = flows.Posterior.from_state(weights, json.loads(json.dumps(config)))
    np.testing.assert_array_equal(rebuilt.sample_batch(x, 20, seed=7), samples)
    assert trained.sample(x[0], 5, seed=0).shape == (5, 9)


@pytest.mark.parametrize("of", [None, quantities])
def test_the_mean_errs_less_than_that_of_500_samples(trained, test_data, of):
    x = test_data[1][:30]
    values = trained.sample_batch(x, 4000, seed=5)
    if of is not None:
        values = np.stack([of(theta) for theta in values])
    error = (trained.mean(x, seed=7, of=of) - values.mean(axis=1)) / values.std(axis=1)
    assert error.shape == (30, 9 if of is None else 13)
    assert (np.mean(error**2, axis=0) < 1 / 500 + 2 / 4000).all()


def test_training_is_reproducible_and_leaves_global_state_alone(capsys, recwarn):
    torch.manual_seed(123)
    np.random.seed(123)  # noqa: NPY002
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    first, second = (train(n=100, epochs=2) for _ in range(2))
    first.sample(np.arange(12.0), 3, seed=0)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == before[2]
    for one, other in zip(first.state()[0].values(), second.state()[0].values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(first.history) == 2
    assert capsys.readouterr().out == ""
    assert not recwarn.list


@pytest.mark.parametrize(
    "spread, calibrated", [(1.0, True), (0.7, False), (1.4, False)], ids=["exact", "narrow", "wide"]
)
def test_calibration_tells_exact_from_wrong_posteriors(spread, calibrated):
    rng = np.random.default_rng(0)
    n, n_samples = 1000, 199
    truth = rng.standard_normal((n, 9))
    x = truth @ A.T + NOISE * rng.standard_normal((n, N_TIMES))
    deviation = rng.standard_normal((n, n_samples, 9)) @ np.linalg.cholesky(COVARIANCE).T
    samples = exact_mean(x)[:, None] + spread * deviation
    ranks = calibration.ranks(samples, truth)
    assert ranks.min() >= 0
    assert ranks.max() <= n_samples
    p = [kstest((column + 0.5) / (n_samples + 1), "uniform").pvalue for column in ranks.T]
    tarp = calibration.tarp_levels(samples, truth, rng.standard_normal(truth.shape))
    frame = calibration.coverage(tarp, [0.5, 0.8, 0.9])
    inside = frame["observed"].between(frame["low"], frame["high"])
    assert (min(p) > 1e-3) == calibrated
    assert inside.all() == calibrated
    if not calibrated:
        assert max(p) < 1e-3  # the null direction too is as wrong as the others
        assert (frame["observed"] < frame["low"]).all() == (spread < 1)


@pytest.mark.filterwarnings("ignore:Capping")  # sbi, of its own memory
def test_evaluation_of_the_trained_posterior(trained, test_data):
    dataset, x = test_data
    evaluation = calibration.evaluate(trained, dataset.theta, x, n_samples=100, seed=0)
    assert evaluation.mean.shape == evaluation.std.shape == evaluation.levels.shape == (300, 9)
    for levels in (evaluation.highest_density, evaluation.tarp, evaluation.levels[:, 0]):
        assert kstest(levels, "uniform").pvalue > 1e-3
    # sbi's own tools, on the same posterior, find the same ranks up to sampling noise.
    z = torch.from_numpy(Prior().to_standard(dataset.theta)).float()[:100]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        ranks, _ = run_sbc(z, torch.from_numpy(x[:100]), trained.sbi, 100, show_progress_bar=False)
    difference = evaluation.ranks[:100] - ranks.numpy()
    assert np.abs(difference.mean(axis=0)).max() < 2.0
    assert difference.std() < 8.0


def test_coverage_counts_and_bands():
    frame = calibration.coverage([0.1, 0.3, 0.5, 0.7, 0.9], [0.5, 1.0])
    assert frame["observed"].tolist() == [0.6, 1.0]
    # Binomial(5, 1/2): 0 and 5 have probability 1/32 each, more than the 2.5 % of either tail.
    assert frame.loc[0, ["low", "high"]].tolist() == [0.0, 1.0]
    many = calibration.coverage(np.linspace(0, 1, 10_000), [0.5])
    assert many["high"][0] - many["low"][0] == pytest.approx(2 * 1.96 * 0.005, rel=0.02)
    with pytest.raises(ValueError, match="levels"):
        calibration.coverage([1.2], [0.5])


@pytest.mark.parametrize(
    "x, message",
    [
        (np.ones(11), "n_times|got shape"),
        (np.full(12, np.nan), "NaN"),
        (np.ones(12), "constant"),
        (np.ones((2, 12)), "got shape"),
    ],
    ids=["length", "NaN", "flat", "two"],
)
def test_bad_observations(trained, x, message):
    with pytest.raises(ValueError, match=message):
        trained.sample(x, 10, seed=0)


def test_bad_training_sets():
    dataset = linear_dataset(20, 0)
    erp = dataset.erp.copy()
    erp[[3, 5]] = np.nan
    broken = Dataset(dataset.theta, erp, dataset.times, dataset.gain, dataset.covariance)
    with pytest.raises(ValueError, match="train: 2 of 20"):
        flows.train_npe(broken, dataset, noise_factor=1.0, seed=0)
    with pytest.raises(ValueError, match="noise_factor"):
        flows.train_npe(dataset, dataset, noise_factor=-1.0, seed=0)
    settings = flows.NPESettings(epochs=1)
    with pytest.raises(ValueError, match="epochs"):
        flows.train_npe(dataset, dataset, noise_factor=1.0, seed=0, settings=settings)
