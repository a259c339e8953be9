"""Half-widths of intervals and how often they hold the truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from experiments import comparison, exact_posteriors, interval_widths
from experiments.compared_methods import METHODS
from experiments.compared_methods import test_set as simulated_test_set
from experiments.experiment import Result
from experiments.runs import Runs
from jrlib.parameters import IDENTIFIABLE_NAMES, QUANTITY_NAMES, quantities
from jrlib.priors import Prior


def stored(experiment, configs, run, folder):
    return Runs("smoke", folder).get(replace(experiment, run=run), configs, jobs=1)


def test_conformal_intervals_are_as_wide_as_errors_are_large(tmp_path):
    """Errors of the quantities are uniform in -w..w: 90 % intervals are 0.9 w wide to each side."""
    n, widths = 400, np.linspace(0.5, 2.0, 13) * Prior().quantity_std
    truth = quantities(simulated_test_set("CLASSIC", n, "standard").theta)
    errors = np.random.default_rng(0).uniform(-1.0, 1.0, truth.shape) * widths
    empty = {name: pd.DataFrame(columns=list(kinds)) for name, kinds in TABLES.items()}
    result = Result(empty, {"estimates": truth + errors}, {"snr_db": 1.0, "n_train": 1})
    config = comparison.configuration("CLASSIC", "Ridge", 1, n_test=n, keep="estimates")
    found = stored(comparison.EXPERIMENT, [config], lambda config: result, tmp_path)
    frame = interval_widths.conformal(found, 0.9).set_index("parameter")
    assert set(frame.method) == {METHODS["Ridge"].label}
    expected = pd.Series(0.9 * np.linspace(0.5, 2.0, 13), QUANTITY_NAMES)[[*IDENTIFIABLE_NAMES]]
    np.testing.assert_allclose(frame.half_width[[*IDENTIFIABLE_NAMES]], expected, rtol=0.1)
    assert frame.coverage.between(0.8, 0.97).all()


TABLES = comparison.EXPERIMENT.tables


def test_central_intervals_are_those_of_accepted_posteriors(tmp_path):
    n, n_kept = 40, 99
    rng = np.random.default_rng(0)
    theta = Prior().sample(n, rng)
    samples = np.repeat(theta[:, np.newaxis], n_kept, axis=1)
    samples[:, :, 0] += np.linspace(-1.0, 1.0, n_kept)  # mV, of A_e alone
    samples[0] = np.nan
    truth = quantities(theta)
    truth[1, 0] += 0.95  # mV, outside
    columns = exact_posteriors.EXPERIMENT.tables["observations"]
    table = pd.DataFrame(0, index=range(n), columns=list(columns))
    table = table.assign(number=range(n), accepted=[False] + [True] * (n - 1))
    result = Result({"observations": table}, {"samples": samples, "truth": truth})
    config = exact_posteriors.Config("CLASSIC", 1.0, 0, 1, n_observations=n)
    found = stored(exact_posteriors.EXPERIMENT, [config], lambda config: result, tmp_path)
    frame = interval_widths.central(found, 0.9).set_index("parameter")
    assert list(frame.index) == [*IDENTIFIABLE_NAMES]
    assert frame.half_width["A_e"] == pytest.approx(0.9 / Prior().quantity_std[0])
    assert frame.coverage["A_e"] == pytest.approx(1 - 1 / (n - 1))
    assert frame.half_width["A_i"] == pytest.approx(0.0, abs=1e-9)
