"""Options of the test run, and what several files of tests need."""

from pathlib import Path

import browser
import pytest

HTML = Path(__file__).resolve().parents[1] / "book" / "_build" / "html"


def pytest_addoption(parser):
    parser.addoption(
        "--require-book",
        action="store_true",
        help="fail, rather than skip, the tests of the built pages when there are none",
    )


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_make_scheduler(config, log):
    """A file of tests to a worker, so that what its tests share is made once; the tests that run a
    whole page each share nothing and go to whoever is free."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid if "test_tries.py" in nodeid else super()._split_scope(nodeid)

    return Scheduling(config, log)


@pytest.fixture(scope="session")
def built_book(request):
    """Folder of the built pages; without them skip, or fail under --require-book."""
    if not (HTML / "index.html").exists():
        _leave(request, "the book has not been built: jupyter-book build book/")
    return HTML


@pytest.fixture(scope="session")
def book_and_browser(request, built_book):
    """The same, for tests that need a browser too."""
    try:
        browser.find()
    except FileNotFoundError as error:
        _leave(request, str(error))
    return built_book


def _leave(request, message):
    required = request.config.getoption("--require-book")
    (pytest.fail if required else pytest.skip)(message)
