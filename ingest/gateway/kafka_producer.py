"""Which part of aiokafka's producer do we rely on, and how is one given up?

aiokafka has no public way to give up: an idempotent producer retries for ever, and `stop` waits for a flush that
does not come while Kafka is away. What reaches inside was written against aiokafka 0.14, and all of it is here.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, cast

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

REQUEST_TIMEOUT_MS = 4_000
"""How long aiokafka waits for an answer; a connection that is silent for longer is closed and its request retried."""

RETRY_BACKOFF_MS = 100
_NO_COMPRESSION = 0

BATCH_BYTES_MAX = 512 * 1024
"""A batch for one partition. When it is full, a further one waits behind it. The topics allow 2 MiB a message."""


class Builder(Protocol):
    """Records of one partition, encoded as they come in."""

    def extend(
        self, key: bytes, values: Sequence[bytes], *, timestamp_ms: int, headers: list[tuple[str, bytes]]
    ) -> int:
        """Takes as many of the first of `values` as there is room for, and says how many."""
        ...

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


class _BatchBuilder(BatchBuilder):
    """aiokafka's builder, told of many records at once: going through `append` for each costs twice as much."""

    def extend(
        self, key: bytes, values: Sequence[bytes], *, timestamp_ms: int, headers: list[tuple[str, bytes]]
    ) -> int:
        before = offset = self._relative_offset
        append = cast("Any", self)._builder.append
        for value in values:
            if append(offset, timestamp_ms, key, value, headers) is None:
                self.close()
                break
            offset += 1
        self._relative_offset = offset
        return offset - before


class _Producer(AIOKafkaProducer):
    """aiokafka's producer, with builders of ours."""

    def create_batch(self) -> _BatchBuilder:
        return _BatchBuilder(BATCH_BYTES_MAX, _NO_COMPRESSION)


def make_producer(bootstrap: str) -> KafkaProducer:
    """A producer that has not been started. To be called in the event loop that will use it."""
    producer = _Producer(
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
