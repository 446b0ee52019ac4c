"""``sink-runner dlq list`` and ``show``: which dead letters there are, and what is seen of them."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"
IN_CLEAR = ("export", "--as", "judge", "--clear")


def spoil(office: Any) -> None:
    """A dead letter of each kind: refused by the target, by a rule, not decoded; one that waits."""
    office.send(office.event(1, "bad", full_name=SECRET))
    office.send(office.event(1, "b", full_name=SECRET))
    office.send(office.event(2, "z"), office.event(3)._replace(value=b"\0\0\0\0\2" + b"\xff" * 9))


class TestList:
    def test_all_that_is_open_with_its_reason(self, office: Any) -> None:
        spoil(office)
        found = office.json("list")
        assert [one["error_class"] for one in found] == [
            "WriteError",
            "QualityError",
            "DecodeError",
        ]
        assert found[0]["sqlstate"] == "23514"
        assert found[0]["id"] == office.id()
        assert {one["status"] for one in found} == {"OPEN"}

    @pytest.mark.parametrize(
        ("options", "count"),
        [
            (("--status", "PARKED"), 1),
            (("--status", "ALL"), 4),
            (("--error", "QualityError"), 1),
            (("--error", "23514"), 1),
            (("--mapping", "people"), 3),
            (("--most", "2"), 2),
        ],
    )
    def test_filters(self, office: Any, options: tuple[str, ...], count: int) -> None:
        spoil(office)
        assert len(office.json("list", *options)) == count

    def test_by_time(self, office: Any) -> None:
        spoil(office)
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert len(office.json("list", "--since", later)) == 0
        assert len(office.json("list", "--until", later)) == 3

    @pytest.mark.parametrize("key", ["1", '{"id": 1}', '{"id": "1"}'])
    def test_by_key_as_a_person_writes_it(self, office: Any, key: str) -> None:
        spoil(office)
        found = office.json("list", "--key", key, "--status", "ALL")
        assert [one["offset"] for one in found] == [1, 2]
        assert office.json("list", "--key", "77", "--status", "ALL") == []

    def test_summary_counts(self, office: Any) -> None:
        spoil(office)
        found = office.json("list", "--summary", "--status", "ALL")
        assert {(one["error_class"], one["status"], one["dead_letters"]) for one in found} == {
            ("WriteError", "OPEN", 1),
            ("QualityError", "OPEN", 1),
            ("DecodeError", "OPEN", 1),
            ("WaitingError", "PARKED", 1),
        }

    def test_a_table_for_people(self, office: Any) -> None:
        spoil(office)
        code, out, err = office.dlq("list")
        assert (code, err) == (0, "")
        assert "people" in out
        assert SECRET not in out

    @pytest.mark.parametrize("text", ["[/ops]", "[redacted]", "[b]x[/b]", ":cat:"])
    @pytest.mark.parametrize("options", [(), ("--summary",)])
    def test_markup_is_printed_as_text(
        self, office: Any, text: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        spoil(office)
        office.admin.execute(
            "UPDATE sink.dead_letter SET flow = %s, error_class = %s", (text, text)
        )
        code, out, err = office.dlq("list", "--wide", *options)
        assert (code, err, out.count(text)) == (0, "", 4 if options else 6)

    def test_unknown_mapping_is_reported_with_nearest(self, office: Any) -> None:
        spoil(office)
        for action in (("list",), ("list", "--summary"), ("export",), ("replay", "--dry-run")):
            code, out, err = office.dlq(*action, "--mapping", "peopel")
            assert (code, out) == (78, "")
            assert "did you mean 'people'?" in err

    def test_plugin_that_is_gone_may_have_dead_letters(self, office: Any) -> None:
        spoil(office)
        office.admin.execute(
            "UPDATE sink.dead_letter SET flow = 'gone' WHERE dlq_id = %s",
            office.dead_letters("dlq_id")[:1],
        )
        assert len(office.json("list", "--mapping", "gone")) == 1
        assert office.json("list", "--mapping", "gone", "--status", "DISCARDED") == []
        assert "did you mean 'gone'?" in office.dlq("list", "--mapping", "gonne")[2]

    def test_of_plugin_without_dead_letters_there_are_none(self, office: Any) -> None:
        assert office.json("list", "--mapping", "people") == []

    @pytest.mark.parametrize("most", ["-1", "0", "99999999999999999999", "x"])
    def test_how_many_has_to_be_a_number(self, office: Any, most: str) -> None:
        code, _, err = office.dlq("list", "--most", most)
        assert (code, "--most" in err) == (2, True)

    def test_what_postgresql_can_not_take_is_a_sentence(self, office: Any) -> None:
        code, _, err = office.dlq("list", "--error", "a\0b")
        assert (code, len(err.splitlines())) == (1, 1)


class TestShow:
    def test_what_failed_and_its_row_masked(self, office: Any) -> None:
        spoil(office)
        found = office.json("show", office.id())
        assert found["after"]["town"] == "Kota"
        assert found["after"]["note"] == "bad"
        assert found["key"] == {"id": 1}
        assert found["error_class"] == "WriteError"
        assert "WriteError" in found["stack_trace"]
        assert SECRET not in json.dumps(found)

    @pytest.mark.parametrize(
        ("user", "name"),
        [
            ("nobody-knows-him", "***MASKED***"),
            ("clerk", "Xxxxxxxxxxx Xxxxxxxxxx"),
            ("judge", "***MASKED***"),  # may see it, and has to ask for it
        ],
    )
    def test_the_policies_say_how(self, office: Any, user: str, name: str) -> None:
        spoil(office)
        assert office.json("show", office.id(), "--as", user)["after"]["full_name"] == name

    def test_unmasked_access_is_recorded_first(self, office: Any) -> None:
        spoil(office)
        found = office.json("show", office.id(), "--as", "judge", "--clear")
        assert found["after"]["full_name"] == SECRET
        (entry,) = office.audited("read_clear")
        assert (entry["user"], entry["dlq_id"]) == ("judge", office.dead_letters("dlq_id")[0])
        assert entry["columns"] == ["full_name"]

    def test_not_if_it_can_not_be_written_down(self, office: Any) -> None:
        spoil(office)
        office.admin.execute("REVOKE INSERT ON sink.audit_log FROM sink_writer")
        code, out, err = office.dlq("show", office.id(), "--as", "judge", "--clear")
        assert (code, out) == (78, "")  # a grant is missing
        assert "audit_log" in err

    @pytest.mark.parametrize("user", ["clerk", "nobody-knows-him"])
    def test_not_for_others(self, office: Any, user: str) -> None:
        spoil(office)
        code, out, err = office.dlq("show", office.id(), "--as", user, "--clear")
        assert (code, out) == (1, "")
        assert "MASK_NONE" in err
        assert office.audited("read_clear") == []

    def test_masked_it_is_written_down_too(self, office: Any) -> None:
        spoil(office)
        office.json("show", office.id(), "--as", "clerk")
        (entry,) = office.audited("read_masked")
        assert (entry["user"], entry["dlq_ids"]) == ("clerk", office.dead_letters("dlq_id")[:1])
        assert (entry["mapping"], entry["letters"]) == ("people", 1)
        assert SECRET not in json.dumps(entry)

    def test_unmasked_value_is_not_called_masked(self, office: Any) -> None:
        spoil(office)
        office.json("show", office.id(), "--as", "judge", "--clear")
        assert office.audited("read_masked") == []

    @pytest.mark.parametrize("action", ["show", "explain", "export"])
    @pytest.mark.parametrize(
        "refuse",
        [
            "REVOKE INSERT ON sink.audit_log FROM sink_writer",
            "ALTER ROLE sink_writer IN DATABASE {} SET default_transaction_read_only = on",
            "DROP TABLE sink.audit_log",
        ],
    )
    def test_masked_row_needs_no_record(self, office: Any, action: str, refuse: str) -> None:
        """A role that may only read sees no more than what the policies show anybody."""
        spoil(office)
        office.admin.execute(refuse.format(office.database))
        before = office.dead_letters("dlq_id")
        _, out, err = office.dlq(action, office.id())
        assert office.database in out
        assert err.count(f"not written into the audit log of {office.database}:") == 1
        assert office.dead_letters("dlq_id") == before

    def test_nor_without_the_key(self, office: Any) -> None:
        spoil(office)
        office.configure("two")
        code, out, err = office.dlq("show", office.id(), "--as", "judge", "--clear")
        assert (code, out) == (1, "")
        assert "'one'" in err
        assert "old_keys" in office.json("show", office.id())["unreadable"]

    def test_unclassified_personal_column_is_hidden(self, office: Any) -> None:
        spoil(office)
        path: Path = office.policies / "classification.json"
        content = json.loads(path.read_text())
        content["not_personal"] = {}
        path.write_text(json.dumps(content))
        for user in ("clerk", "judge"):
            shown = office.json("show", office.id(), "--as", user)["after"]
            assert (shown["note"], shown["id"]) == ("***MASKED***", 1)

    def test_undecodable_payload_is_not_shown(self, office: Any) -> None:
        spoil(office)
        found = office.json("show", office.id(3))
        assert "unreadable" in found
        assert "after" not in found

    @pytest.mark.parametrize(
        "name",
        ["nowhere/1", "x", "{database}/x", "{database}/99", "{database}/99999999999999999999"],
    )
    def test_dead_letter_that_is_not_there_is_told(self, office: Any, name: str) -> None:
        code, out, err = office.dlq("show", name.format(database=office.database))
        assert (code, out) == (78, "")
        assert err


class TestWhoLooked:
    def test_list_shows_no_row_and_records_nothing(self, office: Any) -> None:
        spoil(office)
        shown = json.dumps(office.json("list", "--status", "ALL")) + office.dlq("list")[1]
        for value in (SECRET, "Kota", "Zarathustra"):
            assert value not in shown
        office.json("list", "--summary")
        assert office.audited("read_masked") == []

    def test_to_explain_one_is_to_read_it(self, office: Any) -> None:
        spoil(office)
        office.json("explain", office.id(), "--as", "clerk")
        (entry,) = office.audited("read_masked")
        assert (entry["user"], entry["dlq_ids"]) == ("clerk", office.dead_letters("dlq_id")[:1])

    def test_an_export_names_each_dead_letter(self, office: Any) -> None:
        office.send(office.event(1, "bad", full_name=SECRET))
        office.multiply(620)
        assert office.dlq("export", "--status", "ALL")[0] == 0
        entries = office.audited("read_masked")
        assert max(len(entry["dlq_ids"]) for entry in entries) == 100
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == office.dead_letters("dlq_id")

    def test_an_export_in_clear_names_each_dead_letter(self, office: Any) -> None:
        office.send(office.event(1, "bad", full_name=SECRET))
        office.multiply(620)
        assert office.dlq("export", "--as", "judge", "--clear")[0] == 0
        entries = office.audited("read_clear")
        assert {tuple(entry["columns"]) for entry in entries} == {("full_name",)}
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == office.dead_letters("dlq_id")
        assert office.audited("read_masked") == []

    def test_the_log_is_told_with_what_was_done(
        self, office: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        spoil(office)
        office.dlq("show", office.id())
        code, out, _ = office.call("audit")
        assert (code, "read_masked" in out) == (0, True)


class TestExport:
    def test_a_line_a_dead_letter_masked(self, office: Any) -> None:
        spoil(office)
        code, out, _ = office.dlq("export", "--status", "ALL")
        assert code == 0
        assert [json.loads(line)["offset"] for line in out.splitlines()] == [1, 2, 3, 4]
        assert SECRET not in out

    def test_csv_to_file_that_is_nobody_else(self, office: Any, tmp_path: Path) -> None:
        spoil(office)
        path = tmp_path / "letters.csv"
        code, _, err = office.dlq("export", "--format", "csv", "--output", str(path))
        assert code == 0, err
        lines = path.read_text().splitlines()
        assert lines[0].startswith("id,flow,topic")
        assert (path.stat().st_mode & 0o777) == 0o600
        assert SECRET not in path.read_text()

    @pytest.mark.parametrize("name", ["nowhere/letters", "."])
    def test_file_that_can_not_be_written_is_told(
        self, office: Any, tmp_path: Path, name: str
    ) -> None:
        code, _, err = office.dlq("export", "--output", str(tmp_path / name))
        assert (code, len(err.splitlines())) == (78, 1)
        assert "cannot write" in err

    def test_in_clear_it_is_written_down(self, office: Any) -> None:
        spoil(office)
        code, out, _ = office.dlq("export", "--error", "WriteError", "--as", "judge", "--clear")
        assert (code, SECRET in out) == (0, True)
        (entry,) = office.audited("read_clear")
        assert entry["dlq_ids"] == [office.dead_letters("dlq_id")[0]]

    def test_export_file_is_private(self, office: Any, tmp_path: Path) -> None:
        """Not even to who holds it open, or has another name for it."""
        spoil(office)
        path, other = tmp_path / "letters.jsonl", tmp_path / "other"
        path.write_text("older\n")
        path.chmod(0o644)
        other.hardlink_to(path)
        code, *_ = office.dlq(*IN_CLEAR, "--error", "WriteError", "--output", str(path))
        assert (code, SECRET in path.read_text()) == (0, True)
        assert (path.stat().st_mode & 0o777) == 0o600
        assert other.read_text() == "older\n"

    def test_interrupted_export_keeps_the_file(self, office: Any, tmp_path: Path) -> None:
        spoil(office)
        path = tmp_path / "letters.jsonl"
        path.write_text("older\n")
        office.admin.execute("REVOKE INSERT ON sink.audit_log FROM sink_writer")
        assert office.dlq(*IN_CLEAR, "--output", str(path))[0] == 78  # a grant is missing
        assert path.read_text() == "older\n"
        assert [one.name for one in tmp_path.glob("*letters*")] == ["letters.jsonl"]
        assert list(tmp_path.glob(".sink-runner-*")) == []

    def test_a_link_stays_a_link(self, office: Any, tmp_path: Path) -> None:
        """As /dev/stdout is, where a file is behind it."""
        spoil(office)
        path, link = tmp_path / "letters.jsonl", tmp_path / "link"
        path.write_text("older\n")
        link.symlink_to(path)
        assert office.dlq("export", "--output", str(link))[0] == 0
        assert link.is_symlink()
        assert len(path.read_text().splitlines()) == 3
        assert (path.stat().st_mode & 0o777) == 0o600

    def test_a_pipe_stays_a_pipe(self, office: Any, tmp_path: Path) -> None:
        spoil(office)
        path, came = tmp_path / "pipe", list[str]()
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: came.append(path.read_text()), daemon=True)
        reader.start()
        assert office.dlq("export", "--output", str(path))[0] == 0
        reader.join(10)
        assert path.is_fifo()
        assert len("".join(came).splitlines()) == 3

    @pytest.mark.parametrize("encrypted", ["other", "", "00"])
    def test_undecryptable_dead_letter_stops_no_others(
        self, office: Any, tmp_path: Path, encrypted: str
    ) -> None:
        office.send(office.event(1, "bad", full_name=SECRET))
        office.multiply(1)
        lost, found = office.dead_letters("dlq_id")
        data = os.urandom(99) if encrypted == "other" else bytes.fromhex(encrypted)
        office.admin.execute(
            "UPDATE sink.dead_letter SET source_data = %s WHERE dlq_id = %s", (data, lost)
        )
        path = tmp_path / "letters.jsonl"
        code, _, err = office.dlq(*IN_CLEAR, "--output", str(path))
        without, whole = map(json.loads, path.read_text().splitlines())
        assert code == 1
        assert f"{office.database}/{lost} is without its payload" in err
        assert "after" not in without
        assert "old_keys" in without["unreadable"]
        assert whole["after"]["full_name"] == SECRET
        (entry,) = office.audited("read_clear")
        assert entry["dlq_ids"] == [found]

    def test_nor_does_one_that_can_not_be_decoded(self, office: Any) -> None:
        spoil(office)
        code, out, err = office.dlq(*IN_CLEAR)
        records = [json.loads(line) for line in out.splitlines()]
        assert (code, len(records), SECRET in out) == (1, 3, True)
        assert ["unreadable" in record for record in records] == [False, False, True]
        assert err.count("without its payload") == 1

    def test_a_registry_that_is_away_breaks_it_off(self, office: Any, tmp_path: Path) -> None:
        """It says nothing of the dead letters: the same command is right in a minute."""
        spoil(office)
        office.url = "http://127.0.0.1:9"
        office.configure()
        path = tmp_path / "letters.jsonl"
        code, *_ = office.dlq(*IN_CLEAR, "--output", str(path))
        assert (code, path.exists()) == (1, False)
