"""Does a rebuild get along with rows that were merged?"""

import time

from schemas.window import TIERS
from streams.maintenance.compaction import compact
from streams.repair.rebuild import Wanted, rebuild
from streams.store.cells import MERGED_SHARD
from streams.versions import compiled
from tests.maintenance.tables import idle_begin
from tests.repair.hall import Bucket, Hall, opened
from tests.streams.world import PACK, some_events


async def merge(hall: Hall) -> None:
    """Lets all lanes be idle for long, without a word of how far they were, and merges what has closed by that."""
    await hall.connection.execute(
        """UPDATE position SET watermark_s = 0, caught_up_at = clock_timestamp() + make_interval(days => 3);
           UPDATE timer SET due_at = clock_timestamp() WHERE name = 'compaction'"""
    )
    while await compact(hall.connection, compiled(1, hall.site)):
        pass


async def merged(hall: Hall) -> set[Bucket]:
    """The buckets that have merged rows. Those of which one partition alone has a row are not among them."""
    return {
        (tier.value, row["kpi"], row["area"], int(row["bucket"].timestamp()), row["dim"])
        for tier in TIERS
        for row in await hall.connection.fetch(f"SELECT * FROM kpi_{tier.value} WHERE shard = {MERGED_SHARD}")
    }


async def test_what_merged_rows_closed_with_is_kept(kafka: str, database_url: str, topic_prefix: str) -> None:
    async with opened(kafka, database_url, topic_prefix, PACK) as hall:
        await hall.send(some_events(150, 1, idle_begin(), types=("ioc.camera.detection.v1",)))
        await hall.count()
        right = await hall.values()
        # What the centre believed when the buckets closed was wrong.
        await hall.connection.execute(
            "UPDATE kpi_hour SET n = n + 5 WHERE kpi = 'objects' AND bucket < clock_timestamp() - interval '1 day'"
        )
        reported = await hall.values(first=True)
        await merge(hall)
        once = await merged(hall)
        assert {key[:2] for key in once} >= {("hour", "objects"), ("day", "cameras")}
        await rebuild(
            hall.places, Wanted(kpi_ids=(), from_s=time.time() - 5 * 86_400), lambda _done, _total: None, time.time()
        )
        for _ in range(2):
            assert await hall.values() == right
            found = await hall.values(first=True)
            assert {key: one for key, one in found.items() if key in once and reported.get(key) != one} == {}
            await merge(hall)
