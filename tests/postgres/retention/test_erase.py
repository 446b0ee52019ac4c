"""`sink-runner erase` removes a person's data from every table of schema sink, and no other's."""

import io
import json
from contextlib import closing
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import psycopg
import pytest

from sink_runner.batch.keys import TargetKeys
from sink_runner.dlq import stored_dead_letters as dead_letters
from sink_runner.dlq.stored_dead_letters import Wanted
from sink_runner.postgres.catalog import read_table
from sink_runner.postgres.session import connect
from sink_runner.retention.erase import Eraser
from sink_runner.retention.person import Person
from sink_runner.testing import NOW, TargetHarness, create, delete
from sink_runner.writer.callback_rows import CallbackRows
from sink_runner.writer.key_hashing import KeyText

pytestmark = pytest.mark.postgres
NAME, OTHER = "Zarathustra Sevenstein", "Ramesh Otherwise"
PERSON, NEIGHBOUR = 471_147_114, 2
CONFLICT = """
INSERT INTO sink.conflict (table_name, record_id, source_database, conflict_type, source_value,
  target_database, resolution_notes) VALUES ('profile', %s, %s, 'data_conflict', %s, %s, %s)
"""
RUN = """
INSERT INTO sink.batch_run (mapping, target, mode, outcome, columns, cluster, seen_before,
  snapshot_at, position, sample_position, sample_before, last_key)
VALUES ('people', 't', 'full', 'done', 1, 'c', 1, now(), 1, 1, 1, %s)
"""


def store_person(harness: Any, identity: int, name: str) -> None:
    """Fill every table of schema sink that can hold data of a person."""
    harness.admin.execute(
        "INSERT INTO person (id, full_name, town, note, district) "
        "VALUES (%s, %s, 'Kota', 'a', 'Kota')",
        (identity, name),
    )
    harness.send(harness.event(identity, full_name=name))
    harness.send(harness.event(identity, "bad", full_name=name))
    harness.dlq("discard", harness.id(-1), "--reason", f"requested by {name}")
    harness.send(harness.event(identity, "bad", full_name=name))
    harness.send(harness.event(identity, full_name="renamed"))  # deferred; without the name
    harness.send(harness.event(identity + 10, full_name=name, district="Nowhere"))
    key, hashed_key = str(identity), harness.encryptor.fingerprint(str(identity).encode()).hex()
    for record, value, notes in (
        (key, {"x": "y"}, ""),
        (hashed_key, {"x": "y"}, ""),
        ("z", {"note": f"names {name}"}, ""),
        ("z", {"x": "y"}, f"{name} called"),
    ):
        values = (record, harness.database, json.dumps(value), harness.database, notes)
        harness.admin.execute(CONFLICT, values)
    harness.admin.execute(RUN, ([key],))
    mapping, columns = harness.plugin.mapping, harness.pipeline.compiled.columns
    with connect(harness.dsn, "t") as connection:
        KeyText(unmasked=False, encryptor=harness.encryptor).prepare(connection)
        rows = CallbackRows("people", mapping, columns)
        rows._remember(connection, [(identity,)])
        TargetKeys("people", mapping, "profile", columns).remember(connection, [(key,)])


def contents(harness: Any) -> dict[str, list[str]]:
    """Return every row of every table of schema sink as text, payloads decrypted."""
    tables = harness.admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'sink'::regnamespace AND relkind = 'r'"
    ).fetchall()
    found = {
        name: [row[0] for row in harness.admin.execute(f'SELECT t::text FROM sink."{name}" t')]
        for (name,) in tables
    }
    ids = [one.dlq_id for one in dead_letters.find(harness.admin, Wanted(), most=1000)]
    stored = [one for one in dead_letters.read(harness.admin, ids) if one.source_data]
    found["payloads"] = [
        str(harness.encryptor.decrypt(one.source_data, *one.place)) for one in stored
    ]
    return found


def traces(harness: Any, identity: int, name: str) -> list[str]:
    """Return each text by which a table can identify a person: value, key, hashes of the key."""
    key = harness.event(identity).key
    with connect(harness.dsn, "t") as connection:
        KeyText(unmasked=False, encryptor=harness.encryptor).prepare(connection)
        query = f"SELECT {KeyText.sql('jsonb_build_array(%s::int)')}"
        ((hashed,),) = connection.execute(query.encode(), (identity,)).fetchall()
    text = harness.encryptor.fingerprint(str(identity).encode()).hex()
    return [name, str(identity), text, harness.encryptor.fingerprint(key).hex(), hashed]


def tables_with(harness: Any, wanted: list[str]) -> set[str]:
    return {
        name
        for name, rows in contents(harness).items()
        for row in rows
        if any(text in row for text in wanted)
    }


def erase(harness: Any, monkeypatch: pytest.MonkeyPatch, value: str, *arguments: str) -> Any:
    monkeypatch.setattr("sys.stdin", io.StringIO(value + "\n"))
    return harness.call("erase", "--subject", *(arguments or ("full_name",)))


TABLES_WITH_PERSONAL_DATA = {
    "dead_letter",
    "payloads",
    "row_version",
    "callback_row",
    "batch_key",
    "batch_run",
    "conflict",
}


def test_no_table_holds_person_after_erasure(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store_person(harness, PERSON, NAME)
    store_person(harness, NEIGHBOUR, OTHER)
    other_traces = traces(harness, NEIGHBOUR, OTHER)[2:]
    before, kept = (
        tables_with(harness, traces(harness, PERSON, NAME)),
        tables_with(harness, other_traces),
    )
    assert before > TABLES_WITH_PERSONAL_DATA
    assert any(name.startswith("audit_log_") for name in before)
    code, out, err = erase(harness, monkeypatch, NAME)
    assert err == ""
    assert code == 0
    assert NAME not in out
    for wanted in traces(harness, PERSON, NAME):
        assert tables_with(harness, [wanted]) == set(), wanted
    for wanted in traces(harness, PERSON + 10, NAME):
        assert tables_with(harness, [wanted]) == set(), wanted
    assert tables_with(harness, other_traces) == kept
    assert tables_with(harness, [OTHER]) >= {"payloads", "conflict"}


def test_dry_run_counts_rows_and_changes_nothing(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_person(harness, PERSON, NAME)
    before = contents(harness)
    code, preview, _ = erase(harness, monkeypatch, NAME, "full_name", "--dry-run", "--json")
    assert (code, contents(harness)) == (0, before)
    _, erased, _ = erase(harness, monkeypatch, NAME, "full_name", "--json")
    assert json.loads(preview) == json.loads(erased)
    (record,) = json.loads(erased)
    assert record["rows"]["dead_letter"] == 4
    assert record["rows"]["conflict"] == 4


def test_erasure_is_audited_without_value(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store_person(harness, PERSON, NAME)
    erase(harness, monkeypatch, NAME, "full_name", "--as", "asha")
    query = "SELECT user_id, details FROM sink.audit_log WHERE event_type = 'erase'"
    ((user, details),) = harness.admin.execute(query).fetchall()
    assert (user, details["columns"]) == ("asha", ["full_name"])
    assert details["rows"]["row_version"] == 1


def test_writer_cannot_change_audit_log_after_erasure(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_person(harness, PERSON, NAME)
    erase(harness, monkeypatch, NAME)
    for statement in (
        "UPDATE sink.audit_log SET user_id = 'x'",
        "DELETE FROM sink.audit_log",
        "DELETE FROM sink.conflict",
    ):
        with connect(harness.dsn, "t") as connection, pytest.raises(psycopg.Error):
            connection.execute(statement.encode())


def test_subject_may_be_the_key(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the source nor the target has a row of the person any more."""
    store_person(harness, PERSON, NAME)
    harness.admin.execute("TRUNCATE person, profile")
    assert erase(harness, monkeypatch, str(PERSON), "id")[0] == 0
    for wanted in traces(harness, PERSON, NAME)[1:]:
        assert tables_with(harness, [wanted]) == set(), wanted


def test_payload_identifies_row_without_fingerprint(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's schema has a new id, so the fingerprint cannot be computed from the key."""
    store_person(harness, PERSON, NAME)
    monkeypatch.setattr(Eraser, "_fingerprints", lambda *_: [])
    erase(harness, monkeypatch, NAME)
    assert harness.dead_letters("status") == ["DISCARDED"]


def test_undecryptable_dead_letter_is_reported(
    harness: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_person(harness, PERSON, NAME)
    harness.admin.execute(
        "UPDATE sink.dead_letter SET source_data = 'x' WHERE status = 'PARKED' AND "
        "error_message NOT LIKE '%behind%'"
    )
    code, _, err = erase(harness, monkeypatch, NAME)
    assert (code, "1 dead letters can't be read" in err) == (1, True)


def test_value_is_read_from_file(harness: Any, tmp_path: Any) -> None:
    store_person(harness, PERSON, NAME)
    (tmp_path / "value").write_text(NAME + "\n")
    code, out, _ = harness.call(
        "erase", "--subject", "full_name", "--value-file", str(tmp_path / "value")
    )
    assert (code, "sink.dead_letter: 4 rows erased" in out) == (0, True)


def test_runner_continues_after_erasure(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runner's retry queue still has the person's deferred events in memory."""
    store_person(harness, PERSON, NAME)
    erase(harness, monkeypatch, NAME)
    harness.retry()
    harness.send(harness.event(PERSON, full_name="Another"))
    assert harness.dead_letters("status") == []
    assert len(harness.written_notes(PERSON)) == 2


def test_value_of_other_type_matches_no_key(harness: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    store_person(harness, PERSON, NAME)
    code, out, err = erase(harness, monkeypatch, NAME, "id", "--subject", "full_name")
    assert (code, err) == (0, "")
    assert "sink.row_version: 1 rows erased" in out


def test_candidates_are_erased_by_value_and_key(postgres: Any) -> None:
    """A candidate of `profiles` holds the family of the person; hashes are found by its own key."""
    database = postgres.fresh_database("smart_citizen")
    dsn, family = postgres.dsn(database, "sink_writer"), UUID(int=4711)
    harness = TargetHarness("profiles", dsn=dsn, admin_dsn=postgres.dsn(database))
    with closing(harness), connect(dsn, "t") as connection:
        for number, family_id in ((1, family), (2, UUID(int=2))):
            harness.send(create(**PROFILE | {"profile_id": number, "family_id": str(family_id)}))
        harness.send(delete(**PROFILE | {"profile_id": 1, "family_id": str(family)}))
        harness.send(create(**PROFILE | {"profile_id": 3, "family_id": str(family)}))
        mapping = harness.pipeline.mapping
        target = read_table(connection, mapping.target_table)
        person = Person("profiles", mapping, target, ["family_id"], str(family))
        person.find_in_target(connection)
        assert person.target_keys == {("3",)}
        context = SimpleNamespace(
            encryptor=harness.encryptor, user="asha", schemas=SimpleNamespace(latest=lambda _: None)
        )
        eraser = Eraser(context, "smart_citizen", [person])  # type: ignore[arg-type]
        found = eraser.run(connection, dry_run=False)
        remaining = connection.execute("SELECT profile_id FROM sink.candidates_profiles").fetchall()
        assert (remaining, found.rows['"candidates_profiles"']) == ([(2,)], 1)


def test_mapping_without_trace_of_person_keeps_its_rows(postgres: Any) -> None:
    """`profiles` copies no such column, and has keys of the person only by another column."""
    database = postgres.fresh_database("smart_citizen")
    dsn = postgres.dsn(database, "sink_writer")
    harness = TargetHarness("profiles", dsn=dsn, admin_dsn=postgres.dsn(database))
    with closing(harness), connect(dsn, "t") as connection:
        mapping = harness.pipeline.mapping
        target = read_table(connection, mapping.target_table)
        person = Person("profiles", mapping, target, ["aadhaar_number"], "900000000001")
        context = SimpleNamespace(
            encryptor=harness.encryptor, user="asha", schemas=SimpleNamespace(latest=lambda _: None)
        )
        eraser = Eraser(context, "smart_citizen", [person])  # type: ignore[arg-type]
        person.target_keys.add(("1",))
        assert person.hashes(connection) == [], "nothing has created the candidates yet"
        person.target_keys.clear()
        harness.send(create(**PROFILE | {"profile_id": 1, "family_id": str(UUID(int=2))}))
        person.find_in_target(connection)
        assert +eraser.run(connection, dry_run=False).rows == {}


PROFILE = {
    "gr_id": None,
    "vulnerability_level": None,
    "under_coverage_indicator": None,
    "inferred_income_band": None,
    "cluster_id": None,
    "created_at": NOW,
    "updated_at": NOW,
}


@pytest.mark.parametrize(
    ("value", "column", "message"),
    [("", "full_name", "the value is empty"), (NAME, "fullname", "no mapping that is on has")],
)
def test_invalid_request_is_refused(
    harness: Any, monkeypatch: pytest.MonkeyPatch, value: str, column: str, message: str
) -> None:
    code, _, err = erase(harness, monkeypatch, value, column)
    assert (code, message in err) == (78, True)
