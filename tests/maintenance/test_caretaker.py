"""Is what is due done while a worker runs, and does it go on whatever goes wrong?"""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import REGISTRY

from streams.maintenance import caretaker
from streams.maintenance.caretaker import look_after
from streams.store.cells import MERGED_SHARD
from streams.store.writer import Lane
from streams.versions import Versions
from tests.maintenance.tables import BEGIN, KEPT, LATER_S, PASSING, Tables
from tests.streams.world import VERSION, arrival, raw

WAIT_S = 30.0


@pytest.fixture
async def looking(tables: Tables, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tables]:
    """Two partitions have counted an event each, all has closed, and a worker looks after it at once."""
    monkeypatch.setattr(caretaker, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(caretaker, "ACROSS_EVERY_S", 0.05)
    async with tables.writer() as writer:
        for partition in range(2):
            one = arrival(raw(id=str(partition), time=(BEGIN + timedelta(hours=9)).isoformat()))
            await tables.count(writer, Lane(PASSING[0], partition), [one])
        await tables.close(writer, range(2))
        now_s = datetime(2025, 7, 10, tzinfo=UTC).timestamp()
        task = asyncio.create_task(look_after(writer, Versions(VERSION), lambda: now_s))
        yield tables
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(tables: Tables, query: str) -> None:
    """Waits for an answer that is true."""
    deadline_s = time.monotonic() + WAIT_S
    while not await tables.connection.fetchval(query):
        assert time.monotonic() < deadline_s, query
        await asyncio.sleep(0.02)


def failed() -> float:
    """How many looks have failed."""
    return REGISTRY.get_sample_value("ioc_streams_maintenance_failed_total") or 0.0


async def test_all_that_is_due_is_done(looking: Tables) -> None:
    await until(looking, f"SELECT NOT EXISTS (SELECT FROM kpi_minute WHERE shard <> {MERGED_SHARD})")
    await until(
        looking,
        """SELECT count(ran_at) = 2 AND min(due_at) > clock_timestamp() FROM timer
        WHERE name NOT IN ('across', 'history')""",
    )
    # The minutes of the 11th have a chunk.
    await until(
        looking,
        """SELECT EXISTS (SELECT FROM timescaledb_information.chunks
           WHERE hypertable_name = 'kpi_minute' AND range_start = '2025-07-11Z')""",
    )


async def test_what_goes_wrong_stops_nothing(looking: Tables) -> None:
    before = failed()
    await until(looking, "SELECT count(ran_at) = 2 FROM timer WHERE name NOT IN ('across', 'history')")
    await looking.connection.execute("ALTER TABLE compaction RENAME TO mislaid")
    await looking.make_due("compaction")
    deadline_s = time.monotonic() + WAIT_S
    while failed() == before:
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.02)
    await looking.connection.execute("ALTER TABLE mislaid RENAME TO compaction")
    await until(looking, "SELECT due_at > clock_timestamp() FROM timer WHERE name = 'compaction'")


async def test_what_places_said_is_put_together(looking: Tables) -> None:
    one = arrival(
        raw("ioc.feedback.rated.v1", id="r", subject="r", area="0101", time=(BEGIN + timedelta(hours=9)).isoformat())
    )
    async with looking.writer() as writer:
        await looking.count(writer, Lane(KEPT[0], 0), [one], LATER_S)
    await until(looking, "SELECT count(DISTINCT area) = 2 FROM latest_across")
    await until(looking, "SELECT NOT EXISTS (SELECT FROM latest_touched)")
