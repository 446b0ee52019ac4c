"""``sink-runner dlq replay`` and ``discard``: the selection, the decision and its outcome."""

import threading
from typing import Any

import pytest

from sink_runner.inspection.replay import replay
from sink_runner.postgres.session import connect

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"
REPAIR = "ALTER TABLE profile DROP CONSTRAINT profile_note_check"


def send_failing_row(harness: Any) -> None:
    """Send an event that the target rejects, two later ones of its row, and one of another row."""
    for note in ("bad", "b", "c"):
        harness.send(harness.event(1, note, full_name=SECRET))
    harness.send(harness.event(2, "a"))


class TestReplay:
    def test_repaired_event_is_applied_in_order(self, harness: Any) -> None:
        send_failing_row(harness)
        assert harness.written_notes(1) == []
        harness.admin.execute(REPAIR)
        harness.retry()
        assert harness.written_notes(1) == []  # not replayed before an operator decides
        assert harness.dlq("replay", harness.id())[0] == 0
        harness.retry()
        assert harness.written_notes(1)[-1] == "c"
        assert harness.dead_letters("status") == ["REPLAYED"] * 3

    def test_replayed_event_is_masked_once(self, harness: Any) -> None:
        """A dead letter stores the source event, so its replay writes the row of a direct write."""
        harness.send(harness.event(1, "bad", full_name=SECRET))
        harness.admin.execute(REPAIR)
        harness.dlq("replay", harness.id())
        harness.retry()
        harness.send(harness.event(2, "bad", full_name=SECRET))
        rows = harness.rows()
        assert rows[1] == rows[2] == ("Xxxxxxxxxxx Xxxxxxxxxx", "Kota", "bad")

    def test_failed_replay_counts_attempt_and_stays_open(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        for tries in (1, 2):
            assert harness.dlq("replay", harness.id())[0] == 0
            harness.retry()
            (first, *_) = harness.dead_letters("status", "attempts", "error_class")
            assert first == ("OPEN", tries, "WriteError")
        assert harness.written_notes(1) == []

    def test_several_dead_letters_need_yes(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        harness.send(harness.event(2, "z"))
        code, out, err = harness.dlq("replay", "--mapping", "people")
        assert (code, out.split()) == (1, [harness.id(0), harness.id(1)])
        assert "--yes" in err
        assert harness.dead_letters("status") == ["OPEN", "OPEN"]
        assert harness.dlq("replay", "--mapping", "people", "--yes")[0] == 0
        assert harness.dead_letters("status") == ["PARKED", "PARKED"]

    def test_dry_run_lists_selection(self, harness: Any) -> None:
        send_failing_row(harness)
        code, out, err = harness.dlq("replay", "--error", "23514", "--dry-run")
        assert (code, out, err) == (0, harness.id() + "\n", "")
        assert harness.dead_letters("status")[0] == "OPEN"

    def test_replay_without_selection_is_refused(self, harness: Any) -> None:
        send_failing_row(harness)
        assert harness.dlq("replay", "--yes")[0] == 78

    def test_wait_reports_outcomes(self, harness: Any) -> None:
        send_failing_row(harness)
        harness.send(harness.event(3, "z"))
        harness.admin.execute(REPAIR)
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.05):
                harness.retry()

        runner = threading.Thread(target=run)
        runner.start()
        try:
            code, out, _ = harness.dlq(
                *("replay", "--mapping", "people", "--yes", "--wait", "--timeout", "20")
            )
        finally:
            stop.set()
            runner.join()
        assert code == 1
        assert f"{harness.id(0)}: replayed (1 tries)" in out
        assert f"{harness.id(3)}: failed again (1 tries)" in out

    def test_replay_is_audited(self, harness: Any) -> None:
        send_failing_row(harness)
        harness.dlq("replay", harness.id())
        (entry,) = harness.audit_details("replay")
        assert entry["dlq_ids"] == [harness.dead_letters("dlq_id")[0]]

    def test_dead_letter_settled_meanwhile_is_not_replayed(self, harness: Any) -> None:
        """Another process may settle a dead letter between its selection and its replay."""
        harness.send(harness.event(1, "bad"))
        ids = harness.dead_letters("dlq_id")
        harness.dlq("discard", harness.id(), "--reason", "made up")
        with connect(harness.dsn, "test") as connection:
            assert replay(connection, ids, user="me") == []
        assert harness.dead_letters("status") == ["DISCARDED"]
        assert harness.audit_details("replay") == []


class TestDiscard:
    def test_later_events_of_row_are_applied(self, harness: Any) -> None:
        send_failing_row(harness)
        assert harness.dlq("discard", harness.id(), "--reason", "made up")[0] == 0
        harness.retry()
        assert harness.written_notes(1)[-1] == "c"
        assert harness.dead_letters("status") == ["DISCARDED", "REPLAYED", "REPLAYED"]

    def test_audit_has_user_and_masked_reason(self, harness: Any) -> None:
        send_failing_row(harness)
        harness.dlq("discard", harness.id(), "--reason", "caller 9876543210 agreed")
        (entry,) = harness.audit_details("discard")
        assert entry["reason"] == "caller ***MASKED*** agreed"
        assert entry["user"]

    def test_audit_names_each_of_many_dead_letters(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        harness.multiply(204)
        options = ("--mapping", "people", "--reason", "made up", "--yes")
        assert harness.dlq("discard", *options)[0] == 0
        entries = harness.audit_details("discard")
        assert [entry["letters"] for entry in entries] == [100, 100, 5]
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == harness.dead_letters("dlq_id")

    def test_missing_or_blank_reason_is_refused(self, harness: Any) -> None:
        send_failing_row(harness)
        assert harness.dlq("discard", harness.id())[0] == 2
        assert harness.dlq("discard", harness.id(), "--reason", " ")[0] == 78
        assert harness.dead_letters("status")[0] == "OPEN"

    def test_applied_dead_letter_cannot_be_discarded(self, harness: Any) -> None:
        send_failing_row(harness)
        harness.admin.execute(REPAIR)
        harness.dlq("replay", harness.id())
        harness.retry()
        assert harness.dlq("discard", harness.id(), "--reason", "late")[0] == 1
        assert harness.dead_letters("status") == ["REPLAYED"] * 3

    @pytest.mark.parametrize(
        ("options", "statuses"),
        [
            (("--status", "OPEN"), ["DISCARDED", "PARKED"]),
            (("--status", "PARKED"), ["OPEN", "DISCARDED"]),
            (("--status", "ALL"), ["DISCARDED", "DISCARDED"]),
            ((), ["DISCARDED", "PARKED"]),
        ],
    )
    def test_only_selected_statuses_are_discarded(
        self, harness: Any, options: tuple[str, ...], statuses: list[str]
    ) -> None:
        harness.send(harness.event(1, "bad"))
        harness.send(harness.event(1, "b"))
        arguments = ("discard", "--mapping", "people", "--reason", "made up", "--yes")
        assert harness.dlq(*arguments, *options)[0] == 0
        assert harness.dead_letters("status") == statuses

    def test_status_also_filters_named_dead_letters(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        harness.send(harness.event(1, "b"))
        ids = (harness.id(0), harness.id(1))
        harness.dlq("discard", *ids, "--reason", "made up", "--yes", "--status", "PARKED")
        assert harness.dead_letters("status") == ["OPEN", "DISCARDED"]
        harness.dlq("discard", *ids, "--reason", "made up", "--yes")
        assert harness.dead_letters("status") == ["DISCARDED", "DISCARDED"]


@pytest.mark.parametrize(
    "argv",
    [
        ("discard", "--reason", "made up", "--status", "REPLAYED"),
        ("discard", "--reason", "made up", "--status", "DISCARDED"),
        ("replay", "--status", "DISCARDED"),
        ("replay", "--status", "PARKED"),
        ("replay", "--status", "ALL"),
    ],
)
def test_status_that_action_cannot_select_is_refused(harness: Any, argv: tuple[str, ...]) -> None:
    """The refusal changes no dead letter: the default status OPEN is not used instead."""
    harness.send(harness.event(1, "bad"), harness.event(2, "bad"))
    code, _, err = harness.dlq(*argv, "--mapping", "people", "--yes")
    assert (code, "'--status'" in err) == (2, True)
    assert harness.dead_letters("status") == ["OPEN", "OPEN"]


def test_help_explains_status_all(call: Any) -> None:
    assert "ALL is both of the others" in " ".join(call("dlq", "discard", "--help")[1].split())


@pytest.mark.parametrize("time", ["nan", "inf", "-1"])
def test_infinite_or_negative_timeout_is_refused(harness: Any, time: str) -> None:
    harness.send(harness.event(1, "bad"))
    assert harness.dlq("replay", harness.id(), "--wait", "--timeout", time)[0] == 2
    assert harness.dead_letters("status") == ["OPEN"]


class TestPayload:
    """The payload is deleted when the dead letter is settled, and not before."""

    def test_replayed_and_discarded_dead_letters_have_none(self, harness: Any) -> None:
        send_failing_row(harness)
        harness.send(harness.event(3, "bad"))
        assert all(harness.dead_letters("source_data"))
        harness.dlq("discard", harness.id(3), "--reason", "test")
        assert harness.dead_letters("source_data IS NULL") == [False, False, False, True]
        harness.admin.execute(REPAIR)
        harness.dlq("replay", harness.id())
        harness.retry()
        assert harness.dead_letters("source_data", "settled_at IS NULL") == [(None, False)] * 4

    def test_superseded_dead_letter_has_none(self, superseding: Any) -> None:
        superseding.send(superseding.event(1, "bad"))
        superseding.send(superseding.event(1, "b"))
        assert superseding.dead_letters("status", "source_data") == [("SUPERSEDED", None)]

    def test_settled_dead_letter_is_shown_without_row(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        harness.dlq("discard", harness.id(), "--reason", "test")
        assert "its payload was deleted" in harness.json("show", harness.id())["unreadable"]

    def test_settled_dead_letters_need_no_key(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad"))
        harness.dlq("discard", harness.id(), "--reason", "test")
        harness.stop()
        harness.configure("two", "one")
        (record,) = harness.json("rekey")
        assert (record["changed"], record["unopened"]) == (0, 0)
        assert harness.dlq("rekey", "--fingerprints")[0] == 0
        assert harness.dead_letters("event_key_hash") == [None]
        harness.start()
