# make demo: set up everything and run the simulated campaign.   make test: set up everything and pass the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
EXAMPLES := $(patsubst %/pyproject.toml,%,$(wildcard plugin_examples/*/pyproject.toml))

.PHONY: demo test test-slow lint docs pictures clean

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[demo,dask,postgres,solve,docs,dev]"
	touch $(READY)

# The example packages' own tests need them installed, as a user would.
$(VENV)/.examples: $(READY) $(wildcard plugin_examples/*/pyproject.toml plugin_examples/*/*.py plugin_examples/*/lcf_*/*.py)
	$(BIN)/python -m pip install --quiet --no-deps $(addprefix ./,$(EXAMPLES))
	touch $(VENV)/.examples

demo: $(READY)
	$(BIN)/lcf demo demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(READY)
	$(BIN)/sphinx-build -W -q -b html docs docs/_build/html

# The pictures of README and pages, from simulated campaigns: minutes. Pages are built from those in the repository.
pictures: $(READY)
	$(BIN)/python docs/pictures/make_pictures.py

# Types and pages are checked side by side: each takes one core.
test: $(VENV)/.examples
	$(MAKE) -j 2 lint docs
	$(BIN)/python -m pytest -n 2 -m "not slow" tests $(EXAMPLES)

# What takes longer: oracles, the real frames (set LCF_HATP32 to the folder that holds raw/), many simulations.
test-slow: $(VENV)/.examples
	$(BIN)/python -m pytest -m slow tests $(EXAMPLES)

clean:
	rm -rf $(VENV) demo docs/_build
