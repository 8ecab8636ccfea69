"""Do corrections leave the tables as if only what counts had ever come, whatever way they come?"""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from deploy.migrate import migrate_schema
from schemas.event import EVENT_TYPES
from schemas.topics import Dedupe
from schemas.window import TIERS
from streams.core.batch import Batch
from streams.lane import Counting
from streams.store.group import GroupCommit
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane
from streams.versions import Versions
from tests.streams import held, naive
from tests.streams.memory import MemoryLog
from tests.streams.world import LOG_BEGIN, SITE, VERSION, Logged, moments_of, raw, records_of, some_log

TOPIC_ID = UUID(int=1)
CLOSED = "ioc.feedback.closed.v1"
ALL_TYPES = frozenset(EVENT_TYPES.values())
TABLES = "kpi_minute, kpi_hour, kpi_day, event, position, change, source_seen, site_switch"


class Centre:
    """The tables, and workers that count partitions of a log into them."""

    def __init__(self, database_url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection
        self.log = MemoryLog()
        self.log.ids["t"] = TOPIC_ID
        self._url = database_url
        self._writers: list[TimescaleWriter] = []

    def writer(self) -> GroupCommit:
        """What the lanes of one worker share."""
        self._writers.append(TimescaleWriter(self._url, "group", Versions(VERSION)))
        return GroupCommit(self._writers[-1])

    async def clear(self) -> None:
        """Nothing was ever counted."""
        await self.connection.execute(f"TRUNCATE {TABLES}")
        await self.close()

    async def close(self) -> None:
        """Ends all workers."""
        for writer in self._writers:
            await writer.close()
        self._writers.clear()

    def counting(self, partition: int, writer: GroupCommit, versions: Versions | None = None) -> Counting:
        """A lane that knows nothing yet."""
        return Counting(
            Lane("t", partition),
            dedupe=Dedupe.FOREVER,
            types=ALL_TYPES,
            versions=versions or Versions(VERSION),
            writer=writer,
            log=self.log,
            wall_clock_s=lambda: 0.0,
        )

    async def count(self, partition: int, batches: Sequence[Batch], writer: GroupCommit) -> None:
        """Counts a partition's batches one after the other."""
        counting = self.counting(partition, writer)
        for batch in batches:
            await counting.count(batch)

    async def buckets(self, *, first: bool = False) -> held.Buckets:
        """All that the tables hold, or held at first."""
        found: held.Buckets = {}
        for tier in TIERS:
            rows = await self.connection.fetch(f"SELECT * FROM kpi_{tier.value}")
            found |= held.of_rows(tier, rows, first=first)
        return found


@pytest.fixture
async def centre(database_url: str) -> AsyncIterator[Centre]:
    """A centre over empty tables."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    centre = Centre(database_url, connection)
    try:
        yield centre
    finally:
        await centre.close()
        await connection.close()


def batches(log: Sequence[Logged], partition: int, rng: random.Random, size_max: int) -> list[Batch]:
    """A partition's log, cut anyhow."""
    records = records_of(log)
    found: list[Batch] = []
    begin = 0
    while begin < len(records):
        end = min(len(records), begin + rng.randrange(1, size_max + 1))
        found.append(Batch("t", partition, records[begin:end], len(records)))
        begin = end
    return found


def by_hand(logs: Sequence[Sequence[Logged]]) -> held.Buckets:
    """What all of these leave."""
    events = [moment.event for log in logs for moment in moments_of(log)]
    return held.of_amounts(naive.amounts(naive.countable(events), SITE))


async def test_one_partition_cut_anyhow(centre: Centre) -> None:
    """The values of now and those first reported are functions of the log."""
    for seed in range(8):
        await centre.clear()
        log = some_log(40, seed)
        await centre.count(0, batches(log, 0, random.Random(seed), (1, 5, 40)[seed % 3]), centre.writer())
        assert await centre.buckets() == by_hand([log])
        first = held.of_amounts(naive.first_reported(moments_of(log), SITE))
        assert await centre.buckets(first=True) == first


async def test_partitions_and_workers_that_count_at_once(centre: Centre) -> None:
    """What corrects what may lie on another partition, and come to another worker before it."""
    for seed in range(6):
        await centre.clear()
        rng = random.Random(seed)
        parts: list[list[Logged]] = [[], [], []]
        for logged in some_log(60, seed):
            rng.choice(parts).append(logged)
        one, other = centre.writer(), centre.writer()
        await asyncio.gather(
            *(
                centre.count(partition, batches(parts[partition], partition, rng, 6), writer)
                for partition, writer in enumerate((one, one, other))
            )
        )
        assert await centre.buckets() == by_hand(parts)


async def test_a_correction_at_the_very_moment_of_its_original(centre: Centre) -> None:
    """Two workers, each with one of the two: never both count, and never none."""
    workers = centre.writer(), centre.writer()
    lanes = [centre.counting(partition, writer) for partition, writer in enumerate(workers)]
    logs: list[list[Logged]] = [[], []]
    for turn in range(40):
        time = (LOG_BEGIN + timedelta(minutes=turn)).isoformat()
        flags = {"withdraws" if turn % 4 == 0 else "supersedes": f"{turn}-original"}
        both = [
            raw(CLOSED, id=f"{turn}-original", time=time, data=handled("PWD", 900)),
            raw(CLOSED, id=f"{turn}-other", time=time, data=handled("ISD", 60), **flags),
        ]
        logged_ms = int((LOG_BEGIN + timedelta(minutes=turn + (turn % 3) * 10)).timestamp() * 1000)
        for log, value in zip(logs, both, strict=True):
            log.append(Logged(max(logged_ms, log[-1].logged_ms if log else 0), value))
        made = [Batch("t", partition, records_of(log)[turn:], turn + 1) for partition, log in enumerate(logs)]
        first, second = random.Random(turn).sample([0, 1], 2)
        await asyncio.gather(lanes[first].count(made[first]), lanes[second].count(made[second]))
    assert await centre.buckets() == by_hand(logs)
    assert await centre.connection.fetchval("SELECT count(*) FROM countable_event") == 30


def handled(agency: str, seconds: int, begin: datetime = LOG_BEGIN) -> dict[str, Any]:
    """Data of a report that was handled, and opened so long before the log begins."""
    return {"agency": agency, "opened_at": (begin - timedelta(seconds=seconds)).isoformat()}


def logged(minute: float, type_: str = CLOSED, at: float | None = None, **given: Any) -> Logged:
    """A record that the log gets at a minute; what it tells happened then, or `at` another minute."""
    time = LOG_BEGIN + timedelta(minutes=minute if at is None else at)
    logged_ms = int((LOG_BEGIN + timedelta(minutes=minute)).timestamp() * 1000)
    return Logged(logged_ms, raw(type_, time=time.isoformat(), received_at=time, **given))


A, B, C = handled("A", 100), handled("A", 200), handled("A", 300)

CASES = [
    pytest.param([logged(0, id="1", data=A)], "1 100", None, id="nothing was corrected"),
    pytest.param(
        [logged(0, id="1", data=A), logged(1, id="2", at=0, data=B)], "2 200", None, id="another one while it is open"
    ),
    pytest.param(
        [logged(0, id="1", data=A), logged(4, id="x"), logged(5, id="2", at=0, data=B)],
        "2 200",
        "1 100",
        id="another one after it has closed",
    ),
    pytest.param([logged(4, id="x"), logged(5, id="2", at=0, data=B)], "1 200", "0 None", id="closed with nothing"),
    pytest.param(
        [logged(0, id="1", data=B), logged(1, id="2", at=0, data=A, supersedes="1")],
        "1 100",
        None,
        id="replaced while it is open",
    ),
    pytest.param(
        [logged(0, id="1", data=B), logged(4, id="x"), logged(5, id="2", at=0, data=A, supersedes="1")],
        "1 100",
        "1 200",
        id="replaced after it has closed",
    ),
    pytest.param(
        [
            logged(0, id="1", data=B),
            logged(4, id="2", at=4, data=A, supersedes="1"),
            logged(5, id="3", withdraws="1"),
        ],
        "0 None",
        None,
        id="moved to another minute by what closes it",
    ),
    pytest.param(
        [logged(0, id="1", data=B), logged(0, id="2", data=A), logged(4, id="x"), logged(5, id="3", withdraws="1")],
        "1 100",
        "2 200",
        id="taken back: the largest is found anew",
    ),
    pytest.param(
        [
            logged(0, id="1", data=A),
            logged(4, id="x"),
            logged(5, id="2", at=0, data=B),
            logged(6, id="3", at=0, data=C),
            logged(7, id="4", withdraws="3"),
        ],
        "2 200",
        "1 100",
        id="corrected again and again: the first value is kept once",
    ),
    pytest.param(
        [
            logged(0, id="1", data=A),
            logged(4, id="x"),
            logged(4.1, id="2", at=0, data=B),
            logged(4.2, id="3", withdraws="2"),
        ],
        "1 100",
        "1 100",
        id="came late and was taken back in the same minute",
    ),
    pytest.param(
        [logged(0, id="2", data=A, supersedes="1"), logged(1, id="1", at=0, data=C)],
        "1 100",
        None,
        id="the correction came first",
    ),
    pytest.param(
        [logged(0, id="1", data=A), logged(0, id="2", data=C, exercise=True), logged(4, id="x")],
        "1 100",
        None,
        id="a drill",
    ),
    pytest.param(
        [logged(0, id="1", data=A), logged(0, id="2", exercise=True, withdraws="1")],
        "1 100",
        None,
        id="a drill takes nothing back",
    ),
]


async def test_cases(centre: Centre) -> None:
    """Minute 0 of commune 0101: how many were handled, and the longest time that it took, now and at first."""
    for case in CASES:
        log, now, first = case.values
        for size in (1, len(log)):
            await centre.clear()
            whole = [Batch("t", 0, records_of(log), len(log))]
            cut = batches(log, 0, random.Random(1), 1) if size == 1 else whole
            await centre.count(0, cut, centre.writer())
            assert await read(centre, "n", "high") == now, case.id
            assert await read(centre, "first_n", "first_high") == (first or "None None"), case.id
            assert await centre.buckets() == by_hand([log]), case.id


async def read(centre: Centre, n: str, high: str) -> str:
    """The handling time's row count and the largest of it; whether a row was corrected must agree."""
    rows = await centre.connection.fetch(
        f"""SELECT sum(h.{n}) AS n, max(l.{high}) AS high, bool_or(h.corrected_at IS NOT NULL) AS is_corrected,
                   bool_or(h.first_n IS NOT NULL) AS has_first
            FROM kpi_minute AS l JOIN kpi_minute AS h USING (area, bucket, shard)
            WHERE l.kpi = 'longest' AND h.kpi = 'handling' AND area = '0101' AND bucket = $1""",
        LOG_BEGIN,
    )
    (row,) = rows
    assert row["is_corrected"] == row["has_first"]
    return f"{row['n']} {row['high']:.0f}" if row["high"] is not None else f"{row['n']} None"
