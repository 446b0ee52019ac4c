"""PostgreSQL's types with values of each, from which the matrices of stream and batch are made.

`TYPES` holds every base, range and multirange type of `pg_catalog` that a table can have, the
types of common extensions, types with a modifier, and types that a user makes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TypeValues:
    """A type and its values."""

    name: str
    """Of a table, a domain or a test; unique."""
    sql: str
    """The type as DDL has it."""
    literals: tuple[str, ...]
    """Ordinary and special values, as text that the type's input function takes."""
    respelled: tuple[tuple[str, str], ...] = ()
    """Pairs that are equal under the type's operator, or that no operator of the type can tell
    apart, and that are nevertheless stored as different values."""
    extension: str | None = None
    setup: str | None = None
    """The statement that creates the type, in the current schema."""
    delimiter: str = ","

    def all_literals(self) -> tuple[str, ...]:
        """Every literal once, those of the pairs included."""
        pairs = [literal for pair in self.respelled for literal in pair]
        return tuple(dict.fromkeys((*self.literals, *pairs)))


def _of(
    sql: str, *literals: str, name: str = "", equal: tuple[tuple[str, str], ...] = (), **more: str
) -> TypeValues:
    return TypeValues(name=name or sql, sql=sql, literals=literals, respelled=equal, **more)


_TEXTS = (
    "plain",
    "",
    " ",
    "NULL",
    "\\N",
    "quote \" and ' and \\ and , and {braces}",
    "tab\tand\nnewline\rand\x01",
    "नमस्ते 🙏",
    "__debezium_unavailable_value",
)
_DATES = ("2024-02-29", "0001-01-01", "9999-12-31", "10000-01-01", "0044-03-15 BC")
_MOMENTS = tuple(
    f"{day} 12:30:45.123456{era}"
    for day, era in (("2024-02-29", ""), ("10000-01-01", ""), ("0044-03-15", " BC"))
)

NUMBERS = (
    _of("int2", "0", "1", "-32768", "32767"),
    _of("int4", "0", "1", "-2147483648", "2147483647"),
    _of("int8", "0", "1", "-9223372036854775808", "9223372036854775807"),
    _of(
        "numeric",
        "0",
        "1.5",
        "NaN",
        "Infinity",
        "-Infinity",
        "-0.000000000000000000000000001",
        "123456789012345678901234567890.123456789",
        equal=(("1.5", "1.50"), ("100", "100.000")),
    ),
    _of("numeric(10,2)", "0", "1.50", "-99999999.99", "NaN", name="numeric_10_2"),
    _of("numeric(3,-2)", "0", "99900", name="numeric_3_m2"),
    _of(
        "float4",
        "0.1",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e-45",
        "3.4028235e+38",
        equal=(("0", "-0"),),
    ),
    _of(
        "float8",
        "0.1",
        "NaN",
        "Infinity",
        "-Infinity",
        "5e-324",
        "1.7976931348623157e+308",
        equal=(("0", "-0"),),
    ),
    _of("money", "$0.00", "$1.50", "-$92,233,720,368,547,758.08", "$92,233,720,368,547,758.07"),
    _of("oid", "0", "1", "4294967295"),
)
TEXTS = (
    _of("text", *_TEXTS),
    _of("varchar", *_TEXTS),
    _of("varchar(60)", *_TEXTS, name="varchar_60"),
    _of("bpchar", "a", "", "é", equal=(("a", "a  "),)),
    _of("char(5)", "a", "", "abcde", "éèêëē", name="char_5"),
    _of("name", "plain", "", 'with "quotes"'),
    _of('"char"', "a", "", "\\377", name="char_1"),
)
BINARY = (
    _of("bytea", "\\x", "\\x00ff", "\\x5c4e", "\\x" + "41" * 90, "\\x5f5f64"),
    _of("bool", "t", "f"),
    _of("bit", "0", "1"),
    _of("bit(5)", "10110", "00000", name="bit_5"),
    _of("bit(11)", "10110011101", "00000000001", name="bit_11"),
    _of("varbit", "", "1", "0", "10110011101", "0000000000000000", name="varbit"),
    _of("varbit(12)", "", "1", "101100111010", name="varbit_12"),
    _of("uuid", "00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
)
TIMES = (
    _of("date", *_DATES, "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"),
    _of("time", "00:00:00", "24:00:00", "23:59:59.999999", "12:30:00.5"),
    _of("time(0)", "00:00:00", "24:00:00", "23:59:59", name="time_0"),
    _of(
        "timetz",
        "00:00:00+00",
        "24:00:00+00",
        "12:30:45.123456+05:30",
        "12:30:00-08",
        "23:59:59.999999-15:59:59",
    ),
    _of(
        "timestamp",
        *_MOMENTS,
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
        "294247-01-10 04:00:25.2",
    ),
    _of("timestamp(0)", "2024-02-29 12:30:45", "infinity", name="timestamp_0"),
    _of(
        "timestamptz",
        *(f"{moment}" for moment in _MOMENTS),
        "2024-02-29 12:30:45+05:30",
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00",
        "294247-01-10 04:00:25.2+00",
    ),
    _of("timestamptz(3)", "2024-02-29 12:30:45.123+05:30", name="timestamptz_3"),
    _of(
        "interval",
        "1 year 2 mons 3 days 04:05:06.789",
        "-1 year -2 mons +3 days -04:05:06.789",
        "00:00:00",
        "178000000 years",
        "-178000000 years",
        "2562047788:00:54.775807",
        equal=(("1 mon", "30 days"), ("1 day", "24:00:00")),
    ),
    _of("interval(3)", "1 day 00:00:00.123", name="interval_3"),
    _of("interval year to month", "1 year 2 mons", name="interval_ym"),
)
DOCUMENTS = (
    _of(
        "json",
        "{}",
        "null",
        '"text"',
        '{"a": "\\u0000"}',
        "1E400000",
        '{"a":1,"a":2}',
        '["x", 1.50, null]',
        equal=(('{"a":1}', '{"a": 1}'), ("1.0", "1.00")),
    ),
    _of("jsonb", "{}", "null", '"text"', '{"a": {"b": [1, null]}}', equal=(("1.5", "1.50"),)),
    _of("xml", "<a/>", "<a b='1'>text &amp; more</a>", "just text", equal=(("<b/>", "<b></b>"),)),
    _of("jsonpath", "$", '$."a"[*]?(@ > 1)'),
    _of("tsvector", "", "'a':1A 'b':2", "'quote''d' 'x'"),
    _of("tsquery", "", "'a' & 'b':*AB", "'a' <-> ( 'b' | !'c' )"),
)
GEOMETRY = (
    _of("point", "(0,0)", "(1.5,-2)", "(Infinity,NaN)", equal=(("(1,1)", "(1,1.0000001)"),)),
    _of("line", "{1,-1,0}", "{0,1,2.5}"),
    _of("lseg", "[(0,0),(1,1)]", equal=(("[(0,0),(2,2)]", "[(0,0),(2,2.0000001)]"),)),
    _of("box", "(1,1),(0,0)", delimiter=";", equal=(("(2,2),(0,0)", "(4,1),(0,0)"),)),
    _of(
        "path", "((0,0),(1,1),(2,0))", "[(0,0),(1,1)]", equal=(("[(0,0),(1,1)]", "[(5,5),(6,6)]"),)
    ),
    _of("polygon", "((0,0),(1,1),(2,0))", equal=(("((0,0),(1,1))", "((1,1),(0,0))"),)),
    _of("circle", "<(0,0),1>", equal=(("<(0,0),2>", "<(3,3),2>"),)),
)
NETWORK = (
    _of("inet", "192.168.0.1", "192.168.0.1/24", "::1", "2001:db8::/32"),
    _of("cidr", "192.168.0.0/24", "10.1.2.3/32", "2001:db8::/32"),
    _of("macaddr", "08:00:2b:01:02:03"),
    _of("macaddr8", "08:00:2b:01:02:03:04:05"),
)
RANGES = (
    _of("int4range", "empty", "[1,5)", "(,5)", "(,)"),
    _of("int8range", "empty", "[1,5)", "[1,)"),
    _of("numrange", "empty", "[1.5,NaN]", "(,)", equal=(("[1.5,2]", "[1.50,2.0]"),)),
    _of("daterange", "empty", "[2024-02-29,infinity)", '["0044-03-15 BC",2024-01-01)'),
    _of("tsrange", "empty", '["2024-02-29 00:00:00",infinity)', "(,)"),
    _of("tstzrange", "empty", '["2024-02-29 00:00:00+05:30","2024-03-01 00:00:00+00")'),
    _of("int4multirange", "{}", "{[1,5),[7,9)}"),
    _of("int8multirange", "{}", "{[1,5),[7,)}"),
    _of("nummultirange", "{}", "{[1.5,2],(7,)}", equal=(("{[1.5,2]}", "{[1.50,2.0]}"),)),
    _of("datemultirange", "{}", "{[2024-02-29,2024-03-02),[2025-01-01,infinity)}"),
    _of("tsmultirange", "{}", '{["2024-02-29 00:00:00","2024-03-01 00:00:00"]}'),
    _of("tstzmultirange", "{}", '{["2024-02-29 00:00:00+00","2024-03-01 00:00:00+00"]}'),
)
SYSTEM = (
    _of("pg_lsn", "0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"),
    _of("pg_snapshot", "10:20:10,14,15", "1:1:"),
    _of("txid_snapshot", "10:20:10,14,15", "1:1:"),
    _of("xid", "0", "4294967295"),
    _of("xid8", "0", "18446744073709551615"),
    _of("cid", "0", "4294967295"),
    _of("tid", "(0,0)", "(4294967295,65535)"),
    _of("aclitem", "postgres=arwdDxt/postgres", "=r/postgres"),
    _of("refcursor", "cursor 1", ""),
    _of("int2vector", "1 2 3", ""),
    _of("oidvector", "1 2 4294967295", ""),
    _of("regclass", "pg_class", "-", "4294967295"),
    _of("regcollation", '"C"', "-"),
    _of("regconfig", "english", "-"),
    _of("regdictionary", "simple", "-"),
    _of("regnamespace", "pg_catalog", "-"),
    _of("regoper", "pg_catalog.||/", "0"),
    _of("regoperator", "+(integer,integer)", "0"),
    _of("regproc", "current_database", "-"),
    _of("regprocedure", "abs(integer)", "-"),
    _of("regrole", "postgres", "-"),
    _of("regtype", "integer", "timestamp with time zone", "-"),
)
EXTENSIONS = (
    _of(
        "hstore",
        "",
        '"a"=>"1", "b"=>NULL',
        '"quote \\" and , and =>"=>"{}"',
        '"NULL"=>"NULL"',
        extension="hstore",
    ),
    _of("citext", "alice", "", "NULL", extension="citext", equal=(("alice", "Alice"),)),
    _of("ltree", "", "Top.Science.Astronomy", extension="ltree"),
    _of("lquery", "Top.*{1,2}.!a|b", extension="ltree"),
    _of("ltxtquery", "Europe & Russia*@ & !Transportation", extension="ltree"),
    _of("cube", "(1, 2, 3)", "(0, 0),(1, 1)", extension="cube", equal=(("(1)", "(1, 0)"),)),
    _of("seg", "1.5", "1.5 .. 2.50", "~7", extension="seg", equal=(("1.50", "~1.50"),)),
    _of("isbn13", "978-0-306-40615-7", extension="isn"),
    _of("ean13", "978-0-306-40615-7", extension="isn"),
    _of("query_int", "1&(2|3)", "!1", extension="intarray"),
    _of("lo", "0", "4294967295", extension="lo"),
)
MADE = (
    _of(
        "mood",
        "sad",
        "very happy",
        'odd, "one"',
        setup="CREATE TYPE mood AS ENUM ('sad', 'very happy', 'odd, \"one\"')",
    ),
    _of(
        "pair",
        "(1,a)",
        '(,"x, ""y"" (z)")',
        "(,)",
        '(2,"")',
        setup="CREATE TYPE pair AS (number int, word text)",
    ),
    _of(
        "floatrange", "empty", "[0.5,1)", setup="CREATE TYPE floatrange AS RANGE (subtype = float8)"
    ),
)

TYPES: tuple[TypeValues, ...] = (
    *NUMBERS,
    *TEXTS,
    *BINARY,
    *TIMES,
    *DOCUMENTS,
    *GEOMETRY,
    *NETWORK,
    *RANGES,
    *SYSTEM,
    *EXTENSIONS,
    *MADE,
)
NOT_STORABLE = frozenset(
    {
        "gtsvector",
        "pg_brin_bloom_summary",
        "pg_brin_minmax_multi_summary",
        "pg_dependencies",
        "pg_mcv_list",
        "pg_ndistinct",
        "pg_node_tree",
    }
)
"""Types of the catalog whose input function takes no value."""
EXTENSION_NAMES = tuple(sorted({t.extension for t in TYPES if t.extension}))
