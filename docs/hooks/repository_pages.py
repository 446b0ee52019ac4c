"""Add the repository's pages outside docs/ to the site, and point links to their places there."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
OUTSIDE = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"),
    *("[!.]*/README.md", "compose/*/README.md", "plugins/*/README.md", "sink_runner/*/README.md"),
)
_LINK = re.compile(r"(?<!!)\[((?:[^][]|\[[^]]*\])*)\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    _section(config, "Plugins").extend(["plugins/README.md", *_below("plugins/*/README.md")])
    _section(config, "Runbooks").extend(_below("docs/runbooks/*.md"))
    _section(config, "Decisions").extend(_below("docs/adr/*.md"))
    return config


def _section(config: MkDocsConfig, title: str) -> list[str]:
    sections: list[list[str]] = [item[title] for item in config.nav or () if title in item]
    return sections[0]


def _below(pattern: str) -> list[str]:
    """Return the pages of a pattern as the navigation names them, an index first."""
    pages = sorted(ROOT.glob(pattern), key=lambda page: (page.name != "README.md", page))
    return [_site_path(str(page.relative_to(ROOT))) for page in pages]


def _site_path(path: str) -> str:
    return path.removeprefix("docs/")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for page in sorted({page for pattern in OUTSIDE for page in ROOT.glob(pattern)}):
        path = str(page.relative_to(ROOT))
        if not path.startswith("docs/"):
            files.append(File.generated(config, path, abs_src_path=str(page)))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    parts = _FENCE.split(markdown)
    parts[::2] = [
        _LINK.sub(lambda link: _link(link, page.file.src_uri, files), part) for part in parts[::2]
    ]
    return "".join(parts)


def _link(link: re.Match[str], source: str, files: Files) -> str:
    """Return a link to the page in the site; of a file that is not in the site, the text alone."""
    text, url = link.groups()
    path, hash_, anchor = url.partition("#")
    if not path or re.match(r"[a-z]+:", url):
        return link[0]
    folder = posixpath.dirname(source)
    if not (ROOT / source).exists() or (ROOT / "docs" / source).exists():
        folder = f"docs/{folder}"
    target = posixpath.normpath(posixpath.join(folder, path))
    for name in (target, f"{target}/README.md"):
        if files.get_file_from_path(_site_path(name)):
            relative = posixpath.relpath(_site_path(name), posixpath.dirname(source) or ".")
            return f"[{text}]({relative}{hash_}{anchor})"
    return text if (ROOT / target).exists() else link[0]
