"""What do a site, a stream writer and a running dashboard look like to a test?

The writer does in one transaction what `streams` does: it upserts the partials of the three tables, the events and
the sources, writes the change row, and notifies.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec
import uvicorn
from websockets.asyncio.client import ClientConnection, connect

from dashboard_api.app import SERVER_OPTIONS, create_app
from dashboard_api.config import Bounds, DashboardConfig
from schemas.event import AreaCode
from schemas.kpi import Kpi, Measure
from schemas.site import Site, parse_site
from schemas.sketch import bin_of
from schemas.window import TIERS, bucket_start, minute_start

WAIT_S = 20.0
"""Longer than anything takes on a machine that is busy with other tests."""

SITE_TOML = """
id = "test"
names = { vi = "Tỉnh thử", en = "Test province" }
zone = "Asia/Ho_Chi_Minh"
area_list = "test-2025"
languages = ["vi", "en"]

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
dimension = "category"

[[kpi]]
id = "closed_in_time"
names = { vi = "Xử lý đúng hạn", en = "Closed in time" }
unit = "1"
event = "ioc.feedback.closed.v1"
measure = "in_time"
due = "due_at"

[[kpi]]
id = "response_ms"
names = { vi = "Thời gian đáp ứng", en = "Response time" }
unit = "ms"
event = "ioc.service.metric.v1"
measure = "distribution"
value = "value"
freshness_s = 60
"""


def site() -> Site:
    """Three KPIs of three measures, four areas in two zones, two sources of which one is simulated."""
    return parse_site({"site.toml": SITE_TOML, "areas.csv": AREAS_CSV, "kpis.toml": KPIS_TOML})


def utc_now() -> datetime:
    """The clock that tests pass in."""
    return datetime.now(UTC)


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One event as far as the KPIs care."""

    kpi: str
    area: str
    time_s: int
    value: float = 1.0
    dim: str = ""


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
        self, samples: Sequence[Sample] = (), reports: Sequence[Report] = (), *, sources: Sequence[str] = ()
    ) -> None:
        """Writes all of it in one transaction."""
        async with self.connection.transaction():
            await self.write(samples, reports, sources=sources)

    async def write(
        self, samples: Sequence[Sample] = (), reports: Sequence[Report] = (), *, sources: Sequence[str] = ()
    ) -> None:
        """Writes all of it in the transaction that the caller has opened."""
        touched: dict[tuple[str, int], set[str]] = {}
        for tier in TIERS:
            rows: dict[tuple[Any, ...], list[float]] = {}
            for sample in samples:
                kpi = self.site.kpis[sample.kpi]
                for area in self.site.areas.path(AreaCode(sample.area)):
                    bucket_s = bucket_start(sample.time_s, tier, self.site.areas.zone(area))
                    key = (kpi.id, area, datetime.fromtimestamp(bucket_s, UTC), sample.dim, _bin(kpi, sample.value))
                    row = rows.setdefault(key, [0, 0.0, sample.value, sample.value])
                    rows[key] = [
                        row[0] + 1,
                        row[1] + sample.value,
                        min(row[2], sample.value),
                        max(row[3], sample.value),
                    ]
                    touched.setdefault((kpi.id, minute_start(sample.time_s)), set()).add(area)
            await self.connection.executemany(
                f"""INSERT INTO kpi_{tier.value} AS k (kpi, area, bucket, dim, bin, shard, n, total, low, high)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
                ON CONFLICT (kpi, area, bucket, dim, bin, shard) DO UPDATE SET n = k.n + excluded.n,
                total = k.total + excluded.total, low = least(k.low, excluded.low),
                high = greatest(k.high, excluded.high)""",
                [(*key, self.shard, int(row[0]), *row[1:]) for key, row in sorted(rows.items())],
            )
        now = utc_now()
        for report in reports:
            await self.connection.execute(
                """INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body)
                VALUES ($1, $2, $3, $4, $5, $5, $6, 'test-2025', $7)""",
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
        await self.connection.execute("INSERT INTO change (touched) VALUES ($1)", msgspec.json.encode(change))
        await self.connection.execute("NOTIFY ioc_change")


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


@asynccontextmanager
async def dashboard(database_url: str, port: int = 0, **bounds: Any) -> AsyncGenerator[Running]:
    """The dashboard on a port of its own, with the server options that it asks for."""
    app = create_app(DashboardConfig(database_url=database_url, current_site=site, now=utc_now, bounds=Bounds(**bounds)))
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


def _bin(kpi: Kpi, value: float) -> int:
    return bin_of(value) if kpi.measure is Measure.DISTRIBUTION else 0


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
