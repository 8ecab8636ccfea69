"""Does a lane count each record once, whatever goes wrong between the log and the database?"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from schemas.codec import decode
from schemas.errors import BrokenInvariant, LogTruncated, PositionGap, TopicReplaced
from schemas.event import EVENT_TYPES
from schemas.site import Pack, parse_site
from schemas.topics import Dedupe
from schemas.window import Tier
from streams import lane as lane_module
from streams.core.batch import Batch
from streams.lane import DAYS_MAX, Counting
from streams.store.writer import Lane
from streams.versions import RegisteredPack, Versions, compiled
from tests.streams import held, naive
from tests.streams.memory import MemoryLog, MemoryWriter, answer_lost, away, works
from tests.streams.world import (
    CORRECTABLE,
    LOGGED_MS,
    PACK,
    PASSING,
    SITE,
    VERSION,
    batch,
    moments_of,
    raw,
    records_of,
    some_log,
)
from tests.streams.world import some_events as events_of

TOPIC_ID = UUID(int=1)
START = datetime(2020, 1, 1, 12, tzinfo=UTC)
LANE = Lane("t", 0)

RECEIVED = "ioc.feedback.received.v1"
OBSERVED = "ioc.indicator.observed.v1"
ALL_TYPES = frozenset(EVENT_TYPES.values())


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lane_module, "RETRY_FIRST_S", 0.001)


class World:
    """A log with some records, a database, and workers that count from the one to the other."""

    def __init__(self, dedupe: Dedupe = Dedupe.FOREVER) -> None:
        self.dedupe = dedupe
        self.writer = MemoryWriter()
        self.log = MemoryLog()
        self.log.ids[LANE.topic] = TOPIC_ID
        self.versions = Versions(VERSION)
        self.counting = self.worker()

    def worker(
        self, versions: Versions | None = None, follow_site: Callable[[], Awaitable[None]] | None = None
    ) -> Counting:
        """A worker that knows nothing yet."""
        return Counting(
            LANE,
            dedupe=self.dedupe,
            types=ALL_TYPES,
            versions=versions or self.versions,
            writer=self.writer,
            log=self.log,
            wall_clock_s=lambda: LOGGED_MS / 1000,
            follow_site=follow_site,
        )

    def some_events(self, count: int, seed: int) -> list[bytes]:
        """Events as they travel on a topic of this kind: only those that are kept can be corrected. No reports of
        periods, for those may not share a transaction.
        """
        kept = [type_ for type_ in CORRECTABLE if type_ != OBSERVED]
        return events_of(count, seed, types=kept if self.dedupe is Dedupe.FOREVER else PASSING)

    def append(self, values: Sequence[bytes | None], minutes: int = 0) -> Batch:
        """Puts records on the log, so many minutes after the first ones; they are the next batch."""
        stored = self.log.records.get(LANE, [])
        first = stored[-1].offset + 1 if stored else 0
        made = batch(values, first, *LANE, logged_ms=LOGGED_MS + minutes * 60_000)
        self.log.append(LANE, made.records)
        return made

    def check(self, counted: Sequence[bytes], next_offset: int) -> None:
        """Each of these events has counted once, and the position is there."""
        events = [decode(one) for one in counted]
        kept = self.dedupe is Dedupe.FOREVER
        events = naive.countable(events) if kept else [event for event in events if not event.exercise]
        assert held.of_cells(self.writer.rows.cells) == held.of_amounts(naive.amounts(events, SITE))
        assert self.writer.positions[LANE][:2] == (TOPIC_ID, next_offset)


@pytest.fixture(params=list(Dedupe), ids=str)
def world(request: pytest.FixtureRequest) -> World:
    """Each law holds for both ways of dedupe."""
    return World(request.param)


async def test_batches_count_in_order(world: World) -> None:
    # Among these none comes late and is corrected in the same batch, which would go in parts.
    values = world.some_events(60, seed=6)
    for begin in range(0, 60, 20):
        await world.counting.count(world.append(values[begin : begin + 20]))
    world.check(values, 60)
    assert world.writer.commits == 3


async def test_what_was_counted_is_skipped(world: World) -> None:
    values = world.some_events(60, seed=23)
    first, second = world.append(values[:30]), world.append(values[30:])
    await world.counting.count(first)
    await world.counting.count(first)
    await world.counting.count(batch(values[10:50], 10, *LANE))
    await world.counting.count(second)
    world.check(values, 60)
    assert world.writer.commits == 3


async def test_a_worker_that_takes_over_goes_on(world: World) -> None:
    values = world.some_events(40, seed=3)
    first, second = world.append(values[:20]), world.append(values[20:])
    await world.counting.count(first)
    other = world.worker()
    await other.count(first)
    await other.count(second)
    world.check(values, 40)


async def test_a_zombie_finds_the_position_moved_and_adds_nothing(world: World) -> None:
    values = world.some_events(60, seed=4)
    batches = [world.append(values[begin : begin + 20]) for begin in range(0, 60, 20)]
    zombie, other = world.counting, world.worker()
    await zombie.count(batches[0])
    await other.count(batches[1])
    await zombie.count(batches[1])
    world.check(values[:40], 40)
    # It has read the position anew, and is as good as the other.
    await zombie.count(batches[2])
    await other.count(batches[2])
    world.check(values, 60)


async def test_a_lane_that_was_away_and_came_back_goes_on_where_the_other_left_off(world: World) -> None:
    values = world.some_events(60, seed=4)
    batches = [world.append(values[begin : begin + 20]) for begin in range(0, 60, 20)]
    other = world.worker()
    await world.counting.count(batches[0])
    await other.count(batches[1])
    # What lies between is counted, only not by this worker.
    await world.counting.count(batches[2])
    await world.counting.count(world.append(values[30:]))
    world.check(values, 90)


async def test_two_workers_that_believe_to_own_a_lane(world: World) -> None:
    values = world.some_events(100, seed=5)
    batches = [world.append(values[begin : begin + 10]) for begin in range(0, 100, 10)]

    async def count_all(worker: Counting) -> None:
        for one in batches:
            await worker.count(one)

    await asyncio.gather(*(count_all(world.worker()) for _ in range(3)))
    world.check(values, 100)


async def test_a_commit_whose_answer_was_lost_counts_once(world: World) -> None:
    values = world.some_events(40, seed=6)
    first, second = world.append(values[:20]), world.append(values[20:])
    world.writer.trouble.extend([works, answer_lost])
    await world.counting.count(first)
    world.check(values[:20], 20)
    assert world.writer.commits == 1
    await world.counting.count(second)
    world.check(values, 40)


@pytest.mark.parametrize("failures", [1, 3, 8])
async def test_a_database_that_is_away_costs_time_only(world: World, failures: int) -> None:
    values = world.some_events(20, seed=7)
    # At the take-over, at the commit, and an answer lost in between.
    world.writer.trouble.extend([away()] * failures + [works] + [away()] * failures + [answer_lost])
    await world.counting.count(world.append(values))
    world.check(values, 20)
    assert not world.writer.trouble


async def test_a_kafka_that_is_away_costs_time_only(world: World) -> None:
    values = world.some_events(20, seed=8)
    world.log.trouble.extend([away("kafka")] * 5)
    await world.counting.count(world.append([*values[:10], b"bad", *values[10:]]))
    world.check(values, 21)


async def test_a_topic_that_is_not_there_yet_is_waited_for(world: World) -> None:
    values = world.some_events(5, seed=9)
    made = world.append(values)
    del world.log.ids[LANE.topic]
    counting = asyncio.create_task(world.counting.count(made))
    await asyncio.sleep(0.01)
    assert not counting.done()
    world.log.ids[LANE.topic] = TOPIC_ID
    await counting
    world.check(values, 5)


async def halts(world: World, made: Batch, error: type[BrokenInvariant], worker: Counting | None = None) -> str:
    """The worker must stop, and must not have changed anything."""
    before = (dict(world.writer.positions), world.writer.commits)
    with pytest.raises(error) as reason:
        await (worker or world.counting).count(made)
    assert (dict(world.writer.positions), world.writer.commits) == before
    assert LANE.topic in str(reason.value)
    return str(reason.value)


async def test_a_gap_halts(world: World) -> None:
    values = world.some_events(30, seed=10)
    await world.counting.count(world.append(values[:10]))
    world.append(values[10:20])
    following = world.append(values[20:])
    del world.log.records[LANE][10:15]
    said = await halts(world, following, PositionGap)
    assert "10 are missing" in said


async def test_what_was_left_out_is_read_from_the_log(world: World) -> None:
    values = world.some_events(40, seed=17)
    await world.counting.count(world.append(values[:10]))
    world.append(values[10:30])
    # The broker goes away in the middle of it, and comes back.
    world.log.trouble.extend([works, away("kafka")])
    await world.counting.count(world.append(values[30:]))
    world.check(values, 40)


async def test_a_log_that_begins_beyond_nothing_counted_halts(world: World) -> None:
    made = batch(world.some_events(5, seed=11), 7, *LANE)
    world.log.append(LANE, made.records)
    await world.writer.position(LANE, TOPIC_ID)
    await halts(world, made, PositionGap)


@pytest.mark.parametrize("fresh_worker", [False, True], ids=["running", "restarted"])
async def test_a_log_that_was_cut_halts(world: World, fresh_worker: bool) -> None:
    values = world.some_events(20, seed=12)
    await world.counting.count(world.append(values))
    world.log.records[LANE] = []
    made = world.append(world.some_events(5, seed=13))
    worker = world.worker() if fresh_worker else world.counting
    said = await halts(world, made, LogTruncated, worker)
    assert "ends at 5, but 20 records" in said


@pytest.mark.parametrize("fresh_worker", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("refilled", [5, 20, 50], ids=["below the position", "up to it", "beyond it"])
async def test_a_topic_that_was_made_anew_halts(world: World, fresh_worker: bool, refilled: int) -> None:
    await world.counting.count(world.append(world.some_events(20, seed=14)))
    world.log.ids[LANE.topic] = UUID(int=2)
    world.log.records[LANE] = []
    made = world.append(world.some_events(refilled, seed=15))
    await halts(world, made, TopicReplaced, world.worker() if fresh_worker else world.counting)


async def test_a_fold_that_fails_is_not_tried_again(world: World) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError

    worker = world.worker(Versions(VERSION._replace(fold=fails)))  # type: ignore[arg-type]
    with pytest.raises(ZeroDivisionError):
        await worker.count(world.append(world.some_events(3, seed=16)))
    assert world.writer.commits == 0


async def test_dead_letters_are_buried_before_the_commit(world: World) -> None:
    values = world.some_events(10, seed=17)
    made = world.append([b"bad", *values, None])
    world.writer.trouble.append(works)
    world.writer.trouble.append(lambda: buried_first(world))
    await world.counting.count(made)
    world.check(values, 12)
    assert [letter.offset for letter in world.log.dead] == [0, 11]


def buried_first(world: World) -> None:
    """To be met by the commit."""
    assert len(world.log.dead) == 2


async def test_a_batch_of_dead_letters_advances_the_position(world: World) -> None:
    await world.counting.count(world.append([b"bad", b"worse"]))
    world.check([], 2)
    assert len(world.log.dead) == 2


async def test_a_crash_after_the_burial_buries_again_under_the_same_key(world: World) -> None:
    made = world.append([b"bad"])
    world.writer.trouble.extend([works, lambda: (_ for _ in ()).throw(SystemExit)])
    with pytest.raises(SystemExit):
        await world.counting.count(made)
    await world.worker().count(made)
    assert [(letter.partition, letter.offset) for letter in world.log.dead] == [(0, 0), (0, 0)]
    world.check([], 1)


class TestResends:
    """An event that comes again as another record."""

    async def test_within_a_batch(self, world: World) -> None:
        values = world.some_events(20, seed=18)
        await world.counting.count(world.append(values + values))
        world.check(values, 40)

    async def test_in_a_later_batch(self, world: World) -> None:
        values = world.some_events(20, seed=19)
        await world.counting.count(world.append(values))
        await world.counting.count(world.append(values[::-1]))
        world.check(values, 40)

    async def test_after_another_worker_took_over(self, world: World) -> None:
        values = world.some_events(20, seed=20)
        await world.counting.count(world.append(values[:15]))
        await world.worker().count(world.append(values[5:]))
        world.check(values, 30)

    async def test_behind_a_dead_letter_in_the_tail(self, world: World) -> None:
        values = world.some_events(20, seed=21)
        await world.counting.count(world.append([*values[:10], b"bad"]))
        await world.worker().count(world.append([b"bad", *values]))
        world.check(values, 32)

    async def test_after_a_commit_whose_answer_was_lost(self, world: World) -> None:
        values = world.some_events(20, seed=22)
        world.writer.trouble.extend([works, answer_lost])
        await world.counting.count(world.append(values))
        await world.counting.count(world.append(values))
        world.check(values, 40)

    async def test_beyond_the_horizon_only_the_table_knows(self, world: World) -> None:
        one, other = raw(id="1"), raw(id="2")
        await world.counting.count(world.append([one]))
        await world.counting.count(world.append([other], minutes=36))
        await world.counting.count(world.append([one, other], minutes=40))
        days = world.writer.rows.cells[Tier.DAY]
        (counted,) = [cell[0] for key, cell in days.items() if key[:2] == ("objects", "00")]
        assert counted == (2 if world.dedupe is Dedupe.FOREVER else 3)

    async def test_who_took_over_forgets_what_the_other_would_have(self) -> None:
        world = World(Dedupe.HORIZON)
        numbers = [raw(id=str(number)) for number in range(4)]
        for minutes, values in ((0, numbers[:2]), (20, numbers[1:3]), (40, numbers[3:])):
            await world.counting.count(world.append(values, minutes))
        other = world.worker()
        await other.count(world.append(numbers, minutes=41))
        world.check([*numbers, numbers[0]], 9)


def on_day(number: int) -> bytes:
    """An event on a day of its own."""
    return raw(id=str(number), time=(START + timedelta(days=number)).isoformat())


class TestManyDays:
    """Events of many days make many chunks, and each new chunk takes locks by the dozen."""

    async def test_one_batch_of_many_days_goes_in_several_transactions(self, world: World) -> None:
        values = [
            raw(id=str(number), time=(START + timedelta(days=number)).isoformat())
            for number in range(3 * DAYS_MAX + 1)
        ]
        await world.counting.count(world.append(values))
        world.check(values, len(values))
        assert world.writer.commits == 4

    async def test_an_answer_lost_between_two_parts_counts_once(self, world: World) -> None:
        values = [on_day(number) for number in range(2 * DAYS_MAX)]
        world.writer.trouble.extend([works, works, answer_lost])
        await world.counting.count(world.append(values))
        world.check(values, len(values))


async def watermark_of(world: World) -> float:
    """Where the lane stands."""
    return (await world.writer.position(LANE, TOPIC_ID)).watermark_s


class TestWatermark:
    """What closes buckets is kept with the position."""

    @pytest.mark.parametrize("seed", range(6))
    async def test_first_values_do_not_depend_on_batches_workers_and_lost_answers(self, seed: int) -> None:
        log = some_log(60, seed)
        world = World()
        world.log.append(LANE, records_of(log))
        rng = random.Random(seed)
        begin = 0
        while begin < len(log):
            end = min(len(log), begin + rng.randrange(1, 25))
            if rng.randrange(3) == 0:
                world.writer.trouble.extend([works, answer_lost])
            if rng.randrange(3) == 0:
                world.counting = world.worker()
            await world.counting.count(Batch(*LANE, records_of(log)[begin:end], len(log)))
            begin = end
        world.check([one.value for one in log], len(log))
        first = naive.first_reported(moments_of(log), SITE)
        assert held.of_cells(world.writer.rows.first) == held.of_amounts(first)
        records = records_of(log)
        assert await watermark_of(world) == VERSION.reader.read(*LANE, records).watermark_s

    async def test_a_part_of_a_batch_leaves_it_where_the_next_part_begins(self, world: World) -> None:
        # Each of many days, so that the batch goes in parts; the answer to the first is lost, and another takes over.
        values = [on_day(number) for number in range(DAYS_MAX + 5)]
        world.writer.trouble.extend([works, works, lambda: (_ for _ in ()).throw(SystemExit)])
        made = world.append(values)
        with pytest.raises(SystemExit):
            await world.counting.count(made)
        assert world.writer.positions[LANE].next_offset == DAYS_MAX
        assert await watermark_of(world) == VERSION.reader.read(*LANE, made.records[:DAYS_MAX]).watermark_s
        await world.worker().count(made)
        world.check(values, len(values))


def other_pack() -> Pack:
    """A pack that counts by phone only what concerns roads."""
    kpis = PACK["kpis.toml"]
    other = kpis.replace('where = { channel = "phone" }', 'where = { channel = "phone", category = "road" }')
    assert other != kpis
    return PACK | {"kpis.toml": other}


class TestVersions:
    """The site pack changes while the centre runs."""

    def counted(self, world: World) -> int:
        """Reports by phone."""
        days = world.writer.rows.cells[Tier.DAY]
        return sum(cell[0] for key, cell in days.items() if key[:2] == ("received_by_phone", "00"))

    def phone(self, *ids: str, **given_: str) -> list[bytes]:
        """Reports of noise by phone."""
        return [raw(RECEIVED, id=id_, data={"channel": "phone", "category": "noise"}, **given_) for id_ in ids]

    def world(self) -> World:
        """Version 1 counts, and the database has a second one."""
        world = World()
        world.writer.sites = {1: RegisteredPack(1, PACK), 2: RegisteredPack(2, other_pack())}
        world.versions.add(compiled(1, SITE))
        return world

    async def test_a_lane_switches_at_a_batch_and_the_offset_is_kept(self) -> None:
        world = self.world()
        await world.counting.count(world.append(self.phone("1", "2")))
        world.versions.add(compiled(2, parse_site(other_pack())))
        await world.counting.count(world.append(self.phone("3", "4", "5")))
        await world.counting.count(world.append(self.phone("6")))
        assert self.counted(world) == 2
        assert world.writer.switches == {(LANE, 1): 0, (LANE, 2): 2}
        assert world.writer.positions[LANE].site_version == 2

    async def test_a_map_that_the_door_knows_already_is_taken_up_before_a_report_is_buried(self) -> None:
        world = self.world()
        redrawn = parse_site(PACK | {"areas.csv": PACK["areas.csv"] + "\n,0103,01,commune,Xã Năm,Commune Five,"})

        async def follow_site() -> None:
            world.versions.add(compiled(2, redrawn))

        counting = world.worker(follow_site=follow_site)
        await counting.count(world.append(self.phone("1")))
        await counting.count(world.append([*self.phone("2", area="0103"), *self.phone("3", area="nowhere")]))
        assert self.counted(world) == 2
        assert world.writer.switches == {(LANE, 1): 0, (LANE, 2): 1}
        assert [letter.offset for letter in world.log.dead] == [2]

    async def test_who_takes_over_counts_by_the_newer_version_that_the_lane_has_had(self) -> None:
        world = self.world()
        newer = Versions(compiled(2, parse_site(other_pack())))
        await world.worker(newer).count(world.append(self.phone("1")))
        # This worker has not heard of version 2 yet.
        assert world.versions.newest.number == 1
        await world.counting.count(world.append(self.phone("2")))
        assert self.counted(world) == 0
        assert world.versions.newest.number == 2

    async def test_a_zombie_does_not_take_a_lane_back_to_an_older_version(self) -> None:
        world = self.world()
        await world.counting.count(world.append(self.phone("1")))
        newer = Versions(compiled(2, parse_site(other_pack())))
        made = world.append(self.phone("2"))
        await world.worker(newer).count(made)
        await world.counting.count(made)
        await world.counting.count(world.append(self.phone("3")))
        assert self.counted(world) == 1
        assert world.writer.switches == {(LANE, 1): 0, (LANE, 2): 1}

    async def test_what_an_older_version_counted_is_taken_away_by_it(self) -> None:
        world = self.world()
        await world.counting.count(world.append(self.phone("1", "2")))
        world.versions.add(compiled(2, parse_site(other_pack())))
        await world.counting.count(world.append(self.phone("3", supersedes="1")))
        assert self.counted(world) == 1
