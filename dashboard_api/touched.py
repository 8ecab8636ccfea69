"""Which values did transactions change?

A transaction's change row names bases, minutes and areas; boards show the KPIs that are read from them, by minutes,
hours and days. This module finds the points to read again, among those that somebody wants.
"""

from collections.abc import Iterable, Mapping, Set
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.subscription import Series
from schemas.event import AreaId
from schemas.kpi import Catalogue, Measure
from schemas.site import Site
from schemas.window import HOUR_S, MINUTE_S, Tier, bucket_start, bucket_starts

AHEAD_S = HOUR_S
"""A bucket that starts later than this after now belongs to a sender's wrong clock; boards are not told of it."""

WIDTH_S: Mapping[Tier, int] = {Tier.MINUTE: MINUTE_S, Tier.HOUR: HOUR_S, Tier.DAY: 25 * HOUR_S}
"""The longest that a bucket of this tier can be: a day has 25 hours when the clocks go back."""


class Point(NamedTuple):
    """One bucket of a series. `bucket_s` is its start in seconds since the Unix epoch."""

    kpi: str
    area: AreaId
    tier: Tier
    bucket_s: int

    @property
    def series(self) -> Series:
        """The series that this is a point of."""
        return Series(self.kpi, self.area, self.tier)


class Touched(Struct, frozen=True):
    """What one transaction touched, as `streams` wrote it: bases by minute and area, cases and units by id.

    After a `reload` anything may have changed: what counts, or what was counted long ago.
    """

    kpis: list[tuple[str, int, list[AreaId]]] = []
    events: int = 0
    sources: list[str] = []
    reload: bool = False
    cases: list[str] = []
    units: list[str] = []
    commands: bool = False


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
    """What the boards show, all of them together. `oldest_s` is by tier: what starts before it nobody shows.

    `commands_of` are the sources whose commands' outcomes somebody waits for.
    """

    series: Mapping[str, Mapping[AreaId, Set[Tier]]]
    oldest_s: Mapping[Tier, int]
    events: bool
    sources: bool
    cases: bool = False
    units: bool = False
    commands_of: frozenset[str] = frozenset()


def carries(catalogue: Catalogue, kpi_id: str) -> bool:
    """Whether an event changes the KPI's later buckets too: a balance goes on, and who is silent was heard before."""
    if kpi_id not in catalogue:
        return False
    if catalogue[kpi_id].measure in (Measure.BALANCE, Measure.SILENT):
        return True
    return catalogue[kpi_id].measure is Measure.RATIO and any(
        carries(catalogue, part) for part in catalogue.parts_of(kpi_id)
    )


def touched_points(changes: Iterable[Change], wanted: Wanted, site: Site, now_s: float) -> dict[Point, int]:
    """The points to read again, each with the latest minute that had events: touched, and shown by somebody."""
    carrying = {kpi: carries(site.kpis, kpi) for kpi in wanted.series}
    minutes: dict[tuple[str, int, AreaId], None] = {}
    for change in changes:
        for base, minute_s, areas in change.touched.kpis if change.touched else ():
            if minute_s <= now_s + AHEAD_S:
                for kpi in site.kpis.readers_of(base):
                    minutes |= {(kpi, minute_s, area): None for area in areas if kpi in wanted.series}
    points: dict[Point, int] = {}
    for kpi, minute_s, area in minutes:
        if area not in site.areas:
            continue
        zone = site.areas.zone(area)
        for tier in wanted.series[kpi].get(area, ()):
            oldest_s = wanted.oldest_s[tier]
            if carrying[kpi] and minute_s <= now_s:
                starts = bucket_starts(max(minute_s, oldest_s), int(now_s) + 1, tier, zone)
            else:
                starts = [bucket_start(minute_s, tier, zone)]
            for bucket_s in starts:
                if bucket_s >= oldest_s:
                    point = Point(kpi, area, tier, bucket_s)
                    points[point] = max(points.get(point, 0), minute_s)
    return points
