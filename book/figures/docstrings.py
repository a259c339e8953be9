"""The docstrings of a package as a page of HTML, to be looked up."""

import html
import importlib
import inspect
import pkgutil
import re

from IPython.display import HTML


def listing(package, order):
    """Every public function and class of a package, module by module: what `help` shows of them.

    package : its name; order : names of its modules and subpackages, those first that others build
        on. ValueError where one is missing. Modules of a subpackage are in alphabetical order.
    """
    path = importlib.import_module(package).__path__
    found = {module.name for module in pkgutil.iter_modules(path)}
    if found != set(order):
        raise ValueError(f"order: got {sorted(order)}, expected those there are, {sorted(found)}")
    modules = [name for part in order for name in _modules(f"{package}.{part}")]
    return HTML("\n".join(_section(importlib.import_module(name)) for name in modules))


def _modules(name):
    """A module, or the modules of a package."""
    module = importlib.import_module(name)
    if not hasattr(module, "__path__"):
        return [name]
    return sorted(f"{name}.{inner.name}" for inner in pkgutil.iter_modules(module.__path__))


def _section(module):
    """A module: its name, the first line of its docstring, and folded below them its members."""
    name, summary = module.__name__, html.escape(inspect.getdoc(module).split("\n")[0])
    summary = re.sub("`(.+?)`", r"<code>\1</code>", summary)
    entries = "".join(_entry(*member) for member in _members(module))
    return (
        f'<details class="api" id="{name}"><summary><code>{name}</code> {summary}</summary>'
        f"<dl>{entries}</dl></details>"
    )


def _members(module):
    """What a module defines itself, and the methods of its classes that have a docstring."""
    own = [
        (name, member)
        for name, member in vars(module).items()
        if not name.startswith("_")
        and callable(member)
        and getattr(member, "__module__", None) == module.__name__
    ]
    for name, member in sorted(own, key=lambda pair: _line(pair[1])):
        yield name, member
        for attribute, value in vars(member).items() if inspect.isclass(member) else ():
            if inspect.isfunction(value) and not attribute.startswith("_") and value.__doc__:
                yield f"{name}.{attribute}", value


def _line(member):
    """Where a member stands in its module; `py_func` is what Numba compiles."""
    return inspect.getsourcelines(getattr(member, "py_func", member))[1]


def _entry(name, member):
    """The signature and the docstring of a function or class."""
    kind = "class " if inspect.isclass(member) else ""
    text = html.escape(inspect.getdoc(member) or "")
    exception = kind and issubclass(member, Exception)  # takes a message, like all of them
    signature = "" if exception else inspect.signature(getattr(member, "py_func", member))
    head = f"<code>{kind}<b>{name}</b>{html.escape(str(signature))}</code>"
    return f"<dt>{head}</dt><dd><pre>{text}</pre></dd>"
