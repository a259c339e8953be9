"""Sphinx extension: executes the pages with code side by side, one on each processor.

MyST-NB executes a page when it comes to it, one after the other. Here those that are about to be
read go into its cache beforehand. The cache is emptied first: it knows a page's code, not jrlib's
nor the results', so whatever is read is executed anew. A page that fails is left to MyST-NB, which
executes it once more and says what went wrong.
"""

import os
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.executors import load_executor
from jupyter_cache.readers import DEFAULT_READ_DATA
from myst_nb.core.read import create_nb_reader


def execute(app, env, docnames):
    """Put the pages with code among those that are about to be read, executed, into the cache."""
    config = env.mystnb_config
    paths = [Path(env.doc2path(name)) for name in docnames]
    readers = {
        str(path): create_nb_reader(str(path), env.myst_config, config, path.read_text("utf-8"))
        for path in paths
    }
    # With more, threads wait for one another's processor: several times slower.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    get_cache(config.execution_cache_path).clear_cache()
    cache = get_cache(config.execution_cache_path)
    for path, reader in readers.items():
        if reader is not None:
            cache.add_nb_to_project(path, read_data=reader.read_fmt or DEFAULT_READ_DATA)
    load_executor("local-parallel", cache).run_and_cache(timeout=config.execution_timeout)


def complete(app, doctree):
    """Write the executed notebook of a page: MyST-NB leaves out what it took from the cache."""
    env = app.env
    if "kernelspec" not in env.metadata[env.docname]:
        return
    path = Path(env.mystnb_config.output_folder, f"{env.docname}.ipynb")
    cache = get_cache(env.mystnb_config.execution_cache_path)
    _, notebook = cache.merge_match_into_notebook(nbformat.read(path, as_version=4))
    nbformat.write(notebook, path)


def setup(app):
    app.connect("env-before-read-docs", execute)
    app.connect("doctree-read", complete, priority=300)  # before figure_data reads it
    return {"parallel_read_safe": True, "parallel_write_safe": True}
