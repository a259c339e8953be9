"""What the pages propose under "Try this", done: every change works, at the smoke tier.

A proposal says "Set `parameter = value`", "replace `code` by `other code`" (throughout the one cell
that has it) or "evaluate `expression`" (in a new cell at the end).
"""

import ast
import re

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_notebook
from test_book import BOOK, CHAPTERS, read, source

# What reproducibility proposes is done in a shell.
PAGES = [*(name for name in CHAPTERS if name != "reproducibility"), "use"]


def proposals(name):
    """Of a page: parameters to set, pairs of code and other code, expressions to evaluate."""
    (box,) = re.findall(r":::\{admonition\} Try this\n.*?\n:::", source(name), re.DOTALL)
    box = re.sub(r"\s+", " ", box)
    sets = re.findall(r"\b[Ss]et `(\w+) = ([^`]+)`", box)
    replaces = re.findall(r"\b[Rr]eplace (?:[a-z ]+)?`([^`]+)` by `([^`]+)`", box)
    replaces += re.findall(r"(?:[Rr]eplace .*?), and `([^`]+)` by `([^`]+)`", box)
    return (
        {key: ast.literal_eval(value) for key, value in sets},
        replaces,
        re.findall(r"\bevaluate `([^`]+)`", box),
    )


def changed(name):
    """The page as a notebook with the proposed changes of code, and its parameters."""
    parameters, replaces, evaluates = proposals(name)
    assert len(parameters) + len(replaces) + len(evaluates) >= 2
    if name in CHAPTERS:
        notebook = read(name)
    else:
        code = re.findall(r"^```\{code-cell\} python\n(.*?)^```", source(name), re.DOTALL | re.M)
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        cells = [new_code_cell(cell) for cell in code]
        notebook = new_notebook(cells=cells, metadata={"kernelspec": kernel})
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    before = [cell.source for cell in cells]
    for old, new in replaces:
        (index,) = [i for i, text in enumerate(before) if old in text]
        cells[index].source = cells[index].source.replace(old, new)
    notebook.cells += [new_code_cell(expression) for expression in evaluates]
    return notebook, parameters


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_proposes_works(name, tmp_path):
    notebook, parameters = changed(name)
    if name in CHAPTERS:
        known = papermill.inspect_notebook(str(BOOK / f"{name}.ipynb"))
        assert parameters.keys() <= known.keys()
        parameters["tier"] = "smoke"
    nbformat.write(notebook, tmp_path / "changed.ipynb")
    papermill.execute_notebook(
        str(tmp_path / "changed.ipynb"),
        str(tmp_path / "executed.ipynb"),
        parameters=parameters,
        cwd=str(BOOK),
        progress_bar=False,
        start_timeout=180,
    )
