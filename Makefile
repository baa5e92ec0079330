# The commands of this project. `check` never writes, `fix` may.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup serve demo test check fix cover gpu bench clean

help: ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 10

setup: $(READY) ## a virtual environment with everything in it

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

serve: $(READY) ## the service on http://127.0.0.1:8000
	$(BIN)/python -m service

demo: $(READY) ## start the service, convert a checkpoint, show the report, stop
	$(BIN)/python -m scripts.demo

test: $(READY) ## the tests; ARGS goes to pytest
	$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## ruff and mypy; writes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

fix: $(READY) ## format, and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/python -m scripts.tables

cover: $(READY) ## the tests with branch coverage
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage combine --quiet || true
	$(BIN)/coverage report

gpu: $(READY) ## the tests that need a GPU; fails, not skips, without one
	$(BIN)/python -m pytest -m gpu --require gpu $(ARGS)

bench: $(READY) ## the benchmarks; prints JSON
	$(BIN)/python -m benchmarks.memory

clean: ## remove what the other commands made
	rm -rf $(VENV) .cache dist demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
