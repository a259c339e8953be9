"""The lead field against analytic potentials; sensors and matched filter against MNE's pipeline."""

import matplotlib
import mne
import numpy as np
import pytest

from jrlib.sensors import heads, mne_objects, noise_models
from jrlib.simulation.protocol import Protocol, averaging_covariance, simulate_erp

matplotlib.use("Agg")

SHORT = Protocol(
    n_trials=4,
    isi=0.1,
    pulse_width=0.02,
    transient=0.05,
    epoch=(-0.04, 0.1),
    baseline=(-0.04, 0.0),
    dt=2e-3,
)  # epochs overlap by 40 ms


@pytest.fixture(scope="module")
def info():
    return heads.montage_info()


@pytest.fixture(scope="module")
def gain():
    return heads.MOMENT_PER_MV * heads.lead_field()


def homogeneous_sphere_potential(electrodes, dipole, moment, radius, sigma):
    """Potential of a dipole on the surface of a homogeneous conducting sphere centred at 0.

    The closed form that sums the Legendre series (Brody, Terry & Ideker 1973): the free dipole's
    potential twice, and minus the moment's derivative of log(rest) / radius.
    """
    d = electrodes - dipole
    distance = np.linalg.norm(d, axis=1)
    rest = radius + distance - electrodes @ dipole / radius
    gradient = -(d / distance[:, np.newaxis] + electrodes / radius) @ moment
    return (2 * d @ moment / distance**3 - gradient / (radius * rest)) / (4 * np.pi * sigma)


@pytest.mark.parametrize("direction", ["radial", "tangential", "oblique"])
def test_forward_solution_agrees_with_a_homogeneous_sphere(info, direction):
    centre, radius, sigma = np.array(heads.HEAD_CENTRE), heads.HEAD_RADIUS, 0.33
    conductor = mne.make_sphere_model(centre, radius, sigmas=(sigma,) * 4, verbose="error")
    dipole = np.array([-0.03, 0.04, 0.03])
    radial = dipole / np.linalg.norm(dipole)
    tangential = np.cross(radial, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(radial, [0, 0, 1.0]))
    moment = {"radial": radial, "tangential": tangential, "oblique": radial + tangential}[direction]
    computed = heads.dipole_potentials(
        info, conductor, positions=[centre + dipole], moments=moment[np.newaxis]
    )[:, 0]
    electrodes = np.array([channel["loc"][:3] for channel in info["chs"]]) - centre
    expected = homogeneous_sphere_potential(electrodes, dipole, moment, radius, sigma)
    computed, expected = computed - computed.mean(), expected - expected.mean()
    assert np.abs(computed - expected).max() < 1e-3 * np.abs(expected).max()


def test_the_analytic_potential_is_the_series_of_legendre_polynomials():
    radius, depth, sigma = 0.09, 0.06, 0.33
    angle = np.linspace(0.0, np.pi, 7)
    electrodes = radius * np.stack([np.sin(angle), 0 * angle, np.cos(angle)], axis=1)
    n = np.arange(1, 300)
    legendre = np.array(
        [np.polynomial.legendre.legval(np.cos(angle), np.eye(301)[k]) for k in n]
    )  # radial dipole: sum of (2n + 1) / n * n f^(n-1) P_n / (4 pi sigma R^2)
    series = (2 * n + 1) * (depth / radius) ** (n - 1) @ legendre / (4 * np.pi * sigma * radius**2)
    closed = homogeneous_sphere_potential(
        electrodes, np.array([0, 0, depth]), np.array([0, 0, 1.0]), radius, sigma
    )
    np.testing.assert_allclose(closed, series, rtol=1e-9)


def test_lead_field_is_average_referenced_cached_and_read_only():
    field = heads.lead_field()
    assert field.shape == (64,)
    assert field.dtype == np.float64
    assert abs(field.sum()) < 1e-9 * np.abs(field).max()
    assert heads.lead_field() is field
    with pytest.raises(ValueError, match="read-only"):
        field[0] = 0.0


def test_the_source_shows_over_left_fronto_central_electrodes(info):
    field = dict(zip(info.ch_names, heads.lead_field(), strict=True))
    strongest = sorted(field, key=field.get)[-4:]
    assert set(strongest) <= {"F3", "F5", "FC3", "FC5", "F7", "C3", "C5"}
    for left, right in [("F5", "F6"), ("FC5", "FC6"), ("C3", "C4")]:
        assert field[left] > field[right]
    # A 1 mV response is of the order of microvolts at the scalp.
    assert 1e-6 < heads.MOMENT_PER_MV * max(field.values()) < 5e-6


def test_the_patch_is_a_disc_of_the_stated_radius_spacing_and_normal():
    positions, moments = heads.source_patch()
    assert positions.shape == moments.shape == (19, 3)
    away = np.linalg.norm(positions - positions.mean(axis=0), axis=1)
    assert away.max() <= heads.PATCH_RADIUS
    between = np.linalg.norm(positions[:, np.newaxis] - positions, axis=2)
    nearest = np.sort(between, axis=1)[:, 1]
    np.testing.assert_allclose(nearest, heads.DIPOLE_SPACING, rtol=1e-9)
    np.testing.assert_allclose((positions - positions.mean(axis=0)) @ moments[0], 0, atol=1e-15)
    np.testing.assert_allclose(
        np.linalg.norm(moments, axis=1), np.linalg.norm(heads.SOURCE_NORMAL), rtol=1e-6
    )


def test_montages_see_the_same_source(info):
    by_name = dict(zip(info.ch_names, heads.lead_field(), strict=True))
    names = heads.montage_info("biosemi32").ch_names
    few = heads.lead_field("biosemi32")
    same = np.array([by_name[name] for name in names])
    # 32 of the 64 electrodes: the same potentials, up to the reference.
    np.testing.assert_allclose(few - few[0], same - same[0], atol=2e-3 * np.abs(same).max())
    for montage in ("easycap-M1", "GSN-HydroCel-256", "colin27_1005"):
        assert np.isfinite(heads.lead_field(montage)).all()


def test_sensor_noise_is_that_of_mne(info):
    covariance = mne.make_ad_hoc_cov(info, verbose="error")
    np.testing.assert_allclose(covariance["data"], noise_models.SENSOR_NOISE**2)


def test_round_trip(gain):
    protocol = Protocol(n_trials=3)
    erp = simulate_erp(np.array([3.25, 22, 100, 50, 1, 0.8, 0.25, 0.25, 135.0]), protocol)
    evoked = mne_objects.to_evoked(erp, protocol.times, protocol, comment="typical")
    assert (evoked.nave, evoked.comment, evoked.baseline) == (3, "typical", (-0.2, 0.0))
    assert evoked.proj
    assert evoked.info["sfreq"] == pytest.approx(1000.0)
    np.testing.assert_allclose(evoked.times, protocol.times, atol=1e-12)
    np.testing.assert_allclose(evoked.data, gain[:, np.newaxis] * erp, atol=1e-20)
    for field in (None, heads.lead_field()):
        waveform, times = mne_objects.from_evoked(evoked, field)
        np.testing.assert_allclose(waveform, erp, atol=1e-10 * np.abs(erp).max())
        np.testing.assert_allclose(times, protocol.times, atol=1e-12)


def test_matched_filter_does_not_need_all_channels_or_the_right_reference():
    times = np.arange(10) * 1e-3
    evoked = mne_objects.to_evoked(np.sin(times * 300), times)
    evoked.info["bads"] = ["F3", "Oz"]
    evoked.data[evoked.ch_names.index("F3")] = 1.0
    evoked.data += 3e-6  # another reference
    np.testing.assert_allclose(mne_objects.from_evoked(evoked)[0], np.sin(times * 300), atol=1e-9)


def test_matched_filter_noise_is_unbiased_with_the_predicted_deviation(gain):
    rng = np.random.default_rng(1)
    times, factor = np.arange(400) * 1e-3, 0.5
    erp = np.sin(2 * np.pi * times)
    noise = {"noise_factor": factor, "covariance": np.eye(400), "rng": rng}
    error = [
        mne_objects.from_evoked(mne_objects.to_evoked(erp, times, **noise))[0] - erp
        for _ in range(10)
    ]
    expected = np.sqrt(factor) * noise_models.SENSOR_NOISE / np.linalg.norm(gain)
    assert abs(np.mean(error)) < 4 * expected / np.sqrt(4000)
    assert np.std(error) == pytest.approx(expected, rel=4 / np.sqrt(2 * 4000))


def test_without_noise_the_raw_pipeline_gives_the_same_evoked_response():
    rng = np.random.default_rng(2)
    source = rng.standard_normal(len(SHORT.drive)).cumsum()
    average = SHORT.correct_baseline(SHORT.epochs(source).mean(axis=0))
    long_way = mne_objects.average_raw(mne_objects.simulate_raw(source, SHORT), SHORT)
    short_way = mne_objects.to_evoked(average, SHORT.times, SHORT)
    assert long_way.nave == short_way.nave == SHORT.n_trials
    assert long_way.baseline == short_way.baseline
    np.testing.assert_allclose(long_way.times, short_way.times, atol=1e-12)
    np.testing.assert_allclose(
        long_way.data, short_way.data, atol=1e-10 * np.abs(short_way.data).max()
    )


def test_raw_noise_averages_to_the_stated_covariance_in_time_and_space():
    # 40 recordings of 64 channels through MNE: every channel is a replicate in time. The average
    # reference multiplies each channel's variance by 1 - 1/64 and gives every pair -1/64.
    rng = np.random.default_rng(3)
    source = np.zeros(len(SHORT.drive))

    def moments(draw):
        data = np.array([draw() for _ in range(40)]) / (2.0 * noise_models.SENSOR_NOISE)
        time = np.einsum("rct,rcs->ts", data, data) / (40 * 63)
        return time, np.einsum("rct,rdt->cd", data, data) / 40

    def long_way():
        raw = mne_objects.simulate_raw(source, SHORT, noise_factor=4.0, rng=rng)
        return mne_objects.average_raw(raw, SHORT).data

    def short_way():
        zero = np.zeros(SHORT.n_times)
        return mne_objects.to_evoked(zero, SHORT.times, SHORT, noise_factor=4.0, rng=rng).data

    covariance = averaging_covariance(SHORT)
    reference = np.eye(64) - 1 / 64
    for time, space in (moments(long_way), moments(short_way)):
        scale = covariance.max()
        assert np.abs(time - covariance).max() < 5.5 * scale / np.sqrt(40 * 63)
        # The samples shared by neighbouring epochs: the end of one is the baseline of the next.
        lag = 50
        shared = np.diagonal(time, lag).mean()
        assert shared == pytest.approx(np.diagonal(covariance, lag).mean(), abs=0.01 * scale)
        assert abs(shared) > 0.1 * scale
        trace = np.trace(covariance)
        assert np.abs(space / trace - reference).max() < 6 / np.sqrt(40 * 25)
        off_diagonal = space[~np.eye(64, dtype=bool)].mean() / trace
        assert off_diagonal == pytest.approx(-1 / 64, rel=0.05)
        assert np.abs(space.sum(axis=0)).max() < 1e-9 * trace


def test_noise_follows_the_generator():
    times = SHORT.times
    erp = np.zeros(len(times))

    def draw(seed):
        rng = np.random.default_rng(seed)
        return mne_objects.to_evoked(erp, times, SHORT, noise_factor=1.0, rng=rng).data

    assert np.array_equal(draw(5), draw(5))
    assert not np.array_equal(draw(5), draw(6))


def test_mne_draws_butterfly_and_topomap():
    evoked = mne_objects.to_evoked(np.sin(SHORT.times * 50), SHORT.times, SHORT)
    for figure in (
        evoked.plot(spatial_colors=True, show=False, verbose="error"),
        evoked.plot_topomap(times=0.03, show=False, colorbar=False),
    ):
        figure.canvas.draw()
        assert figure.axes
        matplotlib.pyplot.close(figure)


def test_fsaverage_on_disk_agrees_with_the_sphere():
    pytest.importorskip("nibabel")
    try:
        exact = heads.lead_field(head="fsaverage")
    except FileNotFoundError:
        pytest.skip("MNE's fsaverage is not on this machine")
    assert np.corrcoef(exact, heads.lead_field())[0, 1] > 0.9
    assert np.linalg.norm(heads.lead_field()) == pytest.approx(np.linalg.norm(exact), rel=0.5)


def test_missing_fsaverage_says_how_to_get_it(monkeypatch, tmp_path):
    keys = {"SUBJECTS_DIR": str(tmp_path / "subjects"), "MNE_DATA": str(tmp_path / "data")}
    monkeypatch.setattr(mne, "get_config", keys.get)
    heads.lead_field.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"mne\.datasets\.fetch_fsaverage\(\)"):
        heads.lead_field(head="fsaverage")
    assert not list(tmp_path.iterdir())


def silence():
    return mne_objects.simulate_raw(np.zeros(len(SHORT.drive)), SHORT)


TIMES = np.arange(5) * 1e-3


def scaled(factor, channel=None):
    """An evoked response with one channel, or all, multiplied by a factor."""
    evoked = mne_objects.to_evoked(50 * np.sin(TIMES * 300), TIMES)
    rows = slice(None) if channel is None else evoked.ch_names.index(channel)
    evoked.data[rows] *= factor
    return evoked


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: heads.lead_field("biosemi65"),
            "montage: got 'biosemi65', expected one of.*biosemi",
        ),
        (lambda: heads.lead_field("spherical_1020"), "montage: electrodes 55 to"),
        (
            lambda: heads.lead_field(head="cube"),
            "head: got 'cube', expected one of sphere, fsaverag",
        ),
        (lambda: heads.montage_info(sampling_rate=0), "sampling_rate: got 0"),
        (lambda: mne_objects.to_evoked(np.zeros(4), TIMES), "erp: got 4 samples, expected 5"),
        (
            lambda: mne_objects.to_evoked([0, 1, np.nan, 1, 0], TIMES),
            "erp: .* 1 values that are not finit",
        ),
        (
            lambda: mne_objects.to_evoked(np.zeros(3), [0.0, 1.0, 3.0]),
            "times: expected .* evenly spaced",
        ),
        (lambda: mne_objects.to_evoked(TIMES, TIMES, noise_factor=-1), "noise_factor: got -1"),
        (
            lambda: mne_objects.to_evoked(TIMES, TIMES, noise_factor=1),
            "rng: a numpy Generator is needed",
        ),
        (
            lambda: mne_objects.to_evoked(
                TIMES, TIMES, noise_factor=1, rng=np.random.default_rng(0)
            ),
            r"covariance: got shape \(1201, 1201\), expected \(5, 5\)",
        ),
        (lambda: mne_objects.simulate_raw(np.zeros(7), SHORT), "source: got 7 samples, expected"),
        (
            lambda: mne_objects.average_raw(silence().set_annotations(None)),
            "raw: no annotation 'pulse'",
        ),
        (
            lambda: mne_objects.from_evoked(mne_objects.to_evoked(TIMES, TIMES), np.arange(5.0)),
            "lead_field: got 5 values, expected 64",
        ),
        (
            lambda: mne_objects.from_evoked(scaled(1e6)),
            "no scalp potential in volts; if the data are in mic",
        ),
        (lambda: mne_objects.from_evoked(scaled(1e-8)), "no scalp potential in volts"),
        (
            lambda: mne_objects.from_evoked(scaled(0.0, "Fp1")),
            r"no signal at all in Fp1; mark them in info",
        ),
        (
            lambda: mne_objects.from_evoked(mne_objects.to_evoked(TIMES, TIMES), np.ones(64)),
            "lead_field: got the same value everywhere",
        ),
        (
            lambda: mne_objects.from_evoked(
                mne.EvokedArray(np.zeros((2, 3)), mne.create_info(2, 1.0))
            ),
            "evoked: got 0 good EEG channels",
        ),
        (
            lambda: mne_objects.from_evoked(
                mne.EvokedArray(np.zeros((2, 3)), mne.create_info(["A", "B"], 1.0, "eeg"))
            ),
            "evoked: no position for A, B",
        ),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
