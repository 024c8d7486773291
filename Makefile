# Everything runs from .venv, which the first target that needs it builds from the locked requirements.
.DEFAULT_GOAL := help
.PHONY: help run demo test faults check bench soak model-change format lint types contracts documented configuration lock clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PORT ?= 8000
export PORT LIKENESS_HOME

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/local.stamp ## Start everything on this machine; PORT and LIKENESS_HOME are honoured
	@exec $(BIN)/python -m deploy.local

demo: $(VENV)/local.stamp ## Upload drawn sample pictures and search them (starts a stack if none runs)
	@exec $(BIN)/python -m deploy.local.demo

test: $(VENV)/dev.stamp ## Run the whole test suite and hold its branch coverage against the bar
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include 'common/*,api/*,worker/*' --fail-under 90

faults: $(VENV)/dev.stamp ## Break everything for real and print what became of the images; FAULTS_SEED, FAULTS_MINUTES
	FAULTS_LONG=1 $(BIN)/python -m pytest tests/faults

check: format lint types contracts documented test ## Check format, lint, types, import contracts and documented settings, then run the tests

format: $(VENV)/dev.stamp ## Check the formatting
	$(BIN)/ruff format --check .

lint: $(VENV)/dev.stamp ## Check the code
	$(BIN)/ruff check .

types: $(VENV)/dev.stamp ## Check the types, tests included
	$(BIN)/mypy

contracts: $(VENV)/dev.stamp ## Check who may import whom
	$(BIN)/lint-imports

documented: $(VENV)/dev.stamp ## Check that docs/configuration.md says what can be set
	$(BIN)/python -m deploy.configuration --check

configuration: $(VENV)/dev.stamp ## Write docs/configuration.md anew, from the settings classes
	$(BIN)/python -m deploy.configuration

bench: $(VENV)/dev.stamp ## Run the benchmarks; writes bench-results.json
	$(BIN)/python -m tests.benchmarks

soak: $(VENV)/dev.stamp ## Steady traffic for SOAK_MINUTES (20); draws the memory's curve, fails if it grows
	$(BIN)/python -m tests.soak

model-change: $(VENV)/dev.stamp ## Change the model of MODEL_CHANGE_IMAGES (2000) images and back, under load
	$(BIN)/python -m tests.benchmarks.model_change

lock: $(UV) ## Lock the dependencies anew
	$(BIN)/python requirements/lock.py

clean: ## Remove what was built here (not the data)
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .coverage*

$(UV): requirements/uv.txt
	$(PYTHON) -c 'import sys; sys.exit("Likeness needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

$(VENV)/%.stamp: requirements/%.txt pyproject.toml $(UV)
	$(UV) pip install --quiet --require-hashes -r $<
	$(UV) pip install --quiet --no-build-isolation --no-deps --editable .
	@touch $@
