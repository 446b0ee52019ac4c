"""After an erasure nothing in the sink's tables tells of the person; others are as before."""

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
NAME, OTHER = "Zarathustra Sevenstein", "Somebody Otherwise"
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


def live(office: Any, identity: int, name: str) -> None:
    """Let there be everything of a person that the sink can keep."""
    office.admin.execute(
        "INSERT INTO person (id, full_name, town, note, district) "
        "VALUES (%s, %s, 'Kota', 'a', 'Kota')",
        (identity, name),
    )
    office.send(office.event(identity, full_name=name))
    office.send(office.event(identity, "bad", full_name=name))
    office.dlq("discard", office.id(-1), "--reason", f"asked by {name}")
    office.send(office.event(identity, "bad", full_name=name))
    office.send(office.event(identity, full_name="renamed"))  # waits behind, without the name
    office.send(office.event(identity + 10, full_name=name, district="Nowhere"))
    shown, hidden = str(identity), office.encryptor.fingerprint(str(identity).encode()).hex()
    for record, value, notes in (
        (shown, {"x": "y"}, ""),
        (hidden, {"x": "y"}, ""),
        ("z", {"note": f"knows {name}"}, ""),
        ("z", {"x": "y"}, f"{name} asked"),
    ):
        given = (record, office.database, json.dumps(value), office.database, notes)
        office.admin.execute(CONFLICT, given)
    office.admin.execute(RUN, ([shown],))
    mapping, columns = office.plugin.mapping, office.pipeline.compiled.columns
    with connect(office.dsn, "t") as connection:
        KeyText(unmasked=False, encryptor=office.encryptor).prepare(connection)
        rows = CallbackRows("people", mapping, columns)
        rows._remember(connection, [(identity,)])
        TargetKeys("people", mapping, "profile", columns).remember(connection, [(shown,)])


def contents(office: Any) -> dict[str, list[str]]:
    """Return every row of every table of schema sink as text, payloads decrypted."""
    tables = office.admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'sink'::regnamespace AND relkind = 'r'"
    ).fetchall()
    found = {
        name: [row[0] for row in office.admin.execute(f'SELECT t::text FROM sink."{name}" t')]
        for (name,) in tables
    }
    ids = [one.dlq_id for one in dead_letters.find(office.admin, Wanted(), most=1000)]
    opened = [one for one in dead_letters.read(office.admin, ids) if one.source_data]
    found["payloads"] = [
        str(office.encryptor.decrypt(one.source_data, *one.place)) for one in opened
    ]
    return found


def traces(office: Any, identity: int, name: str) -> list[str]:
    """Return what the tables may hold of a person: the value, keys, and hashes of keys."""
    key = office.event(identity).key
    with connect(office.dsn, "t") as connection:
        KeyText(unmasked=False, encryptor=office.encryptor).prepare(connection)
        query = f"SELECT {KeyText.sql('jsonb_build_array(%s::int)')}"
        ((hashed,),) = connection.execute(query.encode(), (identity,)).fetchall()
    text = office.encryptor.fingerprint(str(identity).encode()).hex()
    return [name, str(identity), text, office.encryptor.fingerprint(key).hex(), hashed]


def tables_with(office: Any, wanted: list[str]) -> set[str]:
    return {
        name
        for name, rows in contents(office).items()
        for row in rows
        if any(text in row for text in wanted)
    }


def erase(office: Any, monkeypatch: pytest.MonkeyPatch, value: str, *arguments: str) -> Any:
    monkeypatch.setattr("sys.stdin", io.StringIO(value + "\n"))
    return office.call("erase", "--subject", *(arguments or ("full_name",)))


EVERYWHERE = {
    "dead_letter",
    "payloads",
    "row_version",
    "callback_row",
    "batch_key",
    "batch_run",
    "conflict",
}


def test_no_table_has_the_person_afterwards(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live(office, PERSON, NAME)
    live(office, NEIGHBOUR, OTHER)
    of_other = traces(office, NEIGHBOUR, OTHER)[2:]
    before, kept = tables_with(office, traces(office, PERSON, NAME)), tables_with(office, of_other)
    assert before > EVERYWHERE
    assert any(name.startswith("audit_log_") for name in before)
    code, out, err = erase(office, monkeypatch, NAME)
    assert err == ""
    assert code == 0
    assert NAME not in out
    for wanted in traces(office, PERSON, NAME):
        assert tables_with(office, [wanted]) == set(), wanted
    for wanted in traces(office, PERSON + 10, NAME):
        assert tables_with(office, [wanted]) == set(), wanted
    assert tables_with(office, of_other) == kept
    assert tables_with(office, [OTHER]) >= {"payloads", "conflict"}


def test_dry_run_counts_the_same_and_changes_nothing(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(office, PERSON, NAME)
    before = contents(office)
    code, told, _ = erase(office, monkeypatch, NAME, "full_name", "--dry-run", "--json")
    assert (code, contents(office)) == (0, before)
    _, done, _ = erase(office, monkeypatch, NAME, "full_name", "--json")
    assert json.loads(told) == json.loads(done)
    (record,) = json.loads(done)
    assert record["rows"]["dead_letter"] == 4
    assert record["rows"]["conflict"] == 4


def test_it_is_audited_without_the_value(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live(office, PERSON, NAME)
    erase(office, monkeypatch, NAME, "full_name", "--as", "asha")
    query = "SELECT user_id, details FROM sink.audit_log WHERE event_type = 'erase'"
    ((user, details),) = office.admin.execute(query).fetchall()
    assert (user, details["columns"]) == ("asha", ["full_name"])
    assert details["rows"]["row_version"] == 1


def test_the_sink_still_cannot_change_its_log(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live(office, PERSON, NAME)
    erase(office, monkeypatch, NAME)
    for statement in (
        "UPDATE sink.audit_log SET user_id = 'x'",
        "DELETE FROM sink.audit_log",
        "DELETE FROM sink.conflict",
    ):
        with connect(office.dsn, "t") as connection, pytest.raises(psycopg.Error):
            connection.execute(statement.encode())


def test_key_itself_may_be_the_subject(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no row of it any more, neither in the source nor in the target."""
    live(office, PERSON, NAME)
    office.admin.execute("TRUNCATE person, profile")
    assert erase(office, monkeypatch, str(PERSON), "id")[0] == 0
    for wanted in traces(office, PERSON, NAME)[1:]:
        assert tables_with(office, [wanted]) == set(), wanted


def test_payload_tells_its_row_without_fingerprint(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key's schema has another number since: its fingerprint can't be made from the key."""
    live(office, PERSON, NAME)
    monkeypatch.setattr(Eraser, "_fingerprints", lambda *_: [])
    erase(office, monkeypatch, NAME)
    assert office.dead_letters("status") == ["DISCARDED"]


def test_dead_letter_that_cannot_be_read_is_told(
    office: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(office, PERSON, NAME)
    office.admin.execute(
        "UPDATE sink.dead_letter SET source_data = 'x' WHERE status = 'PARKED' AND "
        "error_message NOT LIKE '%behind%'"
    )
    code, _, err = erase(office, monkeypatch, NAME)
    assert (code, "1 dead letters can't be read" in err) == (1, True)


def test_value_comes_from_a_file(office: Any, tmp_path: Any) -> None:
    live(office, PERSON, NAME)
    (tmp_path / "value").write_text(NAME + "\n")
    code, out, _ = office.call(
        "erase", "--subject", "full_name", "--value-file", str(tmp_path / "value")
    )
    assert (code, "sink.dead_letter: 4 rows erased" in out) == (0, True)


def test_runner_goes_on_beside_it(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows in memory that events of the person waited."""
    live(office, PERSON, NAME)
    erase(office, monkeypatch, NAME)
    office.retry()
    office.send(office.event(PERSON, full_name="Another"))
    assert office.dead_letters("status") == []
    assert len(office.order(PERSON)) == 2


def test_value_of_another_type_is_in_no_key(office: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    live(office, PERSON, NAME)
    code, out, err = erase(office, monkeypatch, NAME, "id", "--subject", "full_name")
    assert (code, err) == (0, "")
    assert "sink.row_version: 1 rows erased" in out


def test_candidates_go_by_value_and_key(postgres: Any) -> None:
    """A profile's candidate holds the person's family; its own key leads to what is hashed."""
    database = postgres.fresh_database("smart_citizen")
    dsn, family = postgres.dsn(database, "sink_writer"), UUID(int=4711)
    harness = TargetHarness("profiles", dsn=dsn, admin_dsn=postgres.dsn(database))
    with closing(harness), connect(dsn, "t") as connection:
        for number, of in ((1, family), (2, UUID(int=2))):
            harness.send(create(**PROFILE | {"profile_id": number, "family_id": str(of)}))
        harness.send(delete(**PROFILE | {"profile_id": 1, "family_id": str(family)}))
        harness.send(create(**PROFILE | {"profile_id": 3, "family_id": str(family)}))
        mapping = harness.pipeline.mapping
        target = read_table(connection, mapping.target_table)
        person = Person("profiles", mapping, target, ["family_id"], str(family))
        person.find_in_target(connection)
        assert person.target_keys == {("3",)}
        bench = SimpleNamespace(
            encryptor=harness.encryptor, user="asha", schemas=SimpleNamespace(latest=lambda _: None)
        )
        eraser = Eraser(bench, "smart_citizen", [person])  # type: ignore[arg-type]
        found = eraser.run(connection, dry_run=False)
        left = connection.execute("SELECT profile_id FROM sink.candidates_profiles").fetchall()
        assert (left, found.rows['"candidates_profiles"']) == ([(2,)], 1)


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
    ("value", "column", "told"),
    [("", "full_name", "the value is empty"), (NAME, "fullname", "no mapping that is on has")],
)
def test_senseless_request_is_refused(
    office: Any, monkeypatch: pytest.MonkeyPatch, value: str, column: str, told: str
) -> None:
    code, _, err = erase(office, monkeypatch, value, column)
    assert (code, told in err) == (78, True)
