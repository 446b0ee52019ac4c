"""A seeded load on the source tables of both databases, at a configurable rate.

It includes races between the portal and the warehouse, but no changes for which the specification
allows two results; see the modules `load_*`.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate

import psycopg
from psycopg import errors

from .load_citizens import Account, CitizenLoad
from .load_flows import ApplicantLoad, Known, ModelLoad, insert_citizens
from .load_golden import GoldenLoad
from .load_snapshots import SnapshotLoad
from .people import People
from .writes import Action, Remember, column

_FAMILIES = 12
# Before, at and after the time of a citizen, and after all its times.
_TIMES = ("2020-01-01T00:00:00", "2020-01-01T00:00:01", "2020-01-01T00:00:02", "2199-01-01")
_VERIFIED, _ACTIVE = "VERIFIED", {"ACTIVE", "VERIFIED"}
_ACCOUNTS = "SELECT id::text, aadhaar_number, verification_status, status FROM citizens ORDER BY id"
_NUMBERS = "SELECT jan_aadhaar FROM golden_records WHERE jan_aadhaar IS NOT NULL ORDER BY gr_id"
_GOLDEN = "SELECT gr_id::text FROM golden_records ORDER BY gr_id"
_HEADS = "SELECT gr_id::text FROM golden_records WHERE family_id IS NULL ORDER BY gr_id"
_PROFILES = "SELECT gr_id::text FROM profile_360 ORDER BY gr_id"
_SCHEMES = "SELECT scheme_code FROM scheme_master ORDER BY scheme_code"
_SNAPSHOTS = "SELECT snapshot_id FROM eligibility.eligibility_snapshots ORDER BY snapshot_id"


@dataclass(slots=True, kw_only=True)
class Load:
    """Runs random actions on both databases until it is stopped, and counts them."""

    warehouse: psycopg.Connection
    citizen: psycopg.Connection
    people: People
    rate: float
    done: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None
    _stopped: threading.Event = field(default_factory=threading.Event)
    actions: list[Action] = field(default_factory=list)
    _connections: list[psycopg.Connection] = field(default_factory=list)
    _weights: list[int] = field(default_factory=list)
    _golden: GoldenLoad | None = None
    _citizens: CitizenLoad | None = None

    def prepare(self) -> None:
        """Read the existing keys and set up the actions."""
        accounts = dict(_accounts(self.citizen))
        used_numbers = {account.number for account in accounts.values()}
        numbers = [
            number for number in column(self.warehouse, _NUMBERS) if number not in used_numbers
        ]
        golden = GoldenLoad(
            people=self.people, known=column(self.warehouse, _GOLDEN), unmatched=numbers
        )
        citizens = CitizenLoad(
            people=self.people,
            accounts=accounts,
            unmatched=golden.unmatched,
            unknown=golden.unknown,
        )
        snapshots = SnapshotLoad(
            people=self.people,
            families=column(self.warehouse, _HEADS)[:_FAMILIES],
            schemes=column(self.warehouse, _SCHEMES),
            known=column(self.warehouse, _SNAPSHOTS),
        )
        self._golden, self._citizens = golden, citizens
        known = Known(
            heads=column(self.warehouse, _HEADS), profiles=column(self.warehouse, _PROFILES)
        )
        insert_citizens(self.people, known, self.warehouse, self.citizen)
        for load, connection in (
            (golden, self.warehouse),
            (snapshots, self.warehouse),
            (ModelLoad(people=self.people, known=known), self.warehouse),
            (ApplicantLoad(people=self.people, known=known), self.citizen),
            (citizens, self.citizen),
        ):
            for weight, action in load.actions():
                self.actions.append(action)
                self._connections.append(connection)
                self._weights.append(weight)
        self.actions.append(self.insert_pair)
        self._connections.append(self.warehouse)
        self._weights.append(2)

    def run(self) -> None:
        """Act at the rate; do not catch up after a slow action."""
        try:
            while not self._stopped.is_set():
                began = time.monotonic()
                self.run_action()
                self._stopped.wait(max(0.0, began + 1 / self.rate - time.monotonic()))
        except BaseException as exc:  # noqa: BLE001 - raised again when the thread is joined
            self.failure = exc

    def run_action(self) -> None:
        """Run one action in one transaction; update the known state if it commits."""
        weights = list(accumulate(self._weights))
        indexes = range(len(self.actions))
        (index,) = self.people.random.choices(indexes, cum_weights=weights)
        connection, action = self._connections[index], self.actions[index]
        name, remember = action.__qualname__, None
        try:
            with connection.transaction():
                remember = action(connection)
        except (errors.UniqueViolation, errors.ForeignKeyViolation, errors.DeadlockDetected) as exc:
            # Concurrent writers may cause these errors; the load only counts them.
            self.done[f"{name} {type(exc).__name__}"] += 1
            return
        if remember is not None:
            remember()
        self.done[name] += 1

    def stop(self) -> None:
        self._stopped.set()

    def insert_pair(self, connection: psycopg.Connection) -> Remember:
        """Insert a golden record with a source time before, at or after that of its citizen.

        A record with a later time than any of the citizen's keeps its values.
        """
        golden, citizens = self._golden, self._citizens
        assert golden is not None
        assert citizens is not None
        number, known = self.people.number(), self.people.one(_TIMES)
        gr_id = golden.insert_known(connection, number, known)

        def remember() -> None:
            citizens.register_known(self.citizen, number, _TIMES[1])
            golden.known.append(gr_id)

        return remember


@contextmanager
def run_in_background(warehouse: str, citizen: str, *, seed: int, rate: float) -> Iterator[Load]:
    """Run the load in a background thread on two databases with demo data."""
    with ExitStack() as stack:
        connections = [
            stack.enter_context(psycopg.connect(dsn, autocommit=True))
            for dsn in (warehouse, citizen)
        ]
        load = Load(
            warehouse=connections[0], citizen=connections[1], people=People(seed), rate=rate
        )
        load.prepare()
        thread = threading.Thread(target=load.run, name="load", daemon=True)
        thread.start()
        try:
            yield load
        finally:
            load.stop()
            thread.join()
        if load.failure is not None:
            raise load.failure


def _accounts(connection: psycopg.Connection) -> Iterator[tuple[str, Account]]:
    for key, number, verification, status in connection.execute(_ACCOUNTS):
        verified, active = verification == _VERIFIED, status in _ACTIVE
        yield key, Account(number=number, verified=verified, active=active)
