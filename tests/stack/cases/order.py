"""Cases whose result depends on the order of the changes."""

from .model import Case, case

SNAPSHOT_SIGNAL = (
    "INSERT INTO cdc.debezium_signal VALUES (gen_random_uuid()::text, 'execute-snapshot', "
    '\'{{"data-collections": ["{table}"], "type": "incremental"}}\')'
)
"""Requests an incremental snapshot of a table from Debezium."""
_MOVE_CODES = (
    "DO $$ BEGIN FOR i IN 1..300 LOOP DELETE FROM {t} WHERE id = i; "
    "INSERT INTO {t} VALUES (i + 1000, 'c' || i, 1%s); COMMIT; END LOOP; END $$"
)

ORDER: tuple[Case, ...] = (
    case(
        "key-passes-on",
        "id int PRIMARY KEY, code text UNIQUE, v int",
        ["INSERT INTO {t} SELECT i, 'c' || i, 0 FROM generate_series(1, 300) i"],
        [_MOVE_CODES % ""],
        after=["ALTER TABLE {t} REPLICA IDENTITY FULL"],
        target_ddl="code text PRIMARY KEY, id int, v int",
        key=("code",),
        more="needs_before_image=True,",
        partitions=3,
    ),
    case(
        "key-passes-on-newest",
        "id int PRIMARY KEY, code text UNIQUE, v int, at timestamp NOT NULL",
        ["INSERT INTO {t} SELECT i, 'c' || i, 0, clock_timestamp() FROM generate_series(1, 300) i"],
        [_MOVE_CODES % ", clock_timestamp()"],
        after=["ALTER TABLE {t} REPLICA IDENTITY FULL"],
        target_ddl="code text PRIMARY KEY, id int, v int, at timestamp",
        key=("code",),
        conflict='newest_wins("at")',
        more="needs_before_image=True,",
        partitions=3,
    ),
    case(
        "keys-swap",
        "id int PRIMARY KEY, code int CONSTRAINT keys_swap_code UNIQUE DEFERRABLE, v text",
        ["INSERT INTO {t} SELECT i, i, 'v' || i FROM generate_series(1, 60) i"],
        [
            (
                "DO $$ BEGIN SET CONSTRAINTS ALL DEFERRED; FOR i IN 1..30 LOOP "
                "UPDATE {t} SET code = 61 - code, v = 'n' || id WHERE code IN (i, 61 - i); "
                "COMMIT; SET CONSTRAINTS ALL DEFERRED; END LOOP; END $$"
            )
        ],
        ["UPDATE {t} SET id = id + 100 WHERE id <= 20"],
        after=["ALTER TABLE {t} REPLICA IDENTITY FULL"],
        target_ddl="code int PRIMARY KEY, id int, v text",
        key=("code",),
        more="needs_before_image=True,",
        partitions=3,
    ),
    case(
        "truncate-empties",
        "id int PRIMARY KEY, v text",
        ["INSERT INTO {t} SELECT i, 'a' FROM generate_series(1, 20) i"],
        [
            "BEGIN; TRUNCATE {t}; INSERT INTO {t} VALUES (1, 'b'); COMMIT",
            "INSERT INTO {t} VALUES (7, 'c')",
        ],
        more="on_truncate=OnTruncate.EMPTY,",
    ),
    case(
        "truncate-stops",
        "id int PRIMARY KEY, v text",
        ["INSERT INTO {t} VALUES (1, 'a')"],
        ["TRUNCATE {t}", "INSERT INTO {t} VALUES (2, 'b')"],
        rows=[("1", "a")],
        refusal=("truncated", "on_truncate"),
    ),
    case(
        "identity-index-later",
        "id int PRIMARY KEY, code text NOT NULL CONSTRAINT identity_later_code UNIQUE",
        ["INSERT INTO {t} SELECT i, 'k' || i FROM generate_series(0, 2) i"],
        [
            "ALTER TABLE {t} REPLICA IDENTITY USING INDEX identity_later_code",
            "DELETE FROM {t} WHERE id = 2",
        ],
        target_ddl="id int PRIMARY KEY, code text",
        rows=[("0", "k0"), ("1", "k1"), ("2", "k2")],
        refusal=("delete lacks id", "--full"),
    ),
    case(
        "incremental-snapshot",
        "id int PRIMARY KEY, v text",
        ["INSERT INTO {t} SELECT i, 'a' FROM generate_series(1, 50) i"],
        [SNAPSHOT_SIGNAL.format(table="cases.incremental_snapshot")],
        between={
            1: [
                "DELETE FROM cases.incremental_snapshot WHERE id <= 10",
                "UPDATE cases.incremental_snapshot SET v = 'wrong' WHERE id BETWEEN 11 AND 20",
            ]
        },
    ),
    case(
        "incremental-snapshot-types",
        "id text PRIMARY KEY, d date, i interval, n numeric[], at timestamp NOT NULL, h time",
        [
            (
                "INSERT INTO {t} SELECT 'k' || i, '0044-03-15 BC', '1 mon', '{NaN,1.50}', "
                "now() - i * interval '1 hour', '24:00' FROM generate_series(1, 20) i"
            ),
            "INSERT INTO {t} VALUES ('x', 'infinity', 'infinity', '[0:1]={1,2}', now(), '00:00')",
        ],
        [SNAPSHOT_SIGNAL.format(table="cases.incremental_snapshot_types")],
        conflict='newest_wins("at")',
        between={1: ["DELETE FROM cases.incremental_snapshot_types WHERE id <> 'k7'"]},
    ),
)
