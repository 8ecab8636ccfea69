"""How many live clients does one API process serve, how soon, and at what cost?

The clients are of five kinds, each with the rights of a role and the wish of a page, and every change concerns all of
them. A bare FastAPI broadcast tells as many clients the same bytes at the same pace, in turns with ours. CPU is what
the server's process used, and memory what its clients added to it. Then more and more clients come, until the 99th
percentile passes half a second. Waits are from the commit to when a client has the message.

Last, five boards show everything while four writers commit 100 transactions a second.
"""

import asyncio
import contextlib
import multiprocessing
import random
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import msgspec
import psutil
from msgspec import Struct
from websockets.asyncio.client import connect

from deploy.local.ports import free_port
from deploy.migrate import migrate_schema
from schemas.case import Offer, OfferStep
from tests.benchmarks.live_load import MARKER, Heard, Plan, listen
from tests.benchmarks.services import Services
from tests.dashboard.case_rows import OPENED_AT, case, put_cases
from tests.dashboard.centre import Report, Sample, Writer, counting, writer

CLIENTS = 1_000
CHANGES_S = 5
SECONDS, SECONDS_QUICK = 20, 6
ROUNDS, ROUNDS_QUICK = 3, 1
KNEE_CLIENTS = (2_000, 4_000, 6_000, 8_000)
"""Further clients come in these steps; file handles end before more could."""
KNEE_S, KNEE_P99_S = 6, 0.5
CASES = 20
BUSY_CLIENTS, BUSY_CHANGES_S, BUSY_WRITERS = 5, 100, 4
BUSY_S, BUSY_S_QUICK = 15, 6
SETTLE_S = 1.5
READY_S = 60.0
AREAS = ("01", "02", "03")
OFFER = Offer(number=1, unit="u1", step=OfferStep.SEEN, at={OfferStep.SEEN: OPENED_AT})


class Kind(Struct, frozen=True):
    """Some of the clients: who they are, what they want, and how many of a hundred."""

    person: str | None
    share: int
    wish: Mapping[str, Any]


def _wish(**fields: Any) -> dict[str, Any]:
    return {"op": "subscribe", "events": 0, "sources": False, **fields}


KINDS = (
    # A wall that everybody sees.
    Kind(None, 30, _wish(areas=["00"], tier="minute", points=60)),
    # Who dispatches: all areas, the list of cases, and where units are.
    Kind(
        "olga",
        20,
        _wish(
            kpis=["feedback_received", MARKER, "response_ms"],
            areas=["00", *AREAS],
            points=60,
            events=20,
            sources=True,
            cases={"open": True},
            units=True,
            commands=True,
        ),
    ),
    # An agency in one ward.
    Kind(
        "wim",
        25,
        _wish(
            kpis=["feedback_received", MARKER, "response_ms"],
            areas=["01"],
            events=20,
            cases={"area": "01", "open": True},
            units=True,
        ),
    ),
    # A leader: days, down the tree.
    Kind("lena", 15, _wish(areas=["00", *AREAS], tier="day", points=7)),
    # Somebody on the road.
    Kind("uma", 10, _wish(kpis=[MARKER], areas=["01"], points=5, cases={"unit": "u1"}, commands=True)),
)


class Measured(Struct, frozen=True):
    """One round: each client's waits, and what the server used."""

    waits_s: list[float]
    cpu_s: float
    messages: int
    texts: Mapping[int, Mapping[int, bytes]]

    def percentile(self, of_100: int) -> float:
        """The wait that so many of 100 did not pass."""
        return quantiles(self.waits_s, n=100)[of_100 - 1]


class _CaseWriter(Writer):
    """Writes a case with the rest, as the workers do."""

    case_id = ""

    async def tell(self, change: dict[str, Any]) -> None:
        """One row for all of it."""
        await super().tell(change | {"cases": [self.case_id]})


class Pace:
    """Commits changes at a pace, and knows when each was committed."""

    def __init__(self, stream: _CaseWriter) -> None:
        self._stream = stream
        self._number = 0
        self.committed_s: dict[int, float] = {}

    async def run(self, seconds: float) -> None:
        """So many seconds of changes."""
        self.committed_s = {}
        due_s = time.monotonic()
        for _ in range(int(seconds * CHANGES_S)):
            await self.change()
            due_s += 1 / CHANGES_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        await asyncio.sleep(SETTLE_S)

    async def change(self) -> None:
        """One transaction, which concerns every client."""
        self._number += 1
        number, now_s = self._number, int(time.time())
        area = AREAS[number % len(AREAS)]
        samples = [Sample(kpi=MARKER, area=one, time_s=now_s, value=float(number)) for one in AREAS]
        samples += [
            Sample(kpi="feedback_received", area=area, time_s=now_s, dim="road"),
            Sample(kpi="response_ms", area=area, time_s=now_s, value=random.random() * 100),
        ]
        self._stream.case_id = f"case-{number % CASES}"
        changed = case(self._stream.case_id, version=number + 1, area=area, agency="works", offers=(OFFER,))
        async with self._stream.connection.transaction():
            await put_cases(self._stream.connection, changed)
            await self._stream.write(samples, [Report(id=f"{now_s}-{number}", area=area)])
        self.committed_s[number] = time.time()


class Load:
    """The clients' process."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    async def add(self, plans: Sequence[Plan]) -> None:
        """Connects them, and waits until each has its first answer."""
        await self._ask("add", plans)

    async def forget(self) -> None:
        """What was heard up to now does not count."""
        await self._ask("forget")

    async def heard(self) -> tuple[list[Heard], dict[int, dict[int, bytes]]]:
        """What came to whom and when, and the texts by number and scope. Raises RuntimeError when one was lost."""
        heard, texts, lost = await self._ask("tell")
        if lost:
            raise RuntimeError(f"{lost} clients lost the server")
        return heard, texts

    async def _ask(self, word: str, plans: Sequence[Plan] = ()) -> Any:
        await asyncio.to_thread(self._pipe.send, (word, plans))
        return await asyncio.to_thread(self._pipe.recv)


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """All figures; the knee is left out when it has to be quick."""
    figures: dict[str, list[float]] = {}

    def note(**some: float) -> None:
        for name, figure in some.items():
            figures.setdefault(f"live_{name}", []).append(figure)

    async with with_database(services) as url, counting(url), writer(url) as plain:
        stream = _CaseWriter(plain.connection)
        pace = Pace(stream)
        for _ in range(CASES):
            await pace.change()
        with served(services, url) as (ours, port, tokens), _bare(services) as (rival, bare_port):
            await asyncio.gather(ready(port), ready(bare_port))
            with _load(port) as load, _load(bare_port) as bare_load:
                plans, bare_plans = _plans(tokens, CLIENTS), _bare_plans(CLIENTS)
                note(**await _connected(ours, load, plans, ""))
                note(**await _connected(rival, bare_load, bare_plans, "bare_"))
                for _ in range(ROUNDS_QUICK if quick else ROUNDS):
                    seconds = SECONDS_QUICK if quick else SECONDS
                    run = await _round(ours, load, pace, seconds)
                    bare = await _bare_round(rival, bare_load, bare_port, run.texts)
                    note(p50_s=run.percentile(50), p99_s=run.percentile(99), cpu_cores=run.cpu_s / seconds)
                    note(bare_p50_s=bare.percentile(50), bare_p99_s=bare.percentile(99))
                    note(bare_cpu_cores=bare.cpu_s / seconds, cpu_ratio=run.cpu_s / bare.cpu_s)
                    note(bytes_a_message=_mean([len(t) for texts in run.texts.values() for t in texts.values()]))
                if not quick:
                    note(**await _knee(ours, load, pace, tokens))
    async with with_database(services) as url, counting(url):
        with served(services, url) as (ours, port, tokens):
            await ready(port)
            waits_s, cores = await _busy(ours, url, port, tokens["olga"], BUSY_S_QUICK if quick else BUSY_S)
            cuts = quantiles(waits_s, n=100)
            note(busy_p50_s=cuts[49], busy_p99_s=cuts[98], busy_cpu_cores=cores)
    return figures


async def _connected(server: psutil.Process, load: Load, plans: Sequence[Plan], name: str) -> dict[str, float]:
    """How much memory a client takes, and how long it takes until all of them show something."""
    # What the first clients bring into memory is the process's own.
    await load.add(plans[:50])
    before, started_s = server.memory_info().rss, time.monotonic()
    await load.add(plans[50:])
    connected_s = time.monotonic() - started_s
    await asyncio.sleep(SETTLE_S)
    return {
        f"{name}client_kb": (server.memory_info().rss - before) / 1024 / len(plans[50:]),
        f"{name}connect_all_s": connected_s,
    }


async def _round(server: psutil.Process, load: Load, pace: Pace, seconds: float) -> Measured:
    await load.forget()
    before_s = _cpu_s(server)
    await pace.run(seconds)
    used_s = _cpu_s(server) - before_s
    heard, texts = await load.heard()
    return Measured(_waits(heard, pace.committed_s), used_s, len(heard), texts)


async def _bare_round(
    server: psutil.Process, load: Load, port: int, texts: Mapping[int, Mapping[int, bytes]]
) -> Measured:
    """The same texts once more, at the same pace, from the other server."""
    await load.forget()
    sent_s: dict[int, float] = {}
    async with connect(f"ws://127.0.0.1:{port}/tell", max_size=None, compression=None) as control:
        before_s, due_s = _cpu_s(server), time.monotonic()
        for number, by_scope in sorted(texts.items()):
            said = [by_scope.get(scope, b"").decode() for scope in range(len(KINDS))]
            message = msgspec.json.encode(said).decode()
            sent_s[number] = time.time()
            await control.send(message)
            due_s += 1 / CHANGES_S
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
        await asyncio.sleep(SETTLE_S)
        used_s = _cpu_s(server) - before_s
    heard, again = await load.heard()
    return Measured(_waits(heard, sent_s), used_s, len(heard), again)


async def _knee(server: psutil.Process, load: Load, pace: Pace, tokens: Mapping[str, str]) -> dict[str, float]:
    """The most clients of those tried whose 99th percentile stays below the limit, and how it was for each."""
    clients, found = CLIENTS, {"knee_clients": float(CLIENTS)}
    for wanted in KNEE_CLIENTS:
        await load.add(_plans(tokens, wanted - clients))
        clients = wanted
        run = await _round(server, load, pace, KNEE_S)
        found |= {f"{wanted}_p99_s": run.percentile(99), f"{wanted}_cpu_cores": run.cpu_s / KNEE_S}
        if run.percentile(99) > KNEE_P99_S:
            break
        found["knee_clients"] = float(wanted)
    return found


async def _busy(server: psutil.Process, url: str, port: int, token: str, seconds: float) -> tuple[list[float], float]:
    """Waits, and the server's share of a core, with few boards that show everything and many small transactions."""
    waits_s: list[float] = []
    writers = multiprocessing.get_context("spawn").Process(target=_write_busily, args=(url,), daemon=True)
    writers.start()
    try:
        until_s = time.monotonic() + 3 + seconds
        listening = asyncio.gather(*(_board(port, token, until_s, waits_s) for _ in range(BUSY_CLIENTS)))
        await asyncio.sleep(3)
        waits_s.clear()
        before_s = _cpu_s(server)
        await listening
        return waits_s, (_cpu_s(server) - before_s) / seconds
    finally:
        writers.kill()


async def _board(port: int, token: str, until_s: float, waits_s: list[float]) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    wish = _wish(areas=["00", *AREAS], tier="minute", points=60, events=500, sources=True)
    address = f"ws://127.0.0.1:{port}/v1/live"
    async with connect(address, max_size=None, compression=None, additional_headers=headers) as client:
        await client.send(msgspec.json.encode(wish).decode())
        while time.monotonic() < until_s:
            message = msgspec.json.decode(await client.recv())
            now_s = time.time()
            if message["op"] == "change":
                commits = [msgspec.convert(event["committed_at"], datetime) for event in message["events"]]
                waits_s += [now_s - commit.timestamp() for commit in commits]


def _write_busily(url: str) -> None:
    async def write(shard: int) -> None:
        async with writer(url, shard) as stream:
            every_s = BUSY_WRITERS / BUSY_CHANGES_S
            due_s, number = time.monotonic() + random.random() * every_s, 0
            while True:
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                due_s, number = due_s + every_s, number + 1
                area, now_s = random.choice(AREAS), int(time.time())
                samples = [
                    Sample(kpi=kpi, area=area, time_s=now_s, value=random.random())
                    for kpi in ("feedback_received", "closed_in_time", "response_ms")
                ]
                await stream.commit(samples, [Report(id=f"{shard}-{time.time_ns()}-{number}", area=area)])

    async def run() -> None:
        await asyncio.gather(*(write(shard) for shard in range(BUSY_WRITERS)))

    asyncio.run(run())


def _waits(heard: Sequence[Heard], sent_s: Mapping[int, float]) -> list[float]:
    """How long each change waited for each client. One that a later message stands for waited for that one."""
    waits_s: list[float] = []
    last: dict[int, int] = {}
    first = min(sent_s)
    for client, number, at_s in heard:
        waits_s += [at_s - sent_s[one] for one in range(last.get(client, first - 1) + 1, number + 1) if one in sent_s]
        last[client] = number
    clients = {one.client for one in heard}
    if any(last[client] != max(sent_s) for client in clients) or not clients:
        raise RuntimeError("a client was never told of the last change")
    return waits_s


def _plans(tokens: Mapping[str, str], clients: int) -> list[Plan]:
    wishes = [msgspec.json.encode(kind.wish).decode() for kind in KINDS]
    kinds = [scope for scope, kind in enumerate(KINDS) for _ in range(kind.share)]
    random.Random(1).shuffle(kinds)
    some = [kinds[number % len(kinds)] for number in range(clients)]
    return [
        Plan("/v1/live", None if (person := KINDS[scope].person) is None else tokens[person], wishes[scope], scope)
        for scope in some
    ]


def _bare_plans(clients: int) -> list[Plan]:
    plans = _plans({kind.person: "" for kind in KINDS if kind.person is not None}, clients)
    return [Plan(f"/live?scope={plan.scope}", None, None, plan.scope) for plan in plans]


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _mean(some: Sequence[float]) -> float:
    return sum(some) / len(some)


@asynccontextmanager
async def with_database(services: Services) -> AsyncGenerator[str]:
    """A database of its own, for another benchmark's site has other areas."""
    name = f"live_{time.time_ns()}"
    admin = await asyncpg.connect(services.database_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        url = urlunsplit(urlsplit(services.database_url)._replace(path=f"/{name}"))
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        await connection.close()
        await migrate_schema(url)
        yield url
    finally:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.close()


@contextlib.contextmanager
def served(services: Services, url: str) -> Generator[tuple[psutil.Process, int, dict[str, str]]]:
    """The dashboard in a process of its own: that, its port, and a token for each person."""
    port = free_port()
    with _server(services.folder, "ours", url, str(port)) as process:
        assert process.stdout is not None
        tokens: dict[str, str] = msgspec.json.decode(process.stdout.readline())
        yield psutil.Process(process.pid), port, tokens


@contextlib.contextmanager
def _bare(services: Services) -> Generator[tuple[psutil.Process, int]]:
    port = free_port()
    with _server(services.folder, "bare", str(port)) as process:
        yield psutil.Process(process.pid), port


@contextlib.contextmanager
def _server(folder: Path, *arguments: str) -> Generator[subprocess.Popen[bytes]]:
    with (folder / f"live-{arguments[0]}.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.live_server", *arguments], stdout=subprocess.PIPE, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def _load(port: int) -> Generator[Load]:
    context = multiprocessing.get_context("spawn")
    near, far = multiprocessing.Pipe()
    process = context.Process(target=listen, args=(far, port), daemon=True)
    process.start()
    try:
        yield Load(cast("Connection", near))
    finally:
        process.kill()
        process.join()


async def ready(port: int) -> None:
    """Waits until the server on this port answers. Raises RuntimeError."""
    deadline_s = time.monotonic() + READY_S
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while time.monotonic() < deadline_s:
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server was not ready within {READY_S:.0f} s")
