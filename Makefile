# `make run` serves, `make test` tests; both set everything up first.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
STAMP := $(VENV)/.installed
TOOLS := $(VENV)/.tools
# What `make setup EXTRAS=cluster` installs beside the rest: for PostgreSQL, and for more boxes than one.
CLUSTER := $(VENV)/.cluster
CLUSTER_LOCK := ezstems/deploy/cluster.txt
# The machine's own Python where it will do. 3.14 comes after the others: TensorFlow, the reference, isn't made for it.
SUITS := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 15))
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do \
	$$name -c '$(SUITS)' 2>/dev/null && { echo $$name; break; }; done)
# Every file that the locks name is pinned with its hashes and was resolved for these Pythons; Spleeter alone says that it
# isn't made for 3.12 and later, yet all of it that is used works there.
INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-deps
LOCK_INSTALL := $(INSTALL) --require-hashes --ignore-requires-python
RUFF := $(BIN)/ruff check --no-cache --target-version py310 --line-length 120 --select E,F,I,UP,B,SIM,C4,PIE,RET,PTH

# What Spleeter pins beside Flask 3 can't be met, and most of it is never imported: these take the pins' place. Whatever
# asks for `tensorflow` gets it where `tensorflow-cpu` doesn't exist, and nowhere both, which would share a folder.
CPU := sys_platform == "linux" and platform_machine == "x86_64"
OVERRIDES := numpy>=2\npandas>=2.2; python_version < "3.14"\n
# Celery asks for this very version, and pandas takes it.
OVERRIDES := $(OVERRIDES)python-dateutil==2.9.0.post0\n
OVERRIDES := $(OVERRIDES)tensorflow==2.21.0; python_version < "3.14" and (sys_platform != "linux" or platform_machine != "x86_64")\n
UNUSED := httpx typer norbert ffmpeg-python openvino-telemetry tensorflow-io-gcs-filesystem libclang
COMPILE := uv pip compile setup.cfg --extra build --universal --python-version 3.10 --generate-hashes --quiet --no-header

# What `.venv` was made for, and is now: where its folder was moved, or its Python replaced or removed, it is of no use.
IS := $(BIN)/python -c 'import sys; print("Python %d.%d" % sys.version_info[:2], "in", sys.prefix)' 2>/dev/null
OUTDATED := $(shell [ ! -s $(LOCKED) ] || { now="$$($(IS))"; was="$$(cat $(LOCKED))"; [ "$$now" = "$$was" ] || \
	echo "$(VENV) was made for $$was; now it is $${now:-without a Python that runs}."; })
# So it is where another Python is named than it was made with.
NAMED := $(if $(filter-out file,$(origin PYTHON)),$(PYTHON))
OUTDATED := $(or $(OUTDATED),$(if $(NAMED),$(shell [ ! -s $(LOCKED) ] || { was="$$(cat $(LOCKED))"; \
	named="Python $$($(NAMED) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)"; \
	[ "$${was%% in *}" = "$$named" ] || echo "$(VENV) was made for $$was; $(NAMED) is another."; })))

.PHONY: run setup test postgresql cluster quick lint bench soak clients lock audit clean outdated

run: $(STAMP)
	@$(BIN)/ezstems models fetch || true
	@$(BIN)/ezstems demo
	exec $(BIN)/ezstems serve

setup: $(STAMP) $(if $(filter cluster,$(EXTRAS)),$(CLUSTER))

# Tests wait for servers half of their time: three processes keep two cores busy; each takes 3 GB of memory at most.
# A file's tests share its servers, so that one process gets them all; tests/conftest.py has the longest files come first.
PROCESSES ?= 3
TESTS := $(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

test: $(TOOLS)
	$(TESTS)

# What the API promises, with the rows in a PostgreSQL that the tests start; or in a whole cluster: with a broker, an
# object store, and separation boxes, too.
PROMISES := tests/api tests/site/test_accounts.py tests/site/test_login.py tests/site/test_sessions.py tests/site/test_songs.py
postgresql: $(TOOLS)
	BACKEND=postgresql $(TESTS) $(PROMISES)

cluster: $(TOOLS)
	BACKEND=cluster $(TESTS) $(PROMISES) tests/database/test_promises.py

# What needs no server, browser or TensorFlow.
quick: $(TOOLS)
	$(TESTS) -m quick

lint: $(TOOLS)
	$(RUFF) ezstems tests wsgi.py setup.py
	$(BIN)/mypy

bench: $(TOOLS)
	for bench in tests/benchmarks/bench_*.py; do $(BIN)/python $$bench || exit 1; done

# `make soak ROUNDS=100 SEED=1`: kills and operators' slips at random moments, for ten minutes. With CLUSTER=1 the box
# is a cluster of hosts, each a network namespace, which takes root and a quarter of an hour.
soak: $(TOOLS)
	ROUNDS=$(or $(ROUNDS),100) SEED=$(SEED) $(BIN)/python -m tests.soak$(if $(CLUSTER),.cluster)

# Needs the network, Java and Node 22.18: what six generators make of the API's description, tried.
clients: $(TOOLS)
	$(BIN)/python -m tests.clients.generated

$(LOCKED): requirements.txt $(if $(OUTDATED),outdated)
ifeq ($(PYTHON),)
	@echo "EzStems needs Python 3.10 to 3.14; none is on the PATH. Name one: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1
endif
	@$(PYTHON) -c '$(SUITS)' 2>/dev/null \
		|| { echo "EzStems needs Python 3.10 to 3.14; $(PYTHON) is not one: $$($(PYTHON) --version 2>&1 | tail -n 1)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) lacks its venv module; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; print("Installing the locked packages into $(VENV):", \
		"470 MB to download, 2.1 GB on disk, a minute or two." if sys.version_info < (3, 14) else \
		"180 MB to download, 0.6 GB on disk, a minute.")'
	$(PYTHON) -m venv --clear $(VENV)
	$(LOCK_INSTALL) -r requirements.txt
	@$(IS) > $@

outdated:
	@echo "$(OUTDATED)"

$(STAMP): $(LOCKED) setup.cfg setup.py
	$(INSTALL) --use-pep517 --no-build-isolation --editable .
	touch $@

$(CLUSTER): $(STAMP) $(CLUSTER_LOCK)
	@echo "Installing what PostgreSQL and a cluster need: 15 MB to download."
	$(LOCK_INSTALL) -r $(CLUSTER_LOCK)
	touch $@

$(TOOLS): $(CLUSTER) tests/requirements.txt
	@echo "Installing the test tools: 90 MB to download, 0.3 GB on disk."
	$(LOCK_INSTALL) -r tests/requirements.txt
	touch $@

# Needs uv. Resolves once for all Pythons and platforms; every package with its hashes. What only a cluster or only tests
# need is a lock of its own, beside the first and never against it.
LEFT_OUT = awk 'NR == FNR { there[$$0] = 1; next } /^[^ ]/ { new = !($$0 in there) } new' $(1) $(2) > $(2).new \
	&& mv $(2).new $(2)
lock: OVERRIDDEN = <(printf '$(OVERRIDES)'; printf '%s; python_version < "3"\n' $(UNUSED))
lock: OVERRIDDEN_IN_TESTS = <(printf '$(OVERRIDES)'; printf '%s; python_version < "3"\n' $(filter-out ffmpeg-python,$(UNUSED)))
lock:
	$(COMPILE) --overrides $(OVERRIDDEN) -o requirements.txt
	$(COMPILE) --extra cluster --overrides $(OVERRIDDEN) --constraints requirements.txt -o $(CLUSTER_LOCK)
	$(COMPILE) --extra cluster --extra test --overrides $(OVERRIDDEN_IN_TESTS) --constraints requirements.txt \
		--constraints $(CLUSTER_LOCK) -o tests/requirements.txt
	$(call LEFT_OUT,$(CLUSTER_LOCK),tests/requirements.txt)
	$(call LEFT_OUT,requirements.txt,tests/requirements.txt)
	$(call LEFT_OUT,requirements.txt,$(CLUSTER_LOCK))

# Needs uv and the network. Pythons lock different versions; a package that PyPI can't be asked about fails, too.
audit:
	@status=0; for python in 3.10 3.11 3.12 3.13 3.14; do for lock in requirements.txt $(CLUSTER_LOCK) tests/requirements.txt; do \
		uvx --python $$python pip-audit --requirement $$lock --require-hashes --disable-pip --strict \
			--progress-spinner off || status=1; \
	done; done; exit $$status

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache
