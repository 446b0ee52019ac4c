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
_TARGET_LABELS = {"job", "instance"}
# Prometheus adds this series for each target.
_PROMETHEUS_SERIES = {"up": _TARGET_LABELS}
_VARIABLE = re.compile(r"\$\{?\w+\}?")


def exported_metrics() -> Mapping[str, set[str]]:
    """Return the label names of each time series that the code exports, by its name."""
    series: dict[str, set[str]] = dict(_PROMETHEUS_SERIES)
    for _, call, kind in method_calls(tuple(_SUFFIXES)):
        name = ast.literal_eval(call.args[0])
        labels = set(_labels(call)) | _TARGET_LABELS | ({"le"} if kind == "histogram" else set())
        series |= {f"{name}{suffix}": labels for suffix in _SUFFIXES[kind]}
    return series


def _labels(call: ast.Call) -> Iterator[str]:
    for argument in [*call.args[2:3], *(keyword.value for keyword in call.keywords)]:
        match argument:
            case ast.Tuple(elts=elements):
                yield from (ast.literal_eval(one) for one in elements)
            case ast.Name(id=name):
                yield name  # a constant tuple with one label is named after it


def find_unknown(expression: str, exported: Mapping[str, set[str]]) -> list[str]:
    """Return a message for each metric or label that is not exported.

    A variable of Grafana may stand for a duration or for a part of a text.
    """
    parsed = promql.parse(_VARIABLE.sub("5m", expression))
    messages = []
    for name, labels in _selectors(parsed):
        if name not in exported:
            messages.append(f"{name} is not exported")
        else:
            unknown = sorted(labels - exported[name])
            messages += [f"{name} has no label {label}" for label in unknown]
    return messages


def _selectors(node: Any) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql.VectorSelector():
            yield node.name, {matcher.name for matcher in node.matchers.matchers}
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
