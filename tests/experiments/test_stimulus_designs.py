"""Designs: the tables of the runs, and inference against the linear model."""

import itertools
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import confirmed_designs, stimulus_designs
from experiments.experiment import Result
from experiments.runs import Runs
from experiments.stimulus_designs import ONGOING, SETTINGS, STUDY
from jrlib import parameters
from jrlib.inference.amortised import NetworkSettings


def test_the_table_of_a_design():
    config = stimulus_designs.Config("CLASSIC", STUDY, 0, n_samples=2)
    table = stimulus_designs.run(config).tables["information"]
    assert len(table) == 2 * 2 * len(SETTINGS)
    nats = table.pivot(index="sample", columns=["noise_factor", "setting"], values="nats")
    assert (nats[1.0] > nats[1e4]).all(axis=None)
    for setting in ("unknown gain", "both"):
        assert (nats[1e4, setting] < nats[1e4, "white noise"]).all()
    assert (table[list(parameters.IDENTIFIABLE_NAMES)] <= 1.0 + 1e-9).all(axis=None)


def test_a_design_is_what_its_configuration_says_whatever_its_name():
    named, other = (
        stimulus_designs.Config("CLASSIC", name, 0, n_samples=1, **stimulus_designs.DESIGNS[design])
        for name, design in ((ONGOING, ONGOING), ("another name", ONGOING))
    )
    tables = [stimulus_designs.run(config).tables["information"] for config in (named, other)]
    assert tables[0].equals(tables[1])


def test_designs_are_compared_sample_by_sample_and_ordered_by_what_they_tell():
    keys = itertools.product(("RELEASED", "CLASSIC"), ("white noise", "both"), range(3))
    rows = pd.DataFrame(keys, columns=["convention", "setting", "sample"])
    base = rows["sample"] ** 2.0
    frame = pd.concat(
        rows.assign(design=name, nats=base + more * (1.0 + rows["sample"]))
        for name, more in (("better", 2.0), (STUDY, 0.0), ("worse", -1.0))
    )
    gains = stimulus_designs.gains(frame)
    assert list(gains.design.unique()) == ["worse", "better"]
    assert len(gains) == 2 * 2 * 2
    better = gains[gains.design == "better"].filter(like="(nats)")
    assert list(better) == ["lower quartile (nats)", "median (nats)", "upper quartile (nats)"]
    assert (better == [3.0, 4.0, 5.0]).all(axis=None)


def test_what_inference_learns_is_compared_sample_by_sample(tmp_path):
    def run(config):
        more = 0.0 if config.design == STUDY else 3.0
        nats = [10.0 + more, 20.0 + more, np.nan]
        answers = {"sample": range(3), "relative_effective_sample_size": 0.5, "nats": nats}
        scores = {"parameter": ["A_e", "C"], "metric": "pearson", "value": [0.5, 0.0]}
        tables = {
            "answers": pd.DataFrame(answers),
            "log_q": pd.DataFrame({"sample": range(3), "log_q": 1.0 + more}),
            "scores": pd.DataFrame(scores | {"low": 0.0, "high": 1.0, "n": 3}),
        }
        return Result(tables)

    experiment = replace(confirmed_designs.EXPERIMENT, run=run)
    found = Runs("fast", tmp_path).get(experiment, confirmed_designs.grid("fast", 0), jobs=1)
    designs = list(found.runs.design)
    information = pd.DataFrame(
        [(name, k, 10.0 * (1 + k)) for name in designs for k in range(3)],
        columns=["design", "sample", "nats"],
    )
    frame = confirmed_designs.compare(found, information).set_index("design")
    assert list(frame.index) == designs == [STUDY, "four times as strong"]
    for name in ("off", "off_low", "off_high", "more", "log_q"):
        assert list(frame[name]) == [0.0, 3.0], name
    assert list(frame.promised) == [20.0, 20.0]
    assert list(frame.exact) == [15.0, 18.0]
    assert (frame.found == 2).all()
    assert (frame.n == 3).all()
    assert (frame.correlation == 0.5).all()


def test_inference_confirms_the_linear_model_where_little_is_left_open():
    """Exact posteriors keep as much information as the tangent linear model promises."""
    n, factor = 3, 1e4
    found = confirmed_designs.run(
        confirmed_designs.Config(
            "CLASSIC",
            STUDY,
            0,
            noise_factor=factor,
            n_simulations=300,
            n_test=20,
            n_answered=n,
            n_samples=200,
            network=NetworkSettings(epochs=3, noise_factors=(factor / 2.0, 2.0 * factor)),
        )
    ).tables
    config = stimulus_designs.Config("CLASSIC", STUDY, 0, noise_factors=(factor,), n_samples=n)
    table = stimulus_designs.run(config).tables["information"]
    promised = table[table.setting == "white noise"].nats
    assert (found["answers"].relative_effective_sample_size > 0.3).all()
    np.testing.assert_allclose(found["answers"].nats, promised, atol=1.0)
    assert list(found["log_q"]["sample"]) == list(range(20))
    assert set(found["scores"].parameter) >= set(parameters.IDENTIFIABLE_NAMES)


def test_every_design_that_is_confirmed_is_among_the_others():
    for tier in ("smoke", "fast", "paper"):
        designs = {config.design for config in stimulus_designs.grid(tier, 0)}
        for config in confirmed_designs.grid(tier, 0):
            assert config.design in designs
            assert config.protocol == stimulus_designs.DESIGNS[config.design]["protocol"]


@pytest.mark.parametrize("experiment", [stimulus_designs, confirmed_designs])
def test_an_unknown_tier_is_refused(experiment):
    with pytest.raises(ValueError, match="tier"):
        experiment.grid("huge", 0)
