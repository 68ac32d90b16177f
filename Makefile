# `make run` serves, `make test` tests; both set everything up first.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed
PYTHON ?= $(firstword $(foreach name,python3.11 python3.10 python3 python,$(shell \
	$(name) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' 2>/dev/null && echo $(name))))
RUFF := $(BIN)/ruff check --no-cache --target-version py310 --line-length 120 --select E,F,I,UP,B,SIM,C4,PIE,RET,PTH

# What Spleeter pins beside Flask 3 can't be met, and most of it is never imported: these take the pins' place.
OVERRIDES := tensorflow==2.21.0\nnumpy>=2\npandas>=2.2
UNUSED := httpx typer norbert ffmpeg-python openvino-telemetry

.PHONY: run setup test lint bench soak clients lock audit clean

run: $(STAMP)
	@$(BIN)/ezstems models fetch || true
	@$(BIN)/ezstems demo
	exec $(BIN)/ezstems serve

setup: $(STAMP)

test: $(STAMP)
	$(BIN)/python -m pytest

lint: $(STAMP)
	$(RUFF) ezstems tests wsgi.py setup.py
	$(BIN)/mypy

bench: $(STAMP)
	for bench in tests/benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

# `make soak ROUNDS=100 SEED=1`: kills and operators' slips at random moments, for ten minutes.
soak: $(STAMP)
	ROUNDS=$(or $(ROUNDS),100) SEED=$(SEED) $(BIN)/python -m tests.soak

# Needs the network, Java and Node 22.18: what six generators make of the API's description, tried.
clients: $(STAMP)
	$(BIN)/python -m tests.clients.generated

$(LOCKED): requirements.txt
ifeq ($(PYTHON),)
	@echo "EzStems needs Python 3.10 or 3.11 (Spleeter's range); none is on the PATH. Name one: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1
endif
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 12))' 2>/dev/null \
		|| { echo "EzStems needs Python 3.10 or 3.11 (Spleeter's range); $(PYTHON) is not one: $$($(PYTHON) --version 2>&1 | tail -n 1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks its venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing the locked packages into $(VENV): 900 MB to download, 3 GB on disk, a few minutes."
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --require-hashes -r requirements.txt
	touch $@

$(STAMP): $(LOCKED) setup.cfg setup.py
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Needs uv. Resolves once for both Pythons; every package, of every platform, with its hashes.
lock:
	uv pip compile setup.cfg --extra test --universal --python-version 3.10 --generate-hashes --quiet --no-header \
		--overrides <(printf '$(OVERRIDES)\n'; printf '%s; python_version < "3"\n' $(UNUSED)) -o requirements.txt

# Needs uv and the network. The two Pythons lock different versions; a package that PyPI can't be asked about fails, too.
audit:
	@status=0; for python in 3.10 3.11; do \
		uvx --python $$python pip-audit --requirement requirements.txt --require-hashes --disable-pip --strict \
			--progress-spinner off || status=1; \
	done; exit $$status

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache
