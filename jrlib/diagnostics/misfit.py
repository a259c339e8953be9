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

The cells put faults into recordings of which the truth is known, and note what the checks and the
estimator say. At the paper tier a cell trains for about four processor minutes; a recording that
the model explains takes half a second, another one two or three: about ten minutes in all.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import null_space
from scipy.stats import chi2, f, kstest, norm

from jrlib.inference.exact_posterior import fit
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES

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
N_STARTS = 4  # descents to the best response
N_PRIOR = 10_000  # draws of the prior
LEVEL = 0.05  # of all checks together
UNITS = {1e3: "millivolts", 1e6: "microvolts", 1e9: "nanovolts"}
IDENTIFIABLE = [QUANTITY_NAMES.index(name) for name in IDENTIFIABLE_NAMES]


@dataclass(frozen=True)
class Verdict:
    """p values of the checks that were made, by their names in `CHECKS`, and what follows."""

    p_values: dict

    @property
    def corrected(self):
        """The p values after Holm: any below a level is a false alarm that often at most."""
        names = sorted(self.p_values, key=self.p_values.get)
        sizes = [(len(names) - i) * self.p_values[name] for i, name in enumerate(names)]
        return dict(zip(names, np.minimum(np.maximum.accumulate(sizes), 1.0), strict=True))

    @property
    def objections(self):
        """Names of the checks whose corrected p value is below `LEVEL`, the smallest first."""
        return [name for name, p in self.corrected.items() if p < LEVEL]

    def __str__(self):
        if not self.objections:
            p = min(self.corrected.values())
            return f"No check objects to the recording (smallest corrected p value {p:.2g})."
        p = self.corrected
        told = [f"{CHECKS[name]} ({name}, p {_size(p[name])})" for name in self.objections]
        return f"Do not trust the answer: {'; '.join(told)}."


class Sensors:
    """What the answer assumes of the sensors: one source, and noise of a known shape.

    gain : (n_channels,) V per mV of the source, average reference
    covariance : (n_channels, n_channels) of the raw noise over the channels, up to a factor;
        independent by default. The average reference is taken here.
    """

    def __init__(self, gain, covariance=None):
        n = len(gain)
        covariance = np.eye(n) if covariance is None else covariance
        centre = np.eye(n) - 1.0 / n
        values, vectors = np.linalg.eigh(centre @ covariance @ centre)
        whitener = vectors[:, 1:] / np.sqrt(values[1:])  # without the mean over the channels
        topography = whitener.T @ gain
        size = np.linalg.norm(topography)
        self._filter = whitener @ topography / size**2
        self._rest = whitener @ null_space(topography[np.newaxis]) / size

    def split(self, data):
        """The source's waveform (n_times,) and the rest (n_channels - 2, n_times), both in mV.

        data : (n_channels, n_times) V. Each row of the rest has independent noise of the same
        covariance as the waveform's, that of least variance, and nothing of the source.
        Raises ValueError for another number of channels, and for channels with NaN or flat.
        """
        data = np.asarray(data, dtype=float)
        if data.ndim != 2 or len(data) != len(self._filter):
            raise ValueError(
                f"data: got shape {data.shape}, expected ({len(self._filter)}, n_times), a row for "
                f"each channel of the gain"
            )
        faults = {
            "NaN or infinity": (
                ~np.isfinite(data).all(axis=1),
                "repair them or leave them out of data and gain",
            ),
            "no signal at all": (np.ptp(data, axis=1) == 0, "leave them out of data and gain"),
        }
        for fault, (bad, remedy) in faults.items():
            if bad.any():
                raise ValueError(f"data: {fault} in channels {np.flatnonzero(bad)}; {remedy}")
        return self._filter @ data, self._rest.T @ data


def check(reference, sensors, data, starts):
    """The `Verdict` on a recording, before an answer is given.

    reference : `exact_posterior.Reference` of the model at the assumed noise level
    sensors : `Sensors`; data : (n_channels, n_times) V, the averaged response
    starts : (m, 8) draws, in the reference's coordinates, of the posterior that is to be trusted or
        of the prior, from which the best response is looked for
    Raises ValueError for data that are not finite, flat in a channel, of another length, or in
    another unit.
    """
    source, rest = sensors.split(data)
    noise = noise_checks(reference.likelihood, source, rest)
    return Verdict(noise | response_checks(reference, source, starts))


def noise_checks(likelihood, source, rest):
    """p values of what must be noise, by name: a dict. Arguments: see `Sensors.split`.

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


def response_checks(reference, source, starts):
    """p values of the best response to a waveform (n_times,), mV, by name: a dict.

    starts : see `check`
    response : chi-square of the deviance |e|^2; residual : `flatness` of e
    parameters : the part of e along U, the parameters in prior standard deviations where these are
        known well, against draws of the prior: its products are not quite normal
    """
    likelihood = reference.likelihood
    misfits = likelihood.whiten(likelihood.respond(reference.theta(starts)) - source)
    nearest = np.argsort(np.sum(misfits**2, axis=1))[:N_STARTS]
    mode = fit(reference, source, starts[nearest])
    point, slopes = mode.points[mode.best], mode.jacobians[mode.best, len(starts[0]) :]
    residual = mode.residuals[mode.best, len(starts[0]) :]
    left, values, right = np.linalg.svd(slopes, full_matrices=False)
    moved = left.T @ residual
    asked = (moved - values * (right @ point)) / np.sqrt(1.0 + values**2)
    whole = residual + left @ (asked - moved)
    prior = reference.points(reference.prior.sample(N_PRIOR, np.random.default_rng(0)))
    as_far = np.sum(np.sum(prior**2, axis=1) >= asked @ asked)
    return {
        "response": float(chi2.sf(mode.costs.min(), likelihood.rank)),
        "residual": flatness(whole[np.newaxis] @ in_time(likelihood)),
        "parameters": float((1 + as_far) / (1 + N_PRIOR)),
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
