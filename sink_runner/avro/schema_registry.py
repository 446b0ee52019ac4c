"""Client of a schema registry that speaks Confluent's API."""

from __future__ import annotations

import json
from typing import Any, NoReturn
from urllib.parse import quote

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HTTPTimeoutError

from ..errors import DecodeError, RetriableError, TimedOutError
from ..target.time_limit import TimeLimit
from .schema import NAMED, PRIMITIVES

_OK = 200
_MAX_CONNECTIONS = 16
"""Kept open, since many mappings start at the same moment; more are opened where needed."""
_NOT_FOUND = 404
_NO_SUCH = frozenset({40401, 40402, 40403})  # subject, version, schema
"""Confluent's codes in the body: the registry itself says so, not a proxy before it."""


class SchemaRegistry:
    """Gives schemas by id and remembers them for ever, as an id never changes its schema.

    Whatever keeps the registry from answering is a RetriableError.  Only an id that the registry
    itself says it does not know is a DecodeError, the message's own fault, for otherwise one
    forged id would stop a mapping.  A registry that has lost its schemas would condemn every
    message that way, so one that knows no subject at all is not believed: that too is retriable.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(retries=False, maxsize=_MAX_CONNECTIONS, block=False)
        self._limit = TimeLimit(timeout)
        self._schemas: dict[int, Any] = {}

    def schema(self, schema_id: int) -> Any:
        """Give a schema as parsed JSON, with its references put in place of their names."""
        if schema_id not in self._schemas:
            found = self._get(f"/schemas/ids/{schema_id}")
            if found is None:
                self._refuse(schema_id)
            self._schemas[schema_id] = self._resolved(found)
        return self._schemas[schema_id]

    def latest(self, subject: str) -> tuple[int, Any] | None:
        """Give the id and the schema that were registered last; None for an unknown subject."""
        found = self._get(f"/subjects/{quote(subject, safe='')}/versions/latest")
        return None if found is None else (found["id"], self._resolved(found))

    def close(self) -> None:
        """Close the connection; another call opens it again."""
        self._pool.clear()

    def _refuse(self, schema_id: int) -> NoReturn:
        if not self._get("/subjects"):
            raise RetriableError("the schema registry is empty", retry_after=5.0)
        raise DecodeError(f"the schema registry does not know schema {schema_id}")

    def _get(self, path: str) -> Any:
        """Give an answer's JSON; None if the registry says that there is no such schema."""
        try:
            answer = self._pool.request("GET", self._url + path, timeout=self._limit.seconds)
        except HTTPError as exc:
            kind = TimedOutError if isinstance(exc, HTTPTimeoutError) else RetriableError
            error = kind(f"the schema registry does not answer: {type(exc).__name__}")
            raise self._limit.heed(error) from exc
        self._limit.enough()
        body = _json(answer.data)
        if answer.status == _OK and body is not None:
            return body
        code = body.get("error_code") if isinstance(body, dict) else None
        if answer.status == _NOT_FOUND and code in _NO_SUCH:
            return None
        raise RetriableError(f"the schema registry answers {answer.status} to {path}")

    def _resolved(self, found: Any) -> Any:
        named: dict[str, Any] = {}
        schema = _schema_of(found)
        self._collect(found, named)
        return _Inliner(named).inline(schema, "")

    def _collect(self, found: Any, named: dict[str, Any]) -> None:
        """Fetch what a schema refers to, and what that refers to."""
        for reference in found.get("references") or ():
            if reference["name"] in named:
                continue
            path = (
                f"/subjects/{quote(reference['subject'], safe='')}/versions/{reference['version']}"
            )
            other = self._get(path)
            if other is None:
                raise RetriableError("the schema registry lacks a schema that another uses")
            named[reference["name"]] = _schema_of(other)
            self._collect(other, named)


class _Inliner:
    """Puts a referenced definition where its name first stands, as Avro wants it."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._defined: set[str] = set()

    def inline(self, schema: Any, namespace: str) -> Any:
        match schema:
            case str():
                return self._reference(schema, namespace)
            case list():
                return [self.inline(branch, namespace) for branch in schema]
            case {"type": str() as kind} if kind in NAMED:
                return self._definition(schema, namespace)
            case dict():
                return schema | {
                    part: self.inline(schema[part], namespace)
                    for part in ("type", "items", "values")
                    if part in schema
                }
            case _:
                return schema

    def _reference(self, name: str, namespace: str) -> Any:
        full = _full_name(name, namespace)
        if name in PRIMITIVES or full in self._defined or full not in self._named:
            return name
        # A definition's own names are its own: the place it is put in must not lend it a namespace.
        return self.inline({"namespace": ""} | self._named[full], "")

    def _definition(self, schema: dict[str, Any], namespace: str) -> dict[str, Any]:
        space = schema.get("namespace", namespace)
        full = _full_name(schema["name"], space)
        self._defined.add(full)
        if "fields" not in schema:
            return schema
        inner = full.rpartition(".")[0]
        fields = [field | {"type": self.inline(field["type"], inner)} for field in schema["fields"]]
        return schema | {"fields": fields}


def _full_name(name: str, namespace: str) -> str:
    return name if "." in name or not namespace else f"{namespace}.{name}"


def _schema_of(found: Any) -> Any:
    """Read the schema that an answer holds as text."""
    schema = _json(found["schema"]) if isinstance(found, dict) and "schema" in found else None
    if schema is None:
        raise RetriableError("the schema registry's answer holds no schema")
    if found.get("schemaType", "AVRO") != "AVRO":
        raise DecodeError("the schema is not an Avro schema")
    return schema


def _json(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
