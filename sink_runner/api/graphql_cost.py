"""How expensive a GraphQL operation is, found before it is executed."""

from __future__ import annotations

from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
)


class Cost(NamedTuple):
    """What a selection asks for, with every fragment expanded wherever it is spread."""

    reads: int = 0
    """Fields of the selection itself; in the root of an operation each is a database query."""
    fields: int = 0
    depth: int = 0
    """Levels of the deepest field; introspection has none, because the library limits its depth."""


def measure(document: DocumentNode, operation: OperationDefinitionNode) -> Cost:
    """Return the cost of an operation of a valid document, whose fragments have no cycle."""
    fragments = {
        one.name.value: one.selection_set
        for one in document.definitions
        if isinstance(one, FragmentDefinitionNode)
    }
    # Without it, fragments that each spread another one twice take exponential time.
    known: dict[str, Cost] = {}

    def of_set(node: SelectionSetNode | None) -> Cost:
        costs = [of(one) for one in node.selections] if node else []
        return Cost(
            sum(cost.reads for cost in costs),
            sum(cost.fields for cost in costs),
            max((cost.depth for cost in costs), default=0),
        )

    def of(node: SelectionNode) -> Cost:
        match node:
            case FieldNode():
                inner = of_set(node.selection_set)
                if node.name.value.startswith("__"):
                    return Cost(0, 1 + inner.fields, 0)
                return Cost(1, 1 + inner.fields, 1 + inner.depth)
            case FragmentSpreadNode():
                name = node.name.value
                if name not in known:
                    known[name] = of_set(fragments[name])
                return known[name]
            case InlineFragmentNode():
                return of_set(node.selection_set)
        raise AssertionError(node)

    return of_set(operation.selection_set)
