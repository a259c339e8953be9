r"""The compiled integrator: many simulations advance in lock step, one in each SIMD lane.

A Runge-Kutta step costs little but its 12 logistic functions, so everything here is arranged such
that LLVM turns the loop over the lanes into straight packed code. What that takes, with its worth
on an AVX-512 core in float64 (see `make bench`):

- One flat array [quantity * lanes + lane], of constant size and allocated in the same function:
  only then can LLVM prove that no two quantities overlap. With separate arrays it asks at run time,
  and a wrong answer ends in a scalar loop, 5 times slower. 128 bytes of lanes (16 or 32
  simulations): half of that is unrolled instead of vectorised, 4 times slower.
- `forceinline` on all that runs in a lane, as a call ends vectorisation, and
  `error_model="numpy"`, as a test for division by zero does (4 times each).
- A logistic function of our own: libm's exponential is scalar (5 times). See `_logistic`.
- fastmath is `contract` only: a * b + c becomes one instruction (1.3 times). `reassoc` would undo
  the rounding in `_logistic`; `nnan` and `ninf` gain nothing and leave a diverging lane undefined.
- Products of parameters are folded beforehand, `FOLDED`: one multiply-add each in the loop.
- No literals in the lanes: 0.5 is a float64, and turns float32 into it (2 times). Constants come
  in as arguments of the right type.

Lanes never touch each other and all run the same instructions, the padding of the last block too:
a simulation gives the same bits in any batch, at any place in it and on any number of threads.
"""

import llvmlite.ir
import numba
import numpy as np
from numba.extending import intrinsic, overload

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_compile = numba.njit(**_OPTIONS)
_inline = numba.njit(forceinline=True, **_OPTIONS)

LANES = {np.dtype(np.float64): 16, np.dtype(np.float32): 32}
# Rows of the lanes' array: 6 of state, 3 of drive (times its gain), then the folded parameters,
# the last 3 of which are the drive's gains.
STATE, DRIVE, FOLDED, GAIN, ROWS = 0, 6, 9, 20, 23


def fold(theta, convention):
    """The constants that the equations need, (n, 14) from theta (n, 9), for `_acceleration`.

    S(w v) = v_max logistic(shift + scale v) with 1 / (1 + 2^x) as the logistic function.
    """
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = theta.T
    scale = np.full(len(theta), -convention.r / np.log(2.0))
    shift = -scale * convention.v_0
    e, i = A_e * b_e, A_i * b_i
    rate = convention.v_max
    products = (
        (scale, C * a_1 * scale, C * a_3 * scale, shift),
        (e * rate, e * rate * C * a_2, i * rate * C * a_4),
        (2.0 * b_e, b_e**2, 2.0 * b_i, b_i**2),
        (e, e, i),
    )
    return np.stack([product for line in products for product in line], axis=1)


# The logistic function ------------------------------------------------------------------------


def _exponential(dtype, limit, mantissa, p, q):
    """The constants of `_logistic` in one type: limit, magic, p, q."""
    return dtype(limit), dtype(1.5 * 2.0**mantissa), tuple(map(dtype, p)), tuple(map(dtype, q))


# 2^f = (p + f q) / (p - f q) with p and q polynomials in f^2: f q / p is the odd function
# tanh(f log(2) / 2). That takes half the terms of a polynomial for 2^f, and no further division as
# the logistic function divides anyway. Minimax coefficients for |f| <= 1/2 (Remez): the relative
# error of 2^f is below 1e-18 and 1e-10, so that only rounding is left.
# At the limits, 2^-x times any gain is neither 0 nor subnormal; subnormals cost 100 times a normal.
EXPONENTIAL = {
    np.dtype(np.float64): _exponential(
        np.float64,
        500.0,
        52,
        (1.0, 0.053382077028987158, 0.00022892663604861853),
        (0.34657359027997265, 0.0046247909263334805, 5.2866824282069477e-06),
    ),
    np.dtype(np.float32): _exponential(
        np.float32,
        60.0,
        23,
        (1.0, 0.048033222636962767),
        (0.34657358962877108, 0.0027710401121919275),
    ),
}


@intrinsic
def _times_power_of_two(typing_context, value, shifted):
    """value * 2^n, n being in the lowest bits of the mantissa of `shifted`: add n to the exponent.

    On the bits, as NumPy's views are not to be had inside the loop.
    """

    def generate(context, builder, signature, arguments):
        bits = llvmlite.ir.IntType(value.bitwidth)
        value_bits, n = (builder.bitcast(argument, bits) for argument in arguments)
        mantissa = llvmlite.ir.Constant(bits, 52 if value.bitwidth == 64 else 23)
        scaled = builder.add(value_bits, builder.shl(n, mantissa))
        return builder.bitcast(scaled, arguments[0].type)

    return value(value, shifted), generate


@_inline
def _polynomial(coefficients, z):
    total = coefficients[len(coefficients) - 1]
    for i in range(len(coefficients) - 1):
        total = total * z + coefficients[len(coefficients) - 2 - i]
    return total


@_inline
def _logistic(x, exponential):
    """1 / (1 + 2^x); beyond +-limit, where it is 0 or 1 to rounding, its value at the limit."""
    limit, magic, p, q = exponential
    x = limit if limit < x else x  # written so that NaN stays NaN
    x = -limit if -limit > x else x
    shifted = x + magic  # magic is so large that the sum is rounded to a whole number
    f = x - (shifted - magic)
    even = _polynomial(p, f * f)
    odd = f * _polynomial(q, f * f)
    denominator = even - odd
    return denominator / (denominator + _times_power_of_two(even + odd, shifted))


# One step -------------------------------------------------------------------------------------


@_inline
def _acceleration(y, v, u, c, exponential):
    """Second derivatives of y_0..y_2 from y, their first derivatives v and the drive u."""
    s0 = _logistic(c[3] + c[0] * (y[1] - y[2]), exponential)
    s1 = _logistic(c[3] + c[1] * y[0], exponential)
    s2 = _logistic(c[3] + c[2] * y[0], exponential)
    # In these brackets the linear part need not wait for the logistic functions (1.1 times).
    return (
        c[4] * s0 + (u[0] - c[7] * v[0] - c[8] * y[0]),
        c[5] * s1 + (u[1] - c[7] * v[1] - c[8] * y[1]),
        c[6] * s2 + (u[2] - c[9] * v[2] - c[10] * y[2]),
    )


@_inline
def _add(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@_inline
def _move(a, h, b):
    return a[0] + h * b[0], a[1] + h * b[1], a[2] + h * b[2]


@_inline
def _euler(y, v, u, c, steps, exponential):
    h = steps[0]
    return _move(y, h, v), _move(v, h, _acceleration(y, v, u, c, exponential))


@_inline
def _heun(y, v, u, c, steps, exponential):
    h, half, _ = steps
    a1 = _acceleration(y, v, u, c, exponential)
    v2 = _move(v, h, a1)
    a2 = _acceleration(_move(y, h, v), v2, u, c, exponential)
    return _move(y, half, _add(v, v2)), _move(v, half, _add(a1, a2))


@_inline
def _rk4(y, v, u, c, steps, exponential):
    """The classical Runge-Kutta step, with the sums written for y'' = a(y, y')."""
    h, half, sixth = steps
    a1 = _acceleration(y, v, u, c, exponential)
    v2 = _move(v, half, a1)
    a2 = _acceleration(_move(y, half, v), v2, u, c, exponential)
    v3 = _move(v, half, a2)
    a3 = _acceleration(_move(y, half, v2), v3, u, c, exponential)
    a4 = _acceleration(_move(y, h, v3), _move(v, h, a3), u, c, exponential)
    inner = _add(a2, a3)
    mean = _move(v, sixth, _add(a1, inner))  # (v + 2 v2 + 2 v3 + v4) / 6
    return _move(y, h, mean), _move(mean, sixth, _add(inner, a4))


@_inline
def _read(lanes, n, j):
    y = lanes[j], lanes[n + j], lanes[2 * n + j]
    v = lanes[3 * n + j], lanes[4 * n + j], lanes[5 * n + j]
    u = lanes[6 * n + j], lanes[7 * n + j], lanes[8 * n + j]
    c = (
        lanes[9 * n + j],
        lanes[10 * n + j],
        lanes[11 * n + j],
        lanes[12 * n + j],
        lanes[13 * n + j],
        lanes[14 * n + j],
        lanes[15 * n + j],
        lanes[16 * n + j],
        lanes[17 * n + j],
        lanes[18 * n + j],
        lanes[19 * n + j],
    )
    return y, v, u, c


@_inline
def _write(lanes, n, j, y, v):
    lanes[j], lanes[n + j], lanes[2 * n + j] = y
    lanes[3 * n + j], lanes[4 * n + j], lanes[5 * n + j] = v


@_inline
def _advance(lanes, n, order, steps, exponential):
    """One step of all n lanes."""
    if order == 4:
        for j in range(n):
            y, v, u, c = _read(lanes, n, j)
            y, v = _rk4(y, v, u, c, steps, exponential)
            _write(lanes, n, j, y, v)
    elif order == 2:
        for j in range(n):
            y, v, u, c = _read(lanes, n, j)
            y, v = _heun(y, v, u, c, steps, exponential)
            _write(lanes, n, j, y, v)
    else:
        for j in range(n):
            y, v, u, c = _read(lanes, n, j)
            y, v = _euler(y, v, u, c, steps, exponential)
            _write(lanes, n, j, y, v)


# Whole simulations ----------------------------------------------------------------------------


def _lane_count(array):
    raise NotImplementedError("compiled code only")


@overload(_lane_count, jit_options=_OPTIONS | {"forceinline": True}, inline="always")
def _lane_count_of_the_type(array):
    count = LANES[np.dtype(array.dtype.name)]
    return lambda array: count


@_inline
def _load(lanes, n, first, initial, folded):
    """Fill the lanes with the rows from `first` on; the last row pads the last block."""
    for j in range(n):
        row = min(first + j, len(folded) - 1)
        for k in range(6):
            lanes[k * n + j] = initial[row, k]
        for k in range(ROWS - FOLDED):
            lanes[(FOLDED + k) * n + j] = folded[row, k]


@_inline
def _set_drive(lanes, n, first, drive, step):
    """Put the drive of a step into the lanes, unless it is the one of the step before."""
    shared = len(drive) == 1
    changed = not shared or step == 0
    for k in range(3):
        changed = changed or drive[0, step, k] != drive[0, step - 1, k]
    if not changed:
        return
    for j in range(n):
        row = 0 if shared else min(first + j, len(drive) - 1)
        for k in range(3):
            lanes[(DRIVE + k) * n + j] = drive[row, step, k] * lanes[(GAIN + k) * n + j]


@_compile
def integrate(start, stop, folded, initial, drive, order, steps, exponential, save_every, out):
    """Simulate the rows start..stop - 1 and save every save_every-th state.

    folded (n, 14), initial (n, 6), drive (1 or n, n_steps, 3), out (n, n_saved, 1 or 6), all of
    one type. steps: h, h / 2, h / 6.
    """
    n = _lane_count(out)
    lanes = np.empty(ROWS * n, out.dtype)
    for first in range(start, stop, n):
        _load(lanes, n, first, initial, folded)
        for step in range(drive.shape[1]):
            _set_drive(lanes, n, first, drive, step)
            if step % save_every == 0:
                saved = step // save_every
                for j in range(min(n, stop - first)):
                    if out.shape[2] == 1:
                        out[first + j, saved, 0] = lanes[n + j] - lanes[2 * n + j]
                    else:
                        for k in range(6):
                            out[first + j, saved, k] = lanes[k * n + j]
            _advance(lanes, n, order, steps, exponential)
