"""Who looks after the tables while the centre runs?

Every worker does, next to its counting: it looks from time to time whether something is due, and of several the first
one to claim it does it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import NoReturn

from schemas.errors import DependencyUnavailable
from streams import metrics
from streams.maintenance.across import put_together
from streams.maintenance.compaction import compact
from streams.maintenance.deadlines import pass_deadlines
from streams.maintenance.history import keep_history
from streams.maintenance.hours import pass_hour
from streams.maintenance.retention import Kept, retain
from streams.store.cells import Connection
from streams.store.timescale import TimescaleWriter
from streams.versions import Versions

LOOK_EVERY_S = 10.0
"""Between two looks, more or less: workers that look at the same moment do the same search twice."""

ACROSS_EVERY_S = 2.0
"""Between two looks whether reports have come: until they are added up, a board over a whole country is slow."""

DEADLINES_EVERY_S = 0.5
"""Between two looks whether something was due to happen to a case: nothing else wakes whoever waits for it."""

PAUSE_S_MIN = 0.05
"""After a step, which rests for as long as it took: counting has half of the time or more."""

_log = logging.getLogger("ioc.streams")


async def look_after(writer: TimescaleWriter, versions: Versions, wall_clock_s: Callable[[], float]) -> None:
    """Does what is due, until it is cancelled. What goes wrong here is told, and never stops the counting."""
    told: set[Kept] = set()

    async def keep_small() -> None:
        async with writer.connection() as connection:
            await retain(connection, versions.newest.site, datetime.fromtimestamp(wall_clock_s(), UTC), told)
        await _until_done(writer, lambda connection: compact(connection, versions.newest))

    async def keep_past() -> None:
        async with writer.connection() as connection:
            await keep_history(connection, versions.newest.site)

    async def keep_together() -> None:
        await _until_done(writer, lambda connection: put_together(connection, versions.newest.site))

    async def keep_deadlines() -> None:
        await _until_done(writer, lambda connection: pass_deadlines(connection, versions.newest.site))

    hour: datetime | None = None

    async def keep_hours() -> None:
        nonlocal hour
        async with writer.connection() as connection:
            now = datetime.fromtimestamp(wall_clock_s(), UTC)
            hour = await pass_hour(connection, versions.newest.site, hour, now)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_again_and_again(LOOK_EVERY_S, keep_hours))
        tasks.create_task(_again_and_again(LOOK_EVERY_S, keep_small))
        tasks.create_task(_again_and_again(LOOK_EVERY_S, keep_past))
        tasks.create_task(_again_and_again(ACROSS_EVERY_S, keep_together))
        tasks.create_task(_again_and_again(DEADLINES_EVERY_S, keep_deadlines))


async def _again_and_again(every_s: float, look: Callable[[], Awaitable[None]]) -> NoReturn:
    while True:
        await asyncio.sleep(every_s * random.uniform(0.5, 1.5))  # noqa: S311 (nothing secret)
        try:
            await look()
        except DependencyUnavailable as error:
            metrics.MAINTENANCE_FAILED.inc()
            _log.warning("the tables were not looked after: %s", error)
        except Exception:
            metrics.MAINTENANCE_FAILED.inc()
            _log.exception("could not look after the tables")


async def _until_done(writer: TimescaleWriter, step: Callable[[Connection], Awaitable[bool]]) -> None:
    is_more = True
    while is_more:
        begun_s = time.monotonic()
        async with writer.connection() as connection:
            is_more = await step(connection)
        await asyncio.sleep(max(PAUSE_S_MIN, time.monotonic() - begun_s))
