# Carry: every job of the project. `make` lists them.
# Any Python 3.11 will do: make PYTHON=/path/to/python3.11 TARGET. Extra flags for the command go into ARGS.

.DEFAULT_GOAL := help
SHELL := /bin/bash
export PYTHON

BIN := .venv/bin
PEERS := bench/.venv
PLAIN_TESTS := tests/golden tests/unit/test_pipeline_*.py tests/unit/test_simulator_*.py tests/unit/test_attribution.py tests/oracles/test_engine_oracles.py tests/property/test_engine_properties.py

.PHONY: help
help: #-- List the targets
	@sed -nE 's/^([a-z-]+):.*#-- (.*)$$/\1|\2/p' Makefile | while IFS='|' read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

.PHONY: runtime
runtime: #-- Make .venv with what requirements.lock pins (done for you by the targets below)
	@.ci/environment .venv requirements.lock

.PHONY: dev
dev: #-- Add what the checks and tests need to .venv
	@.ci/environment .venv requirements-dev.lock

.PHONY: backtest
backtest: runtime #-- Run the main job on the bundled sample market (ARGS="--config config/bybit.toml" for another)
	@$(BIN)/carry backtest $(ARGS)

.PHONY: check
check: dev #-- Lint, formatting and types only
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.PHONY: test
test: check #-- All checks and all tests; says how many ran, and why any was skipped
	@echo "Compiled loops as plain Python:"
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q $(PLAIN_TESTS)
	@echo "Everything, compiled:"
	$(BIN)/python -m pytest $(ARGS)

.PHONY: coverage
coverage: dev #-- The same tests with coverage, which takes about twice as long
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -q --cov --cov-report= $(PLAIN_TESTS)
	$(BIN)/python -m pytest --cov --cov-append --cov-report=term $(ARGS)

.PHONY: docs
docs: dev #-- Check the documentation: links, commands, every subcommand and settings key
	$(BIN)/python -m pytest tests/architecture/test_docs.py $(ARGS)

.PHONY: bench
bench: runtime #-- Measure speed against the peers, which get an environment of their own
	@.ci/environment $(PEERS) requirements-bench.lock
	@CARRY_BENCH_PEERS_PYTHON=$(CURDIR)/$(PEERS)/bin/python $(BIN)/python -m bench $(ARGS)

.PHONY: format
format: dev #-- Format the code and apply the linter's safe fixes
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: lock
lock: #-- Write the lock files again from pyproject.toml (ARGS=--upgrade for newer versions)
	@.ci/lock $(ARGS)

.PHONY: clean
clean: #-- Remove the environments and every cache; results and the data lake stay
	rm -rf .venv .ci/.venv bench/.venv build ./*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.* coverage.xml
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
