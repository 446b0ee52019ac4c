"""The folders of the plugins, and of those that define a mapping."""

from pathlib import Path

PLUGINS = sorted(path.parent for path in Path(__file__).parents[2].glob("plugins/*/pyproject.toml"))
MAPPINGS = [
    folder
    for folder in PLUGINS
    if any("def sink_mapping" in path.read_text() for path in folder.glob("src/*/__init__.py"))
]
