"""Schemas of a registry that speaks Confluent's API, kept by their ids."""

from __future__ import annotations

from typing import Any, NoReturn
from urllib.parse import quote

from ..config.registry import Registry
from ..errors import DecodeError, RetriableError, TimedOutError
from ..model.time_limit import TimeLimit
from ..schema_registry.client import RegistryClient, parse_json
from .schema import NAMED, PRIMITIVES


class SchemaCache:
    """Returns schemas by id and keeps them, since the schema of an id never changes.

    An outage of the registry is a RetriableError, a refusal of the client an AccessError.  An id
    that the registry does not know is a DecodeError: otherwise one forged id would stop a mapping.
    But a registry that has lost its schemas knows no id, and every message would become a dead
    letter.  So if it knows no subject at all, that is a RetriableError as well.
    """

    def __init__(self, settings: Registry, *, timeout: float = 5.0) -> None:
        self._client = RegistryClient(settings)
        self._limit = TimeLimit(timeout)
        self._schemas: dict[int, Any] = {}

    def schema(self, schema_id: int) -> Any:
        """Return a schema as parsed JSON, with its references inlined."""
        if schema_id not in self._schemas:
            found = self._get(f"/schemas/ids/{schema_id}")
            if found is None:
                self._refuse(schema_id)
            self._schemas[schema_id] = self._resolved(found)
        return self._schemas[schema_id]

    def latest(self, subject: str) -> tuple[int, Any] | None:
        """Return the id and the schema that were registered last; None for an unknown subject."""
        found = self._get(f"/subjects/{quote(subject, safe='')}/versions/latest")
        return None if found is None else (found["id"], self._resolved(found))

    def close(self) -> None:
        """Close the connections; another call opens them again."""
        self._client.close()

    def _refuse(self, schema_id: int) -> NoReturn:
        if not self._get("/subjects"):
            raise RetriableError("the schema registry is empty", retry_after=5.0)
        raise DecodeError(f"the schema registry does not know schema {schema_id}")

    def _get(self, path: str) -> Any:
        """Return the JSON of a response; None if the registry has no such schema."""
        try:
            found = self._client.ask(path, seconds=self._limit.seconds)
        except TimedOutError as fault:
            raise self._limit.record_failure(fault) from None
        self._limit.record_success()
        return found

    def _resolved(self, found: Any) -> Any:
        named: dict[str, Any] = {}
        schema = _schema_of(found)
        self._collect(found, named)
        return _Inliner(named).inline(schema, "")

    def _collect(self, found: Any, named: dict[str, Any]) -> None:
        """Fetch the schemas that a schema refers to, directly and indirectly."""
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
    """Replaces the first use of a name by its definition, as Avro demands."""

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
        # A definition keeps its own names: it must not inherit the namespace of its new place.
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
    schema = parse_json(found["schema"]) if isinstance(found, dict) and "schema" in found else None
    if schema is None:
        raise RetriableError("the schema registry's answer holds no schema")
    if found.get("schemaType", "AVRO") != "AVRO":
        raise DecodeError("the schema is not an Avro schema")
    return schema
