"""Do the log and what was counted still fit together, and how are they made to again? `ioc positions`

Three things say how far a partition was read: the log (where it begins and ends), the database (what was counted; it
alone decides), and the group's committed offset (where a worker begins to read; never ahead of the database).
"""

import asyncio
from collections.abc import AsyncGenerator, Generator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from enum import StrEnum
from importlib.resources import files
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import CommitFailedError, KafkaError, for_code
from msgspec import Struct

from deploy.local.addresses import reachable
from deploy.local.progress import say
from deploy.settings import Settings
from schemas.errors import DependencyUnavailable, OperatorError
from schemas.statements import parse_statements
from schemas.topics import INPUTS, Dedupe, Topic
from streams.topic_id import topic_ids

GROUP = "ioc-streams"
"""The workers' consumer group."""

BEATING_S = 5.0
"""A worker whose last sign of life is younger than this runs."""

GROUP_EMPTY_WAIT_S = 15.0
"""A worker that was killed stays in the group until its session ends, after ten seconds."""

GROUP_KNOWN_WAIT_S = 15.0
"""How long a broker that has just started may take to read its groups."""

GROUP_POLL_S = 0.5
REQUEST_TIMEOUT_MS = 10_000
DATABASE_TIMEOUT_S = 10.0

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_SQL = parse_statements((files("deploy") / "positions.sql").read_text())


class Lane(Struct, frozen=True, kw_only=True):
    """One partition, as the log, the database and the group see it.

    `counted_id` and `counted_at` are None when nothing was ever counted, `topic_id` when the log has no such
    partition, `committed` when the group has no offset.
    """

    group: str
    topic: str
    partition: int
    next_offset: int = 0
    counted_id: UUID | None = None
    counted_at: datetime | None = None
    topic_id: UUID | None = None
    begin: int = 0
    end: int = 0
    committed: int | None = None

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.topic}/{self.partition}"

    @property
    def lag(self) -> int:
        """Records on the log that are not counted."""
        return max(0, self.end - max(self.begin, self.next_offset))


class Fault(StrEnum):
    """What keeps a lane from being counted on."""

    MISSING = "missing"
    REPLACED = "replaced"
    TRUNCATED = "truncated"
    LOST = "lost"
    AHEAD = "ahead"


ACCEPTABLE = frozenset({Fault.REPLACED, Fault.TRUNCATED, Fault.LOST})
"""What `--accept` is for: nothing brings those records back."""


def fault_of(lane: Lane) -> Fault | None:
    """What is wrong with a lane; the first of several that has to be mended."""
    if lane.topic_id is None:
        return Fault.MISSING
    if lane.counted_id is not None and lane.counted_id != lane.topic_id:
        return Fault.REPLACED
    if lane.end < lane.next_offset:
        return Fault.TRUNCATED
    if lane.begin > lane.next_offset:
        return Fault.LOST
    if lane.committed is not None and lane.committed > lane.next_offset:
        return Fault.AHEAD
    return None


def explained(lane: Lane, fault: Fault) -> str:
    """One line: what is wrong, and what to do."""
    accept = f"`ioc positions --accept {lane.topic}` says what going on would mean."
    match fault:
        case Fault.MISSING:
            return f"{lane.name}: the log has no such partition. `ioc migrate` makes topics that are missing."
        case Fault.REPLACED:
            return f"{lane.name}: the topic was deleted and made anew. {accept}"
        case Fault.TRUNCATED:
            return (
                f"{lane.name}: counted up to {lane.next_offset}, but the log ends at {lane.end}. "
                f"Restore the broker's data; or {accept}"
            )
        case Fault.LOST:
            return (
                f"{lane.name}: counted up to {lane.next_offset}, but the log begins at {lane.begin}: "
                f"{lane.begin - lane.next_offset} records are gone before they were counted. {accept}"
            )
        case Fault.AHEAD:
            return (
                f"{lane.name}: the group would read on from {lane.committed}, but only records below "
                f"{lane.next_offset} are counted, as after a restore. Stop the workers, then `ioc positions --reset`."
            )


class Acceptance(Struct, frozen=True):
    """Where a lane would go on, and what that means."""

    lane: Lane
    next_offset: int
    meaning: str


def acceptance(lane: Lane, fault: Fault, since_counted: int) -> Acceptance:
    """`since_counted` is the offset of the first record that was appended after the lane's last count."""
    if fault is Fault.REPLACED:
        meaning = (
            f"the {lane.next_offset} records counted of the topic before stay counted; what it held beyond them is "
            f"lost. The new one is counted from {lane.begin}: {lane.end - lane.begin} records so far."
        )
        return Acceptance(lane, lane.begin, meaning)
    if fault is Fault.TRUNCATED:
        # The log's own time tells what was appended after the cut from what is counted already.
        meaning = (
            f"{lane.next_offset - lane.end} offsets that were counted are gone from the log; what was counted stays. "
            f"Records that came after the last count are counted, from {since_counted}: "
            f"{lane.end - since_counted} so far."
        )
        return Acceptance(lane, since_counted, meaning)
    meaning = (
        f"the records from {lane.next_offset} to {lane.begin - 1} are lost and never counted. "
        f"Counting goes on at {lane.begin}: {lane.end - lane.begin} records so far."
    )
    return Acceptance(lane, lane.begin, meaning)


def as_table(lanes: Iterable[Lane]) -> str:
    """A line for each lane."""
    header = (
        f"{'GROUP':<12} {'TOPIC/PARTITION':<24} {'NEXT':>12} {'BEGIN':>12} {'END':>12} {'COMMITTED':>12} {'LAG':>9}"
    )
    lines = [f"{header}  TOPIC ID   STATE"]
    for lane in lanes:
        committed = "-" if lane.committed is None else str(lane.committed)
        topic_id = "none" if lane.topic_id is None else "new" if lane.counted_id is None else "same"
        if lane.topic_id is not None and lane.counted_id not in {None, lane.topic_id}:
            topic_id = "different"
        lines.append(
            f"{lane.group:<12} {lane.name:<24} {lane.next_offset:>12} {lane.begin:>12} {lane.end:>12} {committed:>12}"
            f" {lane.lag:>9}  {topic_id:<9}  {fault_of(lane) or 'ok'}"
        )
    return "\n".join(lines)


def run(settings: Settings, *, reset: bool, accept: str | None, yes: bool, new_epoch: bool) -> bool:
    """Does what is asked, or shows all lanes. Returns whether all is well. Raises IocError."""
    if yes and accept is None:
        raise OperatorError("--yes says yes to --accept TOPIC alone.", "Leave it out, or name a topic.")
    with reachable(settings) as (kafka, database_url):
        return asyncio.run(
            _run(kafka, database_url, settings.topic_prefix, reset=reset, accept=accept, yes=yes, new_epoch=new_epoch)
        )


async def _run(
    kafka: str, database_url: str, prefix: str, *, reset: bool, accept: str | None, yes: bool, new_epoch: bool
) -> bool:
    async with _connected(database_url) as connection:
        if accept is not None:
            await accept_topic(kafka, connection, prefix, accept, yes=yes)
        if reset:
            await reset_offsets(kafka, connection, prefix)
        if new_epoch:
            say(f"The feed begins epoch {await start_epoch(connection)}: every board takes a fresh snapshot.")
        lanes = await read_lanes(kafka, connection, prefix)
    faults = [(lane, fault) for lane in lanes if (fault := fault_of(lane))]
    if accept is None and not reset and not new_epoch:
        print(as_table(lanes))
    for lane, fault in faults:
        print(explained(lane, fault))
    return not faults


async def read_lanes(kafka: str, connection: Connection, prefix: str) -> list[Lane]:
    """Every lane that was counted or will be, in order. Raises DependencyUnavailable."""
    ours = {prefix + topic.name: topic for topic in INPUTS}
    with _kafka_errors():
        async with _admin(kafka) as admin:
            # In this order what runs meanwhile only ever makes a lane look better: the group's offset follows the
            # database's, and that follows the log's end.
            await _members(admin)
            committed = await admin.list_consumer_group_offsets(GROUP)
            stored = {
                (row["consumer_group"], row["topic"], row["partition"]): row
                for row in await connection.fetch(_SQL["read_positions"])
            }
            described: list[dict[str, Any]] = await admin.describe_topics()
        there = {
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described
            for partition in topic["partitions"]
        }
        new = {(GROUP, name, number) for name, topic in ours.items() for number in range(topic.partitions)}
        keys = sorted({*stored, *new})
        wanted = [at for at in sorted(there) if any(key[1:] == at for key in keys)]
        ids = await topic_ids(kafka, sorted({key[1] for key in keys}))
        async with _consumer(kafka) as consumer:
            begins: dict[TopicPartition, int] = await consumer.beginning_offsets(wanted)
            ends: dict[TopicPartition, int] = await consumer.end_offsets(wanted)
    lanes: list[Lane] = []
    for group, topic, partition in keys:
        at, row = TopicPartition(topic, partition), stored.get((group, topic, partition))
        offset = committed.get(at) if group == GROUP else None
        lanes.append(
            Lane(
                group=group,
                topic=topic,
                partition=partition,
                next_offset=row["next_offset"] if row else 0,
                counted_id=row["topic_id"] if row else None,
                counted_at=row["updated_at"] if row else None,
                topic_id=ids.get(topic) if at in begins else None,
                begin=begins.get(at, 0),
                end=ends.get(at, 0),
                committed=offset.offset if offset is not None and offset.offset >= 0 else None,
            )
        )
    return lanes


async def reset_offsets(kafka: str, connection: Connection, prefix: str) -> None:
    """Sets the group's offsets to the database's. Raises OperatorError while a worker runs."""
    beating = [row["id"] for row in await connection.fetch(_SQL["read_beating"], BEATING_S)]
    if beating:
        raise OperatorError(
            f"Nothing was changed: {', '.join(beating)} {'runs' if len(beating) == 1 else 'run'}.",
            "Stop all workers (`ioc down`), then try again.",
        )
    lanes = await read_lanes(kafka, connection, prefix)
    offsets = {
        TopicPartition(lane.topic, lane.partition): lane.next_offset
        for lane in lanes
        if lane.group == GROUP and fault_of(lane) in {None, Fault.AHEAD} and (lane.committed or 0) != lane.next_offset
    }
    await _commit(kafka, offsets)
    for lane in lanes:
        if TopicPartition(lane.topic, lane.partition) in offsets and fault_of(lane) is Fault.AHEAD:
            say(f"{lane.name}: {lane.lag} records from {lane.next_offset} on are counted again.")
    say(
        f"{len(offsets)} of the group's offsets were set to the database's." if offsets else "All offsets were right."
    )


async def accept_topic(kafka: str, connection: Connection, prefix: str, name: str, *, yes: bool) -> None:
    """Says what going on with a topic as it is would mean, and with `yes` lets the workers do so."""
    topic = _topic_of(prefix, name)
    lanes = [lane for lane in await read_lanes(kafka, connection, prefix) if lane.topic == prefix + topic.name]
    broken = [(lane, fault) for lane in lanes if (fault := fault_of(lane)) in ACCEPTABLE]
    if not broken:
        say(f"{prefix}{topic.name}: nothing is to be accepted.")
        return
    since = await _since_counted(kafka, [lane for lane, _ in broken])
    accepted = [acceptance(lane, fault, since[lane.partition]) for lane, fault in broken if fault is not None]
    for one in accepted:
        say(f"{one.lane.name}: {one.meaning}")
    if any(fault is not Fault.LOST for _, fault in broken):
        say(
            "Events that were counted and are sent again do not count twice: they are known by their ids."
            if topic.dedupe is Dedupe.FOREVER
            else "Events that were counted and are sent again count twice: their ids went with the log."
        )
    if not yes:
        raise OperatorError("Nothing was changed.", "Add --yes to go on like this.")
    # The group's offsets first, for one that is too low only makes a worker skip what it has counted.
    ahead = {
        TopicPartition(one.lane.topic, one.lane.partition): one.next_offset
        for one in accepted
        if one.lane.committed is not None and one.lane.committed > one.next_offset
    }
    await _commit(kafka, ahead)
    async with connection.transaction():
        for one in accepted:
            lane = one.lane
            stored = await connection.fetchval(
                _SQL["accept_position"],
                *(lane.group, lane.topic, lane.partition, lane.topic_id, one.next_offset),
                *(lane.counted_id or lane.topic_id, lane.next_offset),
            )
            if stored is None:
                raise OperatorError(f"{lane.name} was counted on meanwhile; nothing was changed.", "Look again.")
    say(f"{prefix}{topic.name}: accepted. Workers go on by themselves at their next start.")


async def start_epoch(connection: Connection) -> int:
    """Starts a new epoch of the feed, and makes a loaded dump's rows readable on this server. Returns its number."""
    async with connection.transaction():
        await connection.execute(_SQL["forget_foreign_changes"])
        await connection.execute(_SQL["adopt_foreign_events"])
        return int(await connection.fetchval(_SQL["start_epoch"]))


def _topic_of(prefix: str, name: str) -> Topic:
    """The input topic of this name, with the prefix or without."""
    for topic in INPUTS:
        if name in {topic.name, prefix + topic.name}:
            return topic
    raise OperatorError(f"No topic {name!r} is counted.", f"Name one of {', '.join(t.name for t in INPUTS)}.")


async def _since_counted(kafka: str, lanes: Sequence[Lane]) -> Mapping[int, int]:
    """By partition, the offset of the first record that was appended since the lane's last count."""
    since = {
        TopicPartition(lane.topic, lane.partition): int(lane.counted_at.timestamp() * 1000)
        for lane in lanes
        if lane.counted_at is not None
    }
    with _kafka_errors():
        async with _consumer(kafka) as consumer:
            found: Mapping[TopicPartition, Any] = await consumer.offsets_for_times(since) if since else {}
    return {
        lane.partition: at.offset if (at := found.get(TopicPartition(lane.topic, lane.partition))) else lane.end
        for lane in lanes
    }


async def _commit(kafka: str, offsets: Mapping[TopicPartition, int]) -> None:
    """Sets offsets of the group. The broker refuses that while the group has members. Raises OperatorError."""
    if not offsets:
        return
    with _kafka_errors():
        await _until_empty(kafka)
        async with _consumer(kafka, GROUP) as consumer:
            consumer.assign(list(offsets))
            consumer.pause(*offsets)
            try:
                await consumer.commit(dict(offsets))
            except CommitFailedError as error:
                raise _group_is_in_use() from error


async def _until_empty(kafka: str) -> None:
    """Returns when the group has no members. Raises OperatorError."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + GROUP_EMPTY_WAIT_S
    async with _admin(kafka) as admin:
        while True:
            if not await _members(admin):
                return
            if loop.time() > deadline_s:
                raise _group_is_in_use()
            await asyncio.sleep(GROUP_POLL_S)


async def _members(admin: AIOKafkaAdminClient) -> int:
    """How many members the group has. A broker that has just started needs a moment to know its groups."""
    loop = asyncio.get_running_loop()
    deadline_s = loop.time() + GROUP_KNOWN_WAIT_S
    while True:
        try:
            [response] = await admin.describe_consumer_groups([GROUP])
            group = response.to_object()["groups"][0]
            if group["error_code"]:
                raise for_code(group["error_code"])()
            return len(group["members"])
        except KafkaError as error:
            if not error.retriable or loop.time() > deadline_s:
                raise
        await asyncio.sleep(GROUP_POLL_S)


def _group_is_in_use() -> OperatorError:
    return OperatorError(
        f"Nothing was changed: the group {GROUP} has members.", "Stop all workers (`ioc down`), then try again."
    )


@contextmanager
def _kafka_errors() -> Generator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise DependencyUnavailable("kafka", str(error)) from error


@asynccontextmanager
async def _connected(database_url: str) -> AsyncGenerator[Connection]:
    try:
        connection: Connection = await asyncpg.connect(
            database_url, timeout=DATABASE_TIMEOUT_S, server_settings={"application_name": "ioc positions"}
        )
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        raise DependencyUnavailable("database", str(error) or type(error).__name__) from error
    try:
        yield connection
    except asyncpg.UndefinedTableError as error:
        raise OperatorError("The database has no tables yet.", "Run `ioc migrate`.") from error
    finally:
        connection.terminate()


@asynccontextmanager
async def _admin(kafka: str) -> AsyncGenerator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()


@asynccontextmanager
async def _consumer(kafka: str, group: str | None = None) -> AsyncGenerator[Any]:
    """aiokafka's consumer, which carries hardly any types. It follows nothing by itself."""
    consumer: Any = AIOKafkaConsumer(
        bootstrap_servers=kafka, group_id=group, enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS
    )
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()
