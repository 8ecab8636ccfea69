"""Of which stored buckets is a stretch of time put together?

Minutes, hours and days are stored. Days are the area's own, from one local midnight to the next.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from schemas.window import HOUR_S, MINUTE_S, Tier, bucket_start, bucket_starts

DAY_S = 24 * HOUR_S

BEGINNING_S = 0
"""Nothing that is counted happened before 1970."""

_COARSEST_FIRST = (Tier.DAY, Tier.HOUR, Tier.MINUTE)
_NARROWEST_S = {Tier.DAY: 20 * HOUR_S, Tier.HOUR: HOUR_S // 2, Tier.MINUTE: 0}


class Piece(NamedTuple):
    """The stored buckets of one tier in [start_s, end_s)."""

    tier: Tier
    start_s: int
    end_s: int


def pieces(start_s: int, end_s: int, zone: ZoneInfo) -> list[Piece]:
    """The fewest stored buckets that make up the span: days where whole days lie in it, then hours, then minutes."""
    return list(_pieces(start_s // MINUTE_S * MINUTE_S, -(-end_s // MINUTE_S) * MINUTE_S, zone, _COARSEST_FIRST))


def back(end_s: int, days: int, zone: ZoneInfo) -> int:
    """The moment with the same local time so many days earlier."""
    local = datetime.fromtimestamp(end_s, zone)
    return int((local - timedelta(days=days)).timestamp())


def following(moment_s: int, tier: Tier, zone: ZoneInfo) -> int:
    """The start of the bucket after the one that holds this moment."""
    return bucket_starts(moment_s, moment_s + 2 * DAY_S if tier is Tier.DAY else moment_s + 4 * HOUR_S, tier, zone)[1]


def _pieces(start_s: int, end_s: int, zone: ZoneInfo, tiers: Sequence[Tier]) -> Iterable[Piece]:
    if start_s >= end_s:
        return
    tier, *finer = tiers
    if end_s - start_s < _NARROWEST_S[tier]:
        yield from _pieces(start_s, end_s, zone, finer)
        return
    first_s = bucket_start(start_s, tier, zone)
    if first_s < start_s:
        first_s = following(start_s, tier, zone)
    last_s = bucket_start(end_s, tier, zone)
    if first_s >= last_s:
        yield from _pieces(start_s, end_s, zone, finer)
        return
    yield from _pieces(start_s, first_s, zone, finer)
    yield Piece(tier, first_s, last_s)
    yield from _pieces(last_s, end_s, zone, finer)
