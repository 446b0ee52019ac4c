"""Add the reference pages to the site: they are generated from the code when it is built."""

import reference_interface as interface
import reference_operation as operation
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "settings": interface.settings_page,
    "commands": interface.commands_page,
    "hooks": interface.hooks_page,
    "plugin-api": interface.plugin_page,
    "metrics": operation.metrics_page,
    "log-events": operation.log_events_page,
    "errors": operation.errors_page,
    "tables": operation.tables_page,
    "make": operation.make_page,
    "packages": operation.packages_page,
}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    (section,) = [item["Reference"] for item in config.nav or () if "Reference" in item]
    section.extend(f"reference/{name}.md" for name in PAGES)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, text in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text()))
    return files
