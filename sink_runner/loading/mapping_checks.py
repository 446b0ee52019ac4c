"""Check a `TableMapping` without a database."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

from ..errors import QualityError
from ..model.quality_rules import RESERVED, value_checks
from ..model.timetable import Cron
from ..plugin import (
    Action,
    AllOf,
    Column,
    Constant,
    FirstOf,
    OnTruncate,
    Review,
    Rule,
    SetColumns,
    Strategy,
    SyncTime,
    Table,
    TableMapping,
)
from .lookup_checks import lookup_faults

_OPPOSED = 2
_NAME_BYTES = 200
"""With a prefix, the longest name of a replication origin in PostgreSQL."""
_IDENTIFIER_BYTES = 63
"""The longest identifier of PostgreSQL, which truncates a longer one without an error."""


def mapping_faults(mapping: TableMapping) -> list[str]:
    """Return every fault of the declaration, in the order of its fields."""
    # With a string in place of a tuple, all further checks would be about its characters.
    if wrong_types := list(_field_type_faults(mapping)):
        return wrong_types
    return [
        *_table_faults(mapping),
        *_key_faults(mapping),
        *_undeclared_faults("reads_unmasked", mapping.reads_unmasked, mapping.source_columns),
        *(fault for column in mapping.columns for fault in _column_faults(column, mapping)),
        *(fault for column in mapping.columns for fault in _column_rule_faults(column)),
        *lookup_faults(mapping),
        *_conflict_faults(mapping),
        *_conflict_detection_faults(mapping),
        *_action_faults(mapping),
        *_candidate_faults(mapping),
        *_row_rule_faults(mapping),
        *_batch_faults(mapping),
    ]


def name_faults(name: str) -> Iterator[str]:
    """Describe faults of a mapping's name, which is part of names of the runner's own tables."""
    size = len(name.encode())
    if size > _NAME_BYTES:
        yield (
            f"the mapping's name has {size} bytes, expected at most {_NAME_BYTES}: "
            "shorten the name of its entry point"
        )


def shared_candidates(mappings: Mapping[str, TableMapping]) -> Iterator[tuple[str, list[str]]]:
    """Yield the candidate tables that several mappings would share, each with these mappings."""
    owners: dict[str, list[str]] = {}
    for name, mapping in sorted(mappings.items()):
        if mapping.derived is not None:
            owners.setdefault(candidate_name(name), []).append(name)
    yield from ((table, names) for table, names in owners.items() if len(names) > 1)


def candidate_name(mapping: str) -> str:
    """Return the name of the mapping's candidate table."""
    return shortened("candidates_" + mapping.replace("-", "_"))


def shortened(name: str) -> str:
    """Return an identifier that PostgreSQL does not cut; a long one ends with a hash of itself."""
    if len(name.encode()) <= _IDENTIFIER_BYTES:
        return name
    end = "_" + hashlib.sha256(name.encode()).hexdigest()[:8]
    return name.encode()[: _IDENTIFIER_BYTES - len(end)].decode(errors="ignore") + end


def mapping_cycles(edges: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Return the cycles of more than two tables in the graph of (source, target), each once.

    A cycle starts at its first table in the order of names.
    """
    after: dict[str, list[str]] = {}
    for source, target in sorted(edges):
        after.setdefault(source, []).append(target)
    return [cycle for start in after for cycle in _cycles_from([start], after)]


def _cycles_from(path: list[str], after: dict[str, list[str]]) -> Iterator[list[str]]:
    for table in after.get(path[-1], ()):
        if table == path[0] and len(path) > _OPPOSED:
            yield path
        elif table > path[0] and table not in path:
            yield from _cycles_from([*path, table], after)


def _field_type_faults(mapping: TableMapping) -> Iterator[str]:
    tuples = {"key": mapping.key, "columns": mapping.columns}
    tuples |= {"extra_columns": mapping.extra_columns, "rules": mapping.rules}
    if mapping.derived is not None:
        tuples["derived.key"] = mapping.derived.key
        tuples["derived.group"] = mapping.derived.group
    for name, value in tuples.items():
        if not isinstance(value, tuple):
            yield f'{name} must be a tuple, as in ("a",), not {type(value).__name__}'
        elif not value and name not in ("extra_columns", "rules"):
            yield f"{name} is empty"
        elif name == "columns" and not all(isinstance(part, Column) for part in value):
            yield "columns must hold Column values only"
        elif name == "rules" and not all(isinstance(part, Rule) for part in value):
            yield "rules must hold Rule values only"


def _table_faults(mapping: TableMapping) -> Iterator[str]:
    for name, text in (("source", mapping.source), ("target", mapping.target)):
        try:
            Table.parse(text)
        except ValueError as exc:
            yield f"{name}: {exc}"
    if mapping.source == mapping.target:
        yield f"source and target are the same table, {mapping.source}"
    if mapping.on_truncate is OnTruncate.EMPTY and mapping.shared_target:
        yield (
            "on_truncate=OnTruncate.EMPTY would delete rows of other writers, which "
            "shared_target declares: set OnTruncate.KEEP and run a full batch after a TRUNCATE"
        )


def _key_faults(mapping: TableMapping) -> Iterator[str]:
    names = [column.name for column in mapping.columns]
    yield from (f"column {name!r} is declared twice" for name in _repeated(names))
    yield from (f"key names column {name!r} twice" for name in _repeated(mapping.key))
    if mapping.derived is None:
        yield from _undeclared_faults("key", mapping.key, names)
        keyed = set(mapping.key)
    else:
        keyed = set(mapping.derived.key)
    for column in mapping.columns:
        if column.name in keyed and isinstance(column.source, SyncTime):
            yield f"key column {column.name!r} would differ with every write"


def _column_faults(column: Column, mapping: TableMapping) -> Iterator[str]:
    at = f"column {column.name!r}"
    if isinstance(column.source, FirstOf) and not column.source.columns:
        yield f"{at}: first_of() needs a column"
    if isinstance(column.source, SyncTime | Constant) and (column.convert or column.lookup):
        yield f"{at}: convert and lookup need a source column"
    if column.required and column.default is not None:
        yield f"{at}: required and default exclude each other"
    if column.max_length is not None and column.max_length < 1:
        yield f"{at}: max_length is less than 1"
    if column.type is not None and mapping.derived is None:
        yield f"{at}: type is for candidates only; the target's catalog knows the type"
    if column.type is None and mapping.derived is not None:
        yield f"{at}: a column of candidates needs a type"
    for lookup in column.lookups:
        if lookup.database not in _databases(mapping):
            yield f"{at}: lookup in {lookup.database!r}, which the mapping does not touch"
        if "%s" not in lookup.query:
            yield f"{at}: the lookup's query has no %s"


def _column_rule_faults(column: Column) -> Iterator[str]:
    at = f"column {column.name!r}"
    if column.one_of is not None and not isinstance(column.one_of, frozenset | set):
        yield f"{at}: one_of must be a set, not {type(column.one_of).__name__}"
        return
    checks = value_checks(column)
    if checks and isinstance(column.source, SyncTime | Constant | AllOf):
        yield f"{at}: minimum, maximum and one_of need a source column, and one only"
    if column.one_of is not None and not column.one_of:
        yield f"{at}: one_of is empty, so every value breaks it"
    try:
        is_empty = None not in (column.minimum, column.maximum) and column.minimum > column.maximum
    except TypeError:
        yield f"{at}: minimum and maximum cannot be compared"
        return
    if is_empty:
        yield f"{at}: minimum is more than maximum, so every value breaks one of them"
    if column.default is None:
        return
    try:
        for check in checks:
            check(column.default)
    except QualityError as broken:
        yield f"{at}: the default breaks rule {broken.rule!r}"


def _row_rule_faults(mapping: TableMapping) -> Iterator[str]:
    for rule in mapping.rules:
        if not rule.name.strip():
            yield "a rule has no name"
        elif rule.name in RESERVED:
            yield f"rule {rule.name!r} has the name of a rule of columns"
        if not isinstance(rule.reads, tuple) or not rule.reads:
            yield f"rule {rule.name!r}: reads must be a tuple of the source columns that it needs"
    repeated = _repeated([rule.name for rule in mapping.rules])
    yield from (f"rule {name!r} is declared twice" for name in repeated)


def _conflict_faults(mapping: TableMapping) -> Iterator[str]:
    strategy, version = mapping.conflict.strategy, mapping.conflict.version
    columns = {column.name: column for column in mapping.columns}
    if strategy is Strategy.MERGE_CHANGED and not mapping.needs_before_image:
        yield (
            "merge_changed compares with the row before the change: set needs_before_image=True "
            "and give the source table REPLICA IDENTITY FULL"
        )
    if strategy not in (Strategy.NEWEST_WINS, Strategy.MERGE_CHANGED):
        return
    if version is None:
        yield f"{strategy.value} needs a version column"
    elif version not in columns:
        yield from _undeclared_faults("version", (version,), columns)
    elif mapping.derived is None and version in mapping.key:
        yield f"version column {version!r} is part of the key, so it never changes"
    elif columns[version].insert_only:
        yield f"version column {version!r} is insert_only, so it never changes"
    elif isinstance(columns[version].source, SyncTime):
        yield f"version column {version!r} is the time of the write, so every write would win"


def _conflict_detection_faults(mapping: TableMapping) -> Iterator[str]:
    if mapping.conflict_detection is None:
        return
    if mapping.conflict.strategy not in (Strategy.NEWEST_WINS, Strategy.MERGE_CHANGED):
        yield f"conflict_detection: {mapping.conflict.strategy.value} leaves nothing to contest"
    if mapping.derived is not None:
        yield "conflict_detection: no other writer may change rows that are derived from candidates"
    if not mapping.needs_before_image:
        yield (
            "conflict_detection compares with the row before the change: set "
            "needs_before_image=True and give the source table REPLICA IDENTITY FULL"
        )


def _action_faults(mapping: TableMapping) -> Iterator[str]:
    actions: dict[str, Action | None] = {
        "on_delete": mapping.on_delete,
        "on_remove": mapping.on_remove,
        "on_key_change": mapping.on_key_change,
    }
    for name, action in actions.items():
        match action:
            case Review() if not mapping.needs_before_image:
                yield (
                    f"{name}=Review() asks whether the row used to belong: set "
                    "needs_before_image=True and give the source table REPLICA IDENTITY FULL"
                )
            case SetColumns(values) if not values:
                yield f"{name}=SetColumns() sets no column"
            case SetColumns(values) if set(values) & set(mapping.key):
                yield f"{name}=SetColumns() sets a key column"


def _candidate_faults(mapping: TableMapping) -> Iterator[str]:
    candidates = mapping.derived
    if candidates is None:
        return
    names = [column.name for column in mapping.columns]
    yield from _undeclared_faults("derived.key", candidates.key, names)
    yield from _undeclared_faults("derived.group", candidates.group, names)
    if (candidates.expire_column is None) != (candidates.expire_after is None):
        yield "candidates: expire_column and expire_after go together"
    if candidates.expire_column is not None:
        yield from _undeclared_faults("derived.expire_column", (candidates.expire_column,), names)
    if "{candidates}" not in candidates.select:
        yield "derived.select does not read {candidates}"


def _batch_faults(mapping: TableMapping) -> Iterator[str]:
    for schedule in mapping.schedules:
        try:
            Cron(schedule.cron)
        except ValueError as fault:
            yield f"schedule: {fault}"
    if not mapping.streaming and not mapping.schedules:
        yield "streaming=False needs a schedule: without events and batches no row is written"
    if mapping.query is None:
        return
    if mapping.streaming:
        yield "a query needs streaming=False: an event contains only its own row"
    names = [column.name for column in mapping.columns]
    yield from _undeclared_faults("query.replaces", mapping.query.replaces, names)


def _databases(mapping: TableMapping) -> set[str]:
    return {text.partition(".")[0] for text in (mapping.source, mapping.target)}


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _undeclared_faults(what: str, names: Iterable[str], declared: Collection[str]) -> Iterator[str]:
    yield from (f"{what} column {name!r} is not declared" for name in names if name not in declared)
