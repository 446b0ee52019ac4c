"""The session with a target database."""

import psycopg
import pytest

from sink_runner.postgres.session import connect, renew_commit_time, use_origin

pytestmark = pytest.mark.postgres
DISTINCT = "SELECT count(DISTINCT pg_xact_commit_timestamp(xmin)) FROM public.stamped"


@pytest.fixture
def writer(postgres):
    name = postgres.fresh_database("smart_citizen", migrated=False)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute("CREATE TABLE public.stamped (id int)")
        admin.execute("GRANT SELECT, INSERT ON public.stamped TO sink_writer")
    return postgres.dsn(name, "sink_writer")


def test_commits_with_origin_have_distinct_times(writer):
    with connect(writer, "test") as session:
        use_origin(session, "stamped")
        for _ in range(3):
            renew_commit_time(session)
            session.execute("INSERT INTO public.stamped VALUES (1)")
        assert session.execute(DISTINCT).fetchone() == (3,)


def test_commits_without_renewal_share_first_time(writer):
    """PostgreSQL behaves so; if this fails, `renew_commit_time` may be unnecessary."""
    with connect(writer, "test") as session:
        use_origin(session, "stamped")
        for _ in range(3):
            session.execute("INSERT INTO public.stamped VALUES (1)")
        assert session.execute(DISTINCT).fetchone() == (1,)
