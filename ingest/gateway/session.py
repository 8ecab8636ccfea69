"""How do events reach the log's partitions, in order, and when are they known to be there?

A session is one Kafka producer from its start to its first failure. Events gather for each partition; a batch of
them leaves when the one before it is acknowledged, at once on an idle partition. So batches grow with the
load, and nobody tunes a linger. The first failure ends the session: what aiokafka's sequence numbers are worth after
one is doubtful, and a new producer costs some milliseconds.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from ingest.gateway import metrics
from ingest.gateway.kafka_producer import Builder, KafkaProducer, give_up
from ingest.gateway.placement import Placement
from schemas import codec
from schemas.errors import DependencyUnavailable
from schemas.topics import Topic

_HEADERS = [("content-type", codec.CONTENT_TYPE.encode())]
_OVERHEAD_BYTES = 64  # headers, lengths, and the objects that wait with it

_log = logging.getLogger(__name__)


class Lot(Protocol):
    """What is written: `values`, at least one, under `key` on `topic` (without the prefix)."""

    @property
    def topic(self) -> Topic: ...
    @property
    def key(self) -> bytes: ...
    @property
    def values(self) -> Sequence[bytes]: ...


class Receipt:
    """What one request waits for: the acknowledgement of each of its lots."""

    __slots__ = ("_lots", "done")

    def __init__(self, done: asyncio.Future[None], lots: int) -> None:
        self.done = done
        self._lots = lots

    def acknowledge(self) -> None:
        """One of the lots is on the log."""
        self._lots -= 1
        if self._lots == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: DependencyUnavailable) -> None:
        """One of the lots may or may not be on the log."""
        if not self.done.done():
            self.done.set_exception(error)


class _Waiting:
    """A lot, or what is left of it, that is not in a batch yet."""

    __slots__ = ("key", "receipt", "since_s", "timestamp_ms", "values")

    def __init__(self, lot: Lot, timestamp_ms: int, receipt: Receipt, since_s: float) -> None:
        self.key = lot.key
        self.values = lot.values
        self.timestamp_ms = timestamp_ms
        self.receipt = receipt
        self.since_s = since_s


class _Batch:
    """A partition's records that travel together, and who waits for the lots that end in it."""

    __slots__ = ("builder", "pending_bytes", "receipts", "sent_s", "since_s")

    def __init__(self, builder: Builder, since_s: float, sent_s: float) -> None:
        self.builder = builder
        self.since_s = since_s
        self.sent_s = sent_s
        self.receipts: list[Receipt] = []
        self.pending_bytes = 0

    def fill(self, waiting: deque[_Waiting]) -> None:
        """Takes as much of what waits as there is room for."""
        while waiting:
            lot = waiting[0]
            fitting = self.builder.extend(lot.key, lot.values, timestamp_ms=lot.timestamp_ms, headers=_HEADERS)
            self.pending_bytes += _size(lot.key, lot.values[:fitting])
            if fitting < len(lot.values):
                lot.values = lot.values[fitting:]
                break
            self.receipts.append(waiting.popleft().receipt)
        assert self.pending_bytes, "the first record of a batch always fits"
        self.builder.close()


class _Lane:
    """One partition: at most one batch under way, and the lots behind it."""

    __slots__ = ("partition", "topic", "under_way", "waiting")

    def __init__(self, topic: str, partition: int) -> None:
        self.topic = topic
        self.partition = partition
        self.under_way: _Batch | None = None
        self.waiting: deque[_Waiting] = deque()

    def oldest_s(self) -> float | None:
        """When the oldest lot came that is not acknowledged."""
        oldest = self.under_way or (self.waiting[0] if self.waiting else None)
        return None if oldest is None else oldest.since_s

    def clear(self) -> list[Receipt]:
        """Forgets all; returns who waits for it."""
        receipts = [*(self.under_way.receipts if self.under_way else ()), *(lot.receipt for lot in self.waiting)]
        self.under_way = None
        self.waiting.clear()
        return receipts


class Session:
    """One producer's life. `append` refuses at once what would hold more than `pending_bytes_max` unacknowledged."""

    def __init__(
        self,
        producer: KafkaProducer,
        topics: Sequence[Topic],
        *,
        topic_prefix: str,
        placement: Placement,
        pending_bytes_max: int,
        clock_s: Callable[[], float],
    ) -> None:
        self._producer = producer
        self._topics = topics
        self._topic_prefix = topic_prefix
        self._placement = placement
        self._pending_bytes_max = pending_bytes_max
        self._clock_s = clock_s
        self._lanes = {
            topic.name: [_Lane(topic_prefix + topic.name, number) for number in range(topic.partitions)]
            for topic in topics
        }
        self._ready: deque[_Lane] = deque()
        self._wake = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._failure: str | None = None
        self._ended = asyncio.Event()
        self.pending_bytes = 0

    async def open(self) -> None:
        """Connects, and checks the topics. Raises KafkaError, OSError or DependencyUnavailable."""
        await self._producer.start()
        for topic in self._topics:
            name = self._topic_prefix + topic.name
            found = len(await self._producer.partitions_for(name))
            if found != topic.partitions:
                # Events placed by another count would part from the earlier ones of their key.
                raise DependencyUnavailable("kafka", f"topic {name} has {found} partitions, not {topic.partitions}")
        self._pump = asyncio.create_task(self._send_ready(), name="ingest-pump")

    @property
    def failure(self) -> str | None:
        """Why the session ended, or None while it lives."""
        return self._failure

    async def wait_ended(self) -> None:
        """Returns when the session has failed."""
        await self._ended.wait()

    def oldest_s(self) -> float | None:
        """When the oldest event that is not acknowledged was appended, on `clock_s`."""
        oldest = (lane.oldest_s() for lanes in self._lanes.values() for lane in lanes)
        return min((since_s for since_s in oldest if since_s is not None), default=None)

    def append(self, lots: Sequence[Lot], timestamp_ms: int) -> asyncio.Future[None]:
        """Puts records behind what waits already. The future ends when Kafka has acknowledged all of them.

        Records with one key keep their order. Raises DependencyUnavailable when the session is over or full.
        """
        if self._failure is not None:
            raise DependencyUnavailable("kafka", self._failure)
        size = sum([_size(lot.key, lot.values) for lot in lots])
        if self.pending_bytes + size > self._pending_bytes_max:
            raise DependencyUnavailable("kafka", f"{self.pending_bytes} bytes wait for it already", retry_after_s=1)
        receipt = Receipt(asyncio.get_running_loop().create_future(), len(lots))
        now_s = self._clock_s()
        for lot in lots:
            lanes = self._lanes[lot.topic.name]
            lane = lanes[self._placement.partition(lot.key, len(lanes))]
            if lane.under_way is None and not lane.waiting:
                self._ready.append(lane)
                self._wake.set()
            lane.waiting.append(_Waiting(lot, timestamp_ms, receipt, now_s))
        self.pending_bytes += size
        metrics.PENDING_BYTES.set(self.pending_bytes)
        return receipt.done

    def fail(self, why: str) -> None:
        """Ends the session: everyone who waits is told to send again."""
        if self._failure is not None:
            return
        self._failure = why
        error = DependencyUnavailable("kafka", why)
        for lanes in self._lanes.values():
            for lane in lanes:
                for receipt in lane.clear():
                    receipt.fail(error)
        self._ready.clear()
        self.pending_bytes = 0
        metrics.PENDING_BYTES.set(0)
        self._ended.set()

    async def probe(self) -> bool:
        """Whether any broker answers a request for metadata."""
        return await self._producer.client.force_metadata_update()

    async def close(self) -> None:
        """Ends the session if it still lives, and frees what it holds. Returns when nothing more can be written."""
        self.fail("the session is over")
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        await give_up(self._producer)

    async def _send_ready(self) -> None:
        """Hands each ready partition's next batch to the producer; those handed over in one go share a request."""
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._ready:
                    await self._send(self._ready.popleft())
        except Exception as error:
            # Whatever it was, a pump that has stopped must not leave anyone waiting.
            _log.warning("A batch could not be handed to Kafka's client", exc_info=error)
            self.fail(f"{type(error).__name__}: {error}")

    async def _send(self, lane: _Lane) -> None:
        # Encoded here rather than as the lots come in: one batch after the other stays in the processor's cache.
        batch = lane.under_way = _Batch(self._producer.create_batch(), lane.waiting[0].since_s, self._clock_s())
        batch.fill(lane.waiting)
        delivery = await self._producer.send_batch(batch.builder, lane.topic, partition=lane.partition)
        delivery.add_done_callback(partial(self._settle, lane, batch))

    def _settle(self, lane: _Lane, batch: _Batch, delivery: asyncio.Future[Any]) -> None:
        """Kafka has answered for a batch, or aiokafka has lost hope."""
        error = None if delivery.cancelled() else delivery.exception()
        if self._failure is not None:
            return
        if delivery.cancelled() or error is not None:
            self.fail(f"{type(error).__name__}: {error}")
            return
        metrics.BATCH_EVENTS.observe(batch.builder.record_count())
        metrics.ACK_SECONDS.observe(self._clock_s() - batch.sent_s)
        self.pending_bytes -= batch.pending_bytes
        metrics.PENDING_BYTES.set(self.pending_bytes)
        lane.under_way = None
        if lane.waiting:
            self._ready.append(lane)
            self._wake.set()
        for receipt in batch.receipts:
            receipt.acknowledge()


def _size(key: bytes, values: Sequence[bytes]) -> int:
    """What these records hold in memory while they wait, in bytes."""
    return sum(map(len, values)) + (len(key) + _OVERHEAD_BYTES) * len(values)
