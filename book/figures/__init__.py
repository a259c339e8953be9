"""The drawings and tables of the book.

A chapter prepares a tidy DataFrame and shows it with one call:

    frame = ...                                  # a row for each point, bar or interval
    figures.model.conventions(frame);            # in a cell with a figure's name in its metadata
    figures.table(frame, "tab-...", "Caption.")  # a table

The drawing functions of a chapter are in the module `figures.<chapter>`, which the chapter imports
by itself (`import figures.model`); what several chapters draw with is here. A drawing function is
marked with `drawing`, takes the DataFrame as its first argument, and returns the figure:

    @drawing
    def conventions(frame, pulse_width):
        '''What the figure shows. frame : its columns, with their units.'''
        figure, axes = plt.subplots(...)
        for name, rows in frame.groupby("convention", sort=False):
            axes.plot(rows["time (ms)"], rows["response (mV)"], color=COLORS[name], label=name)
        return figure

So the figure carries the numbers that it was drawn from, as `figure.data`. The notebook puts them
beside the image as text/csv, and the page offers them as a file. A frame that holds several kinds
of things has a column that says which a row is, such as "series". Columns are named for someone
who opens the file in a spreadsheet: words and units, parameters as in `QUANTITY_NAMES` ("C a_1",
which `symbol` makes a formula). What is no data, such as places of labels, is a keyword or a
constant of the function. A figure without data is an error.
"""

from figures.axes import draw_excess, label_lines, noise_axis, noise_positions
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
    drawing,
    ink,
    stamp,
    use_house_style,
)
from figures.tables import (
    METRICS,
    Table,
    formulas,
    plain,
    quality_table,
    symbol,
    table,
    with_interval,
)

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
    "drawing",
    "formulas",
    "ink",
    "label_lines",
    "noise_axis",
    "noise_positions",
    "plain",
    "quality_table",
    "stamp",
    "symbol",
    "table",
    "use_house_style",
    "with_interval",
]
