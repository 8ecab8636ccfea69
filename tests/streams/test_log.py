"""Does the log keep its promises to a lane? The fake that other tests trust keeps the same ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol
from uuid import UUID

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete

from deploy.migrate import ensure_topics
from schemas.errors import DependencyUnavailable, Reason
from schemas.topics import DEAD, DETECTIONS
from streams.core.batch import DeadLetter
from streams.log import KafkaLog, Log
from streams.store.writer import Lane
from tests.streams.memory import MemoryLog
from tests.streams.world import LOGGED_MS, StoredRecord

MINUTE_MS = 60_000
Buried = tuple[str, bytes | None, str, str, bytes | None]
"""Key, value, reason, detail, and the key that the record had."""


class Kept(Protocol):
    """A Log, and what a test can do behind its back."""

    log: Log
    lane: Lane

    async def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Adds records as (log time, value)."""
        ...

    async def truncate(self, before_offset: int) -> None:
        """Retention takes what lies below."""
        ...

    async def buried(self) -> list[Buried]:
        """All dead letters."""
        ...


async def tail(kept: Kept, before_offset: int, horizon_ms: int) -> list[tuple[int, int, bytes | None]]:
    """Offset, time and value of what the tail holds."""
    found = [record async for records in kept.log.tail(kept.lane, before_offset, horizon_ms) for record in records]
    return [(record.offset, record.timestamp, record.value) for record in found]


def letter(offset: int, value: bytes | None = b"\xff{", key: bytes | None = b"k") -> DeadLetter:
    """A record that nobody can read."""
    return DeadLetter(
        topic="t.cases.v1",
        partition=2,
        offset=offset,
        reason=Reason.MALFORMED_JSON,
        detail="$: không đọc được",
        key=key,
        value=value,
    )


class LogContract:
    """What every Log does."""

    async def test_an_unknown_topic_has_no_id(self, kept: Kept) -> None:
        assert await kept.log.topic_id("no-such-topic") is None

    async def test_a_topic_keeps_its_id(self, kept: Kept) -> None:
        first = await kept.log.topic_id(kept.lane.topic)
        assert isinstance(first, UUID)
        await kept.append([(LOGGED_MS, b"1")])
        assert await kept.log.topic_id(kept.lane.topic) == first

    async def test_the_end_is_behind_the_last_record(self, kept: Kept) -> None:
        assert await kept.log.end(kept.lane) == 0
        await kept.append([(LOGGED_MS, b"1"), (LOGGED_MS, b"2")])
        assert await kept.log.end(kept.lane) == 2

    async def test_the_tail_ends_before_the_offset(self, kept: Kept) -> None:
        await kept.append([(LOGGED_MS + n, str(n).encode()) for n in range(5)])
        assert await tail(kept, 3, MINUTE_MS) == [(n, LOGGED_MS + n, str(n).encode()) for n in range(3)]
        assert await tail(kept, 5, MINUTE_MS) == [(n, LOGGED_MS + n, str(n).encode()) for n in range(5)]

    async def test_the_tail_of_nothing_counted_is_empty(self, kept: Kept) -> None:
        await kept.append([(LOGGED_MS, b"1")])
        assert await tail(kept, 0, MINUTE_MS) == []

    async def test_the_horizon_is_measured_from_the_newest_counted_record(self, kept: Kept) -> None:
        minutes = (0, 5, 29, 30, 35, 90)
        await kept.append([(LOGGED_MS + minute * MINUTE_MS, str(minute).encode()) for minute in minutes])
        # Counted up to minute 35; that minute 90 came later changes nothing, and its own edge belongs to it.
        assert [value for _, _, value in await tail(kept, 5, 30 * MINUTE_MS)] == [b"5", b"29", b"30", b"35"]

    async def test_the_tail_of_a_log_that_retention_cut(self, kept: Kept) -> None:
        await kept.append([(LOGGED_MS + n, str(n).encode()) for n in range(6)])
        await kept.truncate(4)
        assert [offset for offset, _, _ in await tail(kept, 6, MINUTE_MS)] == [4, 5]
        assert await tail(kept, 4, MINUTE_MS) == []
        assert await kept.log.end(kept.lane) == 6

    async def test_a_long_tail_comes_whole(self, kept: Kept) -> None:
        await kept.append([(LOGGED_MS + n // 100, b"%d" % n) for n in range(3_000)])
        assert [offset for offset, _, _ in await tail(kept, 3_000, MINUTE_MS)] == list(range(3_000))

    async def test_what_lies_between_two_offsets(self, kept: Kept) -> None:
        await kept.append([(LOGGED_MS + n, str(n).encode()) for n in range(6)])

        async def between(first: int, before: int) -> list[int]:
            found = [some async for some in kept.log.between(kept.lane, first, before)]
            return [record.offset for some in found for record in some]

        assert await between(0, 6) == list(range(6))
        assert await between(2, 5) == [2, 3, 4]
        await kept.truncate(4)
        assert await between(2, 6) == [4, 5]
        assert await between(0, 3) == []

    async def test_a_dead_letter_says_where_why_and_what(self, kept: Kept) -> None:
        await kept.log.bury([letter(7), letter(8, value=None, key=None)])
        await kept.log.bury([letter(9, value="Phường".encode())])
        why = ("malformed_json", "$: không đọc được")
        assert await kept.buried() == [
            ("t.cases.v1/2/7", b"\xff{", *why, b"k"),
            ("t.cases.v1/2/8", None, *why, None),
            ("t.cases.v1/2/9", "Phường".encode(), *why, b"k"),
        ]


class _Memory:
    def __init__(self) -> None:
        self.log = MemoryLog()
        self.lane = Lane("t.detections.v1", 1)
        self.log.ids[self.lane.topic] = UUID(int=7)

    async def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        stored = self.log.records.setdefault(self.lane, [])
        begin = stored[-1].offset + 1 if stored else 0
        stored += [StoredRecord(begin + n, time_ms, None, value) for n, (time_ms, value) in enumerate(records)]

    async def truncate(self, before_offset: int) -> None:
        stored = self.log.records[self.lane]
        self.log.records[self.lane] = [record for record in stored if record.offset >= before_offset]

    async def buried(self) -> list[Buried]:
        return [
            (f"{one.topic}/{one.partition}/{one.offset}", one.value, one.reason.value, one.detail, one.key)
            for one in self.log.dead
        ]


class _Kafka:
    def __init__(self, log: KafkaLog, bootstrap: str, prefix: str) -> None:
        self.log = log
        self.lane = Lane(prefix + "timed", 1)
        self.bootstrap = bootstrap
        self.prefix = prefix

    async def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all")
        await producer.start()
        try:
            for time_ms, value in records:
                await producer.send(self.lane.topic, value, partition=self.lane.partition, timestamp_ms=time_ms)
        finally:
            await producer.stop()

    async def truncate(self, before_offset: int) -> None:
        async with admin(self.bootstrap) as client:
            await client.delete_records({TopicPartition(*self.lane): RecordsToDelete(before_offset=before_offset)})

    async def buried(self) -> list[Buried]:
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap)
        await consumer.start()
        try:
            partition = TopicPartition(self.prefix + DEAD.name, 0)
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            found: list[Buried] = []
            while await consumer.position(partition) < end:
                record = await consumer.getone(partition)
                headers = dict(record.headers)
                found.append(
                    (
                        (record.key or b"").decode(),
                        record.value,
                        headers["reason"].decode(),
                        headers["detail"].decode(),
                        headers["key"] or None,
                    )
                )
            return found
        finally:
            await consumer.stop()


@asynccontextmanager
async def admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client for a block."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def known(log: Log, topic: str) -> UUID:
    """Waits until the broker knows the topic."""
    async with asyncio.timeout(30):
        while True:
            if (found := await log.topic_id(topic)) is not None:
                return found
            await asyncio.sleep(0.05)


async def gone(log: Log, topic: str) -> None:
    """Waits until the broker has forgotten the topic."""
    async with asyncio.timeout(30):
        while True:
            if await log.topic_id(topic) is None:
                return
            await asyncio.sleep(0.05)


class TestMemoryLog(LogContract):
    """The fake."""

    @pytest.fixture
    def kept(self) -> Kept:
        return _Memory()


class TestKafkaLog(LogContract):
    """The real one, and what only it has."""

    @pytest.fixture
    async def kept(self, kafka: str, topic_prefix: str) -> AsyncIterator[Kept]:
        await ensure_topics(kafka, topic_prefix)
        # The centre's own topics carry the broker's time; this one lets the test say when.
        times = {"message.timestamp.type": "CreateTime", "retention.ms": "-1"}
        async with admin(kafka) as client:
            await client.create_topics([NewTopic(topic_prefix + "timed", 2, 1, topic_configs=times)])
        log = KafkaLog(kafka, topic_prefix + DEAD.name)
        # A new topic is not known at once.
        for name in (topic_prefix + "timed", topic_prefix + DEAD.name):
            await known(log, name)
        try:
            yield _Kafka(log, kafka, topic_prefix)
        finally:
            await log.close()

    async def test_a_topic_that_is_made_anew_has_another_id(self, kept: Kept, kafka: str, topic_prefix: str) -> None:
        name = topic_prefix + DETECTIONS.name
        before = await kept.log.topic_id(name)
        async with admin(kafka) as client:
            await client.delete_topics([name])
            await gone(kept.log, name)
        await ensure_topics(kafka, topic_prefix)
        assert before is not None
        assert await known(kept.log, name) != before


async def test_a_broker_that_is_away_is_said_so() -> None:
    log = KafkaLog("127.0.0.1:9", "dead")
    lane = Lane("t", 0)
    with pytest.raises(DependencyUnavailable, match="kafka is away"):
        await log.topic_id("t")
    with pytest.raises(DependencyUnavailable):
        await log.end(lane)
    with pytest.raises(DependencyUnavailable):
        await anext(log.tail(lane, 1, 1))
    with pytest.raises(DependencyUnavailable):
        await log.bury([letter(1)])
    await log.close()
