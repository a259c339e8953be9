"""Neural networks that read the parameters off an evoked response.

Every regressor maps scaled sensor data (batch, n_channels, n_times) to scaled parameters (batch,
n_outputs). In the shape comments B is the batch, C the channels, T the samples, L the tokens, F the
features of a token, D the width of the transformer and H the hidden units of an LSTM. A regressor
keeps the arguments it was made with in `.config`: these and its weights are all there is to store.
The options of an architecture are whole numbers, numbers and words, so that a table of trainings
can have a column for each.

A new architecture is a class that derives from `NeuralRegressor`, and its entry in `ARCHITECTURES`.
"""

import inspect
import json
import math
import os
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F


class NeuralRegressor(nn.Module):
    """What all architectures share: configuration and scales.

    `training.fit` sets the scales and they are stored with the weights, so that a network can be
    given sensor data as they come and be asked for physical units:
        input_scale (): what the sensor data are divided by
        target_low, target_high (n_outputs,): the parameters that outputs 0 and 1 stand for
    Raises ValueError for sizes and options that are no whole numbers from 1, and for a dropout that
    is not from 0 to below 1.
    """

    def __init__(self, n_channels, n_times, n_outputs, *, dropout, **options):
        super().__init__()
        sizes = {"n_channels": n_channels, "n_times": n_times, "n_outputs": n_outputs}
        for name, value in (sizes | options).items():
            if not isinstance(value, str):
                _check_whole(name, value)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: got {dropout}, expected a number from 0 to below 1")
        self.config = {"name": type(self).__name__, **sizes, **options, "dropout": dropout}
        self.register_buffer("input_scale", torch.ones((), dtype=torch.float64))
        self.register_buffer("target_low", torch.zeros(n_outputs, dtype=torch.float64))
        self.register_buffer("target_high", torch.ones(n_outputs, dtype=torch.float64))


class EEGTransformer(NeuralRegressor):
    """One block of self-attention over the electrodes or over stretches of time.

    tokens: "electrodes": a token is one electrode, its features are all of its samples, as the
        public code calls the network; "time": a token is `patch` consecutive samples of all
        channels, the last one filled up with zeros.
    """

    def __init__(
        self,
        n_channels,
        n_times,
        n_outputs,
        *,
        tokens="electrodes",
        patch=10,
        d_model=256,
        n_heads=8,
        d_feedforward=1024,
        dropout=0.2,
    ):
        super().__init__(
            n_channels,
            n_times,
            n_outputs,
            tokens=tokens,
            patch=patch,
            d_model=d_model,
            n_heads=n_heads,
            d_feedforward=d_feedforward,
            dropout=dropout,
        )
        _check_choice("tokens", tokens, ("electrodes", "time"))
        _check_whole("d_model", d_model, multiple_of=math.lcm(2, n_heads))
        n_tokens, n_features = n_channels, n_times
        if tokens == "time":
            n_tokens, n_features = math.ceil(n_times / patch), n_channels * patch

        self.project = nn.Linear(n_features, d_model)
        self.gate = nn.Linear(d_model, d_model)
        self.register_buffer("positions", sinusoids(n_tokens, d_model), persistent=False)
        self.attention = nn.MultiheadAttention(d_model, n_heads, dropout=dropout, batch_first=True)
        self.norm_attention = nn.LayerNorm(d_model)
        self.feedforward = nn.Sequential(
            nn.Linear(d_model, d_feedforward),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(d_feedforward, d_model),
        )
        self.norm_feedforward = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(d_model, n_outputs)

    def tokens(self, x):
        if self.config["tokens"] == "electrodes":
            return x  # (B, C, T): a channel is a token, L = C, F = T
        patch = self.config["patch"]
        x = F.pad(x, (0, -x.shape[2] % patch))  # (B, C, L patch)
        x = x.unflatten(2, (-1, patch))  # (B, C, L, patch)
        return x.transpose(1, 2).flatten(2)  # (B, L, C, patch) -> (B, L, F = C patch)

    def forward(self, x):
        x = self.project(self.tokens(x))  # (B, L, D)
        x = x * torch.sigmoid(self.gate(x))
        x = x + self.positions  # (L, D), the same for every sample
        attended, _ = self.attention(x, x, x, need_weights=False)
        x = self.norm_attention(x + self.dropout(attended))
        x = self.norm_feedforward(x + self.dropout(self.feedforward(x)))
        return self.readout(x.mean(1))  # (B, L, D) -> (B, D) -> (B, n_outputs)


def sinusoids(n_positions, width):
    """Sines and cosines of the position (Vaswani et al. 2017), (n_positions, width)."""
    rate = 10000.0 ** -(torch.arange(0, width, 2) / width)  # (width / 2,)
    angle = torch.arange(n_positions)[:, None] * rate  # (n_positions, width / 2)
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)  # (n_positions, width)


class VanillaLSTM(NeuralRegressor):
    """LSTM layers over time, read out at the last step as published, or on the mean of all steps.

    The last step lies 700 ms after the response has died out, so with readout="last" the network
    has to carry all it saw through that time; readout="mean" spares it that.
    """

    def __init__(
        self, n_channels, n_times, n_outputs, *, readout="last", hidden=64, n_layers=2, dropout=0.2
    ):
        super().__init__(
            n_channels,
            n_times,
            n_outputs,
            readout=readout,
            hidden=hidden,
            n_layers=n_layers,
            dropout=dropout,
        )
        _check_choice("readout", readout, ("last", "mean"))
        between = dropout if n_layers > 1 else 0.0
        self.lstm = nn.LSTM(n_channels, hidden, n_layers, dropout=between, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(hidden, n_outputs)

    def forward(self, x):
        x, _ = self.lstm(x.transpose(1, 2))  # (B, C, T) -> (B, T, C) -> (B, T, H)
        x = x[:, -1] if self.config["readout"] == "last" else x.mean(1)  # (B, H)
        return self.readout(self.dropout(x))  # (B, n_outputs)


class CNNBiLSTM(NeuralRegressor):
    """Convolutions over time with pooling, in front of one bidirectional LSTM.

    The public code has the LSTM (one layer, 64 units per direction, dropout 0.1) but not the
    convolutions. Ours are a plain choice: `filters` kernels of `kernel` samples (an odd number),
    ReLU and the maximum over `pool` samples, twice, so that pool^2 samples become one step, 16 by
    default. The last state of either direction, which has seen all steps, is read out.
    """

    def __init__(
        self,
        n_channels,
        n_times,
        n_outputs,
        *,
        filters=64,
        kernel=7,
        pool=4,
        hidden=64,
        dropout=0.1,
    ):
        super().__init__(
            n_channels,
            n_times,
            n_outputs,
            filters=filters,
            kernel=kernel,
            pool=pool,
            hidden=hidden,
            dropout=dropout,
        )
        if kernel % 2 == 0:
            raise ValueError(f"kernel: got {kernel}, expected an odd number of samples")
        self.convolutions = nn.Sequential(
            nn.Conv1d(n_channels, filters, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.MaxPool1d(pool, ceil_mode=True),
            nn.Conv1d(filters, filters, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.MaxPool1d(pool, ceil_mode=True),
        )
        self.lstm = nn.LSTM(filters, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)
        self.readout = nn.Linear(2 * hidden, n_outputs)

    def forward(self, x):
        x = self.convolutions(x)  # (B, C, T) -> (B, filters, T / pool^2)
        _, (x, _) = self.lstm(x.transpose(1, 2))  # (2, B, H): the last state of each direction
        x = x.transpose(0, 1).flatten(1)  # (B, 2 H)
        return self.readout(self.dropout(x))  # (B, n_outputs)


ARCHITECTURES = {kind.__name__: kind for kind in (EEGTransformer, VanillaLSTM, CNNBiLSTM)}


def build_regressor(name, sizes, *, seed, **options):
    """A fresh network whose initial weights depend on `seed` and leave torch's generator alone.

    name : a key of `ARCHITECTURES`; options : keyword arguments of that class
    sizes : (n_channels, n_times, n_outputs), as of the data it will be trained on
    Raises ValueError for any other name or option.
    """
    _check_choice("name", name, tuple(ARCHITECTURES))
    allowed = tuple(inspect.signature(ARCHITECTURES[name]).parameters)[3:]
    for option in options:
        _check_choice(f"{name} option", option, allowed)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return ARCHITECTURES[name](*sizes, **options)


def save(network, path):
    """Configuration and weights to one safetensors file, which appears whole or not at all."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, temporary, metadata={"config": json.dumps(network.config)})
    os.replace(temporary, path)


def load(path):
    """The network that `save` wrote, ready to predict (in evaluation mode, on the CPU)."""
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    sizes = [config.pop(size) for size in ("n_channels", "n_times", "n_outputs")]
    network = build_regressor(config.pop("name"), sizes, seed=0, **config)
    network.load_state_dict(load_file(path))
    return network.eval()


def _check_choice(argument, value, allowed):
    if value not in allowed:
        raise ValueError(f"{argument}: got {value!r}, expected one of {', '.join(allowed)}")


def _check_whole(argument, value, multiple_of=1):
    if not isinstance(value, int | np.integer) or value < 1 or value % multiple_of:
        of = f" and a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(f"{argument}: got {value!r}, expected a whole number from 1{of}")
