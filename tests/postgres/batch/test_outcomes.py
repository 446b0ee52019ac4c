"""How a run ends: its report, its record in the database, its exit code, and its lock."""

import json
import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from sink_runner.errors import EventError
from sink_runner.loading.hooks import Hooks
from sink_runner.plugin import Event

pytestmark = pytest.mark.postgres

PEOPLE = """
INSERT INTO golden_records (gr_id, full_name, status, created_at, updated_at)
SELECT md5(n::text)::uuid, 'Person ' || n, 'active', date '2020-01-01', date '2020-01-01' + n
FROM generate_series(%s::int, %s::int) n
"""
# updated_at before created_at breaks a rule of the mapping.
INVALID = """
INSERT INTO golden_records (gr_id, created_at, updated_at) VALUES (%s, '2020-01-01', '2019-01-01')
"""
CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.smart_warehouse]
dsn = "{warehouse}"
reader_dsn = "{reader}"
[databases.smart_citizen]
dsn = "{citizen}"
reader_dsn = "{citizen}"
[dead_letters]
key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
key_id = "one"
[policies]
directory = "{policies}"
[plugins]
enabled = ["golden-records"]
"""


@pytest.fixture
def batch(pair, call, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `sink-runner batch` on the pair of databases."""
    path = tmp_path / "sink-runner.toml"
    config = pair.config()
    warehouse, citizen = (config.databases[n] for n in ("smart_warehouse", "smart_citizen"))
    path.write_text(
        CONFIG.format(
            warehouse=warehouse.dsn.read(),
            reader=warehouse.reader_dsn.read(),
            citizen=citizen.dsn.read(),
            policies=config.policies.directory,
        )
    )
    return lambda *argv: call("batch", "golden-records", "--config", str(path), *argv)


def add_invalid(pair, rows: int) -> None:
    for number in range(rows):
        pair.warehouse.execute(INVALID, (f"00000000-0000-0000-0000-{number:012}",))


def runs(pair) -> list[Any]:
    query = "SELECT mode, outcome, counts, checks, finished FROM sink.batch_run ORDER BY run"
    return pair.citizen.execute(query).fetchall()


def test_failed_rows_do_not_stop_others(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 5))
    add_invalid(pair, 2)
    code, out, err = batch()
    assert (code, err) == (1, "")
    assert "written 5" in out
    assert "failed 2: QualityError: the row breaks rule 'updated_at not before created_at'" in out
    assert "2019" not in out
    (dead_letters,) = pair.citizen.execute(
        "SELECT count(*) FROM sink.dead_letter WHERE status = 'OPEN'"
    ).fetchone()
    assert dead_letters == 2


def test_failure_hook_receives_failed_row(pair, batch, monkeypatch) -> None:
    events, failed = [], Hooks.failed

    def record_event(hooks: Hooks, error: EventError, event_of: Callable[[], Event | None]) -> None:
        events.append(event_of())
        failed(hooks, error, event_of)

    monkeypatch.setattr(Hooks, "failed", record_event)
    add_invalid(pair, 1)
    assert batch()[0] == 1
    (event,) = events
    assert event.op == "r"
    assert str(event.row["gr_id"]).endswith("000000000000")


@pytest.mark.parametrize(("tolerated", "code"), [("1", 1), ("2", 0)])
def test_tolerate_limits_failed_rows(pair, batch, tolerated: str, code: int) -> None:
    add_invalid(pair, 2)
    assert batch("--tolerate", tolerated)[0] == code


def test_dead_letter_of_batch_can_be_decrypted(pair, encryptor) -> None:
    add_invalid(pair, 1)
    report = pair.run("golden-records")
    assert report.counts["failed"] == 1
    row = pair.citizen.execute(
        'SELECT source_data, topic, partition, "offset" FROM sink.dead_letter'
    )
    encrypted, topic, partition, offset = row.fetchone()
    assert partition is None
    message = encryptor.decrypt(encrypted, topic, -1, offset)
    assert message.key == b"00000000-0000-0000-0000-000000000000"
    assert message.value[:1] == b"\x01"
    assert b"2019-01-01" in message.value


def test_report_can_be_printed_as_json(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    code, out, _ = batch("--full", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["mapping"], report["mode"]) == ("golden-records", "full")
    assert report["counts"]["written"] == 3


def test_run_is_recorded_with_counts_and_checks(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.run("golden-records", full=True)
    ((mode, outcome, counts, checks, finished),) = runs(pair)
    assert (mode, outcome, finished is not None) == ("full", "done", True)
    assert (counts["read"], counts["written"]) == (3, 3)
    assert checks["source_rows"] == 3
    assert checks["fields"] == {"compared": 3, "different": 0, "missing": 0, "columns": []}
    (flow,) = pair.citizen.execute("SELECT flow FROM sync_watermark").fetchone()
    assert flow == "golden-records"


def test_differing_column_is_reported(pair) -> None:
    pair.citizen.execute(
        "CREATE FUNCTION change_city() RETURNS trigger LANGUAGE plpgsql AS $$"
        "BEGIN new.city := 'other city'; RETURN new; END $$"
    )
    pair.citizen.execute(
        "CREATE TRIGGER change_city BEFORE INSERT OR UPDATE ON profile_data FOR EACH ROW "
        "EXECUTE FUNCTION change_city()"
    )
    pair.warehouse.execute(PEOPLE, (1, 3))
    report = pair.run("golden-records", full=True)
    assert report.checks["fields"]["columns"] == ["city"]
    assert "3 rows compared, 3 differ in city" in "\n".join(report.lines())


def test_second_run_reports_first_and_ends(pair, batch) -> None:
    with hold_lock(pair):
        code, out, err = batch()
    assert (code, out) == (75, "")
    assert "smart_citizen.public.profile_data is being written by 'sink-runner batch other'" in err
    assert batch()[0] == 0


def test_second_run_waits_with_option_wait(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    holder = hold_lock(pair)
    threading.Timer(1.0, holder.close).start()
    code, out, _ = batch("--wait")
    assert code == 0
    assert "written 3" in out


def test_interrupted_run_exits_with_one(pair, batch, stopper, monkeypatch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    monkeypatch.setenv("SINK_PLUGINS", f"golden-records,{stopper(1)}")
    code, out, _ = batch()
    assert code == 1
    assert "interrupted; the next run resumes here" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--full", "--since", "2026-01-01"), "goes with neither --since nor --until"),
        (("--config", "missing.toml"), "missing.toml"),
    ],
)
def test_invalid_arguments_exit_with_78(batch, argv: tuple[str, ...], message: str) -> None:
    code, _, err = batch(*argv)
    assert code == 78
    assert message in err


def test_times_with_zone_are_converted_to_utc(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    _, out, _ = batch("--since", "2020-01-03T05:30+05:30")
    assert "2 rows read" in out


def hold_lock(pair) -> psycopg.Connection:
    """Take the lock of another run that writes the same table."""
    dsn = pair.config().databases["smart_citizen"].dsn.read()
    holder = psycopg.connect(dsn, autocommit=True, application_name="sink-runner batch other")
    holder.execute(
        "SELECT pg_advisory_lock(%s, hashtext('smart_citizen.public.profile_data'))", (0x514E4B,)
    )
    return holder


def test_table_with_unclassified_column_is_not_read(pair, batch) -> None:
    """A batch refuses the schema change that pauses the streaming mapping."""
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.warehouse.execute("ALTER TABLE golden_records ADD mothers_mobile_number text")
    code, _, err = batch()
    assert code == 78
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (0,)
    assert "mothers_mobile_number" in err
    assert "sink-runner schema check golden-records" in err
