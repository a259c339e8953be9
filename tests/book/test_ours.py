"""Our own claims hold, fail or stay open as their evidence says."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from claims import ledger, ours
from experiments import comparison


def outcome(evidence, name):
    """Of one claim, under CLASSIC at the paper tier."""
    (claim,) = (claim for claim in ours.CLAIMS if claim.id == name)
    evidence = SimpleNamespace(seeds=[0], n_simulations=1000, n_test=400, **evidence)
    (entry,) = ledger.ledger(evidence, "paper", [claim])
    return entry["conventions"]["CLASSIC"]["outcome"]


def curves(**ends):
    """Evidence of learning curves: the last value of each method, the first being 0.3."""
    rows = []
    for convention in comparison.CONVENTIONS:
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


@pytest.mark.parametrize(
    ("inside", "expected"), [(0.8, ledger.HOLDS), (0.74, ledger.OPEN), (0.6, ledger.FAILS)]
)
def test_a_network_is_calibrated_when_its_regions_hold_as_often_as_they_say(inside, expected):
    levels = np.where(np.arange(4000) < inside * 4000, 0.5, 0.9)[np.newaxis]
    result = SimpleNamespace(arrays={"highest_density": levels})
    kept = {name: ({"noise_factors": [1.0]}, result) for name in comparison.CONVENTIONS}
    assert outcome({"kept": kept}, "network-calibrated") == expected


@pytest.mark.parametrize(
    ("accuracy", "expected"), [(0.5, ledger.HOLDS), (0.6, ledger.OPEN), (0.9, ledger.FAILS)]
)
def test_draws_are_exact_when_no_classifier_tells_them_apart(accuracy, expected):
    spread = accuracy + np.linspace(-0.05, 0.05, 41)
    table = pd.DataFrame({"noise_factor": ours.REAL, "c2st": spread})
    low = pd.DataFrame({"noise_factor": [1.0], "c2st": [1.0]})  # below real noise: does not count
    result = SimpleNamespace(tables={"exact": pd.concat([table, low])})
    kept = {name: ({}, result) for name in comparison.CONVENTIONS}
    assert outcome({"kept": kept}, "network-draws-exact") == expected


@pytest.mark.parametrize(
    ("worst", "expected"), [(0.99, ledger.HOLDS), (0.97, ledger.OPEN), (0.9, ledger.FAILS)]
)
def test_an_answer_is_as_good_as_its_worst_quantity(worst, expected):
    rows = [
        {"convention": name, "noise_factor": 1.0, "parameter": parameter, "value": value}
        for name in comparison.CONVENTIONS
        for parameter, value in (("A_e", 1.0), ("A_i", worst))
    ]
    frame = pd.DataFrame(rows)
    corrected = frame.assign(low=frame.value - 0.01, high=frame.value + 0.01)
    answers = pd.DataFrame({"convention": comparison.CONVENTIONS, "noise_factor": 1.0, "c2st": 0.5})
    evidence = {"corrected": corrected, "answers": answers}
    assert outcome(evidence, "answer-corrected") == expected
