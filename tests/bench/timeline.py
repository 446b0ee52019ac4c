"""When rows were committed, told by the database itself: nothing is asked while they arrive.

`track_commit_timestamp` keeps the time of every commit, and a row names the transaction that
wrote it.  So the pace of any writer is read off its rows afterwards, ours and others' alike.
"""

from __future__ import annotations

from dataclasses import dataclass

from .home import Connection

_COMMITS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(writer))::float8, last
FROM (
  SELECT xmin AS writer, max(revision) AS last FROM bench.account WHERE revision > 0 GROUP BY xmin
) AS transactions
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The first and the last commit, as seconds since 1970, and what lies between."""

    began: float
    ended: float
    first: int
    """Changes that the first commit brought."""
    last: int

    @property
    def rate(self) -> float:
        """Changes a second, counted from the first commit on to the last."""
        return (self.last - self.first) / (self.ended - self.began)


def read(connection: Connection) -> Timeline:
    """Read the commits off the target's rows."""
    commits = connection.execute(_COMMITS).fetchall()
    return Timeline(
        began=commits[0][0],
        ended=commits[-1][0],
        first=commits[0][1],
        last=max(last for _, last in commits),
    )
