"""Is a network right about this one response? The local classifier two-sample test, LC2ST.

Ranks and coverage are averages over responses: a network may be too sure of some and too unsure of
others and pass. LC2ST (Linhart, Gramfort & Rodrigues, NeurIPS 2023) learns where the network errs.
In the form for normalising flows a classifier is to tell where the flow has the truths of
simulations, in its base, from draws of the base, given what the network was shown. Where it cannot,
the posterior is right there, as far as the classifier can see; how well it does by chance comes
from classifiers that were given draws of the base on both sides.
"""

import numpy as np
import pandas as pd
import torch
from sbi.diagnostics.lc2st import LC2ST_NF
from torch.distributions import MultivariateNormal

from experiments import amortised_posteriors
from experiments.compared_methods import TEST, observations, test_set
from experiments.comparison import CONVENTIONS, SEED
from experiments.results import Result, check_tier, command_line
from jrlib.inference.amortised import N_COORDINATES
from jrlib.inference.flows import _isolated
from jrlib.priors import Prior

NAME = "local"  # of the results in the store
N_FEATURES = 32  # leading directions of the response that the classifiers see
N_EVALUATED = 2000  # draws of the base at which a classifier is asked
# A network whose posterior is so many times too wide is judged as well: can the test tell?
WIDENED = (1.0, 1.1, 1.25)
# Simulations to learn from, classifiers for chance and of the network, responses that are judged.
SIZES = {
    "smoke": {
        "n_learnt": 200,
        "n_chance": 2,
        "n_classifiers": 2,
        "n_judged": 3,
        "noise_factors": [1e6],
    },
    "fast": {
        "n_learnt": 1000,
        "n_chance": 5,
        "n_classifiers": 2,
        "n_judged": 20,
        "noise_factors": [1e4],
    },
    "paper": {
        "n_learnt": 10_000,
        "n_chance": 40,
        "n_classifiers": 10,
        "n_judged": 200,
        "noise_factors": [1.0, 1e4],
    },
}


def cell(
    convention,
    noise_factor,
    n_simulations,
    seed,
    n_learnt,
    n_chance,
    n_classifiers,
    n_judged,
    *,
    trained,
):
    """Judge a network on test simulations, one by one.

    convention : name of a `Convention`; noise_factor : of what the network answers
    n_simulations, seed : of the training; n_learnt : simulations for the classifier
    n_chance : classifiers of the chance distribution; n_classifiers : of the network itself
    n_judged : first test simulations
    trained : from `amortised_posteriors.trainings`, the training itself

    Returns a `Result` with the table "judged": widened (of `WIDENED`), classifier, number of the
    test simulation, statistic (mean square of the classifier's excess over 0.5) and p, the part of
    the chance classifiers whose statistic is larger. All of them differ in their initial weights
    and in the draws of the base. All test simulations are judged by the same ones, so that the
    verdicts of one classifier are not independent of one another.
    """
    config, result = trained[convention]
    model = amortised_posteriors.reload(config, result)
    reference, rng = model.reference.at(noise_factor), np.random.default_rng([seed, n_learnt])
    theta = Prior().sample(n_learnt, rng)
    learnt = reference.likelihood.observe(theta, rng)
    test = test_set(convention, config["n_test"], "standard")
    judged = observations(test, noise_factor, seed=TEST)[:n_judged].astype(float)
    base = _tensor(model.base(reference.points(theta), learnt, noise_factor))
    seen, asked = (
        _tensor(model.features(responses, noise_factor)[:, :N_FEATURES])
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
            num_eval=N_EVALUATED,
            num_trials_null=1,
            # sbi's own seed does not reach its classifiers; with one number all would begin alike.
            classifier_kwargs={"random_state": number},
        )

    chance, rows = [], []
    with _isolated(seed):
        for number in range(n_chance):
            null = untrained(base, number)
            null.train_under_null_hypothesis(verbosity=0)
            found = [null.get_statistics_under_null_hypothesis(x, verbosity=0) for x in asked]
            chance.append([each.scores.item() for each in found])
        for widened in WIDENED:
            for number in range(n_classifiers):
                tested = untrained(base / widened, n_chance + number)
                tested.train_on_observed_data(verbosity=0)
                statistics = [float(tested.get_statistic_on_observed_data(x)) for x in asked]
                rows.append(
                    pd.DataFrame(
                        {
                            "widened": widened,
                            "classifier": number,
                            "number": range(n_judged),
                            "statistic": statistics,
                            "p": np.mean(np.array(chance) > statistics, axis=0),
                        }
                    )
                )
    return Result({"judged": pd.concat(rows, ignore_index=True)})


def grid(tier, seed):
    """The configurations of `cell` at a tier; ValueError for an unknown one."""
    check_tier(tier)
    size = dict(SIZES[tier])
    n_simulations = amortised_posteriors.SIZES[tier].budgets[-1][0]
    return [
        {
            "convention": convention,
            "noise_factor": noise_factor,
            "n_simulations": n_simulations,
            "seed": seed,
            **size,
        }
        for noise_factor in size.pop("noise_factors")
        for convention in CONVENTIONS
    ]


def _tensor(array):
    return torch.from_numpy(array).float()


if __name__ == "__main__":
    pass  # so that results are made by experiments.local_calibration, not by __main__

    command_line(NAME, cell, grid, SEED, given=amortised_posteriors.trainings)
