# The two commands of a newcomer are `make demo` and `make test`. Nothing but Python 3.11 or 3.12, Java 17 and make need be there.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
BIN := .venv/bin
UV := $(BIN)/uv
READY := .venv/.ready
ARGS ?=
unexport VIRTUAL_ENV

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

.PHONY: demo
demo: $(READY) ## Replay a year of flights through the lake and serve the Operations page (ARGS="--once": no page)
	@$(BIN)/tidemill demo $(ARGS)

.PHONY: test
test: $(READY) chromium ## Run all tests but the long fault runs (ARGS="tests/jobs -k init": some of them)
	$(BIN)/python -m pytest -m "not chaos" $(ARGS)

.PHONY: check
check: $(READY) chromium ## Format, lint, types, all tests with coverage: what CI runs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not chaos" --cov --cov-report=term:skip-covered $(ARGS)

.PHONY: chaos
chaos: $(READY) ## Run the long fault runs: servers and drivers killed twenty times
	$(BIN)/python -m pytest -m chaos --timeout=3600 $(ARGS)

.PHONY: format
format: $(READY) ## Format the code, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: docs
docs: $(READY) ## Write docs/cli.md and docs/settings.md anew
	$(BIN)/python -m jobs.docs

.PHONY: lock
lock: $(READY) ## Resolve uv.lock anew from pyproject.toml
	$(UV) lock
	$(UV) sync --frozen

.PHONY: setup
setup: $(READY) ## Make the environment in .venv from uv.lock; the other commands do it by themselves

.PHONY: chromium
chromium:
	@.ci/chromium

$(READY): pyproject.toml uv.lock
	@.ci/setup $(UV_VERSION)
	@touch $@
