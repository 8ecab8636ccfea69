"""Does the catalogue change at recorded positions, and is every event counted and taken away by one version?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from asyncpg.connection import LoggedQuery

from deploy.migrate import migrate_schema
from schemas.errors import DependencyUnavailable, SiteError
from schemas.event import EVENT_TYPES
from schemas.site import Pack, parse_site
from schemas.topics import Dedupe
from streams import metrics
from streams.agents import StreamsConfig, Worker
from streams.core.fold import Fold
from streams.lane import Counting
from streams.store import sites
from streams.store.cells import write_cells
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Position, PositionMoved
from streams.versions import RegisteredPack, Versions, compiled
from tests.streams.memory import MemoryLog
from tests.streams.world import LOGGED_MS, PACK, arrival, batch, raw

TOPIC_ID = UUID(int=1)
LANE = Lane("t", 2)
RECEIVED = "ioc.feedback.received.v1"
CLOSED = "ioc.feedback.closed.v1"
ALL_TYPES = frozenset(EVENT_TYPES.values())

NARROWER: Pack = PACK | {
    "kpis.toml": PACK["kpis.toml"].replace(
        'where = { channel = "phone" }', 'where = { channel = "phone", category = "road" }'
    )
}
"""The same ids: by phone counts only what concerns roads."""

WIDER: Pack = PACK | {
    "kpis.toml": PACK["kpis.toml"].replace('where = { channel = "phone" }', 'where = { channel = "app" }')
}


class Centre:
    """A database with version 1, and workers that may not have heard of later ones."""

    def __init__(self, database_url: str, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.url = database_url
        self.connection = connection
        self.log = MemoryLog()
        self.log.ids[LANE.topic] = TOPIC_ID
        self.writers: list[TimescaleWriter] = []

    def writer(self, number: int, pack: Pack) -> tuple[TimescaleWriter, Versions]:
        """A worker's, that has heard of this version."""
        versions = Versions(compiled(number, parse_site(pack)))
        self.writers.append(TimescaleWriter(self.url, "group", versions))
        return self.writers[-1], versions

    def worker(self, number: int, pack: Pack) -> Counting:
        """One that counts the lane."""
        writer, versions = self.writer(number, pack)
        return Counting(
            LANE,
            dedupe=Dedupe.FOREVER,
            types=ALL_TYPES,
            versions=versions,
            writer=writer,
            log=self.log,
            wall_clock_s=lambda: 0.0,
        )

    async def count(self, worker: Counting, *values: bytes) -> None:
        """Puts records on the log, and counts them."""
        stored = self.log.records.get(LANE, [])
        made = batch(values, len(stored), *LANE)
        self.log.append(LANE, made.records)
        await worker.count(made)

    async def by_phone(self) -> int:
        """What the KPI says of the whole province."""
        return await self.connection.fetchval(
            "SELECT coalesce(sum(n), 0)::bigint FROM kpi_day WHERE kpi = 'received_by_phone' AND area = '00'"
        )

    async def switches(self) -> list[tuple[Any, ...]]:
        """Which version counts from which offset on."""
        rows = await self.connection.fetch(
            "SELECT topic, partition, version, next_offset, topic_id FROM site_switch ORDER BY version"
        )
        return [tuple(row) for row in rows]


@asynccontextmanager
async def opened(database_url: str) -> AsyncIterator[Centre]:
    """A centre over empty tables."""
    await migrate_schema(database_url)
    connection = await asyncpg.connect(database_url)
    centre = Centre(database_url, connection)
    try:
        yield centre
    finally:
        for writer in centre.writers:
            await writer.close()
        await connection.close()


@pytest.fixture
async def centre(database_url: str) -> AsyncIterator[Centre]:
    """One whose first pack is registered."""
    async with opened(database_url) as centre:
        assert await sites.register_site(centre.connection, PACK) == 1
        yield centre


def by_phone(id_: str, category: str = "noise", **given: Any) -> bytes:
    """A report."""
    return raw(RECEIVED, id=id_, data={"channel": "phone", "category": category}, **given)


async def test_names_that_the_database_refuses_stop_neither_the_pack_nor_the_workers(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    kept = "SELECT max(site_version) FROM indicator"
    assert await centre.connection.fetchval(kept) == 1
    # As a database with a rule of its own would: what a pack may say is judged when it is read.
    await centre.connection.execute("ALTER TABLE indicator ADD CHECK (site_version <> 2)")
    writer, _ = centre.writer(1, PACK)
    assert await writer.register_site(NARROWER) == 2
    assert "names of site pack version 2 are not kept" in caplog.text
    assert await centre.connection.fetchval(kept) == 1
    assert await writer.register_site(WIDER) == 3
    assert await centre.connection.fetchval(kept) == 3


async def test_packs_are_numbered_as_they_come(database_url: str) -> None:
    async with opened(database_url) as centre:
        writer, _ = centre.writer(0, PACK)
        assert await writer.newest_site() is None
        # A worker begins with its own pack where there is none, and with the newest where there is one.
        assert await sites.begin(database_url, PACK) == RegisteredPack(1, PACK)
        assert await sites.begin(database_url, NARROWER) == RegisteredPack(1, PACK)
        assert [await writer.register_site(pack) for pack in (PACK, NARROWER, NARROWER, PACK)] == [1, 2, 2, 3]
        assert await writer.newest_site() == RegisteredPack(3, PACK)
        assert await writer.site(2) == RegisteredPack(2, NARROWER)
        # Two that find the same change at once make one version of it.
        other, _ = centre.writer(0, PACK)
        numbers = await asyncio.gather(*(one.register_site(NARROWER) for one in (writer, other) * 3))
        assert set(numbers) == {4}
        assert (await writer.newest_site() or RegisteredPack(0, {})).version == 4


@pytest.mark.parametrize(
    ("pack", "number"), [pytest.param(NARROWER, 2, id="the same"), pytest.param(WIDER, 3, id="another")]
)
async def test_who_registers_a_pack_while_another_does_looks_again(centre: Centre, pack: Pack, number: int) -> None:
    writer, _ = centre.writer(1, PACK)
    async with centre.connection.transaction():
        assert await sites.register_site(centre.connection, NARROWER) == 2
        second = asyncio.create_task(writer.register_site(pack))
        for _ in range(1_000):
            if await centre.connection.fetchval("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)"):
                break
            await asyncio.sleep(0.01)
        assert not second.done()
    assert await second == number
    assert await writer.newest_site() == RegisteredPack(number, pack)


async def test_an_id_keeps_what_its_sketches_hold(centre: Centre) -> None:
    """A histogram and a sketch of different ones do not merge: nobody could count, read or compact such a row."""

    def measured(measure: str, id_: str = "kept") -> Pack:
        return slowest_by(
            f'[[kpi]]\nid = "{id_}"\nnames = {{ en = "Kept" }}\nunit = "1"\nevent = "{CLOSED}"\n{measure}\n'
        )

    histogram, different = (
        'measure = "percentile"\nq = 0.5\nsince = "opened_at"',
        'measure = "distinct"\nof = "agency"',
    )
    assert await sites.register_site(centre.connection, measured(histogram)) == 2
    # Also an id that was away in between, whatever else it is to be.
    assert await sites.register_site(centre.connection, PACK) == 3
    for other in (different, 'measure = "count"'):
        with pytest.raises(SiteError, match="kpi 'kept': under this id histograms are stored"):
            await sites.register_site(centre.connection, measured(other))
    assert (await sites.newest_site(centre.connection) or RegisteredPack(0, {})).version == 3
    assert await sites.register_site(centre.connection, measured(different, "new")) == 4
    assert await sites.register_site(centre.connection, measured(histogram.replace("0.5", "0.9"))) == 5


async def test_a_database_that_is_away_is_said_so() -> None:
    with pytest.raises(DependencyUnavailable, match="database is away"):
        await sites.begin("postgresql://ioc@127.0.0.1:9/none", PACK)


async def test_a_lane_switches_at_a_recorded_offset_and_never_back(centre: Centre) -> None:
    worker = centre.worker(1, PACK)
    await centre.count(worker, by_phone("1"), by_phone("2"), by_phone("3", "road"))
    assert await centre.by_phone() == 3
    assert await centre.switches() == [(*LANE, 1, 0, TOPIC_ID)]
    assert await sites.register_site(centre.connection, NARROWER) == 2
    newer = centre.worker(2, NARROWER)
    await centre.count(newer, by_phone("4"), by_phone("5", "road"))
    assert await centre.by_phone() == 4
    assert await centre.switches() == [(*LANE, 1, 0, TOPIC_ID), (*LANE, 2, 3, TOPIC_ID)]
    # Who has not heard of version 2 reads it when it finds the lane moved.
    await centre.count(worker, by_phone("6"), by_phone("7", "road"))
    assert await centre.by_phone() == 5
    assert await centre.switches() == [(*LANE, 1, 0, TOPIC_ID), (*LANE, 2, 3, TOPIC_ID)]
    rows = await centre.connection.fetch('SELECT site_version, "offset" FROM event ORDER BY "offset"')
    assert [tuple(row) for row in rows] == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5), (2, 6)]


async def test_an_older_version_does_not_move_a_lane(centre: Centre) -> None:
    await sites.register_site(centre.connection, NARROWER)
    await centre.count(centre.worker(2, NARROWER), by_phone("1"))
    writer, versions = centre.writer(1, PACK)
    stale = LaneBatch(
        lane=LANE,
        expected=Position(TOPIC_ID, 1),
        reached=Position(TOPIC_ID, 2, 0.0, 1),
        arrivals=[arrival(by_phone("2"))],
        version=versions.newest,
        unique=True,
    )
    with pytest.raises(PositionMoved):
        await writer.commit(stale)
    assert (await writer.position(LANE, TOPIC_ID))[1:] == (1, pytest.approx(LOGGED_MS / 1000, abs=1000), 2)


async def test_an_event_is_taken_away_by_the_version_that_counted_it(centre: Centre) -> None:
    await centre.count(centre.worker(1, PACK), by_phone("1"), by_phone("2"), by_phone("3", "road"))
    await sites.register_site(centre.connection, NARROWER)
    # This worker has never heard of version 1: it reads it to take away what it counted.
    newer = centre.worker(2, NARROWER)
    await centre.count(newer, by_phone("4", supersedes="1"), by_phone("5", "road", supersedes="2"))
    assert await centre.by_phone() == 2
    await centre.count(newer, by_phone("6", withdraws="3"), by_phone("7", withdraws="4"))
    assert await centre.by_phone() == 1


def closed(id_: str, minutes: int, *, area: str = "0101", category: str = "road", **given: Any) -> bytes:
    """A report that took so long to handle."""
    at = datetime(2025, 7, 1, 1, 0, tzinfo=UTC)
    data = {"category": category, "opened_at": (at - timedelta(minutes=minutes)).isoformat()}
    return raw(CLOSED, id=id_, area=area, time=at.isoformat(), data=data, **given)


SLOWEST = """
[[kpi]]
id = "toughest"
names = { en = "Toughest" }
unit = "s"
measure = "max"
"""
OF_ROADS = SLOWEST + f'event = "{CLOSED}"\nsince = "opened_at"\nwhere = {{ category = "road" }}\n'
OF_ALL = SLOWEST + f'event = "{CLOSED}"\nsince = "opened_at"\n'
COUNT = f'event = "{CLOSED}"\nmeasure = "count"\n'
OF_RATINGS = SLOWEST + 'event = "ioc.feedback.rated.v1"\nvalue = "score"\n'
NEW_COMMUNE = "\n,0103,01,commune,Xã Mới,New Commune,"


def slowest_by(kpi: str, areas: str = "") -> Pack:
    """The pack with this indicator, and these areas besides."""
    return {**PACK, "kpis.toml": PACK["kpis.toml"] + kpi, "areas.csv": PACK["areas.csv"] + areas}


@pytest.mark.parametrize(
    ("before", "after", "remains", "slowest"),
    [
        pytest.param(
            slowest_by(OF_ROADS), slowest_by(OF_ALL), closed("2", 60, category="noise"), 3600, id="another filter"
        ),
        pytest.param(
            slowest_by(OF_ROADS),
            slowest_by(OF_ROADS, NEW_COMMUNE),
            closed("2", 60, area="0103"),
            3600,
            id="an area more",
        ),
        pytest.param(
            slowest_by(OF_ROADS),
            slowest_by(OF_RATINGS),
            raw("ioc.feedback.rated.v1", id="2", time="2025-07-01T01:00:00+00:00", data={"score": 4}),
            4,
            id="another type",
        ),
    ],
)
async def test_what_is_found_anew_is_counted_by_the_versions_that_counted_it(
    database_url: str, before: Pack, after: Pack, remains: bytes, slowest: float
) -> None:
    async with opened(database_url) as centre:
        await sites.register_site(centre.connection, before)
        await centre.count(centre.worker(1, before), closed("1", 90), closed("3", 1))
        await sites.register_site(centre.connection, after)
        newer = centre.worker(2, after)
        await centre.count(newer, remains)
        await centre.count(newer, closed("4", 90, withdraws="1"))

        async def highest() -> float | None:
            return await centre.connection.fetchval(
                "SELECT max(high) FROM kpi_day WHERE kpi = 'toughest' AND area = '00'"
            )

        # Of the two counted by the first version the other one remains, too.
        assert await highest() == max(slowest, 60)
        await centre.count(newer, closed("5", 1, withdraws="3"))
        assert await highest() == slowest


async def test_what_was_filled_back_keeps_what_it_closed_with(centre: Centre) -> None:
    """A minute of an hour ago, counted by a back-fill; then one of its events is taken back."""
    at = datetime.fromtimestamp(LOGGED_MS // 1000 - 3600, UTC)
    data = [{"opened_at": (at - timedelta(minutes=minutes)).isoformat()} for minutes in (1, 15)]
    events = [raw(CLOSED, id=str(n), time=at.isoformat(), data=one) for n, one in enumerate(data)]
    await centre.count(centre.worker(1, PACK), *events)
    pack = slowest_by(OF_ALL + f'[[kpi]]\nid = "all"\nnames = {{ en = "All" }}\nunit = "1"\n{COUNT}')
    await sites.register_site(centre.connection, pack)
    newer = centre.worker(2, pack)
    site = parse_site(pack)
    bases = [site.kpis.base("toughest"), site.kpis.base("all")]
    await write_cells(centre.connection, [(LANE.partition, Fold(bases, site.areas)([*map(arrival, events)]))])
    await centre.connection.executemany(
        "INSERT INTO backfill (kpi, topic, partition, next_offset, stop_offset, site_version)"
        " VALUES ($1, $2, $3, 2, 2, 2)",
        [(base.id, *LANE) for base in bases],
    )
    await centre.count(newer, raw(CLOSED, id="w", withdraws="1"))
    rows = await centre.connection.fetch(
        "SELECT n, high, first_n, first_high, corrected_at IS NOT NULL FROM kpi_minute"
        " WHERE kpi IN ('all', 'toughest') AND area = '00' ORDER BY kpi"
    )
    assert [tuple(row) for row in rows] == [(1, None, 2, None, True), (1, 60, 2, 900, True)]


async def test_corrections_far_apart_read_their_own_days(centre: Centre) -> None:
    """Two days a year apart are taken back at once: what lies between is not read while nobody may count."""
    worker = centre.worker(1, PACK)
    days = [datetime(2024, 7, 1, 1, 0, tzinfo=UTC) + timedelta(days=30 * number) for number in range(12)]
    for at in days:
        opened_at = (at - timedelta(minutes=5)).isoformat()
        await centre.count(
            worker,
            *(raw(CLOSED, id=f"{at.date()}-{n}", time=at.isoformat(), data={"opened_at": opened_at}) for n in (1, 2)),
        )
    spans: list[timedelta] = []

    def note(query: LoggedQuery) -> None:
        if "countable_event" in query.query:
            _, start, end = query.args
            spans.append(end - start)

    async with centre.writers[0].connection() as connection:
        connection.add_query_logger(note)
    # No bucket closes between the two, so they are settled at once.
    await centre.count(worker, by_phone("now"))
    await centre.count(
        worker, *(raw(CLOSED, id=f"w-{at.date()}", withdraws=f"{at.date()}-1") for at in (days[0], days[-1]))
    )
    assert timedelta() < sum(spans, timedelta()) <= timedelta(days=4)
    left = await centre.connection.fetchval("SELECT count(high) FROM kpi_day WHERE kpi = 'longest' AND area = '00'")
    assert left == 12


async def test_a_pack_that_this_release_cannot_read_leaves_the_last_one_in_force(
    centre: Centre, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker(
        StreamsConfig(kafka="127.0.0.1:9", database_url=centre.url, current_pack=lambda: PACK, worker="w")
    )
    try:
        await worker._follow_site()
        assert worker._versions.newest.number == 1
        # As a newer release would, that knows one key more.
        newer = {**PACK, "site.toml": PACK["site.toml"] + "\ncolour = 1"}
        await sites.register_site(centre.connection, newer)
        for _ in range(2):
            await worker._follow_site()
            assert worker._versions.newest.number == 1
        (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert said.startswith(
            "Site pack version 2 in the database cannot be read by this release: site.toml: line 8"
        )
        assert said.endswith("Version 1 counts on here.")
        assert metrics.SITE_UNREADABLE._value.get() == 1
        await sites.register_site(centre.connection, NARROWER)
        await worker._follow_site()
        assert worker._versions.newest.number == 3
        assert metrics.SITE_UNREADABLE._value.get() == 0
    finally:
        await worker._writer.close()


async def test_a_pack_that_is_refused_halts_nobody(centre: Centre, caplog: pytest.LogCaptureFixture) -> None:
    other = PACK["kpis.toml"].replace('measure = "distinct"\nof = "agency"', 'measure = "count"', 1)
    packs: list[Pack] = [PACK]
    worker = Worker(
        StreamsConfig(kafka="127.0.0.1:9", database_url=centre.url, current_pack=lambda: packs[-1], worker="w")
    )
    packs.append({**PACK, "kpis.toml": other})
    try:
        for _ in range(2):
            await worker._follow_site()
        assert worker._versions.newest.number == 1
        (said,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
        assert "kpi 'agencies': under this id different ones are stored" in said
        assert await worker._writer.newest_site() == RegisteredPack(1, PACK)
    finally:
        await worker._writer.close()


async def test_idle_lanes_are_noted_where_they_still_stand(centre: Centre) -> None:
    worker = centre.worker(1, PACK)
    await centre.count(worker, by_phone("1"))
    writer = centre.writers[0]
    other = Lane("t", 3)
    await writer.position(other, TOPIC_ID)
    looked_at = datetime(2025, 7, 1, 2, 0, tzinfo=UTC)

    async def noted() -> dict[int, datetime | None]:
        rows = await centre.connection.fetch("SELECT partition, caught_up_at FROM position")
        return {row["partition"]: row["caught_up_at"] for row in rows}

    # The first has moved on since it was looked at.
    await writer.note_caught_up({LANE: 0, other: 0}, looked_at)
    assert await noted() == {2: None, 3: looked_at}
    later = looked_at + timedelta(minutes=1)
    await writer.note_caught_up({LANE: 1}, later)
    assert await noted() == {2: later, 3: looked_at}
