"""What did the places below an area say last, put together?

Of a `latest` measure every ancestor keeps a row for each place, for only so a place's next report can replace its
last one. Here they are added up in the background, bucket by bucket: a board reads a few rows instead of thousands.
Places that said nothing later stay apart from those that did, so the sums hold for any stretch of time.

Whoever changes a row marks its bucket in the same transaction (a trigger does). What is added up here is what one
snapshot shows, and the marks that go are those of that snapshot. A mark that comes meanwhile is not among them and
stays; and as long as one is there, readers go by the rows.
"""

import time
from collections.abc import Mapping
from datetime import timedelta

import asyncpg

from schemas.exercise import real_name
from schemas.kpi import Base
from schemas.period import Grain
from schemas.site import Site
from streams import metrics
from streams.maintenance.timer import SQL, Claim, Timer
from streams.store.cells import Connection

EVERY_S = 1.0
"""Between two rounds, unless the last one left something to do."""

WORK_S_MAX = 0.2
"""After so long a transaction ends with the area that it is at. A long one would hold the change feed back."""

PAIRS_MAX = 500
"""Bases and areas that are looked up for one transaction."""

_AHEAD_DAYS: Mapping[Grain | None, int] = {
    None: 40,
    Grain.DAY: 40,
    Grain.MONTH: 400,
    Grain.QUARTER: 400,
    Grain.YEAR: 800,
}
"""How far ahead a place's next report is looked for: as far as boards ask for one value. Beyond it they read rows.
Of what is said every day it is less: a place that falls silent has the rows of all places read so far back."""


async def put_together(connection: Connection, site: Site) -> bool:
    """Adds up what has changed, as far as one transaction goes, if it is due. Returns whether there is more to do."""
    if not await connection.fetchval(SQL["is_touched"], Timer.ACROSS.value):
        return False
    bases = {base.id: base for base in site.kpis.bases}
    begun_s, done, is_all = time.monotonic(), 0, True
    try:
        # All statements see one moment. Two rounds never overlap: who claims what another has set anew is undone.
        async with connection.transaction(isolation="repeatable_read"):
            if await connection.fetchval(SQL["claim"], Timer.ACROSS.value) is None:
                return False
            touched = await connection.fetch(SQL["read_touched"], PAIRS_MAX)
            for row in touched:
                if done and time.monotonic() - begun_s > WORK_S_MAX:
                    is_all = False
                    break
                is_all = await _put(connection, row, _ahead(bases.get(real_name(row["kpi"])))) and is_all
                done += 1
            is_all = is_all and len(touched) < PAIRS_MAX
            outcome = f"put together {done} times" + ("" if is_all else "; more to do")
            await Claim(connection, Timer.ACROSS).rearm(EVERY_S if is_all else 0.0, outcome)
    except asyncpg.SerializationError:
        return True
    metrics.PUT_TOGETHER.inc(done)
    return not is_all


def _ahead(base: Base | None) -> timedelta:
    return timedelta(days=_AHEAD_DAYS[None if base is None else base.period])


async def _put(connection: Connection, touched: asyncpg.Record, ahead: timedelta) -> bool:
    """Adds a base and area up anew where it was touched. Returns whether that was all of it."""
    kpi, area, first = touched["kpi"], touched["area"], touched["first"]
    last = min(touched["last"], first + ahead)
    # Rows that stood beyond the first change may be replaced by it now, or no longer.
    start = await connection.fetchval(SQL["read_standing"], kpi, area, first)
    await connection.execute(SQL["take_across"], kpi, area, start, last)
    await connection.execute(SQL["put_across"], kpi, area, start, last, ahead)
    await connection.execute(SQL["unmark"], kpi, area, first, last)
    return last == touched["last"]
