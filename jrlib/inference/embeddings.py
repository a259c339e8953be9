"""What a flow is told of an observation: features of fixed size, and a network upon them."""

import torch
from torch import nn


class Embedding(nn.Module):
    """From observations (..., m) to the context of a flow (..., n_out).

    Observations span decades, so they are squeezed by asinh (`squeeze`), then standardised
    (`features`), and given to a network.
    """

    def __init__(self, n_features):
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("std", torch.ones(n_features))

    def standardise(self, x):
        """Take mean and standard deviation of the squeezed observations x (n, m)."""
        squeezed = self.squeeze(x)
        self.mean[:], self.std[:] = squeezed.mean(dim=0), squeezed.std(dim=0).clamp(min=1e-6)

    def features(self, x):
        """What the network starts from: squeezed and standardised, (..., n_features)."""
        return (self.squeeze(x) - self.mean) / self.std


class ResponseEmbedding(Embedding):
    """Of responses (..., n_times) in mV: their principal components, and two hidden layers.

    n_components : of the responses; width : of the layers; n_out : of the context
    """

    def __init__(self, n_times, n_components, *, width, n_out):
        super().__init__(n_components)
        self.register_buffer("components", torch.zeros(n_times, n_components))
        self.register_buffer("scale", torch.ones(n_components))
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
        return self.network(self.features(x))

    @classmethod
    def fit(cls, x, noise_covariance, *, width, n_out, max_components, min_power):
        """Take components and scales from noisy responses x (n, n_times).

        noise_covariance : (n_times, n_times) of the noise in x
        max_components : kept at most; min_power : of signal and noise together, in units of the
            noise's, below which a component is left out
        """
        _, values, vectors = torch.linalg.svd(x, full_matrices=False)
        noise = ((vectors @ noise_covariance) * vectors).sum(dim=1)
        above_noise = values**2 / len(x) > min_power * noise.clamp(min=0.0)
        keep = torch.nonzero(above_noise & (values > 1e-6 * values[0]))[:max_components, 0]
        keep = keep if len(keep) else torch.arange(1)  # all noise: one component says as much
        embedding = cls(x.shape[1], len(keep), width=width, n_out=n_out)
        embedding.components[:] = vectors[keep].T
        embedding.scale[:] = 3.0 * (x @ embedding.components).abs().median(dim=0).values
        embedding.standardise(x)
        return embedding


class ScoreEmbedding(Embedding):
    """Of scores and the logarithm of their noise's variance (..., n_scores + 1).

    The scores are taken in units of their noise. The network is a residual one.
    width, n_blocks : of the network; n_out : of the context
    """

    def __init__(self, n_scores, *, width, n_blocks, n_out):
        super().__init__(n_scores + 1)
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

    def forward(self, x):
        h = self.first(self.features(x))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)
