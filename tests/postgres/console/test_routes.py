"""The routes of the console, by `sink-runner api` on real databases."""

import httpx
import pytest

from ...support.console_process import CANARIES, MAPPINGS

pytestmark = pytest.mark.postgres
PARTS = ("chain", "columns", "dead-letters", "conflicts", "reconciliation")


def test_progress_sums_offsets_and_deferred_events(console):
    found = console.get("progress").json()["mappings"]
    assert found.keys() == {*MAPPINGS}
    assert found["golden-records"] == {"applied": 150, "deferred": 1}
    assert found["decisions"] == {"applied": 0, "deferred": 0}


def test_chain_has_hooks_with_plugin_versions(console):
    steps = console.get("mappings/golden-records/chain").json()["steps"]
    assert steps[0]["does"] == "drop echoes of the runner's own writes"
    (own,) = (step for step in steps if step["hook"] == "sink_filter")
    assert own["plugins"] == [{"name": "golden-records", "version": "1.0"}]


def test_columns_have_tags_masks_and_lookups(console):
    columns = console.get("mappings/golden-records/columns").json()["columns"]
    personal = {one["target"]: one["inputs"] for one in columns if one["inputs"]}
    aadhaar = next(one for name, one in personal.items() if "aadhaar" in name)[0]
    assert aadhaar["tags"]
    assert aadhaar["mask"]
    derived = console.get("mappings/eligibility-snapshots/columns").json()["columns"]
    assert any(one["steps"] == ["derive by SQL"] for one in derived)


def test_parts_report_what_happened(console):
    counts = console.get("mappings/golden-records/dead-letters").json()["counts"]
    assert {(one["error_class"], one["sqlstate"], one["number"]) for one in counts} == {
        ("WriteError", "23514", 1),
        ("WaitingError", None, 1),
    }
    (conflict,) = console.get("mappings/golden-records/conflicts").json()["conflicts"]
    assert (conflict["type"], conflict["action"]) == ("timestamp_conflict", None)
    (run,) = console.get("mappings/golden-records/reconciliation").json()["runs"]
    assert (run["outcome"], run["columns_differing"]) == ("different", {"full_name": 2})


@pytest.mark.parametrize("name", MAPPINGS)
def test_no_answer_has_a_personal_value(console, name):
    for part in PARTS:
        answer = console.get(f"mappings/{name}/{part}")
        assert answer.status_code == 200, (part, answer.text)
        assert not [canary for canary in CANARIES if canary in answer.text]


def test_routes_need_the_scope_observe(console):
    for path in ("progress", *(f"mappings/golden-records/{part}" for part in PARTS)):
        assert console.get(path, key="none").status_code == 403


def test_unknown_mapping_is_not_found(console):
    answer = console.get("mappings/none/chain")
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "there is no mapping of this name",
    )


def test_explain_without_kafka_is_unavailable(console):
    answer = console.post("mappings/decisions/explain", key="observe", at="a:0:1")
    assert (answer.status_code, "Kafka" in answer.json()["detail"]) == (503, True)
    for body in ({"at": "9812345670"}, {}, {"at": "a:0:1", "key": "9812345670"}):
        headers = {"X-API-Key": console.keys["observe"]}
        url = f"{console.url}/v1/mappings/decisions/explain"
        refused = httpx.post(url, headers=headers, json=body)
        assert refused.status_code == 422
        assert "9812345670" not in refused.text


def test_reconciliation_plan_names_rows_and_last_result(console):
    body = {"full": True, "repair": True, "dry_run": True}
    answer = console.post("mappings/golden-records/reconcile", **body).json()
    assert answer["command"] == "sink-runner reconcile golden-records --full --repair"
    assert "every row" in answer["plan"][0]
    assert answer["plan"][1].endswith("was different: 2 different")
    assert answer["plan"][-1].startswith("not reversible")
    assert answer["result"] is None


def test_reconciliation_needs_the_scope_operate(console):
    answer = console.post("mappings/golden-records/reconcile", key="observe", full=True)
    assert answer.status_code == 403


def test_paused_mapping_refuses_a_repair(console):
    path = "mappings/golden-records"
    assert console.post(f"{path}/pause", reason="index rebuild").status_code == 200
    refused = console.post(f"{path}/reconcile", repair=True, dry_run=True)
    compared = console.post(f"{path}/reconcile", dry_run=True)
    console.post(f"{path}/resume")
    assert (refused.status_code, compared.status_code) == (409, 200)
    assert "resume it first" in refused.json()["detail"]


@pytest.mark.parametrize("path", ["healthz", "readyz", "openapi.json", "docs", "console", "none"])
def test_page_without_credentials_is_complete(console, path):
    with httpx.Client(base_url=console.url) as client:
        for _ in range(3):  # by one connection
            assert client.get(f"/{path}").status_code in {200, 404, 503}
