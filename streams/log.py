"""What does the log hold, besides what the agent is handed?

Reads a partition's tail for dedupe, its end for the truncation check, and writes dead letters.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import DependencyUnavailable
from streams.core.batch import DeadLetter, Record
from streams.store.writer import Lane
from streams.topic_id import topic_ids

REQUEST_TIMEOUT_MS = 10_000
STOP_S = 2.0

DEAD_VALUE_BYTES_MAX = 1024 * 1024
"""What is kept of a dead letter's value. Of a longer one the start is, with its whole size in the header `truncated`;
the key says where the original stands."""
RECORDS_PER_POLL_MAX = 10_000

DEAD_KEY_BYTES_MAX = 64 * 1024
"""A longer key of a dead letter is left out."""


class Log(Protocol):
    """The log as a lane needs it. Every method raises DependencyUnavailable when no broker answers in time."""

    async def topic_id(self, topic: str) -> UUID | None:
        """Kafka's id of the topic; None when there is no such topic."""
        ...

    async def end(self, lane: Lane) -> int:
        """The offset after the last record."""
        ...

    def tail(self, lane: Lane, before_offset: int, horizon_ms: int) -> AsyncGenerator[Sequence[Record]]:
        """The records below an offset that are not older than the horizon, by the log's time, oldest first."""
        ...

    def between(self, lane: Lane, first_offset: int, before_offset: int) -> AsyncGenerator[Sequence[Record]]:
        """The records from one offset up to another, oldest first, as far as the log still has them."""
        ...

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Writes dead letters; returns when the broker has them. The key says where the record stood."""
        ...


class KafkaLog:
    """The Log on a real broker."""

    def __init__(self, bootstrap: str, dead_topic: str) -> None:
        """Connects when it is first needed."""
        self._bootstrap = bootstrap
        self._dead_topic = dead_topic
        self._burying = asyncio.Lock()
        self._producer: Any = None  # aiokafka's producer carries hardly any types

    async def close(self) -> None:
        """Ends the connection that writes dead letters. A broker that is away does not keep it."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(TimeoutError, KafkaError, OSError):
                async with asyncio.timeout(STOP_S):
                    await producer.stop()

    async def topic_id(self, topic: str) -> UUID | None:
        """See Log."""
        return (await topic_ids(self._bootstrap, [topic])).get(topic)

    async def end(self, lane: Lane) -> int:
        """See Log."""
        return (await self.ends([lane]))[lane]

    async def ends(self, lanes: Iterable[Lane]) -> dict[Lane, int]:
        """The offsets after the last records of several lanes. Raises DependencyUnavailable."""
        at = {lane: TopicPartition(*lane) for lane in lanes}
        async with self._reading() as consumer:
            ends = await consumer.end_offsets(list(at.values()))
        return {lane: ends[partition] for lane, partition in at.items()}

    async def tail(self, lane: Lane, before_offset: int, horizon_ms: int) -> AsyncGenerator[Sequence[Record]]:
        """See Log."""
        at = TopicPartition(*lane)
        async with self._reading() as consumer:
            consumer.assign([at])
            begin = (await consumer.beginning_offsets([at]))[at]
            if begin >= before_offset:
                return
            # The newest counted record says what "now" is for the horizon: the log's own time, not this machine's.
            consumer.seek(at, before_offset - 1)
            newest = (await consumer.getmany(at, timeout_ms=REQUEST_TIMEOUT_MS, max_records=1)).get(at)
            if not newest:
                raise DependencyUnavailable("kafka", f"offset {before_offset - 1} of {lane} cannot be read")
            found = (await consumer.offsets_for_times({at: newest[0].timestamp - horizon_ms}))[at]
            consumer.seek(at, max(begin, found.offset) if found else begin)
            async for records in _up_to(consumer, at, before_offset):
                yield records

    async def between(self, lane: Lane, first_offset: int, before_offset: int) -> AsyncGenerator[Sequence[Record]]:
        """See Log."""
        at = TopicPartition(*lane)
        async with self._reading() as consumer:
            consumer.assign([at])
            begin = (await consumer.beginning_offsets([at]))[at]
            if begin >= before_offset:
                return
            consumer.seek(at, max(begin, first_offset))
            async for records in _up_to(consumer, at, before_offset):
                yield records

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See Log."""
        # One at a time: lanes share the producer, and one that fails must not be taken from under another.
        async with self._burying:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_MS / 1000):
                    producer = await self._started_producer()
                    sent = [await producer.send(self._dead_topic, **_as_record(letter)) for letter in letters]
                    for future in sent:
                        await future
            except (KafkaError, OSError, TimeoutError) as error:
                await self.close()
                raise DependencyUnavailable("kafka", str(error) or type(error).__name__) from error

    async def _started_producer(self) -> Any:  # noqa: ANN401 (aiokafka's producer carries hardly any types)
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._bootstrap,
                acks="all",
                enable_idempotence=True,
                linger_ms=5,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                max_request_size=2 * 1024 * 1024,
            )
            await self._producer.start()
        return self._producer

    @asynccontextmanager
    async def _reading(self) -> AsyncGenerator[Any]:
        """A consumer that has started. What it raises of the broker is DependencyUnavailable."""
        consumer = reading_consumer(self._bootstrap)
        try:
            await consumer.start()
            yield consumer
        except (KafkaError, OSError) as error:
            raise DependencyUnavailable("kafka", str(error)) from error
        finally:
            await consumer.stop()


def reading_consumer(bootstrap: str) -> Any:  # noqa: ANN401 (aiokafka's consumer carries hardly any types)
    """A consumer without a group: it follows nothing and commits nothing."""
    return AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )


async def _up_to(consumer: Any, at: TopicPartition, before_offset: int) -> AsyncGenerator[Sequence[Record]]:  # noqa: ANN401
    """The records from where the consumer stands up to an offset."""
    while await consumer.position(at) < before_offset:
        polled = await consumer.getmany(at, timeout_ms=REQUEST_TIMEOUT_MS, max_records=RECORDS_PER_POLL_MAX)
        if not polled:
            raise DependencyUnavailable("kafka", f"nothing of {at} came for {REQUEST_TIMEOUT_MS} ms")
        if records := [record for record in polled.get(at, []) if record.offset < before_offset]:
            yield records


def _as_record(letter: DeadLetter) -> dict[str, Any]:
    headers = [("reason", letter.reason.encode()), ("detail", letter.detail.encode())]
    value, key = letter.value, letter.key or b""
    if len(key) <= DEAD_KEY_BYTES_MAX:
        headers.append(("key", key))
    if value is not None and len(value) > DEAD_VALUE_BYTES_MAX:
        headers.append(("truncated", str(len(value)).encode()))
        value = value[:DEAD_VALUE_BYTES_MAX]
    return {"key": f"{letter.topic}/{letter.partition}/{letter.offset}".encode(), "value": value, "headers": headers}
