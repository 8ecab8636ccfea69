"""How does a batch become one transaction in TimescaleDB?"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.errors import DependencyUnavailable
from schemas.event import type_of
from schemas.statements import parse_statements
from schemas.window import TIERS
from streams.core.batch import Arrival
from streams.core.fold import Cells, Folded, SourceSeen, touched_json
from streams.store.writer import FoldArrivals, Lane, Outcome, Position, PositionMoved

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECTIONS_MAX = 8
"""Transactions that one worker has under way at once; a further lane waits for one to end."""

COMMAND_TIMEOUT_S = 30.0
"""A statement that takes longer counts as a database that is away; the batch is tried again."""

CONNECT_TIMEOUT_S = 5.0

TRANSACTION_IDLE_S = 10
"""The server ends a transaction whose worker says nothing for so long: a frozen one must not keep its lane's row."""

# The last is what asyncpg says of a connection on which the server has just said that it crashed.
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

_SQL = parse_statements((files("streams.store") / "statements.sql").read_text())


class TimescaleWriter:
    """The Writer over a pool of connections. Opened lazily, so a database that is away does not stop the start."""

    def __init__(self, database_url: str, group: str) -> None:
        """Connects when it is first needed. `group` is the Kafka consumer group that the positions belong to."""
        self._url = database_url
        self._group = group
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def close(self) -> None:
        """Ends all connections without waiting for what is under way."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """See Writer."""
        async with self._connection() as connection:
            row = await connection.fetchrow(_SQL["read_position"], self._group, *lane, topic_id)
            if row is None:
                # Another worker stored it between the two halves of the statement; it is there now.
                row = await connection.fetchrow(_SQL["read_position"], self._group, *lane, topic_id)
        assert row is not None
        return Position(row["topic_id"], row["next_offset"])

    async def commit(
        self,
        lane: Lane,
        expected: Position,
        next_offset: int,
        arrivals: Sequence[Arrival],
        fold: FoldArrivals,
        *,
        unique: bool,
    ) -> Outcome:
        """See Writer."""
        async with self._connection() as connection, connection.transaction():
            moved = await connection.fetchval(_SQL["advance_position"], self._group, *lane, *expected, next_offset)
            if moved is None:
                raise PositionMoved
            counted = await self._keep(connection, arrivals) if unique else arrivals
            if counted:
                folded = fold(counted)
                await self._add(connection, lane, folded, len(counted) if unique else 0)
        return Outcome(counted=len(counted), duplicates=len(arrivals) - len(counted))

    async def beat(self, worker: str, state: str, detail: str, started_at: datetime) -> None:
        """Says that a worker is alive."""
        async with self._connection() as connection:
            await connection.execute(_SQL["beat"], worker, state, detail, started_at)

    async def forget_changes(self, retention_s: float, rows_max: int) -> int:
        """Drops at most `rows_max` change rows older than the retention. Returns how many."""
        async with self._connection() as connection:
            tag = await connection.execute(_SQL["forget_changes"], retention_s, rows_max)
        return int(tag.rsplit(" ", 1)[-1])

    async def _keep(self, connection: Connection, arrivals: Sequence[Arrival]) -> list[Arrival]:
        """Stores events by identity. Returns those that were new, in log order."""
        if not arrivals:
            return []
        events = [arrival.event for arrival in arrivals]
        rows = await connection.fetch(
            _SQL["insert_events"],
            [e.source for e in events],
            [e.id for e in events],
            [type_of(e) for e in events],
            [e.subject for e in events],
            [e.time for e in events],
            [a.received_at for a in arrivals],
            [e.area for e in events],
            [e.area_list or "" for e in events],
            [a.raw for a in arrivals],
        )
        return [arrivals[ordinal - 1] for ordinal in sorted(row["ordinal"] for row in rows)]

    async def _add(self, connection: Connection, lane: Lane, folded: Folded, events: int) -> None:
        await connection.execute(
            _SQL["add"],
            lane.partition,
            *_source_columns(folded.sources),
            *(column for tier in TIERS for column in _columns(folded.cells[tier])),
            lane.topic,
            touched_json(folded, events),
        )

    @asynccontextmanager
    async def _connection(self) -> AsyncGenerator[Connection]:
        """A connection, or DependencyUnavailable within a bounded wait."""
        try:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    self._url,
                    min_size=0,
                    max_size=CONNECTIONS_MAX,
                    command_timeout=COMMAND_TIMEOUT_S,
                    timeout=CONNECT_TIMEOUT_S,
                    server_settings={
                        "application_name": "ioc-streams",
                        "jit": "off",
                        "idle_in_transaction_session_timeout": f"{TRANSACTION_IDLE_S}s",
                    },
                )
            async with self._pool.acquire(timeout=COMMAND_TIMEOUT_S) as connection:
                yield connection
        except (OSError, TimeoutError, *_AWAY) as error:
            # Whatever the database says, nothing was committed: trying again is always right and never counts twice.
            raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error


def _columns(cells: Cells) -> Sequence[Sequence[object]]:
    """Cells as one array per column: those of the key, then those of the value."""
    if not cells:
        return [()] * 9
    return [*zip(*cells, strict=True), *zip(*cells.values(), strict=True)]


def _source_columns(sources: Sequence[SourceSeen]) -> tuple[list[object], ...]:
    return (
        [seen.source for seen in sources],
        [seen.n for seen in sources],
        [seen.time_s for seen in sources],
        [seen.received_s for seen in sources],
    )
