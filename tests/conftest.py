"""Options of the test run."""


def pytest_addoption(parser):
    parser.addoption(
        "--require-book",
        action="store_true",
        help="fail, rather than skip, the tests of the built pages when there are none",
    )
