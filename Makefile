# Every target sets itself up: a fresh machine needs Python 3.10 or newer with venv, make and a network.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python

.PHONY: demo test test-all fuzz lint format docs dist weights bench arm clean

demo: .venv/base
	$(BIN)/edge-segface demo

test: .venv/dev
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow"

test-all: .venv/dev
	$(BIN)/pytest -n 2 --dist loadfile

# Bad inputs against the command line, then each fuzz target for SECONDS. Atheris needs Python 3.11 to 3.13 on Linux.
SECONDS ?= 60
fuzz: .venv/dev
	$(BIN)/python -m tests.fuzz.run --cases $(or $(CASES),1000) --seed $(or $(SEED),1)
	$(UV) atheris
	$(BIN)/python -c 'from tests.fuzz.targets import TARGETS; print("\n".join(TARGETS))' | while read -r target; do \
	    $(BIN)/python -m tests.fuzz.atheris_main "$$target" -max_total_time=$(SECONDS) || exit 1; done

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py
	$(BIN)/python benchmarks/tables.py --check

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation site, in build/site.
docs: .venv/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The wheel and the source distribution, in dist/.
dist: .venv/base
	$(BIN)/uv build --quiet --out-dir dist

# The files of a bundled model, from its bundled checkpoint, another one, or the mean of several.
# DATA is the folder that int8 is calibrated and gated on. How each was trained is in edge_segface/assets/CARD.md.
#   make weights DATA=faces/ LABELS=celebamask19-raw MODEL=lite FROM=runs/lite/last.pt
weights: .venv/dev
	$(BIN)/python tools/make_weights.py --data $(DATA) $(if $(LABELS),--labels $(LABELS)) $(if $(MODEL),--model $(MODEL)) $(if $(FROM),--from $(FROM))

# Speed and memory of the exported networks; writes benchmarks/results/rewrite.json and the tables made from it.
bench: .venv/dev
	$(BIN)/python benchmarks/rewrite.py
	$(BIN)/python benchmarks/tables.py

# The package in an arm64 Debian under qemu, compared with this machine. Needs root.
arm: .venv/dev
	tools/arm64.sh

.venv/base: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(UV) -e '.[cpu]'
	@touch $@

.venv/dev: .venv/base
	$(UV) -e '.[train,quantize,dev]'
	@touch $@

.venv/docs: .venv/base
	$(UV) -e '.[docs]'
	@touch $@

clean:
	rm -rf .venv build dist demo
