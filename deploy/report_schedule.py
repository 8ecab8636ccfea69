"""When is which report made and put into the outbox?

A row in `timer` for each report that is to come. Whoever is up makes what is due; that it was made, what is to be
sent and the next timer are one transaction, so that a crash at any moment neither loses a report nor makes it twice.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from msgspec import Struct

from schemas.errors import DependencyUnavailable, IocError, OperatorError
from schemas.period import Period, parse_period
from schemas.report import Report, Schedule, due_at, last_due
from schemas.site import Site
from streams.outbound import metrics
from streams.store.outbox import (
    Connection,
    Message,
    Outbox,
    Timer,
    claim_timer,
    enqueue,
    finish_timer,
    pending_timers,
    set_timer,
)

LOOK_S = 5.0
"""Between two looks at what is due."""

RETRY_S = 60.0
"""Before a report that could not be made, or whose period had not closed, is made again."""

CLOSE_WAIT_S = 60 * 60.0
"""So long a report waits for its period to close: a centre that was down has to catch up. Then it goes as it is."""

_log = logging.getLogger("ioc.outbound")


class Made(Struct, frozen=True):
    """What a report comes to. `complete`: its period has closed."""

    messages: list[Message]
    complete: bool


Make = Callable[[Connection, Site, Report, Period, datetime], Awaitable[Made]]
"""Reads the figures. It must not write: its transaction is not the one that the timer is in."""


class ReportSchedule:
    """Makes what is due. Several may run at once: one of them has the timer."""

    def __init__(self, outbox: Outbox, site: Callable[[], Site], make: Make, now: Callable[[], datetime]) -> None:
        """`site` is the site pack in force, `now` the clock."""
        self._outbox = outbox
        self._site = site
        self._make = make
        self._now = now
        self._seen_due: dict[str, datetime] = {}
        self._not_before: dict[str, datetime] = {}
        self._said = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Looks every LOOK_S until `stop` is set."""
        while not stop.is_set():
            await self.look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await stop.wait()

    async def look(self) -> None:
        """Makes every report that is due. What goes wrong with one is logged, and does not hold up the others."""
        site, now = self._site(), self._now()
        for report in site.reports:
            if report.schedule is None or now < self._not_before.get(report.id, now):
                continue
            try:
                await self._look_at(site, report, report.schedule)
            except DependencyUnavailable as error:
                # One line for each time that it goes away, not one for each look.
                if str(error) != self._said:
                    _log.warning("no look at reports: %s", error)
                self._said = str(error)
                return
            except IocError as error:
                metrics.REPORTS.labels("failed").inc()
                _log.error("report %s cannot be made: %s", report.id, error)
                self._put_off(report)
        self._said = ""

    async def _look_at(self, site: Site, report: Report, schedule: Schedule) -> None:
        zone = site.areas.zone(site.areas.root.id)
        now = self._now()
        latest = last_due(report, schedule, now, zone)
        async with self._outbox.connection() as connection:
            pending = await self._in_force(connection, report)
            if not pending:
                # A report that is new in the site pack begins with the first period that comes due from now on.
                following = latest.after()
                await set_timer(connection, _timer(report, following, due_at(schedule, following, zone)))
                return
            for period in pending.values():
                # The pack may have another day or hour by now.
                await set_timer(connection, _timer(report, period, due_at(schedule, period, zone)))
            due = [name for name, period in pending.items() if due_at(schedule, period, zone) <= now]
            if not due:
                return
            # Making takes a while, and a transaction that has written holds the live feed back: so it comes first.
            made = await self._make(connection, site, report, latest, now)
            since = self._seen_due.setdefault(due[0], now)
            if not made.complete and now - since < timedelta(seconds=CLOSE_WAIT_S):
                self._put_off(report)
                return
            async with connection.transaction():
                if not await self._finish(connection, report, due, latest, made):
                    return
                following = latest.after()
                await set_timer(connection, _timer(report, following, due_at(schedule, following, zone)))
        self._seen_due.pop(due[0], None)
        metrics.REPORTS.labels("made" if made.complete else "made_open").inc()
        _log.info("report %s on %s is made: %s messages to send", report.id, latest, len(made.messages))

    async def _in_force(self, connection: Connection, report: Report) -> dict[str, Period]:
        """The report's timers that have not run, by name. One of another length of period is over."""
        found: dict[str, Period] = {}
        for timer in await pending_timers(connection, _prefix(report)):
            period = _period_of(timer.name)
            if period is not None and period.grain is report.grain:
                found[timer.name] = period
            else:
                await finish_timer(connection, timer.name, "dropped: the report has periods of another length now")
        return found

    async def _finish(
        self, connection: Connection, report: Report, due: list[str], latest: Period, made: Made
    ) -> bool:
        """Puts the messages in and the timers out. False when somebody else has done so."""
        held = [name for name in due if await claim_timer(connection, name)]
        if not held:
            return False
        for message in made.messages:
            await enqueue(connection, message)
        for name in held:
            missed = name != _name(report, latest)
            outcome = f"missed: only the last one, {latest}, was made" if missed else "made"
            await finish_timer(connection, name, outcome if made.complete else f"{outcome}, before its period closed")
        return True

    def _put_off(self, report: Report) -> None:
        self._not_before[report.id] = self._now() + timedelta(seconds=RETRY_S)


def _prefix(report: Report) -> str:
    return f"report:{report.id}:"


def _name(report: Report, period: Period) -> str:
    return f"{_prefix(report)}{period}"


def _timer(report: Report, period: Period, due: datetime) -> Timer:
    return Timer(_name(report, period), due)


def _period_of(name: str) -> Period | None:
    try:
        return parse_period(name.rpartition(":")[2])
    except OperatorError:
        return None
