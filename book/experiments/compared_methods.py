"""One cell of the comparison: train a method in one setting and score it on the test experiments.

A cell draws its own training experiments, trains one method on them and estimates the parameters of
test experiments that all cells of a convention share. `study` lays out the grid of cells.
"""

import warnings
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch

from experiments.results import Result, weights_of
from jrlib.diagnostics import scoring
from jrlib.inference import flows
from jrlib.neural.architectures import ARCHITECTURES, build_regressor
from jrlib.neural.baselines import BASELINES
from jrlib.neural.training import TrainingSettings, fit, predict
from jrlib.parameters import QUANTITY_NAMES, RANGES, quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import make_dataset
from jrlib.simulation.integration import DivergenceWarning
from jrlib.simulation.protocol import Protocol

TRAIN, VALIDATION, TEST = range(3)  # streams of random numbers within a seed
KEEP = ("scores", "estimates", "weights")  # each of them with those before it
PATIENCE = 10  # epochs without a lower validation loss, after which most networks stop


@dataclass(frozen=True)
class Method:
    """How a method of the comparison is made and trained.

    label : for figures and tables
    kind : a name of `architectures.ARCHITECTURES` or `baselines.BASELINES`, or "NPE"
    options : arguments of a network
    learning_rate : Adam's, from the public code; ours for the CNN-BiLSTM, which it lacks
    patience : see `TrainingSettings`. None for the vanilla LSTM, whose loss stands still for longer
        than `PATIENCE` before it falls: it shall not lose because it was stopped.
    """

    label: str
    kind: str
    options: dict = field(default_factory=dict)
    learning_rate: float = 1e-3
    patience: int | None = PATIENCE

    @property
    def is_network(self):
        return self.kind in ARCHITECTURES


METHODS = {
    "EEGTransformer": Method("EEGTransformer", "EEGTransformer"),
    "EEGTransformer-time": Method("EEGTransformer, time", "EEGTransformer", {"tokens": "time"}),
    "CNNBiLSTM": Method("CNN-BiLSTM", "CNNBiLSTM", {}, 3e-3),
    "VanillaLSTM": Method("vanilla LSTM", "VanillaLSTM", {}, 1e-2, None),
    "VanillaLSTM-mean": Method("LSTM, mean", "VanillaLSTM", {"readout": "mean"}, 1e-2, None),
    "NPE": Method("NPE", "NPE"),
    "MLP": Method("PCA + MLP", "MLPRegressor"),
    "Ridge": Method("PCA + ridge", "RidgeRegressor"),
    "Mean": Method("mean predictor", "MeanPredictor"),
}


@dataclass(frozen=True)
class Variant:
    """A departure from the standard setting.

    label : for figures and tables
    train, test : arguments of `make_dataset` for the training and the test experiments
    noise_seed : see `Dataset`
    frozen_noise : one draw of noise for each training simulation instead of a new one every epoch
    """

    label: str
    train: dict = field(default_factory=dict)
    test: dict = field(default_factory=dict)
    noise_seed: int | None = None
    frozen_noise: bool = False


def _published():
    """The closest to the public code: normal prior with its tails, b_e from 5, and Euler's rule."""
    ranges = RANGES.copy()
    ranges[2, 0] = 5.0
    return {
        "prior": Prior(truncated=False, ranges=ranges),
        "protocol": Protocol(method="euler"),
        "drop_outliers": True,
    }


_UNIFORM = {"prior": Prior(kind="uniform")}
_UNTRUNCATED = {"prior": Prior(truncated=False), "drop_outliers": True}
VARIANTS = {
    "standard": Variant("standard"),
    "frozen": Variant("frozen noise", frozen_noise=True),
    "untruncated": Variant("untruncated prior", train=_UNTRUNCATED),
    "uniform": Variant("uniform prior", _UNIFORM, _UNIFORM),
    "1000Hz": Variant("1000 Hz", {"sampling_rate": 1000.0}, {"sampling_rate": 1000.0}),
    "published": Variant("as published", _published(), _published(), frozen_noise=True),
    "published-same": Variant("as published, the same noise", _published(), _published(), 0, True),
}


@lru_cache(maxsize=1)
def training_set(convention, n_simulations, seed, variant):
    """The simulations that a cell trains on; those that diverge are left out without a warning."""
    return _experiments(n_simulations, [seed, TRAIN], convention, variant, VARIANTS[variant].train)


@lru_cache(maxsize=4)
def test_set(convention, n_test, variant):
    """The test simulations of a convention, the same for every method, noise level and seed."""
    return _experiments(n_test, [0, TEST], convention, variant, VARIANTS[variant].test)


def _experiments(n, seed, convention, variant, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DivergenceWarning)
        noise_seed = VARIANTS[variant].noise_seed
        options = {"noise_seed": noise_seed, "threads": 1, **options}
        return make_dataset(n, seed, convention=convention, **options)


def cell(convention, method, noise_factor, seed, n_simulations, n_test, epochs, variant, keep):
    """Train one method and let it estimate the test set's parameters.

    convention, method, variant : names; keep : the last of `KEEP` that is wanted

    Of the simulations 80 % train, 10 % validate and stop early, and 10 % are left over, as in the
    public code. Estimates are scored for the nine parameters and the products C a_1..C a_4. These
    are the products of a network's estimates; NPE gives their posterior means, and a baseline is
    fitted to them as well.

    Returns a `Result`: the table "scores" (see `scoring.score`, errors in prior standard
    deviations); the table "history" of networks and NPE (epoch, train_loss, validation_loss); on
    demand the array "estimates" (n_test, 13) in physical units and the weights, as "weights/name";
    the values "snr_db", "n_train" and, with the weights of NPE, "config".
    """
    if keep not in KEEP:
        raise ValueError(f"keep: got {keep!r}, expected one of {', '.join(KEEP)}")
    made, chosen = METHODS[method], VARIANTS[variant]
    train, validation, _ = training_set(convention, n_simulations, seed, variant).split(
        np.random.default_rng([seed, VALIDATION])
    )
    test = test_set(convention, n_test, variant)
    history, weights, config = None, {}, None
    if made.is_network:
        sizes = train.n_channels, train.n_times, train.theta.shape[1]
        model = build_regressor(made.kind, sizes, seed=seed, **made.options)
        settings = TrainingSettings(
            epochs=epochs,
            learning_rate=made.learning_rate,
            patience=made.patience,
            frozen_noise=chosen.frozen_noise,
        )
        options = {"noise_factor": noise_factor, "seed": seed, "progress": False}
        history = fit(model, train, validation, settings=settings, **options)
        history = history.drop(columns="seconds")
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    elif made.kind == "NPE":
        prior = chosen.train.get("prior")
        options = {"noise_factor": noise_factor, "seed": seed, "prior": prior}
        options["frozen_noise"] = chosen.frozen_noise
        model = flows.train_npe(train, validation, **options)
        history = model.history
        weights, config = model.state()
    else:
        source = observations(train, noise_factor, seed=seed)
        model = BASELINES[made.kind]().fit(source, quantities(train.theta))
    estimates = estimate(model, test, noise_factor)
    scores = scoring.score(
        quantities(test.theta),
        estimates,
        QUANTITY_NAMES,
        scale=chosen.test.get("prior", Prior()).quantity_std,
    )
    arrays = {}
    if keep != "scores":
        arrays["estimates"] = estimates
    if keep == "weights":
        arrays |= {f"weights/{name}": array for name, array in weights.items()}
    return Result(
        tables={"scores": scores.round(6)} | ({} if history is None else {"history": history}),
        arrays=arrays,
        values={"snr_db": test.snr_db(noise_factor), "n_train": len(train)}
        | ({"config": config} if config and keep == "weights" else {}),
    )


def estimate(model, test, noise_factor):
    """Estimates (n, 13) of `QUANTITY_NAMES`, float32, by a trained model, from one draw of noise.

    model : a network, a `flows.Posterior` or a baseline, as trained by `cell`
    """
    if isinstance(model, torch.nn.Module):
        estimates = quantities(predict(model, test, noise_factor=noise_factor, seed=TEST))
    else:
        observed = observations(test, noise_factor, seed=TEST)
        if isinstance(model, flows.Posterior):
            estimates = model.mean(observed, seed=TEST, of=quantities)
        else:
            estimates = model.predict(observed)
    return estimates.astype(np.float32)


def reload(config, result):
    """The trained network or posterior of a cell whose weights were kept.

    config : the arguments of `cell`; result : what it returned. Raises ValueError without weights.
    """
    weights = weights_of(result)
    made = METHODS[config["method"]]
    if not made.is_network:
        return flows.Posterior.from_state(weights, result.values["config"])
    test = test_set(config["convention"], config["n_test"], config["variant"])
    sizes = test.n_channels, test.n_times, test.theta.shape[1]
    network = build_regressor(made.kind, sizes, seed=0, **made.options)
    network.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
    return network.eval()


def observations(dataset, noise_factor, seed):
    """Matched-filter outputs (n, n_times) of the whole dataset with one draw of noise, mV."""
    noise = torch.Generator().manual_seed(seed)
    return dataset.source(np.arange(len(dataset)), noise_factor, noise).numpy()
