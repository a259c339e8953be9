"""What if nobody knows how strongly the source is seen? Inference with an unknown gain.

The size of the lead field depends on a skull and a cortical patch that nobody has measured, so that
the data are g times the response plus noise, with log g normal. As one more coordinate, g leaves
the likelihood what it was: the exact posterior can still be drawn from (`ceiling`), and beside it
stands neural posterior estimation with gains drawn in training (`posterior`). Both answer the same
observations twice: knowing g, and not knowing it.

At the paper tier an exact posterior takes about three seconds, and a training half a minute.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from experiments import comparison
from experiments.compared_methods import TEST, TRAIN, VALIDATION, observations, test_set
from experiments.exact_posteriors import FEWEST
from experiments.results import Result, check_tier, command_line
from jrlib.diagnostics import calibration
from jrlib.diagnostics.scoring import score
from jrlib.inference import flows
from jrlib.inference.exact_posterior import Reference
from jrlib.inference.likelihood import Likelihood
from jrlib.inference.unknown_gain import (
    _IDENTIFIABLE,
    GAIN,
    N_COORDINATES,
    NAMES,
    GainReference,
    amplify,
    draw_gains,
    with_known_gain,
)
from jrlib.parameters import quantities
from jrlib.priors import Prior
from jrlib.sensors.datasets import beside, make_dataset

EXACT, NETWORK = "gain-exact", "gain-npe"  # names of the results in the store
KNOWN, UNKNOWN = "known", "unknown"
# The prior of the coordinates of `GainReference`, N(0, I), as one of nine parameters.
STANDARD = Prior(kind="normal", truncated=False, ranges=((-2.0, 2.0),) * N_COORDINATES)
TRAINING = {"batch_size": 256, "learning_rate": 2e-3}
ENOUGH = 30.0  # effective draws of an accepted posterior: they are independent


@dataclass(frozen=True)
class Size:
    """How large the study is.

    n_exact, n_draws : observations a convention with an exact posterior, and draws of each
    n_simulations, epochs, n_seeds : of the trainings
    n_test, n_samples : observations that they answer, and samples for each, up to 255
    gain_sd : standard deviation of log g; block : observations in a cell
    """

    n_exact: int
    n_draws: int
    n_simulations: int
    epochs: int
    n_seeds: int
    n_test: int
    n_samples: int
    noise_factor: float = 1e4
    gain_sd: float = 0.5
    block: int = 6


SIZES = {
    "smoke": Size(3, 50, 100, 2, 1, 20, 19),
    "fast": Size(6, 150, 1000, 10, 1, 100, 49),
    "paper": Size(24, 150, 8000, 14, 2, 100, 99),
}


def experiment(convention, n_test, noise_factor, gain_sd):
    """Test simulations with their gains (n_test,) and outputs (n_test, n_times): a triple."""
    test = test_set(convention, n_test, "standard")
    gains = draw_gains(len(test), gain_sd, np.random.default_rng([0, TEST]))
    observed = observations(amplify(test, gains), noise_factor, seed=TEST)
    return test, gains, observed.astype(float)


def exact_cell(convention, first, n, n_draws, n_test, noise_factor, gain_sd, seed):
    """Exact posteriors of test observations first..first + n - 1, with and without their gains.

    convention : name of a `Convention`; n_draws... : see `Size`; seed : of the random numbers

    Returns a `Result`: the table "observations", a row for each number and gain (`KNOWN` or
    `UNKNOWN`): accepted (see `ENOUGH`), ess, rhat, n_modes, deviance, n_simulations; and arrays of
    `NAMES`, the first axis being that of the table: truth, mean and std (2 n, 9). NaN for what was
    not drawn.
    """
    test, gains, observed = experiment(convention, n_test, noise_factor, gain_sd)
    likelihood = Likelihood.of(test, noise_factor)
    plain, unsure = Reference(likelihood), GainReference(likelihood, gain_sd)
    rows, found = [], []
    for number in range(first, first + n):
        log_gain = np.log(gains[number])
        asked = {
            KNOWN: with_known_gain(plain, observed[number], gains[number]),
            UNKNOWN: (unsure, observed[number]),
        }
        for gain, (reference, data) in asked.items():
            drawn = reference.posterior(data, n_draws, np.random.default_rng([seed, number]))
            rows.append(
                {
                    "number": number,
                    "gain": gain,
                    "accepted": bool(drawn.n_modes == 1 and drawn.ess >= ENOUGH),
                    "ess": round(drawn.ess, 1),
                    "rhat": round(drawn.rhat, 5),
                    "n_modes": drawn.n_modes,
                    "deviance": round(drawn.deviance, 3),
                    "n_simulations": reference.n_simulations,
                }
            )
            of_gain = (log_gain, 0.0) if gain == KNOWN else _moments(drawn)
            truth = quantities(test.theta[number : number + 1])[0]
            values = {"truth": (truth, log_gain)}
            values |= {"mean": (drawn.mean, of_gain[0]), "std": (drawn.std, of_gain[1])}
            found.append({k: np.append(v[_IDENTIFIABLE], g) for k, (v, g) in values.items()})
    arrays = {name: np.array([row[name] for row in found], np.float32) for name in found[0]}
    return Result({"observations": pd.DataFrame(rows)}, arrays)


def _moments(drawn):
    """Mean and standard deviation of log g in a `GainPosterior`; NaN where there are no draws."""
    if not len(drawn.log_gain):
        return np.nan, np.nan
    mean = drawn.weights @ drawn.log_gain
    return mean, np.sqrt(drawn.weights @ (drawn.log_gain - mean) ** 2)


def npe_cell(convention, n_simulations, epochs, n_test, n_samples, noise_factor, gain_sd, seed):
    """Train two posteriors, that see the gain and that do not, and let them answer the tests.

    Arguments: see `exact_cell` and `Size`; seed : of the trainings and their simulations

    What sees the gain has its logarithm beside the data (`datasets.beside`). Both are posteriors of the
    coordinates of `GainReference`; where the gain is seen the ninth is chance.
    Returns a `Result`: arrays truth (n_test, 9) of `NAMES`; mean and std (2, n_test, 9), the first
    of them of the known gain; ranks, alike, and tarp (2, n_test), small integers, how many of the
    samples count.
    """
    test, gains, observed = experiment(convention, n_test, noise_factor, gain_sd)
    reference = GainReference(Likelihood.of(test, noise_factor), gain_sd)
    sets = []
    for stream, n in ((TRAIN, n_simulations), (VALIDATION, max(n_simulations // 10, 20))):
        rng = np.random.default_rng([seed, stream, N_COORDINATES])
        plain = make_dataset(n, [seed, stream], convention=convention, threads=1)
        drawn = draw_gains(len(plain), gain_sd, rng)
        sets.append((_in_coordinates(plain, drawn, reference), np.log(drawn), rng))
    scale = float(np.median(np.std(sets[0][0].erp, axis=1)))
    points = reference.points(test.theta, gains)
    truth, arrays = reference.known(points), []
    for gain in (KNOWN, UNKNOWN):
        shown, data, wanted = [part for part, _, _ in sets], observed, points.copy()
        if gain == KNOWN:
            shown = [
                beside(_with_chance(part, rng), logs[:, np.newaxis], scale)
                for part, logs, rng in sets
            ]
            data = np.column_stack([observed, scale * np.log(gains)])
            wanted[:, 8] = np.random.default_rng(seed).standard_normal(len(wanted))
        trained = flows.train_npe(
            *shown, noise_factor=noise_factor, seed=seed, prior=STANDARD, epochs=epochs, **TRAINING
        )
        found = calibration.evaluate(trained, wanted, data, n_samples, seed=seed)
        samples = reference.known(found.samples.reshape(-1, N_COORDINATES))
        samples = samples.reshape(*found.samples.shape)
        if gain == KNOWN:
            samples[..., 8] = truth[:, np.newaxis, 8]
        arrays.append(
            {
                "mean": samples.mean(axis=1, dtype=float).astype(np.float32),
                "std": samples.std(axis=1).astype(np.float32),
                "ranks": calibration.ranks(samples, truth).astype(np.uint8),
                "tarp": (found.tarp * (n_samples + 1)).astype(np.uint8),
            }
        )
    stacked = {name: np.stack([each[name] for each in arrays]) for name in arrays[0]}
    return Result(arrays={"truth": truth.astype(np.float32), **stacked})


def _in_coordinates(dataset, gains, reference):
    """A `Dataset` seen with gains (n,), its parameters being those of a `GainReference`."""
    return replace(amplify(dataset, gains), theta=reference.points(dataset.theta, gains))


def _with_chance(dataset, rng):
    """The same with chance in the place of the ninth coordinate."""
    chance = rng.standard_normal(len(dataset))
    return replace(dataset, theta=np.column_stack([dataset.theta[:, :8], chance]))


def exact_grid(tier, seed):
    """The configurations of `exact_cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    return [
        {
            "convention": convention,
            "first": first,
            "n": min(size.block, size.n_exact - first),
            "n_draws": size.n_draws,
            "n_test": size.n_test,
            "noise_factor": size.noise_factor,
            "gain_sd": size.gain_sd,
            "seed": seed,
        }
        for first in range(0, size.n_exact, size.block)
        for convention in comparison.CONVENTIONS
    ]


def npe_grid(tier, seed):
    """The configurations of `npe_cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = SIZES[tier]
    names = ("n_simulations", "epochs", "n_test", "n_samples", "noise_factor", "gain_sd")
    shared = {name: getattr(size, name) for name in names}
    return [
        {"convention": convention, "seed": seed + repeat, **shared}
        for repeat in range(size.n_seeds)
        for convention in comparison.CONVENTIONS
    ]


def exact_answers(configs, found):
    """What `exact_cell` found, by convention: a dict name -> (observations, arrays) put together.

    Where a posterior is not accepted, known or unknown, the observation is left out of both.
    """
    answers = {}
    for convention in dict.fromkeys(config["convention"] for config in configs):
        pairs = zip(configs, found, strict=True)
        parts = [result for config, result in pairs if config["convention"] == convention]
        table = pd.concat([part.tables["observations"] for part in parts], ignore_index=True)
        kept = table.groupby("number").accepted.transform("all").to_numpy()
        arrays = {
            name: np.concatenate([part.arrays[name] for part in parts])[kept]
            for name in ("truth", "mean", "std")
        }
        answers[convention] = table[kept].reset_index(drop=True), arrays
    return answers


def scores(truth, mean, std):
    """Correlation and contraction of answers (n, 9) for `NAMES`: a DataFrame, a row each.

    Columns: parameter, value, low, high (Pearson's, see `scoring.score`; NaN for a constant
    answer), contraction (one minus mean posterior variance over prior variance, that of log g
    being its variance in truth) and n. Raises ValueError for fewer than `FEWEST` answers.
    """
    if len(truth) < FEWEST:
        raise ValueError(f"truth: got {len(truth)} answers, expected at least {FEWEST}")
    scale = np.append(Prior().quantity_std[_IDENTIFIABLE], truth[:, 8].std())
    frame = score(truth, mean, NAMES, scale=scale)
    frame = frame[frame.metric == "pearson"].drop(columns="metric").reset_index(drop=True)
    return frame.assign(contraction=1.0 - np.mean((std / scale) ** 2, axis=0))


def compare(exact, networks):
    """Scores of exact posteriors and of networks, with and without the gain: a DataFrame.

    exact, networks : pairs (configs, found) of `exact_cell` and of `npe_cell`

    A row for each convention, answer ("exact" or "NPE"), observations ("same": those whose exact
    posteriors are accepted, or "all" that the networks answer), gain, seed and parameter, with the
    columns of `scores`. Where fewer than `FEWEST` are accepted, the rows of the same are missing.
    """
    frames, same = [], {}

    def add(convention, answer, observations, gain, seed, answers):
        if len(answers[0]) >= FEWEST:
            keys = {"convention": convention, "answer": answer, "observations": observations}
            frames.append(scores(*answers).assign(**keys, gain=gain, seed=seed))

    for convention, (table, arrays) in exact_answers(*exact).items():
        for gain in (KNOWN, UNKNOWN):
            rows = (table.gain == gain).to_numpy()
            same[convention] = table.number[rows].to_numpy()
            answers = [arrays[name][rows] for name in ("truth", "mean", "std")]
            add(convention, "exact", "same", gain, exact[0][0]["seed"], answers)
    for config, result in zip(*networks, strict=True):
        every, convention = np.arange(config["n_test"]), config["convention"]
        chosen = {"same": same.get(convention, every[:0]), "all": every}
        for (which, rows), (k, gain) in itertools.product(
            chosen.items(), enumerate((KNOWN, UNKNOWN))
        ):
            arrays = result.arrays
            answers = [arrays["truth"][rows], arrays["mean"][k][rows], arrays["std"][k][rows]]
            add(convention, "NPE", which, gain, config["seed"], answers)
    return pd.concat(frames, ignore_index=True)


def covered(configs, found, level=0.9):
    """How often the networks' central intervals hold the truth: a DataFrame.

    configs, found : of `npe_cell`; level : above 0, below 1
    Columns: convention, gain, seed, parameter, covered, tarp (the same for regions around random
    points, see `calibration.tarp_levels`). The known gain itself is left out.
    """
    frames = []
    for config, result in zip(configs, found, strict=True):
        n = config["n_samples"] + 1
        intervals = np.abs(2.0 * (result.arrays["ranks"] + 0.5) / n - 1.0) <= level
        regions = ((result.arrays["tarp"] + 0.5) / n <= level).mean(axis=1)
        for k, gain in enumerate((KNOWN, UNKNOWN)):
            columns = {"parameter": NAMES, "covered": intervals[k].mean(axis=0)}
            frame = pd.DataFrame(columns | {"tarp": regions[k], "gain": gain})
            frame = frame[(frame.parameter != GAIN) | (gain == UNKNOWN)]
            frames.append(frame.assign(convention=config["convention"], seed=config["seed"]))
    return pd.concat(frames, ignore_index=True)


if __name__ == "__main__":
    pass

    command_line(NETWORK, npe_cell, npe_grid, comparison.SEED)
    command_line(EXACT, exact_cell, exact_grid, comparison.SEED)
