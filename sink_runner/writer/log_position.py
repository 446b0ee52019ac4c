"""SQL that compares and replaces the log position of a row's last change.

Where the last change had no position (a read of an incremental snapshot), the position of the
change before is kept, with the complement of its ordinal, which is negative.  Events that follow
such a read in their partition are later than it, even if a batch run has brought a later position
before; but the rows of an older batch run are still older.

A batch run's rows and removals come with `BATCH_ORDINAL`, whose complement, 0, is stored.
"""

from __future__ import annotations

from typing import NamedTuple

LSN_COLUMN = "_position"
ORDINAL_COLUMN = "_ordinal"


class LogPosition(NamedTuple):
    """The SQL of an LSN and of its ordinal."""

    lsn: str
    ordinal: str

    @property
    def stored_ordinal(self) -> str:
        """SQL of the ordinal, whether it is kept itself or as its complement."""
        return f"greatest({self.ordinal}, ~{self.ordinal})"

    @property
    def sql(self) -> str:
        """SQL of the position as a row that can be compared."""
        return f"({self.lsn}, {self.stored_ordinal})"

    def precedes(self, last: LogPosition, *, or_equals: bool = False) -> str:
        """SQL: is a change at this position older than the row's last one?  Never NULL."""
        compared = f"{self.sql} {'<=' if or_equals else '<'} {last.sql}"
        return f"coalesce({compared} AND ({last.ordinal} >= 0 OR {self.ordinal} < 0), false)"

    def replace(self, last: LogPosition) -> str:
        """SQL that sets the position of a row's last change to this one."""
        lsn, ordinal = (name.partition(".")[2] for name in last)
        return (
            f"{lsn} = coalesce({self.lsn}, {last.lsn}), {ordinal} = CASE WHEN {self.lsn} IS NULL "
            f"THEN least({last.ordinal}, ~{last.ordinal}) ELSE {self.stored_ordinal} END"
        )


STAGED = LogPosition(f"s.{LSN_COLUMN}", f"s.{ORDINAL_COLUMN}")
TARGET = LogPosition(f"t.{LSN_COLUMN}", f"t.{ORDINAL_COLUMN}")
REMEMBERED = LogPosition("v.position", "v.ordinal")
EXCLUDED = LogPosition("excluded.position", "excluded.ordinal")
REPLACE_UNLESS_NULL = (
    "position = coalesce(excluded.position, v.position), "
    "ordinal = CASE WHEN excluded.position IS NULL THEN v.ordinal ELSE excluded.ordinal END"
)
"""Set the position of a deletion, unless it has none."""
