"""What span of time does "2026", "2026-Q3", "2026-09" or "2026-09-30" mean by an area's own clock?"""

import re
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.errors import OperatorError
from schemas.window import day_start

YEAR_MIN = 1970
YEAR_MAX = 2199
"""Events lie in these years; see `event.TIME_END_S`."""

_FORM = re.compile(r"(\d{4})(?:-Q([1-4])|-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_NOON = time(12)


class Grain(StrEnum):
    """How long a period is."""

    YEAR = "year"
    QUARTER = "quarter"
    MONTH = "month"
    DAY = "day"


_GRAIN_BY_LENGTH = {len("2026"): Grain.YEAR, len("2026-09"): Grain.MONTH, len("2026-09-30"): Grain.DAY}
_MONTHS = {Grain.YEAR: 12, Grain.QUARTER: 3, Grain.MONTH: 1}


class Span(Struct, frozen=True):
    """[`start_s`, `end_s`), in whole seconds since the epoch."""

    start_s: int
    end_s: int


class Period(Struct, frozen=True):
    """A year, a quarter, a month or a day of the calendar. `first` is its first date."""

    grain: Grain
    first: date

    def __str__(self) -> str:
        """As it is written: `2026`, `2026-Q3`, `2026-09` or `2026-09-30`."""
        match self.grain:
            case Grain.YEAR:
                return f"{self.first.year:04}"
            case Grain.QUARTER:
                return f"{self.first.year:04}-Q{self.first.month // 3 + 1}"
            case Grain.MONTH:
                return f"{self.first.year:04}-{self.first.month:02}"
            case Grain.DAY:
                return self.first.isoformat()

    def after(self) -> "Period":
        """The next period of this length."""
        return self._moved(1)

    def before(self) -> "Period":
        """The period of this length that came before."""
        return self._moved(-1)

    def span(self, zone: ZoneInfo) -> Span:
        """From its first local midnight to the one after its last; exactly whole days of `schemas.window`."""
        return Span(_day_start_s(self.first, zone), _day_start_s(self.after().first, zone))

    def _moved(self, steps: int) -> "Period":
        if self.grain is Grain.DAY:
            return Period(self.grain, self.first + timedelta(days=steps))
        months = self.first.year * 12 + self.first.month - 1 + steps * _MONTHS[self.grain]
        return Period(self.grain, date(months // 12, months % 12 + 1, 1))


def parse_period(text: str) -> Period:
    """Reads a period. Raises OperatorError for what is none."""
    form = _FORM.fullmatch(text)
    if form is not None and YEAR_MIN <= int(form[1]) <= YEAR_MAX:
        year, quarter, month, day = form.groups()
        grain = Grain.QUARTER if quarter else Grain.DAY if day else Grain.MONTH if month else Grain.YEAR
        try:
            return Period(grain, date(int(year), int(quarter) * 3 - 2 if quarter else int(month or 1), int(day or 1)))
        except ValueError:
            pass  # a month or a day that no calendar has
    raise OperatorError(
        f"{text!r} is not a period in the years {YEAR_MIN} to {YEAR_MAX}.",
        "Write a year, a quarter, a month or a day, as 2026, 2026-Q3, 2026-09 or 2026-09-30.",
    )


def grain_of(period: str) -> Grain:
    """How long the period is, of a text that has the form of one (`event.Period`)."""
    return Grain.QUARTER if "Q" in period else _GRAIN_BY_LENGTH[len(period)]


def period_of(grain: Grain, at_s: float, zone: ZoneInfo) -> Period:
    """The period of this length that holds a moment by the zone's clock."""
    day = datetime.fromtimestamp(at_s, zone).date()
    if grain is Grain.DAY:
        return Period(grain, day)
    months = _MONTHS[grain]
    return Period(grain, date(day.year, (day.month - 1) // months * months + 1, 1))


def last_ended(grain: Grain, now_s: float, zone: ZoneInfo) -> Period:
    """The period of this length that ended last."""
    return period_of(grain, now_s, zone).before()


def period_start_s(period: str, zone: ZoneInfo) -> int:
    """When a period begins in a zone, in seconds since the epoch. Raises OperatorError for what is none."""
    return _day_start_s(parse_period(period).first, zone)


def _day_start_s(day: date, zone: ZoneInfo) -> int:
    # Noon is in its date in every zone, whatever the clocks do at midnight.
    return day_start(int(datetime.combine(day, _NOON, tzinfo=zone).timestamp()), zone)
