"""What the page that shows every answer to one response, in the reader's browser, is given."""

import json

import numpy as np
from IPython.display import HTML

from experiments.compared_methods import METHODS, test_set
from experiments.settings import TEST
from figures.style import COLORS, PURPLE
from jrlib.inference.flows import Posterior
from jrlib.parameters import QUANTITY_NAMES, quantities
from jrlib.priors import Prior

INTERVAL = (0.05, 0.95)  # quantiles at which the bars end
SCALE = (0.0005, 0.9995)  # quantiles of the prior at which the scale of a quantity ends
N_PRIOR_SAMPLES = 20_000
# Jupyter Book puts the scripts and styles in _static on every page; they act on this element.
PAGE = (
    '<div id="answers-app"><noscript>This page draws in your browser and needs JavaScript, which '
    "is switched off. All other pages do without.</noscript></div>"
    '<script type="application/json" id="answers-data">{data}</script>'
)


def page(exact, trained, compared, *, n_shown, n_samples, seed):
    """The page's data: for each convention, what every method says of its first test responses.

    exact : runs of `exact_posteriors`; trained : of `npe`; compared : of `comparison`, one of each
        method; each of them a `runs.Found` of one noise factor, with the runs of all conventions
    n_shown : responses at most, of each convention
    n_samples : of the posterior by NPE for each; seed : of these samples and of the prior's
    """
    names = list(compared.runs.method.drop_duplicates())
    conventions = trained.runs.convention.drop_duplicates()
    prior = quantities(Prior().sample(N_PRIOR_SAMPLES, np.random.default_rng(seed)))
    ends = (_rounded(np.quantile(prior, end, axis=0)) for end in SCALE)
    scales = zip(QUANTITY_NAMES, *ends, _interval(prior), strict=True)
    data = {
        "conventions": {
            name: _responses(
                exact.where(convention=name),
                trained.where(convention=name),
                compared.where(convention=name),
                n_shown=n_shown,
                n_samples=n_samples,
                seed=seed,
            )
            for name in conventions
        },
        "quantities": [
            {"name": name, "low": low, "high": high, "prior": interval}
            for name, low, high, interval in scales
        ],
        "methods": [
            {"name": name, "label": METHODS[name].label, "color": COLORS[name]} for name in names
        ],
        "nNpe": f"{trained.runs.n_simulations.iloc[0]:,}",
        "colors": {name: COLORS[name] for name in conventions}
        | {
            "npe": PURPLE,
            "reference": "currentColor",
            "prior": "var(--jr-prior)",
            "truth": "var(--jr-truth)",
        },
    }
    return HTML(PAGE.format(data=json.dumps(data)))


def _responses(exact, trained, compared, *, n_shown, n_samples, seed):
    """The times and the first test responses of one convention, with every answer to them."""
    config = compared.config(compared.names[0])
    test = test_set(config.convention, config.n_test, config.test_simulations)
    observed = test.observe(config.noise_factor, seed=TEST)
    posterior = Posterior.from_state(*trained.weights())
    accepted, samples = exact.table("observations").accepted, exact.stack("samples")
    estimates = dict(zip(compared.runs.method, map(compared.arrays, compared.names), strict=True))
    shown = []
    for k in range(min(n_shown, len(accepted))):
        by_npe = quantities(posterior.sample(observed[k], n_samples, seed=seed))
        shown.append(
            {
                "truth": _rounded(quantities(test.theta[k : k + 1])[0]),
                "observed": _rounded(observed[k]),
                "npe": _interval(by_npe),
                "reference": _interval(quantities(samples[k].astype(float)))
                if accepted[k]
                else None,
                "estimates": {
                    name: _rounded(arrays["estimates"][k]) for name, arrays in estimates.items()
                },
            }
        )
    return {"times": _rounded(test.times), "responses": shown}


def _interval(samples):
    """Ends of the interval of each quantity, as lists."""
    return _rounded(np.quantile(samples, INTERVAL, axis=0).T)


def _rounded(array):
    """An array as lists of numbers with four digits, which is what can be seen."""
    if np.ndim(array):
        return [_rounded(part) for part in array]
    return float(f"{array:.4g}")
