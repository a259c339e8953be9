"""How wide intervals for the parameters are: of methods that give a point, and of exact posteriors.

Split conformal prediction gives any method's estimate an interval: half of the test simulations say
how wide it has to be, the other half whether it holds the truth as often as it says.
"""

import numpy as np
import pandas as pd

from experiments.compared_methods import METHODS, test_set
from experiments.exact_posteriors import by_setting
from jrlib.diagnostics.calibration import conformal_half_widths
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior

EXACT = "exact posterior"  # stands for a method


def conformal(found, level):
    """Conformal intervals of the methods of the comparison.

    found : a `runs.Found` of `comparison`, whose runs hold the array "estimates"
    level : of the intervals, such as 0.9
    Returns a DataFrame with a row for each run and each of `IDENTIFIABLE_NAMES`: convention, method
    (its label), parameter, half_width (in standard deviations of the prior) and coverage.
    """
    frames = []
    for name in found.names:
        config = found.config(name)
        test = test_set(config.convention, config.n_test, config.test_simulations)
        errors = found.arrays(name)["estimates"].astype(float) - quantities(test.theta)
        half = len(errors) // 2
        width = conformal_half_widths(errors[:half], level)
        held = (np.abs(errors[half:]) <= width).mean(axis=0)
        labels = config.convention, METHODS[config.method].label
        frames.append(_rows(*labels, width=width, coverage=held))
    return pd.concat(frames, ignore_index=True)


def central(found, level):
    """Central intervals of accepted exact posteriors: as `conformal`, half-widths being means.

    found : a `runs.Found` of `exact_posteriors`, of one variant and noise factor
    """
    frames = []
    for (convention, _), runs in by_setting(found).items():
        kept = runs.table("observations").accepted.to_numpy()
        theta, truth = runs.stack("samples")[kept].astype(float), runs.stack("truth")[kept]
        samples = quantities(theta.reshape(-1, 9)).reshape(*theta.shape[:2], -1)
        low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2], axis=1)
        held = ((truth >= low) & (truth <= high)).mean(axis=0)
        width = (high - low).mean(axis=0) / 2
        frames.append(_rows(convention, EXACT, width=width, coverage=held))
    return pd.concat(frames, ignore_index=True)


def _rows(convention, method, *, width, coverage):
    frame = pd.DataFrame(
        {
            "convention": convention,
            "method": method,
            "parameter": QUANTITY_NAMES,
            "half_width": width / Prior().quantity_std,
            "coverage": coverage,
        }
    )
    return frame[frame.parameter.isin(IDENTIFIABLE_NAMES)]
