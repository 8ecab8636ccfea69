"""What do corrections change in the state?

The caller has closed the fence: nobody counts meanwhile, so what is read here is all there is. An event that counts
no longer is taken away again by the version of the site pack that counted it. What cannot be told by taking away
(minimum, maximum, latest, different ones) is found anew from the events that remain.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import NamedTuple

import asyncpg
from msgspec import Struct

from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.event import EVENT_TYPES, AreaId
from schemas.kpi import Base
from schemas.location import How
from schemas.window import TIERS, Tier, bucket_end
from streams.core.batch import Arrival, is_correction
from streams.core.correction import Correction, chains, correction_of, settle
from streams.core.fold import Cells, Fold, Folded, Key, no_cells
from streams.store.cells import SQL, Connection, empty_cells
from streams.store.writer import Lane, LaneBatch
from streams.versions import Version

_Chains = Mapping[tuple[str, str], tuple[str, str]]


class Fresh(Struct, frozen=True):
    """An event that was not there yet."""

    batch: LaneBatch
    arrival: Arrival

    @property
    def correction(self) -> Correction:
        """The event, as far as corrections go."""
        return correction_of(self.arrival.event, self.arrival.received_at)


class Settlement(Struct, frozen=True):
    """Which fresh events count, what has to be added besides (also negative cells), and the cells found anew: what
    a fold adds to those is in there already.
    """

    counted: list[Fresh]
    added: list[tuple[int, Folded]]
    anew: dict[Tier, set[Key]]


async def settle_corrections(
    connection: Connection, fresh: Sequence[Fresh], version_of: Callable[[int], Awaitable[Version]]
) -> Settlement:
    """Settles what these events change, and empties the cells that are found anew."""
    by_identity = {one.correction.identity: one for one in fresh}
    rows, doubtful = await _related(connection, fresh)
    known = [
        Correction(
            row["source"], row["id"], row["corrects"], row["is_withdrawal"], row["is_exercise"], row["received_at"]
        )
        for row in rows.values()
    ]
    settled = settle([one.correction for one in fresh], known, doubtful)
    chain_of = chains([*known, *(one.correction for one in fresh)])
    added: list[tuple[int, Folded]] = []
    anew = _Anew({tier: {} for tier in TIERS}, set(), set())
    backfilled = await connection.fetch(SQL["read_backfilled"]) if settled.retracted else []
    for one in settled.retracted:
        row, cause = rows[one.identity], _cause(one, fresh, chain_of)
        arrival = _arrival(row, cause.arrival)
        counted_by = await version_of(row["site_version"])
        filled = _filled(row, backfilled)
        folds = [(counted_by.fold, counted_by, set[str]())]
        for number in sorted(set(filled.values())):
            version = await version_of(number)
            bases = [base for base in version.site.kpis.bases if filled.get(base.id) == number]
            # What closed before the correction keeps what it closed with, whoever filled it.
            folds.append((version.fold.of(bases), version, {base.id for base in bases}))
        for fold, version, own in folds:
            if arrival.area in version.site.areas:
                taken, unknown = fold.retract([arrival])
                # What a back-fill has counted is not taken away a second time by the version before it.
                other = filled.keys() - own
                added.append((cause.batch.lane.partition, _without_bases(taken, other)))
                anew.note(unknown, other, version)
    if settled.retracted:
        cause = _cause(settled.retracted[-1], fresh, chain_of)
        found = await _found_anew(connection, anew, cause, backfilled, version_of)
        added += [(cause.batch.lane.partition, folded) for folded in found]
    counted = [by_identity[one.identity] for one in settled.counted]
    return Settlement(counted, added, {tier: set(keys) for tier, keys in anew.keys.items()})


class _Anew(NamedTuple):
    """Cells to find anew, each with whether its bucket had closed, their bases, and the spans [start, end) of their
    buckets in epoch seconds.
    """

    keys: dict[Tier, dict[Key, bool]]
    bases: set[str]
    spans: set[tuple[int, int]]

    def note(self, unknown: Mapping[Tier, Mapping[Key, bool]], other: Set[str], version: Version) -> None:
        """Notes what a retraction leaves unknown, but for `other` bases."""
        for tier, keys in unknown.items():
            for key, is_closed in keys.items():
                if key[0] in other:
                    continue
                self.keys[tier][key] = self.keys[tier].get(key, False) or is_closed
                self.bases.add(key[0])
                self.spans.add((key[4], bucket_end(key[4], tier, version.site.areas.zone(key[1]))))


async def _related(
    connection: Connection, fresh: Sequence[Fresh]
) -> tuple[dict[tuple[str, str], asyncpg.Record], set[tuple[str, str]]]:
    """Every kept event that the answer may depend on, and those whose standing may change."""
    asked = sorted(one.correction.identity for one in fresh)
    rows = await connection.fetch(SQL["read_related"], [pair[0] for pair in asked], [pair[1] for pair in asked])
    own = set(asked)
    known = {(row["source"], row["id"]): row for row in rows}
    return {at: row for at, row in known.items() if at not in own}, known.keys() - own


def _cause(retracted: Correction, fresh: Sequence[Fresh], chain_of: _Chains) -> Fresh:
    """The first fresh event of its chain, because of which this one counts no longer."""
    chain = chain_of[retracted.identity]
    return next(one for one in fresh if chain_of[one.correction.identity] == chain)


def _arrival(row: asyncpg.Record, cause: Arrival) -> Arrival:
    """A kept event as if it came now: what closed before its correction is corrected late."""
    body, window_time = row["body"], row["window_time"]
    assert isinstance(body, bytes)
    assert isinstance(window_time, datetime)
    return Arrival(
        event=decode(body, SEALED_BYTES_MAX),
        raw=body,
        logged_ms=cause.logged_ms,
        time_s=window_time.timestamp(),
        identity=hash((row["source"], row["id"])),
        offset=cause.offset,
        area=AreaId(str(row["area"])),
        how=How(str(row["located"])),
        watermark_s=cause.watermark_s,
    )


def _filled(row: asyncpg.Record, backfilled: Iterable[asyncpg.Record]) -> dict[str, int]:
    """The bases that a back-fill has counted this event for, each with the version by which it did.

    Where the event was counted by that version or a later one, it was not the back-fill that counted it.
    """
    topic, partition, offset = row["topic"] or "", row["partition"], row["offset"]
    if row["topic"] is None:
        partition, offset = -1, 0
    return {
        one["kpi"]: one["site_version"]
        for one in backfilled
        if (one["topic"], one["partition"]) == (topic, partition)
        and offset < min(one["next_offset"], one["stop_offset"])
        and row["site_version"] < one["site_version"]
    }


def _without_bases(folded: Folded, bases: Set[str]) -> Folded:
    """A fold less all cells of some bases."""
    if not bases:
        return folded
    keys = {tier: {key for part in folded.parts for key in part[tier] if key[0] in bases} for tier in TIERS}
    return without(folded, keys)


async def _found_anew(
    connection: Connection,
    anew: _Anew,
    cause: Fresh,
    backfilled: Sequence[asyncpg.Record],
    version_of: Callable[[int], Awaitable[Version]],
) -> list[Folded]:
    """Empties these cells, and returns what the events that remain put into them, each by the version that counted
    it: what an indicator means, what feeds it and which areas there are may change from one to the next.
    """
    await empty_cells(connection, anew.keys)
    found: list[Folded] = []
    for start_s, end_s in merged_spans(anew.spans):
        rows = await connection.fetch(
            SQL["read_countable"],
            list(EVENT_TYPES),
            datetime.fromtimestamp(start_s, UTC),
            datetime.fromtimestamp(end_s, UTC),
        )
        filled = [_filled(row, backfilled) for row in rows]
        numbers = {row["site_version"] for row in rows} | {one for by_base in filled for one in by_base.values()}
        versions = {number: await version_of(number) for number in numbers}
        for version, bases, some in _by_definition(rows, filled, anew.bases, versions):
            folded = Fold(bases, version.site.areas)([_arrival(row, cause.arrival) for row in some])
            cells, late = no_cells(), no_cells()
            for tier, keys in anew.keys.items():
                for key, is_closed in keys.items():
                    cell = folded.cells[tier].get(key) or folded.reported[tier].get(key)
                    if cell is not None:
                        (late if is_closed else cells)[tier][key] = cell
            found.append(Folded(cells=cells, late=late, reported=no_cells(), touched={}))
    return found


def merged_spans(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Those that overlap as one, so that no event is in two. Those that only touch stay apart, to be read singly."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _by_definition(
    rows: Sequence[asyncpg.Record],
    filled: Sequence[Mapping[str, int]],
    wanted: Set[str],
    versions: Mapping[int, Version],
) -> Iterable[tuple[Version, list[Base], list[asyncpg.Record]]]:
    """Kept events by the version and the bases that they were counted for, of those `wanted`.

    `filled` says of each which bases a back-fill has counted it for, and by which version.
    """
    alike: dict[tuple[int, tuple[str, ...]], list[asyncpg.Record]] = {}
    for row, by_base in zip(rows, filled, strict=True):
        counted_by = int(row["site_version"] or 0)
        for number in {counted_by, *by_base.values()}:
            site = versions[number].site
            # A version that does not know a base has not counted for it; a back-fill may have it still before it.
            counted = tuple(
                base.id
                for base in site.kpis.fed_by(str(row["type"]))
                if base.id in wanted and by_base.get(base.id, counted_by) == number
            )
            if counted and row["area"] in site.areas:
                alike.setdefault((number, counted), []).append(row)
    for (number, base_ids), some in alike.items():
        version = versions[number]
        yield version, [version.site.kpis.base(base_id) for base_id in base_ids], some


def without(folded: Folded, keys: Mapping[Tier, set[Key]]) -> Folded:
    """A fold less the cells that were found anew."""
    if not any(keys.values()):
        return folded

    def kept(part: Mapping[Tier, Cells]) -> dict[Tier, Cells]:
        return {
            tier: {key: cell for key, cell in cells.items() if key not in keys[tier]} for tier, cells in part.items()
        }

    return Folded(
        cells=kept(folded.cells),
        late=kept(folded.late),
        reported=kept(folded.reported),
        touched=folded.touched,
    )


def has_corrections(arrivals: Iterable[Arrival]) -> bool:
    """Whether any of these events replaces or takes back another."""
    return any(is_correction(arrival.event) for arrival in arrivals)


def lanes_of(fresh: Iterable[Fresh]) -> dict[Lane, Sequence[Arrival]]:
    """The arrivals by lane, in their order."""
    found: dict[Lane, list[Arrival]] = {}
    for one in fresh:
        found.setdefault(one.batch.lane, []).append(one.arrival)
    return dict(found)
