"""Can Kafka be written to now, and what becomes of events while it cannot?

A producer keeps one session open at a time. A session that fails is replaced, for ever, so that recovery needs
nobody. Meanwhile every append is refused at once: nothing queues up for a Kafka that is away.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from enum import StrEnum
from typing import Any

from aiokafka.errors import KafkaError
from msgspec import Struct

from ingest.gateway import metrics
from ingest.gateway.kafka_producer import KafkaProducer, make_producer
from ingest.gateway.placement import Placement
from ingest.gateway.session import Lot, Session
from schemas.errors import DependencyUnavailable
from schemas.topics import INPUTS

PENDING_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of events that Kafka has not acknowledged. At the bound an append is refused with DependencyUnavailable."""

ACK_WAIT_S = 4.0
"""How long an event waits for its acknowledgement. Then the session ends, and its senders are told to send again."""

WATCH_EVERY_S = 0.25
PROBE_EVERY_S = 1.0
OPEN_TIMEOUT_S = 8.0
REOPEN_AFTER_S = 0.5
CLOSE_TIMEOUT_S = 15.0
"""A session that is over gets this long to let go of its connections; then it is left to the garbage collector."""

_log = logging.getLogger(__name__)


class State(StrEnum):
    """Whether a dependency answers."""

    UP = "up"
    AWAY = "away"


class Dependency(Struct, frozen=True):
    """A dependency's state, with a sentence for whoever runs the centre."""

    state: State
    detail: str


class Producer:
    """Writes events to Kafka, and outlives its absence. To be started and stopped in one event loop."""

    def __init__(
        self,
        bootstrap: str,
        *,
        topic_prefix: str,
        pending_bytes_max: int = PENDING_BYTES_MAX,
        ack_wait_s: float = ACK_WAIT_S,
        make: Callable[[str], KafkaProducer] = make_producer,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bootstrap = bootstrap
        self._topic_prefix = topic_prefix
        self._pending_bytes_max = pending_bytes_max
        self._ack_wait_s = ack_wait_s
        self._make = make
        self._clock_s = clock_s
        self._placement = Placement()
        self._session: Session | None = None
        self._why_away = "not connected yet"
        self._keeper: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def dependency(self) -> Dependency:
        """Kafka as it was last seen; an idle producer looks every PROBE_EVERY_S seconds."""
        if self._session is None:
            return Dependency(State.AWAY, self._why_away)
        if self._session.failure is not None:
            return Dependency(State.AWAY, self._session.failure)
        return Dependency(State.UP, self._bootstrap)

    def start(self) -> None:
        """Begins to connect, and returns at once: a Kafka that is away is no reason not to start."""
        assert self._keeper is None, "it runs already"
        self._keeper = asyncio.create_task(self._keep_open(), name="ingest-producer")

    async def stop(self) -> None:
        """Ends the session and lets go of all connections. To be called when no append is waiting."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
            self._keeper = None
        if self._closing:
            await asyncio.wait(self._closing)

    def append(self, lots: Sequence[Lot], timestamp_ms: int) -> asyncio.Future[None]:
        """Writes records. The future ends when Kafka has acknowledged all, after `ack_wait_s` at the latest.

        Raises DependencyUnavailable, here or in the future: then each record may or may not be on the log.
        """
        if self._session is None:
            raise DependencyUnavailable("kafka", self._why_away)
        return self._session.append(lots, timestamp_ms)

    async def _keep_open(self) -> None:
        while True:
            session = Session(
                self._make(self._bootstrap),
                INPUTS,
                topic_prefix=self._topic_prefix,
                placement=self._placement,
                pending_bytes_max=self._pending_bytes_max,
                clock_s=self._clock_s,
            )
            try:
                why_away = await self._live(session)
            finally:
                metrics.KAFKA_UP.set(0)
                # In the background, because the next session need not wait for the last one's dead connections.
                self._in_background(self._close(session))
            # Once for each reason, not once for each attempt.
            if why_away != self._why_away:
                _log.warning("Kafka is away: %s", why_away)
            self._why_away = why_away
            self._session = None
            await asyncio.sleep(REOPEN_AFTER_S)

    async def _live(self, session: Session) -> str:
        """Opens a session and watches it to its end. Returns why it ended."""
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await session.open()
        except (KafkaError, OSError, DependencyUnavailable) as error:
            return str(error) or type(error).__name__
        except Exception as error:
            # Whatever a client library raises while it connects, the next attempt may succeed.
            _log.exception("Unexpected error while connecting to Kafka")
            return f"{type(error).__name__}: {error}"
        self._session = session
        metrics.KAFKA_UP.set(1)
        _log.info("Kafka is up: %s", self._bootstrap)
        watches = (session.wait_ended(), self._watch_acks(session), self._watch_broker(session))
        watchers = [asyncio.create_task(watch) for watch in watches]
        try:
            # Each returns only when the session has ended; one that raises must not leave it unwatched.
            await asyncio.wait(watchers, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watcher in watchers:
                watcher.cancel()
            for result in await asyncio.gather(*watchers, return_exceptions=True):
                if isinstance(result, Exception):
                    _log.error("A watch over the session with Kafka failed", exc_info=result)
        return session.failure or "the watch over the session failed"

    async def _watch_acks(self, session: Session) -> None:
        while session.failure is None:
            await asyncio.sleep(WATCH_EVERY_S)
            oldest_s = session.oldest_s()
            if oldest_s is not None and self._clock_s() - oldest_s >= self._ack_wait_s:
                session.fail(f"no acknowledgement within {self._ack_wait_s:g} s")

    async def _watch_broker(self, session: Session) -> None:
        """Notices an absence while nobody writes: readiness tells the truth, and the next event need not wait."""
        while session.failure is None:
            await asyncio.sleep(PROBE_EVERY_S)
            try:
                async with asyncio.timeout(self._ack_wait_s):
                    answered = await session.probe()
            except TimeoutError:
                answered = False
            if not answered:
                session.fail("no broker answers")

    async def _close(self, session: Session) -> None:
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await session.close()
        except TimeoutError:
            _log.warning("A session with Kafka could not be closed within %s s", CLOSE_TIMEOUT_S)
        except Exception:
            # The session is over either way; its remains must not end the producer.
            _log.exception("A session with Kafka could not be closed")

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
