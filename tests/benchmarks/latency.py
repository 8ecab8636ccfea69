"""How long does it take from a POST to the board?

5,000 camera detections a second arrive in batches of 50, each batch in one of 200 areas in turn. A client of the
live feed watches all areas; a batch has arrived when its area's total on the feed holds it. The wait is measured
from before the POST is sent to when the message is decoded, so the client's own time counts too.
"""

import asyncio
import subprocess
import sys
import time
import uuid
from collections import defaultdict, deque
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import Any

import asyncpg
import httpx
import msgspec
from websockets.asyncio.client import ClientConnection, connect

from deploy.local.ports import free_port
from deploy.migrate import ensure_topics, migrate_schema
from tests.benchmarks.services import Services
from tests.benchmarks.workload import AREAS, PARTITIONS

EVENTS_S = 5_000
BATCH_EVENTS = 50
WORKERS = 2
SECONDS, SECONDS_QUICK = 60, 15
READY_S = 60.0
SETTLE_S = 3.0
"""How long the lanes have to be taken over before the load, and its last batches to arrive after it."""
HEADERS = {"content-type": "application/cloudevents-batch+json"}


class Watch:
    """What the feed has shown of each area, and since when each batch has been waited for."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self._shown: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._sent: defaultdict[str, int] = defaultdict(int)
        self._waiting: defaultdict[str, deque[tuple[int, float]]] = defaultdict(deque)

    def send(self, area: str) -> None:
        """A batch for this area is about to be posted."""
        self._sent[area] += BATCH_EVENTS
        self._waiting[area].append((self._sent[area], time.perf_counter()))

    def show(self, message: dict[str, Any]) -> None:
        """The feed has said something."""
        for value in message.get("values", ()):
            buckets = self._shown[value["area"]]
            buckets[value["bucket"]] = value["n"]
            total, waiting = sum(buckets.values()), self._waiting[value["area"]]
            while waiting and waiting[0][0] <= total:
                self.waits_s.append(time.perf_counter() - waiting.popleft()[1])

    @property
    def waiting(self) -> int:
        """Batches that the feed has not shown."""
        return sum(map(len, self._waiting.values()))


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """Runs the load once; the figures' names with one figure each."""
    prefix = f"latency-{uuid.uuid4().hex[:6]}."
    await migrate_schema(services.database_url)
    await ensure_topics(services.kafka, prefix)
    url = services.database_url
    connection = await asyncpg.connect(url)
    # Another benchmark may have counted by another catalogue here.
    await connection.execute("TRUNCATE position, site_switch, site_version")
    await connection.close()
    port = free_port()
    processes = [
        _start(services.folder, "web", services.kafka, services.database_url, prefix, str(port)),
        *(
            _start(services.folder, "counters", "ours", services.kafka, prefix, url, prefix, str(n), "one")
            for n in range(WORKERS)
        ),
    ]
    try:
        origin = f"127.0.0.1:{port}"
        async with httpx.AsyncClient(base_url=f"http://{origin}", timeout=30) as client:
            await _ready(client)
            async with connect(f"ws://{origin}/v1/live", max_size=None) as feed:
                waits_s = await _load(client, feed, SECONDS_QUICK if quick else SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    cuts = quantiles(waits_s, n=100)
    return {"latency_board_p50_s": [cuts[49]], "latency_board_p99_s": [cuts[98]]}


async def _load(client: httpx.AsyncClient, feed: ClientConnection, seconds: int) -> list[float]:
    watch = Watch()
    areas = [f"{number:05}" for number in range(AREAS)]
    await feed.send(
        msgspec.json.encode(
            {"op": "subscribe", "areas": areas, "tier": "minute", "points": 10, "events": 0, "sources": False}
        ).decode()
    )

    async def listen() -> None:
        async for text in feed:
            watch.show(msgspec.json.decode(text))

    listener = asyncio.create_task(listen())
    # One POST goes through all partitions first, so that no lane is taken over while the clock runs.
    await _post(client, -1, areas[0], watch)
    await asyncio.sleep(SETTLE_S)
    watch.waits_s.clear()
    batches = seconds * EVENTS_S // BATCH_EVENTS
    due_s = accumulate([BATCH_EVENTS / EVENTS_S] * batches, initial=time.perf_counter())
    async with asyncio.TaskGroup() as posts:
        for number, at_s in zip(range(batches), due_s, strict=False):
            await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
            posts.create_task(_post(client, number, areas[number % AREAS], watch))
    await asyncio.sleep(SETTLE_S)
    listener.cancel()
    if watch.waiting:
        raise RuntimeError(f"{watch.waiting} of {batches} batches never came to the board")
    return watch.waits_s


async def _post(client: httpx.AsyncClient, number: int, area: str, watch: Watch) -> None:
    time_ = datetime.now(UTC).isoformat(timespec="milliseconds")
    events = [
        {
            "specversion": "1.0",
            "type": "ioc.camera.detection.v1",
            "id": f"{number}-{index}",
            "source": f"//cameras/{index % PARTITIONS}",
            "time": time_,
            "area": area,
            "data": {"camera": f"camera-{index % PARTITIONS}", "kind": "car"},
        }
        for index in range(BATCH_EVENTS)
    ]
    body = msgspec.json.encode(events)
    watch.send(area)
    answer = await client.post("/v1/events", content=body, headers=HEADERS)
    if answer.status_code != httpx.codes.ACCEPTED or answer.json()["accepted"] != BATCH_EVENTS:
        raise RuntimeError(f"ingest answered {answer.status_code}: {answer.text[:300]}")


async def _ready(client: httpx.AsyncClient) -> None:
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            if (await client.get("/readyz")).status_code == httpx.codes.OK:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the web process was not ready within {READY_S:.0f} s")


def _start(folder: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"latency-{module}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments], stdout=log, stderr=log
        )
