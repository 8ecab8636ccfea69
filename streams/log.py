"""What does the log hold, besides what the agent is handed?

Reads a partition's tail for dedupe, its end for the truncation check, and writes dead letters.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Protocol
from uuid import UUID

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from schemas.errors import DependencyUnavailable
from streams.core.batch import DeadLetter, Record
from streams.store.writer import Lane
from streams.topic_id import topic_ids

REQUEST_TIMEOUT_MS = 10_000
POLL_MS = 1_000
RECORDS_PER_POLL_MAX = 10_000


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

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """Writes dead letters; returns when the broker has them. The key says where the record stood."""
        ...


class KafkaLog:
    """The Log on a real broker."""

    def __init__(self, bootstrap: str, dead_topic: str) -> None:
        """Connects when it is first needed."""
        self._bootstrap = bootstrap
        self._dead_topic = dead_topic
        self._producer: Any = None  # aiokafka's producer carries hardly any types

    async def close(self) -> None:
        """Ends the connection that writes dead letters."""
        if self._producer is not None:
            await self._producer.stop()
            self._producer = None

    async def topic_id(self, topic: str) -> UUID | None:
        """See Log."""
        return (await topic_ids(self._bootstrap, [topic])).get(topic)

    async def end(self, lane: Lane) -> int:
        """See Log."""
        at = TopicPartition(*lane)
        consumer = self._consumer()
        try:
            await consumer.start()
            return (await consumer.end_offsets([at]))[at]
        except (KafkaError, OSError) as error:
            raise DependencyUnavailable("kafka", str(error)) from error
        finally:
            await consumer.stop()

    async def tail(self, lane: Lane, before_offset: int, horizon_ms: int) -> AsyncGenerator[Sequence[Record]]:
        """See Log."""
        at = TopicPartition(*lane)
        consumer = self._consumer()
        try:
            await consumer.start()
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
            while await consumer.position(at) < before_offset:
                polled = await consumer.getmany(at, timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL_MAX)
                yield [record for record in polled.get(at, []) if record.offset < before_offset]
        except (KafkaError, OSError) as error:
            raise DependencyUnavailable("kafka", str(error)) from error
        finally:
            await consumer.stop()

    async def bury(self, letters: Sequence[DeadLetter]) -> None:
        """See Log."""
        try:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=5,
                    request_timeout_ms=REQUEST_TIMEOUT_MS,
                    max_request_size=2 * 1024 * 1024,
                )
                self._producer = producer
                await producer.start()
            sent = [
                await self._producer.send(
                    self._dead_topic,
                    key=f"{letter.topic}/{letter.partition}/{letter.offset}".encode(),
                    value=letter.value,
                    headers=[
                        ("reason", letter.reason.encode()),
                        ("detail", letter.detail.encode()),
                        ("key", letter.key or b""),
                    ],
                )
                for letter in letters
            ]
            for future in sent:
                await future
        except (KafkaError, OSError) as error:
            producer, self._producer = self._producer, None
            if producer is not None:
                await producer.stop()
            raise DependencyUnavailable("kafka", str(error)) from error

    def _consumer(self) -> Any:  # noqa: ANN401 (aiokafka's consumer carries hardly any types)
        """A consumer without a group: it follows nothing and commits nothing."""
        return AIOKafkaConsumer(
            bootstrap_servers=self._bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            fetch_max_wait_ms=100,
            max_partition_fetch_bytes=4 * 1024 * 1024,
        )
