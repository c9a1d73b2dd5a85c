# Everything lives in .venv; PYTHON is any Python from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo firmware test lint clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/eapu-hil demo

# What training and drawing need, without the tools of the developers.
$(VENV)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train]'
	touch $@

# Every port that there is a compiler for, with its sizes; in firmware/build.
firmware:
	+@$(MAKE) --no-print-directory -s -C firmware

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# One thread of linear algebra per worker: the tests run in as many processes as there are cores.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto

clean:
	rm -rf $(VENV) build firmware/build *.egg-info
