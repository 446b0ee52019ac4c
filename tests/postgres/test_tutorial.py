"""The commands of docs/tutorial.md, run as written against PostgreSQL."""

import base64
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from ..support import console

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tutorial.md"


@pytest.fixture
def environment(postgres, tmp_path: Path) -> dict[str, str]:
    """The environment that the page needs; its plugin is installed into a temporary folder."""
    admin = conninfo_to_dict(postgres.dsn("postgres"))
    site = str(tmp_path / "site")
    return {
        "SINK": str(ROOT),
        **{f"PG{name.upper()}": str(admin[name]) for name in ("host", "port", "user", "password")},
        "WRITER_PASSWORD": postgres.passwords["sink_writer"],
        "READER_PASSWORD": postgres.passwords["sink_reader"],
        "SINK_DEAD_LETTER_KEY": base64.b64encode(bytes(32)).decode(),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_TARGET": site,
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # pip reads it as the value of --build-isolation
        "PYTHONPATH": site,
    }


@pytest.fixture(autouse=True)
def unused_names(postgres) -> Iterator[None]:
    """Drop the page's databases before and after: other tests use the same names."""
    drop_databases(postgres)
    yield
    drop_databases(postgres)


def drop_databases(postgres) -> None:
    with psycopg.connect(postgres.dsn("postgres"), autocommit=True) as admin:
        for name in ("north", "south"):
            admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


def test_tutorial_runs_as_written(environment: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    for name, text in console.files(PAGE).items():
        (folder / name).write_text(text)
    console.run(PAGE, folder, environment)
