"""The documentation site builds without a warning, and loads nothing from other hosts."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ..support.pages import PAGES, ROOT

# The attributes whose URL a browser loads itself, unlike a link, which the reader follows.
_LOADED = re.compile(
    r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)"
)


def build(root: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Build the site as `make docs` does."""
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=root,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            copy = tmp_path / "checkout" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy)
    return tmp_path / "checkout"


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in PAGES:
        path = page.relative_to(ROOT)
        parts = path.parts[1:] if path.parts[0] == "docs" else path.parts
        name = Path(*parts).with_suffix(".html")
        name = name.with_name("index.html") if name.name == "README.html" else name
        assert (site / name).exists() or path == Path("docs/assets/README.md"), path


def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert pages
    for page in pages:
        assert not _LOADED.findall(page.read_text(encoding="utf-8")), page


def test_broken_links_fail_the_build(checkout: Path) -> None:
    links = {
        "docs/guide/operations.md": "gone-page.md",
        "docs/guide/databases.md": "operations.md#gone-anchor",
        "README.md": "docs/guide/gone-guide.md",
        "sink_runner/dlq/README.md": "../../docs/guide/operations.md#gone-section",
        "CONTRIBUTING.md": "docs/reference/gone-reference.md",
    }
    for page, link in links.items():
        with (checkout / page).open("a", encoding="utf-8") as stream:
            stream.write(f"\n[a link]({link})\n")
    built = build(checkout, checkout / ".site")
    assert built.returncode == 1
    warnings = [line for line in built.stderr.splitlines() if line.startswith("WARNING")]
    assert len(warnings) == len(links), built.stderr
    assert all(link.rpartition("gone")[2] in built.stderr for link in links.values())


def test_bundled_scripts_are_the_published_ones() -> None:
    rows = re.findall(
        r"^\| `([\w.-]+)` .* `([0-9a-f]{64})` \|$",
        (ROOT / "docs/assets/README.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    scripts = {path.name: path for path in ROOT.glob("docs/assets/*.js")}
    assert {name for name, _ in rows} == scripts.keys()
    for name, digest in rows:
        assert hashlib.sha256(scripts[name].read_bytes()).hexdigest() == digest
