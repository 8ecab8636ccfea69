"""What is told of a KPI over one span?"""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from dashboard_api.reported import Reported
from dashboard_api.spans import Span
from schemas.kpi import Value


class Bucket(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A value over [start, end), in the area's local time.

    A `closed` bucket has the value `first` that it closed with; `corrected_at` is when it last changed since.
    """

    start: datetime
    end: datetime
    closed: bool = False
    first: Value | None = None
    corrected_at: datetime | None = None


def bucket_of(span: Span, value: Reported, zone: ZoneInfo) -> Bucket:
    """The value with the span that it is of, by the clocks of the zone."""
    return Bucket(
        start=datetime.fromtimestamp(span.start_s, zone),
        end=datetime.fromtimestamp(span.end_s, zone),
        closed=value.closed,
        first=value.first,
        corrected_at=value.corrected_at,
        **msgspec.structs.asdict(value.now),
    )
