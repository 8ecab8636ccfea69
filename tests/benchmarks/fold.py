"""How many events a second does the path from Kafka to TimescaleDB count, and how many do others?

Every counter is a process of its own and reads the same log from its start. Starting up is not measured: the clock
runs from the first counted events to the last.
"""

import asyncio
import json
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from msgspec import Struct

from deploy.migrate import ensure_topics, migrate_schema
from tests.benchmarks.services import Services
from tests.benchmarks.workload import ROOT, Workload, fill

WAIT_S = 300.0
POLL_S = 0.01


class Run(Struct, frozen=True, kw_only=True):
    """One run of one counter."""

    events: int
    seconds: float
    rss_bytes: int

    @property
    def events_s(self) -> float:
        """Events a second."""
        return self.events / self.seconds


class Log(Struct, frozen=True, kw_only=True):
    """A topic filled with the workload."""

    prefix: str
    events: int
    workload: str


async def prepare(services: Services, events: int, workload: str = "one") -> Log:
    """Writes a log of its own with so many events: detections alone, or the mixture for the reference catalogue."""
    prefix = f"bench-{workload.replace('@', '-')}-{events}."
    log = Log(prefix=prefix, events=events, workload=workload)
    await migrate_schema(services.database_url)
    if await ensure_topics(services.kafka, log.prefix):
        await fill(services.kafka, log.prefix, events, workload)
    return log


def rival(kind: str, services: Services, log: Log) -> Run:
    """Runs `raw`, `stock`, `stock_catalogue` or `quix` over the log."""
    arguments = [kind, services.kafka, log.prefix, str(log.events)]
    with _process(arguments, services.folder / f"{kind}.log") as process:
        output, _ = process.communicate(timeout=WAIT_S)
    figures = json.loads(output.splitlines()[-1])
    return Run(events=figures["events"], seconds=figures["seconds"], rss_bytes=figures["rss"])


async def ours(services: Services, log: Log, workers: int) -> Run:
    """Runs so many workers over the log, and checks that every event was counted once."""
    connection = await asyncpg.connect(services.database_url)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        await connection.execute(
            "TRUNCATE position, event, kpi_minute, kpi_hour, kpi_day, source_seen, change, site_switch, site_version"
        )
        group = f"bench-{uuid.uuid4().hex[:8]}"
        for worker in range(workers):
            arguments = ["ours", services.kafka, log.prefix, services.database_url, group, str(worker), log.workload]
            processes.append(_start(arguments, services.folder / f"ours-{workers}-{worker}.log"))
        first, started_s = 0, 0.0
        deadline_s = time.monotonic() + WAIT_S
        while True:
            counted = int(await connection.fetchval("SELECT coalesce(sum(next_offset), 0) FROM position"))
            if counted and not started_s:
                first, started_s = counted, time.perf_counter()
            if counted >= log.events:
                break
            if time.monotonic() > deadline_s or any(process.poll() is not None for process in processes):
                raise RuntimeError(f"{counted} of {log.events} events were counted: see {services.folder}")
            await asyncio.sleep(POLL_S)
        seconds = time.perf_counter() - started_s
        await _check(connection, log)
        rss = sum(_peak_rss_bytes(process.pid) for process in processes)
        return Run(events=log.events - first, seconds=seconds, rss_bytes=rss)
    finally:
        for process in processes:
            process.kill()
            process.wait()
        await connection.close()


async def _check(connection: "asyncpg.Connection[asyncpg.Record]", log: Log) -> None:
    """Raises RuntimeError unless every detection was counted once."""
    kpis = Workload.parse(log.workload).kpis
    detections = log.events if kpis != "reference" else sum(n % 100 < 65 for n in range(log.events))
    counted = await connection.fetchval(
        "SELECT sum(n) FROM kpi_minute WHERE kpi LIKE 'camera.detections%' AND area = $1", ROOT
    )
    if counted != detections * (int(kpis) if kpis.isdigit() else 1):
        raise RuntimeError(f"{counted} detections are in the KPI, {detections} on the log")


def dedupe_rss_bytes(services: Services, ids: int) -> int:
    """What remembering so many ids costs a worker."""
    with _process(["dedupe", str(ids)], services.folder / "dedupe.log") as process:
        output, _ = process.communicate(timeout=WAIT_S)
    return int(json.loads(output.splitlines()[-1])["rss"])


def _start(arguments: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.counters", *arguments], stdout=subprocess.PIPE, stderr=errors
        )


@contextmanager
def _process(arguments: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = _start(arguments, log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0
