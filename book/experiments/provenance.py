"""Where a result comes from: the commit of the code, the software and the machine."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

PACKAGES = ("jrlib", "numpy", "scipy", "numba", "mne", "torch", "sbi", "scikit-learn")
ROOT = Path(__file__).resolve().parents[2]
CODE = ("jrlib", "book/experiments")  # what makes results


def commit():
    """The commit of the checkout that this code lies in, "+" for changed code; "" outside one.

    A checkout that contains this folder without tracking it, such as one of a home folder, is none.
    """
    here = Path(__file__).resolve().relative_to(ROOT).as_posix()
    try:
        if not _git("ls-files", "--", here):
            return ""
        return _git("rev-parse", "HEAD") + ("+" if _git("status", "--porcelain", *CODE) else "")
    except OSError:
        return ""


def environment():
    """Versions of Python and `PACKAGES`, processor and system: a dict of words."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "not installed"
    processor = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = models[0] if models else processor
    found["processor"] = f"{processor or platform.machine()}, {os.cpu_count()} cores"
    found["system"] = f"{platform.system()} {platform.machine()}"
    return found


def _git(*arguments):
    run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""
