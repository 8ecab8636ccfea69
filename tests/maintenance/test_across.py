"""Do areas' last values come out the same from what is put together as from the rows of every place?"""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from dashboard_api.closing import ClosedUntil
from dashboard_api.reported import Reported
from dashboard_api.spans import Span, Step, spans
from dashboard_api.values import read_values
from schemas.event import AreaId
from schemas.kpi import Measure
from schemas.topics import INPUTS
from streams.core.batch import Arrival
from streams.maintenance.across import put_together
from streams.store.cells import Connection
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane
from tests.maintenance.tables import KEPT, LATER_S, Tables, topic_of
from tests.streams.world import SITE, arrival, arrivals_of, raw, some_events

RATED, OBSERVED, METRIC = "ioc.feedback.rated.v1", "ioc.indicator.observed.v1", "ioc.service.metric.v1"
KPIS = [base.id for base in SITE.kpis.bases if base.measure is Measure.LATEST]
AREAS = [area.id for area in SITE.areas]
ROOT = AreaId("00")
ALL_CLOSED = ClosedUntil({topic.name: inf for topic in INPUTS})
HOME = ZoneInfo("Asia/Ho_Chi_Minh")
BEGIN = datetime(2025, 2, 10, tzinfo=UTC)
BEGINS = [BEGIN + timedelta(days=days) for days in (0, 2, 60, 61, 110)]
"""Further apart than anybody looks ahead for what is said every day."""

Values = dict[tuple[str, AreaId, str | None, int], Reported]


def whole_days(start: datetime, days: int) -> Span:
    """So many local days."""
    first = spans(int(start.timestamp()), int(start.timestamp()) + 1, Step.DAY, HOME)[0]
    return Span(first.start_s, first.start_s + days * 24 * 3600)


QUESTIONS: list[tuple[list[Span], dict[str, Any]]] = [
    (spans(int(BEGIN.timestamp()), int(BEGIN.timestamp()) + 130 * 86400, Step.DAY, HOME), {}),
    (spans(int(BEGIN.timestamp()), int(BEGIN.timestamp()) + 130 * 86400, Step.MONTH, HOME), {"by": "channel"}),
    ([whole_days(BEGIN - timedelta(days=90), 300)], {}),
    ([whole_days(BEGIN - timedelta(days=90), 1500)], {"by": "agency"}),
    ([whole_days(BEGIN, 4)], {"by": "service"}),
    ([whole_days(BEGIN, 64)], {"where": {"channel": "app"}}),
    ([whole_days(BEGIN + timedelta(days=1), 61)], {"where": {"agency": "PWD"}}),
    # Spans that overlap are read by the rows all the same.
    ([whole_days(BEGIN, 64), whole_days(BEGIN + timedelta(days=2), 4)], {}),
]


async def asked(connection: Connection) -> list[Values]:
    """The answers to all questions, as if all had closed: then what was first reported is told, too."""
    return [
        await read_values(connection, SITE, KPIS, AREAS, over, closed=ALL_CLOSED, **options)
        for over, options in QUESTIONS
    ]


async def by_the_rows(connection: Connection, *, forget: str = "") -> list[Values]:
    """The same while every bucket is marked, or after something else, which is undone."""
    undone = connection.transaction()
    await undone.start()
    try:
        await connection.execute(
            forget
            or """INSERT INTO latest_touched (kpi, area, bucket) SELECT DISTINCT kpi, area, bucket FROM kpi_day
                  ON CONFLICT DO NOTHING"""
        )
        return await asked(connection)
    finally:
        await undone.rollback()


async def put_all(connection: Connection) -> int:
    """Puts together all that was touched. Returns in how many rounds."""
    rounds, is_more = 0, True
    while is_more:
        await connection.execute("UPDATE timer SET due_at = now() WHERE name = 'across'")
        is_more = await put_together(connection, SITE)
        rounds += 1
    return rounds


async def marks(tables: Tables) -> int:
    """How many buckets are marked."""
    return await tables.connection.fetchval("SELECT count(*) FROM latest_touched")


async def rated(tables: Tables, writer: TimescaleWriter, id_: str, area: str, score: int, **given: Any) -> None:
    """Counts one more rating."""
    one = arrival(
        raw(RATED, id=id_, subject=id_, area=area, data={"score": score}, **({"time": BEGIN.isoformat()} | given))
    )
    await tables.count(writer, Lane(KEPT[0], int(area[-1])), [one], given.get("watermark_s", 0.0))


async def last_score(connection: Connection, days: int = 1) -> tuple[float | None, int]:
    """The mean of what was said last over the whole province, and of how many places."""
    over = [whole_days(BEGIN, days)]
    found = await read_values(connection, SITE, ["last_score"], [ROOT], over, closed=ALL_CLOSED)
    value = found["last_score", ROOT, None, 0].now
    return value.value, value.n


@pytest.mark.parametrize("seed", range(3))
async def test_both_ways_give_the_same_of_any_history(tables: Tables, seed: int) -> None:
    rng = random.Random(seed)
    arrivals: list[Arrival] = [
        one
        for number, begin in enumerate(BEGINS)
        for one in arrivals_of(some_events(60, 10 * seed + number, begin, types=(RATED, OBSERVED, METRIC)))
    ]
    rng.shuffle(arrivals)
    async with tables.writer() as writer:
        for at in range(0, len(arrivals), 60):
            # From the second part on some of it comes late, and corrects what has been put together.
            watermark_s = (BEGIN + timedelta(days=70)).timestamp() if at else 0.0
            for one in arrivals[at : at + 60]:
                await tables.count(writer, Lane(topic_of(one), rng.randrange(3)), [one], watermark_s)
            if at == 120:
                await tables.close(writer, range(3))
                await tables.compact_all()
            marked = await asked(tables.connection)
            await put_all(tables.connection)
            assert await marks(tables) == 0
            together = await asked(tables.connection)
            assert together == marked
            assert together == await by_the_rows(tables.connection)
            # It is read, too: without it something is missing.
            assert together != await by_the_rows(tables.connection, forget="DELETE FROM latest_across")
    assert any(one.corrected_at is not None for one in together[2].values())
    assert any(one.first is not None and one.first != one.now for one in together[2].values())


async def test_nothing_is_left_of_rows_that_are_gone(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 2)
        await put_all(tables.connection)
        assert await tables.connection.fetchval("SELECT count(*) FROM latest_across") > 0
        await tables.connection.execute("DELETE FROM kpi_day WHERE kpi = 'last_score'")
        assert await last_score(tables.connection) == (None, 0)
        await put_all(tables.connection)
        assert await tables.connection.fetchval("SELECT count(*) FROM latest_across") == 0
        await rated(tables, writer, "b", "0101", 3)
        await put_all(tables.connection)
        await tables.connection.execute("TRUNCATE kpi_day")
        assert await tables.connection.fetchval("SELECT count(*) FROM latest_across") == 0


async def test_what_an_area_says_of_itself_marks_nothing(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 2)
        await put_all(tables.connection)
        await rated(tables, writer, "b", "00", 4)
    assert await marks(tables) == 0
    assert await last_score(tables.connection) == (3.0, 2)


async def test_a_report_that_is_under_way_while_others_are_put_together(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 1)
        other = await asyncpg.connect(tables.url)
        try:
            slow = other.transaction()
            await slow.start()
            await other.execute("UPDATE kpi_day SET total = 5000000, high = high + 1 WHERE kpi = 'last_score'")
            await put_all(tables.connection)
            assert await marks(tables) == 0
            assert await last_score(tables.connection) == (1.0, 1)
            await slow.commit()
        finally:
            await other.close()
        # Its mark came with it.
        assert await marks(tables) > 0
        assert await last_score(tables.connection) == (5.0, 1)
        await put_all(tables.connection)
        assert await last_score(tables.connection) == (5.0, 1)


class Interrupted:
    """A connection of whoever puts together; something happens once, after it has seen what is marked."""

    def __init__(self, connection: Connection, meanwhile: Callable[[], Awaitable[object]]) -> None:
        self.execute, self.fetchval, self.transaction = (
            connection.execute,
            connection.fetchval,
            connection.transaction,
        )
        self._connection = connection
        self._meanwhile = meanwhile

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        rows = await self._connection.fetch(statement, *values)
        await self._meanwhile()
        return rows


async def test_a_mark_that_comes_meanwhile_stays(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 1)
        await rated(tables, writer, "b", "0102", 2)

        async def meanwhile() -> None:
            await rated(tables, writer, "c", "0101", 4, time=(BEGIN + timedelta(hours=1)).isoformat())
            # Nobody else puts anything together at the same time.
            async with writer.connection() as connection:
                assert not await put_together(connection, SITE)

        interrupted: Any = Interrupted(tables.connection, meanwhile)
        assert not await put_together(interrupted, SITE)
        # What was put together is of the moment before, and not believed where the mark is.
        assert await marks(tables) > 0
        assert await last_score(tables.connection) == (3.0, 2)
        assert await asked(tables.connection) == await by_the_rows(tables.connection)
        stale = "DELETE FROM latest_touched"
        assert await asked(tables.connection) != await by_the_rows(tables.connection, forget=stale)
        await put_all(tables.connection)
        assert await marks(tables) == 0
        assert await last_score(tables.connection) == (3.0, 2)


async def test_a_later_report_takes_the_place_of_one_that_was_put_together(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 1)
        await rated(tables, writer, "b", "0102", 3)
        await put_all(tables.connection)
        assert await last_score(tables.connection, days=9) == (2.0, 2)
        await rated(tables, writer, "c", "0102", 5, time=(BEGIN + timedelta(days=4)).isoformat())
        await put_all(tables.connection)
        assert await last_score(tables.connection, days=9) == (3.0, 2)
        assert await last_score(tables.connection, days=3) == (2.0, 2)
        # Taken back, the one before stands again.
        await rated(
            tables,
            writer,
            "d",
            "0102",
            1,
            time=(BEGIN + timedelta(days=4)).isoformat(),
            withdraws="c",
            watermark_s=LATER_S,
        )
        await put_all(tables.connection)
        assert await last_score(tables.connection, days=9) == (2.0, 2)


async def test_a_piece_longer_than_anybody_looked_is_read_by_the_rows(tables: Tables) -> None:
    async with tables.writer() as writer:
        await rated(tables, writer, "a", "0101", 1)
        await put_all(tables.connection)
        await rated(tables, writer, "b", "0101", 5, time=(BEGIN + timedelta(days=100)).isoformat())
        await put_all(tables.connection)
    assert await last_score(tables.connection, days=90) == (1.0, 1)
    assert await last_score(tables.connection, days=120) == (5.0, 1)
