"""The runner's own tables, which the stack creates before a runner starts."""

import psycopg
import pytest

from sink_stack.errors import StackError
from sink_stack.postgres import migrate_databases
from sink_stack.settings import DATABASES

pytestmark = pytest.mark.postgres


@pytest.fixture
def dsn(postgres):
    """Return the administrator's DSN of copies of both databases."""
    names = {name: postgres.fresh_database(name, migrated=False) for name in DATABASES.values()}
    return lambda name: postgres.dsn(names[name])


def test_tables_are_created_once_for_writer(dsn):
    assert migrate_databases(dsn) == ["smart_warehouse", "smart_citizen"]
    assert migrate_databases(dsn) == []
    with psycopg.connect(dsn("smart_citizen")) as admin:
        owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'sink'"
        assert admin.execute(owners).fetchall() == [("sink_writer",)]
        assert admin.execute("SELECT count(*) FROM sync_dlq").fetchone() == (0,)


def test_layout_of_another_version_is_refused(dsn):
    migrate_databases(dsn)
    with psycopg.connect(dsn("smart_citizen")) as admin:
        admin.execute("UPDATE sink.migration SET checksum = 'other' WHERE number = 1")
    with pytest.raises(StackError, match=r"tables in smart_citizen: .*another migration 1"):
        migrate_databases(dsn)


def test_error_of_missing_privilege_has_sqlstate(dsn):
    migrate_databases(dsn)
    with psycopg.connect(dsn("smart_citizen")) as admin:
        admin.execute("REVOKE USAGE ON SCHEMA sink FROM sink_writer")
        admin.execute("ALTER SCHEMA sink OWNER TO postgres")
    with pytest.raises(StackError, match=r"smart_citizen: .* SQLSTATE 42501: "):
        migrate_databases(dsn)
