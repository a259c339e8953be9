"""The fingerprint of the code behind a result: what counts for it and what does not."""

import sys

import pytest

from experiments.provenance import commit, environment, fingerprint

MODULES = {
    "__init__": "",
    "inner": """
        SCALE = {"half": 2}
        SCALE["third"] = 3
        UNUSED = 1

        def half(x):
            '''Half.'''
            return x / SCALE["half"]

        def unused(x):
            return x
    """,
    "registry": """
        def overload(function):
            return lambda implementation: implementation

        def generic(x):
            raise NotImplementedError

        @overload(generic)
        def special(x):
            return x
    """,
    "outer": """
        from small import inner
        from small.registry import generic as g

        def run(x):
            return g(inner.half(x))
    """,
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A function that changes a small package, and returns the fingerprint of its outer.run."""
    folder = tmp_path / "small"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.py").write_text("\n".join(line[8:] for line in text.split("\n")))
    monkeypatch.syspath_prepend(tmp_path)
    from small.outer import run

    def change(module="outer", old="", new=""):
        path = folder / f"{module}.py"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        found = fingerprint(run)
        path.write_text(text)
        return found

    yield change
    for name in [name for name in sys.modules if name.split(".")[0] == "small"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("inner", "'''Half.'''", "'''The half of x.'''  # exact"),
        ("inner", "UNUSED = 1", "UNUSED = 2"),
        ("inner", "    return x\n", "    return 2 * x\n"),
        ("outer", "def run", "def more(x):\n    return inner.unused(x)\n\n\ndef run"),
        ("outer", "def run", "if __name__ == '__main__':\n    run(1)\n\n\ndef run"),
    ],
)
def test_comments_and_what_is_not_used_do_not_count(package, module, old, new):
    assert package(module, old, new) == package()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("outer", "g(inner.half(x))", "inner.half(x)"),
        ("outer", "inner.half(x)", "inner.unused(x)"),
        ("inner", "x / SCALE", "x // SCALE"),
        ("inner", '"half": 2', '"half": 3'),
        ("inner", '["third"] = 3', '["third"] = 4'),
        ("registry", "    return x\n", "    return 2 * x\n"),
    ],
)
def test_what_is_used_counts_in_whichever_module(package, module, old, new):
    assert package(module, old, new) != package()


def test_the_environment_names_python_and_the_commit_is_one():
    assert environment()["versions"]["python"].count(".") == 2
    found = commit().rstrip("+")
    assert found == "" or len(found) == 40
