"""Are the versions that are asked for found however many are kept, and does one of each case and unit hold?"""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import msgspec
import pytest

from dashboard_api.case_filter import CaseFilter
from dashboard_api.replay_reading import read_cases
from deploy.migrate import migrate_schema
from schemas.area_id import AreaId
from schemas.command import Actor
from tests.dashboard.case_rows import OPENED_AT, case, put_cases

KEPT = 5_000
"""Versions that are kept of each."""

MOVED = """INSERT INTO unit_state (unit, version, status, lat, lon, position_at, cases, body)
VALUES ($1, $2, 'available', 21, 105, $3, '{}', $4)
ON CONFLICT (unit) DO UPDATE
SET version = excluded.version, position_at = excluded.position_at, body = excluded.body"""

LOOKED_AT = """SELECT coalesce(sum(pg_stat_get_xact_tuples_returned(one) + pg_stat_get_xact_tuples_fetched(one)), 0)
FROM (SELECT c.oid AS one FROM pg_class AS c WHERE c.oid = $1::regclass
UNION ALL SELECT i.indexrelid FROM pg_index AS i WHERE i.indrelid = $1::regclass) AS touched"""
"""Entries of a table and of its indexes that were looked at since the last FORGET."""

FORGET = "SELECT pg_stat_force_next_flush()"
"""The server counts on from one transaction to the next for up to a second unless it is told so."""


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    """To a database with all tables."""
    await migrate_schema(database_url)
    made = await asyncpg.connect(database_url)
    yield made
    await made.close()


async def move(connection: Any, unit: str, number: int) -> None:
    """Says where a unit is, so that another version of it holds."""
    at = OPENED_AT + timedelta(minutes=number)
    await connection.execute(MOVED, unit, number, at, f"{number}".encode())


async def test_a_change_looks_at_no_version_but_the_present_one(connection: Any) -> None:
    await connection.execute(
        """INSERT INTO case_version (case_id, at, until_at, version, kind, state, is_open, category, severity, area,
        units, opened_at, body)
        SELECT 'c', $1::timestamptz + n * INTERVAL '1 s', $1 + (n + 1) * INTERVAL '1 s', n, '', '', true, '', '', '',
        '{}', $1, '' FROM generate_series(1, $2::int) AS n""",
        *(OPENED_AT, KEPT),
    )
    await connection.execute(
        """INSERT INTO unit_version (unit, at, until_at, version, body)
        SELECT 'u', $1::timestamptz + n * INTERVAL '1 s', $1 + (n + 1) * INTERVAL '1 s', n, ''
        FROM generate_series(1, $2::int) AS n""",
        *(OPENED_AT, KEPT),
    )
    await put_cases(connection, case("c"))
    await move(connection, "u", 1)
    await connection.execute("ANALYZE case_version, unit_version")
    await connection.execute(FORGET)
    async with connection.transaction():
        await put_cases(connection, case("c", version=2, title="B"))
        await move(connection, "u", 2)
        looked = {table: await connection.fetchval(LOOKED_AT, table) for table in ("case_version", "unit_version")}
    assert all(0 < n < 50 for n in looked.values()), looked


@pytest.mark.parametrize("back", [False, True], ids=["the clock goes on", "the clock was set back"])
async def test_whoever_changes_something_at_once_leaves_one_version_that_holds(
    connection: Any, database_url: str, back: bool
) -> None:
    await put_cases(connection, case("c"))
    await move(connection, "u", 1)
    if back:
        await connection.execute("UPDATE case_version SET at = at + INTERVAL '1 hour'")
        await connection.execute("UPDATE unit_version SET at = at + INTERVAL '1 hour'")
    others = [await asyncpg.connect(database_url) for _ in range(3)]

    async def change(one: Any, first: int) -> None:
        for number in range(first, first + 20):
            async with one.transaction():
                await put_cases(one, case("c", version=number, title=f"{number}"))
                await move(one, "u", number)

    await asyncio.gather(*(change(one, 2 + 20 * index) for index, one in enumerate(others)))
    for one in others:
        await one.close()
    for held, kept in (("cases", "case_version"), ("unit_state", "unit_version")):
        rows = await connection.fetch(f"SELECT version FROM {kept} WHERE until_at = 'infinity'")
        assert [row["version"] for row in rows] == [await connection.fetchval(f"SELECT version FROM {held}")]


async def test_a_page_of_all_cases_of_the_past_is_read_without_the_rest(connection: Any) -> None:
    # Each was opened a minute after the one before it, and has a version that holds and one that does not.
    await connection.execute(
        """WITH made AS (
            INSERT INTO cases (id, version, kind, state, is_open, category, severity, area, areas, title, units,
            tracking, is_exercise, is_published, opened_at, recorded_at, changed_at, body)
            SELECT 'c' || n, 2, 'service', 'new', n % 2 = 0, 'road', 'minor', '01', '{00,01}', '', '{}', '{}', false,
            false, $1::timestamptz + n * INTERVAL '1 minute', $1, $1, convert_to(replace($3, '@', 'c' || n), 'UTF8')
            FROM generate_series(1, $2::int) AS n)
        SELECT""",
        *(OPENED_AT, KEPT, msgspec.json.encode(case("@")).decode()),
    )
    await connection.execute("UPDATE case_version SET at = opened_at, until_at = 'infinity'")
    await connection.execute(
        """INSERT INTO case_version
        SELECT case_id, opened_at - INTERVAL '1 day', opened_at, 1, kind, state, is_open, category, severity, area,
        agency, units, lat, lon, opened_at, due_at, body FROM case_version"""
    )
    await connection.execute("ANALYZE cases, case_version")
    await connection.execute(FORGET)
    moment = OPENED_AT + timedelta(minutes=KEPT // 2)
    olga = Actor(id="olga", roles=("operator",), sees_all=True, areas=(AreaId("00"),))
    async with connection.transaction():
        found = await read_cases(connection, olga, CaseFilter(), moment, 10)
        looked = await connection.fetchval(LOOKED_AT, "case_version")
    first = KEPT // 2 + 1440
    assert [one.id for one in found] == [f"c{first - n}" for n in range(10)]
    # In the index, what was opened later is passed over; of the table, what is shown is read.
    assert 0 < looked < 100
