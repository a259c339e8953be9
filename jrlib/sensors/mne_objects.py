"""From the model's source to the scalp and back, through MNE.

A cortical column of the Jansen-Rit model becomes a patch of current dipoles in the left caudal
middle frontal gyrus, the place the published study chose. One source and one waveform: the sensors
see `waveform x lead field + noise`, average reference. This is the only module that speaks volts.
"""

import mne
import numpy as np

from jrlib.sensors.heads import (
    MOMENT_PER_MV,
    _lead_field,
    lead_field,
    montage_info,
)
from jrlib.sensors.noise_models import (
    _positive_noise,
    draw_noise,
    noise_sd,
)
from jrlib.sensors.spatial_filter import SpatialFilter
from jrlib.simulation.protocol import Protocol, averaging_covariance

#: Largest values, V, that a scalp potential may have: far beyond what is measured, on both sides.
SCALP_VOLTS = (1e-10, 1e-1)


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
        data += noise_sd(noise_factor) * draw_noise(data.shape, covariance, rng)
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
    """The source waveform that explains an `mne.Evoked` best, in mV, and its times.

    evoked : any montage; its good EEG channels are used, against their average
    lead_field : (n_channels,) V per A m for these channels; computed for their positions by default

    Returns (waveform (n_times,), mV, times (n_times,), s): the `SpatialFilter` with the gain
    g = MOMENT_PER_MV * lead_field, for noise that is independent between channels. Unbiased; white
    noise of sd s per channel leaves noise of sd s / |g|. Raises ValueError when there are no EEG
    channels with positions, or the lead field does not fit them, and for data that are not finite,
    flat in a channel, or not in volts.
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
    # The gain sums to zero, so the filter takes the average reference by itself.
    return SpatialFilter(gain).waveform(data), evoked.times.copy()


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
