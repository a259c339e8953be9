"""The tables of claims on the front page."""

import pandas as pd

from claims import ledger
from figures.tables import Table, formulas, table

MARKS = {
    ledger.HOLDS: "✓ holds",
    ledger.FAILS: "✗ does not hold",
    ledger.OPEN: "? open",
    ledger.UNTESTABLE: "– cannot be tested",
}
HEADS = {
    "RELEASED": "As the public code computes: RELEASED",
    "CLASSIC": "In consistent units: CLASSIC",
}


def scorecard(entries, caption):
    """A row for each claim: what the study says, and in each convention what decides it.

    entries : of the ledger, a list of dicts. The data beside the table are the deciding findings.
    """
    findings = ledger.findings_table(entries).drop_duplicates(["claim", "convention"])
    deciding = findings.set_index(["claim", "convention"])
    rows = [
        {"The study says": _claim(entry)}
        | {HEADS[name]: _outcome(name, deciding.loc[entry["id"], name]) for name in HEADS}
        for entry in entries
    ]
    shown = table(pd.DataFrame(rows), "tab-ledger", caption, data=findings)
    return Table(f'<div class="scorecard">{shown.data}</div>', shown.frame)


def _claim(entry):
    """What the study says, and a link to what shows it."""
    kind = "figure" if "#fig" in entry["shown"] else "table"
    link = f'<a href="{entry["shown"]}" aria-label="{entry["id"]}: {kind}">{kind}</a>'
    return f"{formulas(entry['says'])} {link}"


def _outcome(convention, finding):
    """The outcome of a claim in a convention, and the finding that decides it."""
    kind = list(MARKS).index(finding.outcome)
    what = f"{finding.finding}; should be {finding.asked}" if finding.asked else finding.finding
    return (
        f'<small class="units">{convention}</small>'
        f'<b class="outcome-{kind}">{MARKS[finding.outcome]}</b> '
        f'<span class="number">{finding.value}</span><br><small>{formulas(what)}</small>'
    )


def criteria(entries):
    """A row for each claim: what it says, what counts for and against it, and the verdict."""
    heads = {
        "id": "claim",
        "says": "the study says",
        "counts_for": "counts for it",
        "counts_against": "counts against it",
        "verdict": "verdict",
    }
    shown = pd.DataFrame(entries)[[*heads]].rename(columns=heads).map(formulas)
    caption = "The claims, in our words, and how they are tested."
    return table(shown, "tab-criteria", caption)


def all_findings(entries, caption):
    """A row for each finding, folded: value, interval, what the claim asks for, and the outcome."""
    shown = table(ledger.findings_table(entries).map(formulas), "tab-findings", caption)
    folded = f"<details><summary>All findings</summary>{shown.data}</details>"
    return Table(folded, shown.frame)
