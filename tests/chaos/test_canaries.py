"""After a run with failures of every kind, nothing that it produced holds a person's value.

The whole of both databases is searched, but for the tables where a value belongs: those that its
owner wrote it into, the portal's people in the golden records, and the oracle's own history.
"""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from kafka import KafkaConsumer
from sink_stack import topics
from sink_stack.stack import sink_runner

from ..stack.arena import until
from ..stack.test_api import alert, forecast, serving
from .canaries import BAND, PORTAL, WAREHOUSE, secrets, spoil, talkative, write
from .ground import Ground
from .search import Find, Search

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

_SECONDS = 30
_OWNED = {"public.golden_records", "public.profile_360", "alerts.ml_alert_outbox", "history.change"}
_PORTAL_S = {"public.citizens", "public.feedback", "history.change"}
_CARRIED = {"public.golden_records", "history.change"}
_COMMANDS = (
    "plugins",
    "config",
    "quality",
    "batch golden-records --full",
    "batch profiles --full",
    "batch feedback --full",
    "batch citizens --full",
    "dlq list",
    "dlq list --json",
    "conflicts list",
    "policies show",
)
_PLANTED = (
    (
        "INSERT INTO sync_processed_event (flow, event_id) VALUES ('planted', %s)",
        (WAREHOUSE[5].aadhaar,),
    ),
    (
        """INSERT INTO ml_alerts (alert_id, citizen_id, alert_type, severity, created_at, message)
           VALUES (%s, %s, 'X', 'LOW', now(), %s)""",
        (WAREHOUSE[5].key, PORTAL[0].key, WAREHOUSE[5].told()),
    ),
)
_MASKED = "SELECT jan_aadhaar, mobile_number FROM profile_data WHERE record_id = %s"


@pytest.fixture(scope="module")
def search() -> Search:
    return Search({**secrets([*WAREHOUSE, *PORTAL]), "income band": BAND})


@pytest.fixture(scope="module")
def said(ground: Ground, search: Search, tmp_path_factory: Any) -> Iterator[list[Find]]:
    """The run; what its commands and its API told, searched already."""
    folder = tmp_path_factory.mktemp("canaries")
    ground.kill_runner()
    runner = ground.runner(**talkative(ground.arena.root, folder))
    write(ground)
    spoil(ground)
    assert until(lambda: arrived(ground), _SECONDS), ground.arena.tail()
    assert ground.seconds_to_rest() is not None
    found = [*asked(ground, search, folder), *answered(ground, search, folder)]
    found += [*figures(ground, search)]
    runner.process.send_signal(signal.SIGABRT)
    runner.process.wait()
    assert "Fatal Python error: Aborted" in ground.arena.log.read_text(encoding="utf-8")
    yield found
    ground.kill_runner()


def arrived(ground: Ground) -> bool:
    found = ground.arena.citizen.execute(_MASKED, (WAREHOUSE[0].key,)).fetchone()
    person = WAREHOUSE[0]
    return found == (f"****-****-{person.aadhaar[-4:]}", f"******{person.mobile[-4:]}")


def asked(ground: Ground, search: Search, folder: Path) -> Iterator[Find]:
    """What the commands print."""
    environment = {**ground.arena.environment, "SINK_CONFIG": str(folder / "sink-runner.toml")}
    for command in _COMMANDS:
        yield from search.in_command(sink_runner(*command.split()), environment)


def answered(ground: Ground, search: Search, folder: Path) -> Iterator[Find]:
    """What the API answers: a record, what is refused, and what is not there."""
    place = folder / "api"
    place.mkdir()
    person = WAREHOUSE[0]
    with serving(ground.stack, place) as api:
        answers = [
            api.client.get(f"/v1/profiles/{person.key}"),
            api.client.get(f"/v1/families/{person.key}/eligibility"),
            api.client.get(f"/v1/profiles/{person.aadhaar}"),
            api.post("alerts", alert(message=person.told(), family_id=person.key)),
            api.post("alerts", alert(message=person.told(), alert_type="x" * 51)),
            api.post("alerts", alert(severity=person.told())),
            api.post("forecasts", forecast(9_100, projections=person.told())),
            api.post("forecasts", {person.aadhaar: person.email}),
        ]
    assert answers[0].status_code == 200
    for answer in answers:
        yield from search.in_bytes(f"API {answer.status_code}", answer.content)
    yield from search.in_files(place, without=["ranger-policies"])


def figures(ground: Ground, search: Search) -> Iterator[Find]:
    """What the runner tells of itself: every series, with its labels."""
    port = ground.arena.environment["SINK_HEALTH_PORT"]
    for path in ("metrics", "readyz", "healthz"):
        answer = httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30)
        assert answer.content
        yield from search.in_bytes(path, answer.content)


def test_neither_commands_nor_the_api_nor_the_figures_tell_a_value(said: list[Find]) -> None:
    assert not said, lines(said)


def test_no_table_holds_a_value_that_policy_forbids_it(said: list[Find], ground: Ground) -> None:
    ours, theirs = Search({**secrets(WAREHOUSE), "income band": BAND}), Search(secrets(PORTAL))
    warehouse, citizen = ground.arena.warehouse, ground.arena.citizen
    found = [
        *ours.in_database(warehouse, _OWNED),
        *ours.in_database(citizen, ()),
        *theirs.in_database(warehouse, _CARRIED),
        *theirs.in_database(citizen, _PORTAL_S),
    ]
    assert not found, lines(found)


def test_no_log_and_no_file_of_the_stack_holds_a_value(
    said: list[Find], ground: Ground, search: Search
) -> None:
    """But for the files of the databases, a restored one too, and of the tables' own topics."""
    home, captured = ground.stack.stack.layout.home, declared(ground)
    databases = [path.name for path in home.glob("pgdata*")]
    data = [
        f"kafka/{path.name}"
        for path in (home / "kafka").iterdir()
        if path.name.rpartition("-")[0] in captured
    ]
    found = [
        *search.in_files(home, without=[*databases, *data]),
        *search.in_files(ground.arena.log.parent),
    ]
    assert not found, lines(found)


def test_no_topic_that_is_not_a_table_s_own_holds_a_value(
    said: list[Find], ground: Ground, search: Search
) -> None:
    consumer = KafkaConsumer(
        bootstrap_servers=ground.stack.kafka, auto_offset_reset="earliest", group_id=None
    )
    try:
        others = set(consumer.topics()) - declared(ground)
        consumer.subscribe(sorted(others))
        found = [
            find
            for polled in iter(lambda: consumer.poll(timeout_ms=2000), {})
            for records in polled.values()
            for record in records
            for part in (record.key, record.value, repr(record.headers).encode())
            for find in search.in_bytes(record.topic, part or b"")
        ]
    finally:
        consumer.close()
    assert not found, lines(found)


def test_the_search_finds_what_is_planted(
    said: list[Find], ground: Ground, search: Search, tmp_path: Path
) -> None:
    """In a log, in a table of the sink, and in a table that belongs to nobody."""
    with ground.arena.log.open("a", encoding="utf-8") as log:
        log.write(f'{{"event": "planted", "row": "{PORTAL[5].told()}"}}\n')
    assert list(search.in_files(ground.arena.log.parent))
    citizen = ground.arena.citizen
    for planted, row in _PLANTED:
        with citizen.transaction():
            citizen.execute(planted, row)
            assert list(search.in_database(citizen, _PORTAL_S))
            raise psycopg.Rollback
    assert not list(search.in_database(citizen, _PORTAL_S))


def declared(ground: Ground) -> set[str]:
    return {topic.name for topic in topics.declared(ground.stack.stack.layout.topics)}


def lines(found: list[Find]) -> str:
    return "\n".join(sorted({str(one) for one in found}))
