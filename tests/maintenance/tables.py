"""How does a test count into a database, and see what the tables hold?"""

import random
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from msgspec.structs import replace

from schemas.distinct import sketch_of
from schemas.kpi import LATEST_BIN, Measure
from schemas.sketch import bin_of, encode_bins
from schemas.topics import INPUTS
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival
from streams.maintenance.compaction import compact
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position
from streams.versions import Versions
from tests.streams import held, naive
from tests.streams.world import SITE, VERSION

TOPIC_ID = UUID(int=1)
BEGIN = datetime(2025, 6, 28, tzinfo=UTC)
"""Where the events of the tests begin; all of them are logged within the retention of minutes after it."""

LATER_S = datetime(2025, 7, 20, tzinfo=UTC).timestamp()
"""A watermark beyond which all of them are closed."""

KEPT, PASSING = ("t.cases.v1", "t.records.v1"), ("t.detections.v1", "t.metrics.v1")


class Tables:
    """A centre's tables, and lanes that count into them."""

    def __init__(self, url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = url
        self.connection = connection
        self._positions: dict[Lane, Position] = {}

    @asynccontextmanager
    async def writer(self) -> AsyncGenerator[TimescaleWriter]:
        """Somebody who counts."""
        writer = TimescaleWriter(self.url, "group", Versions(VERSION))
        try:
            yield writer
        finally:
            await writer.close()

    async def count(
        self, writer: TimescaleWriter, lane: Lane, arrivals: Sequence[Arrival], watermark_s: float = 0.0
    ) -> None:
        """Counts on a lane; `watermark_s` is what the events meet and what they leave."""
        if lane not in self._positions:
            self._positions[lane] = await writer.position(lane, TOPIC_ID)
        at = self._positions[lane]
        reached = Position(TOPIC_ID, at.next_offset + len(arrivals) + 1, watermark_s)
        some = [replace(one, watermark_s=watermark_s, offset=at.next_offset + i) for i, one in enumerate(arrivals)]
        await writer.commit(
            LaneBatch(
                lane=lane,
                expected=at,
                reached=reached,
                arrivals=some,
                version=VERSION,
                unique=lane.topic in KEPT,
            )
        )
        self._positions[lane] = reached

    async def close(self, writer: TimescaleWriter, partitions: Iterable[int], watermark_s: float = LATER_S) -> None:
        """Lets all lanes pass a moment."""
        for topic in (*KEPT, *PASSING):
            for partition in partitions:
                await self.count(writer, Lane(topic, partition), [], watermark_s)

    async def compact_all(self) -> int:
        """Merges what there is to merge. Returns in how many steps."""
        await self.make_due("compaction")
        steps = 1
        while await compact(self.connection, VERSION):
            steps += 1
        return steps

    async def make_due(self, timer: str) -> None:
        """Lets a timer be due now."""
        await self.connection.execute("UPDATE timer SET due_at = now() WHERE name = $1", timer)

    async def rows(self, tier: Tier) -> list[Any]:
        """All rows of a tier."""
        return await self.connection.fetch(f"SELECT * FROM kpi_{tier.value}")

    async def buckets(self, *, first: bool = False) -> held.Buckets:
        """What the buckets hold, or held when they closed."""
        found: held.Buckets = {}
        for tier in TIERS:
            found |= held.of_rows(tier, await self.rows(tier), first=first)
        return found

    async def most_rows(self) -> int:
        """The most rows that any key has."""
        return max(
            [
                await self.connection.fetchval(
                    f"""SELECT coalesce(max(n), 0) FROM (
                        SELECT count(*) AS n FROM kpi_{tier.value} GROUP BY kpi, area, bucket, dim, bin) AS by_key"""
                )
                for tier in TIERS
            ]
        )


def topic_of(arrival: Arrival) -> str:
    """The topic that an event travels on."""
    return next("t." + topic.name for topic in INPUTS if type(arrival.event) in topic.types)


def truth(arrivals: Sequence[Arrival]) -> held.Buckets:
    """What these have to add up to."""
    events = [one.event for one in arrivals]
    return held.of_amounts(naive.amounts(naive.countable(events), SITE))


def some_rows(rng: random.Random, step: timedelta, keys: int) -> list[tuple[object, ...]]:
    """Rows of buckets that have closed, in several shards, some of them corrected, of all kinds of measures."""
    rows: list[tuple[object, ...]] = []
    for number in range(keys):
        base = rng.choice(SITE.kpis.bases)
        bucket = datetime(2025, 7, 1, tzinfo=UTC) + step * number
        bin_ = LATEST_BIN if base.measure is Measure.LATEST else 0
        for shard in rng.sample([-1, 0, 1, 2, 7, 1000, 1003], rng.randint(1, 5)):
            first: tuple[object, ...] = (None,) * 5
            if is_corrected := rng.random() < 0.4:
                first = some_content(rng, base.measure)
            corrected_at = bucket + timedelta(seconds=rng.randrange(9**5)) if is_corrected else None
            rows.append(
                (base.id, "0101", bucket, "d", bin_, shard, *some_content(rng, base.measure), *first, corrected_at)
            )
    return rows


def some_content(rng: random.Random, measure: Measure) -> tuple[object, ...]:
    """What a row holds: count, total, low, high, sketch."""
    if rng.random() < 0.2:
        return 0, 0, None, None, None
    n, total = rng.randrange(1, 9), rng.randrange(-(10**6), 10**6)
    match measure:
        case Measure.LATEST:
            return n, total, None, float(rng.randrange(1, 4)), None
        case Measure.MIN:
            return n, total, float(rng.randrange(9)), None, None
        case Measure.MAX:
            return n, total, None, float(rng.randrange(9)), None
        case Measure.PERCENTILE:
            bins = {bin_of(rng.randrange(5)): rng.randrange(1, 4) for _ in range(rng.randrange(1, 4))}
            return sum(bins.values()), total, None, None, encode_bins(bins)
        case Measure.DISTINCT:
            return 0, 0, None, None, sketch_of(str(rng.randrange(9)) for _ in range(rng.randrange(1, 5)))
        case _:
            return n, total, None, None, None


def idle_begin() -> datetime:
    """Three days before now, so that no event of the next three is from the future."""
    return datetime.now(UTC) - timedelta(days=3, minutes=5)
