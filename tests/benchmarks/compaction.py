"""What does merging the rows of closed buckets cost, and what does a reader gain?

`python -m tests.benchmarks.compaction`. A thousand hours of a sum by five kinds, a histogram and different cameras,
in every area of a small site, on eight partitions (shards). A query reads one KPI of one area, hour by hour.
"""

import asyncio
import os
import random
import shutil
import time
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median

import asyncpg

from dashboard_api.closing import NOTHING_CLOSED
from dashboard_api.spans import Step, spans
from dashboard_api.values import read_values
from deploy.local.postgres import LocalPostgres
from deploy.migrate import migrate_schema
from deploy.settings import Settings
from schemas.distinct import sketch_of
from schemas.event import AreaId
from schemas.sketch import bin_of, encode_bins
from streams.maintenance.compaction import compact
from tests.streams.world import SITE, VERSION

HOURS, KINDS, SHARDS = 1_000, 5, 8
SEED = 7
REPETITIONS = 15
BEGIN = datetime(2025, 5, 1, tzinfo=UTC)
AREA = AreaId("0101")
KPIS = {"objects": "kind", "scores": None, "cameras": None}
COLUMNS = ("kpi", "area", "bucket", "dim", "bin", "shard", "n", "total", "sketch")


async def fill(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Puts in what eight partitions would have counted, and lets them pass it all."""
    rng = random.Random(SEED)
    sketches = [
        (encode_bins({bin_of(rng.lognormvariate(0, 1)): rng.randrange(1, 9) for _ in range(20)}), rng.randrange(9**9))
        for _ in range(200)
    ]
    cameras = [sketch_of(f"cam-{rng.randrange(500)}" for _ in range(40)) for _ in range(200)]
    rows: list[tuple[object, ...]] = []
    for area in SITE.areas:
        for hour in range(HOURS):
            bucket = BEGIN + timedelta(hours=hour)
            for shard in range(SHARDS):
                rows += [
                    ("objects", area.id, bucket, f"{kind}", 0, shard, 3, 9_000_000, None) for kind in range(KINDS)
                ]
                histogram, total = rng.choice(sketches)
                rows.append(("scores", area.id, bucket, "", 0, shard, 40, total, histogram))
                rows.append(("cameras", area.id, bucket, "", 0, shard, 0, 0, rng.choice(cameras)))
    await connection.copy_records_to_table("kpi_hour", records=rows, columns=COLUMNS)
    await connection.execute(
        """INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset, watermark_s)
               SELECT 'g', 'ioc.detections.v1', p, gen_random_uuid(), 1, extract(epoch FROM $1::timestamptz)
               FROM generate_series(0, $2::int - 1) AS p""",
        BEGIN + timedelta(hours=HOURS + 48),
        SHARDS,
    )
    await connection.execute("VACUUM ANALYZE kpi_hour")


async def read_ms(connection: "asyncpg.Connection[asyncpg.Record]", kpi: str) -> float:
    """How long a query takes, in the middle."""
    end = BEGIN + timedelta(hours=HOURS)
    hours = spans(int(BEGIN.timestamp()), int(end.timestamp()), Step.HOUR, SITE.areas.zone(AREA))
    took_ms: list[float] = []
    for _ in range(REPETITIONS):
        begun_s = time.perf_counter()
        found = await read_values(connection, SITE, [kpi], [AREA], hours, by=KPIS[kpi], closed=NOTHING_CLOSED)
        took_ms.append(1000 * (time.perf_counter() - begun_s))
        assert len(found) == HOURS * (KINDS if KPIS[kpi] else 1)
    return median(took_ms)


async def measure(database_url: str) -> None:
    """Prints the figures."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url, server_settings={"jit": "off"})
    try:
        await fill(connection)

        async def report(when: str) -> None:
            rows = await connection.fetchval("SELECT count(*) FROM kpi_hour")
            size = await connection.fetchval("SELECT sum(total_bytes) FROM hypertable_detailed_size('kpi_hour')")
            times = [f"{kpi} {await read_ms(connection, kpi):.1f} ms" for kpi in KPIS]
            print(f"{when}: {rows:,} rows, {size / 2**20:.0f} MiB; {', '.join(times)}")

        await report("before")
        begun_s, steps_s = time.perf_counter(), [time.perf_counter()]
        while await compact(connection, VERSION):
            steps_s.append(time.perf_counter())
        took_s = time.perf_counter() - begun_s
        longest_s = max(after - before for before, after in pairwise(steps_s))
        await connection.execute("VACUUM ANALYZE kpi_hour")
        await report("after")
        merged = await connection.fetchval("SELECT count(*) FROM kpi_hour WHERE shard = -1")
        print(f"merged {merged:,} buckets in {took_s:.1f} s, {len(steps_s)} steps, the longest {longest_s:.2f} s")
    finally:
        await connection.close()


def main() -> None:
    """On a database of its own."""
    settings = Settings.from_env(os.environ)
    postgres = LocalPostgres(settings.data_dir / "bench" / "compaction", settings.cache_dir)
    try:
        postgres.launch()
        postgres.wait_ready()
        asyncio.run(measure(postgres.address))
    finally:
        postgres.kill()
        # The folder holds nothing but this database.
        shutil.rmtree(postgres.data_dir, ignore_errors=True)


if __name__ == "__main__":
    main()
