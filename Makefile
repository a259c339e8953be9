# make book      build the book and print the page to open
# make check     style, layers and the library's quick tests, in two minutes
# make test      style, layers, every chapter at smoke size, the book without a warning, the tests
# make verify    compute stored results again for VERIFY seconds, compare, and note what was found
# make pdf       the book as one PDF (CODE=yes: with the code that the pages fold away)
# make bench     time jrlib beside other simulators, in an environment of its own (.venv-bench)
# make samplers  the same for samplers of the reference posterior, in effective samples per simulation
# make lab       JupyterLab on the chapters
# make chapters  run the chapters from zero (TIER=smoke, fast or paper)
# make clean     remove what was built here; the environments stay

PYTHON ?= python3
TIER ?= fast
VERIFY ?= 1800

BIN := .venv/bin
INSTALLED := .venv/installed
PAGE := book/_build/html/index.html
SOURCES := _config.yml _toc.yml CITATION.cff $(wildcard jrlib/*.py jrlib/*/*.py book/*.ipynb book/*.md \
	book/*.bib book/*/*.py book/_static/* book/_templates/* results/*.json results/*.csv \
	results/fast/*/*.csv results/paper/*/*.csv)

# With more, threads wait for one another's processor, and linear algebra as small as here is slower.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: book check test verify pdf bench samplers lab chapters clean

book: $(PAGE)
	@echo "The book: $(CURDIR)/$(PAGE)"

# --all, because Sphinx on its own does not see that jrlib or a result changed.
$(PAGE): $(INSTALLED) $(SOURCES)
	$(BIN)/jupyter-book build book/ --all
	@touch $@

check: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYTHONPATH=book $(BIN)/lint-imports
	$(BIN)/python -m pytest tests/library -m "not slow" --numprocesses auto --dist loadfile

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	PYTHONPATH=book $(BIN)/lint-imports
	$(BIN)/python book/chapters.py --tier smoke
	$(BIN)/jupyter-book build book/ --all -W --keep-going
	$(BIN)/python -m pytest --require-book --numprocesses auto --dist loadfile

verify: $(INSTALLED)
	cd book && ../$(BIN)/python -m experiments verify --seconds $(VERIFY)

pdf: $(PAGE)
	$(BIN)/python book/pdf.py $(if $(filter yes,$(CODE)),--code)

bench: .venv-bench/installed
	.venv-bench/bin/python bench/bench.py

samplers: .venv-bench/installed
	PYTHONPATH=book .venv-bench/bin/python bench/samplers.py

# Peers that do not install here, one by one, are left out of the table.
.venv-bench/installed: requirements.txt bench/requirements.txt pyproject.toml
	test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install -r requirements.txt
	grep '==' requirements.txt > .venv-bench/pinned.txt
	grep -v '^#' bench/requirements.txt | while read -r peer; do \
		.venv-bench/bin/python -m pip install -c .venv-bench/pinned.txt "$$peer" \
			|| echo "left out: $$peer"; \
	done
	@touch $@

lab: $(INSTALLED)
	$(BIN)/jupyter lab book/

chapters: $(INSTALLED)
	$(BIN)/python book/chapters.py --tier $(TIER)

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -r requirements.txt
	@touch $@

clean:
	rm -rf book/_build results/smoke .pytest_cache .ruff_cache *.egg-info
	find book jrlib tests -name __pycache__ -prune -exec rm -rf {} +
