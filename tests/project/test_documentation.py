"""Links, make targets, paths and settings in the documentation exist."""

import json
import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import reference

from ..support.pages import PAGES, ROOT

GENERATED = {ROOT / "docs/reference" / f"{name}.md" for name in reference.PAGES}
DECISIONS = sorted(ROOT.glob("docs/adr/[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "Rejected alternatives"]
PROJECTS = [*ROOT.glob("plugins/*/pyproject.toml"), ROOT / "compose" / "pyproject.toml"]
_FOLDERS = "compose|debezium-config|docs|plugins|ranger-policies|sink_runner|tests"
_CODE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def prose(page: Path) -> str:
    """Return the page without its blocks of code."""
    return _CODE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def metadata() -> dict[str, str]:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return dict(parser["metadata"])


@pytest.fixture(scope="module")
def settings() -> set[str]:
    """Every key of the configuration."""
    command = [Path(sys.executable).with_name("sink-runner"), "config", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    return {setting["key"] for setting in json.loads(result.stdout)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
class TestEveryPage:
    def test_links_resolve(self, page: Path) -> None:
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path) if path else page
            if target.resolve() not in GENERATED:
                assert target.exists(), link
                assert not anchor or anchor in anchors(target), link

    def test_make_targets_exist(self, page: Path) -> None:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"(?:`|^\$ )make ([a-z-]+)", text, re.MULTILINE):
            assert re.search(rf"^{target}:", read("Makefile"), re.MULTILINE), target

    def test_settings_exist(self, page: Path, settings: set[str]) -> None:
        for table, key in re.findall(r"`\[([a-z_.]+)\] ([a-z_]+)", prose(page)):
            assert any(known.startswith(f"{table}.{key}") for known in settings), (table, key)

    def test_paths_exist(self, page: Path) -> None:
        for path in re.findall(rf"`((?:{_FOLDERS})/[\w./-]*)`", prose(page)):
            assert (ROOT / path).exists(), path


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda page: page.name)
class TestEveryDecision:
    def test_has_the_usual_sections(self, decision: Path) -> None:
        text = decision.read_text(encoding="utf-8")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == SECTIONS
        assert "\nStatus: " in text

    def test_fits_on_one_page(self, decision: Path) -> None:
        assert len(decision.read_text(encoding="utf-8").splitlines()) <= 60

    def test_names_modules_that_implement_it(self, decision: Path) -> None:
        assert re.search(r"`sink_runner/\w[\w/]+\.py`", decision.read_text(encoding="utf-8"))

    def test_is_in_the_index(self, decision: Path) -> None:
        title = decision.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        number, _, name = title.partition(". ")
        assert decision.name.startswith(f"{number}-")
        assert f"| [{number}]({decision.name}) | {name} |" in read("docs/adr/README.md")


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))


def test_front_page_links_to_project_pages() -> None:
    for page in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "docs/adr/README.md"):
        assert f"({page})" in read("README.md")


def test_license_is_named_by_every_distribution() -> None:
    assert metadata()["license"] == "Apache-2.0"
    assert (ROOT / metadata()["license_files"]).exists()
    for project in PROJECTS:
        assert tomllib.loads(project.read_text())["project"]["license"] == "Apache-2.0", project


def test_license_is_complete() -> None:
    text = read("LICENSE")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_changelog_has_the_current_version() -> None:
    assert re.search(
        rf"^## \[{re.escape(metadata()['version'])}\]", read("CHANGELOG.md"), re.MULTILINE
    )


def test_all_folders_are_in_the_layout() -> None:
    table = read("CONTRIBUTING.md").split("## Layout", 1)[1].split("\n## ", 1)[0]
    for package in ROOT.glob("sink_runner/*/__init__.py"):
        assert f"`sink_runner/{package.parent.name}/`" in table, package.parent.name
