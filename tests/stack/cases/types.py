"""Cases of values that must arrive unchanged, for each type."""

from .model import Case, case

_MOOD = "CREATE TYPE cases.mood AS ENUM ('sad', 'very happy', 'a,b')"
_PAIR = "CREATE TYPE cases.pair AS (number int, word text)"
_DOMAINS = (
    "CREATE DOMAIN cases.raw AS bytea",
    "CREATE DOMAIN cases.tags AS text[]",
    "CREATE DOMAIN cases.amount AS numeric",
)
_NESTED = (
    "CREATE DOMAIN cases.price AS numeric(12,3)",
    "CREATE DOMAIN cases.fair_price AS cases.price CHECK (VALUE > -1)",
    "CREATE DOMAIN cases.day AS date",
    "CREATE DOMAIN cases.holiday AS cases.day",
    "CREATE DOMAIN cases.document AS json",
)

_LARGE = {
    "a numeric": "repeat('7', 9000)::numeric",
    "b bytea": "decode(repeat('ab', 9000), 'hex')",
    "c jsonb": "to_jsonb(repeat('j', 9000))",
    "d text[]": "ARRAY[repeat('t', 9000)]",
    "e extras.hstore": "extras.hstore('k', repeat('h', 9000))",
    "f extras.citext": "repeat('c', 9000)::extras.citext",
    "g xml": "('<a>' || repeat('x', 9000) || '</a>')::xml",
    "h varbit": "repeat('01', 40000)::varbit",
    "i uuid[]": "(SELECT array_agg(gen_random_uuid()) FROM generate_series(1, 900))",
    "j tsvector": "(SELECT string_agg('w' || i, ' ')::tsvector FROM generate_series(1, 900) i)",
    "k cases.long_bytes": "decode(repeat('cd', 9000), 'hex')",
    "l cases.large_pair": "ROW(1, repeat('p', 9000))::cases.large_pair",
    "m bytea[]": "ARRAY[decode(repeat('ef', 9000), 'hex')]",
    "n json": "to_json(repeat('r', 9000))",
    "o varchar": "repeat('v', 9000)",
    "p char(9000)": "repeat('b', 9000)",
}
"""A value of each type that can be TOASTed, by the column's DDL."""

TYPES: tuple[Case, ...] = (
    case(
        "large-values-stay",
        "id int PRIMARY KEY, small int, " + ", ".join(_LARGE),
        [f"INSERT INTO {{t}} SELECT 1, 1, {', '.join(_LARGE.values())}"],
        ["UPDATE {t} SET small = 2", "UPDATE {t} SET small = 3, d = '{x}'"],
        before=[
            "CREATE DOMAIN cases.long_bytes AS bytea",
            "CREATE TYPE cases.large_pair AS (number int, word text)",
        ],
        after=[f"ALTER TABLE {{t}} ALTER {name[0]} SET STORAGE EXTERNAL" for name in _LARGE],
    ),
    case(
        "bits",
        "id int PRIMARY KEY, b1 bit(1), b8 bit(8), b12 bit(12), vb varbit(20)",
        [
            "INSERT INTO {t} VALUES (1, B'1', B'00000010', B'000000010010', B'101')",
            "INSERT INTO {t} VALUES (2, NULL, NULL, NULL, NULL)",
        ],
        ["UPDATE {t} SET b12 = B'100000000001', vb = B'' WHERE id = 1"],
    ),
    case(
        "bits-wide",
        "id int PRIMARY KEY, wide bit(64) NOT NULL, free varbit, many bit(3)[]",
        ["INSERT INTO {t} VALUES (1, 5::bit(64), repeat('01', 90)::varbit, '{101,NULL,000}')"],
        ["DELETE FROM {t}", "INSERT INTO {t} VALUES (2, (-1)::bit(64), '', '{{110},{011}}')"],
    ),
    case(
        "domains",
        "id int PRIMARY KEY, raw cases.raw, tags cases.tags, amount cases.amount",
        [
            r"INSERT INTO {t} VALUES (1, '\x00ff10', NULL, 1.50), (2, NULL, '{a,\"b c\"}', 2)",
            "INSERT INTO {t} VALUES (3, NULL, NULL, 'Infinity'), (4, '', '{}', 'NaN')",
        ],
        ["UPDATE {t} SET amount = 1.500 WHERE id = 1"],
        before=_DOMAINS,
    ),
    case(
        "domains-nested",
        "id int PRIMARY KEY, price cases.fair_price, day cases.holiday, docs cases.document, "
        "prices cases.price[]",
        [
            "INSERT INTO {t} VALUES (1, 1.5, '0044-03-15 BC', '{\"a\":  1}', '{1.5,NULL}')",
            "INSERT INTO {t} VALUES (2, 0, 'infinity', '\"\\u0000\"', '{{1},{2}}')",
        ],
        ["UPDATE {t} SET docs = '{\"a\":1}' WHERE id = 1"],
        before=_NESTED,
    ),
    case(
        "hstore-ltree",
        "id int PRIMARY KEY, attrs extras.hstore, path extras.ltree",
        [
            "INSERT INTO {t} VALUES (1, 'colour=>\"dark red\", size=>NULL', 'Top.Science')",
            "INSERT INTO {t} VALUES (2, NULL, 'a.b'), (3, '', '')",
        ],
        [r"""UPDATE {t} SET attrs = '"a \"b\""=>"{}", c=>NULL' WHERE id = 1"""],
    ),
    case(
        "citext-arrays",
        "id int PRIMARY KEY, names extras.citext[], attrs extras.hstore[]",
        ["INSERT INTO {t} VALUES (1, '{alice,NULL}', '{\"a=>1\",\"b=>NULL\"}')"],
        ["UPDATE {t} SET names = '{Alice,NULL}' WHERE id = 1"],
    ),
    case(
        "json-nul",
        "id int PRIMARY KEY, doc json, n int",
        [
            r"""INSERT INTO {t} VALUES (1, '{"a": "x\u0000y"}', 1), (2, '{"v": 1}', 1)""",
            """INSERT INTO {t} VALUES (3, '{"b":1,  "a":2, "a":3}', 1)""",
            """UPDATE {t} SET doc = '{"v": 1E400000}' WHERE id = 2""",
        ],
        ["UPDATE {t} SET n = 2 WHERE id = 1", "UPDATE {t} SET doc = '{\"a\":3}' WHERE id = 3"],
        ["""UPDATE {t} SET doc = '{"a": "clean"}', n = 3 WHERE id < 3"""],
    ),
    case(
        "json-arrays",
        "id int PRIMARY KEY, docs json[], marks xml, spot point",
        [r"""INSERT INTO {t} VALUES (1, ARRAY['{"a":1}', '"\u0000"']::json[], '<a/>', '(1,2)')"""],
        ["UPDATE {t} SET spot = '(1,2.0000001)' WHERE id = 1"],
        ["""UPDATE {t} SET docs = ARRAY['{"a": 1}']::json[], marks = '<b/>' WHERE id = 1"""],
    ),
    case(
        "equal-not-same",
        "id int PRIMARY KEY, nick extras.citext, span interval, amount numeric, f float8",
        ["INSERT INTO {t} VALUES (1, 'alice@example.org', '1 mon', 1.5, 0.0)"],
        ["UPDATE {t} SET nick = 'Alice@example.org'", "UPDATE {t} SET span = '30 days'"],
        ["UPDATE {t} SET amount = 1.50", "UPDATE {t} SET f = '-0'"],
    ),
    case(
        "equal-not-same-more",
        "id int PRIMARY KEY, doc jsonb, sums numeric[], place box, spans interval[], r real, "
        "period numrange",
        [
            (
                "INSERT INTO {t} VALUES (1, '1.5', '{1.5}', '(2,2),(0,0)', '{1 day}', 0, "
                "'[1.5,2]'), "
                "(2, '1', '{1}', '(1,1),(0,0)', '{}', 1, 'empty')"
            )
        ],
        ["UPDATE {t} SET doc = '1.50', sums = '{1.50}' WHERE id = 1"],
        ["UPDATE {t} SET place = '(4,1),(0,0)' WHERE id = 1"],
        ["UPDATE {t} SET spans = '{24:00:00}', r = '-0', period = '[1.50,2.0]' WHERE id = 1"],
    ),
    case(
        "times",
        "id int PRIMARY KEY, t time, tz timetz, span interval, m money, d date",
        [
            "INSERT INTO {t} (id, t) VALUES (1, '24:00:00')",
            (
                "INSERT INTO {t} (id, tz) VALUES (2, '24:00:00+00'), (3, '12:00:00+05:30'), "
                "(4, '23:59:59.999999-12'), (5, '01:00:00-15:59:59')"
            ),
            (
                "INSERT INTO {t} (id, span) VALUES (6, '-0.5 seconds'), (7, '100000 hours'), "
                "(8, '0'), "
                "(9, '1 mon -1 day +02:03:04.000005'), "
                "(10, '-1 year -2 mons +3 days -04:05:06.789')"
            ),
            (
                "INSERT INTO {t} (id, m) VALUES (11, '-1234567.89'), "
                "(12, 92233720368547758.07::numeric::money)"
            ),
            "INSERT INTO {t} (id, d) VALUES (13, '5874897-12-31'), (14, '4713-01-01 BC')",
        ],
        ["INSERT INTO {t} (id, span) VALUES (15, 'infinity')", "UPDATE {t} SET t = '00:00'"],
    ),
    case(
        "times-more",
        "id int PRIMARY KEY, ts timestamp, tz timestamptz, ts0 timestamp(0), ts3 timestamptz(3), "
        "clocks time[], zones timetz[], days daterange",
        [
            (
                "INSERT INTO {t} VALUES (1, 'infinity', '-infinity', '-infinity', 'infinity', "
                "'{24:00,NULL}', '{24:00+05:30}', '[2024-02-29,infinity)')"
            ),
            (
                "INSERT INTO {t} VALUES (2, '0044-03-15 BC', '4713-01-01 00:00+00 BC', "
                "'294276-12-31', '294276-12-31 23:59:59.999+00', '{}', '{}', '(,)')"
            ),
            (
                "INSERT INTO {t} VALUES (3, '2024-02-29 12:00:00.000001', "
                "'2024-02-29 12:00+05:30', "
                "'2024-02-29 12:00:01', '2024-02-29 12:00:00.123+00', '{{01:00}}', NULL, NULL)"
            ),
        ],
        ["UPDATE {t} SET ts = '2024-01-01', clocks = '{23:59:59.999999}' WHERE id = 1"],
    ),
    case(
        "real",
        "id int PRIMARY KEY, r real, r2 real, r3 real, r4 real",
        [
            "INSERT INTO {t} VALUES (1, 0.1, 0.1, 0.1, 0.5), (2, 16777216.5, 19.99, 19.99, 1e-45)",
            "INSERT INTO {t} VALUES (3, 'NaN', 'NaN', 'NaN', 'Infinity')",
        ],
        target_ddl="id int PRIMARY KEY, r real, r2 numeric, r3 text, r4 double precision",
        rows=[
            ("1", "0.1", "0.1", "0.1", "0.5"),
            ("2", "1.6777216e+07", "19.99", "19.99", "1e-45"),
            ("3", "NaN", "NaN", "NaN", "Infinity"),
        ],
    ),
    case(
        "real-arrays",
        "id int PRIMARY KEY, same real[], sums real[], words real[]",
        ["INSERT INTO {t} VALUES (1, '{0.1,NaN,NULL}', '{19.99}', '{0.1,-Infinity}')"],
        target_ddl="id int PRIMARY KEY, same real[], sums numeric[], words text[]",
    ),
    case(
        "arrays",
        "id int PRIMARY KEY, n numeric[], d date[], ts timestamp[], raw bytea[], i int[], "
        "moods cases.mood[], docs jsonb[], u uuid[], tx text[], tt time[], sp interval[], "
        "f float8[], bo boolean[], net inet[]",
        [
            "INSERT INTO {t} (id, n) VALUES (1, '{1.50,NaN,NULL}'), (2, '{Infinity,-Infinity}')",
            "INSERT INTO {t} (id, d) VALUES (3, '{2024-02-29,infinity}'), (4, '{0044-03-15 BC}')",
            "INSERT INTO {t} (id, ts) VALUES (5, '{2024-02-29 12:00:00.5,infinity}')",
            r"INSERT INTO {t} (id, raw) VALUES (6, ARRAY['\x00ff'::bytea, NULL])",
            "INSERT INTO {t} (id, i) VALUES (7, '{{1,2},{3,4}}'), (8, '{}'), (9, '[0:1]={7,8}')",
            "INSERT INTO {t} (id, moods) VALUES (10, ARRAY['very happy','a,b']::cases.mood[])",
            r"""INSERT INTO {t} (id, docs) VALUES (11, ARRAY['{"a": "x\"y"}']::jsonb[])""",
            r"""INSERT INTO {t} (id, tx) VALUES (12, ARRAY['a"b', 'c\d', '', 'NULL', NULL, ' '])""",
            "INSERT INTO {t} (id, tt, sp) VALUES (13, '{12:00,24:00}', '{1 mon -1 day}')",
            "INSERT INTO {t} (id, f, bo) VALUES (14, '{0.1,NaN,-Infinity}', '{t,f,NULL}')",
            "INSERT INTO {t} (id, net) VALUES (15, '{10.0.0.1/8}')",
        ],
        ["UPDATE {t} SET i = '{1,2}' WHERE id = 7", "UPDATE {t} SET n = '{1.5}' WHERE id = 1"],
        before=[_MOOD],
    ),
    case(
        "enum-domain-made-later",
        "id int PRIMARY KEY, v text",
        ["INSERT INTO {t} VALUES (1, 'a')"],
        [
            "CREATE TYPE cases.later AS ENUM ('sad', 'very happy')",
            "CREATE DOMAIN cases.feeling AS cases.later",
            "ALTER TABLE {t} ADD COLUMN feeling cases.feeling",
            "INSERT INTO {t} VALUES (2, 'b', 'sad')",
        ],
    ),
    case(
        "defaults-of-moments",
        "id int PRIMARY KEY, v text, clock time NOT NULL DEFAULT '24:00', "
        "at timestamp NOT NULL DEFAULT '2024-01-01 10:00', day date NOT NULL DEFAULT 'infinity', "
        "due date NOT NULL DEFAULT '2024-12-31', "
        "zoned timestamptz NOT NULL DEFAULT '0044-03-15 BC', raw bytea NOT NULL DEFAULT '\\x00ff'",
        ["INSERT INTO {t} (id, v) VALUES (1, 'a'), (2, 'b')"],
        ["DELETE FROM {t} WHERE id = 2", "UPDATE {t} SET v = NULL WHERE id = 1"],
    ),
    case(
        "arrays-more",
        "id int PRIMARY KEY, pairs cases.pair[], m money[], x xml[], v varchar(5)[], c char(3)[], "
        "spots point[], boxes box[], zones timestamptz[], o oid[], r int4range[]",
        [
            (
                "INSERT INTO {t} VALUES (1, ARRAY[(1, 'a,b'), NULL]::cases.pair[], '{1.50}', "
                "'{<a/>}', '{abcde,NULL}', '{a}', '{\"(1,2)\"}', '{(1,1),(0,0)}', "
                "'{2024-02-29 12:00+05:30,-infinity}', '{4294967295}', '{\"[1,5)\",empty}')"
            ),
        ],
        ["UPDATE {t} SET pairs = '{{\"(,)\"},{\"(2,)\"}}', c = '{abc}'"],
        before=[_PAIR],
    ),
    case(
        "text-search",
        "id int PRIMARY KEY, words tsvector, query tsquery, v text",
        ["INSERT INTO {t} VALUES (1, 'fat cat', 'fat & !rat', 'a')"],
        ["UPDATE {t} SET v = 'b', words = '''it''''s'':1A' WHERE id = 1"],
    ),
    case(
        "system-types",
        "id int PRIMARY KEY, x xid8, place pg_lsn, pair cases.pair, spans int4multirange, v text",
        ["INSERT INTO {t} VALUES (1, '18446744073709551615', 'F/F', '(1,\"a \"\"b\"\"\")', '{}')"],
        ["UPDATE {t} SET v = 'b', spans = '{[1,3),[7,9)}' WHERE id = 1"],
    ),
    case(
        "integers-narrow",
        "id int PRIMARY KEY, big bigint, medium int, v text",
        ["INSERT INTO {t} VALUES (1, 1, 1, 'fits'), (2, 3000000000, 1, 'too big')"],
        ["INSERT INTO {t} VALUES (3, 2147483647, 99999, 'too big'), (4, -2147483648, 32767, 'ok')"],
        target_ddl="id int PRIMARY KEY, big int, medium smallint, v text",
        rows=[("1", "1", "1", "fits"), ("4", "-2147483648", "32767", "ok")],
        dead_letters=("big", "medium"),
    ),
    case(
        "unavailable-typed",
        "id int PRIMARY KEY, v text, big text, tags text[], raw bytea, document jsonb",
        [
            (
                "INSERT INTO {t} SELECT 1, '__debezium_unavailable_value', "
                "string_agg(md5(i::text), ''), array_agg(md5(i::text)), "
                "string_agg(md5(i::text), '')::bytea, jsonb_agg(md5(i::text)) "
                "FROM generate_series(1, 900) i"
            )
        ],
        ["UPDATE {t} SET v = 'small' WHERE id = 1"],
        ["UPDATE {t} SET v = '__debezium_unavailable_value' WHERE id = 1"],
        [
            (
                "UPDATE {t} SET v = 'small', big = '__debezium_unavailable_value', "
                "tags = '{__debezium_unavailable_value}', raw = '\\000unavailable', "
                "document = '\"__debezium_unavailable_value\"' WHERE id = 1"
            )
        ],
    ),
)
