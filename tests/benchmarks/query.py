"""How long does a board wait for an answer, over a whole country?

The reference catalogue over Viet Nam's map since July 2025: 3,321 communes in 34 provinces. Minutes of 30 days, hours
of two years and days of ten, thinly filled: of each series of an area a number of buckets, at random, that `_FILLED`
gives by level of area and tier, times the scale. Reported indicators stand for every commune and month, put together
as a worker does it. The queries are those of the boards, over HTTP, to a web process of its own.
"""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import httpx

from deploy.local import ports
from deploy.migrate import migrate_schema
from deploy.settings import PACKAGED_SITE
from deploy.site import load_site
from schemas.distinct import sketch_of
from schemas.kpi import LATEST_BIN, Base, Measure
from schemas.site import Site
from schemas.sketch import bin_of, encode_bins
from schemas.window import Tier
from streams.maintenance.across import put_together
from tests.benchmarks.services import Services

VIETNAM = PACKAGED_SITE.parent / "vietnam"
SCALES, SCALES_QUICK = (1, 2, 4), (1,)
REQUESTS, REQUESTS_QUICK = 300, 100
REQUESTS_MARKED = 20
MONTHS = 6
WAIT_S = 60.0
SEED = 20250701

_SPANS = {
    Tier.MINUTE: (timedelta(minutes=1), timedelta(days=30)),
    Tier.HOUR: (timedelta(hours=1), timedelta(days=730)),
    Tier.DAY: (timedelta(days=1), timedelta(days=3650)),
}
_FILLED: dict[str, dict[Tier, int]] = {
    "country": {Tier.MINUTE: 2000, Tier.HOUR: 2000, Tier.DAY: 3650},
    "province": {Tier.MINUTE: 100, Tier.HOUR: 200, Tier.DAY: 365},
    "commune": {Tier.MINUTE: 2, Tier.HOUR: 3, Tier.DAY: 5},
}
"""Buckets of a series that hold something, at scale 1."""

# The day tier of Viet Nam begins at 17:00 UTC, and its hours with the full hour.
_FILL = """
INSERT INTO {table} (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch)
SELECT kpi, area, $3::timestamptz + slot * $4::interval, '', 0, -1,
       1 + (random() * 100)::int, (random() * 1e8)::bigint, NULL, NULL, sketch
FROM unnest($1::text[], $2::bytea[]) AS base (kpi, sketch)
CROSS JOIN unnest($5::text[]) AS area
CROSS JOIN LATERAL (
    SELECT DISTINCT (random() * $6)::int AS slot FROM generate_series(1, $7) WHERE kpi <> '' AND area <> ''
) AS slots
ON CONFLICT DO NOTHING
"""
_REPORT = """
INSERT INTO kpi_day (kpi, area, bucket, dim, bin, shard, n, total, high)
SELECT kpi, area, $2::timestamptz - make_interval(months => month), origin, $4, -1,
       1, (random() * 1e9)::bigint, extract(epoch FROM $2)
FROM unnest($1::text[]) AS kpi
CROSS JOIN generate_series(0, $3::int - 1) AS month
CROSS JOIN unnest($5::text[], $6::text[]) AS at (area, origin)
ON CONFLICT DO NOTHING
"""


_MARK = """
INSERT INTO latest_touched (kpi, area, bucket)
SELECT kpi, area, max(bucket) FROM latest_across
WHERE kpi IN (SELECT DISTINCT kpi FROM latest_across ORDER BY kpi LIMIT 10)
GROUP BY kpi, area ON CONFLICT DO NOTHING
"""


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """`query_p95_s` over all queries at the largest scale, that of each kind, and how it grows with the rows.

    `…_first_s` is the first request of a kind, which finds no connection, no plan and nothing remembered;
    `…_marked_s` a country's latest values while ten bases have reports that nobody has put together yet.
    """
    await migrate_schema(services.database_url)
    site = load_site(VIETNAM)
    figures: dict[str, list[float]] = {}
    connection = await asyncpg.connect(services.database_url, command_timeout=600)
    try:
        scales = SCALES_QUICK if quick else SCALES
        for scale in scales:
            await fill(connection, site, scale)
            rows = sum([await connection.fetchval(f"SELECT count(*) FROM kpi_{tier.value}") for tier in Tier])
            figures[f"query_put_together_s_{scale}x"] = [await put_all(connection, site)]
            kinds, first = await _ask(
                services, _queries(site, random.Random(SEED)), REQUESTS_QUICK if quick else REQUESTS
            )
            p95_s = _p95([seconds for waits in kinds.values() for seconds in waits])
            figures[f"query_rows_{scale}x"] = [float(rows)]
            figures[f"query_p95_s_{scale}x"] = [p95_s]
            if scale == scales[-1]:
                figures["query_p95_s"] = [p95_s]
                figures |= {f"query_{kind}_p95_s": [_p95(waits)] for kind, waits in kinds.items()}
                figures |= {f"query_{kind}_first_s": [seconds] for kind, seconds in first.items()}
        await connection.execute(_MARK)
        latest = [query for query in _queries(site, random.Random(SEED)) if query[0] == "latest_country"]
        kinds, _ = await _ask(services, latest, REQUESTS_MARKED)
        figures["query_latest_country_marked_s"] = [_p95(kinds["latest_country"])]
    finally:
        await connection.close()
    return figures


async def put_all(connection: "asyncpg.Connection[asyncpg.Record]", site: Site) -> float:
    """Puts together what places said last, as workers do besides counting. Returns how long it took, in seconds."""
    started_s = time.perf_counter()
    while await put_together(connection, site):
        pass
    await connection.execute("ANALYZE latest_across, latest_touched")
    return time.perf_counter() - started_s


async def fill(connection: "asyncpg.Connection[asyncpg.Record]", site: Site, scale: int) -> None:
    """Brings the tables to a scale; what is there of a smaller one stays."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    midnight = now.replace(hour=17) - timedelta(days=1 if now.hour >= 17 else 2)
    streamed = [base for base in site.kpis.bases if base.measure is not Measure.LATEST]
    sketches = [_sketch(base) for base in streamed]
    for kind, filled in _FILLED.items():
        areas = [
            area.id for area in site.areas if area.list_id == site.areas.list_id and _level(site, area.id) == kind
        ]
        for tier, (width, length) in _SPANS.items():
            end = midnight if tier is Tier.DAY else now
            slots = int(length / width)
            wanted = min(filled[tier] * scale - (filled[tier] * scale // 2 if scale > 1 else 0), slots)
            await connection.execute(
                _FILL.format(table=f"kpi_{tier.value}"),
                [base.id for base in streamed],
                sketches,
                end - length,
                width,
                areas,
                slots,
                wanted,
            )
    if scale == SCALES[0]:
        await _report(connection, site, midnight)
    await connection.execute("ANALYZE kpi_minute, kpi_hour, kpi_day")


async def _report(connection: "asyncpg.Connection[asyncpg.Record]", site: Site, midnight: datetime) -> None:
    reported = [base.id for base in site.kpis.bases if base.measure is Measure.LATEST]
    pairs = [
        (area, commune.id)
        for commune in site.areas
        if commune.list_id == site.areas.list_id and _level(site, commune.id) == "commune"
        for area in site.areas.path(commune.id)
    ]
    await connection.execute(
        _REPORT,
        reported,
        (midnight + timedelta(hours=7)).replace(day=1, hour=0) - timedelta(hours=7),
        MONTHS,
        LATEST_BIN,
        [area for area, _ in pairs],
        [origin for _, origin in pairs],
    )


def _level(site: Site, area: str) -> str:
    return ("country", "province", "commune")[len(site.areas.path(area)) - 1]  # pyright: ignore[reportArgumentType]


def _sketch(base: Base) -> bytes | None:
    if base.measure is Measure.DISTINCT:
        return sketch_of(f"camera-{number}" for number in range(40))
    if base.measure is Measure.PERCENTILE:
        return encode_bins({bin_of(1.1**number): 1 + number % 7 for number in range(60)})
    return None


_Query = tuple[str, Callable[[], str]]
"""A kind of query, and what makes the address of the next one."""


async def _ask(
    services: Services, queries: Sequence[_Query], requests: int
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """The seconds that each request waited, by kind of query, and the first one of each kind apart.

    One after the other, as one board asks.
    """
    port = ports.free_port()
    command = [sys.executable, "-m", "tests.benchmarks.web", services.kafka, services.database_url, "query."]
    with (services.folder / "query-web.log").open("ab") as log:
        process = subprocess.Popen([*command, str(port), "vietnam"], stdout=log, stderr=log)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=WAIT_S) as client:
            await _until_ready(client)
            waits: dict[str, list[float]] = {}
            first: dict[str, float] = {}
            for number in range(requests + len(queries)):
                kind, address = queries[number % len(queries)]
                started_s = time.perf_counter()
                answer = await client.get(address())
                seconds = time.perf_counter() - started_s
                if answer.status_code != 200:
                    raise RuntimeError(f"{answer.url}: {answer.status_code} {answer.text[:500]}")
                if number < len(queries):
                    first[kind] = seconds
                else:
                    waits.setdefault(kind, []).append(seconds)
            return waits, first
    finally:
        process.kill()
        process.wait()


def _queries(site: Site, chance: random.Random) -> list[_Query]:
    """What boards ask, each time of another KPI, area and time."""
    # Whoever asks has not signed in.
    kpis = [kpi.id for kpi in site.kpis.kpis if kpi.audience == "all"]
    provinces = [area.id for area in site.areas.children(site.areas.root.id)]
    communes = [area.id for area in site.areas if len(site.areas.path(area.id)) == 3 and area.list_id == "vn-2025"]
    root = site.areas.root.id
    now = datetime.now(UTC)

    def since(**back: float) -> str:
        return (now - timedelta(**back)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def one(among: Sequence[str]) -> str:
        return chance.choice(among)

    return [
        (
            "series_minutes",
            lambda: f"/v1/kpis/{one(kpis)}/series?area={one(provinces)}&step=minute&from={since(hours=6)}",
        ),
        ("series_hours", lambda: f"/v1/kpis/{one(kpis)}/series?area={one(communes)}&step=hour&from={since(days=30)}"),
        ("series_days", lambda: f"/v1/kpis/{one(kpis)}/series?area={root}&step=day&from={since(days=730)}"),
        (
            "series_months",
            lambda: f"/v1/kpis/{one(kpis)}/series?area={one(provinces)}&step=month&from={since(days=3600)}",
        ),
        ("latest", lambda: f"/v1/latest?area={one(provinces)}"),
        ("latest_country", lambda: f"/v1/latest?area={root}"),
        ("table_provinces", lambda: f"/v1/kpis/{one(kpis)}/table?area={root}&areas=children&period=2026-09"),
        ("table_communes", lambda: f"/v1/kpis/{one(kpis)}/table?area={one(provinces)}&areas=children&period=2026"),
        ("rank_country", lambda: f"/v1/kpis/{one(kpis)}/table?area={root}&areas=leaves&period=2026-09&order=-value"),
        ("compare", lambda: f"/v1/kpis/{one(kpis)}/compare?areas={one(provinces)},{root}&periods=2025,2026"),
        ("attainment", lambda: f"/v1/kpis/{one(kpis)}/attainment?area={one(provinces)}&period=2026-09"),
        ("overview_country", lambda: f"/v1/overview?area={root}"),
        ("overview_country_day", lambda: f"/v1/overview?area={root}&period={since(hours=36)[:10]}"),
        ("overview_province", lambda: f"/v1/overview?area={one(provinces)}"),
        ("overview_province_day", lambda: f"/v1/overview?area={one(provinces)}&period={since(hours=36)[:10]}"),
    ]


async def _until_ready(client: httpx.AsyncClient) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        try:
            if (await client.get("/v1/site")).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        await asyncio.sleep(0.2)
    raise RuntimeError("the web process did not start")


def _p95(waits: Sequence[float]) -> float:
    return sorted(waits)[int(0.95 * (len(waits) - 1))]
