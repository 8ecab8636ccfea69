"""Who looks after the tables while the centre runs?

Every worker does, next to its counting: it looks from time to time whether something is due, and of several the first
one to claim it does it.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime

from schemas.errors import DependencyUnavailable
from streams import metrics
from streams.maintenance.compaction import compact
from streams.maintenance.retention import Kept, retain
from streams.store.timescale import TimescaleWriter
from streams.versions import Versions

LOOK_EVERY_S = 10.0
"""Between two looks, more or less: workers that look at the same moment do the same search twice."""

PAUSE_S_MIN = 0.05
"""After a step of the compaction, which rests for as long as the step took: counting has half of the time or more."""

_log = logging.getLogger("ioc.streams")


async def look_after(writer: TimescaleWriter, versions: Versions, wall_clock_s: Callable[[], float]) -> None:
    """Does what is due, until it is cancelled. What goes wrong here is told, and never stops the counting."""
    told: set[Kept] = set()
    while True:
        await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 (nothing secret)
        try:
            async with writer.connection() as connection:
                await retain(connection, versions.newest.site, datetime.fromtimestamp(wall_clock_s(), UTC), told)
            await _compact_all(writer, versions)
        except DependencyUnavailable as error:
            metrics.MAINTENANCE_FAILED.inc()
            _log.warning("the tables were not looked after: %s", error)
        except Exception:
            metrics.MAINTENANCE_FAILED.inc()
            _log.exception("could not look after the tables")


async def _compact_all(writer: TimescaleWriter, versions: Versions) -> None:
    is_more = True
    while is_more:
        begun_s = time.monotonic()
        async with writer.connection() as connection:
            is_more = await compact(connection, versions.newest)
        await asyncio.sleep(max(PAUSE_S_MIN, time.monotonic() - begun_s))
