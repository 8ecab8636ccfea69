"""Do the numbered migrations, replayed, give the whole schema, once, whoever runs them and however often?"""

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest

from deploy import migrate as migration
from deploy.migrate import Migration, migrate_schema, migrations
from schemas.errors import OperatorError

FOLDER = Path(migration.__file__).parents[1] / "schemas" / "migrations"
MADE = {
    name
    for path in FOLDER.glob("*.sql")
    for name in re.findall(r"CREATE (?:TABLE|VIEW) (?:grafana\.)?(\w+)", path.read_text())
}


async def schema(database_url: str) -> list[tuple[object, ...]]:
    """Tables, columns with their types and defaults, and indexes, as the catalogue has them."""
    connection = await asyncpg.connect(database_url)
    try:
        columns = await connection.fetch(
            """SELECT table_name, column_name, data_type, is_nullable, column_default
               FROM information_schema.columns WHERE table_schema IN ('public', 'grafana')
               ORDER BY table_schema, table_name, ordinal_position"""
        )
        indexes = await connection.fetch("SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1")
        hypertables = await connection.fetch(
            "SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1"
        )
    finally:
        await connection.close()
    return [tuple(row) for row in (*columns, *indexes, *hypertables)]


async def recorded(database_url: str) -> list[tuple[int, str]]:
    """What the database says was applied."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch("SELECT number, name FROM schema_migration ORDER BY number")
    finally:
        await connection.close()
    return [(row["number"], row["name"]) for row in rows]


def test_numbers_follow_each_other_and_say_what_they_do() -> None:
    names = [one.name for one in migrations()]
    assert [one.number for one in migrations()] == list(range(1, len(names) + 1))
    assert names == sorted(path.name for path in FOLDER.glob("*.sql"))
    assert all(name[:4].isdigit() and name[4] == "_" for name in names)


async def test_all_of_them_give_the_whole_schema(database_url: str) -> None:
    applied = await migrate_schema(database_url)
    assert applied == [one.name for one in migrations()]
    assert await recorded(database_url) == [(one.number, one.name) for one in migrations()]
    found = await schema(database_url)
    assert {row[0] for row in found if len(row) == 5} == MADE | {"schema_migration"}
    assert {row[0] for row in found if row[0] in ("kpi_minute", "kpi_hour", "kpi_day") and len(row) == 1} == {
        "kpi_minute",
        "kpi_hour",
        "kpi_day",
    }


async def test_a_second_run_changes_nothing(database_url: str) -> None:
    await migrate_schema(database_url)
    before = await schema(database_url)
    assert await migrate_schema(database_url) == []
    assert await schema(database_url) == before


@pytest.mark.parametrize("known", range(1, len(migrations())))
async def test_an_older_database_comes_to_the_same_schema(
    database_url: str, known: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry(monkeypatch, migrations()[:known])
    assert len(await migrate_schema(database_url)) == known
    monkeypatch.undo()
    assert await migrate_schema(database_url) == [one.name for one in migrations()[known:]]
    assert await recorded(database_url) == [(one.number, one.name) for one in migrations()]


async def test_what_was_counted_before_is_kept(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    carry(monkeypatch, migrations()[:2])
    await migrate_schema(database_url)
    monkeypatch.undo()
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(
            """INSERT INTO kpi_day (kpi, area, bucket, dim, bin, shard, n, total, low, high)
                   VALUES ('k', 'a', '2025-01-01Z', '', 0, 0, 3, 0.3, 0.1, 0.1);
               INSERT INTO event (source, id, type, subject, time, received_at, area, area_list, body)
                   VALUES ('s', '1', 't', NULL, '2025-01-01 08:00Z', '2025-01-01 09:00Z', 'a', 'l', '{}')"""
        )
        await migrate_schema(database_url)
        day = await connection.fetchrow("SELECT n, total, low, high, first_n FROM kpi_day")
        kept = await connection.fetchrow(
            "SELECT window_time = time AS same, corrects, is_exercise FROM countable_event"
        )
    finally:
        await connection.close()
    assert tuple(day or ()) == (3, 300_000, None, None, None)
    assert tuple(kept or ()) == (True, None, False)


async def test_several_at_once_apply_each_once(database_url: str) -> None:
    applied = await asyncio.gather(*(migrate_schema(database_url) for _ in range(4)))
    assert sorted(name for names in applied for name in names) == [one.name for one in migrations()]
    assert sorted(map(len, applied)) == [0, 0, 0, len(migrations())]


def carry(monkeypatch: pytest.MonkeyPatch, carried: Sequence[Migration]) -> None:
    """Makes this version carry other migrations."""
    monkeypatch.setattr(migration, "migrations", lambda: list(carried))


async def test_an_edited_migration_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate_schema(database_url)
    before = await schema(database_url)
    first, *rest = migrations()
    carry(monkeypatch, [Migration(first.number, first.name, first.sql + "\n-- one more thing"), *rest])
    with pytest.raises(OperatorError, match=f"{first.name} was edited") as refusal:
        await migrate_schema(database_url)
    assert refusal.value.remedy
    assert await schema(database_url) == before


async def test_a_newer_database_is_refused(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    newer = Migration(len(migrations()) + 1, "9999_of_tomorrow.sql", "CREATE TABLE tomorrow ()")
    carry(monkeypatch, [*migrations(), newer])
    await migrate_schema(database_url)
    monkeypatch.undo()
    with pytest.raises(OperatorError, match=f"has migration {newer.number}") as refusal:
        await migrate_schema(database_url)
    assert refusal.value.remedy == "Upgrade ioc."


async def test_a_migration_that_fails_leaves_nothing_half_done(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = len(migrations()) + 1
    carry(monkeypatch, [*migrations(), Migration(number, "bad.sql", "CREATE TABLE half (); SELECT 1/0")])
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate_schema(database_url)
    assert await recorded(database_url) == [(one.number, one.name) for one in migrations()]
    monkeypatch.undo()
    # Neither a table nor a lock stays behind.
    async with asyncio.timeout(20):
        assert await migrate_schema(database_url) == []
    assert "half" not in {row[0] for row in await schema(database_url)}
