"""How is what was counted counted again, while events keep coming?

Beside the live tables, from the log and the kept events, following the lanes until nearly nothing is left. Then the
fence is closed for a moment: nobody counts, the rest is added, and one transaction puts the new buckets in the place
of the old ones. Until it commits nothing has changed.

What a bucket held when it closed is kept as it was reported.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib.resources import files

import asyncpg
from msgspec import Struct

from schemas.area import AreaTree
from schemas.distinct import estimate
from schemas.errors import OperatorError
from schemas.event import EVENT_TYPES, AreaId, IndicatorObserved
from schemas.kpi import Base, Measure
from schemas.sketch import encode_bins, merge_bins
from schemas.statements import for_tier, parse_statements
from schemas.topics import Dedupe
from schemas.window import TIERS, Tier, bucket_end, bucket_start
from streams.core.batch import Arrival
from streams.core.fold import Fold, Folded, Key
from streams.repair.backfill import OFFSETS_MAX, SHARD_OFFSET, UNPLACED, Advance, bases_of, floor_of, standings
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
from streams.repair.standing import Standing
from streams.store.cells import SQL as STORE
from streams.store.cells import KnownItems, empty_cells, write_cells
from streams.store.settling import merged_spans
from streams.store.timescale import FENCE
from streams.store.writer import Lane

NEAR = 2_000
"""Records and events that may be left when the fence is closed. They are counted in well under a second."""

ROUNDS_MAX = 20
"""Times that what has come meanwhile is counted before the fence is closed all the same."""

MOVED_SHOWN_MAX = 5
"""Areas that a refusal names."""

TEMPORARY_BUFFERS = "64MB"

REBUILD = parse_statements((files("streams.repair") / "rebuild.sql").read_text())

RELOAD = b'{"reload":true}'
"""The change row that lets every board take a fresh snapshot."""


class Wanted(Struct, frozen=True, kw_only=True):
    """What is to be counted again: these indicators (none named: all) in the local days from a moment on.

    Without a moment all that is stored of them is dropped and counted anew, by their present definition.
    """

    kpi_ids: Sequence[str] = ()
    from_s: float | None = None


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What a rebuild did. `fence_s` is how long nobody counted; `left_out` events lie in areas that are not known.

    `floor` is the earliest moment of which the log still has everything, where it is needed and was ever cut.
    """

    events: int
    left_out: int
    fence_s: float
    floor: datetime | None


async def rebuild(places: Places, wanted: Wanted, advance: Advance, now_s: float) -> Rebuilt:
    """Counts again, and swaps. Raises OperatorError, DependencyUnavailable."""
    assert wanted.kpi_ids or wanted.from_s is not None, "all of everything is never dropped"
    with dependencies():
        async with connected(places) as connection, log_reader(places.kafka) as log:
            known = await past(connection, places)
            kpis = known.newest.site.kpis
            bases = bases_of(known.newest, wanted.kpi_ids or [kpi.id for kpi in kpis.kpis])
            if wanted.from_s is None:
                bases = _own(bases, wanted.kpi_ids)
            one = _Rebuild(connection, log, places, known, (wanted, bases), now_s)
            try:
                await one.prepare()
                await one.follow(advance)
                return await one.swap()
            except CutShort as error:
                raise OperatorError(
                    "The log's retention took what was being read; nothing was changed.", "Name a later --from."
                ) from error


def _own(bases: Sequence[Base], kpi_ids: Sequence[str]) -> list[Base]:
    """The bases that belong to these indicators alone. Raises OperatorError when they have none."""
    own = [base for base in bases if base.id in kpi_ids or base.id.rpartition("/")[0] in kpi_ids]
    if not own:
        raise OperatorError(
            f"{', '.join(kpi_ids)} is computed from {', '.join(base.id for base in bases)}.", "Name one of these."
        )
    return own


class _Rebuild:
    """One rebuild on a connection of its own."""

    def __init__(
        self,
        connection: Connection,
        log: LogReader,
        places: Places,
        known: Past,
        what: tuple[Wanted, Sequence[Base]],
        now_s: float,
    ) -> None:
        self._connection = connection
        self._log = log
        self._places = places
        self._known = known
        self._version = known.newest
        self._wanted, self._bases = what
        self._topics = topics_of(base.event for base in self._bases)
        self._names = [places.topic_prefix + topic.name for topic in self._topics]
        kept = {cls for topic in self._topics if topic.dedupe is Dedupe.FOREVER for cls in topic.types}
        self._kept_types = sorted({base.event for base in self._bases if EVENT_TYPES[base.event] in kept})
        site = self._version.site
        self._areas = site.areas
        self._fold = Fold(self._bases, site.areas)
        self._extent: Extent = extent_of(site.areas, self._wanted.from_s, site.header.retention, now_s)
        self._now_ms = int(now_s * 1000)
        self._known_items = KnownItems()
        self._trails: list[Trail] = []
        self._events = self._left_out = 0
        self._floor: datetime | None = None

    async def prepare(self) -> None:
        """Makes sure that it can be done, and makes the tables beside."""
        await check_topics(self._connection, self._places, self._topics)
        async with self._connection.transaction():
            await self._connection.execute(STORE["fence_out"], FENCE)
            await self._connection.execute(SQL["switch_lanes"], self._places.group, self._names, self._version.number)
        if self._wanted.from_s is not None:
            await self._check_standings()
        await self._open_trails()
        await self._connection.execute(f"SET temp_buffers = '{TEMPORARY_BUFFERS}'")
        await self._connection.execute(REBUILD["prepare"])
        for tier in TIERS:
            await self._connection.execute(for_tier(REBUILD["prepare_tier"], tier))
        await self._connection.execute(
            REBUILD["add_kpis"],
            [base.id for base in self._bases],
            [EVENT_TYPES[base.event] is IndicatorObserved for base in self._bases],
        )
        areas = [area.id for area in self._areas]
        await self._connection.execute(
            REBUILD["add_areas"],
            areas,
            [self._areas.zone(area).key for area in areas],
            *([self._extent.starts[tier][area] for area in areas] for tier in TIERS),
        )

    async def _check_standings(self) -> None:
        """A rebuild replaces what is complete; it does not fill gaps, and mixes no meanings."""
        found = await standings(self._known, self._places, self._bases)

        def those(*standing: Standing) -> str:
            return ", ".join(sorted({base_id for (base_id, _), at in found.items() if at.standing in standing}))

        if gaps := those(Standing.MISSING, Standing.UNFINISHED):
            raise OperatorError(
                f"What came before {gaps} was introduced is not counted.", "Run `ioc backfill` for it first."
            )
        if self._wanted.kpi_ids and (changed := those(Standing.CHANGED)):
            raise OperatorError(
                f"{changed} was counted by another definition before.",
                "`ioc backfill --again` counts all of it by the present one; or leave --kpi out.",
            )
        if self._wanted.kpi_ids and (moved := await self._moved()):
            raise OperatorError(
                f"Since events in {', '.join(moved[:MOVED_SHOWN_MAX])} were counted the map has changed there.",
                "Leave --kpi out, so that all follow it; or `ioc backfill --again` counts all of this one by it.",
            )

    async def _moved(self) -> list[AreaId]:
        """The areas that had another place on the map, or none, when their events of these days were counted.

        An event is taken away again by the version that has counted it for all indicators: were one of them alone
        counted by the present map, it would be taken away where it is not.
        """
        rows = await self._connection.fetch(
            REBUILD["read_counted_by"], self._version.number, self._kept_types, moment(self._extent.start_s)
        )
        moved: set[AreaId] = set()
        for row in rows:
            before = (await self._known.version(row["site_version"])).site.areas
            if _place(before, row["area"]) != _place(self._areas, row["area"]):
                moved.add(row["area"])
        return sorted(moved)

    async def _open_trails(self) -> None:
        """Finds where to begin on the log. Raises OperatorError where it does not reach back so far."""
        names = {self._places.topic_prefix + t.name for t in self._topics if t.dedupe is Dedupe.HORIZON}
        stand = await self._known.standpoints(sorted(names))
        lanes = sorted(stand)
        if not lanes:
            return
        begins, from_s = await self._log.begins(lanes), self._wanted.from_s
        floor = self._floor = await floor_of(self._log, stand, begins)
        if from_s is not None and floor is not None and self._extent.start_s < floor.timestamp():
            raise OperatorError(
                f"The days from {moment(from_s).isoformat(timespec='minutes')} on begin at "
                f"{moment(self._extent.start_s).isoformat(timespec='minutes')}, but of detections and metrics the "
                f"log holds nothing before {floor.isoformat(timespec='seconds')}.",
                "Name a later day, or with --kpi only indicators of reports, dossiers and incidents.",
            )
        spans = await self._known.spans(sorted(names))
        first_ms = int((self._extent.start_s - self._version.site.header.future_max_s) * 1000)
        for lane in lanes:
            start, at = begins[lane], stand[lane].next_offset
            if from_s is not None:
                start = max(start, await self._log.offset_at(lane, first_ms, at))
            trail = Trail(lane, min(start, at), self._log, (self._version, spans[lane]), self._known.version)
            await trail.remember(begins[lane])
            self._trails.append(trail)

    async def follow(self, advance: Advance) -> None:
        """Counts what there is, and what has come meanwhile, until little is left."""
        done = 0
        for round_ in range(ROUNDS_MAX):
            stand = await self._known.standpoints(self._names)
            behind = sum(stand[trail.lane].next_offset - trail.next_offset for trail in self._trails)
            if round_ and behind <= NEAR:
                break
            total = done + behind
            for trail in self._trails:
                begun = trail.next_offset
                async for arrivals in trail.read_to(stand[trail.lane].next_offset):
                    await self._add(trail.lane.partition, arrivals, self._known_items)
                    advance(done + trail.next_offset - begun, total)
                done += trail.next_offset - begun
            fresh = await self._count_kept()
            if fresh <= NEAR and behind <= NEAR:
                break
        advance(done, done)
        for tier in TIERS:
            await self._connection.execute(for_tier(REBUILD["analyze"], tier))
        await self._judge_sketches()

    async def swap(self) -> Rebuilt:
        """Counts the rest while nobody else counts, and puts the new buckets in the place of the old ones."""
        async with self._connection.transaction():
            await self._connection.execute(STORE["fence_out"], FENCE)
            begun_s = time.monotonic()
            stand = await self._known.standpoints(self._names)
            if any(at.site_version > self._version.number for at in stand.values()):
                raise OperatorError(
                    "The site pack has changed since the rebuild began; nothing was changed.", "Run it again."
                )
            for trail in self._trails:
                async for arrivals in trail.read_to(stand[trail.lane].next_offset):
                    await self._add(trail.lane.partition, arrivals, self._known_items)
            await self._count_kept()
            if self._wanted.from_s is None:
                await self._drop_old(stand)
            else:
                await self._judge_sketches()
                await self._note_closed(stand)
            for tier in TIERS:
                await self._exchange(tier)
            if not self._wanted.kpi_ids:
                await self._connection.execute(
                    REBUILD["adopt_events"], self._version.number, self._kept_types, self._areas.root.id
                )
            await self._connection.execute(
                REBUILD["merge_again"], [base.id for base in self._bases], moment(self._extent.start_s)
            )
            await self._connection.execute(SQL["note_recount"])
            await self._connection.execute(SQL["note_change"], RELOAD)
        fence_s = time.monotonic() - begun_s
        return Rebuilt(events=self._events, left_out=self._left_out, fence_s=fence_s, floor=self._floor)

    async def _exchange(self, tier: Tier) -> None:
        """Puts what was counted anew in the place of what is something else. The rest stays untouched."""
        earliest = moment(self._extent.start_s)
        await self._connection.execute(for_tier(REBUILD["find_changed"], tier), earliest)
        changed = await self._connection.fetchrow(for_tier(REBUILD["read_changed"], tier))
        assert changed is not None
        if changed["first"] is None:
            return
        await self._connection.execute(for_tier(REBUILD["analyze"], tier))
        await self._connection.execute(for_tier(REBUILD["take_old"], tier), changed["first"], changed["last"])
        await self._connection.execute(for_tier(REBUILD["put_new"], tier))

    async def _drop_old(self, stand: Mapping[Lane, Standpoint]) -> None:
        """Drops all that is stored, and notes that what came so far is counted by this version."""
        for tier in TIERS:
            await self._connection.execute(for_tier(REBUILD["drop_old"], tier))
        await self._connection.execute(SQL["forget_filling"], [base.id for base in self._bases])
        for base in self._bases:
            names = {self._places.topic_prefix + topic.name for topic in topics_of([base.event])}
            filled = [(lane, at.next_offset) for lane, at in stand.items() if lane.topic in names]
            for lane, offset in [*filled, (UNPLACED, 1)] if base.event in self._kept_types else filled:
                await self._connection.execute(
                    SQL["plan_filling"], base.id, *lane, offset, offset, self._version.number, None
                )

    async def _note_closed(self, stand: Mapping[Lane, Standpoint]) -> None:
        """Before which moments buckets had closed, as far as each lane's events go."""
        grace_s = self._version.site.header.closing.grace_s
        zones = {self._areas.zone(area.id).key: self._areas.zone(area.id) for area in self._areas}
        rows: list[tuple[object, ...]] = []
        for base in self._bases:
            names = {self._places.topic_prefix + topic.name for topic in topics_of([base.event])}
            for lane, at in stand.items():
                if lane.topic not in names:
                    continue
                reached_s = max(0, int(at.watermark_s) - grace_s)
                for name, zone in zones.items():
                    closed = [float(bucket_start(reached_s, tier, zone)) for tier in TIERS]
                    rows += [
                        (base.id, shard, name, *closed) for shard in (lane.partition, lane.partition + SHARD_OFFSET)
                    ]
        if rows:
            await self._connection.execute(REBUILD["add_shards"], *zip(*rows, strict=True))

    async def _add(self, shard: int, arrivals: Iterable[Arrival], known_items: KnownItems | None = None) -> None:
        """Adds what arrivals of one partition count to the tables beside."""
        inside = [arrival for arrival in arrivals if arrival.time_s >= self._extent.start_s]
        if not inside:
            return
        self._events += len(inside)
        learned = await write_cells(self._connection, [(shard, self._extent(self._fold(inside)))], known_items)
        if known_items is not None:
            known_items.learn(learned)

    async def _count_kept(self) -> int:
        """Brings what kept events count up to this moment. Returns how many were new."""
        if not self._kept_types:
            return 0
        await self._take_away(await self._connection.fetch(REBUILD["take_gone"]))
        tag = await self._connection.execute(REBUILD["find_fresh"], self._kept_types, moment(self._extent.start_s))
        fresh = int(tag.rsplit(" ", 1)[-1])
        for first in range(1, fresh + 1, OFFSETS_MAX):
            rows = await self._connection.fetch(REBUILD["read_fresh"], first, first + OFFSETS_MAX)
            for shard, arrivals in self._by_shard(rows).items():
                await self._add(shard, arrivals)
            self._left_out += sum(row["area"] not in self._areas for row in rows)
        await self._connection.execute(REBUILD["keep_fresh"])
        return fresh

    def _by_shard(self, rows: Iterable[asyncpg.Record]) -> dict[int, list[Arrival]]:
        found: dict[int, list[Arrival]] = {}
        for row in rows:
            if row["area"] in self._areas:
                found.setdefault(row["partition"] or 0, []).append(kept_arrival(row, self._now_ms))
        return found

    async def _take_away(self, gone: Sequence[asyncpg.Record]) -> None:
        """Takes events away again that were corrected meanwhile."""
        anew: dict[Tier, set[Key]] = {tier: set() for tier in TIERS}
        shard = 0
        for shard, arrivals in self._by_shard(gone).items():
            taken, unknown = self._fold.retract(arrivals)
            await write_cells(self._connection, [(shard, self._extent(taken))])
            for tier in TIERS:
                anew[tier] |= self._extent.keys(tier, unknown[tier])
            self._events -= len(arrivals)
        if not any(anew.values()):
            return
        await empty_cells(self._connection, {tier: dict.fromkeys(keys, False) for tier, keys in anew.items()})
        for base in self._bases:
            spans = [
                (key[4], bucket_end(key[4], tier, self._areas.zone(key[1])))
                for tier, keys in anew.items()
                for key in keys
                if key[0] == base.id
            ]
            for first, last in merged_spans(spans):
                rows = await self._connection.fetch(REBUILD["read_counted"], base.event, moment(first), moment(last))
                arrivals = [arrival for some in self._by_shard(rows).values() for arrival in some]
                folded = _only(Fold([base], self._areas)(arrivals), anew)
                await write_cells(self._connection, [(shard, folded)])

    async def _judge_sketches(self) -> None:
        """Finds out which sketches have seen equally many, though their bytes differ."""
        measures = {base.id: base.measure for base in self._bases}
        if not {Measure.DISTINCT, Measure.PERCENTILE} & set(measures.values()):
            return
        for tier in TIERS:
            judged = [
                (
                    *(row["kpi"], row["area"], row["bucket"], row["dim"], row["old_digest"], row["new_digest"]),
                    _are_alike(measures[row["kpi"]], row["old_sketches"], row["new_sketches"]),
                )
                for row in await self._connection.fetch(
                    for_tier(REBUILD["read_unlike"], tier), moment(self._extent.start_s)
                )
            ]
            await self._connection.executemany(for_tier(REBUILD["judge"], tier), judged)


def _place(areas: AreaTree, area: AreaId) -> list[tuple[AreaId, str]]:
    """Where an event in this area counts: the area and those above it, each with its clock."""
    return [(one, areas.zone(one).key) for one in areas.path(area)] if area in areas else []


def _are_alike(measure: Measure, some: Sequence[bytes], others: Sequence[bytes]) -> bool:
    """Whether sketches of a bucket's rows say the same, however they are divided among the rows."""
    if measure is Measure.PERCENTILE:
        return encode_bins(merge_bins(some)) == encode_bins(merge_bins(others))
    return estimate(some) == estimate(others)


def _only(folded: Folded, keys: Mapping[Tier, set[Key]]) -> Folded:
    """Of a fold the cells of these keys."""
    kept = [
        {tier: {key: cell for key, cell in part[tier].items() if key in keys[tier]} for tier in TIERS}
        for part in folded.parts
    ]
    return Folded(cells=kept[0], late=kept[1], reported=kept[2], touched={})
