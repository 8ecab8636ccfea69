"""What is written down of the present, so that it can be shown when it is past; and how long is it kept?

Cases and units keep their own versions, in the transaction that changes them (triggers of the tables see to it). Here
it is noted now and then which buckets had closed, and what has been the past for too long goes. As long as hours are
kept so are the versions of cases, and as long as minutes are kept the rest: where units were, and what had closed.
"""

from datetime import timedelta

from schemas.site import Site
from streams.maintenance.timer import SQL, Claim, Timer
from streams.store.cells import Connection

EVERY_S = 30.0
"""Between two notes of what has closed. A past moment is known as of the note before it."""

ROWS_MAX = 5_000
"""Rows of a table that one round forgets; what is left goes with the next."""


async def keep_history(connection: Connection, site: Site) -> None:
    """Notes what has closed by now, and forgets what was kept for long enough, if it is due."""
    header = site.header
    async with connection.transaction():
        if await connection.fetchval(SQL["claim"], Timer.HISTORY.value) is None:
            return
        await connection.execute(
            SQL["note_closed"], float(header.closing.idle_s), float(header.closing.grace_s), EVERY_S / 2
        )
        hours, minutes = timedelta(days=header.retention.hour_days), timedelta(days=header.retention.minute_days)
        await connection.execute(SQL["raise_floor"], ["cases", "units", "closing"], [hours, minutes, minutes])
        forgotten = [
            await connection.execute(SQL[name], ROWS_MAX)
            for name in ("forget_cases", "forget_units", "forget_closed")
        ]
        n = sum(int(tag.rsplit(" ", 1)[-1]) for tag in forgotten)
        await Claim(connection, Timer.HISTORY).rearm(EVERY_S, f"forgot {n} rows")
