"""Checks of a recording: uniform p values when nothing is wrong, and what is wrong is said."""

from dataclasses import fields
from functools import cache, cached_property

import numpy as np
import pytest
from scipy.stats import kstest

from jrlib.diagnostics import misfit
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood
from jrlib.sensors import noise_models
from jrlib.sensors.datasets import make_dataset
from jrlib.sensors.spatial_filter import SpatialFilter
from jrlib.simulation.protocol import Protocol

# Short epochs at their own rate, where the covariance over time is singular.
SHORT = Protocol(n_trials=2, epoch=(-0.02, 0.1), baseline=(-0.02, 0.0), pulse_width=0.02)
NOISE = 1e2


@cache
def experiment(n=150):
    """Dataset, likelihood and spatial filter."""
    dataset = make_dataset(
        n, 5, convention="RELEASED", protocol=SHORT, sampling_rate=1000.0, threads=1
    )
    return dataset, Likelihood.of(dataset, NOISE), SpatialFilter(dataset.gain)


def record(n, seed=0):
    """Averaged recordings (n, 64, n_times), V, of the first simulations of `experiment`."""
    dataset, likelihood, _ = experiment()
    over_channels = np.eye(64) - 1.0 / 64
    shape = (n, 64, dataset.n_times)
    noise = noise_models.draw_noise(
        shape, dataset.covariance, np.random.default_rng(seed), over_channels=over_channels
    )
    responses = likelihood.respond(dataset.theta[:n])
    signal = dataset.gain[:, np.newaxis] * responses[:, np.newaxis]
    return signal + noise_models.noise_sd(NOISE) * noise


class LinearLikelihood(Likelihood):
    """Of a response that is linear in eight coordinates, of which four are known well."""

    def respond(self, points):
        return points @ self.slopes

    @cached_property
    def slopes(self):
        slopes = np.random.default_rng(1).standard_normal((8, self.rank))
        slopes *= np.array([30.0] * 4 + [0.1] * 4)[:, np.newaxis]
        return slopes @ np.linalg.pinv(self.whiten(np.eye(len(self.covariance))))


class LinearSampler(ExactSampler):
    def theta(self, points, coupling=1.0):
        return points


@cache
def linear_sampler():
    _, likelihood, _ = experiment()
    same = {field.name: getattr(likelihood, field.name) for field in fields(likelihood)}
    return LinearSampler(LinearLikelihood(**same))


def test_p_values_are_uniform_when_nothing_is_wrong():
    _, likelihood, spatial_filter = experiment()
    assert likelihood.rank == SHORT.n_times - 1
    found = [misfit.noise_checks(likelihood, *spatial_filter.split(data)) for data in record(150)]
    for name in found[0]:
        assert kstest([row[name] for row in found], "uniform").pvalue > 1e-3, name


def test_so_are_those_of_the_response_in_a_linear_model():
    dataset, _, _ = experiment()
    sampler, rng = linear_sampler(), np.random.default_rng(2)
    points = sampler.points(sampler.prior.sample(50, rng))
    responses = sampler.likelihood.respond(points)
    noise = rng.multivariate_normal(
        np.zeros(dataset.n_times), sampler.likelihood.covariance, size=50, method="eigh"
    )
    guesses = rng.standard_normal((20, 8))
    found = [misfit.response_checks(sampler, row, guesses) for row in responses + noise]
    for name in found[0]:
        assert kstest([row[name] for row in found], "uniform").pvalue > 1e-3, name


def test_parameters_that_the_prior_does_not_know_and_responses_that_the_model_does_not_have():
    dataset, _, _ = experiment()
    sampler, rng = linear_sampler(), np.random.default_rng(3)
    guesses = rng.standard_normal((20, 8))
    noise = rng.multivariate_normal(
        np.zeros(dataset.n_times), sampler.likelihood.covariance, method="eigh"
    )
    far = sampler.likelihood.respond(6.0 * np.eye(8))[0]
    found = misfit.response_checks(sampler, far + noise, guesses)
    assert found["parameters"] < 1e-3
    assert min(found["response"], found["residual"]) > 1e-3
    wave = 10.0 * noise.std() * np.sin(np.linspace(0.0, 6.0, dataset.n_times))
    found = misfit.response_checks(sampler, wave + noise, guesses)
    assert max(found["response"], found["residual"]) < 1e-6


def test_a_flat_spectrum_and_one_that_is_not():
    rng = np.random.default_rng(4)
    for n in (100, 101):
        white = rng.standard_normal((200, 3, n))
        assert kstest([misfit.flatness(rows) for rows in white], "uniform").pvalue > 1e-3
    white = rng.standard_normal((5, 301))
    assert misfit.flatness(white[:, 1:] + 0.4 * white[:, :-1]) < 1e-6


def test_noise_that_fits_in_total_but_leans_on_one_electrode():
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((60, 300))
    assert misfit.sphericity(rows) > 1e-3
    rows[:10] = 0.8 * rows[0] + 0.6 * rows[:10]
    assert misfit.sphericity(rows) < 1e-6


def test_holms_correction():
    names = [*misfit.CHECKS][:4]
    verdict = misfit.Verdict(dict(zip(names, (0.01, 0.04, 0.03, 0.005), strict=True)))
    assert [verdict.corrected[name] for name in names] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert verdict.objections == [names[3], names[0]]
    assert names[0] in str(verdict)
    assert misfit.CHECKS[names[3]] in str(verdict)
    assert "No check objects" in str(misfit.Verdict(dict.fromkeys(names, 0.4)))


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda data: data[:63], r"data: got shape \(63, 121\), expected \(64, n_times\)"),
        (lambda data: data[:, :99], "99 samples, expected 121"),
        (lambda data: np.where(np.arange(64)[:, None] == 3, np.nan, data), "NaN.* channels.*3"),
        (lambda data: np.where(np.arange(64)[:, None] == 5, 0.0, data), "no signal.* channels.*5"),
        (lambda data: 1e6 * data, "data:.*microvolts, expected volts: multiply them by 1e-06"),
        (lambda data: 1e3 * data, "data:.*millivolts, expected volts: multiply them by 0.001"),
        (lambda data: 1e-3 * data, "data:.*multiply them by 1000; .* the noise factor is wrong"),
    ],
)
def test_what_is_wrong_with_the_data_is_said(spoil, message):
    _, _, spatial_filter = experiment()
    (data,) = record(1, seed=6)
    with pytest.raises(ValueError, match=message):
        misfit.check(linear_sampler(), spatial_filter, spoil(data), guesses=np.zeros((4, 8)))


def test_settings_of_the_checks():
    p_values = dict.fromkeys(misfit.CHECKS, 0.005)
    assert len(misfit.Verdict(p_values).objections) == len(p_values)
    assert not misfit.Verdict(p_values, level=0.01).objections
    for change in ({"level": 5.0}, {"n_descents": 0}, {"n_prior_samples": 0.5}):
        (name,) = change
        with pytest.raises(ValueError, match=f"{name}: got"):
            misfit.CheckSettings(**change)
