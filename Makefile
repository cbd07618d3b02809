# Two commands matter: `make repro` runs the graph, `make test` proves it. Both install what they need into .venv first.

UV = 0.13.9
BIN = .venv/bin
# The first Python on the PATH that the lock was made for.
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' 2>/dev/null && echo $$python && break; done)

# The commands of dvc.yaml are found on the PATH.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK = 1
export DVC_NO_ANALYTICS = 1
export GX_ANALYTICS_ENABLED = false
export PREFECT_SERVER_ANALYTICS_ENABLED = false
# Without bytecode every stage would compile its imports anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help repro ui test lint lock clean

help:
	@echo 'make repro   run every stage that is not up to date (dvc repro)'
	@echo 'make ui      a Prefect server with its UI, a worker and the deployments, until Ctrl-C (make ui PORT=4300)'
	@echo 'make test    linters, types, import layers and all tests'
	@echo 'make lint    the same without the tests'
	@echo 'make lock    compile requirements.lock from pyproject.toml'
	@echo 'make clean   remove .venv and the caches of the tools'

repro: .venv/installed
	$(BIN)/dvc repro

PORT ?= 4200
ui: .venv/installed
	@$(BIN)/python flows/ui.py --port $(PORT)

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadgroup

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: .venv/installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --all-extras pyproject.toml -o requirements.lock

clean:
	rm -rf .venv .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

.venv/installed: requirements.lock pyproject.toml
	@test -n '$(PYTHON)' || { echo 'error: no Python 3.11 or 3.12 on the PATH; install one, or name it: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode --requirements requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
