"""Who notices that an hour has passed for the units?

Whichever worker looks first. The hour is put on the log as a command to each unit that may have been on duty lately,
under an id of the unit and the hour: looked at twice, by two workers or after a restart, it is one command.
"""

from datetime import UTC, datetime, timedelta

from schemas.site import Site
from schemas.working_time import calendar_of, worked_between_s
from streams.core.consequence import hour_passed, outgoing
from streams.store.cells import Connection
from streams.store.outbox import put_on_log

LATELY = timedelta(days=1)
"""A unit that has had no working time for so long waits for its next hour: nothing is lost by it."""


async def pass_hour(connection: Connection, site: Site, told: datetime | None, now: datetime) -> datetime:
    """Puts the last full hour on the log, unless it is the one that was `told`. Returns it."""
    hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if hour == told:
        return hour
    events = [
        outgoing(hour_passed(site.areas, unit, hour, now))
        for unit in site.units.values()
        if worked_between_s(calendar_of(site, unit.calendar), hour - LATELY, hour) > 0
    ]
    await put_on_log(connection, events)
    return hour
