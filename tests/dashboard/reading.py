"""How long does it take to read values, with years of them in the database?

Days for ten years and hours for two of one province and its KPIs, minutes for thirty days, and days of a year for
3,321 communes. Run it as `python -m tests.dashboard.reading DATABASE_URL`, on an empty database.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Sequence
from datetime import timedelta
from zoneinfo import ZoneInfo

import asyncpg
import msgspec

from dashboard_api.closing import read_closing
from dashboard_api.database import Reader
from dashboard_api.spans import Span, Step, last_spans
from dashboard_api.values import read_values
from deploy.migrate import migrate_schema
from schemas.area import Area, AreaTree, Zone
from schemas.event import AreaCode, AreaId
from schemas.kpi import Catalogue, Kpi, Measure
from schemas.site import Site
from schemas.sketch import bin_of, encode_bins
from tests.dashboard.centre import site

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
ROUNDS = 40
SHARDS = 4
COMMUNES = 3_321
KPIS = 50

_FILL = """
INSERT INTO kpi_{tier} (kpi, area, bucket, dim, bin, shard, n, total, sketch)
SELECT kpi, area, bucket, '', 0, shard, 3, 3000000, $6
FROM unnest($1::text[]) AS kpi, unnest($2::text[]) AS area, generate_series(0, $5::int - 1) AS shard,
     generate_series(date_trunc('day', now(), 'Asia/Ho_Chi_Minh') - $3::interval, now(), $4::interval) AS bucket
"""


def reading_site() -> Site:
    """A province of many communes, and as many KPIs as a province watches."""
    measures = [Measure.COUNT, Measure.MEAN, Measure.PERCENTILE, Measure.IN_TIME]
    bases = [
        Kpi(id=f"k{at}", names={}, unit="1", measure=measures[at % 4], event="ioc.feedback.closed.v1", due="due_at")
        for at in range(KPIS - 2)
    ]
    derived = [
        Kpi(id="share", names={}, unit="1", measure=Measure.RATIO, numerator="k0", denominator="k4"),
        Kpi(id="open", names={}, unit="1", measure=Measure.BALANCE, plus="k0", minus="k4"),
    ]
    areas = [_area("00", None), *(_area(f"c{at}", "00") for at in range(COMMUNES))]
    return msgspec.structs.replace(site(), areas=AreaTree("test-2025", areas), kpis=Catalogue([*bases, *derived]))


def _area(id_: str, parent: str | None) -> Area:
    return Area(
        id=AreaId(id_),
        code=AreaCode(id_),
        list_id="test-2025",
        kind="area",
        names={},
        zone=Zone("Asia/Ho_Chi_Minh"),
        parent=None if parent is None else AreaId(parent),
    )


async def _fill(reader: Reader, watched: Site) -> None:
    communes = [area.id for area in watched.areas if area.parent]
    kpis = [kpi.id for kpi in watched.kpis.kpis if kpi.event]
    histogram = encode_bins({bin_of(value): 1 for value in (1.0, 20.0, 400.0)})
    for tier, some, areas, days, step, shards in (
        ("day", kpis, ["00"], 3650, DAY, SHARDS),
        ("hour", kpis[:8], ["00"], 730, HOUR, SHARDS),
        ("minute", kpis[:8], ["00"], 30, timedelta(minutes=1), 2),
        ("day", kpis[:1] + kpis[4:5], communes, 365, DAY, 1),
        ("hour", kpis[:1], communes, 2, HOUR, 1),
    ):
        await reader.execute(_FILL.format(tier=tier), some, areas, days * DAY, step, shards, histogram)
    await reader.execute("ANALYZE kpi_minute, kpi_hour, kpi_day")


async def main(url: str) -> None:
    """Fills the database and prints a line for each question."""
    await migrate_schema(url)
    connection = await asyncpg.connect(url)
    watched = reading_site()
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM kpi_day)"):
        started_s = time.perf_counter()
        await _fill(connection, watched)
        print(f"filled in {time.perf_counter() - started_s:.0f} s")
    now_s = time.time()
    root, communes = AreaId("00"), [area.id for area in watched.areas if area.parent]
    kpis = [kpi.id for kpi in watched.kpis.kpis]

    def last(count: int, step: Step) -> list[Span]:
        return last_spans(now_s, count, step, HANOI)

    questions: list[tuple[str, list[str], Sequence[AreaId], list[Span]]] = [
        ("1 KPI, 3,321 areas, a day", ["k0"], communes, last(1, Step.DAY)),
        ("1 KPI, 3,321 areas, a month", ["k0"], communes, last(2, Step.MONTH)[:1]),
        ("1 KPI, 3,321 areas, an hour", ["k0"], communes, last(2, Step.HOUR)[:1]),
        ("1 ratio, 3,321 areas, a day", ["share"], communes, last(1, Step.DAY)),
        ("50 KPIs, 1 area, a day", kpis, [root], last(1, Step.DAY)),
        ("50 KPIs, 1 area, a month", kpis, [root], last(1, Step.MONTH)),
        ("50 KPIs, 1 area, an hour", kpis, [root], last(1, Step.HOUR)),
        ("1 KPI, 1 area, 1,000 minutes", ["k0"], [root], last(1000, Step.MINUTE)),
        ("1 KPI, 1 area, 1,000 quarters of an hour", ["k0"], [root], last(1000, Step.QUARTER_HOUR)),
        ("1 KPI, 1 area, 1,000 hours", ["k0"], [root], last(1000, Step.HOUR)),
        ("1 KPI, 1 area, 1,000 days", ["k0"], [root], last(1000, Step.DAY)),
        ("1 percentile, 1 area, 1,000 days", ["k2"], [root], last(1000, Step.DAY)),
        ("1 KPI, 1 area, 10 years", ["k0"], [root], last(10, Step.YEAR)),
        ("1 balance, 1 area, 1,000 days", ["open"], [root], last(1000, Step.DAY)),
        ("1 balance, 3,321 areas, a day", ["open"], communes, last(1, Step.DAY)),
        ("a board: 50 KPIs, 1 area, 60 minutes", kpis, [root], last(60, Step.MINUTE)),
    ]
    for name, some, areas, over in questions:
        times_s: list[float] = []
        for _ in range(ROUNDS):
            started_s = time.perf_counter()
            closed = await read_closing(connection, watched)
            await read_values(connection, watched, some, areas, over, closed=closed)
            times_s.append(time.perf_counter() - started_s)
        p95_s = statistics.quantiles(times_s, n=20)[-1]
        print(f"{name:45} p50 {statistics.median(times_s) * 1000:6.1f} ms   p95 {p95_s * 1000:6.1f} ms")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
