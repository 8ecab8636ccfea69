"""Who looks whether alert rules call for somebody?

Every worker does, next to its counting: it takes rules that are due, one after the other, and of several workers one
has each. What goes wrong with a rule is told, and keeps no other rule from being looked at.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from schemas.errors import DependencyUnavailable
from streams.alerts import metrics
from streams.alerts.look import begin_rules, claim, commit, look_at, withdraw_one
from streams.alerts.statements import SQL
from streams.store.cells import Connection
from streams.store.timescale import TimescaleWriter
from streams.versions import Version, Versions

LOOK_EVERY_S = 2.0
"""Between two looks whether a rule is due, more or less."""

TEND_EVERY_S = 30.0
"""Between two looks at rules that are new or gone, and at how they all stand."""

FIRINGS_KEPT_S = 400 * 86_400.0
"""How long it is known when a series fired: a year, and what compares with the last one. Alerts are kept for ever."""

FORGET_ROWS_MAX = 1_000

_log = logging.getLogger("ioc.streams")


async def watch_alerts(writer: TimescaleWriter, versions: Versions, wall_clock_s: Callable[[], float]) -> None:
    """Looks at what is due, until it is cancelled. What goes wrong here is told, and never stops the counting."""
    tended_s, tended_version = float("-inf"), -1
    while True:
        version = versions.newest
        try:
            async with writer.connection() as connection:
                if version.number != tended_version or time.monotonic() - tended_s > TEND_EVERY_S:
                    await tend(connection, version, wall_clock_s())
                    tended_s, tended_version = time.monotonic(), version.number
            while version.site.alerts and await look_once(writer, version, wall_clock_s()):
                pass
        except DependencyUnavailable as error:
            metrics.FAILED.inc()
            _log.warning("alert rules were not looked at: %s", error)
        except Exception:
            metrics.FAILED.inc()
            _log.exception("could not look at an alert rule")
        await asyncio.sleep(LOOK_EVERY_S * random.uniform(0.5, 1.5))  # noqa: S311 (nothing secret)


async def look_once(writer: TimescaleWriter, version: Version, now_s: float) -> bool:
    """Looks at one rule that is due. False when none is."""
    async with writer.connection() as connection:
        claimed = await claim(connection, version.site)
        if claimed is None:
            return False
        with metrics.LOOK_S.time():
            found = await look_at(connection, version.site, claimed, now_s)
            if not await commit(connection, version.site, claimed, found):
                _log.info("rule %s was looked at by somebody else meanwhile", claimed.rule.id)
    for step in found.steps:
        _log.info("alert %s %s at %s", step.what, claimed.rule.id, step.alert.group)
    return True


async def tend(connection: Connection, version: Version, now_s: float) -> None:
    """Begins rules that are new, ends those that are gone, forgets what is old, and says how they stand."""
    site = version.site
    await begin_rules(connection, site, now_s)
    while await withdraw_one(connection, site, version.number):
        pass
    await connection.execute(SQL["forget_old"], FIRINGS_KEPT_S, FORGET_ROWS_MAX)
    standing = await connection.fetch(SQL["read_standing"])
    for gauge in (metrics.FIRING, metrics.OPEN, metrics.AGE_S):
        gauge.clear()
    for row in standing:
        metrics.FIRING.labels(row["rule"]).set(row["firing"])
        metrics.OPEN.labels(row["rule"]).set(row["open"])
        metrics.AGE_S.labels(row["rule"]).set(max(0.0, now_s - row["looked_s"]))
