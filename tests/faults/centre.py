"""How does a test run workers of its own on services that it may hurt, and see what they have counted?"""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg
import httpx
import psutil
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.structs import ConsumerRecord
from msgspec import Struct

from deploy.local import ports
from deploy.local.child import Child
from deploy.local.kafka import LocalKafka
from deploy.local.postgres import LocalPostgres
from deploy.migrate import ensure_topics, migrate_schema
from deploy.site import load_site
from schemas.topics import DEAD, INPUTS
from tests.faults.site import PACK, write_pack
from tests.faults.truth import Truth

ROOT = Path(__file__).parents[2]

WAIT_S = 120.0
"""Far longer than anything takes on a machine that is busy with other tests."""

POLL_S = 0.1
GROUP = "ioc-streams"

_T = TypeVar("_T")


class Services(Struct, frozen=True):
    """A broker and a database server that fault tests share, and may hurt one after the other."""

    kafka: LocalKafka
    postgres: LocalPostgres

    def heal(self) -> None:
        """Makes both run, whatever the test before left behind."""
        for service in (self.kafka, self.postgres):
            if service.child is None or service.child.exit_code() is not None:
                service.launch()
            else:
                service.resume()
        self.kafka.wait_ready()
        self.postgres.wait_ready()


async def start(service: LocalKafka | LocalPostgres) -> None:
    """Starts a service while the test goes on."""
    # Not in another thread: the kernel would end the service together with the thread that launched it.
    service.launch()
    await asyncio.to_thread(service.wait_ready)


class Centre:
    """Topics, tables and processes of one test."""

    def __init__(self, kafka: str, database_url: str, prefix: str, folder: Path, site_folder: Path) -> None:
        """`prefix` keeps the topics of tests on one broker apart; the database is the test's own."""
        self.kafka_address = kafka
        self.database_url = database_url
        self.prefix = prefix
        self.folder = folder
        self.site_folder = site_folder
        self.truth = Truth(load_site(site_folder))
        self.children: list[Child] = []

    async def create(self) -> None:
        """Makes the tables and the topics."""
        await migrate_schema(self.database_url)
        await ensure_topics(self.kafka_address, self.prefix)

    def start_worker(self, number: int, metrics_port: int | None = None) -> Child:
        """A worker process, as the supervisor starts one. It may not be ready yet."""
        return self._spawn(
            f"worker-{number}",
            ["-m", "tests.faults.worker_process"],
            {"IOC_WORKER": str(number), "IOC_METRICS_PORT": str(metrics_port or ports.free_port())},
        )

    def start_outbound(self) -> Child:
        """The process that writes to the log what the centre itself causes, as the supervisor starts it."""
        return self._spawn("outbound", ["-m", "deploy.cli", "run", "outbound"], {})

    @contextmanager
    def web(self) -> Iterator[str]:
        """The web process, for as long as the block lasts: ingest and dashboard. Gives its address."""
        port = ports.free_port()
        child = self.start_web(port)
        try:
            yield f"http://{ports.LOOPBACK}:{port}"
        finally:
            child.kill()

    def start_web(self, port: int) -> Child:
        """The web process on this port. It may not be ready yet."""
        return self._spawn("web", ["-m", "deploy.cli", "run", "web"], {"IOC_PORT": str(port)})

    @contextmanager
    def ingest(self) -> Iterator[str]:
        """The real gateway in a process of its own, for as long as the block lasts. Gives its address."""
        port = ports.free_port()
        child = self._spawn("ingest", ["-m", "tests.faults.ingest_process", str(port)], {})
        try:
            yield f"http://{ports.LOOPBACK}:{port}"
        finally:
            child.kill()

    def end(self) -> None:
        """Kills every process of the test."""
        for child in self.children:
            if child.exit_code() is None:
                child.kill()

    def running(self) -> list[Child]:
        """The processes that have not ended."""
        return [child for child in self.children if child.exit_code() is None]

    def check_runs(self, processes: int) -> None:
        """Raises AssertionError, with the last words of those that ended, unless so many run."""
        ended = [child for child in self.children if child.exit_code() is not None]
        said = "\n".join(
            "\n".join([f"{child.name} ended with {child.exit_code()}:", *child.tail()]) for child in ended
        )
        assert len(self.running()) == processes, said

    async def counted(self, *, connection: "asyncpg.Connection[asyncpg.Record] | None" = None) -> int:
        """How many records all positions together have passed."""
        async with self.connected(connection) as at:
            return int(await at.fetchval("SELECT coalesce(sum(next_offset), 0)::bigint FROM position"))

    async def lag(self) -> int:
        """Records on the log that no position has passed."""
        ends = await self.log_ends()
        async with self.connected() as connection:
            rows = await connection.fetch("SELECT topic, partition, next_offset FROM position")
        passed = {TopicPartition(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        return sum(end - passed.get(partition, 0) for partition, end in ends.items())

    async def log_ends(self) -> dict[TopicPartition, int]:
        """The offset after the last record of every input partition."""
        async with self.consumer() as consumer:
            return await consumer.end_offsets(self.partitions())

    def partitions(self) -> list[TopicPartition]:
        """Every partition of every input topic."""
        return [TopicPartition(self.prefix + t.name, number) for t in INPUTS for number in range(t.partitions)]

    async def acknowledged(self) -> dict[TopicPartition, int]:
        """What the consumer group has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka_address)
        await admin.start()
        try:
            found = await admin.list_consumer_group_offsets(GROUP)
        finally:
            await admin.close()
        mine = set(self.partitions())
        return {partition: at.offset for partition, at in found.items() if partition in mine}

    async def settle(self) -> None:
        """Waits until everything on the log is counted, then compares all tables with the truth."""
        await until(self.caught_up, "everything on the log is counted", self)
        await self.truth.check(self.database_url)

    async def caught_up(self) -> bool:
        """Whether all positions have passed everything on the log."""
        return await self.lag() == 0

    async def dead_letters(self) -> list[ConsumerRecord]:
        """All dead letters, in order."""
        partition = TopicPartition(self.prefix + DEAD.name, 0)
        async with self.consumer() as consumer:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            end = (await consumer.end_offsets([partition]))[partition]
            found: list[ConsumerRecord] = []
            async with asyncio.timeout(WAIT_S):
                while await consumer.position(partition) < end:
                    found.append(await consumer.getone(partition))
            return found

    @asynccontextmanager
    async def consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        """A consumer without a group."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka_address, enable_auto_commit=False)
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def producer(self) -> AsyncIterator[AIOKafkaProducer]:
        """An idempotent producer."""
        producer = AIOKafkaProducer(
            bootstrap_servers=self.kafka_address, acks="all", enable_idempotence=True, linger_ms=2
        )
        await producer.start()
        try:
            yield producer
        finally:
            await producer.stop()

    @asynccontextmanager
    async def connected(
        self, given: "asyncpg.Connection[asyncpg.Record] | None" = None
    ) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """A connection to the test's database: the given one, or one for the block."""
        if given is not None:
            yield given
            return
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            connection.terminate()

    async def recreate_topic(self, name: str) -> None:
        """Deletes a topic and makes it anew, empty."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.kafka_address)
        await admin.start()
        try:
            await admin.delete_topics([name])

            async def gone() -> bool:
                return name not in await admin.list_topics()

            await until(gone, f"{name} is deleted", self)
        finally:
            await admin.close()
        await ensure_topics(self.kafka_address, self.prefix)

    def _spawn(self, name: str, arguments: Sequence[str], environ: dict[str, str]) -> Child:
        child = Child(
            name,
            [sys.executable, *arguments],
            environ={
                "PATH": os.defpath,
                "HOME": str(self.folder),
                "PYTHONPATH": str(ROOT),
                "LC_ALL": "C.UTF-8",
                "IOC_KAFKA": self.kafka_address,
                "IOC_DATABASE_URL": self.database_url,
                "IOC_SITE": str(self.site_folder),
                "IOC_TOPIC_PREFIX": self.prefix,
                "IOC_DATA": str(self.folder / "data"),
                **environ,
            },
            cwd=ROOT,
            log=self.folder / f"{name}-{len(self.children)}.log",
        )
        self.children.append(child)
        return child


class HurtCentre(Centre):
    """A centre whose services the test may hurt."""

    def __init__(self, services: Services, name: str, folder: Path) -> None:
        """`name` keeps tests apart on the same services. The site is `tests.faults.site`."""
        site_folder = write_pack(PACK, folder / "site")
        super().__init__(services.kafka.address, services.postgres.url(name), f"{name}.", folder, site_folder)
        self.services = services
        self.kafka = services.kafka
        self.postgres = services.postgres
        self._database = name

    async def create(self) -> None:
        """Makes the database too."""
        await asyncio.to_thread(self.postgres.sql, f"CREATE DATABASE {self._database}")
        connection = await asyncpg.connect(self.database_url)
        try:
            await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        finally:
            await connection.close()
        await super().create()


async def until(condition: Callable[[], Awaitable[_T]], what: str, centre: Centre, wait_s: float = WAIT_S) -> _T:
    """Waits for a condition, and returns what it gave. A dependency that is away counts as not yet."""
    deadline_s = time.monotonic() + wait_s
    last: object = None
    while time.monotonic() < deadline_s:
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            if last := await condition():
                return last
        await asyncio.sleep(POLL_S)
    said = "\n".join(f"{child.name}: {line}" for child in centre.children for line in child.tail()[-8:])
    raise AssertionError(f"Not within {wait_s:.0f} s: {what} (last seen: {last!r}). The processes last said:\n{said}")


async def ready(centre: Centre, address: str) -> None:
    """Waits until the web process takes events and answers."""

    async def is_ready() -> bool:
        async with httpx.AsyncClient(trust_env=False) as client:
            try:
                return (await client.get(f"{address}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

    await until(is_ready, "the web process is ready", centre)


async def ended(child: Child, centre: Centre, wait_s: float = WAIT_S) -> int:
    """Waits until a process has ended, and returns its exit code."""

    async def code() -> tuple[int] | None:
        found = child.exit_code()
        return None if found is None else (found,)

    return (await until(code, f"{child.name} ends", centre, wait_s))[0]


def freeze(child: Child) -> None:
    """Stops a process as if its machine hung; `thaw` lets it go on."""
    child.signal_group(signal.SIGSTOP)
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_STOPPED:
        time.sleep(0.001)


def thaw(child: Child) -> None:
    """Lets a frozen process go on."""
    child.signal_group(signal.SIGCONT)
