"""On which days, and from when to when, does somebody work?

`calendar.toml` in the site pack; the calendar "always" is built in. Every mistake is a SiteError with the line, the
reason and the fix. What is worked out of a calendar is in `schemas.working_time`.

Source: Bộ luật Lao động 45/2019/QH14 Art. 105, 111 and 112 (working time, weekly rest, public holidays).
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property, partial
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo

from holidays import country_holidays, list_supported_countries
from msgspec import Meta, Struct
from msgspec.structs import asdict, astuple

from schemas.area import Zone
from schemas.site_file import check_zone, convert_file, mistake_at, numbered, suggestion
from schemas.toml_lines import Path

CALENDAR_FILE = "calendar.toml"

ALWAYS = "always"
"""The calendar by which every second counts, holidays and nights too."""

CalendarId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]

Hours = Annotated[str, Meta(pattern=r"^\d{2}:\d{2}-\d{2}:\d{2}\Z")]
"""A span of a day on the wall clock, as `07:30-11:30`. It may end at `24:00`; one over midnight is written as two."""


Span = tuple[int, int]
"""[start, end) in minutes since midnight, on the wall clock."""

_MINUTE_S = 60
_DAY_MIN = 24 * 60
_S_US = 1_000_000

_wrong = partial(mistake_at, CALENDAR_FILE)


class Year(NamedTuple):
    """The working spans [start, end) of one year on the time line, in microseconds since the epoch, in order.

    `before[i]` is how much of the year's working time has passed when span i begins, `total` all of it; `days[i]` is
    how much of it lies in the year's day i, from 0.
    """

    starts: list[int]
    ends: list[int]
    before: list[int]
    days: list[int]
    total: int


class Week(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Working hours by weekday. A day without any is a rest day; lunch is the gap between two spans."""

    mon: tuple[Hours, ...] = ()
    tue: tuple[Hours, ...] = ()
    wed: tuple[Hours, ...] = ()
    thu: tuple[Hours, ...] = ()
    fri: tuple[Hours, ...] = ()
    sat: tuple[Hours, ...] = ()
    sun: tuple[Hours, ...] = ()


class MakeUp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rest day on which work is made up (làm bù). `hours`: those of another working day where none are given."""

    day: date
    hours: tuple[Hours, ...] = ()


class Calendar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """When work is done.

    `holidays`    a country whose public holidays are free, by ISO 3166-1 (`VN`: Tết by the lunar calendar). Days that
                  its government has swapped are as the library knows them; others stand in `days_off` and `make_up`
    `substitute`  a holiday on a Saturday or Sunday makes another day free, as that country's law has it
    `days_off`    further free days
    `make_up`     rest days and holidays that are worked
    """

    id: CalendarId
    names: dict[str, str]
    zone: Zone
    week: Week
    holidays: str | None = None
    substitute: bool = True
    days_off: tuple[date, ...] = ()
    make_up: tuple[MakeUp, ...] = ()

    @cached_property
    def clock(self) -> ZoneInfo:
        """The zone that its hours are in."""
        return ZoneInfo(self.zone)

    @cached_property
    def day_s(self) -> int:
        """How long a working day is: the longest of the week, in seconds."""
        return max(sum(end - start for start, end in day) for day in self._week) * _MINUTE_S

    def midnight(self, day: date) -> datetime:
        """When a date begins, in UTC."""
        return datetime.fromtimestamp(_moment_us(day, 0, self.clock) // _S_US, UTC)

    def year(self, year: int) -> Year:
        """The working time of a year, by the calendar's own clock. Computed when it is first asked for, and kept."""
        found = self._years.get(year)
        if found is None:
            found = self._years[year] = self._laid_out(year)
        return found

    @cached_property
    def _week(self) -> tuple[tuple[Span, ...], ...]:
        days: tuple[tuple[Hours, ...], ...] = astuple(self.week)
        return tuple(tuple(_span(hours) for hours in day) for day in days)

    @cached_property
    def _years(self) -> dict[int, Year]:
        return {}

    def _laid_out(self, year: int) -> Year:
        other = self._other_days(year)
        found = Year([], [], [], [], 0)
        worked = 0
        day = date(year, 1, 1)
        while day.year == year:
            before = worked
            for start, end in other.get(day, self._week[day.weekday()]):
                start_us, end_us = _moment_us(day, start, self.clock), _moment_us(day, end, self.clock)
                # A span that a change of clocks skips as a whole has no length.
                if start_us < end_us:
                    found.starts.append(start_us)
                    found.ends.append(end_us)
                    found.before.append(worked)
                    worked += end_us - start_us
            found.days.append(worked - before)
            day += timedelta(days=1)
        return found._replace(total=worked)

    def _other_days(self, year: int) -> dict[date, tuple[Span, ...]]:
        """The dates of a year that are not as their weekday."""
        usual = next(day for day in self._week if day)
        other: dict[date, tuple[Span, ...]] = {}
        if self.holidays is not None:
            # A swap at the turn of the year stands with the year of the day off.
            found = country_holidays(self.holidays, years=(year - 1, year, year + 1), observed=self.substitute)
            other |= dict.fromkeys(found, ())
            other |= dict.fromkeys(found.weekend_workdays, usual)
        other |= dict.fromkeys(self.days_off, ())
        other |= {one.day: tuple(_span(hours) for hours in one.hours) or usual for one in self.make_up}
        return {day: spans for day, spans in other.items() if day.year == year}


def _moment_us(day: date, minute: int, zone: ZoneInfo) -> int:
    """When a clock shows this. A time that is skipped is the change of clocks, of one that is repeated the second."""
    wall = datetime.combine(day, time(), tzinfo=zone) + timedelta(minutes=minute)
    early, late = (int(wall.replace(fold=fold).timestamp()) for fold in (0, 1))
    if late < early:
        # The hours were put forward over it: the change is the first second with the later offset.
        offset = datetime.fromtimestamp(early, zone).utcoffset()
        while early - late > 1:
            middle = (early + late) // 2
            if datetime.fromtimestamp(middle, zone).utcoffset() == offset:
                early = middle
            else:
                late = middle
        return early * _S_US
    return late * _S_US


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    calendar: list[Calendar] = []


def parse_calendars(text: str) -> dict[str, Calendar]:
    """The calendars by id, in the file's order. Raises SiteError."""
    given = convert_file(text, _File, CALENDAR_FILE).calendar
    for number, calendar in numbered(given, CALENDAR_FILE, text, "calendar"):
        at: Path = ("calendar", number)
        if calendar.id == ALWAYS:
            raise _wrong(text, (*at, "id"), f"{ALWAYS!r} is built in", "Give it another id.")
        check_zone(calendar.zone, partial(_wrong, text, (*at, "zone")))
        _check_week(text, (*at, "week"), calendar.week)
        if calendar.holidays is not None and calendar.holidays not in list_supported_countries():
            reason = f"the holidays of {calendar.holidays!r} are not known"
            raise _wrong(text, (*at, "holidays"), reason, "Use a country's code of two capital letters, as VN.")
        off = set(calendar.days_off)
        for entry, one in enumerate(calendar.make_up):
            if one.day in off:
                reason = f"{one.day} is a day off, or made up, already"
                raise _wrong(text, (*at, "make_up", entry, "day"), reason, "Leave one of them out.")
            off.add(one.day)
            _check_day(text, (*at, "make_up", entry, "hours"), one.hours)
    return {calendar.id: calendar for calendar in given}


def check_calendar(calendars: Mapping[str, Calendar], name: str, file: str, text: str, path: Path) -> None:
    """Raises SiteError where another file names a calendar that is not declared."""
    if name != ALWAYS and name not in calendars:
        reason = f"calendar {name!r} is not declared in {CALENDAR_FILE}"
        raise mistake_at(file, text, path, reason, suggestion(name, [ALWAYS, *calendars]))


def _check_week(text: str, path: Path, week: Week) -> None:
    days: dict[str, tuple[Hours, ...]] = asdict(week)
    for name, day in days.items():
        _check_day(text, (*path, name), day)
    if not any(days.values()):
        raise _wrong(text, path, "no day has working hours", "Give hours to a weekday, or use the calendar `always`.")


def _check_day(text: str, path: Path, day: Iterable[str]) -> None:
    free_from = 0
    for number, hours in enumerate(day):
        hour_parts = hours.replace("-", ":").split(":")
        start, end = _span(hours)
        if int(hour_parts[1]) > 59 or int(hour_parts[3]) > 59 or end > _DAY_MIN:
            raise _wrong(text, (*path, number), f"{hours!r} is not on a clock", "Write times from 00:00 to 24:00.")
        if start >= end:
            fix = "Let a span end after it begins; write one over midnight as two."
            raise _wrong(text, (*path, number), f"{hours!r} has no length", fix)
        if start < free_from:
            raise _wrong(text, (*path, number), f"{hours!r} begins before the span before it ends", "Order them.")
        free_from = end


def _span(hours: str) -> Span:
    start, end = hours.split("-")
    return _minutes(start), _minutes(end)


def _minutes(clock: str) -> int:
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)
