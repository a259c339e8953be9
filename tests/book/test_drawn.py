"""figures.drawn: what was drawn must come back as the same numbers, under the right names."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from matplotlib.collections import LineCollection
from matplotlib.patches import Rectangle

import figures
from figures import drawn

X, Y = np.array([1.0, 10.0, 1e3]), np.array([0.1, np.pi, -2e-17])


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.subplots()[1]


def read(ax, series=None):
    rows = drawn.data(ax.figure)
    return rows if series is None else rows[rows.series == series].reset_index(drop=True)


def expect(rows, kind, **columns):
    assert (rows.kind == kind).all()
    for name, values in columns.items():
        np.testing.assert_array_equal(rows[name].astype(float), values, err_msg=name)


@pytest.mark.parametrize("scale", ["linear", "log"])
@pytest.mark.parametrize(("style", "kind"), [("-", "line"), ("o-", "line"), ("o", "points")])
def test_lines_and_points_hold_the_values_to_the_last_bit(ax, scale, style, kind):
    ax.plot(X, Y, style, label="$C a_1$")
    ax.set(xscale=scale)
    expect(read(ax, "C a_1"), kind, x=X, y=Y)


def test_what_is_not_drawn_is_left_out(ax):
    ax.plot([1.0, 2.0, 3.0], [1.0, np.nan, 3.0], label="a")
    ax.plot(X, Y, label="hidden")[0].set_visible(False)
    ax.axhline(0.5)
    ax.axvspan(1.0, 2.0)
    ax.text(1.0, 1.0, "note")
    ax.legend()
    expect(read(ax), "line", x=[1.0, 3.0], y=[1.0, 3.0])


def test_guides_with_a_label_are_data(ax):
    ax.plot([0.0, 1.0], [0.0, 1.0], label="a")
    ax.axhline(0.25, label="threshold")
    ax.axvline(0.5, label="_truth")
    ax.axhspan(0.5, 0.75, label="band")
    expect(read(ax, "threshold"), "line", x=[np.nan], y=[0.25])
    expect(read(ax, "truth"), "line", x=[0.5], y=[np.nan])
    expect(read(ax, "band"), "band", low=[0.5], high=[0.75])


@pytest.mark.parametrize("draw", ["vlines", "errorbar"])
def test_intervals_are_in_the_row_of_their_point(ax, draw):
    if draw == "vlines":
        ax.vlines(X, Y - 1.0, Y + 2.0, label="a")
        ax.plot(X, Y, "o-", label="a")
    else:
        ax.errorbar(X, Y, yerr=[[1.0] * 3, [2.0] * 3], fmt="o-", capsize=3, label="a")
    ax.vlines([5.0], 0.0, 1.0, label="alone")
    ax.hlines([5.0], 3.0, 4.0, label="across")
    expect(read(ax, "a"), "line", x=X, y=Y, low=Y - 1.0, high=Y + 2.0)
    expect(read(ax, "alone"), "interval", x=[5.0], y=[np.nan], low=[0.0], high=[1.0])
    expect(read(ax, "across"), "interval", y=[5.0], **{"x low": [3.0], "x high": [4.0]})


def test_intervals_that_are_not_drawn_are_left_out(ax):
    ax.vlines(X, [0.0, np.nan, 0.0], [1.0, 1.0, np.nan], label="a")
    ax.vlines(X, np.nan, np.nan, label="none")
    expect(read(ax), "interval", x=X[:1], low=[0.0], high=[1.0])


def test_lines_of_a_collection_that_are_no_intervals_are_an_error(ax):
    ax.add_collection(LineCollection([[(0.0, 0.0), (1.0, 1.0)]]))
    with pytest.raises(TypeError, match="LineCollection"):
        read(ax)


def test_bands(ax):
    ax.fill_between(X, Y - 1.0, Y + 1.0, label="a")
    ax.fill_betweenx(X, -Y, Y + 7.0, label="b")
    expect(read(ax, "a"), "band", x=X, low=Y - 1.0, high=Y + 1.0)
    expect(read(ax, "b"), "band", y=X, **{"x low": -Y, "x high": Y + 7.0})


def test_bars_and_histograms(ax):
    edges = np.array([0.0, 1.0, 4.0])
    ax.stairs([5.0, 6.0], edges, label="histogram")
    ax.bar([10.0, 20.0], [-1.0, 2.0], width=2.0, label="bars")
    ax.barh([30.0], [3.0], height=1.0, label="across")
    ax.stem([40.0, 41.0], [1.0, 2.0], label="stems")
    bounds = {"x low": edges[:-1], "x high": edges[1:]}
    expect(read(ax, "histogram"), "bar", x=[0.5, 2.5], y=[5.0, 6.0], **bounds)
    bounds = {"x low": [9.0, 19.0], "x high": [11.0, 21.0]}
    expect(read(ax, "bars"), "bar", x=[10.0, 20.0], y=[-1.0, 2.0], **bounds)
    expect(read(ax, "across"), "bar", x=[3.0], y=[30.0], low=[29.5], high=[30.5])
    expect(read(ax, "stems"), "points", x=[40.0, 41.0], y=[1.0, 2.0])


@pytest.mark.parametrize("origin", ["upper", "lower"])
def test_images_and_colours(ax, origin):
    ax.imshow([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], extent=(0, 3, 10, 12), origin=origin, label="a")
    ax.scatter(X, Y, c=[7.0, 8.0, 9.0], label="b")
    rows = read(ax, "a").sort_values("value")
    first, second = (11.5, 10.5) if origin == "upper" else (10.5, 11.5)
    expect(rows, "image", x=[0.5, 1.5, 2.5] * 2, y=[first] * 3 + [second] * 3, value=range(1, 7))
    expect(read(ax, "b"), "points", x=X, y=Y, value=[7.0, 8.0, 9.0])


def test_contours_lie_on_their_level(ax):
    x, y = np.meshgrid(np.linspace(0.0, 1.0, 9), np.linspace(0.0, 1.0, 9))
    ax.figure.colorbar(ax.contour(x, y, x + 2.0 * y, levels=[0.5, 1.5]))
    rows = read(ax)
    assert set(rows.value) == {0.5, 1.5}
    np.testing.assert_allclose(rows.x + 2.0 * rows.y, rows.value, rtol=1e-9)


def test_an_unknown_kind_of_artist_is_an_error(ax):
    ax.plot(X, Y, label="a")
    quiver = ax.quiver([0.0], [0.0], [1.0], [1.0])
    with pytest.raises(TypeError, match="Quiver"):
        read(ax)
    quiver.remove()
    ax.add_patch(Rectangle((0, 0), 1, 1))
    with pytest.raises(TypeError, match="Rectangle"):
        read(ax)
    ax.set_axis_off()  # a drawing
    assert read(ax).empty


def test_positions_are_named_by_the_ticks(ax):
    ax.plot(np.arange(3) + 0.2, Y, "o", label="a")
    ax.vlines(np.arange(3) - 0.2, 0.0, 1.0, label="a")
    ax.set_xticks(range(3), ["$A_e$", "$b_i$", "$C$"])
    ax.set_yticks([0.0, 3.0], ["−0", "3.0"])  # numbers in another style
    rows = read(ax, "a")
    assert list(rows.x) == ["A_e", "b_i", "C"]
    expect(rows.drop(columns="x"), "points", y=Y, low=[0.0] * 3, high=[1.0] * 3)
    ax.set_xticks(range(3), ["$10^{-1}$", 1, "$10^{4}$"])
    expect(read(ax, "a"), "points", x=[0.1, 1.0, 1e4])


def test_names_that_do_not_tell_positions_apart_are_an_error(ax):
    ax.plot([0.0, 0.4, 1.0], Y, "o", label="a")
    ax.set_xticks(range(2), ["b_e", "b_i"])
    with pytest.raises(ValueError, match="nearest to one name"):
        read(ax)


def test_noise_levels_are_factors_again():
    snr = pd.Series({0.0: np.inf, 0.1: 85.0, 1.0: 75.0, 1e4: 35.0})
    fig, axes = plt.subplots(1, 2, sharex=True)
    for ax in axes:
        ax.plot(figures.noise_positions(snr.index) + 0.2, [1.0, 2.0, 3.0, 4.0], label="a")
        figures.noise_axis(ax, snr)
    assert drawn.data(fig).x.tolist() == [0.0, 0.1, 1.0, 1e4] * 2


def test_series_and_panels_have_the_names_they_show():
    fig, axes = plt.subplots(2, 2, sharex=True)
    for ax in axes.flat:
        ax.plot([0.0, 1.0], np.arange(6.0).reshape(2, 3), label="draw")
        ax.plot([0.0], [0.0], "o", label="draw")
        ax.plot([0.0], [1.0], "o")
    axes[0, 0].set_title("$A_e$", loc="left")
    axes[0, 1].set_label("C a_1")
    axes[1, 0].set(xlabel="time\n(ms)", ylabel="left")
    fig.supylabel("all")
    figures.stamp(fig, "tier smoke")
    rows = drawn.data(fig)
    assert rows.columns.tolist() == ["panel", "series", "kind", "time (ms)", "y", "y label"]
    assert rows.panel.unique().tolist() == ["A_e", "C a_1", ""]
    assert rows.series.unique().tolist() == ["draw 1", "draw 2", "draw 3", "draw", ""]
    assert rows["y label"].tolist() == ["all"] * 16 + ["left"] * 8 + ["all"] * 8


def test_reading_leaves_no_trace_and_is_repeatable(ax):
    ax.plot(X, Y, label="a")
    before = len(ax.get_children())
    pd.testing.assert_frame_equal(read(ax), read(ax))
    assert len(ax.get_children()) == before


def test_shown_figures_and_tables_carry_their_data(ax):
    figures.use_house_style()
    show = InteractiveShell.instance().display_formatter.format
    ax.plot(X, Y, label="a")
    bundle, _ = show(ax.figure)
    assert {"image/svg+xml", "text/csv"} <= bundle.keys()
    back = pd.read_csv(io.StringIO(bundle["text/csv"]))
    np.testing.assert_array_equal(back[["x", "y"]], np.column_stack([X, Y]))
    assert "text/csv" not in show(figures.flow_diagram())[0]

    texts = ["<i>x</i> &lt; 1", "y < 1, z > 2"]
    frame = pd.DataFrame({"<b>of</b><br>$A_e$": texts, "n": [np.pi, 2.0]})
    bundle, _ = show(figures.table(frame, "tab-x", "Made up.", {"n": "{:.1f}"}))
    assert "3.1<" in bundle["text/html"]
    back = pd.read_csv(io.StringIO(bundle["text/csv"]))
    assert back.to_dict("list") == {"of A_e": ["x < 1", "y < 1, z > 2"], "n": [np.pi, 2.0]}
