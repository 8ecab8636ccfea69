"""Is it noted when buckets had closed, and does what is too old go, but for what still held when the past begins?"""

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from schemas.site import Retention
from streams.maintenance.history import keep_history
from streams.maintenance.timer import SQL
from tests.maintenance.tables import Tables
from tests.streams import world

HEADER = replace(world.SITE.header, retention=Retention(minute_days=30, hour_days=730))
SITE = replace(world.SITE, header=HEADER)


async def keep(tables: Tables) -> str:
    """Has a round done. Returns what came of it."""
    await tables.make_due("history")
    await keep_history(tables.connection, SITE)
    return await tables.connection.fetchval("SELECT outcome FROM timer WHERE name = 'history'")


async def watermark(tables: Tables, topic: str, partition: int, seconds: float) -> None:
    """Says how far a lane has come."""
    await tables.connection.execute(
        """INSERT INTO position (consumer_group, topic, partition, topic_id, next_offset, watermark_s)
        VALUES ('group', $1, $2, '00000000-0000-0000-0000-000000000001', 1, $3)
        ON CONFLICT (consumer_group, topic, partition) DO UPDATE SET watermark_s = excluded.watermark_s""",
        *(topic, partition, seconds),
    )


async def notes(tables: Tables) -> list[float]:
    """What was noted of the topic, the oldest first."""
    rows = await tables.connection.fetch("SELECT closed_s FROM closed_until WHERE topic = 't.a' ORDER BY at")
    return [row["closed_s"] for row in rows]


async def age(connection: Any, table: str, column: str, by: timedelta) -> None:
    """Makes rows older."""
    await connection.execute(f"UPDATE {table} SET {column} = {column} - $1::interval", by)


async def test_what_has_closed_is_noted_when_it_is_more_than_before(tables: Tables) -> None:
    await age(tables.connection, "history_floor", "since", timedelta(days=1))
    await watermark(tables, "t.a", 0, 10_000)
    await watermark(tables, "t.a", 1, 9_000)
    await keep(tables)
    assert await notes(tables) == [9_000 - HEADER.closing.grace_s]
    # What was noted just now does; the database's clock decides, not how long the test takes.
    await watermark(tables, "t.a", 1, 9_500)
    await tables.connection.execute(SQL["note_closed"], float(HEADER.closing.idle_s), 0.0, 3600.0)
    assert len(await notes(tables)) == 1
    await age(tables.connection, "closed_until", "at", timedelta(minutes=1))
    await keep(tables)
    assert await notes(tables) == [9_000 - HEADER.closing.grace_s, 9_500 - HEADER.closing.grace_s]
    await age(tables.connection, "closed_until", "at", timedelta(minutes=1))
    await keep(tables)
    assert len(await notes(tables)) == 2
    await age(tables.connection, "closed_until", "at", timedelta(hours=2))
    await keep(tables)
    assert len(await notes(tables)) == 3


async def test_what_nothing_in_the_kept_past_needs_goes(tables: Tables) -> None:
    connection = tables.connection
    for at, until_at in (("-800", "-790"), ("-790", "-700"), ("-700", "infinity")):
        await connection.execute(
            """INSERT INTO case_version (case_id, at, until_at, version, kind, state, is_open, category, severity,
            area, units, opened_at, body)
            VALUES ('c', now() + $1 * INTERVAL '1 day', CASE WHEN $2 = 'infinity' THEN 'infinity'
            ELSE now() + $2::int * INTERVAL '1 day' END, 1, '', '', true, '', '', '', '{}', now(), '')""",
            *(int(at), until_at),
        )
    for days, until in ((-40, -35), (-35, -20), (-20, None)):
        await connection.execute(
            """INSERT INTO unit_version (unit, at, until_at, version, body)
            VALUES ('u', now() + $1 * INTERVAL '1 day', coalesce(now() + $2 * INTERVAL '1 day', 'infinity'), 1,
            '')""",
            *(days, until),
        )
        await connection.execute(
            "INSERT INTO closed_until (topic, at, closed_s) VALUES ('t.a', now() + $1 * INTERVAL '1 day', $1)", days
        )
    await age(connection, "history_floor", "since", timedelta(days=1000))
    assert await keep(tables) == "forgot 3 rows"
    # The floors are where the past begins, and of each what held there is still known.
    floors = {
        row["concept"]: row["age"]
        for row in await connection.fetch("SELECT concept, now() - since AS age FROM history_floor")
    }
    assert {concept: round(kept / timedelta(days=1)) for concept, kept in floors.items()} == {
        "cases": HEADER.retention.hour_days,
        "units": HEADER.retention.minute_days,
        "closing": HEADER.retention.minute_days,
    }
    assert await connection.fetchval("SELECT count(*) FROM case_version") == 2
    assert await connection.fetchval("SELECT count(*) FROM unit_version") == 2
    assert await notes(tables) == [-35, -20]
    assert await keep(tables) == "forgot 0 rows"
