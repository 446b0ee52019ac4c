"""PostgreSQL's types and values of each, for the tests that cover every type.

`TYPES` contains every base, range and multirange type of `pg_catalog` that a column can have,
types with a modifier, the types of common extensions, and user-defined types.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class TypeValues:
    """A type and its values."""

    name: str
    """Unique; part of the names of domains, columns and tests."""
    sql: str
    """The type as it is written in DDL."""
    literals: tuple[str, ...]
    """Ordinary and special values, as input of the type's input function."""
    equal_pairs: tuple[tuple[str, str], ...] = ()
    """Pairs of values that are stored differently, but that the type's operators treat as equal."""
    extension: str | None = None
    setup: str | None = None
    """The statement that creates the type, in the current schema."""
    delimiter: str = ","

    def all_literals(self) -> tuple[str, ...]:
        """Return every literal once, including those of the pairs."""
        pairs = [literal for pair in self.equal_pairs for literal in pair]
        return tuple(dict.fromkeys((*self.literals, *pairs)))


def _type(
    sql: str, *literals: str, name: str = "", equal: tuple[tuple[str, str], ...] = (), **fields: str
) -> TypeValues:
    return TypeValues(name=name or sql, sql=sql, literals=literals, equal_pairs=equal, **fields)


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
_TIMESTAMPS = tuple(
    f"{day} 12:30:45.123456{era}"
    for day, era in (("2024-02-29", ""), ("10000-01-01", ""), ("0044-03-15", " BC"))
)

NUMBERS = (
    _type("int2", "0", "1", "-32768", "32767"),
    _type("int4", "0", "1", "-2147483648", "2147483647"),
    _type("int8", "0", "1", "-9223372036854775808", "9223372036854775807"),
    _type(
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
    _type("numeric(10,2)", "0", "1.50", "-99999999.99", "NaN", name="numeric_10_2"),
    _type("numeric(3,-2)", "0", "99900", name="numeric_3_m2"),
    _type(
        "float4",
        "0.1",
        "NaN",
        "Infinity",
        "-Infinity",
        "1e-45",
        "3.4028235e+38",
        equal=(("0", "-0"),),
    ),
    _type(
        "float8",
        "0.1",
        "NaN",
        "Infinity",
        "-Infinity",
        "5e-324",
        "1.7976931348623157e+308",
        equal=(("0", "-0"),),
    ),
    _type("money", "$0.00", "$1.50", "-$92,233,720,368,547,758.08", "$92,233,720,368,547,758.07"),
    _type("oid", "0", "1", "4294967295"),
)
TEXTS = (
    _type("text", *_TEXTS),
    _type("varchar", *_TEXTS),
    _type("varchar(60)", *_TEXTS, name="varchar_60"),
    _type("bpchar", "a", "", "é", equal=(("a", "a  "),)),
    _type("char(5)", "a", "", "abcde", "éèêëē", name="char_5"),
    _type("name", "plain", "", 'with "quotes"'),
    _type('"char"', "a", "", "\\377", name="char_1"),
)
BINARY = (
    _type("bytea", "\\x", "\\x00ff", "\\x5c4e", "\\x" + "41" * 90, "\\x5f5f64"),
    _type("bool", "t", "f"),
    _type("bit", "0", "1"),
    _type("bit(5)", "10110", "00000", name="bit_5"),
    _type("bit(11)", "10110011101", "00000000001", name="bit_11"),
    _type("varbit", "", "1", "0", "10110011101", "0000000000000000", name="varbit"),
    _type("varbit(12)", "", "1", "101100111010", name="varbit_12"),
    _type("uuid", "00000000-0000-0000-0000-000000000000", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
)
TIMES = (
    _type("date", *_DATES, "infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"),
    _type("time", "00:00:00", "24:00:00", "23:59:59.999999", "12:30:00.5"),
    _type("time(0)", "00:00:00", "24:00:00", "23:59:59", name="time_0"),
    _type(
        "timetz",
        "00:00:00+00",
        "24:00:00+00",
        "12:30:45.123456+05:30",
        "12:30:00-08",
        "23:59:59.999999-15:59:59",
    ),
    _type(
        "timestamp",
        *_TIMESTAMPS,
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
        "294247-01-10 04:00:25.2",
    ),
    _type("timestamp(0)", "2024-02-29 12:30:45", "infinity", name="timestamp_0"),
    _type(
        "timestamptz",
        *(f"{moment}" for moment in _TIMESTAMPS),
        "2024-02-29 12:30:45+05:30",
        "infinity",
        "-infinity",
        "4713-01-01 00:00:00+00 BC",
        "294276-12-31 23:59:59.999999+00",
        "294247-01-10 04:00:25.2+00",
    ),
    _type("timestamptz(3)", "2024-02-29 12:30:45.123+05:30", name="timestamptz_3"),
    _type(
        "interval",
        "1 year 2 mons 3 days 04:05:06.789",
        "-1 year -2 mons +3 days -04:05:06.789",
        "00:00:00",
        "178000000 years",
        "-178000000 years",
        "2562047788:00:54.775807",
        equal=(("1 mon", "30 days"), ("1 day", "24:00:00")),
    ),
    _type("interval(3)", "1 day 00:00:00.123", name="interval_3"),
    _type("interval year to month", "1 year 2 mons", name="interval_ym"),
)
DOCUMENTS = (
    _type(
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
    _type("jsonb", "{}", "null", '"text"', '{"a": {"b": [1, null]}}', equal=(("1.5", "1.50"),)),
    _type("xml", "<a/>", "<a b='1'>text &amp; more</a>", "just text", equal=(("<b/>", "<b></b>"),)),
    _type("jsonpath", "$", '$."a"[*]?(@ > 1)'),
    _type("tsvector", "", "'a':1A 'b':2", "'quote''d' 'x'"),
    _type("tsquery", "", "'a' & 'b':*AB", "'a' <-> ( 'b' | !'c' )"),
)
GEOMETRY = (
    _type("point", "(0,0)", "(1.5,-2)", "(Infinity,NaN)", equal=(("(1,1)", "(1,1.0000001)"),)),
    _type("line", "{1,-1,0}", "{0,1,2.5}"),
    _type("lseg", "[(0,0),(1,1)]", equal=(("[(0,0),(2,2)]", "[(0,0),(2,2.0000001)]"),)),
    _type("box", "(1,1),(0,0)", delimiter=";", equal=(("(2,2),(0,0)", "(4,1),(0,0)"),)),
    _type(
        "path", "((0,0),(1,1),(2,0))", "[(0,0),(1,1)]", equal=(("[(0,0),(1,1)]", "[(5,5),(6,6)]"),)
    ),
    _type("polygon", "((0,0),(1,1),(2,0))", equal=(("((0,0),(1,1))", "((1,1),(0,0))"),)),
    _type("circle", "<(0,0),1>", equal=(("<(0,0),2>", "<(3,3),2>"),)),
)
NETWORK = (
    _type("inet", "192.168.0.1", "192.168.0.1/24", "::1", "2001:db8::/32"),
    _type("cidr", "192.168.0.0/24", "10.1.2.3/32", "2001:db8::/32"),
    _type("macaddr", "08:00:2b:01:02:03"),
    _type("macaddr8", "08:00:2b:01:02:03:04:05"),
)
RANGES = (
    _type("int4range", "empty", "[1,5)", "(,5)", "(,)"),
    _type("int8range", "empty", "[1,5)", "[1,)"),
    _type("numrange", "empty", "[1.5,NaN]", "(,)", equal=(("[1.5,2]", "[1.50,2.0]"),)),
    _type("daterange", "empty", "[2024-02-29,infinity)", '["0044-03-15 BC",2024-01-01)'),
    _type("tsrange", "empty", '["2024-02-29 00:00:00",infinity)', "(,)"),
    _type("tstzrange", "empty", '["2024-02-29 00:00:00+05:30","2024-03-01 00:00:00+00")'),
    _type("int4multirange", "{}", "{[1,5),[7,9)}"),
    _type("int8multirange", "{}", "{[1,5),[7,)}"),
    _type("nummultirange", "{}", "{[1.5,2],(7,)}", equal=(("{[1.5,2]}", "{[1.50,2.0]}"),)),
    _type("datemultirange", "{}", "{[2024-02-29,2024-03-02),[2025-01-01,infinity)}"),
    _type("tsmultirange", "{}", '{["2024-02-29 00:00:00","2024-03-01 00:00:00"]}'),
    _type("tstzmultirange", "{}", '{["2024-02-29 00:00:00+00","2024-03-01 00:00:00+00"]}'),
)
SYSTEM = (
    _type("pg_lsn", "0/0", "16/B374D848", "FFFFFFFF/FFFFFFFF"),
    _type("pg_snapshot", "10:20:10,14,15", "1:1:"),
    _type("txid_snapshot", "10:20:10,14,15", "1:1:"),
    _type("xid", "0", "4294967295"),
    _type("xid8", "0", "18446744073709551615"),
    _type("cid", "0", "4294967295"),
    _type("tid", "(0,0)", "(4294967295,65535)"),
    _type("aclitem", "postgres=arwdDxt/postgres", "=r/postgres"),
    _type("refcursor", "cursor 1", ""),
    _type("int2vector", "1 2 3", ""),
    _type("oidvector", "1 2 4294967295", ""),
    _type("regclass", "pg_class", "-", "4294967295"),
    _type("regcollation", '"C"', "-"),
    _type("regconfig", "english", "-"),
    _type("regdictionary", "simple", "-"),
    _type("regnamespace", "pg_catalog", "-"),
    _type("regoper", "pg_catalog.||/", "0"),
    _type("regoperator", "+(integer,integer)", "0"),
    _type("regproc", "current_database", "-"),
    _type("regprocedure", "abs(integer)", "-"),
    _type("regrole", "postgres", "-"),
    _type("regtype", "integer", "timestamp with time zone", "-"),
)
EXTENSIONS = (
    _type(
        "hstore",
        "",
        '"a"=>"1", "b"=>NULL',
        '"quote \\" and , and =>"=>"{}"',
        '"NULL"=>"NULL"',
        extension="hstore",
    ),
    _type("citext", "alice", "", "NULL", extension="citext", equal=(("alice", "Alice"),)),
    _type("ltree", "", "Top.Science.Astronomy", extension="ltree"),
    _type("lquery", "Top.*{1,2}.!a|b", extension="ltree"),
    _type("ltxtquery", "Europe & Russia*@ & !Transportation", extension="ltree"),
    _type("cube", "(1, 2, 3)", "(0, 0),(1, 1)", extension="cube", equal=(("(1)", "(1, 0)"),)),
    _type("seg", "1.5", "1.5 .. 2.50", "~7", extension="seg", equal=(("1.50", "~1.50"),)),
    _type("isbn13", "978-0-306-40615-7", extension="isn"),
    _type("ean13", "978-0-306-40615-7", extension="isn"),
    _type("query_int", "1&(2|3)", "!1", extension="intarray"),
    _type("lo", "0", "4294967295", extension="lo"),
)
USER_DEFINED = (
    _type(
        "mood",
        "sad",
        "very happy",
        'odd, "one"',
        setup="CREATE TYPE mood AS ENUM ('sad', 'very happy', 'odd, \"one\"')",
    ),
    _type(
        "pair",
        "(1,a)",
        '(,"x, ""y"" (z)")',
        "(,)",
        '(2,"")',
        setup="CREATE TYPE pair AS (number int, word text)",
    ),
    _type(
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
    *USER_DEFINED,
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
"""Types of the catalog whose input function accepts no value."""
EXTENSION_NAMES = tuple(sorted({t.extension for t in TYPES if t.extension}))
