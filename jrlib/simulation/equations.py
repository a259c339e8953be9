r"""The Jansen-Rit equations in plain NumPy.

State y_0..y_5: the postsynaptic potential of each block (mV) and its derivative (mV/s),

    y_0' = y_3    y_3' = A_e b_e (u_0 + S(y_1 - y_2))        - 2 b_e y_3 - b_e^2 y_0
    y_1' = y_4    y_4' = A_e b_e (u_1 + C a_2 S(C a_1 y_0))  - 2 b_e y_4 - b_e^2 y_1
    y_2' = y_5    y_5' = A_i b_i (u_2 + C a_4 S(C a_3 y_0))  - 2 b_i y_5 - b_i^2 y_2

with S(v) = v_max / (1 + exp(r (v_0 - v))) (Jansen & Rit 1995, with the inputs u_0 and u_2 that the
public code of Tilwani & O'Reilly adds). The EEG source is y_1 - y_2.
"""

import numpy as np

from jrlib.parameters import CLASSIC, TYPICAL, check_theta, get_convention

STATE_NAMES = ("y_0", "y_1", "y_2", "y_3", "y_4", "y_5")


def sigmoid(v, convention=CLASSIC):
    """Firing rate (1/s) of a population at mean potential v (mV), any shape."""
    convention = get_convention(convention)
    with np.errstate(over="ignore"):  # far below v_0 the exponential overflows: the rate is 0
        return convention.v_max / (1.0 + np.exp(convention.r * (convention.v_0 - np.asarray(v))))


def right_hand_side(state, theta, drive, convention=CLASSIC):
    """Time derivative of the state: (..., 6) from state (..., 6), theta (..., 9), drive (..., 3).

    Plain NumPy, complex input included: the readable reference for the compiled integrators.
    """
    y0, y1, y2, y3, y4, y5 = np.moveaxis(np.asarray(state), -1, 0)
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = np.moveaxis(np.asarray(theta), -1, 0)
    u0, u1, u2 = np.moveaxis(np.asarray(drive), -1, 0)
    rate0 = u0 + sigmoid(y1 - y2, convention)
    rate1 = u1 + C * a_2 * sigmoid(C * a_1 * y0, convention)
    rate2 = u2 + C * a_4 * sigmoid(C * a_3 * y0, convention)
    return np.stack(
        [
            y3,
            y4,
            y5,
            A_e * b_e * rate0 - 2.0 * b_e * y3 - b_e**2 * y0,
            A_e * b_e * rate1 - 2.0 * b_e * y4 - b_e**2 * y1,
            A_i * b_i * rate2 - 2.0 * b_i * y5 - b_i**2 * y2,
        ],
        axis=-1,
    )


def _column(theta):
    theta = check_theta(theta)
    if len(theta) != 1:
        raise ValueError(f"theta: got {len(theta)} rows, expected one column's parameters (9,)")
    return theta[0]


def jacobian(state, theta=TYPICAL, convention=CLASSIC):
    """Derivative of the right-hand side by the state, (..., 6) -> (..., 6, 6).

    Uses S'(v) = r S(v) (1 - S(v) / v_max).
    """
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = _column(theta)
    convention = get_convention(convention)
    y0, y1, y2 = np.moveaxis(np.asarray(state, dtype=float)[..., :3], -1, 0)

    def slope(v):
        rate = sigmoid(v, convention)
        return convention.r * rate * (1.0 - rate / convention.v_max)

    matrix = np.zeros((*y0.shape, 6, 6))
    for k, b in enumerate((b_e, b_e, b_i)):
        matrix[..., k, 3 + k] = 1.0
        matrix[..., 3 + k, k] = -(b**2)
        matrix[..., 3 + k, 3 + k] = -2.0 * b
    matrix[..., 3, 1] = A_e * b_e * slope(y1 - y2)
    matrix[..., 3, 2] = -matrix[..., 3, 1]
    matrix[..., 4, 0] = A_e * b_e * C * a_2 * C * a_1 * slope(C * a_1 * y0)
    matrix[..., 5, 0] = A_i * b_i * C * a_4 * C * a_3 * slope(C * a_3 * y0)
    return matrix
