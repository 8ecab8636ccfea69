"""How does a batch become one transaction in TimescaleDB?"""

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeAlias
from uuid import UUID

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from schemas.errors import BatchRefused, DependencyUnavailable
from schemas.event import type_of
from schemas.personal import KeyRing
from schemas.site import Pack
from schemas.topics import CASES, case_of, topic_of
from streams import metrics
from streams.core.batch import Arrival
from streams.core.fold import Folded, SourceSeen, added_up, sources_seen, touched_json
from streams.store.cases import Changed, decide_all
from streams.store.cells import REFUSED, SQL, Connection, KnownItems, Learned, write_cells
from streams.store.personal import keep_personal
from streams.store.settling import Fresh, Settlement, has_corrections, lanes_of, settle_corrections, without
from streams.store.sites import newest_site, read_site, register_site
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved
from streams.versions import RegisteredPack, Version, Versions

PooledConnection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"

CONNECTIONS_MAX = 4
"""Connections of one worker; who wants a further one waits for one to be free."""

COMMAND_TIMEOUT_S = 30.0
"""A statement that takes longer counts as a database that is away; the batch is tried again."""

CONNECT_TIMEOUT_S = 5.0

TRANSACTION_IDLE_S = 10
"""The server ends a transaction whose worker says nothing for so long: a frozen one must not keep its lane's row."""

# The last is what asyncpg says of a connection on which the server has just said that it crashed.
_AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

FENCE = 0x10C0_FE4C
"""The advisory lock that whoever counts shares, and that a correction or a rebuild holds alone."""


class TimescaleWriter:
    """The Writer over a pool of connections. Opened lazily, so a database that is away does not stop the start."""

    def __init__(self, database_url: str, group: str, versions: Versions, ring: KeyRing | None = None) -> None:
        """Connects when it is first needed. `group` is the Kafka consumer group that the positions belong to.

        Without `ring` what is personal is kept as it came, sealed by the door.
        """
        self._ring = ring
        self._url = database_url
        self._group = group
        self._versions = versions
        self._known = KnownItems()
        self._known_as_of = (0, 0)
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def close(self) -> None:
        """Ends all connections without waiting for what is under way."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def position(self, lane: Lane, topic_id: UUID) -> Position:
        """See Writer."""
        async with self.connection() as connection:
            row = await connection.fetchrow(SQL["read_position"], self._group, *lane, topic_id)
            if row is None:
                # Another worker stored it between the two halves of the statement; it is there now.
                row = await connection.fetchrow(SQL["read_position"], self._group, *lane, topic_id)
        assert row is not None
        return Position(row["topic_id"], row["next_offset"], row["watermark_s"], row["site_version"])

    async def site(self, number: int) -> RegisteredPack:
        """See Writer."""
        async with self.connection() as connection:
            return await read_site(connection, number)

    async def newest_site(self) -> RegisteredPack | None:
        """The newest registered site pack; None when none was ever registered."""
        async with self.connection() as connection:
            return await newest_site(connection)

    async def register_site(self, pack: Pack) -> int:
        """Registers a pack as the newest version, unless it is that already. Returns its number."""
        async with self.connection() as connection:
            return await register_site(connection, pack)

    async def note_caught_up(self, lanes: Mapping[Lane, int], moment: datetime) -> None:
        """Notes that these lanes, standing at these offsets, were counted to their end at a moment."""
        async with self.connection() as connection:
            await connection.execute(
                SQL["note_caught_up"],
                self._group,
                [lane.topic for lane in lanes],
                [lane.partition for lane in lanes],
                list(lanes.values()),
                moment,
            )

    async def commit(self, batch: LaneBatch) -> Outcome:
        """See Writer."""
        (outcome,) = await self.commit_all([batch])
        if outcome is None:
            raise PositionMoved
        return outcome

    async def commit_all(self, batches: Sequence[LaneBatch]) -> list[Outcome | None]:
        """Counts batches of different lanes in one transaction; None for a lane that somebody else has moved."""
        assert len({batch.lane for batch in batches}) == len(batches)
        async with self.connection() as connection, connection.transaction():
            corrects = any(batch.unique and has_corrections(batch.arrivals) for batch in batches)
            if corrects:
                await connection.execute(SQL["fence_out"], FENCE)
            held = await keep_personal(connection, await self._advance(connection, batches), self._ring)
            fresh, corrected = await self._keep(connection, [batch for batch in held if batch.unique])
            changed = await decide_all(connection, fresh, [batch for batch in held if not batch.unique])
            settlement = await self._settle(connection, fresh, corrected, settle=corrects)
            counted, drills = (
                lanes_of(settlement.counted),
                lanes_of(one for one in fresh if one.arrival.event.exercise),
            )
            heard = lanes_of(fresh) | {batch.lane: batch.arrivals for batch in held if not batch.unique}
            unique = {batch.lane for batch in held if batch.unique}
            added: list[tuple[Lane, Folded]] = []
            for batch in held:
                of_lane = (*counted.get(batch.lane, ()), *drills.get(batch.lane, ()))
                arrivals = of_lane if batch.unique else batch.arrivals
                if arrivals:
                    added.append((batch.lane, without(batch.version.fold(arrivals), settlement.anew)))
            added_by = max((batch.version.number for batch in held), default=0)
            known, learned = await self._add(connection, heard, unique, added, settlement, added_by, changed)
        known.learn(learned)
        for outcome, n in changed.outcomes.items():
            metrics.DECIDED.labels(outcome).inc(n)
        taken = {lane: len(arrivals) for lane, arrivals in heard.items()}
        outcomes = {
            batch.lane: Outcome(
                counted=taken.get(batch.lane, 0), duplicates=len(batch.arrivals) - taken.get(batch.lane, 0)
            )
            for batch in held
        }
        return [outcomes.get(batch.lane) for batch in batches]

    async def beat(self, worker: str, state: str, detail: str, started_at: datetime) -> None:
        """Says that a worker is alive."""
        async with self.connection() as connection:
            await connection.execute(SQL["beat"], worker, state, detail, started_at)

    async def forget_changes(self, retention_s: float, rows_max: int) -> int:
        """Drops at most `rows_max` change rows older than the retention. Returns how many."""
        async with self.connection() as connection:
            tag = await connection.execute(SQL["forget_changes"], retention_s, rows_max)
        return int(tag.rsplit(" ", 1)[-1])

    async def _advance(self, connection: Connection, batches: Sequence[LaneBatch]) -> list[LaneBatch]:
        """Moves the lanes. Returns the batches of those that were where they were believed to be."""
        rows = await connection.fetch(
            SQL["advance_positions"],
            self._group,
            [batch.lane.topic for batch in batches],
            [batch.lane.partition for batch in batches],
            [batch.expected.topic_id for batch in batches],
            [batch.expected.next_offset for batch in batches],
            [batch.reached.next_offset for batch in batches],
            [batch.reached.watermark_s for batch in batches],
            [batch.reached.site_version for batch in batches],
            FENCE,
        )
        return [batches[ordinal - 1] for ordinal in sorted(row["ordinal"] for row in rows)]

    async def _keep(self, connection: Connection, batches: Sequence[LaneBatch]) -> tuple[list[Fresh], set[int]]:
        """Stores events by identity. Returns those that were new, in log order by lane, and which of them, by index,
        an event that was there corrects.
        """
        given = [Fresh(batch, arrival) for batch in batches for arrival in batch.arrivals]
        if not given:
            return [], set()
        events = [one.arrival.event for one in given]
        corrections = [one.correction for one in given]
        rows = await connection.fetch(
            SQL["insert_events"],
            [e.source for e in events],
            [e.id for e in events],
            [type_of(e) for e in events],
            [e.subject for e in events],
            [e.time for e in events],
            [one.arrival.received_at for one in given],
            [one.arrival.area for one in given],
            [e.area_list or "" for e in events],
            [one.arrival.raw for one in given],
            [one.arrival.how.value for one in given],
            [datetime.fromtimestamp(one.arrival.time_s, UTC) for one in given],
            [correction.corrects for correction in corrections],
            [correction.is_withdrawal for correction in corrections],
            [correction.is_exercise for correction in corrections],
            [one.batch.lane.topic for one in given],
            [one.batch.lane.partition for one in given],
            [one.arrival.offset for one in given],
            [one.batch.version.number for one in given],
            [_case_of(one) for one in given],
        )
        by_ordinal = sorted((row["ordinal"], row["is_corrected"]) for row in rows)
        return (
            [given[ordinal - 1] for ordinal, _ in by_ordinal],
            {index for index, (_, is_corrected) in enumerate(by_ordinal) if is_corrected},
        )

    async def _settle(
        self, connection: Connection, fresh: Sequence[Fresh], corrected: set[int], *, settle: bool
    ) -> Settlement:
        """Which events count. Where none of them corrects anything, only they themselves may have been corrected."""
        if settle:

            async def version_of(number: int) -> Version:
                return await self._versions.get(number, lambda n: read_site(connection, n))

            return await settle_corrections(connection, fresh, version_of)
        counted = [
            one for index, one in enumerate(fresh) if index not in corrected and not one.arrival.event.exercise
        ]
        return Settlement(counted, [], {})

    async def _add(
        self,
        connection: Connection,
        heard: Mapping[Lane, Sequence[Arrival]],
        unique: Collection[Lane],
        added: Sequence[tuple[Lane, Folded]],
        settlement: Settlement,
        added_by: int,
        changed: Changed,
    ) -> tuple[KnownItems, Learned]:
        seen = [(lane, one) for lane, arrivals in heard.items() for one in sources_seen(arrivals)]
        folds = [folded for _, folded in (*added, *settlement.added)]
        if any(heard.values()):
            events = sum(len(arrivals) for lane, arrivals in heard.items() if lane in unique)
            touched = touched_json(folds, events, [one.source for _, one in seen], changed.as_json)
            row = await connection.fetchrow(SQL["note_changes"], touched, *_source_columns(seen))
            assert row is not None
            self._forget_items_of(row["recounts"], added_by)
        # What a correction takes away and what replaces it may lie in one row, and a statement changes a row once.
        kept: dict[int, list[Folded]] = {}
        for shard, folded in (*((lane.partition, one) for lane, one in added if lane in unique), *settlement.added):
            kept.setdefault(shard, []).append(folded)
        await write_cells(connection, [(shard, added_up(some)) for shard, some in kept.items()])
        passing = [(lane.partition, folded) for lane, folded in added if lane not in unique]
        known = self._known
        return known, await write_cells(connection, passing, known)

    def _forget_items_of(self, recounts: int, version: int) -> None:
        """What sketches hold is known only until they are counted again, or by another catalogue."""
        if self._known_as_of != (recounts, version):
            self._known, self._known_as_of = KnownItems(), (recounts, version)

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PooledConnection]:
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
        except REFUSED as error:
            raise BatchRefused(f"{type(error).__name__}: {error}") from error
        except (OSError, TimeoutError, *_AWAY) as error:
            # Nothing was committed, so trying again never counts twice.
            raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error


def _case_of(one: Fresh) -> str | None:
    """The case that a kept event belongs to; None where the site keeps none, and for what is about something else."""
    if one.batch.version.site.cases is None or topic_of(one.arrival.event) is not CASES:
        return None
    case = case_of(one.arrival.event)
    return None if ":" in case else case


def _source_columns(seen: Sequence[tuple[Lane, SourceSeen]]) -> Sequence[Sequence[object]]:
    rows = [(one.source, lane.topic, lane.partition, one.n, one.time_s, one.received_s) for lane, one in seen]
    # Of a batch of drills alone nobody is noted, and its change is written all the same.
    return list(zip(*rows, strict=True)) or [()] * 6
