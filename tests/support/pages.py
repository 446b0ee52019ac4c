"""The Markdown pages of the repository."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
_PATTERNS = (
    *("*.md", "docs/*.md", "docs/*/*.md"),
    *("[!.]*/README.md", "compose/*/README.md", "plugins/*/README.md", "sink_runner/*/README.md"),
)
PAGES = sorted({page for pattern in _PATTERNS for page in ROOT.glob(pattern)})
