"""How much working time lies between two moments, and when has so much of it passed?

Each year of a calendar lies on the time line (`Calendar.year`), so what is asked of it takes two look-ups. Moments
count to the microsecond, in integers: nothing is lost however often a clock pauses.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from schemas.calendar import Calendar
from schemas.case import Clock
from schemas.period import YEAR_MAX
from schemas.site import Site

END = datetime(YEAR_MAX + 1, 1, 1, tzinfo=UTC)
"""The end of what events may name. What would run out later runs out then."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)
_S_US = 1_000_000


def worked_between_s(calendar: Calendar | None, start: datetime, end: datetime) -> float:
    """Working seconds in [start, end); 0 when the end is not after the start. None: every second counts."""
    return _worked_us(calendar, start, end) / _S_US


def after_working_s(calendar: Calendar | None, start: datetime, working_s: float) -> datetime:
    """The earliest moment, in UTC, at which so much working time has passed since `start`: at most `END`."""
    wanted = round(working_s * _S_US)
    if wanted <= 0:
        return start.astimezone(UTC)
    if calendar is None:
        return _moment(_us(start) + wanted)
    number = start.astimezone(calendar.clock).year
    year = calendar.year(number)
    wanted += _passed(calendar, number, _us(start))
    while wanted > year.total:
        if number == YEAR_MAX:
            return END
        wanted -= year.total
        number += 1
        year = calendar.year(number)
    span = bisect_left(year.before, wanted) - 1
    return _moment(year.starts[span] + wanted - year.before[span])


def is_working(calendar: Calendar | None, at: datetime) -> bool:
    """Whether work is done at this moment."""
    if calendar is None:
        return True
    year = calendar.year(at.astimezone(calendar.clock).year)
    at_us = _us(at)
    span = bisect_right(year.starts, at_us) - 1
    return span >= 0 and at_us < year.ends[span]


def next_midnight(calendar: Calendar, at: datetime) -> datetime:
    """The first local midnight that is not before a moment, in UTC."""
    day = at.astimezone(calendar.clock).date()
    start = calendar.midnight(day)
    return start if start >= at else calendar.midnight(day + timedelta(days=1))


def working_days_s(calendar: Calendar, start: datetime, days: int) -> float:
    """How long the first so many working days from a local midnight on are together."""
    worked = 0
    day = start.astimezone(calendar.clock).date()
    while days > 0 and day.year <= YEAR_MAX:
        of_day = calendar.year(day.year).days[day.timetuple().tm_yday - 1]
        worked += of_day
        days -= of_day > 0
        day += timedelta(days=1)
    return worked / _S_US


def calendar_of(site: Site, name: str) -> Calendar | None:
    """A clock's calendar. By one that the site pack no longer has every second counts: no deadline is lost."""
    return site.calendars.get(name)


def worked_s(site: Site, clock: Clock, now: datetime) -> float:
    """How long a clock has run by now, in working time."""
    return _worked_by_us(site, clock, now) / _S_US


def remaining_s(site: Site, clock: Clock, now: datetime) -> float:
    """How long a clock may still run, in working time. Negative: so long ago it ran out."""
    return (round(clock.allowed_s * _S_US) - _worked_by_us(site, clock, now)) / _S_US


def forecast(site: Site, clock: Clock, now: datetime, usual_s: Sequence[float]) -> float | None:
    """The chance from 0 to 1 that a clock runs out, from how long it took in such cases (working seconds).

    Of the cases that took longer than it has run by now, how many ran out of its allowance; by Laplace's rule of
    succession, so that few cases never make it certain. 1 when it has run out, 0 when it was stopped in time, None
    when there were no such cases.
    """
    ran_s = worked_s(site, clock, now)
    if clock.breached_at is not None or ran_s > clock.allowed_s:
        return 1.0
    if clock.stopped_at is not None:
        return 0.0
    if not usual_s:
        return None
    longer = [took_s for took_s in usual_s if took_s > ran_s]
    late = sum(took_s > clock.allowed_s for took_s in longer)
    return (late + 1) / (len(longer) + 2)


def _worked_by_us(site: Site, clock: Clock, now: datetime) -> int:
    ran = round(clock.ran_s * _S_US)
    if clock.since is None:
        return ran
    return ran + _worked_us(calendar_of(site, clock.calendar), clock.since, now)


def _worked_us(calendar: Calendar | None, start: datetime, end: datetime) -> int:
    # Python compares and subtracts times of one zone by the wall clock, so moments are compared as numbers.
    start_us, end_us = _us(start), _us(end)
    if end_us <= start_us:
        return 0
    if calendar is None:
        return end_us - start_us
    first, last = start.astimezone(calendar.clock).year, end.astimezone(calendar.clock).year
    worked = _passed(calendar, last, end_us) - _passed(calendar, first, start_us)
    return worked + sum(calendar.year(number).total for number in range(first, last))


def _passed(calendar: Calendar, number: int, at_us: int) -> int:
    """How much of a year's working time has passed at a moment of that year."""
    year = calendar.year(number)
    span = bisect_right(year.starts, at_us) - 1
    return 0 if span < 0 else year.before[span] + min(at_us, year.ends[span]) - year.starts[span]


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _US


def _moment(us: int) -> datetime:
    return min(_EPOCH + timedelta(microseconds=us), END)
