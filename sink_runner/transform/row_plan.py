"""Compile a mapping's columns into one generated function from source row to target row.

It runs once per event, and a tuple display costs a tenth of a loop over column objects.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from ..avro.conversion import to_python
from ..errors import DecodeError, StepError, ValueRefusedError
from ..model.envelope import ColumnType, Kind
from ..model.quality_rules import required, value_checks
from ..plugin import ABSENT, AllOf, Column, Constant, FirstOf
from ..postgres.declared_types import declared_type
from ..postgres.narrowing import narrowing
from ..postgres.target_column import Converter, TargetColumn
from ..postgres.types import UNRESOLVED, PgType
from .pg_encoding import staged_as
from .pg_text import fitting, restaging, spelling

Values: TypeAlias = tuple[Any, ...]
RowFunction: TypeAlias = Callable[[Sequence[Any]], Values]


@dataclass(frozen=True, slots=True)
class SourceColumn:
    """A column of the decoded source row; `type` is its type in the source database."""

    name: str
    kind: Kind
    type: str | None = None
    pg: PgType = UNRESOLVED
    """The resolved type, by default that of `type`; UNRESOLVED if it is unknown."""
    item: ColumnType | None = None
    """The type of the elements of an array in the writer's schema."""

    def __post_init__(self) -> None:
        """Resolve the type of a column whose catalog entry is not known."""
        if self.pg is UNRESOLVED and self.type is not None:
            object.__setattr__(self, "pg", declared_type(self.type))

    @property
    def to_python(self) -> Converter | None:
        """The function that makes a decoded value what hooks expect; None if none is needed."""
        return to_python(self.kind, self.pg, self.item)


class RowPlan:
    """The compiled columns for one shape of the source row.

    `flat` converts, stages and masks a row.  `typed` and `finish` are its two halves, for mappings
    in which a plugin changes the row in between.  All three take and return whole rows.
    """

    def __init__(
        self,
        columns: Sequence[TargetColumn],
        source: Sequence[SourceColumn],
        defaulted: Callable[[str], None] | None = None,
    ) -> None:
        """`defaulted` gets the name of a column whenever its default is used."""
        self._columns = columns
        self._code = _Code({column.name: i for i, column in enumerate(source)}, source, defaulted)
        self._cells: dict[tuple[int, str], RowFunction] = {}
        names = [column.name for column in columns]
        self.flat = self._code.function([self._code.flat(column) for column in columns], names)
        self.typed = self._code.function([self._code.typed(column) for column in columns], names)
        self.finish = self._code.function(
            [self._code.finished(column, f"v[{i}]") for i, column in enumerate(columns)], names
        )

    def partial(self, values: Sequence[Any]) -> Values:
        """As `flat`, for a row without some source columns; columns made of them are ABSENT."""
        return self._known(values, self._code.flat)

    def comparable(self, values: Sequence[Any]) -> Values:
        """As `partial`, for a before image; a value that cannot be written is ABSENT as well."""
        try:
            return self.partial(values) if ABSENT in values else self.flat(values)
        except (DecodeError, ValueRefusedError):
            return tuple(self._writable(column, values) for column in self._columns)

    def _writable(self, column: TargetColumn, values: Sequence[Any]) -> Any:
        if self._lacks(column, values):
            return ABSENT
        try:
            return self._cell(self._columns.index(column), self._code.flat)(values)[0]
        except (DecodeError, ValueRefusedError):
            return ABSENT

    def partial_typed(self, values: Sequence[Any]) -> Values:
        """As `typed`, for a row without some source columns."""
        return self._known(values, self._code.typed)

    def partial_finish(self, values: Sequence[Any]) -> Values:
        """As `finish`, for a row with ABSENT values, which stay ABSENT."""
        return tuple(
            ABSENT if value is ABSENT else self._cell(i, self._finished)(values)[0]
            for i, value in enumerate(values)
        )

    def _finished(self, column: TargetColumn) -> str:
        return self._code.finished(column, f"v[{self._columns.index(column)}]")

    def _known(self, values: Sequence[Any], code: Callable[[TargetColumn], str]) -> Values:
        return tuple(
            ABSENT if self._lacks(column, values) else self._cell(i, code)(values)[0]
            for i, column in enumerate(self._columns)
        )

    def _lacks(self, column: TargetColumn, values: Sequence[Any]) -> bool:
        return any(values[self._code.index[name]] is ABSENT for name in column.column.sources)

    def _cell(self, i: int, code: Callable[[TargetColumn], str]) -> RowFunction:
        """Return the function of a single column, compiled at its first use."""
        made = self._cells.get((i, code.__name__))
        if made is None:
            column = self._columns[i]
            made = self._code.function([code(column)], [column.name])
            self._cells[i, code.__name__] = made
        return made


_FUNCTION = """
def row(v):
    try:
        return ({})
    except Exception as fault:
        raise value_error(v, fault) from fault
"""


def _value_error(
    columns: Sequence[str],
    cells: Callable[[], Sequence[RowFunction]],
    row: Sequence[Any],
    fault: Exception,
) -> Exception:
    """Return the error with the name of its column, found by trying each column."""
    if type(fault) not in {DecodeError, ValueRefusedError}:
        return fault
    for column, cell in zip(columns, cells(), strict=True):
        try:
            cell(row)
        except Exception as again:  # noqa: BLE001 - the column's own functions may raise anything
            if type(again) is type(fault):
                return type(fault)(f"column {column!r}: {again}")
            return fault
    return fault


class _Code:
    """Writes Python expressions over ``v``, the source row, and keeps the objects they name."""

    def __init__(
        self,
        index: Mapping[str, int],
        source: Sequence[SourceColumn],
        defaulted: Callable[[str], None] | None,
    ) -> None:
        self.index = index
        self._source = source
        self._defaulted = defaulted
        self._names: dict[str, Any] = {}

    def function(self, expressions: Sequence[str], columns: Sequence[str]) -> RowFunction:
        """Return the function of a whole row; its errors name the column."""
        code = _FUNCTION.format("".join(e + ", " for e in expressions))
        cells = partial(self._cells, expressions)
        # `is_ours` goes by the name of the module that raises: the text of these errors is logged.
        names = {
            **self._names,
            "value_error": partial(_value_error, columns, cells),
            "__name__": __name__,
        }
        exec(code, names)  # noqa: S102 - our own text only
        made: RowFunction = names["row"]
        return made

    def _cells(self, expressions: Sequence[str]) -> list[RowFunction]:
        return [eval(f"lambda v: {e}", self._names) for e in expressions]  # noqa: S307 - our own text only

    def flat(self, target: TargetColumn) -> str:
        column = target.column
        if column.lookup is not None:
            return self._wanted(self.typed(target), column)  # staged after the lookup
        if column.convert is not None:
            value = self._text(self._checked(self._converted(column), column), target)
        else:
            value = self._for_postgres(target)
            if value_checks(column):  # they get the Python value; the decoded value is written
                value = f"({self._checked(self._converted(column), column)}, {value})[1]"
        default = column.default if column.default is None else to_stage(target)(column.default)
        return self._last(self._default(value, default, column), target)

    def typed(self, target: TargetColumn) -> str:
        column = target.column
        value = self._checked(self._converted(column), column)
        return self._default(value, column.default, column)

    def finished(self, target: TargetColumn, value: str) -> str:
        value = self._checked(value, target.column)  # a plugin may have changed it
        if target.column.lookup is not None:
            return self._wanted(value, target.column)
        sources = [self._source[self.index[name]] for name in target.column.sources]
        narrow = self._narrowing(sources, target)
        if narrow is not None:
            value = self._if_null("None", value, f"{self._name(narrow)}(x)")
        stage = self._name(self._restaging(sources, target))
        return self._last(self._if_null("None", value, f"{stage}(x)"), target)

    def _last(self, value: str, target: TargetColumn) -> str:
        column = target.column
        if target.mask is not None:
            value = f"{self._name(target.mask)}({value})"
        if column.max_length is not None:
            value = self._if_null("None", value, f"x[:{column.max_length:d}]")
        return self._wanted(value, column)

    def _wanted(self, value: str, column: Column) -> str:
        return f"{self._name(required(column.name))}({value})" if column.required else value

    def _checked(self, value: str, column: Column) -> str:
        """Add the checks of a value; a default was checked with the mapping."""
        checks = value_checks(column)
        if not checks:
            return value
        checked = "x"
        for check in checks:
            checked = f"{self._name(check)}({checked})"
        return self._if_null("None", value, checked)

    def _default(self, value: str, default: Any, column: Column) -> str:
        if default is None:
            return value
        if self._defaulted is None:
            return self._if_null(self._name(default), value, "x")
        used = partial(_used, self._defaulted, column.name, default)
        return self._if_null(f"{self._name(used)}()", value, "x")

    def _for_postgres(self, target: TargetColumn) -> str:
        """Return the expression that stages a decoded value, as cheap as its type permits."""
        source = target.column.source
        if isinstance(source, Constant):
            value = source.value
            return self._name(None if value is None else to_stage(target)(value))
        return self._over_sources(target.column, lambda at: self._read(at, target))

    def _read(self, at: int, target: TargetColumn) -> str:
        source = self._source[at]
        narrow = self._narrowing([source], target)
        respell = spelling(source.kind, source.pg, source.item, target.pg)
        is_fit = respell is None or source.kind is Kind.DOUBLE
        fits = is_fit and target.stage_type in fitting(source.kind, source.pg)
        if narrow is None and fits:
            return f"v[{at}]"
        spelled = "x"
        for step in (respell, narrow):
            spelled = spelled if step is None else f"{self._name(step)}({spelled})"
        if target.stage_type != "text" or not (fits or respell):
            spelled = f"{self._name(to_stage(target))}({spelled})"
        return self._if_null("None", f"v[{at}]", spelled)

    @staticmethod
    def _restaging(sources: Sequence[SourceColumn], target: TargetColumn) -> Converter:
        """As `to_stage`, but a text column gets a value as the source database prints it."""
        if target.column.convert is None and target.pg.category == "S":
            for source in sources:
                if (printed := restaging(source.pg)) is not None:
                    return printed
        return to_stage(target)

    @staticmethod
    def _narrowing(sources: Sequence[SourceColumn], target: TargetColumn) -> Converter | None:
        """Return the check that a copied value fits; None if the mapping shortens the value."""
        column = target.column
        if column.convert is not None or column.max_length is not None or column.lookup is not None:
            return None
        checks = [narrowing(s.pg, target.pg) for s in sources if s.pg is not UNRESOLVED]
        return next((check for check in checks if check is not None), None)

    def _converted(self, column: Column) -> str:
        if isinstance(column.source, Constant):
            return self._name(column.source.value)
        value = self._over_sources(column, self._python)
        if column.convert is None:
            return value
        return self._if_null("None", value, f"{self._name(column.convert)}(x)")

    def _python(self, at: int) -> str:
        convert = self._source[at].to_python
        if convert is None:
            return f"v[{at}]"
        return self._if_null("None", f"v[{at}]", f"{self._name(convert)}(x)")

    def _over_sources(self, column: Column, read: Callable[[int], str]) -> str:
        places = [self.index[name] for name in column.sources]
        if isinstance(column.source, AllOf):
            nothing = (None,) * len(places)
            parts = "".join(f"{read(at)}, " for at in places)
            return f"(None if (x := ({parts})) == {nothing!r} else x)"
        first, *others = places
        value = read(first)
        for other in others if isinstance(column.source, FirstOf) else ():
            value = f"(x if (x := {value}) is not None else {read(other)})"
        return value

    def _text(self, value: str, target: TargetColumn) -> str:
        return self._if_null("None", value, f"{self._name(to_stage(target))}(x)")

    @staticmethod
    def _if_null(then: str, value: str, otherwise: str) -> str:
        return f"({then} if (x := {value}) is None else {otherwise})"

    def _name(self, thing: Any) -> str:
        if thing is None or isinstance(thing, bool | int):
            return repr(thing)
        name = f"k{len(self._names)}"
        self._names[name] = thing
        return name


def is_whole(columns: Sequence[SourceColumn]) -> bool:
    """Return whether the writer's schema has every column; a missing one has no kind."""
    return all(column.kind is not Kind.OPAQUE for column in columns)


def _used(defaulted: Callable[[str], None], column: str, default: Any) -> Any:
    defaulted(column)
    return default


def to_stage(target: TargetColumn) -> Converter:
    """Return the function that encodes a Python value for the column's staging type."""
    return staged_as(target.pg, target.stage_type)


def to_found(target: TargetColumn) -> Converter:
    """Return the function that stages and masks the value that a lookup found."""
    stage, mask = to_stage(target), target.mask
    return stage if mask is None else lambda value: mask(stage(value))


def check_masks(
    columns: Sequence[TargetColumn], clear: Sequence[Any], once: Values, more: Values
) -> None:
    """Raise StepError if a plugin masks less than the policies; it may mask more.

    Lookup columns are masked later, after the lookup.
    """
    for at, column in enumerate(columns):
        if column.mask is None or column.column.lookup is not None:
            continue
        if clear[at] is None or more[at] == once[at]:
            continue
        if more[at] in (clear[at], to_stage(column)(clear[at])):
            raise StepError("masks", "sink_mask", f"uncovered column {column.name!r}")


def is_same(old: Any, new: Any) -> bool:
    """Return whether two values are the same: 0.0 differs from -0.0, and NaN equals NaN."""
    return repr(old) == repr(new) if isinstance(new, float) else bool(old == new)
