"""Epochs and averages: against explicit loops, and settled trials against all trials."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import jrlib
from jrlib.simulation import protocol as protocol_module
from jrlib.simulation.integration import run_in_threads
from jrlib.simulation.protocol import Protocol, averaging_covariance, simulate_erp

SHORT = {"n_trials": 6, "isi": 0.5, "epoch": (-0.1, 0.5), "baseline": (-0.1, 0.0), "dt": 1e-3}


def test_the_default_is_the_published_protocol():
    protocol = Protocol()
    assert (protocol.n_times, protocol.times[0], protocol.times[-1]) == (1201, -0.2, 1.0)
    onsets = np.flatnonzero(np.diff(protocol.drive[:, 1]) > 0) + 1
    np.testing.assert_array_equal(onsets, 1000 * np.arange(1, 61))
    assert protocol.drive[:, 1].sum() == 60 * 50 * 60.0
    assert protocol.drive[:, 0].sum() == pytest.approx(60 * 50 * 33.6)


def explicit_average(theta, protocol, convention="CLASSIC"):
    """Simulate the whole recording and average with a plain loop."""
    recording = jrlib.simulate(theta, protocol.drive, dt=protocol.dt, convention=convention)
    epochs = []
    for trial in range(protocol.n_trials):
        pulse = round((protocol.transient - protocol.epoch[0] + trial * protocol.isi) / protocol.dt)
        start = pulse + round(protocol.epoch[0] / protocol.dt)
        epoch = recording[:, start : start + protocol.n_times]
        before = (protocol.times >= protocol.baseline[0] - 1e-9) & (
            protocol.times <= protocol.baseline[1] + 1e-9
        )
        epochs.append(epoch - epoch[:, before].mean(axis=1, keepdims=True))
    return np.mean(epochs, axis=0)


@pytest.mark.parametrize("convention", jrlib.CONVENTIONS)
def test_settled_trials_stand_for_all_trials(convention):
    theta = np.vstack([jrlib.TYPICAL, jrlib.sample_prior(30, np.random.default_rng(0))])
    protocol = Protocol(**SHORT)
    expected = explicit_average(theta, protocol, convention)
    erp = simulate_erp(theta, protocol, convention)
    scale = np.abs(expected).max(axis=1, keepdims=True)
    assert (np.abs(erp - expected) < 1e-8 * scale).all()


def test_fewer_trials_are_simulated_when_the_response_settles(monkeypatch):
    most = []

    def counting(function, folded, arguments, threads):
        n_trials = arguments[6][4]
        most.append(len(folded) * n_trials)
        return run_in_threads(function, folded, arguments, threads=threads)

    monkeypatch.setattr(protocol_module, "run_in_threads", counting)
    simulate_erp(jrlib.TYPICAL)
    assert most == [protocol_module.PASSES[0]]


def test_epochs_longer_than_the_interval_between_pulses():
    """Two pulses in every epoch, in the last one too."""
    theta = np.vstack([jrlib.TYPICAL, jrlib.sample_prior(6, np.random.default_rng(3))])
    protocol = Protocol(**{**SHORT, "isi": 0.25, "n_trials": 8})
    expected = explicit_average(theta, protocol)
    np.testing.assert_allclose(
        simulate_erp(theta, protocol), expected, atol=1e-8 * np.abs(expected).max()
    )


def test_one_reduction_inside_and_after():
    theta = jrlib.sample_prior(20, np.random.default_rng(4))
    matrix = np.random.default_rng(5).normal(size=(7, Protocol(**SHORT).n_times))
    matrix[0, :100] = matrix[1, 300:] = 0.0
    erp = simulate_erp(theta, Protocol(**SHORT))
    out = np.empty((20, 7), np.float32)
    reduced = simulate_erp(theta, Protocol(**SHORT), reduce=matrix, out=out)
    assert reduced is out
    np.testing.assert_allclose(reduced, erp @ matrix.T, rtol=1e-5, atol=1e-5 * np.abs(erp).max())


def test_the_responses_depend_neither_on_threads_nor_on_the_batch(monkeypatch):
    theta = jrlib.sample_prior(40, np.random.default_rng(6))
    noisy = Protocol(**{**SHORT, "noise": 30.0, "n_trials": 3})
    for protocol in (Protocol(**SHORT), noisy):
        erp = simulate_erp(theta, protocol, rng=np.random.default_rng(7))
        one = simulate_erp(theta, protocol, rng=np.random.default_rng(7), threads=1)
        np.testing.assert_array_equal(erp, one)
        monkeypatch.setattr(protocol_module, "CHUNK", 7)
        np.testing.assert_array_equal(
            erp, simulate_erp(theta, protocol, rng=np.random.default_rng(7))
        )
        monkeypatch.undo()
        part = simulate_erp(theta[:9], protocol, rng=np.random.default_rng(7))
        np.testing.assert_array_equal(erp[:9], part)


def test_float32_responses_agree_with_float64():
    theta = jrlib.sample_prior(40, np.random.default_rng(8))
    double = simulate_erp(theta, Protocol(**SHORT))
    single = simulate_erp(theta, Protocol(**SHORT), dtype=np.float32)
    assert single.dtype == np.float32
    error = np.abs(single - double).max(axis=1) / np.abs(double).max(axis=1)
    assert np.median(error) < 1e-5
    assert error.max() < 1e-2  # the most sensitive one


def test_a_diverging_response_is_nan_and_leaves_the_others_alone():
    theta = np.tile(jrlib.TYPICAL, (3, 1))
    theta[1, 2] = -300.0
    protocol = Protocol(**SHORT)
    with pytest.warns(jrlib.DivergenceWarning, match="rows 1"):
        erp = simulate_erp(theta, protocol)
    assert np.isnan(erp[1]).all()
    np.testing.assert_array_equal(erp[[0, 2]], simulate_erp(theta[[0, 2]], protocol))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reduce": np.eye(3)}, r"reduce: got shape \(3, 3\), expected \(n_out, 601\)"),
        ({"out": np.empty((2, 601))}, r"out: got shape \(2, 601\), expected \(1, 601\)"),
        ({"dtype": np.float16}, "dtype: got float16, expected float64 or float32"),
    ],
)
def test_bad_input_of_a_response_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        simulate_erp(jrlib.TYPICAL, Protocol(**SHORT), **arguments)


def test_a_model_that_oscillates_by_itself_gets_all_its_trials():
    """At 150/s the typical column has an alpha rhythm that no 0.47 s period divides."""
    protocol = Protocol(**{**SHORT, "isi": 0.47, "epoch": (-0.1, 0.3)}, background=150.0)
    erp = simulate_erp(jrlib.TYPICAL[None], protocol)
    expected = explicit_average(jrlib.TYPICAL[None], protocol)
    np.testing.assert_allclose(erp, expected, atol=1e-10)
    single = simulate_erp(jrlib.TYPICAL[None], Protocol(**{**vars(protocol), "n_trials": 1}))
    assert np.abs(single - expected).max() > 0.1


def test_the_baseline_is_zero_and_a_single_row_drops_its_axis():
    erp = simulate_erp(jrlib.TYPICAL)
    assert erp.shape == (1201,)
    assert abs(erp[:201].mean()) < 1e-12


def test_no_pulse_no_response():
    erp = simulate_erp(jrlib.TYPICAL, Protocol(pulse=(0, 0, 0), transient=3.0, n_trials=3))
    assert np.abs(erp).max() < 1e-9


def test_the_averages_noise_covariance_is_the_one_of_averaged_white_noise():
    protocol = Protocol(
        n_trials=5, isi=0.02, pulse_width=0.01, epoch=(-0.005, 0.02), baseline=(-0.005, 0.0)
    )
    rng = np.random.default_rng(1)
    recordings = rng.standard_normal((20000, len(protocol.drive)))
    epochs = protocol.correct_baseline(protocol.epochs(recordings, 5))
    measured = np.cov(epochs.mean(axis=1).T)
    assert epochs.shape == (20000, 5, 26)
    np.testing.assert_allclose(measured, averaging_covariance(protocol), atol=0.012)
    ends = averaging_covariance(Protocol())[0, 1000] * 60
    assert ends > 0.9  # overlapping epochs share their ends


def test_the_whole_averages_out_over_the_train():
    """Without overlap the variance falls as 1 / n_trials."""
    protocol = Protocol(epoch=(-0.2, 0.5), baseline=(-0.2, -0.2))
    variance = np.diag(averaging_covariance(protocol))
    np.testing.assert_allclose(variance[1:], 2 / 60)


def test_intrinsic_noise_differs_from_trial_to_trial_and_averages_out():
    theta = np.tile(jrlib.TYPICAL, (8, 1))
    spread = []
    for n_trials in (4, 64):
        noisy = Protocol(**{**SHORT, "noise": 30.0, "n_trials": n_trials})
        erp = simulate_erp(theta, noisy, rng=np.random.default_rng(2))
        spread.append(np.sqrt(np.mean(np.var(erp, axis=0, ddof=1))))
    assert spread[0] / spread[1] == pytest.approx(4.0, rel=0.35)
    with pytest.raises(ValueError, match="rng"):
        simulate_erp(theta, noisy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_trials": 0}, "n_trials"),
        ({"pulse": (1.0, 2.0)}, "pulse: got 2 heights"),
        ({"noise": -1.0}, "noise: got -1.0"),
        ({"method": "rk45"}, "method: got 'rk45'"),
        ({"pulse_width": 2.0}, "pulse_width: got 2.0"),
        ({"epoch": (0.1, 1.0)}, "epoch: got"),
        ({"baseline": (-0.3, 0.0)}, "baseline: got"),
        ({"isi": 0.9995}, "isi: 0.9995 s is no whole number"),
        ({"dt": float("nan")}, "finite"),
        ({"dt": 0.0}, "dt: got 0.0"),
    ],
)
def test_bad_protocols_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        Protocol(**arguments)


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory in kilobytes: Linux")
def test_many_responses_take_no_more_memory_than_their_own():
    """The traces of these would take 190 MB; they are measured in a process of their own."""
    code = """
        import resource
        import numpy as np
        import jrlib
        from jrlib.sensors.datasets import decimation

        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

        matrix = decimation(jrlib.Protocol(), 250.0)
        theta = np.repeat(jrlib.sample_prior(40, np.random.default_rng(0)), 1000, axis=0)
        out = np.ones((len(theta), len(matrix)), np.float32)
        options = {"dtype": np.float32, "reduce": matrix}
        jrlib.simulate_erp(theta[:64], **options)
        before = peak()
        jrlib.simulate_erp(theta, out=out, **options)
        print(peak() - before)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert float(run.stdout) < 20.0


def test_pairs_of_pulses():
    drive = Protocol(pair=0.2).drive[:, 1]
    onset = np.flatnonzero(drive)[0]
    second = np.arange(onset + 200, onset + 250)
    assert (drive[second] == 60.0).all()
    assert drive[onset : onset + 1000].sum() == 2 * 50 * 60.0
    with pytest.raises(ValueError, match="pair"):
        Protocol(pair=0.02)
