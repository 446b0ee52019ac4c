"""``sink-runner conflicts`` and ``sink-runner audit``, as a person calls them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.postgres.migrations import migrate
from sink_runner.postgres.session import connect

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
INSERT INTO sink.conflict (table_name, record_id, source_database, target_database,
  conflict_type, source_value, resolution_action, resolved_at)
VALUES (%s, %s, 'smart_citizen', 'smart_warehouse', %s, '{"city_village": "***MASKED***"}', %s, %s)
RETURNING conflict_id
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
        for dsn in dsns.values():
            with connect(dsn, "test") as connection:
                migrate(connection)
        (folder / "sink-runner.toml").write_text(CONFIG.format(**dsns))
        self._call = call
        self.deletion = self.add("warehouse", "deletion_conflict", "manual_review")
        self.decided = self.add("warehouse", "timestamp_conflict", "source_wins", "2026-01-01")

    LIKE = ("warehouse", "citizen")

    def add(self, like: str, kind: str, action: str, resolved: str | None = None) -> int:
        given = ("golden_records", "some-record", kind, action, resolved)
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
                   FROM sink.conflict WHERE conflict_id = %s"""
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
    assert json.loads(out)["source_value"] == {"city_village": "***MASKED***"}
    assert "city_village" in office.call("conflicts", "show", str(office.deletion))[1]


@pytest.mark.parametrize("action", ["target_wins", "source_wins", "merged"])
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
    assert office.row(office.decided)[0] == "source_wins"


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
        (("resolve", "1", "--action", "target", "--notes", ""), "target_wins"),
        (("resolve", "1", "--action", "merged", "--notes", ""), "--notes is empty"),
        (("resolve", "1", "--action", "merged", "--notes", " \n"), "--notes is empty"),
    ],
)
def test_what_is_wrong_is_told(office: Office, argv: tuple[str, ...], said: str) -> None:
    code, _, err = office.call("conflicts", *argv)
    assert (code, said in err) == (78, True)


def test_the_log_is_told_in_a_table(office: Office) -> None:
    office.resolve(office.deletion, "merged")
    assert "golden_records" in office.call("audit", "--wide")[1]


def test_help_says_what_resolving_does_to_rows(call: Callable) -> None:
    code, out, _ = call("conflicts", "resolve", "--help")
    assert (code, "changes no other" in out) == (0, True)


# -- what looks like markup, and what nobody expects -----------------------------------------------

MARKUP = ("[/ops]", "[redacted]", "[b]x[/b]", ":cat:")


@pytest.mark.parametrize("text", MARKUP)
def test_what_was_written_is_shown_as_it_is(office: Office, text: str) -> None:
    """One person's note must not keep the others from the list."""
    given = ("--action", "merged", "--notes", f"see {text}", "--as", text)
    assert office.call("conflicts", "resolve", str(office.deletion), *given)[0] == 0
    values = json.dumps({text: text})
    office.admin["warehouse"].execute(
        """UPDATE sink.conflict SET table_name = %s, record_id = %s,
           target_value = %s""",
        (text, text, values),
    )
    code, out, err = office.call("conflicts", "show", str(office.deletion))
    assert (code, err, out.count(text)) == (0, "", 6)
    code, out, err = office.call("conflicts", "list", "--all", "--wide")
    assert (code, err, out.count(text)) == (0, "", 5)
    code, out, err = office.call("audit", "--wide")
    assert (code, err, text in out) == (0, "", True)


@pytest.mark.parametrize(
    "argv",
    [
        ("conflicts", "list", "--most", "-1"),
        ("conflicts", "list", "--most", "99999999999999999999"),
        ("conflicts", "show", "99999999999999999999"),
        ("conflicts", "resolve", "1", "--action", "merged", "--notes", "n", "--as", "x" * 101),
        ("conflicts", "resolve", "1", "--action", "merged", "--notes", "n", "--as", ""),
        ("audit", "--most", "-1"),
        ("audit", "--most", "99999999999999999999"),
    ],
)
def test_what_can_not_be_meant_is_refused(office: Office, argv: tuple[str, ...]) -> None:
    code, _, err = office.call(*argv)
    assert (code, "Usage:" in err) == (2, True)
    assert office.row(office.deletion)[1] is None


@pytest.mark.parametrize(
    "argv",
    [
        ("conflicts", "list", "--table", "a\0b"),
        ("conflicts", "resolve", "1", "--action", "merged", "--notes", "a\0b"),
        ("audit", "--mapping", "a\0b"),
    ],
)
def test_what_postgresql_can_not_take_is_a_sentence(office: Office, argv: tuple[str, ...]) -> None:
    code, _, err = office.call(*argv)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "can't be sent to database 'smart_" in err


def test_a_refusal_names_its_database(office: Office) -> None:
    office.admin["warehouse"].execute(
        "REVOKE UPDATE (resolution_notes) ON sink.conflict FROM sink_writer"
    )
    code, _, err = office.resolve(office.deletion, "merged")
    assert (code, len(err.splitlines())) == (78, 1)
    assert "database 'smart_warehouse' refuses: InsufficientPrivilege, SQLSTATE 42501" in err


@pytest.mark.parametrize("argv", [("conflicts", "list"), ("audit",)])
def test_a_database_that_is_down_is_named(office: Office, argv: tuple[str, ...]) -> None:
    path = Path("sink-runner.toml")
    text = path.read_text()
    text = text[: text.index("[databases.smart_citizen]")]
    dsn = "host=127.0.0.1 port=1 dbname=x"
    path.write_text(
        f"""{text}[databases.smart_citizen]
dsn = "{dsn}"
reader_dsn = "{dsn}"
[dead_letters]
key = "x"
key_id = "one"
"""
    )
    code, _, err = office.call(*argv)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "no connection to database 'smart_citizen'" in err


def test_who_has_no_name_here_is_unknown(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user is a number only."""

    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", fail)
    given = ("--action", "merged", "--notes", "both")
    assert office.call("conflicts", "resolve", str(office.deletion), *given)[0] == 0
    assert office.row(office.deletion)[1] == "unknown"
