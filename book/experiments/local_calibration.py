"""Is a network right about this one response? The local classifier two-sample test, LC2ST.

Ranks and coverage are averages over responses: a network may be too sure of some and too unsure of
others and pass. LC2ST (Linhart, Gramfort & Rodrigues, NeurIPS 2023) learns where the network errs.
In the form for normalising flows a classifier is to tell where the flow has the truths of
simulations, in its base, from draws of the base, given what the network was shown. Where it cannot,
the posterior is right there, as far as the classifier can see; how well it does by chance comes
from classifiers that were given draws of the base on both sides.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from sbi.diagnostics.lc2st import LC2ST_NF
from torch.distributions import MultivariateNormal

from experiments import amortised_posteriors, tables
from experiments.compared_methods import test_set
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import CONVENTIONS, TEST
from jrlib.inference.amortised import N_COORDINATES
from jrlib.inference.sbi_adapter import isolated
from jrlib.priors import Prior


@dataclass(frozen=True)
class Config:
    """A network that is judged on test simulations, one by one.

    trained : run of `amortised_posteriors` that kept its weights, of the same convention
    n_learnt : simulations for the classifiers to learn from
    n_chance, n_classifiers : classifiers of the chance distribution, and of the network itself
    n_judged : test simulations, the first ones
    n_features : leading directions of the response that the classifiers see
    n_evaluated : draws of the base at which a classifier is asked
    widened : a network whose posterior is so many times too wide is judged as well, which shows
        what the test can tell
    """

    convention: str
    noise_factor: float
    seed: int
    trained: str = field(metadata={"named": False})
    n_learnt: int = 10_000
    n_chance: int = 40
    n_classifiers: int = 10
    n_judged: int = 200
    n_features: int = 32
    n_evaluated: int = 2000
    widened: tuple[float, ...] = (1.0, 1.1, 1.25)


SIZES = {
    "smoke": {
        "n_learnt": 200,
        "n_chance": 2,
        "n_classifiers": 2,
        "n_judged": 3,
        "noise_factors": (1e6,),
    },
    "fast": {
        "n_learnt": 500,
        "n_chance": 4,
        "n_classifiers": 2,
        "n_judged": 10,
        "noise_factors": (1e4,),
    },
    "paper": {"noise_factors": (1.0, 1e4)},
}


def run(config, upstream):
    """Judge a trained network.

    Returns a `Result` with the table "judged": widened, classifier, number of the test simulation,
    statistic (mean square of the classifier's excess over 0.5) and p, the fraction of the chance
    classifiers whose statistic is larger. All of them differ in their initial weights and in the
    draws of the base. All test simulations are judged by the same ones, so that the verdicts of one
    classifier are not independent of one another.
    """
    trained = upstream["trained"]
    model = amortised_posteriors.reload(trained)
    test = test_set(config.convention, trained.runs.n_test.iloc[0], "standard")
    return Result({"judged": judge(config, model, test)})


def judge(config, model, test):
    """The table of `run`, of any model with `sampler`, `base` and `features`.

    model : an `AmortisedPosterior`; test : the `Dataset` of which the first simulations are judged
    """
    n_learnt, noise_factor = config.n_learnt, config.noise_factor
    sampler = model.sampler.at(noise_factor)
    rng = np.random.default_rng([config.seed, n_learnt])
    theta = Prior().sample(n_learnt, rng)
    learnt = sampler.likelihood.observe(theta, rng)
    judged = test.observe(noise_factor, seed=TEST)[: config.n_judged].astype(float)
    base = _tensor(model.base(sampler.points(theta), learnt, noise_factor))
    seen, asked = (
        _tensor(model.features(responses, noise_factor)[:, : config.n_features])
        for responses in (learnt, judged)
    )
    asked = asked.split(1)
    normal = MultivariateNormal(torch.zeros(N_COORDINATES), torch.eye(N_COORDINATES))

    def untrained(points, number):
        """The test of points (n_learnt, 8) in the base, by classifier `number`."""
        return LC2ST_NF(
            prior_samples=points,
            xs=seen,
            posterior_samples=normal.sample((n_learnt,)),
            flow_inverse_transform=lambda points, _: points,  # they are in the base already
            flow_base_dist=normal,
            num_eval=config.n_evaluated,
            num_trials_null=1,
            # sbi's own seed does not reach its classifiers; with one number all would begin alike.
            classifier_kwargs={"random_state": number},
        )

    chance, rows = [], []
    with isolated(config.seed):
        for number in range(config.n_chance):
            null = untrained(base, number)
            null.train_under_null_hypothesis(verbosity=0)
            found = [null.get_statistics_under_null_hypothesis(x, verbosity=0) for x in asked]
            chance.append([each.scores.item() for each in found])
        for widened in config.widened:
            for number in range(config.n_classifiers):
                tested = untrained(base / widened, config.n_chance + number)
                tested.train_on_observed_data(verbosity=0)
                statistics = [float(tested.get_statistic_on_observed_data(x)) for x in asked]
                rows.append(
                    pd.DataFrame(
                        {
                            "widened": widened,
                            "classifier": number,
                            "number": range(config.n_judged),
                            "statistic": statistics,
                            "p": np.mean(np.array(chance) > statistics, axis=0),
                        }
                    )
                )
    return pd.concat(rows, ignore_index=True)


def grid(tier, seed):
    """The configurations of a tier."""
    check_tier(tier)
    sizes = dict(SIZES[tier])
    kept = amortised_posteriors.kept(tier, seed)
    return [
        Config(convention, noise_factor, seed, trained=tables.run_name(kept[convention]), **sizes)
        for noise_factor in sizes.pop("noise_factors")
        for convention in CONVENTIONS
    ]


EXPERIMENT = Experiment(
    "local_calibration",
    Config,
    run,
    grid,
    tables={
        "judged": {
            "widened": float,
            "classifier": int,
            "number": int,
            "statistic": float,
            "p": float,
        }
    },
    upstream={"trained": "amortised_posteriors"},
)


def rejections(table, *, p=0.05):
    """What fraction of the responses the test objects to: mean, lowest and highest classifier.

    table : "judged" of a `runs.Found`; p : below which the test objects
    Returns a DataFrame with a row for each convention, noise factor and width of the posteriors.
    """
    keys = ["convention", "noise_factor", "widened"]
    rejected = table.assign(rejected=table.p < p)
    of_classifier = rejected.groupby([*keys, "classifier"], sort=False).rejected.mean()
    fractions = of_classifier.groupby(keys, sort=False)
    return fractions.agg(mean="mean", lowest="min", highest="max").reset_index()


def _tensor(array):
    return torch.from_numpy(array).float()
