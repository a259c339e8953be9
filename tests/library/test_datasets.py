"""Datasets: the noise shortcut against explicit recordings, filters, splits and scales."""

import numpy as np
import pytest
import torch

import jrlib
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import TargetScaler, beside, decimation, make_dataset
from jrlib.simulation.protocol import Protocol


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def dataset():
    return make_dataset(12, 3)


def test_without_noise_the_sensors_are_waveform_times_gain(dataset):
    sensors = dataset.sensors(np.arange(12), 0.0, generator()).numpy() * noise_models.SENSOR_NOISE
    expected = dataset.erp[:, None, :] * dataset.gain[None, :, None]
    np.testing.assert_allclose(sensors, expected, rtol=1e-5, atol=1e-12 * np.abs(expected).max())
    assert sensors.shape == (12, 64, 301)


def test_the_shortcuts_noise_is_what_a_whole_noisy_recording_gives():
    """Recordings of white noise, cut, baseline-corrected, averaged, filtered, re-referenced."""
    protocol = Protocol(n_trials=4, isi=0.1, epoch=(-0.04, 0.1), baseline=(-0.04, 0.0))
    data = make_dataset(1, 0, protocol=protocol, sampling_rate=250.0)
    rng = np.random.default_rng(1)
    recordings = rng.standard_normal((300, 64, len(protocol.drive))).astype(np.float32)
    recordings -= recordings.mean(axis=1, keepdims=True)
    epochs = protocol.correct_baseline(protocol.epochs(recordings, 4)).mean(axis=-2)
    explicit = epochs @ decimation(protocol, 250.0).T
    fast = data.sensors(np.zeros(300, dtype=int), 1.0, generator(2)).numpy()
    fast = fast - data.sensors([0], 0.0, generator()).numpy()
    for noise in (explicit, fast):
        assert np.abs(noise.mean(axis=1)).max() < 1e-4  # average reference
    of_time = [np.einsum("nct,ncs->ts", noise, noise) / (300 * 63) for noise in (explicit, fast)]
    np.testing.assert_allclose(of_time[1], of_time[0], atol=0.012)
    np.testing.assert_allclose(of_time[1], data.covariance, atol=0.012)


def test_the_matched_filter_sees_the_same_noise_as_the_sensors(dataset):
    """gain . sensors / |gain|^2 has the distribution that `source` draws from directly."""
    rows = np.zeros(4000, dtype=int)
    sensors = dataset.sensors(rows[:1000], 1e8, generator(4)).numpy() * noise_models.SENSOR_NOISE
    filtered = np.einsum("c,nct->nt", dataset.gain, sensors) / np.sum(dataset.gain**2)
    direct = dataset.source(rows, 1e8, generator(5)).numpy()
    for sample in (filtered, direct):
        mean_error = sample.mean(axis=0) - dataset.erp[0]
        sd = 1e4 * dataset.source_noise * np.sqrt(np.diag(dataset.covariance))
        assert np.abs(mean_error / sd).max() < 6 / np.sqrt(len(sample))
        np.testing.assert_allclose(sample.std(axis=0), sd, rtol=0.12)


def test_noise_grows_with_its_factor_and_comes_from_the_generator_alone(dataset):
    torch.manual_seed(0)
    state = torch.get_rng_state()
    one = dataset.sensors([0, 1], 1.0, generator(6))
    assert torch.equal(one, dataset.sensors([0, 1], 1.0, generator(6)))
    assert not torch.equal(one, dataset.sensors([0, 1], 1.0, generator(7)))
    assert torch.equal(state, torch.get_rng_state())
    clean = dataset.sensors([0, 1], 0.0, generator())
    ten = dataset.sensors([0, 1], 100.0, generator(6))
    rounding = float(clean.abs().max()) * 1e-6
    torch.testing.assert_close(ten - clean, 10 * (one - clean), rtol=0, atol=10 * rounding)


def test_snr_falls_10_db_per_decade_of_the_covariance_and_is_infinite_without_noise(dataset):
    assert dataset.snr_db(1.0) - dataset.snr_db(10.0) == pytest.approx(10.0)
    assert dataset.snr_db(0.0) == np.inf


def test_decimation_keeps_slow_signals_and_removes_fast_ones():
    protocol = Protocol()
    filtering = decimation(protocol, 250.0)
    times = protocol.times
    inside = slice(20, -20)
    slow, fast = np.sin(2 * np.pi * 20 * times), np.sin(2 * np.pi * 240 * times)
    np.testing.assert_allclose((filtering @ slow)[inside], slow[::4][inside], atol=2e-3)
    assert np.abs((filtering @ fast)[inside]).max() < 0.01
    np.testing.assert_array_equal(decimation(protocol, 1000.0), np.eye(1201))


def test_at_the_full_rate_a_dataset_holds_the_evoked_responses_themselves():
    data = make_dataset(3, 5, sampling_rate=1000.0)
    np.testing.assert_allclose(data.erp, jrlib.simulate_erp(data.theta), rtol=1e-6)


def test_same_seed_same_data_and_the_split_is_a_partition(dataset):
    again = make_dataset(12, 3, threads=1)
    np.testing.assert_array_equal(dataset.erp, again.erp)
    parts = dataset.split(np.random.default_rng(0), (0.5, 0.25, 0.25))
    assert [len(part) for part in parts] == [6, 3, 3]
    together = np.concatenate([part.theta[:, 0] for part in parts])
    np.testing.assert_array_equal(np.sort(together), np.sort(dataset.theta[:, 0]))


def test_outliers_and_diverged_rows_are_counted():
    ranges = jrlib.RANGES.copy()
    ranges[2, 0] = 5.0  # the lower end for b_e in the public code: some draws are negative
    prior = jrlib.Prior(truncated=False, ranges=ranges)
    with pytest.warns(jrlib.DivergenceWarning):
        data = make_dataset(400, 0, prior=prior, drop_outliers=True)
    counts = data.manifest
    assert counts["n_diverged"] > 0
    assert len(data) == 400 - counts["n_diverged"] - counts["n_outliers"]
    amplitude = np.abs(data.erp).mean(axis=1)
    low, high = np.percentile(amplitude, [25, 75])
    assert amplitude.max() < high + 4 * (high - low)


def test_target_scaler_maps_the_training_range_to_0_1_and_back(dataset):
    scaler = TargetScaler.fit(dataset.theta)
    scaled = scaler.transform(dataset.theta)
    assert (scaled.min(axis=0) == 0).all()
    assert (scaled.max(axis=0) == 1).all()
    np.testing.assert_allclose(scaler.inverse(scaled), dataset.theta)
    with pytest.raises(ValueError, match="theta: A_e takes one value"):
        TargetScaler.fit(dataset.theta[:1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: make_dataset(0, 1), "n: got 0"),
        (lambda d: make_dataset(2, 1, sampling_rate=300.0), "sampling_rate: got 300.0"),
        (lambda d: make_dataset(2, 1, sampling_rate=0.0), "sampling_rate: got 0.0"),
        (lambda d: make_dataset(2, 1, convention="SI"), "convention: got 'SI'"),
        (lambda d: d.sensors([0], -1.0, generator()), "noise_factor: got -1.0"),
        (lambda d: d.source([0], float("nan"), generator()), "noise_factor: got nan"),
        (lambda d: d.split(np.random.default_rng(0), (0.5, 0.4)), "fractions"),
    ],
)
def test_bad_input_is_named(dataset, call, message):
    with pytest.raises(ValueError, match=message):
        call(dataset)


def test_data_beside_the_response_have_no_noise():
    dataset = make_dataset(4, 0, protocol=Protocol(n_trials=2), threads=1)
    columns = np.arange(8.0).reshape(4, 2)
    both = beside(dataset, columns, 10.0)
    seen = both.source(np.arange(4), 1e6, torch.Generator().manual_seed(0)).numpy()
    np.testing.assert_allclose(seen[:, -2:], 10.0 * columns, rtol=1e-6)
    assert np.abs(seen[:, :-2] - dataset.erp).max() > 0.1
    assert both.n_times == dataset.n_times + 2
    for wrong in (columns[:3], columns[0], np.full((4, 1), np.nan)):
        with pytest.raises(ValueError, match=r"columns: got shape .*, expected \(4, k\), all fin"):
            beside(dataset, wrong, 1.0)
