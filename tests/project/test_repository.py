"""The folders fit together: what one says, the others have."""

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
# What an event that is applied passes between a poll and its commit, in the order in which it
# meets it.  Not here: `row`, `statements`, `derivation` and `avro.compile`, which make functions
# and SQL once, at start, and what only an event meets that fails or waits.
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
    """How many lines have code on them; blank lines, comments and docstrings have none."""
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


def listed(name: str, direction: str) -> set[str]:
    """A comma separated property of a Debezium configuration, ``${NAME:default}`` unwrapped."""
    lines = (ROOT / "debezium-config" / f"{direction}.properties").read_text().replace("\\\n", "")
    (value,) = [line.split("=", 1)[1] for line in lines.splitlines() if line.startswith(name)]
    return {part.strip().strip("}").rsplit(":", 1)[-1] for part in value.split(",")}


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda folder: folder.name)
class TestEveryPlugin:
    def test_is_a_distribution_with_its_folder_s_name(self, folder: Path) -> None:
        """Folder, entry point and mapping share one name; a stranger's plugin looks the same."""
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        module = "sink_" + folder.name.replace("-", "_")
        assert project["name"] == f"sink-{folder.name}"
        assert project["entry-points"]["sink_runner.v1"] == {folder.name: module}
        assert (folder / "src" / module / "py.typed").exists()

    def test_imports_nothing_but_the_author_s_api(self, folder: Path) -> None:
        """What our own plugins need, other plugins can have."""
        for path in folder.glob("src/*/*.py"):
            ours = {name for name in imports(path) if name.startswith("sink_runner")}
            assert ours <= {"sink_runner.plugin", "sink_runner.plugin.field_types"}

    def test_is_in_the_list_of_plugins(self, folder: Path) -> None:
        assert f"[`{folder.name}`]({folder.name})" in (ROOT / "plugins/README.md").read_text()


@pytest.mark.parametrize("folder", MAPPINGS, ids=lambda folder: folder.name)
class TestEveryMapping:
    def test_has_tests_that_hold_its_contract(self, folder: Path) -> None:
        """Every mapping passes the generic contract tests."""
        tests = "".join(path.read_text() for path in folder.glob("tests/test_*.py"))
        assert "(MappingContract):" in tests

    def test_says_what_it_does(self, folder: Path) -> None:
        """The README says what an operator can expect of the mapping."""
        text = (folder / "README.md").read_text()
        for row in ("trigger", "schedule", "latency", "masks", "conflict rule", "a delete"):
            assert f"| {row} |" in text
        made = mapping(folder)
        assert f"`{made.source}` → `{made.target}`" in text

    def test_is_in_the_table_of_mappings(self, folder: Path) -> None:
        made = mapping(folder)
        row = f"| [`{folder.name}`]({folder.name}) | `{made.source}` | `{made.target}` |"
        assert row in (ROOT / "plugins/README.md").read_text()

    def test_reads_a_table_that_is_captured(self, folder: Path) -> None:
        """Debezium, the publication and the topics know the mapping's source."""
        table = mapping(folder).source_table
        direction = table.database.removeprefix("smart_")
        name = f"{table.schema}.{table.name}"
        assert name in listed("debezium.source.table.include.list", direction)
        capture = (ROOT / "compose/sql" / table.database / "40-capture.sql").read_text()
        publication = capture.split("CREATE PUBLICATION", 1)[1].split(";", 1)[0]
        assert name in publication
        assert f'"{table}"' in (ROOT / "compose/topics.toml").read_text()


def test_the_core_knows_no_table_or_column() -> None:
    """A table's or column's name in the runner would be a rule that belongs in a plugin.

    A name of one word is a word like any other, unless its schema stands before it.
    """
    shipped = names_in(ROOT / "compose/sql/smart_citizen", ROOT / "compose/sql/smart_warehouse")
    own = names_in(ROOT / "sink_runner/postgres/migrations") | {"max_age"}
    names = {name for name in shipped - own if "_" in name or "." in name}
    assert {"public.citizens", "golden_records", "jan_aadhaar"} <= names
    pattern = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    found = {path: pattern.findall(path.read_text()) for path in files_of_the_core()}
    assert {path: words for path, words in found.items() if words} == {}


def test_core_knows_neither_database() -> None:
    """Any two databases will do.  One upgrade is of the two that ship; people are citizens."""
    for path in files_of_the_core():
        if path.name not in ("0004_conflicts.sql", "pii_heuristics.py"):
            assert not re.findall(r"\b(?:smart_)?(?:warehouse|citizen)\b", path.read_text()), path


def files_of_the_core() -> list[Path]:
    endings = {".py", ".sql", ".tmpl", ".yml"}
    return [path for path in ROOT.glob("sink_runner/**/*") if path.suffix in endings]


def names_in(*folders: Path) -> set[str]:
    """The tables and columns that the SQL of some folders creates; tables with their schema too."""
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


def test_the_runner_is_thin() -> None:
    """The path from poll to commit can be read in an evening: code lines, without prose."""
    assert sum(code_lines(ROOT / f"sink_runner/{name}.py") for name in HOT_PATH) < 1_900


def test_every_hook_says_when_it_is_called() -> None:
    hooks = [value for name, value in vars(hookspecs).items() if name.startswith("sink_")]
    assert len(hooks) > 8
    assert all(hook.__doc__ and len(hook.__doc__) > 40 for hook in hooks)


def test_no_file_names_a_machine_s_folder() -> None:
    """What is committed runs anywhere."""
    for path in [*ROOT.glob("sink_runner/**/*.py"), *ROOT.glob("compose/src/**/*.py")]:
        assert "/work/" not in path.read_text()
