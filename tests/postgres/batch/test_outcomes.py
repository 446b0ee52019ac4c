"""How a run ends: what it reports, what it keeps, its exit code, and who may run beside it."""

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
# Too old to be true; the rule that times must be in order refuses it.
WRONG = """
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
    """The command, with a configuration for the pair of databases."""
    path = tmp_path / "sink-runner.toml"
    known = pair.config()
    warehouse, citizen = (known.databases[n] for n in ("smart_warehouse", "smart_citizen"))
    path.write_text(
        CONFIG.format(
            warehouse=warehouse.dsn.read(),
            reader=warehouse.reader_dsn.read(),
            citizen=citizen.dsn.read(),
            policies=known.policies.directory,
        )
    )
    return lambda *argv: call("batch", "golden-records", "--config", str(path), *argv)


def wrong(pair, rows: int) -> None:
    for number in range(rows):
        pair.warehouse.execute(WRONG, (f"00000000-0000-0000-0000-{number:012}",))


def runs(pair) -> list[Any]:
    query = "SELECT mode, outcome, counts, checks, finished FROM sink.batch_run ORDER BY run"
    return pair.citizen.execute(query).fetchall()


def test_failed_rows_stop_no_others_and_are_listed(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 5))
    wrong(pair, 2)
    code, out, err = batch()
    assert (code, err) == (1, "")
    assert "written 5" in out
    assert "failed 2: QualityError: the row breaks rule 'updated_at not before created_at'" in out
    assert "2019" not in out
    (dead_letters,) = pair.citizen.execute(
        "SELECT count(*) FROM sink.dead_letter WHERE status = 'OPEN'"
    ).fetchone()
    assert dead_letters == 2


def test_hooks_get_the_row_that_failed(pair, batch, monkeypatch) -> None:
    seen, failed = [], Hooks.failed

    def watched(hooks: Hooks, error: EventError, event_of: Callable[[], Event | None]) -> None:
        seen.append(event_of())
        failed(hooks, error, event_of)

    monkeypatch.setattr(Hooks, "failed", watched)
    wrong(pair, 1)
    assert batch()[0] == 1
    (event,) = seen
    assert event.op == "r"
    assert str(event.row["gr_id"]).endswith("000000000000")


@pytest.mark.parametrize(("tolerated", "code"), [("1", 1), ("2", 0)])
def test_so_many_may_fail(pair, batch, tolerated: str, code: int) -> None:
    wrong(pair, 2)
    assert batch("--tolerate", tolerated)[0] == code


def test_dead_letter_of_batch_can_be_read_again(pair, encryptor) -> None:
    wrong(pair, 1)
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


def test_the_report_is_for_programs_too(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    code, out, _ = batch("--full", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["mapping"], report["mode"]) == ("golden-records", "full")
    assert report["counts"]["written"] == 3


def test_what_was_done_is_kept(pair) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.run("golden-records", full=True)
    ((mode, outcome, counts, checks, finished),) = runs(pair)
    assert (mode, outcome, finished is not None) == ("full", "done", True)
    assert (counts["read"], counts["written"]) == (3, 3)
    assert checks["source_rows"] == 3
    assert checks["fields"] == {"compared": 3, "different": 0, "missing": 0, "columns": []}
    (flow,) = pair.citizen.execute("SELECT flow FROM sync_watermark").fetchone()
    assert flow == "golden-records"


def test_wrong_column_is_named(pair) -> None:
    pair.citizen.execute(
        "CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$"
        "BEGIN new.city := 'elsewhere'; RETURN new; END $$"
    )
    pair.citizen.execute(
        "CREATE TRIGGER spoil BEFORE INSERT OR UPDATE ON profile_data FOR EACH ROW "
        "EXECUTE FUNCTION spoil()"
    )
    pair.warehouse.execute(PEOPLE, (1, 3))
    report = pair.run("golden-records", full=True)
    assert report.checks["fields"]["columns"] == ["city"]
    assert "3 rows compared, 3 differ in city" in "\n".join(report.lines())


def test_second_run_names_first_and_ends(pair, batch) -> None:
    with holding(pair):
        code, out, err = batch()
    assert (code, out) == (75, "")
    assert "smart_citizen.public.profile_data is being written by 'sink-runner batch other'" in err
    assert batch()[0] == 0


def test_a_second_run_may_wait(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    holder = holding(pair)
    threading.Timer(1.0, holder.close).start()
    code, out, _ = batch("--wait")
    assert code == 0
    assert "written 3" in out


def test_a_run_that_was_stopped_is_no_success(pair, batch, stopper, monkeypatch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    monkeypatch.setenv("SINK_PLUGINS", f"golden-records,{stopper(1)}")
    code, out, _ = batch()
    assert code == 1
    assert "interrupted; the next run resumes here" in out


@pytest.mark.parametrize(
    ("argv", "fault"),
    [
        (("--full", "--since", "2026-01-01"), "goes with neither --since nor --until"),
        (("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_what_makes_no_sense_ends_with_78(batch, argv: tuple[str, ...], fault: str) -> None:
    code, _, err = batch(*argv)
    assert code == 78
    assert fault in err


def test_times_with_a_zone_are_turned_into_utc(pair, batch) -> None:
    pair.warehouse.execute(PEOPLE, (1, 3))
    _, out, _ = batch("--since", "2020-01-03T05:30+05:30")
    assert "2 rows read" in out


def holding(pair) -> psycopg.Connection:
    """Another run of something that writes the same table."""
    dsn = pair.config().databases["smart_citizen"].dsn.read()
    held = psycopg.connect(dsn, autocommit=True, application_name="sink-runner batch other")
    held.execute(
        "SELECT pg_advisory_lock(%s, hashtext('smart_citizen.public.profile_data'))", (0x514E4B,)
    )
    return held


def test_table_that_would_harm_people_is_not_read(pair, batch) -> None:
    """What pauses the mapping's events must not come by its batch instead."""
    pair.warehouse.execute(PEOPLE, (1, 3))
    pair.warehouse.execute("ALTER TABLE golden_records ADD mothers_mobile_number text")
    code, _, err = batch()
    assert code == 78
    assert pair.citizen.execute("SELECT count(*) FROM profile_data").fetchone() == (0,)
    assert "mothers_mobile_number" in err
    assert "sink-runner schema check golden-records" in err
