"""Speed, accuracy and growth of jrlib's simulations beside other simulators: `make bench`.

Everything runs in one process, pinned to one CPU (but for the growth with threads), in interleaved
rounds, so that a disturbance meets all alike, and the median round is reported. It is the
processor's time that is taken, as what else runs on the machine only adds to the clock's, but for
the growth with threads. Prints the tables and writes results.md and results.csv (speed against
error) beside this file.
"""

import os

# One thread each, before anything is imported that starts threads.
os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"

import datetime
import importlib.metadata
import platform
import subprocess
import sys
import time
import warnings
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pandas as pd
import peers

import jrlib
from jrlib.sensors.datasets import decimation
from jrlib.simulation import kernel

HERE = Path(__file__).parent
ROUNDS = 9
CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
# Steps at which each method is timed, ms: for the figure of speed against error.
STEPS = {"jrlib": (2.0, 1.0, 0.5, 0.25, 0.125), "others": (1.0, 0.25)}


def pin(cpus):
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cpus)


def medians(functions, rounds=ROUNDS, clock=time.process_time):
    """Median seconds of each function, called in turn, round after round."""
    seconds = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = clock()
            function()
            seconds[name].append(clock() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def bare_kernel(dtype, own):
    """Nothing but the 12 logistic functions of a Runge-Kutta step, for n lanes: the roofline.

    Either as an exponential (a polynomial of degree 11 or 6) and a division, or jrlib's own.
    Returns a function of the number of simulations, of steps and of steps saved (each or one),
    which writes one value of each to an array laid out as `jrlib.simulate` lays out its own.
    """
    n, exponential, one = (
        kernel.LANES[np.dtype(dtype)],
        kernel.EXPONENTIAL[np.dtype(dtype)],
        dtype(1),
    )
    degree = 11 if dtype is np.float64 else 6
    nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1)) / 2.0
    coefficients = tuple(
        map(dtype, np.polynomial.Polynomial.fit(nodes, 2.0**nodes, degree).convert().coef)
    )
    compile = numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})

    @numba.njit(nogil=True, error_model="numpy", fastmath={"contract"}, forceinline=True)
    def textbook(x, exponential):
        limit, magic = exponential[0], exponential[1]
        x = limit if limit < x else x
        x = -limit if -limit > x else x
        shifted = x + magic
        power = kernel._polynomial(coefficients, x - (shifted - magic))
        return one / (one + kernel._times_power_of_two(power, shifted))

    logistic = kernel._logistic if own else textbook

    @compile
    def run(n_steps, every, slope, small, exponential, out):
        x, state = np.empty(12 * n, slope.dtype), np.empty(n, slope.dtype)
        for first in range(0, len(out), n):
            for j in range(n):
                state[j] = slope[j]
                for k in range(12):
                    x[k * n + j] = slope[j] * k
            saved = 0
            for step in range(n_steps):
                if step == saved * every:
                    for j in range(n):
                        out[first + j, saved] = state[j]
                    saved += 1
                for j in range(n):
                    total = state[j]
                    for k in range(12):
                        total += logistic(state[j] * x[k * n + j], exponential)
                    state[j] = total * small

    slope = np.linspace(-0.1, 0.1, n).astype(dtype)

    def bare(n_simulations, n_steps, every):
        out = np.empty((n_simulations, n_steps // every), dtype)
        run(n_steps, every, slope, dtype(0.01), exponential, out)
        return out

    bare(n, 1, 1)
    return bare


def roofline():
    """The kernel beside its logistic functions, ns per step and simulation.

    With one value of each simulation saved, and with that of every step: ratios are to the bare
    functions that save as many.
    """
    n, n_steps = 256, 10000  # so that setting up a call, 0.1 to 0.3 ms, counts for little
    theta, drive = peers.columns(n), np.tile([0.0, 120.0, 0.0], (n_steps, 1))
    kernels = ("12 exponentials and divisions", "12 of jrlib's logistic", "jrlib rk4")
    functions = {}
    for dtype in (np.float64, np.float32):
        textbook, own = (bare_kernel(dtype, own) for own in (False, True))
        for every, saved in ((n_steps, "one"), (1, "every step")):

            def whole(dtype=dtype, every=every):
                return jrlib.simulate(theta, drive, dtype=dtype, save_every=every, threads=1)

            runs = (partial(textbook, n, n_steps, every), partial(own, n, n_steps, every), whole)
            for name, run in zip(kernels, runs, strict=True):
                run()
                functions[saved, name, dtype.__name__] = run
    seconds = pd.Series(medians(functions, 5 * ROUNDS)) * 1e9 / (n * n_steps)
    table = seconds.unstack().reindex(["one", "every step"], level=0).reindex(kernels, level=1)
    for dtype in list(table):
        bare = table[dtype].xs(kernels[0], level=1)
        table[f"{dtype}, ratio"] = table[dtype] / table.index.get_level_values(0).map(bare)
    return table.reset_index(names=["saved", "kernel"])


def against_peers():
    """One row for each engine and step: ns per step and per simulated ms, and the error."""
    exact, runs, rows = peers.reference(2), {}, {}
    for name, (engine, method, dtype, n, arguments) in peers.ENGINES.items():
        ours = name.startswith("jrlib")
        steps = (1.0,) if method == "adaptive" else STEPS["jrlib" if ours else "others"]
        try:
            run = engine(n, *arguments)
            for dt in steps:
                every = max(1, round(1 / dt))
                stride = round(max(1.0, dt))
                ends = run(1e-3 * dt)[[0, -1]]  # compiles as well
                error = np.abs(ends - exact[:, ::stride]).max()
                rows[name, dt] = (name, method, dtype, n, dt, every, float(error))
                runs[name, dt] = lambda run=run, dt=dt: run(1e-3 * dt)
        except ImportError as missing:
            print(f"left out: {name} ({missing})", file=sys.stderr)
    seconds = medians(runs)
    table = []
    for key, (name, method, dtype, n, dt, _, error) in rows.items():
        per_ms = 1e9 * seconds[key] / (n * 1e3 * peers.DURATION)
        per_step = np.nan if method == "adaptive" else per_ms * dt
        table.append((name, method, dtype, n, dt, per_step, per_ms, error))
    columns = [
        "engine",
        "method",
        "dtype",
        "columns",
        "dt_ms",
        "ns_per_step",
        "ns_per_ms",
        "error_mv",
    ]
    return pd.DataFrame(table, columns=columns)


def over_the_prior():
    """Errors relative to each response's range, over 200 draws of the prior and pulses of 50 ms."""
    theta = jrlib.sample_prior(200, np.random.default_rng(0))
    drive = np.tile([0.0, 120.0, 0.0], (1000, 1))
    drive[np.arange(1000) % 500 < 50] += [33.6, 60.0, 60.0]

    def responses(refine, convention):
        fine = np.repeat(drive, refine, axis=0)
        options = {"dt": 1e-3 / refine, "save_every": refine}
        return jrlib.simulate(theta, fine, convention=convention, **options)

    rows = []
    for convention in jrlib.CONVENTIONS:
        exact = responses(64, convention)
        for refine in (1, 2, 4, 8, 16):
            error = np.abs(responses(refine, convention) - exact).max(axis=1)
            quantiles = np.quantile(error / np.ptp(exact, axis=1), [0.5, 0.9, 1.0])
            rows.append((convention, 1 / refine, *quantiles))
    return pd.DataFrame(rows, columns=["convention", "dt_ms", "median", "90 %", "max"])


def growth():
    """ns per step and simulation as the batch, the number of steps and of threads grow."""
    rows = []

    def add(what, size, seconds, work):
        rows.append(
            (what, size, *(1e9 * seconds[dtype] / work for dtype in ("float64", "float32")))
        )

    def both(n, n_steps, threads=1, rounds=ROUNDS, clock=time.process_time, **options):
        theta, drive = peers.columns(n), np.tile([0.0, 120.0, 0.0], (n_steps, 1))
        options = {"save_every": max(1, min(n_steps, 100)), "threads": threads, **options}
        runs = {
            dtype.__name__: lambda dtype=dtype: jrlib.simulate(theta, drive, dtype=dtype, **options)
            for dtype in (np.float64, np.float32)
        }
        return medians(runs, rounds, clock)

    for n in (1, 4, 16, 64, 256, 1024, 10**4, 10**5, 10**6):
        n_steps = int(np.clip(10**7 // n, 100, 10**4))
        add("batch", n, both(n, n_steps, rounds=3 if n > 10**4 else ROUNDS), n * n_steps)
    for n_steps in (10, 100, 1000, 10**4, 10**5):
        add("steps", n_steps, both(32, n_steps), 32 * n_steps)
    add("with noise", 1000, both(256, 1000, noise=30.0), 256 * 1000)
    pin(CPUS)
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        seconds = both(2048, 1000, threads, 5 * ROUNDS, time.perf_counter)
        add("threads", threads, seconds, 2048 * 1000)
    pin(CPUS[-1:])
    return pd.DataFrame(rows, columns=["what", "size", "float64", "float32"])


def responses():
    """Microseconds per evoked response: the default protocol over the prior, at 250 Hz."""
    theta = jrlib.sample_prior(2000, np.random.default_rng(0))
    protocol = jrlib.Protocol()
    options = {"reduce": decimation(protocol, 250.0), "threads": 1}
    runs = {
        dtype.__name__: lambda dtype=dtype: jrlib.simulate_erp(theta, dtype=dtype, **options)
        for dtype in (np.float64, np.float32)
    }
    for run in runs.values():
        run()
    return {name: 1e6 * seconds / len(theta) for name, seconds in medians(runs, 3).items()}


def first_result():
    """Seconds from the import of jrlib to the first result in a new process."""
    code = (
        "import time, numpy as np, jrlib; start = time.perf_counter();"
        "jrlib.simulate(jrlib.TYPICAL, np.zeros((10, 3))); print(time.perf_counter() - start)"
    )
    command = [sys.executable, "-c", code]
    return float(np.median([float(subprocess.check_output(command)) for _ in range(3)]))


def machine():
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.split(": ")[1] for line in lines if line.startswith("model name")), name)
    versions = []
    for package in (
        "numpy",
        "numba",
        "llvmlite",
        "scipy",
        "jax",
        "diffrax",
        "torch",
        "torchdiffeq",
    ):
        versions.append(_version(package))
    for package in ("vbi", "tvb-library", "brainmass"):
        versions.append(_version(package))
    return (
        f"{name} ({len(CPUS)} CPUs; code for {numba.config.CPU_NAME or numba_cpu()}), "
        f"{platform.system()}, Python {platform.python_version()}, "
        f"{', '.join(filter(None, versions))}; {datetime.date.today().isoformat()}."
    )


def numba_cpu():
    import llvmlite.binding

    return llvmlite.binding.get_host_cpu_name()


def _version(package):
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return None


def markdown(table, digits=3):
    """A table of numbers with so many significant digits."""

    def show(value):
        if isinstance(value, float):
            return "" if np.isnan(value) else f"{value:.{digits}g}"
        return str(value)

    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [[show(value) for value in row] for row in table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main():
    warnings.filterwarnings("ignore", module="(tvb|vbi|brain|jax)")
    pin(CPUS[-1:])
    speeds = against_peers()
    speeds.to_csv(HERE / "results.csv", index=False, float_format="%.6g")
    at_1_ms = speeds[speeds.dt_ms == 1.0].copy()
    best = at_1_ms[at_1_ms.engine.str.startswith("jrlib rk4")].set_index("dtype").ns_per_ms
    at_1_ms["times jrlib rk4"] = at_1_ms.ns_per_ms / at_1_ms.dtype.map(best)
    others = at_1_ms[~at_1_ms.engine.str.startswith("jrlib")]
    next_best = others.groupby("dtype")["times jrlib rk4"].min()
    span = np.ptp(peers.reference(2))
    erp = responses()
    sections = [
        "# How fast, and how accurate",
        machine(),
        "Made by `make bench`; do not edit. Times are the processor's, in the median of some "
        "interleaved rounds; with threads, those of the clock.",
        "## Beside other simulators",
        "One second of columns at a constant 120/s and a step of 1 ms, one thread. Error: largest "
        f"difference from DOP853 at 1e-12, of a response that spans {span:.0f} mV. The next best "
        f"takes {next_best['float64']:.1f} times as long as jrlib's rk4 in float64, "
        f"{next_best['float32']:.1f} times in float32.",
        markdown(at_1_ms.sort_values("ns_per_ms")),
        "## Beside the bare logistic functions",
        "ns per step and simulation, all of `jrlib.simulate`, for 256 columns and 10000 steps; and "
        "the ratio to the bare exponentials and divisions that save as many values.",
        markdown(roofline()),
        "## Accuracy over the prior",
        "Largest difference of rk4 from its own solution at 1/64 ms, over the range of the "
        "response; 200 draws, two pulses.",
        markdown(over_the_prior()),
        "## How the cost grows",
        "ns per step and simulation, rk4.",
        markdown(growth()),
        "## Evoked responses, and the first result",
        f"The default protocol over the prior, at 250 Hz, one thread: {erp['float64']:.0f} us each "
        f"in float64, {erp['float32']:.0f} us in float32. A new process has its first result "
        f"{first_result():.2f} s after the import.",
    ]
    text = "\n\n".join(sections) + "\n"
    (HERE / "results.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
