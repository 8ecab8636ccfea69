"""What is told of a value: what it is, what it was first, and whether it may still change by itself?"""

from datetime import datetime

from msgspec import Struct

from schemas.kpi import Value


class Reported(Struct, frozen=True, kw_only=True):
    """A value as it is `now`, and what it was when its span closed.

    `first` is None as long as the span is not `closed`. Of a span of several buckets it is what each of them closed
    with; what a balance or a silent one looks back on is taken as it is known now. `corrected_at` is when something
    in a closed bucket last changed; None: it never did, and `first` is `now`.
    """

    now: Value
    first: Value | None = None
    corrected_at: datetime | None = None
    closed: bool = False
