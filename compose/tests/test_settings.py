"""Settings that a home stores."""

import base64
import stat

import pytest
from sink_runner.api.api_keys import hash_key

from sink_stack import envfile, settings
from sink_stack.errors import StackError


def prepare(home, environ=None, ours=lambda _: False):
    return settings.prepare(home, environ or {}, ours)


def test_secrets_are_generated_once_and_kept(home):
    first = prepare(home).values
    second = prepare(home).values
    names = [name for name in first if "PASSWORD" in name or "KEY" in name]
    assert len({first[name] for name in names}) == len(names) == 9
    assert {name: first[name] for name in names} == {name: second[name] for name in names}


def test_dead_letter_key_is_32_bytes(home):
    assert len(base64.b64decode(prepare(home).exported()["SINK_DEAD_LETTER_KEY"])) == 32


def test_api_knows_local_key_by_hash(home):
    exported = prepare(home).exported()
    completed = hash_key(exported["SINK_API_SECRET"], exported["SINK_API_LOCAL_KEY"])
    assert exported["SINK_API_LOCAL_KEY_HASH"] == completed


def test_file_is_readable_by_owner_only(home):
    prepare(home)
    assert stat.S_IMODE(home.settings.stat().st_mode) == 0o600


def test_port_of_running_part_is_kept(home):
    """The part itself listens on the port."""
    first = prepare(home)
    again = prepare(home, {"SINK_STACK_PORT_KAFKA": "1"}, ours=lambda _: True)
    assert again.port("kafka") == first.port("kafka")


def test_exports_contain_no_administrator_password(home):
    exported = prepare(home).exported()
    assert set(exported) == {
        "SINK_KAFKA",
        "SINK_REGISTRY",
        "SINK_SMART_WAREHOUSE_DSN",
        "SINK_SMART_CITIZEN_DSN",
        "SINK_SMART_WAREHOUSE_READER_DSN",
        "SINK_SMART_CITIZEN_READER_DSN",
        "STACK_SMART_WAREHOUSE_ADMIN_DSN",
        "STACK_SMART_CITIZEN_ADMIN_DSN",
        "SINK_DEAD_LETTER_KEY",
        "SINK_DEAD_LETTER_KEY_ID",
        "SINK_API_PORT",
        "SINK_HEALTH_PORT",
        "SINK_API_SECRET",
        "SINK_API_LOCAL_KEY",
        "SINK_API_LOCAL_KEY_HASH",
    }
    assert "://sink_writer:" in exported["SINK_SMART_CITIZEN_DSN"]
    assert "://sink_reader:" in exported["SINK_SMART_CITIZEN_READER_DSN"]


def test_restored_database_has_port_of_its_server(home):
    known = prepare(home)
    before = known.exported()
    found = settings.remember(home, known, **{settings.own_port("smart_citizen"): "12345"})
    assert found.database_port("smart_warehouse") == known.port("postgres")
    after = found.exported()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {
        "SINK_SMART_CITIZEN_DSN",
        "SINK_SMART_CITIZEN_READER_DSN",
        "STACK_SMART_CITIZEN_ADMIN_DSN",
    }
    assert all(":12345/" in after[name] for name in changed)


def test_every_address_is_on_loopback(home):
    for value in prepare(home).exported().values():
        assert "0.0.0.0" not in value
        assert "localhost" not in value


def test_line_without_assignment_is_error_with_number(tmp_path):
    path = tmp_path / "versions.env"
    path.write_text("# fine\nA=1\nB 2\n")
    with pytest.raises(StackError, match=r"versions.env:3"):
        envfile.load(path)
