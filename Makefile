# Everything is set up on the way: .venv, dependencies, extension modules. `make help` lists it.

PORT ?= 3000
ORIGIN ?=
PYTHON ?=
VENV ?= .venv
ARGS ?=

# Another interpreter than that of the last set-up makes the environment anew.
DEPENDENCIES := $(VENV)/.dependencies$(subst /,-,$(PYTHON))
BUILD := $(VENV)/.build
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help run test build bench lint format docs clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: PORT=3000 ORIGIN=URL (run), ARGS=... (run, test, bench), PYTHON=/path/to/python3"

run: $(BUILD) ## start the proxy on PORT in front of a demo origin, or of ORIGIN
ifeq ($(ORIGIN),)
	@exec $(BIN)/python app.py demo --port $(PORT) $(ARGS)
else
	@exec $(BIN)/python app.py start --port $(PORT) --origin $(ORIGIN) $(ARGS)
endif

test: $(BUILD) ## run all tests
	@$(BIN)/python -m pytest $(ARGS)

build: $(BUILD) ## make the environment and compile the extension modules

bench: $(BUILD) ## compare with nginx, HAProxy and Varnish where installed, and record it
	@$(BIN)/python bench/run.py --record $(ARGS)

lint: $(BUILD) ## check style, types and Cython
	@$(BIN)/ruff check .
	@$(BIN)/black --check --quiet . || { echo "black would change files: make format"; exit 1; }
	@$(BIN)/mypy
	@PATH="$(abspath $(BIN)):$$PATH" cython-lint src

format: $(DEPENDENCIES) ## put the code in order
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/black --quiet .

docs: $(DEPENDENCIES) ## write the generated reference pages
	@$(BIN)/python scripts/settings_reference.py

clean: ## remove everything that was made
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis src/*.egg-info
	find src -name '*.so' -delete
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

$(DEPENDENCIES): requirements.txt requirements-runtime.txt requirements-dev.txt
	@sh scripts/set_up.sh $(VENV) $(PYTHON)
	@touch $@

$(BUILD): $(DEPENDENCIES) setup.py pyproject.toml $(shell find src -name '*.pyx' -o -name '*.pxd')
	@echo "Compiling the extension modules ..."
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@
