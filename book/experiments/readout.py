"""The vanilla LSTM on recordings that end early, where it is read out, and how far back it sees."""

import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from experiments.compared_methods import (
    METHODS,
    SCORES,
    VanillaLSTMOptions,
    estimate,
    test_set,
    training_set,
)
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import N_TEST, STUDY_NOISE, VALIDATION
from jrlib.diagnostics import scoring
from jrlib.neural.architectures import build_regressor
from jrlib.neural.training import TrainingSettings, fit
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

LSTM = METHODS["VanillaLSTM"]


@dataclass(frozen=True)
class Config:
    """One training.

    until : s, the end of all recordings
    n_gradient_rows : test simulations over which gradients are averaged
    lstm, training : of the network, as in the comparison
    The others are as in `comparison.Config`.
    """

    convention: str
    until: float
    seed: int
    noise_factor: float = STUDY_NOISE
    n_simulations: int = 1000
    n_test: int = 2000
    train_part: float = 0.8
    validation_part: float = 0.1
    n_bootstrap: int = 1000
    n_gradient_rows: int = 8
    lstm: VanillaLSTMOptions = LSTM.options
    training: TrainingSettings = LSTM.training


def run(config):
    """Train the network.

    Returns a `Result` with the tables
    scores : see `scoring.score`
    gradient : time (s), before and after training: see `input_gradient`
    """
    whole = training_set(
        config.convention, config.n_simulations, seed=config.seed, variant="standard"
    )
    parts = config.train_part, config.validation_part
    parts = whole.split(
        np.random.default_rng([config.seed, VALIDATION]), (*parts, 1.0 - sum(parts))
    )
    train, validation, _ = (_cut(part, config.until) for part in parts)
    test = _cut(test_set(config.convention, config.n_test, "standard"), config.until)
    sizes = test.n_channels, test.n_times, test.theta.shape[1]
    network = build_regressor(LSTM.kind, sizes, seed=config.seed, **vars(config.lstm))

    def gradient():
        return input_gradient(network, test.subset(rows), train.input_scale)

    rows = np.arange(min(config.n_gradient_rows, len(test)))
    before = gradient()
    fit(
        network,
        train,
        validation,
        noise_factor=config.noise_factor,
        seed=config.seed,
        settings=config.training,
        progress=False,
    )
    estimates = estimate(
        network, test, config.noise_factor, batch_size=config.training.evaluation_batch_size
    )
    scores = scoring.score(
        quantities(test.theta),
        estimates,
        QUANTITY_NAMES,
        scale=Prior().quantity_std,
        n_bootstrap=config.n_bootstrap,
    )
    gradients = pd.DataFrame({"time": test.times, "before": before, "after": gradient()})
    return Result({"scores": scores.round(6), "gradient": gradients})


def input_gradient(network, dataset, input_scale):
    """Root mean square (n_times,) of the derivatives of a network's outputs by its scaled input.

    Over outputs, channels and the dataset's simulations, without noise and without dropout; in
    float64, because gradients through hundreds of steps are too small for float32.
    input_scale : what sensor data are divided by, as in training
    """
    network = copy.deepcopy(network).double().eval()
    x = dataset.sensors(np.arange(len(dataset)), 0.0, torch.Generator()).double() / input_scale
    x.requires_grad_()
    outputs = network(x)  # (rows, n_outputs)
    squares = torch.zeros(x.shape[2], dtype=torch.float64)
    for k in range(outputs.shape[1]):
        (slope,) = torch.autograd.grad(outputs[:, k].sum(), x, retain_graph=True)
        squares += slope.square().mean(dim=(0, 1)) / outputs.shape[1]
    return squares.sqrt().numpy()


def _cut(dataset, until):
    """The same experiments, recorded up to a time in s."""
    k = int(np.sum(dataset.times <= until + 1e-9))
    return replace(
        dataset,
        erp=dataset.erp[:, :k],
        times=dataset.times[:k],
        covariance=dataset.covariance[:k, :k],
    )


_READ_AT = (0.1, 0.2, 0.3, 0.4, 0.6, 1.0)
# n_simulations, n_test, epochs : of a training; n_seeds : trainings; read_at : s
SIZES = {
    "smoke": {
        "n_simulations": 50,
        "n_test": N_TEST["smoke"],
        "epochs": 1,
        "n_seeds": 1,
        "read_at": (0.2, 1.0),
    },
    "fast": {
        "n_simulations": 400,
        "n_test": N_TEST["fast"],
        "epochs": 12,
        "n_seeds": 1,
        "read_at": _READ_AT,
    },
    "paper": {
        "n_simulations": 1000,
        "n_test": N_TEST["paper"],
        "epochs": 50,
        "n_seeds": 2,
        "read_at": _READ_AT,
    },
}


def grid(tier, seed):
    """Under RELEASED, where the response shows most: all times for the first seed, then others."""
    check_tier(tier)
    size = SIZES[tier]
    return [
        Config(
            "RELEASED",
            until,
            seed + repeat,
            n_simulations=size["n_simulations"],
            n_test=size["n_test"],
            training=replace(LSTM.training, epochs=size["epochs"]),
        )
        for repeat in range(size["n_seeds"])
        for until in size["read_at"]
    ]


def scores(found):
    """Metrics averaged over the seeds; a correlation that is not defined counts as 0.

    found : `runs.Found` of this experiment
    Returns a DataFrame with a row for each parameter, time and metric: parameter, until (s),
    metric, value (mean over the seeds), low and high (the hull of the seeds' intervals).
    """
    frame = found.table("scores").fillna(dict.fromkeys(("value", "low", "high"), 0.0))
    grouped = frame.groupby(["parameter", "until", "metric"], sort=False)
    return grouped.agg(
        value=("value", "mean"), low=("low", "min"), high=("high", "max")
    ).reset_index()


def curves(found, dataset, parameters, *, early=0.3):
    """Accuracy over the time of the readout, sizes of the responses, and gradients, as one table.

    found : `runs.Found` of this experiment; dataset : whose responses are looked at
    parameters : names of those whose accuracy is wanted
    early : s; the gradient of the readout nearest to it is shown beside that of the last one
    Returns a DataFrame: panel, series, "time (s)", value, low and high. Panels are "size of the
    response" (median absolute size, relative to the largest), "accuracy" (Pearson's correlation, a
    series for each parameter), and "gradient" (see `input_gradient`, of the first seed's trainings,
    relative to the largest).
    """
    size = np.median(np.abs(dataset.erp), axis=0)
    panels = {"size of the response": {"median": (dataset.times, size / size.max())}}
    accuracy = scores(found)
    accuracy = accuracy[accuracy.metric == "pearson"].set_index("parameter")
    panels["accuracy"] = {
        name: tuple(accuracy.loc[name, ["until", "value", "low", "high"]].to_numpy().T)
        for name in parameters
    }
    gradients = found.where(seed=found.runs.seed.min()).table("gradient")
    last = gradients[gradients.until == gradients.until.max()]
    early = min(gradients.until.unique(), key=lambda time: abs(time - early))
    first = gradients[gradients.until == early]
    panels["gradient"] = {
        label: (rows.time.to_numpy(), (rows[stage] / rows[stage].max()).to_numpy())
        for label, rows, stage in (
            ("before training", last, "before"),
            ("after training", last, "after"),
            (f"after training, read at {early:g} s", first, "after"),
        )
    }
    columns = ["time (s)", "value", "low", "high"]
    frames = {
        (panel, series): pd.DataFrame(dict(zip(columns, values, strict=False)), columns=columns)
        for panel, curves in panels.items()
        for series, values in curves.items()
    }
    return pd.concat(frames, names=["panel", "series"]).reset_index(["panel", "series"])


EXPERIMENT = Experiment(
    "readout",
    Config,
    run,
    grid,
    tables={
        "scores": SCORES,
        "gradient": {"time": float, "before": float, "after": float},
    },
    level="retrained",
)
