"""Every console block of the documentation is run by a test, or is marked with the reason."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ..support import console
from ..support.pages import PAGES, ROOT

# The test that runs the blocks of each page.
RUN_BY = {
    "docs/tutorial.md": "tests/postgres/test_tutorial.py",
    "docs/guide/control.md": "tests/stack/test_control.py",
    "docs/guide/databases.md": "tests/stack/test_own_databases.py",
    "docs/guide/disaster-recovery.md": "tests/chaos/test_disaster_recovery.py",
    **{
        f"docs/runbooks/{page}.md": "tests/drill/test_runbooks.py"
        for page in (
            "bad-deployment",
            "capture-does-not-start",
            "dead-letters-pile-up",
            "erasure-request",
            "failover",
            "key-rotation",
            "lag-grows",
            "lost-slot",
            "maintenance-window",
            "restored-database",
            "schema-change",
        )
    },
    "docs/guide/missing-rows.md": "tests/stack/test_reconcile.py",
    "ranger-policies/README.md": "tests/project/test_console_blocks.py",
    "sink_runner/api/README.md": "tests/stack/test_console_blocks.py",
    "sink_runner/schema_check/README.md": "tests/stack/test_console_blocks.py",
}
# The only blocks that no test runs.
NOT_RUN = {
    ("README.md", "the tests start a stack of their own"),
    ("CONTRIBUTING.md", "the tests start a stack of their own"),
    ("compose/airflow/README.md", "compose/airflow/tests starts Airflow with ports of its own"),
    ("compose/airflow/README.md", "airflow standalone does not end"),
    ("docs/guide/console.md", "prints a new key"),
    ("docs/guide/kafka-security.md", "the broker is a placeholder"),
    ("docs/guide/kubernetes.md", "the image registry is a placeholder"),
    ("docs/guide/kubernetes.md", "it needs a cluster"),
    ("docs/tutorial.md", "the tests run in this environment"),
}
BLOCKS = [
    (str(page.relative_to(ROOT)), block) for page in PAGES for block in console.console_blocks(page)
]


def test_only_the_listed_blocks_are_not_run() -> None:
    assert {(page, block.reason) for page, block in BLOCKS if block.reason} == NOT_RUN


def test_pages_with_blocks_have_test_that_runs_them() -> None:
    assert {page for page, block in BLOCKS if not block.reason} == RUN_BY.keys()


@pytest.mark.parametrize(("page", "test"), RUN_BY.items())
def test_test_of_page_names_it(page: str, test: str) -> None:
    assert page in (ROOT / test).read_text(encoding="utf-8")


def test_blocks_of_commands_have_prompt() -> None:
    for page, block in BLOCKS:
        assert block.text.startswith("$ ") or block.reason, page


def test_masking_commands_run_as_written() -> None:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    console.run(ROOT / "ranger-policies/README.md", ROOT, {"PATH": path})


def test_failed_command_or_unexpected_output_is_error(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for text in ("$ false\n", "$ echo one\ntwo\n", "$ echo one\n…\ntwo\n"):
        page.write_text(f"```console\n{text}```\n")
        with pytest.raises(AssertionError):
            console.run(page, tmp_path, {})
    page.write_text("```console\n$ echo one && \\\n  echo two\none\n…\n$ true\n```\n")
    console.run(page, tmp_path, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_of_settings_and_code_are_valid(page: Path) -> None:
    for language, text in console.code_blocks(page):
        match language:
            case "toml":
                tomllib.loads(text)
            case "python":
                compile(text, str(page), "exec")
            case "sh" | "bash":
                subprocess.run(["bash", "-n", "-c", text], check=True)
