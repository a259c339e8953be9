"""When not to trust the answer: could the recording have come from what the answer assumes?

An answer assumes a model, a stimulus, a head and a noise. Everything here is asked of the recording
before the answer is given, and each question has a p value that is uniform when nothing is wrong.

- The source's topography g takes one dimension of the channels. What is orthogonal to it in the
  metric of the noise is noise, whatever the source does: `noise_checks`.
- The best response that the model has must explain the waveform: `response_checks`. The lowest
  deviance, the prior's part included, is |e|^2 with e = (I + JJ')^(-1/2) (r - J z), where z are the
  parameters in coordinates in which the prior is N(0, I), r is the whitened residual there and
  J = U s V' its derivative. In a linear model e is N(0, I); so the deviance is a chi-square with
  as many degrees of freedom as the likelihood's rank, and e has a flat spectrum.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2, f, kstest, norm

# Each check, and what it says when it objects.
CHECKS = {
    "topography": "the scalp map of the response is not that of the assumed source and head",
    "noise level": "the noise is not as large as assumed",
    "electrodes": "the noise is correlated between electrodes in another way than assumed",
    "noise spectrum": "the noise has another spectrum than assumed",
    "response": "no response of the model explains the waveform",
    "parameters": "the best response asks for parameters that the prior hardly allows",
    "residual": "what the model leaves of the waveform has a shape: it is no noise",
}
# What the data are in if their noise is so many times the assumed one.
UNITS = {1e3: "millivolts", 1e6: "microvolts", 1e9: "nanovolts"}


@dataclass(frozen=True)
class CheckSettings:
    """How recordings are checked.

    level : probability that any of the checks objects to a recording with which nothing is wrong
    n_descents : to the best response, from the initial guesses whose responses are nearest
    n_prior_samples, prior_seed : samples of the prior that the best parameters are compared with,
        and the seed of these
    """

    level: float = 0.05
    n_descents: int = 4
    n_prior_samples: int = 10_000
    prior_seed: int = 0

    def __post_init__(self):
        if not 0 < self.level < 1:
            raise ValueError(f"level: got {self.level}, expected a number between 0 and 1")
        for name in ("n_descents", "n_prior_samples"):
            value = getattr(self, name)
            if value != int(value) or value < 1:
                raise ValueError(f"{name}: got {value}, expected a whole number from 1")


@dataclass(frozen=True)
class Verdict:
    """p values of the checks that were made, by their names in `CHECKS`, and what follows.

    level : probability of any objection where nothing is wrong
    """

    p_values: dict
    level: float = CheckSettings.level

    @property
    def corrected(self):
        """The p values after Holm: any below a level is a false alarm that often at most."""
        names = sorted(self.p_values, key=self.p_values.get)
        sizes = [(len(names) - i) * self.p_values[name] for i, name in enumerate(names)]
        return dict(zip(names, np.minimum(np.maximum.accumulate(sizes), 1.0), strict=True))

    @property
    def objections(self):
        """Names of the checks whose corrected p value is below the level, the smallest first."""
        return [name for name, p in self.corrected.items() if p < self.level]

    def __str__(self):
        if not self.objections:
            p = min(self.corrected.values())
            return f"No check objects to the recording (smallest corrected p value {p:.2g})."
        p = self.corrected
        told = [f"{CHECKS[name]} ({name}, p {_size(p[name])})" for name in self.objections]
        return f"Do not trust the answer: {'; '.join(told)}."


def check(sampler, spatial_filter, data, *, guesses, settings=None):
    """The `Verdict` on a recording, before an answer is given.

    sampler : `exact_posterior.ExactSampler` of the model at the assumed noise level
    spatial_filter : `SpatialFilter` of the assumed head; data : (n_channels, n_times) V, the
        averaged response
    guesses : (m, 8) samples, in the sampler's coordinates, of the posterior that is to be trusted
        or of the prior: the initial guesses at the best response
    settings : `CheckSettings`, the default ones if None
    Raises ValueError for data that are not finite, flat in a channel, of another length, or in
    another unit.
    """
    settings = CheckSettings() if settings is None else settings
    source, rest = spatial_filter.split(data)
    noise = noise_checks(sampler.likelihood, source, rest)
    response = response_checks(sampler, source, guesses, settings=settings)
    return Verdict(noise | response, settings.level)


def noise_checks(likelihood, source, rest):
    """p values of what must be noise, by name: a dict.

    likelihood : a `Likelihood`; source (n_times,), rest (k, n_times), mV : as of
        `SpatialFilter.split`
    topography : F test of the rest along the waveform's own time course, in which another
        topography shows, against the rest of the rest
    noise level : chi-square of that, on both sides
    electrodes, noise spectrum : `sphericity` and `flatness`
    Raises ValueError where the noise is a thousand times the assumed one, or a thousandth.
    """
    along = likelihood.whiten(source)
    along /= np.linalg.norm(along)
    noise = likelihood.whiten(rest)  # (k, rank), N(0, I)
    leak = noise @ along
    others = noise - np.outer(leak, along)
    n_leak, n_others = len(leak), len(leak) * (len(along) - 1)
    energy = np.sum(others**2)
    level = energy / n_others
    _check_unit(np.sqrt(level))
    scaled = others + np.outer(leak * np.sqrt(n_leak * level / (leak @ leak)), along)
    tail = min(chi2.cdf(energy, n_others), chi2.sf(energy, n_others))
    return {
        "topography": float(f.sf(leak @ leak / n_leak / level, n_leak, n_others)),
        "noise level": float(2.0 * tail),
        "electrodes": sphericity(scaled),
        "noise spectrum": flatness(scaled @ in_time(likelihood)),
    }


def response_checks(sampler, source, guesses, *, settings=None):
    """p values of the best response to a waveform (n_times,), mV, by name: a dict.

    sampler, guesses, settings : see `check`
    response : chi-square of the deviance |e|^2; residual : `flatness` of e
    parameters : the part of e along U, the parameters in prior standard deviations where these are
        known well, against samples of the prior: its products are not quite normal
    """
    settings = CheckSettings() if settings is None else settings
    likelihood = sampler.likelihood
    misfits = likelihood.whiten(likelihood.respond(sampler.theta(guesses)) - source)
    nearest = np.argsort(np.sum(misfits**2, axis=1))[: settings.n_descents]
    mode = sampler.fit(source, guesses[nearest])
    point, slopes = mode.points[mode.best], mode.jacobians[mode.best, len(guesses[0]) :]
    residual = mode.residuals[mode.best, len(guesses[0]) :]
    left, values, right = np.linalg.svd(slopes, full_matrices=False)
    moved = left.T @ residual
    asked = (moved - values * (right @ point)) / np.sqrt(1.0 + values**2)
    whole = residual + left @ (asked - moved)
    rng, n_samples = np.random.default_rng(settings.prior_seed), settings.n_prior_samples
    prior = sampler.points(sampler.prior.sample(n_samples, rng))
    as_far = np.sum(np.sum(prior**2, axis=1) >= asked @ asked)
    return {
        "response": float(chi2.sf(mode.costs.min(), likelihood.rank)),
        "residual": flatness(whole[np.newaxis] @ in_time(likelihood)),
        "parameters": float((1 + as_far) / (1 + n_samples)),
    }


def in_time(likelihood):
    """Rotation (rank, rank) from whitened coordinates to those that are nearest to samples in time.

    Where the covariance is singular there are fewer than samples: the first of these, in the
    baseline, have none.
    """
    whitener = likelihood.whiten(np.eye(len(likelihood.covariance)))
    vectors = whitener / np.linalg.norm(whitener, axis=0)
    left, _, right = np.linalg.svd(vectors[len(vectors) - likelihood.rank :])
    return (left @ right).T


def flatness(rows):
    """p value of a flat spectrum: rows (k, n) of white noise of any variance.

    Periodogram ordinates are independent and exponential, so their cumulated sum over the total is
    that of ordered uniform numbers: Bartlett's cumulative periodogram (Durbin, Biometrika 56,
    1969), by Kolmogorov and Smirnov's test. At each frequency the rows come one after the other.
    """
    power = np.abs(np.fft.rfft(rows, axis=1)[:, 1 : (rows.shape[1] + 1) // 2]) ** 2
    sums = np.cumsum(power.T.ravel())
    return float(kstest(sums[:-1] / sums[-1], "uniform").pvalue)


def sphericity(rows):
    """p value of independence and equal variance of rows (k, n), n samples of N(0, c I).

    John's statistic with its limit for k about as large as n (Ledoit & Wolf, Ann. Stat. 30, 2002).
    """
    k, n = rows.shape
    covariance = rows @ rows.T / n
    spread = np.sum((covariance / (np.trace(covariance) / k) - np.eye(k)) ** 2) / k
    return float(norm.sf((n * spread - k - 1.0) / 2.0))


def _size(p):
    return f"= {p:.2g}" if p > 1e-15 else "< 1e-15"


def _check_unit(ratio):
    """ValueError where the noise's sd is about 1e3, 1e6... of the assumed one, or 1e-3, 1e-6..."""
    power = 10.0 ** (3 * np.round(np.log10(ratio) / 3))
    if power != 1.0:
        unit = f", as if they were in {UNITS[power]}" if power in UNITS else ""
        raise ValueError(
            f"data: their noise is {ratio:.3g} times the assumed one{unit}, expected volts: "
            f"multiply them by {1.0 / power:g}; if they are in volts, the noise factor is wrong"
        )
