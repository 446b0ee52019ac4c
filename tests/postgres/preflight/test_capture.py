"""What Debezium's properties leave out is told before a mapping starts."""

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
def findings(bench, tmp_path):
    """Give what is found of the bench where Debezium has these properties."""

    def look(
        included: str = r"{s}\.t",
        excluded: str = "",
        common: str = COMMON,
        placeholder: str = DEFAULT_PLACEHOLDER,
    ) -> Sequence[Finding]:
        lists = {"included": included, "excluded": excluded}
        lists = {name: text.replace("{s}", bench.schema) for name, text in lists.items()}
        (tmp_path / "common.properties").write_text(common)
        (tmp_path / "north.properties").write_text(NORTH.format(**lists))
        capture = Capture(directory=tmp_path, placeholder=placeholder)
        config = replace(bench.config, capture=capture)
        return check_mapping("bench", bench.mapping, config).findings

    bench.tables()
    return look


@pytest.fixture
def told(findings):
    """The same as texts."""
    return lambda *args, **more: [one.text for one in findings(*args, **more)]


def test_captured_table_is_sound(told) -> None:
    assert told() == []


@pytest.mark.parametrize("included", ["{s}.tt", "{s}.", "t"])
def test_table_outside_the_include_list_is_refused(findings, bench, included) -> None:
    """Debezium compares a pattern with the whole name."""
    (found,) = findings(included)
    assert "is not in table.include.list of north.properties" in found.text
    assert f"add {bench.schema}.t to debezium.source.table.include.list" in found.text
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
def test_placeholder_that_runner_does_not_know_is_refused(told, lines, setting, refused) -> None:
    """A transform that writes the placeholder into the schema makes the setting unnecessary."""
    texts = told(common=COMMON + lines, placeholder=setting)
    assert [("in [capture] of sink-runner.toml" in one) for one in texts] == [True] * refused


def test_another_publication_is_asked_for(told) -> None:
    (text,) = told(common=COMMON.replace("sink_publication", "other"))
    assert 'CREATE PUBLICATION "other"' in text


def test_capture_role_without_a_grant_is_told(told, bench) -> None:
    bench.run(bench.source, "REVOKE SELECT ON {s}.t FROM sink_capture")
    bench.run(bench.source, "REVOKE USAGE ON SCHEMA {s} FROM sink_capture")
    usage, select = told()
    assert f'GRANT USAGE ON SCHEMA "{bench.schema}" TO "sink_capture"' in usage
    assert f'GRANT SELECT ("id", "v") ON "{bench.schema}"."t" TO "sink_capture"' in select


def test_capture_role_that_may_not_replicate_is_told(told) -> None:
    (text, *_) = told(common=COMMON.replace("sink_capture", "sink_reader"))
    assert 'ALTER ROLE "sink_reader" REPLICATION' in text


def test_folder_without_properties_is_told(bench, tmp_path) -> None:
    """It keeps no mapping from starting: the publications are checked all the same."""
    bench.tables()
    config = replace(bench.config, capture=Capture(directory=tmp_path / "nowhere"))
    (found,) = check_mapping("bench", bench.mapping, config).findings
    assert "setting capture.directory" in found.text
    assert "topic.prefix=north" in found.text
    assert not found.refused


def test_properties_of_the_repository_capture_the_twelve_sources() -> None:
    found = read_capture(ROOT / "debezium-config", "smart_citizen")
    assert found is not None
    assert (found.publication, found.user) == ("sink_publication", "sink_capture")
    assert (found.placeholder, found.stated) == (None, "hex:00756e617661696c61626c65")
    assert found.captures(Table.parse("smart_citizen.public.citizens"))
    assert not found.captures(Table.parse("smart_citizen.public.schemes"))
    assert found.leaves_out(Table.parse("smart_citizen.public.citizens"), "address_line1")
