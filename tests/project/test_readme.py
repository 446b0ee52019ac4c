"""The README is correct: its links, commands, tests and example plugin."""

import re
import shlex
from pathlib import Path

import pytest

from sink_runner.loading import discovery
from sink_runner.plugin import Delete
from sink_runner.testing import Harness, create

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
ORDER = {"id": 1, "customer": "c", "amount": None, "currency": "inrx", "updated_at": None}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_readme_is_one_page() -> None:
    assert len(README.splitlines()) <= 120


def test_promises_name_tests_that_exist() -> None:
    table = README.split("| promise | proven by |", 1)[1].split("\n\n", 1)[0]
    rows = [row for row in table.splitlines() if row.startswith("| ") and "---" not in row]
    assert len(rows) > 8
    for row in rows:
        paths = re.findall(r"`(tests/[\w/]+\.py)`", row.split("|")[2])
        assert paths, row
        for path in paths:
            assert re.search(r"^ *def test_", (ROOT / path).read_text(), re.MULTILINE), path


@pytest.mark.parametrize("command", re.findall(r"^\$ (.+?)(?:\s+#.*)?$", README, re.MULTILINE))
def test_every_make_command_is_a_target(command: str) -> None:
    program, target = shlex.split(command)
    assert program == "make"
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_every_link_resolves() -> None:
    for link in re.findall(r"\]\(([^)]+)\)", README):
        assert (ROOT / link).exists(), link


class TestExamplePlugin:
    @pytest.fixture(autouse=True)
    def installed(self, site) -> None:
        (code,) = blocks("python")
        site.plugin("orders", code)

    def test_plugin_fits_on_a_page(self) -> None:
        (code,) = blocks("python")
        assert len(code.splitlines()) <= 40

    def test_plugin_loads(self) -> None:
        plugin = discovery.installed()["orders"]
        discovery.load(plugin)
        assert plugin.errors == []

    def test_plugin_behaves_as_described(self) -> None:
        sink = Harness("orders")
        order = {**ORDER, "updated_at": "2026-01-01T00:00:00Z", "state": "open"}
        row = sink.send(create(**order)).row
        assert row == {
            "order_id": "1",
            "customer": "c",
            "amount": "0",
            "currency": "INR",
            "changed_at": "2026-01-01T00:00:00Z",
        }
        assert sink.send(create(**order | {"state": "draft"})).rows == []
        assert sink.send(create(**order | {"state": "cancelled"})).leaves == [(("1",), Delete())]


def test_command_for_new_plugin_works(call, tmp_path: Path, monkeypatch) -> None:
    (command,) = re.findall(r"`sink-runner (new [^`]+)`", README.replace("\n", " "))
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(*shlex.split(command))
    assert (code, errors) == (0, "")
    assert (tmp_path / "plugins/orders/pyproject.toml").exists()


def test_table_of_switches_names_existing_ones(call, configured) -> None:
    configured()
    page = (ROOT / "docs/guide/plugins.md").read_text()
    code, out, _ = call("run", "--help")
    assert code == 0
    for switch in ("--only", "--without", "SINK_PLUGINS_OFF"):
        assert switch in out
        assert switch in page
