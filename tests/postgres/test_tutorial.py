"""docs/tutorial.md, as written, against PostgreSQL."""

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
    """What the page asks for, in a Python environment where the plugin is not left behind."""
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
def dropped(postgres) -> Iterator[None]:
    """No database has the names of the page: other tests of the server use them, too."""
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
