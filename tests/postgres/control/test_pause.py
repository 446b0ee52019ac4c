"""The commands `pause` and `resume`, and what they keep from writing."""

import json
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
MOBILE = "9876543210"


def test_pause_says_who_when_and_why(control: Any) -> None:
    code, out, _ = control("pause", "apples", "--reason", "index rebuild", "--as", "ada")
    assert (code, out) == (0, "apples: paused\n")
    pause = control.pause_of("apples")
    assert (pause.reason, pause.by) == ("index rebuild", "ada")
    assert f"ada paused it at {pause.at:%Y-%m-%d}" in str(pause)
    assert control.pause_of("pears") is None


def test_second_pause_keeps_the_first_reason(control: Any) -> None:
    control("pause", "apples", "--reason", "first")
    assert control("pause", "apples", "--reason", "second")[1] == (
        "apples: was paused already; its reason stays\n"
    )
    assert control.pause_of("apples").reason == "first"


def test_all_mappings_are_paused_and_resumed(control: Any) -> None:
    control("pause", "--all", "--reason", "maintenance")
    assert all(control.pause_of(name) for name in ("apples", "pears"))
    code, out, _ = control("resume", "--all")
    assert (code, out) == (0, "apples: resumed\npears: resumed\nplums: resumed\n")
    assert control("resume", "apples")[1] == "apples: was not paused\n"
    assert control.pause_of("apples") is None


def test_personal_value_is_removed_from_reason(control: Any) -> None:
    control("pause", "apples", "--reason", f"wanted by {MOBILE}")
    assert MOBILE not in control.pause_of("apples").reason
    assert control.rows(f"SELECT * FROM sink.audit_log WHERE details::text LIKE '%{MOBILE}%'") == []


def test_pause_and_resume_are_audited(control: Any) -> None:
    control("pause", "apples", "--reason", "why", "--as", "ada")
    control("resume", "apples", "--as", "bob")
    found = [
        (one["user_id"], one["details"]["action"], one["details"]["reason"])
        for one in control.rows("SELECT user_id, details FROM sink.audit_log ORDER BY audit_id")
    ]
    assert found == [("ada", "paused", "why"), ("bob", "running", "")]


def test_batch_of_paused_mapping_is_refused(control: Any) -> None:
    control("pause", "plums", "--reason", "maintenance", "--as", "ada")
    code, _, err = control("batch", "plums")
    assert code == 75
    assert "mapping 'plums' is paused: ada paused it" in err
    assert "`sink-runner resume plums`" in err
    for option in ("--even-if-paused", "--dry-run"):
        assert "is paused" not in control("batch", "plums", option)[2]


def test_repair_of_paused_mapping_is_refused(control: Any) -> None:
    control("pause", "apples", "--reason", "maintenance")
    code, _, err = control("reconcile", "apples", "--repair")
    assert code == 75
    assert "is paused" in err
    assert "is paused" not in control("reconcile", "apples")[2]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("pause", "apples", "--reason", " "), 78),
        (("pause", "apples"), 2),
        (("pause", "--reason", "x"), 2),
        (("pause", "apples", "--all", "--reason", "x"), 2),
        (("pause", "cherries", "--reason", "x"), 78),
        (("resume",), 2),
    ],
)
def test_incomplete_pause_is_refused(control: Any, words: tuple[str, ...], code: int) -> None:
    assert control(*words)[0] == code


def test_status_shows_pause_before_worker_does(control: Any) -> None:
    control.run_all()
    control.link().turn()
    control("pause", "apples", "--reason", "maintenance", "--as", "ada")
    (found,) = json.loads(control("status", "apples", "--json")[1])
    assert (found["state"], found["way_out"]) == ("paused", "sink-runner resume apples")
