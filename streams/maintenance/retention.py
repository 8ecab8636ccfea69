"""When may minutes and hours go?

Whole chunks, once all of a chunk is older than the site pack keeps it, and only when the next tier holds at least
what the chunk holds. What is in doubt stays, and is told of.
"""

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import asyncpg

from schemas.site import Retention, Site
from schemas.statements import for_tier
from schemas.window import HOUR_S, TIERS, Tier
from streams import metrics
from streams.core.fold import DAY_S
from streams.maintenance.timer import SQL, Timer, claimed, is_due
from streams.store.cells import Connection

EVERY_S = 60 * 60.0
"""Between two looks, unless the last one left something to do."""

CHUNKS_MAX = 20
"""Chunks that one transaction drops. Each takes a dozen locks."""

LOCK_WAIT_MS = 500
"""How long a drop waits for those who read the chunk, while others queue up behind it. The next look tries again."""

COMPARE_TIMEOUT_S = 10 * 60.0
"""How long a comparison of a chunk with the next tier may take. It only reads, and keeps nobody waiting."""

AHEAD_S = DAY_S
"""Chunks are made so long before the first event that needs them: to make one takes locks, which stall a batch."""

LOOKING = 0x10C0_8E7A
"""The advisory lock of whoever compares and drops."""

_COARSER: dict[Tier, tuple[Tier, float]] = {Tier.MINUTE: (Tier.HOUR, HOUR_S), Tier.HOUR: (Tier.DAY, 25 * HOUR_S)}
"""The tier that must hold it, and how long before a chunk a bucket of that may begin and still reach into it."""

_log = logging.getLogger("ioc.streams")


class Chunk(NamedTuple):
    """The buckets of a tier that start in [start, end)."""

    tier: Tier
    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.tier.value}s of [{self.start.isoformat()}, {self.end.isoformat()})"


class Kept(NamedTuple):
    """A chunk that would have to go, and why it stays."""

    chunk: Chunk
    why: str


async def retain(connection: Connection, site: Site, now: datetime, told: set[Kept]) -> None:
    """Drops what is beyond its retention and makes the chunks that are needed next, if it is due.

    What stays although it is too old is logged once; `told` remembers it.
    """
    if not await is_due(connection, Timer.RETENTION):
        return
    # To look takes a while, and must not meet another worker that drops what is looked at. This lock, unlike that of
    # the timer's row, does not hold the change feed back.
    async with connection.transaction():
        if not await connection.fetchval(SQL["try_look"], LOOKING):
            return
        dropped, kept = await _look(connection, site, now)
    _tell(dropped, kept, told)


async def _look(connection: Connection, site: Site, now: datetime) -> tuple[list[Chunk], list[Kept]]:
    """Returns what was dropped, and what stays although it is too old."""
    old = [chunk for tier in _COARSER for chunk in await _beyond(connection, tier, site.header.retention, now)]
    going, kept = await _judged(connection, site, old)
    dropped: list[Chunk] = []
    async with claimed(connection, Timer.RETENTION) as claim:
        if claim is None:
            return [], kept
        await connection.execute(SQL["wait_briefly"], f"{LOCK_WAIT_MS}ms")
        for chunk in going:
            try:
                async with connection.transaction():
                    await connection.execute(for_tier(SQL["drop_chunk"], chunk.tier), chunk.start, chunk.end)
                dropped.append(chunk)
            except asyncpg.LockNotAvailableError:
                kept.append(Kept(chunk, "somebody reads it"))
        for tier in TIERS:
            await _make_ahead(connection, tier, now + timedelta(seconds=AHEAD_S))
        outcome = "; ".join([f"dropped {len(dropped)} chunks", *(f"kept {one.chunk}: {one.why}" for one in kept)])
        await claim.rearm(EVERY_S if len(going) < CHUNKS_MAX else 0.0, outcome)
    return dropped, kept


async def _beyond(connection: Connection, tier: Tier, retention: Retention, now: datetime) -> list[Chunk]:
    """The chunks of a tier all of whose buckets are too old."""
    rows = await connection.fetch(for_tier(SQL["read_chunks"], tier))
    floor = now - _kept_for(tier, retention)
    return [Chunk(tier, row["range_start"], row["range_end"]) for row in rows if row["range_end"] <= floor]


def _kept_for(tier: Tier, retention: Retention) -> timedelta:
    return timedelta(days=retention.minute_days if tier is Tier.MINUTE else retention.hour_days)


async def _judged(connection: Connection, site: Site, old: Sequence[Chunk]) -> tuple[list[Chunk], list[Kept]]:
    """Which of these chunks may go, at most CHUNKS_MAX, and which have to stay."""
    going: list[Chunk] = []
    kept: list[Kept] = []
    unfinished = await connection.fetchrow(SQL["read_unfinished"])
    for chunk in old:
        if len(going) == CHUNKS_MAX:
            break
        if unfinished is not None and (unfinished["since"] is None or unfinished["since"] < chunk.end):
            kept.append(Kept(chunk, "a back-fill that is not finished may reach it"))
        elif behind := await _behind(connection, site, chunk):
            coarser, _ = _COARSER[chunk.tier]
            kept.append(Kept(chunk, f"the {coarser.value}s hold less of {', '.join(behind)}"))
        else:
            going.append(chunk)
    return going, kept


async def _behind(connection: Connection, site: Site, chunk: Chunk) -> list[str]:
    """The bases of which the chunk holds something that the next tier does not."""
    coarser, reach_s = _COARSER[chunk.tier]
    areas = [area.id for area in site.areas]
    rows = await connection.fetch(
        for_tier(SQL["behind"], chunk.tier).replace("kpi_coarser", f"kpi_{coarser.value}"),
        areas,
        [site.areas.zone(area).key for area in areas],
        site.header.zone,
        chunk.start,
        chunk.end,
        float(reach_s),
        chunk.start + _kept_for(chunk.tier, site.header.retention),
        timeout=COMPARE_TIMEOUT_S,
    )
    return [row["kpi"] for row in rows]


async def _make_ahead(connection: Connection, tier: Tier, moment: datetime) -> None:
    """Makes the chunk that holds a moment, unless it is there."""
    rows = await connection.fetch(for_tier(SQL["read_chunks"], tier))
    if not any(row["range_start"] <= moment < row["range_end"] for row in rows):
        await connection.execute(for_tier(SQL["reserve"], tier), moment)
        await connection.execute(for_tier(SQL["release"], tier), moment)


def _tell(dropped: Sequence[Chunk], kept: Sequence[Kept], told: set[Kept]) -> None:
    for chunk in dropped:
        metrics.CHUNKS_DROPPED.labels(chunk.tier.value).inc()
    for tier in _COARSER:
        metrics.CHUNKS_KEPT.labels(tier.value).set(sum(one.chunk.tier is tier for one in kept))
    for one in kept:
        if one not in told:
            _log.warning("kept the %s beyond their retention: %s", one.chunk, one.why)
    told.clear()
    told.update(kept)
