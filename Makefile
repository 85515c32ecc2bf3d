# Two commands: `make run` serves the demo, `make test` passes the whole suite.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: run test thorough script hydration loads screenshots faults simulate-stats check bench bench-statistics lock clean

run: $(VENV)/.runtime
	@exec $(BIN)/prooflog serve

test: $(VENV)/.dev
	@$(BIN)/python -m pytest -n 4 $(PYTEST_ARGS)

# What takes many seconds each: a short form of the faults, error rates of families, every page for everybody, more logs.
thorough: $(VENV)/.dev
	@PROOFLOG_EXAMPLES=30 $(BIN)/python -m pytest -n 2 -m "thorough or any_log" $(PYTEST_ARGS)

# Many rounds of killed processes, cut connections, full disks and overload, minutes long (docs/testing.md).
faults: $(VENV)/.dev
	@$(BIN)/python -m pytest tests/faults -m faults -s -v $(PYTEST_ARGS)

# What docs/statistics.md promises, counted over simulated experiments in full, some minutes.
simulate-stats: $(VENV)/.dev
	@$(BIN)/python -m tests.stats.simulation $(SIMULATE_ARGS)

# What .ci/run adds to the tests: lint, format, types, import rule.
check: $(VENV)/.dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

$(VENV)/bin/python:
	@echo "making the virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing: apt-get install python3-venv"; exit 1; }

$(VENV)/.runtime: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "installing from requirements.lock"
	@$(PIP) install --require-hashes -r requirements.lock
	@$(PIP) install --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.lock
	@echo "installing from requirements-dev.lock"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# The browser script, from app/script/source to app/script/built; commit both. Node comes with the packages above.
script: $(VENV)/.dev
	@cd app/script && PATH="$(CURDIR)/$(BIN):$$PATH" && npm ci --silent --no-audit --no-fund && npm run --silent build

# Pages that React 18 and 19 take over, for the browser tests; without them those tests are skipped.
hydration: script
	@for version in 18 19; do \
		(cd tests/browser/hydration/react$$version && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --silent --no-audit --no-fund) && \
		(cd tests/browser/hydration && PATH="$(CURDIR)/$(BIN):$$PATH" NODE_PATH=react$$version/node_modules \
			../../../app/script/node_modules/.bin/esbuild page.jsx --bundle --minify --log-level=warning \
			--define:process.env.NODE_ENV='"production"' --outfile=built/react$$version.js) || exit 1; \
	done

# What the browser script promises of many page loads, some minutes (docs/testing.md).
loads: $(VENV)/.dev
	@PROOFLOG_BROWSER_LOADS=50 $(BIN)/python -m pytest tests/browser/test_first_paint.py tests/browser/test_arrival.py -m 'not faults' $(PYTEST_ARGS)

# The pictures in docs/pictures, from the demo's data.
screenshots: $(VENV)/.dev
	@$(BIN)/python -m tests.browser.photographs

# Ratios against PostgreSQL's own COPY, in one run (bench/README.md).
bench: $(VENV)/.dev
	@$(BIN)/python -m bench $(BENCH_ARGS)

# 10,000 comparisons against gbstats 0.8.0, which has an environment of its own: it needs pandas and numpy 1.
bench-statistics: $(VENV)/.dev .venv-gbstats/.made
	@$(BIN)/python -m bench.statistics --gbstats .venv-gbstats/bin/python $(BENCH_ARGS)

.venv-gbstats/.made: bench/gbstats.lock
	@$(PYTHON) -m venv .venv-gbstats
	@.venv-gbstats/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r $<
	@touch $@

# Renews the lock files from pyproject.toml (needs uv).
lock:
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --extra build pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate --extra build --extra dev --constraint requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate bench/gbstats.in -o bench/gbstats.lock

clean:
	rm -rf $(VENV) .venv-gbstats .prooflog
