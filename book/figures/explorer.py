"""What the explorer, which runs in the reader's browser, is given by Python."""

import json

import numpy as np
from IPython.display import HTML
from scipy.interpolate import RBFInterpolator

from figures.style import BLUE, COLORS, RED
from jrlib.parameters import CONVENTIONS, PARAMETERS
from jrlib.sensors import heads, noise_models
from jrlib.simulation.protocol import Protocol

EDGE = 118.0  # degrees from the vertex at which the drawn head ends, beyond the lowest electrode
SIDE = 61  # points along the side of the map of the scalp
# Jupyter Book puts the scripts and styles in _static on every page; they act on this element.
PAGE = (
    '<div id="explorer-app"><noscript>The explorer computes in your browser and needs JavaScript, '
    "which is switched off. All other pages do without.</noscript></div>"
    '<script type="application/json" id="explorer-data">{data}</script>'
)


def page(alpha_background):
    """The explorer, with the model's constants and the lead field that it computes with.

    alpha_background : background input of the preset with an alpha rhythm, 1/s
    """
    info = heads.montage_info()
    gain = 1e6 * heads.MOMENT_PER_MV * heads.lead_field()  # microvolts per mV
    colors = {name: COLORS[name] for name in CONVENTIONS} | {"positive": RED, "negative": BLUE}
    data = {
        "parameters": [vars(parameter) for parameter in PARAMETERS],
        "conventions": {name: vars(convention) for name, convention in CONVENTIONS.items()},
        "protocol": vars(Protocol()),
        # In mV, as `Dataset.source_noise`.
        "sourceNoise": 1e6 * noise_models.SENSOR_NOISE / np.linalg.norm(gain),
        "scalp": {"names": info.ch_names, "gain": gain.tolist(), **_scalp_map(gain, info)},
        "colors": colors,
        "alpha": alpha_background,
    }
    return HTML(PAGE.format(data=json.dumps(data)))


def _scalp_map(gain, info):
    """Electrodes on the drawn head (unit disc, azimuthal equidistant), and a map of the gain.

    Between the electrodes the map is a thin-plate spline over the sphere; its rows go from front to
    back.
    """
    positions = np.array([channel["loc"][:3] for channel in info["chs"]]) - heads.HEAD_CENTRE
    positions /= np.linalg.norm(positions, axis=1, keepdims=True)
    radius = np.degrees(np.arccos(positions[:, 2])) / EDGE
    flat = positions[:, :2] / np.linalg.norm(positions[:, :2], axis=1, keepdims=True).clip(1e-9)
    x, y = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(1, -1, SIDE))
    distance = np.hypot(x, y)
    angle = np.radians(EDGE) * distance.clip(max=1.1)
    side = np.sin(angle) / distance.clip(1e-9)
    grid = np.stack([x * side, y * side, np.cos(angle)], axis=-1).reshape(-1, 3)
    values = RBFInterpolator(positions, gain, kernel="thin_plate_spline")(grid)
    electrodes = (radius[:, np.newaxis] * flat).round(4)
    return {"electrodes": electrodes.tolist(), "grid": values.round(4).tolist(), "side": SIDE}
