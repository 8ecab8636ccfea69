"""Who sends what waits in the outbox?

At least once: a row is claimed, sent, and marked. A process that ends between the last two leaves a row that another
one sends again when the lease is over, with the same key.
"""

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping

from schemas.errors import DependencyUnavailable
from streams.outbound import metrics
from streams.outbound.channels import Channel, Failure
from streams.store.outbox import Claimed, Outbox

UNDER_WAY_MAX = 4
"""Messages under way at once by one channel. What a slow or dead one cannot take waits, and holds up no other."""

IDLE_S = 1.0
"""Between two looks into an outbox in which nothing was due."""

DATABASE_RETRY_S = 2.0
"""Between two attempts to reach a database that is away."""

TEND_S = 15.0
"""Between two looks at what waits, was given up, or is old."""

BODY_KEPT_S = 90 * 24 * 60 * 60.0
"""How long what was sent can be looked at. After that only its id is kept."""

LETTER_KEPT_S = 24 * 60 * 60.0
"""How long the words of what was said about a case are kept after they were sent."""

GIVEN_UP_KEPT_S = 30 * 24 * 60 * 60.0
"""How long a message about a case that was given up can be tried again."""

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
        self._under_way: Counter[str] = Counter()
        self._ended = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set, and ends what is under way. What is cancelled meanwhile is sent again."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tend(stop))
            await self._send_all(stop, tasks)

    async def send_one(self) -> bool:
        """Sends the message that has been due for longest. False when none is. Raises DependencyUnavailable."""
        claimed = await self._outbox.claim()
        if claimed is None:
            return False
        await self._send(claimed)
        return True

    async def _send(self, claimed: Claimed) -> None:
        """Sends a message, and notes what came of it. Raises DependencyUnavailable."""
        failure = await self._attempt(claimed)
        channel = claimed.message.channel
        if failure is None:
            metrics.SENT.labels(channel).inc()
            await self._outbox.mark_sent(claimed)
            _log.info("sent %s by %s", claimed.message.id, channel)
            return
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

    async def tend(self) -> None:
        """Counts what waits, and gives up or empties what is old. Raises DependencyUnavailable."""
        await self._outbox.give_up()
        await self._outbox.forget_bodies(BODY_KEPT_S, FORGET_ROWS_MAX)
        while await self._outbox.forget_bodies(LETTER_KEPT_S, FORGET_ROWS_MAX, about_cases=True) == FORGET_ROWS_MAX:
            pass  # there may be thousands a day, and they are small
        await self._outbox.drop_given_up(GIVEN_UP_KEPT_S, FORGET_ROWS_MAX)
        backlog = await self._outbox.backlog()
        metrics.WAITING.set(backlog.waiting)
        metrics.GIVEN_UP.set(backlog.failed)
        metrics.OLDEST_S.set(backlog.oldest_s)

    async def _attempt(self, claimed: Claimed) -> Failure | None:
        # What comes before a colon says who sends it, what comes after by which of several ways.
        channel = self._channels.get(claimed.message.channel.partition(":")[0])
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

    async def _send_all(self, stop: asyncio.Event, tasks: asyncio.TaskGroup) -> None:
        while not stop.is_set():
            self._ended.clear()
            busy = [channel for channel, count in self._under_way.items() if count >= UNDER_WAY_MAX]
            try:
                claimed = await self._outbox.claim(busy)
                self._came()
            except DependencyUnavailable as error:
                self._went(error)
                await _pause(stop, DATABASE_RETRY_S)
                continue
            if claimed is not None:
                self._under_way[claimed.message.channel] += 1
                tasks.create_task(self._send_and_count(claimed))
            elif busy:
                # The next message for it need not wait for the next look.
                await _pause(self._ended, self._idle_s)
            else:
                await _pause(stop, self._idle_s)

    async def _send_and_count(self, claimed: Claimed) -> None:
        try:
            await self._send(claimed)
        except DependencyUnavailable as error:
            self._went(error)  # its lease ends, and it is sent again
        finally:
            self._under_way[claimed.message.channel] -= 1
            self._ended.set()

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
    """Waits so long, or until the event is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            await stop.wait()
