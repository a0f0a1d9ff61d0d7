# Everything here runs in .venv, made from requirements.txt (hashed). `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

ONCE ?=
FILE ?=
BUS ?=
on_bus = $(if $(BUS),--bus "$(BUS)")

.DEFAULT_GOAL := help
.PHONY: help demo up down test check bench requirements clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1 \2/' | \
	  while read -r target text; do printf '  %-13s %s\n' "$$target" "$$text"; done

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed; say where it is: make PYTHON=/path/to/python3 …" >&2; exit 1; }
	@echo "Installing into $(VENV) (once; a minute or so)…" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(INSTALLED) ## one flux from end to end (ONCE=1 exits after it, FILE=pes.xml uses yours, BUS=kafka)
	@$(BIN)/heliotrope demo $(if $(ONCE),--once) $(if $(FILE),--file "$(FILE)") $(on_bus)

up: $(INSTALLED) ## start the platform, which goes on by itself (BUS=kafka)
	@$(BIN)/heliotrope up --detach $(on_bus)

down: $(INSTALLED) ## stop it; data is kept
	@$(BIN)/heliotrope down

# Tests run hundreds of commands, which need not compile every module again.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(INSTALLED) ## run all tests
	@$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

check: $(INSTALLED) ## lint, format, types, boundaries between modules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(INSTALLED) ## measure, print a table, write bench.json
	@$(BIN)/python -m tests.bench

requirements: $(INSTALLED) ## pin again what pyproject.toml asks for
	$(BIN)/uv pip compile --universal --generate-hashes --all-extras --python-version 3.11 --no-annotate --no-header \
	  --quiet pyproject.toml --output-file requirements.txt

clean: ## remove .venv and what tools keep; data in .heliotrope stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache *.egg-info bench.json
