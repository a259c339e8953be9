"""The published numbers beside ours, and the ledger of claims."""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from claims import ledger, paper, public_notebooks
from experiments import comparison, least_squares_fits
from experiments.compared_methods import test_set as simulated_test_set
from experiments.experiment import Result
from experiments.runs import Runs
from experiments.settings import CONVENTIONS
from jrlib.parameters import PARAMETER_NAMES, QUANTITY_NAMES, quantities

ROOT = Path(__file__).resolve().parents[2]

PUBLISHED_RUN = {"variant": "published", "n_simulations": 10, "n_test": 400, "epochs": 1}


def estimates_with_correlations(correlations, rng):
    """A result of the published variant whose estimates have about these correlations (9,)."""
    theta = simulated_test_set("RELEASED", 400, "published").theta
    standard = (theta - theta.mean(axis=0)) / theta.std(axis=0)
    r = np.asarray(correlations)
    made = r * standard + np.sqrt(1 - r**2) * rng.standard_normal(theta.shape)
    estimates = quantities(theta.mean(axis=0) + theta.std(axis=0) * made).astype(np.float32)
    return invented_result(arrays={"estimates": estimates})


def invented_result(scores=None, arrays=None):
    columns = comparison.EXPERIMENT.tables
    scores = pd.DataFrame(columns=list(columns["scores"])) if scores is None else scores
    history = pd.DataFrame(columns=list(columns["history"]))
    values = {"snr_db": 10.0, "n_train": 8}
    return Result({"scores": scores, "history": history}, arrays or {}, values)


def stored(root, results, method="EEGTransformer", **changes):
    """`Found` of the published variant with these results, one for each seed."""
    settings = PUBLISHED_RUN | changes
    configs = [
        comparison.configuration("RELEASED", method, seed, **settings)
        for seed in range(len(results))
    ]
    made = dict(zip(configs, results, strict=True))
    experiment = replace(comparison.EXPERIMENT, run=made.get)
    return Runs("smoke", root).get(experiment, configs, jobs=1, progress=False)


def test_published_values_lie_inside_where_ours_are_the_same_and_only_there(tmp_path):
    rng = np.random.default_rng(0)
    published = np.array(public_notebooks.PUBLISHED["EEGTransformer", 1])
    moved = published.copy()
    moved[2] = -0.2  # b_e, where 0.54 was published
    same, other = (
        public_notebooks.published_comparison(
            stored(tmp_path / name, [estimates_with_correlations(r, rng) for _ in range(3)])
        )
        for name, r in (("same", published), ("other", moved))
    )
    assert list(same.columns) == [
        *("variant", "method", "run", "parameter", "published", "low", "median", "high", "inside")
    ]
    assert tuple(same.parameter[same.run == 1]) == PARAMETER_NAMES
    first = same[same.run == 1]
    assert first.inside.all()
    np.testing.assert_allclose(first["median"], published, atol=0.12)
    # The width is that of 100 simulations: the standard error of Fisher's z is 1 / sqrt(97).
    width = np.arctanh(first.high) - np.arctanh(first.low)
    np.testing.assert_allclose(width, 2 * 1.96 / np.sqrt(97), rtol=0.35)
    outside = other[(other.run == 1) & ~other.inside]
    assert list(outside.parameter) == ["b_e"]


def test_seeds_are_pooled(tmp_path):
    rng = np.random.default_rng(1)
    results = [estimates_with_correlations(np.full(9, r), rng) for r in (0.0, 0.8)]
    found = stored(tmp_path, results)
    both = public_notebooks.published_comparison(found).iloc[0]
    low, high = (
        public_notebooks.published_comparison(found.where(seed=seed)).iloc[0] for seed in (0, 1)
    )
    assert both.low == pytest.approx(low.low, abs=0.06)
    assert both.high == pytest.approx(high.high, abs=0.06)
    assert low["median"] < both["median"] < high["median"]


def test_runs_that_cannot_be_compared_are_named(tmp_path):
    result = estimates_with_correlations(np.zeros(9), np.random.default_rng(0))
    with pytest.raises(ValueError, match="no run of a method with published numbers"):
        public_notebooks.published_comparison(stored(tmp_path, [result], method="Ridge"))
    with pytest.raises(ValueError, match="keep='estimates'"):
        public_notebooks.published_comparison(stored(tmp_path / "none", [invented_result()]))
    stored(tmp_path / "two", [result])
    stored(tmp_path / "two", [result], n_bootstrap=7)
    with pytest.raises(ValueError, match="differ by more than their seed"):
        public_notebooks.published_comparison(
            Runs("smoke", tmp_path / "two").all(comparison.EXPERIMENT)
        )


# The ledger, on invented runs: every claim holds in both conventions until something is changed.

FACTORS = (0.0, 1.0, 1e4)
LEVELS = dict(zip(PARAMETER_NAMES, (0.8, 0.98, 0.85, 0.95, 0.1, 0.2, 0.15, 0.3, 0.4), strict=True))
LEVELS |= {f"C {name}": 0.6 for name in PARAMETER_NAMES[4:8]}
BELOW = {"EEGTransformer": 0.0, "CNNBiLSTM": 0.02, "VanillaLSTM": 0.5}  # the others: 0.1
SENSITIVITY = pd.DataFrame(
    {"parameter": PARAMETER_NAMES, "sensitivity": [0.5, 0.9, 0.6, 0.8, 0.01, 0.03, 0.02, 0.2, 0.3]}
)


def scores(change=lambda convention, method, factor, parameter, value: value, half=0.01):
    """The table "scores" of a grid of three seeds; `change` sets single correlations."""
    rows = []
    for i in range(3):
        grid = comparison.standard_grid("paper", i, methods=paper.ALL, noise_factors=FACTORS)
        for config in grid:
            if config.seed != i:
                continue
            where = config.convention, config.method, config.noise_factor
            loss = (0.05 if config.method == "EEGTransformer" else 0.3) * (where[2] > 1)
            for parameter in QUANTITY_NAMES:
                value = LEVELS[parameter] - BELOW.get(where[1], 0.1) - loss
                value = change(*where, parameter, value) + 0.001 * config.seed
                row = (parameter, "pearson", value, value - half, value + half, 2000)
                rows.append((*where, config.seed, 1000, 2000, *row))
    columns = ["convention", "method", "noise_factor", "seed", "n_simulations", "n_test"]
    columns += ["parameter", "metric", "value", "low", "high", "n"]
    return pd.DataFrame(rows, columns=columns).assign(variant="standard", snr_db=10.0)


def fits(simulations=400, explained=1.0, n=20):
    explained = np.arange(n) < explained * n
    return pd.DataFrame({"simulations": simulations, "explained": explained})


FIT_SCORES = pd.DataFrame(
    {"parameter": PARAMETER_NAMES, "metric": "pearson", "value": 0.7, "low": 0.6, "high": 0.8}
)


def both(frame):
    """The same rows in both conventions."""
    return pd.concat([frame.assign(convention=name) for name in CONVENTIONS], ignore_index=True)


def other_in(convention, frame, changed):
    """Rows of both conventions, those of one of them changed."""
    return pd.concat([frame[frame.convention != convention], changed.assign(convention=convention)])


def gathered(change=None, half=0.01):
    table = scores(half=half) if change is None else scores(change, half)
    tables = {"fits": both(fits()), "fit_scores": both(FIT_SCORES)}
    return paper.gather(table, sensitivities=both(SENSITIVITY), **tables)


@pytest.fixture(scope="module")
def holding():
    return gathered()


def judged(evidence, tier="paper"):
    """Claim -> (verdict, outcome under RELEASED, outcome under CLASSIC)."""
    return {
        entry["id"]: (
            entry["verdict"],
            *(entry["conventions"][name]["outcome"] for name in CONVENTIONS),
        )
        for entry in ledger.ledger(evidence, tier, paper.CLAIMS)
    }


def test_the_ledger_has_the_papers_eight_claims_and_is_plain_json(holding):
    entries = ledger.ledger(holding, "paper", paper.CLAIMS)
    assert [entry["id"] for entry in entries] == [
        "local-recoverable",
        "connectivity-not",
        "transformer-best",
        "bi-above-0.9",
        "lstm-worst",
        "sbi-varies",
        "sensitivity-matches",
        "scales",
    ]
    assert json.loads(json.dumps(entries, allow_nan=False)) == entries
    assert all(entry["seeds"] == [0, 1, 2] for entry in entries)
    assert {result[0] for result in judged(holding).values()} == {"reproduced"}


def only(convention, methods, parameters, value, above=0.0, below=np.inf):
    """A change of some correlations to a value, in one convention and a range of noise."""

    def change(name, method, factor, parameter, old):
        here = name == convention and method in methods and above <= factor <= below
        return value if here and parameter in parameters else old

    return change


NINE = PARAMETER_NAMES
# claim, methods, parameters, a value that is against it, one that leaves it open, range of noise
CROSSINGS = {
    "a gain": ("local-recoverable", paper.NETWORKS, ["A_e"], 0.6, 0.7, (0.0, np.inf)),
    "connectivity": ("connectivity-not", ["MLP"], ["a_2"], 0.6, 0.5, (0.0, np.inf)),
    "a stronger rival": ("transformer-best", ["NPE"], NINE, 0.9, 0.523, (1.0, 1.0)),
    "a robust rival": ("transformer-best", ["NPE"], NINE, 0.425, 0.373, (1e4, 1e4)),
    "b_i": ("bi-above-0.9", ["CNNBiLSTM"], ["b_i"], 0.8, 0.9, (0.0, 0.0)),
    "a worse network": ("lstm-worst", ["CNNBiLSTM"], NINE, -0.3, 0.0259, (0.0, 0.0)),
    "an even NPE": ("sbi-varies", ["NPE"], NINE, 0.4, None, (0.0, np.inf)),
}


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("case", CROSSINGS)
def test_a_verdict_flips_when_the_numbers_cross_the_threshold(case, convention):
    claim, methods, parameters, against, between, noise = CROSSINGS[case]
    (other,) = set(CONVENTIONS) - {convention}
    for value, outcome in ((against, ledger.FAILS), (between, ledger.OPEN)):
        if value is None:
            continue
        change = only(convention, methods, parameters, value, *noise)
        found = judged(gathered(change))[claim]
        outcomes = dict(zip(CONVENTIONS, found[1:], strict=True))
        assert outcomes == {convention: outcome, other: ledger.HOLDS}
        if outcome == ledger.FAILS:
            assert found[0] == f"reproduced under {other} only"
        else:
            assert f"open under {convention}" in found[0]


def test_noise_beyond_the_papers_counts_for_robustness_only():
    change = only("RELEASED", paper.ALL, NINE, 0.0, above=1e4)
    found = judged(gathered(change))
    failing = {claim for claim, result in found.items() if result[1] != ledger.HOLDS}
    assert failing == {"transformer-best"}


def test_a_method_that_knows_nothing_is_not_robust():
    change = only("RELEASED", ["VanillaLSTM"], NINE, 0.0)
    entries = ledger.ledger(gathered(change), "paper", paper.CLAIMS)
    part = entries[2]["conventions"]["RELEASED"]
    (finding,) = [f for f in part["findings"] if "nothing to lose" in f["name"]]
    assert finding["outcome"] is None
    assert part["outcome"] == ledger.HOLDS


def test_a_network_that_answers_the_same_to_everything_counts_as_zero():
    change = only("CLASSIC", ["VanillaLSTM"], NINE, np.nan)
    found = gathered(change)
    low = found.contrast("CLASSIC", {("VanillaLSTM", 1.0): 1.0})
    assert low == (0.0, 0.0, 0.0)
    assert judged(found)["lstm-worst"][0] == "reproduced"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_sensitivities_in_another_order_do_not_match(holding, convention):
    turned = SENSITIVITY.assign(sensitivity=SENSITIVITY.sensitivity.to_numpy()[::-1])
    changed = replace(holding, sensitivities=other_in(convention, holding.sensitivities, turned))
    (other,) = set(CONVENTIONS) - {convention}
    assert judged(changed)["sensitivity-matches"][0] == f"reproduced under {other} only"


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_fits_that_are_cheap_or_fail(holding, convention):
    (other,) = set(CONVENTIONS) - {convention}
    cheap = replace(holding, fits=other_in(convention, holding.fits, fits(9)))
    assert judged(cheap)["scales"][0] == f"reproduced under {other} only"
    lost = replace(holding, fits=other_in(convention, holding.fits, fits(400, explained=0.3)))
    entry = ledger.ledger(lost, "paper", paper.CLAIMS)[-1]
    assert f"cannot be tested under {convention}" in entry["verdict"]
    assert "30% of 20" in entry["conventions"][convention]["reason"]


def test_training_pays_off_where_both_have_simulated_as_much(holding):
    findings = ledger.ledger(holding, "paper", paper.CLAIMS)[-1]["conventions"]["CLASSIC"][
        "findings"
    ]
    assert findings[0]["value"] == holding.n_simulations / 400


def test_intervals_are_paired_by_seed_and_as_students():
    """Three seeds whose differences are 0.1 + (0, 0.01, 0.02), without error of the test set."""

    def change(convention, method, factor, parameter, value):
        return {"EEGTransformer": 0.6, "NPE": 0.5}.get(method, value)

    table = scores(change, half=0.0)
    these = table.method == "EEGTransformer"
    for column in ("value", "low", "high"):
        table.loc[these, column] += 0.01 * table.seed[these]
    found = paper.gather(table, sensitivities=None, fits=None, fit_scores=None)
    terms = {("EEGTransformer", 1.0): 1.0, ("NPE", 1.0): -1.0}
    value, low, high = found.contrast("CLASSIC", terms)
    # Student's quantile for two degrees of freedom is 4.3027; a standard deviation of 0.01.
    assert value == pytest.approx(0.11)
    assert high - value == pytest.approx(4.3027 * 0.01 / np.sqrt(3), rel=1e-3)
    assert value - low == pytest.approx(high - value)


def test_the_test_sets_error_is_that_of_a_mean_over_nine():
    found = gathered(half=0.0196)
    value, low, high = found.contrast("CLASSIC", {("NPE", 1.0): 1.0})
    half = np.hypot(4.3027 * 0.001 / np.sqrt(3), 0.0196 / 3)
    assert (high - value, value - low) == pytest.approx((half, half), rel=1e-3)


def test_a_tolerance_only_opens_verdicts(holding):
    finding = ledger.Finding("r", 0.8, 0.75, 0.85, above=0.7)
    assert [finding.outcome(tolerance) for tolerance in (0.0, 0.1)] == [ledger.HOLDS, ledger.OPEN]
    finding = ledger.Finding("r", 0.6, 0.55, 0.65, above=0.7)
    assert [finding.outcome(tolerance) for tolerance in (0.0, 0.1)] == [ledger.FAILS, ledger.OPEN]
    strict = judged(holding)
    for tier in ("fast", "smoke"):
        for claim, result in judged(holding, tier).items():
            for loose, sharp in zip(result[1:], strict[claim][1:], strict=True):
                assert loose in (sharp, ledger.OPEN)


def test_the_chance_level_is_that_of_nine_parameters():
    """Spearman's rank correlation of a random order with 1..9 reaches it in 5 % of all orders."""
    distances = [sum((i - j) ** 2 for i, j in enumerate(order)) for order in permutations(range(9))]
    rho = 1 - 6 * np.array(distances) / (9 * (81 - 1))
    assert np.mean(rho >= paper.CHANCE_CORRELATION - 1e-9) == pytest.approx(0.05, abs=0.005)


@pytest.mark.parametrize(
    ("released", "classic", "text"),
    [
        (ledger.HOLDS, ledger.HOLDS, "reproduced"),
        (ledger.HOLDS, ledger.FAILS, "reproduced under RELEASED only"),
        (ledger.FAILS, ledger.HOLDS, "reproduced under CLASSIC only"),
        (ledger.FAILS, ledger.FAILS, "not reproduced"),
        (ledger.OPEN, ledger.OPEN, "open"),
        (ledger.HOLDS, ledger.OPEN, "reproduced under RELEASED, open under CLASSIC"),
        (ledger.OPEN, ledger.FAILS, "open under RELEASED, not reproduced under CLASSIC"),
        (ledger.UNTESTABLE, ledger.UNTESTABLE, "cannot be tested"),
    ],
)
def test_verdicts_name_the_convention_where_they_differ(released, classic, text):
    assert ledger.verdict({"RELEASED": released, "CLASSIC": classic}) == text


def test_the_first_finding_of_a_claim_is_the_one_that_decides():
    change = only("CLASSIC", paper.NETWORKS, ["b_e"], 0.6)
    entries = ledger.ledger(gathered(change), "paper", paper.CLAIMS)
    assert entries[0]["verdict"] == "reproduced under RELEASED only"
    table = ledger.findings_table(entries)
    row = table[(table.claim == entries[0]["id"]) & (table.convention == "CLASSIC")].iloc[0]
    assert (row.value, row.asked) == ("0.60 (0.59..0.61)", "above 0.7")
    assert row.finding.startswith("b_e, ")
    assert row.outcome == ledger.FAILS
    assert len(table) == sum(
        len(part["findings"]) for entry in entries for part in entry["conventions"].values()
    )


def test_a_claim_that_cannot_be_tested_says_why_in_the_table(holding):
    entry = ledger.ledger(holding, "paper", paper.CLAIMS)[0]
    untested = {"outcome": ledger.UNTESTABLE, "reason": "no fits", "findings": []}
    made = {**entry, "conventions": {"CLASSIC": untested}}
    (row,) = ledger.findings_table([made]).to_dict("records")
    assert (row["finding"], row["value"], row["outcome"]) == ("no fits", "", ledger.UNTESTABLE)


def test_each_claim_links_to_something_that_a_page_makes():
    for claim in paper.CLAIMS:
        page, item = claim.shown.split(".html#")
        notebook = ROOT / "book" / f"{page}.ipynb"
        if notebook.exists():
            made = json.loads(notebook.read_text())["metadata"]["makes"]
            assert item in made, f"{claim.id}: {page} does not make {item}"
        else:
            drawn = (ROOT / "book" / "figures" / "ledger.py").read_text()
            assert item in (ROOT / "book" / f"{page}.md").read_text() + drawn, claim.id


def tiny_store(root, tier="smoke", skip=0):
    """Results with invented fits and scores of a tier, but for the first few runs."""
    store = Runs(tier, root)
    experiment = replace(comparison.EXPERIMENT, run=invented)
    configs = comparison.standard_grid(tier, 0, methods=paper.ALL)
    store.get(experiment, configs[skip:], jobs=1, progress=False)
    experiment = replace(least_squares_fits.EXPERIMENT, run=invented_fits)
    store.get(experiment, least_squares_fits.grid(tier, 0), jobs=1)


def invented_fits(config):
    return Result({"fits": fits(), "scores": FIT_SCORES.assign(n=2)})


def invented(config):
    rng = np.random.default_rng(len(str(config)))
    table = pd.DataFrame({"parameter": QUANTITY_NAMES, "metric": "pearson"})
    table["value"] = rng.uniform(-0.1, 0.9, len(table))
    table["low"], table["high"], table["n"] = table.value - 0.1, table.value + 0.1, 40
    return invented_result(table)


def test_the_command_judges_a_small_tier_and_writes_nothing(tmp_path, capsys):
    tiny_store(tmp_path)
    paper.main(["--tier", "smoke", "--seed", "0", "--results", str(tmp_path)])
    shown = capsys.readouterr().out
    assert all(claim.id in shown for claim in paper.CLAIMS)
    assert not (tmp_path / "claims.json").exists()
    assert [entry["id"] for entry in paper.read(tmp_path, "smoke", 0)] == [
        claim.id for claim in paper.CLAIMS
    ]


def test_missing_runs_are_named_with_the_command_that_computes_them(tmp_path, capsys):
    tiny_store(tmp_path, skip=1)
    with pytest.raises(SystemExit) as stopped:
        paper.main(["--tier", "smoke", "--seed", "0", "--results", str(tmp_path)])
    assert stopped.value.code == 1
    message = capsys.readouterr().err
    assert "1 of 16 runs of the comparison are missing" in message
    assert "RELEASED-EEGTransformer-seed0-n_simulations=100-n_test=40" in message
    assert "python -m experiments run comparison --tier smoke --seed 0" in message


def test_a_ledger_is_written_whole_and_read_back(tmp_path, holding, monkeypatch):
    entries = ledger.ledger(holding, "paper", paper.CLAIMS)
    ledger.write(tmp_path / "claims.json", entries)
    assert paper.read(tmp_path, "paper") == entries
    monkeypatch.setattr(Path, "write_text", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        ledger.write(tmp_path / "claims.json", [])
    assert paper.read(tmp_path, "paper") == entries


@pytest.fixture(scope="module")
def committed():
    path = ROOT / "results" / "claims.json"
    if not path.exists():
        pytest.skip("results/claims.json is not there: no paper tier is stored yet")
    return json.loads(path.read_text())


def check_that_verdicts_follow(entries, tier):
    """Every outcome again from the numbers beside it, and every verdict from the outcomes."""
    fields = ledger.Finding.__dataclass_fields__
    order = (ledger.FAILS, ledger.OPEN, ledger.HOLDS)
    for entry in entries:
        assert (entry["tier"], entry["tolerance"]) == (tier, ledger.TOLERANCES[tier])
        outcomes = {}
        for name, part in entry["conventions"].items():
            outcomes[name] = part["outcome"]
            found = [
                ledger.Finding(**{key: finding[key] for key in fields}).outcome(entry["tolerance"])
                for finding in part["findings"]
            ]
            assert found == [finding["outcome"] for finding in part["findings"]]
            if part["outcome"] != ledger.UNTESTABLE:
                judging = [outcome for outcome in found if outcome]
                assert part["outcome"] == min(judging, key=order.index)
        assert entry["verdict"] == ledger.verdict(outcomes)


def test_committed_verdicts_follow_from_the_committed_numbers(committed):
    check_that_verdicts_follow(committed, "paper")


def test_a_small_tier_is_judged_by_the_same_code_with_a_tolerance():
    """`make test` has run every chapter at smoke size before, so its runs are stored then."""
    try:
        found = paper.collect(Runs("smoke"))
    except LookupError:
        pytest.skip("the smoke tier is not stored: python book/chapters.py --tier smoke")
    check_that_verdicts_follow(ledger.ledger(found, "smoke", paper.CLAIMS), "smoke")
