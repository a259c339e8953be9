"""Fig. 1 of the study, the flow diagram."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Polygon

from figures.style import BLACK, BLUE, COLORS, GREY, RED, WIDTH, drawing, ink


@drawing
def study_flow(waveform):
    """Fig. 1: from the model's parameters to simulated EEG, and back to estimates of them.

    waveform : the evoked response in the diagram, columns "time (ms)" and "response (mV)"
    """
    height, bottom, top = 3.95, 0.66, 3.48
    figure = plt.figure(figsize=(WIDTH, height), layout="none")
    page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))
    page.axis("off")

    def write(place, text, size=9.5, **style):
        page.text(*place, text, fontsize=size, **{"ha": "center", "va": "center"} | style)

    def box(corner, size, edge, face="white"):
        style = "round,pad=0,rounding_size=0.07"
        page.add_patch(FancyBboxPatch(corner, *size, boxstyle=style, fc=face, ec=edge, lw=1.0))

    def arrow(start, end, color, *, bend=0.0, width=1.5):
        page.add_patch(
            FancyArrowPatch(
                start,
                end,
                arrowstyle="-|>",
                connectionstyle=f"arc3,rad={bend}",
                mutation_scale=12,
                shrinkA=0,
                shrinkB=0,
                color=color,
                lw=width,
            )
        )

    # The stages: title, left edge, width.
    stages = [
        ("Jansen–Rit model", 0.06, 2.3),
        ("Simulated EEG", 2.66, 1.42),
        ("Inverse models", 4.38, 1.42),
        ("Estimates", 6.1, 1.04),
    ]
    for title, left, width in stages:
        box((left, bottom), (width, top - bottom), "#d0d0d0", "#f7f7f7")
        write((left + width / 2, top + 0.19), title, 10.5, fontweight="bold")
    middle = (bottom + top) / 2
    for (_, left, width), (_, following, _) in itertools.pairwise(stages):
        arrow((left + width + 0.03, middle), (following - 0.03, middle), BLACK, width=1.8)

    # Stage 1: three populations; the pyramidal cells send to both kinds of interneurons.
    for x, color, name in ((0.52, BLUE, "excitatory"), (1.9, RED, "inhibitory")):
        page.add_patch(Circle((x, 2.83), 0.16, fc=color, ec="none"))
        write((x, 3.2), f"{name}\ninterneurons", 8.5, color=ink(color), linespacing=1.05)
    page.add_patch(Polygon([(1.21, 1.74), (0.98, 1.34), (1.44, 1.34)], fc=BLACK, ec="none"))
    write((1.21, 1.2), "pyramidal cells", 8.5)
    arrow((1.0, 1.56), (0.47, 2.64), BLACK, bend=-0.28)
    arrow((0.68, 2.74), (1.15, 1.76), BLUE, bend=-0.28)
    arrow((1.42, 1.56), (1.95, 2.64), BLACK, bend=0.28)
    arrow((1.74, 2.74), (1.27, 1.76), RED, bend=0.28)
    write((0.29, 2.08), "$C a_1$")
    write((0.81, 2.08), "$C a_2$", color=BLUE)
    write((2.14, 2.08), "$C a_3$")
    write((1.61, 2.08), "$C a_4$", color=ink(RED))
    write((0.4, 1.45), "$A_e,\\ b_e$", color=BLUE)
    write((2.02, 1.45), "$A_i,\\ b_i$", color=ink(RED))
    pulses = np.array([0, 0, 1, 1, 0, 0, 1, 1, 0, 0])
    page.plot(
        0.2 + 0.08 * np.array([0, 1, 1, 2, 2, 5, 5, 6, 6, 7]), 0.78 + 0.17 * pulses, color=GREY
    )
    write((0.86, 0.86), "pulses, 1 per second", 8.5, color=GREY, ha="left")

    # Stage 2: the averaged response of the column, and where on the head it is seen.
    response = figure.add_axes((2.76 / WIDTH, 2.42 / height, 1.22 / WIDTH, 0.72 / height))
    response.plot(waveform["time (ms)"], waveform["response (mV)"], color=BLUE)
    response.axis("off")
    write((3.37, 3.26), "$y_1 - y_2$, averaged", 8.5)
    arrow((3.37, 2.36), (3.37, 2.06), BLACK, width=1.2)
    write((3.45, 2.21), "lead field", 8.5, ha="left", color=GREY)
    centre, radius = np.array([3.37, 1.44]), 0.45
    nose = centre + radius * np.array([(-0.16, 0.97), (0.0, 1.2), (0.16, 0.97)])
    page.plot(*nose.T, color=GREY, lw=1.2)
    page.add_patch(Circle(centre, radius, fc="white", ec=GREY, lw=1.2))
    ring = [(0.0, 1), (0.32, 6), (0.62, 12), (0.88, 18)]
    angles = [(r, 2 * np.pi * k / n) for r, n in ring for k in range(n)]
    sensors = np.array([(r * np.sin(a), r * np.cos(a)) for r, a in angles])
    potential = np.exp(-(((sensors - (-0.35, 0.25)) / 0.5) ** 2).sum(axis=1))
    potential -= 0.7 * np.exp(-(((sensors - (0.45, -0.2)) / 0.8) ** 2).sum(axis=1))
    where = centre + radius * sensors
    page.scatter(*where.T, s=13, c=potential, cmap="RdBu_r", vmin=-1, vmax=1, ec=GREY, lw=0.3)
    write((3.37, 0.82), "64 electrodes + noise", 8.5)

    # Stage 3: the methods; stage 4: what they estimate.
    names = {
        "EEGTransformer": "EEGTransformer",
        "VanillaLSTM": "vanilla LSTM",
        "CNNBiLSTM": "CNN-BiLSTM",
        "NPE": "SBI (NPE)",
    }
    for k, (name, label) in enumerate(names.items()):
        low = 2.86 - 0.68 * k
        box((4.48, low), (1.22, 0.48), COLORS[name])
        write((5.09, low + 0.24), label, 9.0)
    groups = [
        ("gains", "$A_e \\quad A_i$"),
        ("rates", "$b_e \\quad b_i$"),
        ("connectivity", "$a_1 \\quad a_2$\n$a_3 \\quad a_4$\n$C$"),
    ]
    for (name, symbols), low, high in zip(
        groups, (2.68, 1.88, 0.82), (0.66, 0.66, 0.92), strict=True
    ):
        box((6.18, low), (0.88, high), "#d0d0d0")
        write((6.62, low + high - 0.14), name, 8.5, color=GREY)
        write((6.62, low + (high - 0.2) / 2), symbols, 10.5, linespacing=1.2)

    # The loop is closed by comparing the estimates with the parameters behind the data.
    page.plot([6.62, 6.62, 1.21, 1.21], [0.6, 0.28, 0.28, 0.5], color=GREY, lw=1.2, ls=(0, (4, 2)))
    arrow((1.21, 0.52), (1.21, 0.63), GREY, width=1.2)
    write(
        (3.9, 0.28),
        "compared with the parameters behind the data",
        9.0,
        color=GREY,
        bbox={"fc": "white", "ec": "none", "pad": 3},
    )
    return figure
