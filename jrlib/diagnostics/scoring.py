"""How close estimates come to the truth, per parameter, with bootstrap intervals.

truth and estimate are (n, k): n simulations, k parameters. Every metric is a function of weighted
moments (Spearman's of weighted ranks), with one weight per simulation. Unit weights give the plain
metric, and the multiplicities of a bootstrap resample give its replicate, so all replicates come
out of a few matrix products and nothing is sorted again.
"""

import numpy as np
import pandas as pd

METRICS = ("pearson", "spearman", "rmse", "r2")
CHUNK = 200_000  # numbers held at once in a (resamples, n) array, so that it stays in the cache


def pearson(truth, estimate):
    """Pearson's correlation of each column, (k,). NaN where truth or estimate is constant."""
    truth, estimate = _check(truth, estimate)
    return _pearson(np.ones((1, len(truth))), truth, estimate)[0]


def spearman(truth, estimate):
    """Spearman's rank correlation of each column, (k,); ties share their mean rank.

    NaN where truth or estimate is constant.
    """
    truth, estimate = _check(truth, estimate)
    return _spearman(np.ones((1, len(truth))), truth, estimate)[0]


def rmse(truth, estimate, scale):
    """Root mean square error of each column in units of `scale`, (k,).

    With the prior's standard deviations as scale, 1 is as good as always answering the prior mean.
    """
    truth, estimate = _check(truth, estimate)
    scale = _check_scale(scale, truth.shape[1])
    return _rmse(np.ones((1, len(truth))), truth, estimate)[0] / scale


def r2(truth, estimate):
    """Coefficient of determination of each column, (k,): 1 - squared error / variance of the truth.

    Below 0 when the mean of the truth would have been the better answer. NaN where truth is
    constant.
    """
    truth, estimate = _check(truth, estimate)
    return _r2(np.ones((1, len(truth))), truth, estimate)[0]


def score(truth, estimate, names, *, scale, n_bootstrap=1000, level=0.95, seed=0):
    """All metrics for all parameters: a DataFrame with one row per parameter and metric.

    truth, estimate : (n, k); names : k of them; scale : (k,) the unit of the RMSE (prior sd)
    n_bootstrap, level : resamples of the rows, and the coverage of the intervals
    seed : of the resampling; the same seed gives the same intervals

    Columns: parameter, metric (of `METRICS`), value, low, high, n. The intervals are percentile
    intervals of resampled rows: they do not depend on the scale on which a metric is written
    (Fisher's z gives the same ends), never leave its range, and for 100 rows cover a correlation of
    a bivariate normal within 0.91 to 0.98 for a nominal 0.95 (tested). BCa would need a jackknife.
    They say what another test set would change, not another training run.

    A constant estimate (the mean predictor) has no correlation by definition: NaN, without a
    warning, and so are its ends. Replicates without variance are left out of the intervals.
    Raises ValueError for shapes that do not fit, values that are not finite, or a bad option.
    """
    truth, estimate = _check(truth, estimate)
    n, k = truth.shape
    names = _check_names(names, k)
    scale = _check_scale(scale, k)

    def all_metrics(weights):  # (b, n) -> (b, k, 4)
        functions = (_pearson, _spearman, _rmse, _r2)
        values = np.stack([f(weights, truth, estimate) for f in functions], axis=-1)
        values[..., METRICS.index("rmse")] /= scale
        return values

    value = all_metrics(np.ones((1, n)))[0]
    low, high = _interval(value, _bootstrap(all_metrics, n, n_bootstrap, seed=seed), level)
    return pd.DataFrame(
        {
            "parameter": np.repeat(names, len(METRICS)),
            "metric": np.tile(METRICS, k),
            "value": value.ravel(),
            "low": low.ravel(),
            "high": high.ravel(),
            "n": n,
        }
    )


def fraction_of_optimal(
    truth, estimate, optimum, *, names, averages=None, n_bootstrap=1000, level=0.95, seed=0
):
    """What fraction of the optimal estimate's correlation an estimate reaches, on the same rows.

    The posterior mean under the exact likelihood and the true prior is the estimate of least
    squared error, and no other correlates better with the truth, on average over the prior. The
    fraction is Pearson's correlation of the estimate with the truth over that of the optimal one.

    truth, optimum : (n, k) quantities of n test simulations, and their optimal estimates
    estimate : (n, k), or (s, n, k) for s trainings of one method, whose correlations are averaged
    names : k names of the quantities
    averages : dict from a name to some of `names`; for each entry there is a further row, the mean
        of the estimate's correlations over these quantities over the mean of the optimum's
    n_bootstrap, level, seed : see `score`

    Returns a DataFrame, a row for each of `names` and `averages`, with the columns parameter,
    optimal (the correlation of the optimal estimate, or its mean), value (the fraction), low, high
    and n. The intervals are percentile intervals of a paired bootstrap: truth, estimate and optimum
    are resampled together, so that what they share drops out, and an estimate that is the optimum
    has exactly 1 without any width. They say what another test set would change, not another
    training run. An estimate that is constant has no correlation: NaN.
    Raises ValueError for shapes that do not fit, values that are not finite, and unknown names.
    """
    trainings = np.asarray(estimate, dtype=float)
    if trainings.ndim != 3:
        trainings = trainings[np.newaxis]
    if not len(trainings):
        raise ValueError("estimate: got no training, expected at least one")
    truth, optimum = _check(truth, optimum, "optimum")
    trainings = [_check(truth, training)[1] for training in trainings]
    names, averages = _check_names(names, truth.shape[1]), dict(averages or {})
    members = []
    for label, chosen in averages.items():
        for name in chosen:
            if name not in names:
                raise ValueError(f"averages: {label!r} names {name!r}, expected some of {names}")
        members.append([names.index(name) for name in chosen])
        if not members[-1]:
            raise ValueError(f"averages: {label!r} names no quantity, expected at least one")

    def with_averages(correlations):  # (b, k) -> (b, k + number of averages)
        means = [correlations[:, columns].mean(axis=1) for columns in members]
        return np.column_stack([correlations, *means])

    def of_optimum(weights):
        return with_averages(_pearson(weights, truth, optimum))

    def fractions(weights):
        reached = np.mean([_pearson(weights, truth, training) for training in trainings], axis=0)
        return with_averages(reached) / of_optimum(weights)

    ones = np.ones((1, len(truth)))
    value = fractions(ones)[0]
    replicates = _bootstrap(fractions, len(truth), n_bootstrap, seed=seed)
    low, high = _interval(value, replicates, level)
    return pd.DataFrame(
        {
            "parameter": [*names, *averages],
            "optimal": of_optimum(ones)[0],
            "value": value,
            "low": low,
            "high": high,
            "n": len(truth),
        }
    )


def _bootstrap(statistic, n, n_bootstrap, *, seed):
    """Values of a statistic for resamples of n rows, (n_bootstrap, ...).

    statistic : from the weights (b, n) of the rows in b resamples to values (b, ...)
    """
    if n_bootstrap != int(n_bootstrap) or n_bootstrap < 1:
        raise ValueError(f"n_bootstrap: got {n_bootstrap}, expected a whole number from 1")
    rng, size, total = np.random.default_rng(seed), max(1, CHUNK // n), int(n_bootstrap)
    sizes = [min(size, total - start) for start in range(0, total, size)]
    return np.concatenate([statistic(_multiplicities(rng, size, n)) for size in sizes])


def _interval(value, replicates, level):
    """Percentile interval (2, ...) of replicates (n_bootstrap, ...) around values (...).

    Replicates that are not finite are left out; NaN where the value or all of them are not.
    """
    if not 0 < level < 1:
        raise ValueError(f"level: got {level}, expected a number between 0 and 1")
    ends = np.full((2, *value.shape), np.nan)
    for place in map(tuple, np.argwhere(np.isfinite(value))):
        finite = replicates[:, *place]
        finite = finite[np.isfinite(finite)]
        if len(finite):
            ends[:, *place] = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return ends


def _multiplicities(rng, size, n):
    """How often each of n rows occurs in each of `size` resamples: (size, n) float."""
    rows = rng.integers(n, size=(size, n)) + n * np.arange(size)[:, np.newaxis]
    return np.bincount(rows.ravel(), minlength=size * n).reshape(size, n).astype(float)


def _pearson(weights, x, y):
    """Weighted correlation of each column; weights (b, n), x and y (n, k) -> (b, k)."""
    x, y = _standardise(x), _standardise(y)
    total = weights.sum(axis=1, keepdims=True)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    return _ratio(
        weights @ (x * y) / total - mean_x * mean_y,
        weights @ x**2 / total - mean_x**2,
        weights @ y**2 / total - mean_y**2,
    )


def _spearman(weights, x, y):
    total = weights.sum(axis=1)
    correlations = np.empty((len(weights), x.shape[1]))
    for j in range(x.shape[1]):
        a = _ranks(weights, x[:, j])
        b = _ranks(weights, y[:, j])
        covariance, var_a, var_b = (
            np.einsum("bn,bn,bn->b", weights, u, v) / total for u, v in ((a, b), (a, a), (b, b))
        )
        correlations[:, j] = _ratio(covariance, var_a, var_b)
    return correlations


def _ranks(weights, values):
    """Centred ranks in -1/2..1/2 of values (n,) in samples that hold them `weights` times: (b, n).

    Equal values share their mean rank, which is half a sample's way through their own weight.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # start of each tied group
    in_group = np.add.reduceat(weights[:, order], first, axis=1)
    middle = np.cumsum(in_group, axis=1) - in_group / 2
    ranks = np.empty_like(weights)
    ranks[:, order] = np.repeat(middle, np.diff(np.r_[first, len(values)]), axis=1)
    return ranks / weights.sum(axis=1, keepdims=True) - 0.5


def _rmse(weights, x, y):
    return np.sqrt(weights @ (y - x) ** 2 / weights.sum(axis=1, keepdims=True))


def _r2(weights, x, y):
    spread = np.std(x, axis=0)
    spread[np.ptp(x, axis=0) == 0] = np.inf  # a constant truth: variance 0 below
    total = weights.sum(axis=1, keepdims=True)
    centred = (x - x.mean(axis=0)) / spread
    variance = weights @ centred**2 / total - (weights @ centred / total) ** 2
    error = weights @ ((y - x) / spread) ** 2 / total
    varies = variance > 1e-12
    return np.where(varies, 1.0 - error / np.where(varies, variance, 1.0), np.nan)


def _standardise(x):
    """Columns with mean 0 and sd 1, which keeps the moments accurate; a constant column is 0."""
    spread = np.std(x, axis=0)
    spread[np.ptp(x, axis=0) == 0] = np.inf
    return (x - x.mean(axis=0)) / spread


def _ratio(covariance, var_x, var_y):
    """Correlation from moments of standardised data; NaN where a variance is 0 up to rounding."""
    varies = np.minimum(var_x, var_y) > 1e-12
    correlation = covariance / np.sqrt(np.where(varies, var_x * var_y, 1.0))
    return np.where(varies, np.clip(correlation, -1.0, 1.0), np.nan)


def _check(truth, estimate, argument="estimate"):
    truth, estimate = np.asarray(truth, dtype=float), np.asarray(estimate, dtype=float)
    for name, values in (("truth", truth), (argument, estimate)):
        if values.ndim != 2 or len(values) < 2:
            raise ValueError(
                f"{name}: got shape {values.shape}, expected (simulations, parameters) with at "
                f"least 2 simulations"
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            row, column = bad[0]
            raise ValueError(f"{name}: not finite at row {row}, column {column}")
    if truth.shape != estimate.shape:
        raise ValueError(f"{argument}: got shape {estimate.shape}, expected truth's {truth.shape}")
    return truth, estimate


def _check_names(names, k):
    names = list(names)
    if len(names) != k:
        raise ValueError(f"names: got {len(names)}, expected {k}, one for each column of truth")
    return names


def _check_scale(scale, k):
    scale = np.asarray(scale, dtype=float)
    if scale.shape != (k,) or not (np.isfinite(scale) & (scale > 0)).all():
        raise ValueError(f"scale: got {scale}, expected {k} finite numbers above 0")
    return scale
