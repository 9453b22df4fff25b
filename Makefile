# Every target does its own set-up: a fresh machine needs Python 3.10 or newer, make and a network.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test lint format weights bench clean

demo: .venv/base
	$(BIN)/edge-segface demo

test: .venv/dev
	$(BIN)/pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python benchmarks/tables.py --check

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The bundled files from the bundled checkpoint, or from another, or from the mean of several; DATA calibrates and judges int8.
#   make weights DATA=faces/ LABELS=celebamask19-raw FROM=runs/edge/best.pt
weights: .venv/dev
	$(BIN)/python tools/make_weights.py --data $(DATA) $(if $(LABELS),--labels $(LABELS)) $(if $(FROM),--from $(FROM))

# Speed and memory of the exported networks; writes benchmarks/results/rewrite.json and its table.
bench: .venv/dev
	$(BIN)/python benchmarks/rewrite.py
	$(BIN)/python benchmarks/tables.py

.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) -e .
	@touch $@

.venv/dev: .venv/base
	$(UV) -e '.[train,quantize,dev]'
	@touch $@

clean:
	rm -rf .venv build dist demo
