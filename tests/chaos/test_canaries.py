"""After a run with failures of every kind, nothing that it produced holds a person's value.

The whole of both databases is searched, but for the tables where a value belongs: those that its
owner wrote it into, the portal's people in the golden records, and the oracle's own history.
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

from ..stack.arena import until
from .api_answers import search_answers, without_mask
from .canaries import (
    BAND,
    PORTAL,
    WAREHOUSE,
    Person,
    of,
    refusing,
    scheduling,
    spoil,
    talkative,
    write,
)
from .commands import Commands
from .ground import Ground
from .search import Find, Search

pytestmark = [pytest.mark.stack, pytest.mark.chaos]

_SECONDS = 30
CITIZENS = "smart_citizen.public.citizens"
_OWNED = {"public.golden_records", "public.profile_360", "alerts.ml_alert_outbox", "history.change"}
_PORTAL_S = {"public.citizens", "public.feedback", "history.change"}
_CARRIED = {"public.golden_records", "history.change"}
_SHOWN = {"public.profile_data"}
"""Where the portal shows a name and a birth date to the person."""
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
        (WAREHOUSE[5].key, PORTAL[0].key, WAREHOUSE[5].told()),
    ),
)
_MASKED = "SELECT jan_aadhaar, mobile_number FROM profile_data WHERE record_id = %s"


@pytest.fixture(scope="module")
def search() -> Search:
    return Search({**of([*WAREHOUSE, *PORTAL]), "income band": BAND})


@pytest.fixture(scope="module")
def said(ground: Ground, search: Search, tmp_path_factory: Any) -> Iterator[list[Find]]:
    """The run; what its commands and its API told, searched already."""
    folder, since = tmp_path_factory.mktemp("canaries"), datetime.now(UTC).isoformat()
    ground.kill_runner()
    more = talkative(ground.arena.root, folder)
    runner = ground.runner(**more)
    commands = Commands(environment={**ground.arena.environment, **more}, search=search)
    with scheduling(ground, more), refusing(ground):  # what is explained fails as it did
        write(ground)
        spoil(ground)
        assert until(lambda: arrived(ground), _SECONDS), ground.arena.tail()
        assert ground.seconds_to_rest() is not None
        found = commands.dead_letters(since)
    place = folder / "api"
    place.mkdir()
    found += [*commands.look(), *commands.work(), *search_answers(ground, search, place)]
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


def figures(ground: Ground, search: Search) -> Iterator[Find]:
    """What the runner tells of itself: every series, with its labels."""
    port = ground.arena.environment["SINK_HEALTH_PORT"]
    for path in ("metrics", "readyz", "healthz"):
        answer = httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30)
        assert answer.content
        yield from search.in_bytes(path, answer.content)


def test_neither_commands_nor_api_nor_figures_tell_value(said: list[Find]) -> None:
    assert not said, lines(said)


def test_no_table_holds_value_that_policy_forbids_it(said: list[Find], ground: Ground) -> None:
    ours, theirs = (
        Search({**of(WAREHOUSE, Person.masked), "income band": BAND}),
        Search(of(PORTAL, Person.masked)),
    )
    our_names, their_names = (Search(of(people, Person.named)) for people in (WAREHOUSE, PORTAL))
    homes = Search(of(PORTAL, Person.at_home))
    warehouse, citizen = ground.arena.warehouse, ground.arena.citizen
    found = [
        *ours.in_database(warehouse, _OWNED),
        *ours.in_database(citizen, ()),
        *theirs.in_database(warehouse, _CARRIED),
        *theirs.in_database(citizen, _PORTAL_S),
        *our_names.in_database(warehouse, _OWNED),
        *our_names.in_database(citizen, _SHOWN),
        *their_names.in_database(warehouse, _CARRIED),
        *their_names.in_database(citizen, _PORTAL_S | _SHOWN),
        *homes.in_database(warehouse, ()),
        *homes.in_database(citizen, _PORTAL_S),
    ]
    assert not found, lines(found)


def test_no_log_or_file_of_stack_holds_value(
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


def test_no_other_topic_holds_a_value(said: list[Find], ground: Ground, search: Search) -> None:
    found = list(in_topics(ground, search, lambda topic: topic not in declared(ground)))
    assert not found, lines(found)


def test_no_topic_holds_what_is_not_captured(said: list[Find], ground: Ground) -> None:
    """Of the portal's people, whose other values are in its topic."""
    homes, one = Search(of(PORTAL, Person.at_home)), Search(of(PORTAL[:1]))
    assert list(in_topics(ground, one, lambda topic: topic == CITIZENS))
    found = list(in_topics(ground, homes, lambda topic: True))
    assert not found, lines(found)


def in_topics(ground: Ground, search: Search, wanted: Callable[[str], bool]) -> Iterator[Find]:
    consumer = KafkaConsumer(
        bootstrap_servers=ground.stack.kafka, auto_offset_reset="earliest", group_id=None
    )
    try:
        consumer.subscribe(sorted(filter(wanted, consumer.topics())))
        for polled in iter(lambda: consumer.poll(timeout_ms=2000), {}):
            for records in polled.values():
                for record in records:
                    for part in (record.key, record.value, repr(record.headers).encode()):
                        yield from search.in_bytes(record.topic, part or b"")
    finally:
        consumer.close()


def test_the_search_finds_what_is_planted(
    said: list[Find], ground: Ground, search: Search, tmp_path: Path
) -> None:
    """In each log, in a table of the sink, and in a table that belongs to nobody."""
    planted = f"{PORTAL[5].whole()} {PORTAL[5].born!r}"
    logs = {path.name: path for path in ground.arena.log.parent.glob("*.log")}
    assert logs.keys() >= {"runner.log", "schedule.log"}
    for path in logs.values():
        with path.open("a", encoding="utf-8") as log:
            log.write(f'{{"event": "planted", "row": "{planted}"}}\n')
    found = {(one.where, one.name) for one in search.in_files(ground.arena.log.parent)}
    assert found == {(log, name) for log in logs for name in of(PORTAL[5:6])}
    citizen, allowed = ground.arena.citizen, _PORTAL_S | _SHOWN
    for statement, row in _PLANTED:
        with citizen.transaction():
            citizen.execute(statement, row)
            assert list(search.in_database(citizen, allowed))
            raise psycopg.Rollback
    assert not list(search.in_database(citizen, allowed))


def test_the_search_finds_a_mask_that_is_off(
    said: list[Find], ground: Ground, search: Search, tmp_path: Path
) -> None:
    without_mask(ground.arena.root / "ranger-policies", tmp_path)
    found = {str(one) for one in search_answers(ground, search, tmp_path)}
    assert found == {"API GET 200: Aadhaar of person 0 (plain)"}


def declared(ground: Ground) -> set[str]:
    return {topic.name for topic in topics.declared(ground.stack.stack.layout.topics)}


def lines(found: list[Find]) -> str:
    return "\n".join(sorted({str(one) for one in found}))
