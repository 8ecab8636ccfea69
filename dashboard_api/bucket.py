"""What is told of a KPI over one span?"""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from dashboard_api.reported import Known, Reported
from dashboard_api.spans import Span
from schemas.kpi import Value


class Bucket(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A value over [start, end), in the area's local time.

    A `closed` bucket has the value `first` that it closed with; `corrected_at` is when it last changed since. Of a
    past moment `known` says how the value is known, and `until` up to when a part of it is.
    """

    start: datetime
    end: datetime
    closed: bool = False
    first: Value | None = None
    corrected_at: datetime | None = None
    known: Known | None = None
    until: datetime | None = None


def bucket_of(span: Span, value: Reported, zone: ZoneInfo) -> Bucket:
    """The value with the span that it is of, by the clocks of the zone."""
    return Bucket(
        start=datetime.fromtimestamp(span.start_s, zone),
        end=datetime.fromtimestamp(span.end_s, zone),
        closed=value.closed,
        first=value.first,
        corrected_at=value.corrected_at,
        known=value.known,
        until=None if value.until_s is None else datetime.fromtimestamp(value.until_s, zone),
        **msgspec.structs.asdict(value.now),
    )
