"""How does a batch become one transaction in TimescaleDB?"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from importlib.resources import files
from typing import TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.errors import BatchRefused, DependencyUnavailable
from schemas.event import type_of
from schemas.statements import parse_statements
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival
from streams.core.fold import Folded, touched_json
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved

Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECTIONS_MAX = 4
"""Connections of one worker; who wants a further one waits for one to be free."""

COMMAND_TIMEOUT_S = 30.0
"""A statement that takes longer counts as a database that is away; the batch is tried again."""

CONNECT_TIMEOUT_S = 5.0

TRANSACTION_IDLE_S = 10
"""The server ends a transaction whose worker says nothing for so long: a frozen one must not keep its lane's row."""

# What is wrong with the data stays wrong: classes 21, 22, 23 and 54, and what asyncpg cannot encode.
_REFUSED = (
    asyncpg.CardinalityViolationError,
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
)

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

    async def commit(self, batch: LaneBatch) -> Outcome:
        """See Writer."""
        (outcome,) = await self.commit_all([batch])
        if outcome is None:
            raise PositionMoved
        return outcome

    async def commit_all(self, batches: Sequence[LaneBatch]) -> list[Outcome | None]:
        """Counts batches of different lanes in one transaction; None for a lane that somebody else has moved."""
        assert len({batch.lane for batch in batches}) == len(batches)
        async with self._connection() as connection, connection.transaction():
            held = await self._advance(connection, batches)
            fresh = await self._keep(connection, [batch for batch in held if batch.unique])
            counted = [fresh[batch.lane] if batch.unique else batch.arrivals for batch in held]
            pairs = list(zip(held, counted, strict=True))
            added = [(batch.lane, batch.fold(arrivals)) for batch, arrivals in pairs if arrivals]
            if added:
                await self._add(connection, added, sum(map(len, fresh.values())))
        outcomes = {
            batch.lane: Outcome(counted=len(arrivals), duplicates=len(batch.arrivals) - len(arrivals))
            for batch, arrivals in pairs
        }
        return [outcomes.get(batch.lane) for batch in batches]

    async def beat(self, worker: str, state: str, detail: str, started_at: datetime) -> None:
        """Says that a worker is alive."""
        async with self._connection() as connection:
            await connection.execute(_SQL["beat"], worker, state, detail, started_at)

    async def forget_changes(self, retention_s: float, rows_max: int) -> int:
        """Drops at most `rows_max` change rows older than the retention. Returns how many."""
        async with self._connection() as connection:
            tag = await connection.execute(_SQL["forget_changes"], retention_s, rows_max)
        return int(tag.rsplit(" ", 1)[-1])

    async def _advance(self, connection: Connection, batches: Sequence[LaneBatch]) -> list[LaneBatch]:
        """Moves the lanes. Returns the batches of those that were where they were believed to be."""
        rows = await connection.fetch(
            _SQL["advance_positions"],
            self._group,
            [batch.lane.topic for batch in batches],
            [batch.lane.partition for batch in batches],
            [batch.expected.topic_id for batch in batches],
            [batch.expected.next_offset for batch in batches],
            [batch.next_offset for batch in batches],
        )
        return [batches[ordinal - 1] for ordinal in sorted(row["ordinal"] for row in rows)]

    async def _keep(self, connection: Connection, batches: Sequence[LaneBatch]) -> dict[Lane, list[Arrival]]:
        """Stores events by identity. Returns those that were new, by lane and in log order."""
        fresh: dict[Lane, list[Arrival]] = {batch.lane: [] for batch in batches}
        given = [(batch.lane, arrival) for batch in batches for arrival in batch.arrivals]
        if not given:
            return fresh
        arrivals = [arrival for _, arrival in given]
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
        ordinals: list[int] = sorted(row["ordinal"] for row in rows)
        for ordinal in ordinals:
            lane, arrival = given[ordinal - 1]
            fresh[lane].append(arrival)
        return fresh

    async def _add(self, connection: Connection, added: Sequence[tuple[Lane, Folded]], events: int) -> None:
        await connection.execute(
            _SQL["add"],
            touched_json([folded for _, folded in added], events),
            *_source_columns(added),
            *(column for tier in TIERS for column in _cell_columns(added, tier)),
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
        except _REFUSED as error:
            raise BatchRefused(f"{type(error).__name__}: {error}") from error
        except (OSError, TimeoutError, *_AWAY) as error:
            # Nothing was committed, so trying again never counts twice.
            raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error


def _cell_columns(added: Sequence[tuple[Lane, Folded]], tier: Tier) -> Sequence[Sequence[object]]:
    """Cells of one tier as one array per column: the shard, the key, the value."""
    rows = [(lane.partition, *key, *cell) for lane, folded in added for key, cell in folded.cells[tier].items()]
    return list(zip(*rows, strict=True)) or [()] * 10


def _source_columns(added: Sequence[tuple[Lane, Folded]]) -> Sequence[Sequence[object]]:
    rows = [
        (seen.source, lane.topic, lane.partition, seen.n, seen.time_s, seen.received_s)
        for lane, folded in added
        for seen in folded.sources
    ]
    return list(zip(*rows, strict=True)) or [()] * 6
