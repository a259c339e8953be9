"""The comparison of methods: convention x method x noise level x seed, one cell at a time.

A cell draws its own training experiments, trains one method on them and estimates the parameters of
test experiments that all cells of a convention share. `Store.get_many` runs cells side by side and
keeps each as soon as it is done.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd
import torch

from jrlib import metrics, posterior
from jrlib.data import make_dataset
from jrlib.networks import BASELINES, NETWORKS, build_network
from jrlib.parameters import PARAMETER_NAMES, Prior, get_convention
from jrlib.results import Result
from jrlib.training import fit, predict

TRAIN, VALIDATION, TEST = range(3)  # streams of random numbers within a seed


@dataclass(frozen=True)
class Method:
    """How a method of the comparison is made and trained.

    label : for figures and tables
    kind : a name of `networks.NETWORKS` or `networks.BASELINES`, or "NPE"
    options : arguments of a network
    learning_rate : Adam's, from the public code; ours for the CNN-BiLSTM, which it lacks
    """

    label: str
    kind: str
    options: dict = field(default_factory=dict)
    learning_rate: float = 1e-3


METHODS = {
    "EEGTransformer": Method("EEGTransformer", "EEGTransformer"),
    "EEGTransformer-time": Method("EEGTransformer, time", "EEGTransformer", {"tokens": "time"}),
    "CNNBiLSTM": Method("CNN-BiLSTM", "CNNBiLSTM", {}, 3e-3),
    "VanillaLSTM": Method("vanilla LSTM", "VanillaLSTM", {}, 1e-2),
    "VanillaLSTM-mean": Method("LSTM, mean", "VanillaLSTM", {"readout": "mean"}, 1e-2),
    "NPE": Method("NPE", "NPE"),
    "MLP": Method("PCA + MLP", "MLPRegressor"),
    "Ridge": Method("PCA + ridge", "RidgeRegressor"),
    "Mean": Method("mean predictor", "MeanPredictor"),
}


@dataclass(frozen=True)
class Size:
    """How large the comparison is at a tier.

    n_simulations : per cell, of which 80 % train, 10 % validate and stop early, and 10 % are left
        over, as in the public code
    n_test : test simulations, the same for all cells of a convention
    epochs : of the networks
    n_seeds, noise_factors : of the grid
    """

    n_simulations: int
    n_test: int
    epochs: int
    n_seeds: int
    noise_factors: tuple


SIZES = {
    "smoke": Size(100, 40, 2, 1, (1.0,)),
    "fast": Size(400, 500, 12, 2, (1.0, 1e4, 1e6)),
    "paper": Size(1000, 2000, 50, 3, (0.0, 0.1, 0.5, 1.0, 10.0, 100.0, 1e3, 1e4)),
}


def grid(
    tier, seed, *, conventions=("RELEASED", "CLASSIC"), methods=tuple(METHODS), noise_factors=None
):
    """The configurations of `cell` for a tier, in the order convention, noise, method, seed.

    noise_factors : the tier's by default
    Raises ValueError for an unknown tier, convention or method.
    """
    if tier not in SIZES:
        raise ValueError(f"tier: got {tier!r}, expected one of {', '.join(SIZES)}")
    for method in methods:
        if method not in METHODS:
            raise ValueError(f"method: got {method!r}, expected one of {', '.join(METHODS)}")
    size = SIZES[tier]
    return [
        {
            "convention": get_convention(convention).name,
            "method": method,
            "noise_factor": float(noise_factor),
            "seed": seed + repeat,
            "n_simulations": size.n_simulations,
            "n_test": size.n_test,
            "epochs": size.epochs,
        }
        for convention in conventions
        for noise_factor in (size.noise_factors if noise_factors is None else noise_factors)
        for method in methods
        for repeat in range(size.n_seeds)
    ]


def training_set(convention, n_simulations, seed):
    """The simulations that a cell trains on."""
    return make_dataset(n_simulations, [seed, TRAIN], convention=convention, threads=1)


@lru_cache(maxsize=4)
def test_set(convention, n_test):
    """The test simulations of a convention, the same for every method, noise level and seed."""
    return make_dataset(n_test, [0, TEST], convention=convention, threads=1)


def cell(convention, method, noise_factor, seed, n_simulations, n_test, epochs):
    """Train one method and let it estimate the test set's parameters.

    Returns a `Result` with the array "estimates" (n_test, 9) in physical units, the table "history"
    of networks (epoch, train_loss, validation_loss, seconds), and the value "snr_db".
    """
    train, validation, _ = training_set(convention, n_simulations, seed).split(
        np.random.default_rng([seed, VALIDATION])
    )
    test = test_set(convention, n_test)
    made = METHODS[method]
    tables = {}
    if made.kind in NETWORKS:
        sizes = train.n_channels, train.n_times, train.theta.shape[1]
        network = build_network(made.kind, *sizes, seed=seed, **made.options)
        tables["history"] = fit(
            network,
            train,
            validation,
            noise_factor=noise_factor,
            epochs=epochs,
            learning_rate=made.learning_rate,
            seed=seed,
            progress=False,
        )
        estimates = predict(network, test, noise_factor=noise_factor, seed=TEST)
    else:
        observed = observations(test, noise_factor, seed=TEST)
        if made.kind == "NPE":
            trained = posterior.train_npe(train, validation, noise_factor=noise_factor, seed=seed)
            estimates = trained.mean(observed, seed=seed)
        else:
            source = observations(train, noise_factor, seed=seed)
            estimates = BASELINES[made.kind]().fit(source, train.theta).predict(observed)
    return Result(
        tables=tables,
        arrays={"estimates": estimates.astype(np.float32)},
        values={"snr_db": test.snr_db(noise_factor)},
    )


def observations(dataset, noise_factor, seed):
    """Matched-filter outputs (n, n_times) of the whole dataset with one draw of noise, mV."""
    noise = torch.Generator().manual_seed(seed)
    return dataset.source(np.arange(len(dataset)), noise_factor, noise).numpy()


def scores(configs, results, *, n_bootstrap=1000):
    """Metrics of cells, averaged over seeds.

    configs, results : as given to and returned by `Store.get_many(..., cell, configs)`
    Returns a DataFrame with a row for each convention, noise factor, method, parameter and metric:
    value (mean over the seeds), low, high (the hull of the seeds' 95 % bootstrap intervals over
    test simulations, so it covers both sources of chance), n (test simulations), n_seeds, snr_db.
    """
    frames = []
    for config, result in zip(configs, results, strict=True):
        truth = test_set(config["convention"], config["n_test"]).theta
        frame = metrics.score(
            truth,
            result.arrays["estimates"],
            PARAMETER_NAMES,
            scale=Prior().std,
            n_bootstrap=n_bootstrap,
        )
        keys = {key: config[key] for key in ("convention", "noise_factor", "method", "seed")}
        frames.append(frame.assign(**keys, snr_db=result.values["snr_db"]))
    by = ["convention", "noise_factor", "method", "parameter", "metric", "n", "snr_db"]
    grouped = pd.concat(frames).groupby(by, sort=False)
    return grouped.agg(
        value=("value", "mean"),
        low=("low", "min"),
        high=("high", "max"),
        n_seeds=("seed", "nunique"),
    ).reset_index()
