"""Which part of aiokafka's producer do we rely on, and how is one given up?

aiokafka has no public way to give up: an idempotent producer retries for ever, and `stop` waits for a flush that
does not come while Kafka is away. The one function here that reaches inside was written against aiokafka 0.14.
"""

import asyncio
from typing import Any, Protocol, cast

from aiokafka import AIOKafkaProducer

REQUEST_TIMEOUT_MS = 4_000
"""How long aiokafka waits for an answer; a connection that is silent for longer is closed and its request retried."""

RETRY_BACKOFF_MS = 100

BATCH_BYTES_MAX = 512 * 1024
"""A batch for one partition. When it is full, a further one waits behind it. The topics allow 2 MiB a message."""


class Builder(Protocol):
    """aiokafka's BatchBuilder: records of one partition, encoded as they are appended."""

    def append(
        self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]
    ) -> object | None: ...
    def close(self) -> None: ...
    def record_count(self) -> int: ...


class Client(Protocol):
    """aiokafka's client. The future says whether any broker answered."""

    def force_metadata_update(self) -> asyncio.Future[bool]: ...


class KafkaProducer(Protocol):
    """aiokafka's producer, or what a test puts in its place."""

    client: Client

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    async def partitions_for(self, topic: str) -> set[int]: ...
    def create_batch(self) -> Builder: ...
    async def send_batch(self, batch: Builder, topic: str, *, partition: int) -> asyncio.Future[Any]: ...


def make_producer(bootstrap: str) -> KafkaProducer:
    """A producer that has not been started. To be called in the event loop that will use it."""
    producer = AIOKafkaProducer(
        bootstrap_servers=bootstrap,
        client_id="ioc-ingest",
        acks="all",
        enable_idempotence=True,
        max_batch_size=BATCH_BYTES_MAX,
        # A partition's next batch gathers while its previous one is under way, so nothing is gained by waiting.
        linger_ms=0,
        compression_type=None,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        retry_backoff_ms=RETRY_BACKOFF_MS,
        metadata_max_age_ms=60_000,
        connections_max_idle_ms=540_000,
    )
    return cast("KafkaProducer", producer)


async def give_up(producer: KafkaProducer) -> None:
    """Stops a producer without waiting for its batches. Takes as long as the request that is under way."""
    inside = cast("Any", producer)
    sending: asyncio.Task[None] | None = inside._sender.sender_task
    if sending is not None:
        sending.cancel()
        await asyncio.wait([sending])
        accumulator = inside._message_accumulator
        # A batch that waits for its retry is in neither set for a moment, and its own callback removes it from one.
        left = [batch for queue in accumulator._batches.values() for batch in queue]
        accumulator._batches.clear()
        accumulator._pending_batches.update(left)
        # Now `stop` finds nothing left to flush.
        for batch in tuple(accumulator._pending_batches):
            batch.future.cancel()
    await producer.stop()
