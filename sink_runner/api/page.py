"""The OpenAPI document as one HTML page, which loads nothing from another host."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h2 { border-top: 1px solid #ccc; padding-top: 1rem } code, pre { font: 14px/1.4 monospace }
pre { background: #f4f4f4; padding: .8rem; overflow: auto } td, th { padding: .2rem .8rem .2rem 0;
text-align: left; vertical-align: top } .method { text-transform: uppercase; color: #06c }
"""


def page(openapi: Mapping[str, Any]) -> str:
    """Return the page, with a section for each operation."""
    info = openapi["info"]
    body = [
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        _paragraphs(info["description"]),
        '<p>For programs: <a href="openapi.json">openapi.json</a></p>',
    ]
    for path, operations in openapi["paths"].items():
        for method, operation in operations.items():
            body += _operation(openapi, path, method, operation)
    title = escape(info["title"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _operation(
    openapi: Mapping[str, Any], path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f'<h2 id="{operation["operationId"]}"><span class="method">{method}</span> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</h2>"
    yield _paragraphs(operation.get("description", ""))
    for parameter in operation.get("parameters", ()):
        description = escape(parameter.get("description", ""))
        yield f"<p><code>{escape(parameter['name'])}</code> ({parameter['in']}) {description}</p>"
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from _schema(openapi, content["schema"], "Request")
    for status, answer in operation["responses"].items():
        yield f"<p><b>{status}</b> {escape(answer['description'])}</p>"
        content = answer.get("content", {}).get("application/json")
        if content:
            yield from _schema(openapi, content["schema"], "Answer")


def _schema(openapi: Mapping[str, Any], schema: Mapping[str, Any], title: str) -> Iterator[str]:
    """Yield a table of a model's fields, then its example."""
    found = _resolve(openapi, schema)
    required = found.get("required", ())
    yield f"<table><tr><th>{title}</th><th></th><th></th></tr>"
    for name, field in found.get("properties", {}).items():
        inner = _resolve(openapi, field)
        kind = inner.get("format") or inner.get("type") or "one of several"
        description = field.get("description") or inner.get("description", "")
        optional = "" if name in required else " (optional)"
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(str(kind))}{optional}</td>"
        yield f"<td>{escape(description)}</td></tr>"
    yield "</table>"
    example = found.get("example") or next(iter(found.get("examples", ())), None)
    if example is not None:
        yield f"<pre>{escape(json.dumps(example, indent=2))}</pre>"


def _resolve(openapi: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Mapping[str, Any] = openapi["components"]["schemas"][name] if name else schema
    return found


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)
