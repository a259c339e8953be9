"""Local information, profiles of the likelihood and Sobol's indices, against what they rest on."""

import numpy as np
import pytest

from experiments import global_sensitivity, local_information, profile_likelihoods
from jrlib.diagnostics import sensitivity
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import IDENTIFIABLE_NAMES, PARAMETER_NAMES, TYPICAL
from jrlib.sensors.datasets import make_dataset


def test_local_information_starts_with_the_typical_parameters():
    tables = local_information.run(local_information.Config("CLASSIC", 0, n_samples=2)).tables
    assert sorted(tables["sensitivity"]["sample"].unique()) == [-1, 0, 1]
    values = tables["sensitivity"].query("sample == -1").set_index("parameter").value
    expected = sensitivity.relative_sensitivity().set_index("parameter").sensitivity
    np.testing.assert_allclose(values[list(PARAMETER_NAMES)], expected, rtol=1e-6)
    errors = tables["standard_errors"].query("sample == -1").sort_values("rank").value
    information = Likelihood.of(make_dataset(1, 0), 1.0).fisher_information(TYPICAL)[:8, :8]
    eigenvalues = np.linalg.eigvalsh(information)[::-1]
    np.testing.assert_allclose(errors, eigenvalues**-0.5, rtol=1e-3)
    # One number per sample of the prior: no two alike.
    assert tables["standard_errors"].query("rank == 1").value.is_unique


def test_profiles_are_flat_for_released_products_and_not_for_classic_ones():
    tables = {
        name: profile_likelihoods.run(
            profile_likelihoods.Config(name, "C a_4", 0, 1.6, n_values=3)
        ).tables["profile"]
        for name in ("RELEASED", "CLASSIC")
    }
    for table in tables.values():
        np.testing.assert_allclose(table["C a_4"], [1 / 1.6, 1.0, 1.6])
        assert table.deviance[1] == pytest.approx(0.0, abs=1e-6)
        np.testing.assert_allclose(table.loc[1, list(IDENTIFIABLE_NAMES)].astype(float), 1.0, 1e-6)
    assert tables["RELEASED"].deviance.max() < 0.1
    assert tables["CLASSIC"].deviance[[0, 2]].min() > 10.0


def test_the_typical_value_is_among_those_of_every_profile():
    for tier in ("smoke", "fast", "paper"):
        for config in profile_likelihoods.grid(tier, 0):
            assert config.n_values % 2 == 1
            assert config.factor == profile_likelihoods.FACTORS[config.combination]


@pytest.mark.parametrize("experiment", [global_sensitivity, local_information, profile_likelihoods])
def test_an_unknown_tier_is_refused(experiment):
    with pytest.raises(ValueError, match="tier"):
        experiment.grid("huge", 0)
