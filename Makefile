# Two commands for a fresh clone: `make demo` and `make test`. Both need Python 3.11 or newer and nothing else.
# `make test` runs in two processes (about 3 GB of memory each); `make test TESTS="-x tests/data"` as its options say.
# `make bench` measures: about 30 minutes on two idle cores and 4 GB of memory; a C++ compiler for the compiled entrants.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
TESTS ?= -n 2 --dist worksteal
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test test-slow bench lint clean

demo: $(VENV)/.installed
	$(BIN)/vicinal run quickstart --out runs/quickstart
	@echo "Open runs/quickstart/report.html in a browser."

test: lint
	$(BIN)/python -m pytest $(TESTS)

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks $(BENCH)

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(VENV)/.installed: pyproject.toml
	@echo "Installing PyTorch and what else is needed into $(VENV): once, a minute or two on a fast line."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable .
	touch $@

$(VENV)/.installed-test: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable ".[test]"
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) runs build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
