"""The compiled integrator: many simulations advance in lock step, one in each SIMD lane.

A Runge-Kutta step costs little but its 12 logistic functions, so everything here is arranged such
that LLVM turns the loop over the lanes into straight packed code. What that takes, and how many
times slower rk4 is without it (float64, one core with AVX-512 of which LLVM uses 256 bits):

- `forceinline` on all that runs in a lane, as a call ends vectorisation: 4 times.
- `error_model="numpy"`, as a test for division by zero ends it too: 4 times.
- A logistic function of our own, as libm's exponential is scalar (5 times), with the exponential
  in a form that shares the logistic function's division (1.3 times). See `_logistic`.
- A loop over the lanes for every stage of a step, not one for the whole step: a stage must wait for
  the one before, and then other lanes fill the time (1.15 times).
- fastmath `contract`, which makes a * b + c one instruction: 1.3 times. No more than that:
  `reassoc` would undo the rounding in `_logistic`; `nnan` and `ninf` gain nothing and leave what a
  diverging lane does undefined.
- One flat array [quantity * lanes + lane], allocated in the same function and of a length that
  the type fixes. So LLVM can prove that no quantities overlap; for separate arrays it makes a test
  at run time and a second, scalar loop. More than 16 and 32 lanes gain nothing.
- Products of parameters are folded beforehand (`fold`): one multiply-add each in the loop.
- Arrays other than the lanes are passed to nothing that runs in every step without need: counting
  references costs as much as a logistic function (1.2 times, see `changes`; and noise twice as
  much).
- No literals in the lanes: 0.5 is a float64, and turns float32 into it (2 times). Constants come
  in as arguments of the right type.

Lanes never touch each other and all run the same instructions, the padding of the last block too:
a simulation gives the same bits in any batch, at any place in it and on any number of threads.
"""

from math import factorial

import llvmlite.ir
import numba
import numpy as np
from numba.extending import intrinsic, overload

OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "fastmath": {"contract"}}
_compile = numba.njit(**OPTIONS)
_inline = numba.njit(forceinline=True, **OPTIONS)

LANES = {np.dtype(np.float64): 16, np.dtype(np.float32): 32}
# Rows of the lanes' array, each as long as there are lanes. Where a name stands for three rows, one
# for each of y_0..y_2, it is that of the first.
POTENTIAL, VELOCITY, DRIVE = 0, 3, 6  # 3 rows each: the state, and the drive times its gain
# For averages: the sample y_1 - y_2, its largest change since the last trial, and whether the
# simulation has not settled yet.
SAMPLE, CHANGE, ACTIVE = 9, 10, 11
# The 14 folded parameters, in the order of `fold`: the scales (3 rows) and the shift of what the
# logistic functions are taken of, the amplitudes (3 rows), 2 b and b^2 of the excitatory and of the
# inhibitory synapses, and the drive's gains (3 rows).
FOLDED, SCALE, SHIFT, AMPLITUDE, GAIN = 12, 12, 15, 16, 23
DAMPING_E, STIFFNESS_E, DAMPING_I, STIFFNESS_I = 19, 20, 21, 22
V_A, V_B, A_A, A_B = 26, 29, 32, 35  # 3 rows each, between the stages of a step
QUIET, NORMALS = 38, 39  # the second drive without its noise, and the normals of 4 steps
ROWS = 43


def fold(theta, convention):
    """The constants that the equations need, (n, 14) from theta (n, 9), in the rows from `FOLDED`.

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


def _exponential(dtype, limit, mantissa, p, q):
    """The constants of `_logistic` in one type: limit, magic, p, q."""
    return dtype(limit), dtype(1.5 * 2.0**mantissa), tuple(map(dtype, p)), tuple(map(dtype, q))


# 2^f = (p + f q) / (p - f q) with p and q polynomials in f^2: f q / p is the odd function
# tanh(f log(2) / 2). That takes half the terms of a polynomial for 2^f, and no further division as
# the logistic function divides anyway. Minimax coefficients for |f| <= 1/2 (Remez): the relative
# error of 2^f is below 1e-18 and 1e-10, so that only rounding is left.
# The limits keep a silent population's rate, which is 0 to rounding, and what follows from it away
# from subnormal numbers: those cost 100 times as much.
EXPONENTIAL = {
    np.dtype(np.float64): _exponential(
        np.float64,
        64.0,
        52,
        (1.0, 0.053382077028987158, 0.00022892663604861853),
        (0.34657359027997265, 0.0046247909263334805, 5.2866824282069477e-06),
    ),
    np.dtype(np.float32): _exponential(
        np.float32,
        32.0,
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
    """Sum of coefficients[k] z^k, by Horner's rule."""
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


@_inline
def _acceleration(y, v, u, folded, exponential):
    """Second derivatives of y_0..y_2 from y, their first derivatives v and the drive u."""
    scale, shift, amplitude, excitatory, inhibitory = folded
    s0 = _logistic(shift + scale[0] * (y[1] - y[2]), exponential)
    s1 = _logistic(shift + scale[1] * y[0], exponential)
    s2 = _logistic(shift + scale[2] * y[0], exponential)
    damping_e, stiffness_e = excitatory
    damping_i, stiffness_i = inhibitory
    # In these brackets the linear part need not wait for the logistic functions (1.1 times).
    return (
        amplitude[0] * s0 + (u[0] - damping_e * v[0] - stiffness_e * y[0]),
        amplitude[1] * s1 + (u[1] - damping_e * v[1] - stiffness_e * y[1]),
        amplitude[2] * s2 + (u[2] - damping_i * v[2] - stiffness_i * y[2]),
    )


@_inline
def _add(a, b):
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@_inline
def _move(a, h, b):
    return a[0] + h * b[0], a[1] + h * b[1], a[2] + h * b[2]


@_inline
def _get(lanes, n, row, j):
    return lanes[row * n + j], lanes[(row + 1) * n + j], lanes[(row + 2) * n + j]


@_inline
def _put(lanes, n, row, j, a):
    lanes[row * n + j], lanes[(row + 1) * n + j], lanes[(row + 2) * n + j] = a


@_inline
def _read(lanes, n, j):
    """State, its derivative, drive and folded parameters of lane j, for `_acceleration`."""
    y, v = _get(lanes, n, POTENTIAL, j), _get(lanes, n, VELOCITY, j)
    folded = (
        _get(lanes, n, SCALE, j),
        lanes[SHIFT * n + j],
        _get(lanes, n, AMPLITUDE, j),
        (lanes[DAMPING_E * n + j], lanes[STIFFNESS_E * n + j]),
        (lanes[DAMPING_I * n + j], lanes[STIFFNESS_I * n + j]),
    )
    return y, v, _get(lanes, n, DRIVE, j), folded


@_inline
def _advance(lanes, n, order, steps, exponential):
    """One step of all n lanes: Euler's, Heun's or the classical Runge-Kutta method.

    The sums are written for y'' = a(y, y'), with v = y'. steps: h, h / 2, h / 6.
    """
    h, half, sixth = steps
    if order == 1:
        for j in range(n):
            y, v, u, folded = _read(lanes, n, j)
            _put(lanes, n, POTENTIAL, j, _move(y, h, v))
            _put(lanes, n, VELOCITY, j, _move(v, h, _acceleration(y, v, u, folded, exponential)))
        return
    for j in range(n):
        y, v, u, folded = _read(lanes, n, j)
        a1 = _acceleration(y, v, u, folded, exponential)
        _put(lanes, n, A_A, j, a1)
        _put(lanes, n, V_A, j, _move(v, h if order == 2 else half, a1))
    if order == 2:
        for j in range(n):
            y, v, u, folded = _read(lanes, n, j)
            a1, v2 = _get(lanes, n, A_A, j), _get(lanes, n, V_A, j)
            a2 = _acceleration(_move(y, h, v), v2, u, folded, exponential)
            _put(lanes, n, POTENTIAL, j, _move(y, half, _add(v, v2)))
            _put(lanes, n, VELOCITY, j, _move(v, half, _add(a1, a2)))
        return
    for j in range(n):
        y, v, u, folded = _read(lanes, n, j)
        v2 = _get(lanes, n, V_A, j)
        a2 = _acceleration(_move(y, half, v), v2, u, folded, exponential)
        _put(lanes, n, A_B, j, a2)
        _put(lanes, n, V_B, j, _move(v, half, a2))
    for j in range(n):
        y, v, u, folded = _read(lanes, n, j)
        a2, v2, v3 = _get(lanes, n, A_B, j), _get(lanes, n, V_A, j), _get(lanes, n, V_B, j)
        a3 = _acceleration(_move(y, half, v2), v3, u, folded, exponential)
        _put(lanes, n, A_B, j, _add(a2, a3))
        _put(lanes, n, V_A, j, _move(v, h, a3))
    for j in range(n):
        y, v, u, folded = _read(lanes, n, j)
        a1, inner = _get(lanes, n, A_A, j), _get(lanes, n, A_B, j)
        v3, v4 = _get(lanes, n, V_B, j), _get(lanes, n, V_A, j)
        a4 = _acceleration(_move(y, h, v3), v4, u, folded, exponential)
        mean = _move(v, sixth, _add(a1, inner))  # (v + 2 v2 + 2 v3 + v4) / 6
        _put(lanes, n, POTENTIAL, j, _move(y, h, mean))
        _put(lanes, n, VELOCITY, j, _move(mean, sixth, _add(inner, a4)))


STEPS = 4  # steps per call of Philox: four words, four normals

# Words of 32 bits, which Philox keeps in 64: then a product has its high and low word.
_LOW, _32 = np.uint64(0xFFFFFFFF), np.uint64(32)
_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_SIGN, _SWAP = np.uint32(1 << 31), np.uint32(1 << 30)
_ONE, _TWO = np.uint32(1), np.uint32(2)


def _gaussian(dtype, n_terms):
    """The constants of `_normal_pair` in one type.

    Taylor series in z^2 of 2 atanh(z), sin(pi z / 4) and cos(pi z / 4) for |z| <= 1 (for atanh, in
    its place, 0.18); then log(2), 1 / 2, 1, 2 and 2^-31.
    """
    quarter = np.pi / 4.0
    series = (
        [2.0 / (2 * k + 1) for k in range(n_terms)],
        [(-1.0) ** k * quarter ** (2 * k + 1) / factorial(2 * k + 1) for k in range(n_terms)],
        [(-1.0) ** k * quarter ** (2 * k) / factorial(2 * k) for k in range(n_terms)],
    )
    numbers = (np.log(2.0), 0.5, 1.0, 2.0, 2.0**-31)
    return *(tuple(map(dtype, terms)) for terms in series), *map(dtype, numbers)


# To 1e-11 and 1e-8.
GAUSSIAN = {
    np.dtype(np.float64): _gaussian(np.float64, 7),
    np.dtype(np.float32): _gaussian(np.float32, 5),
}


@intrinsic
def _as(typing_context, like, word):
    """A word of 32 bits, read as a signed number, in the type of `like`."""

    def generate(context, builder, signature, arguments):
        return builder.sitofp(arguments[1], arguments[0].type)

    return like(like, word), generate


@intrinsic
def _split(typing_context, x):
    """The (n, m) of x = 2^n m with m from sqrt(1/2) to sqrt(2), for a positive x."""
    width, shift = x.bitwidth, 52 if x.bitwidth == 64 else 23
    root = np.sqrt(0.5).astype(f"f{width // 8}").view(f"i{width // 8}")

    def generate(context, builder, signature, arguments):
        bits, word = llvmlite.ir.IntType(width), llvmlite.ir.IntType(32)
        (value,) = arguments
        above = builder.sub(builder.bitcast(value, bits), bits(int(root)))
        n = builder.ashr(above, bits(shift))
        n = builder.trunc(n, word) if width == 64 else n  # as AVX2 converts words alone
        m = builder.add(builder.and_(above, bits((1 << shift) - 1)), bits(int(root)))
        parts = builder.sitofp(n, value.type), builder.bitcast(m, value.type)
        return context.make_tuple(builder, signature.return_type, parts)

    return numba.types.UniTuple(x, 2)(x), generate


@_inline
def _philox(c0, c1, c2, c3, k0, k1):
    """Philox4x32-10: four random words from a counter of four words and a key of two, as uint64."""
    for _ in range(10):
        high, low = c0 * _M0, c2 * _M1
        c0, c1, c2, c3 = (low >> _32) ^ c1 ^ k0, low & _LOW, (high >> _32) ^ c3 ^ k1, high & _LOW
        k0, k1 = (k0 + _W0) & _LOW, (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@_inline
def _normal_pair(radial, angular, gaussian):
    """Two independent normals from two words: a point on a circle, sqrt(-2 log u) away from 0."""
    atanh, sine, cosine, log_2, half, one, two, tiny = gaussian
    u = (_as(half, np.int32(radial >> _ONE)) + half) * tiny
    n, m = _split(u)
    t = (m - one) / (m + one)  # log m = 2 atanh(t)
    radius = np.sqrt(-two * (n * log_2 + t * _polynomial(atanh, t * t)))
    # 30 bits give an angle between +-pi / 4, the other two which of the four axes it is seen from.
    z = _as(half, np.int32(angular << _TWO)) * tiny
    y = z * _polynomial(sine, z * z)
    x = _polynomial(cosine, z * z)
    x = x if angular & _SIGN else -x
    first, second = (x, y) if angular & _SWAP else (y, x)
    return radius * first, radius * second


@_inline
def _fill_normals(lanes, streams, words, n, step, seed, gaussian):
    """Put the normals of steps step..step + 3 (step a multiple of 4) into the lanes."""
    seed, counter = np.uint64(seed), np.uint64(step // STEPS)
    for j in range(n):
        stream = np.uint64(streams[j])
        words[j], words[n + j], words[2 * n + j], words[3 * n + j] = _philox(
            counter & _LOW,
            counter >> _32,
            stream & _LOW,
            stream >> _32,
            seed & _LOW,
            seed >> _32,
        )
    # A loop of its own, as 64 bits in it would halve the lanes of float32.
    for k in (0, 2):
        for j in range(k * n, (k + 1) * n):
            pair = _normal_pair(words[j], words[n + j], gaussian)
            lanes[NORMALS * n + j], lanes[(NORMALS + 1) * n + j] = pair


def _lane_count(array):
    raise NotImplementedError("compiled code only")


@overload(_lane_count, jit_options=OPTIONS | {"forceinline": True}, inline="always")
def _lane_count_of_the_type(array):
    count = LANES[np.dtype(array.dtype.name)]
    return lambda array: count


@_inline
def _load(lanes, streams, n, first, initial, folded, rows):
    """Fill the lanes with the simulations from `first` on; the last one pads the last block."""
    for j in range(n):
        i = min(first + j, len(folded) - 1)
        streams[j] = rows[i]
        for k in range(6):
            lanes[k * n + j] = initial[min(i, len(initial) - 1), k]
        for k in range(folded.shape[1]):
            lanes[(FOLDED + k) * n + j] = folded[i, k]


@_inline
def _set_drive(lanes, n, first, drive, step):
    """Put the drive of a step into the lanes, times its gain."""
    for j in range(n):
        i = min(first + j, len(drive) - 1)
        for k in range(3):
            lanes[(DRIVE + k) * n + j] = drive[i, step, k] * lanes[(GAIN + k) * n + j]
        lanes[QUIET * n + j] = lanes[(DRIVE + 1) * n + j]


@_inline
def _add_noise(lanes, n, step, noise):
    """Put the second column of the drive with the noise of a step into the lanes."""
    normals = NORMALS + step % STEPS
    for j in range(n):
        kick = noise * lanes[normals * n + j] * lanes[(GAIN + 1) * n + j]
        lanes[(DRIVE + 1) * n + j] = lanes[QUIET * n + j] + kick


@_inline
def _set_sample(lanes, n):
    for j in range(n):
        lanes[SAMPLE * n + j] = lanes[(POTENTIAL + 1) * n + j] - lanes[(POTENTIAL + 2) * n + j]


@_compile
def integrate(
    start, stop, folded, rows, initial, drive, changes, noise, seed, solver, save_every, out
):
    """Simulate start..stop - 1 and save every save_every-th state.

    folded (n, 14), initial (1 or n, 6), drive (1 or n, n_steps, 3), noise and out
    (n, n_saved, 1 or 6) are of one type; rows (n,) are the streams of the noise.
    changes (n_steps,): False where the drive is still that of the step before (1.2 times).
    solver: order of the method, (h, h / 2, h / 6), `EXPONENTIAL` and `GAUSSIAN` of the type.
    """
    order, steps, exponential, gaussian = solver
    n = _lane_count(out)
    lanes, streams = np.empty(ROWS * n, out.dtype), np.empty(n, np.int64)
    words = np.empty(STEPS * n, np.uint32)
    for first in range(start, stop, n):
        _load(lanes, streams, n, first, initial, folded, rows)
        saved = 0
        for step in range(drive.shape[1]):
            if changes[step]:
                _set_drive(lanes, n, first, drive, step)
            if noise > 0:
                if step % STEPS == 0:
                    _fill_normals(lanes, streams, words, n, step, seed, gaussian)
                _add_noise(lanes, n, step, noise)
            if step == saved * save_every:
                if out.shape[2] == 1:
                    _set_sample(lanes, n)
                    for j in range(min(n, stop - first)):
                        out[first + j, saved, 0] = lanes[SAMPLE * n + j]
                else:
                    for j in range(min(n, stop - first)):
                        for k in range(6):
                            out[first + j, saved, k] = lanes[k * n + j]
                saved += 1
            _advance(lanes, n, order, steps, exponential)


@_inline
def _keep(lanes, n, i, epoch, total):
    """Put sample i into the epoch and its sum, and note how far it moved since the last trial."""
    for j in range(n):
        sample, change = lanes[SAMPLE * n + j], lanes[CHANGE * n + j]
        moved = abs(sample - epoch[i * n + j])
        lanes[CHANGE * n + j] = moved if moved > change else change
        epoch[i * n + j] = sample
        total[i * n + j] += sample if lanes[ACTIVE * n + j] > 0 else lanes[ACTIVE * n + j]


@_inline
def _settle(lanes, n, n_left, tolerance, epoch, total):
    """Let the last epoch of lanes that have settled stand for those left; how many have not."""
    n_active = 0
    for j in range(n):
        low = high = epoch[j]
        for i in range(1, len(epoch) // n):
            low, high = min(low, epoch[i * n + j]), max(high, epoch[i * n + j])
        if lanes[ACTIVE * n + j] > 0:
            if lanes[CHANGE * n + j] > tolerance * (high - low):
                n_active += 1
            else:  # NaN is done as well
                lanes[ACTIVE * n + j] = 0
                for i in range(len(epoch) // n):
                    total[i * n + j] += n_left * epoch[i * n + j]
    return n_active


@_inline
def _reduce(lanes, n, n_trials, baseline_start, baseline_stop, total):
    """Turn the sum of epochs into the average without its baseline; all NaN where the end is."""
    last = len(total) - n
    for j in range(n):
        baseline = total[last + j] - total[last + j]
        for i in range(baseline_start, baseline_stop):
            baseline += total[i * n + j]
        baseline /= baseline_stop - baseline_start
        for i in range(len(total) // n):
            total[i * n + j] = (total[i * n + j] - baseline) / n_trials


@_compile
def average(
    start, stop, folded, rows, drive, changes, noise, seed, solver, train, linear, out, settled
):
    """Evoked responses: simulate a train of pulses and keep nothing but the average epoch.

    Simulates start..stop - 1 of folded (n, 14) from the zero state and writes to out[rows[i]].
    train: first step of the first epoch, steps from pulse to pulse, steps of an epoch, number of
        trials, most trials to simulate, and the tolerance below
    linear: what is done to the average: first and last + 1 step of the baseline, and the rows of
        a matrix that makes the samples of `out`, as their first column and their entries in a band
    settled (n,): False where a simulation was given up after the most trials. It has settled when
        all trials are simulated, or none of its samples moved from one trial to the next by more
        than the tolerance times the range; then the last trial stands for all that would follow.
    """
    order, steps, exponential, gaussian = solver
    onset, period, n_times, n_trials, most, tolerance = train
    baseline_start, baseline_stop, band_start, band = linear
    n = _lane_count(folded)
    lanes, streams = np.empty(ROWS * n, folded.dtype), np.empty(n, np.int64)
    words = np.empty(STEPS * n, np.uint32)
    initial = np.zeros((1, 6), folded.dtype)
    epoch, total = np.empty(n_times * n, folded.dtype), np.empty(n_times * n, folded.dtype)
    for first in range(start, stop, n):
        _load(lanes, streams, n, first, initial, folded, rows)
        total[:] = 0
        lanes[ACTIVE * n : (ACTIVE + 1) * n] = 1
        step, n_active = 0, n
        for trial in range(most):
            lanes[CHANGE * n : (CHANGE + 1) * n] = 0
            for i in range(n_times):
                # Where epochs overlap, this one's samples are in the one before.
                known = trial > 0 and i + period < n_times
                while not known and step < onset + trial * period + i:
                    if changes[step]:
                        _set_drive(lanes, n, first, drive, step)
                    if noise > 0:
                        if step % STEPS == 0:
                            _fill_normals(lanes, streams, words, n, step, seed, gaussian)
                        _add_noise(lanes, n, step, noise)
                    _advance(lanes, n, order, steps, exponential)
                    step += 1
                if known:
                    for j in range(n):
                        lanes[SAMPLE * n + j] = epoch[(i + period) * n + j]
                else:
                    _set_sample(lanes, n)
                _keep(lanes, n, i, epoch, total)
            if trial > 0:
                n_active = _settle(lanes, n, n_trials - trial - 1, tolerance, epoch, total)
            if n_active == 0:
                break
        _reduce(lanes, n, n_trials, baseline_start, baseline_stop, total)
        for j in range(min(n, stop - first)):
            settled[first + j] = most == n_trials or not lanes[ACTIVE * n + j] > 0
            for k in range(len(band) if settled[first + j] else 0):
                value = band[k, 0] * total[band_start[k] * n + j]
                for i in range(1, band.shape[1]):
                    value += band[k, i] * total[(band_start[k] + i) * n + j]
                out[rows[first + j], k] = value
