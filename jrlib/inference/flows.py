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

import contextlib
import io
import warnings

import numpy as np
import pandas as pd
import torch
from sbi.inference import NPE, DirectPosterior
from sbi.neural_nets import posterior_nn
from scipy.special import ndtri
from scipy.stats import qmc
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from jrlib.parameters import PARAMETER_NAMES, check_theta
from jrlib.priors import Prior

N_PARAMETERS = len(PARAMETER_NAMES)
MAX_COMPONENTS = 100  # of the principal components that the embedding sees
SAMPLES_AT_ONCE = 20_000  # bounds the memory of sampling; the samples depend on it
POINTS_AT_ONCE = 2000  # the same for means; up to rounding they do not depend on it


class Embedding(nn.Module):
    """From a response (..., n_times) in mV to the context of the flow (..., n_out).

    Principal components of the responses, each squeezed by asinh because amplitudes span decades,
    then standardised and given to a small fully connected network. Only components in which the
    signal has at least half the noise's power are kept, at most `MAX_COMPONENTS`.
    """

    def __init__(self, n_times, n_components, width, n_out=48):
        super().__init__()
        self.register_buffer("components", torch.zeros(n_times, n_components))
        self.register_buffer("scale", torch.ones(n_components))
        self.register_buffer("mean", torch.zeros(n_components))
        self.register_buffer("std", torch.ones(n_components))
        self.network = nn.Sequential(
            nn.Linear(n_components, width),
            nn.GELU(),
            nn.Linear(width, width),
            nn.GELU(),
            nn.Linear(width, n_out),
        )

    def squeeze(self, x):
        """asinh of the scaled principal components, (..., n_components)."""
        return torch.asinh(x @ self.components / self.scale)

    def forward(self, x):
        return self.network((self.squeeze(x) - self.mean) / self.std)

    @classmethod
    def fit(cls, x, noise_covariance, width):
        """Take components and scales from noisy responses x (n, n_times)."""
        _, values, vectors = torch.linalg.svd(x, full_matrices=False)
        noise = ((vectors @ noise_covariance) * vectors).sum(dim=1)
        above_noise = values**2 / len(x) > 1.5 * noise.clamp(min=0.0)
        keep = torch.nonzero(above_noise & (values > 1e-6 * values[0]))[:MAX_COMPONENTS, 0]
        keep = keep if len(keep) else torch.arange(1)  # all noise: one component says as much
        embedding = cls(x.shape[1], len(keep), width)
        embedding.components[:] = vectors[keep].T
        embedding.scale[:] = 3.0 * (x @ embedding.components).abs().median(dim=0).values
        squeezed = embedding.squeeze(x)
        embedding.mean[:], embedding.std[:] = squeezed.mean(dim=0), squeezed.std(dim=0)
        return embedding


class Posterior:
    """A trained amortised posterior over theta (9,), given a response (n_times,) in mV.

    config : JSON from which the network is rebuilt: n_times, n_components, the options of
        `train_npe`, and the prior
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
        with _isolated(0):
            self.sbi = DirectPosterior(network, _standard_normal())

    def sample(self, observation, n_samples, *, seed):
        """Draw (n_samples, 9) parameters in physical units for one observation (n_times,)."""
        return self.sample_batch(np.asarray(observation)[np.newaxis], n_samples, seed=seed)[0]

    def sample_batch(self, observations, n_samples, *, seed):
        """Draw (n, n_samples, 9) parameters in physical units for observations (n, n_times).

        Raises ValueError for observations of another length, with NaN or infinity, or flat.
        """
        z = self._sample_standard(self._check(observations), n_samples, seed)
        return self.prior.from_standard(z.reshape(-1, N_PARAMETERS)).reshape(z.shape)

    def mean(self, observations, *, seed, n_points=64, of=None):
        """Posterior means (n, 9), physical units: the estimate of least squared error.

        By quasi-Monte Carlo: scrambled Sobol points, a power of two of them, take the place of the
        flow's random numbers. 64 points err less than 500 samples would (tested).

        of : function of theta (n, 9) -> (n, k) whose posterior means (n, k) are wanted instead
        """
        x = self._check(observations)
        points = qmc.Sobol(N_PARAMETERS, rng=np.random.default_rng(seed)).random(n_points)
        points = torch.from_numpy(ndtri(np.clip(points, 1e-7, 1 - 1e-7))).float()[:, None]
        parts = []
        with _isolated(0), torch.no_grad():
            for part in x.split(max(1, POINTS_AT_ONCE // n_points)):
                flow = self.network.net(self.network.embedding_net(part))
                z = flow.transform.inv(points.expand(-1, len(part), -1)).double().numpy()
                theta = self.prior.from_standard(z.reshape(-1, N_PARAMETERS))
                values = theta if of is None else of(theta)
                parts.append(values.reshape(n_points, len(part), -1).mean(axis=0))
        return np.concatenate(parts)

    def log_prob(self, theta, observations):
        """Log density (n,) of theta (n, 9), in physical units, for observations (n, n_times).

        -inf outside the prior's support.
        """
        theta, x = check_theta(theta), self._check(observations)
        log_prior = self.prior.log_prob(theta)
        inside = np.isfinite(log_prior)
        if not inside.any():
            return log_prior
        z = torch.from_numpy(self.prior.to_standard(theta[inside])).float()
        # Densities change by the prior's own ratio: p(theta) d theta = N(z; 0, I) d z.
        gain = self._log_prob_standard(z[None], x[inside])[0] - _standard_normal().log_prob(z)
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
        with _isolated(0):
            embedding = Embedding(config["n_times"], config["n_components"], config["width"])
            blank = torch.zeros(2, N_PARAMETERS), torch.zeros(2, config["n_times"])
            network = _builder(config, embedding)(*blank)
        tensors = {name: torch.from_numpy(np.array(array)) for name, array in weights.items()}
        network.load_state_dict(tensors)
        return cls(network, config)

    def _sample_standard(self, x, n_samples, seed):
        """z (n, n_samples, 9) as a numpy array, for checked observations x."""
        if n_samples < 1 or n_samples != int(n_samples):
            raise ValueError(f"n_samples: got {n_samples}, expected a whole number from 1")
        rows = max(1, SAMPLES_AT_ONCE // int(n_samples))
        with _isolated(seed), torch.no_grad():
            parts = [self.network.sample((int(n_samples),), part) for part in x.split(rows)]
        return torch.cat(parts, dim=1).transpose(0, 1).double().numpy()

    def _log_prob_standard(self, z, x):
        """Log densities (n_samples, n) of z (n_samples, n, 9) for checked observations (n, ...)."""
        rows = max(1, SAMPLES_AT_ONCE // len(z))
        with _isolated(0), torch.no_grad():
            parts = zip(z.split(rows, dim=1), x.split(rows), strict=True)
            return torch.cat([self.network.log_prob(a, b) for a, b in parts], dim=1)

    def _check(self, observations):
        """Observations as float32 torch (n, n_times)."""
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


def train_npe(
    train,
    validation,
    *,
    noise_factor,
    seed,
    prior=None,
    epochs=40,
    patience=8,
    batch_size=64,
    learning_rate=1e-3,
    width=96,
    transforms=3,
    bins=8,
    frozen_noise=False,
):
    """Train a `Posterior` on the simulations of `train`; return it with its history.

    train, validation : `Dataset`, drawn from `prior` (a `Prior`, the default one if None)
    noise_factor : multiplies the sensor noise's covariance; the noise is drawn anew for every
        batch of `train` and once for `validation`
    epochs, patience : at most so many passes; stop after `patience` without a lower validation
        loss. The weights of the lowest one are kept.
    width : of the hidden layers, two in the embedding and two in each transform of the flow
    transforms, bins : of the spline flow
    frozen_noise : draw the noise of `train` only once, as the public code does
    Raises ValueError for simulations that are NaN (counting them) or too few for a batch.
    """
    prior = Prior() if prior is None else prior
    for name, dataset in (("train", train), ("validation", validation)):
        bad = int(np.sum(~np.isfinite(dataset.erp).all(axis=1)))
        if bad:
            raise ValueError(f"{name}: {bad} of {len(dataset)} simulations are NaN or infinite")
    if len(train) < 2 or len(validation) < 1:
        raise ValueError(
            f"train, validation: got {len(train)} and {len(validation)} simulations, expected at "
            f"least 2 and 1"
        )
    if epochs < 2 or epochs != int(epochs):
        raise ValueError(f"epochs: got {epochs}, expected a whole number from 2")
    noise = torch.Generator().manual_seed(seed)
    sets = [
        TensorDataset(
            torch.from_numpy(prior.to_standard(dataset.theta)).float(),
            dataset.source(np.arange(len(dataset)), noise_factor, noise),
            torch.ones(len(dataset), 1),  # sbi's mask: drawn from the prior
        )
        for dataset in (train, validation)
    ]
    covariance = noise_factor * train.source_noise**2 * train.covariance
    with _isolated(seed):
        embedding = Embedding.fit(sets[0].tensors[1], torch.from_numpy(covariance).float(), width)
        config = {
            "n_times": train.n_times,
            "n_components": embedding.components.shape[1],
            "width": width,
            "transforms": transforms,
            "bins": bins,
            "prior": {
                "kind": prior.kind,
                "truncated": prior.truncated,
                "ranges": [list(pair) for pair in prior.ranges],
            },
        }
        trainer = _Trainer(
            prior=_standard_normal(),
            density_estimator=_builder(config, embedding),
            tracker=_NoTracker(),
            show_progress_bars=False,
        )
        pairs = zip(*(part.tensors[:2] for part in sets), strict=True)
        trainer.append_simulations(*(torch.cat(pair) for pair in pairs))
        z, frozen, _ = sets[0].tensors
        fresh = lambda rows: train.source(rows, noise_factor, noise)  # noqa: E731
        trainer.shown = _Simulations(z, frozen.__getitem__ if frozen_noise else fresh)
        trainer.held_out = sets[1]
        # sbi keeps one learning rate; a second stage at a fifth of it settles what Adam stirs up.
        options = {"training_batch_size": batch_size, "stop_after_epochs": patience}
        last = int(epochs) - 1  # sbi counts epochs from 0
        trainer.train(learning_rate=learning_rate, max_num_epochs=max(1, 2 * last // 3), **options)
        trainer._epochs_since_last_improvement = 0
        trainer.optimizer.param_groups[0]["lr"] = learning_rate / 5.0
        network = trainer.train(resume_training=True, max_num_epochs=last, **options)
    history = pd.DataFrame(
        {
            "train_loss": trainer.summary["training_loss"],
            "validation_loss": trainer.summary["validation_loss"],
        }
    )
    expected = [_standard_normal().log_prob(part.tensors[0]).mean().item() for part in sets]
    history += expected
    history.insert(0, "epoch", np.arange(1, len(history) + 1))
    return Posterior(network, config, history)


def _standard_normal():
    return torch.distributions.MultivariateNormal(
        torch.zeros(N_PARAMETERS), torch.eye(N_PARAMETERS), validate_args=False
    )


def _builder(config, embedding):
    """sbi's function that makes the flow. z and x are standardised already."""
    return posterior_nn(
        "zuko_nsf",
        z_score_theta="none",
        z_score_x="none",
        hidden_features=[config["width"]] * 2,
        num_transforms=config["transforms"],
        num_bins=config["bins"],
        embedding_net=embedding,
    )


@contextlib.contextmanager
def _isolated(seed):
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


class _Split:
    """Our own split in a trainer of sbi's: `shown` to train on, `held_out` for validation."""

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


class _Trainer(_Split, NPE):
    """sbi's NPE with our own split."""


class _Simulations(torch.utils.data.Dataset):
    """Parameters z (n, 9) and a function that observes them: rows -> x (len(rows), n_times)."""

    def __init__(self, z, observe):
        self.z, self.observe = z, observe

    def __len__(self):
        return len(self.z)

    def __getitems__(self, rows):
        return self.z[rows], self.observe(rows), torch.ones(len(rows), 1)


class _NoTracker:
    """sbi writes TensorBoard logs unless it is given something else to report to."""

    log_dir = None

    def ignore(self, *args, **kwargs):
        pass

    log_metric = log_metrics = log_params = add_figure = flush = ignore
