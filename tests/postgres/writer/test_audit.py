"""The audit log: its entries for a batch, its partitions, and who can change it."""

import json
import os
import pwd
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect
from sink_runner.testing import NOW, TargetHarness, create, delete, update
from sink_runner.writer.audit import MOST_KEYS, audit, read_audit

pytestmark = pytest.mark.postgres
POLICIES = Path(__file__).parents[3] / "ranger-policies"
GR = "00000000-0000-4000-8000-{:012}"
ASHA = {
    "gr_id": GR.format(1),
    "family_id": GR.format(1),
    "jan_aadhaar": "012345671234",
    "mobile_number": "0123455678",
    "email": "asha@example.in",
    "full_name": "Asha Devi",
    "date_of_birth": None,
    "gender": "Female",
    "district_id": 12,
    "city_village": "Bagru",
    "status": "active",
    "created_at": NOW - timedelta(days=900),
    "updated_at": NOW,
}
RAVI = {
    "id": GR.format(2),
    "aadhaar_number": "012345671234",
    "full_name": "Ravi Kumar",
    "date_of_birth": None,
    "gender": "MALE",
    "mobile_number": "0123455678",
    "email": "ravi@example.in",
    "city": "Bagru",
    "district": None,
    "pincode": "303007",
    "status": "ACTIVE",
    "verification_status": "VERIFIED",
    "created_at": NOW - timedelta(days=400),
    "updated_at": NOW,
}
_LOG = "SELECT * FROM sink.audit_log ORDER BY audit_id"


@pytest.fixture
def sink(postgres) -> Iterator[Callable[[str, str], TargetHarness]]:
    harnesses: list[TargetHarness] = []

    def harness(mapping: str, database: str) -> TargetHarness:
        name = postgres.fresh_database(like=database)
        harnesses.append(
            TargetHarness(
                mapping,
                dsn=postgres.dsn(name, role="sink_writer"),
                admin_dsn=postgres.dsn(name),
                policies=POLICIES,
                reader_dsns={database: postgres.dsn(name, role="sink_reader")},
            )
        )
        return harnesses[-1]

    yield harness
    for one in harnesses:
        one.close()


@pytest.fixture
def portal(sink) -> TargetHarness:
    return sink("golden-records", "smart_citizen")


@pytest.fixture
def warehouse(sink) -> TargetHarness:
    return sink("citizens", "smart_warehouse")


def audit_log(harness: TargetHarness) -> list[dict[str, Any]]:
    return [dict(row) for row in harness.admin.execute(_LOG).fetchall()]


class TestBatches:
    def test_audit_row_names_policies_and_rows(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA), create(**ASHA | {"gr_id": GR.format(2)}))
        (row,) = audit_log(portal)
        assert row["event_type"] == "mask"
        assert row["source_database"] == "smart_warehouse"
        assert row["target_database"] == "smart_citizen"
        assert row["table_name"] == "public.profile_data"
        assert {"jan_aadhaar", "mobile_number", "email"} <= set(row["masked_fields"])
        policies = portal.pipeline.compiled.route._masking
        assert row["details"]["policy_version"] == policies.version
        assert row["details"]["policy_digest"] == policies.digest
        assert row["details"]["keys"] == [GR.format(1), GR.format(2)]
        assert row["details"]["topic"] == "smart_warehouse.public.golden_records"
        assert row["details"]["offsets"] == {"0": [0, 1]}

    def test_next_batch_has_its_own_row(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        first_offset = portal.at
        portal.send(update(ASHA, full_name="New", updated_at=NOW + timedelta(1)))
        assert audit_log(portal)[1]["details"]["offsets"] == {"0": [first_offset, portal.at - 1]}

    def test_batch_without_change_has_no_row(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        portal.send(create(**ASHA))
        assert len(audit_log(portal)) == 1

    def test_deletion_has_no_masked_fields(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        portal.send(delete(**ASHA))
        row = audit_log(portal)[1]
        assert (row["event_type"], row["operation"]) == ("sync", "DELETE")
        assert row["masked_fields"] is None

    def test_personal_key_is_stored_as_fingerprint(self, warehouse: TargetHarness) -> None:
        warehouse.send(create(**RAVI))
        (row,) = audit_log(warehouse)
        (key,) = row["details"]["keys"]
        assert key == warehouse.encryptor.fingerprint(b"012345671234").hex()

    def test_log_contains_no_personal_value(
        self, warehouse: TargetHarness, portal: TargetHarness
    ) -> None:
        warehouse.send(create(**RAVI), create(**RAVI | {"aadhaar_number": "too long by far"}))
        portal.send(create(**ASHA))
        text = json.dumps([*audit_log(warehouse), *audit_log(portal)], default=str)
        values = {**ASHA, **RAVI}
        for name in ("jan_aadhaar", "aadhaar_number", "mobile_number", "email", "full_name"):
            assert values[name] not in text

    def test_many_rows_have_digest_instead_of_keys(self, portal: TargetHarness) -> None:
        portal.send(*(create(**ASHA | {"gr_id": GR.format(n)}) for n in range(MOST_KEYS + 1)))
        details = audit_log(portal)[0]["details"]
        assert (details["rows"], details["changed"]) == (MOST_KEYS + 1, MOST_KEYS + 1)
        assert "keys" not in details
        assert len(details["keys_digest"]) == 64

    def test_errors_are_counted_by_class(self, portal: TargetHarness) -> None:
        broken = [create(**ASHA | {"updated_at": None}), create(**ASHA | {"gr_id": None})]
        portal.send(*broken, create(**ASHA | {"gr_id": GR.format(2)}))
        error, applied = audit_log(portal)
        assert error["event_type"] == "error"
        assert error["details"]["errors"] == {"QualityError": 2}
        assert applied["details"]["rows"] == 1

    def test_row_is_rolled_back_with_its_batch(self, portal: TargetHarness) -> None:
        portal.committer._writer.write, write = lambda *_: 1 / 0, portal.committer._writer.write
        with pytest.raises(ZeroDivisionError):
            portal.send(create(**ASHA))
        assert audit_log(portal) == []
        portal.committer._writer.write = write
        portal.send(create(**ASHA))
        assert len(audit_log(portal)) == 1


class TestAuditLog:
    @pytest.mark.parametrize("statement", ["UPDATE {} SET user_id = 'x'", "DELETE FROM {}"])
    @pytest.mark.parametrize("database", ["smart_citizen", "smart_warehouse"])
    def test_writer_cannot_change_log(self, postgres, statement: str, database: str) -> None:
        dsn = postgres.dsn(postgres.fresh_database(like=database, migrated=False), "sink_writer")
        with connect(dsn, "test") as session:
            migrate(session)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement.format("sink.audit_log").encode())

    @pytest.mark.parametrize("role", ["sink_writer", "sink_reader", "sink_capture"])
    def test_only_owner_can_truncate_log(self, postgres, role: str) -> None:
        name = postgres.fresh_database(like="smart_citizen", migrated=False)
        with connect(postgres.dsn(name, "sink_writer"), "t") as writer:
            migrate(writer)
        with (
            psycopg.connect(postgres.dsn(name, role)) as session,
            pytest.raises(psycopg.Error) as caught,
        ):
            session.execute("TRUNCATE sink.audit_log")
        # A reader's session is read-only, which is checked before the privileges.
        assert caught.value.sqlstate in {"42501", "25006"}

    def test_timestamps_are_utc(self, portal: TargetHarness) -> None:
        portal.send(create(**ASHA))
        now = datetime.now(UTC).replace(tzinfo=None)
        assert abs(now - audit_log(portal)[0]["timestamp"]) < timedelta(minutes=1)

    def test_read_audit_filters_by_mapping_and_date(self, postgres) -> None:
        name = postgres.fresh_database(like="smart_citizen", migrated=False)
        with connect(postgres.dsn(name, "sink_writer"), "test") as session:
            migrate(session)
            for number, mapping in enumerate(("one", "one", "two")):
                audit(
                    session,
                    event_type="sync",
                    source="smart_warehouse",
                    target="smart_citizen",
                    table="t",
                    user="asha",
                    details={"mapping": mapping, "rows": number},
                )
            (entry,) = read_audit(session, mapping="one", since=None, most=1)
            assert (entry.details["rows"], entry.user, entry.source) == (
                1,
                "asha",
                "smart_warehouse",
            )
            assert read_audit(session, mapping=None, since=datetime.now(UTC).date(), most=9)
            future = datetime.now(UTC).date() + timedelta(days=2)
            assert read_audit(session, mapping=None, since=future, most=9) == []

    def test_real_users_are_recorded_beside_claimed_name(
        self, log_session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("USER", "another-user")
        monkeypatch.setenv("LOGNAME", "another-user")
        add_entry(log_session)
        (entry,) = read_audit(log_session, mapping=None, since=None, most=1)
        ours = pwd.getpwuid(os.getuid()).pw_name
        assert (entry.user, entry.os_user, entry.database_user) == ("asha", ours, "sink_writer")

    def test_partitions_of_next_months_exist(self, log_session: psycopg.Connection) -> None:
        add_entry(log_session)
        month = f"sink.audit_log_{datetime.now(UTC):%Y_%m}"
        found = log_session.execute("SELECT tableoid::regclass::text FROM sink.audit_log")
        assert found.fetchall() == [(month,)]
        assert len(partitions(log_session)) == 4  # three months and the default one

    def test_row_in_default_partition_is_moved_later(self, log_session: psycopg.Connection) -> None:
        log_session.execute(
            """INSERT INTO sink.audit_log (event_type, "timestamp") VALUES ('sync', '2020-02-29')"""
        )
        query = "SELECT tableoid::regclass::text FROM sink.audit_log"
        assert log_session.execute(query).fetchall() == [("sink.audit_log_default",)]
        for _ in range(2):
            log_session.execute("SELECT sink.add_audit_partitions()")
        assert log_session.execute(query).fetchall() == [("sink.audit_log_2020_02",)]

    def test_start_adds_missing_partitions(self, log_session: psycopg.Connection) -> None:
        before = partitions(log_session)
        for name in before:
            log_session.execute(f"DROP TABLE {name}".encode())
        log_session.execute(
            "CREATE TABLE sink.audit_log_default PARTITION OF sink.audit_log DEFAULT"
        )
        migrate(log_session)
        assert sorted(partitions(log_session)) == sorted(before)

    def test_start_skips_partitions_of_locked_log(
        self, log_session: psycopg.Connection, postgres
    ) -> None:
        *_, last = sorted(set(partitions(log_session)) - {"sink.audit_log_default"})
        following = sorted(partitions(log_session))[1]
        for name in {following, last}:
            log_session.execute(f"DROP TABLE {name}".encode())
        log_session.execute("SET lock_timeout = '50ms'")
        with psycopg.connect(postgres.dsn(log_session.info.dbname)) as reader:
            reader.execute("LOCK TABLE sink.audit_log_default")
            migrate(log_session)
            assert following not in partitions(log_session)
        migrate(log_session)
        assert following in partitions(log_session)

    def test_writer_cannot_change_partition(self, log_session: psycopg.Connection) -> None:
        log_session.execute("SELECT sink.add_audit_partitions()")
        for name in partitions(log_session):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                log_session.execute(f"DELETE FROM {name}".encode())


@pytest.fixture
def log_session(postgres) -> Iterator[psycopg.Connection]:
    with connect(
        postgres.dsn(postgres.fresh_database("smart_citizen", migrated=False), "sink_writer"), "t"
    ) as session:
        migrate(session)
        yield session


def add_entry(session: psycopg.Connection) -> None:
    audit(session, event_type="sync", source="a", target="b", table="t", user="asha")


def partitions(session: psycopg.Connection) -> list[str]:
    found = session.execute(
        "SELECT inhrelid::regclass::text FROM pg_inherits "
        "WHERE inhparent = 'sink.audit_log'::regclass"
    )
    return [name for (name,) in found.fetchall()]


def test_dropped_event_has_no_row(portal: TargetHarness) -> None:
    portal.send(create(**ASHA | {"updated_at": NOW - timedelta(days=60)}))
    assert audit_log(portal) == []
