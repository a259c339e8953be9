"""jrlib: from Jansen-Rit parameters to evoked responses, and back."""

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
