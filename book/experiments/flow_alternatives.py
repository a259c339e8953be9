"""Other ways to train a posterior for every noise level: flow matching, and ensembles.

`amortised_posteriors` trains one normalising flow by maximum likelihood (NPE) on more and more
simulations. Here are the alternatives at one budget, on the same simulations in as many passes: the
mean density of several such flows (an ensemble), and a vector field trained by flow matching
(FMPE).
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from experiments.compared_methods import SCORES, test_set
from experiments.exact_posteriors import ENVELOPE_LEVEL, leaves_envelope
from experiments.experiment import Experiment, Result, check_tier
from experiments.settings import N_TEST, TEST
from jrlib.diagnostics import scoring
from jrlib.diagnostics.calibration import coverage, ranks
from jrlib.inference import amortised
from jrlib.inference.amortised import AnswerSettings, NetworkSettings
from jrlib.inference.exact_posterior import ExactSampler, SamplerSettings
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

ENSEMBLE = "ensemble"  # what stands for a seed where all networks answer together
NPE, TOGETHER, FMPE = "NPE", "NPE together", "FMPE"  # what is compared


@dataclass(frozen=True)
class Config:
    """Several networks trained alike, and test simulations that they answer.

    convention : name of a `Convention`
    seed : of the first training; the others have the next ones
    n_trainings, n_simulations : of each, in the passes that `network` says
    n_test : number of all test simulations, of which the first n_checked are answered
    n_samples : of each answer; noise_factors : of the answers
    n_bootstrap : resamples for the intervals of the scores
    network, answers, sampler : settings of `jrlib.inference`
    """

    convention: str
    seed: int
    n_trainings: int = 1
    n_simulations: int = 30_000
    n_test: int = 2000
    n_checked: int = 200
    n_samples: int = 99
    noise_factors: tuple[float, ...] = (1.0, 1e2, 1e4, 1e6)
    n_bootstrap: int = 1000
    network: NetworkSettings = field(default=NetworkSettings(epochs=50))
    answers: AnswerSettings = field(default=AnswerSettings())
    sampler: SamplerSettings = field(default=SamplerSettings())


# trainings : how many by kind of flow, see `NetworkSettings`; epochs : of each. All others are
# fields of `Config`.
SIZES = {
    "smoke": {
        "trainings": {"spline": 2, "matching": 1},
        "epochs": 2,
        "n_simulations": 200,
        "n_checked": 20,
        "n_samples": 19,
        "noise_factors": (1e6,),
    },
    "fast": {
        "trainings": {"spline": 2, "matching": 1},
        "epochs": 5,
        "n_simulations": 1000,
        "n_checked": 40,
        "n_samples": 49,
        "noise_factors": (1e4, 1e6),
    },
    "paper": {"trainings": {"spline": 3, "matching": 1}, "epochs": 50},
}


def run(config):
    """Train the networks, and let each, and all together, answer test simulations.

    Returns a `Result`: the table "scores" (`scoring.score` of the posterior means, with columns
    noise_factor and network: the seed, or `ENSEMBLE` where there are several); and arrays, float32,
    whose first axes are networks and noise factors: means and ranks (m, k, n_checked, 13) of
    `QUANTITY_NAMES`, ranks of the truth among the samples; log_q (m, k, n_checked), the networks'
    log density of the truth in the coordinates of `exact_posterior.ExactSampler`.
    """
    test = test_set(config.convention, config.n_test, "standard")
    sampler = ExactSampler(Likelihood.of(test, 1.0), settings=config.sampler)
    networks = {
        str(seed): amortised.train(
            sampler, config.n_simulations, seed=seed, settings=config.network
        )
        for seed in range(config.seed, config.seed + config.n_trainings)
    }
    if len(networks) > 1:
        networks[ENSEMBLE] = amortised.ensemble(list(networks.values()))
    theta = test.theta[: config.n_checked]
    truth, points = quantities(theta), sampler.points(theta)[:, np.newaxis]
    rng, scores = np.random.default_rng(config.seed), []
    arrays = {"means": [], "ranks": [], "log_q": []}
    for name, network in networks.items():
        network.answers = config.answers
        for noise_factor in config.noise_factors:
            observed = test.observe(noise_factor, seed=TEST)[: config.n_checked].astype(float)
            means = network.mean(observed, noise_factor, seed=config.seed)
            score = scoring.score(
                truth,
                means,
                QUANTITY_NAMES,
                scale=Prior().quantity_std,
                n_bootstrap=config.n_bootstrap,
            )
            scores.append(score.assign(noise_factor=noise_factor, network=name))
            drawn = network.draw_points(observed, noise_factor, config.n_samples, seed=config.seed)
            samples = quantities(network.parameters(drawn.reshape(-1, drawn.shape[2]), rng))
            samples = samples.reshape(*drawn.shape[:2], -1)
            arrays["means"].append(means)
            arrays["ranks"].append(ranks(samples, truth))
            arrays["log_q"].append(network.log_prob(points, observed, noise_factor)[:, 0])
    shape = len(networks), len(config.noise_factors)
    return Result(
        {"scores": pd.concat(scores, ignore_index=True).round(6)},
        {
            name: np.array(rows, np.float32).reshape(*shape, *rows[0].shape)
            for name, rows in arrays.items()
        },
    )


def grid(tier, seed):
    """The configurations of a tier, under CLASSIC only."""
    check_tier(tier)
    sizes = dict(SIZES[tier])
    trainings, epochs = sizes.pop("trainings"), sizes.pop("epochs")
    return [
        Config(
            "CLASSIC",
            seed,
            n_trainings=n_trainings,
            n_test=N_TEST[tier],
            network=NetworkSettings(flow=flow, epochs=epochs),
            **sizes,
        )
        for flow, n_trainings in trainings.items()
    ]


EXPERIMENT = Experiment(
    "flow_alternatives",
    Config,
    run,
    grid,
    tables={"scores": SCORES | {"noise_factor": float, "network": str}},
    level="retrained",
)


def summary(found, nominal):
    """How one network trained by maximum likelihood, several together and flow matching compare.

    found : a `runs.Found` of the two kinds; nominal : levels in 0..1 at which ranks are looked at
    Returns a DataFrame with a row for each noise factor and way to train (`NPE`, `TOGETHER` and
    `FMPE`): n_trainings; correlation, of the posterior means with the truth, mean over
    `IDENTIFIABLE_NAMES`; nats, how much larger the log density of the truth is than NPE's, with
    error, two standard errors of the mean over the responses; and outside, how many of the lines of
    ranks leave their envelope. Single networks: means over the trainings.
    """
    rows, spline = [], found.where(**{"network.flow": "spline"})
    alone = spline.value("n_trainings")
    reference = spline.arrays()["log_q"][:alone].mean(axis=0)
    ways = [(NPE, spline, slice(0, alone)), (TOGETHER, spline, slice(alone, None))]
    ways.append((FMPE, found.where(**{"network.flow": "matching"}), slice(0, 1)))
    for label, runs, which in ways:
        config, arrays = runs.config(), runs.arrays()
        scores = runs.table("scores")
        networks = scores.network.unique()[which]
        scores = scores[scores.network.isin(networks) & (scores.metric == "pearson")]
        scores = scores[scores.parameter.isin(IDENTIFIABLE_NAMES)]
        more = arrays["log_q"][which].mean(axis=0) - reference
        below = (arrays["ranks"][which] + 0.5) / (config.n_samples + 1)
        for k, noise_factor in enumerate(config.noise_factors):
            lines = below[:, k].transpose(0, 2, 1).reshape(-1, below.shape[2])
            left = [leaves_envelope(coverage(line, nominal, ENVELOPE_LEVEL)) for line in lines]
            rows.append(
                {
                    "trained": label,
                    "noise_factor": noise_factor,
                    "n_trainings": config.n_trainings,
                    "correlation": scores[scores.noise_factor == noise_factor].value.mean(),
                    "nats": more[k].mean(),
                    "error": 2.0 * more[k].std() / np.sqrt(more.shape[1]),
                    "outside": sum(left) / len(networks),
                }
            )
    return pd.DataFrame(rows)
