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
    """The start of the local clock hour that holds this moment."""
    offset_s = _offset_s(epoch_s, zone)
    return (epoch_s + offset_s) // HOUR_S * HOUR_S - offset_s


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
            return bucket_s + HOUR_S
        case Tier.DAY:
            # Noon of the next date is in that date in every zone, whatever the clocks do at midnight.
            noon = datetime.combine(datetime.fromtimestamp(bucket_s, zone).date(), time(12), tzinfo=zone)
            return day_start(int((noon + timedelta(days=1)).timestamp()), zone)


def _offset_s(epoch_s: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(epoch_s, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
