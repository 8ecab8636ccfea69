"""Which values did transactions change?

A transaction's change row names KPIs, minutes and areas; boards show minutes, hours and days. This module finds the
points to read again, among those that somebody wants.
"""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.subscription import Series
from schemas.area import AreaTree
from schemas.event import AreaCode
from schemas.window import HOUR_S, MINUTE_S, Tier, bucket_start

AHEAD_S = HOUR_S
"""A bucket that starts later than this after now belongs to a sender's wrong clock; boards are not told of it."""

WIDTH_S: Mapping[Tier, int] = {Tier.MINUTE: MINUTE_S, Tier.HOUR: HOUR_S, Tier.DAY: 25 * HOUR_S}
"""The longest that a bucket of this tier can be: a day has 25 hours when the clocks go back."""


class Point(NamedTuple):
    """One bucket of a series. `bucket_s` is its start in seconds since the Unix epoch."""

    kpi: str
    area: AreaCode
    tier: Tier
    bucket_s: int

    @property
    def series(self) -> Series:
        """The series that this is a point of."""
        return Series(self.kpi, self.area, self.tier)


class Touched(Struct, frozen=True):
    """What one transaction touched, as `streams` wrote it."""

    kpis: list[tuple[str, int, list[AreaCode]]] = []
    events: int = 0
    sources: list[str] = []


class Change(Struct, frozen=True):
    """A change row. `touched` is None when its text could not be read: then anything may have changed."""

    xid: int
    committed_at: datetime
    touched: Touched | None


_decoder = msgspec.json.Decoder(Touched)


def decode_touched(raw: bytes) -> Touched | None:
    """Reads a change row's `touched`; None when it is not what this version understands."""
    try:
        return _decoder.decode(raw)
    except (msgspec.DecodeError, UnicodeError):
        return None


def oldest_shown_s(now_s: float, tier: Tier, points: int) -> int:
    """Buckets that start before this are not among the last `points`; those at it may be."""
    return int(now_s) - (points + 1) * WIDTH_S[tier]


class Wanted(Struct, frozen=True):
    """What the boards show, all of them together. `oldest_s` is by tier: what starts before it nobody shows."""

    series: Mapping[str, Mapping[AreaCode, Set[Tier]]]
    oldest_s: Mapping[Tier, int]
    events: bool
    sources: bool


def touched_points(changes: Iterable[Change], wanted: Wanted, tree: AreaTree, now_s: float) -> dict[Point, int]:
    """The points to read again, each with the latest minute in it that had events: touched, and shown by somebody."""
    points: dict[Point, int] = {}
    for change in changes:
        for kpi, minute_s, areas in change.touched.kpis if change.touched else ():
            by_area = wanted.series.get(kpi)
            if by_area is None or minute_s > now_s + AHEAD_S:
                continue
            for area in areas:
                for tier in by_area.get(area, ()):
                    bucket_s = bucket_start(minute_s, tier, tree.zone(area))
                    if bucket_s >= wanted.oldest_s[tier]:
                        point = Point(kpi, area, tier, bucket_s)
                        points[point] = max(points.get(point, 0), minute_s)
    return points
