"""The spatial filter: unbiased, of least variance, and nothing of the source is left beside it."""

import numpy as np
import pytest

from jrlib.sensors import heads, noise_models
from jrlib.sensors.spatial_filter import SpatialFilter

GAIN = heads.MOMENT_PER_MV * heads.lead_field()


def test_the_rest_holds_nothing_of_the_source_and_noise_of_the_same_size():
    for reach in (0.0, 0.05):
        covariance = noise_models.electrode_covariance(reach=reach)
        spatial_filter = SpatialFilter(GAIN, covariance)
        source, rest = spatial_filter.split(np.eye(64))
        maps = np.vstack([source, rest])
        assert maps.shape == (63, 64)
        np.testing.assert_allclose(maps @ GAIN, np.eye(63)[0], atol=1e-9)
        noise = maps @ covariance @ maps.T * spatial_filter.sensitivity**2
        np.testing.assert_allclose(noise, np.eye(63), atol=1e-7)


def test_independent_noise_is_the_special_case_of_equal_variances():
    plain, explicit = SpatialFilter(GAIN), SpatialFilter(GAIN, 3.0 * np.eye(64))
    np.testing.assert_allclose(plain.weights, GAIN / (GAIN @ GAIN), rtol=1e-12)
    np.testing.assert_allclose(explicit.weights, plain.weights, atol=1e-12 * plain.weights.max())
    assert plain.sensitivity == pytest.approx(np.sqrt(3.0) * explicit.sensitivity)
    data = np.random.default_rng(0).standard_normal((3, 64, 5))
    for one in (plain, explicit):
        np.testing.assert_allclose(one.waveform(data)[1], one.split(data[1])[0], rtol=1e-9)


def test_the_filter_is_the_generalised_least_squares_estimate():
    covariance = noise_models.electrode_covariance(reach=0.05)
    centre = np.eye(64) - 1.0 / 64
    precision = np.linalg.pinv(centre @ covariance @ centre, rcond=1e-10)
    spatial_filter = SpatialFilter(GAIN, covariance)
    expected = precision @ GAIN / (GAIN @ precision @ GAIN)
    np.testing.assert_allclose(spatial_filter.weights, expected, atol=1e-9 * expected.max())
    assert spatial_filter.sensitivity == pytest.approx(np.sqrt(GAIN @ precision @ GAIN))


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((np.zeros(4),), r"gain: got shape \(4,\), expected finite numbers .* not all 0"),
        (([1.0, np.nan],), "gain: got shape"),
        ((np.eye(2),), r"gain: got shape \(2, 2\)"),
        (([1.0, -1.0], np.eye(3)), r"covariance: got shape \(3, 3\), expected \(2, 2\)"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        SpatialFilter(*arguments)


def test_data_of_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"data: got shape \(63, 5\), expected \(64, n_times\)"):
        SpatialFilter(GAIN).waveform(np.zeros((63, 5)))
