"""GraphQL types for the pydantic models of the routes."""

from __future__ import annotations

from decimal import Decimal
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from graphql import (
    GraphQLBoolean,
    GraphQLField,
    GraphQLFloat,
    GraphQLList,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
)
from pydantic import BaseModel

LONG = GraphQLScalarType("Long", description="A whole number; `Int` has only 32 bits.")
JSON = GraphQLScalarType("JSON", description="Any JSON value.")
_SCALARS: dict[Any, GraphQLScalarType] = {
    str: GraphQLString,
    bool: GraphQLBoolean,
    int: LONG,
    float: GraphQLFloat,
    Decimal: GraphQLFloat,
}


class TypeBuilder:
    """Makes one object type for each model.  Every field may be null, because a mask may null it.

    A value without a type of its own, such as a dictionary, is `JSON`.
    """

    def __init__(self) -> None:
        self._objects: dict[type[BaseModel], GraphQLObjectType] = {}

    def output(self, annotation: Any) -> GraphQLOutputType:
        """Return the type of a model, or of a field with this annotation."""
        plain = _plain(annotation)
        if get_origin(plain) is list:
            return GraphQLList(self.output(get_args(plain)[0]))
        if isinstance(plain, type) and issubclass(plain, BaseModel):
            return self._object(plain)
        return self.scalar(plain)

    def scalar(self, annotation: Any) -> GraphQLScalarType:
        plain = _plain(annotation)
        if get_origin(plain) is Literal:
            plain = type(get_args(plain)[0])
        return _SCALARS.get(plain, JSON)

    def _object(self, model: type[BaseModel]) -> GraphQLObjectType:
        if model not in self._objects:
            self._objects[model] = GraphQLObjectType(
                self._free_name(model.__name__),
                lambda: {
                    name: GraphQLField(self.output(field.annotation), description=field.description)
                    for name, field in model.model_fields.items()
                },
                description=model.__doc__,
            )
        return self._objects[model]

    def _free_name(self, name: str) -> str:
        """Return the name, with a number if a model of another plugin has it."""
        same = sum(known.__name__ == name for known in self._objects)
        return f"{name}{same + 1}" if same else name


def _plain(annotation: Any) -> Any:
    """Return an annotation without its constraints and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        kinds = [one for one in get_args(annotation) if one is not NoneType]
        return _plain(kinds[0]) if len(kinds) == 1 else Any
    return annotation
