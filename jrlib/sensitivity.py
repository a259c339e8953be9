"""How much the evoked response depends on each parameter, one at a time and all together.

Every measure is relative: a parameter is scaled by a factor of its reference value, and changes of
the response are compared with its root mean square over the epoch. A sensitivity of 0.2 says that
1 % of change in the parameter changes the response by 0.2 %.
"""

import numpy as np
import pandas as pd

from jrlib.parameters import CLASSIC, PARAMETER_NAMES, TYPICAL, check_theta
from jrlib.protocol import simulate_erp

FACTORS = tuple(np.linspace(0.5, 1.5, 41).tolist())
STEP = 1e-3  # of a factor, in the central differences


def rms(response):
    """Root mean square over the last axis (time)."""
    return np.sqrt(np.mean(np.square(response), axis=-1))


def responses(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None):
    """Evoked responses with one parameter at a time multiplied by each factor, (9, m, n_times), mV.

    factors: (m,). theta: (9,), the reference.
    """
    theta = _reference(theta)
    factors = np.asarray(factors, dtype=float)
    grid = np.tile(theta, (len(theta), len(factors), 1))
    for k in range(len(theta)):
        grid[k, :, k] *= factors
    erp = simulate_erp(grid.reshape(-1, len(theta)), protocol, convention)
    return erp.reshape(*grid.shape[:2], -1)


def gradients(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Derivatives of `responses` by the factor, (9, m, n_times), mV.

    Central differences of fourth order: (8 (f(+h) - f(-h)) - (f(+2h) - f(-2h))) / (12 h), h = step.
    """
    if not 0.0 < step < 0.1:
        raise ValueError(f"step: got {step}, expected a fraction between 0 and 0.1")
    factors = np.asarray(factors, dtype=float)
    if factors.ndim != 1 or not (np.isfinite(factors).all() and (factors > 2.0 * step).all()):
        raise ValueError(f"factors: got {factors}, expected numbers (m,) above {2.0 * step}")
    shifts = step * np.array([-2.0, -1.0, 1.0, 2.0])
    weights = np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step)
    shifted = responses(np.add.outer(factors, shifts).ravel(), theta, convention, protocol)
    shifted = shifted.reshape(len(PARAMETER_NAMES), len(factors), len(shifts), -1)
    return np.einsum("kfst,s->kft", shifted, weights)


def profiles(factors=FACTORS, theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """What becomes of the evoked response when one parameter at a time is multiplied by a factor.

    Returns a DataFrame with a row per parameter and factor, and the columns
    amplitude : maximum - minimum of the response over the epoch, mV
    error : rms(response - reference response) / rms(reference response)
    gradient : rms(d response / d factor) / rms(reference response)
    """
    reference = simulate_erp(_reference(theta), protocol, convention)
    gradient = gradients(factors, theta, convention, protocol, step=step)
    response = responses(factors, theta, convention, protocol)
    columns = {
        "amplitude": np.ptp(response, axis=-1),
        "error": rms(response - reference) / rms(reference),
        "gradient": rms(gradient) / rms(reference),
    }
    return pd.DataFrame(
        {
            "parameter": np.repeat(PARAMETER_NAMES, len(factors)),
            "factor": np.tile(factors, len(PARAMETER_NAMES)),
            **{name: values.ravel() for name, values in columns.items()},
        }
    )


def jacobian(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Derivatives of the response by the logarithm of each parameter, (n_times, 9), no unit.

    Divided by the rms of the response, so that the rms of column k is the relative sensitivity to
    parameter k. In logarithms the derivatives by a_1..a_4 are also those by C a_1..C a_4, and the
    derivative by C is their sum.
    """
    reference = simulate_erp(_reference(theta), protocol, convention)
    return gradients([1.0], theta, convention, protocol, step=step)[:, 0].T / rms(reference)


def relative_sensitivity(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """Local sensitivity to each of the nine parameters, with a check of the step.

    Returns a DataFrame with the columns
    parameter
    sensitivity : rms(d response / d ln parameter) / rms(response)
    step_error : by which fraction it moves when the step is halved
    """
    sensitivity, finer = (
        rms(jacobian(theta, convention, protocol, step=h).T) for h in (step, step / 2.0)
    )
    return pd.DataFrame(
        {
            "parameter": PARAMETER_NAMES,
            "sensitivity": sensitivity,
            "step_error": np.abs(finer / sensitivity - 1.0),
        }
    )


def spectrum(theta=TYPICAL, convention=CLASSIC, protocol=None, *, step=STEP):
    """The directions of relative change, from the most to the least visible in the response.

    Singular values of `jacobian`, falling, over the root of n_times, (9,), and the right singular
    vectors as rows, (9, 9). Along row k, a unit vector of nine logarithmic changes, the response
    changes by value k of its rms per unit. White noise of standard deviation s per sample leaves
    a standard error of s / (rms(response) sqrt(n_times) value k) along it (Cramer-Rao, locally).
    The last direction raises a_1..a_4 and lowers C: exactly invisible, its value is rounding.
    """
    derivative = jacobian(theta, convention, protocol, step=step)
    _, values, directions = np.linalg.svd(derivative, full_matrices=False)
    return values / np.sqrt(len(derivative)), directions


def _reference(theta):
    theta = check_theta(theta)
    if len(theta) != 1:
        raise ValueError(f"theta: got {len(theta)} rows, expected one reference (9,)")
    return theta[0]
