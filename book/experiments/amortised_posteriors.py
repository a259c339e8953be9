"""How near amortised inference comes to the ceiling, and whether its uncertainty is right.

Posteriors of `amortised`, trained on budgets from a thousand simulations upwards, answer the test
simulations of `comparison` at several noise levels. A calibrated posterior gives ranks and levels
(see `posterior`) that are uniform; no single check finds every fault. What the exact likelihood
makes of the same answers (`Amortised.refine`, `Amortised.exact`) is computed beside them.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sbi.utils.metrics import c2st

from experiments import comparison
from experiments.compared_methods import TEST, observations, test_set
from experiments.exact_posteriors import FEWEST
from experiments.results import Result, check_tier, command_line, weights_of
from jrlib.diagnostics import scoring
from jrlib.diagnostics.calibration import level, ranks, tarp_levels
from jrlib.inference import amortised
from jrlib.inference.exact_posterior import ENOUGH, Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

PASSES = 50
MORE = 6  # times `n_draws`, at most
N_WEIGHED = 2000  # draws of the network that are weighed
NAME, ANSWERS = "calibration", "answers"  # of the results in the store
N_ANSWER = 99  # draws of an answer that the likelihood has corrected
ENOUGH_TO_TELL = 200  # exact draws, from which as many are chosen to be told apart from these
TARGET = 0.97  # of the ceiling's correlation, from which on an answer is as good as the best
# Ceilings below this are left out: where the data say next to nothing a part of it means nothing.
TELLING = 0.3


@dataclass(frozen=True)
class Size:
    """How large the trainings and their checks are.

    budgets : pairs of simulations for a training, and trainings on so many
    seen : how many simulations a training sees at most, those of before with new noise counted
        again, and no simulation more than `PASSES` times
    n_checked, n_samples : test simulations that are sampled, and samples of each
    n_exact, n_draws : test simulations whose exact posterior is drawn, and draws of each
    n_answered, n_told : test simulations that are answered with draws corrected by the likelihood,
        and how many of these answers are told apart from the exact posterior
    """

    budgets: tuple
    seen: int
    n_checked: int
    n_samples: int
    n_exact: int
    n_draws: int
    noise_factors: tuple
    n_answered: int
    n_told: int


SIZES = {
    "smoke": Size(((200, 1),), 400, 20, 19, 2, 100, (1.0, 1e6), 3, 1),
    "fast": Size(
        ((1000, 1), (4000, 1)),
        40_000,
        100,
        99,
        3,
        200,
        (1.0, 1e4, 1e6),
        6,
        2,
    ),
    "paper": Size(
        ((1000, 2), (3000, 2), (10_000, 1), (30_000, 1), (100_000, 1), (300_000, 1)),
        12_000_000,
        300,
        99,
        20,
        500,
        (1.0, 1e2, 1e4, 1e6),
        200,
        20,
    ),
}


def cell(
    convention,
    n_simulations,
    seen,
    seed,
    n_test,
    n_checked,
    n_samples,
    n_exact,
    n_draws,
    noise_factors,
    keep,
):
    """Train an `Amortised` posterior and let it answer test simulations at each noise factor.

    convention : name of a `Convention`; n_simulations, seen, n_checked... : see `Size`
    n_test : size of the test set, of which the first n_checked and n_exact are used
    keep : whether the weights are wanted, and what needs them: the exact posteriors

    Returns a `Result`: the tables "history", "scores" (see `scoring.score`, of the posterior means,
    with a column noise_factor) and, on demand, "exact" (see `_compare`); arrays, the first axis
    being the noise factors: means (k, n_checked, 13) of `QUANTITY_NAMES`; ranks, alike, of the
    truth among the samples; highest_density, tarp and efficiency (k, n_checked), the effective part
    of the samples when the likelihood weighs them; on demand exact and refined (k, n_exact, 13),
    the means of `Amortised.exact` and `Amortised.refine`, and the weights, as "weights/name"; the
    value "config".
    """
    test = test_set(convention, n_test, "standard")
    reference = Reference(Likelihood.of(test, 1.0))
    epochs = max(2, min(PASSES, round(seen / n_simulations)))
    model = amortised.train(reference, n_simulations, seed=seed, epochs=epochs)
    truth = quantities(test.theta[:n_checked])
    points = reference.points(test.theta[:n_checked])
    rng = np.random.default_rng(seed)
    apart = rng.standard_normal(points.shape)
    scores, compared, arrays = [], [], []
    for noise_factor in noise_factors:
        observed = observations(test, noise_factor, seed=TEST)[:n_checked].astype(float)
        means = model.mean(observed, noise_factor, seed=seed)
        score = scoring.score(truth, means, QUANTITY_NAMES, scale=Prior().quantity_std)
        scores.append(score.assign(noise_factor=noise_factor))
        drawn, log_q = model.draw(observed, noise_factor, n_samples, seed=seed)
        at_truth = model.log_prob(points[:, np.newaxis], observed, noise_factor)
        theta = model.parameters(drawn.reshape(-1, points.shape[1]), rng)
        samples = quantities(theta).reshape(*drawn.shape[:2], -1)
        log_p = [
            reference.at(noise_factor).log_density(*pair)
            for pair in zip(drawn, observed, strict=True)
        ]
        found = {
            "means": means,
            "ranks": ranks(samples, truth),
            "highest_density": level(log_q > at_truth),
            "tarp": tarp_levels(drawn, points, apart),
            "efficiency": [
                1.0 / (n_samples * np.sum(amortised.weigh(*pair) ** 2))
                for pair in zip(log_p, log_q, strict=True)
            ],
        }
        if keep:
            rows = [
                _compare(model, row, noise_factor, n_draws, seed + number)
                for number, row in enumerate(observed[:n_exact])
            ]
            compared += [
                {"noise_factor": noise_factor, "number": number, **entry}
                for number, (entry, _, _) in enumerate(rows)
            ]
            found |= {"exact": [row[1] for row in rows], "refined": [row[2] for row in rows]}
        arrays.append(found)
    stacked = {name: np.array([found[name] for found in arrays], np.float32) for name in arrays[0]}
    tables = {"history": model.history, "scores": pd.concat(scores, ignore_index=True).round(6)}
    weights, config = model.state()
    if keep:
        tables["exact"] = pd.DataFrame(compared)
        stacked |= {f"weights/{name}": array for name, array in weights.items()}
    return Result(tables, stacked, {"config": config})


def _compare(model, observed, noise_factor, n_draws, seed):
    """An `Amortised` posterior beside the exact one, given one observation (n_times,).

    Returns a dict and the means (13,) of the exact and of the corrected posterior. The dict:
    accepted, ess, rhat and n_simulations of the exact one; efficiency of the correction; c2st and
    c2st_refined, the accuracy of a classifier that tells draws of the network's posterior, and of
    the corrected one, from exact draws (0.5: it cannot). It is NaN where there are no exact draws,
    or fewer effective ones of the corrected posterior than `ENOUGH`.
    """
    exact = model.exact(observed, noise_factor, n_draws, seed=seed, most=MORE * n_draws)
    refined = model.refine(observed, noise_factor, N_WEIGHED, seed=seed)
    rng = np.random.default_rng(seed)
    entry = {
        "accepted": exact.accepted,
        "ess": round(exact.ess, 1),
        "rhat": round(exact.rhat, 5),
        "n_simulations": exact.n_simulations,
        "efficiency": round(refined.efficiency, 6),
        "c2st": math.nan,
        "c2st_refined": math.nan,
    }
    if exact.accepted:
        target = model.reference.points(exact.sample(n_draws, rng))
        (drawn,), _ = model.draw(observed[np.newaxis], noise_factor, n_draws, seed=seed + 1)
        entry["c2st"] = _told_apart(target, drawn)
        if refined.efficiency * N_WEIGHED >= ENOUGH:
            chosen = rng.choice(len(refined.theta), n_draws, p=refined.weights)
            drawn = model.reference.points(refined.theta[chosen])
            entry["c2st_refined"] = _told_apart(target, drawn)
    return entry, exact.mean, refined.mean


def _told_apart(one, other):
    """Classifier two-sample test of draws (n, 8) and as many others: accuracy, about 0.5 to 1."""
    pair = (torch.from_numpy(draws).float() for draws in (one, other))
    return round(float(c2st(*pair, classifier="mlp")), 4)


def answers(convention, noise_factor, n_simulations, seed, n_answered, n_draws, n_told, *, trained):
    """Answers that the likelihood has corrected (`Amortised.answer`) to the first test simulations.

    convention : name of a `Convention`; noise_factor, n_answered and n_told : of `Size`
    n_simulations, seed : of the training that drew first; n_draws : of each answer
    trained : from `trainings`, the training itself

    Returns a `Result`: the table "answers", a row each: number, efficiency (0: the network's own
    draws), seconds, and c2st of the first n_told, the accuracy of a classifier that is to tell its
    draws from exact ones that started from the prior (NaN where there are none); and the array
    means, (n_answered, 13), of `QUANTITY_NAMES`.
    """
    config, result = trained[convention]
    model = reload(config, result)
    test = test_set(convention, config["n_test"], "standard")
    observed = observations(test, noise_factor, seed=TEST)[:n_answered].astype(float)
    model.answer(observed[0], noise_factor, n_draws, seed=seed)  # compiles what is not yet
    rows, means = [], []
    for number, row in enumerate(observed):
        start = time.perf_counter()
        found = model.answer(row, noise_factor, n_draws, seed=seed + number)
        seconds = time.perf_counter() - start
        told = math.nan
        if number < n_told:
            rng = np.random.default_rng([seed, number])
            drawn = found.theta[rng.choice(len(found.theta), n_draws, p=found.weights)]
            exact = model.reference.at(noise_factor).posterior(row, ENOUGH_TO_TELL, rng)
            if exact.ess >= ENOUGH:
                pair = exact.sample(n_draws, rng), drawn
                told = _told_apart(*map(model.reference.points, pair))
        rows.append(
            {
                "number": number,
                "efficiency": round(found.efficiency, 4),
                "seconds": round(seconds, 3),
                "c2st": told,
            }
        )
        means.append(found.mean)
    return Result({"answers": pd.DataFrame(rows)}, {"means": np.array(means, np.float32)})


def answers_grid(tier, seed):
    """The configurations of `answers` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    return [
        {
            "convention": convention,
            "noise_factor": noise_factor,
            "n_simulations": size.budgets[-1][0],
            "seed": seed,
            "n_answered": size.n_answered,
            "n_draws": N_ANSWER,
            "n_told": size.n_told,
        }
        for noise_factor in size.noise_factors
        for convention in comparison.CONVENTIONS
    ]


def trainings(store, tier, seed):
    """What `answers` is given: by convention the configuration and result with kept weights."""
    configs = [config for config in grid(tier, seed) if config["keep"]]
    results = store.get_many(NAME, cell, configs)
    pairs = zip(configs, results, strict=True)
    return {"trained": {pair[0]["convention"]: pair for pair in pairs}}


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    apart = "budgets", "n_answered", "n_told"
    shared = {name: value for name, value in vars(size).items() if name not in apart}
    shared["noise_factors"] = list(size.noise_factors)
    configs = [
        {
            "convention": convention,
            "n_simulations": budget,
            "seed": seed + repeat,
            "n_test": comparison.SIZES[tier].n_test,
            "keep": repeat == 0 and budget == size.budgets[-1][0],
            **shared,
        }
        for budget, n_seeds in size.budgets
        for repeat in range(n_seeds)
        for convention in comparison.CONVENTIONS
    ]
    return sorted(configs, key=lambda config: config["seed"])


def reload(config, result):
    """The trained `Amortised` posterior of a cell that kept its weights.

    config : the arguments of `cell`; result : what it returned. Raises ValueError without weights.
    """
    test = test_set(config["convention"], config["n_test"], "standard")
    reference = Reference(Likelihood.of(test, 1.0))
    weights = weights_of(result)
    return amortised.Amortised.from_state(weights, result.values["config"], reference)


def scores(configs, found):
    """The scores of all cells: a DataFrame as `cell` has it, with what the cells differ in.

    Further columns: convention, n_simulations, seed.
    """
    columns = ("convention", "n_simulations", "seed")
    pairs = zip(configs, found, strict=True)
    frames = [
        result.tables["scores"].assign(**{name: config[name] for name in columns})
        for config, result in pairs
    ]
    return pd.concat(frames, ignore_index=True)


def exact_posteriors(configs, found):
    """What the cells that kept their weights know of exact posteriors, as from `exact_posteriors.gather`.

    A dict (convention, noise_factor) -> (DataFrame with number and accepted, dict of arrays truth
    and mean (n_exact, 13)).
    """
    known = {}
    for config, result in zip(configs, found, strict=True):
        if config["keep"]:
            test = test_set(config["convention"], config["n_test"], "standard")
            truth = quantities(test.theta[: config["n_exact"]])
            tables = result.tables["exact"].groupby("noise_factor")
            for row, noise_factor in enumerate(config["noise_factors"]):
                table = tables.get_group(noise_factor).reset_index(drop=True)
                arrays = {"truth": truth, "mean": result.arrays["exact"][row].astype(float)}
                known[config["convention"], noise_factor] = table, arrays
    return known


def fractions(configs, found, gathered):
    """Correlations of the posterior means as a part of the ceiling's, on the same observations.

    gathered : exact posteriors, as from `exact_posteriors` or `exact_posteriors.gather`; those that are
        accepted and that the cells have checked count
    Returns a DataFrame with the columns of `scoring.fraction_of_optimal`, convention, noise_factor,
    n_simulations and seed, for `IDENTIFIABLE_NAMES`; see `telling`.
    """
    pairs = [
        (config | {"noise_factor": noise_factor}, means[: config["n_checked"]])
        for config, result in zip(configs, found, strict=True)
        for noise_factor, means in zip(config["noise_factors"], result.arrays["means"], strict=True)
    ]
    return _fractions(pairs, gathered)


def answered(configs, found, gathered):
    """The same of the answers that the likelihood has corrected: cells of `answers`."""
    means = [result.arrays["means"] for result in found]
    return _fractions(zip(configs, means, strict=True), gathered)


def _fractions(pairs, gathered):
    """`fractions` of pairs: configuration with one noise factor, means (n, 13) of its answers."""
    labels = ["convention", "noise_factor", "n_simulations", "seed"]
    frames = [pd.DataFrame(columns=["parameter", "optimal", "value", "low", "high", "n", *labels])]
    for config, means in pairs:
        key = config["convention"], config["noise_factor"]
        if key not in gathered:
            continue
        table, arrays = gathered[key]
        kept = (table.accepted & (table.number < len(means))).to_numpy()
        if kept.sum() < FEWEST:
            continue
        truth, optimum, numbers = arrays["truth"][kept], arrays["mean"][kept], table.number[kept]
        frame = scoring.fraction_of_optimal(truth, means[numbers], optimum, names=QUANTITY_NAMES)
        frame = frame[frame.parameter.isin(IDENTIFIABLE_NAMES)]
        frames.append(frame.assign(**{label: config[label] for label in labels}))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def telling(parts):
    """Rows of `fractions` whose ceiling is at least `TELLING`."""
    return parts[parts.optimal >= TELLING]


def needed(parts, target=TARGET):
    """How many simulations a training needs: a Series by convention and noise factor.

    parts : as from `fractions` and `telling`
    target : of the mean part over the quantities and seeds, which the smallest budget counted here
        reaches, and all larger ones; NaN where none does
    """
    mean = parts.groupby(["convention", "noise_factor", "n_simulations"]).value.mean()

    def smallest(values):  # of one convention and noise factor, budgets rising
        enough = (values >= target).iloc[::-1].cummin()
        budgets = enough[enough].index.get_level_values("n_simulations")
        return min(budgets, default=math.nan)

    return mean.groupby(["convention", "noise_factor"]).apply(smallest)


def leaves(frame):
    """Whether observed coverage leaves its band: frame as from `calibration.coverage`.

    The ends, 0 and 1, where nothing can be wrong, do not count.
    """
    inner = frame[(frame.nominal > 0) & (frame.nominal < 1)]
    return bool(((inner.observed < inner.low) | (inner.observed > inner.high)).any())


if __name__ == "__main__":
    # So that results are made by experiments.amortised_posteriors, not by __main__.
    pass

    command_line(NAME, cell, grid, comparison.SEED)
    command_line(ANSWERS, answers, answers_grid, comparison.SEED, given=trainings)
