"""Our own claims hold, fail or stay open as their evidence says."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from claims import ledger, ours
from experiments import amortised_posteriors
from experiments.exact_posteriors import Optimum
from experiments.experiment import Result
from experiments.runs import Runs
from experiments.settings import CONVENTIONS, EEG_NOISE


def outcome(evidence, name):
    """Of one claim, under CLASSIC at the paper tier."""
    (claim,) = (claim for claim in ours.CLAIMS if claim.id == name)
    evidence = SimpleNamespace(seeds=[0], n_simulations=1000, n_test=400, **evidence)
    (entry,) = ledger.ledger(evidence, "paper", [claim])
    return entry["conventions"]["CLASSIC"]["outcome"]


def curves(**ends):
    """Evidence of learning curves: the last value of each method, the first being 0.3."""
    rows = []
    for convention in CONVENTIONS:
        for method, last in ends.items():
            for n_simulations, value in ((1000, 0.3), (30_000, last)):
                row = {"method": method, "n_simulations": n_simulations, "value": value}
                rows.append({**row, "convention": convention, "noise_factor": 1.0})
    frame = pd.DataFrame(rows)
    return {"curves": frame.assign(low=frame.value - 0.02, high=frame.value + 0.02)}


@pytest.mark.parametrize(
    ("lstm", "expected"),
    [(0.2, ledger.HOLDS), (0.28, ledger.OPEN), (0.32, ledger.OPEN), (0.4, ledger.FAILS)],
)
def test_simulations_are_lacking_when_a_network_gains_enough_by_them(lstm, expected):
    """NPE on few simulations, at 0.3, is what each network is compared with, whatever NPE gains."""
    ends = {"EEGTransformer": 0.1, "CNNBiLSTM": 0.1, "VanillaLSTM": lstm, "NPE": 0.9}
    assert outcome(curves(**ends), "simulations-lacking") == expected


@pytest.mark.parametrize("missing", ["NPE", "VanillaLSTM"])
def test_simulations_cannot_be_judged_without_a_method(missing):
    """A network that always answers the same has no correlation, and so no row."""
    ends = {"EEGTransformer": 0.1, "CNNBiLSTM": 0.1, "VanillaLSTM": 0.1, "NPE": 0.9}
    del ends[missing]
    assert outcome(curves(**ends), "simulations-lacking") == ledger.UNTESTABLE


def trained(folder, arrays, exact, **fields):
    """The runs that keep their weights, with the same arrays and table for both conventions."""
    kinds = amortised_posteriors.EXPERIMENT.tables
    frames = {name: pd.DataFrame(columns=list(columns)) for name, columns in kinds.items()}
    exact = pd.DataFrame(exact)
    filled = {"number": 0, "n_simulations": 0, "accepted": True}
    filled = {name: value for name, value in filled.items() if name not in exact}
    frames["exact"] = exact.assign(**filled).reindex(columns=list(kinds["exact"]))
    result = Result(frames, arrays, {"n_scores": 1, "n_diverged": 0})
    made = replace(amortised_posteriors.EXPERIMENT, run=lambda config: result)
    configs = [
        amortised_posteriors.Config(name, 1000, 0, keep=True, **fields) for name in CONVENTIONS
    ]
    return {"trained": Runs("smoke", folder).get(made, configs, jobs=1)}


@pytest.mark.parametrize(
    ("inside", "expected"), [(0.8, ledger.HOLDS), (0.74, ledger.OPEN), (0.6, ledger.FAILS)]
)
def test_a_network_is_calibrated_when_its_regions_hold_as_often_as_they_say(
    tmp_path, inside, expected
):
    levels = np.where(np.arange(4000) < inside * 4000, 0.5, 0.9)[np.newaxis]
    evidence = trained(tmp_path, {"highest_density": levels}, {}, noise_factors=(1.0,))
    assert outcome(evidence, "network-calibrated") == expected


@pytest.mark.parametrize(
    ("accuracy", "expected"), [(0.5, ledger.HOLDS), (0.6, ledger.OPEN), (0.9, ledger.FAILS)]
)
def test_samples_are_exact_when_no_classifier_tells_them_apart(tmp_path, accuracy, expected):
    spread = accuracy + np.linspace(-0.05, 0.05, 41)
    table = pd.DataFrame({"noise_factor": EEG_NOISE, "c2st": spread})
    low = pd.DataFrame({"noise_factor": [1.0], "c2st": [1.0]})  # below real noise: does not count
    evidence = trained(tmp_path, {}, pd.concat([table, low], ignore_index=True))
    assert outcome(evidence, "network-samples-exact") == expected


@pytest.mark.parametrize(
    ("found", "worst", "expected"),
    [
        (0.99, 1.0, ledger.HOLDS),
        (0.9, 1.0, ledger.OPEN),
        (0.5, 1.0, ledger.FAILS),
        (0.99, 0.8, ledger.FAILS),
    ],
)
def test_exact_posteriors_are_found_when_enough_are_and_their_means_are_optimal(
    tmp_path, found, worst, expected
):
    """Where the means are those of other exact posteriors, but for noise in one quantity."""
    n, rng = 1000, np.random.default_rng(0)
    truth = rng.standard_normal((n, 13))
    mean = truth + 0.5 * rng.standard_normal(truth.shape)
    means = mean.copy()
    means[:, 0] += np.sqrt(1.25 / worst**2 - 1.25) * rng.standard_normal(n)
    exact = pd.DataFrame({"noise_factor": 1.0, "number": range(n)})
    exact["accepted"] = exact.number < found * n
    evidence = trained(
        tmp_path, {"exact": means[np.newaxis]}, exact, noise_factors=(1.0,), n_exact=n
    )
    optimum = Optimum(np.arange(n), truth, mean)
    evidence["optima"] = {(name, 1.0): optimum for name in CONVENTIONS}
    assert outcome(evidence, "exact-from-samples") == expected


@pytest.mark.parametrize(
    ("worst", "expected"), [(0.99, ledger.HOLDS), (0.97, ledger.OPEN), (0.9, ledger.FAILS)]
)
def test_an_answer_is_as_good_as_its_worst_quantity(worst, expected):
    rows = [
        {"convention": name, "noise_factor": 1.0, "parameter": parameter, "value": value}
        for name in CONVENTIONS
        for parameter, value in (("A_e", 1.0), ("A_i", worst))
    ]
    frame = pd.DataFrame(rows).assign(optimal=0.9)
    weak = frame.assign(parameter="b_e", value=0.0, optimal=0.2)  # tells nothing
    corrected = pd.concat([frame, weak], ignore_index=True)
    corrected = corrected.assign(low=corrected.value - 0.01, high=corrected.value + 0.01)
    answers = pd.DataFrame({"convention": CONVENTIONS, "noise_factor": 1.0, "c2st": 0.5})
    evidence = {"corrected": corrected, "answers": answers}
    assert outcome(evidence, "answer-corrected") == expected
