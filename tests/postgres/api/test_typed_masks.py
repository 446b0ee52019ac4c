"""Masks on columns of every type: the response has the column's type or null, never a 500."""

import json
import shutil
import uuid
from functools import partial

import psycopg
import pytest

from sink_runner.api.masked_query import MaskedQuery
from sink_runner.api.services import _pool
from sink_runner.config.dsn import Dsn
from sink_runner.masking.policy import load_policies

from ...support.api_service import ROOT

pytestmark = pytest.mark.postgres
MASKS = {
    "MASK": {"dataMaskType": "MASK"},
    "LAST": {"dataMaskType": "MASK_SHOW_LAST_4"},
    "FIRST": {"dataMaskType": "MASK_SHOW_FIRST_4"},
    "HASH": {"dataMaskType": "MASK_HASH"},
    "NULL": {"dataMaskType": "MASK_NULL"},
    "YEAR": {"dataMaskType": "MASK_DATE_SHOW_YEAR"},
    "NONE": {"dataMaskType": "MASK_NONE"},
    "CONSTANT": {"dataMaskType": "CUSTOM", "valueExpr": "'HIDDEN'"},
    "EMAIL": {"dataMaskType": "CUSTOM", "valueExpr": "show_email({col})"},
    "SCRUB": {"dataMaskType": "CUSTOM", "valueExpr": "scrub_contacts({col})"},
}
VALUES = {
    "integer": ["7", "-2147483648"],
    "numeric(30,2)": ["1234567.25"],
    "numeric": ["NaN", "Infinity", "1e30"],
    "double precision": ["0.5", "NaN", "-Infinity"],
    "boolean": ["true", "false"],
    "date": ["1958-03-02", "infinity", "0044-03-15 BC", "20000-01-01"],
    "timestamp": ["2026-01-31 10:00:00.5", "-infinity"],
    "timestamptz": ["2026-01-31 10:00:00+05:30", "infinity"],
    "time": ["10:00:00", "24:00:00"],
    "interval": ["1 year 2 mons 3 days"],
    "uuid": ["0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55"],
    "bytea": ["\\x00ff"],
    "jsonb": ['{"a": [1, "x"]}', "[1, 2.5]", '"text"', "5", "null"],
    "json": ['{"a": 1}'],
    "text[]": ["{a,b,NULL}"],
    "numeric[]": ["{1.5,NaN}"],
    "date[]": ["{2026-01-31}"],
    "uuid[]": ["{0b7c9d54-4a58-4d0e-8a39-8f3f1f0d2c55}"],
    "inet": ["10.0.0.1/8"],
    "int4range": ["[1,5)", "empty"],
    "bit(3)": ["101"],
    "point": ["(1,2)"],
    "money": ["12.50"],
}
TEXTS = ("text", "varchar(40)", "char(8)", "typed_mood", "typed_name")


@pytest.fixture(scope="module")
def database(postgres):
    """A table with a column of each type and a row for each value, and rows of NULL."""
    name = postgres.fresh_database("smart_warehouse")
    with psycopg.connect(postgres.dsn(name), autocommit=True) as admin:
        admin.execute("CREATE TYPE typed_mood AS ENUM ('glad')")
        admin.execute("CREATE DOMAIN typed_name AS text")
        columns = ", ".join(f'"{kind}" {kind}' for kind in [*VALUES, *TEXTS])
        admin.execute(f"CREATE TABLE typed (id uuid, {columns})")
        admin.execute("GRANT SELECT ON typed TO sink_reader")
        admin.execute("INSERT INTO typed (id) VALUES (%s)", (uuid.UUID(int=0),))
        rows = [(kind, value) for kind, values in VALUES.items() for value in values]
        for kind, value in [*rows, *((kind, "glad") for kind in TEXTS)]:
            statement = f'INSERT INTO typed (id, "{kind}") VALUES (%s, %s::{kind})'
            admin.execute(statement, (uuid.UUID(int=0), value))
    return name


@pytest.fixture(scope="module")
def reader(postgres, database):
    with _pool(Dsn.of(postgres.dsn(database, "sink_reader")), 5, 1) as pool:
        pool.wait()
        yield pool


@pytest.fixture
def policies(tmp_path):
    """Return a function that writes policies with one mask for every column of a table."""

    def write(mask, table):
        folder = tmp_path / "policies"
        shutil.copytree(ROOT / "ranger-policies", folder, dirs_exist_ok=True)
        content = json.loads((folder / "policies.json").read_text())
        example = json.loads(json.dumps(content["policies"][0]))
        levels = {"database": "smart_warehouse", "schema": "public", "table": table, "column": "*"}
        example |= {
            "id": 9999,
            "name": f"all of {table}",
            "policyPriority": 1,
            "resources": {level: {"values": [value]} for level, value in levels.items()},
        }
        example["dataMaskPolicyItems"][0]["dataMaskInfo"] = MASKS[mask]
        content["policies"].append(example)
        (folder / "policies.json").write_text(json.dumps(content))
        return folder

    return write


def load(folder):
    return load_policies(folder, "k" * 32)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", VALUES)
def test_masked_value_has_column_type_or_is_null(reader, policies, kind, mask):
    answers = rows(reader, policies(mask, "typed"), kind)
    json.dumps(answers, allow_nan=False)
    if mask in ("MASK", "LAST", "FIRST", "HASH", "NULL", "CONSTANT", "EMAIL", "SCRUB"):
        allowed = {str} if kind == "jsonb" else set()  # a JSON string
        assert {type(one) for one in answers} <= {type(None), *allowed}
    if mask == "NONE" and kind not in ("numeric", "double precision", "jsonb"):
        assert sum(one is not None for one in answers) == len(VALUES[kind])


@pytest.mark.parametrize("kind", TEXTS)
def test_text_columns_return_masked_text(reader, policies, kind):
    assert "HIDDEN" in rows(reader, policies("CONSTANT", "typed"), kind)
    assert "xxxx" in str(rows(reader, policies("MASK", "typed"), kind))


def test_year_of_a_date_stays_a_date(reader, policies):
    folder = policies("YEAR", "typed")
    assert "1958-01-01" in rows(reader, folder, "date")
    assert "2026-01-01T00:00:00Z" in rows(reader, folder, "timestamp")


def test_unmasked_values_become_matching_json_types(reader, policies):
    folder = policies("NONE", "typed")
    assert {"a": [1, "x"]} in rows(reader, folder, "jsonb")
    assert ["a", "b", None] in rows(reader, folder, "text[]")
    assert "\\x00ff" in rows(reader, folder, "bytea")
    assert [1.5, None] in rows(reader, folder, "numeric[]")
    assert 1234567.25 in rows(reader, folder, "numeric(30,2)")


def rows(reader, folder, kind):
    sql = f'SELECT "{kind}" AS value FROM typed WHERE id = %(id)s::uuid'
    query = MaskedQuery(sql, "smart_warehouse", partial(load, folder), reader)
    found = query.rows({"id": uuid.UUID(int=0)}, "smart_citizen")
    return [row["value"] for row in found]


@pytest.mark.parametrize("mask", [mask for mask in MASKS if mask != "HASH"])  # needs a key
@pytest.mark.parametrize("table", ["golden_records", "profile_360"])
def test_profile_is_served_with_any_mask(postgres, serve, policies, table, mask):
    record = str(uuid.uuid4())
    with psycopg.connect(postgres.dsn("smart_warehouse"), autocommit=True) as admin:
        admin.execute(
            "INSERT INTO golden_records (gr_id, full_name, date_of_birth, district_id, caste_id) "
            "VALUES (%s, 'Asha Devi', '1958-03-02', 7, 3)",
            (record,),
        )
        admin.execute(
            "INSERT INTO profile_360 (gr_id, profile_data, under_coverage_indicator) "
            "VALUES (%s, '{}', true)",
            (record,),
        )
    folder = policies(mask, table)
    service = serve(reader_dsn=postgres.dsn("smart_warehouse", "sink_reader"), policies=folder)
    answer = service.get(f"/v1/profiles/{record}")
    assert answer.status_code == 200, answer.text
