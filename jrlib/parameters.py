"""The parameters of the Jansen-Rit model: Table 1 and the three conventions.

A parameter vector theta has nine entries, always in the order of `PARAMETER_NAMES`, in mV and 1/s.
Everything else in jrlib reads names, order, units and ranges from here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Parameter:
    """One row of Table 1. `symbol` is LaTeX without the dollar signs."""

    name: str
    symbol: str
    meaning: str
    typical: float
    low: float
    high: float
    unit: str


# Tilwani & O'Reilly (arXiv:2406.05002), Table 1; typical values after Jansen & Rit (1995).
PARAMETERS = (
    Parameter("A_e", "A_e", "average excitatory synaptic gain", 3.25, 2.6, 9.75, "mV"),
    Parameter("A_i", "A_i", "average inhibitory synaptic gain", 22.0, 17.6, 110.0, "mV"),
    Parameter("b_e", "b_e", "inverse time constant of excitatory PSPs", 100.0, 50.0, 150.0, "1/s"),
    Parameter("b_i", "b_i", "inverse time constant of inhibitory PSPs", 50.0, 25.0, 75.0, "1/s"),
    Parameter("a_1", "a_1", "contacts of the feedback excitatory loop", 1.0, 0.5, 1.5, ""),
    Parameter("a_2", "a_2", "contacts of the slow feedback excitatory loop", 0.8, 0.4, 1.2, ""),
    Parameter("a_3", "a_3", "contacts of the feedback inhibitory loop", 0.25, 0.125, 0.375, ""),
    Parameter(
        "a_4", "a_4", "contacts of the slow feedback inhibitory loop", 0.25, 0.125, 0.375, ""
    ),
    Parameter("C", "C", "average number of synapses between populations", 135.0, 65.0, 1350.0, ""),
)
PARAMETER_NAMES = tuple(parameter.name for parameter in PARAMETERS)
TYPICAL = np.array([parameter.typical for parameter in PARAMETERS])
RANGES = np.array([(parameter.low, parameter.high) for parameter in PARAMETERS])
TYPICAL.flags.writeable = RANGES.flags.writeable = False

# Only the products C a_k enter the equations: these eight numbers are all that data can speak of.
IDENTIFIABLE_NAMES = ("A_e", "A_i", "b_e", "b_i", "C a_1", "C a_2", "C a_3", "C a_4")
# What estimates are scored for: the nine parameters and the four products.
QUANTITY_NAMES = PARAMETER_NAMES + IDENTIFIABLE_NAMES[4:]


@dataclass(frozen=True)
class Convention:
    """The sigmoid's constants: S(v) = v_max / (1 + exp(r (v_0 - v))), v in mV.

    v_max: maximum firing rate, 1/s; v_0: potential at half of it, mV; r: slope, 1/mV.
    """

    name: str
    v_max: float
    v_0: float
    r: float


#: What the public code computes: volts throughout, but a slope that the literature gives per mV.
RELEASED = Convention("RELEASED", v_max=0.05, v_0=6.0, r=0.56e-3)
#: Table 1 of the study taken at its word.
TABULATED = Convention("TABULATED", v_max=50.0, v_0=6.0, r=0.56)
#: Jansen & Rit (1995): v_max = 2 e_0 = 5/s.
CLASSIC = Convention("CLASSIC", v_max=5.0, v_0=6.0, r=0.56)
CONVENTIONS = {convention.name: convention for convention in (RELEASED, TABULATED, CLASSIC)}


def get_convention(convention):
    """Return the `Convention` meant by a name or a `Convention`; ValueError for anything else."""
    if isinstance(convention, Convention):
        return convention
    if convention not in CONVENTIONS:
        raise ValueError(
            f"convention: got {convention!r}, expected a jrlib.Convention or one of "
            f"{', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[convention]


def check_theta(theta):
    """Return theta as a C-contiguous float64 array (n, 9), itself where it is one.

    theta: (9,) or (n, 9). Raises ValueError on another shape, on an empty batch, and on a NaN or
    an infinity, naming the parameter and the row. Negative values pass: the study's untruncated
    prior draws a few.
    """
    theta = np.array(theta, dtype=np.float64, order="C", ndmin=2, copy=None)
    if theta.ndim != 2 or theta.shape[1] != len(PARAMETERS):
        raise ValueError(
            f"theta: got shape {theta.shape}, expected (n, {len(PARAMETERS)}) with the columns "
            f"{', '.join(PARAMETER_NAMES)}"
        )
    if not len(theta):
        raise ValueError("theta: got an empty batch, expected at least one row")
    finite = np.isfinite(theta)
    if not finite.all():
        bad = np.argwhere(~finite)
        row, column = bad[0]
        raise ValueError(
            f"theta: {PARAMETER_NAMES[column]} is {theta[row, column]} in row {row}; every "
            f"parameter must be finite ({len(bad)} such values in all)"
        )
    return theta


def identifiable(theta):
    """Map theta (n, 9) to the combinations that enter the equations, IDENTIFIABLE_NAMES (n, 8)."""
    theta = check_theta(theta)
    return np.hstack([theta[:, :4], theta[:, 4:8] * theta[:, 8:]])


def quantities(theta):
    """Append the products C a_1..C a_4 to theta (n, 9): QUANTITY_NAMES, (n, 13)."""
    theta = check_theta(theta)
    return np.hstack([theta, theta[:, 4:8] * theta[:, 8:]])


def table():
    """Table 1 as a DataFrame: symbol (LaTeX), meaning, typical value, range, unit; a row each."""
    return pd.DataFrame([vars(parameter) for parameter in PARAMETERS]).set_index("name")
