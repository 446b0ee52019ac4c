"""`policies check` reads from the databases which columns a lookup returns."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
OWN = Path(__file__).parents[3] / "ranger-policies"
PLUGIN = """
from sink_runner.plugin import *

@hookimpl
def sink_mapping():
    return TableMapping(
        source="north.{schema}.t", target="south.public.people", key=("id",),
        conflict=source_wins(),
        columns=(Column("id"), Column("found", "id", lookup=Lookup("{query}", "north"))),
    )
"""


@pytest.fixture
def check(
    call: Any, configured: Any, site: Any, scratch: Any, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs `policies` on a mapping with this lookup query."""
    scratch.table("id int PRIMARY KEY, phone varchar(10), city varchar(20)")

    def run(query: str, *argv: str, reachable: bool = True) -> tuple[int, str, str]:
        folder = tmp_path / "policies"
        shutil.copytree(OWN, folder)
        columns = {f"north.{scratch.schema}.t": {"phone": ["CONTACT"], "city": ["CONTACT"]}}
        (folder / "classification.json").write_text(
            json.dumps({"tags": {"CONTACT": "a number"}, "columns": columns})
        )
        text = query.replace("TABLE", f"{scratch.schema}.t")
        site.plugin("people", PLUGIN.format(schema=scratch.schema, query=text))
        path = configured("people", more=f'\n[policies]\ndirectory = "{folder}"\n')
        dsn = scratch.dsn if reachable else "host=127.0.0.1 port=1"
        path.write_text(path.read_text().replace('"dbname=north"', json.dumps(dsn)))
        return call("policies", *argv)

    return run


LOOKUP = "SELECT id::text, phone FROM TABLE WHERE id = ANY (%s)"


def test_unmasked_lookup_is_reported(check: Any) -> None:
    code, out, err = check(LOOKUP, "check")
    assert code == 1, err
    assert "phone is classified CONTACT and reaches group 'south' without a masking policy" in out


def test_computed_lookup_is_reported(check: Any) -> None:
    code, out, _ = check(LOOKUP.replace(" phone", " phone || ''"), "check")
    assert code == 1
    assert "what the lookup of column 'found' finds in database north is computed" in out


def test_show_lists_lookup_column(check: Any) -> None:
    code, out, _ = check(LOOKUP, "show", "--json")
    (line,) = json.loads(out)
    assert (code, line["source"].rpartition(".")[2], line["seen"]) == (0, "phone", "hidden")


def test_unreachable_database_is_a_warning(check: Any) -> None:
    code, out, _ = check(LOOKUP, "check", "--strict", reachable=False)
    assert code == 1
    assert "warning: mapping 'people': what its lookups or query find was not checked" in out
