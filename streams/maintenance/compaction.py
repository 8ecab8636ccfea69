"""How do the rows of a closed bucket become one?

While a bucket is open each partition adds to a row (shard) of its own, so that nobody waits for anybody. Once it has
been closed for a while those rows are merged into one of shard -1. Reading adds up what there is, so it does not
matter when, nor whether something comes later: that makes a new row beside the merged one, and is merged again.

A row that a lane is changing is left alone, and a lane that wants a row which is being merged waits, finds it gone
and begins a new one. Nothing is read and written back outside the locks, so nothing is lost or counted twice.

What drills add lies in rows of its own, under other names (`schemas.exercise`), and is merged likewise.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg
from msgspec.structs import replace

from schemas import distinct
from schemas.exercise import drill_name, real_name
from schemas.kpi import Base, Measure
from schemas.sketch import encode_bins, merge_bins
from schemas.statements import for_tier
from schemas.window import HOUR_S, MINUTE_S, TIERS, Tier
from streams import metrics
from streams.core.fold import DAY_S
from streams.maintenance.closing import read_closed_s
from streams.maintenance.timer import SQL, Timer, claimed, is_due
from streams.store.cells import MERGED_SHARD, Connection
from streams.versions import Version

COMPACT_AFTER_S = HOUR_S
"""How long a bucket has been closed before it is merged: most of what is late comes within the hour."""

EVERY_S = 60.0
"""Between two rounds, unless the last one left something to do."""

SUMS_MAX = 1_000
"""Keys without sketches that one transaction merges. A long one would hold the change feed back."""

SKETCHES_MAX = 100
"""Keys with sketches that one transaction merges; those are merged in this process, which counts besides."""

LOOK_S_MAX = 0.2
"""How long one step looks for something to merge; where it found nothing is remembered."""

STRIDE_S: Mapping[Tier, int] = {Tier.MINUTE: HOUR_S, Tier.HOUR: DAY_S, Tier.DAY: 30 * DAY_S}
"""How much of a base's time is looked at at once."""

_LONGEST_S: Mapping[Tier, int] = {Tier.MINUTE: MINUTE_S, Tier.HOUR: 2 * HOUR_S, Tier.DAY: 26 * HOUR_S}
_STEP_S: Mapping[Tier, int] = {Tier.MINUTE: HOUR_S // 4, Tier.HOUR: 6 * HOUR_S, Tier.DAY: 6 * HOUR_S}
_SKETCHED = (Measure.PERCENTILE, Measure.DISTINCT)

Key = tuple[str, str, datetime, str, int]
"""Base, area, bucket, dimension value, bin."""

Cursor = tuple[Tier, str]
"""A tier and a base."""


class Row(NamedTuple):
    """What one row of a bucket holds, and what it held when the bucket closed, if that was something else."""

    n: int
    total: Decimal
    low: float | None
    high: float | None
    sketch: bytes | None
    first_n: int | None
    first_total: Decimal | None
    first_low: float | None
    first_high: float | None
    first_sketch: bytes | None
    corrected_at: datetime | None


class _Found(NamedTuple):
    """What one step merges, how far each base has been looked through, and whether there is more to do at once."""

    keys: dict[tuple[Tier, bool], list[Key]]
    reached_s: dict[Cursor, float]
    is_all: bool


async def compact(connection: Connection, version: Version) -> bool:
    """Merges a bounded number of buckets, if it is due. Returns whether it is due again at once."""
    if not await is_due(connection, Timer.COMPACTION):
        return False
    found = await _find(connection, version)
    try:
        # In this isolation what somebody else changes between look and lock undoes the transaction.
        async with claimed(connection, Timer.COMPACTION, "repeatable_read") as claim:
            if claim is None:
                return False
            merged = await _merge(connection, version, found)
            outcome = "merged " + ", ".join(f"{n} {tier.value}s" for tier, n in merged.items())
            await claim.rearm(EVERY_S if found.is_all else 0.0, outcome if found.is_all else f"{outcome}; more to do")
    except asyncpg.SerializationError:
        return True
    for tier, n in merged.items():
        metrics.COMPACTED.labels(tier.value).inc(n)
    return not found.is_all


def merged_row(rows: Sequence[Row], measure: Measure) -> Row:
    """The rows of one key, at least one, of a measure with sketches, as one.

    A row that was not corrected since its bucket closed has closed with what it holds.
    """
    is_corrected = any(row.first_n is not None for row in rows)
    first = [row if row.first_n is None else _first(row) for row in rows]
    return Row(
        n=sum(row.n for row in rows),
        total=sum((row.total for row in rows), Decimal(0)),
        low=None,
        high=None,
        sketch=_merged_sketch((row.sketch for row in rows), measure),
        first_n=sum(row.n for row in first) if is_corrected else None,
        first_total=sum((row.total for row in first), Decimal(0)) if is_corrected else None,
        first_low=None,
        first_high=None,
        first_sketch=_merged_sketch((row.sketch for row in first), measure) if is_corrected else None,
        corrected_at=max((row.corrected_at for row in rows if row.corrected_at is not None), default=None),
    )


def _first(row: Row) -> Row:
    """What a corrected row closed with."""
    return row._replace(n=row.first_n or 0, total=row.first_total or Decimal(0), sketch=row.first_sketch)


def _merged_sketch(sketches: Iterable[bytes | None], measure: Measure) -> bytes | None:
    present = [sketch for sketch in sketches if sketch is not None]
    if len(present) < 2:
        return present[0] if present else None
    return encode_bins(merge_bins(present)) if measure is Measure.PERCENTILE else distinct.merge(present)


async def _find(connection: Connection, version: Version) -> _Found:
    """What there is to merge: first what came late, then what closed since the last time."""
    closed_s = await read_closed_s(connection, version.site)
    # Drills come by the same topics as what they are drills of, so their buckets close with the others.
    closed_s = {**closed_s, **{drill_name(base): at_s for base, at_s in closed_s.items()}}
    real = version.site.kpis.bases
    bases = [base for base in (*real, *map(_of_drills, real)) if base.id in closed_s]
    found = _Found({}, {}, is_all=True)
    for tier in TIERS:
        for is_sketched in (False, True):
            some = [base for base in bases if (base.measure in _SKETCHED) is is_sketched]
            if some and not await _find_left_over(connection, tier, some, closed_s, found):
                found = found._replace(is_all=False)
    return await _find_closed(connection, version, bases, closed_s, found)


def _of_drills(base: Base) -> Base:
    return replace(base, id=drill_name(base.id))


def _end_s(tier: Tier, closed_s: float) -> int:
    """Buckets that start before this have been closed for long enough, also the longest. A whole step, so that there
    is something to merge when it is looked at.
    """
    return int((closed_s - COMPACT_AFTER_S - _LONGEST_S[tier]) // _STEP_S[tier]) * _STEP_S[tier]


async def _find_left_over(
    connection: Connection, tier: Tier, bases: Sequence[Base], closed_s: Mapping[str, float], found: _Found
) -> bool:
    """Adds to what was found. Returns whether that is all."""
    is_sketched = bases[0].measure in _SKETCHED
    rows_max = SKETCHES_MAX if is_sketched else SUMS_MAX
    rows = await connection.fetch(
        for_tier(SQL["left_over"], tier),
        [base.id for base in bases],
        [_instant(_end_s(tier, closed_s[base.id])) for base in bases],
        rows_max,
    )
    found.keys[tier, is_sketched] = [_key(row) for row in rows]
    return len(rows) < rows_max


async def _find_closed(
    connection: Connection, version: Version, bases: Sequence[Base], closed_s: Mapping[str, float], found: _Found
) -> _Found:
    rows = await connection.fetch(SQL["read_compacted"])
    reached_s = {(Tier(row["tier"]), row["kpi"]): row["until_s"] for row in rows}
    areas = [area.id for area in version.site.areas]
    until = time.monotonic() + LOOK_S_MAX
    for tier in TIERS:
        chunks = [
            (row["range_start"].timestamp(), row["range_end"].timestamp())
            for row in await connection.fetch(for_tier(SQL["read_chunks"], tier))
        ]
        for base in bases:
            is_sketched = base.measure in _SKETCHED
            keys = found.keys.setdefault((tier, is_sketched), [])
            end_s = float(_end_s(tier, closed_s[base.id]))
            at_s = reached_s.get((tier, base.id), float("-inf"))
            while at_s < end_s:
                room = (SKETCHES_MAX if is_sketched else SUMS_MAX) - len(keys)
                if room <= 0 or time.monotonic() > until:
                    return found._replace(is_all=False)
                # Where there is no chunk there is nothing.
                start_s = max(at_s, next((start for start, end in chunks if end > at_s), end_s))
                stop_s = min(start_s + STRIDE_S[tier], end_s)
                if start_s < end_s:
                    some = await connection.fetch(
                        for_tier(SQL["scattered"], tier),
                        base.id,
                        areas,
                        _instant(start_s),
                        _instant(stop_s),
                        room,
                    )
                    keys += [_key(row) for row in some]
                    if len(some) == room:
                        # What has been merged is not found again, so the next step goes on from here.
                        return found._replace(is_all=False)
                found.reached_s[tier, base.id] = at_s = stop_s
    return found


async def _merge(connection: Connection, version: Version, found: _Found) -> dict[Tier, int]:
    """Merges what was found, and notes how far it was looked through. Returns how many keys were merged."""
    merged = dict.fromkeys(TIERS, 0)
    for (tier, is_sketched), some in found.keys.items():
        keys = list(dict.fromkeys(some))
        if not keys:
            continue
        if is_sketched:
            merged[tier] += await _merge_sketches(connection, tier, keys, version)
        else:
            tag = await connection.execute(for_tier(SQL["merge_sums"], tier), *_columns(keys), *_bounds(keys))
            merged[tier] += int(tag.rsplit(" ", 1)[-1])
    if found.reached_s:
        rows = [(tier.value, base, reached_s) for (tier, base), reached_s in found.reached_s.items()]
        await connection.execute(SQL["note_compacted"], *_columns(rows))
    return merged


async def _merge_sketches(connection: Connection, tier: Tier, keys: Sequence[Key], version: Version) -> int:
    held = await connection.fetch(for_tier(SQL["hold"], tier), *_columns(keys), *_bounds(keys))
    by_key: dict[Key, dict[int, Row]] = {}
    for row in held:
        by_key.setdefault(_key(row), {})[row["shard"]] = Row(*tuple(row)[6:])
    if not by_key:
        return 0
    gone = [(*key, shard) for key, rows in by_key.items() for shard in rows]
    merged = [
        (*key, MERGED_SHARD, *merged_row(list(rows.values()), version.site.kpis.base(real_name(key[0])).measure))
        for key, rows in by_key.items()
    ]
    await connection.execute(for_tier(SQL["remove"], tier), *_columns(gone), *_bounds(keys))
    await connection.execute(for_tier(SQL["put"], tier), *_columns(merged))
    return len(merged)


def _columns(rows: Sequence[tuple[object, ...]]) -> list[tuple[object, ...]]:
    return list(zip(*rows, strict=True))


def _bounds(keys: Sequence[Key]) -> tuple[datetime, datetime]:
    """The first and the last bucket: without them every chunk would be looked into."""
    buckets = [key[2] for key in keys]
    return min(buckets), max(buckets)


# asyncpg's records have no column types.
def _key(row: Any) -> Key:  # noqa: ANN401
    return row["kpi"], row["area"], row["bucket"], row["dim"], row["bin"]


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
