"""Column types derived from a base type: the type itself, its arrays, and domains over both."""

from __future__ import annotations

import enum

from .type_values import TypeValues


class Shape(enum.StrEnum):
    """How a column's type is derived from a base type."""

    SCALAR = "scalar"
    ARRAY = "array"
    ARRAY_2D = "array_2d"
    DOMAIN = "domain"
    NESTED_DOMAIN = "nested_domain"
    DOMAIN_OF_ARRAY = "domain_of_array"
    ARRAY_OF_DOMAIN = "array_of_domain"

    @property
    def is_array(self) -> bool:
        return "array" in self.value


def domains(values: TypeValues) -> list[str]:
    """Return the statements that create a type's domains in the current schema."""
    name = values.name
    return [
        f"CREATE DOMAIN d_{name} AS {values.sql}",
        f"CREATE DOMAIN dd_{name} AS d_{name}",
        f"CREATE DOMAIN da_{name} AS {values.sql}[]",
    ]


def type_sql(values: TypeValues, shape: Shape) -> str:
    """Return the column type for DDL; the domains of `domains` must exist."""
    name = values.name
    return {
        Shape.SCALAR: values.sql,
        Shape.ARRAY: f"{values.sql}[]",
        Shape.ARRAY_2D: f"{values.sql}[]",
        Shape.DOMAIN: f"d_{name}",
        Shape.NESTED_DOMAIN: f"dd_{name}",
        Shape.DOMAIN_OF_ARRAY: f"da_{name}",
        Shape.ARRAY_OF_DOMAIN: f"d_{name}[]",
    }[shape]


def shaped_literal(values: TypeValues, shape: Shape, literal: str, other: str) -> str:
    """Return a literal of this shape that contains `literal`; an array also contains `other`."""
    one, two = _element(literal), _element(other)
    comma = values.delimiter
    if shape is Shape.ARRAY_2D:
        return f"{{{{{one}{comma}{two}}}{comma}{{{two}{comma}{one}}}}}"
    if shape.is_array:
        return f"{{{one}{comma}NULL{comma}{two}}}"
    return literal


def bounded_literals(values: TypeValues, shape: Shape) -> list[str]:
    """Return array literals whose lower bound is not 1."""
    first = _element(values.literals[0])
    return [f"[0:1]={{{first}{values.delimiter}{first}}}"] if shape.is_array else []


def empty_literals(shape: Shape) -> list[str]:
    """Return array literals without elements."""
    return ["{}"] if shape.is_array else []


def literal_sql(text: str) -> str:
    """Return the literal as an SQL string constant."""
    return "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
