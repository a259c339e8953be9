"""jrlib: from Jansen-Rit parameters to evoked responses, and back."""

from importlib import import_module
from importlib.metadata import version

from jrlib.parameters import (
    CLASSIC,
    CONVENTIONS,
    IDENTIFIABLE_NAMES,
    PARAMETER_NAMES,
    RANGES,
    RELEASED,
    TABULATED,
    TYPICAL,
    Convention,
    identifiable,
)
from jrlib.priors import Prior, sample_prior
from jrlib.simulation.integration import DivergenceWarning, simulate
from jrlib.simulation.protocol import Protocol, simulate_erp

__version__ = version("jrlib")

# Imported when first asked for: MNE and torch take seconds, and simulating needs neither.
_LAZY = {
    "lead_field": "jrlib.sensors.heads",
    "Dataset": "jrlib.sensors.datasets",
    "make_dataset": "jrlib.sensors.datasets",
}

__all__ = [
    "CLASSIC",
    "CONVENTIONS",
    "IDENTIFIABLE_NAMES",
    "PARAMETER_NAMES",
    "RANGES",
    "RELEASED",
    "TABULATED",
    "TYPICAL",
    "Convention",
    "Dataset",
    "DivergenceWarning",
    "Prior",
    "Protocol",
    "__version__",
    "identifiable",
    "lead_field",
    "make_dataset",
    "sample_prior",
    "simulate",
    "simulate_erp",
]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'jrlib' has no attribute {name!r}")
