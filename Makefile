# The two commands: `make up` and `make test`. Everything else is listed by `make help`.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PLUGINS := $(sort $(wildcard plugins/*/pyproject.toml))
# A plugin that is dropped into plugins/ or taken away changes this, and with it the environment.
PLUGIN_LIST := $(VENV)/.plugins
SOURCES := setup.cfg pyproject.toml compose/pyproject.toml constraints.txt $(PLUGINS)

.PHONY: help up airflow down status logs clean venv lint types test check scenario chaos bench bench-api bench-batch bench-peers force
.DEFAULT_GOAL := help

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

up: venv ## install what is missing, start everything, show one change of each direction
	@$(BIN)/sink-stack up --demo
	@$(BIN)/sink-stack show

airflow: venv ## let Apache Airflow run the schedules, in an environment of its own
	@$(BIN)/sink-stack airflow

down: venv ## stop everything; data stays
	@$(BIN)/sink-stack down

status: venv ## each part: up or down, port, version, memory, lag
	@$(BIN)/sink-stack status

logs: venv ## what the parts wrote; PART=kafka for one, FOLLOW=1 to go on
	@$(BIN)/sink-stack logs $(PART) $(if $(FOLLOW),-f)

clean: venv ## stop everything and delete its data; downloads stay
	@$(BIN)/sink-stack clean

# setuptools stays: a test installs a plugin that was just scaffolded, without the network.
venv: $(VENV)/.installed ## the Python environment with every plugin under plugins/

$(VENV)/.installed: $(PLUGIN_LIST) $(SOURCES)
	@test -x $(BIN)/python || python3 -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		'setuptools>=77' -e '.[api,ranger,testing,dev,librdkafka]' -e compose $(foreach plugin,$(PLUGINS),-e $(dir $(plugin)))
	@touch $@

$(PLUGIN_LIST): force
	@mkdir -p $(VENV)
	@echo '$(PLUGINS)' | cmp -s - $@ || echo '$(PLUGINS)' > $@

lint: venv ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: venv ## mypy, strict
	@$(BIN)/mypy sink_runner compose/src $(wildcard plugins/*/src)

test: lint types ## rules, types, then every test against the real parts
	@$(BIN)/python -m pytest

check: lint types ## what needs no stack: rules, types, and the tests without real parts
	@$(BIN)/python -m pytest -m 'not stack and not postgres and not airflow and not ranger'

scenario: venv ## all twelve flows on a stack of its own, beside the specification; prints latencies
	@$(BIN)/python -m pytest -q -s tests/stack/test_twelve_flows.py

chaos: venv ## every fault on the real stack, three times under load, then a table; SEED=n ROUNDS=n
	@SEED=$${SEED:-$$RANDOM} ROUNDS=$${ROUNDS:-3} $(BIN)/python -m pytest -q tests/chaos

bench: venv ## events a second from Kafka to committed rows
	@$(BIN)/python -m tests.bench

bench-api: venv ## the API at 50 requests a second: milliseconds to the answer
	@$(BIN)/python -m tests.bench.api

bench-batch: venv ## 100,000 rows by the batch form, beside a plain COPY
	@$(BIN)/python -m tests.bench.batch

bench-peers: venv ## the same beside Debezium's JDBC sink and Quix Streams
	@$(BIN)/python -m tests.bench --peers
