"""figures: the data they carry, and what figures and tables of several chapters must get right."""

import io
import itertools
from pathlib import Path

import browser
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.text import Text

import figures.noise
from experiments.compared_methods import METHODS
from jrlib.diagnostics.calibration import coverage
from jrlib.parameters import QUANTITY_NAMES


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def scores(factors, methods=tuple(METHODS), metric="pearson", parameters=QUANTITY_NAMES):
    """Made-up `comparison.scores` of one convention; the mean predictor has no correlation."""
    rows = []
    for factor, method, quantity in itertools.product(factors, methods, parameters):
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


@figures.drawing
def lines(frame, label="a"):
    figure, axes = plt.subplots()
    axes.plot(frame.x, frame.y, label=label)
    return figure


def shown(thing):
    """What a notebook gets to see, by kind."""
    figures.use_house_style()
    return InteractiveShell.instance().display_formatter.format(thing)[0]


def test_a_figure_is_shown_with_the_data_that_it_was_drawn_from():
    frame = pd.DataFrame(
        {"x": [1.0, 10.0, 1e3], "y": [0.1, np.pi, -2e-17], "word": ["a", "b", "c"]}
    )
    figure = lines(frame, label="b")
    assert figure.data is frame
    bundle = shown(figure)
    assert {"image/svg+xml", "text/csv"} <= bundle.keys()
    back = pd.read_csv(io.StringIO(bundle["text/csv"]))
    pd.testing.assert_frame_equal(back, frame, check_exact=True)


def test_a_figure_without_data_is_an_error(capsys):
    assert "text/csv" not in shown(plt.figure())
    assert "the figure carries no data" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ({"x": [1.0]}, TypeError, "data: got dict, expected a DataFrame"),
        (pd.DataFrame({"x": [], "y": []}), ValueError, r"data: .* \(0, 2\), expected rows to draw"),
        (pd.DataFrame([[1.0, 2.0]]), ValueError, r"data: got columns \[0, 1\], expected words"),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), ValueError, "expected each name once"),
    ],
)
def test_what_is_no_data_to_draw_from_is_refused(data, error, message):
    with pytest.raises(error, match=message):
        lines(data)


def test_a_table_is_shown_with_its_data():
    texts = ["<i>x</i> &lt; 1", "y < 1, z > 2"]
    frame = pd.DataFrame({"<b>of</b><br>$A_e$": texts, "n": [np.pi, 2.0], "k": [np.nan, 1.25]})
    bundle = shown(figures.table(frame, "tab-x", "<i>Made</i> up.", formats={"n": "{:.1f}"}))
    page = BeautifulSoup(bundle["text/html"], "html.parser")
    assert page.find("table", id="tab-x").caption.get_text() == "Made up."
    assert [[cell.get_text() for cell in row("td")] for row in page.tbody("tr")] == [
        ["x < 1", "3.1", ""],
        ["y < 1, z > 2", "2.0", "1.25"],
    ]
    back = pd.read_csv(io.StringIO(bundle["text/csv"]))
    assert back.drop(columns="k").to_dict("list") == {
        "of A_e": ["x < 1", "y < 1, z > 2"],
        "n": [np.pi, 2.0],
    }


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
    fig = figures.noise.quality(scores(factors, parameters=(*QUANTITY_NAMES, figures.noise.MEAN)))
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


def test_quality_figure_draws_the_scores_it_carries():
    factors = [0.0, 0.1, 0.5, 1.0, 1e6]
    frame = scores(factors, parameters=(*QUANTITY_NAMES, figures.noise.MEAN))
    frame["value"] += np.arange(len(frame)) / 1e3
    fig = figures.noise.quality(frame)
    panels = {ax.get_title().strip("$"): ax for ax in fig.axes if ax.get_title()}
    panels |= {ax.get_title("left").strip("$"): ax for ax in fig.axes if ax.get_title("left")}
    panels[figures.noise.MEAN] = panels.pop("mean over all thirteen")
    drawn = 0
    for (parameter, method), rows in frame[frame.method != "Mean"].groupby(["parameter", "method"]):
        ax, label = panels[parameter], METHODS[method].label
        (line,) = [line for line in ax.lines if line.get_label() == label]
        (bars,) = [bars for bars in ax.collections if bars.get_label() == label]
        values = line.get_ydata()
        np.testing.assert_array_equal(values[np.isfinite(values)], rows.value)
        ends = np.array([path.vertices[:, 1] for path in bars.get_paths()])
        np.testing.assert_array_equal(ends, rows[["low", "high"]])
        positions = line.get_xdata()[np.isfinite(values)]
        assert (np.abs(positions - figures.noise_positions(factors)) < 0.5).all()
        drawn += len(rows)
    assert drawn == 8 * len(factors) * 14
    assert fig.data is frame


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
    both = pd.concat([frame.assign(series=name) for name in ("one", "two")])
    figures.draw_excess(ax, both, color=figures.BLUE)
    figures.draw_excess(ax, frame.assign(series="three"), color=figures.RED)
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


def test_captions_and_first_columns_stay_in_view_on_a_narrow_page():
    """The table of many columns is scrolled to the right, on a page with the book's style sheet."""
    frame = pd.DataFrame({f"some column {i}": [1.5, 2.5] for i in range(14)})
    markup = figures.table(frame, "tab-x", "A caption that is wider than the page. " * 3).data
    styles = (Path(figures.__file__).parents[1] / "_static" / "custom.css").read_text()
    parts = ("caption > div", "th", "td", "td:nth-child(3)")
    try:
        with browser.launched() as chromium:
            page = chromium.new_page(viewport={"width": 400, "height": 800})
            page.set_content(
                f'<style>{styles}</style><div class="cell_output"><div class="text_html">{markup}'
                "</div></div>"
            )
            page.evaluate("document.querySelector('.text_html').scrollLeft = 300")
            caption, head, first, other = (
                page.locator(f"#tab-x {part}").first.bounding_box() for part in parts
            )
            ground = page.locator("#tab-x td").first.evaluate("e => getComputedStyle(e).background")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert other["x"] < 0, "scrolled out of view"
    assert 0 <= head["x"] == first["x"] < 20
    assert "rgb(255, 255, 255)" in ground  # not transparent
    assert caption["x"] >= 0
    assert caption["x"] + caption["width"] <= 400
