"""What was counted once, how is it read again?

Low-rate events are kept in a table. High-rate ones are on the log as far back as it reaches, and are read as they
were counted: the version of the site pack that counted a record decides whether it says anything, and the same memory
decides which ones had come before.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

import asyncpg
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.event import AreaId
from schemas.kpi import Base
from schemas.location import How
from schemas.site import parse_catalogue, parse_site
from schemas.statements import parse_statements
from schemas.topics import INPUTS, Topic
from streams.core.batch import Arrival, Record
from streams.core.dedupe import GENERATION_MS, HORIZON_MS, SeenIds
from streams.log import REQUEST_TIMEOUT_MS, reading_consumer
from streams.repair.standing import Filled, Span, spans_of
from streams.store.cells import SQL as STORE
from streams.store.sites import newest_site, read_site
from streams.store.writer import Lane
from streams.topic_id import topic_ids
from streams.versions import RegisteredPack, Version, Versions, compiled

RECORDS_MAX = 5_000
"""Records of a lane that are read, and counted, at once."""

CONNECT_TIMEOUT_S = 5.0

REPAIR = 0x10C0_4E9A
"""The advisory lock of whoever fills back or rebuilds."""

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

SQL = parse_statements((files("streams.repair") / "repair.sql").read_text())


class Places(Struct, frozen=True, kw_only=True):
    """Where Kafka and the database are, and whose positions count."""

    kafka: str
    database_url: str
    group: str = "ioc-streams"
    topic_prefix: str = "ioc."


class Standpoint(NamedTuple):
    """Where a lane stands, as the database has it. What ended a grace before its watermark has closed."""

    next_offset: int
    watermark_s: float
    site_version: int
    updated_at: datetime


class CutShort(Exception):  # news, not a fault
    """The log begins beyond the offset that was asked for: retention was faster."""

    def __init__(self, begin: int) -> None:
        super().__init__(begin)
        self.begin = begin


@contextmanager
def dependencies() -> Generator[None]:
    """What Kafka and the database raise, as DependencyUnavailable or OperatorError."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise OperatorError("The database's tables are not of this version.", "Run `ioc migrate`.") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise DependencyUnavailable("database", f"{type(error).__name__}: {error}") from error
    except KafkaError as error:
        raise DependencyUnavailable("kafka", str(error) or type(error).__name__) from error


@asynccontextmanager
async def connected(places: Places, lock: int = REPAIR) -> AsyncGenerator[Connection]:
    """A connection that alone holds a lock. Raises OperatorError when another has it, DependencyUnavailable."""
    try:
        connection: Connection = await asyncpg.connect(
            places.database_url,
            timeout=CONNECT_TIMEOUT_S,
            # The server notices within seconds that a command was killed, and frees what it held.
            server_settings={
                "application_name": "ioc repair",
                "jit": "off",
                "client_connection_check_interval": "2s",
            },
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DependencyUnavailable("database", str(error) or type(error).__name__) from error
    try:
        if not await connection.fetchval(SQL["lock"], lock):
            raise OperatorError("Another command like this is under way.", "Wait until it has ended.")
        yield connection
    finally:
        # In order where that is possible, so that whoever comes next finds the lock free.
        with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await connection.close(timeout=CONNECT_TIMEOUT_S)
        connection.terminate()


class LogReader:
    """Reads any part of the log. It belongs to no group and commits nothing."""

    def __init__(self, consumer: Any) -> None:  # noqa: ANN401 (aiokafka's consumer carries hardly any types)
        self._consumer = consumer

    async def begins(self, lanes: Iterable[Lane]) -> dict[Lane, int]:
        """The first offsets that the log still holds."""
        found = await self._consumer.beginning_offsets([TopicPartition(*lane) for lane in lanes])
        return {Lane(at.topic, at.partition): offset for at, offset in found.items()}

    async def ends(self, lanes: Iterable[Lane]) -> dict[Lane, int]:
        """The offsets after the last records."""
        found = await self._consumer.end_offsets([TopicPartition(*lane) for lane in lanes])
        return {Lane(at.topic, at.partition): offset for at, offset in found.items()}

    async def logged_ms(self, lane: Lane, offset: int) -> int:
        """The log's time of a record that it holds."""
        async for records in self.records(lane, offset, offset + 1):
            return records[0].timestamp
        raise AssertionError("the record is there, or CutShort was raised")

    async def offset_at(self, lane: Lane, logged_ms: int, otherwise: int) -> int:
        """The first offset with this time of the log or a later one; `otherwise` when there is none."""
        at = TopicPartition(*lane)
        found = (await self._consumer.offsets_for_times({at: max(0, logged_ms)}))[at]
        return found.offset if found else otherwise

    async def records(self, lane: Lane, start: int, stop: int) -> AsyncGenerator[Sequence[Record]]:
        """The records of [start, stop), which the log has had. Raises CutShort, DependencyUnavailable."""
        if start >= stop:
            return
        at = TopicPartition(*lane)
        self._consumer.assign([at])
        self._consumer.seek(at, start)
        expected = start
        while expected < stop:
            polled = await self._consumer.getmany(
                at, timeout_ms=REQUEST_TIMEOUT_MS, max_records=min(RECORDS_MAX, stop - expected)
            )
            records: list[Record] = [record for record in polled.get(at, []) if record.offset < stop]
            if not records:
                raise DependencyUnavailable(
                    "kafka", f"nothing of {lane.topic}/{lane.partition} came for {REQUEST_TIMEOUT_MS} ms"
                )
            # Nobody writes transactions to these topics, so offsets follow each other.
            if records[0].offset != expected:
                raise CutShort(records[0].offset)
            expected = records[-1].offset + 1
            yield records


@asynccontextmanager
async def log_reader(kafka: str) -> AsyncGenerator[LogReader]:
    """Raises DependencyUnavailable when no broker answers."""
    consumer = reading_consumer(kafka)
    try:
        try:
            await consumer.start()
        except (KafkaError, OSError) as error:
            raise DependencyUnavailable("kafka", str(error)) from error
        yield LogReader(consumer)
    finally:
        await consumer.stop()


class Past:
    """Which versions have counted, and what they mean. Belongs to one connection."""

    def __init__(self, connection: Connection, group: str, newest: Version) -> None:
        self.newest = newest
        self._connection = connection
        self._group = group
        self._versions = Versions(newest)
        self._meanings: dict[int, dict[str, Base]] = {
            newest.number: {base.id: base for base in newest.site.kpis.bases}
        }

    async def version(self, number: int) -> Version:
        """A version, compiled."""
        return await self._versions.get(number, self._read)

    async def meanings(self, number: int) -> dict[str, Base]:
        """The bases of a version by id. It need not be compiled for that."""
        if number not in self._meanings:
            pack = (await self._read(number)).pack
            self._meanings[number] = {base.id: base for base in parse_catalogue(pack).bases}
        return self._meanings[number]

    async def standpoints(self, topics: Sequence[str]) -> dict[Lane, Standpoint]:
        """Where the lanes of these topics stand."""
        return {
            Lane(row["topic"], row["partition"]): Standpoint(
                row["next_offset"], row["watermark_s"], row["site_version"], row["updated_at"]
            )
            for row in await self._connection.fetch(
                SQL["read_positions"], self._group, topics, float(self.newest.site.header.closing.idle_s)
            )
        }

    async def spans(self, topics: Sequence[str]) -> dict[Lane, list[Span]]:
        """By which versions each lane was counted, and will be from where it stands on, the newest."""
        switches: dict[Lane, list[Span]] = {}
        for row in await self._connection.fetch(SQL["read_switches"], self._group, topics):
            switches.setdefault(Lane(row["topic"], row["partition"]), []).append(
                Span(row["version"], row["next_offset"])
            )
        return {
            lane: spans_of(switches.get(lane, []), Span(self.newest.number, at.next_offset))
            for lane, at in (await self.standpoints(topics)).items()
        }

    async def filled(self, bases: Iterable[str]) -> dict[tuple[str, Lane], Filled]:
        """How far these bases have been filled back."""
        found: dict[tuple[str, Lane], Filled] = {}
        for row in await self._connection.fetch(SQL["read_filled"], list(bases)):
            meaning = (await self.meanings(row["site_version"])).get(row["kpi"])
            lane = Lane(row["topic"], row["partition"])
            found[row["kpi"], lane] = Filled(meaning, row["next_offset"], row["stop_offset"])
        return found

    async def _read(self, number: int) -> RegisteredPack:
        return await read_site(self._connection, number)


async def past(connection: Connection, places: Places) -> Past:
    """Raises OperatorError when no site pack has ever counted."""
    newest = await newest_site(connection)
    if newest is None:
        raise OperatorError("No site pack has been registered.", "Run `ioc migrate`.")
    return Past(connection, places.group, compiled(newest.version, parse_site(newest.pack)))


async def check_topics(connection: Connection, places: Places, topics: Iterable[Topic]) -> None:
    """Makes sure that every lane of these topics has a position, and that it is of the log as it is now.

    Raises OperatorError.
    """
    names = {places.topic_prefix + topic.name: topic for topic in topics}
    ids = await topic_ids(places.kafka, list(names))
    for name, topic in names.items():
        if name not in ids:
            raise OperatorError(f"Topic {name} is not there.", "Run `ioc migrate`.")
        for partition in range(topic.partitions):
            arguments = (places.group, name, partition, ids[name])
            row = await connection.fetchrow(STORE["read_position"], *arguments)
            row = row or await connection.fetchrow(STORE["read_position"], *arguments)
            assert row is not None
            if row["topic_id"] != ids[name]:
                raise OperatorError(f"{name} is not the topic that was counted.", "See `ioc positions`.")


def topics_of(types: Iterable[str]) -> list[Topic]:
    """The topics that carry these event types."""
    wanted = set(types)
    return [topic for topic in INPUTS if any(cls.__struct_config__.tag in wanted for cls in topic.types)]


def kept_arrival(row: asyncpg.Record, logged_ms: int) -> Arrival:
    """A kept event as if it stood on the log at this time, in the area that it was counted in."""
    window_time: datetime = row["window_time"]
    return Arrival(
        event=decode(row["body"], SEALED_BYTES_MAX),
        raw=row["body"],
        logged_ms=logged_ms,
        time_s=window_time.timestamp(),
        identity=hash((row["source"], row["id"])),
        offset=row["offset"] or 0,
        area=AreaId(row["area"]),
        how=How(row["located"]),
        watermark_s=0.0,
    )


class Trail:
    """One high-rate lane, read from an offset on as it was counted."""

    def __init__(
        self,
        lane: Lane,
        start: int,
        log: LogReader,
        reading: tuple[Version, Sequence[Span]],
        version_of: Callable[[int], Awaitable[Version]],
    ) -> None:
        """`reading` is the version that tells what an event is, and the spans that tell which records were any."""
        self.lane = lane
        self.next_offset = start
        self._log = log
        self._version, self._spans = reading
        self._version_of = version_of
        self._seen = SeenIds()
        self._types = next(topic.types for topic in INPUTS if lane.topic.endswith(topic.name))

    async def remember(self, begin: int) -> None:
        """Reads what came within the horizon before, as far as the log holds it (from `begin` on)."""
        if begin >= self.next_offset:
            return
        newest_ms = await self._log.logged_ms(self.lane, self.next_offset - 1)
        horizon_ms = HORIZON_MS + GENERATION_MS
        start = max(begin, await self._log.offset_at(self.lane, newest_ms - horizon_ms, begin))
        async for records in self._log.records(self.lane, start, self.next_offset):
            self._seen.remember(await self._read(records))

    async def read_to(self, stop: int) -> AsyncGenerator[Sequence[Arrival]]:
        """What was counted up to an offset; `next_offset` is beyond it when the next is asked for."""
        async for records in self._log.records(self.lane, self.next_offset, stop):
            arrivals = await self._read(records)
            fresh = self._seen.fresh(arrivals)
            self._seen.remember(arrivals)
            self.next_offset = records[-1].offset + 1
            yield [arrival for arrival in fresh if not arrival.event.exercise]

    async def _read(self, records: Sequence[Record]) -> list[Arrival]:
        arrivals = self._version.reader.read(*self.lane, records, self._types).arrivals
        counted: set[int] | None = None
        for number, some in self._by_version(records):
            if number != self._version.number:
                # What was dead when it came may have been sent again since.
                reader = (await self._version_of(number)).reader
                if counted is None:
                    counted = {arrival.offset for arrival in arrivals}
                living = {arrival.offset for arrival in reader.read(*self.lane, some, self._types).arrivals}
                counted -= {record.offset for record in some} - living
        return arrivals if counted is None else [arrival for arrival in arrivals if arrival.offset in counted]

    def _by_version(self, records: Sequence[Record]) -> list[tuple[int, Sequence[Record]]]:
        first, last = records[0].offset, records[-1].offset
        found: list[tuple[int, Sequence[Record]]] = []
        for span, following in zip(self._spans, [*self._spans[1:], None], strict=True):
            stop = last + 1 if following is None else following.start
            if span.start <= last and stop > first:
                found.append((span.version, [record for record in records if span.start <= record.offset < stop]))
        return found


def moment(epoch_s: float) -> datetime:
    """A moment in UTC."""
    return datetime.fromtimestamp(epoch_s, UTC)
