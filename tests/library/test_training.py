"""The fit loop: what a run depends on, what it leaves behind, and that it learns."""

import os
from dataclasses import fields

import numpy as np
import pytest
import torch

from jrlib.neural import training
from jrlib.neural.architectures import build_regressor
from jrlib.sensors.datasets import Dataset, TargetScaler

SMALL = {
    "EEGTransformer": {"d_model": 32, "n_heads": 2, "d_feedforward": 64, "patch": 5},
    "VanillaLSTM": {"hidden": 24},
    "CNNBiLSTM": {"filters": 16, "hidden": 16},
}
TRAINING = {"noise_factor": 1.0, "epochs": 4, "seed": 5, "batch_size": 8, "progress": False}


def responses(n, seed=0, kind=Dataset):
    """Toy data: nine parameters, each the height of its own bump in a response of 24 samples."""
    theta = np.random.default_rng(seed).uniform(1.0, 3.0, (n, 9))
    samples = np.arange(24)
    bumps = np.exp(-((samples - np.linspace(2, 20, 9)[:, None]) ** 2) / 4)
    return kind(
        theta=theta,
        erp=(theta @ bumps).astype(np.float32),
        times=samples / 250,
        gain=np.array([3e-7, -1e-7, -2e-7]),
        covariance=np.eye(24) / 60,
    )


def small(name="VanillaLSTM", seed=0, **options):
    return build_regressor(name, (3, 24, 9), seed=seed, **SMALL[name], **options)


def fit(network, train=None, validation=None, **options):
    """Train with the options of `TRAINING`, changed by those given."""
    train = responses(30) if train is None else train
    validation = responses(12, seed=1) if validation is None else validation
    options = TRAINING | options
    names = {field.name for field in fields(training.TrainingSettings)} & options.keys()
    settings = training.TrainingSettings(**{name: options.pop(name) for name in names})
    return training.fit(network, train, validation, settings=settings, **options)


def weights(network):
    return torch.cat([value.flatten() for value in network.state_dict().values()])


def numbers(history):
    return history.drop(columns="seconds")


class Watched(Dataset):
    """A dataset that remembers which rows were asked for, and can end the run as Ctrl-C would."""

    calls = ()
    interrupt_at = None

    def sensors(self, rows, noise_factor, generator):
        if len(self.calls) == self.interrupt_at:
            raise KeyboardInterrupt
        x = super().sensors(rows, noise_factor, generator)
        object.__setattr__(self, "calls", (*self.calls, (np.array(rows), x)))
        return x


@pytest.mark.parametrize(
    "name, options, epochs",
    [
        ("EEGTransformer", {"tokens": "electrodes"}, 150),
        ("EEGTransformer", {"tokens": "time"}, 150),
        ("VanillaLSTM", {"readout": "last"}, 350),
        ("VanillaLSTM", {"readout": "mean"}, 350),
        ("CNNBiLSTM", {}, 150),
    ],
)
def test_every_network_learns_eight_simulations_by_heart(name, options, epochs):
    network, data = small(name, dropout=0.0, **options), responses(8)
    settings = TRAINING | {"noise_factor": 0.0, "epochs": epochs, "learning_rate": 5e-3}
    fit(network, data, data, **settings)
    estimate = training.predict(network, data, noise_factor=0.0, seed=0)
    assert np.sqrt(np.mean((estimate - data.theta) ** 2)) < 0.2 * data.theta.std()


def test_a_run_follows_from_its_seeds():
    first, again, other_order, other_start = small(), small(), small(), small(seed=1)
    history = fit(first)
    assert numbers(fit(again)).equals(numbers(history))
    assert torch.equal(weights(first), weights(again))
    fit(other_order, seed=6)
    fit(other_start)
    assert not torch.equal(weights(first), weights(other_order))
    assert not torch.equal(weights(first), weights(other_start))


def test_predictions_follow_from_their_seed():
    network, data = small(), responses(300)
    fit(network)
    estimates = [training.predict(network, data, noise_factor=1.0, seed=s) for s in (1, 1, 2)]
    assert estimates[0].shape == (300, 9)
    np.testing.assert_array_equal(estimates[0], estimates[1])
    assert not np.array_equal(estimates[0], estimates[2])


def test_global_state_of_torch_is_left_alone():
    torch.manual_seed(17)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        network = small()
        fit(network)
        training.predict(network, responses(4), noise_factor=1.0, seed=0)
        with pytest.raises(FloatingPointError):
            fit(small(), learning_rate=1e30)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.tensor(1e-39) * 0.5 > 0, "subnormal numbers are still rounded to zero"


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
@pytest.mark.parametrize("frozen_noise", [False, True])
def test_a_killed_run_resumes_bit_for_bit(tmp_path, optimizer, frozen_noise):
    settings = {
        "optimizer": optimizer,
        "weight_decay": 0.01,
        "frozen_noise": frozen_noise,
        "checkpoint": tmp_path / "run.pt",
    }
    straight, killed, resumed = small(), small(), small()
    expected = fit(straight, **(settings | {"checkpoint": None}))

    watched = responses(12, seed=1, kind=Watched)  # the validation set: one call per epoch
    object.__setattr__(watched, "interrupt_at", 2)
    with pytest.raises(KeyboardInterrupt):
        fit(killed, responses(30), watched, **settings)
    history = fit(resumed, **settings)
    assert numbers(history).equals(numbers(expected))
    assert torch.equal(weights(resumed), weights(straight))
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_kill_while_the_checkpoint_is_written_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    fit(small(), epochs=2, checkpoint=path)
    old = path.read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(small(), epochs=4, checkpoint=path)
    assert path.read_bytes() == old
    straight, resumed = small(), small()
    fit(straight, epochs=4)
    fit(resumed, epochs=4, checkpoint=path)
    assert torch.equal(weights(resumed), weights(straight))
    assert [path.name for path in tmp_path.iterdir()] == ["run.pt"]


def test_a_finished_run_is_not_repeated_and_can_be_prolonged(tmp_path):
    path = tmp_path / "run.pt"
    straight, prolonged, loaded = small(), small(), small()
    fit(small(), epochs=2, checkpoint=path)
    expected = fit(straight, epochs=5)
    assert numbers(fit(prolonged, epochs=5, checkpoint=path)).equals(numbers(expected))
    assert torch.equal(weights(prolonged), weights(straight))

    watched = responses(30, kind=Watched)
    assert len(fit(loaded, watched, epochs=5, checkpoint=path)) == 5
    assert not watched.calls
    assert torch.equal(weights(loaded), weights(straight))


def test_early_stopping_restores_the_best_epoch():
    network, validation = small(dropout=0.0), responses(12, seed=1)
    settings = TRAINING | {"noise_factor": 0.0, "epochs": 200, "learning_rate": 0.02}
    history = fit(network, responses(8), validation, patience=3, **settings)
    best = history.validation_loss.idxmin()
    assert len(history) == best + 1 + 3 < 200
    scaler = TargetScaler.fit(responses(8).theta)
    estimate = training.predict(network, validation, noise_factor=0.0, seed=0)
    error = np.mean((scaler.transform(estimate) - scaler.transform(validation.theta)) ** 2)
    assert error == pytest.approx(history.validation_loss[best], rel=1e-5)


def test_an_epoch_sees_every_simulation_once_with_fresh_noise():
    watched = responses(30, kind=Watched)
    fit(small(), watched, epochs=2)
    assert [len(rows) for rows, _ in watched.calls] == [8, 8, 8, 6] * 2
    for calls in (watched.calls[:4], watched.calls[4:]):
        assert sorted(np.concatenate([rows for rows, _ in calls])) == list(range(30))
    (first, x), (second, y) = watched.calls[0], watched.calls[4]
    assert not np.array_equal(first, second), "the order is the same in both epochs"
    clean = responses(30).sensors(np.arange(30), 0.0, None)
    assert (x - clean[first] - y + clean[second]).abs().min() > 1e-5, "the noise is the same"


def test_frozen_noise_is_drawn_once():
    watched = responses(30, kind=Watched)
    fit(small(), watched, frozen_noise=True)
    assert len(watched.calls) == 1


def test_validation_noise_is_the_same_in_all_epochs():
    watched = responses(12, seed=1, kind=Watched)
    fit(small(), responses(30), watched)
    assert len(watched.calls) == 4
    for _, x in watched.calls:
        assert torch.equal(x, watched.calls[0][1])


def test_divergence_names_epoch_and_learning_rate():
    with pytest.raises(FloatingPointError, match=r"epoch \d+ at learning rate 1e\+30"):
        fit(small(), learning_rate=1e30)


def test_a_checkpoint_serves_its_own_run_only(tmp_path):
    path = tmp_path / "run.pt"
    fit(small(), epochs=2, checkpoint=path)
    for changed, name in [
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"seed": 6}, "seed"),
        ({"epochs": 1}, "epochs"),
        ({"train": responses(31)}, "train"),
        ({"network": small(seed=1)}, "initial weights"),
        ({"network": small(dropout=0.0)}, "network"),
    ]:
        arguments = {"network": small(), "epochs": 2} | changed
        with pytest.raises(ValueError, match=rf"belongs to another run, .* in {name};"):
            fit(checkpoint=path, **arguments)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_damaged_checkpoint_is_named(tmp_path, content):
    path = tmp_path / "run.pt"
    fit(small(), epochs=1, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-500] if content is None else content)
    with pytest.raises(ValueError, match=r"run\.pt cannot be read; delete it"):
        fit(small(), checkpoint=path)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"noise_factor": -1.0}, "noise_factor: got -1.0"),
        ({"noise_factor": np.nan}, "noise_factor: got nan"),
        ({"epochs": 0}, "epochs: got 0, expected a whole number from 1"),
        ({"batch_size": 2.5}, "batch_size: got 2.5"),
        ({"patience": 0}, "patience: got 0"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size: got 0"),
        ({"threads": 0}, "threads: got 0"),
        ({"learning_rate": 0.0}, "learning_rate: got 0.0, expected a finite number above 0"),
        ({"weight_decay": -0.1}, "weight_decay: got -0.1"),
        ({"optimizer": "sgd"}, "optimizer: got 'sgd', expected one of adam, adamw"),
        ({"train": responses(8).subset(slice(0))}, "train: got an empty dataset"),
        ({"network": build_regressor("VanillaLSTM", (4, 24, 9), seed=0)}, r"\(3, 24, 9\) channels"),
    ],
)
def test_bad_input(settings, message):
    with pytest.raises(ValueError, match=message):
        fit(**({"network": small()} | settings))


def test_progress_is_quiet_when_not_wanted(capfd):
    fit(small())
    assert capfd.readouterr() == ("", "")
    fit(small(), progress=True)
    assert "VanillaLSTM: 100%" in capfd.readouterr().err
