# Each target does all its own set-up: nothing is needed but Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test bench clean

demo: .venv/demo-installed  ## stream the bundled recording through the live path
	$(BIN)/rtmelody demo

test: .venv/test-installed  ## style, types, import rules, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest

bench: .venv/train-installed  ## rtmelody and its peers in one run (needs fluidsynth, espeak-ng, TimGM6mb; aubio-tools for aubio)
	$(BIN)/python -m benchmarks $(BENCH)

.venv/%-installed: pyproject.toml
	test -d .venv || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --editable '.[$(EXTRAS)]'
	touch $@

.venv/demo-installed: EXTRAS := plot
.venv/test-installed: EXTRAS := test
.venv/train-installed: EXTRAS := pair,plot,train

clean:
	rm -rf .venv dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
