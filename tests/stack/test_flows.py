"""The three mappings on the real stack: PostgreSQL, Debezium, Kafka, registry, runner."""

import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sink_stack.testing_stack import StackUnderTest

from .running import Runner, eventually, row, running

pytestmark = pytest.mark.stack

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def runner(stack: StackUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    with running(stack.env, tmp_path_factory.mktemp("runner") / "log") as started:
        yield started


@pytest.fixture(scope="module")
def warehouse(stack: StackUnderTest, runner: Runner) -> Iterator[Connection]:
    with stack.admin("smart_warehouse") as connection:
        yield connection


@pytest.fixture(scope="module")
def portal(stack: StackUnderTest, runner: Runner) -> Iterator[Connection]:
    with stack.admin("smart_citizen") as connection:
        yield connection


def golden(warehouse: Connection, number: str, **columns: Any) -> str:
    """Insert a golden record and return its id."""
    values = {"jan_aadhaar": number, "full_name": "Asha", "mobile_number": "0123455678", **columns}
    names, marks = ", ".join(values), ", ".join("%s" for _ in values)
    query = f"INSERT INTO golden_records ({names}) VALUES ({marks}) RETURNING gr_id"
    return str(row(warehouse, query, *values.values())[0])


def profile(portal: Connection, record: str, columns: str = "full_name") -> Any:
    return row(portal, f"SELECT {columns} FROM profile_data WHERE record_id = %s", record)


def arrives(portal: Connection, record: str, name: str = "Asha") -> None:
    eventually(lambda: profile(portal, record) == (name,))


def dead(*connections: Connection) -> int:
    return sum(row(c, "SELECT count(*) FROM sink.dead_letter")[0] for c in connections)


class TestGoldenRecords:
    def test_a_record_arrives_masked(self, warehouse: Connection, portal: Connection) -> None:
        record = golden(warehouse, "010000000001", email="asha@example.in")
        arrives(portal, record)
        found = profile(portal, record, "jan_aadhaar, mobile_number, email, family_id::text")
        assert found == ("****-****-0001", "******5678", "a***@example.in", record)

    def test_two_updates_of_one_transaction_end_with_last(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record = golden(warehouse, "010000000002")
        with warehouse.transaction():
            for name in ("One", "Two"):
                row_update(warehouse, record, full_name=name)
        arrives(portal, record, "Two")

    def test_a_deleted_record_leaves(self, warehouse: Connection, portal: Connection) -> None:
        record = golden(warehouse, "010000000003")
        arrives(portal, record)
        warehouse.execute("DELETE FROM golden_records WHERE gr_id = %s", (record,))
        eventually(lambda: profile(portal, record) is None)

    def test_a_record_with_a_new_primary_key_moves(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record, new = golden(warehouse, "010000000004"), str(uuid4())
        arrives(portal, record)
        row_update(warehouse, record, gr_id=new)
        arrives(portal, new)
        # The deletion under the old key comes from another partition.
        eventually(lambda: profile(portal, record) is None)

    def test_null_where_table_has_default_is_null(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record = golden(warehouse, "010000000005", status="merged", updated_at="2026-01-01")
        row_update(warehouse, record, status=None)
        arrives(portal, record)

    def test_merged_records_leave_and_come_back(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record = golden(warehouse, "010000000006")
        arrives(portal, record)
        row_update(warehouse, record, status="Merged")
        eventually(lambda: profile(portal, record) is None)
        row_update(warehouse, record, status="ACTIVE")
        arrives(portal, record)

    def test_a_column_that_nobody_maps_may_be_added(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record = golden(warehouse, "010000000007")
        arrives(portal, record)
        warehouse.execute("ALTER TABLE golden_records ADD COLUMN grade text DEFAULT 'x'")
        try:
            row_update(warehouse, record, full_name="Later")
            arrives(portal, record, "Later")
        finally:
            warehouse.execute("ALTER TABLE golden_records DROP COLUMN grade")


def row_update(connection: Connection, record: str, **columns: Any) -> None:
    sets = ", ".join(f"{name} = %s" for name in columns)
    query = f"UPDATE golden_records SET {sets} WHERE gr_id = %s"
    connection.execute(query.encode(), (*columns.values(), record))


class TestCitizens:
    def citizen(self, portal: Connection, number: str, **columns: Any) -> str:
        values = {
            "aadhaar_number": number,
            "full_name": "Ravi",
            "mobile_number": "0123456789",
            "verification_status": "VERIFIED",
            **columns,
        }
        names, marks = ", ".join(values), ", ".join("%s" for _ in values)
        query = f"INSERT INTO citizens ({names}) VALUES ({marks}) RETURNING id"
        return str(row(portal, query, *values.values())[0])

    def test_a_citizen_s_change_reaches_the_record_and_goes_on_to_the_profile(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        record = golden(warehouse, "020000000001")
        self.citizen(portal, "020000000001", gender="FEMALE")
        arrives(portal, record, "Ravi")
        query = "SELECT full_name, gender, updated_by FROM golden_records WHERE gr_id = %s"
        assert row(warehouse, query, record) == ("Ravi", "Female", "citizen_portal")
        assert profile(portal, record, "gender, jan_aadhaar") == ("Female", "****-****-0001")

    def test_an_unknown_citizen_becomes_a_record_to_review(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        self.citizen(portal, "020000000002")
        query = "SELECT review_required FROM golden_records WHERE jan_aadhaar = '020000000002'"
        assert eventually(lambda: row(warehouse, query)) == (True,)

    def test_traffic_comes_to_rest(
        self, stack: StackUnderTest, warehouse: Connection, portal: Connection
    ) -> None:
        """A change goes round once: what it causes ends by itself."""
        record = golden(warehouse, "020000000003")
        self.citizen(portal, "020000000003")
        arrives(portal, record, "Ravi")
        time.sleep(1)
        before = versions(warehouse, portal)
        time.sleep(2)
        assert versions(warehouse, portal) == before

    def test_a_citizen_with_a_new_id_leaves_none(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        citizen = self.citizen(portal, "020000000005")
        query = "SELECT city_village FROM golden_records WHERE jan_aadhaar = '020000000005'"
        eventually(lambda: row(warehouse, query))
        portal.execute(
            "UPDATE citizens SET id = gen_random_uuid(), city = 'Bagru' WHERE id = %s", (citizen,)
        )
        eventually(lambda: row(warehouse, query) == ("Bagru",))
        conflict = "SELECT 1 FROM sink.conflict WHERE record_id = %s"
        assert row(warehouse, conflict, citizen) is None

    def test_a_deleted_citizen_leaves_a_conflict(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        citizen = self.citizen(portal, "020000000004")
        query = "SELECT 1 FROM golden_records WHERE jan_aadhaar = '020000000004'"
        eventually(lambda: row(warehouse, query))
        portal.execute("DELETE FROM citizens WHERE id = %s", (citizen,))
        conflict = "SELECT conflict_type FROM sink.conflict WHERE record_id = %s"
        assert eventually(lambda: row(warehouse, conflict, citizen)) == ("deletion_conflict",)


def versions(*connections: Connection) -> list[Any]:
    """Every row version of the tables that the mappings write."""
    tables = ("golden_records", "profile_data")
    return [
        row(connection, f"SELECT array_agg((ctid, xmin)::text ORDER BY ctid) FROM {table}")
        for connection, table in zip(connections, tables, strict=True)
    ]


@pytest.fixture(scope="module")
def schemes(warehouse: Connection) -> None:
    for i in range(1, 8):
        warehouse.execute(
            "INSERT INTO scheme_master (scheme_code, scheme_name, category) "
            "VALUES (%s, %s, 'HEALTH') ON CONFLICT DO NOTHING",
            (f"T{i}", f"Scheme {i}"),
        )


@pytest.mark.usefixtures("schemes")
class TestEligibility:
    def snapshot(self, warehouse: Connection, family: str, scheme: str, **columns: Any) -> int:
        values = {
            "family_id": family,
            "scheme_code": scheme,
            "evaluation_status": "RULE_ELIGIBLE",
            "eligibility_score": f"0.{scheme[1:]}500",
            **columns,
        }
        names, marks = ", ".join(values), ", ".join("%s" for _ in values)
        query = (
            f"INSERT INTO eligibility.eligibility_snapshots ({names}) VALUES ({marks}) "
            "RETURNING snapshot_id"
        )
        return int(row(warehouse, query, *values.values())[0])

    def hints(self, portal: Connection, family: str) -> list[str]:
        query = "SELECT scheme_code FROM eligibility_hints WHERE family_id = %s ORDER BY 1"
        return [found[0] for found in portal.execute(query, (family,)).fetchall()]

    def test_five_remain_and_the_sixth_moves_up(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        family = str(uuid4())
        ids = [self.snapshot(warehouse, family, f"T{i}") for i in range(1, 8)]
        eventually(lambda: self.hints(portal, family) == ["T3", "T4", "T5", "T6", "T7"])
        warehouse.execute(
            "UPDATE eligibility.eligibility_snapshots SET evaluation_status = 'NOT_ELIGIBLE' "
            "WHERE snapshot_id = %s",
            (ids[4],),
        )
        eventually(lambda: self.hints(portal, family) == ["T2", "T3", "T4", "T6", "T7"])

    def test_large_text_that_update_leaves_alone_is_kept(
        self, warehouse: Connection, portal: Connection
    ) -> None:
        family, text = str(uuid4()), "".join(str(uuid4()) for _ in range(500))
        number = self.snapshot(warehouse, family, "T1", explanation=text)
        query = "SELECT explanation, eligibility_score FROM eligibility_hints WHERE family_id = %s"
        eventually(lambda: row(portal, query, family))
        warehouse.execute(
            "UPDATE eligibility.eligibility_snapshots SET eligibility_score = 0.99 "
            "WHERE snapshot_id = %s",
            (number,),
        )
        found = eventually(lambda: (r := row(portal, query, family)) and r[1] > 0.9 and r)
        assert found[0] == text[:500]


def test_nothing_became_a_dead_letter(warehouse: Connection, portal: Connection) -> None:
    assert dead(warehouse, portal) == 0


class TestOutages:
    """The world's faults are waited out: nothing is lost and nothing is a dead letter."""

    @pytest.mark.parametrize("part", ["registry", "kafka", "postgres"])
    def test_a_part_that_crashes_is_waited_for(
        self, stack: StackUnderTest, runner: Runner, part: str
    ) -> None:
        number = {"registry": "030000000001", "kafka": "030000000002", "postgres": "030000000003"}
        stack.kill(part)
        if part != "postgres":
            with stack.admin("smart_warehouse") as warehouse:
                record = golden(warehouse, number[part])
        time.sleep(2)
        stack.revive()
        with stack.admin("smart_warehouse") as warehouse, stack.admin("smart_citizen") as portal:
            if part == "postgres":
                record = golden(warehouse, number[part])
            arrives(portal, record)
            assert dead(warehouse, portal) == 0
        assert runner.process.poll() is None
