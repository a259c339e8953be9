"""The published numbers beside ours, and the ledger of the paper's claims.

    python -m jrlib.claims --tier paper     judge the claims by the stored results of a tier

For each claim of Tilwani & O'Reilly (arXiv:2406.05002) the ledger says what would count for it and
against it, gives our numbers with intervals, and draws the verdict from them. Criteria were fixed
before the numbers of the paper tier existed. Claims are put in our own words.

The public notebooks also hold correlations of estimate and truth; `published_comparison` asks
whether they could have come out of our repetition of the study.
"""

import argparse
import json
import sys
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, t

from jrlib import comparison, fitting, metrics, sensitivity, study
from jrlib.comparison import METHODS
from jrlib.parameters import PARAMETER_NAMES
from jrlib.results import TIERS, Result, Store

#: Pearson's correlations that the public notebooks hold in their stored outputs, at noise factor 1
#: and for about 100 test simulations, in the order of `PARAMETER_NAMES`: (method, run) -> (9,).
#: Source: the repository lina-usc/Jansen-Rit-Model-Benchmarking-Deep-Learning, rounded as there.
PUBLISHED = {
    ("EEGTransformer", 1): (0.12, 0.99, 0.54, 0.93, -0.05, 0.08, -0.03, 0.04, 0.17),
    ("EEGTransformer", 2): (0.11, 0.99, 0.49, 0.89, -0.07, 0.05, -0.02, 0.04, 0.18),
    ("VanillaLSTM", 1): (-0.10, -0.06, 0.28, 0.02, -0.07, 0.22, -0.01, -0.06, -0.08),
    ("VanillaLSTM", 2): (-0.03, 0.05, 0.18, -0.19, -0.07, -0.05, -0.12, -0.02, -0.08),
}
PUBLISHED_N_TEST = 100  # about
ROUNDING = 0.005  # half of the published numbers' last digit


def published_comparison(config_result_pairs, *, n_resamples=4000, level=0.95, seed=0):
    """Whether our repetition of the study would give the correlations that were published.

    config_result_pairs : pairs of the arguments of `comparison.cell` and its `Result`, which holds
        the array "estimates". Cells of a variant and method that differ by their seed only are
        pooled; methods without published numbers are left out.
    n_resamples : in all; `PUBLISHED_N_TEST` test simulations each, drawn with replacement from one
        of the seeds, all of which give the same number
    level, seed : coverage of the intervals, and the seed of the resampling

    Returns a DataFrame with a row for each variant, method, published run and parameter, and the
    columns variant, method, run, parameter, published, low, median, high (quantiles of our
    Pearson correlation; NaN when all estimates are the same) and inside (bool): whether the
    published value lies in low..high up to the digits it was rounded to.
    Raises ValueError without any such cell, for cells without estimates, and for cells of a variant
    and method that differ by more than their seed.
    """
    groups = {}
    for config, result in config_result_pairs:
        key = config["variant"], config["method"]
        if any(method == config["method"] for method, _ in PUBLISHED):
            groups.setdefault(key, []).append((config, result))
    if not groups:
        raise ValueError("config_result_pairs: no cell of a method with published numbers")
    rng, rows = np.random.default_rng(seed), []
    for (variant, method), pairs in groups.items():
        settings = [{**config, "seed": None} for config, _ in pairs]
        if any(setting != settings[0] for setting in settings):
            raise ValueError(f"{variant}, {method}: cells differ by more than their seed")
        if any("estimates" not in result.arrays for _, result in pairs):
            raise ValueError(f"{variant}, {method}: run the cells with keep='estimates'")
        test = comparison.test_set(pairs[0][0]["convention"], pairs[0][0]["n_test"], variant)
        replicates = []
        for _, result in pairs:
            estimates = result.arrays["estimates"][:, : len(PARAMETER_NAMES)]
            for _ in range(-(-n_resamples // len(pairs))):
                drawn = rng.integers(len(estimates), size=PUBLISHED_N_TEST)
                replicates.append(metrics.pearson(test.theta[drawn], estimates[drawn]))
        tails = [(1 - level) / 2, 0.5, (1 + level) / 2]
        low, median, high = (_quantile(np.array(replicates), tail) for tail in tails)
        for (published_method, run), values in PUBLISHED.items():
            if published_method == method:
                frame = pd.DataFrame({"parameter": PARAMETER_NAMES, "published": values})
                frame.insert(0, "run", run)
                frame.insert(0, "method", method)
                frame.insert(0, "variant", variant)
                frame["low"], frame["median"], frame["high"] = low, median, high
                below = frame.published >= frame.low - ROUNDING
                frame["inside"] = below & (frame.published <= frame.high + ROUNDING)
                rows.append(frame)
    return pd.concat(rows, ignore_index=True)


def _quantile(replicates, tail):
    """Quantile of each column, replicates without a value left out; NaN for a column of them."""
    finite = [column[np.isfinite(column)] for column in replicates.T]
    return np.array([np.quantile(column, tail) if len(column) else np.nan for column in finite])


HOLDS, FAILS, OPEN, UNTESTABLE = "holds", "does not hold", "open", "cannot be tested"
VERDICTS = {HOLDS: "reproduced", FAILS: "not reproduced", OPEN: OPEN, UNTESTABLE: UNTESTABLE}
# How much further each end of an interval of correlations is moved before it is judged: small
# trainings are worse than the study's, and what they say should stand clear of a threshold.
TOLERANCES = {"smoke": 0.3, "fast": 0.1, "paper": 0.0}
N_FITS = {"smoke": 2, "fast": 6, "paper": 30}  # observations that are fitted, see `fitting`

# The criteria.
RELIABLE = 0.7  # a correlation from which on an estimate explains half of the variance
POOR = 0.5  # ... a quarter of it
HIGH = 0.9  # the paper's own number for b_i
TO_LOSE = 0.2  # mean correlation below which a method has nothing that noise could take
CHANCE = 0.6  # rank correlation that one in twenty random orders of nine parameters reaches
NOISE = 1.0  # noise factor of the published numbers
HIGHEST = 1.0  # of the paper's noise factors

NETWORKS = ("EEGTransformer", "CNNBiLSTM", "VanillaLSTM")  # the paper's, as it used them
RIVALS = ("CNNBiLSTM", "VanillaLSTM", "NPE")  # of the EEGTransformer in the paper
OURS = tuple(name for name in METHODS if name not in (*NETWORKS, "NPE", "Mean"))
ALL = (*NETWORKS, "NPE", *OURS)


@dataclass(frozen=True)
class Evidence:
    """What the claims are judged by.

    scores : `study.scores` of the standard grid, Pearson's correlations only. A network that gives
        the same answer to everything has none; it is counted as 0, as it knows nothing.
    by_seed : the same for each seed on its own, with a column seed
    sensitivities : convention -> DataFrame of `sensitivity.relative_sensitivity`
    fits : convention -> `Result` of `fitting.fits`
    n_simulations, n_test : of a cell, and test simulations
    """

    scores: pd.DataFrame
    by_seed: pd.DataFrame
    sensitivities: dict
    fits: dict
    n_simulations: int
    n_test: int

    @property
    def noise_factors(self):
        return sorted(self.scores.noise_factor.unique())

    @property
    def seeds(self):
        return sorted(int(seed) for seed in self.by_seed.seed.unique())

    def correlations(self, convention, noise_factor, methods, parameter):
        """Rows of `scores`, one per method: a DataFrame with value, low, high, by method."""
        scores = self.scores
        chosen = scores[
            (scores.convention == convention)
            & (scores.noise_factor == noise_factor)
            & (scores.parameter == parameter)
            & scores.method.isin(methods)
        ]
        return chosen.set_index("method")[["value", "low", "high"]]

    def contrast(self, convention, terms):
        """A weighted sum of mean correlations over the nine parameters: value, low, high.

        terms : (method, noise factor) -> weight. Methods of a seed saw the same training
        simulations, so the sum is taken seed by seed, over the seeds that all of them have. The
        95 % interval joins Student's over the seeds with the bootstrap's over test simulations,
        whose errors are taken as independent between parameters and terms; with a single seed it
        is the latter alone.
        """
        totals, variance = [], 0.0
        rows = self.by_seed[self.by_seed.convention == convention]
        rows = rows[rows.parameter.isin(PARAMETER_NAMES)]
        for (method, noise_factor), weight in terms.items():
            chosen = rows[(rows.method == method) & (rows.noise_factor == noise_factor)]
            error = (chosen.high - chosen.low) / (2.0 * norm.ppf(0.975)) / len(PARAMETER_NAMES)
            variance += weight**2 * (error**2).groupby(chosen.seed).sum().mean()
            totals.append(weight * chosen.groupby("seed").value.mean())
        total = pd.concat(totals, axis=1, join="inner").sum(axis=1)
        n = len(total)
        of_seeds = t.ppf(0.975, n - 1) * total.std() / np.sqrt(n) if n > 1 else 0.0
        half = np.hypot(of_seeds, norm.ppf(0.975) * np.sqrt(variance))
        return total.mean(), total.mean() - half, total.mean() + half


def gather(configs, results, sensitivities, fits):
    """`Evidence` from cells of the standard grid, their results and the rest; see there."""
    known = []
    for result in results:
        table = result.tables["scores"]
        table = table[table.metric == "pearson"].fillna({"value": 0.0, "low": 0.0, "high": 0.0})
        known.append(Result(tables={"scores": table}, values=result.values))
    pairs = list(zip(configs, known, strict=True))
    by_seed = []
    for seed in sorted({config["seed"] for config in configs}):
        chosen = [pair for pair in pairs if pair[0]["seed"] == seed]
        by_seed.append(study.scores(*zip(*chosen, strict=True)).assign(seed=seed))
    return Evidence(
        study.scores(configs, known),
        pd.concat(by_seed, ignore_index=True),
        sensitivities,
        fits,
        configs[0]["n_simulations"],
        configs[0]["n_test"],
    )


def collect(store, seed=study.SEED):
    """`Evidence` from a store: the cells of the standard grid whose first seed is `seed`.

    Cells are only read. The fits of `fitting`, which take minutes, are made where missing.
    Raises LookupError when cells are missing, saying how many and what computes them.
    """
    configs = study.grid(store.tier, seed, methods=ALL)
    results = [store.stored(study.NAME, config) for config in configs]
    missing = [c for c, result in zip(configs, results, strict=True) if result is None]
    if missing:
        first = ", ".join(f"{key} {missing[0][key]}" for key in ("convention", "method", "seed"))
        raise LookupError(
            f"{store.root / store.tier}: {len(missing)} of {len(configs)} cells are missing, the "
            f"first is {first}, noise factor {missing[0]['noise_factor']:g}; compute them: "
            f"python -m jrlib.study run --tier {store.tier} --seed {seed} --results {store.root}"
        )
    settings = {"noise_factor": NOISE, "n_fits": N_FITS[store.tier], "seed": seed}
    return gather(
        configs,
        results,
        {name: sensitivity.relative_sensitivity(convention=name) for name in study.CONVENTIONS},
        {
            name: store.get("fitting", fitting.fits, {"convention": name, **settings})
            for name in study.CONVENTIONS
        },
    )


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


def _best(evidence, convention, methods, parameter, name="{parameter}, {method}", **criterion):
    """The method with the highest correlation at `NOISE`."""
    rows = evidence.correlations(convention, NOISE, methods, parameter)
    best = rows.value.idxmax()
    text = name.format(parameter=parameter, method=METHODS[best].label)
    return Finding(text, *rows.loc[best], **criterion)


def _local_recoverable(evidence, convention):
    local = PARAMETER_NAMES[:4]
    return [
        *(_best(evidence, convention, NETWORKS, name, above=RELIABLE) for name in local),
        *(
            _best(evidence, convention, ALL, name, "{parameter}, best of all methods: {method}")
            for name in local
        ),
    ]


def _connectivity_not(evidence, convention):
    findings = []
    for name in PARAMETER_NAMES[4:8]:
        rows = evidence.correlations(convention, NOISE, ALL, name)
        best = METHODS[rows.value.idxmax()].label
        findings.append(Finding(f"{name}, best method: {best}", *rows.max(), below=POOR))
    text = "{parameter}, best method: {method}"
    others = ("C", *(f"C {name}" for name in PARAMETER_NAMES[4:8]))
    return findings + [_best(evidence, convention, ALL, name, text) for name in others]


def _transformer_best(evidence, convention):
    lowest, highest = evidence.noise_factors[0], evidence.noise_factors[-1]
    if lowest == highest:
        raise CannotBeTestedError("robustness needs more than one noise level")
    this = "EEGTransformer"
    ours, numbers = [], evidence.contrast(convention, {(this, NOISE): 1.0})
    findings = [Finding(f"mean correlation of the {this}", *numbers)]
    for rival in (*RIVALS, *OURS):
        label = METHODS[rival].label
        numbers = evidence.contrast(convention, {(this, NOISE): 1.0, (rival, NOISE): -1.0})
        name = f"mean correlation, {this} minus {label}"
        if rival in OURS:
            ours.append(Finding(f"{name} (not in the paper)", *numbers))
        else:
            findings.append(Finding(name, *numbers, above=0.0))
    for rival in RIVALS:
        terms = {(this, lowest): 1.0, (this, highest): -1.0}
        terms |= {(rival, lowest): -1.0, (rival, highest): 1.0}
        has = evidence.contrast(convention, {(rival, lowest): 1.0})[1] > TO_LOSE
        name = f"loss from noise factor {lowest:,.10g} to {highest:,.10g}, {this} minus "
        name += METHODS[rival].label + ("" if has else " (which has nothing to lose)")
        criterion = {"below": 0.0} if has else {}
        findings.append(Finding(name, *evidence.contrast(convention, terms), **criterion))
    return findings + ours


def _bi_above(evidence, convention):
    findings, beyond = [], []
    highest = evidence.noise_factors[-1]
    for method in ("EEGTransformer", "CNNBiLSTM"):
        label = METHODS[method].label
        rows = pd.concat(
            evidence.correlations(convention, factor, [method], "b_i")
            for factor in evidence.noise_factors
            if factor <= HIGHEST
        )
        name = f"b_i, {label}, lowest up to noise factor {HIGHEST:g}"
        findings.append(Finding(name, *rows.min(), above=HIGH))
        if highest > HIGHEST:
            (row,) = evidence.correlations(convention, highest, [method], "b_i").to_numpy()
            beyond.append(Finding(f"b_i, {label}, noise factor {highest:,.10g}", *row))
    return findings + beyond


def _lstm_worst(evidence, convention):
    findings = []
    for factor in evidence.noise_factors:
        differences = [
            evidence.contrast(convention, {("VanillaLSTM", factor): 1.0, (rival, factor): -1.0})
            for rival in NETWORKS
            if rival != "VanillaLSTM"
        ]
        name = (
            f"mean correlation, vanilla LSTM minus the closest network, noise factor {factor:,.10g}"
        )
        criterion = {"below": 0.0} if factor <= HIGHEST else {}
        findings.append(Finding(name, *np.max(differences, axis=0), **criterion))
    return findings


def _sbi_varies(evidence, convention):
    rows = {
        name: evidence.correlations(convention, NOISE, ["NPE"], name).iloc[0]
        for name in PARAMETER_NAMES
    }
    best, worst = (choose(rows, key=lambda name: rows[name].value) for choose in (max, min))
    high, low = rows[best], rows[worst]
    return [
        Finding(
            f"NPE, {best} minus {worst}",
            high.value - low.value,
            high.low - low.high,
            high.high - low.low,
            above=RELIABLE - POOR,
        ),
        *(Finding(f"{name}, NPE", *rows[name]) for name in PARAMETER_NAMES),
    ]


def _sensitivity_matches(evidence, convention):
    frame = evidence.sensitivities[convention].set_index("parameter").sensitivity
    frame = frame.loc[list(PARAMETER_NAMES)].to_numpy()
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(frame[:, None], 20_000), axis=0)
    findings, reported = [], []
    for methods, text, criterion in (
        (NETWORKS, "the best network", {"above": CHANCE}),
        (ALL, "the best of all methods", {}),
    ):
        best = [_best(evidence, convention, methods, name) for name in PARAMETER_NAMES]
        value, low, high = np.array([(b.value, b.low, b.high) for b in best]).T
        sd = (high - low) / (2.0 * norm.ppf(0.975))
        drawn = value[:, None] + sd[:, None] * rng.standard_normal((len(value), 2000))
        rho, low, high = _agreement(frame, value, drawn)
        name = f"rank correlation of sensitivity and what {text} learns"
        findings.append(Finding(name, rho, low, high, **criterion))
        reached = _rank_correlation(orders, value) >= rho - 1e-9
        name = f"share of random orders that agree as well with what {text} learns"
        reported.append(Finding(name, np.mean(reached)))
    return findings + reported


def _agreement(sensitivities, value, drawn):
    """Rank correlation of (k,) and (k,), with the interval of that of (k,) and the draws (k, m)."""
    rho = _rank_correlation(sensitivities, value[:, None])[0]
    low, high = np.quantile(_rank_correlation(sensitivities, drawn), [0.025, 0.975])
    return rho, min(low, rho), max(high, rho)  # noise on noise lowers a high correlation


def _rank_correlation(one, other):
    """Of each column of two arrays (k, m), or (k,) for the same in all; 0 for a constant one."""
    one, other = (array[:, None] if array.ndim == 1 else array for array in (one, other))
    one, other = np.broadcast_arrays(one, other)
    return np.nan_to_num(metrics.pearson(rankdata(one, axis=0), rankdata(other, axis=0)))


def _scales(evidence, convention):
    result = evidence.fits[convention]
    table, scores = result.tables["fits"], result.tables["scores"]
    explained = table.explained.mean()
    if explained < 0.5:
        raise CannotBeTestedError(
            f"fits explain {explained:.0%} of {len(table)} observations, so their cost is unknown"
        )
    rng = np.random.default_rng(0)
    counts = table.simulations.to_numpy(float)
    means = rng.choice(counts, (4000, len(counts))).mean(axis=1)
    mean, low, high = counts.mean(), *np.quantile(means, [0.025, 0.975])
    n = evidence.n_simulations
    pearson = scores[scores.metric == "pearson"].fillna({"value": 0.0, "low": 0.0, "high": 0.0})
    half = np.sqrt(np.sum((pearson.high - pearson.low) ** 2)) / 2.0 / len(pearson)
    fitted = pearson.value.mean()
    return [
        Finding(
            "observations until fitting has simulated as much as one training",
            n / mean,
            n / high,
            n / low,
            below=PUBLISHED_N_TEST,
            scale=PUBLISHED_N_TEST,
        ),
        Finding("simulations for a fit", mean, low, high, scale=100.0),
        Finding("share of the observations that fits explain", explained),
        Finding("mean correlation of fits", fitted, fitted - half, fitted + half),
        Finding(
            "mean correlation of the EEGTransformer",
            *evidence.contrast(convention, {("EEGTransformer", NOISE): 1.0}),
        ),
    ]


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


CLAIMS = (
    Claim(
        "local-recoverable",
        "The gains and inverse time constants A_e, A_i, b_e and b_i can be estimated reliably.",
        f"For each of the four, the paper's best network has a correlation above {RELIABLE} at "
        f"noise factor {NOISE:g}: the estimate explains half of the variance.",
        f"For one of the four, the best network is below {RELIABLE}.",
        "noise.html#fig-noise-released",
        _local_recoverable,
    ),
    Claim(
        "connectivity-not",
        "The local connectivity a_1..a_4 cannot be estimated reliably.",
        f"No method has a correlation above {POOR} for any of the four at noise factor {NOISE:g}: "
        f"no estimate explains a quarter of the variance. The products C a_k, which are what the "
        f"equations contain, are reported beside it.",
        f"A method's correlation for one of the four is above {POOR}.",
        "noise.html#fig-noise-classic",
        _connectivity_not,
    ),
    Claim(
        "transformer-best",
        "The EEGTransformer recovers most and bears noise best.",
        f"Its correlation, averaged over the nine parameters at noise factor {NOISE:g}, is above "
        f"that of each other method of the paper; and from the lowest to the highest noise it "
        f"loses less than each of them that starts above {TO_LOSE}. Our own baselines are reported "
        f"beside it.",
        "Another method of the paper has a higher average, or loses less.",
        "noise.html#tab-ranking",
        _transformer_best,
    ),
    Claim(
        "bi-above-0.9",
        "The EEGTransformer and the CNN-BiLSTM keep a correlation above 0.9 for b_i at all noise "
        "levels.",
        f"Both are above {HIGH} at all noise factors of the paper, up to {HIGHEST:g}. The highest "
        f"level of our grid is reported beside it.",
        f"One of them is below {HIGH} at one of these levels.",
        "noise.html#fig-noise-released",
        _bi_above,
    ),
    Claim(
        "lstm-worst",
        "The vanilla LSTM is consistently worse than the other networks.",
        f"At each noise factor of the paper, up to {HIGHEST:g}, its correlation, averaged over the "
        f"nine parameters, is below that of the EEGTransformer and of the CNN-BiLSTM.",
        "At one of these levels it is above one of them.",
        "noise.html#fig-noise-classic",
        _lstm_worst,
    ),
    Claim(
        "sbi-varies",
        "Simulation-based inference is good for some parameters and not for others.",
        f"NPE's correlations for its best and its worst parameter at noise factor {NOISE:g} differ "
        f"by more than {RELIABLE - POOR:.1f}.",
        f"They differ by less than {RELIABLE - POOR:.1f}.",
        "noise.html#tab-correlations-released",
        _sbi_varies,
    ),
    Claim(
        "sensitivity-matches",
        "The sensitivity analysis agrees with which parameters can be learned.",
        f"Over the nine parameters, the local relative sensitivity at the typical values and the "
        f"correlation of the paper's best network at noise factor {NOISE:g} have a rank "
        f"correlation above {CHANCE}, which one in twenty random orders reaches.",
        f"The rank correlation is below {CHANCE}.",
        "sensitivity.html#tab-sensitivity",
        _sensitivity_matches,
    ),
    Claim(
        "scales",
        "Trained inverse models scale better than classic fitting.",
        f"In simulations, counted: fitting each observation by least squares takes as many as one "
        f"training before the number of observations reaches {PUBLISHED_N_TEST}, as many as the "
        f"public notebooks test on. What training a network costs beside simulations is not "
        f"counted, nor how good the estimates are; both kinds' correlations are reported beside "
        f"it.",
        f"Fitting {PUBLISHED_N_TEST} observations takes fewer simulations than one training.",
        "intro.html#tab-findings",
        _scales,
    ),
)


def ledger(evidence, tier, claims=CLAIMS):
    """Judge every claim: a list of dicts, plain JSON, in the order of `claims`.

    evidence : an `Evidence`, or what the functions of other claims take, with seeds, n_simulations
        and n_test like it

    Each holds id, says, counts_for, counts_against, shown, verdict, tier, tolerance (see
    `TOLERANCES`), seeds, n_simulations, n_test, and under conventions -> name: the outcome, its
    reason where it cannot be tested, and the findings, each with its own outcome. Those that the
    claim rests on come first, the one that decides before all.
    """
    if tier not in TIERS:
        raise ValueError(f"tier: got {tier!r}, expected one of {', '.join(TIERS)}")
    entries = []
    for claim in claims:
        made = {name: _judge(claim, evidence, name, TOLERANCES[tier]) for name in study.CONVENTIONS}
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


def read(root, tier, seed=study.SEED):
    """The ledger in `<root>/claims.json`, or without one that of the tier's stored results.

    Raises LookupError, see `collect`, where neither is there.
    """
    path = Path(root) / "claims.json"
    if path.exists():
        return json.loads(path.read_text())
    return ledger(collect(Store(root, tier), seed), tier)


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


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m jrlib.claims",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tier", default="paper", choices=TIERS, help="only paper is written")
    parser.add_argument("--seed", default=study.SEED, type=int, help="the first one")
    parser.add_argument("--results", default="results", type=Path, help="folder of the store")
    chosen = parser.parse_args(arguments)
    try:
        found = collect(Store(chosen.results, chosen.tier), chosen.seed)
    except LookupError as error:
        parser.exit(1, f"{error}\n")
    entries = ledger(found, chosen.tier)
    print(findings_table(entries).to_string(index=False))
    print(pd.DataFrame(entries)[["id", "verdict"]].to_string(index=False))
    if chosen.tier == "paper":
        write(chosen.results / "claims.json", entries)


if __name__ == "__main__":
    sys.exit(main())
