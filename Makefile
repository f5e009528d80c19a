# Everything happens in a virtual environment in .venv; nothing else is touched.

PYTHON ?= python3
TESTS ?= tests
# Tests often wait, so they keep two cores busy; 0 runs them in pytest's own process (for pdb).
PROCESSES ?= 3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help run test lint bench chaos fuzz dist clean

help:
	@echo "make run    serve on http://127.0.0.1:8080 (ARGS='--bind 127.0.0.1:9090 ...' for options)"
	@echo "make test   run the tests (TESTS=tests/node for some of them, PROCESSES=0 for one by one)"
	@echo "make lint   check style, types and imports"
	@echo "make bench  measure, beside others, for docs/performance.md (ARGS='--list' and others)"
	@echo "make chaos  break everything under load and account for each message (ARGS='--list')"
	@echo "make fuzz   send parsers and nodes what they do not expect (ARGS='--seconds 60 ...')"
	@echo "make dist   make the wheel and the source distribution, in dist, and check them"
	@echo "make clean  remove what these made"

run: $(VENV)/.run
	@exec $(BIN)/restms serve $(ARGS)

test: $(VENV)/.test
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadscope --no-loadscope-reorder $(TESTS)

lint: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

bench: $(VENV)/.bench
	@$(BIN)/python -m tests.benchmarks --docs docs $(ARGS)

chaos: $(VENV)/.test
	@$(BIN)/python -m tests.chaos $(ARGS)

fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

dist: $(VENV)/.dist
	rm -rf dist
	$(BIN)/python -m tests.packaging.dist dist
	$(BIN)/python -m twine check --strict dist/*

clean:
	rm -rf $(VENV) build dist restms.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find cluster node scripts tests docs -name __pycache__ -prune -exec rm -rf {} +

# The stamps: what has been installed, and that pyproject.toml has not changed since.

$(VENV)/.run: pyproject.toml | $(BIN)/python
	@echo "Installing restms in $(VENV)"
	@$(PIP) install --editable .
	@touch $@

$(VENV)/.test: pyproject.toml | $(BIN)/python
	@echo "Installing restms and what tests it in $(VENV)"
	@$(PIP) install --editable '.[test]'
	@touch $@

$(VENV)/.lint: pyproject.toml | $(BIN)/python
	@echo "Installing restms and what checks it in $(VENV)"
	@$(PIP) install --editable '.[lint]'
	@touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	@echo "Installing restms and what measures it in $(VENV)"
	@$(PIP) install --editable '.[test,bench]'
	@touch $@

$(VENV)/.fuzz: pyproject.toml | $(BIN)/python
	@echo "Installing restms and what fuzzes it in $(VENV)"
	@$(PIP) install --editable '.[test,fuzz]'
	@touch $@

$(VENV)/.dist: pyproject.toml | $(BIN)/python
	@echo "Installing restms and what packs it in $(VENV)"
	@$(PIP) install --editable '.[dist]'
	@touch $@

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "restms needs Python 3.11 or later: there is no $(PYTHON)." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "restms needs Python 3.11 or later: try make PYTHON=python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "Python's venv is missing: on Debian and Ubuntu, install python3-venv." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
