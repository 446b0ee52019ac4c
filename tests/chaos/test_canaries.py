"""After failures of every kind, no output of a run contains a value that policies forbid there.

Both databases are searched completely, except the tables where a value belongs: the tables it was
written to, the golden records for values of the portal's citizens, and the oracle's history.
"""

import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from kafka import KafkaConsumer
from sink_stack import topics

from ..stack.deployment import wait_until
from .api_responses import copy_unmasked_policies, search_responses
from .canaries import (
    INCOME_BAND,
    PORTAL,
    WAREHOUSE,
    Person,
    reject_rows,
    run_schedule,
    send_undecodable,
    values_of,
    write_rows,
    write_verbose_config,
)
from .commands import Commands
from .harness import Harness
from .search import Finding, Search

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

_TIMEOUT_SECONDS = 30
CITIZENS = "smart_citizen.public.citizens"
_WAREHOUSE_OWNED = {
    "public.golden_records",
    "public.profile_360",
    "alerts.ml_alert_outbox",
    "history.change",
}
_PORTAL_OWNED = {"public.citizens", "public.feedback", "history.change"}
_PORTAL_TARGETS = {"public.golden_records", "history.change"}
_NAME_TARGETS = {"public.profile_data"}
"""Policies permit names and birth dates in this target."""
_PLANTED = (
    (
        "INSERT INTO sink.callback_row (mapping, key) VALUES ('planted', %s)",
        (WAREHOUSE[5].aadhaar,),
    ),
    (
        "INSERT INTO sink.callback_row (mapping, key) VALUES ('planted', %s)",
        (WAREHOUSE[5].name,),
    ),
    (
        """INSERT INTO ml_alerts (alert_id, citizen_id, alert_type, severity, created_at, message)
           VALUES (%s, %s, 'X', 'LOW', now(), %s)""",
        (WAREHOUSE[5].key, PORTAL[0].key, WAREHOUSE[5].free_text()),
    ),
)
_MASKED_NUMBERS = "SELECT jan_aadhaar, mobile_number FROM profile_data WHERE record_id = %s"


@pytest.fixture(scope="module")
def search() -> Search:
    return Search({**values_of([*WAREHOUSE, *PORTAL]), "income band": INCOME_BAND})


@pytest.fixture(scope="module")
def findings(harness: Harness, search: Search, tmp_path_factory: Any) -> Iterator[list[Finding]]:
    """Run everything; yield the findings in the output of commands, API and endpoints."""
    folder, since = tmp_path_factory.mktemp("canaries"), datetime.now(UTC).isoformat()
    harness.kill_runner()
    variables = write_verbose_config(harness.deployment.root, folder)
    runner = harness.ensure_runner(**variables)
    commands = Commands(environment={**harness.deployment.environment, **variables}, search=search)
    # `dlq explain` runs inside the block, so that it meets the same errors as the runner.
    with run_schedule(harness, variables), reject_rows(harness):
        write_rows(harness)
        send_undecodable(harness)
        assert wait_until(lambda: masked_row_arrived(harness), _TIMEOUT_SECONDS), (
            harness.deployment.log_tail()
        )
        assert harness.seconds_to_apply_all() is not None
        findings = commands.inspect_dead_letters(since)
    api_folder = folder / "api"
    api_folder.mkdir()
    findings += [*commands.run_reading(), *commands.run_writing()]
    findings += search_responses(harness, search, api_folder)
    findings += search_endpoints(harness, search)
    runner.process.send_signal(signal.SIGABRT)
    runner.process.wait()
    assert "Fatal Python error: Aborted" in harness.deployment.log.read_text(encoding="utf-8")
    yield findings
    harness.kill_runner()


def masked_row_arrived(harness: Harness) -> bool:
    row = harness.deployment.citizen.execute(_MASKED_NUMBERS, (WAREHOUSE[0].key,)).fetchone()
    person = WAREHOUSE[0]
    return row == (f"****-****-{person.aadhaar[-4:]}", f"******{person.mobile[-4:]}")


def search_endpoints(harness: Harness, search: Search) -> Iterator[Finding]:
    """Search the metrics, with their labels, and the health checks."""
    port = harness.deployment.environment["SINK_HEALTH_PORT"]
    for path in ("metrics", "readyz", "healthz"):
        response = httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30)
        assert response.content
        yield from search.find_in_bytes(path, response.content)


def test_commands_api_and_metrics_reveal_no_value(findings: list[Finding]) -> None:
    assert not findings, format_lines(findings)


def test_tables_contain_only_permitted_values(findings: list[Finding], harness: Harness) -> None:
    warehouse_masked, portal_masked = (
        Search({**values_of(WAREHOUSE, Person.masked_values), "income band": INCOME_BAND}),
        Search(values_of(PORTAL, Person.masked_values)),
    )
    warehouse_names, portal_names = (
        Search(values_of(people, Person.name_values)) for people in (WAREHOUSE, PORTAL)
    )
    addresses = Search(values_of(PORTAL, Person.portal_values))
    warehouse, citizen = harness.deployment.warehouse, harness.deployment.citizen
    found = [
        *warehouse_masked.find_in_database(warehouse, _WAREHOUSE_OWNED),
        *warehouse_masked.find_in_database(citizen, ()),
        *portal_masked.find_in_database(warehouse, _PORTAL_TARGETS),
        *portal_masked.find_in_database(citizen, _PORTAL_OWNED),
        *warehouse_names.find_in_database(warehouse, _WAREHOUSE_OWNED),
        *warehouse_names.find_in_database(citizen, _NAME_TARGETS),
        *portal_names.find_in_database(warehouse, _PORTAL_TARGETS),
        *portal_names.find_in_database(citizen, _PORTAL_OWNED | _NAME_TARGETS),
        *addresses.find_in_database(warehouse, ()),
        *addresses.find_in_database(citizen, _PORTAL_OWNED),
    ]
    assert not found, format_lines(found)


def test_logs_and_files_contain_no_value(
    findings: list[Finding], harness: Harness, search: Search
) -> None:
    """The data files of the databases and of the captured topics are excluded."""
    home, captured = harness.stack.stack.layout.home, captured_topics(harness)
    databases = [path.name for path in home.glob("pgdata*")]
    topics_of_tables = [
        f"kafka/{path.name}"
        for path in (home / "kafka").iterdir()
        if path.name.rpartition("-")[0] in captured
    ]
    found = [
        *search.find_in_files(home, excluded=[*databases, *topics_of_tables]),
        *search.find_in_files(harness.deployment.log.parent),
    ]
    assert not found, format_lines(found)


def test_uncaptured_topics_contain_no_value(
    findings: list[Finding], harness: Harness, search: Search
) -> None:
    found = list(
        search_topics(harness, search, lambda topic: topic not in captured_topics(harness))
    )
    assert not found, format_lines(found)


def test_topics_contain_no_uncaptured_column(findings: list[Finding], harness: Harness) -> None:
    """The portal's addresses are in no topic, although the citizens' other columns are."""
    addresses, citizen = (
        Search(values_of(PORTAL, Person.portal_values)),
        Search(values_of(PORTAL[:1])),
    )
    assert list(search_topics(harness, citizen, lambda topic: topic == CITIZENS))
    found = list(search_topics(harness, addresses, lambda topic: True))
    assert not found, format_lines(found)


def search_topics(
    harness: Harness, search: Search, is_searched: Callable[[str], bool]
) -> Iterator[Finding]:
    consumer = KafkaConsumer(
        bootstrap_servers=harness.stack.kafka, auto_offset_reset="earliest", group_id=None
    )
    try:
        consumer.subscribe(sorted(filter(is_searched, consumer.topics())))
        for polled in iter(lambda: consumer.poll(timeout_ms=2000), {}):
            for records in polled.values():
                for record in records:
                    for part in (record.key, record.value, repr(record.headers).encode()):
                        yield from search.find_in_bytes(record.topic, part or b"")
    finally:
        consumer.close()


def test_search_finds_planted_values(
    findings: list[Finding], harness: Harness, search: Search, tmp_path: Path
) -> None:
    """A value is planted in each log, in a table of the sink, and in a target."""
    planted = f"{PORTAL[5].describe()} {PORTAL[5].birth_date!r}"
    logs = {path.name: path for path in harness.deployment.log.parent.glob("*.log")}
    assert logs.keys() >= {"runner.log", "schedule.log"}
    for path in logs.values():
        with path.open("a", encoding="utf-8") as log:
            log.write(f'{{"event": "planted", "row": "{planted}"}}\n')
    found = {
        (finding.place, finding.name)
        for finding in search.find_in_files(harness.deployment.log.parent)
    }
    assert found == {(log, name) for log in logs for name in values_of(PORTAL[5:6])}
    citizen, allowed = harness.deployment.citizen, _PORTAL_OWNED | _NAME_TARGETS
    for statement, row in _PLANTED:
        with citizen.transaction():
            citizen.execute(statement, row)
            assert list(search.find_in_database(citizen, allowed))
            raise psycopg.Rollback
    assert not list(search.find_in_database(citizen, allowed))


def test_search_finds_values_of_removed_mask(
    findings: list[Finding], harness: Harness, search: Search, tmp_path: Path
) -> None:
    copy_unmasked_policies(harness.deployment.root / "ranger-policies", tmp_path)
    found = {str(finding) for finding in search_responses(harness, search, tmp_path)}
    assert found == {"API GET 200: Aadhaar of person 0 (plain)"}


def captured_topics(harness: Harness) -> set[str]:
    return {topic.name for topic in topics.declared(harness.stack.stack.layout.topics)}


def format_lines(findings: list[Finding]) -> str:
    return "\n".join(sorted({str(finding) for finding in findings}))
