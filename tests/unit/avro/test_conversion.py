"""Values in Debezium's notation, converted to PostgreSQL's text and to Python's types."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from sink_runner.avro.conversion import to_postgres, to_python
from sink_runner.errors import DecodeError
from sink_runner.model.envelope import DEFAULT_PLACEHOLDER, ColumnType, Kind, Placeholder, RowSchema
from sink_runner.plugin import ABSENT
from sink_runner.postgres.declared_types import declared_type

SPELLINGS = [
    (Kind.DATE, "date", "2024-02-29Z", "2024-02-29"),
    (Kind.DATE, "date", "0001-01-01Z", "0001-01-01"),
    (Kind.DATE, "date", "-0043-03-15Z", "0044-03-15 BC"),
    (Kind.DATE, "date", "0000-12-31Z", "0001-12-31 BC"),
    (Kind.DATE, "date", "-4712-01-01Z", "4713-01-01 BC"),
    (Kind.DATE, "date", "+12024-01-01Z", "12024-01-01"),
    (Kind.DATE, "date", "-5877611-06-21Z", "infinity"),
    (Kind.DATE, "date", "infinity", "infinity"),
    (Kind.TIMESTAMP, "timestamp", "2024-02-29T12:34:56.123456Z", "2024-02-29 12:34:56.123456"),
    (Kind.TIMESTAMP, "timestamp", "2024-02-29T00:00:00Z", "2024-02-29 00:00:00"),
    (Kind.TIMESTAMP, "timestamp", "-0043-03-15T00:00:00Z", "0044-03-15 00:00:00 BC"),
    (Kind.TIMESTAMP, "timestamp", "+12024-01-01T01:02:03.5Z", "12024-01-01 01:02:03.5"),
    (Kind.TIMESTAMP, "timestamp", "+294247-01-10T04:00:25.2Z", "infinity"),
    (Kind.TIMESTAMP, "timestamp", "294247-01-10T04:00:25.2Z", "294247-01-10 04:00:25.2"),
    (Kind.TIMESTAMP, "timestamp", "-290308-12-21T19:59:27.6Z", "-infinity"),
    (
        Kind.TIMESTAMP_TZ,
        "timestamptz",
        "2024-02-29T07:04:56.123456Z",
        "2024-02-29 07:04:56.123456+00",
    ),
    (Kind.TIMESTAMP_TZ, "timestamptz", "-0043-03-15T00:00:00.000000Z", "0044-03-15 00:00:00+00 BC"),
    (Kind.TIMESTAMP_TZ, "timestamptz", "infinity", "infinity"),
    (Kind.TIMESTAMP_TZ, "timestamptz", "-infinity", "-infinity"),
    (Kind.TIME, "time", "12:34:56.123456Z", "12:34:56.123456"),
    (Kind.TIME_TZ, "timetz", "12:34:56Z", "12:34:56+00"),
    (Kind.INTERVAL, "interval", "P1Y0M2DT3H4M5S", "1 year 2 days 03:04:05"),
    (Kind.STRING, "numeric", "0.0000000001", "0.0000000001"),
    (Kind.STRING, "numeric", "NAN", "NaN"),
    (Kind.STRING, "numeric", "POSITIVE_INFINITY", "Infinity"),
    (Kind.STRING, "numeric", "NEGATIVE_INFINITY", "-Infinity"),
    (Kind.STRING, "numeric(12,2)", "NAN", "NaN"),
    (Kind.STRING, "text", "NAN", "NAN"),
    (Kind.STRING, "bytea", "AP8=", "\\x00ff"),
    (
        Kind.UUID,
        "uuid",
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    ),
    (Kind.JSON, "jsonb", '{"a": 1}', '{"a": 1}'),
]


@pytest.mark.parametrize(
    ("kind", "type_", "value", "converted"),
    [
        (Kind.DATE, "date", "2024-02-29Z", "2024-02-29Z"),
        (Kind.DATE, "date", "-0043-03-15Z", "0044-03-15Z BC"),
        (Kind.DATE, "date", "-5877611-06-21Z", "infinity"),
        (Kind.TIMESTAMP, "timestamp", "+12024-01-01T01:02:03.5Z", "12024-01-01T01:02:03.5Z"),
        (Kind.TIMESTAMP, "timestamp", "-290308-12-21T19:59:27.6Z", "-infinity"),
        (Kind.STRING, "numeric(12,2)", "NEGATIVE_INFINITY", "-Infinity"),
        (Kind.STRING, "bytea", "AP8=", "\\x00ff"),
    ],
)
def test_notation_that_postgresql_refuses_is_converted(kind, type_, value, converted):
    assert to_postgres(kind, declared_type(type_))(value) == converted


@pytest.mark.parametrize(
    "kind", [Kind.STRING, Kind.UUID, Kind.JSON, Kind.TIME, Kind.INTERVAL, Kind.LONG, Kind.BYTES]
)
def test_common_notation_needs_no_converter(kind):
    assert to_postgres(kind, declared_type("text")) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        # Debezium writes this for infinity and for -infinity.
        (Kind.DATE, "-5877611-06-22Z"),
        (Kind.DATE, "+5881580-07-11Z"),
        (Kind.DATE, "yesterday"),
        (Kind.DATE, ""),
        (Kind.TIMESTAMP, "+292278994-08-17T07:00:00Z"),
        (Kind.TIMESTAMP, "+2024-02"),
        (Kind.TIMESTAMP_TZ, "now"),
        (Kind.OPAQUE, 19000),
        (Kind.BASE64, "no base64!"),
    ],
)
def test_ambiguous_value_is_refused_without_quoting(kind, value):
    for convert in (to_postgres(kind), to_python(kind)):
        with pytest.raises(DecodeError) as caught:
            convert(value)
        assert not value or str(value) not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (Kind.DATE, "2024-02-29Z", date(2024, 2, 29)),
        (Kind.DATE, "2024-02-29", date(2024, 2, 29)),
        (Kind.DATE, "-5877611-06-21Z", date.max),
        (Kind.TIMESTAMP, "2024-02-29T12:00:00.5Z", datetime(2024, 2, 29, 12, 0, 0, 500000)),  # noqa: DTZ001
        (Kind.TIMESTAMP, "+294247-01-10T04:00:25.2Z", datetime.max),  # noqa: DTZ901
        (Kind.TIMESTAMP, "-290308-12-21T19:59:27.6Z", datetime.min),  # noqa: DTZ901
        (
            Kind.TIMESTAMP_TZ,
            "2024-02-29T10:00:00.500000Z",
            datetime(2024, 2, 29, 10, 0, 0, 500000, UTC),
        ),
        (
            Kind.TIMESTAMP_TZ,
            "2024-02-29T10:00:00+02:00",
            datetime(2024, 2, 29, 10, tzinfo=timezone(timedelta(hours=2))),
        ),
        (Kind.TIMESTAMP_TZ, "infinity", datetime.max.replace(tzinfo=UTC)),
        (Kind.TIMESTAMP_TZ, "-infinity", datetime.min.replace(tzinfo=UTC)),
        (Kind.TIME, "01:02:03.000004Z", time(1, 2, 3, 4)),
        (Kind.TIME_TZ, "01:02:03+02:00", time(1, 2, 3, tzinfo=timezone(timedelta(hours=2)))),
        (Kind.DECIMAL, "12.50", Decimal("12.50")),
        (Kind.DECIMAL, "POSITIVE_INFINITY", Decimal("Infinity")),
        (Kind.DECIMAL, "NEGATIVE_INFINITY", Decimal("-Infinity")),
        (Kind.BASE64, "AP8=", b"\x00\xff"),
    ],
)
def test_value_is_converted_to_python_type(kind, value, expected):
    converted = to_python(kind)(value)
    assert converted == expected
    assert isinstance(converted, type(expected))
    assert getattr(converted, "tzinfo", None) == getattr(expected, "tzinfo", None)


def test_numeric_nan_stays_nan_in_python():
    assert to_python(Kind.STRING, declared_type("numeric(5,2)"))("NAN").is_nan()


@pytest.mark.parametrize("kind", [Kind.STRING, Kind.UUID, Kind.JSON, Kind.INTERVAL, Kind.INT])
def test_native_python_value_needs_no_converter(kind):
    assert to_python(kind, declared_type("text")) is None


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.DATE, "-0043-03-15Z"),
        (Kind.DATE, "+12024-01-01Z"),
        (Kind.TIMESTAMP, "-0043-03-15T00:00:00Z"),
        (Kind.TIMESTAMP_TZ, "+12024-01-01T00:00:00Z"),
        (Kind.TIME, "24:00:00Z"),
        (Kind.DECIMAL, "twelve"),
    ],
)
def test_value_out_of_range_in_python_is_error(kind, value):
    with pytest.raises(DecodeError):
        to_python(kind)(value)


def test_only_placeholder_in_row_is_replaced():
    text = DEFAULT_PLACEHOLDER
    placeholder = Placeholder.of_debezium(text)
    row = (1, text, None, [text, "x"], b"raw", {}, [], True, f"{text} ")
    expected = (1, ABSENT, *row[2:])
    assert placeholder.without(row, (True,) * len(row)) == expected
    assert placeholder.without(row, (False,) * len(row)) is row
    assert placeholder.without(None, ()) is None


def test_hexadecimal_placeholder_is_its_bytes():
    assert Placeholder.of_debezium("hex:00616263").marks == (b"\0abc", b"AGFiYw==")
    assert Placeholder.of_text("hex:00616263").forms == ("\0abc",)
    with pytest.raises(ValueError, match="expected hexadecimal digits after 'hex:'"):
        Placeholder.of_text("hex:0g")


def test_row_schema_lists_missing_columns():
    text = ColumnType(Kind.STRING)
    schema = RowSchema({"a": text, "b": text})
    assert schema.names == ("a", "b")
    assert schema.missing(("b", "c")) == ("c",)
