"""The correlations that the public notebooks hold, beside those of our repetition."""

from dataclasses import replace

import numpy as np
import pandas as pd

from experiments.compared_methods import test_set
from jrlib.diagnostics import scoring
from jrlib.parameters import PARAMETER_NAMES

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


def published_comparison(found, *, n_resamples=4000, level=0.95, seed=0):
    """Whether our repetition of the study would give the correlations that were published.

    found : `runs.Found` of the comparison, whose runs hold the array "estimates". Runs of a variant
        and method that differ by their seed only are pooled; methods without published numbers are
        left out.
    n_resamples : in all; `PUBLISHED_N_TEST` test simulations each, drawn with replacement from one
        of the seeds, all of which give the same number
    level, seed : coverage of the intervals, and the seed of the resampling

    Returns a DataFrame with a row for each variant, method, published run and parameter, and the
    columns variant, method, run, parameter, published, low, median, high (quantiles of our
    Pearson correlation; NaN when all estimates are the same) and inside (bool): whether the
    published value lies in low..high up to the digits it was rounded to.
    Raises ValueError without any such run, for runs without estimates, and for runs of a variant
    and method that differ by more than their seed.
    """
    runs = found.runs[found.runs.method.isin({method for method, _ in PUBLISHED})]
    if runs.empty:
        raise ValueError("found: no run of a method with published numbers")
    rng, rows = np.random.default_rng(seed), []
    for (variant, method), group in runs.groupby(["variant", "method"], sort=False):
        config = found.config(group.run.iloc[0])
        if any(replace(found.config(run), seed=config.seed) != config for run in group.run):
            raise ValueError(f"{variant}, {method}: runs differ by more than their seed")
        if any("estimates" not in found.arrays(run) for run in group.run):
            raise ValueError(f"{variant}, {method}: compute the runs with keep='estimates'")
        test = test_set(config.convention, config.n_test, config.test_simulations)
        replicates = []
        for run in group.run:
            estimates = found.arrays(run)["estimates"][:, : len(PARAMETER_NAMES)]
            for _ in range(-(-n_resamples // len(group))):
                drawn = rng.integers(len(estimates), size=PUBLISHED_N_TEST)
                replicates.append(scoring.pearson(test.theta[drawn], estimates[drawn]))
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
