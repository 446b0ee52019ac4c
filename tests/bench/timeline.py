"""Read the commit times of a sink's transactions from the rows that it wrote.

PostgreSQL records the time of each commit (`track_commit_timestamp`), and the `xmin` of a row is
the transaction that wrote it. The rate of any sink can therefore be computed after the pass,
without querying the target while it writes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .stack import Connection

_COMMITS = """
SELECT extract(epoch FROM pg_xact_commit_timestamp(writer))::float8, last
FROM (
  SELECT xmin AS writer, max(revision) AS last FROM bench.account WHERE revision > 0 GROUP BY xmin
) AS transactions
ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Timeline:
    """The times of the first and the last commit, in seconds since 1970, and their revisions."""

    began: float
    ended: float
    first_revision: int
    """The last revision of the first commit."""
    last_revision: int
    """The last revision of all commits."""

    @property
    def rate(self) -> float:
        """Return the changes per second, those of the first commit excluded."""
        return (self.last_revision - self.first_revision) / (self.ended - self.began)


def read_timeline(connection: Connection) -> Timeline:
    commits = connection.execute(_COMMITS).fetchall()
    return Timeline(
        began=commits[0][0],
        ended=commits[-1][0],
        first_revision=commits[0][1],
        last_revision=max(last for _, last in commits),
    )
