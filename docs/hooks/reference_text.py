"""What the generators of the reference share: reading Python, writing Markdown."""

import ast
import inspect
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def page(title: str, *parts: str) -> str:
    return "\n\n".join((f"# {title}", *(part for part in parts if part))) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in r] for r in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def prose(text: str | None) -> str:
    """Return a docstring as Markdown: its paragraphs, without the markup of its literals."""
    return (inspect.cleandoc(text) if text else "").replace("``", "`")


def sentence(text: str | None) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(prose(text).split("\n\n")[0].split())


def method_calls(names: Sequence[str]) -> Iterator[tuple[Path, ast.Call, str]]:
    """Yield each call of a method with one of the names and a constant text as first argument."""
    for path in sorted((ROOT / "sink_runner").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in names and any(isinstance(one, ast.Constant) for one in node.args[:2]):
                yield path, node, name


def docstring_after(node: ast.stmt | None) -> str:
    """Return the docstring that follows a field."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(prose(text).split())
        case _:
            return ""
