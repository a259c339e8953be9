"""Designs: against the likelihood's own information, scaling laws, Monte Carlo and simulations."""

import numpy as np
import pytest
from scipy.signal import welch

import jrlib
from experiments import stimulus_designs
from jrlib import parameters
from jrlib.diagnostics import design_information
from jrlib.inference.likelihood import Likelihood
from jrlib.sensors import heads, noise_models
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol, averaging_covariance

THETA = jrlib.sample_prior(1, np.random.default_rng(3))[0]


def information(protocol, noise_factor=1e4, **options):
    likelihood = design_information.likelihood(protocol, "CLASSIC", noise_factor, **options)
    white = likelihood.whiten(design_information.slopes(protocol, "CLASSIC", THETA))
    return white @ white.T


def test_the_studys_design_has_the_information_of_its_datasets():
    made = make_dataset(1, 0)
    expected = Likelihood.of(made, 1e4).fisher_information(THETA)[:8, :8]
    np.testing.assert_allclose(information(Protocol())[:8, :8], expected, rtol=1e-9)


def test_ten_times_the_trials_tell_ten_times_as_much():
    one, ten = information(Protocol()), information(Protocol(n_trials=600))
    # But for the epochs' shared ends, which weigh a little less among more of them.
    scale = np.sqrt(np.diag(one))
    np.testing.assert_allclose((ten - 10.0 * one) / np.outer(scale, scale), 0.0, atol=0.1)


def test_what_is_not_known_of_the_gain_is_lost():
    prior = design_information.prior_covariance()
    told = information(Protocol())
    left = [design_information.posterior_covariance(told, prior, sd) for sd in (0.0, 0.1, 1.0, 1e3)]
    sizes = [np.linalg.slogdet(covariance)[1] for covariance in left]
    assert sizes == sorted(sizes)
    assert sizes[-1] > sizes[0] + 1.0
    nearly = design_information.posterior_covariance(told, prior, 1e-6)
    np.testing.assert_allclose(nearly, left[0], rtol=1e-4)
    nothing = design_information.posterior_covariance(np.zeros((9, 9)), prior, 1.0)
    np.testing.assert_allclose(nothing, prior, rtol=1e-9)


def test_aperiodic_noise_has_its_spectrum():
    white = noise_models.aperiodic_autocovariance(1.0, 1e-3, exponent=0.0)
    np.testing.assert_allclose(white, np.eye(1, len(white))[0], atol=1e-12)
    values = noise_models.aperiodic_autocovariance(60.0, 1e-3)
    assert values[0] == 1.0
    frequencies = np.array([2.0, 10.0, 50.0, 200.0])
    lags = np.arange(1, len(values)) * 1e-3
    taper = 0.5 * (1.0 + np.cos(np.pi * lags / lags[-1]))
    waves = np.cos(2.0 * np.pi * np.outer(frequencies, lags))
    power = 1.0 + 2.0 * waves @ (taper * values[1:])
    falls = power * (1.0 + frequencies)
    np.testing.assert_allclose(falls, falls[0], rtol=0.02)


@pytest.mark.parametrize("name", ["duration", "dt", "corner", "exponent"])
def test_aperiodic_noise_says_what_is_wrong(name):
    options = {"duration": 1.0, "dt": 1e-3, "corner": 1.0, "exponent": 1.0, name: -1.0}
    with pytest.raises(ValueError, match=name):
        noise_models.aperiodic_autocovariance(**options)


def test_the_average_of_coloured_noise_by_monte_carlo():
    edges = {"epoch": (-0.02, 0.1), "baseline": (-0.02, 0.0), "transient": 0.0}
    protocol = Protocol(n_trials=5, isi=0.1, pulse_width=0.02, dt=0.01, **edges)
    colour = noise_models.aperiodic_autocovariance(1.0, protocol.dt)
    n_steps = len(protocol.drive)
    lag = np.abs(np.subtract.outer(np.arange(n_steps), np.arange(n_steps)))
    root = np.linalg.cholesky(colour[lag])
    recording = np.random.default_rng(0).standard_normal((40_000, n_steps)) @ root.T
    averages = protocol.correct_baseline(protocol.epochs(recording, 5)).mean(axis=1)
    expected = averaging_covariance(protocol, colour)
    error = 4.0 * np.max(np.diag(expected)) / np.sqrt(len(averages) / 2)
    np.testing.assert_allclose(np.cov(averages.T), expected, atol=error)


def test_correlated_electrodes_are_weighed_accordingly():
    gain = heads.MOMENT_PER_MV * heads.lead_field()
    assert noise_models.matched_noise() == pytest.approx(1.0 / np.linalg.norm(gain))
    # Noise that all electrodes share is gone with the average reference.
    everywhere = noise_models.matched_noise(reach=1e6)
    assert everywhere < 1e-2 * noise_models.matched_noise()
    with pytest.raises(ValueError, match="reach"):
        noise_models.matched_noise(reach=-1.0)


def test_the_spectrum_is_that_of_a_simulation_at_rest():
    frequencies = np.arange(2.0, 40.0, 1.0)
    for convention, theta in (("RELEASED", THETA), ("CLASSIC", jrlib.TYPICAL)):
        expected = design_information.spectrum(theta, frequencies, 60.0, convention, noise=1.0)
        drive = np.tile([0.0, 60.0, 0.0], (202_000, 1))
        options = {"noise": 1.0, "seed": 4, "convention": convention}
        source = jrlib.simulate(np.tile(theta, (8, 1)), drive, **options)[:, 2000:]
        found, power = welch(source, 1000.0, nperseg=4000)
        observed = np.interp(frequencies, found, power.mean(axis=0))
        np.testing.assert_allclose(observed, expected, rtol=0.12)


def test_a_column_without_rest_has_no_spectrum():
    alpha = design_information.spectrum(jrlib.TYPICAL, np.array([10.0]), 200.0, "CLASSIC")
    assert np.isnan(alpha).all()


def test_pairs_of_pulses():
    drive = Protocol(pair=0.2).drive[:, 1]
    onset = np.flatnonzero(drive)[0]
    second = np.arange(onset + 200, onset + 250)
    assert (drive[second] == 60.0).all()
    assert drive[onset : onset + 1000].sum() == 2 * 50 * 60.0
    with pytest.raises(ValueError, match="pair"):
        Protocol(pair=0.02)


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
