# Everything runs from .venv, which the first target that needs it builds from the locked requirements.
.DEFAULT_GOAL := help
.PHONY: help run cluster demo secrets up down logs test faults check bench soak model-change format lint types contracts
.PHONY: documented configuration dockerfiles compose images-proof lock clean
SHELL := /bin/bash

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
PORT ?= 8000
COMPOSE ?= docker compose
export PORT LIKENESS_HOME

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/local.stamp ## Start everything on this machine; PORT and LIKENESS_HOME are honoured
	@exec $(BIN)/python -m deploy.local

cluster: $(VENV)/local.stamp ## Start two processes of each service; QDRANT_URL and CLUSTER__APIS, … are honoured
	@exec $(BIN)/python -m deploy.cluster

demo: $(VENV)/local.stamp ## Upload drawn sample pictures and search them (starts a stack if none runs)
	@exec $(BIN)/python -m deploy.local.demo

secrets: ## Write .env with new secrets for compose.yaml; one that is there stays
	@$(PYTHON) -m deploy.docker.make_secrets

up: ## Build the images, start everything in containers as compose.yaml says, and wait until it is well
	$(COMPOSE) build
	$(COMPOSE) up --detach --wait --remove-orphans

down: ## Stop the containers; the data stays in their volumes
	COMPOSE_PROFILES=minio,seaweedfs,cpu,gpu $(COMPOSE) down --remove-orphans

logs: ## Follow what the containers say
	$(COMPOSE) logs --follow --tail 100

test: $(VENV)/dev.stamp ## Run the whole test suite and hold its branch coverage against the bar
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report --include 'common/*,api/*,worker/*' --fail-under 90

faults: $(VENV)/dev.stamp ## Break everything for real and print what became of the images; FAULTS_SEED, FAULTS_MINUTES
	FAULTS_LONG=1 $(BIN)/python -m pytest tests/faults tests/cluster

check: format lint types contracts documented dockerfiles compose images-proof test ## Check code, imports, documented settings and images, then run the tests

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

dockerfiles: $(VENV)/dev.stamp ## Check the Dockerfiles
	$(BIN)/hadolint deploy/docker/*.Dockerfile

compose: $(VENV)/dev.stamp ## Check compose.yaml, by Docker Compose too where it is installed
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec compose.yaml
	@$(BIN)/python -m tests.images.compose

images-proof: $(VENV)/dev.stamp ## Do the Dockerfiles' steps without containers, and run the services from what they make
	$(BIN)/python -m tests.images

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
