"""Preflight compares a mapping with Debezium's properties: table, columns, placeholder, role."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sink_runner.config import Capture
from sink_runner.kafka.capture import read_capture
from sink_runner.model.envelope import DEFAULT_PLACEHOLDER
from sink_runner.model.findings import Finding
from sink_runner.plugin import Table
from sink_runner.preflight.checklist import check_mapping

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[3]
COMMON = """
debezium.source.publication.name=sink_publication
debezium.source.database.user=sink_capture
# a comment=none
"""
IN_SOURCE = "debezium.source.unavailable.value.placeholder=hex:0061\n"
IN_TRANSFORM = "debezium.transforms.names.unavailable.value.placeholder={}\n"
REFERENCE = "${debezium.source.unavailable.value.placeholder}"
NORTH = """
debezium.source.topic.prefix=north
debezium.source.table.include.list=\\
  public.other,\\
  {included}
debezium.source.column.exclude.list={excluded}
"""


@pytest.fixture
def findings(tables, tmp_path):
    """Return a function that checks the mapping against these properties of Debezium."""

    def check(
        included: str = r"{s}\.t",
        excluded: str = "",
        common: str = COMMON,
        placeholder: str = DEFAULT_PLACEHOLDER,
    ) -> Sequence[Finding]:
        lists = {"included": included, "excluded": excluded}
        lists = {name: text.replace("{s}", tables.schema) for name, text in lists.items()}
        (tmp_path / "common.properties").write_text(common)
        (tmp_path / "north.properties").write_text(NORTH.format(**lists))
        capture = Capture(directory=tmp_path, placeholder=placeholder)
        config = replace(tables.config, capture=capture)
        return check_mapping("bench", tables.mapping, config).findings

    tables.create()
    return check


@pytest.fixture
def texts(findings):
    """Return a function like `findings` that returns only the texts."""
    return lambda *args, **more: [one.text for one in findings(*args, **more)]


def test_captured_table_has_no_finding(texts) -> None:
    assert texts() == []


@pytest.mark.parametrize("included", ["{s}.tt", "{s}.", "t"])
def test_table_outside_the_include_list_is_refused(findings, tables, included) -> None:
    """Debezium matches a pattern against the whole name."""
    (found,) = findings(included)
    assert "is not in table.include.list of north.properties" in found.text
    assert f"add {tables.schema}.t to debezium.source.table.include.list" in found.text
    assert found.refused


def test_excluded_column_is_refused(findings) -> None:
    (found,) = findings(excluded=r"{s}\.t\.v")
    assert "column.exclude.list of north.properties leaves out v" in found.text
    assert found.refused


@pytest.mark.parametrize(
    ("lines", "setting", "refused"),
    [
        ("", DEFAULT_PLACEHOLDER, False),
        ("", "hex:0061", True),
        (IN_SOURCE, DEFAULT_PLACEHOLDER, True),
        (IN_SOURCE, "hex:0061", False),
        (IN_SOURCE + IN_TRANSFORM.format("hex:0061"), DEFAULT_PLACEHOLDER, False),
        (IN_SOURCE + IN_TRANSFORM.format(REFERENCE), DEFAULT_PLACEHOLDER, False),
        (IN_SOURCE + IN_TRANSFORM.format("hex:0062"), DEFAULT_PLACEHOLDER, True),
    ],
)
def test_placeholder_unknown_to_runner_is_refused(texts, lines, setting, refused) -> None:
    """A transform that writes the placeholder into the schema makes the setting unnecessary."""
    problems = texts(common=COMMON + lines, placeholder=setting)
    assert [("in [capture] of sink-runner.toml" in one) for one in problems] == [True] * refused


def test_missing_publication_is_reported(texts) -> None:
    (text,) = texts(common=COMMON.replace("sink_publication", "other"))
    assert 'CREATE PUBLICATION "other"' in text


def test_capture_role_without_grant_is_reported(texts, tables) -> None:
    tables.run(tables.source, "REVOKE SELECT ON {s}.t FROM sink_capture")
    tables.run(tables.source, "REVOKE USAGE ON SCHEMA {s} FROM sink_capture")
    usage, select = texts()
    assert f'GRANT USAGE ON SCHEMA "{tables.schema}" TO "sink_capture"' in usage
    assert f'GRANT SELECT ("id", "v") ON "{tables.schema}"."t" TO "sink_capture"' in select


def test_capture_role_without_replication_is_reported(texts) -> None:
    (text, *_) = texts(common=COMMON.replace("sink_capture", "sink_reader"))
    assert 'ALTER ROLE "sink_reader" REPLICATION' in text


def test_missing_properties_folder_is_reported(tables, tmp_path) -> None:
    """This is a warning only: the publications are checked nevertheless."""
    tables.create()
    config = replace(tables.config, capture=Capture(directory=tmp_path / "missing"))
    (found,) = check_mapping("bench", tables.mapping, config).findings
    assert "setting capture.directory" in found.text
    assert "topic.prefix=north" in found.text
    assert not found.refused


def test_repository_properties_capture_only_listed_tables() -> None:
    found = read_capture(ROOT / "debezium-config", "smart_citizen")
    assert found is not None
    assert (found.publication, found.user) == ("sink_publication", "sink_capture")
    assert (found.placeholder, found.stated) == (None, "hex:00756e617661696c61626c65")
    assert found.captures(Table.parse("smart_citizen.public.citizens"))
    assert not found.captures(Table.parse("smart_citizen.public.schemes"))
    assert found.leaves_out(Table.parse("smart_citizen.public.citizens"), "address_line1")
