"""Networks and baselines: shapes, symmetries, and problems whose best answer is known."""

import numpy as np
import pytest
import torch

from jrlib.neural import architectures, baselines
from jrlib.neural.architectures import build_regressor

SMALL = {
    "EEGTransformer": {"d_model": 16, "n_heads": 2, "d_feedforward": 24, "patch": 5},
    "VanillaLSTM": {"hidden": 6},
    "CNNBiLSTM": {"filters": 4, "hidden": 6},
}
VARIANTS = [
    ("EEGTransformer", {"tokens": "electrodes"}),
    ("EEGTransformer", {"tokens": "time"}),
    ("VanillaLSTM", {"readout": "last"}),
    ("VanillaLSTM", {"readout": "mean"}),
    ("CNNBiLSTM", {}),
]
every_variant = pytest.mark.parametrize("name, options", VARIANTS)


def small(name, sizes, seed=0, **options):
    return build_regressor(name, sizes, seed=seed, **SMALL[name], **options)


def gaussian(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@every_variant
@pytest.mark.parametrize("n_channels, n_times, n_outputs", [(1, 1, 1), (3, 17, 9), (5, 32, 2)])
def test_odd_sizes(name, options, n_channels, n_times, n_outputs):
    network = small(name, (n_channels, n_times, n_outputs), **options)
    for batch in (1, 4):
        x = gaussian(batch, n_channels, n_times).requires_grad_()
        y = network.eval()(x)
        assert y.shape == (batch, n_outputs)
        y.sum().backward()
        used = x.grad.abs().amax(dim=(0, 2)) > 0
        assert used.all(), "an electrode has no influence"


@every_variant
def test_rows_of_a_batch_do_not_mix(name, options):
    network = small(name, (3, 17, 9), **options).eval()
    x = gaussian(4, 3, 17)
    torch.testing.assert_close(network(x)[2:3], network(x[2:3]))


def test_electrodes_are_a_set_without_positions():
    network = small("EEGTransformer", (7, 20, 3)).eval()
    x, order = gaussian(2, 7, 20), torch.tensor([3, 0, 6, 1, 5, 2, 4])
    assert not torch.allclose(network(x), network(x[:, order]), atol=1e-4)
    network.positions.zero_()
    torch.testing.assert_close(network(x), network(x[:, order]))


def test_time_patches_are_a_set_without_positions():
    network = small("EEGTransformer", (3, 20, 3), tokens="time").eval()  # patches of 5 samples
    x = gaussian(2, 3, 20)
    shuffled = torch.cat([x[..., 10:15], x[..., :5], x[..., 15:], x[..., 5:10]], dim=2)
    assert not torch.allclose(network(x), network(shuffled), atol=1e-4)
    network.positions.zero_()
    torch.testing.assert_close(network(x), network(shuffled))


def test_time_tokens_hold_every_sample_once():
    network = small("EEGTransformer", (3, 17, 3), tokens="time")
    x = gaussian(2, 3, 17)
    tokens = network.tokens(x)
    assert tokens.shape == (2, 4, 15)
    for i in range(3):
        torch.testing.assert_close(tokens[:, i].reshape(2, 3, 5), x[..., 5 * i : 5 * i + 5])
    torch.testing.assert_close(tokens[:, 3].reshape(2, 3, 5)[..., :2], x[..., 15:])
    assert not tokens[:, 3].reshape(2, 3, 5)[..., 2:].any()


def test_positions_know_distances_only():
    positions = architectures.sinusoids(9, 16)
    products = positions @ positions.T
    for distance in range(9):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))


def test_transformer_against_numpy():
    network = small("EEGTransformer", (4, 11, 3)).eval()
    weights = {name: value.double().numpy() for name, value in network.state_dict().items()}
    x = gaussian(2, 4, 11)

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    h = linear(x.double().numpy(), "project")
    h = h / (1 + np.exp(-linear(h, "gate")))
    place, wave = np.arange(4)[:, None], np.arange(8)
    angle = place / 10000 ** (2 * wave / 16)
    h[..., 0::2] += np.sin(angle)
    h[..., 1::2] += np.cos(angle)
    qkv = h @ weights["attention.in_proj_weight"].T + weights["attention.in_proj_bias"]
    q, k, v = np.split(qkv, 3, axis=-1)
    heads = []
    for head in (slice(0, 8), slice(8, 16)):
        a = np.exp(q[..., head] @ k[..., head].swapaxes(1, 2) / np.sqrt(8))
        heads.append(a / a.sum(-1, keepdims=True) @ v[..., head])
    h = norm(h + linear(np.concatenate(heads, -1), "attention.out_proj"), "norm_attention")
    feedforward = linear(np.maximum(linear(h, "feedforward.0"), 0), "feedforward.3")
    h = norm(h + feedforward, "norm_feedforward")
    expected = linear(h.mean(1), "readout")
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_last_step_still_depends_on_the_first_sample():
    x = gaussian(2, 3, 25).requires_grad_()
    small("VanillaLSTM", (3, 25, 9)).eval()(x).sum().backward()
    assert (x.grad.abs() > 0).all()


def test_mean_readout_averages_the_last_step_over_all_shorter_records():
    last = small("VanillaLSTM", (3, 12, 9), readout="last").eval()
    mean = small(
        "VanillaLSTM", (3, 12, 9), readout="mean"
    ).eval()  # the same seed, the same weights
    x = gaussian(2, 3, 12)
    shorter = torch.stack([last(x[..., : t + 1]) for t in range(12)])
    torch.testing.assert_close(mean(x), shorter.mean(0))


def test_bidirectional_network_mirrors_in_time():
    network = small("CNNBiLSTM", (3, 48, 5)).eval()
    mirrored = small("CNNBiLSTM", (3, 48, 5)).eval()
    weights = network.state_dict()
    swapped = dict(weights)
    for name, value in weights.items():
        if name.startswith("convolutions") and name.endswith("weight"):
            swapped[name] = value.flip(2)
        elif name.endswith("_reverse"):
            forward = name.removesuffix("_reverse")
            swapped[name], swapped[forward] = weights[forward], value
        elif name == "readout.weight":
            swapped[name] = value.roll(6, dims=1)
    mirrored.load_state_dict(swapped)
    x = gaussian(2, 3, 48)
    torch.testing.assert_close(mirrored(x.flip(2)), network(x))


@every_variant
def test_initial_weights_follow_from_the_seed_alone(name, options):
    before = torch.get_rng_state()
    first, again, other = (small(name, (3, 17, 9), seed=seed, **options) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    matrices = [name for name, value in first.named_parameters() if "weight" in name]
    assert any(
        not torch.equal(first.get_parameter(name), other.get_parameter(name)) for name in matrices
    )


@every_variant
def test_save_and_load(name, options, tmp_path):
    network = small(name, (3, 17, 9), seed=3, **options).eval()
    network.input_scale.fill_(7.0)
    network.target_high.copy_(torch.arange(1.0, 10.0))
    architectures.save(network, tmp_path / "network.safetensors")
    loaded = architectures.load(tmp_path / "network.safetensors")
    assert loaded.config == network.config
    assert [path.name for path in tmp_path.iterdir()] == ["network.safetensors"]
    x = gaussian(4, 3, 17)
    assert torch.equal(loaded(x), network(x))
    assert loaded.input_scale == 7.0
    assert torch.equal(loaded.target_high, network.target_high)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("Transformer", {}, "name: got 'Transformer', expected one of EEGTransformer"),
        ("VanillaLSTM", {"tokens": "time"}, "option: got 'tokens', expected one of readout"),
        ("EEGTransformer", {"tokens": "channels"}, "tokens: got 'channels', expected one of elec"),
        ("VanillaLSTM", {"readout": "first"}, "readout: got 'first', expected one of last, mean"),
        ("EEGTransformer", {"d_model": 20}, "d_model: got 20, expected .* multiple of 8"),
        ("EEGTransformer", {"tokens": "time", "patch": 0}, "patch: got 0, expected a whole number"),
        ("CNNBiLSTM", {"hidden": 2.5}, "hidden: got 2.5, expected a whole number"),
        ("CNNBiLSTM", {"kernel": 4}, "kernel: got 4, expected an odd number"),
        ("CNNBiLSTM", {"dropout": 1.0}, "dropout: got 1.0, expected a number from 0 to below 1"),
    ],
)
def test_unknown_names_and_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_regressor(name, (3, 17, 9), seed=0, **options)


def test_sizes_must_be_positive():
    with pytest.raises(ValueError, match="n_times: got 0"):
        build_regressor("CNNBiLSTM", (3, 0, 9), seed=0)


def linear_gaussian(n, rng):
    """Targets z ~ N(0, I), source = z A + noise of sd 0.5: the posterior is known."""
    mixing = np.random.default_rng(0).normal(size=(3, 20))
    z = rng.standard_normal((n, 3))
    return z @ mixing + 0.5 * rng.standard_normal((n, 20)) + 2.0, z, mixing


def test_ridge_is_the_closed_form():
    rng = np.random.default_rng(1)
    source, z, _ = linear_gaussian(50, rng)
    new, *_ = linear_gaussian(5, rng)
    ridge = baselines.RidgeRegressor(n_components=20).fit(source, z)
    x, y = source - source.mean(0), z - z.mean(0)
    for target, alpha in enumerate(ridge.model[-1].alpha_):
        weights = np.linalg.solve(x.T @ x + alpha * np.eye(20), x.T @ y[:, target])
        expected = (new - source.mean(0)) @ weights + z[:, target].mean()
        np.testing.assert_allclose(ridge.predict(new)[:, target], expected, rtol=1e-6, atol=1e-9)


def test_ridge_reaches_the_bayes_error_of_a_linear_gaussian_problem():
    rng = np.random.default_rng(2)
    source, z, mixing = linear_gaussian(4000, rng)
    new, truth, _ = linear_gaussian(20000, rng)
    error = np.mean((baselines.RidgeRegressor().fit(source, z).predict(new) - truth) ** 2, axis=0)
    posterior_variance = np.diag(np.linalg.inv(np.eye(3) + mixing @ mixing.T / 0.5**2))
    np.testing.assert_allclose(error, posterior_variance, rtol=0.05)


def test_mlp_reads_the_shape_at_any_size():
    rng = np.random.default_rng(3)
    times = np.linspace(0.0, 1.0, 30)

    def responses(n):
        targets = np.column_stack([rng.uniform(2.0, 10.0, n), rng.uniform(-2.0, 2.0, n)])
        rate, log_size = targets.T[..., None]
        return 10**log_size * np.exp(-rate * times), targets

    source, targets = responses(500)
    new, truth = responses(500)
    mlp = baselines.MLPRegressor(n_components=5, width=32, n_layers=1).fit(source, targets)
    error = np.mean((mlp.predict(new) - truth) ** 2, axis=0) / truth.var(axis=0)
    assert (error < 0.02).all()


def test_mean_predictor():
    rng = np.random.default_rng(4)
    source, targets = rng.normal(size=(10, 6)), rng.normal(size=(10, 9))
    predicted = baselines.MeanPredictor().fit(source, targets).predict(source[:3])
    np.testing.assert_allclose(predicted, np.tile(targets.mean(0), (3, 1)))


@pytest.mark.parametrize("baseline", baselines.BASELINES.values())
def test_baselines_refuse_nan(baseline):
    source, targets = np.random.default_rng(5).normal(size=(2, 40, 9))
    targets[3, 2] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        baseline().fit(source, targets)
