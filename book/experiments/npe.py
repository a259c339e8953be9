"""Posteriors trained with sbi's NPE on many and on few simulations, for their own chapter."""

from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom, gaussian_kde

from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, STUDY_NOISE, TEST, TRAIN, VALIDATION
from jrlib.diagnostics import calibration
from jrlib.diagnostics.sensitivity import rms
from jrlib.inference.flows import NPESettings, Posterior, train_npe
from jrlib.parameters import PARAMETER_NAMES, quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import Dataset, make_dataset
from jrlib.simulation.protocol import Protocol, simulate_erp


@dataclass(frozen=True)
class Config:
    """One training.

    convention : name of a `Convention`; seed : of simulations, weights and noise
    noise_factor : multiplies the covariance of the sensor noise
    n_simulations, n_validation : to train and to validate on
    prior : kind of the `Prior`
    """

    convention: str
    seed: int
    noise_factor: float = STUDY_NOISE
    n_simulations: int = 100_000
    prior: str = "normal"
    settings: NPESettings = field(default=NPESettings(epochs=20))
    n_validation: int = field(default=10_000, metadata={"named": False})


def run(config):
    """Simulate and train.

    Returns a `Result`: the table "history" (epoch, train_loss, validation_loss), the weights with
    what `Posterior.from_state` needs, and the values "snr_db" and "validation_loss", the lowest
    one, which is that of the weights.
    """
    train, validation = (_simulate(config, stream) for stream in (TRAIN, VALIDATION))
    trained = train_npe(
        train,
        validation,
        noise_factor=config.noise_factor,
        seed=config.seed,
        prior=Prior(kind=config.prior),
        settings=config.settings,
    )
    weights, about = trained.state()
    values = {
        "snr_db": train.snr_db(config.noise_factor),
        "validation_loss": trained.history.validation_loss.min(),
    }
    return Result({"history": trained.history}, {}, values, weights, about)


def rescore(config, weights, about):
    """What stored weights give again: the loss on the validation simulations."""
    validation, noise = _simulate(config, VALIDATION), torch.Generator().manual_seed(config.seed)
    # The noise of the validation simulations is drawn after that of the training simulations.
    silent = replace(
        validation, erp=np.zeros((config.n_simulations, validation.n_times), np.float32)
    )
    for dataset in (silent, validation):
        observed = dataset.source(np.arange(len(dataset.erp)), config.noise_factor, noise).numpy()
    posterior, theta = Posterior.from_state(weights, about), validation.theta
    losses = posterior.prior.log_prob(theta) - posterior.log_prob(theta, observed)
    return Result(values={"validation_loss": losses.mean()})


def _simulate(config, stream, n=None):
    """A `Dataset` of n simulations; by default as many as the configuration has in this stream."""
    if n is None:
        n = config.n_simulations if stream == TRAIN else config.n_validation
    prior = Prior(kind=config.prior)
    return make_dataset(n, [config.seed, stream], convention=config.convention, prior=prior)


# n, epochs : of a training; n_few, epochs_few : of one at the size of the published study
# n_test, n_samples : test simulations of the chapter, and samples of the posterior for each
_FEW = {"n_few": 1000, "epochs_few": 40}
SIZES = {
    "smoke": {"n": 200, "epochs": 2, "n_few": 100, "epochs_few": 2, "n_test": 100, "n_samples": 30},
    "fast": {"n": 5000, "epochs": 10, **_FEW, "n_test": 300, "n_samples": 150},
    "paper": {"n": 100_000, "epochs": 20, **_FEW, "n_test": 500, "n_samples": 200},
}


def grid(tier, seed, *, noise_factor=STUDY_NOISE, prior="normal"):
    """Many simulations under both conventions, then few under CLASSIC."""
    check_tier(tier)
    size = SIZES[tier]
    trainings = [(convention, size["n"], size["epochs"]) for convention in CONVENTIONS]
    trainings.append(("CLASSIC", size["n_few"], size["epochs_few"]))
    return [
        Config(
            convention,
            seed,
            float(noise_factor),
            n_simulations=n,
            prior=prior,
            settings=NPESettings(epochs=epochs),
            n_validation=max(n // 10, 20),
        )
        for convention, n, epochs in trainings
    ]


EXPERIMENT = Experiment(
    "npe",
    Config,
    run,
    grid,
    tables={"history": {"epoch": int, "train_loss": float, "validation_loss": float}},
    values={"snr_db": float, "validation_loss": float},
    level="retrained",
    rescore=rescore,
)


@dataclass(frozen=True)
class Tested:
    """A trained posterior on simulations that it has not seen, n of them.

    config : the `Config` of its training; posterior : the `Posterior`
    simulations : a `Dataset`; observed : (n, n_times), mV, the responses with noise
    evaluation : a `calibration.Evaluation`
    """

    config: Config
    posterior: Posterior
    simulations: Dataset
    observed: np.ndarray
    evaluation: calibration.Evaluation

    @property
    def means(self):
        """(n, 13) posterior means of `QUANTITY_NAMES`."""
        return self.posterior.mean(self.observed, seed=self.config.seed, of=quantities)

    @property
    def contraction(self):
        """(13,) of `QUANTITY_NAMES`: 1 - mean posterior variance over prior variance."""
        samples = self.evaluation.samples
        drawn = quantities(samples.reshape(-1, samples.shape[2]))
        variances = drawn.reshape(*samples.shape[:2], -1).var(axis=1, ddof=1)
        return 1.0 - (variances / self.posterior.prior.quantity_std**2).mean(axis=0)


def on_test_simulations(found, *, n_test, n_samples):
    """A `Tested` for each run, from simulations of its own prior and noise; a list.

    found : `runs.Found` of this experiment; n_samples : of the posterior of each test simulation
    Runs of one seed share the parameters of their test simulations, and all else that is random.
    """
    everything = []
    for run in found.names:
        config, posterior = found.config(run), Posterior.from_state(*found.weights(run))
        simulations = _simulate(config, TEST, n_test)
        observed = simulations.observe(config.noise_factor, config.seed)
        evaluation = calibration.evaluate(
            posterior, simulations.theta, observed, n_samples=n_samples, seed=config.seed
        )
        everything.append(Tested(config, posterior, simulations, observed, evaluation))
    return everything


def rank_counts(tested, n_bins=10, confidence=0.95):
    """Histograms of the rank of the true value among posterior samples.

    Returns a DataFrame with a row for each parameter and bin: parameter, "rank from" and "rank
    below", count, and low and high, between which the count of a calibrated posterior lies with
    that confidence.
    """
    n, n_samples = tested.evaluation.samples.shape[:2]
    edges = np.linspace(0.0, n_samples + 1, n_bins + 1)
    low, high = binom.interval(confidence, n, 1.0 / n_bins)
    frames = []
    for name, ranks in zip(PARAMETER_NAMES, tested.evaluation.ranks.T, strict=True):
        bins = {"rank from": edges[:-1], "rank below": edges[1:]}
        bins["count"] = np.histogram(ranks, edges)[0]
        frames.append(pd.DataFrame({"parameter": name, **bins, "low": low, "high": high}))
    return pd.concat(frames, ignore_index=True)


def coverages(tested, levels):
    """`calibration.coverage` of HPD regions and of TARP's balls, told apart by a column regions."""
    evaluation = tested.evaluation
    checks = {"HPD": evaluation.highest_density, "TARP": evaluation.tarp}
    frames = {name: calibration.coverage(values, levels) for name, values in checks.items()}
    return pd.concat(frames, names=["regions"]).reset_index("regions")


def marginals(samples, prior, truth, *, n_points=400, n_quantiles=200):
    """Densities of each parameter over the range of its prior.

    samples : dict of names to posterior samples (n, 9); prior : a `Prior`; truth : (9,)
    n_points, n_quantiles : at evenly spaced values, and of the samples at their own quantiles too
    Returns a DataFrame: parameter, series ("prior", the names or "truth"), value, in the
    parameter's unit, and density, of which the truth has none. That of samples is a kernel density
    estimate.
    """
    frames = []
    for k, name in enumerate(PARAMETER_NAMES):
        values = np.linspace(prior.low[k], prior.high[k], n_points)
        theta = np.tile(prior.mean, (n_points, 1))
        theta[:, k] = values
        density = np.exp(prior.log_prob(theta) - prior.log_prob(theta).max())
        density /= density.mean() * (prior.high[k] - prior.low[k])
        curves = {"prior": (values, density)}
        for series, drawn in samples.items():
            own = np.quantile(drawn[:, k], np.linspace(0, 1, n_quantiles))
            near = np.unique(np.concatenate([values, own]))
            curves[series] = near, gaussian_kde(drawn[:, k])(near)
        curves["truth"] = truth[k : k + 1], np.nan
        frames += [
            pd.DataFrame({"parameter": name, "series": series, "value": at, "density": height})
            for series, (at, height) in curves.items()
        ]
    return pd.concat(frames, ignore_index=True)


def predictive_check(tested, number, samples, prior_samples):
    """Responses to parameters from posterior and prior, and the observed one, of a test simulation.

    number : of the test simulation; samples, prior_samples : of theta, (n, 9) each
    Returns a DataFrame: series ("prior", "posterior" or "observed"), line (number within it),
    "time (ms)" and "response (mV)"; and two numbers, in per cent of the rms of the response without
    noise: the median distance (rms) of the posterior's responses from it, and the rms of the noise.
    """
    observed, signal = tested.observed[number], tested.simulations.erp[number]
    protocol, times = Protocol(), tested.simulations.times
    sampled = np.searchsorted(protocol.times, times - protocol.dt / 2)
    responses = {
        name: simulate_erp(theta, protocol, tested.config.convention)[:, sampled]
        for name, theta in (("prior", prior_samples), ("posterior", samples))
    } | {"observed": observed[np.newaxis]}
    times = pd.Index(1e3 * times, name="time (ms)")
    waves = {name: pd.DataFrame(values, columns=times) for name, values in responses.items()}
    waves = pd.concat(waves, names=["series", "line"]).stack().rename("response (mV)").reset_index()
    distance = np.median(rms(responses["posterior"] - signal) / rms(signal))
    return waves, float(100 * distance), float(100 * rms(observed - signal) / rms(signal))
