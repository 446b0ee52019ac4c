"""``sink-runner wait-for``: which mappings it waits for, its exit codes and its output."""

import json
from typing import Any

import pytest

from sink_runner.cli import wait_for as command
from sink_runner.control.status import MappingReport
from sink_runner.reconcile.position_wait import Reached, format_lsn


@pytest.fixture
def run(site: Any, configured: Any, call: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call the command with the mappings `one` and `two`; `one` is never reached."""
    site.mapping("one")
    site.mapping("two")
    site.nightly("batches")
    configured("one", "two", "batches")
    state = MappingReport(
        mapping="one",
        source="north.public.one",
        target="south.public.one",
        state="paused",
        reason="maintenance",
        way_out="sink-runner resume one",
    )
    monkeypatch.setattr(command, "read_status", lambda *_: [state])
    monkeypatch.setattr(command, "current_position", lambda *_: 7)

    def wait(name: str, *found: Any, **_: Any) -> Reached:
        is_reached = name == "two"
        return Reached(name, is_reached, format_lsn(found[-1]), "0/5", 0 if is_reached else 3, 2.0)

    monkeypatch.setattr(command, "wait", wait)
    return lambda *arguments: call("wait-for", *arguments)


def test_reached_position_is_success(run: Any) -> None:
    code, out, err = run("two", "--lsn", "16/B374D848")
    assert (code, out, err) == (0, "two: reached 16/B374D848 after 2.0 s\n", "")


def test_timeout_names_state_and_way_out(run: Any) -> None:
    code, out, _ = run("one", "--now", "--json")
    found = json.loads(out)
    assert (code, found["reached"], found["unapplied"], found["state"]) == (3, False, 3, "paused")
    code, out, _ = run("one", "--now")
    assert " ".join(out.split()) == (
        "one: not reached 0/7 within 2.0 s: 3 events are not applied; its state is paused "
        "(maintenance): sink-runner resume one"
    )


def test_all_waits_for_streaming_mappings(run: Any) -> None:
    code, out, _ = run("--all", "--now", "--json")
    assert (code, [json.loads(line)["mapping"] for line in out.splitlines()]) == (3, ["one", "two"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--now",), 2),
        (("one",), 2),
        (("one", "--now", "--lsn", "0/1"), 2),
        (("--all", "--lsn", "0/1"), 2),
        (("one", "--lsn", "12"), 2),
        (("one", "--now", "--timeout", "nan"), 2),
        (("batches", "--now"), 78),
    ],
    ids=str,
)
def test_wrong_usage_is_refused(run: Any, arguments: tuple[str, ...], expected: int) -> None:
    code, _, err = run(*arguments)
    assert code == expected
    assert err


def test_all_needs_a_streaming_mapping(run: Any, configured: Any) -> None:
    configured("batches")
    code, _, err = run("--all", "--now")
    assert (code, "no mapping that is on applies events" in err) == (78, True)
