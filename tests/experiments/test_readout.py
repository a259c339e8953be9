"""Networks that are read out early: what they see, and against known networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from experiments import readout
from experiments.readout import LSTM, Config
from jrlib.sensors.datasets import make_dataset


def test_read_out_sees_nothing_after_its_time():
    sizes = {"n_simulations": 60, "n_test": 40, "training": replace(LSTM.training, epochs=1)}
    early, late = (readout.run(Config("RELEASED", until, 1, **sizes)) for until in (0.2, 1.0))
    assert early.tables["gradient"].time.iloc[[0, -1]].tolist() == pytest.approx([-0.2, 0.2])
    assert late.tables["gradient"].time.iloc[-1] == pytest.approx(1.0)
    # An untrained LSTM forgets: the input at 0.2 s reaches the end of the epoch very little.
    before = late.tables["gradient"].set_index("time").before
    assert 0.0 < before.iloc[100] < 1e-6 * before.iloc[-1]
    scores = early.tables["scores"].set_index(["parameter", "metric"]).value
    assert np.isfinite(scores["C a_4", "rmse"])


def test_input_gradient_of_a_linear_network():
    """Outputs w_k . x: the derivatives are the weights, and dropout is off."""
    data = make_dataset(5, 0, sampling_rate=125.0)
    weights = torch.randn(3, data.n_channels, data.n_times, generator=torch.Generator())

    class Linear(torch.nn.Module):
        def forward(self, x):
            x = torch.nn.functional.dropout(x, 0.5, self.training)
            return torch.einsum("kct,bct->bk", weights.double(), x)

    found = readout.input_gradient(Linear(), data, data.input_scale)
    expected = weights.double().square().mean(dim=(0, 1)).sqrt()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_shorter_recording_keeps_its_part_of_signal_and_noise():
    data = make_dataset(2, 0, sampling_rate=125.0)
    part = readout._cut(data, 0.3)
    assert part.times[-1] == pytest.approx(0.296)
    np.testing.assert_array_equal(part.erp, data.erp[:, : part.n_times])
    noise = [
        d.source(np.zeros(4000, int), 1e6, torch.Generator().manual_seed(0)).numpy()
        for d in (part, data)
    ]
    spread, whole = (np.std(values, axis=0)[: part.n_times] for values in noise)
    np.testing.assert_allclose(spread, whole, rtol=0.15)


@pytest.mark.parametrize("tier", readout.SIZES)
def test_the_published_readout_is_the_last_one(tier):
    assert max(config.until for config in readout.grid(tier, 0)) == 1.0
