# `make search` and `make test` each make the environment first and install what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Hundreds of child processes import the same modules, so let the first one write the compiled files. Ray's workers have a
# low priority by default, and would wait for the tests of the other processes.
IN_PARALLEL := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 RAY_worker_niceness=0
# Three processes on two cores, because tests often wait. tests/conftest.py orders the files.
PYTEST := $(IN_PARALLEL) $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder
PRODUCT := $(VENV)/.product
DEVELOPER := $(VENV)/.developer
# uv downloads and unpacks in parallel, and compiles with all cores.
INSTALL := $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python

.PHONY: search test test-slow test-all test-browser test-gpu test-oldest lint format install install-oldest clean

search: $(PRODUCT)
	$(BIN)/cellscout search

test: lint
	$(PYTEST) -m "not slow and not browser"

test-slow: $(DEVELOPER)
	$(PYTEST) -m "slow and not browser"

test-all: test test-slow

# In Debian's chromium, or any of that name on the path.
test-browser: $(DEVELOPER)
	$(BIN)/python -m pytest -m browser

# Where PyTorch sees a GPU; otherwise they are skipped.
test-gpu: $(DEVELOPER)
	$(BIN)/python -m pytest -m gpu

# The tests of what uses Ray, Optuna, torch and PyArrow, on the oldest releases of the ranges in pyproject.toml.
OLDEST := .venv-oldest
OLDEST_TESTS := optuna_searcher live_study resume tune_trials schedulers waiting_line sampler_contract cluster autoscaling \
    ray_internals optuna_internals storage training
LOWER_BOUNDS := import re, tomllib; \
    found = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
    print(*(re.sub(r"(\[\w+\])?>=([\d.]+),<.*", r"==\2", line) for line in found if ",<" in line), sep="\n")

install-oldest: $(OLDEST)/.installed

test-oldest: install-oldest
	$(IN_PARALLEL) $(OLDEST)/bin/python -m pytest -n 2 --dist loadscope -m "not slow" $(OLDEST_TESTS:%=tests/test_%.py)

$(OLDEST)/.installed: pyproject.toml | $(BIN)/uv
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -c '$(LOWER_BOUNDS)' > $(OLDEST)/lower_bounds.txt
	$(BIN)/uv pip install --quiet --python $(OLDEST)/bin/python --editable . "ray[client]" \
	    --constraint $(OLDEST)/lower_bounds.txt cmaes hypothesis psutil pytest pytest-timeout pytest-xdist
	touch $@

lint: $(DEVELOPER)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEVELOPER)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(DEVELOPER)

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv

$(PRODUCT): pyproject.toml | $(BIN)/uv
	$(INSTALL) --editable .
	touch $@

$(DEVELOPER): pyproject.toml | $(BIN)/uv
	$(INSTALL) --editable ".[dev]"
	touch $(PRODUCT) $@

clean:
	rm -rf $(VENV) $(OLDEST) dist
