r"""When not to trust the answer: could the recording have come from what the answer assumes?

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
import pandas as pd
from scipy.linalg import null_space
from scipy.stats import chi2, f, kstest, norm

from jrlib import amortised, metrics, study
from jrlib.ceiling import FEWEST, Reference, fit
from jrlib.comparison import test_set
from jrlib.faults import FAULTS, record
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.reference import Likelihood
from jrlib.results import Result, check_tier, command_line

NAME = "trust"  # of the results in the store
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
N_DRAWS = 200  # of the estimator's posterior
PASSES = 50  # over the simulations, at most


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

    reference : `ceiling.Reference` of the model at the assumed noise level
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


@dataclass(frozen=True)
class Size:
    """How large a cell is.

    n_simulations, seen : of the estimator's training, see `calibration.Size`
    n_right, n_wrong : recordings with nothing wrong, and with each of the faults
    """

    n_simulations: int
    seen: int
    n_right: int
    n_wrong: int
    noise_factors: tuple = (1e4, 1e6)


SIZES = {
    "smoke": Size(200, 400, 3, 1, (1e4,)),
    "fast": Size(4000, 100_000, 20, 4),
    "paper": Size(30_000, 1_500_000, 60, 8),
}


def cell(convention, n_simulations, seen, seed, n_test, n_right, n_wrong, noise_factors):
    """Train an estimator, give it recordings with and without `FAULTS`, and check these.

    convention : name of a `Convention`; n_simulations, seen... : see `Size`
    n_test : size of the test set of `comparison`, whose first simulations are recorded

    Returns a `Result`: the table "recordings", a row each: noise_factor, fault, number, the p
    values of `CHECKS`, noticed (whether the `Verdict` has objections), answered (whether the
    estimator gave draws that the prior allows) and error, the root mean square over
    `IDENTIFIABLE_NAMES` of the posterior mean's error in posterior standard deviations; and the
    arrays truth, mean and std (rows, 13) of `QUANTITY_NAMES`.
    """
    test = test_set(convention, n_test, "standard")
    reference, sensors = Reference(Likelihood.of(test, 1.0)), Sensors(test.gain)
    epochs = max(2, min(PASSES, round(seen / n_simulations)))
    model = amortised.train(reference, n_simulations, seed=seed, epochs=epochs)
    rng = np.random.default_rng(seed)
    rows, found = [], []
    for noise_factor in noise_factors:
        assumed = reference.at(noise_factor)
        for fault, options in FAULTS.items():
            theta = test.theta[: n_wrong if options else n_right]
            recordings = record(theta, test, noise_factor, rng, **options)
            for number, data in enumerate(recordings):
                source, _ = sensors.split(data)
                starts, mean, std = _answer(model, source, noise_factor, rng)
                verdict = check(assumed, sensors, data, starts)
                truth = quantities(theta[number : number + 1])[0]
                rows.append(
                    {
                        "noise_factor": noise_factor,
                        "fault": fault,
                        "number": number,
                        **verdict.p_values,
                        "noticed": bool(verdict.objections),
                        "answered": bool(np.isfinite(mean).all()),
                        "error": np.sqrt(np.mean(((mean - truth) / std)[IDENTIFIABLE] ** 2)),
                    }
                )
                found.append({"truth": truth, "mean": mean, "std": std})
    arrays = {name: np.array([row[name] for row in found], np.float32) for name in found[0]}
    return Result({"recordings": pd.DataFrame(rows)}, arrays)


def _answer(model, source, noise_factor, rng):
    """Draws (N_DRAWS, 8), mean and std (13,) of an `Amortised` posterior given a waveform.

    Where it gives no draws that the prior allows, draws of the prior, and NaN.
    """
    try:
        (points,), _ = model.draw(
            source[np.newaxis], noise_factor, N_DRAWS, seed=int(rng.integers(2**31))
        )
    except ValueError:
        nothing = np.full(len(QUANTITY_NAMES), np.nan)
        return rng.standard_normal((N_DRAWS, amortised.N_COORDINATES)), nothing, nothing
    values = quantities(model.parameters(points, rng))
    return points, values.mean(axis=0), values.std(axis=0)


def summary(result):
    """What the checks and the estimator make of each fault: a DataFrame, from a cell's `Result`.

    Columns: noise_factor, fault, n (recordings), noticed (part of them), each of `CHECKS` (part of
    them to which it objects by itself, at `LEVEL`), answered (part), error (median) and correlation
    (of posterior mean and truth, mean over `IDENTIFIABLE_NAMES`; NaN for fewer than `FEWEST`).
    """
    table = result.tables["recordings"]
    rows = []
    for (noise_factor, fault), part in table.groupby(["noise_factor", "fault"], sort=False):
        kept = part.index[part.answered]
        truth, mean = (result.arrays[name][kept][:, IDENTIFIABLE] for name in ("truth", "mean"))
        enough = len(kept) >= FEWEST
        rows.append(
            {
                "noise_factor": noise_factor,
                "fault": fault,
                "n": len(part),
                "noticed": part.noticed.mean(),
                **(part[list(CHECKS)] < LEVEL).mean(),
                "answered": part.answered.mean(),
                "error": part.error.median(),
                "correlation": np.mean(metrics.pearson(truth, mean)) if enough else np.nan,
            }
        )
    return pd.DataFrame(rows)


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = vars(SIZES[tier]) | {"noise_factors": list(SIZES[tier].noise_factors)}
    n_test = study.SIZES[tier].n_test
    return [
        {"convention": convention, "seed": seed, "n_test": n_test, **size}
        for convention in study.CONVENTIONS
    ]


if __name__ == "__main__":
    from jrlib.trust import cell  # so that results are made by jrlib.trust, not by __main__

    command_line(NAME, cell, grid, study.SEED)
