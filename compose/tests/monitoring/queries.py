"""Compares the metrics and labels of PromQL expressions with those that the code exports."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

import promql_parser as promql
from reference_text import method_calls

_SUFFIXES = {
    "counter": ("_total",),
    "gauge": ("",),
    "gauge_table": ("",),
    "histogram": ("_bucket", "_count", "_sum"),
}
_EVERYWHERE = {"job", "instance"}
# Prometheus makes it for each target.
_OF_PROMETHEUS = {"up": _EVERYWHERE}
_VARIABLE = re.compile(r"\$\{?\w+\}?")


def exported_metrics() -> Mapping[str, set[str]]:
    """Return the label names of each time series that the code exports, by its name."""
    found: dict[str, set[str]] = dict(_OF_PROMETHEUS)
    for _, call, kind in method_calls(tuple(_SUFFIXES)):
        name = ast.literal_eval(call.args[0])
        labels = set(_labels(call)) | _EVERYWHERE | ({"le"} if kind == "histogram" else set())
        found |= {f"{name}{suffix}": labels for suffix in _SUFFIXES[kind]}
    return found


def _labels(call: ast.Call) -> Iterator[str]:
    for argument in [*call.args[2:3], *(one.value for one in call.keywords)]:
        match argument:
            case ast.Tuple(elts=elements):
                yield from (ast.literal_eval(one) for one in elements)
            case ast.Name(id=name):
                yield name  # a constant tuple with one label is named after it


def find_unknown(expression: str, exported: Mapping[str, set[str]]) -> list[str]:
    """Return a sentence for each metric, and each label of one, that is not exported.

    Variables of Grafana may be where a duration or a part of a text is.
    """
    parsed = promql.parse(_VARIABLE.sub("5m", expression))
    found = []
    for name, labels in _selectors(parsed):
        if name not in exported:
            found.append(f"{name} is not exported")
        else:
            unknown = sorted(labels - exported[name])
            found += [f"{name} has no label {label}" for label in unknown]
    return found


def _selectors(node: Any) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql.VectorSelector():
            yield node.name, {one.name for one in node.matchers.matchers}
        case promql.MatrixSelector():
            yield from _selectors(node.vector_selector)
        case promql.BinaryExpr():
            yield from _selectors(node.lhs)
            yield from _selectors(node.rhs)
        case promql.Call():
            for argument in node.args:
                yield from _selectors(argument)
        case promql.AggregateExpr() | promql.ParenExpr() | promql.UnaryExpr():
            yield from _selectors(node.expr)
        case promql.SubqueryExpr():
            yield from _selectors(node.expr)
        case promql.NumberLiteral() | promql.StringLiteral():
            pass
        case _:
            raise NotImplementedError(type(node).__name__)
