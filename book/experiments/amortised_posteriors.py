"""How near amortised inference comes to the optimum, and whether its uncertainty is right.

Posteriors of `jrlib.inference.amortised`, trained on budgets from a thousand simulations upwards,
answer the test simulations of the comparison at several noise levels. A calibrated posterior gives
ranks and levels (see `jrlib.diagnostics.calibration`) that are uniform; no single check finds every
fault. What the exact likelihood makes of the same answers (`AmortisedPosterior.refine` and
`AmortisedPosterior.exact`) is computed beside them.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sbi.utils.metrics import c2st

from experiments.compared_methods import SCORES, test_set
from experiments.exact_posteriors import (
    ALL_EIGHT,
    ENVELOPE_LEVEL,
    Optimum,
    fractions_of_optimal,
    leaves_envelope,
)
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, N_TEST, TEST
from jrlib.diagnostics import scoring
from jrlib.diagnostics.calibration import coverage, level, ranks, tarp_levels
from jrlib.inference import amortised
from jrlib.inference.amortised import AnswerSettings, NetworkSettings
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.inference.weighted_samples import effective_sample_size, normalised
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

TARGET_FRACTION = 0.97  # of optimal, from which on an estimate is as good as the best
# A fraction of an optimal correlation below this means nothing: the data say next to nothing.
LEAST_OPTIMAL = 0.3
MOST_PASSES = 50  # over the simulations in a training, in the grid
RANKS = "ranks"  # a check of each quantity
# Checks of all coordinates together: arrays of a run, and what their regions are called.
REGIONS = {"highest_density": "highest density", "tarp": "TARP"}


@dataclass(frozen=True)
class Config:
    """A training, and test simulations that it answers.

    convention : name of a `Convention`
    n_simulations : to train on, in the passes that `network` says; seed : of the training
    keep : whether the weights are kept, and exact posteriors computed beside the network's
    n_test : number of all test simulations, of which the first n_checked are answered and the
        first n_exact have their exact posterior sampled
    n_samples : of each answer
    noise_factors : of the answers
    n_exact_samples, most_exact_samples : of each exact posterior, at first and at most; from the
        first so many are chosen that a classifier is to tell from the network's
    n_weighed : samples of the network that are weighed by the likelihood for each exact posterior
    n_bootstrap : resamples for the intervals of the scores
    network, answers, sampler : settings of `jrlib.inference`
    """

    convention: str
    n_simulations: int
    seed: int
    keep: bool = False
    n_test: int = 2000
    n_checked: int = 300
    n_samples: int = 99
    noise_factors: tuple[float, ...] = (1.0, 1e2, 1e4, 1e6)
    n_exact: int = 20
    n_exact_samples: int = 500
    most_exact_samples: int = 3000
    n_weighed: int = 2000
    n_bootstrap: int = 1000
    network: NetworkSettings = field(default=NetworkSettings())
    answers: AnswerSettings = field(default=AnswerSettings())
    sampler: SamplerSettings = field(default=SamplerSettings())


# budgets : pairs of simulations for a training, and number of trainings on so many; n_seen :
# simulations that a training sees at most, those of before with new noise counted again, and none
# of them in more than `MOST_PASSES`. All others are fields of `Config`.
SIZES = {
    "smoke": {
        "budgets": ((200, 1),),
        "n_seen": 400,
        "n_checked": 20,
        "n_samples": 19,
        "noise_factors": (1.0, 1e6),
        "n_exact": 2,
        "n_exact_samples": 100,
        "most_exact_samples": 600,
    },
    "fast": {
        "budgets": ((1000, 1), (4000, 1)),
        "n_seen": 40_000,
        "n_checked": 60,
        "n_samples": 99,
        "noise_factors": (1.0, 1e4, 1e6),
        "n_exact": 3,
        "n_exact_samples": 200,
        "most_exact_samples": 1200,
        "n_weighed": 1000,
    },
    "paper": {
        "budgets": (
            (1000, 2),
            (3000, 2),
            (10_000, 1),
            (30_000, 1),
            (100_000, 1),
            (300_000, 1),
        ),
        "n_seen": 12_000_000,
    },
}


def run(config):
    """Train an `AmortisedPosterior` and let it answer test simulations at each noise factor.

    Returns a `Result`. Tables: "history" of the training; "scores" (see `scoring.score`, of the
    posterior means, with a column noise_factor); "exact", which has rows only where the weights are
    kept (see `_compare`). Arrays, float32, whose first axis is the noise factors: means (k,
    n_checked, 13) of `QUANTITY_NAMES`; ranks, alike, of the truth among the samples;
    highest_density, tarp and relative_ess (k, n_checked), the last being the relative effective
    sample size when the likelihood weighs the samples; and where the weights are kept exact and
    refined (k, n_exact, 13), the means of `AmortisedPosterior.exact` and
    `AmortisedPosterior.refine`. Values: n_scores, that the network sees of a response, and
    n_diverged, simulations that were left out of the training.
    """
    sampler = _sampler(config)
    model = amortised.train(
        sampler, config.n_simulations, seed=config.seed, settings=config.network
    )
    model.answers = config.answers
    weights, about = model.state()
    result = _checked(config, model)
    result.tables["history"] = model.history
    result.tables["exact"] = pd.DataFrame(columns=list(EXPERIMENT.tables["exact"]))
    if config.keep:
        result.tables["exact"], arrays = _beside_exact(config, model)
        result.arrays.update(arrays)
    values = {name: about[name] for name in EXPERIMENT.values}
    kept = {"weights": weights, "about": about} if config.keep else {}
    return Result(result.tables, result.arrays, values, **kept)


def rescore(config, weights, about):
    """The scores and arrays that stored weights give again, without the exact posteriors."""
    return _checked(config, _model(config, weights, about))


def reload(trained):
    """The trained `AmortisedPosterior` of a run that kept its weights.

    trained : a `runs.Found` of this one run
    """
    return _model(trained.config(trained.names[0]), *trained.weights())


def _sampler(config):
    test = test_set(config.convention, config.n_test, "standard")
    return ExactSampler(Likelihood.of(test, 1.0), settings=config.sampler)


def _model(config, weights, about):
    model = amortised.AmortisedPosterior.from_state(weights, about, _sampler(config))
    model.answers = config.answers
    return model


def _checked(config, model):
    """The table of scores and the arrays of a trained model's answers: a `Result`, see `run`."""
    test = test_set(config.convention, config.n_test, "standard")
    theta, sampler = test.theta[: config.n_checked], model.sampler
    truth, points = quantities(theta), sampler.points(theta)
    rng = np.random.default_rng(config.seed)
    reference_points = rng.standard_normal(points.shape)
    scores, arrays = [], []
    for noise_factor in config.noise_factors:
        observed = _observed(config, noise_factor, config.n_checked)
        means = model.mean(observed, noise_factor, seed=config.seed)
        score = scoring.score(
            truth,
            means,
            QUANTITY_NAMES,
            scale=Prior().quantity_std,
            n_bootstrap=config.n_bootstrap,
        )
        scores.append(score.assign(noise_factor=noise_factor))
        drawn, log_q = model.draw(observed, noise_factor, config.n_samples, seed=config.seed)
        at_truth = model.log_prob(points[:, np.newaxis], observed, noise_factor)
        theta = model.parameters(drawn.reshape(-1, points.shape[1]), rng)
        samples = quantities(theta).reshape(*drawn.shape[:2], -1)
        log_p = [
            sampler.at(noise_factor).log_density(*pair)
            for pair in zip(drawn, observed, strict=True)
        ]
        arrays.append(
            {
                "means": means,
                "ranks": ranks(samples, truth),
                "highest_density": level(log_q > at_truth),
                "tarp": tarp_levels(drawn, points, reference_points),
                "relative_ess": [
                    effective_sample_size(normalised(p - q)) / config.n_samples
                    for p, q in zip(log_p, log_q, strict=True)
                ],
            }
        )
    stacked = {name: np.array([found[name] for found in arrays], np.float32) for name in arrays[0]}
    return Result({"scores": pd.concat(scores, ignore_index=True).round(6)}, stacked)


def _beside_exact(config, model):
    """The table "exact" and the arrays of the exact posteriors of the first test simulations."""
    rows, arrays = [], {"exact": [], "refined": []}
    for noise_factor in config.noise_factors:
        found = [
            _compare(config, model, (number, row), noise_factor)
            for number, row in enumerate(_observed(config, noise_factor, config.n_exact))
        ]
        rows += [row for row, _, _ in found]
        arrays["exact"].append([exact for _, exact, _ in found])
        arrays["refined"].append([refined for _, _, refined in found])
    return pd.DataFrame(rows), {name: np.array(a, np.float32) for name, a in arrays.items()}


def _observed(config, noise_factor, n):
    """The first n test responses (n, n_times), mV, at a noise factor."""
    test = test_set(config.convention, config.n_test, "standard")
    return test.observe(noise_factor, seed=TEST)[:n].astype(float)


def _compare(config, model, observation, noise_factor):
    """A network's posterior beside the exact one, given one observation: number and (n_times,) mV.

    Returns a dict and the means (13,) of the exact and of the corrected posterior. The dict:
    noise_factor and number; accepted, ess, rhat and n_simulations of the exact one; relative_ess of
    the correction; c2st and c2st_refined, the accuracy of a classifier that tells samples of the
    network's posterior, and of the corrected one, from exact samples (0.5: it cannot). It is NaN
    where there are no exact samples, or where the effective sample size of the corrected posterior
    is less than is asked of an exact one.
    """
    (number, observed), n = observation, config.n_exact_samples
    seed, most = config.seed + number, config.most_exact_samples
    exact = model.exact(observed, noise_factor, n, seed=seed, most=most)
    refined = model.refine(observed, noise_factor, config.n_weighed, seed=seed)
    rng = np.random.default_rng(seed)
    row = {
        "noise_factor": noise_factor,
        "number": number,
        "accepted": exact.accepted,
        "ess": round(exact.effective_sample_size, 1),
        "rhat": round(exact.rhat, 5),
        "n_simulations": exact.n_simulations,
        "relative_ess": round(refined.relative_effective_sample_size, 6),
        "c2st": math.nan,
        "c2st_refined": math.nan,
    }
    if exact.accepted:
        target = model.sampler.points(exact.resample(n, rng))
        (drawn,), _ = model.draw(observed[np.newaxis], noise_factor, n, seed=seed + 1)
        row["c2st"] = told_apart(target, drawn)
        if refined.effective_sample_size >= config.sampler.min_effective:
            drawn = model.sampler.points(refined.resample(n, rng))
            row["c2st_refined"] = told_apart(target, drawn)
    return row, exact.mean, refined.mean


def told_apart(one, other):
    """Classifier two-sample test of samples (n, 8) and as many others: accuracy, about 0.5 to 1."""
    pair = (torch.from_numpy(samples).float() for samples in (one, other))
    return round(float(c2st(*pair, classifier="mlp")), 4)


def grid(tier, seed):
    """The configurations of a tier, those of the first seed first."""
    check_tier(tier)
    sizes = dict(SIZES[tier])
    budgets, n_seen = sizes.pop("budgets"), sizes.pop("n_seen")
    configs = [
        Config(
            convention,
            n_simulations,
            seed + repeat,
            keep=repeat == 0 and n_simulations == budgets[-1][0],
            n_test=N_TEST[tier],
            network=NetworkSettings(epochs=max(2, min(MOST_PASSES, round(n_seen / n_simulations)))),
            **sizes,
        )
        for n_simulations, n_seeds in budgets
        for repeat in range(n_seeds)
        for convention in CONVENTIONS
    ]
    return sorted(configs, key=lambda config: config.seed)


def kept(tier, seed):
    """The configurations of a tier whose weights are kept: a dict of each by its convention."""
    return {config.convention: config for config in grid(tier, seed) if config.keep}


EXPERIMENT = Experiment(
    "amortised_posteriors",
    Config,
    run,
    grid,
    tables={
        "history": {"epoch": int, "train_loss": float, "validation_loss": float},
        "scores": SCORES | {"noise_factor": float},
        "exact": {
            "noise_factor": float,
            "number": int,
            "accepted": bool,
            "ess": float,
            "rhat": float,
            "n_simulations": int,
            "relative_ess": float,
            "c2st": float,
            "c2st_refined": float,
        },
    },
    values={"n_scores": int, "n_diverged": int},
    level="retrained",
    rescore=rescore,
)


def optima(found):
    """The `Optimum` for each convention and noise factor that runs with kept weights know: a dict.

    found : a `runs.Found`. There are few observations; `exact_posteriors.optima` has more.
    """
    known = {}
    for config in map(found.config, found.runs.run[found.runs.keep]):
        test = test_set(config.convention, config.n_test, "standard")
        truth = quantities(test.theta[: config.n_exact])
        here = found.where(convention=config.convention, keep=True)
        table, means = here.table("exact"), here.arrays()["exact"].astype(float)
        for noise_factor, mean in zip(config.noise_factors, means, strict=True):
            rows = table[(table.noise_factor == noise_factor) & table.accepted]
            numbers = rows.number.to_numpy()
            known[config.convention, noise_factor] = Optimum(numbers, truth[numbers], mean[numbers])
    return known


def fractions(found, optima):
    """What fraction of the optimal correlation the posterior means reach, run by run.

    found : a `runs.Found`; optima : as from `optima` or `exact_posteriors.optima`
    Returns a DataFrame as from `exact_posteriors.fractions_of_optimal`, with columns convention,
    noise_factor, n_simulations and seed.
    """
    estimates = []
    for name, config in zip(found.names, map(found.config, found.names), strict=True):
        for noise_factor, means in zip(
            config.noise_factors, found.arrays(name)["means"], strict=True
        ):
            labels = {
                "convention": config.convention,
                "noise_factor": noise_factor,
                "n_simulations": config.n_simulations,
                "seed": config.seed,
            }
            estimates.append((labels, means))
    return fractions_of_optimal(estimates, optima)


def scores(found):
    """Metrics averaged over the trainings of a budget: see `comparison.scores`.

    found : a `runs.Found`
    Returns a DataFrame with a row for each convention, noise factor, budget, parameter and metric:
    value (mean over the trainings), low, high (the hull of their intervals), n (test simulations).
    """
    keys = ["convention", "noise_factor", "n_simulations", "parameter", "metric", "n"]
    grouped = found.table("scores").groupby(keys, sort=False)
    return grouped.agg(
        value=("value", "mean"), low=("low", "min"), high=("high", "max")
    ).reset_index()


def learning_curves(fractions, groups):
    """Mean correlations over groups of quantities, beside the optimal ones on the same rows.

    fractions : as from `fractions`; groups : label -> names of quantities
    Returns a DataFrame with a row for each convention, noise factor, budget and group: value (mean
    over the trainings), low, high (smallest and largest training) and optimal.
    """
    keys, frames = ["convention", "noise_factor", "n_simulations"], []
    for label, names in groups.items():
        rows = fractions[fractions.parameter.isin(names)]
        rows = rows.assign(correlation=rows.value * rows.optimal)
        means = rows.groupby([*keys, "seed"], sort=False)[["correlation", "optimal"]].mean()
        trainings = means.groupby(keys, sort=False)
        curve = trainings.correlation.agg(value="mean", low="min", high="max")
        frames.append(curve.assign(optimal=trainings.optimal.mean(), group=label).reset_index())
    return pd.concat(frames, ignore_index=True)


def training_seconds(found):
    """Processor time of a training that sees as many simulations as the longest: seconds.

    found : a `runs.Found`. It is extrapolated from the runs that keep no weights, which do little
        else than train; NaN where these do not differ in how many simulations they see.
    """
    epochs = found.table("history").groupby("run").size()
    runs = found.runs.assign(seen=found.runs.n_simulations * found.runs.run.map(epochs))
    light = runs[~runs.keep]
    if light.seen.nunique() < 2:
        return math.nan
    return np.polyfit(light.seen, light.cpu_seconds, 1)[0] * runs.seen.max()


def uniformity(found, nominal):
    """How often ranks of the truth, and levels of regions that hold it, are below what they are.

    found : a `runs.Found`; nominal : levels in 0..1 at which to look
    Returns the rows of `calibration.coverage` for each line, with columns convention, noise_factor,
    n_simulations, seed, check (`RANKS` or one of `REGIONS`), series (the quantity, or the check
    again) and outside: whether the line leaves its envelope anywhere.
    """
    frames = []
    for name in found.names:
        config, arrays = found.config(name), found.arrays(name)
        for k, noise_factor in enumerate(config.noise_factors):
            below = (arrays["ranks"][k] + 0.5) / (config.n_samples + 1)
            lines = [(RANKS, *pair) for pair in zip(QUANTITY_NAMES, below.T, strict=True)]
            lines += [(label, label, arrays[array][k]) for array, label in REGIONS.items()]
            for check, series, levels in lines:
                frame = coverage(levels, nominal, ENVELOPE_LEVEL)
                labels = {
                    "convention": config.convention,
                    "noise_factor": noise_factor,
                    "n_simulations": config.n_simulations,
                    "seed": config.seed,
                    "check": check,
                    "series": series,
                    "outside": leaves_envelope(frame),
                }
                frames.append(frame.assign(**labels))
    return pd.concat(frames, ignore_index=True)


def coverage_by_size(found, credibility, *, confidence=0.95):
    """How often regions of highest density hold the truth, by thirds of the responses' peaks.

    found : a `runs.Found`; credibility : of the regions
    confidence : of low..high, where a calibrated posterior's coverage lies
    Returns the rows of `calibration.coverage` with columns convention, noise_factor and responses:
    "small", "middle" or "large".
    """
    frames = []
    for name in found.names:
        config, levels = found.config(name), found.arrays(name)["highest_density"]
        test = test_set(config.convention, config.n_test, "standard")
        peak = np.abs(test.erp[: config.n_checked]).max(axis=1)
        third = np.searchsorted(np.quantile(peak, [1 / 3, 2 / 3]), peak)
        for k, responses in enumerate(("small", "middle", "large")):
            for noise_factor, row in zip(config.noise_factors, levels, strict=True):
                frame = coverage(row[third == k], [credibility], confidence)
                labels = {"convention": config.convention, "noise_factor": noise_factor}
                frames.append(frame.assign(**labels, responses=responses))
    return pd.concat(frames, ignore_index=True)


def exact_summary(table):
    """How the exact posteriors of the runs with kept weights went: medians and counts.

    table : "exact" of a `runs.Found`
    Returns a DataFrame with a row for each convention and noise factor: n, accepted, n_refined (of
    how many there is a c2st_refined), and medians: of relative_ess over all of them, and over those
    accepted of n_simulations (for an effective sample), c2st and c2st_refined.
    """
    rows = []
    for labels, group in table.groupby(["convention", "noise_factor"], sort=False):
        good = group[group.accepted]
        rows.append(
            dict(zip(["convention", "noise_factor"], labels, strict=True))
            | {
                "n": len(group),
                "accepted": len(good),
                "n_simulations": (good.n_simulations / good.ess).median(),
                "relative_ess": group.relative_ess.median(),
                "c2st": good.c2st.median(),
                "c2st_refined": good.c2st_refined.median(),
                "n_refined": int(good.c2st_refined.notna().sum()),
            }
        )
    return pd.DataFrame(rows)


def telling(fractions):
    """Rows of `fractions` for single quantities whose optimal correlation is large enough."""
    single = fractions.parameter != ALL_EIGHT
    return fractions[single & (fractions.optimal >= LEAST_OPTIMAL)]


def needed(fractions, target=TARGET_FRACTION):
    """How many simulations a training needs: a Series by convention and noise factor.

    fractions : rows of `ALL_EIGHT`, with a column n_simulations
    target : of the mean fraction over the seeds, which the smallest budget counted here reaches,
        and all larger ones; NaN where none does
    """
    rows = fractions[fractions.parameter == ALL_EIGHT]
    mean = rows.groupby(["convention", "noise_factor", "n_simulations"]).value.mean()

    def smallest(values):  # of one convention and noise factor, budgets rising
        enough = (values >= target).iloc[::-1].cummin()
        budgets = enough[enough].index.get_level_values("n_simulations")
        return min(budgets, default=math.nan)

    return mean.groupby(["convention", "noise_factor"]).apply(smallest)
