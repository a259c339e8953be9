"""The one place that trains through `sbi`, builds its estimators and knows its private members.

sbi trains on a fixed set of simulations that it splits at random, with one learning rate. Here
training sees new noise in every batch, validation sees other simulations, and the learning rate may
change from epoch to epoch.
"""

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import torch
import zuko
from sbi.inference import FMPE, NPE
from sbi.neural_nets.estimators import FlowMatchingEstimator, ZukoFlow
from sbi.neural_nets.net_builders.vector_field_nets import VectorFieldMLP
from sbi.samplers.ode_solvers.zuko_ode import ZukoNeuralODE
from torch.utils.data import DataLoader, TensorDataset


@contextlib.contextmanager
def isolated(seed):
    """Run with torch seeded, on one thread, without sbi's prints and warnings; undo all of it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with (
        torch.random.fork_rng(devices=[]),
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.filterwarnings("ignore", category=UserWarning, module="sbi")
        warnings.filterwarnings("ignore", "Maximum number of epochs", UserWarning)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def normal_flow(embedding, sizes, *, width, n_affine, n_splines, n_bins):
    """A normalising flow on an embedding: affine transforms, then splines (sbi's `ZukoFlow`).

    sizes : number of parameters, of inputs of the embedding, and of its outputs
    width : of the two hidden layers in each transform; n_affine, n_splines : of each kind;
        n_bins : of the splines
    """
    n_parameters, n_inputs, n_context = sizes
    options = {"hidden_features": [width] * 2}
    affine = zuko.flows.MAF(n_parameters, n_context, transforms=n_affine, **options)
    spline = zuko.flows.NSF(n_parameters, n_context, transforms=n_splines, bins=n_bins, **options)
    transforms = [*affine.transform.transforms, *spline.transform.transforms]
    flow = zuko.lazy.Flow(transforms, spline.base)
    return ZukoFlow(flow, embedding, torch.Size([n_parameters]), torch.Size([n_inputs]))


def vector_field(embedding, sizes, *, width, n_layers, n_time_features):
    """A vector field that carries noise into samples (sbi's `FlowMatchingEstimator`).

    sizes : as of `normal_flow`; width, n_layers : of its network; n_time_features : of the time
    """
    n_parameters, n_inputs, n_context = sizes
    field = VectorFieldMLP(
        n_parameters,
        n_context,
        time_emb_type="sinusoidal",
        time_emb_dim=n_time_features,
        hidden_features=width,
        num_layers=n_layers,
    )
    return FlowMatchingEstimator(
        field, torch.Size([n_parameters]), torch.Size([n_inputs]), embedding
    )


def given(network, x):
    """The distribution that a network has over parameters, given inputs x (n, m)."""
    if isinstance(network, FlowMatchingEstimator):
        ends = network.t_min, network.t_max
        base = network.mean_base, network.std_base
        ode = ZukoNeuralODE(network.ode_fn, network, *base, network.condition_shape, *ends)
        return ode.get_distribution(x)
    return network.net(network.embedding_net(x))


def train(
    build, simulations, held_out, *, batch_size, patience, stages, matching=False, prior=None
):
    """Train a network of sbi's; it keeps the weights of the lowest validation loss.

    build : function without arguments that makes the network: a `normal_flow`, trained by maximum
        likelihood (NPE), or with `matching` a `vector_field`, trained by flow matching (FMPE)
    simulations : `Simulations`; held_out : parameters (n, k) and what is observed under them (n, m)
    patience : number of epochs without a lower validation loss after which a stage ends
    stages : pairs (number of epochs in all at its end, function from the epoch, counted from 0, to
        the learning rate). Each begins from the best weights of the one before.
    prior : torch distribution of which sbi draws samples before `build` is called, only to check
        it. Training has no need of a prior; giving one repeats the random numbers of earlier
        trainings.

    Returns the network and a DataFrame, a row an epoch: epoch from 1, train_loss, validation_loss.
    All random numbers are from torch's global generator: see `isolated`.
    """
    kind = _FlowMatching if matching else _MaximumLikelihood
    trainer = kind(prior, lambda theta, x: build(), tracker=_NoTracker(), show_progress_bars=False)
    trainer.shown = simulations
    trainer.held_out = TensorDataset(*held_out, torch.ones(len(held_out[0]), 1))
    trainer.append_simulations(simulations.parameters, simulations.example)
    for number, (n_epochs, rate) in enumerate(stages):
        trainer.rate = rate
        trainer._epochs_since_last_improvement = 0
        network = trainer.train(
            training_batch_size=batch_size,
            stop_after_epochs=patience,
            max_num_epochs=n_epochs - 1,  # sbi counts from 0
            resume_training=number > 0,
        )
    losses = {name: trainer.summary[f"{name}_loss"] for name in ("training", "validation")}
    history = {
        "epoch": np.arange(1, len(losses["training"]) + 1),
        "train_loss": losses["training"],
        "validation_loss": losses["validation"],
    }
    return network, pd.DataFrame(history)


class Simulations(torch.utils.data.Dataset):
    """Parameters and a function that observes them.

    parameters : (n, k), float32 torch; observe : rows (b,) -> what is observed there (b, m)
    example : (n, m), what was observed once: sbi looks at its shape
    """

    def __init__(self, parameters, observe, example):
        self.parameters, self.observe, self.example = parameters, observe, example

    def __len__(self):
        return len(self.parameters)

    def __getitems__(self, rows):
        # sbi's third item says which parameters were drawn from the prior: all of them.
        return self.parameters[rows], self.observe(rows), torch.ones(len(rows), 1)


class _Split:
    """In a trainer of sbi's: our own split, and a learning rate that is set for every epoch."""

    def get_dataloaders(self, starting_round=0, training_batch_size=200, *args, **kwargs):
        n = len(self.shown)
        self.train_indices = torch.arange(n)  # sbi builds the network from these rows
        self.val_indices = torch.arange(n, n + len(self.held_out))
        return (
            DataLoader(
                self.shown,
                batch_size=min(training_batch_size, n),
                shuffle=True,
                drop_last=True,
                collate_fn=lambda batch: batch,
            ),
            DataLoader(self.held_out, batch_size=len(self.held_out)),
        )

    def _train_epoch(self, *arguments):
        self.optimizer.param_groups[0]["lr"] = self.rate(self.epoch)
        return super()._train_epoch(*arguments)


class _MaximumLikelihood(_Split, NPE):
    """sbi's NPE."""


class _FlowMatching(_Split, FMPE):
    """sbi's FMPE."""


class _NoTracker:
    """sbi writes TensorBoard logs unless it is given something else to report to."""

    log_dir = None

    def ignore(self, *args, **kwargs):
        pass

    log_metric = log_metrics = log_params = add_figure = flush = ignore
