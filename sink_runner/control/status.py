"""The state of every mapping, as its runners reported it and as its target database knows it.

It needs no running runner.  A database that does not answer makes its mappings `unknown`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import psycopg

from ..config import Config
from ..config.database import find_database
from ..error_text import text_of
from ..errors import SinkError
from ..loading.discovery import Plugin, Status
from ..loading.quarantine import select_usable
from ..postgres.error_classes import classify_error
from ..postgres.migrations import has_tables
from ..postgres.session import Connection, connect
from .heartbeat import Heartbeat, read
from .store import Pause, pauses
from .way_out import RELOAD, RESUME

UNKNOWN, SCHEDULED, PAUSED = "unknown", "scheduled", "paused"
_GOOD = frozenset({"running", SCHEDULED})
# With several runners, the state of a mapping is the worst: what needs a person comes first.
_WORST_FIRST = ("stopped", "quarantined", "waiting", PAUSED, "starting", "running")
_STATEMENT_SECONDS = 10.0
_DEAD_LETTERS = """
SELECT flow, count(*) FROM sink.dead_letter WHERE status = 'OPEN' AND flow = ANY (%s) GROUP BY flow
"""
_VERIFIED = """
SELECT mapping, verified_through FROM sink.reconcile_state WHERE mapping = ANY (%s)
"""
_LAST_BATCH = """
SELECT mapping, max(finished) FROM sink.batch_run
WHERE mapping = ANY (%s) AND outcome = 'done' GROUP BY mapping
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingReport:
    """The state of one mapping."""

    mapping: str
    source: str
    target: str
    state: str
    """running, starting, paused (by an operator), waiting (for a retry), quarantined, stopped,
    scheduled (it has only a batch form) or unknown (no runner reports)."""
    reason: str = ""
    way_out: str = ""
    next_try: datetime | None = None
    lag_events: int | None = None
    lag_seconds: float | None = None
    last_event_at: datetime | None = None
    applied_commit_at: datetime | None = None
    open_dead_letters: int | None = None
    verified_through: datetime | None = None
    runners: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs_person(self) -> bool:
        return self.state not in _GOOD

    @property
    def clause(self) -> str:
        """The state with its reason and its way out, as part of a sentence."""
        reason = f" ({self.reason})" if self.reason else ""
        way_out = f": {self.way_out}" if self.way_out else ""
        return f"its state is {self.state}{reason}{way_out}"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON: times as ISO 8601 in UTC."""
        found = asdict(self)
        for name, value in found.items():
            if isinstance(value, datetime):
                found[name] = value.astimezone(UTC).isoformat(timespec="milliseconds")
        return found


@dataclass(frozen=True, slots=True)
class _Database:
    """What one target database knows of its mappings, by their names."""

    beats: Mapping[str, Sequence[Heartbeat]]
    pauses: Mapping[str, Pause]
    dead_letters: Mapping[str, int]
    verified: Mapping[str, datetime]
    batches: Mapping[str, datetime]


def read_status(config: Config, plugins: Iterable[Plugin]) -> list[MappingReport]:
    """Return the state of each of these plugins that is on, and has a mapping or a fault."""
    plugins = list(plugins)
    quarantined = select_usable(plugins).quarantined
    by_database: dict[str, list[Plugin]] = defaultdict(list)
    for one in plugins:
        if one.mapping is not None and one.status is Status.ON and one.name not in quarantined:
            by_database[one.mapping.target_table.database].append(one)
    found = [_broken(one, quarantined[one.name]) for one in plugins if one.name in quarantined]
    for database, local in by_database.items():
        found += _read_database(config, database, local)
    return sorted(found, key=lambda report: report.mapping)


def _broken(plugin: Plugin, reason: str) -> MappingReport:
    remedy = f"repair the plugin, or turn it off, then run `{RELOAD}`"
    return replace(_plain(plugin, "quarantined"), reason=reason, way_out=remedy)


def _read_database(config: Config, database: str, plugins: Sequence[Plugin]) -> list[MappingReport]:
    names = [one.name for one in plugins]
    try:
        dsn = find_database(config.databases, database).dsn
        with connect(dsn, "sink-runner status", _STATEMENT_SECONDS) as connection:
            known = _read(connection, names) if has_tables(connection) else None
    except psycopg.Error as fault:
        return [_unread(one, database, classify_error(fault)) for one in plugins]
    except SinkError as fault:
        return [_unread(one, database, fault) for one in plugins]
    if known is None:
        return [_silent(one, "no runner has used the target database yet") for one in plugins]
    return [_report(one, known) for one in plugins]


def _read(connection: Connection, names: list[str]) -> _Database:
    beats = defaultdict[str, list[Heartbeat]](list)
    for one in read(connection, names):
        beats[one.mapping].append(one)
    counts, verified, batches = (
        dict(connection.execute(query, (names,)).fetchall())
        for query in (_DEAD_LETTERS, _VERIFIED, _LAST_BATCH)
    )
    return _Database(beats, pauses(connection, names), counts, verified, batches)


def _report(plugin: Plugin, known: _Database) -> MappingReport:
    name = plugin.name
    return replace(
        _with_pause(_by_runners(plugin, known), known.pauses.get(name)),
        open_dead_letters=known.dead_letters.get(name, 0),
        verified_through=known.verified.get(name),
    )


def _by_runners(plugin: Plugin, known: _Database) -> MappingReport:
    assert plugin.mapping is not None
    if not plugin.mapping.streaming:
        return replace(_plain(plugin, SCHEDULED), last_event_at=known.batches.get(plugin.name))
    beats = known.beats.get(plugin.name, ())
    if fresh := [one for one in beats if one.is_fresh]:
        return _merge(plugin, fresh)
    if not beats:
        return _silent(plugin, "no runner has reported yet")
    return replace(
        _silent(plugin, f"no runner has reported for {beats[0].age:.0f} s"),
        last_event_at=beats[0].last_event_at,
        applied_commit_at=beats[0].applied_commit_at,
    )


def _merge(plugin: Plugin, beats: Sequence[Heartbeat]) -> MappingReport:
    """Return the worst state of the runners; the newest of them knows the lag."""
    worst = min(beats, key=lambda one: _WORST_FIRST.index(one.state))
    newest = beats[0]
    prefix = f"{worst.runner}: " if worst.reason and len(beats) > 1 else ""
    return replace(
        _plain(plugin, worst.state),
        reason=prefix + worst.reason,
        way_out=worst.way_out,
        next_try=worst.next_try,
        lag_events=newest.lag_events,
        lag_seconds=newest.lag_seconds,
        last_event_at=_latest(one.last_event_at for one in beats),
        applied_commit_at=_latest(one.applied_commit_at for one in beats),
        runners=sorted(one.runner for one in beats),
        versions=newest.versions,
    )


def _with_pause(report: MappingReport, pause: Pause | None) -> MappingReport:
    """Add a pause that no worker reports: it has not seen it, or none runs."""
    if pause is None or report.state not in {UNKNOWN, SCHEDULED, "running", "starting"}:
        return report
    resume = RESUME.format(mapping=report.mapping)
    return replace(
        report,
        state=UNKNOWN if report.state == UNKNOWN else PAUSED,
        reason="; ".join(filter(None, (report.reason, str(pause)))),
        way_out=" and ".join(filter(None, (report.way_out, resume))),
    )


def _latest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _unread(plugin: Plugin, database: str, fault: SinkError) -> MappingReport:
    report = _silent(plugin, f"database {database!r} cannot be read: {text_of(fault)}")
    return replace(report, way_out="correct what the reason names")


def _silent(plugin: Plugin, reason: str) -> MappingReport:
    report = _plain(plugin, UNKNOWN)
    return replace(report, reason=reason, way_out="start the runner: sink-runner run")


def _plain(plugin: Plugin, state: str) -> MappingReport:
    """Return a report of this state; a plugin that could not be loaded has no tables."""
    mapping = plugin.mapping
    source, target = (mapping.source, mapping.target) if mapping else ("", "")
    return MappingReport(mapping=plugin.name, source=source, target=target, state=state)
