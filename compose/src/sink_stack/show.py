"""Changes one row in each database, and shows it arrive in the other."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

from . import status
from .errors import StackError
from .settings import Settings

_TIMEOUT_SECONDS = 30
_CATCH_UP_SECONDS = 120
_POLL_SECONDS = 0.3
_IDLE_POLLS = 3
# A slot with fewer unread bytes has only heartbeats left.
_IDLE_SLOT_BYTES = 64 * 1024

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One statement on a source, and the query that sees it in the target.

    `pick` finds a row that takes part; `update` marks it with %(mark)s; `arrived` finds the
    target's row by what `update` returned.
    """

    source: str
    target: str
    pick: str
    update: str
    arrived: str
    columns: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One change: its source row, and the target row that arrived."""

    change: Change
    before: Row
    after: Row
    milliseconds: float

    def record(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.change.source,
            "target": self.change.target,
            "milliseconds": round(self.milliseconds),
            "before": self.before,
            "after": self.after,
        }


CHANGES = (
    Change(
        source="smart_warehouse",
        target="smart_citizen",
        # Only rows that pass the mapping's filter: others never arrive.
        pick="""SELECT gr_id AS key FROM public.golden_records
                 WHERE lower(coalesce(status, 'active')) = 'active' AND jan_aadhaar IS NOT NULL
                 ORDER BY gr_id LIMIT 1""",
        update="""UPDATE public.golden_records SET full_name = %(mark)s WHERE gr_id = %(key)s
                  RETURNING gr_id, jan_aadhaar, full_name, city_village, mobile_number, email""",
        arrived="""SELECT record_id, jan_aadhaar, full_name, city, mobile_number, email
                     FROM public.profile_data
                    WHERE record_id = %(key)s AND full_name = %(mark)s""",
        columns=(
            ("gr_id", "record_id"),
            ("jan_aadhaar", "jan_aadhaar"),
            ("full_name", "full_name"),
            ("city_village", "city"),
            ("mobile_number", "mobile_number"),
            ("email", "email"),
        ),
    ),
    Change(
        source="smart_citizen",
        target="smart_warehouse",
        pick="""SELECT id AS key FROM public.citizens
                 WHERE upper(verification_status) = 'VERIFIED' AND aadhaar_number IS NOT NULL
                 ORDER BY id LIMIT 1""",
        update="""UPDATE public.citizens SET city = %(mark)s, updated_at = now()
                   WHERE id = %(key)s RETURNING id, full_name, city""",
        arrived="""SELECT gr_id, full_name, city_village FROM public.golden_records
                    WHERE city_village = %(mark)s""",
        columns=(("id", "gr_id"), ("full_name", "full_name"), ("city", "city_village")),
    ),
)


def show(
    settings: Settings,
    console: Console,
    *,
    timeout: float = _TIMEOUT_SECONDS,
    catch_up: float = _CATCH_UP_SECONDS,
) -> Iterator[Arrival]:
    """Make each change and wait for it; yield both rows with the time it took.

    It prints a line on the console while it waits for older changes.
    """
    for change in CHANGES:
        _wait_until_caught_up(settings, console, catch_up)
        yield _arrival(change, settings, timeout)


def _wait_until_caught_up(settings: Settings, console: Console, seconds: float) -> None:
    """Wait until earlier changes have arrived: one of them could overwrite the change shown."""
    bound, quiet = time.monotonic() + seconds, 0
    reported = False
    while quiet < _IDLE_POLLS and time.monotonic() < bound:
        records = sum(status.group_lag(settings).values())
        unread = max((lag or 0 for lag in status.slot_lag(settings).values()), default=0)
        busy = records > 0 or unread > _IDLE_SLOT_BYTES
        quiet = 0 if busy else quiet + 1
        if busy and not reported:
            console.print("waiting until the changes that are on their way have arrived")
            reported = True
        time.sleep(_POLL_SECONDS)


def _arrival(change: Change, settings: Settings, timeout: float) -> Arrival:
    mark = f"Shown {time.strftime('%H:%M:%S')}"
    with psycopg.connect(settings.admin_dsn(change.source), row_factory=dict_row) as source:
        picked = source.execute(change.pick).fetchone()
        if picked is None:
            raise StackError(
                f"{change.source} has no row to change: load data with `sink-runner demo load`"
            )
        names = {"mark": mark, "key": picked["key"]}
        before = source.execute(change.update, names).fetchone()
        source.commit()
    began = time.monotonic()
    after = _wait(change, settings, names, timeout)
    milliseconds = (time.monotonic() - began) * 1000
    assert before is not None
    return Arrival(change=change, before=before, after=after, milliseconds=milliseconds)


def _wait(change: Change, settings: Settings, names: Mapping[str, Any], timeout: float) -> Row:
    bound = time.monotonic() + timeout
    with psycopg.connect(
        settings.admin_dsn(change.target), row_factory=dict_row, autocommit=True
    ) as target:
        while time.monotonic() < bound:
            if row := target.execute(change.arrived, names).fetchone():
                return row
            time.sleep(0.005)
    raise StackError(
        f"a change in {change.source} did not reach {change.target} in {timeout:.0f} s."
        " Look at `sink-stack status` (is every part up, does a lag grow?),"
        " `sink-runner plugins` (is the mapping on?) and `sink-stack logs runner`"
    )


def print_arrival(arrival: Arrival, console: Console) -> None:
    change, before, after = arrival.change, arrival.before, arrival.after
    milliseconds = f"{arrival.milliseconds:.0f} ms"
    console.print(f"{change.source} -> {change.target}: arrived after {milliseconds}")
    table = Table(change.source, change.target, box=None)
    for source, target in change.columns:
        table.add_row(_cell(source, before), _cell(target, after))
    console.print(table)


def _cell(column: str, row: Row) -> str:
    value = row[column]
    return f"{column} = {'NULL' if value is None else value}"
