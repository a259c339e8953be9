"""One posterior for every noise level, at once, and its exact correction.

Neural posterior estimation as in `posterior`, for who wants to reach the ceiling (`ceiling`):

- The flow is conditioned on the noise factor, so one network serves all levels. Each batch has new
  noise at new levels, log-uniform in their range.
- It lives in the eight coordinates of `exact_posterior.Reference`: what the data can speak of. C, of which
  they say nothing once the products C a_k are given, is drawn from its exact conditional density.
- Its first transforms are affine: they find the narrow place where the posterior is, and the
  splines after them its shape.
- Where the likelihood is exact it corrects the draws by importance weights (`Amortised.refine`),
  and the effective part of them says how good the flow was, for each observation. Where the
  posterior is narrower than any network can tell, the draws are where exact ones start
  (`Amortised.exact`, and sooner `Amortised.answer`).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import zuko
from sbi.inference import FMPE, NPE
from sbi.neural_nets.estimators import FlowMatchingEstimator, ZukoFlow
from sbi.neural_nets.net_builders.vector_field_nets import VectorFieldMLP
from sbi.samplers.ode_solvers.zuko_ode import ZukoNeuralODE
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc
from torch import nn
from torch.utils.data import TensorDataset

from jrlib.inference.flows import SAMPLES_AT_ONCE, _isolated, _NoTracker, _Simulations, _Split
from jrlib.parameters import quantities
from jrlib.priors import conditional_means, draw_coupling, possible

N_COORDINATES = 8
N_VALIDATION = 4096  # simulations of which the loss is watched, at most a tenth of the others
CHUNK = 20_000  # simulations at once
N_STARTS = 24  # draws from which the exact posterior is looked for
# Draws among which `answer` looks, from how many it descends, and effective draws that it wants.
N_LOOKED, N_NEAR, FEWEST = 64, 4, 20.0
N_LAYERS = 5  # of the vector field of flow matching
N_ATTEMPTS = 100  # at drawing as many samples as were asked for
N_DIRECTIONS = 4000  # simulations from which the directions are taken
# Directions of the response in which the signal's mean square is below this part of the noise's at
# the lowest level say nothing.
FAINT = 0.01


class Embedding(nn.Module):
    """From scores and the logarithm of the noise factor (..., n_scores + 1) to (..., n_out).

    The scores are taken in units of their noise, squeezed by asinh as they span decades, and
    standardised; then a residual network (width, n_blocks).
    """

    def __init__(self, n_scores, width, n_blocks, n_out):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_scores + 1))
        self.register_buffer("std", torch.ones(n_scores + 1))
        self.first = nn.Linear(n_scores + 1, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
            )
            for _ in range(n_blocks)
        )
        self.last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_out))

    def squeeze(self, x):
        """asinh of the scores over their noise, and the level as it is, (..., n_scores + 1)."""
        scores, level = x[..., :-1], x[..., -1:]
        return torch.cat([torch.asinh(scores / torch.exp(level / 2.0)), level], dim=-1)

    def standardise(self, x):
        """Take mean and standard deviation from inputs x (n, n_scores + 1)."""
        squeezed = self.squeeze(x)
        self.mean[:], self.std[:] = squeezed.mean(dim=0), squeezed.std(dim=0).clamp(min=1e-6)

    def features(self, x):
        """The same, standardised: what the network starts from."""
        return (self.squeeze(x) - self.mean) / self.std

    def forward(self, x):
        h = self.first(self.features(x))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


@dataclass(frozen=True)
class Refined:
    """Weighted draws of the posterior given one observation, by importance sampling.

    theta : (n, 9); weights : (n,), adding up to 1; draws that weigh nothing are left out
    mean, std : (13,) of `QUANTITY_NAMES`
    efficiency : effective part of the draws, 1 / (N sum w^2): 1 where the flow is the posterior
    """

    theta: np.ndarray
    weights: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    efficiency: float


class Amortised:
    """A trained posterior over theta (9,), given a response (n_times,) in mV and its noise factor.

    networks : of sbi's `ZukoFlow` or `FlowMatchingEstimator`, one or several, whose densities are
        averaged (an ensemble)
    projection : (n_times, n_scores), from a response to scores with noise N(0, factor)
    reference : the `exact_posterior.Reference` of the model, with the noise of factor 1
    config : JSON from which the networks are rebuilt
    history : DataFrame of the training: epoch, train_loss, validation_loss in nats per simulation,
        -log q, or None
    """

    def __init__(self, networks, projection, reference, config, history=None):
        self.networks = [network.eval() for network in networks]
        self.projection, self.reference = projection, reference
        self.config, self.history = config, history

    def sample(self, observed, noise_factor, n_samples, *, seed):
        """Draw (n_samples, 9) parameters in physical units for one observation (n_times,)."""
        (points,) = self.draw_points(_one(observed), noise_factor, n_samples, seed=seed)
        return self.parameters(points, np.random.default_rng(seed))

    def draw(self, observations, noise_factor, n_samples, *, seed):
        """What `draw_points` draws, and the flow's log density (n, n_samples) of these draws.

        Up to what draws weigh that the prior's ranges do not allow.
        """
        points = self.draw_points(observations, noise_factor, n_samples, seed=seed)
        return points, self.log_prob(points, observations, noise_factor)

    def draw_points(self, observations, noise_factor, n_samples, *, seed):
        """Draw coordinates (n, n_samples, 8) for observations (n, n_times).

        noise_factor : one for all, or (n,)
        Draws that the prior's ranges do not allow are replaced by others.
        Raises ValueError where the flow hardly draws any others.
        """
        if n_samples < 1 or n_samples != int(n_samples):
            raise ValueError(f"n_samples: got {n_samples}, expected a whole number from 1")
        x = self._inputs(observations, noise_factor)
        shares = [len(part) for part in np.array_split(range(int(n_samples)), len(self.networks))]

        def sample(part):
            pairs = zip(self.networks, shares, strict=True)
            points = [_given(network, part).sample((share,)) for network, share in pairs]
            return torch.cat(points).transpose(0, 1)  # (rows, n_samples, 8)

        parts = []
        with _isolated(seed), torch.no_grad():
            for part in x.split(max(1, SAMPLES_AT_ONCE // int(n_samples))):
                points = sample(part)
                for _ in range(N_ATTEMPTS):
                    bad = ~torch.from_numpy(self._possible(points.double().numpy()))
                    rows = bad.any(dim=1)
                    if not rows.any():
                        break
                    points[rows] = torch.where(
                        bad[rows][..., None], sample(part[rows]), points[rows]
                    )
                else:
                    raise ValueError(
                        f"observations: after {N_ATTEMPTS} attempts some draws are impossible "
                        f"under the prior; the response is unlike all that the network has seen"
                    )
                parts.append(points)
        return torch.cat(parts).double().numpy()

    def log_prob(self, points, observations, noise_factor):
        """Log density (n, S) of coordinates (n, S, 8) for observations (n, n_times)."""
        x = self._inputs(observations, noise_factor)
        points, rows = torch.from_numpy(points).float(), max(1, SAMPLES_AT_ONCE // points.shape[1])
        with _isolated(0), torch.no_grad():
            pairs = zip(points.split(rows), x.split(rows), strict=True)
            parts = [self._log_prob(part.transpose(0, 1), given).T for part, given in pairs]
        return torch.cat(parts).double().numpy()

    def base(self, points, observations, noise_factor):
        """Where the flow has coordinates (n, 8) in its base, (n, 8): N(0, I) if it is right.

        Of the first network where there are several; observations : (n, n_times)
        """
        x = self._inputs(observations, noise_factor)
        with _isolated(0), torch.no_grad():
            flow = _given(self.networks[0], x)
            return flow.transform(torch.from_numpy(points).float()).double().numpy()

    def features(self, observations, noise_factor):
        """What the first network's embedding starts from, standardised: (n, n_scores + 1)."""
        x = self._inputs(observations, noise_factor)
        return self.networks[0].embedding_net.features(x).double().numpy()

    def parameters(self, points, rng):
        """Parameters (n, 9) at coordinates (n, 8), with C drawn given the products."""
        products = self.reference.products(points)
        return self.reference.theta(points, draw_coupling(products, rng, self.reference.prior))

    def mean(self, observations, noise_factor, *, seed, n_points=64):
        """Posterior means (n, 13) of `QUANTITY_NAMES` for observations (n, n_times).

        noise_factor : one for all, or (n,). By quasi-Monte Carlo, as `flows.Posterior.mean`.
        """
        x = self._inputs(observations, noise_factor)
        luck = qmc.Sobol(N_COORDINATES, rng=np.random.default_rng(seed)).random(n_points)
        luck = torch.from_numpy(ndtri(np.clip(luck, 1e-7, 1 - 1e-7))).float()[:, None]
        parts = []
        with _isolated(0), torch.no_grad():
            for part in x.split(max(1, SAMPLES_AT_ONCE // n_points)):
                points = [
                    _given(network, part).transform.inv(luck.expand(-1, len(part), -1))
                    for network in self.networks
                ]
                points = torch.cat(points).double().numpy()  # (points of all networks, n, 8)
                values = self._means(points.reshape(-1, N_COORDINATES))
                parts.append(np.nanmean(values.reshape(*points.shape[:2], -1), axis=0))
        return np.concatenate(parts)

    def refine(self, observed, noise_factor, n_samples, *, seed):
        """The `Refined` posterior given one observation (n_times,): draws with exact weights.

        The weights are the posterior's density over the flow's, so what is averaged with them is
        right whatever the flow is; only the number of draws that count depends on it.
        """
        (points,), (log_q,) = self.draw(_one(observed), noise_factor, n_samples, seed=seed)
        log_p = self.reference.at(noise_factor).log_density(points, observed)
        weights = weigh(log_p, log_q)
        kept = weights > 0
        weights = weights[kept]
        mean = weights @ self._means(points[kept])
        theta = self.parameters(points[kept], np.random.default_rng(seed))
        return Refined(
            theta=theta,
            weights=weights,
            mean=mean,
            std=np.sqrt(weights @ (quantities(theta) - mean) ** 2),
            efficiency=float(1.0 / (len(points) * np.sum(weights**2))),
        )

    def exact(self, observed, noise_factor, n, *, seed, most=None):
        """The `exact_posterior.ReferencePosterior` given one observation (n_times,), found from here.

        The flow's draws take the place of the bank from which `exact_posterior.Reference` starts; n, most :
        see there.
        """
        (starts,) = self.draw_points(_one(observed), noise_factor, N_STARTS, seed=seed)
        reference, rng = self.reference.at(noise_factor), np.random.default_rng(seed)
        return reference.posterior(observed, n, rng, most=most, starts=starts)

    def answer(self, observed, noise_factor, n, *, seed):
        """The `Refined` posterior given one observation (n_times,), corrected in about a second.

        n independent draws by randomize-then-optimize, as `exact` has them, but with descents only
        from the `N_NEAR` of the flow's draws that are most probable given the data. Where these
        find no mode, or fewer than `FEWEST` effective draws, the flow's own n draws have to do,
        with an efficiency of 0.
        """
        reference, rng = self.reference.at(noise_factor), np.random.default_rng(seed)
        n_looked = max(n, N_LOOKED)
        (points,) = self.draw_points(_one(observed), noise_factor, n_looked, seed=seed)
        likely = np.argsort(-np.nan_to_num(reference.log_density(points, observed), nan=-np.inf))
        found = reference.posterior_near(observed, n, rng, points[likely[:N_NEAR]])
        if found.ess >= FEWEST:
            efficiency = found.ess / len(found.theta)
            return Refined(found.theta, found.weights, found.mean, found.std, efficiency)
        theta = self.parameters(points[:n], rng)
        values = self._means(points[:n])
        std = quantities(theta).std(axis=0)
        return Refined(theta, np.full(n, 1.0 / n), values.mean(axis=0), std, 0.0)

    def state(self):
        """Weights (dict of name -> array) and config (JSON): all that `from_state` needs."""
        weights = {"projection": self.projection}
        for k, network in enumerate(self.networks):
            for name, tensor in network.state_dict().items():
                weights[f"{k}/{name}"] = tensor.numpy().copy()
        return weights, self.config

    @classmethod
    def from_state(cls, weights, config, reference):
        """Rebuild from what `state` returned, for the same model."""
        networks = []
        for k in range(config["n_networks"]):
            start = f"{k}/"
            with _isolated(0):
                network = _build(config)
            tensors = {
                name.removeprefix(start): torch.from_numpy(np.array(array))
                for name, array in weights.items()
                if name.startswith(start)
            }
            network.load_state_dict(tensors)
            networks.append(network)
        return cls(networks, weights["projection"], reference, config)

    def _inputs(self, observations, noise_factor):
        """What the networks see, float32 torch (n, n_scores + 1)."""
        observations = np.asarray(observations, dtype=float)
        n_times = len(self.projection)
        if observations.ndim != 2 or observations.shape[1] != n_times or not len(observations):
            raise ValueError(
                f"observations: got shape {observations.shape}, expected (n, {n_times}), n from 1"
            )
        bad = np.flatnonzero(~np.isfinite(observations).all(axis=1))
        if len(bad):
            raise ValueError(
                f"observations: NaN or infinity in row {bad[0]} ({len(bad)} such rows)"
            )
        levels = np.broadcast_to(np.asarray(noise_factor, dtype=float), len(observations))
        low, high = self.config["noise_factors"]
        if not ((levels >= low) & (levels <= high)).all():
            raise ValueError(
                f"noise_factor: got {noise_factor}, expected {low:g} to {high:g}, on which the "
                f"network was trained"
            )
        return _inputs(observations @ self.projection, levels)

    def _log_prob(self, points, x):
        """Log of the networks' mean density (S, n) at points (S, n, 8) given inputs x (n, ...)."""
        each = torch.stack([_given(network, x).log_prob(points) for network in self.networks])
        return torch.logsumexp(each, 0) - np.log(len(each))

    def _means(self, points):
        """Means (n, 13) of `QUANTITY_NAMES` given coordinates (n, 8), C being left open.

        NaN where no parameters within the prior's ranges have the products.
        """
        values = quantities(self.reference.theta(points))
        allowed = self._possible(points)
        values[~allowed] = np.nan
        values[allowed, 4:9] = conditional_means(values[allowed, 9:], self.reference.prior)
        return values

    def _possible(self, points):
        """Whether the prior's ranges allow the products at coordinates (..., 8)."""
        products = self.reference.products(points.reshape(-1, N_COORDINATES))
        return possible(products, self.reference.prior).reshape(points.shape[:-1])


def train(
    reference,
    n_simulations,
    *,
    seed,
    noise_factors=(0.5, 2e6),
    epochs=40,
    batch_size=512,
    learning_rate=1e-3,
    width=256,
    n_blocks=3,
    hidden=128,
    affine=2,
    splines=3,
    bins=8,
    flow="spline",
):
    """Train an `Amortised` posterior on n_simulations draws of the prior.

    reference : `exact_posterior.Reference` of the model and its noise at factor 1
    noise_factors : lowest and highest; levels are log-uniform between them
    epochs : passes over the simulations, while the learning rate falls from learning_rate to 0 like
        a cosine; the weights with the lowest loss on simulations apart are kept
    width, n_blocks : of the residual network; hidden : width of the two layers in each transform of
        the flow; affine, splines : how many of each; bins : of the splines
    flow : "spline", trained by maximum likelihood (NPE), or "matching": a vector field that carries
        noise into draws, trained by flow matching (FMPE), a network of width and `N_LAYERS`; it has
        no use for affine, splines and bins, and takes its last weights
    Raises ValueError for options that cannot be; simulations that diverge are left out and counted
    in the config.
    """
    if n_simulations != int(n_simulations) or n_simulations < 100:
        raise ValueError(f"n_simulations: got {n_simulations}, expected a whole number from 100")
    low, high = map(float, noise_factors)
    if not 0 < low < high < np.inf:
        raise ValueError(f"noise_factors: got {noise_factors}, expected 0 < lowest < highest")
    if flow not in TRAINERS:
        raise ValueError(f"flow: got {flow!r}, expected one of {', '.join(TRAINERS)}")
    n_validation = min(N_VALIDATION, max(int(n_simulations) // 10, 20))
    projection = principal_directions(reference, low)

    def simulate(n, stream):  # coordinates (n, 8) and scores (n, n_scores)
        points, outputs = _simulate(reference, n, np.random.default_rng([seed, stream]))
        return torch.from_numpy(points).float(), torch.from_numpy(outputs @ projection).float()

    z, scores = simulate(int(n_simulations), 0)
    held_z, held_scores = simulate(n_validation, 1)
    noise = torch.Generator().manual_seed(seed)
    ends = np.log(low), np.log(high)

    def observe(scores):
        level = ends[0] + (ends[1] - ends[0]) * torch.rand(len(scores), 1, generator=noise)
        luck = torch.randn(scores.shape, generator=noise)
        return torch.cat([scores + torch.exp(level / 2.0) * luck, level], dim=1)

    config = {
        "n_networks": 1,
        "n_scores": projection.shape[1],
        "noise_factors": [low, high],
        "width": width,
        "n_blocks": n_blocks,
        "hidden": hidden,
        "affine": affine,
        "splines": splines,
        "bins": bins,
        "flow": flow,
        "n_diverged": int(n_simulations) - len(z),
    }
    with _isolated(seed):
        network = _build(config)
        network.embedding_net.standardise(observe(scores))
        trainer = TRAINERS[flow](
            None,  # the prior, of which training has no need
            lambda theta, x: network,
            tracker=_NoTracker(),
            show_progress_bars=False,
        )
        trainer.peak, trainer.n_epochs = learning_rate, int(epochs)
        trainer.append_simulations(z, observe(scores))
        trainer.shown = _Simulations(z, lambda rows: observe(scores[rows]))
        trainer.held_out = TensorDataset(held_z, observe(held_scores), torch.ones(len(held_z), 1))
        trainer.train(
            training_batch_size=batch_size,
            learning_rate=learning_rate,
            max_num_epochs=int(epochs) - 1,  # sbi counts from 0
            stop_after_epochs=int(epochs),
        )
    history = pd.DataFrame(
        {
            "epoch": np.arange(1, int(epochs) + 1),
            "train_loss": trainer.summary["training_loss"],
            "validation_loss": trainer.summary["validation_loss"],
        }
    )
    return Amortised([network], projection, reference, config, history)


def ensemble(members):
    """One `Amortised` posterior whose density is the mean of its members', trained alike."""
    networks = [network for member in members for network in member.networks]
    config = members[0].config | {"n_networks": len(networks)}
    return Amortised(networks, members[0].projection, members[0].reference, config)


def weigh(log_p, log_q):
    """Importance weights (n,), adding up to 1, of draws with log densities log_q, wanted log_p.

    log_p : (n,), up to a constant; where it is not finite the weight is 0
    """
    log_weights = np.where(np.isfinite(log_p), log_p - log_q, -np.inf)
    return np.exp(log_weights - logsumexp(log_weights))


def principal_directions(reference, lowest):
    """Projection (n_times, n_scores) of responses to scores with noise N(0, noise factor).

    The principal directions of what the model answers to draws of the prior, after whitening; those
    in which its mean square is below `FAINT` of the noise's at the lowest noise factor are left
    out. The projection is the same for all networks of a model, so they can be averaged.
    """
    _, outputs = _simulate(reference, N_DIRECTIONS, np.random.default_rng(0))
    likelihood = reference.likelihood
    whitened = likelihood.whiten(outputs)
    _, values, vectors = np.linalg.svd(whitened, full_matrices=False)
    heard = values**2 / len(whitened) > FAINT * lowest
    whitener = likelihood.whiten(np.eye(outputs.shape[1]))
    return whitener @ vectors[heard | (values == values[0])].T


def _simulate(reference, n, rng):
    """Coordinates (n, 8) of n draws of the prior and their outputs (n, n_times), those finite."""
    theta = reference.prior.sample(n, rng)
    parts = [reference.likelihood.respond(theta[i : i + CHUNK]) for i in range(0, n, CHUNK)]
    outputs = np.concatenate(parts)
    finite = np.isfinite(outputs).all(axis=1)
    return reference.points(theta[finite]), outputs[finite]


def _inputs(scores, levels):
    """What a network sees: scores (n, n_scores) and log noise factors (n,), float32 torch."""
    return torch.from_numpy(np.column_stack([scores, np.log(levels)])).float()


def _one(observed):
    """One observation (n_times,) as a batch."""
    return np.asarray(observed)[np.newaxis]


def _given(network, x):
    """The flow of a network given inputs x: a distribution over coordinates (8,)."""
    if isinstance(network, FlowMatchingEstimator):
        ends = network.t_min, network.t_max
        base = network.mean_base, network.std_base
        ode = ZukoNeuralODE(network.ode_fn, network, *base, network.condition_shape, *ends)
        return ode.get_distribution(x)
    return network.net(network.embedding_net(x))


def _build(config):
    """An untrained network."""
    n_out = config["hidden"]
    embedding = Embedding(config["n_scores"], config["width"], config["n_blocks"], n_out)
    shapes = torch.Size([N_COORDINATES]), torch.Size([config["n_scores"] + 1])
    if config.get("flow") == "matching":  # what was stored before there was a choice does not say
        sizes = {"time_emb_dim": 32, "hidden_features": config["width"], "num_layers": N_LAYERS}
        field = VectorFieldMLP(N_COORDINATES, n_out, time_emb_type="sinusoidal", **sizes)
        return FlowMatchingEstimator(field, *shapes, embedding)
    options = {"hidden_features": [config["hidden"]] * 2}
    affine = zuko.flows.MAF(N_COORDINATES, n_out, transforms=config["affine"], **options)
    options |= {"transforms": config["splines"], "bins": config["bins"]}
    spline = zuko.flows.NSF(N_COORDINATES, n_out, **options)
    flow = zuko.lazy.Flow([*affine.transform.transforms, *spline.transform.transforms], spline.base)
    return ZukoFlow(flow, embedding, *shapes)


class _Annealed(_Split):
    """In a trainer of sbi's: new noise in every batch, a learning rate that falls like a cosine."""

    def _train_epoch(self, *arguments):
        rate = self.peak * 0.5 * (1.0 + np.cos(np.pi * self.epoch / self.n_epochs))
        self.optimizer.param_groups[0]["lr"] = rate
        return super()._train_epoch(*arguments)


class _AnnealedNPE(_Annealed, NPE):
    """By maximum likelihood."""


class _AnnealedFMPE(_Annealed, FMPE):
    """By flow matching."""


TRAINERS = {"spline": _AnnealedNPE, "matching": _AnnealedFMPE}  # by kind of flow
