"""Drawings of the chapter on the model."""

import re

import matplotlib.pyplot as plt
import mne

from figures.style import BLACK, BLUE, COLORS, GREY, RED, WIDTH, drawing, ink


@drawing
def conventions(frame, pulse_width):
    """The sigmoids of the conventions, and the evoked responses relative to their largest value.

    frame : columns curve ("sigmoid" or "response") and convention; of a sigmoid "potential (mV)",
        "firing rate (1/s)" and whether the potential is visited in the experiment; of a response
        "time (ms)" and "response (mV)"
    pulse_width : s
    """
    fig, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.1))
    for k, (name, rows) in enumerate(frame.groupby("convention", sort=False)):
        color, sigmoid = COLORS[name], rows[rows.curve == "sigmoid"]
        for line, style in ((sigmoid, {"lw": 1.2}), (sigmoid[sigmoid.visited], {"lw": 4.0})):
            alpha = 1.0 if line is sigmoid else 0.45
            x, y = line["potential (mV)"], line["firing rate (1/s)"]
            left.plot(x, y, color=color, alpha=alpha, **style)
        response = rows[rows.curve == "response"]
        largest = response["response (mV)"].abs().max()
        right.plot(response["time (ms)"], response["response (mV)"] / largest, color=color)
        style = {"color": ink(name), "ha": "right", "fontsize": 9}
        place = (0.98, 0.30 - 0.1 * k)
        right.annotate(f"{name}: {largest:.1f} mV", place, xycoords="axes fraction", **style)
        left.annotate(name, (64.0, 1.35 * sigmoid["firing rate (1/s)"].max()), **style)
    left.axvline(6.0, color=GREY, lw=0.8, ls=":")
    left.annotate("$v_0$", (8.0, 2e-4), color=GREY)
    left.set(yscale="log", ylim=(1e-4, 200.0), xlim=(-65.0, 65.0))
    left.set(title="Sigmoid", xlabel="potential $v$ (mV)", ylabel="firing rate $S(v)$ (1/s)")
    right.axvspan(0.0, 1e3 * pulse_width, color="#eeeeee", lw=0.0)
    right.annotate("pulse", (500.0 * pulse_width, 0.12), ha="center", color=GREY, fontsize=8)
    right.set(xlim=(-50.0, 400.0), title="Evoked response", xlabel="time after the pulse (ms)")
    right.set_ylabel("$y_1 - y_2$ (of its largest deflection)")
    return fig


@drawing
def convergence(frame):
    """Errors of the integrators against the step, on logarithmic axes.

    frame : columns method, "step (ms)", "largest error (of the range)" and order, the measured one
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 2.9))
    for method, rows in frame.groupby("method", sort=False):
        step, error = rows["step (ms)"], rows["largest error (of the range)"]
        (line,) = ax.loglog(step, error, "o-", label=method)
        text, place = f"{method}: order {rows.order.iloc[0]:.2f}", (step.iloc[4], error.iloc[4])
        style = {"color": ink(line.get_color()), "ha": "right", "textcoords": "offset points"}
        ax.annotate(text, place, (-6, 5), **style)
    ax.axvline(1.0, color=GREY, lw=0.8, ls=":")
    ax.annotate("1 ms", (1.0, 3e-11), (4, 0), textcoords="offset points", color=GREY)
    ax.set(xlabel="step (ms)", ylabel="largest error (of the range)", ylim=(1e-11, 1.0))
    ax.set_xticks([0.1, 1.0, 5.0], ["0.1", "1", "5"])
    ax.minorticks_off()
    return fig


@drawing
def speed(frame):
    """Speed against error of jrlib and of other simulators.

    frame : columns engine, dt_ms (step, ms), ns_per_ms (time per simulation and simulated
        millisecond, ns) and error_mv (largest error, mV), as in bench/results.csv
    """
    fig, ax = plt.subplots(figsize=(WIDTH, 3.7))
    style = {"textcoords": "offset points", "color": COLORS["CLASSIC"], "fontsize": 9}
    for engine, label, ls, ha in (
        ("jrlib rk4 float64", "jrlib rk4", "-", "left"),
        ("jrlib rk4 float32", "jrlib rk4, float32", ":", "right"),
    ):
        line = frame[frame.engine == engine]
        ax.loglog(line.ns_per_ms, line.error_mv, "o", ls=ls, color=COLORS["CLASSIC"])
        ax.annotate(label, tuple(line[["ns_per_ms", "error_mv"]].iloc[0]), (-4, 6), ha=ha, **style)
    style = {"textcoords": "offset points", "color": GREY, "fontsize": 8}
    others = frame[~frame.engine.str.startswith("jrlib")].sort_values("dt_ms", ascending=False)
    for engine, line in others.groupby("engine", sort=False):
        ax.plot(line.ns_per_ms, line.error_mv, "s-", color=GREY, lw=0.7, ms=3.5)
        above, below = engine.startswith("diffrax"), engine in ("brainmass", "NumPy")
        end = tuple(line[["ns_per_ms", "error_mv"]].iloc[0 if above else -1])
        offset = (0, 4) if above else (-2, -12) if below else (5, -3)
        ax.annotate(engine, end, offset, rotation=25 if above else 0, **style)
    ax.set(xlabel="time per simulation and simulated millisecond (ns)", ylabel="largest error (mV)")
    ax.set_xlim(0.15, 1e6)
    return fig


@drawing
def regimes(frame, p_range):
    """Bifurcation diagram over a constant input, and below it the frequencies of the cycles.

    frame : columns series, stability, "p (1/s)", "lowest (mV)", "highest (mV)" and "frequency
        (Hz)". The series are "equilibria"; the limit cycles "alpha" and "spikes"; simulations with
        "p rising" and "p falling"; and bifurcations: "fold", "Hopf" and "fold of cycles".
    """
    fig, (ax, below) = plt.subplots(
        2, 1, figsize=(WIDTH, 5.2), sharex=True, height_ratios=(2.2, 1.0)
    )
    series = dict(list(frame.groupby("series", sort=False)))
    for name, color in (("equilibria", BLACK), ("alpha", BLUE), ("spikes", RED)):
        for panel, columns in ((ax, ["lowest (mV)", "highest (mV)"]), (below, ["frequency (Hz)"])):
            _draw_by_stability(panel, series[name], columns, color=color)
    for name, marker in (("p rising", 5), ("p falling", 4)):
        style = {"ls": "", "marker": marker, "color": GREY, "ms": 5}
        for panel, column in ((ax, "lowest (mV)"), (ax, "highest (mV)"), (below, "frequency (Hz)")):
            panel.plot(series[name]["p (1/s)"], series[name][column], **style)
    for name, marker in (("fold", "s"), ("Hopf", "o")):
        style = {"ls": "", "marker": marker, "color": BLACK, "mfc": "white", "ms": 5.5, "zorder": 5}
        ax.plot(series[name]["p (1/s)"], series[name]["lowest (mV)"], **style)
    for text, place, color in (
        ("alpha rhythm", (228.0, 9.5), BLUE),
        ("spikes", (90.0, 11.2), ink(RED)),
        ("rest", (-20.0, -3.6), BLACK),
        ("high rest", (345.0, 7.0), BLACK),
        ("unstable", (-2.0, 3.5), GREY),
    ):
        ax.annotate(text, place, color=color, ha="center", fontsize=9)
    ax.set(ylabel="$y_1 - y_2$ (mV)", ylim=(-5.0, 12.8))
    below.set(xlabel="constant input $p$ (1/s)", xlim=p_range)
    below.set(ylabel="frequency (Hz)", ylim=(0.0, 12.5))
    first, last = (series[name]["p (1/s)"].iloc[0] for name in ("fold", "fold of cycles"))
    for panel in (ax, below):
        panel.axvspan(first, last, color="#eeeeee", lw=0.0)
    ax.annotate("two rhythms", (125.5, -4.6), ha="center", fontsize=8, color=GREY)
    return fig


def _draw_by_stability(axes, rows, columns, *, color):
    """Draw columns over the input: solid where stable, dashed where not."""
    styles = {"stable": {"ls": "-", "lw": 1.8}, "unstable": {"ls": (0, (3, 2)), "lw": 1.1}}
    for column in columns:
        for stability, style in styles.items():
            values = rows[column].where(rows.stability == stability)
            axes.plot(rows["p (1/s)"], values, color=color, **style)


@drawing
def ongoing(frame):
    """Traces of ongoing activity, one below the other on one scale.

    frame : columns regime (a title, in which the input is called p), "time (s)", "potential (mV)"
    """
    names, colors = frame.regime.unique(), (BLACK, RED, BLUE, BLUE)
    fig, axes = plt.subplots(len(names), 1, figsize=(WIDTH, 4.6), sharex=True, sharey=True)
    for ax, name, color in zip(axes, names, colors, strict=True):
        trace = frame[frame.regime == name]
        ax.plot(trace["time (s)"], trace["potential (mV)"], color=color, lw=1.2)
        ax.set_title(re.sub(r"\bp\b", "$p$", name), fontsize=9, fontweight="normal")
    axes[-1].set(xlabel="time (s)", xlim=(0.0, round(frame["time (s)"].max(), 2)))
    fig.supylabel("$y_1 - y_2$ (mV)", fontsize=10)
    return fig


@drawing
def scalp(frame, info, peak):
    """An evoked response at all electrodes, and its topography at one moment.

    frame : columns channel, "time (ms)" and "potential (µV)"; info : `mne.Info` of the channels
    peak : time of the topography, s
    """
    wide = frame.pivot(index="channel", columns="time (ms)", values="potential (µV)")
    tmin = 1e-3 * wide.columns[0]
    evoked = mne.EvokedArray(1e-6 * wide.loc[info.ch_names].to_numpy(), info, tmin)
    widths = {"width_ratios": (2.1, 1.0, 0.05)}
    fig, (left, right, bar) = plt.subplots(1, 3, figsize=(WIDTH, 3.0), **widths)
    style = {"spatial_colors": True, "time_unit": "ms", "show": False, "selectable": False}
    evoked.plot(axes=left, **style)
    for text in list(left.texts):
        text.remove()
    left.axvline(1e3 * peak, color=GREY, lw=0.8, ls=":")
    left.set(title="All channels", ylabel="potential (µV)", xlabel="time after the pulse (ms)")
    left.set_xlim(1e3 * evoked.tmin, 1e3 * evoked.tmax)
    evoked.plot_topomap(peak, axes=[right, bar], show=False, time_format="", cbar_fmt="%.0f")
    for head in (right, fig.axes[-1]):
        head.axis("off")
    right.set_title(f"Topography at {1e3 * peak:.0f} ms", loc="center")
    bar.set_title("µV", loc="center", fontweight="normal", fontsize=9)
    bar.set_title("", loc="left")
    return fig
