"""``sink-runner dlq list``, ``show`` and ``export``: selection, masking and audit."""

import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
SECRET = "Zarathustra Sevenstein"
UNMASKED_EXPORT = ("export", "--as", "auditor", "--clear")


def send_failing_events(harness: Any) -> None:
    """Dead letters rejected by the target, by a rule and by the decoder, and a deferred event."""
    harness.send(harness.event(1, "bad", full_name=SECRET))
    harness.send(harness.event(1, "b", full_name=SECRET))
    harness.send(
        harness.event(2, "z"), harness.event(3)._replace(value=b"\0\0\0\0\2" + b"\xff" * 9)
    )


class TestList:
    def test_open_dead_letters_are_listed_with_error(self, harness: Any) -> None:
        send_failing_events(harness)
        found = harness.json("list")
        assert [one["error_class"] for one in found] == [
            "WriteError",
            "QualityError",
            "DecodeError",
        ]
        assert found[0]["sqlstate"] == "23514"
        assert found[0]["id"] == harness.id()
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
    def test_options_filter(self, harness: Any, options: tuple[str, ...], count: int) -> None:
        send_failing_events(harness)
        assert len(harness.json("list", *options)) == count

    def test_since_and_until_filter(self, harness: Any) -> None:
        send_failing_events(harness)
        later = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        assert len(harness.json("list", "--since", later)) == 0
        assert len(harness.json("list", "--until", later)) == 3

    @pytest.mark.parametrize("key", ["1", '{"id": 1}', '{"id": "1"}'])
    def test_key_filter_accepts_value_or_json(self, harness: Any, key: str) -> None:
        send_failing_events(harness)
        found = harness.json("list", "--key", key, "--status", "ALL")
        assert [one["offset"] for one in found] == [1, 2]
        assert harness.json("list", "--key", "77", "--status", "ALL") == []

    def test_summary_counts(self, harness: Any) -> None:
        send_failing_events(harness)
        found = harness.json("list", "--summary", "--status", "ALL")
        assert {(one["error_class"], one["status"], one["dead_letters"]) for one in found} == {
            ("WriteError", "OPEN", 1),
            ("QualityError", "OPEN", 1),
            ("DecodeError", "OPEN", 1),
            ("WaitingError", "PARKED", 1),
        }

    def test_table_shows_no_personal_value(self, harness: Any) -> None:
        send_failing_events(harness)
        code, out, err = harness.dlq("list")
        assert (code, err) == (0, "")
        assert "people" in out
        assert SECRET not in out

    @pytest.mark.parametrize("text", ["[/ops]", "[redacted]", "[b]x[/b]", ":cat:"])
    @pytest.mark.parametrize("options", [(), ("--summary",)])
    def test_markup_is_printed_as_text(
        self, harness: Any, text: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        send_failing_events(harness)
        harness.admin.execute(
            "UPDATE sink.dead_letter SET flow = %s, error_class = %s", (text, text)
        )
        code, out, err = harness.dlq("list", "--wide", *options)
        assert (code, err, out.count(text)) == (0, "", 4 if options else 6)

    def test_unknown_mapping_is_reported_with_nearest(self, harness: Any) -> None:
        send_failing_events(harness)
        for action in (("list",), ("list", "--summary"), ("export",), ("replay", "--dry-run")):
            code, out, err = harness.dlq(*action, "--mapping", "peopel")
            assert (code, out) == (78, "")
            assert "did you mean 'people'?" in err

    def test_dead_letters_of_removed_plugin_are_listed(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.admin.execute(
            "UPDATE sink.dead_letter SET flow = 'gone' WHERE dlq_id = %s",
            harness.dead_letters("dlq_id")[:1],
        )
        assert len(harness.json("list", "--mapping", "gone")) == 1
        assert harness.json("list", "--mapping", "gone", "--status", "DISCARDED") == []
        assert "did you mean 'gone'?" in harness.dlq("list", "--mapping", "gonne")[2]

    def test_mapping_without_dead_letters_lists_none(self, harness: Any) -> None:
        assert harness.json("list", "--mapping", "people") == []

    @pytest.mark.parametrize("most", ["-1", "0", "99999999999999999999", "x"])
    def test_invalid_limit_is_refused(self, harness: Any, most: str) -> None:
        code, _, err = harness.dlq("list", "--most", most)
        assert (code, "--most" in err) == (2, True)

    def test_nul_character_is_one_line_error(self, harness: Any) -> None:
        code, _, err = harness.dlq("list", "--error", "a\0b")
        assert (code, len(err.splitlines())) == (1, 1)


class TestShow:
    def test_error_and_masked_row_are_shown(self, harness: Any) -> None:
        send_failing_events(harness)
        found = harness.json("show", harness.id())
        assert found["after"]["town"] == "Kota"
        assert found["after"]["note"] == "bad"
        assert found["key"] == {"id": 1}
        assert found["error_class"] == "WriteError"
        assert "WriteError" in found["stack_trace"]
        assert SECRET not in json.dumps(found)

    @pytest.mark.parametrize(
        ("user", "name"),
        [
            ("unknown", "***MASKED***"),
            ("clerk", "Xxxxxxxxxxx Xxxxxxxxxx"),
            ("auditor", "***MASKED***"),  # may see the value, but only with --clear
        ],
    )
    def test_name_is_masked_for_user(self, harness: Any, user: str, name: str) -> None:
        send_failing_events(harness)
        assert harness.json("show", harness.id(), "--as", user)["after"]["full_name"] == name

    def test_unmasked_access_is_recorded_first(self, harness: Any) -> None:
        send_failing_events(harness)
        found = harness.json("show", harness.id(), "--as", "auditor", "--clear")
        assert found["after"]["full_name"] == SECRET
        (entry,) = harness.audit_details("read_clear")
        assert (entry["user"], entry["dlq_id"]) == ("auditor", harness.dead_letters("dlq_id")[0])
        assert entry["columns"] == ["full_name"]

    def test_unaudited_unmasked_access_is_refused(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.admin.execute("REVOKE INSERT ON sink.audit_log FROM sink_writer")
        code, out, err = harness.dlq("show", harness.id(), "--as", "auditor", "--clear")
        assert (code, out) == (78, "")  # a grant is missing
        assert "audit_log" in err

    @pytest.mark.parametrize("user", ["clerk", "unknown"])
    def test_unmasked_access_of_others_is_refused(self, harness: Any, user: str) -> None:
        send_failing_events(harness)
        code, out, err = harness.dlq("show", harness.id(), "--as", user, "--clear")
        assert (code, out) == (1, "")
        assert "MASK_NONE" in err
        assert harness.audit_details("read_clear") == []

    def test_masked_access_is_audited(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.json("show", harness.id(), "--as", "clerk")
        (entry,) = harness.audit_details("read_masked")
        assert (entry["user"], entry["dlq_ids"]) == ("clerk", harness.dead_letters("dlq_id")[:1])
        assert (entry["mapping"], entry["letters"]) == ("people", 1)
        assert SECRET not in json.dumps(entry)

    def test_unmasked_access_is_not_audited_as_masked(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.json("show", harness.id(), "--as", "auditor", "--clear")
        assert harness.audit_details("read_masked") == []

    @pytest.mark.parametrize("action", ["show", "explain", "export"])
    @pytest.mark.parametrize(
        "refuse",
        [
            "REVOKE INSERT ON sink.audit_log FROM sink_writer",
            "ALTER ROLE sink_writer IN DATABASE {} SET default_transaction_read_only = on",
            "DROP TABLE sink.audit_log",
        ],
    )
    def test_masked_access_works_without_audit_log(
        self, harness: Any, action: str, refuse: str
    ) -> None:
        """A read-only role can inspect masked rows; a warning says that this is not audited."""
        send_failing_events(harness)
        harness.admin.execute(refuse.format(harness.database))
        before = harness.dead_letters("dlq_id")
        _, out, err = harness.dlq(action, harness.id())
        assert harness.database in out
        assert err.count(f"not written into the audit log of {harness.database}:") == 1
        assert harness.dead_letters("dlq_id") == before

    def test_dead_letter_without_key_is_unreadable(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.configure("two")
        code, out, err = harness.dlq("show", harness.id(), "--as", "auditor", "--clear")
        assert (code, out) == (1, "")
        assert "'one'" in err
        assert "old_keys" in harness.json("show", harness.id())["unreadable"]

    def test_unclassified_personal_column_is_hidden(self, harness: Any) -> None:
        send_failing_events(harness)
        path: Path = harness.policies / "classification.json"
        content = json.loads(path.read_text())
        content["not_personal"] = {}
        path.write_text(json.dumps(content))
        for user in ("clerk", "auditor"):
            row = harness.json("show", harness.id(), "--as", user)["after"]
            assert (row["note"], row["id"]) == ("***MASKED***", 1)

    def test_undecodable_payload_is_not_shown(self, harness: Any) -> None:
        send_failing_events(harness)
        found = harness.json("show", harness.id(3))
        assert "unreadable" in found
        assert "after" not in found

    @pytest.mark.parametrize(
        "name",
        ["nowhere/1", "x", "{database}/x", "{database}/99", "{database}/99999999999999999999"],
    )
    def test_unknown_dead_letter_is_reported(self, harness: Any, name: str) -> None:
        code, out, err = harness.dlq("show", name.format(database=harness.database))
        assert (code, out) == (78, "")
        assert err


class TestAudit:
    def test_list_shows_no_row_and_records_nothing(self, harness: Any) -> None:
        send_failing_events(harness)
        printed = json.dumps(harness.json("list", "--status", "ALL")) + harness.dlq("list")[1]
        for value in (SECRET, "Kota", "Zarathustra"):
            assert value not in printed
        harness.json("list", "--summary")
        assert harness.audit_details("read_masked") == []

    def test_explain_is_audited_as_masked_read(self, harness: Any) -> None:
        send_failing_events(harness)
        harness.json("explain", harness.id(), "--as", "clerk")
        (entry,) = harness.audit_details("read_masked")
        assert (entry["user"], entry["dlq_ids"]) == ("clerk", harness.dead_letters("dlq_id")[:1])

    def test_masked_export_names_each_dead_letter(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad", full_name=SECRET))
        harness.multiply(620)
        assert harness.dlq("export", "--status", "ALL")[0] == 0
        entries = harness.audit_details("read_masked")
        assert max(len(entry["dlq_ids"]) for entry in entries) == 100
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == harness.dead_letters("dlq_id")

    def test_unmasked_export_names_each_dead_letter(self, harness: Any) -> None:
        harness.send(harness.event(1, "bad", full_name=SECRET))
        harness.multiply(620)
        assert harness.dlq("export", "--as", "auditor", "--clear")[0] == 0
        entries = harness.audit_details("read_clear")
        assert {tuple(entry["columns"]) for entry in entries} == {("full_name",)}
        named = [number for entry in entries for number in entry["dlq_ids"]]
        assert named == harness.dead_letters("dlq_id")
        assert harness.audit_details("read_masked") == []

    def test_audit_command_lists_masked_read(
        self, harness: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COLUMNS", "300")
        send_failing_events(harness)
        harness.dlq("show", harness.id())
        code, out, _ = harness.call("audit")
        assert (code, "read_masked" in out) == (0, True)


class TestExport:
    def test_export_writes_masked_line_per_dead_letter(self, harness: Any) -> None:
        send_failing_events(harness)
        code, out, _ = harness.dlq("export", "--status", "ALL")
        assert code == 0
        assert [json.loads(line)["offset"] for line in out.splitlines()] == [1, 2, 3, 4]
        assert SECRET not in out

    def test_csv_export_file_is_private(self, harness: Any, tmp_path: Path) -> None:
        send_failing_events(harness)
        path = tmp_path / "export.csv"
        code, _, err = harness.dlq("export", "--format", "csv", "--output", str(path))
        assert code == 0, err
        lines = path.read_text().splitlines()
        assert lines[0].startswith("id,flow,topic")
        assert (path.stat().st_mode & 0o777) == 0o600
        assert SECRET not in path.read_text()

    @pytest.mark.parametrize("name", ["missing/export", "."])
    def test_unwritable_file_is_reported(self, harness: Any, tmp_path: Path, name: str) -> None:
        code, _, err = harness.dlq("export", "--output", str(tmp_path / name))
        assert (code, len(err.splitlines())) == (78, 1)
        assert "cannot write" in err

    def test_unmasked_export_is_audited(self, harness: Any) -> None:
        send_failing_events(harness)
        code, out, _ = harness.dlq("export", "--error", "WriteError", "--as", "auditor", "--clear")
        assert (code, SECRET in out) == (0, True)
        (entry,) = harness.audit_details("read_clear")
        assert entry["dlq_ids"] == [harness.dead_letters("dlq_id")[0]]

    def test_export_file_is_private(self, harness: Any, tmp_path: Path) -> None:
        """A new file replaces the old one: another hard link to it keeps the old content."""
        send_failing_events(harness)
        path, other = tmp_path / "export.jsonl", tmp_path / "other"
        path.write_text("older\n")
        path.chmod(0o644)
        other.hardlink_to(path)
        code, *_ = harness.dlq(*UNMASKED_EXPORT, "--error", "WriteError", "--output", str(path))
        assert (code, SECRET in path.read_text()) == (0, True)
        assert (path.stat().st_mode & 0o777) == 0o600
        assert other.read_text() == "older\n"

    def test_interrupted_export_keeps_the_file(self, harness: Any, tmp_path: Path) -> None:
        send_failing_events(harness)
        path = tmp_path / "export.jsonl"
        path.write_text("older\n")
        harness.admin.execute("REVOKE INSERT ON sink.audit_log FROM sink_writer")
        assert harness.dlq(*UNMASKED_EXPORT, "--output", str(path))[0] == 78  # a grant is missing
        assert path.read_text() == "older\n"
        assert [one.name for one in tmp_path.glob("*export*")] == ["export.jsonl"]
        assert list(tmp_path.glob(".sink-runner-*")) == []

    def test_symbolic_link_is_followed(self, harness: Any, tmp_path: Path) -> None:
        """/dev/stdout is such a link when it is redirected to a file."""
        send_failing_events(harness)
        path, link = tmp_path / "export.jsonl", tmp_path / "link"
        path.write_text("older\n")
        link.symlink_to(path)
        assert harness.dlq("export", "--output", str(link))[0] == 0
        assert link.is_symlink()
        assert len(path.read_text().splitlines()) == 3
        assert (path.stat().st_mode & 0o777) == 0o600

    def test_named_pipe_is_written_to(self, harness: Any, tmp_path: Path) -> None:
        send_failing_events(harness)
        path, contents = tmp_path / "pipe", list[str]()
        os.mkfifo(path)
        reader = threading.Thread(target=lambda: contents.append(path.read_text()), daemon=True)
        reader.start()
        assert harness.dlq("export", "--output", str(path))[0] == 0
        reader.join(60)
        assert path.is_fifo()
        assert len("".join(contents).splitlines()) == 3

    @pytest.mark.parametrize("encrypted", ["other", "", "00"])
    def test_undecryptable_dead_letter_does_not_stop_export(
        self, harness: Any, tmp_path: Path, encrypted: str
    ) -> None:
        harness.send(harness.event(1, "bad", full_name=SECRET))
        harness.multiply(1)
        lost, found = harness.dead_letters("dlq_id")
        data = os.urandom(99) if encrypted == "other" else bytes.fromhex(encrypted)
        harness.admin.execute(
            "UPDATE sink.dead_letter SET source_data = %s WHERE dlq_id = %s", (data, lost)
        )
        path = tmp_path / "export.jsonl"
        code, _, err = harness.dlq(*UNMASKED_EXPORT, "--output", str(path))
        without, whole = map(json.loads, path.read_text().splitlines())
        assert code == 1
        assert f"{harness.database}/{lost} is without its payload" in err
        assert "after" not in without
        assert "old_keys" in without["unreadable"]
        assert whole["after"]["full_name"] == SECRET
        (entry,) = harness.audit_details("read_clear")
        assert entry["dlq_ids"] == [found]

    def test_undecodable_dead_letter_does_not_stop_export(self, harness: Any) -> None:
        send_failing_events(harness)
        code, out, err = harness.dlq(*UNMASKED_EXPORT)
        records = [json.loads(line) for line in out.splitlines()]
        assert (code, len(records), SECRET in out) == (1, 3, True)
        assert ["unreadable" in record for record in records] == [False, False, True]
        assert err.count("without its payload") == 1

    def test_unavailable_registry_aborts_export(self, harness: Any, tmp_path: Path) -> None:
        """The outage says nothing of the dead letters, so none is exported as unreadable."""
        send_failing_events(harness)
        harness.url = "http://127.0.0.1:9"
        harness.configure()
        path = tmp_path / "export.jsonl"
        code, *_ = harness.dlq(*UNMASKED_EXPORT, "--output", str(path))
        assert (code, path.exists()) == (1, False)
