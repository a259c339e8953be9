"""figures.style: what the figures and tables of several chapters must get right."""

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.text import Text

import figures
from experiments.compared_methods import METHODS
from figures import drawn
from jrlib.diagnostics.calibration import coverage
from jrlib.parameters import QUANTITY_NAMES


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def scores(factors, methods=tuple(METHODS), metric="pearson"):
    """Made-up rows of `comparison.scores` for one convention; the mean predictor has no correlation."""
    rows = []
    for factor, method, quantity in itertools.product(factors, methods, QUANTITY_NAMES):
        value = np.nan if method == "Mean" else 0.5
        snr = 75.0 - 10.0 * np.log10(factor) if factor else np.inf
        row = (factor, method, quantity, metric, value, value - 0.1, value + 0.1, snr)
        rows.append(("CLASSIC", *row))
    names = ["convention", "noise_factor", "method", "parameter", "metric", "value", "low", "high"]
    names.append("snr_db")
    return pd.DataFrame(rows, columns=names)


def cells(html):
    body = BeautifulSoup(html.data, "html.parser").tbody
    return [[cell.get_text(" ") for cell in row.find_all(["td", "th"])] for row in body("tr")]


def test_quality_table_has_a_row_for_each_quantity_and_level_in_order():
    table = figures.quality_table(scores([0.0, 1e4]), "tab-x", "Made up.")
    rows = cells(table)
    assert [row[0] for row in rows] == [f"${name}$" for name in QUANTITY_NAMES] * 2
    assert [row[1] for row in rows] == ["0"] * 13 + ["10,000"] * 13
    head = BeautifulSoup(table.data, "html.parser").thead.get_text(" ")
    assert "PCA + ridge" in head
    assert "mean predictor" not in head  # it has no correlation
    assert "nan" not in table.data.lower()


@pytest.mark.parametrize(
    ("metric", "low", "high", "bold"),
    [
        ("pearson", 0.01, 0.2, True),
        ("pearson", -0.01, 0.2, False),
        ("pearson", -0.2, -0.01, True),
        ("rmse", 0.9, 1.01, False),
        ("rmse", 0.8, 0.99, True),
    ],
)
def test_bold_numbers_are_told_apart_from_the_mean_predictor(metric, low, high, bold):
    frame = scores([1.0], ["Ridge"], metric).assign(value=(low + high) / 2, low=low, high=high)
    table = figures.quality_table(frame, "tab-x", "Made up.")
    assert ("<b>" in table.data) == bold


def test_the_first_column_of_a_table_stays_in_view():
    table = figures.table(pd.DataFrame({"a": [1, 2], "b": [3, 4]}), "tab-x", "Made up.")
    rows = BeautifulSoup(table.data, "html.parser")("tr")
    assert len(rows) == 3
    for row in rows:
        first, second = row.find_all(["td", "th"])
        assert "sticky" in first["style"]
        assert "style" not in second.attrs


def test_no_noise_stands_apart_on_the_axis_of_noise():
    positions = figures.noise_positions([0.0, 0.1, 1.0, 1e6])
    np.testing.assert_allclose(positions, [-2.5, -1.0, 0.0, 6.0])
    assert np.isfinite(figures.noise_positions([0.0])).all()
    _, ax = plt.subplots()
    figures.noise_axis(
        ax, scores([0.0, 0.1, 1.0, 10.0, 1e4]).groupby("noise_factor").snr_db.first()
    )
    labels = dict(
        zip(ax.get_xticks(), (text.get_text() for text in ax.get_xticklabels()), strict=True)
    )
    assert labels[-2.5].split("\n") == ["none", "$\\infty$"]
    assert labels[0.0].split("\n") == ["1", "75"]
    assert labels[4.0].split("\n") == ["$10^{4}$", "35"]


@pytest.mark.parametrize("factors", [[1.0], [1.0, 1e4, 1e6], [0.0, 0.1, 0.5, 1.0, 10.0, 1e6]])
def test_quality_figure_shows_every_point_in_its_panel(factors):
    frame = scores(factors)
    fig = figures.draw_quality(frame, frame[frame.parameter == "C"])
    titles = {ax.get_title(loc="left") or ax.get_title(): ax for ax in fig.axes}
    assert {f"${name}$" for name in QUANTITY_NAMES} < titles.keys()
    for ax in fig.axes:
        points = np.concatenate(
            [line.get_xydata() for line in ax.lines if line.get_marker() == "o"]
        )
        points = points[np.isfinite(points).all(axis=1)]
        assert len(points) == 8 * len(factors)
        low, high = ax.get_xlim()
        assert ((low < points[:, 0]) & (points[:, 0] < high)).all()
        x = points[:, 0].reshape(8, -1)
        assert len(np.unique(x.round(9))) == x.size, "points of two methods lie on each other"
    named = [text.get_text() for ax in fig.axes for text in ax.texts]
    assert sorted(named) == sorted(m.label for name, m in METHODS.items() if name != "Mean")


def test_quality_figure_carries_the_scores_it_shows():
    factors = [0.0, 0.1, 0.5, 1.0, 1e6]
    frame = scores(factors)
    frame["value"] += np.arange(len(frame)) / 1e3
    rows = drawn.data(figures.draw_quality(frame, frame[frame.parameter == "C"]))
    rows = rows.set_index(["panel", "series", rows.columns[3]]).sort_index()
    shown = frame[frame.method != "Mean"]
    assert len(rows) == len(shown) + 8 * len(factors)  # and the panel of the mean
    for row in shown.itertuples():
        found = rows.loc[row.parameter, METHODS[row.method].label, row.noise_factor]
        assert found["Pearson correlation"].item() == row.value
        assert (found.low.item(), found.high.item()) == (row.low, row.high)


@pytest.mark.parametrize("color", [*figures.COLORS, figures.GREY, figures.BLACK, "white"])
def test_ink_can_be_read_on_white(color):
    red, green, blue = np.asarray(figures.ink(color))
    linear = [
        ((c + 0.055) / 1.055) ** 2.4 if c > 0.04045 else c / 12.92 for c in (red, green, blue)
    ]
    assert 1.05 / (np.dot(linear, [0.2126, 0.7152, 0.0722]) + 0.05) >= 4.499


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_labels_of_lines_keep_their_distance_and_order(scale):
    fig, ax = plt.subplots(figsize=(4, 3))
    ends = [0.5, 0.501, 0.502, 0.503, 0.9]
    for end in ends:
        ax.plot([0.0, 1.0], [0.4, end], label=f"to {end}")
    ax.plot([0.0, 1.0], [0.4, np.nan], label="ends early")
    ax.set(ylim=(0.3, 1.0), yscale=scale)
    figures.label_lines(ax)
    fig.canvas.draw()
    boxes = {text.get_text(): Text.get_window_extent(text) for text in ax.texts}
    assert boxes.keys() == {"ends early", *(f"to {end}" for end in ends)}
    stacked = sorted(boxes.values(), key=lambda box: box.y0)
    for below, above in itertools.pairwise(stacked):
        assert above.y0 >= below.y1 - 1.0
    heights = [boxes[f"to {end}"].y0 for end in ends]
    assert heights == sorted(heights)
    frame = ax.get_window_extent()
    assert min(box.y0 for box in stacked) > frame.y0 - 20
    assert max(box.y1 for box in stacked) < frame.y1 + 20


def test_coverage_is_drawn_less_its_nominal_value_with_one_band():
    nominal = np.linspace(0.0, 1.0, 11)
    frame = coverage((np.arange(200) + 0.5) / 200, nominal, 0.999)
    _, ax = plt.subplots()
    figures.draw_excess(ax, {"one": frame, "two": frame}, color=figures.BLUE)
    figures.draw_excess(ax, {"three": frame}, color=figures.RED)
    lines = {line.get_label(): line for line in ax.lines}
    for label in ("one", "two", "three"):
        np.testing.assert_allclose(lines[label].get_ydata(), frame.observed - nominal)
    (band,) = ax.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].max() == pytest.approx((frame.high - nominal).max())
    plt.close()


@pytest.mark.parametrize(
    ("text", "typeset"),
    [
        ("A_e, part of the ceiling", "$A_e$, part of the ceiling"),
        ("the products C a_k, and C a_1..C a_4", "the products $C a_k$, and $C a_1$..$C a_4$"),
        ("b_e, b_i and C, at CLASSIC", "$b_e$, $b_i$ and $C$, at CLASSIC"),
        ("$A_e$ is one already", "$A_e$ is one already"),
        ("PCA + ridge, alpha_1", "PCA + ridge, alpha_1"),
    ],
)
def test_names_of_parameters_become_formulas(text, typeset):
    assert figures.formulas(text) == typeset
