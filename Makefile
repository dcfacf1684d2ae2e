# What is done from a checkout. `make help` lists the targets.
#
# PYTHON    the interpreter that makes .venv (3.11 or newer)
# PIP_ARGS  more arguments for pip, such as an index that has the CPU build of torch
# CONFIG    the configuration that `make serve` starts with
# ARGS      more arguments for demo, test, bench and screenshots
# SCREENSHOTS  the folder that `make screenshots` fills

PYTHON ?= python3
PIP_ARGS ?=
CONFIG ?= config/medfake.toml
ARGS ?=
SCREENSHOTS ?= screenshots

BIN := .venv/bin
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install -c config/constraints.txt $(PIP_ARGS)
METADATA := pyproject.toml setup.cfg config/constraints.txt
PYTEST := $(BIN)/python -m pytest $(ARGS)

.PHONY: help venv demo serve test lint format bench screenshots train clean distclean
.DELETE_ON_ERROR:

help:
	@echo 'make demo    set up, start a node, send it real and manipulated images, show the verdicts'
	@echo 'make serve   set up, start a node with $(CONFIG) and stay'
	@echo 'make test    set up, run all tests'
	@echo 'make lint    check style'
	@echo 'make bench   measure the node beside other software; needs DCMTK and Orthanc'
	@echo 'make screenshots  picture the pages of the console into $(SCREENSHOTS); needs Chromium and Orthanc'
	@echo 'make train   train a small model on data made on the spot'
	@echo 'make clean   remove what these made, but for .venv and the state of the node'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv

# One stamp for each set of packages, renewed when the metadata change.
.venv/installed-%: $(BIN)/python $(METADATA)
	@echo 'Installing packages into .venv (once; several minutes)'
	$(INSTALL) -e '.[$*]'
	@touch $@

venv: .venv/installed-demo

demo: .venv/installed-demo
	$(BIN)/python -m medfake_pacs.demo $(ARGS)

serve: .venv/installed-demo
	exec $(BIN)/medfake-pacs serve --config $(CONFIG)

# Tests marked serial run alone and first, so that pytest's last line is that of the many.
# Status 5 says that none is marked so.
test: .venv/installed-test
	@status=0; \
	$(PYTEST) -m serial || [ $$? -eq 5 ] || status=1; \
	$(PYTEST) -m 'not serial' -n 2 --dist loadgroup || status=1; \
	exit $$status

lint: .venv/installed-test
	$(BIN)/ruff check --config config/ruff.toml .
	$(BIN)/ruff format --config config/ruff.toml --check .

format: .venv/installed-test
	$(BIN)/ruff format --config config/ruff.toml .

bench: .venv/installed-test
	$(BIN)/python -m tests.performance $(ARGS)

screenshots: .venv/installed-test
	$(BIN)/python -m tests.browser.screenshots $(ARGS) $(SCREENSHOTS)

train: .venv/installed-training
	$(BIN)/python -m training chain --config training/configs/quick.toml --data . --budget-minutes 5

clean:
	rm -rf demo-state demo-output bench-results screenshots runs build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean
	rm -rf .venv
