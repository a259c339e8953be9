"""Neural posterior estimation (NPE) of all nine parameters at once, and how to check it.

NPE, once called SNPE, trains a conditional density q(theta | x) on simulated pairs (theta, x) by
maximum likelihood; one network then answers for every observation. We use the `sbi` package with a
neural spline flow (Durkan et al., 2019), and depart from its defaults in three ways:

- The flow lives in the coordinates z = `Prior.to_standard(theta)`, where the prior is N(0, I) on
  all of R^9. No mass can leak out of the prior's range, and no sample has to be rejected.
- Training sees new sensor noise in every batch, and validation sees other simulations, not other
  noise on the same ones. sbi itself trains on a fixed set that it splits at random.
- Nothing global changes: not torch's random state, not its number of threads; no log is written.

An observation is the matched filter's output (`Dataset.source`): with one source and white sensor
noise it is a sufficient statistic of the sensors.
"""

from dataclasses import dataclass

import numpy as np
import torch
from sbi.inference import DirectPosterior
from scipy.special import ndtri
from scipy.stats import qmc

from jrlib.inference import sbi_adapter
from jrlib.inference.embeddings import ResponseEmbedding
from jrlib.inference.sbi_adapter import isolated
from jrlib.parameters import PARAMETER_NAMES, check_theta
from jrlib.priors import Prior

N_PARAMETERS = len(PARAMETER_NAMES)
# Samples that are drawn at once. This bounds the memory; the samples depend on it as on the seed.
SAMPLES_AT_ONCE = 20_000
POINTS_AT_ONCE = 2000  # the same for means, which depend on it only up to rounding


@dataclass(frozen=True)
class NPESettings:
    """How `train_npe` trains.

    epochs, patience : passes over the simulations at most, and how many without a lower validation
        loss end a stage. The weights of the lowest one are kept.
    batch_size, learning_rate : of the first stage
    second_stage : fraction of the epochs after which the second stage begins, from the best weights
        so far; learning_rate_divisor : of the learning rate there, which settles what Adam stirs up
    width : of the hidden layers, two in the embedding and two in each transform of the flow
    transforms, bins : of the spline flow; n_context : outputs of the embedding
    max_components : of the principal components that the embedding sees
    min_power : of signal and noise together, in units of the noise's, that a component has at least
    frozen_noise : draw the noise of the training simulations only once, as the public code does
    """

    epochs: int = 40
    patience: int = 8
    batch_size: int = 64
    learning_rate: float = 1e-3
    second_stage: float = 2.0 / 3.0
    learning_rate_divisor: float = 5.0
    width: int = 96
    transforms: int = 3
    bins: int = 8
    n_context: int = 48
    max_components: int = 100
    min_power: float = 1.5
    frozen_noise: bool = False


class Posterior:
    """A trained amortised posterior over theta (9,), given a response (n_times,) in mV.

    config : JSON from which the network is rebuilt: n_times, n_components, width, transforms,
        bins, n_context, and the prior
    prior : the `Prior` that the training simulations were drawn from
    sbi : the same as `sbi.inference.DirectPosterior` over z = prior.to_standard(theta), for the
        tools of sbi; prior there is N(0, I)
    history : DataFrame of the training: epoch, train_loss, validation_loss, in nats, or None. A
        loss is the mean of log p(z) - log q(z | x): 0 for knowing no more than the prior.
    """

    def __init__(self, network, config, history=None):
        self.network, self.config, self.history = network.eval(), config, history
        self.prior = Prior(**config["prior"])
        self.n_times = config["n_times"]
        with isolated(0):
            self.sbi = DirectPosterior(network, _standard_normal())

    def sample(self, observation, n_samples, *, seed, **options):
        """Samples (n_samples, 9) of theta in physical units for one observation (n_times,).

        options : see `sample_batch`
        """
        return self.sample_batch(
            np.asarray(observation)[np.newaxis], n_samples, seed=seed, **options
        )[0]

    def sample_batch(self, observations, n_samples, *, seed, at_once=SAMPLES_AT_ONCE):
        """Samples (n, n_samples, 9) of theta in physical units for observations (n, n_times).

        at_once : samples that are drawn at once; they depend on it as on the seed
        Raises ValueError for observations of another length, with NaN or infinity, or flat.
        """
        z = self.sample_standard(self.checked(observations), n_samples, seed=seed, at_once=at_once)
        return self.prior.from_standard(z.reshape(-1, N_PARAMETERS)).reshape(z.shape)

    def mean(self, observations, *, seed, n_points=64, of=None):
        """Posterior means (n, 9), physical units: the estimate of least squared error.

        By quasi-Monte Carlo: scrambled Sobol points, a power of two of them, take the place of the
        flow's random numbers. 64 points err less than 500 samples would (tested).

        of : function of theta (n, 9) -> (n, k) whose posterior means (n, k) are wanted instead
        """
        x = self.checked(observations)
        points = qmc.Sobol(N_PARAMETERS, rng=np.random.default_rng(seed)).random(n_points)
        points = torch.from_numpy(ndtri(np.clip(points, 1e-7, 1 - 1e-7))).float()[:, None]
        parts = []
        with isolated(0), torch.no_grad():
            for part in x.split(max(1, POINTS_AT_ONCE // n_points)):
                flow = sbi_adapter.given(self.network, part)
                z = flow.transform.inv(points.expand(-1, len(part), -1)).double().numpy()
                theta = self.prior.from_standard(z.reshape(-1, N_PARAMETERS))
                values = theta if of is None else of(theta)
                parts.append(values.reshape(n_points, len(part), -1).mean(axis=0))
        return np.concatenate(parts)

    def log_prob(self, theta, observations):
        """Log density (n,) of theta (n, 9), in physical units, for observations (n, n_times).

        -inf outside the prior's support.
        """
        theta, x = check_theta(theta), self.checked(observations)
        log_prior = self.prior.log_prob(theta)
        inside = np.isfinite(log_prior)
        if not inside.any():
            return log_prior
        z = torch.from_numpy(self.prior.to_standard(theta[inside])).float()
        # Densities change by the prior's own ratio: p(theta) d theta = N(z; 0, I) d z.
        gain = self.log_prob_standard(z[None], x[inside])[0] - _standard_normal().log_prob(z)
        log_prior[inside] += gain.double().numpy()
        return log_prior

    def state(self):
        """Weights (dict of name -> array) and config (JSON): all that `from_state` needs."""
        weights = {
            name: tensor.numpy().copy() for name, tensor in self.network.state_dict().items()
        }
        return weights, self.config

    @classmethod
    def from_state(cls, weights, config):
        """Rebuild a posterior from what `state` returned."""
        with isolated(0):
            n_context = config.get("n_context", NPESettings.n_context)  # older ones do not say
            embedding = ResponseEmbedding(
                config["n_times"], config["n_components"], width=config["width"], n_out=n_context
            )
            network = _build(config, embedding)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        network.load_state_dict(tensors)
        return cls(network, config)

    def sample_standard(self, x, n_samples, *, seed, at_once=SAMPLES_AT_ONCE):
        """Samples z (n, n_samples, 9) in standard coordinates, for `checked` observations x."""
        if n_samples < 1 or n_samples != int(n_samples):
            raise ValueError(f"n_samples: got {n_samples}, expected a whole number from 1")
        rows = max(1, at_once // int(n_samples))
        with isolated(seed), torch.no_grad():
            parts = [self.network.sample((int(n_samples),), part) for part in x.split(rows)]
        return torch.cat(parts, dim=1).transpose(0, 1).double().numpy()

    def log_prob_standard(self, z, x):
        """Log densities (n_samples, n) of z (n_samples, n, 9) for `checked` observations."""
        rows = max(1, SAMPLES_AT_ONCE // len(z))
        with isolated(0), torch.no_grad():
            parts = zip(z.split(rows, dim=1), x.split(rows), strict=True)
            return torch.cat([self.network.log_prob(a, b) for a, b in parts], dim=1)

    def checked(self, observations):
        """Observations (n, n_times) as float32 torch; ValueError as of `sample_batch`."""
        x = np.asarray(observations, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.n_times or len(x) == 0:
            raise ValueError(
                f"observations: got shape {x.shape}, expected (n, {self.n_times}): the times that "
                f"the posterior was trained on, n from 1"
            )
        bad = np.flatnonzero(~np.isfinite(x).all(axis=1))
        if len(bad):
            raise ValueError(
                f"observations: NaN or infinity in row {bad[0]} ({len(bad)} such rows)"
            )
        flat = np.flatnonzero(np.ptp(x, axis=1) == 0)
        if len(flat):
            raise ValueError(
                f"observations: row {flat[0]} is constant ({len(flat)} such rows); no response"
            )
        return torch.from_numpy(x)


def train_npe(train, validation, *, noise_factor, seed, prior=None, settings=None):
    """Train a `Posterior` on the simulations of `train`; return it with its history.

    train, validation : `Dataset`, drawn from `prior` (a `Prior`, the default one if None)
    noise_factor : multiplies the sensor noise's covariance; the noise is drawn anew for every
        batch of `train` and once for `validation`
    settings : `NPESettings`
    Raises ValueError for simulations that are NaN (counting them) or too few for a batch.
    """
    prior = Prior() if prior is None else prior
    settings = NPESettings() if settings is None else settings
    for name, dataset in (("train", train), ("validation", validation)):
        bad = int(np.sum(~np.isfinite(dataset.erp).all(axis=1)))
        if bad:
            raise ValueError(f"{name}: {bad} of {len(dataset)} simulations are NaN or infinite")
    if len(train) < 2 or len(validation) < 1:
        raise ValueError(
            f"train, validation: got {len(train)} and {len(validation)} simulations, expected at "
            f"least 2 and 1"
        )
    if settings.epochs < 2 or settings.epochs != int(settings.epochs):
        raise ValueError(f"epochs: got {settings.epochs}, expected a whole number from 2")
    noise = torch.Generator().manual_seed(seed)
    (z, x), held_out = (
        (
            torch.from_numpy(prior.to_standard(dataset.theta)).float(),
            dataset.source(np.arange(len(dataset)), noise_factor, noise),
        )
        for dataset in (train, validation)
    )

    def observe(rows):
        return x[rows] if settings.frozen_noise else train.source(rows, noise_factor, noise)

    covariance = noise_factor * train.source_noise**2 * train.covariance
    with isolated(seed):
        embedding = ResponseEmbedding.fit(
            x,
            torch.from_numpy(covariance).float(),
            width=settings.width,
            n_out=settings.n_context,
            max_components=settings.max_components,
            min_power=settings.min_power,
        )
        config = {
            "n_times": train.n_times,
            "n_components": embedding.components.shape[1],
            "width": settings.width,
            "transforms": settings.transforms,
            "bins": settings.bins,
            "n_context": settings.n_context,
            "prior": {
                "kind": prior.kind,
                "truncated": prior.truncated,
                "ranges": [list(pair) for pair in prior.ranges],
            },
        }
        epochs, rate = int(settings.epochs), settings.learning_rate
        # Rounding must not make an epoch less of an exact fraction.
        first = max(1, int(settings.second_stage * (epochs - 1) + 1e-9)) + 1
        network, history = sbi_adapter.train(
            lambda: _build(config, embedding),
            sbi_adapter.Simulations(z, observe, x),
            held_out,
            batch_size=settings.batch_size,
            patience=settings.patience,
            prior=_standard_normal(),
            stages=[
                (first, lambda epoch: rate),
                (epochs, lambda epoch: rate / settings.learning_rate_divisor),
            ],
        )
    for name, part in (("train_loss", z), ("validation_loss", held_out[0])):
        history[name] += _standard_normal().log_prob(part).mean().item()
    return Posterior(network, config, history)


def _standard_normal():
    return torch.distributions.MultivariateNormal(
        torch.zeros(N_PARAMETERS), torch.eye(N_PARAMETERS), validate_args=False
    )


def _build(config, embedding):
    """An untrained network. Its parameters and observations are standardised already."""
    return sbi_adapter.normal_flow(
        embedding,
        (N_PARAMETERS, config["n_times"], config.get("n_context", NPESettings.n_context)),
        width=config["width"],
        n_affine=0,
        n_splines=config["transforms"],
        n_bins=config["bins"],
    )
