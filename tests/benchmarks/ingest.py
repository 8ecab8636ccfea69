"""How many events a second does the centre take in, and how many would a server that only parses them?

The centre's answer comes after Kafka's acknowledgement; the bare server parses the same bodies and forgets them. Each
server and the load are processes of their own, and the servers are measured in turns, so that what else the machine
does falls on both alike.
"""

import asyncio
import json
import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from msgspec import Struct

from deploy.local.ports import free_port
from deploy.migrate import ensure_topics, migrate_schema
from schemas.topics import DETECTIONS
from tests.benchmarks.services import Services
from tests.benchmarks.workload import AREAS, PARTITIONS

PATH = "/v1/events"
BATCH_EVENTS = 100
CONNECTIONS = 32
REPETITIONS, REPETITIONS_QUICK = 5, 2
SECONDS, SECONDS_QUICK = 3.0, 0.7
"""One server under one kind of load, once."""
READY_S = 60.0
LOAD_STOP_S = 30.0


class Load(Struct, frozen=True, kw_only=True):
    """What is sent over and over. `figure` and `bare_figure` are the names of events or requests a second."""

    figure: str
    bare_figure: str
    content_type: str
    body: bytes
    events: int


def loads() -> list[Load]:
    """A batch of a camera system, and one event by itself."""
    events = [_event(number) for number in range(BATCH_EVENTS)]
    return [
        Load(
            figure="ingest_events_s",
            bare_figure="ingest_bare_events_s",
            content_type="application/cloudevents-batch+json",
            body=msgspec.json.encode(events),
            events=BATCH_EVENTS,
        ),
        Load(
            figure="ingest_requests_s",
            bare_figure="ingest_bare_requests_s",
            content_type="application/cloudevents+json",
            body=msgspec.json.encode(events[0]),
            events=1,
        ),
    ]


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """The figures' names with one figure for each repetition.

    Raises RuntimeError when an accepted event is not in Kafka.
    """
    prefix = f"ingest-{uuid.uuid4().hex[:6]}."
    await migrate_schema(services.database_url)
    await ensure_topics(services.kafka, prefix)
    centre, bare = free_port(), free_port()
    processes = [
        _start(services.folder, "web", services.kafka, services.database_url, prefix, str(centre)),
        _start(services.folder, "bare", str(bare)),
    ]
    figures: dict[str, list[float]] = {}
    accepted = 0
    try:
        for port in (centre, bare):
            await _ready(port)
        for repetition in range(1 + (REPETITIONS_QUICK if quick else REPETITIONS)):
            seconds = SECONDS_QUICK if quick or not repetition else SECONDS
            for load in loads():
                for port, name in ((centre, load.figure), (bare, load.bare_figure)):
                    answered, took_s = await asyncio.to_thread(_run, services.folder, load, port, seconds)
                    accepted += answered * load.events if port == centre else 0
                    # The first round warms both servers up.
                    if repetition:
                        figures.setdefault(name, []).append(answered * load.events / took_s)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    await _check(services.kafka, prefix + DETECTIONS.name, accepted)
    return figures


def _event(number: int) -> dict[str, object]:
    camera = f"camera-{number % PARTITIONS}"
    return {
        "specversion": "1.0",
        "type": "ioc.camera.detection.v1",
        "id": f"{number:012}",
        "source": f"//cameras/{number % PARTITIONS}",
        "subject": camera,
        "time": f"2026-05-28T20:26:{number % 60:02}.250Z",
        "area": f"{number % AREAS:05}",
        "datacontenttype": "application/json",
        "data": {"camera": camera, "kind": "car", "count": 1 + number % 3, "score": 0.87},
    }


def _start(folder: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    with (folder / f"ingest-{module}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments], stdout=log, stderr=log
        )


async def _ready(port: int) -> None:
    """Returns when the server takes events. The centre does not call itself ready here, since no worker counts."""
    url = f"http://127.0.0.1:{port}{PATH}"
    single = loads()[-1]
    deadline_s = time.monotonic() + READY_S
    said = "nothing"
    async with httpx.AsyncClient(timeout=READY_S) as client:
        while time.monotonic() < deadline_s:
            try:
                answer = await client.post(url, content=single.body, headers={"content-type": single.content_type})
                if answer.status_code == httpx.codes.ACCEPTED:
                    return
                said = answer.text
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"{url} took no event within {READY_S:.0f} s: it said {said}")


def _run(folder: Path, load: Load, port: int, seconds: float) -> tuple[int, float]:
    """Answers, and in how many seconds. Raises RuntimeError when one of them is no acceptance."""
    body = folder / "ingest-body.json"
    body.write_bytes(load.body)
    url = f"http://127.0.0.1:{port}{PATH}"
    arguments = [url, load.content_type, str(body), str(CONNECTIONS), str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.load", *arguments],
        capture_output=True,
        check=True,
        timeout=seconds + LOAD_STOP_S,
    )
    report = json.loads(done.stdout)
    if set(report["statuses"]) != {"202"}:
        raise RuntimeError(f"{url} answered {report['statuses']}, and 202 alone is an acceptance")
    return report["statuses"]["202"], report["seconds"]


async def _check(bootstrap: str, topic: str, accepted: int) -> None:
    """Raises RuntimeError when the topic holds fewer records than were accepted."""
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    await consumer.start()
    try:
        partitions = [TopicPartition(topic, number) for number in range(DETECTIONS.partitions)]
        written = sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()
    # What was under way when a load ended is on the log, but was not counted as accepted.
    if written < accepted:
        raise RuntimeError(f"{accepted} events were accepted, and {written} are in Kafka")
