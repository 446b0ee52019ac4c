"""Builds a next version of the program, with one more migration, in a folder for PYTHONPATH."""

import shutil
from importlib.metadata import distribution
from pathlib import Path

import psycopg

from sink_runner.postgres.migrations import migrations

from .runner_process import ROOT

VERSION = "1.999"
NUMBER = migrations()[-1].number + 1
_MIGRATION = """
ALTER TABLE sink.row_version ADD COLUMN tenant text NOT NULL DEFAULT 'state';
ALTER TABLE sink.audit_log ADD COLUMN tenant text NOT NULL DEFAULT 'state';
CREATE INDEX row_version_tenant ON sink.row_version (tenant);
"""
_UNDO = f"""
ALTER TABLE sink.row_version DROP COLUMN IF EXISTS tenant;
ALTER TABLE sink.audit_log DROP COLUMN IF EXISTS tenant;
DELETE FROM sink.migration WHERE number = {NUMBER};
"""


def make(folder: Path) -> None:
    """Copy the package and its metadata into `folder`, and add the migration."""
    shutil.copytree(ROOT / "sink_runner", folder / "sink_runner")
    name = f"{NUMBER:04}_tenant.sql"
    migration = folder / "sink_runner" / "postgres" / "migrations" / name
    migration.write_text(_MIGRATION, encoding="utf-8")
    info = folder / f"sink_runner-{VERSION}.dist-info"
    info.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: sink-runner\nVersion: {VERSION}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = distribution("sink-runner").read_text("entry_points.txt")
    (info / "entry_points.txt").write_text(points or "", encoding="utf-8")


def undo(connection: psycopg.Connection) -> None:
    """Revert the migration for the following tests; the product has no downgrade."""
    connection.execute(_UNDO.encode())
