"""What Debezium's properties leave out is told before a mapping starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from sink_runner.config import Capture
from sink_runner.kafka.capture import read_capture
from sink_runner.plugin import Table
from sink_runner.postgres.preflight import check_mapping

pytestmark = pytest.mark.postgres
ROOT = Path(__file__).parents[2]
COMMON = """
debezium.source.publication.name=sink_publication
debezium.source.database.user=sink_capture
# a comment=none
"""
NORTH = """
debezium.source.topic.prefix=north
debezium.source.table.include.list=\\
  public.other,\\
  {included}
debezium.source.column.exclude.list={excluded}
"""


@pytest.fixture
def told(bench, tmp_path):
    """Give what is found of the bench where Debezium has these properties."""

    def look(included: str = r"{s}\.t", excluded: str = "", common: str = COMMON) -> list[str]:
        lists = {"included": included, "excluded": excluded}
        lists = {name: text.replace("{s}", bench.schema) for name, text in lists.items()}
        (tmp_path / "common.properties").write_text(common)
        (tmp_path / "north.properties").write_text(NORTH.format(**lists))
        config = replace(bench.config, capture=Capture(directory=tmp_path))
        return [one.text for one in check_mapping("bench", bench.mapping, config).findings]

    bench.tables()
    return look


def test_captured_table_is_sound(told) -> None:
    assert told() == []


@pytest.mark.parametrize("included", ["{s}.tt", "{s}.", "t"])
def test_table_outside_the_include_list_is_told(told, bench, included) -> None:
    """Debezium compares a pattern with the whole name."""
    (text,) = told(included)
    assert "is not in table.include.list of north.properties" in text
    assert f"add {bench.schema}.t to debezium.source.table.include.list" in text


def test_excluded_column_is_told(told) -> None:
    (text,) = told(excluded=r"{s}\.t\.v")
    assert "column.exclude.list of north.properties leaves out v" in text


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
    assert found.captures(Table.parse("smart_citizen.public.citizens"))
    assert not found.captures(Table.parse("smart_citizen.public.schemes"))
    assert found.leaves_out(Table.parse("smart_citizen.public.citizens"), "address_line1")
