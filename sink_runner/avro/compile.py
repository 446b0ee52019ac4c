"""Compile a writer's schema and the wanted columns into a Python function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import DecodeError
from ..model.envelope import Decoded, Placeholder
from ..plugin import ABSENT
from .code_writer import CodeWriter
from .schema import Array, Field, Primitive, Record, Type, Union, nullable

HEADER = 5
"""Bytes before the Avro body: Confluent's magic byte and the schema's id."""

SOURCE_FIELDS = {
    "lsn": "lsn",
    "ts_ms": "ts_ms",
    "origin": "origin",
    "snapshot": "snapshot",
    "txId": "tx_id",
    "sequence": "sequence",
}
"""Fields of Debezium's source block, and their names in `Decoded`."""


ORDER = "total_order"
"""The field of Debezium's transaction block that numbers the changes of a transaction."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The parts of an envelope to read."""

    after: tuple[str, ...]
    before: tuple[str, ...]
    source: frozenset[str]
    toastable: frozenset[str] | None = None
    """Columns that an update may omit if they are unchanged; None for any column."""

    @property
    def may_lack(self) -> tuple[bool, ...]:
        """For each column of `after`, whether an update may omit it."""
        return tuple(self.toastable is None or name in self.toastable for name in self.after)


def is_envelope(kind: Type) -> bool:
    """Return whether the schema is of a change event, and not of another record of Debezium."""
    if not isinstance(kind, Record):
        return False
    source = kind.field("source")
    op = kind.field("op")
    return (
        op is not None
        and op.type == Primitive("string")
        and source is not None
        and isinstance(source.type, Record)
        and all(row_of(kind, side) is not None for side in ("before", "after"))
    )


def row_of(envelope: Record, side: str) -> Record | None:
    """Return the row's record type of `before` or `after`."""
    field = envelope.field(side)
    if field is None or not isinstance(field.type, Union):
        return None
    row = nullable(field.type)
    return row if isinstance(row, Record) else None


def transaction_of(field: Field) -> Record | None:
    """Return the type of the transaction block, if this field is one that numbers changes."""
    if field.name != "transaction":
        return None
    block = nullable(field.type) if isinstance(field.type, Union) else field.type
    if not isinstance(block, Record):
        return None
    order = block.field(ORDER)
    return block if order is not None and order.type == Primitive("long") else None


def compile_envelope(
    envelope: Record, wanted: Wanted, placeholder: Placeholder
) -> Callable[[bytes], Decoded]:
    """Return the function that decodes whole messages."""
    source = CodeWriter()
    source.names |= {
        "ABSENT": ABSENT,
        "Decoded": Decoded,
        "new": tuple.__new__,
        **{f"MARK{i}": mark for i, mark in enumerate(placeholder.marks)},
        "without_placeholder": placeholder.without,
        "may_lack": wanted.may_lack,
    }
    with source.block("def decode(buf):"):
        source.line(f"p = {HEADER}")
        source.line("lsn = ts_ms = origin = snapshot = tx_id = sequence = None", "order = 0")
        source.line("partial = False")
        _fields(source, envelope, wanted)
        source.line("if p != len(buf): raise Malformed")
        found = _may_hold_placeholder(envelope, wanted, len(placeholder.marks))
        with source.block(f"if op == 'u' and ({found}):"):
            source.line("whole = after", "after = without_placeholder(whole, may_lack)")
            source.line("partial = after is not whole")
        source.line(f"return new(Decoded, ({', '.join(Decoded._fields)}))")
    return _function(source, "decode")


def compile_row(row: Record, columns: Sequence[str]) -> Callable[[bytes], tuple[Any, ...]]:
    """Return the function that decodes some columns of a bare record, such as a key."""
    source = CodeWriter()
    source.names["ABSENT"] = ABSENT
    with source.block("def decode(buf):"):
        source.line(f"p = {HEADER}")
        _row(source, row, columns, "row")
        source.line("if p != len(buf): raise Malformed")
        source.line("return row")
    return _function(source, "decode")


def _fields(source: CodeWriter, envelope: Record, wanted: Wanted) -> None:
    steps: list[tuple[Type, str | None]] = []
    for field in envelope.fields:
        if field.name in ("before", "after"):
            # A row is read in separate branches, so the fields before it are read first.
            source.sequence(steps)
            steps = []
            _side(source, field.type, getattr(wanted, field.name), field.name)
        elif field.name == "source":
            assert isinstance(field.type, Record)
            steps += [(part.type, _target(part.name, wanted)) for part in field.type.fields]
        elif (block := transaction_of(field)) is not None and "order" in wanted.source:
            source.sequence(steps)
            steps = []
            _transaction(source, field.type, block)
        else:
            steps.append((field.type, "op" if field.name == "op" else None))
    source.sequence(steps)


def _target(name: str, wanted: Wanted) -> str | None:
    target = SOURCE_FIELDS.get(name)
    return target if target in wanted.source else None


def _side(source: CodeWriter, kind: Type, columns: Sequence[str], target: str) -> None:
    assert isinstance(kind, Union)
    source.line("u = buf[p]", "p += 1")
    word = "if"
    for i, branch in enumerate(kind.branches):
        with source.block(f"{word} u == {2 * i}:"):
            if isinstance(branch, Record):
                _row(source, branch, columns, target)
            else:
                source.line(f"{target} = None")
        word = "elif"
    with source.block("else:"):
        source.line("raise Malformed")


def _transaction(source: CodeWriter, kind: Type, block: Record) -> None:
    parts = [(part.type, "order" if part.name == ORDER else None) for part in block.fields]
    if not isinstance(kind, Union):
        source.sequence(parts)
        return
    source.line("u = buf[p]", "p += 1")
    word = "if"
    for i, branch in enumerate(kind.branches):
        with source.block(f"{word} u == {2 * i}:"):
            if branch == block:
                source.sequence(parts)
            else:
                source.line("order = 0")
        word = "elif"
    with source.block("else:"):
        source.line("raise Malformed")


def _row(source: CodeWriter, row: Record, columns: Sequence[str], target: str) -> None:
    variables = {name: f"{target}_{i}" for i, name in enumerate(dict.fromkeys(columns))}
    source.sequence([(field.type, variables.get(field.name)) for field in row.fields])
    present = {field.name for field in row.fields}
    values = [variables[name] if name in present else "ABSENT" for name in columns]
    source.line(f"{target} = ({''.join(value + ', ' for value in values)})")


def _may_hold_placeholder(envelope: Record, wanted: Wanted, marks: int) -> str:
    """Return the condition under which some value of an update may be Debezium's placeholder.

    Searching the message for the text is cheaper than comparing every value.  Arrays of numbers or
    UUIDs do not contain it as text.
    """
    row = row_of(envelope, "after")
    lacking = {name for name, may in zip(wanted.after, wanted.may_lack, strict=True) if may}
    if not lacking:
        return "False"
    for field in row.fields if row else ():
        if field.name in lacking and isinstance(nullable(field.type), Array):
            return "True"
    return " or ".join(f"MARK{i} in buf" for i in range(marks))


def _function(source: CodeWriter, name: str) -> Callable[[bytes], Any]:
    names = dict(source.names)
    try:
        code = compile(str(source), "<generated Avro decoder>", "exec")
    except (SyntaxError, RecursionError, MemoryError) as exc:
        # Python limits how deep blocks may nest.
        raise DecodeError(f"the schema cannot be compiled: {type(exc).__name__}") from exc
    # The schema's names reach the source as quoted strings only.
    exec(code, names)  # noqa: S102
    return names[name]  # type: ignore[no-any-return]
