"""``sink-runner conflicts`` and ``sink-runner audit``, as a person calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytestmark = pytest.mark.postgres
CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.smart_warehouse]
dsn = "{warehouse}"
reader_dsn = "{warehouse}"
[databases.smart_citizen]
dsn = "{citizen}"
reader_dsn = "{citizen}"
[dead_letters]
key = "x"
key_id = "one"
[plugins]
enabled = []
"""
INSERT = """
INSERT INTO cdc_conflict_resolution (table_name, record_id, source_system, conflict_type,
  citizen_value, resolution_action, resolved_at)
VALUES (%s, %s, %s, %s, '{"city_village": "***MASKED***"}', %s, %s) RETURNING conflict_id
"""


class Office:
    """Both databases with conflicts, and the command."""

    def __init__(self, postgres: Any, folder: Path, call: Callable) -> None:
        names = {like: postgres.fresh_database(like=f"smart_{like}") for like in self.LIKE}
        self.admin = {
            like: psycopg.connect(postgres.dsn(name), autocommit=True)
            for like, name in names.items()
        }
        dsns = {like: postgres.dsn(name, "sink_writer") for like, name in names.items()}
        (folder / "sink-runner.toml").write_text(CONFIG.format(**dsns))
        self._call = call
        self.deletion = self.add("warehouse", "deletion_conflict", "manual_review")
        self.decided = self.add("warehouse", "timestamp_conflict", "citizen_wins", "2026-01-01")

    LIKE = ("warehouse", "citizen")

    def add(self, like: str, kind: str, action: str, resolved: str | None = None) -> int:
        given = ("golden_records", "some-record", "citizen", kind, action, resolved)
        (number,) = self.admin[like].execute(INSERT, given).fetchone()
        return int(number)

    def call(self, *argv: str) -> tuple[int, str, str]:
        code, out, err = self._call(*argv)
        return code, out, err

    def list(self, *options: str) -> list[dict[str, Any]]:
        code, out, _ = self.call("conflicts", "list", "--json", *options)
        assert code == 0
        return json.loads(out)

    def resolve(self, number: int, action: str, *options: str) -> tuple[int, str, str]:
        given = ("--action", action, "--notes", "call 9876543210 back", "--as", "asha")
        return self.call("conflicts", "resolve", str(number), *given, *options)

    def row(self, number: int) -> tuple:
        query = """SELECT resolution_action, resolved_by, resolved_at IS NOT NULL, resolution_notes
                   FROM cdc_conflict_resolution WHERE conflict_id = %s"""
        return self.admin["warehouse"].execute(query, (number,)).fetchone()


@pytest.fixture
def office(postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable) -> Any:
    monkeypatch.delenv("SINK_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    made = Office(postgres, tmp_path, call)
    yield made
    for connection in made.admin.values():
        connection.close()


def test_the_open_ones_are_listed(office: Office) -> None:
    assert [one["id"] for one in office.list()] == [office.deletion]
    assert "deletion_conflict" in office.call("conflicts", "list")[1]


def test_filters_narrow_the_list(office: Office) -> None:
    assert {one["id"] for one in office.list("--all")} == {office.deletion, office.decided}
    assert [one["id"] for one in office.list("--all", "--type", "timestamp_conflict")] == [
        office.decided
    ]
    assert office.list("--table", "another") == []
    assert office.list("--since", "2999-01-01") == []
    assert office.list("--database", "smart_citizen") == []


def test_one_is_shown_with_both_sides(office: Office) -> None:
    code, out, _ = office.call("conflicts", "show", str(office.deletion), "--json")
    assert code == 0
    assert json.loads(out)["citizen"] == {"city_village": "***MASKED***"}
    assert "city_village" in office.call("conflicts", "show", str(office.deletion))[1]


@pytest.mark.parametrize("action", ["warehouse_wins", "citizen_wins", "merged"])
def test_what_was_decided_is_written_down(office: Office, action: str) -> None:
    assert office.resolve(office.deletion, action)[0] == 0
    assert office.row(office.deletion) == (action, "asha", True, "call ***MASKED*** back")
    code, out, _ = office.call("audit", "--json")
    assert code == 0
    (entry,) = json.loads(out)
    assert (entry["event_type"], entry["user"]) == ("conflict", "asha")
    assert entry["details"]["action"] == action


def test_one_that_is_not_decided_stays_open(office: Office) -> None:
    assert office.resolve(office.deletion, "manual_review")[0] == 0
    assert office.row(office.deletion)[:3] == ("manual_review", "asha", False)
    assert office.list() != []


def test_what_is_decided_is_not_decided_again(office: Office) -> None:
    code, out, _ = office.resolve(office.decided, "merged")
    assert (code, "resolved already" in out) == (1, True)
    assert office.row(office.decided)[0] == "citizen_wins"


def test_a_number_of_two_databases_needs_the_database(office: Office) -> None:
    other = office.add("citizen", "deletion_conflict", "manual_review")
    assert other == office.deletion
    code, _, err = office.call("conflicts", "show", str(other))
    assert (code, "--database" in err) == (78, True)
    assert office.call("conflicts", "show", str(other), "--database", "smart_citizen")[0] == 0


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("show", "999"), "no conflict 999"),
        (("list", "--database", "smart_citizn"), "smart_citizen"),
        (("list", "--type", "deletion"), "deletion_conflict"),
        (("resolve", "1", "--action", "warehouse", "--notes", ""), "warehouse_wins"),
    ],
)
def test_what_is_wrong_is_told(office: Office, argv: tuple[str, ...], said: str) -> None:
    code, _, err = office.call("conflicts", *argv)
    assert (code, said in err) == (78, True)


def test_the_log_is_told_in_a_table(office: Office) -> None:
    office.resolve(office.deletion, "merged")
    assert "golden_records" in office.call("audit")[1]


def test_help_says_what_resolving_does_to_rows(call: Callable) -> None:
    code, out, _ = call("conflicts", "resolve", "--help")
    assert (code, "changes no other" in out) == (0, True)
