"""The published numbers beside ours, and the ledger of the paper's claims.

    python -m claims.paper --tier paper     judge the claims by the stored results of a tier

For each claim of Tilwani & O'Reilly (arXiv:2406.05002) the ledger says what would count for it and
against it, gives our numbers with intervals, and draws the verdict from them. Criteria were fixed
before the numbers of the paper tier existed. Claims are put in our own words.

The public notebooks also hold correlations of estimate and truth; `published_comparison` asks
whether they could have come out of our repetition of the study.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata, t

from claims.ledger import CannotBeTestedError, Claim, Finding, findings_table, ledger, write
from claims.public_notebooks import PUBLISHED_N_TEST
from experiments import comparison, least_squares_fits
from experiments.compared_methods import METHODS
from experiments.experiment import TIERS
from experiments.runs import RESULTS, Runs
from experiments.settings import CONVENTIONS, SEED, STUDY_NOISE
from experiments.tables import run_name
from jrlib.diagnostics import scoring, sensitivity
from jrlib.parameters import PARAMETER_NAMES

# The criteria.
RELIABLE_CORRELATION = 0.7  # from which on an estimate explains half of the variance
POOR_CORRELATION = 0.5  # ... a quarter of it
HIGH_CORRELATION = 0.9  # the paper's own number for b_i
CORRELATION_TO_LOSE = 0.2  # a mean below which a method has nothing that noise could take
CHANCE_CORRELATION = 0.6  # of ranks: one in twenty random orders of nine parameters reaches it
HIGHEST_STUDY_NOISE = 1.0  # of the paper's noise factors

NETWORKS = ("EEGTransformer", "CNNBiLSTM", "VanillaLSTM")  # the paper's, as it used them
RIVALS = ("CNNBiLSTM", "VanillaLSTM", "NPE")  # of the EEGTransformer in the paper
OURS = tuple(name for name in METHODS if name not in (*NETWORKS, "NPE", "Mean"))
ALL = (*NETWORKS, "NPE", *OURS)


@dataclass(frozen=True)
class Evidence:
    """What the claims are judged by.

    scores : `comparison.scores` of the standard grid, Pearson's correlations only. A network that
        gives the same answer to everything has none; it is counted as 0, as it knows nothing.
    by_seed : the same for each seed on its own, with a column seed
    sensitivities : `sensitivity.relative_sensitivity`, with a column convention
    fits, fit_scores : the tables "fits" and "scores" of `least_squares_fits`
    n_simulations, n_test : of a training, and test simulations
    """

    scores: pd.DataFrame
    by_seed: pd.DataFrame
    sensitivities: pd.DataFrame
    fits: pd.DataFrame
    fit_scores: pd.DataFrame
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


def gather(scores, *, sensitivities, fits, fit_scores):
    """`Evidence` from the table "scores" of the comparison's standard grid; the rest see there."""
    known = scores[scores.metric == "pearson"].fillna({"value": 0.0, "low": 0.0, "high": 0.0})
    by_seed = [comparison.scores(group).assign(seed=seed) for seed, group in known.groupby("seed")]
    return Evidence(
        comparison.scores(known),
        pd.concat(by_seed, ignore_index=True),
        sensitivities,
        fits,
        fit_scores,
        int(scores.n_simulations.iloc[0]),
        int(scores.n_test.iloc[0]),
    )


def collect(store, seed=SEED):
    """`Evidence` from a `Runs`: the runs of the standard grid whose first seed is `seed`.

    These are only read. The fits of `least_squares_fits`, which take minutes, are made where
    missing. Raises LookupError when runs are missing, saying how many and what computes them.
    """
    configs = comparison.standard_grid(store.tier, seed, methods=ALL)
    missing = store.missing("comparison", configs)
    if missing:
        raise LookupError(
            f"{store.root / store.tier}: {len(missing)} of {len(configs)} runs of the comparison "
            f"are missing, the first is {run_name(missing[0])}; compute them: python -m "
            f"experiments run comparison --tier {store.tier} --seed {seed} --results {store.root}"
        )
    fitted = store.get("least_squares_fits", least_squares_fits.grid(store.tier, seed))
    sensitivities = [
        sensitivity.relative_sensitivity(convention=name).assign(convention=name)
        for name in CONVENTIONS
    ]
    return gather(
        store.get("comparison", configs).table("scores"),
        sensitivities=pd.concat(sensitivities, ignore_index=True),
        fits=fitted.table("fits"),
        fit_scores=fitted.table("scores"),
    )


def _best(evidence, convention, methods, parameter, name="{parameter}, {method}", **criterion):
    """The method with the highest correlation at `STUDY_NOISE`."""
    rows = evidence.correlations(convention, STUDY_NOISE, methods, parameter)
    best = rows.value.idxmax()
    text = name.format(parameter=parameter, method=METHODS[best].label)
    return Finding(text, *rows.loc[best], **criterion)


def _local_recoverable(evidence, convention):
    local = PARAMETER_NAMES[:4]
    return [
        *(
            _best(evidence, convention, NETWORKS, name, above=RELIABLE_CORRELATION)
            for name in local
        ),
        *(
            _best(evidence, convention, ALL, name, "{parameter}, best of all methods: {method}")
            for name in local
        ),
    ]


def _connectivity_not(evidence, convention):
    findings = []
    for name in PARAMETER_NAMES[4:8]:
        rows = evidence.correlations(convention, STUDY_NOISE, ALL, name)
        best = METHODS[rows.value.idxmax()].label
        findings.append(
            Finding(f"{name}, best method: {best}", *rows.max(), below=POOR_CORRELATION)
        )
    text = "{parameter}, best method: {method}"
    others = ("C", *(f"C {name}" for name in PARAMETER_NAMES[4:8]))
    return findings + [_best(evidence, convention, ALL, name, text) for name in others]


def _transformer_best(evidence, convention):
    lowest, highest = evidence.noise_factors[0], evidence.noise_factors[-1]
    if lowest == highest:
        raise CannotBeTestedError("robustness needs more than one noise level")
    this = "EEGTransformer"
    ours, numbers = [], evidence.contrast(convention, {(this, STUDY_NOISE): 1.0})
    findings = [Finding(f"mean correlation of the {this}", *numbers)]
    for rival in (*RIVALS, *OURS):
        label = METHODS[rival].label
        numbers = evidence.contrast(
            convention, {(this, STUDY_NOISE): 1.0, (rival, STUDY_NOISE): -1.0}
        )
        name = f"mean correlation, {this} minus {label}"
        if rival in OURS:
            ours.append(Finding(f"{name} (not in the paper)", *numbers))
        else:
            findings.append(Finding(name, *numbers, above=0.0))
    for rival in RIVALS:
        terms = {(this, lowest): 1.0, (this, highest): -1.0}
        terms |= {(rival, lowest): -1.0, (rival, highest): 1.0}
        has = evidence.contrast(convention, {(rival, lowest): 1.0})[1] > CORRELATION_TO_LOSE
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
            if factor <= HIGHEST_STUDY_NOISE
        )
        name = f"b_i, {label}, lowest up to noise factor {HIGHEST_STUDY_NOISE:g}"
        findings.append(Finding(name, *rows.min(), above=HIGH_CORRELATION))
        if highest > HIGHEST_STUDY_NOISE:
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
        criterion = {"below": 0.0} if factor <= HIGHEST_STUDY_NOISE else {}
        findings.append(Finding(name, *np.max(differences, axis=0), **criterion))
    return findings


def _sbi_varies(evidence, convention):
    rows = {
        name: evidence.correlations(convention, STUDY_NOISE, ["NPE"], name).iloc[0]
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
            above=RELIABLE_CORRELATION - POOR_CORRELATION,
        ),
        *(Finding(f"{name}, NPE", *rows[name]) for name in PARAMETER_NAMES),
    ]


def _sensitivity_matches(evidence, convention):
    frame = evidence.sensitivities[evidence.sensitivities.convention == convention]
    frame = frame.set_index("parameter").sensitivity.loc[list(PARAMETER_NAMES)].to_numpy()
    rng = np.random.default_rng(0)
    orders = rng.permuted(np.tile(frame[:, None], 20_000), axis=0)
    findings, reported = [], []
    for methods, text, criterion in (
        (NETWORKS, "the best network", {"above": CHANCE_CORRELATION}),
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
    return np.nan_to_num(scoring.pearson(rankdata(one, axis=0), rankdata(other, axis=0)))


def _scales(evidence, convention):
    table, scores = (
        frame[frame.convention == convention] for frame in (evidence.fits, evidence.fit_scores)
    )
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
            *evidence.contrast(convention, {("EEGTransformer", STUDY_NOISE): 1.0}),
        ),
    ]


CLAIMS = (
    Claim(
        "local-recoverable",
        "The gains and inverse time constants A_e, A_i, b_e and b_i can be estimated reliably.",
        f"For each of the four, the paper's best network has a correlation above "
        f"{RELIABLE_CORRELATION} at noise factor {STUDY_NOISE:g}: the estimate explains half of "
        f"the variance.",
        f"For one of the four, the best network is below {RELIABLE_CORRELATION}.",
        "noise.html#fig-noise-released",
        _local_recoverable,
    ),
    Claim(
        "connectivity-not",
        "The local connectivity a_1..a_4 cannot be estimated reliably.",
        f"No method has a correlation above {POOR_CORRELATION} for any of the four at noise factor "
        f"{STUDY_NOISE:g}: no estimate explains a quarter of the variance. The products C a_k, "
        f"which are what the equations contain, are reported beside it.",
        f"A method's correlation for one of the four is above {POOR_CORRELATION}.",
        "noise.html#fig-noise-classic",
        _connectivity_not,
    ),
    Claim(
        "transformer-best",
        "The EEGTransformer recovers most and bears noise best.",
        f"Its correlation, averaged over the nine parameters at noise factor {STUDY_NOISE:g}, is "
        f"above that of each other method of the paper; and from the lowest to the highest noise "
        f"it loses less than each of them that starts above {CORRELATION_TO_LOSE}. Our own "
        f"baselines are reported beside it.",
        "Another method of the paper has a higher average, or loses less.",
        "noise.html#tab-ranking",
        _transformer_best,
    ),
    Claim(
        "bi-above-0.9",
        "The EEGTransformer and the CNN-BiLSTM keep a correlation above 0.9 for b_i at all noise "
        "levels.",
        f"Both are above {HIGH_CORRELATION} at all noise factors of the paper, up to "
        f"{HIGHEST_STUDY_NOISE:g}. The highest level of our grid is reported beside it.",
        f"One of them is below {HIGH_CORRELATION} at one of these levels.",
        "noise.html#fig-noise-released",
        _bi_above,
    ),
    Claim(
        "lstm-worst",
        "The vanilla LSTM is consistently worse than the other networks.",
        f"At each noise factor of the paper, up to {HIGHEST_STUDY_NOISE:g}, its correlation, "
        f"averaged over the nine parameters, is below that of the EEGTransformer and of the "
        f"CNN-BiLSTM.",
        "At one of these levels it is above one of them.",
        "noise.html#fig-noise-classic",
        _lstm_worst,
    ),
    Claim(
        "sbi-varies",
        "Simulation-based inference is good for some parameters and not for others.",
        f"NPE's correlations for its best and its worst parameter at noise factor "
        f"{STUDY_NOISE:g} differ by more than {RELIABLE_CORRELATION - POOR_CORRELATION:.1f}.",
        f"They differ by less than {RELIABLE_CORRELATION - POOR_CORRELATION:.1f}.",
        "noise.html#tab-correlations-released",
        _sbi_varies,
    ),
    Claim(
        "sensitivity-matches",
        "The sensitivity analysis agrees with which parameters can be learned.",
        f"Over the nine parameters, the local relative sensitivity at the typical values and the "
        f"correlation of the paper's best network at noise factor {STUDY_NOISE:g} have a rank "
        f"correlation above {CHANCE_CORRELATION}, which one in twenty random orders reaches.",
        f"The rank correlation is below {CHANCE_CORRELATION}.",
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


def read(root, tier, seed=SEED):
    """The ledger in `<root>/claims.json`, or without one that of the tier's stored results.

    Raises LookupError, see `collect`, where neither is there.
    """
    path = Path(root) / "claims.json"
    if path.exists():
        return json.loads(path.read_text())
    return ledger(collect(Runs(tier, root), seed), tier, CLAIMS)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m claims.paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tier", default="paper", choices=TIERS, help="only paper is written")
    parser.add_argument("--seed", default=SEED, type=int, help="the first one")
    parser.add_argument("--results", default=RESULTS, type=Path, help="folder of the results")
    chosen = parser.parse_args(arguments)
    try:
        found = collect(Runs(chosen.tier, chosen.results), chosen.seed)
    except LookupError as error:
        parser.exit(1, f"{error}\n")
    entries = ledger(found, chosen.tier, CLAIMS)
    print(findings_table(entries).to_string(index=False))
    print(pd.DataFrame(entries)[["id", "verdict"]].to_string(index=False))
    if chosen.tier == "paper":
        write(chosen.results / "claims.json", entries)


if __name__ == "__main__":
    sys.exit(main())
