"""Computing runs: one after the other, side by side, or on a cluster."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent import futures
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime

import joblib
from threadpoolctl import threadpool_limits

from experiments import tables
from experiments.experiment import Result
from experiments.provenance import environment

_POOLS = {}  # by the number of processes; starting one takes seconds, so they are kept


def compute(i, experiment, config, upstream, made_at):
    """Compute one run: i, its `Result` and the record of how it was made."""
    start, cpu = time.perf_counter(), time.process_time()
    with threadpool_limits(1):  # sums are rounded another way on another number of threads
        given = (upstream,) if experiment.upstream else ()
        result = experiment.run(config, *given)
    if not isinstance(result, Result):
        raise TypeError(f"{experiment.name}: run returned {type(result).__name__}, not a Result")
    for kind in ("tables", "values"):
        got, expected = set(getattr(result, kind)), set(getattr(experiment, kind))
        if got != expected:
            raise ValueError(f"{experiment.name}: {kind} are {sorted(got)}, not {sorted(expected)}")
    for name, kind in experiment.values.items():
        value = result.values[name]
        plain = tables.parse(tables.show(kind(value)), kind, f"{experiment.name}, {name}")
        result.values[name] = plain
    record = {
        "revision": experiment.revision,
        "computed": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "seconds": round(time.perf_counter() - start, 3),
        "cpu_seconds": round(time.process_time() - cpu, 3),
        "commit": made_at,
        "environment": environment(),
        "device": _device(),
    }
    return i, result, record


def _device():
    """The graphics card that torch has used in this process, or the word cpu."""
    torch = sys.modules.get("torch")
    used = torch and torch.cuda.is_available() and torch.cuda.max_memory_allocated() > 0
    return torch.cuda.get_device_name() if used else "cpu"


def side_by_side(tasks, jobs):
    """Yield what `compute` returns for each of the tasks, in whichever order they are done.

    The processes are those of the standard library: joblib's restart whenever one has grown by
    300 MB, which the memory of a trained network always does.
    """
    if jobs not in _POOLS:
        _POOLS[jobs] = ProcessPoolExecutor(
            jobs,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_leave_with_parent,
            initargs=(os.getpid(),),
        )
    pool, tasks = _POOLS[jobs], iter(tasks)
    waiting = {pool.submit(compute, *task) for task in itertools.islice(tasks, jobs + 1)}
    try:
        while waiting:
            done, waiting = futures.wait(waiting, return_when=futures.FIRST_COMPLETED)
            waiting |= {pool.submit(compute, *task) for task in itertools.islice(tasks, len(done))}
            for each in done:
                yield each.result()
    except BaseException:  # what is still being computed is of no use to anybody
        del _POOLS[jobs]
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        raise


def _leave_with_parent(parent):
    """Let this process end when the one that started it is gone, killed for example.

    An interrupt (Ctrl-C, or a notebook that is stopped) is the business of the one that started it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch():
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextlib.contextmanager
def dask_workers(address):
    """Within it joblib runs its jobs on the workers of a Dask scheduler, unless address is None."""
    if address is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError as error:
        raise ImportError("dask: needs the package distributed: pip install distributed") from error
    with Client(address) as client, joblib.parallel_config("dask", client=client):
        yield


@contextlib.contextmanager
def lasting_memory():
    """Processes started within it keep the memory that they free, unless the user says otherwise.

    glibc (Linux) otherwise gives a network's memory back to the system in every batch and asks for
    it again: LSTMs train 1.4 times as fast without.
    """
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")
    added = [name for name in names if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "4000000000"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
