"""Posteriors trained with sbi's NPE on many and on few simulations, for their own chapter."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from experiments.runs import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, STUDY_NOISE, TRAIN, VALIDATION
from jrlib.inference.flows import NPESettings, Posterior, train_npe
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset


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


def _simulate(config, stream):
    n = config.n_simulations if stream == TRAIN else config.n_validation
    prior = Prior(kind=config.prior)
    return make_dataset(n, [config.seed, stream], convention=config.convention, prior=prior)


# n, epochs : of a training; n_few, epochs_few : of one at the size of the published study
# n_test, n_samples : test simulations of the chapter, and samples of the posterior for each
_FEW = {"n_few": 1000, "epochs_few": 40}
SIZES = {
    "smoke": {"n": 200, "epochs": 2, "n_few": 100, "epochs_few": 2, "n_test": 100, "n_samples": 30},
    "fast": {"n": 10_000, "epochs": 10, **_FEW, "n_test": 300, "n_samples": 150},
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
