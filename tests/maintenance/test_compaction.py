"""Do merged rows say what the rows said, whoever counts meanwhile, and is only merged what has closed?"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from schemas.window import TIERS, Tier
from streams.maintenance.compaction import COMPACT_AFTER_S, compact
from streams.maintenance.timer import Timer, claimed
from streams.repair.history import REPAIR
from streams.store.cells import MERGED_SHARD, Connection, write_cells
from streams.store.timescale import FENCE
from streams.store.writer import Lane
from tests.maintenance.tables import BEGIN, KEPT, LATER_S, PASSING, Tables, some_rows, topic_of, truth
from tests.streams import held
from tests.streams.world import VERSION, arrival, arrivals_of, raw, some_events

DETECTIONS = PASSING[0]
COLUMNS = (
    "kpi area bucket dim bin shard n total low high sketch "
    "first_n first_total first_low first_high first_sketch corrected_at"
)
STEP = {Tier.MINUTE: timedelta(minutes=5), Tier.HOUR: timedelta(hours=2), Tier.DAY: timedelta(days=1)}
MINUTE = BEGIN + timedelta(hours=9)


async def put(tables: Tables, tier: Tier, rows: list[tuple[object, ...]]) -> None:
    """Puts rows into a tier, as they are."""
    await tables.connection.copy_records_to_table(
        f"kpi_{tier.value}",
        records=rows,
        columns=COLUMNS.split(),
    )


async def shards(tables: Tables, tier: Tier, kpi: str) -> set[int]:
    """The shards in which a KPI has rows."""
    return {row["shard"] for row in await tables.rows(tier) if row["kpi"] == kpi}


@pytest.mark.parametrize("tier", TIERS)
async def test_a_merged_row_says_what_its_rows_said(tables: Tables, tier: Tier) -> None:
    async with tables.writer() as writer:
        await tables.close(writer, range(8), datetime(2027, 7, 1, tzinfo=UTC).timestamp())
    await put(tables, tier, some_rows(random.Random(tier), STEP[tier], 300))
    before = (await tables.buckets(), await tables.buckets(first=True))
    corrected = "SELECT kpi, bucket, max(corrected_at) FROM kpi_tier GROUP BY kpi, bucket ORDER BY kpi, bucket"
    corrections = await tables.connection.fetch(corrected.replace("tier", tier.value))
    await tables.compact_all()
    assert (await tables.buckets(), await tables.buckets(first=True)) == before
    assert await tables.connection.fetch(corrected.replace("tier", tier.value)) == corrections
    assert await tables.most_rows() == 1


async def test_nothing_is_lost_or_counted_twice_while_lanes_count(tables: Tables) -> None:
    # Half of them meet in a few rows all the time.
    crowd = [
        raw(id=f"c{n}", source=f"s{n % 4}", time=MINUTE.isoformat(), data={"score": n % 5 / 4, "camera": f"{n}"})
        for n in range(300)
    ]
    arrivals = arrivals_of([*crowd, *some_events(300, 1, BEGIN)])
    lanes: dict[Lane, list] = {}
    for one in arrivals:
        lanes.setdefault(Lane(topic_of(one), hash(one.event.source) % 4), []).append(one)
    merging = True

    async def merge() -> int:
        steps = 0
        while merging:
            steps += await tables.compact_all()
            await asyncio.sleep(0)
        return steps

    async with tables.writer() as one, tables.writer() as other:
        await tables.close(one, range(4))

        async def count(lane: Lane) -> None:
            for at in range(0, len(lanes[lane]), 4):
                await tables.count((one, other)[lane.partition % 2], lane, lanes[lane][at : at + 4], LATER_S)

        merger = asyncio.create_task(merge())
        await asyncio.gather(*map(count, lanes))
        merging = False
        assert await merger >= 3
    passing = [a for a in arrivals if topic_of(a) in PASSING and not a.event.exercise]
    kept = [a for a in arrivals if topic_of(a) in KEPT]
    assert await tables.buckets() == truth(passing) | truth(kept)
    await tables.compact_all()
    assert await tables.buckets() == truth(passing) | truth(kept)
    assert await tables.most_rows() == 1


class Interrupted:
    """A lane's connection; something happens after each of its reads."""

    def __init__(self, connection: Connection, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self.execute = connection.execute
        self._connection = connection
        self._meanwhile = meanwhile

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        rows = await self._connection.fetch(statement, *values)
        await self._meanwhile()
        return rows


async def test_a_merge_between_a_lane_s_reading_and_its_writing(tables: Tables) -> None:
    events = [arrival(raw(id=str(n), time=MINUTE.isoformat(), data={"score": n / 4})) for n in range(4)]
    async with tables.writer() as writer:
        for partition in range(3):
            await tables.count(writer, Lane(DETECTIONS, partition), [events[partition]])
        await tables.close(writer, range(3))
        async with writer.connection() as connection, connection.transaction():
            lane: Any = Interrupted(connection, tables.compact_all)
            await write_cells(lane, [(0, VERSION.fold([events[3]]))])
        # Only the others' rows were merged.
        assert await shards(tables, Tier.MINUTE, "scores") == {MERGED_SHARD, 0}
        assert await tables.buckets() == truth(events)
        await tables.compact_all()
        assert await tables.buckets() == truth(events)


async def test_a_lane_that_wants_a_row_while_it_is_merged(tables: Tables) -> None:
    events = [arrival(raw(id=str(n), time=MINUTE.isoformat(), data={"score": n / 4})) for n in range(4)]
    async with tables.writer() as writer:
        for partition in range(3):
            await tables.count(writer, Lane(DETECTIONS, partition), [events[partition]])
        await tables.close(writer, range(3))
        await tables.make_due("compaction")
        async with writer.connection() as connection:
            async with connection.transaction(isolation="repeatable_read"):
                await compact(connection, VERSION)
                late = asyncio.create_task(tables.count(writer, Lane(DETECTIONS, 0), [events[3]], LATER_S))
                await asyncio.sleep(0.2)
                assert not late.done()
            await late
        assert await shards(tables, Tier.MINUTE, "scores") == {MERGED_SHARD, 0}
        assert await tables.buckets() == truth(events)


async def test_several_workers_merge_each_bucket_once(tables: Tables) -> None:
    arrivals = arrivals_of(some_events(100, 3, BEGIN, types=("ioc.camera.detection.v1",)))
    passing = [one for one in arrivals if not one.event.exercise]
    async with tables.writer() as writer:
        for partition in range(3):
            await tables.count(writer, Lane(DETECTIONS, partition), arrivals[partition::3])
        await tables.close(writer, range(3))

        async def merge() -> None:
            async with writer.connection() as connection:
                while await compact(connection, VERSION):
                    pass

        await tables.make_due("compaction")
        await asyncio.gather(*(merge() for _ in range(3)))
    await tables.compact_all()
    assert await tables.buckets() == truth(passing)
    assert await tables.most_rows() == 1


async def test_a_worker_that_dies_has_merged_nothing(tables: Tables) -> None:
    arrivals = [arrival(raw(id=str(n), time=MINUTE.isoformat())) for n in range(2)]
    async with tables.writer() as writer:
        for partition, one in enumerate(arrivals):
            await tables.count(writer, Lane(DETECTIONS, partition), [one])
        await tables.close(writer, range(2))
        await tables.make_due("compaction")
        async with writer.connection() as connection:
            dying = claimed(connection, Timer.COMPACTION)
            claim = await dying.__aenter__()
            assert claim is not None
            await connection.execute("DELETE FROM kpi_minute")
            await claim.rearm(60.0, "half")
            # Another worker finds it held.
            async with claimed(tables.connection, Timer.COMPACTION) as other:
                assert other is None
            connection.terminate()
    assert await shards(tables, Tier.MINUTE, "cameras") == {0, 1}
    await tables.compact_all()
    assert await shards(tables, Tier.MINUTE, "cameras") == {MERGED_SHARD}


@pytest.mark.parametrize(
    ("closed", "after_s", "merged"),
    [
        pytest.param([0, 1], COMPACT_AFTER_S + 3600, True, id="closed for long enough"),
        pytest.param([0, 1], COMPACT_AFTER_S - 60, False, id="closed only just"),
        pytest.param([0], COMPACT_AFTER_S + 3600, False, id="one partition has not come so far"),
    ],
)
async def test_only_what_has_been_closed_for_a_while(
    tables: Tables, closed: list[int], after_s: float, merged: bool
) -> None:
    async with tables.writer() as writer:
        for partition in range(2):
            one = arrival(raw(id=str(partition), time=MINUTE.isoformat()))
            await tables.count(writer, Lane(DETECTIONS, partition), [one], MINUTE.timestamp())
        await tables.close(writer, closed, MINUTE.timestamp() + after_s)
    await tables.compact_all()
    assert await shards(tables, Tier.MINUTE, "cameras") == ({MERGED_SHARD} if merged else {0, 1})
    assert await shards(tables, Tier.DAY, "cameras") == {0, 1}


async def test_what_comes_later_is_merged_again(tables: Tables) -> None:
    first = [arrival(raw(id=f"a{n}", time=MINUTE.isoformat(), data={"score": 0.5})) for n in range(3)]
    late = [arrival(raw(id=f"b{n}", time=MINUTE.isoformat(), data={"score": 1.0})) for n in range(3)]
    async with tables.writer() as writer:
        for partition, one in enumerate(first):
            await tables.count(writer, Lane(DETECTIONS, partition), [one])
        await tables.close(writer, range(3))
        await tables.compact_all()
        assert await shards(tables, Tier.MINUTE, "scores") == {MERGED_SHARD}
        closed = await tables.buckets()
        await tables.count(writer, Lane(DETECTIONS, 1), late, LATER_S)
        assert await shards(tables, Tier.MINUTE, "scores") == {MERGED_SHARD, 1}
        for _ in range(2):
            assert await tables.buckets() == truth([*first, *late])
            assert await tables.buckets(first=True) == closed
            await tables.compact_all()
        assert await shards(tables, Tier.MINUTE, "scores") == {MERGED_SHARD}
        # The camera is known to be in the bucket, and it is, though in another row.
        await tables.count(writer, Lane(DETECTIONS, 1), [arrival(raw(id="c", time=MINUTE.isoformat()))], LATER_S)
        assert await shards(tables, Tier.MINUTE, "cameras") == {MERGED_SHARD}
        assert (await tables.buckets())["minute", "cameras", "0101", "", int(MINUTE.timestamp())].different == 1


async def test_what_a_back_fill_has_counted_is_merged(tables: Tables) -> None:
    async with tables.writer() as writer:
        await tables.count(writer, Lane(DETECTIONS, 1), [arrival(raw(id="a", time=MINUTE.isoformat()))])
        await tables.close(writer, range(2))
        await tables.compact_all()
        before = await tables.buckets()
        for tier in TIERS:
            table = f"kpi_{tier.value}"
            await tables.connection.execute(
                f"""INSERT INTO {table} SELECT kpi, area, bucket, dim, bin, 1001, n, total, low, high, sketch
                    FROM {table} WHERE kpi = 'objects'"""
            )
        await tables.compact_all()
    assert await tables.most_rows() == 1
    found = await tables.buckets()
    for bucket, amount in before.items():
        times = 2 if bucket[1] == "objects" else 1
        assert (found[bucket].n, found[bucket].total) == (times * amount.n, times * amount.total)


async def test_a_correction_after_the_merge(tables: Tables) -> None:
    closed = "ioc.feedback.closed.v1"
    events = [
        arrival(
            raw(
                closed,
                id=str(n),
                time=MINUTE.isoformat(),
                data={"opened_at": (MINUTE - timedelta(seconds=900 * (n + 1))).isoformat()},
            )
        )
        for n in range(4)
    ]
    # The longest and the shortest handling time are found anew.
    taken_back = [arrival(raw(closed, id=f"w{n}", time=MINUTE.isoformat(), withdraws=str(n))) for n in (0, 3)]
    async with tables.writer() as writer:
        for partition in range(4):
            await tables.count(writer, Lane(KEPT[0], partition), [events[partition]])
        await tables.close(writer, range(4))
        await tables.compact_all()
        before = await tables.buckets()
        await tables.count(writer, Lane(KEPT[0], 2), taken_back, LATER_S)
        for _ in range(2):
            assert await tables.buckets() == truth([*events, *taken_back])
            assert await tables.buckets(first=True) == before
            await tables.compact_all()
    assert await tables.most_rows() == 1


@pytest.mark.parametrize("lock", [pytest.param(FENCE, id="a correction"), pytest.param(REPAIR, id="a repair")])
async def test_nothing_is_merged_while_buckets_are_put_right(tables: Tables, lock: int) -> None:
    async with tables.writer() as writer:
        for partition in range(2):
            one = arrival(raw(id=str(partition), time=MINUTE.isoformat()))
            await tables.count(writer, Lane(DETECTIONS, partition), [one])
        await tables.close(writer, range(2))
        async with writer.connection() as connection:
            await connection.execute("SELECT pg_advisory_lock($1)", lock)
            await tables.compact_all()
            assert await shards(tables, Tier.MINUTE, "cameras") == {0, 1}
            await connection.execute("SELECT pg_advisory_unlock($1)", lock)
    await tables.compact_all()
    assert await shards(tables, Tier.MINUTE, "cameras") == {MERGED_SHARD}


async def test_a_row_that_is_being_changed_is_left_alone(tables: Tables) -> None:
    async with tables.writer() as writer:
        for partition in range(3):
            one = arrival(raw(id=str(partition), time=MINUTE.isoformat(), data={"count": 1 + partition}))
            await tables.count(writer, Lane(DETECTIONS, partition), [one])
        await tables.close(writer, range(3))
        before: held.Buckets = await tables.buckets()
        async with writer.connection() as connection, connection.transaction():
            await connection.execute("SELECT FROM kpi_minute WHERE shard = 1 FOR UPDATE")
            await tables.compact_all()
            assert await shards(tables, Tier.MINUTE, "objects") == {MERGED_SHARD, 1}
    assert await tables.buckets() == before


async def test_it_says_how_far_it_has_come(tables: Tables) -> None:
    async with tables.writer() as writer:
        for partition in range(2):
            one = arrival(raw(id=str(partition), time=MINUTE.isoformat()))
            await tables.count(writer, Lane(DETECTIONS, partition), [one])
        await tables.close(writer, range(2))
    await tables.compact_all()
    row = await tables.connection.fetchrow("SELECT *, due_at - ran_at AS pause FROM timer WHERE name = 'compaction'")
    assert row is not None
    assert row["outcome"].startswith("merged ")
    assert timedelta(seconds=59) < row["pause"] < timedelta(seconds=61)
    reached = await tables.connection.fetchval("SELECT min(compacted_until) FROM compaction WHERE tier = 'minute'")
    assert datetime.fromtimestamp(LATER_S, UTC) - reached < timedelta(hours=2)


async def test_what_drills_have_counted_is_merged_too(tables: Tables) -> None:
    score = [arrival(raw(id=f"{n}", time=MINUTE.isoformat(), data={"score": n / 4})) for n in range(3)]
    played = [
        arrival(raw(id=f"d{n}", time=MINUTE.isoformat(), exercise=True, data={"score": n / 4, "camera": f"{n}"}))
        for n in range(3)
    ]
    async with tables.writer() as writer:
        for partition in range(3):
            await tables.count(writer, Lane(DETECTIONS, partition), [score[partition], played[partition]])
        await tables.close(writer, range(3))
        before = await tables.buckets()
        # One that is a sum and one that is a sketch.
        for kpi in ("drill:scores", "drill:cameras"):
            assert await shards(tables, Tier.MINUTE, kpi) == {0, 1, 2}
        await tables.compact_all()
        for kpi in ("scores", "cameras", "drill:scores", "drill:cameras"):
            assert await shards(tables, Tier.MINUTE, kpi) == {MERGED_SHARD}
    assert await tables.buckets() == before
