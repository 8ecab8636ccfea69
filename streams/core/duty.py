"""How long was a unit on duty?

As long as its calendar has it work, and it did not say that it is off. The time is told for each hour by itself, so
that figures have it where it belongs, and once: a unit's state says up to when it was told. A word that comes late
changes what had been told by the difference, which may be below zero.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from msgspec.structs import replace

from schemas.site import Site
from schemas.unit import Unit, UnitState, UnitStatus
from schemas.working_time import calendar_of, worked_between_s

HOUR = timedelta(hours=1)

HOURS_MAX = 24 * 31
"""Hours that are told at once: after a longer outage the next hour goes on where this one ends. A word that is later
still changes only the last of what was told."""

WITHIN = timedelta(microseconds=1)
"""Before the end of an hour: what is told of it belongs to it, and not to the next one."""


class Duty(NamedTuple):
    """What is told of a unit's time on duty: so many seconds up to a moment, or so many less than was told."""

    unit: Unit
    until: datetime
    seconds: float


def on_duty_s(site: Site, unit: Unit, state: UnitState, start: datetime, end: datetime) -> float:
    """Seconds on duty in [start, end), as far as this state says: what it said before is not in it."""
    if state.status is UnitStatus.OFF:
        if state.until is None:
            return 0.0
        start = max(start, state.until)
    return worked_between_s(calendar_of(site, unit.calendar), start, end)


def told_up_to(site: Site, unit: Unit, state: UnitState, at: datetime) -> tuple[UnitState, list[Duty]]:
    """The state with its time on duty told up to a moment, and what there is to tell; the first time nothing."""
    at = at.astimezone(UTC)
    if state.duty_at is None:
        return replace(state, duty_since=at, duty_at=at), []
    at = min(at, state.duty_at + HOURS_MAX * HOUR)
    if at <= state.duty_at:
        return state, []
    spans = list(_hours(state.duty_at, at))
    told = [Duty(unit, end, on_duty_s(site, unit, state, start, end)) for start, end in spans]
    return replace(state, duty_at=at), [one for one in told if one.seconds > 0]


def told_anew(site: Site, unit: Unit, before: UnitState, after: UnitState, since: datetime) -> list[Duty]:
    """What has to be told because a word of a moment `since` came when the time after it had been told already."""
    if before.duty_at is None or before.duty_since is None:
        return []
    since = max(since.astimezone(UTC), before.duty_since, before.duty_at - HOURS_MAX * HOUR)
    found = (
        Duty(unit, end, on_duty_s(site, unit, after, start, end) - on_duty_s(site, unit, before, start, end))
        for start, end in _hours(since, before.duty_at)
    )
    return [one for one in found if one.seconds]


def _hours(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The parts of [start, end) by full hours of UTC."""
    while start < end:
        next_hour = start.replace(minute=0, second=0, microsecond=0) + HOUR
        yield start, min(next_hour, end)
        start = next_hour
