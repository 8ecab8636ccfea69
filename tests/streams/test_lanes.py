"""Do lanes keep out of each other's way, and give up what another worker has now?"""

import asyncio
import gc
import weakref
from collections.abc import Callable
from uuid import UUID

import pytest

from schemas.errors import TopicReplaced
from schemas.event import EVENT_TYPES, AreaId
from schemas.topics import Dedupe
from schemas.window import Tier
from streams import lane as lane_module
from streams.core.batch import Batch
from streams.lane import Counting
from streams.lanes import QUEUED_MAX, Lanes
from streams.store.writer import Lane, Position
from streams.versions import Versions
from tests.streams.memory import MemoryLog, MemoryWriter, away
from tests.streams.world import LOGGED_MS, PASSING, SITE, VERSION, batch, raw, some_events

TOPIC_ID = UUID(int=1)
ONE, TWO = Lane("t", 1), Lane("t", 2)

ALL_TYPES = frozenset(EVENT_TYPES.values())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "RETRY_FIRST_S", 0.001)
    monkeypatch.setattr(lane_module, "RETRY_MAX_S", 0.01)


async def until(condition: Callable[[], bool]) -> None:
    """Waits for what other tasks bring about."""
    async with asyncio.timeout(10):
        while True:
            if condition():
                return
            await asyncio.sleep(0.001)


class World:
    """Lanes over the fakes, what they were told to halt for, and what they have acknowledged."""

    def __init__(self, ids_max: int = 1_000) -> None:
        self.writer = MemoryWriter()
        self.log = MemoryLog()
        self.log.ids["t"] = TOPIC_ID
        self.halted: list[BaseException] = []
        self.acknowledged: list[tuple[Lane, int]] = []
        self.lanes = Lanes(self._open, self.halted.append, ids_max)

    def _open(self, lane: Lane) -> Counting:
        return Counting(
            lane,
            dedupe=Dedupe.HORIZON,
            types=ALL_TYPES,
            versions=Versions(VERSION),
            writer=self.writer,
            log=self.log,
            wall_clock_s=lambda: LOGGED_MS / 1000,
        )

    async def submit(self, made: Batch) -> None:
        """Puts records on the log, and hands them on."""
        lane = Lane(made.topic, made.partition)
        self.log.append(lane, made.records)

        def done() -> None:
            assert made.committed
            self.acknowledged.append((lane, made.next_offset))

        await self.lanes.submit(made, done)

    async def until(self, *positions: tuple[Lane, int]) -> None:
        """Waits until the lanes stand there."""
        await until(lambda: all(self.writer.positions.get(lane, ())[:2] == (TOPIC_ID, at) for lane, at in positions))


async def test_batches_of_a_lane_count_in_order_and_are_acknowledged_after_it() -> None:
    world = World()
    for first in range(0, 100, 10):
        await world.submit(batch(some_events(10, seed=first, types=PASSING), first, *ONE))
        await world.submit(batch(some_events(10, seed=first, types=PASSING), first, *TWO))
    await world.until((ONE, 100), (TWO, 100))
    await asyncio.sleep(0)
    for lane in (ONE, TWO):
        assert [offset for one, offset in world.acknowledged if one == lane] == list(range(10, 110, 10))
    await world.lanes.close()
    assert world.halted == []


async def test_a_full_lane_keeps_its_agent_waiting() -> None:
    world = World()
    world.writer.trouble.extend([away()] * 10_000)
    for number in range(QUEUED_MAX):
        await world.submit(batch([raw(id=str(number))], number, *ONE))
    waiting = asyncio.create_task(world.submit(batch([raw(id="x")], QUEUED_MAX, *ONE)))
    await asyncio.sleep(0.05)
    assert world.acknowledged == []
    world.writer.trouble.clear()
    await waiting
    await world.until((ONE, QUEUED_MAX + 1))
    await world.lanes.close()


async def test_a_lane_that_is_taken_away_lets_its_agent_go_on() -> None:
    world = World()
    world.writer.trouble.extend([away()] * 100_000)
    for number in range(QUEUED_MAX):
        await world.submit(batch([raw(id=str(number))], number, *ONE))
    waiting = asyncio.create_task(world.submit(batch([raw(id="x")], QUEUED_MAX, *ONE)))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    world.lanes.assign([TWO])
    async with asyncio.timeout(5):
        await waiting
    world.writer.trouble.clear()
    await world.submit(batch([raw(id="y")], 0, *TWO))
    await world.until((TWO, 1))
    assert world.acknowledged == [(TWO, 1)]
    await world.lanes.close()


async def test_a_lane_that_comes_back_begins_anew() -> None:
    world = World()
    await world.submit(batch([raw(id="1")], 0, *ONE))
    await world.until((ONE, 1))
    world.lanes.assign([])
    world.lanes.assign([ONE])
    await world.submit(batch([raw(id="1"), raw(id="2")], 1, *ONE))
    await world.until((ONE, 3))
    objects = [cell[0] for key, cell in world.writer.rows.cells[Tier.DAY].items() if key[0] == "objects"]
    assert objects == [2] * len(SITE.areas.path(AreaId("0101")))
    await world.lanes.close()


class ClosingLog(MemoryLog):
    """One whose connection takes its time to close, and is known to nobody but who closes it."""

    closing: "weakref.ref[asyncio.Future[None]] | None" = None

    async def topic_id(self, topic: str) -> UUID | None:
        """Never answers."""
        try:
            return await asyncio.Future[UUID]()
        finally:
            closed = asyncio.Future[None]()
            self.closing = weakref.ref(closed)
            await closed


async def test_a_lane_that_is_taken_away_may_close_its_connections_in_peace() -> None:
    world = World()
    world.log = log = ClosingLog()
    world.lanes.assign([ONE])
    await asyncio.sleep(0.01)
    world.lanes.assign([])
    await until(lambda: log.closing is not None)
    gc.collect()
    assert log.closing is not None
    closed = log.closing()
    assert closed is not None
    closed.set_result(None)
    await world.lanes.close()
    assert world.halted == []


async def test_a_topic_made_anew_is_heard_of_though_nothing_comes() -> None:
    world = World()
    world.writer.positions[ONE] = Position(UUID(int=9), 5)
    world.lanes.assign([ONE])
    await until(lambda: bool(world.halted))
    assert [type(error) for error in world.halted] == [TopicReplaced]
    await world.lanes.close()


async def test_the_bound_on_ids_forgets_the_oldest_of_the_fullest_lane() -> None:
    world = World(ids_max=25)
    minutes_ms = 6 * 60_000
    for turn in range(3):
        values = [raw(id=f"{turn}-{number}") for number in range(10)]
        await world.submit(batch(values, turn * 10, *ONE, logged_ms=LOGGED_MS + turn * minutes_ms))
        await world.until((ONE, (turn + 1) * 10))
        await asyncio.sleep(0.01)
    (runner,) = world.lanes._runners.values()
    assert len(runner.counting.seen) == 20
    assert world.halted == []
    await world.lanes.close()
