"""The commands ``sink-runner conflicts`` and ``sink-runner audit``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sink_runner.cli.program import ADVICE
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


class Conflicts:
    """Both databases with an open and a resolved conflict, and the commands on them."""

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
        self.open_id = self.add("warehouse", "deletion_conflict", "manual_review")
        self.resolved_id = self.add("warehouse", "timestamp_conflict", "source_wins", "2026-01-01")

    LIKE = ("warehouse", "citizen")

    def add(self, like: str, kind: str, action: str, resolved: str | None = None) -> int:
        values = ("golden_records", "some-record", kind, action, resolved)
        (number,) = self.admin[like].execute(INSERT, values).fetchone()
        return int(number)

    def call(self, *argv: str) -> tuple[int, str, str]:
        code, out, err = self._call(*argv)
        return code, out, err

    def list(self, *options: str) -> list[dict[str, Any]]:
        code, out, _ = self.call("conflicts", "list", "--json", *options)
        assert code == 0
        return json.loads(out)

    def resolve(self, number: int, action: str, *options: str) -> tuple[int, str, str]:
        arguments = ("--action", action, "--notes", "call 9876543210 back", "--as", "asha")
        return self.call("conflicts", "resolve", str(number), *arguments, *options)

    def row(self, number: int) -> tuple:
        query = """SELECT resolution_action, resolved_by, resolved_at IS NOT NULL, resolution_notes
                   FROM sink.conflict WHERE conflict_id = %s"""
        return self.admin["warehouse"].execute(query, (number,)).fetchone()


@pytest.fixture
def conflicts(postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable) -> Any:
    monkeypatch.delenv("SINK_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    created = Conflicts(postgres, tmp_path, call)
    yield created
    for connection in created.admin.values():
        connection.close()


def test_open_conflicts_are_listed(conflicts: Conflicts) -> None:
    assert [one["id"] for one in conflicts.list()] == [conflicts.open_id]
    assert "deletion_conflict" in conflicts.call("conflicts", "list")[1]


def test_filters_narrow_the_list(conflicts: Conflicts) -> None:
    assert {one["id"] for one in conflicts.list("--all")} == {
        conflicts.open_id,
        conflicts.resolved_id,
    }
    assert [one["id"] for one in conflicts.list("--all", "--type", "timestamp_conflict")] == [
        conflicts.resolved_id
    ]
    assert conflicts.list("--table", "another") == []
    assert conflicts.list("--since", "2999-01-01") == []
    assert conflicts.list("--database", "smart_citizen") == []


def test_show_prints_source_value(conflicts: Conflicts) -> None:
    code, out, _ = conflicts.call("conflicts", "show", str(conflicts.open_id), "--json")
    assert code == 0
    assert json.loads(out)["source_value"] == {"city_village": "***MASKED***"}
    assert "city_village" in conflicts.call("conflicts", "show", str(conflicts.open_id))[1]


@pytest.mark.parametrize("action", ["target_wins", "source_wins", "merged"])
def test_resolution_is_stored_and_audited(conflicts: Conflicts, action: str) -> None:
    assert conflicts.resolve(conflicts.open_id, action)[0] == 0
    assert conflicts.row(conflicts.open_id) == (action, "asha", True, "call ***MASKED*** back")
    code, out, _ = conflicts.call("audit", "--json")
    assert code == 0
    (entry,) = json.loads(out)
    assert (entry["event_type"], entry["user"]) == ("conflict", "asha")
    assert entry["details"]["action"] == action


def test_conflict_under_review_stays_open(conflicts: Conflicts) -> None:
    assert conflicts.resolve(conflicts.open_id, "manual_review")[0] == 0
    assert conflicts.row(conflicts.open_id)[:3] == ("manual_review", "asha", False)
    assert conflicts.list() != []


def test_resolved_conflict_is_not_resolved_again(conflicts: Conflicts) -> None:
    code, out, _ = conflicts.resolve(conflicts.resolved_id, "merged")
    assert (code, "resolved already" in out) == (1, True)
    assert conflicts.row(conflicts.resolved_id)[0] == "source_wins"


def test_ambiguous_id_needs_database(conflicts: Conflicts) -> None:
    other = conflicts.add("citizen", "deletion_conflict", "manual_review")
    assert other == conflicts.open_id
    code, _, err = conflicts.call("conflicts", "show", str(other))
    assert (code, "--database" in err) == (78, True)
    assert conflicts.call("conflicts", "show", str(other), "--database", "smart_citizen")[0] == 0


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("show", "999"), "no conflict 999"),
        (("list", "--database", "smart_citizn"), "smart_citizen"),
        (("list", "--type", "deletion"), "deletion_conflict"),
        (("resolve", "1", "--action", "target", "--notes", ""), "target_wins"),
        (("resolve", "1", "--action", "merged", "--notes", ""), "--notes is empty"),
        (("resolve", "1", "--action", "merged", "--notes", " \n"), "--notes is empty"),
    ],
)
def test_invalid_arguments_are_explained(
    conflicts: Conflicts, argv: tuple[str, ...], message: str
) -> None:
    code, _, err = conflicts.call("conflicts", *argv)
    assert (code, message in err) == (78, True)


def test_audit_prints_table(conflicts: Conflicts) -> None:
    conflicts.resolve(conflicts.open_id, "merged")
    assert "golden_records" in conflicts.call("audit", "--wide")[1]


def test_help_explains_effect_on_rows(call: Callable) -> None:
    code, out, _ = call("conflicts", "resolve", "--help")
    assert (code, "changes no other" in out) == (0, True)


# -- markup, and unusual values ------------------------------------------------------------------

MARKUP = ("[/ops]", "[redacted]", "[b]x[/b]", ":cat:")


@pytest.mark.parametrize("text", MARKUP)
def test_markup_in_values_is_printed_as_text(conflicts: Conflicts, text: str) -> None:
    """Invalid markup in one conflict must not make the list fail."""
    arguments = ("--action", "merged", "--notes", f"see {text}", "--as", text)
    assert conflicts.call("conflicts", "resolve", str(conflicts.open_id), *arguments)[0] == 0
    values = json.dumps({text: text})
    conflicts.admin["warehouse"].execute(
        """UPDATE sink.conflict SET table_name = %s, record_id = %s,
           target_value = %s""",
        (text, text, values),
    )
    code, out, err = conflicts.call("conflicts", "show", str(conflicts.open_id))
    assert (code, err, out.count(text)) == (0, "", 6)
    code, out, err = conflicts.call("conflicts", "list", "--all", "--wide")
    assert (code, err, out.count(text)) == (0, "", 5)
    code, out, err = conflicts.call("audit", "--wide")
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
def test_out_of_range_options_are_usage_errors(conflicts: Conflicts, argv: tuple[str, ...]) -> None:
    code, _, err = conflicts.call(*argv)
    assert (code, "Usage:" in err) == (2, True)
    assert conflicts.row(conflicts.open_id)[1] is None


@pytest.mark.parametrize(
    "argv",
    [
        ("conflicts", "list", "--table", "a\0b"),
        ("conflicts", "resolve", "1", "--action", "merged", "--notes", "a\0b"),
        ("audit", "--mapping", "a\0b"),
    ],
)
def test_nul_character_is_one_line_error(conflicts: Conflicts, argv: tuple[str, ...]) -> None:
    code, _, err = conflicts.call(*argv)
    assert (code, len(err.splitlines())) == (1, 1)
    assert "can't be sent to database 'smart_" in err


def test_missing_privilege_names_database(conflicts: Conflicts) -> None:
    conflicts.admin["warehouse"].execute(
        "REVOKE UPDATE (resolution_notes) ON sink.conflict FROM sink_writer"
    )
    code, _, err = conflicts.resolve(conflicts.open_id, "merged")
    assert (code, len(err.splitlines())) == (78, 1)
    assert "database 'smart_warehouse' refuses: InsufficientPrivilege, SQLSTATE 42501" in err


@pytest.mark.parametrize("argv", [("conflicts", "list"), ("audit",)])
def test_unreachable_database_is_named(conflicts: Conflicts, argv: tuple[str, ...]) -> None:
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
    code, _, err = conflicts.call(*argv)
    reason, advice = err.splitlines()
    assert (code, advice) == (1, f"sink-runner: {ADVICE}")
    assert "no connection to database 'smart_citizen'" in reason


def test_user_without_account_name_is_unknown(
    conflicts: Conflicts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container, the user id may have no entry in /etc/passwd."""

    def fail() -> str:
        raise KeyError("getpwuid(): uid not found: 12345")

    monkeypatch.setattr("getpass.getuser", fail)
    arguments = ("--action", "merged", "--notes", "both")
    assert conflicts.call("conflicts", "resolve", str(conflicts.open_id), *arguments)[0] == 0
    assert conflicts.row(conflicts.open_id)[1] == "unknown"
