"""How does an indicator that was added while the centre runs count what came before?

Live counting of it began at a recorded offset of each lane. What lies before is added here in chunks, each with the
progress in one transaction, up to exactly that offset; so it may end at any moment and be begun again. It has rows
(shards) of its own, so that live counting never waits for it.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec
from msgspec import Struct

from schemas.errors import OperatorError
from schemas.kpi import Base
from schemas.site_file import suggestion
from schemas.topics import INPUTS, Dedupe
from schemas.window import day_start
from streams.core.batch import Arrival, parts
from streams.core.fold import NEVER, Fold, Folded, touched_json
from streams.lane import DAYS_MAX
from streams.repair.extent import Extent, extent_of
from streams.repair.history import (
    SQL,
    Connection,
    CutShort,
    LogReader,
    Past,
    Places,
    Standpoint,
    Trail,
    check_topics,
    connected,
    dependencies,
    kept_arrival,
    log_reader,
    moment,
    past,
    topics_of,
)
from streams.repair.standing import Standing, Stands, stands
from streams.store.cells import SQL as STORE
from streams.store.cells import write_cells
from streams.store.timescale import FENCE
from streams.store.writer import Lane
from streams.versions import Version

OFFSETS_MAX = 4_096
"""Offsets of kept events that one transaction counts."""

SHARD_OFFSET = 1_000
"""What a back-fill counts of a partition is kept under the partition's number and this."""

UNPLACED = Lane("", -1)
"""Stands for the events of which it is not known where they stood on the log. They are counted at once."""

Advance = Callable[[int, int], None]
"""Told how many offsets are done, and of how many."""


class Backfilled(Struct, frozen=True, kw_only=True):
    """What a back-fill did. `offsets` is how much of the log it has passed.

    `complete_from` is the moment from which on the indicator is complete, where not all was to be had; None: from
    the beginning.
    """

    offsets: int
    complete_from: datetime | None = None


class _Filling(NamedTuple):
    """Bases that are filled back together on one lane."""

    lane: Lane
    next_offset: int
    stop_offset: int
    version: int
    since: datetime | None
    bases: list[str]


async def backfill(places: Places, kpi_id: str, since: datetime | None, advance: Advance, now_s: float) -> Backfilled:
    """Fills an indicator back, from its beginning or, where only the log has it, from a moment on.

    Raises OperatorError, DependencyUnavailable.
    """
    with dependencies():
        async with connected(places) as connection, log_reader(places.kafka) as log:
            known = await past(connection, places)
            bases = bases_of(known.newest, [kpi_id])
            planning = _Planning(connection, log, places, known, bases)
            complete_from = await planning.plan(since)
            offsets = await _Backfill(connection, log, places, known, now_s).run(bases, advance)
            return Backfilled(offsets=offsets, complete_from=complete_from)


def bases_of(version: Version, kpi_ids: Sequence[str]) -> list[Base]:
    """What these indicators are read from. Raises OperatorError for one that is not there."""
    kpis = version.site.kpis
    for kpi_id in kpi_ids:
        if kpi_id not in kpis:
            fix = suggestion(kpi_id, [kpi.id for kpi in kpis.kpis])
            raise OperatorError(
                f"No indicator {kpi_id!r} is counted.",
                f"{fix} A new one counts once `ioc migrate` or a worker knows it.",
            )
    return list({base.id: base for kpi_id in kpi_ids for base in kpis.bases_of(kpi_id)}.values())


async def standings(known: Past, places: Places, bases: Sequence[Base]) -> dict[tuple[str, Lane], Stands]:
    """Where each base stands on each lane that brings its events."""
    filled = await known.filled([base.id for base in bases])
    found: dict[tuple[str, Lane], Stands] = {}
    for base in bases:
        topics = [places.topic_prefix + topic.name for topic in topics_of([base.event])]
        for lane, spans in (await known.spans(topics)).items():
            meanings = {span.version: await known.meanings(span.version) for span in spans}
            found[base.id, lane] = stands(base, spans, meanings, filled.get((base.id, lane)))
    return found


class _Planning:
    """Finds out what is missing, and writes down what is to be done."""

    def __init__(
        self, connection: Connection, log: LogReader, places: Places, known: Past, bases: Sequence[Base]
    ) -> None:
        self._connection = connection
        self._log = log
        self._places = places
        self._known = known
        self._bases = bases

    async def plan(self, since: datetime | None) -> datetime | None:
        """Returns from which moment on the indicator will be complete; None: from the beginning."""
        topics = topics_of(base.event for base in self._bases)
        names = [self._places.topic_prefix + topic.name for topic in topics]
        await check_topics(self._connection, self._places, topics)
        async with self._connection.transaction():
            await self._connection.execute(STORE["fence_out"], FENCE)
            await self._connection.execute(SQL["switch_lanes"], self._places.group, names, self._known.newest.number)
            found = await standings(self._known, self._places, self._bases)
        changed = sorted({base_id for (base_id, _), at in found.items() if at.standing is Standing.CHANGED})
        if changed:
            raise OperatorError(
                f"{', '.join(changed)} was counted by another definition before.",
                "`--again` counts all of it by the present one.",
            )
        missing = {key: at for key, at in found.items() if at.standing is Standing.MISSING}
        forever = {base.id for base in self._bases if topics_of([base.event])[0].dedupe is Dedupe.FOREVER}
        if since is not None and forever:
            raise OperatorError(
                "Events that are kept for ever are filled back from the beginning.", "Leave --from out."
            )
        floor, begins = await self._floor({key for key in missing if key[0] not in forever})
        if since is not None and floor is not None and since < floor:
            raise OperatorError(
                f"The log holds nothing before {floor.isoformat(timespec='seconds')}.",
                "Leave --from out, or name a later moment.",
            )
        unplaced = await self._connection.fetchval(SQL["has_unplaced"], [base.event for base in self._bases])
        async with self._connection.transaction():
            for (base_id, lane), at in missing.items():
                start, stop = at.start, at.stop
                if base_id not in forever:
                    start = min(stop, max(start, begins[lane]))
                    if since is not None:
                        first_ms = int((self._first_s(since) - self._known.newest.site.header.future_max_s) * 1000)
                        start = min(stop, max(start, await self._log.offset_at(lane, first_ms, stop)))
                await self._begin(base_id, lane, start, stop, since)
            # An indicator that was only away for a while has counted those of which no place is known.
            introduced = {base_id for base_id, _ in missing} - {
                base_id for (base_id, _), at in missing.items() if at.start
            }
            for base_id in forever & introduced if unplaced else ():
                await self._begin(base_id, UNPLACED, 0, 1, None)
        return max((at for at in (floor, since) if at is not None), default=None) if missing else None

    def _first_s(self, since: datetime) -> float:
        """The earliest start of a local day that holds this moment."""
        areas = self._known.newest.site.areas
        return min(day_start(int(since.timestamp()), areas.zone(area.id)) for area in areas)

    async def _begin(self, base_id: str, lane: Lane, start: int, stop: int, since: datetime | None) -> None:
        await self._connection.execute(
            SQL["plan_filling"], base_id, *lane, start, stop, self._known.newest.number, since
        )

    async def _floor(self, missing: set[tuple[str, Lane]]) -> tuple[datetime | None, dict[Lane, int]]:
        """The earliest moment of which the log still has everything; None where it was never cut."""
        lanes = sorted({lane for _, lane in missing})
        if not lanes:
            return None, {}
        begins = await self._log.begins(lanes)
        at = await self._known.standpoints(sorted({lane.topic for lane in lanes}))
        return await floor_of(self._log, {lane: at[lane] for lane in lanes}, begins), begins


async def floor_of(log: LogReader, stand: Mapping[Lane, Standpoint], begins: Mapping[Lane, int]) -> datetime | None:
    """The earliest moment of which the log still has everything of these lanes; None where it was never cut."""
    floors: list[datetime] = []
    for lane, at in stand.items():
        if 0 < begins[lane] < at.next_offset:
            floors.append(moment(await log.logged_ms(lane, begins[lane]) / 1000))
        elif begins[lane] > 0:
            floors.append(at.updated_at)
    return max(floors, default=None)


class _Count:
    """What some bases count of events, and in which buckets."""

    def __init__(self, version: Version, bases: Sequence[str], extent: Extent, grace_s: int) -> None:
        self.version = version
        self.types = sorted({version.site.kpis.base(base).event for base in bases})
        closing = msgspec.structs.replace(NEVER, grace_s=grace_s)
        self._fold = Fold([version.site.kpis.base(base) for base in bases], version.site.areas, closing)
        self._extent = extent

    def __call__(self, arrivals: Sequence[Arrival], watermark_s: float) -> Folded:
        """What closed a grace before the watermark is corrected: it keeps what it closed with."""
        known = [one for one in arrivals if one.area in self.version.site.areas]
        return self._extent(self._fold([msgspec.structs.replace(one, watermark_s=watermark_s) for one in known]))


class _Backfill:
    """Does what is written down."""

    def __init__(self, connection: Connection, log: LogReader, places: Places, known: Past, now_s: float) -> None:
        self._connection = connection
        self._log = log
        self._places = places
        self._known = known
        self._now_s = now_s

    async def run(self, bases: Sequence[Base], advance: Advance) -> int:
        """Fills all lanes, one after the other. Returns how many offsets were passed."""
        fillings = await self._fillings([base.id for base in bases])
        total = sum(one.stop_offset - one.next_offset for one in fillings)
        done = 0
        for filling in fillings:
            advance(done, total)
            version = await self._known.version(filling.version)
            since_s = None if filling.since is None else filling.since.timestamp()
            site = version.site
            extent = extent_of(site.areas, since_s, site.header.retention, self._now_s)
            count = _Count(version, filling.bases, extent, self._known.newest.site.header.closing.grace_s)
            is_kept = _is_kept(filling.lane, self._places.topic_prefix)
            fill = self._fill_kept(filling, count) if is_kept else self._fill_from_log(filling, count)
            async for reached in fill:
                advance(done + reached - filling.next_offset, total)
            done += filling.stop_offset - filling.next_offset
        advance(done, total)
        return done

    async def _fillings(self, base_ids: Sequence[str]) -> list[_Filling]:
        """What is not done yet; bases that have come equally far go together."""
        together: dict[tuple[Lane, int, int, int, datetime | None], list[str]] = {}
        for row in await self._connection.fetch(SQL["read_filled"], base_ids):
            if row["next_offset"] < row["stop_offset"]:
                lane = Lane(row["topic"], row["partition"])
                key = (lane, row["next_offset"], row["stop_offset"], row["site_version"], row["since"])
                together.setdefault(key, []).append(row["kpi"])
        return [_Filling(*key, bases=bases) for key, bases in together.items()]

    async def _fill_kept(self, filling: _Filling, count: _Count) -> AsyncGenerator[int]:
        """Counts kept events. Yields the offset that is reached."""
        at, now_ms = filling.next_offset, int(self._now_s * 1000)
        while at < filling.stop_offset:
            reached = min(at + OFFSETS_MAX, filling.stop_offset)
            async with self._connection.transaction():
                await self._connection.execute(SQL["share_fence"], FENCE)
                if filling.lane == UNPLACED:
                    rows = await self._connection.fetch(SQL["read_unplaced"], count.types)
                    some = [kept_arrival(row, now_ms) for row in rows]
                else:
                    rows = await self._connection.fetch(SQL["read_kept"], count.types, *filling.lane, at, reached)
                    some, following = next(parts([kept_arrival(row, now_ms) for row in rows], DAYS_MAX))
                    reached = reached if following is None else following.offset
                await self._add(filling, at, reached, count, some)
            at = reached
            yield at

    async def _fill_from_log(self, filling: _Filling, count: _Count) -> AsyncGenerator[int]:
        """Counts what the log still has. Yields the offset that is reached."""
        lane, at = filling.lane, filling.next_offset
        begin = (await self._log.begins([lane]))[lane]
        if begin > at:
            # Retention took some of it since the back-fill was begun.
            passed = min(begin, filling.stop_offset)
            await self._connection.execute(SQL["advance_filling"], filling.bases, *lane, at, passed)
            at = passed
        spans = (await self._known.spans([lane.topic]))[lane]
        trail = Trail(lane, at, self._log, (count.version, spans), self._known.version)
        try:
            await trail.remember(begin)
            async for fresh in trail.read_to(filling.stop_offset):
                for some, following in parts(fresh, DAYS_MAX):
                    reached = trail.next_offset if following is None else following.offset
                    async with self._connection.transaction():
                        await self._connection.execute(SQL["share_fence"], FENCE)
                        await self._add(filling, at, reached, count, some)
                    at = reached
                    yield at
        except CutShort as error:
            raise OperatorError(
                f"The log's retention took what was being read of {lane.topic}/{lane.partition}.",
                "Run the command again: it goes on with what is left.",
            ) from error

    async def _add(
        self, filling: _Filling, at: int, reached: int, count: _Count, arrivals: Sequence[Arrival]
    ) -> None:
        """Counts arrivals and moves on, in the caller's transaction."""
        moved = await self._connection.execute(SQL["advance_filling"], filling.bases, *filling.lane, at, reached)
        assert moved == f"UPDATE {len(filling.bases)}", f"{moved}: only one may put things right at a time"
        folded = count(arrivals, await self._watermark_s(filling.lane, count.types))
        await write_cells(self._connection, [(filling.lane.partition + SHARD_OFFSET, folded)])
        if folded.touched:
            await self._connection.execute(SQL["note_change"], touched_json([folded], 0, ()))

    async def _watermark_s(self, lane: Lane, types: Sequence[str]) -> float:
        """How far a lane has come now; of unplaced events the lane that has come least far."""
        stand = await self._known.standpoints([self._places.topic_prefix + topic.name for topic in topics_of(types)])
        return min(at.watermark_s for one, at in stand.items() if lane in (one, UNPLACED))


def _is_kept(lane: Lane, prefix: str) -> bool:
    """Whether the lane's events are kept in a table."""
    return lane == UNPLACED or any(
        topic.dedupe is Dedupe.FOREVER for topic in INPUTS if prefix + topic.name == lane.topic
    )
