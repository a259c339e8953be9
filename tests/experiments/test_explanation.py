"""The explanation's computations against the functions they rest on, and against known networks."""

import numpy as np
import pytest
import torch

from experiments import explanation
from jrlib.diagnostics import sensitivity
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, PARAMETER_NAMES, TYPICAL
from jrlib.sensors.datasets import make_dataset


def test_local_starts_with_the_typical_parameters():
    tables = explanation.local("CLASSIC", 2, seed=0).tables
    assert sorted(tables["sensitivity"].draw.unique()) == [-1, 0, 1]
    values = tables["sensitivity"].query("draw == -1").set_index("parameter").value
    expected = sensitivity.relative_sensitivity().set_index("parameter").sensitivity
    np.testing.assert_allclose(values[list(PARAMETER_NAMES)], expected, rtol=1e-6)
    errors = tables["errors"].query("draw == -1").sort_values("rank").value
    information = Likelihood.of(make_dataset(1, 0), 1.0).fisher_information(TYPICAL)[:8, :8]
    eigenvalues = np.linalg.eigvalsh(information)[::-1]
    np.testing.assert_allclose(errors, eigenvalues**-0.5, rtol=1e-3)
    # One number per draw of the prior: no two alike.
    assert tables["errors"].query("rank == 1").value.is_unique


def test_profiles_are_flat_for_released_products_and_not_for_classic_ones():
    tables = {
        name: explanation.profile(name, "C a_4", 1.6, 3, 1e4, seed=0).tables["profile"]
        for name in ("RELEASED", "CLASSIC")
    }
    for table in tables.values():
        np.testing.assert_allclose(table["C a_4"], [1 / 1.6, 1.0, 1.6])
        assert table.deviance[1] == pytest.approx(0.0, abs=1e-6)
        np.testing.assert_allclose(table.loc[1, list(IDENTIFIABLE_NAMES)].astype(float), 1.0, 1e-6)
    assert tables["RELEASED"].deviance.max() < 0.1
    assert tables["CLASSIC"].deviance[[0, 2]].min() > 10.0


def test_read_out_sees_nothing_after_its_time():
    config = {"noise_factor": 1.0, "seed": 1, "n_simulations": 60, "n_test": 40, "epochs": 1}
    early, late = (explanation.read_out("RELEASED", until, **config) for until in (0.2, 1.0))
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

    found = explanation.input_gradient(Linear(), data, data.input_scale)
    expected = weights.double().square().mean(dim=(0, 1)).sqrt()
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_shorter_recording_keeps_its_part_of_signal_and_noise():
    data = make_dataset(2, 0, sampling_rate=125.0)
    part = explanation._cut(data, 0.3)
    assert part.times[-1] == pytest.approx(0.296)
    np.testing.assert_array_equal(part.erp, data.erp[:, : part.n_times])
    noise = [
        d.source(np.zeros(4000, int), 1e6, torch.Generator().manual_seed(0)).numpy()
        for d in (part, data)
    ]
    spread, whole = (np.std(values, axis=0)[: part.n_times] for values in noise)
    np.testing.assert_allclose(spread, whole, rtol=0.15)


def test_every_tier_has_its_sizes():
    assert explanation.SIZES.keys() == {"smoke", "fast", "paper"}
    for size in explanation.SIZES.values():
        assert set(size.profiled) <= set(explanation.PROFILED)
        assert size.read_at[-1] == 1.0  # the published readout
        assert size.n_values % 2 == 1  # so that the typical value is among them
