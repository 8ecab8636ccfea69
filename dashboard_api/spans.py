"""Which spans of time can be asked for, and of which stored buckets is each put together?

People ask for quarters of an hour, weeks and years; minutes, hours and days are stored. Days are the area's own, from
one local midnight to the next, and so is everything longer.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.pieces import BEGINNING_S as BEGINNING_S
from schemas.pieces import DAY_S as DAY_S
from schemas.pieces import Piece as Piece
from schemas.pieces import back as back
from schemas.pieces import following
from schemas.pieces import pieces as pieces
from schemas.window import HOUR_S, MINUTE_S, Tier, bucket_start, bucket_starts, day_start


class Step(StrEnum):
    """The widths of buckets that a series can have."""

    MINUTE = "minute"
    FIVE_MINUTES = "5m"
    QUARTER_HOUR = "15m"
    HOUR = "hour"
    SIX_HOURS = "6h"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"
    YEAR = "year"


SHORTEST_S: Mapping[Step, int] = {
    Step.MINUTE: MINUTE_S,
    Step.FIVE_MINUTES: 5 * MINUTE_S,
    Step.QUARTER_HOUR: 15 * MINUTE_S,
    Step.HOUR: HOUR_S,
    Step.SIX_HOURS: 5 * HOUR_S,
    Step.DAY: 23 * HOUR_S,
    Step.WEEK: 7 * DAY_S - HOUR_S,
    Step.MONTH: 28 * DAY_S - HOUR_S,
    Step.QUARTER: 90 * DAY_S - HOUR_S,
    Step.YEAR: 365 * DAY_S - HOUR_S,
}
"""The least that a bucket of this width lasts, to estimate how many a range holds."""

_MINUTES: Mapping[Step, int] = {Step.FIVE_MINUTES: 5, Step.QUARTER_HOUR: 15}
_MONTHS: Mapping[Step, int] = {Step.MONTH: 1, Step.QUARTER: 3, Step.YEAR: 12}


class Span(Struct, frozen=True):
    """A stretch of time [start_s, end_s) in epoch seconds, of whole minutes."""

    start_s: int
    end_s: int


def spans(start_s: int, end_s: int, step: Step, zone: ZoneInfo) -> list[Span]:
    """Every bucket of this width that touches [start_s, end_s), oldest first, without gaps."""
    starts = _starts(start_s, end_s, step, zone)
    if not starts:
        return []
    return [Span(a, b) for a, b in pairwise([*starts, _next_start(starts[-1], step, zone)])]


def last_spans(now_s: float, count: int, step: Step, zone: ZoneInfo) -> list[Span]:
    """The last `count` buckets of this width up to the one that holds now, oldest first."""
    # Twice the least that so many can last is more than the most.
    oldest_s = max(BEGINNING_S, int(now_s) - (count + 1) * 2 * SHORTEST_S[step])
    return spans(oldest_s, int(now_s) + 1, step, zone)[-count:]


def _starts(start_s: int, end_s: int, step: Step, zone: ZoneInfo) -> list[int]:
    if start_s >= end_s:
        return []
    if step in (Step.MINUTE, Step.HOUR, Step.DAY):
        return bucket_starts(start_s, end_s, Tier(step.value), zone)
    starts = [_start(start_s, step, zone)]
    while (following := _next_start(starts[-1], step, zone)) < end_s:
        starts.append(following)
    return starts


def _start(moment_s: int, step: Step, zone: ZoneInfo) -> int:
    """The start of the bucket that holds this moment."""
    if minutes := _MINUTES.get(step):
        # Every zone in use is whole quarters of an hour from UTC, so these are quarters of the local hour.
        return moment_s // (minutes * MINUTE_S) * minutes * MINUTE_S
    day_s = day_start(moment_s, zone)
    if step is Step.SIX_HOURS:
        return max(start for start in _six_hours(day_s, zone) if start <= moment_s)
    local = datetime.fromtimestamp(day_s, zone).date()
    if step is Step.WEEK:
        return _midnight(local - timedelta(days=local.weekday()), zone)
    months = _MONTHS[step]
    return _midnight(local.replace(month=(local.month - 1) // months * months + 1, day=1), zone)


def _next_start(bucket_s: int, step: Step, zone: ZoneInfo) -> int:
    """The start of the bucket after the one that starts here."""
    if minutes := _MINUTES.get(step):
        return bucket_s + minutes * MINUTE_S
    if step in (Step.MINUTE, Step.HOUR, Step.DAY):
        return following(bucket_s, Tier(step.value), zone)
    if step is Step.SIX_HOURS:
        day_s = day_start(bucket_s, zone)
        later = [start for start in _six_hours(day_s, zone) if start > bucket_s]
        return later[0] if later else following(day_s, Tier.DAY, zone)
    local = datetime.fromtimestamp(bucket_s, zone).date()
    if step is Step.WEEK:
        return _midnight(local + timedelta(days=7), zone)
    month = local.month - 1 + _MONTHS[step]
    return _midnight(date(local.year + month // 12, month % 12 + 1, 1), zone)


def _six_hours(day_s: int, zone: ZoneInfo) -> list[int]:
    """The starts of a day's quarters: when its clocks show 0, 6, 12 and 18 hours."""
    local = datetime.fromtimestamp(day_s, zone).date()
    shown = [datetime.combine(local, time(hour), tzinfo=zone) for hour in (6, 12, 18)]
    return [day_s, *(bucket_start(int(moment.astimezone(UTC).timestamp()), Tier.HOUR, zone) for moment in shown)]


def _midnight(day: date, zone: ZoneInfo) -> int:
    # Noon is in its date in every zone, whatever the clocks do at midnight.
    return day_start(int(datetime.combine(day, time(12), tzinfo=zone).timestamp()), zone)
