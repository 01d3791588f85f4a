# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Lanes of tests, side by side: most tests wait for servers, not for a CPU.
LANES ?= 2

.DEFAULT_GOAL := help
.PHONY: help install dev demo test unit parity conformance check format docs clean

help: ## Show what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## Install Longshore into .venv

$(VENV)/.installed: pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Longshore needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint requirements.lock --editable .
	touch $@

dev: $(VENV)/.dev ## Install what tests and checks need as well

$(VENV)/.dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock --editable '.[operator]'
	touch $@

demo: $(VENV)/.installed ## Measure every file of Python's standard library, one task a file, and report
	@cd docs/examples/codestats && ../../../$(BIN)/python -m codestats

test: $(VENV)/.dev ## Run every check and every test; what cannot run here is skipped with its reason
	$(BIN)/python -m tests.setup
	$(MAKE) --no-print-directory check
	$(BIN)/python -m pytest -n $(LANES) --dist loadscope --no-loadscope-reorder

unit: $(VENV)/.dev ## Run the tests that need no server and no cluster
	$(BIN)/python -m pytest -m 'not lab and not integration'

conformance: $(VENV)/.dev ## Real Celery beside Longshore, 10,000 messages a broker (the tests run 1,000)
	LONGSHORE_CONFORMANCE_MESSAGES=10000 $(BIN)/python -m pytest tests/conformance

parity: $(VENV)/.dev ## What a Celery user relies on: row, tests, result on each broker
	$(BIN)/python -m pytest -q --parity -n $(LANES) --dist loadscope --no-loadscope-reorder

check: $(VENV)/.dev ## Lint, types, layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.docs ## Build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

$(VENV)/.docs: $(VENV)/.installed docs/requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement docs/requirements.lock
	touch $@

clean: ## Remove what builds and tests left (not the lab's caches)
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .longshore dist

-include lab.mk bench.mk chaos.mk
