# make demo   set up everything, then raw text -> aligned chat model on the small world
# make test   set up everything, then the fast tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: setup demo test test-all lint clean-runs

setup: $(READY)

# Runs again only when the dependencies change, so the second time needs no network.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/hfllm run configs/demo.yaml

test: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest

test-all: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m 'not gpu'

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean-runs:
	rm -rf runs
