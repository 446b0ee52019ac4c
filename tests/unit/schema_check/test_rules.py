"""The effect of a changed source table on a mapping."""

from dataclasses import replace

import pytest

from sink_runner.model.envelope import ColumnType, Kind
from sink_runner.plugin import Column, Derived, Query, Rule, first_of
from sink_runner.schema_check.contract import Contract
from sink_runner.schema_check.schema_findings import Change, Severity
from sink_runner.schema_check.shape import ColumnShape, row_of
from sink_runner.schema_check.type_changes import change_of

from .tables import COLUMNS, PLANNED, envelope, policies, row, rules


def only(findings):
    (finding,) = findings
    return finding


def changes(found):
    return {(finding.column, finding.change, finding.severity) for finding in found}


def test_unchanged_table_has_no_findings():
    assert rules().check(row(**COLUMNS), PLANNED) == []


def test_registry_without_lengths_gives_same_result():
    assert rules().check(row(with_types=False, **COLUMNS), PLANNED) == []


class TestAdded:
    def test_new_column_passes(self):
        found = only(rules().check(row(**COLUMNS, grade="integer"), PLANNED))
        assert (found.change, found.severity) == (Change.ADDED, Severity.OK)

    def test_new_required_column_is_accepted(self):
        """The registry's level BACKWARD refuses it, but a column that is not read is harmless."""
        found = only(rules().check(row(with_types=False, **COLUMNS, grade="integer!"), PLANNED))
        assert found.severity is Severity.OK

    def test_column_that_looks_personal_is_refused(self):
        found = rules().check(row(**COLUMNS, mobile_no="character varying(10)"), PLANNED)
        assert ("mobile_no", Change.PERSONAL, Severity.REFUSED) in changes(found)
        (text,) = [finding.text for finding in found if finding.change is Change.PERSONAL]
        assert "mobile_no (character varying(10))" in text
        assert "classification.json" in text

    def test_personal_column_is_warning_without_strict(self):
        found = rules(strict=False).check(row(**COLUMNS, mobile_no="text"), PLANNED)
        assert ("mobile_no", Change.PERSONAL, Severity.WARNING) in changes(found)

    @pytest.mark.parametrize(
        "known", [policies("mobile_no"), policies(not_personal=("mobile_no",))]
    )
    def test_classified_column_passes(self, known):
        found = rules(known=known).check(row(**COLUMNS, mobile_no="text"), PLANNED)
        assert only(found).change is Change.ADDED

    def test_personal_column_is_refused_at_first_start(self):
        found = rules().check(row(**COLUMNS, mobile_no="text"), None)
        assert only(found).change is Change.PERSONAL


class TestRemoved:
    def test_removed_column_of_mapping_is_refused(self):
        found = only(rules().check(row(id="integer!", amount="bigint"), PLANNED, "schema 57"))
        assert (found.column, found.change, found.severity) == (
            "title",
            Change.REMOVED,
            Severity.REFUSED,
        )
        assert "title (character varying(20)) of north.public.t is gone" in found.text
        assert "schema 57" in found.text
        assert "sink-runner schema accept one" in found.text

    def test_advice_names_id_of_schema(self):
        current = replace(row(id="integer!", amount="bigint"), schema_id=57)
        assert "accept one --id 57" in only(rules().check(current, PLANNED)).text

    def test_removed_column_of_rule_or_hook_is_refused(self):
        columns = (Column("id"),)
        rule = Rule("r", lambda _: True, reads=("title",))
        now = row(id="integer!")
        for declared in (
            {"extra_columns": ("title", "amount")},
            {"rules": (rule,), "extra_columns": ("amount",)},
        ):
            found = rules(columns=columns, **declared).check(now, PLANNED)
            assert {finding.column for finding in found} == {"title", "amount"}

    def test_removed_column_outside_the_mapping_passes(self):
        past = Contract(row=row(**COLUMNS, grade="integer"))
        assert rules().check(row(**COLUMNS), past) == []

    def test_accepted_removal_is_only_warned(self):
        past = replace(PLANNED, missing=frozenset({"title"}))
        found = only(rules().check(row(id="integer!", amount="bigint"), past))
        assert found.severity is Severity.WARNING

    def test_columns_of_query_are_not_checked(self):
        declared = {"query": Query(select="SELECT 1 AS id"), "streaming": False}
        assert rules(**declared).check(row(key=(), day="date!"), None) == []


class TestRenamed:
    def test_renamed_column_in_same_position_is_refused(self):
        now = row(id="integer!", label="character varying(20)", amount="bigint")
        found = rules().check(now, PLANNED)
        assert changes(found) == {("title", Change.RENAMED, Severity.REFUSED)}
        assert "probably renamed to label" in only(found).text

    @pytest.mark.parametrize(
        "columns",
        [
            {"id": "integer!", "amount": "bigint", "label": "character varying(20)"},
            {"id": "integer!", "label": "date", "amount": "bigint"},
        ],
        ids=["another position", "another type"],
    )
    def test_column_in_another_position_is_not_renamed(self, columns):
        found = rules().check(row(**columns), PLANNED)
        assert ("title", Change.REMOVED, Severity.REFUSED) in changes(found)


TYPES = [
    ("bigint", "integer", Change.NARROWED),
    ("integer", "smallint", Change.NARROWED),
    ("integer", "bigint", Change.WIDENED),
    ("double precision", "real", Change.NARROWED),
    ("double precision", "integer", Change.NARROWED),
    ("numeric(12,2)", "numeric(8,2)", Change.NARROWED),
    ("numeric(12,4)", "numeric(12,2)", Change.NARROWED),
    ("numeric(12,2)", "numeric(12,4)", Change.NARROWED),
    ("numeric(12,2)", "numeric(14,2)", Change.WIDENED),
    ("numeric", "numeric(14,2)", Change.NARROWED),
    ("character varying(20)", "character varying(10)", Change.NARROWED),
    ("character varying(20)", "text", Change.WIDENED),
    ("text", "character varying(500)", Change.NARROWED),
    ("bigint", "text", Change.TYPE),
    ("text", "bigint", Change.TYPE),
    ("text", "bytea", Change.MEANING),
    ("text", "numeric", Change.MEANING),
    ("integer", "numeric", Change.TYPE),
    ("boolean", "integer", Change.TYPE),
    ("integer", "double precision", Change.TYPE),
    ("integer", "integer[]", Change.TYPE),
    ("text[]", "integer", Change.TYPE),
    ("text", "uuid", Change.MEANING),
    ("timestamp without time zone", "timestamp with time zone", Change.MEANING),
    ("date", "timestamp without time zone", Change.MEANING),
    ("jsonb", "text", Change.MEANING),
]


class TestType:
    @pytest.mark.parametrize(("before", "after", "change"), TYPES)
    def test_change_of_type_is_classified(self, before, after, change):
        past = Contract(row=row(**COLUMNS | {"amount": before}))
        found = only(rules().check(row(**COLUMNS | {"amount": after}), past))
        assert (found.column, found.change) == ("amount", change)
        harmless = change is Change.WIDENED
        assert found.severity is (Severity.OK if harmless else Severity.REFUSED)
        assert f"{before} -> {after}" in found.text

    @pytest.mark.parametrize(("before", "after", "change"), TYPES)
    def test_changed_column_outside_mapping_passes(self, before, after, change):
        past = Contract(row=row(**COLUMNS, other=before))
        assert rules().check(row(**COLUMNS, other=after), past) == []

    def test_enum_captured_as_text_is_unchanged(self):
        enum = ColumnShape("mood", "string", ColumnType(Kind.ENUM), "mood")
        text = ColumnShape("mood", "string", ColumnType(Kind.STRING))
        assert change_of(enum, text) is Change.NONE
        assert change_of(enum, replace(text, source_type="text")) is Change.MEANING

    def test_json_and_jsonb_are_equal(self):
        past = Contract(row=row(**COLUMNS | {"amount": "json"}))
        assert rules().check(row(**COLUMNS | {"amount": "jsonb"}), past) == []

    def test_required_column_that_becomes_nullable_is_reported(self):
        found = only(rules().check(row(**COLUMNS | {"id": "integer"}), PLANNED))
        assert (found.change, found.severity) == (Change.NULLABLE, Severity.WARNING)
        past = Contract(row=row(**COLUMNS | {"title": "text!"}))
        now = row(**COLUMNS | {"title": "text"})
        assert rules().check(now, past) == []

    def test_unsupported_type_is_refused(self):
        now = row(**COLUMNS)
        unsupported = {"type": "bytes", "connect.name": "org.apache.kafka.connect.data.Decimal"}
        raw = [{"name": name, "type": column.avro} for name, column in now.columns.items()]
        raw[2]["type"] = ["null", unsupported]
        found = rules().check(row_of({"type": "record", "name": "Value", "fields": raw}), None)
        assert only(found).change is Change.FORM

    @pytest.mark.parametrize("items", ["int", ["null", "string"]])
    def test_avro_array_is_refused_as_lossy(self, items):
        """Debezium's arrays lack lower bounds, and have NULL for inner arrays."""
        now = row(**COLUMNS)
        raw = [{"name": name, "type": column.avro} for name, column in now.columns.items()]
        raw[2]["type"] = ["null", {"type": "array", "items": items}]
        found = only(
            rules().check(row_of({"type": "record", "name": "Value", "fields": raw}), None)
        )
        assert (found.change, found.severity) == (Change.FORM, Severity.REFUSED)
        assert f"column {raw[2]['name']} " in found.text
        assert "io.sinkrunner.debezium.PostgresText" in found.text


class TestKey:
    def test_other_primary_key_is_refused(self):
        found = only(rules().check(row(key=("id", "amount"), **COLUMNS), PLANNED))
        assert (found.change, found.severity) == (Change.KEY, Severity.REFUSED)
        assert "was (id) and is (id, amount)" in found.text

    def test_order_of_key_columns_does_not_matter(self):
        past = Contract(row=row(key=("amount", "id"), **COLUMNS))
        assert rules().check(row(key=("id", "amount"), **COLUMNS), past) == []


class TestTarget:
    TARGET = row(id="integer!", name="character varying(10)", amount="integer").columns

    def test_narrower_column_is_warned(self):
        found = rules(target=self.TARGET).check(row(**COLUMNS), None)
        assert changes(found) == {
            ("title", Change.TARGET, Severity.WARNING),
            ("amount", Change.TARGET, Severity.WARNING),
        }

    @pytest.mark.parametrize(
        "column",
        [Column("name", "title", max_length=10), Column("name", "title", convert=str.upper)],
    )
    def test_converted_column_is_not_warned(self, column):
        found = rules(target=self.TARGET, columns=(Column("id"), column)).check(
            row(**COLUMNS), None
        )
        assert found == []

    def test_each_source_of_column_is_compared(self):
        columns = (Column("id"), Column("name", first_of("title", "id")))
        found = rules(target=self.TARGET, columns=columns).check(row(**COLUMNS), None)
        assert {finding.column for finding in found} == {"title"}

    def test_derived_target_is_not_compared(self):
        candidates = Derived(key=("id",), group=("id",), select="")
        found = rules(target=self.TARGET, derived=candidates).check(row(**COLUMNS), None)
        assert found == []


def test_row_is_read_from_envelope():
    shape = row_of(envelope(**COLUMNS), schema_id=7)
    assert shape is not None
    assert ([*shape.columns], shape.schema_id) == ([*COLUMNS], 7)
    assert row_of({"type": "record", "name": "Heartbeat", "fields": []}) is None
