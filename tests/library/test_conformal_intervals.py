"""Conformal intervals: they hold the truth as often as they promise, whatever the errors."""

import numpy as np
import pytest

from jrlib.diagnostics import calibration


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_conformal_intervals_hold_the_truth_as_often_as_they_promise(level):
    """For errors of any distribution: 4,000 repetitions of 99 errors and a further one."""
    rng = np.random.default_rng(0)
    errors = rng.standard_t(2, (100, 4000))
    held = np.abs(errors[99]) <= calibration.conformal_half_widths(errors[:99], level)
    assert held.mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


def test_conformal_intervals_need_enough_errors():
    with pytest.raises(ValueError, match="errors: 5 rows are too few"):
        calibration.conformal_half_widths(np.zeros((5, 1)), 0.9)
    with pytest.raises(ValueError, match="level: got 1"):
        calibration.conformal_half_widths(np.zeros((5, 1)), 1.0)
    with pytest.raises(ValueError, match="errors: expected finite"):
        calibration.conformal_half_widths([[np.nan]], 0.5)
