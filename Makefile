# Two commands for a stranger: `make quickstart` and `make test`. Both set up .venv first when it is missing.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: quickstart test test-fast test-pages check setup

quickstart: setup
	$(BIN)/orch sweep grids/quickstart.yaml

test: setup
	$(BIN)/python -m pytest -m "not ray and not gpu" -n auto
	$(BIN)/python -m pytest -m "ray and not pages and not gpu"

test-pages: setup
	$(BIN)/python -m pytest -m pages

test-fast: setup
	$(BIN)/python -m pytest -m "not ray and not slow and not gpu" -n auto

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("orch needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
