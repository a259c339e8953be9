"""Drawings of the chapter on sensitivity."""

import matplotlib.pyplot as plt
import numpy as np

from figures.axes import label_lines
from figures.style import BLACK, BLUE, COLORS, GREY, ORANGE, RED, SKY, WIDTH, drawing, ink
from jrlib.parameters import PARAMETERS

SYMBOLS = {parameter.name: f"${parameter.symbol}$" for parameter in PARAMETERS}


@drawing
def waveforms(frame):
    """Families of responses when one parameter is multiplied by factors.

    frame : columns convention, parameter, factor, "time (ms)" and "response (mV)". A row of panels
        for each convention, a column for each parameter.
    """
    conventions, factors = frame.convention.unique(), frame.factor.unique()
    fig, axes = plt.subplots(
        len(conventions), len(SYMBOLS), figsize=(WIDTH, 3.1), sharex=True, sharey="row"
    )
    colors = plt.get_cmap("viridis_r")(np.linspace(0.12, 1.0, len(factors)))
    for row, name in zip(axes, conventions, strict=True):
        for ax, (parameter, symbol) in zip(row, SYMBOLS.items(), strict=True):
            family = frame[(frame.convention == name) & (frame.parameter == parameter)]
            for (_, wave), color in zip(family.groupby("factor"), colors, strict=True):
                ax.plot(wave["time (ms)"], wave["response (mV)"], color=color, lw=0.9)
            if name == conventions[0]:
                ax.set_title(symbol, loc="center")
            ax.set_xticks([0, 400])
            ax.tick_params(labelsize=8)
        row[0].set_ylabel(f"{name}\n$y_1 - y_2$ (mV)")
    fig.supxlabel("time after the pulse (ms)", fontsize=10)
    ends = factors.min(), factors.max()
    scale = plt.cm.ScalarMappable(plt.Normalize(*ends), "viridis_r")
    bar = fig.colorbar(scale, ax=axes, ticks=[ends[0], 1.0, ends[1]], aspect=30, pad=0.01)
    bar.set_label("factor")
    return fig


@drawing
def profiles(frame, highest):
    """Amplitude, error and gradient over the factor of a parameter, a row for each convention.

    frame : rows of `sensitivity.profiles`, with a column convention
    highest : convention -> largest amplitude, mV, that the axis has room for
    """
    fig, axes = plt.subplots(len(highest), 3, figsize=(WIDTH, 4.6), sharex=True, sharey=False)
    palette = [BLUE, RED, SKY, ORANGE, BLACK]
    styles = ["-", "-", (0, (5, 1.5)), (0, (5, 1.5)), (0, (1.5, 1.2))]
    names = frame.parameter.unique()
    for row, convention in zip(axes, frame.convention.unique(), strict=True):
        for ax, column in zip(row, ("amplitude", "error", "gradient"), strict=True):
            for parameter, color, style in zip(names, palette, styles, strict=False):
                line = frame[(frame.convention == convention) & (frame.parameter == parameter)]
                values = line[column].where(line[column] > 0)
                ax.plot(line.factor, values, color=color, ls=style, label=SYMBOLS[parameter])
            ax.set_xticks([0.5, 1.0, 1.5])
            if column != "amplitude":
                ax.set(yscale="log", ylim=(5e-6, 8.0))
            if convention == frame.convention.iloc[0]:
                ax.set_title(column if column == "amplitude" else f"{column} (relative)")
        row[0].set_ylim(0.0, 1.05 * highest[convention])
        row[0].set_ylabel(f"{convention}\namplitude (mV)")
    fig.supxlabel("factor of the typical value", fontsize=10)
    lines = axes[0, 0].get_legend_handles_labels()
    style = {"ncols": len(names), "handlelength": 3.0, "fontsize": 10}
    fig.legend(*lines, loc="outside upper center", **style)
    return fig


@drawing
def spectrum(frame, noise_factor):
    """Singular values of the derivatives, and the standard errors that sensor noise leaves.

    frame : columns convention, direction (1 is the most visible), "singular value" and "relative
        standard error" at the noise factor; eight directions, for the ninth is invisible
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.3))
    for name, line in frame.groupby("convention", sort=False):
        style = {"color": COLORS[name], "marker": "o", "lw": 1.0, "ms": 5, "label": name}
        left.semilogy(line.direction, line["singular value"], **style)
        right.semilogy(line.direction, line["relative standard error"], **style)
    for ax in (left, right):
        ax.set(xlabel="direction, most visible first", xlim=(0.5, 9.5))
        ax.set_xticks(range(1, 10))
        ax.axvspan(8.5, 9.5, color="#eeeeee", lw=0.0)
    left.set(title="Visibility", ylabel="singular value $s$", ylim=(1e-11, 30.0))
    left.annotate("none", (9.0, 3e-11), ha="center", color=GREY, fontsize=8)
    places = {"RELEASED": (4.8, 3e-8), "TABULATED": (8.4, 0.5), "CLASSIC": (8.4, 5.0)}
    for name, place in places.items():
        left.annotate(name, place, color=ink(name), ha="right", fontsize=9)
    louder = noise_factor**0.5
    right.set(title=f"Error at noise factor {noise_factor:g}", ylabel="relative standard error")
    right.set_ylim(1e-8 * louder, 1e8 * louder)
    right.axhline(1.0, color=GREY, lw=0.8, ls=":")
    right.annotate("100 %", (0.6, 1.4), color=GREY, fontsize=8)
    right.annotate("none", (9.0, 3e-8 * louder), ha="center", color=GREY, fontsize=8)
    return fig


@drawing
def relative_sensitivities(frame):
    """Relative sensitivities to each parameter as dots on a logarithmic axis.

    frame : rows of `sensitivity.relative_sensitivity`, with a column convention
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.0))
    for name, line in frame.groupby("convention", sort=False):
        positions = [list(SYMBOLS).index(parameter) for parameter in line.parameter]
        ax.plot(positions, line.sensitivity, "o-", color=COLORS[name], lw=0.8, ms=6, label=name)
    ax.set(yscale="log", ylabel="relative change of the response\nper relative change")
    ax.set_xticks(range(len(SYMBOLS)), SYMBOLS.values())
    ax.margins(x=0.03)
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    label_lines(ax)
    return fig
