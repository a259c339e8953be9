"""Where a result comes from: the code behind it, the commit, and the machine."""

import ast
import copy
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

PACKAGES = ("jrlib", "numpy", "scipy", "numba", "mne", "torch", "sbi", "scikit-learn")
# Modules that keep results and make none: their code is behind nothing.
KEEPERS = (__name__, "experiments.results")


def fingerprint(function):
    """Hash of the code behind a function: its definition and all that it uses in its package.

    A definition is what stands at the top level of a module: a function, a class, a constant. It
    uses another where it names it, in its body, its defaults or its decorators; and what is
    registered by a decorator with another's name in it (`numba.extending.overload`) is used along
    with that one. Taken over the syntax trees without docstrings, so comments and layout do not
    count, nor do definitions that are not used, nor what a module does as a command: a module may
    grow without a change here.
    """
    package = function.__module__.split(".")[0]
    waiting, seen = [(function.__module__, function.__qualname__)], {}
    while waiting:
        pair = module, name = waiting.pop()
        if pair in seen or module in KEEPERS or module.split(".")[0] != package:
            continue
        spec = _find(module)
        if spec is None or not (spec.origin or "").endswith(".py"):
            continue
        definitions, imports = _definitions(Path(spec.origin).read_text())
        if name in imports:
            waiting.append(imports[name])
            continue
        seen[pair], used = definitions.get(name, ("", ()))
        for first, attribute in used:
            target = imports.get(first, (module, first))
            submodule = ".".join(target)
            if first in imports and attribute and _find(submodule):
                waiting.append((submodule, attribute))  # of a module that was imported as a whole
            else:
                waiting.append(target)
    code = sorted((*pair, code) for pair, code in seen.items() if code)
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def _find(module):
    try:
        return importlib.util.find_spec(module)
    except (ModuleNotFoundError, ValueError):
        return None


@lru_cache(maxsize=256)
def _definitions(text):
    """What stands at the top level of a module.

    Returns definitions, a dict name -> (code, what it names as pairs (name, attribute or "")), and
    imports, a dict name -> (module, name there).
    """
    nodes, imports = {}, {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                parent, _, last = alias.name.rpartition(".")
                imports[alias.asname or alias.name.split(".")[0]] = (parent or last, last)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imports[alias.asname or alias.name] = (node.module or "", alias.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            nodes.setdefault(node.name, []).append(node)
            for decorator in node.decorator_list:
                for argument in decorator.args if isinstance(decorator, ast.Call) else ():
                    for name, _ in _names(argument):
                        nodes.setdefault(name, []).append(node)
        elif isinstance(node, ast.If) and ("__name__", "") in _names(node.test):
            pass  # what the module does as a command
        else:  # an assignment, or a statement that changes what it names
            for target in getattr(node, "targets", [getattr(node, "target", node)]):
                for name, _ in _names(target):
                    nodes.setdefault(name, []).append(node)
    definitions = {}
    for name, found in nodes.items():
        used = sorted(set().union(*map(_names, found)))
        definitions[name] = json.dumps([_code(node) for node in found]), used
    return definitions, imports


def _names(tree):
    """The names in a syntax tree, each with "" and with every attribute that is asked of it."""
    names = {(node.id, "") for node in ast.walk(tree) if isinstance(node, ast.Name)}
    attributes = (node for node in ast.walk(tree) if isinstance(node, ast.Attribute))
    return names | {
        (node.value.id, node.attr) for node in attributes if isinstance(node.value, ast.Name)
    }


def _code(tree):
    """A syntax tree as text, without docstrings."""
    tree = copy.deepcopy(tree)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(getattr(first.value, "value", None), str):
            del body[0]
    return ast.dump(tree)


def commit():
    """The commit of the checkout that this file lies in, "+" for changed files; "" outside one."""
    here = Path(__file__).parent
    try:
        git = ["git", "-C", str(here)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", "."], capture_output=True, text=True
        )
    except OSError:
        return ""
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def environment():
    """Versions of `PACKAGES`, processor and system: a dict of JSON types."""
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    processor = platform.processor()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = models[0] if models else processor
    return {
        "versions": versions,
        "processor": f"{processor or platform.machine()}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}",
    }
