"""The quality rules of a mapping, which its columns and rows must meet to be written.

Each becomes a function that returns a value unchanged or raises `QualityError`; the error never
contains the value.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from ..errors import ExpiredError, QualityError, SinkError, StepError, describe_raised
from ..plugin import ABSENT, Column, Rule

REQUIRED = "required"
DEFAULT = "default"
MINIMUM = "minimum"
MAXIMUM = "maximum"
ONE_OF = "one_of"
RESERVED = frozenset({REQUIRED, DEFAULT, MINIMUM, MAXIMUM, ONE_OF, ExpiredError.rule})
"""Names that a `Rule` must not have."""

Check = Callable[[Any], Any]


def required(column: str) -> Check:
    """Return a check that refuses NULL."""

    def check(value: Any) -> Any:
        if value is None:
            raise QualityError(REQUIRED, column)
        return value

    return check


def value_checks(column: Column) -> list[Check]:
    """Return one check for each rule of the column; they get its values other than NULL."""
    bounds = ((MINIMUM, column.minimum, operator.ge), (MAXIMUM, column.maximum, operator.le))
    checks = [
        _check(rule, column.name, partial(_compare_with, holds, bound))
        for rule, bound, holds in bounds
        if bound is not None
    ]
    if column.one_of is not None:
        checks.append(_check(ONE_OF, column.name, column.one_of.__contains__))
    return checks


def _compare_with(holds: Callable[[Any, Any], bool], bound: Any, value: Any) -> bool:
    return holds(value, bound)


def _check(rule: str, column: str, holds: Callable[[Any], bool]) -> Check:
    def check(value: Any) -> Any:
        try:
            is_met = holds(value)
        except (TypeError, ArithmeticError) as fault:  # NaN, or something of another type
            raise QualityError(rule, column) from fault
        if not is_met:
            raise QualityError(rule, column)
        return value

    return check


def check_row(rules: Iterable[Rule], row: Mapping[str, Any]) -> None:
    """Raise for the first rule that the source row breaks.

    A rule that reads a column which the event does not carry passes.
    """
    for rule in rules:
        if any(row[name] is ABSENT for name in rule.reads):
            continue
        try:
            is_met = rule.check(row)
        except SinkError:
            raise
        except Exception as fault:
            raise StepError("mapping", f"rule {rule.name!r}", describe_raised(fault)) from fault
        if not is_met:
            raise QualityError(rule.name)
