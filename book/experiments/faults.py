"""Recordings with something wrong: what a chapter's checks are to notice.

An answer assumes a stimulus, a convention, a head and a noise; here each can be another one.
"""

from dataclasses import replace

import numpy as np

from experiments.settings import CONVENTIONS
from jrlib.inference.likelihood import Likelihood
from jrlib.parameters import get_convention
from jrlib.sensors import heads, noise_models
from jrlib.simulation.protocol import averaging_covariance, simulate_erp

# What is wrong with a recording: options of `record`. A name says how large its fault is; a fault
# of another size needs another name, since stored results know it by that.
FAULTS = {
    "nothing": {},
    "noise with a 1/f spectrum": {"aperiodic": True},
    "noise correlated over 5 cm": {"reach": 0.05},
    "twice the noise power": {"noise": 2.0},
    "stimulus 5 ms late": {"delay": 0.005},
    "stimulus 10 ms late": {"delay": 0.010},
    "stimulus 20 ms late": {"delay": 0.020},
    "the other convention": {"other": True},
    "skull conducts 3 times better": {"skull": 3.0 * heads.SKULL},
    "source 1 cm deeper": {"deeper": 0.01},
    "source tilted by 20°": {"tilt": 20.0},
    "gain 20 % lower": {"strength": 0.8},
}


def record(
    theta,
    dataset,
    noise_factor,
    *,
    rng,
    delay=0.0,
    other=False,
    aperiodic=False,
    reach=0.0,
    noise=1.0,
    strength=1.0,
    **head,
):
    """Averaged recordings (n, n_channels, n_times), V, of theta (n, 9), with a fault if one likes.

    dataset : a `Dataset`, of the experiment as it is assumed
    noise_factor : above 0; rng : numpy Generator, of the noise
    delay : s by which responses come late
    other : whether they come from the other convention of `CONVENTIONS`
    aperiodic : whether the noise has the spectrum of `noise_models.aperiodic_spectrum`
    reach : m, over which the noise is correlated between electrodes, see
        `noise_models.electrode_covariance`. Either noise has as much energy as the assumed one.
    noise : factor of the noise's power; strength : factor of the gain
    head : options of `heads.altered_lead_field`
    """
    likelihood = Likelihood.of(dataset, noise_factor)
    protocol, filtering = likelihood.protocol, likelihood.filtering
    names = [name for name in CONVENTIONS if (name == likelihood.convention.name) != other]
    late = replace(
        protocol,
        epoch=np.subtract(protocol.epoch, delay),
        baseline=np.subtract(protocol.baseline, delay),
    )
    response = simulate_erp(theta, late, get_convention(names[0]), reduce=filtering)
    montage = dataset.manifest["montage"]
    field = heads.altered_lead_field(montage, **head)
    whitener = likelihood.whiten(np.eye(dataset.n_times))

    def energy(covariance):
        return np.sum(whitener * (covariance @ whitener))

    over_time = dataset.covariance
    if aperiodic:
        colour = noise_models.aperiodic_autocovariance(
            protocol.n_trials * protocol.isi, protocol.dt
        )
        over_time = filtering @ averaging_covariance(protocol, colour) @ filtering.T
        over_time *= energy(dataset.covariance) / energy(over_time)
    n = len(field)
    centre = np.eye(n) - 1.0 / n
    over_channels = centre @ noise_models.electrode_covariance(montage, reach) @ centre
    over_channels *= noise * (n - 1) / np.trace(over_channels)
    added = noise_models.draw_noise(
        (len(theta), n, len(over_time)), over_time, rng, over_channels=over_channels
    )
    gain = strength * heads.MOMENT_PER_MV * field
    return (
        gain[:, np.newaxis] * response[:, np.newaxis] + noise_models.noise_sd(noise_factor) * added
    )
