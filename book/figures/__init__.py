"""The drawings and tables of the book."""

from figures.calibrated import draw_excess
from figures.diagram import flow_diagram
from figures.noise import METRICS, draw_quality, noise_axis, noise_positions
from figures.sensitivity import draw_relative_sensitivities
from figures.style import (
    BLACK,
    BLUE,
    COLORS,
    DASHED,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    YELLOW,
    ink,
    label_lines,
    stamp,
    use_house_style,
)
from figures.tables import Table, formulas, quality_table, table

__all__ = [
    "BLACK",
    "BLUE",
    "COLORS",
    "DASHED",
    "GREEN",
    "GREY",
    "METRICS",
    "ORANGE",
    "PURPLE",
    "RED",
    "SKY",
    "WIDTH",
    "YELLOW",
    "Table",
    "draw_excess",
    "draw_quality",
    "draw_relative_sensitivities",
    "flow_diagram",
    "formulas",
    "ink",
    "label_lines",
    "noise_axis",
    "noise_positions",
    "quality_table",
    "stamp",
    "table",
    "use_house_style",
]
