"""One fit loop for all networks, and predictions in physical units.

A run is determined by its arguments: the random numbers of an epoch (order of the rows, noise,
dropout) follow from `seed` and the epoch's number alone. No generator is carried from one epoch to
the next, so a run that was killed goes on from its last checkpoint to the same weights, bit for bit
(on the CPU; on a GPU up to rounding). torch's global generators and threads are left as they were.
"""

import hashlib
import json
import math
import os
import pickle
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F
from tqdm import tqdm

from jrlib.sensors.datasets import TargetScaler

OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
RANDOM_STREAMS = ("order", "noise", "dropout", "validation", "prediction")


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained: all numbers that change the result, but for noise and seed.

    epochs : passes over the training set, at most
    batch_size : rows in a step; evaluation_batch_size : rows at once when the validation set is
        evaluated, which changes the noise that is drawn
    learning_rate, optimizer, weight_decay : of "adam" or "adamw"
    patience : stop after this many epochs without a new lowest validation loss (None: never)
    frozen_noise : draw the sensor noise once for each simulation, as in the public code, instead of
        anew for every batch
    Raises ValueError for a number out of its bounds.
    """

    epochs: int = 50
    batch_size: int = 32
    learning_rate: float = 1e-3
    optimizer: str = "adam"
    weight_decay: float = 0.0
    patience: int | None = None
    frozen_noise: bool = False
    evaluation_batch_size: int = 256

    def __post_init__(self):
        for name in ("epochs", "batch_size", "evaluation_batch_size"):
            _check_whole(name, getattr(self, name))
        if self.patience is not None:
            _check_whole("patience", self.patience)
        if not (np.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(
                f"learning_rate: got {self.learning_rate!r}, expected a finite number above 0"
            )
        _check_not_negative("weight_decay", self.weight_decay)
        if self.optimizer not in OPTIMIZERS:
            allowed = ", ".join(OPTIMIZERS)
            raise ValueError(f"optimizer: got {self.optimizer!r}, expected one of {allowed}")


def fit(
    network,
    train,
    validation,
    *,
    noise_factor,
    seed,
    settings=None,
    checkpoint=None,
    progress=True,
    threads=1,
):
    """Train a network in place by the mean squared error of the scaled parameters.

    train, validation : `jrlib.sensors.datasets.Dataset`; the network keeps the limits that scale
        the targets
    noise_factor : multiplies the covariance of the sensor noise; the noise of the validation set is
        the same in all epochs
    seed : of the order of the rows, of the noise and of the dropout
    settings : `TrainingSettings`, the default ones if None
    checkpoint : path of a file that holds the run after its last whole epoch; a run that finds it
        goes on from there, a finished run too when it is given more epochs
    threads : torch's, during this call

    The weights with the lowest validation loss are restored at the end. Returns the history, a
    DataFrame of epoch (from 1), train_loss (in passing, with dropout), validation_loss and seconds.

    Raises ValueError for arguments that make no sense and for a checkpoint of another run, and
    FloatingPointError, naming epoch and learning rate, when the loss ceases to be finite.
    """
    settings = TrainingSettings() if settings is None else settings
    _check_not_negative("noise_factor", noise_factor)
    _check_whole("threads", threads)
    run = asdict(settings) | {"noise_factor": noise_factor, "seed": seed}
    epochs, patience = run.pop("epochs"), settings.patience  # a run may be prolonged
    for name, dataset in [("train", train), ("validation", validation)]:
        _check_dataset(name, dataset, network)
        arrays = [getattr(dataset, part) for part in ("theta", "erp", "gain", "covariance")]
        run[name] = _digest(*arrays)
    run["network"] = network.config
    run["initial weights"] = _digest(*(p.detach().cpu().numpy() for p in network.parameters()))

    scaler = TargetScaler.fit(train.theta)
    network.input_scale.fill_(train.input_scale)
    network.target_low.copy_(torch.from_numpy(scaler.low))
    network.target_high.copy_(torch.from_numpy(scaler.high))
    device = _device()
    network.to(device)
    train_targets = torch.tensor(scaler.transform(train.theta), dtype=torch.float32, device=device)
    validation_targets = torch.tensor(scaler.transform(validation.theta), dtype=torch.float32)
    if settings.frozen_noise:
        frozen = train.sensors(np.arange(len(train)), noise_factor, _generator(seed, "noise"))

    descent = OPTIMIZERS[settings.optimizer](
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    history, best = [], None
    if checkpoint is not None and Path(checkpoint).exists():
        saved = _read_checkpoint(Path(checkpoint), run, epochs)
        network.load_state_dict(saved["network"])
        descent.load_state_dict(saved["optimizer"])
        history, best = saved["history"], saved["best"]

    n_batches = math.ceil(len(train) / settings.batch_size)
    bar = tqdm(
        desc=network.config["name"],
        total=epochs * n_batches,
        initial=len(history) * n_batches,
        unit="batch",
        disable=not progress,
    )
    with bar, _torch_threads(threads), _forked_randomness():
        while len(history) < epochs and not _out_of_patience(history, patience):
            started = time.perf_counter()
            epoch = len(history) + 1
            order = torch.randperm(len(train), generator=_generator(seed, "order", epoch))
            noise = _generator(seed, "noise", epoch)
            torch.manual_seed(_stream(seed, "dropout", epoch))
            network.train()
            train_loss = 0.0
            for rows in order.split(settings.batch_size):
                if settings.frozen_noise:
                    x = frozen[rows]  # (batch, n_channels, n_times)
                else:
                    x = train.sensors(rows.numpy(), noise_factor, noise)
                loss = F.mse_loss(network(x.to(device) / network.input_scale), train_targets[rows])
                descent.zero_grad()
                loss.backward()
                descent.step()
                train_loss += loss.item() * len(rows) / len(train)
                bar.update()
            noise, rows = _generator(seed, "validation"), settings.evaluation_batch_size
            outputs = _outputs(network, validation, noise_factor, generator=noise, batch_size=rows)
            validation_loss = F.mse_loss(outputs, validation_targets).item()
            if not math.isfinite(train_loss + validation_loss):
                raise FloatingPointError(
                    f"the loss is not finite in epoch {epoch} at learning rate "
                    f"{settings.learning_rate}; "
                    "a smaller learning rate may help"
                )
            if best is None or validation_loss < min(row[2] for row in history):
                best = {name: value.clone() for name, value in network.state_dict().items()}
            history.append([epoch, train_loss, validation_loss, time.perf_counter() - started])
            bar.set_postfix(train=f"{train_loss:.4f}", validation=f"{validation_loss:.4f}")
            if checkpoint is not None:
                state = {
                    "run": _as_json(run),
                    "history": history,
                    "best": best,
                    "network": network.state_dict(),
                    "optimizer": descent.state_dict(),
                }
                _write_checkpoint(Path(checkpoint), state)

    network.load_state_dict(best)
    network.to("cpu").eval()
    return pd.DataFrame(history, columns=["epoch", "train_loss", "validation_loss", "seconds"])


def predict(network, dataset, *, noise_factor, seed, batch_size=256, threads=1):
    """Estimates of theta, (n, 9) in physical units, from sensors with noise drawn from `seed`.

    dataset : a `jrlib.sensors.datasets.Dataset` of n simulations
    noise_factor : multiplies the covariance of the sensor noise
    batch_size : rows at once; the noise that is drawn depends on it
    Raises ValueError for a dataset of other sizes than the network was made for.
    """
    _check_not_negative("noise_factor", noise_factor)
    for name, value in (("batch_size", batch_size), ("threads", threads)):
        _check_whole(name, value)
    _check_dataset("dataset", dataset, network)
    with _torch_threads(threads):
        noise = _generator(seed, "prediction")
        scaled = _outputs(
            network.to(_device()), dataset, noise_factor, generator=noise, batch_size=batch_size
        )
    network.to("cpu")
    low, high = network.target_low.numpy(), network.target_high.numpy()
    return TargetScaler(low, high).inverse(scaled.double().numpy())


@torch.no_grad()
def _outputs(network, dataset, noise_factor, *, generator, batch_size):
    """Scaled parameters (n, n_outputs) of the whole dataset, on the CPU, without dropout."""
    network.eval()
    device = next(network.parameters()).device
    batches = np.split(np.arange(len(dataset)), range(batch_size, len(dataset), batch_size))
    sensors = (dataset.sensors(rows, noise_factor, generator) for rows in batches)
    return torch.cat([network(x.to(device) / network.input_scale).cpu() for x in sensors])


def _out_of_patience(history, patience):
    if patience is None or not history:
        return False
    losses = [row[2] for row in history]
    return len(losses) - 1 - losses.index(min(losses)) >= patience


def _stream(seed, purpose, epoch=0):
    """The seed of one purpose in one epoch: independent of all others, whatever came before."""
    key = (RANDOM_STREAMS.index(purpose), epoch)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1)[0])


def _generator(seed, purpose, epoch=0):
    return torch.Generator().manual_seed(_stream(seed, purpose, epoch))


def _device():
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _forked_randomness():
    """Dropout can draw from torch's global generators only; put them back afterwards."""
    return torch.random.fork_rng(devices=range(torch.cuda.device_count()))


@contextmanager
def _torch_threads(threads):
    """Limit torch's threads, and let it round numbers below 1e-38 to zero.

    Gradients that vanish over hundreds of steps end there, and without rounding an epoch of an LSTM
    read out at its last step takes up to ten times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)
        torch.set_num_threads(before)


def _write_checkpoint(path, state):
    """Replace the checkpoint in one step: whoever is killed meanwhile leaves the old one whole."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _read_checkpoint(path, run, epochs):
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        theirs, history = json.loads(saved["run"]), saved["history"]
    except (RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise ValueError(f"checkpoint: {path} cannot be read; delete it to start anew") from error
    ours = json.loads(_as_json(run))
    different = [name for name in ours if theirs.get(name) != ours[name]]
    if len(history) > epochs:
        different.append("epochs")
    if different:
        raise ValueError(
            f"checkpoint: {path} belongs to another run, which differs in {', '.join(different)}; "
            "delete it to start anew"
        )
    return saved


def _as_json(run):
    return json.dumps(run, default=lambda number: number.item())


def _digest(*arrays):
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def _check_dataset(argument, dataset, network):
    if len(dataset) == 0:
        raise ValueError(f"{argument}: got an empty dataset, expected at least one simulation")
    got = len(dataset.gain), len(dataset.times), dataset.theta.shape[1]
    expected = tuple(network.config[size] for size in ("n_channels", "n_times", "n_outputs"))
    if got != expected:
        raise ValueError(
            f"{argument}: got {got} channels, samples and parameters, "
            f"but the network was made for {expected}"
        )


def _check_whole(argument, value):
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{argument}: got {value!r}, expected a whole number from 1")


def _check_not_negative(argument, value):
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{argument}: got {value!r}, expected a finite number from 0")
