"""Does the state keep the Writer's promises? The fake that other tests trust keeps the same ones."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import msgspec
import pytest

from deploy.migrate import migrate_schema
from schemas.distinct import estimate
from schemas.errors import DependencyUnavailable
from schemas.sketch import bin_of, merge_bins
from schemas.window import TIERS, Tier
from streams.core.batch import Arrival, closing_cuts, parts
from streams.core.fold import Folded
from streams.store.group import GroupCommit
from streams.store.timescale import TimescaleWriter
from streams.store.writer import Lane, LaneBatch, Outcome, Position, PositionMoved, Writer
from streams.versions import Version, Versions
from tests.streams import held, naive
from tests.streams.memory import MemoryWriter
from tests.streams.world import (
    LOGGED_MS,
    PASSING,
    SITE,
    VERSION,
    arrival,
    arrivals_of,
    moments_of,
    raw,
    records_of,
    some_events,
    some_log,
)

TOPIC_ID = UUID(int=1)
OTHER_ID = UUID(int=2)
LANE = Lane("t.cases.v1", 3)
OTHER_LANE = Lane("t.cases.v1", 4)
RECEIVED = "ioc.feedback.received.v1"
FIRST = ("first_n", "first_total", "first_low", "first_high", "first_sketch", "corrected_at")


class State(Protocol):
    """A Writer, and what a test can see of the state behind it."""

    writer: Writer

    async def buckets(self) -> held.Buckets:
        """Every bucket of the KPI tables."""
        ...

    async def first(self) -> held.Buckets:
        """The same as they were first reported."""
        ...

    async def bodies(self) -> dict[tuple[str, str], bytes]:
        """The event table."""
        ...


def reports(*ids: str) -> list[Arrival]:
    """Low-rate events."""
    return [arrival(raw(RECEIVED, id=id_)) for id_ in ids]


def observed(id_: str, value: float, **given: Any) -> Arrival:
    """A report of a period."""
    return arrival(raw("ioc.indicator.observed.v1", id=id_, data={"value": value}, **given))


def truth(arrivals: Sequence[Arrival]) -> held.Buckets:
    """What these must have added, where all of them are kept."""
    return held.of_amounts(naive.amounts(naive.countable(one.event for one in arrivals), SITE))


def passing_truth(arrivals: Sequence[Arrival]) -> held.Buckets:
    """What these must have added, where nobody looks for resends."""
    return held.of_amounts(naive.amounts([one.event for one in arrivals if not one.event.exercise], SITE))


async def commit(state: State, at: int, to: int, arrivals: Sequence[Arrival], *, unique: bool = True) -> Outcome:
    """Counts on the lane of the tests."""
    return await state.writer.commit(lane_batch(LANE, Position(TOPIC_ID, at), to, arrivals, unique=unique))


def lane_batch(
    lane: Lane,
    expected: Position,
    to: int,
    arrivals: Sequence[Arrival],
    *,
    unique: bool = True,
    version: Version = VERSION,
) -> LaneBatch:
    """What a lane wants counted."""
    reached = Position(expected.topic_id, to, expected.watermark_s, version.number)
    return LaneBatch(lane=lane, expected=expected, reached=reached, arrivals=arrivals, version=version, unique=unique)


class WriterContract:
    """What every Writer does."""

    async def test_a_new_lane_begins_at_the_start_of_its_topic(self, state: State) -> None:
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 0)

    async def test_the_first_topic_id_is_kept(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        assert await state.writer.position(LANE, OTHER_ID) == Position(TOPIC_ID, 0)

    async def test_two_may_ask_for_a_new_lane_at_once(self, state: State) -> None:
        found = await asyncio.gather(*(state.writer.position(LANE, TOPIC_ID) for _ in range(6)))
        assert set(found) == {Position(TOPIC_ID, 0)}

    async def test_a_commit_counts_and_advances(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        arrivals = arrivals_of(some_events(200, seed=1))
        assert await commit(state, 0, 250, arrivals) == Outcome(counted=200, duplicates=0)
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 250)
        assert await state.buckets() == truth(arrivals)
        assert await state.bodies() == {(a.event.source, a.event.id): a.raw for a in arrivals}

    async def test_commits_add_up(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        arrivals = arrivals_of(some_events(200, seed=2, types=PASSING))
        for begin in range(0, 200, 50):
            await commit(state, begin, begin + 50, arrivals[begin : begin + 50], unique=False)
        assert await state.buckets() == passing_truth(arrivals)
        assert await state.bodies() == {}

    async def test_lanes_add_up(self, state: State) -> None:
        arrivals = arrivals_of(some_events(100, seed=3))
        for lane, part in ((LANE, arrivals[:50]), (OTHER_LANE, arrivals[50:])):
            position = await state.writer.position(lane, TOPIC_ID)
            await state.writer.commit(lane_batch(lane, position, 50, part))
        assert await state.buckets() == truth(arrivals)

    @pytest.mark.parametrize(
        ("expected", "why"),
        [
            pytest.param(Position(TOPIC_ID, 0), "behind", id="behind"),
            pytest.param(Position(TOPIC_ID, 2), "ahead", id="ahead"),
            pytest.param(Position(OTHER_ID, 1), "another topic", id="another topic"),
        ],
    )
    async def test_another_position_changes_nothing(self, state: State, expected: Position, why: str) -> None:
        del why
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, reports("1"))
        before = (await state.buckets(), await state.bodies())
        with pytest.raises(PositionMoved):
            await state.writer.commit(lane_batch(LANE, expected, 9, reports("2")))
        assert (await state.buckets(), await state.bodies()) == before
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 1)

    async def test_a_lane_that_nobody_asked_for_cannot_be_advanced(self, state: State) -> None:
        with pytest.raises(PositionMoved):
            await commit(state, 0, 1, reports("1"))

    async def test_of_two_at_one_position_one_counts(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        outcomes = await asyncio.gather(
            *(commit(state, 0, 1, reports("1"), unique=False) for _ in range(4)), return_exceptions=True
        )
        assert sum(isinstance(one, Outcome) for one in outcomes) == 1
        assert sum(isinstance(one, PositionMoved) for one in outcomes) == 3
        assert await state.buckets() == truth(reports("1"))

    async def test_what_the_table_holds_does_not_count_again(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 2, reports("1", "2"))
        assert await commit(state, 2, 5, reports("2", "3", "3")) == Outcome(counted=1, duplicates=2)
        assert await state.buckets() == truth(reports("1", "2", "3"))

    async def test_of_two_in_one_batch_the_first_counts(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        first = arrival(raw(RECEIVED, id="1", area="0101"))
        later = arrival(raw(RECEIVED, id="1", area="0202"))
        await commit(state, 0, 2, [first, later])
        assert await state.buckets() == truth([first])
        assert await state.bodies() == {("s", "1"): first.raw}

    async def test_the_same_id_of_another_source_is_another_event(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        both = [arrival(raw(RECEIVED, id="1", source="a")), arrival(raw(RECEIVED, id="1", source="b"))]
        assert await commit(state, 0, 2, both) == Outcome(counted=2, duplicates=0)

    async def test_without_arrivals_the_lane_advances(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        assert await commit(state, 0, 7, []) == Outcome(counted=0, duplicates=0)
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 7)

    async def test_corrections_and_what_buckets_closed_with(self, state: State) -> None:
        position = await state.writer.position(LANE, TOPIC_ID)
        log = some_log(50, seed=4)
        arrivals = VERSION.reader.read(*LANE, records_of(log)).arrivals
        cuts = closing_cuts(arrivals, SITE.header.closing.grace_s)
        taken = 0
        for part, following in parts(arrivals, days_max=30, apart=cuts):
            reached = Position(TOPIC_ID, 50, 9e9) if following is None else Position(TOPIC_ID, following.offset)
            batch = LaneBatch(
                lane=LANE, expected=position, reached=reached, arrivals=part, version=VERSION, unique=True
            )
            taken += (await state.writer.commit(batch)).counted
            position = reached
        # Drills, and what was corrected, are taken in; resends are not.
        assert taken == len({(one.event.source, one.event.id) for one in arrivals}) < len(arrivals)
        assert await state.buckets() == truth(arrivals)
        assert await state.first() == held.of_amounts(naive.first_reported(moments_of(log), SITE))
        assert await state.first() != await state.buckets()
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 50, 9e9)

    async def test_a_fold_that_fails_changes_nothing(self, state: State) -> None:
        await state.writer.position(LANE, TOPIC_ID)

        def fails(_: Sequence[Arrival]) -> Folded:
            raise ZeroDivisionError

        failing = VERSION._replace(fold=fails)  # type: ignore[arg-type]
        with pytest.raises(ZeroDivisionError):
            await state.writer.commit(lane_batch(LANE, Position(TOPIC_ID, 0), 1, reports("1"), version=failing))
        assert await state.writer.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 0)
        assert await state.bodies() == {}
        assert (await commit(state, 0, 1, reports("1"))).counted == 1


class _Memory:
    def __init__(self) -> None:
        self.writer = MemoryWriter()

    async def buckets(self) -> held.Buckets:
        return held.of_cells(self.writer.rows.cells)

    async def first(self) -> held.Buckets:
        return held.of_cells(self.writer.rows.first)

    async def bodies(self) -> dict[tuple[str, str], bytes]:
        return {identity: kept.arrival.raw for identity, kept in self.writer.events.items()}


class _Timescale:
    def __init__(self, writer: TimescaleWriter, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.writer = writer
        self.connection = connection

    async def buckets(self) -> held.Buckets:
        return {at: one for tier in TIERS for at, one in held.of_rows(tier, await self.rows(tier)).items()}

    async def first(self) -> held.Buckets:
        return {
            at: one for tier in TIERS for at, one in held.of_rows(tier, await self.rows(tier), first=True).items()
        }

    async def rows(self, tier: Tier) -> list[Any]:
        return await self.connection.fetch(f"SELECT * FROM kpi_{tier.value}")

    async def bodies(self) -> dict[tuple[str, str], bytes]:
        rows = await self.connection.fetch("SELECT source, id, body FROM event")
        return {(row["source"], row["id"]): row["body"] for row in rows}


class _Group(_Timescale):
    """The state behind lanes that share transactions."""

    def __init__(self, writer: TimescaleWriter, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(writer, connection)
        self.writer = GroupCommit(writer)

    async def transactions(self) -> int:
        """How many have changed something."""
        return await self.connection.fetchval("SELECT count(*) FROM change")


@asynccontextmanager
async def opened(database_url: str) -> "AsyncGenerator[tuple[TimescaleWriter, asyncpg.Connection[asyncpg.Record]]]":
    """A writer on a database with our tables, and a connection to look behind it."""
    await migrate_schema(database_url)
    writer = TimescaleWriter(database_url, "group", Versions(VERSION))
    connection = await asyncpg.connect(database_url)
    try:
        yield writer, connection
    finally:
        await writer.close()
        await connection.close()


class TestMemoryWriter(WriterContract):
    """The fake."""

    @pytest.fixture
    def state(self) -> State:
        return _Memory()


class TestTimescaleWriter(WriterContract):
    """The real one, and what only it has."""

    @pytest.fixture
    async def state(self, database_url: str) -> AsyncIterator[_Timescale]:
        async with opened(database_url) as (writer, connection):
            yield _Timescale(writer, connection)

    async def test_every_column_of_a_bucket(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        scores = [arrival(raw(id=str(n), data={"score": score})) for n, score in enumerate((0.5, 0.25, 0.5, 0.0))]
        await commit(state, 0, 2, scores[:2], unique=False)
        await commit(state, 2, 4, scores[2:], unique=False)
        (row,) = [row for row in await state.rows(Tier.MINUTE) if (row["kpi"], row["area"]) == ("scores", "0101")]
        assert (row["shard"], row["dim"], row["bin"]) == (LANE.partition, "", 0)
        assert row["bucket"] == datetime(2025, 7, 1, 1, 0, tzinfo=UTC)
        assert (row["n"], row["total"], row["low"], row["high"]) == (4, 1_250_000, None, None)
        assert merge_bins([row["sketch"]]) == {bin_of(0.0): 1, bin_of(0.25): 1, bin_of(0.5): 2}
        assert [row[name] for name in FIRST] == [None] * len(FIRST)

    async def test_the_event_table_holds_what_came(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        text = 'Đường "ngập" \\ 🌧'
        whole = raw(RECEIVED, id="é", subject="case-1", area="0202", data={"text": text})
        await commit(state, 0, 1, [arrival(whole)])
        row = await state.connection.fetchrow("SELECT * FROM event")
        assert row is not None
        assert (row["type"], row["subject"], row["area"], row["located"], row["area_list"]) == (
            RECEIVED,
            "case-1",
            "howe",
            "code",
            "test-2025",
        )
        assert (row["topic"], row["partition"], row["offset"], row["site_version"]) == (*LANE, 0, 0)
        assert row["window_time"] == row["time"]
        assert row["time"] == datetime(2025, 7, 1, 1, 0, tzinfo=UTC)
        assert msgspec.json.decode(row["body"])["data"]["text"] == text

    async def test_one_change_row_says_what_was_touched(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, reports("1"))
        touched = msgspec.json.decode(await state.connection.fetchval("SELECT touched FROM change"))
        assert touched == {
            "kpis": [["received", 1_751_331_600, ["00", "01", "0101"]]],
            "events": 1,
            "sources": ["s"],
        }

    async def test_who_was_heard_and_when(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        early, late = "2025-07-01T08:00:00+07:00", "2025-07-01T09:00:00+07:00"
        await commit(state, 0, 1, [arrival(raw(RECEIVED, id="1", time=late), LOGGED_MS)])
        await commit(state, 1, 2, [arrival(raw(RECEIVED, id="2", time=early), LOGGED_MS + 1_000)])
        row = await state.connection.fetchrow("SELECT * FROM source_seen")
        assert row is not None
        assert (row["source"], row["topic"], row["shard"], row["n"]) == ("s", LANE.topic, LANE.partition, 2)
        # Event time may go back; what is shown is the newest.
        assert row["time"] == datetime(2025, 7, 1, 2, 0, tzinfo=UTC)

    async def test_a_drill_alone_is_a_change_and_no_sign_of_its_source(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, [arrival(raw(RECEIVED, id="1", exercise=True))])
        touched = msgspec.json.decode(await state.connection.fetchval("SELECT touched FROM change"))
        assert (touched["events"], touched["sources"]) == (1, [])
        assert await state.connection.fetchval("SELECT count(*) FROM source_seen") == 0

    async def test_groups_have_positions_of_their_own(self, state: _Timescale, database_url: str) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, reports("1"))
        other = TimescaleWriter(database_url, "another", Versions(VERSION))
        try:
            assert await other.position(LANE, TOPIC_ID) == Position(TOPIC_ID, 0)
        finally:
            await other.close()

    async def test_sums_are_exact_whatever_the_order(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        # 0.1, 0.2, -0.7 and 1e15 among them.
        arrivals = arrivals_of(some_events(300, seed=5, types=("ioc.service.metric.v1",)))
        at = 0
        for begin in range(0, 300, 17):
            part = arrivals[begin : begin + 17]
            await commit(state, at, at + len(part), part, unique=False)
            at += len(part)
        assert await state.buckets() == passing_truth(arrivals)

    async def test_different_ones_are_counted_over_batches_and_written_only_when_new(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)

        def seen(*cameras: str) -> list[Arrival]:
            return [arrival(raw(id=f"{number}", data={"camera": one})) for number, one in enumerate(cameras)]

        async def rows() -> list[tuple[Any, ...]]:
            found = await state.connection.fetch(
                "SELECT sketch, n, xmin::text FROM kpi_minute WHERE kpi = 'cameras' AND area = '0101'"
            )
            return [tuple(row) for row in found]

        await commit(state, 0, 3, seen("a", "b", "a"), unique=False)
        ((sketch, n, written),) = await rows()
        assert (estimate([sketch]), n) == (2, 0)
        # Nothing new: the row is left alone.
        await commit(state, 3, 5, seen("b", "a"), unique=False)
        assert await rows() == [(sketch, 0, written)]
        await commit(state, 5, 7, seen("b", "c"), unique=False)
        ((sketch, _, _),) = await rows()
        assert estimate([sketch]) == 3
        # Another worker knows of nothing, and reads what there is.
        async with opened(state.writer._url) as (other, _):
            await other.commit(lane_batch(LANE, Position(TOPIC_ID, 7), 9, seen("a", "d"), unique=False))
        ((sketch, _, _),) = await rows()
        assert estimate([sketch]) == 4

    async def test_what_a_transaction_did_not_commit_is_not_known(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        seen = [arrival(raw(data={"camera": "a"}))]
        blocked = asyncio.create_task(commit(state, 0, 1, seen, unique=False))
        async with state.connection.transaction():
            await state.connection.execute("LOCK kpi_day IN EXCLUSIVE MODE")
            await asyncio.sleep(0.2)
            blocked.cancel()
            await asyncio.gather(blocked, return_exceptions=True)
        await commit(state, 0, 1, seen, unique=False)
        assert await state.buckets() == passing_truth(seen)

    async def test_what_is_counted_again_is_not_known_any_more(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, [arrival(raw(id="1", data={"camera": "a"}))], unique=False)
        await state.connection.execute("UPDATE feed SET recounts = recounts + 1")
        for tier in TIERS:
            await state.connection.execute(f"DELETE FROM kpi_{tier.value}")
        again = [arrival(raw(id="2", data={"camera": "a"}))]
        await commit(state, 1, 2, again, unique=False)
        assert await state.buckets() == passing_truth(again)

    @staticmethod
    async def staff(state: _Timescale) -> list[tuple[Any, ...]]:
        """The different rows that one report leaves."""
        rows = await state.connection.fetch(
            "SELECT n, total, first_n, first_total, corrected_at IS NULL FROM kpi_day WHERE kpi = 'staff'"
        )
        return sorted({tuple(row) for row in rows})

    async def test_a_period_is_closed_by_its_first_report(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, [observed("1", 0.1)])
        assert await self.staff(state) == [(1, 100_000, None, None, True)]
        await commit(state, 1, 2, [observed("2", 1e15, time="2025-07-01T08:00:10+07:00")])
        assert await self.staff(state) == [(2, 10**21, 1, 100_000, False)]
        # Also where the row has been merged into another one meanwhile.
        await state.connection.execute("UPDATE kpi_day SET shard = -1")
        await commit(state, 2, 3, [observed("3", 5.0, time="2025-07-01T08:00:20+07:00")])
        assert await self.staff(state) == [(1, 5_000_000, 0, 0, False), (2, 10**21, 1, 100_000, False)]
        firsts = [one for bucket, one in (await state.first()).items() if bucket[1] == "staff"]
        assert [(one.n, one.total) for one in firsts] == [(1, 100_000)] * 3

    async def test_what_is_withdrawn_was_reported_first_all_the_same(self, state: _Timescale) -> None:
        await state.writer.position(LANE, TOPIC_ID)
        await commit(state, 0, 1, [observed("1", 0.1)])
        await commit(state, 1, 2, [observed("2", 0.2, supersedes="1")])
        assert await self.staff(state) == [(1, 200_000, 1, 100_000, False)]
        await commit(state, 2, 4, [observed("3", 0.0, withdraws="1"), observed("4", 0.0, withdraws="2")])
        assert await self.staff(state) == [(0, 0, 1, 100_000, False)]

    async def test_old_changes_are_swept_a_bounded_number_at_a_time(self, state: _Timescale) -> None:
        await state.connection.executemany(
            "INSERT INTO change (xid, committed_at, touched) VALUES ($1::text::xid8, now() - $2::interval, '')",
            [(str(n), timedelta(hours=2) if n < 5 else timedelta(0)) for n in range(8)],
        )
        assert [await state.writer.forget_changes(3600, 3) for _ in range(3)] == [3, 2, 0]
        assert await state.connection.fetchval("SELECT count(*) FROM change") == 3

    async def test_a_beat_says_who_lives(self, state: _Timescale) -> None:
        begun = datetime(2025, 7, 1, tzinfo=UTC)
        await state.writer.beat("host/0", "starting", "", begun)
        await state.writer.beat("host/0", "halted", "TopicReplaced: …", begun)
        rows = await state.connection.fetch("SELECT id, state, detail, started_at FROM worker")
        assert [tuple(row) for row in rows] == [("host/0", "halted", "TopicReplaced: …", begun)]

    async def test_the_server_ends_a_transaction_whose_worker_hangs(self, state: _Timescale) -> None:
        # The fault tests show what it is for: a frozen worker would hold its lane's row for ever.
        async with state.writer.connection() as connection:
            bound = await connection.fetchval("SHOW idle_in_transaction_session_timeout")
        assert bound == "10s"


async def test_a_database_that_is_away_is_said_so() -> None:
    writer = TimescaleWriter("postgresql://ioc@127.0.0.1:9/none", "group", Versions(VERSION))
    with pytest.raises(DependencyUnavailable, match="database is away"):
        await writer.position(LANE, TOPIC_ID)
    with pytest.raises(DependencyUnavailable):
        await writer.beat("w", "starting", "", datetime.now(UTC))


class TestGroupCommit(WriterContract):
    """Lanes that share transactions keep the same promises, and need fewer of them."""

    @pytest.fixture
    async def state(self, database_url: str) -> AsyncIterator[_Group]:
        async with opened(database_url) as (writer, connection):
            yield _Group(writer, connection)

    @staticmethod
    async def lanes(state: _Group, number: int) -> list[Lane]:
        """So many lanes, each at the start of its topic."""
        lanes = [Lane("t.cases.v1", partition) for partition in range(number)]
        for lane in lanes:
            await state.writer.position(lane, TOPIC_ID)
        return lanes

    async def test_lanes_that_commit_at_once_share_a_transaction(self, state: _Group) -> None:
        lanes = await self.lanes(state, 6)
        start = Position(TOPIC_ID, 0)
        outcomes = await asyncio.gather(
            *(state.writer.commit(lane_batch(lane, start, 1, reports(str(lane.partition)))) for lane in lanes)
        )
        assert outcomes == [Outcome(counted=1, duplicates=0)] * 6
        assert await state.transactions() == 1
        assert len(await state.bodies()) == 6

    async def test_what_comes_while_two_are_under_way_goes_together(self, state: _Group) -> None:
        lanes = await self.lanes(state, 8)
        start = Position(TOPIC_ID, 0)
        async with state.connection.transaction():
            # Whoever wants a lane has to wait for this one.
            await state.connection.execute("SELECT FROM position FOR UPDATE")
            commits: list[asyncio.Task[Outcome]] = []
            for lane in lanes:
                batch = lane_batch(lane, start, 1, reports(str(lane.partition)))
                commits.append(asyncio.create_task(state.writer.commit(batch)))
                await asyncio.sleep(0.02)
        await asyncio.gather(*commits)
        assert await state.transactions() == 3

    async def test_a_lane_that_has_moved_does_not_keep_the_others(self, state: _Group) -> None:
        lanes = await self.lanes(state, 3)
        outcomes = await asyncio.gather(
            *(
                state.writer.commit(lane_batch(lane, Position(TOPIC_ID, at), 9, reports(str(lane.partition))))
                for lane, at in zip(lanes, (0, 5, 0), strict=True)
            ),
            return_exceptions=True,
        )
        assert isinstance(outcomes[1], PositionMoved)
        assert [outcomes[0], outcomes[2]] == [Outcome(counted=1, duplicates=0)] * 2
        assert {id_ for _, id_ in await state.bodies()} == {"0", "2"}

    async def test_one_event_in_two_lanes_of_a_group_counts_once(self, state: _Group) -> None:
        lanes = await self.lanes(state, 2)
        outcomes = await asyncio.gather(
            *(state.writer.commit(lane_batch(lane, Position(TOPIC_ID, 0), 1, reports("1"))) for lane in lanes)
        )
        assert sorted(outcome.counted for outcome in outcomes) == [0, 1]
        assert await state.buckets() == truth(reports("1"))

    async def test_a_lane_that_is_cancelled_while_it_waits_is_left_out(self, state: _Group) -> None:
        lanes = await self.lanes(state, 4)
        start = Position(TOPIC_ID, 0)
        async with state.connection.transaction():
            await state.connection.execute("SELECT FROM position FOR UPDATE")
            commits: list[asyncio.Task[Outcome]] = []
            for lane in lanes:
                batch = lane_batch(lane, start, 1, reports(str(lane.partition)))
                commits.append(asyncio.create_task(state.writer.commit(batch)))
                await asyncio.sleep(0.02)
            commits[3].cancel()
            await asyncio.sleep(0)
        outcomes = await asyncio.gather(*commits, return_exceptions=True)
        assert isinstance(outcomes[3], asyncio.CancelledError)
        assert {id_ for _, id_ in await state.bodies()} == {"0", "1", "2"}
