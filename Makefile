# `make` alone prints this list.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo demo-compose test test-containers chaos lint up down secrets bench docs sbom wheel lock clean

help:  ## print this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

.venv/ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Headrace needs Python 3.11 or newer, $(PYTHON) is older: make PYTHON=python3.12"; exit 1; }
	@echo "building .venv from requirements.lock (once, one or two minutes)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on --require-hashes --no-deps -r requirements.lock
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-build-isolation --no-deps --editable .
	@touch $@

demo: .venv/ready  ## real requests through real Kafka, Temporal and S3, verified and shown
	@$(BIN)/python -m headrace.demo

demo-compose: .venv/ready  ## the demo against `docker compose up --build --wait`
	@. deploy/host.sh && $(BIN)/python -m headrace.demo --environment

test: .venv/ready  ## every test but the container tier
	@$(BIN)/pytest --numprocesses 2 --dist loadfile

test-containers: .venv/ready  ## the container tier: needs a Docker engine, builds the images
	@$(BIN)/pytest tests/containers

SEEDS ?= 20
FIRST ?= 0
chaos: .venv/ready  ## more faults under load than `make test` has: SEEDS=200, FIRST=seed to run one again
	@GRPC_VERBOSITY=ERROR $(BIN)/python -m tests.faults --seeds $(SEEDS) --first $(FIRST)

lint: .venv/ready  ## ruff, mypy --strict, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

up: .venv/ready  ## the embedded stack and every service, in the background
	@$(BIN)/headrace up --detach

down: .venv/ready  ## end what `make up` started; data stay
	@$(BIN)/headrace down

secrets:  ## draw the secrets of docker-compose.yml into deploy/secrets, each once
	@sh deploy/make-secrets

bench: .venv/ready  ## measure, into benchmarks/results/
	@$(BIN)/python -m benchmarks

docs: .venv/ready  ## the documentation as a site, into site/
	@$(BIN)/mkdocs build --quiet --strict

wheel: .venv/ready sbom  ## the wheel and its bill of materials, into dist/
	@$(BIN)/python -m hatchling build --target wheel

sbom: .venv/ready  ## the bill of materials of what Headrace is delivered with, CycloneDX, into dist/
	@$(BIN)/python -m tests.release.sbom dist/headrace.cdx.json

COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate
lock: .venv/ready  ## pin every dependency anew, with hashes; and those of the images at the same versions
	@$(COMPILE) --group dev pyproject.toml -o requirements.lock
	@for group in service workers build; do $(COMPILE) --constraint requirements.lock --group $$group -o deploy/$$group.lock; done

clean:  ## remove .venv, the state folder and what tests left (not the cache of embedded parts)
	@! test -x $(BIN)/headrace || $(BIN)/headrace down --quiet
	@rm -rf .venv .headrace demo-output chaos-logs site dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
