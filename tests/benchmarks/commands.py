"""How fast are commands decided, how soon does who gave one know, and what do running clocks cost?

`command_outcome_…`: 200 commands a second are posted one by one through the real front door, a quarter of which open
cases; the wait is from before the POST to when `GET /v1/commands/{id}?wait=5` has told the outcome. `commands_s`: one
worker decides what has piled up on the log. Beside it `commands_bare_s`: a program that takes each command in a
transaction of its own, on four connections to the same database, and checks nothing. `clocks_core_share`: of one
core, what workers, the process that writes to the log and the database take while 10,000 open cases have running
clocks, less what they take without any.
"""

import asyncio
import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import psutil
from aiokafka import AIOKafkaProducer

from deploy.local.ports import free_port
from deploy.migrate import ensure_topics, migrate_schema
from schemas.case import case_id
from schemas.command import Actor, AddNote, Open, Triage
from schemas.event import CaseCommand
from schemas.topics import CASES, key_of
from tests.benchmarks.services import Services
from tests.faults.site import write_pack
from tests.schemas.case_pack import pack, site
from tests.streams.case_store import command

COMMANDS_S = 200
SECONDS, SECONDS_QUICK = 30, 10
OPENED = 10_000
NOTES, NOTES_QUICK = 20_000, 5_000
IDLE_SECONDS, IDLE_SECONDS_QUICK = 30, 10
BARE_SECONDS = 5
BARE_CONNECTIONS = 4
BARE_CASES = 2_000
CONNECTIONS = 64
OPENS_EVERY = 4
WORKERS = 2
WAIT_S = 180.0
CLOCK_SPAN_S = 8 * 3600
ORIGIN = "127.0.0.1"

PACK = pack(
    {
        "clocks.toml": '[[clock]]\nclock = "first_answer"\nallowed = "4h"\nwarn_share = 0.5\n'
        '[[clock]]\nclock = "acceptance"\nallowed = "2h"\n'
        '[[clock]]\nclock = "resolution"\nallowed = "8h"\n'
    }
)
ACTOR = Actor(id="bench", roles=("operator",), sees_all=True, areas=(site(PACK).areas.root.id,))

Row = Mapping[str, Any]


async def measure(services: Services, *, quick: bool) -> dict[str, list[float]]:
    """Each figure once, on a database of its own."""
    prefix = f"commands-{uuid.uuid4().hex[:6]}."
    url = await _database(services.database_url, prefix)
    await ensure_topics(services.kafka, prefix)
    folder = services.folder / prefix
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("IOC_")},
        "IOC_KAFKA": services.kafka,
        "IOC_DATABASE_URL": url,
        "IOC_TOPIC_PREFIX": prefix,
        "IOC_SITE": str(write_pack(PACK, folder / "site")),
        "IOC_DATA": str(folder),
        "IOC_LOG_LEVEL": "WARNING",
    }
    port = free_port()
    running = {name: _start(folder, environ, name, port) for name in ("web", "outbound", "streams-0", "streams-1")}
    connection = await asyncpg.connect(url)
    try:
        async with _Client(port) as client:
            await client.ready()
            await _settled(connection, 0)
            idle = await _share(connection, running, quick=quick)
            waits_s = await _outcomes(client, SECONDS_QUICK if quick else SECONDS)
        # What has piled up is decided by one worker, which finds all of it there.
        for name in ("web", "streams-0", "streams-1"):
            _end(running.pop(name))
        await _write(services.kafka, prefix, NOTES_QUICK if quick else NOTES)
        running["streams-0"] = _start(folder, environ, "streams-0", port)
        commands_s = await _decided_s(connection, OPENED + (NOTES_QUICK if quick else NOTES))
        running["streams-1"] = _start(folder, environ, "streams-1", port)
        await _settled(connection, OPENED)
        # What ten thousand openings leave behind is not what is measured: messages to people, and rows to be tidied.
        await connection.execute("DELETE FROM outbox WHERE channel <> 'kafka'")
        await connection.execute("VACUUM ANALYZE")
        busy = await _share(connection, running, quick=quick)
        _end(running.pop("streams-0"))
        bare_s = await _bare(url, 1 if quick else BARE_SECONDS)
    finally:
        for process in running.values():
            _end(process)
        await connection.close()
    cuts = quantiles(waits_s, n=100)
    return {
        "commands_s": [commands_s],
        "commands_bare_s": [bare_s],
        "command_outcome_p50_s": [cuts[49]],
        "command_outcome_p99_s": [cuts[98]],
        "clocks_core_share": [busy - idle],
        "clocks_none_core_share": [idle],
    }


async def _database(url: str, name: str) -> str:
    """A database with all tables."""
    name = name.rstrip(".").replace("-", "_")
    admin = await asyncpg.connect(url)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    connection = await asyncpg.connect(own)
    await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    await connection.close()
    await migrate_schema(own)
    return own


def _start(folder: Path, environ: Mapping[str, str], name: str, port: int) -> subprocess.Popen[bytes]:
    program, _, number = name.partition("-")
    own = {**environ, "IOC_PORT": str(port), "IOC_WORKER": number or "0"}
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "deploy.cli", "run", program], env=own, stdout=log, stderr=log)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Connection:
    """One keep-alive connection, with one request at a time: the client must not be what is measured."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        head = f"{method} {path} HTTP/1.1\r\nHost: {ORIGIN}\r\nContent-Type: application/json\r\n"
        self._writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await self._reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
        return int(lines[0].split()[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


class _Client:
    """A pool of connections to the front door."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: asyncio.LifoQueue[_Connection | None] = asyncio.LifoQueue()
        for _ in range(CONNECTIONS):
            self._idle.put_nowait(None)

    async def __aenter__(self) -> "_Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        while not self._idle.empty():
            if (connection := self._idle.get_nowait()) is not None:
                connection.close()

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        connection = await self._idle.get()
        try:
            try:
                if connection is None:
                    connection = await self._connect()
                answer = await connection.ask(method, path, body)
            except (asyncio.IncompleteReadError, ConnectionError):
                # The server has closed what was idle for long. A command that is sent again is applied once.
                connection = await self._connect()
                answer = await connection.ask(method, path, body)
        except BaseException:
            self._idle.put_nowait(None)
            raise
        self._idle.put_nowait(connection)
        return answer

    async def _connect(self) -> _Connection:
        return _Connection(*await asyncio.open_connection(ORIGIN, self._port))

    async def ready(self) -> None:
        """Returns once the front door takes what comes."""
        deadline_s = time.monotonic() + WAIT_S
        while time.monotonic() < deadline_s:
            try:
                if (await self.ask("GET", "/readyz"))[0] == 200:
                    return
            except OSError:
                pass
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the web process was not ready within {WAIT_S:.0f} s")


async def _outcomes(client: _Client, seconds: int) -> list[float]:
    """How long each of the commands waited for its outcome, in seconds."""
    waits_s: list[float] = []
    cases: list[str] = []
    rng = random.Random(1)

    async def give(number: int, *, is_measured: bool = True) -> None:
        id_ = f"give-{number}-{uuid.uuid4().hex[:8]}"
        if number % OPENS_EVERY == 0 or not cases:
            place = f"geo:{20 + rng.random():.4f},{105 + rng.random():.4f}"
            order: dict[str, Any] = {"id": id_, "area": "01", "place": place}
            order["do"] = {"action": "open", "category": "pothole", "title": "Hole in the road"}
        else:
            order = {"id": id_, "case": rng.choice(cases), "do": {"action": "note", "text": "Looked at it"}}
        begun_s = time.perf_counter()
        status, answer = await client.ask("POST", "/v1/commands", msgspec.json.encode(order))
        if status != 202:
            raise RuntimeError(f"ingest answered {status}: {answer[:300]!r}")
        status, told = await client.ask("GET", f"/v1/commands/{id_}?wait=5")
        outcome = msgspec.json.decode(told)
        if outcome.get("state") != "applied":
            raise RuntimeError(f"the outcome of {order} is {status}: {told[:300]!r}")
        if is_measured:
            waits_s.append(time.perf_counter() - begun_s)
        if order["do"]["action"] == "open":
            cases.append(outcome["case"])

    for number in range(4 * OPENS_EVERY):
        await give(number, is_measured=False)
    due_s = accumulate([1 / COMMANDS_S] * (seconds * COMMANDS_S), initial=time.perf_counter())
    async with asyncio.TaskGroup() as tasks:
        for number, at_s in zip(range(seconds * COMMANDS_S), due_s, strict=False):
            await asyncio.sleep(max(0.0, at_s - time.perf_counter()))
            tasks.create_task(give(number))
    return waits_s


async def _write(kafka: str, prefix: str, notes: int) -> None:
    """Puts commands onto the log: openings over the last hours, then notes and changes."""
    producer: Any = AIOKafkaProducer(bootstrap_servers=kafka, acks="all", linger_ms=20)
    await producer.start()
    try:
        now = datetime.now(UTC)
        rng = random.Random(2)
        ids = [f"bulk-open-{number}" for number in range(OPENED)]
        cases = [case_id(f"person:{ACTOR.id}", id_) for id_ in ids]
        events = [
            _event(
                id_,
                case,
                Open(category="pothole", title="Hole in the road"),
                now - timedelta(seconds=rng.random() * CLOCK_SPAN_S),
                f"geo:{20 + rng.random():.4f},{105 + rng.random():.4f}",
            )
            for id_, case in zip(ids, cases, strict=True)
        ]
        for number in range(notes):
            action = AddNote(text="Looked at it") if number % 2 else Triage(title=f"Hole {number}")
            events.append(_event(f"bulk-{number}", rng.choice(cases), action, now))
        for begin in range(0, len(events), 1_000):
            sent = [
                await producer.send(prefix + CASES.name, msgspec.json.encode(event), key_of(event))
                for event in events[begin : begin + 1_000]
            ]
            await asyncio.gather(*sent)
    finally:
        await producer.stop()


def _event(id_: str, case: str, action: Any, at: datetime, place: str | None = None) -> CaseCommand:
    return command(id_, case, action, ACTOR, time=at, received_at=at, place=place)


async def _decided_s(connection: Any, count: int) -> float:
    """Commands a second, from the first transaction's end on."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        if await connection.fetchval("SELECT count(*) FROM command WHERE id LIKE 'bulk-%'") == count:
            break
        await asyncio.sleep(0.5)
    rows: Sequence[Row] = await connection.fetch(
        "SELECT decided_at, count(*) AS n FROM command WHERE id LIKE 'bulk-%' GROUP BY 1 ORDER BY 1"
    )
    took_s = (rows[-1]["decided_at"] - rows[0]["decided_at"]).total_seconds()
    refused = await connection.fetchval("SELECT count(*) FROM command WHERE id LIKE 'bulk-%' AND NOT is_applied")
    if sum(row["n"] for row in rows) != count or refused:
        raise RuntimeError(f"{sum(row['n'] for row in rows)} of {count} commands were decided, {refused} refused")
    return (count - rows[0]["n"]) / took_s


async def _settled(connection: Any, cases: int) -> None:
    """Waits until all cases are open and nothing is under way."""
    deadline_s = time.monotonic() + WAIT_S
    quiet = 0
    while time.monotonic() < deadline_s and quiet < 5:
        await asyncio.sleep(1)
        opened, waiting, due, idle = await connection.fetchrow(
            """SELECT (SELECT count(*) FROM cases WHERE is_open),
               (SELECT count(*) FROM outbox WHERE channel = 'kafka'),
               (SELECT count(*) FROM deadline WHERE fired_at IS NULL AND due_at < clock_timestamp() - interval '2 s'),
               (SELECT coalesce(max(committed_at), '-infinity') < clock_timestamp() - interval '1 s' FROM change)"""
        )
        # Deadlines go on passing, now and then.
        quiet = quiet + 1 if opened >= cases and waiting + due < 20 and (idle or cases) else 0
    if quiet < 5:
        raise RuntimeError(f"it did not settle within {WAIT_S:.0f} s")


async def _share(connection: Any, running: Mapping[str, subprocess.Popen[bytes]], *, quick: bool) -> float:
    """The share of a core that workers, the log's writer and the database take now."""
    server = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).parent()
    assert server is not None
    own = [psutil.Process(process.pid) for name, process in running.items() if name != "web"]

    def used_s() -> float:
        found = [*own, server, *server.children()]
        return sum(sum(process.cpu_times()[:2]) for process in found)

    before_s, begun_s = used_s(), time.perf_counter()
    await asyncio.sleep(IDLE_SECONDS_QUICK if quick else IDLE_SECONDS)
    return (used_s() - before_s) / (time.perf_counter() - begun_s)


async def _bare(url: str, seconds: float) -> float:
    """Commands a second of a program that takes one at a time, with a row for the case and one for its history."""
    pool = await asyncpg.create_pool(url, min_size=BARE_CONNECTIONS, max_size=BARE_CONNECTIONS)
    await pool.execute(
        "CREATE TABLE bare (id integer PRIMARY KEY, version integer, body bytea);"
        "CREATE TABLE bare_entry (id text PRIMARY KEY, case_id integer, body bytea);"
        f"INSERT INTO bare SELECT n, 1, repeat('x', 600)::bytea FROM generate_series(1, {BARE_CASES}) AS n"
    )
    rng = random.Random(3)
    end_s = time.perf_counter() + seconds
    taken = 0

    async def take(worker: int) -> None:
        nonlocal taken
        number = 0
        while time.perf_counter() < end_s:
            number += 1
            case = rng.randint(1, BARE_CASES)
            async with pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow("SELECT version, body FROM bare WHERE id = $1 FOR UPDATE", case)
                assert row is not None
                await connection.execute(
                    "UPDATE bare SET version = $2, body = $3 WHERE id = $1", case, row["version"] + 1, row["body"]
                )
                await connection.execute(
                    "INSERT INTO bare_entry VALUES ($1, $2, $3)", f"{worker}-{number}", case, row["body"][:200]
                )
            taken += 1

    begun_s = time.perf_counter()
    await asyncio.gather(*(take(worker) for worker in range(BARE_CONNECTIONS)))
    took_s = time.perf_counter() - begun_s
    await pool.close()
    return taken / took_s
