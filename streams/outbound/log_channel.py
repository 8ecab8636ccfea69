"""How do events that the centre itself causes get onto the log?

They wait in the outbox, put there by the transaction that caused them. One process at a time takes them in order,
hundreds at once, has the broker acknowledge them, and forgets them: a session of the database says which process
that is, so that another one goes on as soon as it ends. No transaction is open while the broker is waited for.
A process that ends between the two writes some events twice, and whoever counts knows them by their identity.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any, NamedTuple, TypeAlias

import asyncpg
from aiokafka import AIOKafkaProducer
from aiokafka.errors import InvalidMessageError, KafkaError, MessageSizeTooLargeError

from schemas.errors import DependencyUnavailable
from schemas.statements import parse_statements
from streams.outbound import metrics
from streams.store.outbox import AWAY, LOG_CHANNEL

WAKE = "ioc_outbox"
"""Whoever puts something in for the log notifies this."""

LEADER = 0x10C0_106E
"""The advisory lock of the session that writes to the log."""

ROWS_MAX = 500
"""Events under way at once. The rest waits in the outbox, where it costs nothing."""

IDLE_S = 0.5
"""Between two looks where nobody has woken us: a wake-up may be lost with its connection."""

SEND_TIMEOUT_S = 10.0
"""A broker that has not acknowledged after so long counts as away. It may have taken all the same."""

REQUEST_TIMEOUT_MS = 5_000
COMMAND_TIMEOUT_S = 30.0
CONNECT_TIMEOUT_S = 5.0

SESSION_IDLE_S = 60
"""The server ends a session that says nothing for so long: a frozen process must not keep all others waiting."""

RETRY_FIRST_S = 0.2
RETRY_MAX_S = 5.0

_SQL = parse_statements((files("streams.outbound") / "log_channel.sql").read_text())

_log = logging.getLogger("ioc.outbound")

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


class _Row(NamedTuple):
    id: str
    target: str
    body: bytes


class LogChannel:
    """Writes what waits for the log. Several, in any number of processes, take over from each other."""

    def __init__(self, database_url: str, kafka: str, topic_prefix: str, *, idle_s: float = IDLE_S) -> None:
        """Connects when it is first needed. `kafka` is host:port, several with commas between."""
        self._url = database_url
        self._kafka = kafka
        self._prefix = topic_prefix
        self._idle_s = idle_s
        self._producer: Any = None  # aiokafka's producer carries hardly any types

    async def run(self, stop: asyncio.Event) -> None:
        """Writes until `stop` is set. What is cancelled meanwhile is written again."""
        delay_s = RETRY_FIRST_S
        said = ""
        try:
            while not stop.is_set():
                try:
                    async with self._session(stop) as (connection, woken):
                        leads = False
                        while not stop.is_set():
                            woken.clear()
                            leads = leads or await self._lead(connection)
                            if not leads or not await self.write_some(connection):
                                delay_s, said = RETRY_FIRST_S, ""
                                await _first(woken, self._idle_s)
                except DependencyUnavailable as error:
                    if said != error.dependency:
                        _log.warning("waiting to write to the log: %s", error)
                        said = error.dependency
                    await _first(stop, delay_s * random.uniform(0.5, 1.0))  # noqa: S311 (nothing secret)
                    delay_s = min(delay_s * 2, RETRY_MAX_S)
        finally:
            await self._drop_producer()

    async def write_some(self, connection: Connection) -> int:
        """Writes what has waited for longest, at most ROWS_MAX events. Returns how many it found.

        Raises DependencyUnavailable; what the broker had acknowledged until then is forgotten all the same.
        """
        try:
            rows = [_Row(**dict(row)) for row in await connection.fetch(_SQL["read_for_log"], ROWS_MAX)]
        except AWAY as error:
            raise _away("database", error) from error
        if not rows:
            return 0
        failures = await self._send(rows)
        written = [row.id for row, failure in zip(rows, failures, strict=True) if failure is None]
        refused = {row.id: str(why) for row, why in zip(rows, failures, strict=True) if _is_final(why)}
        try:
            if written:
                await connection.execute(_SQL["forget_written"], written)
            if refused:
                await connection.execute(_SQL["refuse_written"], list(refused), list(refused.values()))
        except AWAY as error:
            raise _away("database", error) from error
        metrics.SENT.labels(LOG_CHANNEL).inc(len(written))
        for id_, reason in refused.items():
            metrics.FAILURES.labels(LOG_CHANNEL, "given_up").inc()
            _log.error("the log does not take %s: %s", id_, reason)
        if len(written) + len(refused) < len(rows):
            metrics.FAILURES.labels(LOG_CHANNEL, "again").inc(len(rows) - len(written) - len(refused))
            await self._drop_producer()
            failure = next(failure for failure in failures if failure is not None and not _is_final(failure))
            raise _away("kafka", failure)
        return len(rows)

    async def _send(self, rows: Sequence[_Row]) -> list[BaseException | None]:
        """What came of each row: None when the broker has acknowledged it."""
        sent: list[asyncio.Future[Any] | BaseException] = []
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                producer = await self._started_producer()
                for row in rows:
                    topic, _, key = row.target.partition("/")
                    try:
                        sent.append(await producer.send(self._prefix + topic, row.body, key.encode()))
                    except KafkaError as error:
                        sent.append(error)
                futures = [one for one in sent if isinstance(one, asyncio.Future)]
                if futures:
                    await asyncio.wait(futures)
        except (KafkaError, OSError, TimeoutError) as error:
            away = error if str(error) else KafkaError(f"nothing acknowledged within {SEND_TIMEOUT_S:g} s")
            sent += [away] * (len(rows) - len(sent))
            return [_outcome(one, away) for one in sent]
        return [_outcome(one, KafkaError("not acknowledged")) for one in sent]

    async def _started_producer(self) -> Any:  # noqa: ANN401 (aiokafka's producer carries hardly any types)
        if self._producer is None:
            self._producer = AIOKafkaProducer(
                bootstrap_servers=self._kafka,
                client_id="ioc-outbound",
                acks="all",
                enable_idempotence=True,
                linger_ms=0,
                request_timeout_ms=REQUEST_TIMEOUT_MS,
                retry_backoff_ms=100,
            )
            await self._producer.start()
        return self._producer

    async def _drop_producer(self) -> None:
        """Ends the producer without waiting for a broker that is away: an idempotent one retries for ever."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # `stop` would wait for batches that nobody acknowledges. Written against aiokafka 0.14.
        sending: asyncio.Task[None] | None = producer._sender.sender_task
        if sending is not None:
            sending.cancel()
            await asyncio.wait([sending])
        producer._closed = True
        await producer.client.close()

    async def _lead(self, connection: Connection) -> bool:
        """Whether this session is the one that writes."""
        try:
            return bool(await connection.fetchval(_SQL["try_lead"], LEADER))
        except AWAY as error:
            raise _away("database", error) from error

    @asynccontextmanager
    async def _session(self, stop: asyncio.Event) -> AsyncGenerator[tuple[Connection, asyncio.Event]]:
        """A connection of its own, and an event that is set when something may be there to do, or nothing more is."""
        woken = asyncio.Event()

        def wake(*_notification: object) -> None:
            woken.set()

        try:
            connection = await asyncpg.connect(
                self._url,
                command_timeout=COMMAND_TIMEOUT_S,
                timeout=CONNECT_TIMEOUT_S,
                server_settings={
                    "application_name": "ioc-outbound-log",
                    "jit": "off",
                    "idle_session_timeout": f"{SESSION_IDLE_S}s",
                },
            )
        except AWAY as error:
            raise _away("database", error) from error
        stopping = asyncio.create_task(_pass_on(stop, woken))
        try:
            try:
                await connection.add_listener(WAKE, wake)
            except AWAY as error:
                raise _away("database", error) from error
            yield connection, woken
        finally:
            stopping.cancel()
            connection.terminate()


def _outcome(sent: "asyncio.Future[Any] | BaseException", unknown: BaseException) -> BaseException | None:
    if isinstance(sent, BaseException):
        return sent
    if not sent.done() or sent.cancelled():
        return unknown
    return sent.exception()


def _is_final(failure: BaseException | None) -> bool:
    """Whether the broker would never take it. Anything that it does not say this of is tried again."""
    return isinstance(failure, MessageSizeTooLargeError | InvalidMessageError)


def _away(dependency: str, error: BaseException) -> DependencyUnavailable:
    return DependencyUnavailable(dependency, str(error) or type(error).__name__)


async def _pass_on(event: asyncio.Event, to: asyncio.Event) -> None:
    await event.wait()
    to.set()


async def _first(event: asyncio.Event, wait_s: float) -> None:
    """Waits until the event is set, or so long. Leaves it unset where it was a wake-up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await event.wait()
