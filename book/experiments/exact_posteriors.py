"""How well could anyone do? Exact posteriors of many observations, and what they allow.

The likelihood is exact (`likelihood.Likelihood`), so the posterior can be sampled without any
training (`exact_posterior.ExactSampler`). Its mean is the estimate of least squared error: no
method whatsoever correlates better with the truth, on average over the prior.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.compared_methods import VARIANTS, SimulationSettings, test_set
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, N_TEST, TEST
from jrlib.diagnostics import scoring
from jrlib.diagnostics.calibration import coverage
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

FEWEST_SCORED = 3  # observations of which a correlation can be spoken
ENVELOPE_LEVEL = 0.999  # pointwise, at which a whole line of ranks stays in its envelope in 95 %
OUTCOMES = ("accepted", "no mode found", "given up", "poor")
ALL_EIGHT = "all eight"  # the row of the mean over the identifiable quantities


@dataclass(frozen=True)
class Config:
    """Exact posteriors of a block of test observations of the comparison.

    convention : name of a `Convention`; noise_factor : above 0
    first, n_observations : of the test simulations, by number
    seed : of the random numbers, with the observation's number
    variant : of the comparison; from it follow the simulations and the prior of these
    n_test : number of all test simulations
    n_samples, most_samples : of each posterior, at first and at most
    n_kept : equally weighted samples of each that are kept, among which the truth is ranked
    """

    convention: str
    noise_factor: float
    first: int
    seed: int
    variant: str = "standard"
    n_observations: int = 20
    n_test: int = 2000
    n_samples: int = 1000
    most_samples: int = 6000
    n_kept: int = 99
    sampler: SamplerSettings = field(default=SamplerSettings())
    simulations: SimulationSettings = field(default=SimulationSettings(), metadata={"named": False})


# How many observations there are for each variant, convention and noise factor; these are computed
# in blocks. The numbers of samples are those of `Config`.
SIZES = {
    "smoke": {
        "n_observations": {("standard", name, 1.0): 4 for name in CONVENTIONS}
        | {("uniform", "CLASSIC", 1.0): 3},
        "n_samples": 1000,
        "most_samples": 6000,
    },
    "fast": {
        "n_observations": {("standard", name, 1.0): 6 for name in CONVENTIONS}
        | {("uniform", "CLASSIC", 1.0): 6},
        "n_samples": 500,
        "most_samples": 3000,
    },
    "paper": {
        "n_observations": {
            ("standard", name, factor): 200
            for name in CONVENTIONS
            for factor in (1.0, 1e2, 1e4, 1e6)
        }
        # There are more at the noise of the study, for the ranks of the truth.
        | {("standard", "CLASSIC", 1.0): 300}
        | {("uniform", "CLASSIC", 1.0): 60},
        "n_samples": 1000,
        "most_samples": 6000,
    },
}


def run(config):
    """Sample the posteriors of test observations first..first + n_observations - 1.

    Returns a `Result`: the table "observations", a row each: number, accepted, ess (the effective
    sample size), rhat, largest_weight, n_modes, deviance, n_simulations; and arrays, float32:
    truth, mean and std (n, 13) of `QUANTITY_NAMES`; ranks (n, 13), how many of the kept samples lie
    below the truth; these samples (n, n_kept, 9) of theta; spread and bound (n, 8), the posterior's
    standard deviations in the coordinates of `ExactSampler`, and those that the Fisher information
    at the truth, the prior's included, allows a linear model (Cramer-Rao). Where no mode was found
    there is NaN.
    """
    test = test_set(config.convention, config.n_test, config.simulations)
    observed = test.observe(config.noise_factor, seed=TEST)
    sampler = ExactSampler(
        Likelihood.of(test, config.noise_factor),
        config.simulations.prior,
        settings=config.sampler,
    )
    rows, arrays = [], []
    for number in range(config.first, config.first + config.n_observations):
        rng = np.random.default_rng([config.seed, number])
        found = sampler.posterior(observed[number], config.n_samples, rng, most=config.most_samples)
        theta = test.theta[number : number + 1]
        truth, kept = quantities(theta)[0], found.resample(config.n_kept, rng)
        kept = np.hstack([kept, kept[:, 4:8] * kept[:, 8:]])  # NaN for a failure, like all else
        rows.append(
            {
                "number": number,
                "accepted": found.accepted,
                "ess": round(found.effective_sample_size, 1),
                "rhat": round(found.rhat, 5),
                "largest_weight": round(float(found.weights.max(initial=0.0)), 5),
                "n_modes": found.n_modes,
                "deviance": round(found.deviance, 3),
                "n_simulations": found.n_simulations,
            }
        )
        arrays.append(
            {
                "truth": truth,
                "mean": found.mean,
                "std": found.std,
                "ranks": np.sum(kept < truth, axis=0) if len(found.samples) else found.mean,
                "samples": kept[:, :9],
                "spread": sampler.spread(found),
                "bound": sampler.bound(theta),
            }
        )
    stacked = {name: np.array([row[name] for row in arrays], np.float32) for name in arrays[0]}
    return Result({"observations": pd.DataFrame(rows)}, stacked)


def grid(tier, seed):
    """The configurations of a tier, those of the standard variant first."""
    check_tier(tier)
    sizes = dict(SIZES[tier])
    block = Config.n_observations
    return [
        Config(
            convention,
            noise_factor,
            first,
            seed,
            variant=variant,
            n_observations=min(block, n - first),
            n_test=N_TEST[tier],
            simulations=VARIANTS[variant].test,
            **sizes,
        )
        for (variant, convention, noise_factor), n in sizes.pop("n_observations").items()
        for first in range(0, n, block)
    ]


EXPERIMENT = Experiment(
    "exact_posteriors",
    Config,
    run,
    grid,
    tables={
        "observations": {
            "number": int,
            "accepted": bool,
            "ess": float,
            "rhat": float,
            "largest_weight": float,
            "n_modes": int,
            "deviance": float,
            "n_simulations": int,
        }
    },
)


def by_setting(found):
    """The runs of each convention and noise factor: a dict of these pairs -> `runs.Found`.

    found : of runs of one variant. Where an observation is not accepted, its arrays are there all
    the same: the caller decides.
    """
    settings = found.runs[["convention", "noise_factor"]].drop_duplicates()
    return {
        (convention, noise_factor): found.where(convention=convention, noise_factor=noise_factor)
        for convention, noise_factor in settings.itertuples(index=False)
    }


def scores(found, prior=None, *, n_bootstrap=1000):
    """What the posterior means of accepted observations score: see `scoring.score`.

    found : a `runs.Found` of one variant; prior : the `Prior` of that variant
    Returns a DataFrame with the columns of `scoring.score`, convention and noise_factor, and a
    further metric, "contraction": 1 - mean posterior variance over prior variance, with an interval
    over the observations from the same resampling. Where fewer than `FEWEST_SCORED` observations
    are accepted there is nothing to score, and no rows; ValueError where that is so everywhere.
    """
    scale, frames = (Prior() if prior is None else prior).quantity_std, []
    for (convention, noise_factor), runs in by_setting(found).items():
        kept = runs.table("observations").accepted.to_numpy()
        if kept.sum() < FEWEST_SCORED:
            continue
        truth, mean = runs.stack("truth")[kept], runs.stack("mean")[kept]
        frame = scoring.score(truth, mean, QUANTITY_NAMES, scale=scale, n_bootstrap=n_bootstrap)
        variance = (runs.stack("std")[kept] / scale) ** 2
        rows = np.random.default_rng(0).integers(len(variance), size=(n_bootstrap, len(variance)))
        low, high = np.quantile(1.0 - variance[rows].mean(axis=1), [0.025, 0.975], axis=0)
        contraction = {
            "parameter": QUANTITY_NAMES,
            "metric": "contraction",
            "value": 1.0 - variance.mean(axis=0),
            "low": low,
            "high": high,
            "n": len(variance),
        }
        frame = pd.concat([frame, pd.DataFrame(contraction)], ignore_index=True)
        frames.append(frame.assign(convention=convention, noise_factor=noise_factor))
    if not frames:
        raise ValueError(f"found: fewer than {FEWEST_SCORED} observations are accepted everywhere")
    return pd.concat(frames, ignore_index=True)


def outcome(table):
    """How the sampling of each observation went: a Series of `OUTCOMES`.

    table : "observations" of a `runs.Found`. "no mode found": no descent has explained the data, or
    none of the samples has any weight; "given up": they would take more simulations than allowed;
    "poor": they are there, but fail `ExactPosterior.accepted`.
    """
    nothing = table.n_modes == 0
    too_many = table.n_simulations > table["sampler.max_simulations"]
    cases = [table.accepted, nothing & too_many, nothing]
    went = np.select(cases, ["accepted", "given up", "no mode found"], "poor")
    return pd.Series(went, table.index)


def outcomes(found):
    """How the sampling of each posterior went, beside the rates of the synapses that made the data.

    found : a `runs.Found` of one variant
    Returns a DataFrame, a row each: convention, noise_factor, number, b_e and b_i of the truth
    (1/s), and outcome, one of `OUTCOMES`.
    """
    table, truth = found.table("observations"), found.stack("truth")
    rates = {name: truth[:, QUANTITY_NAMES.index(name)] for name in ("b_e", "b_i")}
    table = table.assign(**rates, outcome=outcome(table))
    return table[["convention", "noise_factor", "number", *rates, "outcome"]]


def summary(table):
    """How the sampling went: a DataFrame, a row for each convention and noise factor.

    table : "observations" of a `runs.Found` of one variant
    Columns: convention, noise factor, observations, how many had each of the `OUTCOMES`, and
    medians over the accepted of effective sample size, simulations (for an effective sample), R-hat
    and deviance (about the number of points in time where the model explains the data).
    """
    rows = []
    settings = table.groupby(["convention", "noise_factor"], sort=False)
    for (convention, noise_factor), part in settings:
        kept, went = part[part.accepted], outcome(part)
        rows.append(
            {
                "convention": convention,
                "noise factor": noise_factor,
                "observations": len(part),
                **{name: int((went == name).sum()) for name in OUTCOMES},
                "effective samples": kept.ess.median(),
                "simulations": (kept.n_simulations / kept.ess).median(),
                "R-hat": kept.rhat.median(),
                "deviance": kept.deviance.median(),
            }
        )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Optimum:
    """Optimal estimates of some test observations, those whose exact posterior was accepted.

    numbers : (n,) of the observations; truth, mean : (n, 13) of `QUANTITY_NAMES`
    """

    numbers: np.ndarray
    truth: np.ndarray
    mean: np.ndarray

    def among(self, numbers):
        """Those of the observations that have one of these numbers."""
        kept = np.isin(self.numbers, numbers)
        return Optimum(self.numbers[kept], self.truth[kept], self.mean[kept])


def optima(found):
    """The `Optimum` for each convention and noise factor of runs of one variant: a dict."""
    known = {}
    for setting, runs in by_setting(found).items():
        table = runs.table("observations")
        kept = table.accepted.to_numpy()
        numbers = table.number.to_numpy()[kept]
        known[setting] = Optimum(numbers, runs.stack("truth")[kept], runs.stack("mean")[kept])
    return known


def fractions_of_optimal(estimates, optima, *, n_bootstrap=1000):
    """What fraction of the optimal correlation estimates reach: see `scoring.fraction_of_optimal`.

    estimates : list of (labels, values). labels : a dict with convention, noise_factor and whatever
        else tells these estimates from others; values : (n, 13), or (s, n, 13) for s trainings, of
        the first n test observations
    optima : dict of convention and noise factor -> `Optimum`; these observations count, as far as
        they have been estimated

    Returns a DataFrame with the columns of `scoring.fraction_of_optimal` and the labels: a row for
    each of `IDENTIFIABLE_NAMES`, and one for `ALL_EIGHT`, their mean correlation over their mean
    optimal correlation. Estimates for which there is no optimum, or fewer than `FEWEST_SCORED`
    common observations, and such as have no correlation because they are constant have no rows.
    """
    columns = ["parameter", "optimal", "value", "low", "high", "n"]
    names = [*IDENTIFIABLE_NAMES, ALL_EIGHT]
    frames = []
    for labels, values in estimates:
        columns += [label for label in labels if label not in columns]
        optimum, values = (
            optima.get((labels["convention"], labels["noise_factor"])),
            np.asarray(values),
        )
        if optimum is None:
            continue
        kept = optimum.numbers < values.shape[-2]
        if kept.sum() < FEWEST_SCORED:
            continue
        frame = scoring.fraction_of_optimal(
            optimum.truth[kept],
            values[..., optimum.numbers[kept], :],
            optimum.mean[kept],
            names=QUANTITY_NAMES,
            averages={ALL_EIGHT: IDENTIFIABLE_NAMES},
            n_bootstrap=n_bootstrap,
        )
        frame = frame[frame.parameter.isin(names) & frame.value.notna()]
        frames.append(frame.assign(**labels))
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)


def fractions_of_methods(found, optima, *, n_bootstrap=1000):
    """The same of the methods of the comparison, as far as their estimates are stored.

    found : a `runs.Found` of `comparison`; optima : as from `optima`
    Returns a DataFrame as from `fractions_of_optimal`, with columns convention, noise_factor,
    method, n_simulations and n_trainings, over whose correlations the mean is taken.
    """
    keys, estimates = ["convention", "noise_factor", "method", "n_simulations"], []
    for labels, runs in found.runs.groupby(keys, sort=False):
        arrays = [found.arrays(run).get("estimates") for run in runs.run]
        kept = [array for array in arrays if array is not None]
        if kept:
            made = dict(zip(keys, labels, strict=True)) | {"n_trainings": len(kept)}
            estimates.append((made, np.array(kept)))
    return fractions_of_optimal(estimates, optima, n_bootstrap=n_bootstrap)


def leaves_envelope(frame):
    """Whether observed coverage leaves its envelope anywhere: frame as from `calibration.coverage`.

    The ends, 0 and 1, where nothing can be wrong, do not count.
    """
    inner = frame[(frame.nominal > 0) & (frame.nominal < 1)]
    return bool(((inner.observed < inner.low) | (inner.observed > inner.high)).any())


def coverage_of_ranks(found, n_levels=101):
    """How often the truth lies below quantiles of accepted posteriors, and what chance allows.

    found : a `runs.Found` of one variant; n_levels : at which to look, from 0 to 1
    Returns a DataFrame with the columns of `calibration.coverage`, at `ENVELOPE_LEVEL`, and
    convention, noise_factor, parameter (of `QUANTITY_NAMES`), n (accepted observations) and
    outside: whether the line leaves its envelope anywhere.
    """
    frames, nominal = [], np.linspace(0.0, 1.0, n_levels)
    for (convention, noise_factor), runs in by_setting(found).items():
        accepted = runs.table("observations").accepted.to_numpy()
        levels = (runs.stack("ranks")[accepted] + 0.5) / (int(runs.runs.n_kept.iloc[0]) + 1)
        for name, of_quantity in zip(QUANTITY_NAMES, levels.T, strict=True):
            frame = coverage(of_quantity, nominal, ENVELOPE_LEVEL)
            labels = {
                "convention": convention,
                "noise_factor": noise_factor,
                "parameter": name,
                "n": len(levels),
                "outside": leaves_envelope(frame),
            }
            frames.append(frame.assign(**labels))
    return pd.concat(frames, ignore_index=True)


def linear_bounds(found):
    """The accepted posteriors' standard deviations beside the bound of the tangent linear model.

    found : a `runs.Found` of one variant
    Returns a DataFrame, a row for each observation and coordinate of `ExactSampler`, in which the
    prior's standard deviation is about 1: convention, noise_factor, number, coordinate, bound and
    "standard deviation"; see `run`.
    """
    coordinates = [*IDENTIFIABLE_NAMES[:4], *(f"log {name}" for name in IDENTIFIABLE_NAMES[4:])]
    table = found.table("observations")
    rows = table.loc[table.index.repeat(len(coordinates))]
    rows = rows.assign(
        coordinate=np.tile(coordinates, len(table)),
        **{
            "bound": found.stack("bound").ravel(),
            "standard deviation": found.stack("spread").ravel(),
        },
    )
    columns = ["convention", "noise_factor", "number", "coordinate", "bound", "standard deviation"]
    return rows.loc[rows.accepted, columns]
