"""The built pages in a real browser, opened from disk: what they load, how they fit, who can use
them, and whether the explorer's JavaScript computes what jrlib does.

Screenshots of every page go to `book/_build/screenshots/`.
"""

from contextlib import contextmanager

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import launched, settle
from test_book import BOOK, HTML, toc

import jrlib
from jrlib.diagnostics import sensitivity
from jrlib.sensors import heads, noise_models
from jrlib.simulation.protocol import averaging_covariance

SCREENSHOTS = BOOK / "_build" / "screenshots"
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
# Numbered formulas that do not fit.
CUT_OFF = """[...document.querySelectorAll("div.math:has(.eqno)")]
    .filter((each) => [each, ...each.querySelectorAll("mjx-container")]
        .some((box) => box.scrollWidth > box.clientWidth + 1))
    .map((each) => each.id)"""


@pytest.fixture(scope="module")
def browser(book_and_browser):
    """Chromium, with the book built."""
    with launched() as browser:
        yield browser


@contextmanager
def opened(browser, name, theme="light", size=DESKTOP, **options):
    """A page of the book, typeset, with what it requested and the errors it reported as lists."""
    context = browser.new_context(viewport=size, **options)
    context.add_init_script(f"localStorage.mode = localStorage.theme = '{theme}'")
    page = context.new_page()
    page.requested, page.errors = [], []
    page.on("request", lambda request: page.requested.append(request.url))
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda told: page.errors.append(told.text) if told.type == "error" else None)
    address, _, fragment = name.partition("#")
    page.goto(f"{HTML.as_uri()}/{address}.html" + (f"#{fragment}" if fragment else ""))
    if options.get("java_script_enabled", True):
        settle(page)
    yield page
    context.close()


def violations(page):
    """Serious and critical findings of axe-core, hidden code included, one for each element."""
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    page.evaluate("document.getAnimations().forEach((each) => each.finish())")  # no fading in
    # Without `preload`, with which axe requests the style sheets once more; from disk it may not.
    found = Axe().run(page, options={"resultTypes": ["violations"], "preload": False})
    return [
        f"{rule['id']} ({rule['impact']}): {node['html']}: {node['failureSummary']}"
        for rule in found.response["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", toc())
def test_page_in_the_browser(browser, name, theme):
    SCREENSHOTS.mkdir(exist_ok=True)
    own = (f"{HTML.as_uri()}/", "data:", "blob:")
    problems = []
    for label, size in (("desktop", DESKTOP), ("360", PHONE)):
        with opened(browser, name, theme, size) as page:
            page.screenshot(path=SCREENSHOTS / f"{name}-{theme}-{label}.png", full_page=True)
            if page.evaluate("document.documentElement.dataset.theme") != theme:
                problems.append(f"{label}: not in the {theme} theme")
            if page.evaluate("document.documentElement.scrollWidth") > size["width"] + 1:
                problems.append(f"{label}: the page scrolls sideways")
            problems += [f"{label}: {text} is cut off" for text in page.evaluate(CUT_OFF)]
            problems += [f"{label}: {line}" for line in violations(page)]
            problems += [
                f"{label}: requests {url}" for url in page.requested if not url.startswith(own)
            ]
            problems += [f"{label}: {error}" for error in page.errors]
    assert not problems, "\n\n".join(problems)


# The explorer's model beside jrlib ----------------------------------------------------------------


@pytest.fixture
def explorer(browser):
    """The explorer, in its initial state."""
    with opened(browser, "explorer") as page:
        yield page
        assert not page.errors


def difference(ours, theirs):
    """Largest difference of two series (..., n), relative to the range of the second."""
    return np.max(np.abs(np.asarray(ours) - theirs).max(axis=-1) / np.ptp(theirs, axis=-1))


@pytest.mark.parametrize("convention", jrlib.CONVENTIONS)
def test_explorer_simulates_like_jrlib(explorer, convention):
    rng = np.random.default_rng(1)
    theta = jrlib.sample_prior(24, rng)
    drive = jrlib.Protocol(n_trials=2, background=80.0).drive
    drive[:, 1] += rng.normal(0.0, 40.0, len(drive))
    ours = explorer.evaluate(
        "([theta, drive, name]) => theta.map((row) =>"
        " [...JansenRit.simulate(row, drive, JansenRit.data.conventions[name])])",
        [theta.tolist(), drive.tolist(), convention],
    )
    largest = difference(ours, jrlib.simulate(theta, drive, convention=convention))
    print(f"simulate, {convention}: {largest:.1e} of the range")
    assert largest < 1e-9


@pytest.mark.parametrize("convention", jrlib.CONVENTIONS)
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"isi": 0.4, "pulse_width": 0.1, "background": 30.0},
        {"background": 150.0, "isi": 1.3},
        {"background": 130.0, "pulse": [1.0, 3.0, 3.0]},  # too weak to entrain an oscillation
    ],
)
def test_explorers_responses_are_jrlibs(explorer, convention, change):
    theta = np.vstack([jrlib.TYPICAL, jrlib.sample_prior(7, np.random.default_rng(2))])
    ours = explorer.evaluate(
        "([theta, change, name]) => theta.map((row) => JansenRit.erp(row,"
        " {...JansenRit.data.protocol, ...change}, JansenRit.data.conventions[name]))"
        ".map(({erp, settled}) => ({erp: [...erp], settled}))",
        [theta.tolist(), change, convention],
    )
    assert ours[0]["settled"] == ("pulse" not in change or convention != "CLASSIC")
    ours = [each["erp"] for each in ours]
    theirs = jrlib.simulate_erp(theta, jrlib.Protocol(**change), convention)
    largest = difference(ours, theirs)
    print(f"erp, {convention}, {change}: {largest:.1e} of the range")
    assert largest < 1e-6


@pytest.mark.parametrize("convention", jrlib.CONVENTIONS)
def test_explorers_sensitivities_are_jrlibs(explorer, convention):
    for theta in (jrlib.TYPICAL, *jrlib.sample_prior(2, np.random.default_rng(3))):
        ours = explorer.evaluate(
            "([theta, name]) => JansenRit.sensitivities("
            "theta, JansenRit.data.protocol, JansenRit.data.conventions[name])",
            [theta.tolist(), convention],
        )
        theirs = sensitivity.relative_sensitivity(theta, convention).sensitivity
        print(f"sensitivities, {convention}: {np.max(np.abs(ours / theirs - 1)):.1e}")
        np.testing.assert_allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("isi", [1.0, 0.25, 0.333, 2.0])
def test_explorers_noise_is_jrlibs(explorer, isi):
    ours = explorer.evaluate(
        "(isi) => [...JansenRit.averagingVariance({...JansenRit.data.protocol, isi})]", isi
    )
    theirs = np.diag(averaging_covariance(jrlib.Protocol(isi=isi)))
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


# The explorer's controls --------------------------------------------------------------------------


def shown(page):
    """Settings and response after the next drawing."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return page.evaluate(
        "() => ({...JansenRit.explorer.settings, erp: [...JansenRit.explorer.now.erp]})"
    )


def press(page, selector, *keys):
    page.locator(selector).focus()
    for key in keys:
        page.keyboard.press(key)


def test_page_begins_with_the_typical_response(explorer):
    before = shown(explorer)
    assert before["theta"] == jrlib.TYPICAL.tolist()
    assert difference(before["erp"], jrlib.simulate_erp(jrlib.TYPICAL)) < 1e-9
    text = explorer.inner_text("#explorer-summary")
    assert "This is the typical response." in text
    assert "Settled" in text


@pytest.mark.parametrize("key", [*jrlib.PARAMETER_NAMES, "width", "height", "isi", "background"])
def test_sliders_change_the_response_by_keyboard(explorer, key):
    before = shown(explorer)
    # A little longer from pulse to pulse makes no difference, as the response has died out.
    press(explorer, f"#explorer-{key}", *(["Home"] if key == "isi" else ["ArrowRight"] * 6))
    explorer.get_by_text("Differs from the typical response").wait_for()
    after = shown(explorer)
    assert difference(after["erp"], np.array(before["erp"])) > 1e-4
    value = explorer.locator(f"#explorer-{key}-exact").input_value()
    assert (
        explorer.locator(f"#explorer-{key}").get_attribute("aria-valuetext").startswith(value[:4])
    )


@pytest.mark.parametrize("key", [*jrlib.PARAMETER_NAMES, "width", "height", "isi", "background"])
def test_one_press_of_a_key_moves_a_slider(explorer, key):
    exact, seen = explorer.locator(f"#explorer-{key}-exact"), []
    for _ in range(4):
        shown(explorer)
        seen.append(float(exact.input_value()))
        press(explorer, f"#explorer-{key}", "ArrowRight")
    assert len(set(seen)) == 4


def test_update_time(explorer):
    times = []
    for _ in range(20):
        press(explorer, "#explorer-A_e", "ArrowRight")
        shown(explorer)
        times.append(float(explorer.locator("#explorer-app").get_attribute("data-update-ms")))
    print(f"update: median {np.median(times):.1f} ms, largest {max(times):.1f} ms")
    assert len(set(times)) > 1


def test_the_null_direction_changes_five_parameters_and_no_response(explorer):
    for name in jrlib.CONVENTIONS:
        explorer.locator(f"input[value={name}]").check()
        press(explorer, "#explorer-scaling-exact", "Control+a", "1")
        before = shown(explorer)
        press(explorer, "#explorer-scaling", *["ArrowRight"] * 30)
        after = shown(explorer)
        assert after["scaling"] > 1.01
        assert difference(after["erp"], np.array(before["erp"])) < 1e-9
        assert float(explorer.locator("#explorer-C-exact").input_value()) > 136.0
        assert float(explorer.locator("#explorer-a_1-exact").input_value()) < 0.99
        assert "of its range" in explorer.inner_text("#explorer-null-result")


def test_every_preset_sets_what_it_names(explorer):
    select = explorer.locator("#explorer-preset")
    names = select.locator("option:not([disabled])").all_inner_texts()
    edges = [(k, edge) for k in range(len(jrlib.RANGES)) for edge in jrlib.RANGES[k]]
    assert len(names) == len(edges) + 2
    for number, (k, edge) in enumerate(edges):
        select.select_option(str(number + 1))
        expected = jrlib.TYPICAL.copy()
        expected[k] = edge
        assert shown(explorer)["theta"] == expected.tolist(), names[number + 1]
        assert str(edge).removesuffix(".0") in names[number + 1]
    explorer.locator("input[value=RELEASED]").check()
    select.select_option("alpha rhythm")
    alpha = shown(explorer)
    assert alpha["theta"] == jrlib.TYPICAL.tolist()
    assert alpha["convention"] == "CLASSIC"
    assert np.std(alpha["erp"][600:1000]) > 0.5  # mV: no rest between the pulses
    select.select_option("typical values")
    assert np.std(shown(explorer)["erp"][600:1000]) < 1e-3


def test_settings_travel_in_the_address(explorer, browser):
    press(explorer, "#explorer-A_i", *["ArrowRight"] * 7)
    press(explorer, "#explorer-scaling", *["ArrowLeft"] * 9)
    press(explorer, "#explorer-noise-exact", "Control+a", *"1000")
    press(explorer, "#explorer-isi", *["PageDown"] * 2)
    explorer.locator("input[value=TABULATED]").check()
    press(explorer, ".jr-erp svg", "Home", "ArrowRight")
    before = shown(explorer)
    assert before["noise"] == 1000
    explorer.wait_for_function("location.hash.includes('cursor')")
    fragment = explorer.url.partition("#")[2]
    with opened(browser, f"explorer#{fragment}") as page:
        assert shown(page) == before
        page.locator("#explorer-reset").click()
        assert shown(page)["theta"] == jrlib.TYPICAL.tolist()
        page.wait_for_function("!location.hash")


def test_fields_of_an_address_that_make_no_sense_are_ignored(browser):
    fragment = (
        "A_e=abc&A_i=30&convention=toString&b_e=1e9&b_i=&C=-5&noise=-1&isi=NaN&cursor=99&x=1&%"
    )
    with opened(browser, f"explorer#{fragment}") as page:
        found = shown(page)
        assert found["theta"] == [3.25, 30.0, *jrlib.TYPICAL[2:]]
        start = {"convention": "CLASSIC", "noise": 0, "isi": 1, "cursor": None}
        assert {key: found[key] for key in start} == start
        assert not page.errors


def test_numbers_can_be_typed_and_nonsense_is_refused(explorer):
    field = explorer.locator("#explorer-b_e-exact")
    field.fill("87.25")
    assert shown(explorer)["theta"][2] == 87.25
    for text in ("", "-3", "1e9"):
        field.fill(text)
        assert field.get_attribute("aria-invalid") == "true"
        assert shown(explorer)["theta"][2] == 87.25
    field.blur()
    assert field.input_value() == "87.25"
    assert field.get_attribute("aria-invalid") == "false"


def test_the_cursor_moves_by_keyboard_and_pointer(explorer):
    plot, readout = explorer.locator(".jr-erp svg"), explorer.locator(".jr-scalp .jr-readout")
    at_peak = readout.inner_text()
    press(explorer, ".jr-erp svg", "Home")
    assert plot.get_attribute("aria-valuenow") == "-200"
    assert readout.inner_text() != at_peak
    press(explorer, ".jr-erp svg", "End", "Shift+ArrowLeft", "PageDown")
    assert plot.get_attribute("aria-valuenow") == "940"
    box = plot.bounding_box()
    explorer.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert 300 < float(plot.get_attribute("aria-valuenow")) < 500
    assert explorer.locator("circle.jr-cursor").count() == 2
    explorer.mouse.move(0, 0)  # what is only pointed at is not kept
    assert plot.get_attribute("aria-valuenow") == "940"
    press(explorer, ".jr-erp svg", "Escape")
    assert readout.inner_text() == at_peak


def test_the_noise_band_has_the_width_of_two_standard_deviations(explorer):
    assert explorer.locator(".jr-band").count() == 0
    explorer.locator("#explorer-noise-exact").fill("1e6")
    shown(explorer)
    assert explorer.locator(".jr-band").count() == 1
    raw = noise_models.SENSOR_NOISE / np.linalg.norm(heads.MOMENT_PER_MV * heads.lead_field())
    expected = 1e3 * raw * np.sqrt(np.diag(averaging_covariance(jrlib.Protocol())))
    sd = explorer.evaluate("[...JansenRit.explorer.now.noise]")
    np.testing.assert_allclose(sd, expected, rtol=1e-9)


def test_without_javascript_the_page_says_so(browser):
    with opened(browser, "explorer", java_script_enabled=False) as page:
        assert "needs JavaScript" in page.inner_text("#explorer-app")
