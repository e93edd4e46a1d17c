# LinkJolt from a checkout. `make run` needs only Python 3.11 or newer, `make` and a network.
# Works with GNU make 3.81. Long-running commands are exec'd, so that signals reach them.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# The lock has the build backend, too: isolation would fetch one that has no hash.
define install
@$(PIP) --require-hashes -r $(1)
@$(PIP) --no-deps --no-build-isolation -e .
endef

.PHONY: run test test-long check chaos load bench lock advisories clean

# Everything on this machine, with a demo link and key: prints what to paste.
run: $(VENV)/run.stamp
	@exec $(BIN)/linkjolt up --demo

# One more than two cores can compute at a time, for tests wait for servers, too; with more, edges
# on a busy machine wait longer for Redis than they may.
PYTEST := $(BIN)/python -m pytest -n 3 --dist worksteal

# What a commit needs: lint, types and all tests but those marked `long`, in some minutes.
test: check
	$(PYTEST) -m 'not long' --hypothesis-profile=short

# All tests, with whole days, chaos, load, exhaustive tables and all examples, in an hour at most.
test-long: check
	$(PYTEST) --session-timeout=3600

check: $(VENV)/test.stamp
	$(BIN)/ruff check --no-cache .
	$(BIN)/ruff format --no-cache --check .
	$(BIN)/pyright

# Kills and freezes a running instance under load for five minutes, then counts.
chaos: $(VENV)/test.stamp
	@exec $(BIN)/python -m loadtests.chaos

# A realistic mix by locust on an instance of its own, in an open and a closed loop, then a count.
load: $(VENV)/test.stamp
	@exec $(BIN)/python -m loadtests.load

# Every budget measured, the edge's beside nginx, nginx+Lua and Starlette, in a quarter of an hour;
# then reports over 100 million clicks, which the first run makes (half an hour, 15 GB in /var/tmp).
# Best on an idle machine.
bench: $(VENV)/test.stamp
	@exec $(BIN)/python -m loadtests.bench

# Writes requirements/*.lock anew and keeps the versions that still fit; UPGRADE=1 takes the newest.
# test.lock is first, and the others are parts of it.
LOCK := $(BIN)/uv pip compile -q pyproject.toml --group build --universal --python-version 3.11 \
    --generate-hashes --no-annotate --custom-compile-command 'make lock'
lock: $(BIN)/uv
	$(LOCK) --all-extras $(if $(UPGRADE),--upgrade) -o requirements/test.lock
	$(LOCK) --extra embedded -c requirements/test.lock -o requirements/run.lock
	$(LOCK) -c requirements/test.lock -o requirements/server.lock

# Looks the locked versions up among known vulnerabilities; test.lock has those of all locks.
advisories: $(BIN)/pip-audit
	$(BIN)/pip-audit --require-hashes --disable-pip -r requirements/test.lock

# Removes what make made; data/ stays.
clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/run.stamp: pyproject.toml requirements/run.lock | $(BIN)/python
	@echo 'Installing LinkJolt into $(VENV) ...'
	$(call install,requirements/run.lock)
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements/test.lock
	@echo 'Installing what the tests need ...'
	$(call install,requirements/test.lock)
	@touch $@

$(BIN)/uv $(BIN)/pip-audit: | $(BIN)/python
	@$(PIP) $(@F)

# A name on PATH may be a shim without a Python behind it, so each is tried.
$(BIN)/python:
	@bare=; for python in python3.14 python3.13 python3.12 python3.11 python3; do \
	    $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
	    if $$python -c 'import ensurepip, venv' 2>/dev/null; then \
	        exec $$python -m venv $(VENV); \
	    fi; \
	    bare=$$python; \
	done; \
	if [ -n "$$bare" ]; then \
	    echo "$$bare has no venv module: on Debian or Ubuntu run apt-get install python3-venv" >&2; \
	else \
	    echo 'LinkJolt needs Python 3.11 or newer, and there is none on PATH' >&2; \
	fi; \
	exit 1
