"""On which days, and from when to when, does somebody work?

`calendar.toml` in the site pack; the calendar "always" is built in. Every mistake is a SiteError with the line, the
reason and the fix. What is worked out of a calendar is in `schemas.working_time`.

Source: Bộ luật Lao động 45/2019/QH14 Art. 105, 111 and 112 (working time, weekly rest, public holidays).
"""

from datetime import date
from typing import Annotated

from msgspec import Meta, Struct

from schemas.area import Zone

CALENDAR_FILE = "calendar.toml"

ALWAYS = "always"
"""The calendar by which every second counts, holidays and nights too."""

CalendarId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]

Hours = Annotated[str, Meta(pattern=r"^\d{2}:\d{2}-\d{2}:\d{2}\Z")]
"""A span of a day on the wall clock, as `07:30-11:30`. It may end at `24:00`; one over midnight is written as two."""


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


class Calendar(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When work is done.

    `holidays`   a country whose public holidays are free, by ISO 3166-1 (`VN`: Tết by the lunar calendar)
    `substitute` a holiday that falls on a rest day makes another day free, as that country's law has it
    `days_off`   further free days
    `make_up`    rest days and holidays that are worked
    """

    id: CalendarId
    names: dict[str, str]
    zone: Zone
    week: Week
    holidays: str | None = None
    substitute: bool = True
    days_off: tuple[date, ...] = ()
    make_up: tuple[MakeUp, ...] = ()
