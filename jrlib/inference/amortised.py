"""One posterior for every noise level, at once, and its exact correction.

This is neural posterior estimation as in `flows`, for whom the exact posterior takes too long:

- The flow is conditioned on the noise factor, so one network serves all levels. Each batch has new
  noise at new levels, log-uniform in their range.
- It lives in the eight coordinates of `exact_posterior.ExactSampler`: what the data can speak of.
  C, of which they say nothing once the products C a_k are given, is drawn from its exact
  conditional density.
- Its first transforms are affine: they find the narrow place where the posterior is, and the
  splines after them its shape.
- Where the likelihood is exact it corrects the samples by importance weights
  (`AmortisedPosterior.refine`), and their relative effective sample size says how good the flow
  was, for each observation. Where the posterior is narrower than any network can tell, the samples
  are the initial guesses of the exact sampler (`AmortisedPosterior.exact`, and sooner
  `AmortisedPosterior.answer`).
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import qmc

from jrlib.inference import sbi_adapter
from jrlib.inference.embeddings import ScoreEmbedding
from jrlib.inference.sbi_adapter import given, isolated
from jrlib.inference.weighted_samples import WeightedSamples, normalised
from jrlib.parameters import quantities
from jrlib.priors import conditional_means, draw_coupling, possible

N_COORDINATES = 8
CHUNK = 20_000  # simulations at once, which bounds the memory and changes no number
FLOWS = "spline", "matching"


@dataclass(frozen=True)
class NetworkSettings:
    """A network of an `AmortisedPosterior`, and how `train` trains it.

    flow : "spline", trained by maximum likelihood (NPE), or "matching": a vector field that carries
        noise into samples, trained by flow matching (FMPE), a network of `width` and `n_layers`; it
        has no use for affine, splines and bins, and takes its last weights
    width, n_blocks : of the residual network that embeds the observation
    hidden : outputs of the embedding, and width of the two layers in each transform of the flow
    affine, splines : transforms of either kind; bins : of the splines
    n_layers, n_time_features : of the vector field
    noise_factors : lowest and highest; levels are log-uniform between them
    epochs, batch_size : passes over the simulations, and how many of these in a step
    learning_rate : at first; it falls to 0 like a cosine. The weights with the lowest loss on
        simulations apart are kept.
    n_validation : simulations apart at most, `validation_fraction` of the others if that is less,
        but `min_validation` at least
    n_directions : simulations from which the principal directions of the responses are taken
    faint : a direction in which the signal's mean square is below this fraction of the noise's at
        the lowest level says nothing, and is left out
    """

    flow: str = "spline"
    width: int = 256
    n_blocks: int = 3
    hidden: int = 128
    affine: int = 2
    splines: int = 3
    bins: int = 8
    n_layers: int = 5
    n_time_features: int = 32
    noise_factors: tuple[float, float] = (0.5, 2e6)
    epochs: int = 40
    batch_size: int = 512
    learning_rate: float = 1e-3
    n_validation: int = 4096
    validation_fraction: float = 0.1
    min_validation: int = 20
    n_directions: int = 4000
    faint: float = 0.01

    def __post_init__(self):
        low, high = self.noise_factors
        if not 0 < low < high < np.inf:
            raise ValueError(
                f"noise_factors: got {self.noise_factors}, expected 0 < lowest < highest"
            )
        if self.flow not in FLOWS:
            raise ValueError(f"flow: got {self.flow!r}, expected one of {', '.join(FLOWS)}")


@dataclass(frozen=True)
class AnswerSettings:
    """How an `AmortisedPosterior` is sampled and corrected.

    n_guesses : samples that are the initial guesses of `exact`
    n_looked, n_near : samples among which `answer` looks at least, and how many of them, the most
        probable, are its initial guesses
    min_effective : effective sample size below which `answer` leaves the flow's own samples
    n_attempts : at most, at replacing samples that the prior's ranges do not allow
    samples_at_once : bounds the memory; the samples depend on it as on the seed
    """

    n_guesses: int = 24
    n_looked: int = 64
    n_near: int = 4
    min_effective: float = 20.0
    n_attempts: int = 100
    samples_at_once: int = 20_000


@dataclass(frozen=True, eq=False, kw_only=True)
class CorrectedPosterior(WeightedSamples):
    """The posterior given one observation, by an amortised one's samples with exact weights.

    samples : (n, 9) of theta; mean, std : (13,) of `QUANTITY_NAMES`
    corrected : False where no correction was possible: the flow's own samples, weighing the same
    """

    corrected: bool = True

    @property
    def relative_effective_sample_size(self):
        """See `WeightedSamples`; 0 where the samples are not corrected, as nobody knows it."""
        return super().relative_effective_sample_size if self.corrected else 0.0


class AmortisedPosterior:
    """A trained posterior over theta (9,), given a response (n_times,) in mV and its noise factor.

    networks : of sbi's `ZukoFlow` or `FlowMatchingEstimator`, one or several, whose densities are
        averaged (an ensemble)
    projection : (n_times, n_scores), from a response to scores with noise N(0, factor)
    sampler : the `exact_posterior.ExactSampler` of the model, with the noise of factor 1
    config : JSON from which the networks are rebuilt
    history : DataFrame of the training: epoch, train_loss, validation_loss in nats per simulation,
        -log q, or None
    answers : `AnswerSettings`
    """

    def __init__(self, networks, projection, sampler, *, config, history=None, answers=None):
        self.networks = [network.eval() for network in networks]
        self.projection, self.sampler = projection, sampler
        self.config, self.history = config, history
        self.answers = AnswerSettings() if answers is None else answers

    def sample(self, observed, noise_factor, n_samples, *, seed):
        """Draw (n_samples, 9) parameters in physical units for one observation (n_times,)."""
        (points,) = self.draw_points(_one(observed), noise_factor, n_samples, seed=seed)
        return self.parameters(points, np.random.default_rng(seed))

    def draw(self, observations, noise_factor, n_samples, *, seed):
        """The samples of `draw_points`, and the flow's log density (n, n_samples) of each.

        The density is not divided by the probability of what the prior's ranges allow.
        """
        points = self.draw_points(observations, noise_factor, n_samples, seed=seed)
        return points, self.log_prob(points, observations, noise_factor)

    def draw_points(self, observations, noise_factor, n_samples, *, seed):
        """Draw coordinates (n, n_samples, 8) for observations (n, n_times).

        noise_factor : one for all, or (n,)
        Samples that the prior's ranges do not allow are replaced by others.
        Raises ValueError where the flow has hardly any others.
        """
        if n_samples < 1 or n_samples != int(n_samples):
            raise ValueError(f"n_samples: got {n_samples}, expected a whole number from 1")
        x = self._inputs(observations, noise_factor)
        shares = [len(part) for part in np.array_split(range(int(n_samples)), len(self.networks))]

        def sample(part):
            pairs = zip(self.networks, shares, strict=True)
            points = [given(network, part).sample((share,)) for network, share in pairs]
            return torch.cat(points).transpose(0, 1)  # (rows, n_samples, 8)

        parts = []
        with isolated(seed), torch.no_grad():
            for part in x.split(max(1, self.answers.samples_at_once // int(n_samples))):
                points = sample(part)
                for _ in range(self.answers.n_attempts):
                    bad = ~torch.from_numpy(self._possible(points.double().numpy()))
                    rows = bad.any(dim=1)
                    if not rows.any():
                        break
                    points[rows] = torch.where(
                        bad[rows][..., None], sample(part[rows]), points[rows]
                    )
                else:
                    raise ValueError(
                        f"observations: after {self.answers.n_attempts} attempts some samples are "
                        f"impossible under the prior; the network has seen no such response"
                    )
                parts.append(points)
        return torch.cat(parts).double().numpy()

    def log_prob(self, points, observations, noise_factor):
        """Log density (n, S) of coordinates (n, S, 8) for observations (n, n_times)."""
        x = self._inputs(observations, noise_factor)
        points, rows = (
            torch.from_numpy(points).float(),
            max(1, self.answers.samples_at_once // points.shape[1]),
        )
        with isolated(0), torch.no_grad():
            pairs = zip(points.split(rows), x.split(rows), strict=True)
            parts = [self._log_prob(part.transpose(0, 1), given).T for part, given in pairs]
        return torch.cat(parts).double().numpy()

    def base(self, points, observations, noise_factor):
        """Where the flow has coordinates (n, 8) in its base, (n, 8): N(0, I) if it is right.

        Of the first network where there are several; observations : (n, n_times)
        """
        x = self._inputs(observations, noise_factor)
        with isolated(0), torch.no_grad():
            flow = given(self.networks[0], x)
            return flow.transform(torch.from_numpy(points).float()).double().numpy()

    def features(self, observations, noise_factor):
        """What the first network's embedding starts from, standardised: (n, n_scores + 1)."""
        x = self._inputs(observations, noise_factor)
        return self.networks[0].embedding_net.features(x).double().numpy()

    def parameters(self, points, rng):
        """Parameters (n, 9) at coordinates (n, 8), with C drawn given the products."""
        products = self.sampler.products(points)
        return self.sampler.theta(points, draw_coupling(products, rng, self.sampler.prior))

    def mean(self, observations, noise_factor, *, seed, n_points=64):
        """Posterior means (n, 13) of `QUANTITY_NAMES` for observations (n, n_times).

        noise_factor : one for all, or (n,). By quasi-Monte Carlo, as `flows.Posterior.mean`.
        """
        x = self._inputs(observations, noise_factor)
        luck = qmc.Sobol(N_COORDINATES, rng=np.random.default_rng(seed)).random(n_points)
        luck = torch.from_numpy(ndtri(np.clip(luck, 1e-7, 1 - 1e-7))).float()[:, None]
        parts = []
        with isolated(0), torch.no_grad():
            for part in x.split(max(1, self.answers.samples_at_once // n_points)):
                points = [
                    given(network, part).transform.inv(luck.expand(-1, len(part), -1))
                    for network in self.networks
                ]
                points = torch.cat(points).double().numpy()  # (points of all networks, n, 8)
                values = self._means(points.reshape(-1, N_COORDINATES))
                parts.append(np.nanmean(values.reshape(*points.shape[:2], -1), axis=0))
        return np.concatenate(parts)

    def refine(self, observed, noise_factor, n_samples, *, seed):
        """The `CorrectedPosterior` given one observation (n_times,): samples with exact weights.

        The weights are the posterior's density over the flow's, so what is averaged with them is
        right whatever the flow is; only the effective sample size depends on it. Samples that weigh
        nothing are left out.
        """
        (points,), (log_q,) = self.draw(_one(observed), noise_factor, n_samples, seed=seed)
        log_p = self.sampler.at(noise_factor).log_density(points, observed)
        weights = normalised(log_p - log_q)
        kept = weights > 0
        points, weights = points[kept], weights[kept]
        theta = self.parameters(points, np.random.default_rng(seed))
        samples = WeightedSamples(theta, weights)
        mean = samples.expectation(self._means(points))
        std = samples.spread(quantities(theta), mean)
        return CorrectedPosterior(theta, weights, mean=mean, std=std, n_drawn=len(kept))

    def exact(self, observed, noise_factor, n, *, seed, most=None):
        """The `exact_posterior.ExactPosterior` given one observation (n_times,), found from here.

        The flow's samples take the place of the bank from which `ExactSampler` takes its initial
        guesses; n, most : see `ExactSampler.posterior`.
        """
        n_guesses = self.answers.n_guesses
        (initial,) = self.draw_points(_one(observed), noise_factor, n_guesses, seed=seed)
        sampler, rng = self.sampler.at(noise_factor), np.random.default_rng(seed)
        return sampler.posterior(observed, n, rng, most=most, initial=initial)

    def answer(self, observed, noise_factor, n, *, seed):
        """The `CorrectedPosterior` given one observation (n_times,), in about a second.

        n independent samples by randomize-then-optimize, as `exact` has them, but with descents
        only from a few of the flow's samples, the most probable given the data. Where these find no
        mode, or too small an effective sample size, the flow's own n samples have to do.
        """
        asked = self.answers
        sampler, rng = self.sampler.at(noise_factor), np.random.default_rng(seed)
        n_looked = max(n, asked.n_looked)
        (points,) = self.draw_points(_one(observed), noise_factor, n_looked, seed=seed)
        likely = np.argsort(-np.nan_to_num(sampler.log_density(points, observed), nan=-np.inf))
        initial = points[likely[: asked.n_near]]
        found = sampler.posterior_near(observed, n, rng, initial=initial)
        if found.effective_sample_size >= asked.min_effective:
            return CorrectedPosterior(found.samples, found.weights, mean=found.mean, std=found.std)
        theta = self.parameters(points[:n], rng)
        return CorrectedPosterior(
            theta,
            np.full(n, 1.0 / n),
            mean=self._means(points[:n]).mean(axis=0),
            std=quantities(theta).std(axis=0),
            corrected=False,
        )

    def state(self):
        """Weights (dict of name -> array) and config (JSON): all that `from_state` needs."""
        weights = {"projection": self.projection}
        for k, network in enumerate(self.networks):
            for name, tensor in network.state_dict().items():
                weights[f"{k}/{name}"] = tensor.numpy().copy()
        return weights, self.config

    @classmethod
    def from_state(cls, weights, config, sampler):
        """Rebuild from what `state` returned, with an `ExactSampler` of the same model."""
        networks = []
        for k in range(config["n_networks"]):
            start = f"{k}/"
            with isolated(0):
                network = _build(config)
            tensors = {
                name.removeprefix(start): torch.from_numpy(np.array(array))
                for name, array in weights.items()
                if name.startswith(start)
            }
            network.load_state_dict(tensors)
            networks.append(network)
        return cls(networks, weights["projection"], sampler, config=config)

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
        each = torch.stack([given(network, x).log_prob(points) for network in self.networks])
        return torch.logsumexp(each, 0) - np.log(len(each))

    def _means(self, points):
        """Means (n, 13) of `QUANTITY_NAMES` given coordinates (n, 8), C being left open.

        NaN where no parameters within the prior's ranges have the products.
        """
        values = quantities(self.sampler.theta(points))
        allowed = self._possible(points)
        values[~allowed] = np.nan
        values[allowed, 4:9] = conditional_means(values[allowed, 9:], self.sampler.prior)
        return values

    def _possible(self, points):
        """Whether the prior's ranges allow the products at coordinates (..., 8)."""
        products = self.sampler.products(points.reshape(-1, N_COORDINATES))
        return possible(products, self.sampler.prior).reshape(points.shape[:-1])


def train(sampler, n_simulations, *, seed, settings=None):
    """Train an `AmortisedPosterior` on n_simulations samples of the prior.

    sampler : `exact_posterior.ExactSampler` of the model and its noise at factor 1
    settings : `NetworkSettings`
    Raises ValueError for too few simulations; those that diverge are left out and counted in the
    config.
    """
    settings = NetworkSettings() if settings is None else settings
    if n_simulations != int(n_simulations) or n_simulations < 100:
        raise ValueError(f"n_simulations: got {n_simulations}, expected a whole number from 100")
    low, high = map(float, settings.noise_factors)
    share = int(n_simulations * settings.validation_fraction + 1e-9)
    n_validation = min(settings.n_validation, max(share, settings.min_validation))
    projection = principal_directions(sampler, low, settings=settings)

    def simulate(n, stream):  # coordinates (n, 8) and scores (n, n_scores)
        points, outputs = _simulate(sampler, n, np.random.default_rng([seed, stream]))
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
        **{name: getattr(settings, name) for name in _SHAPE},
        "n_diverged": int(n_simulations) - len(z),
    }
    epochs = int(settings.epochs)

    def rate(epoch):
        return settings.learning_rate * 0.5 * (1.0 + np.cos(np.pi * epoch / epochs))

    with isolated(seed):
        untrained = _build(config)
        untrained.embedding_net.standardise(observe(scores))
        network, history = sbi_adapter.train(
            lambda: untrained,
            sbi_adapter.Simulations(z, lambda rows: observe(scores[rows]), observe(scores)),
            (held_z, observe(held_scores)),
            batch_size=settings.batch_size,
            patience=epochs,
            stages=[(epochs, rate)],
            matching=settings.flow == "matching",
        )
    return AmortisedPosterior([network], projection, sampler, config=config, history=history)


def ensemble(members):
    """An `AmortisedPosterior` whose density is the mean of its members', trained alike."""
    networks = [network for member in members for network in member.networks]
    config = members[0].config | {"n_networks": len(networks)}
    first = members[0]
    return AmortisedPosterior(networks, first.projection, first.sampler, config=config)


def principal_directions(sampler, lowest, *, settings=None):
    """Projection (n_times, n_scores) of responses to scores with noise N(0, noise factor).

    They are the principal directions of what the model answers to samples of the prior, after
    whitening, without those that are `faint` at the lowest noise factor. The projection is the same
    for all networks of a model, so they can be averaged.
    """
    settings = NetworkSettings() if settings is None else settings
    _, outputs = _simulate(sampler, settings.n_directions, np.random.default_rng(0))
    likelihood = sampler.likelihood
    whitened = likelihood.whiten(outputs)
    _, values, vectors = np.linalg.svd(whitened, full_matrices=False)
    heard = values**2 / len(whitened) > settings.faint * lowest
    whitener = likelihood.whiten(np.eye(outputs.shape[1]))
    return whitener @ vectors[heard | (values == values[0])].T


def _simulate(sampler, n, rng):
    """Coordinates (n, 8) of n samples of the prior and their outputs (n, n_times), those finite."""
    theta = sampler.prior.sample(n, rng)
    parts = [sampler.likelihood.respond(theta[i : i + CHUNK]) for i in range(0, n, CHUNK)]
    outputs = np.concatenate(parts)
    finite = np.isfinite(outputs).all(axis=1)
    return sampler.points(theta[finite]), outputs[finite]


def _inputs(scores, levels):
    """What a network sees: scores (n, n_scores) and log noise factors (n,), float32 torch."""
    return torch.from_numpy(np.column_stack([scores, np.log(levels)])).float()


def _one(observed):
    """One observation (n_times,) as a batch."""
    return np.asarray(observed)[np.newaxis]


# What a stored network's shape is known by. Older configurations lack what had no choice then.
_SHAPE = "width", "n_blocks", "hidden", "affine", "splines", "bins", "flow", "n_layers"
_SHAPE += ("n_time_features",)


def _build(config):
    """An untrained network."""
    known = {name: config[name] for name in _SHAPE if name in config}
    shape = NetworkSettings(**known)
    embedding = ScoreEmbedding(
        config["n_scores"], width=shape.width, n_blocks=shape.n_blocks, n_out=shape.hidden
    )
    sizes = N_COORDINATES, config["n_scores"] + 1, shape.hidden
    if shape.flow == "matching":
        return sbi_adapter.vector_field(
            embedding,
            sizes,
            width=shape.width,
            n_layers=shape.n_layers,
            n_time_features=shape.n_time_features,
        )
    return sbi_adapter.normal_flow(
        embedding,
        sizes,
        width=shape.hidden,
        n_affine=shape.affine,
        n_splines=shape.splines,
        n_bins=shape.bins,
    )
