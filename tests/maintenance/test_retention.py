"""Does what is too old go, only if it is safe elsewhere, and whatever else is going on?"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from schemas.window import Tier
from streams.maintenance import retention
from streams.maintenance.retention import Kept, retain
from streams.repair.history import REPAIR
from streams.store.writer import Lane
from tests.maintenance.tables import BEGIN, PASSING, Tables
from tests.streams.world import SITE, arrival, arrivals_of, raw, some_events

DAYS = 3
"""The events lie in so many days from BEGIN on, and so in as many chunks of minutes."""

RETENTION = SITE.header.retention
LAST = BEGIN + timedelta(days=DAYS)
GONE = LAST + timedelta(days=RETENTION.minute_days, seconds=1)
"""When all minutes are beyond their retention."""


@pytest.fixture
async def counted(tables: Tables) -> Tables:
    """Three days of events of all measures, on two partitions."""
    arrivals = arrivals_of(some_events(120, 1, BEGIN, types=("ioc.camera.detection.v1",)))
    async with tables.writer() as writer:
        for partition in range(2):
            await tables.count(writer, Lane(PASSING[0], partition), arrivals[partition::2])
    return tables


async def look(tables: Tables, now: datetime, told: set[Kept] | None = None) -> str:
    """Looks for what is too old. Returns what came of it."""
    await tables.make_due("retention")
    await retain(tables.connection, SITE, now, set() if told is None else told)
    return await tables.connection.fetchval("SELECT outcome FROM timer WHERE name = 'retention'")


async def chunks(tables: Tables, tier: Tier) -> list[datetime]:
    """Where a tier's chunks begin."""
    rows = await tables.connection.fetch(
        "SELECT range_start FROM timescaledb_information.chunks WHERE hypertable_name = $1 ORDER BY 1",
        f"kpi_{tier.value}",
    )
    return [row["range_start"] for row in rows]


async def days_left(tables: Tables) -> int:
    """Of how many of the days there are minutes."""
    return await tables.connection.fetchval("SELECT count(DISTINCT bucket::date) FROM kpi_minute WHERE kpi <> ''")


@pytest.mark.parametrize(
    ("now", "left"),
    [
        pytest.param(GONE - timedelta(days=DAYS, seconds=2), 3, id="the last moment of the first day is kept"),
        pytest.param(GONE - timedelta(days=DAYS - 1), 2, id="the first day is too old"),
        pytest.param(GONE, 0, id="all days are too old"),
    ],
)
async def test_whole_chunks_beyond_the_retention_go(counted: Tables, now: datetime, left: int) -> None:
    hours = await counted.rows(Tier.HOUR)
    assert await look(counted, now) == f"dropped {DAYS - left} chunks"
    assert await days_left(counted) == left
    assert await counted.rows(Tier.HOUR) == hours


async def test_hours_go_later_and_days_never(counted: Tables) -> None:
    days = await counted.rows(Tier.DAY)
    await look(counted, BEGIN + timedelta(days=RETENTION.hour_days + 35))
    assert (len(await counted.rows(Tier.MINUTE)), len(await counted.rows(Tier.HOUR))) == (0, 0)
    await look(counted, BEGIN + timedelta(days=20_000))
    assert await counted.rows(Tier.DAY) == days


@pytest.mark.parametrize(
    ("loss", "missing"),
    [
        pytest.param("DELETE FROM kpi_hour WHERE kpi = 'objects'", "objects", id="no hours"),
        pytest.param("UPDATE kpi_hour SET n = 0 WHERE kpi = 'objects' AND area = 'howe'", "objects", id="of an area"),
        pytest.param(
            """UPDATE kpi_hour AS k SET n = k.n - 1
               FROM (SELECT * FROM kpi_hour WHERE kpi = 'scores' AND n > 0 ORDER BY bucket LIMIT 1) AS one
               WHERE (k.kpi, k.area, k.bucket, k.shard) = (one.kpi, one.area, one.bucket, one.shard)""",
            "scores",
            id="a single event",
        ),
        pytest.param("UPDATE kpi_hour SET sketch = NULL WHERE kpi = 'cameras'", "cameras", id="what is not counted"),
    ],
)
async def test_what_the_hours_do_not_hold_stays(
    counted: Tables, loss: str, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    await counted.connection.execute("CREATE TABLE kept AS SELECT * FROM kpi_hour")
    await counted.connection.execute(loss)
    before, told = await days_left(counted), set[Kept]()
    with caplog.at_level(logging.WARNING):
        outcome = await look(counted, GONE, told)
        said = [record.message for record in caplog.records]
        assert await look(counted, GONE, told) != ""
    kept = before - (int(outcome.split()[1]))
    assert kept >= 1
    assert await days_left(counted) == kept
    assert outcome.count(f"the hours hold less of {missing}") == kept
    # It is told once, and counted as long as it lasts.
    assert len(said) == kept
    assert [record.message for record in caplog.records] == said
    assert REGISTRY.get_sample_value("ioc_streams_chunks_kept", {"tier": "minute"}) == kept
    await counted.connection.execute("DELETE FROM kpi_hour; INSERT INTO kpi_hour SELECT * FROM kept")
    await look(counted, GONE, told)
    assert await days_left(counted) == 0
    assert REGISTRY.get_sample_value("ioc_streams_chunks_kept", {"tier": "minute"}) == 0


async def test_a_correction_of_what_is_too_old_changes_the_hours_alone(counted: Tables) -> None:
    corrected = BEGIN + timedelta(days=RETENTION.minute_days, hours=1)
    await counted.connection.execute(
        "UPDATE kpi_hour SET n = n - 1, corrected_at = $1 WHERE kpi = 'objects'", corrected
    )
    await look(counted, BEGIN + timedelta(days=RETENTION.minute_days + 1))
    assert await days_left(counted) == DAYS - 1


@pytest.mark.parametrize(
    ("next_offset", "since", "left"),
    [
        pytest.param(4, None, DAYS, id="of all that there is"),
        pytest.param(4, BEGIN + timedelta(days=1, hours=3), 2, id="since the second day"),
        pytest.param(9, None, 0, id="which is finished"),
    ],
)
async def test_a_back_fill(counted: Tables, next_offset: int, since: datetime | None, left: int) -> None:
    await counted.connection.execute(
        """INSERT INTO backfill (kpi, topic, partition, next_offset, stop_offset, since)
               VALUES ('k', 't', 0, $1, 9, $2)""",
        next_offset,
        since,
    )
    await look(counted, GONE)
    assert await days_left(counted) == left


async def test_nothing_goes_while_buckets_are_put_right(counted: Tables) -> None:
    async with counted.writer() as writer, writer.connection() as connection:
        await connection.execute("SELECT pg_advisory_lock($1)", REPAIR)
        await look(counted, GONE)
        assert await days_left(counted) == DAYS
        await connection.execute("SELECT pg_advisory_unlock($1)", REPAIR)
    await look(counted, GONE)
    assert await days_left(counted) == 0


async def test_who_reads_a_chunk_is_not_disturbed(counted: Tables) -> None:
    async with counted.writer() as writer, writer.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM kpi_minute WHERE bucket < $1", BEGIN + timedelta(days=1))
        assert "somebody reads it" in await look(counted, GONE)
        assert await days_left(counted) == 1


async def test_of_several_workers_one_looks(counted: Tables) -> None:
    async with counted.writer() as writer:

        async def work() -> None:
            async with writer.connection() as connection:
                await retain(connection, SITE, GONE, set())

        await asyncio.gather(*(work() for _ in range(3)))
    assert await days_left(counted) == 0
    row = await counted.connection.fetchrow(
        "SELECT due_at - ran_at AS pause, outcome FROM timer WHERE name = 'retention'"
    )
    assert row is not None
    assert row["outcome"] == f"dropped {DAYS} chunks"
    assert timedelta(minutes=59) < row["pause"] < timedelta(minutes=61)


async def test_at_most_so_many_at_once(counted: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "CHUNKS_MAX", 2)
    assert await look(counted, GONE) == "dropped 2 chunks"
    assert await counted.connection.fetchval("SELECT due_at <= clock_timestamp() FROM timer WHERE name = 'retention'")
    assert await look(counted, GONE) == "dropped 1 chunks"


async def test_tomorrow_s_chunks_are_there_and_empty(tables: Tables) -> None:
    now = datetime(2025, 7, 1, 22, tzinfo=UTC)
    for _ in range(2):
        await look(tables, now)
        assert await chunks(tables, Tier.MINUTE) == [datetime(2025, 7, 2, tzinfo=UTC)]
        assert (len(await chunks(tables, Tier.HOUR)), len(await chunks(tables, Tier.DAY))) == (1, 1)
    assert [await tables.rows(tier) for tier in Tier] == [[], [], []]
    # Who counts tomorrow's first event makes none.
    async with tables.writer() as writer:
        late = arrival(raw(id="1", time="2025-07-02T00:00:10Z"), int(now.timestamp() + 7300) * 1000)
        await tables.count(writer, Lane(PASSING[0], 0), [late])
    assert await chunks(tables, Tier.MINUTE) == [datetime(2025, 7, 2, tzinfo=UTC)]
