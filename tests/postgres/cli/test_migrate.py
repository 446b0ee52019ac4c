"""``sink-runner migrate``: which databases it migrates, and its output."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from sink_runner.postgres.migrations import migrations

CONFIG = """
[kafka]
bootstrap = "127.0.0.1:1"
[registry]
url = "http://127.0.0.1:1"
[databases.smart_citizen]
dsn = "{dsn}"
reader_dsn = "{dsn}"
[dead_letters]
key = "x"
key_id = "one"
[plugins]
enabled = {enabled}
"""


@pytest.fixture
def configured_at(postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that writes a configuration and returns the administrator's DSN."""
    name = postgres.fresh_database("smart_citizen", migrated=False)

    def write(*enabled: str) -> str:
        dsn = postgres.dsn(name, "sink_writer")
        text = CONFIG.format(dsn=dsn, enabled=list(enabled))
        (tmp_path / "sink-runner.toml").write_text(text)
        monkeypatch.chdir(tmp_path)
        return postgres.dsn(name)

    monkeypatch.delenv("SINK_CONFIG", raising=False)
    return write


def test_targets_of_mappings_are_migrated(configured_at: Callable, call: Callable) -> None:
    dsn = configured_at("golden-records")
    applied = ", ".join(f"{one.number} {one.name}" for one in migrations())
    assert call("migrate") == (0, f"smart_citizen: applied {applied}\n", "")
    assert call("migrate") == (0, "smart_citizen: nothing to do\n", "")
    with psycopg.connect(dsn) as connection:
        (count,) = connection.execute("SELECT count(*) FROM sink.migration").fetchone()
    assert count == len(migrations())


def test_database_without_mapping_is_migrated_by_name(
    configured_at: Callable, call: Callable
) -> None:
    configured_at()
    assert call("migrate") == (0, "", "")
    assert "applied" in call("migrate", "--database", "smart_citizen")[1]


def test_unknown_database_is_named(configured_at: Callable, call: Callable) -> None:
    configured_at()
    code, _, err = call("migrate", "--database", "smart_citizn")
    assert (code, "unknown database 'smart_citizn'" in err) == (78, True)
