"""What is told of a value: what it is, what it was first, and whether it may still change by itself?"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from schemas.kpi import Value, balance_value


class Known(StrEnum):
    """How it is known what a value was at a past moment."""

    FINAL = "final"  # its bucket had closed, and has not changed since that moment
    FIRST = "first"  # as the bucket closed; it was corrected after that moment, and maybe also before
    PART = "part"  # its bucket was open: what had closed of it, up to `until`
    NONE = "none"  # nothing that was known then is kept


class Reported(Struct, frozen=True, kw_only=True):
    """A value as it is `now`, and what it was when its span closed.

    `first` is None as long as the span is not `closed`. Of a span of several buckets it is what each of them closed
    with; what a balance or a silent one looks back on is taken as it is known now. `corrected_at` is when something
    in a closed bucket last changed; None: it never did, and `first` is `now`. Of a past moment `known` says how the
    value is known, and `until_s` up to when a part of it is.
    """

    now: Value
    first: Value | None = None
    corrected_at: datetime | None = None
    closed: bool = False
    known: Known | None = None
    until_s: int | None = None


def closed_balance(plus: Reported, minus: Reported) -> Reported:
    """What a balance was at the end of what had closed, of what its two sides were."""
    corrections = [moment for moment in (plus.corrected_at, minus.corrected_at) if moment is not None]
    return Reported(
        now=balance_value(plus.now, minus.now),
        first=balance_value(plus.first or plus.now, minus.first or minus.now),
        corrected_at=max(corrections, default=None),
        closed=True,
    )
