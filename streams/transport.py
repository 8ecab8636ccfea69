"""How does Faust hand an agent a whole partition batch at once?

Stock Faust wraps every record in a message, a task and two futures. This transport, registered under the entry-point
group `faust.transports` as `iocbatch`, hands over one message for each fetched partition batch; its value is a
`Batch`. An acknowledgement counts only when the batch says that the database has committed it, so no path through
Faust (a handler that raises, a batch skipped in a rebalance) can acknowledge what was not counted.

Source: faust-streaming 0.15.3, transport/consumer.py and transport/drivers/aiokafka.py.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any, cast

import aiokafka
from aiokafka.errors import KafkaError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.transports import TPorTopicSet
from mode import Service
from mode.utils.futures import notify

from streams.core.batch import Batch

FETCH_WAIT_MS = 20
"""How long the broker holds a fetch that finds nothing. One fetch per broker is under way, so a partition that is
wanted again waits at most this long for it; the driver's own 1,500 ms would be felt at the board."""

POLL_S = 1.0


class _ConsumerThread(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # The driver hard-codes this one; it is read when the consumer starts.
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer


class Consumer(driver.Consumer):
    """Drains the fetcher by partition batch, and commits what the database holds."""

    def _new_consumer_thread(self) -> _ConsumerThread:
        return _ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Service) -> None:
        stopped = cast("asyncio.Event", self._stopped).is_set
        fetcher_stopped = fetcher._stopped.is_set
        try:
            while not (stopped() or fetcher_stopped()):
                await asyncio.sleep(0)
                records, active = await self._wait_next_records(POLL_S)
                if self.should_stop or records is None:
                    return
                if not self.flow_active:
                    # A fetch that ends while partitions change hands is void: start again from what is committed.
                    # No partition may be ours just now; whoever resumes the flow seeks again.
                    with contextlib.suppress(KafkaError, AssertionError):
                        await self.perform_seek()
                    continue
                await self._deliver(records, active)
        except self.consumer_stopped_errors:
            if not self.app.should_stop:
                raise
        except asyncio.CancelledError:
            if not self.app.should_stop:
                raise

    async def _deliver(self, records: dict[TP, list[Any]], active: set[TP] | None) -> None:
        generation = self.app.consumer_generation_id
        for tp, batch in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            expected = self._read_offset[tp]
            if expected is not None and batch[0].offset < expected:
                batch = [record for record in batch if record.offset >= expected]
            if not batch:
                continue
            log_end = self.highwater(tp) or batch[-1].offset + 1
            message = self._batch_message(tp, Batch(tp.topic, tp.partition, batch, log_end))
            # Once a batch: a rebalance must be able to take back what waits for a full queue.
            await self.wait_first(self.callback(message), self.suspend_flow.wait())
            if self.flow_active:
                self._read_offset[tp] = batch[-1].offset + 1

    def _batch_message(self, tp: TP, batch: Batch) -> Message:
        last = batch.records[-1]
        return driver.ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            0,
            None,
            None,
            cast("bytes", batch),
            None,
            0,
            0,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    def ack(self, message: Message) -> bool:
        """Notes that a batch is done, if the database has committed it; any other acknowledgement is ignored."""
        batch = cast("Batch", message.value)
        if not batch.committed or message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        self._acked[message.tp].append(batch.next_offset)
        self._n_acked += 1
        notify(self._waiting_for_ack)
        return True

    def _new_offset(self, tp: TP) -> int | None:
        # A lane commits its batches in order, so the newest covers all before it.
        done = self._acked.pop(tp, None)
        return max(done) if done else None

    def _filter_tps_with_pending_acks(self, topics: TPorTopicSet | None = None) -> Iterator[TP]:
        # A copy, because `_new_offset` takes out of what this walks over.
        return iter(list(super()._filter_tps_with_pending_acks(topics)))

    async def verify_all_partitions_active(self) -> None:
        """Does nothing: Faust's livelock detector counts messages; our liveness looks at lag."""


class Transport(driver.Transport):
    """`iocbatch://host:port`, the driver's transport with the batch consumer."""

    Consumer = Consumer
