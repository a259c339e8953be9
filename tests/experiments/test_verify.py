"""Verification finds what was changed, and says how much the runs that agree tell."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from experiments import runs, storage, tables, verify
from experiments.experiment import Experiment, Result
from experiments.runs import Runs


@dataclass(frozen=True)
class Config:
    seed: int
    x: float = 1.0
    trained: bool = False


def roots(config):
    rng = np.random.default_rng(config.seed)
    table = {"name": ["a", "b"], "value": [config.x**0.5, np.nan]}
    return Result({"roots": pd.DataFrame(table)}, {"noise": rng.normal(size=4)}, {"x": config.x})


ROOTS = Experiment(
    "roots",
    Config,
    roots,
    lambda tier, seed: [Config(seed, float(x)) for x in range(1, 5)],
    {"roots": {"name": str, "value": float}},
    {"x": float},
)


def scored(config):
    """Stands for a training: what it reaches depends on the seed and on the processor."""
    rng = np.random.default_rng([config.seed, len(MACHINE)])
    table = {"parameter": list("abcdef"), "metric": "pearson"}
    values = 0.5 + 0.05 * rng.standard_normal(6) + (10 * SHIFT[0] if SHIFT else 0.0)
    return Result({"scores": pd.DataFrame(table | {"value": values})}, weights={"w": values})


MACHINE, SHIFT = [], []
SCORES = {"parameter": str, "metric": str, "value": float}
SCORED = Experiment(
    "scored",
    Config,
    scored,
    lambda tier, seed: [Config(seed + k, 2.0) for k in range(4)],
    {"scores": SCORES},
    level="retrained",
)


@pytest.fixture
def store(tmp_path):
    store = Runs("fast", tmp_path)
    for experiment in (ROOTS, SCORED):
        store.get(experiment, experiment.grid("fast", 1), jobs=1, progress=False)
    yield store
    MACHINE.clear()
    SHIFT.clear()


def test_the_code_that_made_the_results_passes(store):
    verified = verify.verify(store, [ROOTS, SCORED], 1000.0, seed=0)
    assert len(verified) == 8
    assert verified.passed.all()
    assert verified.largest_deviation.tolist() == [0.0] * 8
    assert set(verified.level) == {"exact", "retrained"}
    (row,) = verify.summary(verified).to_dict("records")
    assert (row["stratum"], row["drawn"], row["passed"]) == ("0 to 5 s", 8, 8)
    assert row["at_most"] == pytest.approx(3 / 8)


def damage(store, experiment, old, new):
    """Change a stored number and renew its checksum, so that only computing again can tell."""
    folder = store.folder(experiment)
    (name,) = experiment.tables
    path = folder / f"{name}.csv"
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    table = path.read_text().splitlines()
    lines = (folder / "runs.csv").read_text().splitlines()
    arrays = storage.Stored(experiment, folder)._arrays(None)
    for i, line in enumerate(lines[1:], 1):
        run = line.split(",")[0]
        digest = storage.digest(
            {name: [x for x in table if x.split(",")[0] == run]}, arrays.get(run, {})
        )
        cells = line.split(",")
        cells[-2] = digest
        lines[i] = ",".join(cells)
    (folder / "runs.csv").write_text("\n".join(lines) + "\n")


def test_a_changed_number_with_its_checksum_renewed_is_found(store):
    damage(store, ROOTS, str(3.0**0.5), "1.7420508075688772")
    assert len(store.all(ROOTS)) == 4  # nothing else notices
    verified = verify.verify(store, [ROOTS], 1000.0, seed=0)
    (bad,) = verified[~verified.passed].to_dict("records")
    assert bad["run"] == "seed1-x=3"
    assert bad["largest_deviation"] == pytest.approx(0.01 / 1.742, rel=1e-3)
    assert np.isnan(verify.summary(verified).at_most[0])


@pytest.mark.parametrize("change", ["value", "array", "word", "rows", "nan"])
def test_code_that_gives_something_else_is_found(store, change):
    def other(config):
        result = roots(config)
        table = result.tables["roots"]
        if change == "value":
            result.values["x"] += 0.01
        if change == "array":
            result.arrays["noise"][2] += 0.01
        if change == "word":
            table.loc[0, "name"] = "c"
        if change == "rows":
            result.tables["roots"] = table[:1]
        if change == "nan":
            table.loc[1, "value"] = 0.0
        return result

    verified = verify.verify(store, [replace(ROOTS, run=other)], 1000.0, seed=0)
    assert not verified.passed.any()


def test_rounding_passes(store):
    def rounded(config):
        result = roots(config)
        result.tables["roots"]["value"] *= 1.0 + 1e-7
        result.arrays["noise"] *= 1.0 - 1e-7
        return result

    verified = verify.verify(store, [replace(ROOTS, run=rounded)], 1000.0, seed=0)
    assert verified.passed.all()
    assert (verified.largest_deviation > 0).all()


def test_another_seed_passes_as_a_training_and_a_worse_one_does_not(store):
    MACHINE.append("another processor")
    verified = verify.verify(store, [SCORED], 1000.0, seed=0)
    assert verified.passed.all()
    assert (verified.largest_deviation > 0.1).all()
    SHIFT.append(0.05)
    assert not verify.verify(store, [SCORED], 1000.0, seed=0).passed.any()


def test_stored_weights_are_scored_again_instead_of_trained(store):
    def rescore(config, weights, about):
        table = {"parameter": list("abcdef"), "metric": "pearson", "value": weights["w"]}
        return Result({"scores": pd.DataFrame(table)})

    MACHINE.append("another processor")
    again = replace(SCORED, rescore=rescore)
    verified = verify.verify(store, [again], 1000.0, seed=0)
    assert set(verified.level) == {"rescored"}
    assert verified.largest_deviation.tolist() == [0.0] * 4


def found_with(costs):
    frame = pd.DataFrame({"run": [f"r{i}" for i in range(len(costs))], "cpu_seconds": costs})
    return runs.Found(ROOTS, frame.assign(weights_sha256=""), {}, {}, {}, None)


def test_what_is_drawn_fits_the_time_and_comes_from_every_stratum():
    costs = [1.0] * 50 + [20.0] * 10 + [100.0] * 10 + [5000.0]
    found = found_with(costs)
    drawn = verify.draw([found], 300.0, np.random.default_rng(0))
    taken = [costs[int(run[1:])] for _, run in drawn]
    assert sum(taken) + verify.START * len(taken) <= 300.0
    assert {verify.stratum(cost) for cost in taken} == {"0 to 5 s", "5 to 30 s", "30 to 120 s"}
    again = verify.draw([found], 300.0, np.random.default_rng(1))
    assert [run for _, run in again] != [run for _, run in drawn]


def test_every_run_is_drawn_as_often():
    found = found_with([1.0] * 10)
    times = np.zeros(10)
    for seed in range(400):
        for _, run in verify.draw([found], 12.5, np.random.default_rng(seed)):
            times[int(run[1:])] += 1
    assert times.sum() == 1200
    assert times.min() > 80  # 120 on average, standard deviation 9


def test_what_was_found_is_kept_and_read_again(store, tmp_path):
    verified = verify.verify(store, [ROOTS], 1000.0, seed=0)
    verify.record(verified, tmp_path)
    verify.record(verified, tmp_path)
    read = verify.read(tmp_path)
    assert len(read) == 2 * len(verified)
    pd.testing.assert_frame_equal(read[: len(verified)], verified, check_dtype=False)
    assert len(verify.read(tmp_path / "nothing")) == 0


def test_the_last_recomputation_of_a_stored_run_decides_and_others_are_unverified(store):
    found = [store.all(ROOTS), store.all(SCORED)]
    rows = verify.standing(found, verify.read(store.root))
    assert len(rows) == 8
    assert set(rows.outcome) == {"unverified"}
    verified = verify.verify(store, [ROOTS], 1000.0, seed=0)
    assert (verify.standing(found, verified).outcome == "agrees").sum() == 4
    worse = verified[:1].assign(passed=False)
    for runs_in_order, expected in (((verified, worse), 3), ((worse, verified), 4)):
        rows = verify.standing(found, pd.concat(runs_in_order)).set_index("run")
        assert (rows.outcome == "agrees").sum() == expected
        assert (rows.outcome[worse.run] == "differs").all() == (expected == 3)
    # What was computed since then is not what was verified.
    rows = verify.standing(found, verified.assign(date="2020-01-01"))
    assert set(rows.outcome) == {"unverified"}


def test_stored_weights_are_in_the_stratum_of_scoring_them(tmp_path):
    costs, weighed = [1.0, 20.0, 300.0], ["", "", "a" * 64]
    trained = replace(ROOTS, rescore=scored)
    frame = pd.DataFrame({"run": list("abc"), "cpu_seconds": costs, "weights_sha256": weighed})
    frame["computed"] = "2026-11-27T08:00:00.000+00:00"
    found = runs.Found(trained, frame, {}, {}, {}, None)
    rows = verify.standing([found], verify.read(tmp_path))
    assert rows.stratum.tolist() == ["0 to 5 s", "5 to 30 s", "0 to 5 s"]


def test_an_edited_verification_is_an_error(tmp_path):
    (tmp_path / "verified.csv").write_text("experiment,run\nroots,seed1\n")
    with pytest.raises(tables.TableError, match=r"verified\.csv: column tier is missing"):
        verify.read(tmp_path)
