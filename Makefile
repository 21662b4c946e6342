# One command each. `make` alone lists them. Only Python, make and PyPI are needed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
KAFKA := $(VENV)/kafka
IN_CONTAINERS := $(addprefix tests/integration/test_,ledger_races.py ledger_guards.py ledger_kills.py events_balances.py events_real_kafka.py api_idempotency.py)
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Sagapay needs Python 3.11 or later; set PYTHON=python3.x"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned packages into $(VENV) (once) ..."
	@awk '/^[^ #]/ {take = /^uv==/} take' requirements.lock > $(VENV)/uv.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(KAFKA): tests/events/kafka.pom.xml $(STAMP)
	@command -v java >/dev/null && command -v mvn >/dev/null || { echo "A real Kafka wants Java 17 or later and Maven (Debian: default-jre-headless maven)"; exit 1; }
	@echo "fetching Kafka's jars into $(KAFKA) (once) ..."
	@mvn --quiet --batch-mode -f $< dependency:copy-dependencies -DoutputDirectory=$(abspath $@)
	@touch $@

.PHONY: help up down reset demo test test-slow test-kill test-kafka test-containers matrix simulate bank mutate check format docs screenshots lock bench bench-ledger bench-lanes bench-shards bench-banks bench-events bench-history bench-cache install

##@ Run
install: $(STAMP) ## Install the pinned packages into .venv
up: $(STAMP) ## Start the whole platform in the background; returns when it is ready
	@$(BIN)/sagapay up --detach
down: $(STAMP) ## Stop everything that `make up` started
	@$(BIN)/sagapay down
reset: $(STAMP) ## Stop, and delete all local data
	@$(BIN)/sagapay down --erase
demo: up ## Start the platform and watch money move through the REST API
	@$(BIN)/sagapay demo

##@ Prove
test: BESIDE = tests/workflow tests/contract tests/property tests/replay tests/unit
test: $(STAMP) ## Run the test suite on the real servers of the embedded stack (under 10 minutes)
# Most of it is waiting for servers, so that two runs beside each other take little longer than one. They should end
# at about the same time.
	@$(BIN)/python -m tests.side_by_side -m "not slow" $(ARGS) -- $(addprefix --ignore=,$(BESIDE)) -- $(BESIDE)
test-slow: $(STAMP) ## Run the rest: every server and role killed, the fault matrix, operators
	@$(BIN)/python -m tests.side_by_side -m slow $(ARGS) -- --ignore=tests/e2e --ignore=tests/workflow -- tests/e2e tests/workflow
test-kill: $(STAMP) ## Kill everything at random under mixed payments (ROUNDS=20, SEED=… to repeat)
	@$(BIN)/python -m tests.traffic --rounds $(or $(ROUNDS),20) $(if $(SEED),--seed $(SEED))
test-kafka: $(KAFKA) ## Run what needs a broker's promises on a real Apache Kafka (wants Java 17 and Maven; MINUTES=10 of kills, SEED=7)
	@SAGAPAY_TEST_KAFKA_LIBS=$(abspath $(KAFKA)) SAGAPAY_TEST_KAFKA_MINUTES=$(MINUTES) SAGAPAY_TEST_KAFKA_SEED=$(SEED) \
		$(BIN)/python -m pytest tests/integration/test_events_real_kafka*.py $(or $(ARGS),-q)
test-containers: $(STAMP) ## Run a slice of the suite on PostgreSQL, Redis and Kafka in containers (wants a Docker engine)
	@$(BIN)/python -m tests.stack.choosing $(CONTAINERS) || { echo "make test-containers wants a Docker engine, and the images of docker-compose.yml or those named in CONTAINERS=\"--postgres-image=… --redis-image=… --kafka-image=…\""; exit 1; }
	@$(BIN)/python -m pytest --infra=containers $(CONTAINERS) $(or $(ARGS),-q) $(IN_CONTAINERS)
matrix: $(STAMP) ## Make every payment of the fault matrix, and write docs/reference/fault-matrix.md anew (2 minutes)
	@$(BIN)/python -m tests.matrix
simulate: $(STAMP) ## Play months of payments with a bank that misbehaves, checked every day (SEED=7 for one, SEEDS=100)
	@$(BIN)/python -m tests.simulation $(if $(SEEDS),--seeds $(SEEDS),$(or $(SEED),1))
bank: $(STAMP) ## Begin the adapter of another bank from the template (NAME=acme)
	@$(BIN)/python -m tests.contract.new_bank $(NAME)
mutate: $(STAMP) ## Change posting and holds carelessly, again and again: tests must notice (outside CI; MINUTES=45, SEED=1)
	@$(BIN)/python -m tests.mutation $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))
check: $(STAMP) ## Lint, format, strict types, import contracts, dead links
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest -q tests/house
bench: $(STAMP) ## Measure; tables and plots go to docs/benchmarks (QUICK=1 for about 20 minutes)
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)
	@$(BIN)/python -m benchmarks.ledger $(if $(QUICK),--quick)
	@$(BIN)/python -m benchmarks.lanes $(if $(QUICK),--quick)
	@$(BIN)/python -m benchmarks.shards $(if $(QUICK),--quick)
	@$(BIN)/python -m benchmarks.banks $(if $(QUICK),--quick)
	@$(MAKE) --no-print-directory bench-events bench-history bench-cache
bench-ledger: $(STAMP) ## Measure the ledger alone, against TPC-B and the textbook (QUICK=1 for under 5 minutes)
	@$(BIN)/python -m benchmarks.ledger $(if $(QUICK),--quick)
bench-lanes: $(STAMP) ## Measure the lanes through the API, and what a transfer costs in each (QUICK=1 for about 4 minutes)
	@$(BIN)/python -m benchmarks.lanes $(if $(QUICK),--quick)
bench-shards: $(STAMP) ## Measure one, two and four shards, and transfers across them (QUICK=1 for under 2 minutes)
	@$(BIN)/python -m benchmarks.shards $(if $(QUICK),--quick)
bench-banks: $(STAMP) ## Measure a bank beside a dead one, and how what waited is made good (QUICK=1 for about 4 minutes)
	@$(BIN)/python -m benchmarks.banks $(if $(QUICK),--quick)
bench-events: $(STAMP) ## Measure events on their way, and the drain on a real Kafka where `make test-kafka` has fetched one
	@$(if $(wildcard $(KAFKA)),SAGAPAY_TEST_KAFKA_LIBS=$(abspath $(KAFKA))) $(BIN)/python -m benchmarks.events $(if $(QUICK),--quick)
bench-history: $(STAMP) ## Measure pages of the history of a wallet with a million lines (about 4 minutes)
	@$(BIN)/python -m benchmarks.history $(if $(QUICK),--quick)
bench-cache: $(STAMP) ## Measure balances with and without the cache, hopeless debits, and one sender's crowd (a minute)
	@$(BIN)/python -m benchmarks.cache

##@ Maintain
format: $(STAMP) ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix -q . ; $(BIN)/ruff format -q .
docs: $(STAMP) ## Write the tables in docs/ anew that are made from the code
	@$(BIN)/python -m tests.house.settings_page
	@$(BIN)/python -m tests.house.event_schemas
	@$(BIN)/python -m tests.rest.reference_pages
screenshots: $(STAMP) ## Take the operators' guide's pictures of the Temporal UI anew (needs Chromium)
	@$(BIN)/python -m tests.operating.screenshots
lock: ## Pin all dependencies anew
	@$(LOCK) --all-extras -o requirements.lock pyproject.toml requirements.build.in
	@$(LOCK) --constraints requirements.lock -o requirements.runtime.lock pyproject.toml

help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n\033[1m%s\033[0m\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
