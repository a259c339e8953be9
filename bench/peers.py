"""The same work by everybody: a batch of Jansen-Rit columns at a constant input.

Each engine is a function that prepares itself for n columns and returns `run(dt)`, which integrates
`DURATION` seconds from the zero state and returns y_1 - y_2 in mV at 1 kHz, (n, 1000). The columns
differ in the number of contacts, C = 110..160, and are typical otherwise (CLASSIC, 120/s). A
constant input, as not all engines know another. What only they do (noise of amplitude 0, networks
without connections) is part of their cost, as one cannot have them without it.
"""

import math
from functools import partial

import numpy as np
from scipy.integrate import solve_ivp

import jrlib
from jrlib.simulation.equations import right_hand_side

DURATION, INPUT, RATE = 1.0, 120.0, 1000.0


def columns(n):
    theta = np.tile(jrlib.TYPICAL, (n, 1))
    theta[:, 8] = np.linspace(110.0, 160.0, n)
    return theta


def reference(n):
    """DOP853 at a relative tolerance of 1e-12."""
    drive = np.array([0.0, INPUT, 0.0])
    rows = [
        solve_ivp(
            lambda t, y, theta=theta: right_hand_side(y, theta, drive),
            (0.0, DURATION),
            np.zeros(6),
            method="DOP853",
            t_eval=np.arange(round(DURATION * RATE)) / RATE,
            rtol=1e-12,
            atol=1e-13,
        ).y
        for theta in columns(n)
    ]
    return np.stack([y[1] - y[2] for y in rows])


def n_steps(dt):
    return round(DURATION / dt)


def every(dt):
    """Steps from one sample at 1 kHz to the next."""
    return max(1, round(1.0 / (RATE * dt)))


def jrlib_engine(n, method, dtype):
    theta = columns(n)

    def run(dt):
        drive = np.tile([0.0, INPUT, 0.0], (n_steps(dt), 1))
        options = {"dt": dt, "method": method, "dtype": dtype, "save_every": every(dt)}
        return jrlib.simulate(theta, drive, threads=1, **options)

    return run


def python_euler(n):
    """A plain loop over numbers with math.exp, as the paper's public code has one."""

    def run(dt):
        rows = []
        for A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C in columns(n):
            y0 = y1 = y2 = y3 = y4 = y5 = 0.0
            row = []
            for step in range(n_steps(dt)):
                if step % every(dt) == 0:
                    row.append(y1 - y2)
                s0 = 5.0 / (1.0 + math.exp(0.56 * (6.0 - (y1 - y2))))
                s1 = C * a_2 * 5.0 / (1.0 + math.exp(0.56 * (6.0 - C * a_1 * y0)))
                s2 = C * a_4 * 5.0 / (1.0 + math.exp(0.56 * (6.0 - C * a_3 * y0)))
                y3_new = y3 + dt * (A_e * b_e * s0 - 2 * b_e * y3 - b_e**2 * y0)
                y4_new = y4 + dt * (A_e * b_e * (INPUT + s1) - 2 * b_e * y4 - b_e**2 * y1)
                y5_new = y5 + dt * (A_i * b_i * s2 - 2 * b_i * y5 - b_i**2 * y2)
                y0, y1, y2 = y0 + dt * y3, y1 + dt * y4, y2 + dt * y5
                y3, y4, y5 = y3_new, y4_new, y5_new
            rows.append(row)
        return np.array(rows)

    return run


def rk4(f, y, dt):
    k1 = f(y)
    k2 = f(y + dt / 2 * k1)
    k3 = f(y + dt / 2 * k2)
    k4 = f(y + dt * k3)
    return y + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def numpy_rk4(n):
    theta, drive = columns(n), np.array([0.0, INPUT, 0.0])
    f = partial(right_hand_side, theta=theta, drive=drive)

    def run(dt):
        y, out = np.zeros((n, 6)), np.empty((n, round(DURATION * RATE)))
        for step in range(n_steps(dt)):
            if step % every(dt) == 0:
                out[:, step // every(dt)] = y[:, 1] - y[:, 2]
            y = rk4(lambda y: f(y), y, dt)
        return out

    return run


def scipy_engine(n, method, rtol):
    """One column after the other, with adaptive steps: dt has no meaning here."""
    theta, drive = columns(n), np.array([0.0, INPUT, 0.0])

    def run(dt):
        options = {"method": method, "rtol": rtol, "atol": rtol}
        options["t_eval"] = np.arange(round(DURATION * RATE)) / RATE
        rows = []
        for row in theta:
            f = partial(right_hand_side, theta=row, drive=drive)
            y = solve_ivp(lambda t, y, f=f: f(y), (0.0, DURATION), np.zeros(6), **options).y
            rows.append(y[1] - y[2])
        return np.array(rows)

    return run


def equations(xp, theta):
    """The right-hand side on columns of an (n, 6) array, for the libraries of tensors."""
    A_e, A_i, b_e, b_i, a_1, a_2, a_3, a_4, C = theta

    def f(y):
        y0, y1, y2, y3, y4, y5 = (y[:, k] for k in range(6))
        s0 = 5.0 / (1.0 + xp.exp(0.56 * (6.0 - (y1 - y2))))
        s1 = INPUT + C * a_2 * 5.0 / (1.0 + xp.exp(0.56 * (6.0 - C * a_1 * y0)))
        s2 = C * a_4 * 5.0 / (1.0 + xp.exp(0.56 * (6.0 - C * a_3 * y0)))
        a0 = A_e * b_e * s0 - 2 * b_e * y3 - b_e**2 * y0
        a1 = A_e * b_e * s1 - 2 * b_e * y4 - b_e**2 * y1
        a2 = A_i * b_i * s2 - 2 * b_i * y5 - b_i**2 * y2
        return xp.stack([y3, y4, y5, a0, a1, a2], 1)

    return f


def jax_equations(n, dtype):
    """JAX, set up for both types, and the right-hand side of n columns in one of them."""
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    return jax, equations(jnp, [jnp.asarray(row, dtype) for row in columns(n).T])


def jax_rk4(n, dtype):
    jax, f = jax_equations(n, dtype)

    @partial(jax.jit, static_argnums=0)
    def integrate(dt):
        def sample(y, _):
            after = jax.lax.fori_loop(0, every(dt), lambda i, y: rk4(f, y, dt), y)
            return after, y[:, 1] - y[:, 2]

        start = jax.numpy.zeros((n, 6), dtype)
        return jax.lax.scan(sample, start, None, round(DURATION * RATE))[1].T

    return lambda dt: np.asarray(integrate(dt))


def diffrax_heun(n, dtype):
    import diffrax

    jax, f = jax_equations(n, dtype)

    @partial(jax.jit, static_argnums=0)
    def integrate(dt):
        times = jax.numpy.arange(round(DURATION * RATE), dtype=dtype) / RATE
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, y, args: f(y)),
            diffrax.Heun(),
            t0=0.0,
            t1=DURATION,
            dt0=dt,
            y0=jax.numpy.zeros((n, 6), dtype),
            saveat=diffrax.SaveAt(ts=times, fn=lambda t, y, args: y[:, 1] - y[:, 2]),
            max_steps=n_steps(dt) + 16,
        )
        return solution.ys.T

    return lambda dt: np.asarray(integrate(dt))


def torchdiffeq_rk4(n):
    import torch
    from torchdiffeq import odeint

    theta = [torch.from_numpy(row.copy()) for row in columns(n).T]
    f = equations(torch, theta)

    def run(dt):
        times = torch.arange(round(DURATION * RATE), dtype=torch.float64) / RATE
        start = torch.zeros(n, 6, dtype=torch.float64)
        with torch.no_grad():
            y = odeint(lambda t, y: f(y), start, times, method="rk4", options={"step_size": dt})
        return (y[..., 1] - y[..., 2]).T.numpy()

    return run


def vbi_heun(n):
    """vbi's numba engine; the columns are the nodes of a network without connections."""
    from vbi.models.numba.jansen_rit import JR_sde

    C = columns(n)[:, 8]
    fixed = {
        **{"C0": C, "C1": 0.8 * C, "C2": 0.25 * C, "C3": 0.25 * C, "G": 0.0},
        **{"mu": INPUT / 1e3, "noise_amp": 0.0, "weights": np.zeros((n, n))},
        **{"t_end": 1e3 * DURATION, "seed": 0},
    }

    def run(dt):
        y = JR_sde({**fixed, "dt": 1e3 * dt}).run(x0=np.zeros(6 * n))["x"]
        # vbi's first sample is the state after the first step.
        return np.vstack([np.zeros((1, n)), y[:-1]]).T[:, :: every(dt)]

    return run


def tvb_heun(n):
    """TVB's model and integrator, called directly: its simulator of networks takes longer."""
    from tvb.simulator.lab import integrators, models

    voltage = {"v0": np.array([6.0]), "nu_max": np.array([0.0025])}
    model = models.JansenRit(J=columns(n)[:, 8], mu=np.array([INPUT / 1e3]), **voltage)
    model.configure()
    coupling = np.zeros((2, n, 1))

    def run(dt):
        integrator = integrators.HeunDeterministic(dt=1e3 * dt)
        integrator.configure()
        y, out = np.zeros((6, n, 1)), np.empty((n, round(DURATION * RATE)))
        for step in range(n_steps(dt)):
            if step % every(dt) == 0:
                out[:, step // every(dt)] = (y[1] - y[2])[:, 0]
            y = integrator.scheme(y, model.dfun, coupling, 0.0, 0.0)
        return out

    return run


def brainmass_rk4(n):
    import brainmass
    import brainstate
    import brainunit as u

    theta = columns(n)
    brainstate.environ.set(precision=64)
    model = brainmass.JansenRitStep(
        n, C=theta[:, 8], a1=1.0, a2=0.8, a3=0.25, a4=0.25, method="rk4"
    )

    def run(dt):
        with brainstate.environ.context(dt=1e3 * dt * u.ms):
            return np.asarray(integrate(dt))

    @partial(brainstate.transform.jit, static_argnums=0)
    def integrate(dt):
        brainstate.nn.init_all_states(model)

        def step(i):
            eeg = model.eeg()
            with brainstate.environ.context(i=i, t=i * dt * u.second):
                model.update(E_inp=INPUT * u.Hz)
            return eeg / u.mV

        return brainstate.transform.for_loop(step, np.arange(n_steps(dt)))[:: every(dt)].T

    return run


JRLIB = [(m, t) for m in ("rk4", "heun", "euler") for t in (np.float64, np.float32)]
# name: (engine, method, dtype, columns at a time, arguments after n)
ENGINES = {
    **{f"jrlib {m} {t.__name__}": (jrlib_engine, m, t.__name__, 256, (m, t)) for m, t in JRLIB},
    "Python loop": (python_euler, "euler", "float64", 4, ()),
    "NumPy": (numpy_rk4, "rk4", "float64", 1024, ()),
    "SciPy RK45": (scipy_engine, "adaptive", "float64", 2, ("RK45", 1e-6)),
    "SciPy LSODA": (scipy_engine, "adaptive", "float64", 2, ("LSODA", 1e-6)),
    "SciPy DOP853": (scipy_engine, "adaptive", "float64", 2, ("DOP853", 1e-9)),
    "JAX float64": (jax_rk4, "rk4", "float64", 256, (np.float64,)),
    "JAX float32": (jax_rk4, "rk4", "float32", 256, (np.float32,)),
    "diffrax float64": (diffrax_heun, "heun", "float64", 256, (np.float64,)),
    "diffrax float32": (diffrax_heun, "heun", "float32", 256, (np.float32,)),
    "torchdiffeq": (torchdiffeq_rk4, "rk4", "float64", 1024, ()),
    "vbi": (vbi_heun, "heun", "float64", 32, ()),
    "TVB": (tvb_heun, "heun", "float64", 1024, ()),
    "brainmass": (brainmass_rk4, "rk4", "float64", 256, ()),
}
