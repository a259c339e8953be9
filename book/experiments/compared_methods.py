"""The methods of the comparison, the settings in which they are compared, and their simulations.

`comparison` trains each of them in many settings and scores their estimates.
"""

import inspect
import warnings
from dataclasses import dataclass, make_dataclass, replace
from functools import lru_cache

import numpy as np
import torch

from experiments.settings import TEST, TRAIN
from jrlib.inference import flows
from jrlib.inference.flows import NPESettings
from jrlib.neural.architectures import ARCHITECTURES
from jrlib.neural.baselines import BASELINES
from jrlib.neural.training import TrainingSettings, predict
from jrlib.parameters import PARAMETER_NAMES, RANGES, quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.integration import DivergenceWarning
from jrlib.simulation.protocol import Protocol

B_E = PARAMETER_NAMES.index("b_e")
# The columns of what `scoring.score` returns.
SCORES = {
    "parameter": str,
    "metric": str,
    "value": float,
    "low": float,
    "high": float,
    "n": int,
}


def _options(kind):
    """A frozen dataclass of the keyword arguments of a class, with their defaults."""
    arguments = inspect.signature(kind).parameters.values()
    fields = [(a.name, type(a.default), a.default) for a in arguments if a.default is not a.empty]
    options = make_dataclass(f"{kind.__name__}Options", fields, frozen=True)
    options.__module__ = __name__  # where it is found again when it comes from another process
    return options


EEGTransformerOptions = _options(ARCHITECTURES["EEGTransformer"])
VanillaLSTMOptions = _options(ARCHITECTURES["VanillaLSTM"])
CNNBiLSTMOptions = _options(ARCHITECTURES["CNNBiLSTM"])
RidgeRegressorOptions = _options(BASELINES["RidgeRegressor"])
MLPRegressorOptions = _options(BASELINES["MLPRegressor"])


@dataclass(frozen=True)
class Method:
    """How a method of the comparison is made and trained.

    label : for figures and tables
    kind : a name of `architectures.ARCHITECTURES` or `baselines.BASELINES`, or "NPE"
    options : what its class is made with, `NPESettings` for NPE; None where there is no choice
    training : of a network. Learning rates are those of the public code, and ours for the
        CNN-BiLSTM, which it lacks. Most networks stop after ten epochs without a lower validation
        loss; the vanilla LSTM's loss stands still for longer than that before it falls, and it
        shall not lose because it was stopped.
    """

    label: str
    kind: str
    options: object = None
    training: TrainingSettings | None = None

    @property
    def is_network(self):
        return self.kind in ARCHITECTURES


_WITH_PATIENCE = TrainingSettings(patience=10)
_QUICK = TrainingSettings(learning_rate=3e-3, patience=10)
_TO_THE_END = TrainingSettings(learning_rate=1e-2)
METHODS = {
    "EEGTransformer": Method(
        "EEGTransformer", "EEGTransformer", EEGTransformerOptions(), _WITH_PATIENCE
    ),
    "EEGTransformer-time": Method(
        "EEGTransformer, time",
        "EEGTransformer",
        EEGTransformerOptions(tokens="time"),
        _WITH_PATIENCE,
    ),
    "CNNBiLSTM": Method("CNN-BiLSTM", "CNNBiLSTM", CNNBiLSTMOptions(), _QUICK),
    "VanillaLSTM": Method("vanilla LSTM", "VanillaLSTM", VanillaLSTMOptions(), _TO_THE_END),
    "VanillaLSTM-mean": Method(
        "LSTM, mean", "VanillaLSTM", VanillaLSTMOptions(readout="mean"), _TO_THE_END
    ),
    "NPE": Method("NPE", "NPE", NPESettings()),
    "MLP": Method("PCA + MLP", "MLPRegressor", MLPRegressorOptions()),
    "Ridge": Method("PCA + ridge", "RidgeRegressor", RidgeRegressorOptions()),
    "Mean": Method("mean predictor", "MeanPredictor"),
}


@dataclass(frozen=True)
class SimulationSettings:
    """How experiments are simulated and recorded, where variants of the comparison differ.

    prior_kind, prior_truncated : of the `Prior`
    lowest_b_e : of the prior's range, 1/s; Table 1 has 50, the public code 5
    integrator : of the `Protocol`
    sampling_rate, drop_outliers, noise_seed : see `make_dataset`
    """

    prior_kind: str = "normal"
    prior_truncated: bool = True
    lowest_b_e: float = float(RANGES[B_E, 0])
    integrator: str = "rk4"
    sampling_rate: float = 250.0
    drop_outliers: bool = False
    noise_seed: int | None = None

    @property
    def prior(self):
        """The `Prior` from which the parameters are drawn."""
        ranges = RANGES.copy()
        ranges[B_E, 0] = self.lowest_b_e
        return Prior(self.prior_kind, self.prior_truncated, ranges)

    def simulate(self, convention, n, seed):
        """A `Dataset` of n experiments; those that diverge are left out without a warning."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)
            return make_dataset(
                n,
                seed,
                convention=convention,
                prior=self.prior,
                protocol=Protocol(method=self.integrator),
                sampling_rate=self.sampling_rate,
                drop_outliers=self.drop_outliers,
                noise_seed=self.noise_seed,
                threads=1,
            )


@dataclass(frozen=True)
class Variant:
    """A departure from the standard setting.

    label : for figures and tables
    train, test : of the training and the test experiments
    frozen_noise : one draw of noise for each training simulation instead of a new one every epoch
    times_epochs : how many times as many epochs a network is trained
    """

    label: str
    train: SimulationSettings = SimulationSettings()
    test: SimulationSettings = SimulationSettings()
    frozen_noise: bool = False
    times_epochs: int = 1


_UNTRUNCATED = SimulationSettings(prior_truncated=False, drop_outliers=True)
_UNIFORM = SimulationSettings(prior_kind="uniform")
_FINE = SimulationSettings(sampling_rate=1000.0)
# The closest to the public code: normal prior with its tails, b_e from 5, and Euler's rule.
_PUBLISHED = replace(_UNTRUNCATED, lowest_b_e=5.0, integrator="euler")
_SAME_NOISE = replace(_PUBLISHED, noise_seed=0)
VARIANTS = {
    "standard": Variant("standard"),
    "frozen": Variant("frozen noise", frozen_noise=True),
    "untruncated": Variant("untruncated prior", train=_UNTRUNCATED),
    "uniform": Variant("uniform prior", _UNIFORM, _UNIFORM),
    "1000Hz": Variant("1000 Hz", _FINE, _FINE),
    "published": Variant("as published", _PUBLISHED, _PUBLISHED, frozen_noise=True),
    "published-same": Variant(
        "as published, the same noise", _SAME_NOISE, _SAME_NOISE, frozen_noise=True
    ),
    "longer": Variant("trained for longer", times_epochs=3),
}


@lru_cache(maxsize=1)
def training_set(convention, n_simulations, *, seed, variant):
    """The `Dataset` that a training draws from a seed.

    variant : a name of `VARIANTS`, or `SimulationSettings`
    """
    settings = VARIANTS[variant].train if isinstance(variant, str) else variant
    return settings.simulate(convention, n_simulations, [seed, TRAIN])


@lru_cache(maxsize=4)
def test_set(convention, n_test, variant):
    """The test `Dataset` of a convention, the same for every method, noise level and seed.

    variant : a name of `VARIANTS`, or `SimulationSettings`
    """
    settings = VARIANTS[variant].test if isinstance(variant, str) else variant
    return settings.simulate(convention, n_test, [0, TEST])


def estimate(model, test, noise_factor, *, n_points=64, batch_size=256, first=None):
    """Estimates (n, 13) of `QUANTITY_NAMES`, float32, by a trained model, from one draw of noise.

    model : a network, a `flows.Posterior` or a baseline that was fitted to these quantities
    n_points : of a posterior's mean, see `flows.Posterior.mean`
    batch_size : of a network, see `training.predict`
    first : estimate so many of the test simulations; all by default
    """
    if isinstance(model, torch.nn.Module):
        theta = predict(model, test, noise_factor=noise_factor, seed=TEST, batch_size=batch_size)
        estimates = quantities(theta)
    else:
        observed = test.observe(noise_factor, seed=TEST)
        if isinstance(model, flows.Posterior):
            estimates = model.mean(observed[:first], seed=TEST, n_points=n_points, of=quantities)
        else:
            estimates = model.predict(observed)
    return estimates[:first].astype(np.float32)
