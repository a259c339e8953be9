"""The longer computations of the chapter that explains the comparison; each gives a `Result`.

What can be computed while the chapter runs is not here.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from experiments.compared_methods import METHODS, VALIDATION, estimate, test_set, training_set
from experiments.results import Result
from jrlib.diagnostics import scoring
from jrlib.neural.architectures import build_regressor
from jrlib.neural.training import TrainingSettings, fit
from jrlib.parameters import (
    QUANTITY_NAMES,
    quantities,
)
from jrlib.priors import Prior

# Combinations whose likelihood is profiled, from the typical value over this factor to the typical
# value times it.
PROFILED = {"A_e": 3.0, "b_i": 1.3, "C a_1": 4.0, "C a_4": 1.6}
READ_AT = (0.1, 0.2, 0.3, 0.4, 0.6, 1.0)
GRADIENT_ROWS = 8  # test simulations over which gradients are averaged


@dataclass(frozen=True)
class Size:
    """How large the computations are at a tier.

    n_draws : of the prior, for `local`
    n_sobol : n of `global_sensitivity`
    profiled, n_values : names of `PROFILED`, and values of each
    n_simulations, n_test, epochs, n_seeds, read_at : of the networks of `read_out`
    """

    n_draws: int
    n_sobol: int
    profiled: tuple
    n_values: int
    n_simulations: int
    n_test: int
    epochs: int
    n_seeds: int
    read_at: tuple


SIZES = {
    "smoke": Size(4, 8, ("C a_1",), 3, 50, 40, 1, 1, (0.2, 1.0)),
    "fast": Size(100, 1024, tuple(PROFILED), 13, 400, 500, 12, 2, READ_AT),
    "paper": Size(500, 8192, tuple(PROFILED), 21, 1000, 2000, 50, 2, READ_AT),
}


def read_out(convention, until, noise_factor, seed, n_simulations, n_test, epochs):
    """Train the vanilla LSTM on data that end at `until` seconds, where it is read out.

    The other arguments are those of `compared_methods.cell`. Returns the tables
    scores : see `scoring.score`
    gradient : time (s), before and after training: root mean square of the derivatives of the
        outputs by the input at that time, over outputs, channels and test simulations
    """
    made = METHODS["VanillaLSTM"]
    whole = training_set(convention, n_simulations, seed, "standard")
    parts = whole.split(np.random.default_rng([seed, VALIDATION]))
    train, validation, _ = (_cut(part, until) for part in parts)
    test = _cut(test_set(convention, n_test, "standard"), until)
    sizes = test.n_channels, test.n_times, test.theta.shape[1]
    network = build_regressor(made.kind, sizes, seed=seed, **made.options)
    gradient = {"time": test.times, "before": input_gradient(network, test, train.input_scale)}
    fit(
        network,
        train,
        validation,
        noise_factor=noise_factor,
        seed=seed,
        settings=TrainingSettings(
            epochs=epochs, learning_rate=made.learning_rate, patience=made.patience
        ),
        progress=False,
    )
    gradient["after"] = input_gradient(network, test, train.input_scale)
    truth, estimates = quantities(test.theta), estimate(network, test, noise_factor)
    scores = scoring.score(truth, estimates, QUANTITY_NAMES, scale=Prior().quantity_std)
    return Result({"scores": scores.round(6), "gradient": pd.DataFrame(gradient)})


def input_gradient(network, dataset, input_scale):
    """Root mean square (n_times,) of the derivatives of a network's outputs by its scaled input.

    Over outputs, channels and the dataset's first simulations, without noise and without dropout;
    in float64, because gradients through hundreds of steps are too small for float32.
    input_scale : what sensor data are divided by, as in training
    """
    network = copy.deepcopy(network).double().eval()
    rows = np.arange(min(GRADIENT_ROWS, len(dataset)))
    x = dataset.sensors(rows, 0.0, torch.Generator()).double() / input_scale
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
