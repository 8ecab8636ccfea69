"""How does a test count on a real broker and a real database, and see what they hold?"""

import asyncio
import contextlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from deploy.migrate import ensure_topics, migrate_schema, register
from schemas import codec, topics
from schemas.distinct import estimate
from schemas.kpi import Measure
from schemas.site import Pack, Site, parse_site
from schemas.sketch import merge_bins
from schemas.topics import DEAD, INPUTS
from schemas.window import TIERS
from streams.core.batch import Batch
from streams.lane import Counting
from streams.log import KafkaLog
from streams.repair.history import Places
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane
from streams.versions import Versions, compiled

ROOT = Path(__file__).parents[2]
GROUP = "ioc-streams"
RECORDS_MAX = 200

Bucket = tuple[str, str, str, int, str]
"""Tier, base, area, start, dimension."""

Held = tuple[int, int, float | None, float | None, Any]
"""n, the sum in millionths, the extremes, and what a sketch has seen."""


class Hall:
    """Topics, a database and whoever counts, in this process; the lanes are those of a worker."""

    def __init__(self, kafka: str, database_url: str, prefix: str) -> None:
        self.kafka = kafka
        self.database_url = database_url
        self.prefix = prefix
        self.places = Places(kafka=kafka, database_url=database_url, group=GROUP, topic_prefix=prefix)
        self.lanes = [Lane(prefix + topic.name, number) for topic in INPUTS for number in range(topic.partitions)]
        self.connection: asyncpg.Connection[asyncpg.Record]
        self.site: Site
        self._versions: Versions
        self._counting: dict[Lane, Counting] = {}
        self._consumer: Any
        self._producer: Any

    async def take_up(self, pack: Pack) -> int:
        """Registers a pack, and counts by it from now on."""
        number = await register(self.database_url, pack)
        self.site = parse_site(pack)
        version = compiled(number, self.site)
        if number == 1:
            self._versions = Versions(version)
        self._versions.add(version)
        return number

    async def send(self, raws: Sequence[bytes]) -> None:
        """Writes events to the log as `ingest` does."""
        sent: list[asyncio.Future[Any]] = []
        for raw in raws:
            event = codec.decode(raw)
            name = self.prefix + topics.topic_of(event).name
            sent.append(await self._producer.send(name, key=topics.key_of(event), value=raw))
        await asyncio.gather(*sent)

    async def count(self) -> int:
        """Counts everything on the log, as far as it goes now. Returns how many records."""
        await asyncio.gather(*(self._counting[lane].prepare() for lane in self.lanes))
        ends = await self._consumer.end_offsets([TopicPartition(*lane) for lane in self.lanes])
        left = {at: self._counting[Lane(*at)].standing or 0 for at in ends}
        left = {at: start for at, start in left.items() if start < ends[at]}
        self._consumer.assign(list(left))
        for at, start in left.items():
            self._consumer.seek(at, start)
        total = 0
        while left:
            fetched = await self._consumer.getmany(timeout_ms=5_000, max_records=RECORDS_MAX)
            assert fetched
            batches = [Batch(at.topic, at.partition, records, ends[at]) for at, records in fetched.items()]
            await asyncio.gather(*(self._counting[Lane(one.topic, one.partition)].count(one) for one in batches))
            total += sum(len(one.records) for one in batches)
            for at, records in fetched.items():
                if records[-1].offset + 1 >= ends[at]:
                    left.pop(at, None)
        return total

    @asynccontextmanager
    async def counting(self) -> AsyncGenerator[None]:
        """Counts for as long as the block lasts."""

        async def count() -> None:
            while True:
                await self.count()
                await asyncio.sleep(0.02)

        task = asyncio.create_task(count())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        # What was under way when it was ended may be half told to the lane.
        for lane in self.lanes:
            self._counting[lane]._position = None

    async def values(self, *, first: bool = False) -> dict[Bucket, Held]:
        """What every bucket holds now, or held when it closed, of all bases that the site has."""
        rows: defaultdict[Bucket, list[Any]] = defaultdict(list)
        measures = {base.id: base.measure for base in self.site.kpis.bases}
        for tier in TIERS:
            for row in await self.connection.fetch(f"SELECT * FROM kpi_{tier.value}"):
                if row["kpi"] in measures:
                    prefix = "first_" if first and row["first_n"] is not None else ""
                    key = (tier.value, row["kpi"], row["area"], int(row["bucket"].timestamp()), row["dim"])
                    rows[key].append([row[prefix + name] for name in ("n", "total", "low", "high", "sketch")])
        found = {key: _held(measures[key[1]], some) for key, some in rows.items()}
        assert found
        return {key: held for key, held in found.items() if held[0] or held[4]}

    async def corrected(self) -> set[tuple[Any, ...]]:
        """The minutes that say that they were corrected."""
        rows = await self.connection.fetch(
            "SELECT DISTINCT kpi, area, bucket, dim FROM kpi_minute WHERE corrected_at IS NOT NULL"
        )
        return {tuple(row) for row in rows}

    def command(self, folder: Path, *arguments: str, **environ: str) -> dict[str, Any]:
        """What starts an `ioc` command of this centre as a process of its own."""
        return {
            "args": [sys.executable, "-m", "deploy.cli", *arguments],
            "cwd": ROOT,
            "env": {
                "PATH": os.defpath,
                "HOME": str(folder),
                "PYTHONPATH": str(ROOT),
                "LC_ALL": "C.UTF-8",
                "IOC_KAFKA": self.kafka,
                "IOC_DATABASE_URL": self.database_url,
                "IOC_TOPIC_PREFIX": self.prefix,
                "IOC_DATA": str(folder / "data"),
                **environ,
            },
        }


def _held(measure: Measure, rows: Sequence[Any]) -> Held:
    """The rows of a bucket put together, by somebody who has not read how it is done."""
    n, totals, lows, highs, sketches = (list(column) for column in zip(*rows, strict=True))
    total = sum(totals)
    if measure is Measure.LATEST:
        total = max(((row[3], row[1]) for row in rows if row[3] is not None), default=(0, 0))[1]
    present = [sketch for sketch in sketches if sketch is not None]
    seen: Any = None
    if measure is Measure.PERCENTILE:
        seen = {bin_: count for bin_, count in merge_bins(present).items() if count}
    elif measure is Measure.DISTINCT:
        seen = estimate(present)
    low = min((one for one in lows if one is not None), default=None)
    high = max((one for one in highs if one is not None), default=None)
    return sum(n), int(total), low, high, seen


@asynccontextmanager
async def opened(kafka: str, database_url: str, prefix: str, pack: Pack) -> AsyncGenerator[Hall]:
    """A centre that has counted nothing yet."""
    hall = Hall(kafka, database_url, prefix)
    await migrate_schema(database_url)
    await ensure_topics(kafka, prefix)
    await hall.take_up(pack)
    hall.connection = await asyncpg.connect(database_url)
    hall._consumer = AIOKafkaConsumer(bootstrap_servers=kafka, enable_auto_commit=False, fetch_max_wait_ms=20)
    hall._producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=5, max_request_size=2 * 1024 * 1024
    )
    log = KafkaLog(kafka, prefix + DEAD.name)
    writer = TimescaleWriter(database_url, GROUP, hall._versions)
    by_name = {prefix + topic.name: topic for topic in INPUTS}
    for lane in hall.lanes:
        topic = by_name[lane.topic]
        hall._counting[lane] = Counting(
            lane,
            dedupe=topic.dedupe,
            types=topic.types,
            versions=hall._versions,
            writer=writer,
            log=log,
            wall_clock_s=time.time,
        )
    await hall._consumer.start()
    await hall._producer.start()
    try:
        yield hall
    finally:
        await hall._producer.stop()
        await hall._consumer.stop()
        await writer.close()
        await log.close()
        hall.connection.terminate()
