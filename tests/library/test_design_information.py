"""Designs: against the likelihood's own information, scaling laws, Monte Carlo and simulations."""

import numpy as np
from scipy.signal import welch

import jrlib
from jrlib.diagnostics import design_information
from jrlib.diagnostics.design_information import OngoingActivity
from jrlib.inference.likelihood import Likelihood
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.protocol import Protocol

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


def test_the_spectrum_is_that_of_a_simulation_at_rest():
    frequencies = np.arange(2.0, 40.0, 1.0)
    ongoing = OngoingActivity(background=60.0, noise=1.0)
    for convention, theta in (("RELEASED", THETA), ("CLASSIC", jrlib.TYPICAL)):
        expected = design_information.spectrum(theta, frequencies, convention, ongoing=ongoing)
        drive = np.tile([0.0, 60.0, 0.0], (202_000, 1))
        options = {"noise": 1.0, "seed": 4, "convention": convention}
        source = jrlib.simulate(np.tile(theta, (8, 1)), drive, **options)[:, 2000:]
        found, power = welch(source, 1000.0, nperseg=4000)
        observed = np.interp(frequencies, found, power.mean(axis=0))
        np.testing.assert_allclose(observed, expected, rtol=0.12)


def test_a_column_without_rest_has_no_spectrum():
    ongoing = OngoingActivity(background=200.0)
    alpha = design_information.spectrum(jrlib.TYPICAL, np.array([10.0]), "CLASSIC", ongoing=ongoing)
    assert np.isnan(alpha).all()
