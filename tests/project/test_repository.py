"""The folders of the repository are consistent with each other."""

import ast
import io
import re
import tokenize
import tomllib
from pathlib import Path

import pytest

from sink_runner import hookspecs
from sink_runner.loading import discovery
from sink_runner.plugin import TableMapping

from ..support.plugin_folders import MAPPINGS, PLUGINS

ROOT = Path(__file__).parents[2]
# The modules that an event passes between poll and commit, in this order.  Not listed: modules
# that compile functions and SQL at start, and those for failed and deferred events.
HOT_PATH = (
    *("runtime/worker", "kafka/kafka_python", "avro/decoder"),
    *("transform/route", "transform/incoming", "transform/steps"),
    *("transform/lookups", "transform/lookup_step"),
    *("model/changes", "model/partition", "quality/counts"),
    *("writer/committer", "writer/writer", "writer/versions", "writer/candidates"),
    *("writer/resolve", "writer/offsets"),
)


def mapping(folder: Path) -> TableMapping:
    plugin = discovery.installed()[folder.name]
    discovery.load(plugin)
    assert plugin.errors == []
    assert plugin.mapping is not None
    return plugin.mapping


def code_lines(path: Path) -> int:
    """Count the lines with code, without blank lines, comments and docstrings."""
    text = path.read_text()
    prose = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    blank = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER}
    blank |= {tokenize.INDENT, tokenize.DEDENT}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    code = {
        line
        for token in tokens
        if token.type not in blank
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - prose)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def read_list(name: str, direction: str) -> set[str]:
    """Return a comma-separated property of a Debezium configuration, with its defaults."""
    lines = (ROOT / "debezium-config" / f"{direction}.properties").read_text().replace("\\\n", "")
    (value,) = [line.split("=", 1)[1] for line in lines.splitlines() if line.startswith(name)]
    return {part.strip().strip("}").rsplit(":", 1)[-1] for part in value.split(",")}


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
class TestEveryPlugin:
    def test_is_distribution_with_name_of_folder(self, folder: Path) -> None:
        """Folder, entry point and mapping have the same name."""
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        module = "sink_" + folder.name.replace("-", "_")
        assert project["name"] == f"sink-{folder.name}"
        assert project["entry-points"]["sink_runner.v1"] == {folder.name: module}
        assert (folder / "src" / module / "py.typed").exists()

    def test_imports_only_the_plugin_api(self, folder: Path) -> None:
        """Plugins of other authors must be able to do what the shipped ones do."""
        for path in folder.glob("src/*/*.py"):
            ours = {name for name in imports(path) if name.startswith("sink_runner")}
            assert ours <= {"sink_runner.plugin", "sink_runner.plugin.field_types"}

    def test_is_in_the_list_of_plugins(self, folder: Path) -> None:
        assert f"[`{folder.name}`]({folder.name})" in (ROOT / "plugins/README.md").read_text()


@pytest.mark.parametrize("folder", MAPPINGS, ids=lambda folder: folder.name)
class TestEveryMapping:
    def test_has_contract_tests(self, folder: Path) -> None:
        tests = "".join(path.read_text() for path in folder.glob("tests/test_*.py"))
        assert "(MappingContract):" in tests

    def test_readme_describes_mapping(self, folder: Path) -> None:
        text = (folder / "README.md").read_text()
        for row in ("trigger", "schedule", "latency", "masks", "conflict rule", "a delete"):
            assert f"| {row} |" in text
        declared = mapping(folder)
        assert f"`{declared.source}` → `{declared.target}`" in text

    def test_is_in_the_table_of_mappings(self, folder: Path) -> None:
        declared = mapping(folder)
        row = f"| [`{folder.name}`]({folder.name}) | `{declared.source}` | `{declared.target}` |"
        assert row in (ROOT / "plugins/README.md").read_text()

    def test_source_is_captured(self, folder: Path) -> None:
        """Debezium, the publication and the topics include the mapping's source."""
        table = mapping(folder).source_table
        direction = table.database.removeprefix("smart_")
        name = f"{table.schema}.{table.name}"
        assert name in read_list("debezium.source.table.include.list", direction)
        capture = (ROOT / "compose/sql" / table.database / "40-capture.sql").read_text()
        publication = capture.split("CREATE PUBLICATION", 1)[1].split(";", 1)[0]
        assert name in publication
        assert f'"{table}"' in (ROOT / "compose/topics.toml").read_text()


def test_core_contains_no_table_or_column() -> None:
    """A rule about a table or column belongs in a plugin.

    Names of one word are ordinary words, too, and are searched for only with their schema.
    """
    shipped = names_in(ROOT / "compose/sql/smart_citizen", ROOT / "compose/sql/smart_warehouse")
    own = names_in(ROOT / "sink_runner/postgres/migrations") | {"max_age"}
    names = {name for name in shipped - own if "_" in name or "." in name}
    assert {"public.citizens", "golden_records", "jan_aadhaar"} <= names
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    found = {path: pattern.findall(path.read_text()) for path in files_of_the_core()}
    assert {path: words for path, words in found.items() if words} == {}


def test_core_contains_no_database_name() -> None:
    """The runner works with any two databases: only a migration and a heuristic name these."""
    for path in files_of_the_core():
        if path.name not in ("0004_conflicts.sql", "pii_heuristics.py"):
            assert not re.findall(r"\b(?:smart_)?(?:warehouse|citizen)\b", path.read_text()), path


def files_of_the_core() -> list[Path]:
    endings = {".py", ".sql", ".tmpl", ".yml"}
    return [path for path in ROOT.glob("sink_runner/**/*") if path.suffix in endings]


def names_in(*folders: Path) -> set[str]:
    """Return the tables, with and without schema, and columns that the SQL of folders creates."""
    found = set()
    for path in (path for folder in folders for path in folder.glob("*.sql")):
        text = re.sub("--.*", "", path.read_text())
        for table, body in re.findall(
            r"CREATE TABLE (?:IF NOT EXISTS )?([\w.]+) \((.*?)\n\s*\);", text, re.DOTALL
        ):
            schema, _, name = table.rpartition(".")
            found |= {
                name,
                f"{schema or 'public'}.{name}",
                *re.findall(r"^\s+([a-z]\w*) ", body, re.MULTILINE),
            }
        found |= set(re.findall(r"ADD COLUMN (?:IF NOT EXISTS )?(\w+)", text))
    return found


def test_path_of_event_is_short() -> None:
    """The path from poll to commit stays short enough to be read in an evening."""
    assert sum(code_lines(ROOT / f"sink_runner/{name}.py") for name in HOT_PATH) < 1_900


def test_docstring_of_hook_says_when_it_runs() -> None:
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("sink_")]
    assert len(hooks) > 8
    assert all(hook.__doc__ and len(hook.__doc__) > 40 for hook in hooks)


def test_no_file_contains_absolute_path_of_machine() -> None:
    """Committed files must work on any machine."""
    for path in [*ROOT.glob("sink_runner/**/*.py"), *ROOT.glob("compose/src/**/*.py")]:
        assert "/work/" not in path.read_text()
