# What can be asked of a fresh clone? `make up` runs the centre, `make test` proves it; both set up all they need.
#
#   make up ARGS=--no-demo      make test ARGS="tests/deploy -k kafka"      make soak MINUTES=5      make bench QUICK=1

PYTHON ?= python3
IOC_DATA ?= .ioc
MINUTES ?= 60
ARGS ?=
BIN = $(IOC_DATA)/venv/bin
BOOTSTRAP = command -v $(PYTHON) >/dev/null || { echo "ioc: $(PYTHON) is not installed (on Debian: apt-get install python3)." >&2; exit 1; }; \
	IOC_DATA=$(IOC_DATA) $(PYTHON) deploy/bootstrap.py

# Types of the pages. Nothing is fetched, and what the checker keeps stays in the data folder.
DENO = bin=$$(realpath $(BIN)) && cd dashboard_api/board && env DENO_DIR="$$bin/../../deno" DENO_NO_UPDATE_CHECK=1 \
	"$$bin/deno" check --quiet --no-remote --no-lock

export IOC_DATA

.PHONY: up test lint soak bench lock clean

# `exec` lets Ctrl-C reach the centre alone, which stops its parts in order.
up:
	@$(BOOTSTRAP) run
	@exec $(BIN)/ioc up $(ARGS)

# Two at a time, each with a Kafka and a PostgreSQL of its own: much of what is tested is waiting.
test: lint
	$(BIN)/python -m pytest -m "not soak" -n 2 --dist loadfile $(ARGS)

lint:
	@$(BOOTSTRAP) test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	@echo "$(BIN)/deno check dashboard_api/board"
	@$(DENO) .
	@$(DENO) --config deno.worker.json field/sw.js

soak:
	@$(BOOTSTRAP) test
	MINUTES=$(MINUTES) $(BIN)/python -m pytest -m soak --timeout=0 $(ARGS)

bench:
	@$(BOOTSTRAP) bench
	$(BIN)/python -m tests.benchmarks $(if $(QUICK),--quick) $(ARGS)

# The locks take the newest versions that fit pyproject.toml; the groups are held to one common solution.
UV_COMPILE = $$folder/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header \
	--no-annotate pyproject.toml --group build
lock:
	@$(BOOTSTRAP) run
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(PYTHON) -m venv "$$folder" && "$$folder/bin/pip" install -q uv && \
	$(UV_COMPILE) --group test --group bench -o "$$folder/all.lock" && \
	$(UV_COMPILE) -c "$$folder/all.lock" -o deploy/locks/run.lock && \
	$(UV_COMPILE) --group test -c "$$folder/all.lock" -o deploy/locks/test.lock && \
	$(UV_COMPILE) --group test --group bench -c "$$folder/all.lock" -o deploy/locks/bench.lock
	$(BIN)/python -m deploy.local.kafka_jars

# What can be made again; the centre's data and the downloaded programs stay.
clean:
	rm -rf $(IOC_DATA)/venv $(IOC_DATA)/test .bench .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -not -path './.git/*' -not -path './$(IOC_DATA)/*' -prune -exec rm -rf {} +
