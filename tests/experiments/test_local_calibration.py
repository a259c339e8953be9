"""The local test: chance levels for a posterior that is right, small p for one too wide."""

import numpy as np
import pandas as pd
import pytest

from experiments import amortised_posteriors, compared_methods, local_calibration, tables
from jrlib.inference.exact_posterior import ExactSampler
from jrlib.inference.likelihood import Likelihood


class Right:
    """Stands for a trained flow: the truth is anywhere in its base, whatever the response."""

    def __init__(self):
        test = compared_methods.test_set("CLASSIC", 60, "standard")
        self.sampler = ExactSampler(Likelihood.of(test, 1.0))

    def base(self, points, observations, noise_factor):
        assert points.shape == (len(observations), 8)
        return np.random.default_rng(1).standard_normal(points.shape)

    def features(self, observations, noise_factor):
        return observations[:, 60:80] / observations[:, 60:80].std()


def test_what_is_right_passes_and_what_is_too_wide_is_noticed():
    config = local_calibration.Config(
        "CLASSIC",
        1e4,
        3,
        trained="none",
        n_learnt=1000,
        n_chance=8,
        n_classifiers=3,
        n_judged=20,
        widened=(1.0, 2.0),
    )
    test = compared_methods.test_set("CLASSIC", 60, "standard")
    judged = local_calibration.judge(config, Right(), test)
    assert (judged.groupby(["widened", "classifier"]).size() == 20).all()
    assert (judged.groupby(["widened", "number"]).statistic.nunique() == 3).all()
    again = local_calibration.judge(config, Right(), test)
    pd.testing.assert_frame_equal(again, judged, check_exact=True)
    p = judged.groupby("widened").p
    assert p.median()[1.0] > 0.1
    assert p.median()[2.0] == 0.0


def test_rejections_are_fractions_of_the_responses_classifier_by_classifier():
    p = [0.01, 0.2, 0.04, 0.03, 0.5, 0.6]
    judged = pd.DataFrame({"widened": 1.0, "classifier": [0, 0, 1, 1, 2, 2], "p": p})
    judged = judged.assign(convention="CLASSIC", noise_factor=1e4)
    (row,) = local_calibration.rejections(judged).to_dict("records")
    assert (row["mean"], row["lowest"], row["highest"]) == (0.5, 0.0, 1.0)


def test_the_grid():
    configs = local_calibration.grid("paper", 1)
    kept = amortised_posteriors.kept("paper", 1)
    assert {config.convention for config in configs} == {"RELEASED", "CLASSIC"}
    assert all(config.trained == tables.run_name(kept[config.convention]) for config in configs)
    assert all(config.n_simulations == 300_000 for config in kept.values())
    with pytest.raises(ValueError, match="tier"):
        local_calibration.grid("huge", 1)
