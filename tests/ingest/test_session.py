"""Do records keep their order, and does everyone who waits learn the truth, whatever Kafka's client does?"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from ingest.gateway.body import BodyReader, SenderGone
from ingest.gateway.placement import Placement
from ingest.gateway.session import Session
from schemas.errors import DependencyUnavailable, InvalidBody
from schemas.topics import DETECTIONS, INPUTS, Topic

BATCH_RECORDS = 3


class Lot(Struct, frozen=True):
    """Events as the session sees them."""

    key: bytes
    values: list[bytes]
    topic: Topic = DETECTIONS


class FakeBatch:
    """A batch that is full after BATCH_RECORDS records."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def extend(
        self, key: bytes, values: Sequence[bytes], *, timestamp_ms: int, headers: list[tuple[str, bytes]]
    ) -> int:
        fitting = values[: BATCH_RECORDS - len(self.values)]
        self.values += fitting
        return len(fitting)

    def close(self) -> None: ...

    def record_count(self) -> int:
        return len(self.values)


class FakeClient:
    """A cluster that answers."""

    def force_metadata_update(self) -> asyncio.Future[bool]:
        answered = asyncio.get_running_loop().create_future()
        answered.set_result(True)
        return answered


class FakeProducer:
    """Holds what is sent until the test acknowledges it."""

    def __init__(self, partitions: int = DETECTIONS.partitions) -> None:
        self.client = FakeClient()
        self.partitions = partitions
        self.log: dict[tuple[str, int], list[bytes]] = defaultdict(list)
        self.under_way: list[tuple[tuple[str, int], FakeBatch, asyncio.Future[Any]]] = []
        self.refuse: Exception | None = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def partitions_for(self, topic: str) -> set[int]:
        return set(range(self.partitions))

    def create_batch(self) -> FakeBatch:
        return FakeBatch()

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> asyncio.Future[Any]:
        if self.refuse is not None:
            raise self.refuse
        delivery = asyncio.get_running_loop().create_future()
        self.under_way.append(((topic, partition), batch, delivery))
        return delivery

    async def acknowledge_all(self) -> int:
        """Acknowledges until nothing is under way; returns the number of rounds."""
        rounds = 0
        await settle()
        while self.under_way:
            rounds += 1
            batches, self.under_way = self.under_way, []
            places = [place for place, _, _ in batches]
            assert len(places) == len(set(places)), "one batch of a partition at a time"
            for place, batch, delivery in batches:
                self.log[place] += batch.values
                delivery.set_result(None)
            await settle()
        return rounds


async def settle() -> None:
    """Lets callbacks and the pump run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def opened(producer: FakeProducer, pending_bytes_max: int = 1_000_000) -> Session:
    session = Session(
        producer,
        INPUTS,
        topic_prefix="p.",
        placement=Placement(),
        pending_bytes_max=pending_bytes_max,
        clock_s=lambda: 0.0,
    )
    await session.open()
    return session


async def test_records_of_a_key_keep_their_order_over_full_batches() -> None:
    producer = FakeProducer()
    session = await opened(producer)
    sent = [b"%d" % n for n in range(20)]
    first = session.append([Lot(b"k", sent[:4]), Lot(b"k", sent[4:11])], 0)
    await settle()
    second = session.append([Lot(b"k", [v]) for v in sent[11:]], 0)
    assert not first.done()
    # What came while a batch was under way filled the batches behind it.
    assert await producer.acknowledge_all() == 7
    await asyncio.gather(first, second)
    (values,) = producer.log.values()
    assert values == sent
    assert session.pending_bytes == 0
    assert session.oldest_s() is None


async def test_a_request_waits_for_all_its_partitions() -> None:
    producer = FakeProducer()
    session = await opened(producer)
    done = session.append([Lot(b"k%d" % n, [b"v"]) for n in range(8)], 0)
    await settle()
    _, _, first = producer.under_way.pop(0)
    first.set_result(None)
    await settle()
    assert producer.under_way
    assert not done.done()
    await producer.acknowledge_all()
    assert done.done()


async def test_one_failed_batch_ends_the_session_for_everyone() -> None:
    producer = FakeProducer()
    session = await opened(producer)
    waiting = [session.append([Lot(b"k%d" % n, [b"v"])], 0) for n in range(8)]
    await settle()
    producer.under_way[0][2].set_exception(MessageSizeTooLargeError())
    await settle()
    for one in waiting:
        with pytest.raises(DependencyUnavailable):
            await one
    assert session.failure is not None
    await session.wait_ended()
    with pytest.raises(DependencyUnavailable):
        session.append([Lot(b"k", [b"v"])], 0)
    # Answers that come late change nothing.
    for _, _, delivery in producer.under_way[1:]:
        delivery.set_result(None)
    await settle()
    assert session.pending_bytes == 0


async def test_a_client_that_raises_leaves_nobody_waiting() -> None:
    producer = FakeProducer()
    session = await opened(producer)
    producer.refuse = RuntimeError("unforeseen")
    with pytest.raises(DependencyUnavailable, match="unforeseen"):
        await session.append([Lot(b"k", [b"v"])], 0)


async def test_the_pending_bound_refuses_the_whole_request() -> None:
    producer = FakeProducer()
    session = await opened(producer, pending_bytes_max=300)
    kept = session.append([Lot(b"k", [b"v" * 100])], 0)
    with pytest.raises(DependencyUnavailable):
        session.append([Lot(b"k", [b"v" * 100, b"v" * 100])], 0)
    await producer.acknowledge_all()
    await kept
    assert sum(len(values) for values in producer.log.values()) == 1


async def test_a_topic_of_another_size_is_not_written_to() -> None:
    with pytest.raises(DependencyUnavailable, match="partitions"):
        await opened(FakeProducer(partitions=3))


@given(key=st.binary(min_size=1), partitions=st.integers(min_value=1, max_value=64))
def test_placement_is_kafkas(key: bytes, partitions: int) -> None:
    every = list(range(partitions))
    placement = Placement(keys_max=1)
    assert placement.partition(key, partitions) == DefaultPartitioner()(key, every, every)
    assert placement.partition(key, partitions) == DefaultPartitioner()(key, every, every)


def test_placement_forgets_at_its_bound() -> None:
    placement = Placement(keys_max=10)
    for n in range(1_000):
        placement.partition(b"%d" % n, 8)
    assert len(placement) <= 10


@pytest.mark.parametrize(
    ("messages", "error"),
    [
        pytest.param([(b"x" * 60, True), (b"x" * 41, False)], InvalidBody, id="one byte too many"),
        pytest.param([(b"x" * 60, True), None], SenderGone, id="the sender hangs up"),
    ],
)
async def test_a_body_that_fails_gives_its_room_back(
    messages: list[tuple[bytes, bool] | None], error: type[Exception]
) -> None:
    reader = BodyReader(body_bytes_max=100, body_wait_s=30, bodies_bytes_max=1_000)
    with pytest.raises(error):
        await reader.read([], feeding(messages))
    assert reader.held_bytes == 0


async def test_a_body_at_its_bound_is_read() -> None:
    reader = BodyReader(body_bytes_max=100, body_wait_s=30, bodies_bytes_max=1_000)
    assert await reader.read([], feeding([(b"x" * 60, True), (b"y" * 40, False)])) == b"x" * 60 + b"y" * 40
    assert reader.held_bytes == 100
    reader.release(100)


def feeding(messages: list[tuple[bytes, bool] | None]) -> Any:
    """An ASGI `receive` that hands out the messages; None is a sender that hangs up."""
    waiting = iter(messages)

    async def receive() -> dict[str, Any]:
        message = next(waiting)
        if message is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": message[0], "more_body": message[1]}

    return receive
