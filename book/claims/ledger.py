"""The ledger of claims: findings with their criteria, verdicts, and the file that keeps them."""

import json
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from experiments.experiment import check_tier
from experiments.settings import CONVENTIONS

HOLDS, FAILS, OPEN, UNTESTABLE = "holds", "does not hold", "open", "cannot be tested"
VERDICTS = {HOLDS: "reproduced", FAILS: "not reproduced", OPEN: OPEN, UNTESTABLE: UNTESTABLE}
# How much further each end of an interval of correlations is moved before it is judged: small
# trainings are worse than the study's, and what they say should stand clear of a threshold.
TOLERANCES = {"smoke": 0.3, "fast": 0.1, "paper": 0.0}


@dataclass(frozen=True)
class Finding:
    """A number that bears on a claim.

    name : what it is; value, low, high : with its 95 % interval, where it has one
    above, below : what the claim asks for; neither where it is only reported
    scale : 1 for correlations; for another quantity its size, which the tolerance is multiplied by
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    scale: float = 1.0

    def __post_init__(self):
        for name in ("value", "low", "high"):  # what is judged is what is written down
            if getattr(self, name) is not None:
                object.__setattr__(self, name, round(float(getattr(self, name)), 4))

    def outcome(self, tolerance):
        """Whether the whole interval, widened by the tolerance, lies where the claim wants it.

        `HOLDS`, `FAILS`, or `OPEN` for an interval that contains the threshold; None without one.
        """
        if self.above is None and self.below is None:
            return None
        low, high = self.low - tolerance * self.scale, self.high + tolerance * self.scale
        if self.above is not None:
            return HOLDS if low > self.above else FAILS if high < self.above else OPEN
        return HOLDS if high < self.below else FAILS if low > self.below else OPEN

    @property
    def margin(self):
        """How far the interval lies within what the claim asks for, in scales."""
        margin = self.low - self.above if self.above is not None else self.below - self.high
        return margin / self.scale


class CannotBeTestedError(Exception):
    """The evidence does not allow to test a claim; the message says why."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper and how it is tested.

    says : the claim in our words; counts_for, counts_against : the criterion in words
    shown : address of the figure or table that shows the numbers
    findings : function of evidence and a convention's name -> list of `Finding`. The claim holds
        when all those with a threshold hold, does not hold when one does not, else it is open.
    """

    id: str
    says: str
    counts_for: str
    counts_against: str
    shown: str
    findings: Callable


def ledger(evidence, tier, claims):
    """Judge every claim: a list of dicts, plain JSON, in the order of `claims`.

    evidence : an `Evidence`, or what the functions of other claims take, with seeds, n_simulations
        and n_test like it

    Each holds id, says, counts_for, counts_against, shown, verdict, tier, tolerance (see
    `TOLERANCES`), seeds, n_simulations, n_test, and under conventions -> name: the outcome, its
    reason where it cannot be tested, and the findings, each with its own outcome. Those that the
    claim rests on come first, the one that decides before all.
    """
    check_tier(tier)
    entries = []
    for claim in claims:
        made = {name: _judge(claim, evidence, name, TOLERANCES[tier]) for name in CONVENTIONS}
        entry = {k: value for k, value in vars(claim).items() if k != "findings"}
        entry |= {
            "verdict": verdict({name: part["outcome"] for name, part in made.items()}),
            "tier": tier,
            "tolerance": TOLERANCES[tier],
            "seeds": evidence.seeds,
            "n_simulations": int(evidence.n_simulations),
            "n_test": int(evidence.n_test),
            "conventions": made,
        }
        entries.append(entry)
    return entries


def _judge(claim, evidence, convention, tolerance):
    try:
        findings = claim.findings(evidence, convention)
    except CannotBeTestedError as error:
        return {"outcome": UNTESTABLE, "reason": str(error), "findings": []}
    outcomes = [finding.outcome(tolerance) for finding in findings]
    worst = [FAILS, OPEN, HOLDS]

    def rank(pair):
        finding, outcome = pair
        return (3, 0.0) if outcome is None else (worst.index(outcome), finding.margin)

    pairs = sorted(zip(findings, outcomes, strict=True), key=rank)
    return {
        "outcome": pairs[0][1],
        "findings": [{**asdict(finding), "outcome": outcome} for finding, outcome in pairs],
    }


def verdict(outcomes):
    """One verdict in words from those under each convention (name -> outcome).

    "reproduced", "not reproduced", "open" or "cannot be tested" where the conventions agree;
    "reproduced under RELEASED only" (or CLASSIC) where the claim holds in one and not in the other;
    else both, such as "reproduced under RELEASED, open under CLASSIC".
    """
    words = {name: VERDICTS[outcome] for name, outcome in outcomes.items()}
    if len(set(words.values())) == 1:
        return next(iter(words.values()))
    holding = [name for name, outcome in outcomes.items() if outcome == HOLDS]
    if set(outcomes.values()) == {HOLDS, FAILS}:
        return f"reproduced under {' and '.join(holding)} only"
    return ", ".join(f"{word} under {name}" for name, word in words.items())


def write(path, entries):
    """Write a ledger as JSON; a run that is stopped leaves the old file as it was."""
    path = Path(path)
    partial = path.with_suffix(f".partial-{uuid.uuid4().hex[:6]}")
    partial.write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def findings_table(entries):
    """All findings of a ledger: claim (id), convention, finding, value, asked, outcome (text).

    The first of a claim and convention is the one that decides; where the claim cannot be tested
    it is the reason, without a value.
    """
    rows = []
    for entry in entries:
        for name, part in entry["conventions"].items():
            row = {"claim": entry["id"], "convention": name}
            if not part["findings"]:
                blank = {"finding": part["reason"], "value": "", "asked": ""}
                rows.append(row | blank | {"outcome": part["outcome"]})
            for finding in part["findings"]:
                rows.append(
                    {
                        **row,
                        "finding": finding["name"],
                        "value": _numbers(finding),
                        "asked": _asked(finding),
                        "outcome": finding["outcome"] or "",
                    }
                )
    columns = ["claim", "convention", "finding", "value", "asked", "outcome"]
    return pd.DataFrame(rows, columns=columns)


def _asked(finding):
    """What a claim asks of a finding, such as "above 0.7"; empty where it is only reported."""
    words = [word for word in ("above", "below") if finding[word] is not None]
    return "".join(f"{word} {finding[word]:g}" for word in words)


def _numbers(finding):
    form = "z.2f" if finding["scale"] == 1.0 else ",.1f"
    text = f"{finding['value']:{form}}"
    if finding["low"] is not None:
        text += f" ({finding['low']:{form}}..{finding['high']:{form}})"
    return text
