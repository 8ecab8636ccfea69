"""What do a site, a stream writer and a running dashboard look like to a test?

The writer does in one transaction what `streams` does: it upserts the partials of the three tables, the events and
the sources, writes the change row, and notifies.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from dashboard_api.app import SERVER_OPTIONS, create_app
from dashboard_api.config import Bounds, DashboardConfig
from schemas.area import Area, AreaTree, Zone
from schemas.distinct import merge, sketch_of
from schemas.event import AreaCode, AreaId
from schemas.exercise import with_drills
from schemas.kpi import DIM_SEPARATOR, LATEST_BIN, MICRO, Base, Measure
from schemas.lineage import Link
from schemas.site import Site, parse_site
from schemas.sketch import bin_of, encode_bins, merge_bins
from schemas.topics import INPUTS
from schemas.window import TIERS, Tier, bucket_start, minute_start

WAIT_S = 20.0
"""Longer than anything takes on a machine that is busy with other tests."""

SITE_TOML = """
id = "test"
names = { vi = "Tỉnh thử", en = "Test province" }
zone = "Asia/Ho_Chi_Minh"
area_list = "test-2025"
languages = ["vi", "en"]
retention = { minute_days = 3650, hour_days = 3650 }

[[source]]
id = "hotline"
names = { vi = "Đường dây nóng", en = "Hotline" }
silent_after_s = 600

[[source]]
id = "cameras"
names = { vi = "Camera giao thông", en = "Traffic cameras" }
silent_after_s = 60
simulated = true
"""

AREAS_CSV = """code,parent,kind,name_vi,name_en,zone
00,,province,Tỉnh thử,Test province,
01,00,commune,Phường Một,Ward One,
02,00,commune,Phường Hai,Ward Two,
03,00,commune,Xã Ba,Commune Three,Pacific/Kiritimati
"""

KPIS_TOML = """
[[kpi]]
id = "feedback_received"
names = { vi = "Phản ánh đã nhận", en = "Reports received" }
unit = "{report}"
event = "ioc.feedback.received.v1"
measure = "count"
dimensions = ["category", "channel"]
pillar = "society"
owner = "Văn phòng UBND tỉnh"
document = "Quyết định 1"
direction = "lower"
thresholds = { warning = 100, bad = 200 }

[[kpi.target]]
value = 90
area = "01"

[[kpi]]
id = "feedback_closed"
names = { vi = "Phản ánh đã đóng", en = "Reports closed" }
unit = "{report}"
event = "ioc.feedback.closed.v1"
measure = "count"

[[kpi]]
id = "closed_in_time"
names = { vi = "Xử lý đúng hạn", en = "Closed in time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"

[[kpi]]
id = "closed_within_day"
names = { vi = "Xử lý trong ngày", en = "Closed within a day" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "within"
since = "opened_at"
within_s = 86400

[[kpi]]
id = "response_ms"
names = { vi = "Thời gian đáp ứng", en = "Response time" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "percentile"
q = 0.5
value = "value"
freshness_s = 60

[[kpi]]
id = "response_mean"
names = { vi = "Thời gian đáp ứng trung bình", en = "Mean response time" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "mean"
value = "value"

[[kpi]]
id = "response_sum"
names = { vi = "Tổng thời gian đáp ứng", en = "Sum of response times" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "sum"
value = "value"

[[kpi]]
id = "response_min"
names = { vi = "Đáp ứng nhanh nhất", en = "Fastest response" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "min"
value = "value"

[[kpi]]
id = "response_max"
names = { vi = "Đáp ứng chậm nhất", en = "Slowest response" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "max"
value = "value"

[[kpi]]
id = "load"
names = { vi = "Tải hiện tại", en = "Present load" }
unit = "1"
event = "ioc.service.metric.v1"
measure = "latest"
value = "value"
dimensions = ["service"]

[[kpi]]
id = "cameras_active"
names = { vi = "Camera hoạt động", en = "Active cameras" }
unit = "{camera}"
event = "ioc.camera.detection.v1"
measure = "distinct"
of = "camera"

[[kpi]]
id = "cameras_silent"
names = { vi = "Camera im lặng", en = "Silent cameras" }
unit = "{camera}"
measure = "silent"
of = "cameras_active"
lookback_days = 2

[[kpi]]
id = "in_handling"
names = { vi = "Đang xử lý", en = "In handling" }
unit = "{report}"
measure = "balance"
plus = "feedback_received"
minus = "feedback_closed"

[[kpi]]
id = "closed_share"
names = { vi = "Tỷ lệ đã đóng", en = "Share closed" }
unit = "1"
measure = "ratio"
numerator = "feedback_closed"
denominator = "feedback_received"

[[kpi]]
id = "channel_share"
names = { vi = "Cơ cấu theo kênh", en = "Share by channel" }
unit = "1"
measure = "ratio"
numerator = { measure = "count", event = "ioc.feedback.received.v1", dimensions = ["channel"] }
denominator = { measure = "count", event = "ioc.feedback.received.v1" }
"""


def site() -> Site:
    """A KPI of every measure, four areas in two zones, two sources of which one is simulated."""
    return parse_site({"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML})


def _area(id_: str, list_id: str, parent: str | None = None) -> Area:
    """An area whose code is its id."""
    return Area(
        id=AreaId(id_),
        code=AreaCode(id_),
        list_id=list_id,
        kind="area",
        names={"vi": id_},
        zone=Zone("Asia/Ho_Chi_Minh"),
        parent=None if parent is None else AreaId(parent),
    )


REDRAWN_AREAS = AreaTree(
    "test-2025",
    [
        *(_area("P", "test-2025"), _area("A", "test-2025", "P"), _area("B", "test-2025", "P")),
        *(_area("d", "old"), _area("x", "old", "d"), _area("y", "old", "d"), _area("z", "old", "d")),
    ],
    [
        Link(AreaId("x"), AreaId("A"), "full"),
        Link(AreaId("y"), AreaId("A"), "partial"),
        Link(AreaId("y"), AreaId("B"), "partial"),
        Link(AreaId("z"), AreaId("B"), "full"),
    ],
)
"""The old x became part of A, z of B, and y was divided between both; d was above all three."""


def redrawn_site() -> Site:
    """The same with areas of two code lists, of which one followed the other."""
    return msgspec.structs.replace(site(), areas=REDRAWN_AREAS)


def utc_now() -> datetime:
    """The clock that tests pass in."""
    return datetime.now(UTC)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One event as far as one base cares. `value` is what is measured, `what` what is told apart.

    `said_s` is when it was said, where that is not the moment whose bucket it belongs to.
    """

    kpi: str
    area: str
    time_s: int
    value: float = 1.0
    dim: str = ""
    what: str = ""
    said_s: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One low-rate event as the table keeps it."""

    id: str
    area: str
    text: str = ""
    source: str = "hotline"
    type: str = "ioc.feedback.received.v1"
    subject: str | None = None


class Writer:
    """A stream worker with a shard of its own."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", shard: int = 0) -> None:
        self.connection = connection
        self.shard = shard
        self.site = site()

    async def commit(
        self,
        samples: Sequence[Sample] = (),
        reports: Sequence[Report] = (),
        *,
        sources: Sequence[str] = (),
        late: bool = False,
    ) -> None:
        """Writes all of it in one transaction."""
        async with self.connection.transaction():
            await self.write(samples, reports, sources=sources, late=late)

    async def write(
        self,
        samples: Sequence[Sample] = (),
        reports: Sequence[Report] = (),
        *,
        sources: Sequence[str] = (),
        late: bool = False,
    ) -> None:
        """Writes all of it in the transaction that the caller has opened; `late` to buckets that have closed."""
        touched: dict[tuple[str, int], set[str]] = {}
        for tier in TIERS:
            rows: dict[_Key, _Cell] = {}
            for sample in samples:
                base, area_id = with_drills(self.site.kpis).base(sample.kpi), AreaId(sample.area)
                for area in self.site.areas.path(area_id):
                    bucket_s = bucket_start(sample.time_s, tier, self.site.areas.zone(area))
                    _count(rows, base, area, datetime.fromtimestamp(bucket_s, UTC), sample)
                minute_s = minute_start(sample.time_s)
                touched.setdefault((base.id, minute_s), set()).update(self.site.areas.touched_by(area_id))
            await self._add(tier, rows, late=late)
        now = utc_now()
        for report in reports:
            await self.connection.execute(
                """INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body,
                window_time)
                VALUES ($1, $2, $3, $4, $5, $5, $6, 'test-2025', $7, $5)""",
                report.source,
                report.id,
                report.type,
                report.subject,
                now,
                report.area,
                _body(report, now),
            )
        heard = sorted({report.source for report in reports} | set(sources))
        for source in heard:
            await self.connection.execute(
                """INSERT INTO source_seen AS s (source, shard, topic, n, time, received_at)
                VALUES ($1, $2, 'cases.v1', 1, $3, $3) ON CONFLICT (source, topic, shard) DO UPDATE SET
                n = s.n + 1, time = greatest(s.time, excluded.time),
                received_at = greatest(s.received_at, excluded.received_at)""",
                source,
                self.shard,
                now,
            )
        change = {
            "kpis": [[kpi, minute_s, sorted(areas)] for (kpi, minute_s), areas in sorted(touched.items())],
            "events": len(reports),
            "sources": heard,
        }
        await self.tell(change)

    async def tell(self, change: dict[str, Any]) -> None:
        """Writes a row of the change feed."""
        await self.connection.execute("INSERT INTO change (touched) VALUES ($1)", msgspec.json.encode(change))
        await self.connection.execute("NOTIFY ioc_change")

    async def close_until(self, time_s: float, *topics: str) -> None:
        """Lets the topics' watermarks stand where every bucket that ends until then has closed."""
        for topic in topics or [topic.name for topic in INPUTS]:
            await self.connection.execute(
                """INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset, watermark_s)
                VALUES ('ioc', $1, 0, gen_random_uuid(), 1, $2)
                ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET watermark_s = excluded.watermark_s""",
                f"test.{topic}",
                time_s + self.site.header.closing.grace_s,
            )

    async def _add(self, tier: Tier, rows: "dict[_Key, _Cell]", *, late: bool) -> None:
        for (kpi, area, bucket, dim, _), cell in rows.items():
            if cell.items or cell.bins:
                before = await self.connection.fetchval(
                    f"""SELECT sketch FROM kpi_{tier.value}
                    WHERE kpi = $1 AND area = $2 AND bucket = $3 AND dim = $4 AND shard = $5""",
                    *(kpi, area, bucket, dim, self.shard),
                )
                stored = [before] if before else []
                cell.sketch = (
                    merge([sketch_of(cell.items), *stored])
                    if cell.items
                    else encode_bins(merge_bins([encode_bins(cell.bins), *stored]))
                )
        first = (
            """, first_n = coalesce(k.first_n, k.n),
            first_total = CASE WHEN k.first_n IS NULL THEN k.total ELSE k.first_total END,
            first_low = CASE WHEN k.first_n IS NULL THEN k.low ELSE k.first_low END,
            first_high = CASE WHEN k.first_n IS NULL THEN k.high ELSE k.first_high END,
            first_sketch = CASE WHEN k.first_n IS NULL THEN k.sketch ELSE k.first_sketch END,
            corrected_at = excluded.corrected_at"""
            if late
            else ""
        )
        await self.connection.executemany(
            f"""INSERT INTO kpi_{tier.value} AS k
            (kpi, area, bucket, dim, bin, shard, n, total, low, high, sketch, first_n, first_total, corrected_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12::bigint, $12::bigint, $13)
            ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE SET n = k.n + excluded.n,
            total = CASE WHEN k.bin > -2147483648 THEN k.total + excluded.total
                         WHEN excluded.high > k.high THEN excluded.total ELSE k.total END,
            low = least(k.low, excluded.low), high = greatest(k.high, excluded.high),
            sketch = excluded.sketch{first}""",
            [
                (
                    *key,
                    self.shard,
                    *(cell.n, cell.total, cell.low, cell.high, cell.sketch),
                    0 if late else None,
                    utc_now() if late else None,
                )
                for key, cell in sorted(rows.items(), key=lambda row: row[0])
            ],
        )


_Key = tuple[str, str, datetime, str, int]
"""Base, area, bucket, dimension value and sketch bin."""


class _Cell(msgspec.Struct):
    """What one commit adds to a row."""

    n: int = 0
    total: int = 0
    low: float | None = None
    high: float | None = None
    items: set[str] = msgspec.field(default_factory=set[str])
    bins: dict[int, int] = msgspec.field(default_factory=dict[int, int])
    sketch: bytes | None = None


def _count(rows: dict[_Key, _Cell], base: Base, area: AreaId, bucket: datetime, sample: Sample) -> None:
    bin_, dim, total = 0, sample.dim, round(sample.value * MICRO)
    if base.measure is Measure.LATEST:
        bin_, dim = LATEST_BIN, DIM_SEPARATOR.join([*([dim] if base.dimensions else []), sample.area])
    cell = rows.setdefault((base.id, area, bucket, dim, bin_), _Cell())
    cell.n += 1
    match base.measure:
        case Measure.LATEST:
            said_s = sample.time_s if sample.said_s is None else sample.said_s
            at, total = max((cell.high or 0.0, cell.total), (float(said_s), total))
            cell.high, cell.total = at, total
        case Measure.MIN | Measure.MAX:
            cell.low = min(cell.low if cell.low is not None else sample.value, sample.value)
            cell.high = max(cell.high if cell.high is not None else sample.value, sample.value)
        case Measure.DISTINCT:
            cell.items.add(sample.what)
        case Measure.PERCENTILE:
            cell.total += total
            cell.bins[bin_of(sample.value)] = cell.bins.get(bin_of(sample.value), 0) + 1
        case _:
            cell.total += total


@asynccontextmanager
async def writer(database_url: str, shard: int = 0) -> AsyncGenerator[Writer]:
    """A writer with a connection of its own."""
    connection = await asyncpg.connect(database_url)
    try:
        yield Writer(connection, shard)
    finally:
        connection.terminate()


class CountingWorker:
    """A worker as the others see it: a row that beats for as long as it lives."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", id_: str) -> None:
        self._connection = connection
        self._id = id_
        self._beating = asyncio.Lock()
        self.task: asyncio.Task[None] | None = None

    async def beat(self, state: str = "counting", detail: str = "", age_s: float = 0.0) -> None:
        """Says it once, as if it had been so many seconds ago."""
        async with self._beating:
            await self._connection.execute(
                """INSERT INTO worker (id, state, detail, started_at, beat_at)
                VALUES ($1, $2, $3, clock_timestamp(), clock_timestamp() - make_interval(secs => $4))
                ON CONFLICT (id) DO UPDATE
                SET state = excluded.state, detail = excluded.detail, beat_at = excluded.beat_at""",
                self._id,
                state,
                detail,
                age_s,
            )

    async def live(self) -> None:
        """Beats until it is cancelled."""
        while True:
            await self.beat()
            await asyncio.sleep(1)

    async def fall_silent(self) -> None:
        """Beats no more, as after a kill -9."""
        assert self.task is not None
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task

    async def halt(self, detail: str) -> None:
        """Says why it stops, and beats no more."""
        await self.fall_silent()
        await self.beat("halted", detail)


@asynccontextmanager
async def counting(database_url: str, id_: str = "here/0") -> AsyncGenerator[CountingWorker]:
    """A worker that counts."""
    connection = await asyncpg.connect(database_url)
    worker = CountingWorker(connection, id_)
    try:
        await worker.beat()
        worker.task = asyncio.create_task(worker.live())
        yield worker
    finally:
        if worker.task is not None:
            await worker.fall_silent()
        connection.terminate()


class Running(msgspec.Struct, frozen=True):
    """A dashboard behind a real server."""

    address: str
    server: uvicorn.Server
    task: "asyncio.Task[None]"

    @property
    def http(self) -> str:
        """The origin for requests."""
        return f"http://{self.address}"

    @asynccontextmanager
    async def live(self, **options: Any) -> AsyncGenerator[ClientConnection]:
        """A live client that has said nothing yet."""
        settings: dict[str, Any] = {"max_size": None, "compression": None, "proxy": None, **options}
        async with connect(f"ws://{self.address}/v1/live", **settings) as client:
            yield client


PATIENT = {"answer_timeout_s": 30.0, "feed_timeout_s": 30.0}
"""A machine that is busy with other tests is not a database that is away."""

IMPATIENT = {"answer_timeout_s": Bounds().answer_timeout_s, "feed_timeout_s": Bounds().feed_timeout_s}
"""As people have it, for tests in which the database is away."""


@asynccontextmanager
async def dashboard(
    database_url: str,
    port: int = 0,
    current_site: Callable[[], Site] = site,
    now: Callable[[], datetime] = utc_now,
    config: Mapping[str, Any] | None = None,
    **bounds: Any,
) -> AsyncGenerator[Running]:
    """The dashboard on a port of its own, with the server options that it asks for."""
    app = create_app(
        DashboardConfig(
            database_url=database_url,
            current_site=current_site,
            now=now,
            bounds=Bounds(**PATIENT | bounds),
            **(config or {}),
        )
    )
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **SERVER_OPTIONS))
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve([listener]))
    try:
        async with asyncio.timeout(WAIT_S):
            while not server.started:  # noqa: ASYNC110  # uvicorn offers no event
                await asyncio.sleep(0.01)
        yield Running(f"127.0.0.1:{listener.getsockname()[1]}", server, task)
    finally:
        server.should_exit = True
        with contextlib.suppress(asyncio.CancelledError):
            await task
        listener.close()


async def say(client: ClientConnection, **message: Any) -> None:
    """Sends one message."""
    await client.send(msgspec.json.encode(message).decode())


async def hear(client: ClientConnection, *ops: str) -> dict[str, Any]:
    """The next message of one of these kinds."""
    async with asyncio.timeout(WAIT_S):
        while True:
            message = msgspec.json.decode(await client.recv())
            if message["op"] in ops:
                return message


def _body(report: Report, now: datetime) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": report.id,
            "source": report.source,
            "type": report.type,
            "subject": report.subject or report.id,
            "time": now,
            "area": report.area,
            "data": {"category": "road", "text": report.text},
            "receivedat": now,
            "arealist": "test-2025",
        }
    )
