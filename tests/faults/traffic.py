"""What is sent in the meantime, and what of it was accepted?"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
import msgspec
from aiokafka import AIOKafkaProducer

from schemas import codec, topics
from tests.faults.centre import SITE, WAIT_S, Centre

BEGIN = datetime(2025, 3, 9, 5, 30, tzinfo=UTC)  # clocks go forward in Boston an hour and a half later
MINUTES = 180
CHUNK = 40
RESENT_SHARE = 0.1

_AREAS = sorted(area.code for area in SITE.areas)


class Sender(Protocol):
    """Gets events accepted, however long it takes."""

    async def send(self, raws: Sequence[bytes]) -> None:
        """Returns when all of them are accepted."""
        ...


class LogSender:
    """Writes to the log as `ingest` does, without its HTTP."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def send(self, raws: Sequence[bytes]) -> None:
        """See Sender."""
        sent: list[asyncio.Future[Any]] = []
        for raw in raws:
            event = codec.decode(raw)
            sealed = codec.seal(raw, datetime.now(UTC), SITE.areas.list_id)
            name = self._prefix + topics.topic_of(event).name
            sent.append(await self._producer.send(name, key=topics.key_of(event), value=sealed))
        await asyncio.gather(*sent)


class HttpSender:
    """Posts to the gateway, and sends all again when it promises nothing, as a client must."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.refusals = 0

    async def send(self, raws: Sequence[bytes]) -> None:
        """See Sender."""
        headers = {"content-type": "application/cloudevents-batch+json"}
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post("/v1/events", content=b"[%b]" % b",".join(raws), headers=headers)
                if answer.status_code == 202:
                    assert answer.json()["rejected"] == 0
                    return
                assert answer.status_code == 503, answer.text
            self.refusals += 1
            await asyncio.sleep(0.1)


class Traffic:
    """Events of all three topics without end, a share of them sent again, until it is told to stop."""

    def __init__(self, centre: Centre, sender: Sender, seed: int = 1, pause_s: float = 0.04) -> None:
        """`pause_s` lies between two chunks."""
        self._centre = centre
        self._sender = sender
        self._seed = seed
        self._rng = random.Random(seed)
        self._pause_s = pause_s
        self._past: list[bytes] = []
        self.sent = 0
        self.resent = 0

    async def send(self, chunks: int) -> None:
        """Sends so many chunks; what is accepted becomes truth."""
        for _ in range(chunks):
            raws = events(CHUNK, f"{self._seed}-{self.sent}", self._rng)
            if self._past:
                again = self._rng.sample(self._past, min(len(self._past), int(CHUNK * RESENT_SHARE)))
                self.resent += len(again)
                # Resends keep what ordered the first: they stand behind it on the same partition.
                raws += again
            await self._sender.send(raws)
            self._centre.truth.accept(map(codec.decode, raws))
            self.sent += CHUNK
            self._past += raws[:CHUNK]
            await asyncio.sleep(self._pause_s)

    async def again(self) -> None:
        """Sends everything once more."""
        await self._sender.send(self._past)
        self.resent += len(self._past)

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Sends for as long as the block lasts, and some more."""
        over = asyncio.Event()

        async def send() -> None:
            while not over.is_set():
                await self.send(1)

        task = asyncio.create_task(send())
        try:
            yield
            over.set()
            async with asyncio.timeout(WAIT_S):
                await task
        finally:
            task.cancel()


@asynccontextmanager
async def traffic(centre: Centre, seed: int = 1, pause_s: float = 0.04) -> AsyncIterator[Traffic]:
    """Traffic straight onto the log."""
    async with centre.producer() as producer:
        yield Traffic(centre, LogSender(producer, centre.prefix), seed, pause_s)


@asynccontextmanager
async def through_ingest(
    centre: Centre, seed: int = 1, pause_s: float = 0.04
) -> AsyncIterator[tuple[HttpSender, Traffic]]:
    """Traffic through the real gateway, in a process of its own."""
    with centre.ingest() as address:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            sender = HttpSender(client)
            yield sender, Traffic(centre, sender, seed, pause_s)


def events(count: int, name: str, rng: random.Random) -> list[bytes]:
    """Different events of all types: cases with keys of their own, detections and metrics of few sources."""
    return [_event(f"{name}-{number}", kind, rng) for number, kind in zip(range(count), itertools.cycle(range(5)))]


def _event(id_: str, kind: int, rng: random.Random) -> bytes:
    time = BEGIN + timedelta(milliseconds=rng.randrange(MINUTES * 60_000))
    due_at = time + timedelta(seconds=rng.choice([-60, 0, 60]))
    type_, source, data = (
        ("ioc.feedback.received.v1", "hotline", {"category": rng.choice("abc"), "channel": "phone"}),
        ("ioc.feedback.closed.v1", "hotline", {"category": "a", "agency": rng.choice("PQ"), "due_at": due_at}),
        ("ioc.camera.incident.v1", "cameras", {"camera": "c", "kind": rng.choice("xy"), "severity": "minor"}),
        (
            "ioc.camera.detection.v1",
            f"camera-{rng.randrange(40)}",
            {"camera": "c", "kind": rng.choice(["car", "bus"]), "count": rng.randrange(1, 6)},
        ),
        (
            "ioc.service.metric.v1",
            f"host-{rng.randrange(40)}",
            {"service": rng.choice("uv"), "metric": "cpu_utilization", "value": rng.randrange(1600) / 16},
        ),
    )[kind]
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": id_,
            "type": type_,
            "source": source,
            "subject": f"subject-{id_}",
            "time": time,
            "area": rng.choice(_AREAS),
            "data": data,
        }
    )
