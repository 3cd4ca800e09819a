# Two commands: `make search` and `make test`. Each makes the environment and installs first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Two processes, a file of tests in one of them, begun in the order of tests/conftest.py. Hundreds of processes import the
# same modules, which are compiled once.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
INSTALLED := $(VENV)/.installed

.PHONY: search test test-fast test-browser test-oldest lint format install clean

search: $(INSTALLED)
	$(BIN)/cellscout search

test: lint
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not slow and not browser"

# In Debian's chromium, or whatever of that name is on the path.
test-browser: $(INSTALLED)
	$(BIN)/python -m pytest -m browser

# What stands on Ray, Optuna, torch and PyArrow, on the oldest releases of the ranges in pyproject.toml.
OLDEST := .venv-oldest
OLDEST_TESTS := optuna_searcher live_study resume tune_trials schedulers waiting_line sampler_contract cluster autoscaling \
    ray_internals optuna_internals storage training
LOWER_BOUNDS := import re, tomllib; \
    found = tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]; \
    print(*(re.sub(r"(\[\w+\])?>=([\d.]+),<.*", r"==\2", line) for line in found if ",<" in line), sep="\n")

test-oldest: $(OLDEST)/.installed
	OMP_NUM_THREADS=1 $(OLDEST)/bin/python -m pytest $(OLDEST_TESTS:%=tests/test_%.py)

$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -c '$(LOWER_BOUNDS)' > $(OLDEST)/lower_bounds.txt
	$(OLDEST)/bin/python -m pip install --quiet --editable . --constraint $(OLDEST)/lower_bounds.txt \
	    "ray[client]" cmaes hypothesis psutil pytest pytest-timeout
	touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(OLDEST) dist
