"""What the page on reproducibility says of stored results, computed again or not."""

import pandas as pd
import pytest

import figures.reproducibility
from experiments import NAMES, verify


def stored(n, stratum="0 to 5 s", outcome="unverified"):
    """Made-up rows of `verify.standing`."""
    rows = {"run": [f"r{i}" for i in range(n)], "experiment": "comparison", "level": "retrained"}
    return pd.DataFrame(rows | {"stratum": stratum, "outcome": outcome})


def recomputed(n, stratum="0 to 5 s", differing=0, commit="a" * 40, machine="one, 2 cores"):
    """Made-up rows of `verify.read`."""
    rows = stored(n, stratum).assign(
        tier="paper", at_commit=commit, date="2026-11-28", machine=machine, allowed=5.0
    )
    rows["passed"] = [i >= differing for i in range(n)]
    rows["largest_deviation"] = [0.1 if passed else 7.0 for passed in rows.passed]
    return rows[list(verify.COLUMNS)]


def said(verified):
    """The table's rows by stratum, of strata with one row each."""
    table = figures.reproducibility.strata(stored(50), verified)
    return table.set_index("to compute again")


def test_without_a_verification_every_stratum_is_unverified(tmp_path):
    table = said(verify.read(tmp_path))
    assert table.index.tolist() == ["0 to 5 s", "5 to 30 s", "30 to 120 s", "from 120 s"]
    assert table.stored.tolist() == [50, 0, 0, 0]
    assert table.drawn.tolist() == [0] * 4
    assert set(table["what it says"]) == {"nothing drawn: unverified"}


@pytest.mark.parametrize(
    ("n", "differing", "expected"),
    [
        (2, 0, "2 drawn, all agree; too few to say more"),
        (20, 0, "20 drawn, all agree; so with 95 % confidence at most 15.0% would not"),
        (20, 3, "3 of 20 drawn differ"),
    ],
)
def test_what_a_stratum_says(n, differing, expected):
    row = said(recomputed(n, differing=differing)).loc["0 to 5 s"]
    assert row["what it says"] == expected
    assert (row.drawn, row.agree) == (n, n - differing)
    assert row["... of trainings"] == (7.0 if differing else 0.1)
    assert pd.isna(row["largest deviation"])  # none was exact or rescored
    assert row.made == "2026-11-28 at aaaaaaaa on one, 2 cores"


def test_only_the_last_commit_counts_and_each_run_once():
    old = recomputed(9, differing=9, commit="b" * 40)
    new = recomputed(5)
    table = said(pd.concat([old, new, new]))
    assert table.loc["0 to 5 s", "what it says"].startswith("5 drawn, all agree")
    both = pd.concat([new, recomputed(4, machine="another")])
    assert said(both).loc["0 to 5 s"].drawn.tolist() == [5, 4]


def test_changes_that_were_not_committed_are_marked():
    row = said(recomputed(5, commit="a" * 40 + "+")).loc["0 to 5 s"]
    assert "at aaaaaaaa+ on" in row.made


def test_every_experiment_has_a_row_and_its_unverified_runs_are_counted():
    standing = pd.concat([stored(3), stored(2, outcome="agrees"), stored(1, outcome="differs")])
    table = figures.reproducibility.by_experiment(standing)
    assert table.experiment.tolist() == list(NAMES)
    counts = table.set_index("experiment").drop(columns="compared")
    assert counts.loc["comparison"].tolist() == [6, 2, 1, 3]
    assert counts.drop("comparison").to_numpy().sum() == 0
