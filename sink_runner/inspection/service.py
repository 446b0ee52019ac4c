"""Find, decrypt and show dead letters, for the command line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import groupby
from typing import Any

from psycopg import errors

from ..avro.schema_cache import SchemaCache
from ..batch.rows import RowFormat
from ..config import Config
from ..config.database import find_database
from ..config.reader import hint
from ..dlq import stored_dead_letters as found_dead_letters
from ..dlq.stored_dead_letters import Connection, Count, StoredDeadLetter, Wanted
from ..errors import AccessError, ConfigError, RetriableError, SinkError
from ..loading import discovery
from ..masking.policy import Policies
from ..masking.ranger.renewal import renewed_policies
from ..postgres.catalog import read_table
from ..postgres.session import connect
from ..writer.encryption import Encryptor, build_encryptor
from .access import ReaderAccess
from .databases import by_database, databases, dlq_session
from .key_text import fingerprints
from .payload import Payloads
from .replay import write_down

CLEAR, MASKED = "read_clear", "read_masked"
_UNWRITABLE = (
    errors.InsufficientPrivilege,
    errors.ReadOnlySqlTransaction,
    errors.UndefinedTable,
)
_LAST = 2**63 - 1
"""The greatest number that a dead letter may have."""


@dataclass(frozen=True)
class DlqService:
    """The dead letters of all databases, for one user and one command."""

    config: Config
    plugins: Mapping[str, discovery.Plugin]
    user: str

    @cached_property
    def encryptor(self) -> Encryptor:
        return build_encryptor(self.config)

    @cached_property
    def schemas(self) -> SchemaCache:
        return SchemaCache(self.config.registry)

    @cached_property
    def payloads(self) -> Payloads:
        return Payloads(
            self.encryptor,
            self.schemas,
            cache(self._row_format),
            self.config.capture.placeholder,
        )

    @cached_property
    def policies(self) -> Policies:
        """The masking policies, confirmed by Ranger Admin if one is configured."""
        return renewed_policies(self.config.policies)

    @cached_property
    def access(self) -> ReaderAccess:
        return ReaderAccess(self.policies, self.user)

    # -- selection ---------------------------------------------------------------------------

    def search(
        self, wanted: Wanted, ids: Sequence[str] = (), key: str | None = None
    ) -> Iterator[tuple[str, Connection, Wanted]]:
        """Yield each database to query, a session with it, and the filter for it."""
        for database, numbers in by_database(self.config, list(ids)).items():
            for number in numbers or ():
                if number > _LAST:
                    raise ConfigError(f"there is no dead letter {database}/{number}")
            with dlq_session(self.config, database) as connection:
                here = replace(wanted, ids=numbers)
                if key is not None:
                    here = replace(here, fingerprints=self._fingerprints(key, wanted, connection))
                yield database, connection, here

    def find(
        self, wanted: Wanted, *, most: int, key: str | None = None
    ) -> list[tuple[str, StoredDeadLetter]]:
        """Return dead letters of all databases, each with its database and without its payload."""
        return [
            (database, dead_letter)
            for database, connection, here in self.search(wanted, key=key)
            for dead_letter in found_dead_letters.find(connection, here, most=most)
        ]

    def summary(self, wanted: Wanted, key: str | None = None) -> list[tuple[str, Count]]:
        return [
            (database, count)
            for database, connection, here in self.search(wanted, key=key)
            for count in found_dead_letters.summary(connection, here)
        ]

    def check_mapping(self, name: str | None) -> None:
        """Refuse an unknown name; a plugin that is gone may still have dead letters."""
        if name is None or name in self.plugins or self.summary(Wanted(mapping=name)):
            return
        known = {*self.plugins, *(count.mapping for _, count in self.summary(Wanted()))}
        raise ConfigError(f"no plugin and no dead letter is of mapping {name!r}{hint(name, known)}")

    def one(self, text: str) -> tuple[str, StoredDeadLetter]:
        """Return the dead letter of this id, with its database."""
        for database, connection, here in self.search(Wanted(), ids=[text]):
            for dead_letter in found_dead_letters.read(connection, list(here.ids or ())):
                return database, dead_letter
        raise ConfigError(f"there is no dead letter {text}")

    def _fingerprints(self, key: str, wanted: Wanted, connection: Connection) -> list[bytes]:
        plugin = self.plugins.get(wanted.mapping or "")
        if plugin is not None and plugin.mapping is not None:
            topics = [plugin.mapping.source_table.topic]
        else:
            topics = found_dead_letters.topics(connection)
        return fingerprints(key, topics, self.schemas, self.encryptor)

    # -- content -----------------------------------------------------------------------------

    def readable(
        self, database: str, dead_letter: StoredDeadLetter, *, clear: bool = False
    ) -> dict[str, Any]:
        """Return all that the user may see of a dead letter; `clear` only after `allow_clear`."""
        fields = dead_letter.as_json(database)
        try:
            payload = self.payloads.read(dead_letter)
        except SinkError as fault:
            return fields | {"unreadable": str(fault)}
        table = self.payloads.table(dead_letter)
        return fields | self.access.payload(table, payload, clear=clear)

    def faults(self, dead_letters: Sequence[StoredDeadLetter]) -> dict[int, str]:
        """Return the reasons why dead letters cannot be read, by their numbers.

        Raises AccessError and RetriableError, which say nothing about the dead letter.
        """
        found = {}
        for dead_letter in dead_letters:
            try:
                self.payloads.read(dead_letter)
            except (AccessError, RetriableError):
                raise
            except SinkError as fault:
                found[dead_letter.dlq_id] = str(fault)
        return found

    def allow_clear(
        self,
        database: str,
        dead_letters: Sequence[StoredDeadLetter],
        connection: Connection | None = None,
    ) -> None:
        """Audit that these will be read unmasked, and commit that; or raise RefusedError."""
        readable = [(dead_letter, self._clear_columns(dead_letter)) for dead_letter in dead_letters]
        with self._session(database, connection) as session:
            self._record(CLEAR, readable, session)

    def note_masked(
        self,
        database: str,
        dead_letters: Sequence[StoredDeadLetter],
        connection: Connection | None = None,
    ) -> bool:
        """Audit that these will be read masked; return False if the role may not do that.

        They are shown nevertheless, since no personal value is shown unmasked.
        """
        with self._session(database, connection) as session:
            try:
                self._record(MASKED, [(dead_letter, []) for dead_letter in dead_letters], session)
            except _UNWRITABLE:
                return False
        return True

    def _session(
        self, database: str, connection: Connection | None
    ) -> AbstractContextManager[Connection]:
        return nullcontext(connection) if connection else dlq_session(self.config, database)

    def _clear_columns(self, dead_letter: StoredDeadLetter) -> list[str]:
        payload = self.payloads.read(dead_letter)
        return sorted(self.access.check_clear(self.payloads.table(dead_letter), payload.columns))

    def _record(
        self,
        action: str,
        dead_letters: Sequence[tuple[StoredDeadLetter, list[str]]],
        connection: Connection,
    ) -> None:
        def mapping(one: tuple[StoredDeadLetter, list[str]]) -> str:
            return one[0].flow

        with connection.transaction():
            for _, group in groupby(sorted(dead_letters, key=mapping), mapping):
                mine = list(group)
                columns = sorted({column for _, part in mine for column in part})
                write_down(
                    connection,
                    [dead_letter for dead_letter, _ in mine],
                    user=self.user,
                    action=action,
                    **({"columns": columns} if columns else {}),
                    **({"dlq_id": mine[0][0].dlq_id} if len(mine) == 1 else {}),
                )

    def _row_format(self, flow: str) -> RowFormat:
        """Return the current format of the rows of a mapping's batch runs."""
        from ..batch.source import Source  # noqa: PLC0415 - for rows of a batch only

        plugin = self.plugins.get(flow)
        if plugin is None or plugin.mapping is None:
            raise ConfigError(f"plugin {flow!r} is not on: it says what its batch's rows hold")
        table = plugin.mapping.source_table
        dsn = find_database(self.config.databases, table.database).reader_dsn
        with closing(connect(dsn, "sink-runner dlq")) as connection:
            return Source.of(plugin.mapping, read_table(connection, table), connection).format

    def databases(self) -> list[str]:
        return databases(self.config)
