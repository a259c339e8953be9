"""Our own claims, held to the rule of the paper's: criteria in the code, judged by the numbers.

The criteria were written down before the largest trainings of `calibration` were done, that of the
learning curves when these were known up to 10,000 simulations.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from claims.ledger import CannotBeTestedError, Claim, Finding
from claims.paper import NETWORKS, NOISE
from experiments import amortised_posteriors
from experiments.compared_methods import METHODS
from jrlib.diagnostics.scoring import fraction_of_optimal
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES

REAL = 1e4  # the noise factor of real EEG
TOLD_APART = 0.6  # accuracy of a classifier up to which draws count as alike
NOMINAL, OFF = 0.8, 0.05  # credibility that is looked at, and by how much coverage may differ
FOUND = 0.9  # part of the responses whose exact posterior has to be found


@dataclass(frozen=True)
class Evidence:
    """What our claims are judged by.

    parts : as from `amortised_posteriors.fractions` and `amortised_posteriors.telling`
    kept : convention -> (configuration, result) of the training whose weights are kept
    gathered : as from `exact_posteriors.gather`, other exact posteriors of the same observations
    corrected : as from `amortised_posteriors.answered` and `amortised_posteriors.telling`
    answers : the tables "answers" of `amortised_posteriors.answers` put together, with convention and
        noise_factor
    curves : mean correlation over `IDENTIFIABLE_NAMES`: convention, noise_factor, method,
        n_simulations, value, low and high
    """

    parts: pd.DataFrame
    kept: dict
    gathered: dict
    corrected: pd.DataFrame
    answers: pd.DataFrame
    curves: pd.DataFrame

    @property
    def seeds(self):
        return sorted({config["seed"] for config, _ in self.kept.values()})

    @property
    def n_simulations(self):
        return max(config["n_simulations"] for config, _ in self.kept.values())

    @property
    def n_test(self):
        return max(config["n_checked"] for config, _ in self.kept.values())


def _percent(part):
    return f"{100 * part:.0f} %"


def _ceiling_reached(evidence, convention):
    parts, seed = evidence.parts, evidence.seeds[0]
    rows = parts[
        (parts.convention == convention)
        & (parts.n_simulations == evidence.n_simulations)
        & (parts.noise_factor >= REAL)
        & (parts.seed == seed)
    ]
    if rows.empty:
        raise CannotBeTestedError(
            f"no ceiling of {amortised_posteriors.TELLING:g} at {REAL:g} or above"
        )
    return _parts(rows)


def _parts(rows):
    return [
        Finding(
            f"{row.parameter}, part of the ceiling at noise factor {row.noise_factor:,.10g}",
            row.value,
            row.low,
            row.high,
            above=amortised_posteriors.TARGET,
        )
        for row in rows.itertuples()
    ]


def _calibrated(evidence, convention):
    config, result = evidence.kept[convention]
    findings = []
    for factor, levels in zip(
        config["noise_factors"], result.arrays["highest_density"], strict=True
    ):
        inside, n = int(np.sum(levels <= NOMINAL)), len(levels)
        low, high = binomtest(inside, n).proportion_ci(0.95, method="wilson")
        name = f"coverage of {_percent(NOMINAL)} regions at noise factor {factor:,.10g}"
        findings += [
            Finding(name, inside / n, low, high, above=NOMINAL - OFF),
            Finding(name, inside / n, low, high, below=NOMINAL + OFF),
        ]
    return findings


def _alike(evidence, convention):
    _, result = evidence.kept[convention]
    table = result.tables["exact"]
    return _told(table[table.noise_factor >= REAL])


def _told(table):
    """Findings on the medians of c2st, by noise factor."""
    rng = np.random.default_rng(0)
    findings = []
    for factor, group in table.groupby("noise_factor"):
        accuracy = group.c2st.dropna().to_numpy()
        if len(accuracy):
            medians = np.median(rng.choice(accuracy, (2000, len(accuracy))), axis=1)
            name = f"median C2ST at noise factor {factor:,.10g}"
            ends = np.quantile(medians, [0.025, 0.975])
            findings.append(Finding(name, np.median(accuracy), *ends, below=TOLD_APART))
    if not findings:
        raise CannotBeTestedError("no exact posterior was accepted")
    return findings


def _corrected(evidence, convention):
    rows = evidence.corrected[evidence.corrected.convention == convention]
    if rows.empty:
        raise CannotBeTestedError(f"no ceiling of {amortised_posteriors.TELLING:g}")
    answers = evidence.answers[evidence.answers.convention == convention]
    return _parts(rows) + _told(answers)


def _exact_found(evidence, convention):
    config, result = evidence.kept[convention]
    findings, numbers = [], range(config["n_exact"])
    for row, (factor, group) in enumerate(result.tables["exact"].groupby("noise_factor")):
        found, n = int(group.accepted.sum()), len(group)
        low, high = binomtest(found, n).proportion_ci(0.95, method="wilson")
        name = f"exact posteriors found at noise factor {factor:,.10g}"
        findings.append(Finding(name, found / n, low, high, above=FOUND))
        table, arrays = evidence.gathered.get((convention, factor), (None, None))
        if table is None:
            continue
        both = table.accepted.to_numpy() & np.isin(table.number, numbers)
        both[both] = group.accepted.to_numpy()[table.number[both]]
        if both.sum() > 2:
            means = result.arrays["exact"][row][table.number[both]]
            rows = fraction_of_optimal(
                arrays["truth"][both], means, arrays["mean"][both], names=QUANTITY_NAMES
            )
            rows = rows[
                rows.parameter.isin(IDENTIFIABLE_NAMES)
                & (rows.optimal >= amortised_posteriors.TELLING)
            ]
            worst = rows.loc[rows.value.idxmin()]
            name = f"... smallest part of the ceiling: {worst.parameter}"
            ends = worst.value, worst.low, worst.high
            findings.append(Finding(name, *ends, above=amortised_posteriors.TARGET))
    return findings


def _simulations_lacking(evidence, convention):
    rows = evidence.curves
    rows = rows[(rows.convention == convention) & (rows.noise_factor == NOISE)]
    rows = dict(list(rows.sort_values("n_simulations").groupby("method")))
    missing = [name for name in ("NPE", *NETWORKS) if name not in rows]
    if missing:
        raise CannotBeTestedError(f"no correlation of {missing[0]} at noise factor {NOISE:g}")
    few, findings = rows["NPE"].iloc[0], []
    for name in NETWORKS:
        many = rows[name].iloc[-1]
        label = f"{METHODS[name].label}, {many.n_simulations:,} simulations, less NPE"
        difference = many.value - few.value, many.low - few.high, many.high - few.low
        findings.append(Finding(f"{label}, {few.n_simulations:,}", *difference, below=0.0))
    return findings


CLAIMS = (
    Claim(
        "network-reaches-ceiling",
        "At the noise of real EEG a network that answers at once comes as near to the truth as the "
        "data allow.",
        f"At noise factors from {REAL:,.10g} on, the correlation of the posterior mean is above "
        f"{amortised_posteriors.TARGET} of the ceiling's for each of the eight quantities whose ceiling is "
        f"at least {amortised_posteriors.TELLING}.",
        f"For one of them it is below {amortised_posteriors.TARGET} of the ceiling's.",
        "calibrated.html#tab-reached",
        _ceiling_reached,
    ),
    Claim(
        "network-calibrated",
        "Its uncertainty is right at every noise level.",
        f"Regions of highest density of {_percent(NOMINAL)} hold the truth in "
        f"{_percent(NOMINAL - OFF)} to {_percent(NOMINAL + OFF)} of the test responses, at each "
        f"noise factor.",
        "At one noise factor they hold it more, or less, often.",
        "calibrated.html#fig-flow-coverage",
        _calibrated,
    ),
    Claim(
        "network-draws-exact",
        "At the noise of real EEG its draws cannot be told from exact ones.",
        f"At noise factors from {REAL:,.10g} on, the median accuracy of a classifier that is to "
        f"tell them apart is below {TOLD_APART}.",
        f"It is above {TOLD_APART}.",
        "calibrated.html#fig-efficiency",
        _alike,
    ),
    Claim(
        "answer-corrected",
        "Corrected by the likelihood, an answer in about a second comes as near to the truth as "
        "the data allow, and its draws cannot be told from exact ones, at every noise level.",
        f"At each noise factor, the correlation of the answer's mean is above "
        f"{amortised_posteriors.TARGET} of the ceiling's for each of the eight quantities whose ceiling is "
        f"at least {amortised_posteriors.TELLING}, and the median accuracy of a classifier below "
        f"{TOLD_APART}.",
        f"For one of them it is below {amortised_posteriors.TARGET} of the ceiling's, or a median above "
        f"{TOLD_APART}.",
        "calibrated.html#tab-answers",
        _corrected,
    ),
    Claim(
        "exact-from-draws",
        "From its draws the exact posterior is found, at every noise level.",
        f"Descents from the network's draws give an accepted exact posterior for more than "
        f"{_percent(FOUND)} of the responses at each noise factor, whose means have more than "
        f"{amortised_posteriors.TARGET} of the ceiling's correlation.",
        f"At one noise factor it is less than {_percent(FOUND)}, or {amortised_posteriors.TARGET}.",
        "calibrated.html#tab-exact",
        _exact_found,
    ),
    Claim(
        "simulations-lacking",
        "More than simulations is lacking to the study's networks.",
        "At the study's noise, the mean correlation over the eight quantities of each of the three "
        "networks, trained on the most simulations of the learning curves, is below that of NPE on "
        "as few as the study had.",
        "That of one network is above.",
        "calibrated.html#fig-curves",
        _simulations_lacking,
    ),
)
