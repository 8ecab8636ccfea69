"""Which minute, hour and day does a moment belong to?

A bucket is named by its start, in whole seconds since the Unix epoch (UTC). Minutes are the same everywhere;
hours and days follow the area's own zone, so a day runs from one local midnight to the next and has 23, 24 or
25 hours.
"""

from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

MINUTE_S = 60
HOUR_S = 3600


class Tier(StrEnum):
    """A width of bucket. The value is the name used in the API and in the table names."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


TIERS: tuple[Tier, ...] = (Tier.MINUTE, Tier.HOUR, Tier.DAY)


def minute_start(epoch_s: float) -> int:
    """The start of the minute [start, start + 60 s) that holds this moment."""
    return int(epoch_s // MINUTE_S) * MINUTE_S


def hour_start(epoch_s: int, zone: ZoneInfo) -> int:
    """The first moment at which the local clock shows the hour that it shows at this moment.

    An hour that is repeated as a whole counts as another one. Where clocks change by half an hour, one hour of that
    day has 30 or 90 minutes.
    """
    offset_s = _offset_s(epoch_s, zone)
    start = (epoch_s + offset_s) // HOUR_S * HOUR_S - offset_s
    if _offset_s(start, zone) == offset_s:
        return start
    change = _change_between(start, epoch_s, zone)
    before = change - 1 + _offset_s(change - 1, zone)
    same_hour = before // HOUR_S == (change + offset_s) // HOUR_S
    return hour_start(change - 1, zone) if same_hour else change


def day_start(epoch_s: int, zone: ZoneInfo) -> int:
    """The local midnight at or before this moment; where midnight does not exist, the first moment after it."""
    local = datetime.fromtimestamp(epoch_s, zone)
    midnight = datetime.combine(local.date(), time.min, tzinfo=zone)
    return int(midnight.astimezone(UTC).timestamp())


def bucket_start(epoch_s: int, tier: Tier, zone: ZoneInfo) -> int:
    """The start of the bucket of this width, in this zone, that holds this moment."""
    match tier:
        case Tier.MINUTE:
            return minute_start(epoch_s)
        case Tier.HOUR:
            return hour_start(epoch_s, zone)
        case Tier.DAY:
            return day_start(epoch_s, zone)


def bucket_end(bucket_s: int, tier: Tier, zone: ZoneInfo) -> int:
    """Where the bucket that starts here ends, and the next one begins."""
    return _next_start(bucket_s, tier, zone)


def bucket_starts(start_s: int, end_s: int, tier: Tier, zone: ZoneInfo) -> list[int]:
    """Every bucket of this width that touches [start_s, end_s), oldest first."""
    starts: list[int] = []
    bucket = bucket_start(start_s, tier, zone)
    while bucket < end_s:
        starts.append(bucket)
        bucket = _next_start(bucket, tier, zone)
    return starts


def _next_start(bucket_s: int, tier: Tier, zone: ZoneInfo) -> int:
    match tier:
        case Tier.MINUTE:
            return bucket_s + MINUTE_S
        case Tier.HOUR:
            # No hour is longer than two, but where clocks change within it an hour may last a minute.
            following = hour_start(bucket_s + 2 * HOUR_S, zone)
            while (earlier := hour_start(following - 1, zone)) > bucket_s:
                following = earlier
            return following
        case Tier.DAY:
            # Noon of the next date is in that date in every zone, whatever the clocks do at midnight.
            noon = datetime.combine(datetime.fromtimestamp(bucket_s, zone).date(), time(12), tzinfo=zone)
            return day_start(int((noon + timedelta(days=1)).timestamp()), zone)


def _change_between(before_s: int, after_s: int, zone: ZoneInfo) -> int:
    """The first second with the offset of `after_s`, which differs from that of `before_s`."""
    offset_s = _offset_s(after_s, zone)
    while after_s - before_s > 1:
        middle = (before_s + after_s) // 2
        if _offset_s(middle, zone) == offset_s:
            after_s = middle
        else:
            before_s = middle
    return after_s


def _offset_s(epoch_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(epoch_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
