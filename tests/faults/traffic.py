"""What is sent in the meantime, and what of it was accepted?"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import httpx
import msgspec
from aiokafka import AIOKafkaProducer

from schemas import codec, topics
from tests.faults.centre import WAIT_S, Centre
from tests.faults.site import SITE
from tests.streams import world

CHUNK = 42
CHUNK_S = 15
"""How far the log's clock goes on from one chunk to the next: fast, so that buckets close while a test runs."""

BEHIND = timedelta(hours=6)
"""How far behind the wall's clock the log's clock begins; a broker soon deletes what is older than its retention."""

RESENT_SHARE = 0.1
RESENDABLE = 40 * CHUNK
"""The newest events, of which some are sent again: within the half hour in which high-rate ones are remembered."""

LIST = SITE.areas.list_id
AREAS = ("0101", "0102", "02", "0202")
TYPES = (*world.TYPES[:4], "ioc.feedback.received.v1", *world.PASSING)
SOURCES = 3

_CLOCKS_CHANGE = datetime(2025, 4, 5, 14, 30, tzinfo=UTC)
"""Half an hour later they go back in Lord Howe."""

_LATE_S = (0, 0, 0, 0, -1, -40, -150, -600, -4200, -90_000, 600)


class Sender(Protocol):
    """Gets events accepted, however long it takes."""

    async def send(self, raws: Sequence[bytes], logged: datetime) -> None:
        """Returns when all of them are accepted. `logged` is the log's clock, where the sender may set it."""
        ...


class LogSender:
    """Writes to the log as `ingest` does, without its HTTP."""

    def __init__(self, producer: AIOKafkaProducer, prefix: str) -> None:
        self._producer = producer
        self._prefix = prefix

    async def send(self, raws: Sequence[bytes], logged: datetime) -> None:
        """See Sender."""
        sent: list[asyncio.Future[Any]] = []
        logged_ms = int(logged.timestamp() * 1000)
        for raw in raws:
            event = codec.decode(raw)
            name = self._prefix + topics.topic_of(event).name
            sealed = codec.seal(raw, logged, LIST)
            sent.append(await self._producer.send(name, sealed, topics.key_of(event), timestamp_ms=logged_ms))
        await asyncio.gather(*sent)


class HttpSender:
    """Posts to the gateway, and sends all again when it promises nothing, as a client must."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.refusals = 0

    async def send(self, raws: Sequence[bytes], logged: datetime) -> None:
        """See Sender."""
        del logged  # the gateway has a clock of its own
        headers = {"content-type": "application/cloudevents-batch+json"}
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = await self._client.post("/v1/events", content=b"[%b]" % b",".join(raws), headers=headers)
                if answer.status_code == 202:
                    assert answer.json()["rejected"] == 0, answer.text
                    return
                assert answer.status_code == 503, answer.text
            self.refusals += 1
            await asyncio.sleep(0.1)


class Traffic:
    """Events of all topics without end until it is told to stop: some late, some drills, some sent again, some that
    replace or take back another one, which may come later or lie on another partition.
    """

    def __init__(self, centre: Centre, sender: Sender, seed: int = 1, pause_s: float = 0.08) -> None:
        """`pause_s` lies between two chunks."""
        self._centre = centre
        self._sender = sender
        self._seed = seed
        self._rng = random.Random(seed)
        self._pause_s = pause_s
        self._past: deque[bytes] = deque(maxlen=RESENDABLE)
        self._logged = datetime.now(UTC).replace(microsecond=0) - BEHIND
        self.sent = 0
        self.resent = 0

    async def send(self, chunks: int) -> None:
        """Sends so many chunks; what is accepted becomes truth."""
        for _ in range(chunks):
            # A replacement is as old as its chunk: of several for one event that of the last chunk counts.
            self._logged = min(self._logged + timedelta(seconds=CHUNK_S), datetime.now(UTC).replace(microsecond=0))
            fresh = events(CHUNK, f"{self._seed}", self._rng, self._logged, self.sent)
            again = self._rng.sample(self._past, min(len(self._past), int(CHUNK * RESENT_SHARE)))
            self.resent += len(again)
            # Resends keep what ordered the first: they stand behind it on the same partition.
            await self._send([*fresh, *again])
            self.sent += CHUNK
            self._past += fresh
            await asyncio.sleep(self._pause_s)

    async def again(self) -> None:
        """Sends everything once more."""
        await self._send(list(self._past))
        self.resent += len(self._past)

    async def _send(self, raws: list[bytes]) -> None:
        await self._sender.send(raws, self._logged)
        self._centre.truth.accept(codec.decode(codec.seal(raw, self._logged, LIST)) for raw in raws)

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
async def traffic(centre: Centre, seed: int = 1, pause_s: float = 0.08) -> AsyncIterator[Traffic]:
    """Traffic straight onto the log."""
    async with centre.producer() as producer:
        yield Traffic(centre, LogSender(producer, centre.prefix), seed, pause_s)


@asynccontextmanager
async def through_ingest(
    centre: Centre, seed: int = 1, pause_s: float = 0.08
) -> AsyncIterator[tuple[HttpSender, Traffic]]:
    """Traffic through the real gateway, in a process of its own."""
    with centre.ingest() as address:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            sender = HttpSender(client)
            yield sender, Traffic(centre, sender, seed, pause_s)


def events(count: int, name: str, rng: random.Random, at: datetime | None = None, first: int = 0) -> list[bytes]:
    """Different events of all types about a moment, by default now, numbered from `first` on: reports and
    observations with keys of their own, detections and metrics of few sources. Of them no two correct the same one.
    """
    moment = at or datetime.now(UTC)
    corrected: set[int] = set()
    return [_event(name, number, rng, moment, corrected) for number in range(first, first + count)]


def _event(name: str, number: int, rng: random.Random, moment: datetime, corrected: set[int]) -> bytes:
    type_ = TYPES[number % len(TYPES)]
    time = moment + timedelta(seconds=rng.choice(_LATE_S))
    if rng.randrange(30) == 0:
        time = _CLOCKS_CHANGE + timedelta(minutes=rng.randrange(0, 60, 5))
    flags: dict[str, Any] = {"exercise": True} if rng.randrange(40) == 0 else {}
    # Another one of the same type and source, within a few chunks before or the two to come.
    target = number + len(TYPES) * SOURCES * rng.randrange(-10, 4)
    if type_ in world.CORRECTABLE and rng.randrange(6) == 0 and target not in (number, *corrected):
        corrected.add(target)
        flags[rng.choice(["supersedes", "supersedes", "withdraws"])] = f"{name}-{target}"
    data = world.some_data(type_, time, rng)
    if "period" in data:
        data["period"] = rng.choice([f"{moment:%Y-%m}", "2025-04-05", "2025"])
    # Of an indicator one source reports: what it says first is then what is said first.
    spread = {"ioc.indicator.observed.v1": 1, **dict.fromkeys(world.PASSING, 40)}.get(type_, SOURCES)
    return msgspec.json.encode(
        world.attributes(
            type_,
            id=f"{name}-{number}",
            source=f"{type_.split('.')[1]}-{number % spread}",
            subject=f"subject-{name}-{number}",
            time=time.isoformat(),
            area=rng.choice(AREAS),
            arealist=LIST,
            data=data,
            **flags,
        )
    )
