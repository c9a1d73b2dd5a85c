# Everything lives in .venv; PYTHON is any Python from 3.11 on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: install demo firmware others peers bench test torture lint clean

# The PyTorch of the tests: one minor version, of which pip takes a build without CUDA where it knows of one
# (PIP_FIND_LINKS, PIP_EXTRA_INDEX_URL), several GB less to install.
TORCH ?= torch==2.13.*

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -P -m venv $(VENV)
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --editable '.[train,live,export,torch,dev]' '$(TORCH)'
	touch $@

demo: $(VENV)/.demo
	$(BIN)/eapu-hil demo

# What training and drawing need, without the tools of the developers.
$(VENV)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -P -m venv $(VENV)
	$(BIN)/python -P -m pip install --quiet --disable-pip-version-check --editable '.[train,live]'
	touch $@

# Every port that there is a compiler for, with its sizes; in firmware/build.
firmware:
	+@$(MAKE) --no-print-directory -s -C firmware

# PyMeasure and QCoDeS, whose drivers are tried against the simulated instruments; large, and needed for nothing else.
others: .venv-others/.installed

.venv-others/.installed: pyproject.toml
	$(PYTHON) -P -m venv .venv-others
	.venv-others/bin/python -P -m pip install --quiet --disable-pip-version-check --editable . \
		'pymeasure>=0.16' 'qcodes>=0.58'
	touch $@

# aihwkit and badcrossbar, which do the same work as the twin, beside ours; several GB. aihwkit's wheel spares a build of
# many minutes and was built with PyTorch 2.10: with another it takes tensors for something else. badcrossbar comes
# without its drawing, which needs cairo.
peers: .venv-peers/.installed

.venv-peers/.installed: pyproject.toml
	$(PYTHON) -P -m venv .venv-peers
	.venv-peers/bin/python -P -m pip install --quiet --disable-pip-version-check --only-binary aihwkit \
		--editable '.[train,torch]' 'aihwkit==1.1.0' 'torch==2.10.*'
	.venv-peers/bin/python -P -m pip install --quiet --disable-pip-version-check --no-deps \
		'badcrossbar>=1.1' 'pathvalidate>=3' 'sigfig>=1.3'
	touch $@

# Every figure of speed with its goal; beside the peers where `make peers` was. ROWS: some rows alone. EARLIER: another
# checkout, whose time of the demo is taken in turn.
bench: $(STAMP)
	PYTHONPATH=benchmarks EARLIER=$(EARLIER) \
		$(if $(wildcard .venv-peers/.installed),.venv-peers/bin,$(BIN))/python -P -m speed $(ROWS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Memory for files, where there are 4 GiB of it and programs may run from there. The tests of runs and ledgers wait for
# the disk a hundred times each.
MEMORY = $(shell grep ' /dev/shm ' /proc/mounts 2>/dev/null | grep -qv noexec \
	&& test "$$(df -k /dev/shm | awk 'NR == 2 {print $$4}')" -gt 4194304 && echo /dev/shm)

# One thread of linear algebra per worker: the tests run in as many processes as there are cores. Byte code is kept
# whatever the shell says: every worker and some hundred programs of the tests import the same modules.
test: lint
	$(if $(MEMORY),TMPDIR="$${TMPDIR:-$(MEMORY)}") PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --dist worksteal

# The long form of tests/torture: some 200 kills, 30 of the live page and the run beside it, 2,000 damaged files, 1e6 hostile frames, 1e5 hostile requests.
SEED ?= 1
torture: $(STAMP)
	OMP_NUM_THREADS=1 PYTHONPATH=tests/torture $(BIN)/python -P tests/torture/torture.py --seed $(SEED)

clean:
	rm -rf $(VENV) .venv-others .venv-peers build firmware/build *.egg-info
