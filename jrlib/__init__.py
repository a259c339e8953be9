"""jrlib: from Jansen-Rit parameters to evoked responses, and back."""

from importlib import import_module

from jrlib.model import DivergenceWarning, simulate
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
    Prior,
    identifiable,
    sample_prior,
)
from jrlib.protocol import Protocol, simulate_erp

# Imported when first asked for: MNE and torch take seconds, and simulating needs neither.
_LAZY = {"lead_field": "jrlib.eeg", "Dataset": "jrlib.data", "make_dataset": "jrlib.data"}

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
