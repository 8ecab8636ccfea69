"""Who sends what waits in the outbox?

At least once: a row is claimed, sent, and marked. A process that ends between the last two leaves a row that another
one sends again when the lease is over, with the same key.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping

from schemas.errors import DependencyUnavailable
from streams.outbound import metrics
from streams.outbound.channels import Channel, Failure
from streams.store.outbox import Claimed, Outbox

SENDERS = 4
"""Messages under way at once, so that one receiver that does not answer does not hold up all others."""

IDLE_S = 1.0
"""Between two looks into an outbox in which nothing was due."""

DATABASE_RETRY_S = 2.0
"""Between two attempts to reach a database that is away."""

TEND_S = 15.0
"""Between two looks at what waits, was given up, or is old."""

BODY_KEPT_S = 90 * 24 * 60 * 60.0
"""How long what was sent can be looked at. After that only its id is kept."""

FORGET_ROWS_MAX = 100

_log = logging.getLogger("ioc.outbound")


class Relay:
    """Sends what is due. Several, in any number of processes, share the work."""

    def __init__(self, outbox: Outbox, channels: Mapping[str, Channel], *, idle_s: float = IDLE_S) -> None:
        """`channels` by the name that the rows carry."""
        self._outbox = outbox
        self._channels = channels
        self._idle_s = idle_s
        self._said_away = False

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set, and ends what is under way. What is cancelled meanwhile is sent again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tend(stop))
            for _ in range(SENDERS):
                tasks.create_task(self._send_all(stop))

    async def send_one(self) -> bool:
        """Sends the message that has been due for longest. False when none is. Raises DependencyUnavailable."""
        claimed = await self._outbox.claim()
        if claimed is None:
            return False
        failure = await self._attempt(claimed)
        channel = claimed.message.channel
        if failure is None:
            metrics.SENT.labels(channel).inc()
            await self._outbox.mark_sent(claimed)
            _log.info("sent %s by %s", claimed.message.id, channel)
            return True
        again = await self._outbox.mark_failed(
            claimed, failure.reason, for_good=failure.for_good, wait_s=failure.wait_s
        )
        metrics.FAILURES.labels(channel, "again" if again else "given_up").inc()
        _log.log(
            logging.WARNING if again else logging.ERROR,
            "attempt %s to send %s by %s: %s; %s",
            *(claimed.attempt, claimed.message.id, channel, failure.reason),
            "it is tried again" if again else "it is not tried again",
        )
        return True

    async def tend(self) -> None:
        """Counts what waits, and gives up or empties what is old. Raises DependencyUnavailable."""
        await self._outbox.give_up()
        await self._outbox.forget_bodies(BODY_KEPT_S, FORGET_ROWS_MAX)
        backlog = await self._outbox.backlog()
        metrics.WAITING.set(backlog.waiting)
        metrics.GIVEN_UP.set(backlog.failed)
        metrics.OLDEST_S.set(backlog.oldest_s)

    async def _attempt(self, claimed: Claimed) -> Failure | None:
        channel = self._channels.get(claimed.message.channel)
        if channel is None:
            return Failure(reason=f"there is no channel {claimed.message.channel!r}", for_good=True)
        started_s = time.perf_counter()
        try:
            return await channel(claimed)
        except Exception as error:
            # A message that breaks its channel must not hold up all others.
            _log.exception("sending %s broke", claimed.message.id)
            return Failure(reason=type(error).__name__)
        finally:
            metrics.SEND_S.labels(claimed.message.channel).observe(time.perf_counter() - started_s)

    async def _send_all(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                sent = await self.send_one()
                self._came()
            except DependencyUnavailable as error:
                self._went(error)
                await _pause(stop, DATABASE_RETRY_S)
            else:
                if not sent:
                    await _pause(stop, self._idle_s)

    async def _tend(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self.tend()
            except DependencyUnavailable as error:
                self._went(error)
            await _pause(stop, TEND_S)

    def _came(self) -> None:
        metrics.DATABASE_UP.set(1)
        if self._said_away:
            _log.info("the database is there again")
            self._said_away = False

    def _went(self, error: DependencyUnavailable) -> None:
        """One line for each time that it goes away, not one for each attempt."""
        metrics.DATABASE_UP.set(0)
        if not self._said_away:
            _log.warning("waiting: %s", error)
            self._said_away = True


async def _pause(stop: asyncio.Event, wait_s: float) -> None:
    """Waits so long, or until `stop` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await stop.wait()
