"""``sink-runner dlq replay`` and ``discard``: what a person decides, and what becomes of it."""

import threading
from typing import Any

import pytest

from sink_runner.inspection.replay import replay
from sink_runner.postgres.session import connect

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"
WIDEN = "ALTER TABLE profile DROP CONSTRAINT profile_note_check"


def failed(office: Any) -> None:
    """One that the target refuses, two behind it, and one of another row."""
    for note in ("bad", "b", "c"):
        office.send(office.event(1, note, full_name=SECRET))
    office.send(office.event(2, "a"))


class TestReplay:
    def test_repaired_event_is_applied_in_order(self, office: Any) -> None:
        failed(office)
        assert office.order(1) == []
        office.admin.execute(WIDEN)
        office.retry()
        assert office.order(1) == []  # nobody has decided yet
        assert office.dlq("replay", office.id())[0] == 0
        office.retry()
        assert office.order(1)[-1] == "c"
        assert office.dead_letters("status") == ["REPLAYED"] * 3

    def test_replayed_is_what_direct_would_have_been(self, office: Any) -> None:
        """The dead letter holds the event itself, so what a policy masks is masked once."""
        office.send(office.event(1, "bad", full_name=SECRET))
        office.admin.execute(WIDEN)
        office.dlq("replay", office.id())
        office.retry()
        office.send(office.event(2, "bad", full_name=SECRET))
        rows = office.rows()
        assert rows[1] == rows[2] == ("Xxxxxxxxxxx Xxxxxxxxxx", "Kota", "bad")

    def test_failed_replay_is_open_with_count(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        for tries in (1, 2):
            assert office.dlq("replay", office.id())[0] == 0
            office.retry()
            (first, *_) = office.dead_letters("status", "attempts", "error_class")
            assert first == ("OPEN", tries, "WriteError")
        assert office.order(1) == []

    def test_more_than_one_wants_a_yes(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        office.send(office.event(2, "z"))
        code, out, err = office.dlq("replay", "--mapping", "people")
        assert (code, out.split()) == (1, [office.id(0), office.id(1)])
        assert "--yes" in err
        assert office.dead_letters("status") == ["OPEN", "OPEN"]
        assert office.dlq("replay", "--mapping", "people", "--yes")[0] == 0
        assert office.dead_letters("status") == ["PARKED", "PARKED"]

    def test_a_dry_run_says_which(self, office: Any) -> None:
        failed(office)
        code, out, err = office.dlq("replay", "--error", "23514", "--dry-run")
        assert (code, out, err) == (0, office.id() + "\n", "")
        assert office.dead_letters("status")[0] == "OPEN"

    def test_all_of_everything_has_to_be_meant(self, office: Any) -> None:
        failed(office)
        assert office.dlq("replay", "--yes")[0] == 78

    def test_waiting_tells_the_outcome(self, office: Any) -> None:
        failed(office)
        office.send(office.event(3, "z"))
        office.admin.execute(WIDEN)
        stop = threading.Event()

        def run() -> None:
            while not stop.wait(0.05):
                office.retry()

        runner = threading.Thread(target=run)
        runner.start()
        try:
            code, out, _ = office.dlq(
                *("replay", "--mapping", "people", "--yes", "--wait", "--timeout", "20")
            )
        finally:
            stop.set()
            runner.join()
        assert code == 1
        assert f"{office.id(0)}: replayed (1 tries)" in out
        assert f"{office.id(3)}: failed again (1 tries)" in out

    def test_it_is_written_down(self, office: Any) -> None:
        failed(office)
        office.dlq("replay", office.id())
        (entry,) = office.audited("replay")
        assert entry["dlq_ids"] == [office.dead_letters("dlq_id")[0]]

    def test_what_somebody_has_settled_meanwhile_is_left_alone(self, office: Any) -> None:
        """Dead letters are chosen first and decided on later."""
        office.send(office.event(1, "bad"))
        ids = office.dead_letters("dlq_id")
        office.dlq("discard", office.id(), "--reason", "made up")
        with connect(office.dsn, "test") as connection:
            assert replay(connection, ids, user="me") == []
        assert office.dead_letters("status") == ["DISCARDED"]
        assert office.audited("replay") == []


class TestDiscard:
    def test_what_waits_behind_goes_on(self, office: Any) -> None:
        failed(office)
        assert office.dlq("discard", office.id(), "--reason", "made up")[0] == 0
        office.retry()
        assert office.order(1)[-1] == "c"
        assert office.dead_letters("status") == ["DISCARDED", "REPLAYED", "REPLAYED"]

    def test_who_and_why_is_written_down_without_numbers(self, office: Any) -> None:
        failed(office)
        office.dlq("discard", office.id(), "--reason", "caller 9876543210 asked")
        (entry,) = office.audited("discard")
        assert entry["reason"] == "caller ***MASKED*** asked"
        assert entry["user"]

    def test_of_many_dead_letters_each_is_written_down(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        office.multiply(204)
        given = ("--mapping", "people", "--reason", "made up", "--yes")
        assert office.dlq("discard", *given)[0] == 0
        entries = office.audited("discard")
        assert [entry["letters"] for entry in entries] == [100, 100, 5]
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == office.dead_letters("dlq_id")

    def test_not_without_a_reason(self, office: Any) -> None:
        failed(office)
        assert office.dlq("discard", office.id())[0] == 2
        assert office.dlq("discard", office.id(), "--reason", " ")[0] == 78
        assert office.dead_letters("status")[0] == "OPEN"

    def test_applied_dead_letter_cannot_be_discarded(self, office: Any) -> None:
        failed(office)
        office.admin.execute(WIDEN)
        office.dlq("replay", office.id())
        office.retry()
        assert office.dlq("discard", office.id(), "--reason", "late")[0] == 1
        assert office.dead_letters("status") == ["REPLAYED"] * 3

    @pytest.mark.parametrize(
        ("options", "left"),
        [
            (("--status", "OPEN"), ["DISCARDED", "PARKED"]),
            (("--status", "PARKED"), ["OPEN", "DISCARDED"]),
            (("--status", "ALL"), ["DISCARDED", "DISCARDED"]),
            ((), ["DISCARDED", "PARKED"]),
        ],
    )
    def test_of_the_status_that_was_asked_for(
        self, office: Any, options: tuple[str, ...], left: list[str]
    ) -> None:
        office.send(office.event(1, "bad"))
        office.send(office.event(1, "b"))
        given = ("discard", "--mapping", "people", "--reason", "made up", "--yes")
        assert office.dlq(*given, *options)[0] == 0
        assert office.dead_letters("status") == left

    def test_named_dead_letters_must_have_the_status(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        office.send(office.event(1, "b"))
        ids = (office.id(0), office.id(1))
        office.dlq("discard", *ids, "--reason", "made up", "--yes", "--status", "PARKED")
        assert office.dead_letters("status") == ["OPEN", "DISCARDED"]
        office.dlq("discard", *ids, "--reason", "made up", "--yes")
        assert office.dead_letters("status") == ["DISCARDED", "DISCARDED"]


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
def test_status_that_action_is_not_for_is_refused(office: Any, argv: tuple[str, ...]) -> None:
    """Nor are open dead letters taken in their place: it can't be undone."""
    office.send(office.event(1, "bad"), office.event(2, "bad"))
    code, _, err = office.dlq(*argv, "--mapping", "people", "--yes")
    assert (code, "'--status'" in err) == (2, True)
    assert office.dead_letters("status") == ["OPEN", "OPEN"]


def test_help_says_what_all_of_them_are(call: Any) -> None:
    assert "ALL is both of the others" in " ".join(call("dlq", "discard", "--help")[1].split())


@pytest.mark.parametrize("time", ["nan", "inf", "-1"])
def test_to_wait_for_ever_is_refused(office: Any, time: str) -> None:
    office.send(office.event(1, "bad"))
    assert office.dlq("replay", office.id(), "--wait", "--timeout", time)[0] == 2
    assert office.dead_letters("status") == ["OPEN"]


class TestPayload:
    """It is deleted by whatever settles the dead letter, and not before."""

    def test_replayed_and_discarded_dead_letters_have_none(self, office: Any) -> None:
        failed(office)
        office.send(office.event(3, "bad"))
        assert all(office.dead_letters("source_data"))
        office.dlq("discard", office.id(3), "--reason", "test")
        assert office.dead_letters("source_data IS NULL") == [False, False, False, True]
        office.admin.execute(WIDEN)
        office.dlq("replay", office.id())
        office.retry()
        assert office.dead_letters("source_data", "settled_at IS NULL") == [(None, False)] * 4

    def test_superseded_dead_letter_has_none(self, replacing: Any) -> None:
        replacing.send(replacing.event(1, "bad"))
        replacing.send(replacing.event(1, "b"))
        assert replacing.dead_letters("status", "source_data") == [("SUPERSEDED", None)]

    def test_settled_dead_letter_is_shown_without_its_row(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        office.dlq("discard", office.id(), "--reason", "test")
        assert "its payload was deleted" in office.json("show", office.id())["unreadable"]

    def test_settled_dead_letters_need_no_key(self, office: Any) -> None:
        office.send(office.event(1, "bad"))
        office.dlq("discard", office.id(), "--reason", "test")
        office.stop()
        office.configure("two", "one")
        (record,) = office.json("rekey")
        assert (record["changed"], record["unopened"]) == (0, 0)
        assert office.dlq("rekey", "--fingerprints")[0] == 0
        assert office.dead_letters("event_key_hash") == [None]
        office.start()
