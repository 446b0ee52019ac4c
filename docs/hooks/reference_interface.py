"""Reference of settings, commands, hooks and the plugin API."""

import ast
import enum
import inspect
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from reference_text import ROOT, docstring_after, page, prose, table
from sink_stack.cli import program as sink_stack_program

from sink_runner import hookspecs, plugin
from sink_runner.cli.program import program as sink_runner_program

# -- settings and commands ------------------------------------------------------------------------


def settings() -> list[dict[str, Any]]:
    """Return what `sink-runner config --json` reports: each key with type, default and meaning."""
    program = Path(sys.executable).with_name("sink-runner")
    printed = subprocess.run(
        [program, "config", "--json"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    found: list[dict[str, Any]] = json.loads(printed.stdout)
    return found


def settings_page() -> str:
    sections: dict[str, list[dict[str, Any]]] = {}
    for one in settings():
        section, _, _ = one["key"].rpartition(".")
        sections.setdefault(section, []).append(one)
    return page(
        "Settings",
        "The keys of `sink-runner.toml`. `sink-runner config` also prints the current value of "
        "each, and where it comes from.",
        *(
            (f"## `[{name}]`\n\n" if name else "")
            + table(
                ("key", "type", "default", "meaning"),
                (
                    (
                        f"`{one['key'].rpartition('.')[2]}`",
                        one["type"],
                        "required" if one["required"] else f"`{one['default']}`",
                        one["meaning"],
                    )
                    for one in keys
                ),
            )
            for name, keys in sections.items()
        ),
    )


PROGRAMS: Mapping[str, click.Group] = {
    "sink-runner": sink_runner_program,
    "sink-stack": sink_stack_program,
}


def commands() -> dict[str, str]:
    """Return the help text of each command of both programs, after that of its group."""
    return {name: text for program in PROGRAMS.items() for name, text in _commands(*program)}


def _commands(
    word: str, command: click.Command, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    ctx = click.Context(command, parent, info_name=word, terminal_width=80)
    yield ctx.command_path, f"{command.get_help(ctx)}\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(ctx):
            found = command.get_command(ctx, inner)
            assert found is not None
            yield from _commands(inner, found, ctx)


def commands_page() -> str:
    return page(
        "Commands",
        "The output of `--help` of each command.",
        *(f"## `{name}`\n\n```text\n{text.rstrip()}\n```" for name, text in commands().items()),
    )


# -- hooks and the plugin API ---------------------------------------------------------------------


def hooks_page() -> str:
    functions = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("sink_")}
    return page(
        "Hooks",
        prose(hookspecs.__doc__),
        *(
            f"## `{name}`\n\n```python\n{_signature(name, hook)}\n```\n\n{prose(hook.__doc__)}"
            for name, hook in functions.items()
        ),
    )


def _signature(name: str, function: Callable[..., Any]) -> str:
    return f"def {name}{inspect.signature(function)}".replace("'", "")


def plugin_page() -> str:
    names = sorted(plugin.__all__, key=str.lower)
    return page("Plugin API", prose(plugin.__doc__), *(_member(name) for name in names))


def _member(name: str) -> str:
    value = getattr(plugin, name)
    parts = [f"## `{name}`"]
    if inspect.isfunction(value):
        parts.append(f"```python\n{_signature(name, value)}\n```")
    documented = inspect.isclass(value) or inspect.isfunction(value)
    if documented and not (value.__doc__ or "").startswith(f"{name}("):
        parts.append(prose(value.__doc__))
    if inspect.isclass(value) and value.__module__.startswith("sink_runner."):
        parts.append(_fields(value))
    if not documented:
        parts.append(_assignment(name))
    return "\n\n".join(part for part in parts if part)


def _assignment(name: str) -> str:
    """Return the assignment that makes a type or a value of the API, and its docstring."""
    for path in sorted((ROOT / "sink_runner" / "plugin").glob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        for node, after in zip(body, [*body[1:], None], strict=True):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=found)])
                    | ast.AnnAssign(target=ast.Name(id=found))
                ) if found == name:
                    return f"```python\n{ast.unparse(node)}\n```\n\n{docstring_after(after)}"
    return ""


def _fields(kind: type) -> str:
    (body,) = ast.parse(inspect.getsource(kind)).body
    assert isinstance(body, ast.ClassDef)
    rows = []
    for node, after in zip(body.body, [*body.body[1:], None], strict=True):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                declared = f"`{ast.unparse(annotation)}`"
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if issubclass(
                kind, enum.Enum
            ):
                declared = ""
            case _:
                continue
        default = f"`{_default(value)}`" if value else ""
        rows.append((f"`{name}`", declared, default, docstring_after(after)))
    return table(("name", "type", "default or value", "meaning"), rows) if rows else ""


def _default(value: ast.expr) -> str:
    """Return the default of a field, without dataclasses.field around it."""
    match value:
        case ast.Call(func=ast.Name(id="field"), keywords=keywords):
            options = {one.arg: one.value for one in keywords}
            value = options.get("default", options.get("default_factory", value))
    return ast.unparse(value)
