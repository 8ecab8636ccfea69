"""What was a KPI, in these areas, over these spans?

This is the one way to read. What is stored are partials of bases, by area version and bucket; here they are found,
however the spans lie and whatever became of the areas, and put together to what people read: now, and as it was first
reported. `read_figures` asks the database; everything else is pure.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache, partial
from hashlib import blake2b
from itertools import groupby, pairwise
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from dashboard_api.closing import ClosedUntil
from dashboard_api.database import Reader
from dashboard_api.reported import Reported
from dashboard_api.spans import BEGINNING_S, Piece, Span, back, pieces
from dashboard_api.statements import load_statements
from schemas.area import AreaTree
from schemas.distinct import estimate, merge
from schemas.event import AreaId
from schemas.kpi import (
    ADDITIVE,
    DERIVED,
    DIM_SEPARATOR,
    LATEST_BIN,
    Across,
    Base,
    Catalogue,
    Measure,
    Partial,
    Value,
    balance_value,
    bounds,
    kpi_value,
    ratio_value,
    silent_value,
)
from schemas.lineage import Cover
from schemas.site import Site
from schemas.sketch import merge_bins
from schemas.statements import for_tier
from schemas.window import Tier, day_start

MAP_MIN = 200
"""Bases times areas of one map from which on it is worth asking first whether anything was said on it."""

ROOT_SLACK_S = 26 * 3600
"""A root may keep the clock of another zone, and so count under a day that begins earlier or later."""

NEEDED_MAX = 8
"""Collections of areas of which it is remembered what has to be read for them; the one asked for longest ago goes."""

HISTOGRAMS_MAX = 4_096
"""Sums of histograms that are remembered, of some kilobytes each; the one asked for longest ago goes."""

STRETCHES_MAX = 8
"""Queries for spans that lie far apart; beyond it, what lies between them is read over."""

_SQL = load_statements("values")

_HELD = f"WITH held AS ({_SQL['held']})"
_OWN = f"WITH asked AS ({_SQL['held']}), held AS ({_SQL['own']})"
_BELOW = f"WITH asked AS ({_SQL['held']}), held AS ({_SQL['below']})"
_EACH_PAIR = _SQL["each_pair"]
_PLACES = f"places AS ({_SQL['read_places']})"
_READING = {
    **{name: f"{_HELD} {_SQL[name]}" for name in ("read_sums", "read_sketches", "read_latest")},
    "read_across": f"{_HELD}, {_PLACES} {_SQL['read_across']}",
    "read_own": f"{_OWN} {_SQL['read_latest']}",
    "read_across_below": f"{_EACH_PAIR} ({_BELOW}, {_PLACES} {_SQL['read_across']}) AS found",
}


async def read_values(
    reader: Reader,
    site: Site,
    kpis: Collection[str],
    areas: Collection[AreaId],
    spans: Sequence[Span],
    *,
    by: str | None = None,
    where: Mapping[str, str] = {},
    closed: ClosedUntil,
) -> dict[tuple[str, AreaId, str | None, int], Reported]:
    """The values by KPI, area, dimension value and index of the span; the spans may overlap, in any order.

    Without `by` the dimension value is None, and every KPI, area and span has an entry. With `by`, the name of a
    dimension, a KPI that has it has entries for each value of it that occurs in the area; one that has not is read
    whole, under None. `where` gives the values that dimensions must have. A denominator is taken whole in what it
    cannot be split by, so that the shares of a whole come out.
    """
    figures = await read_figures(reader, site, kpis, areas, spans, by=by, where=where, closed=closed)
    return {
        (kpi, area, group, at): figures.reported(kpi, area, group, at)
        for kpi in kpis
        for area in areas
        for group in figures.groups(kpi, area)
        for at in range(len(spans))
    }


class Held(NamedTuple):
    """What is stored of one base, area and dimension value in some interval: now, and as it closed."""

    now: Sequence[Partial]
    first: Sequence[Partial]
    corrected_at: datetime | None


NOTHING = Held((), (), None)

Cells = dict[tuple[str, AreaId], dict[str, dict[int, Held]]]
"""By base and area: by dimension value (ALL_DIM where it is not split): by number of the interval or span."""

Version = Literal["now", "first"]


class Reach(StrEnum):
    """Over which time a part of a KPI is read for a span."""

    WITHIN = "within"  # the span itself
    RUNNING = "running"  # from the beginning to the span's end
    SEEN = "seen"  # so many days back from the span's end


class Part(NamedTuple):
    """A base, and over which time it is read. `days` is how far `seen` looks back."""

    base: str
    reach: Reach
    days: int = 0


def parts_of(catalogue: Catalogue, kpi_id: str) -> Iterator[Part]:
    """All that has to be read for a KPI, or for a part that it names."""
    measure = catalogue[kpi_id].measure if kpi_id in catalogue else None
    if measure is Measure.BALANCE:
        for base in catalogue.bases_of(kpi_id):
            yield Part(base.id, Reach.RUNNING)
    elif measure is Measure.SILENT:
        for base in catalogue.bases_of(kpi_id):
            yield Part(base.id, Reach.WITHIN)
            yield Part(base.id, Reach.SEEN, catalogue[kpi_id].lookback_days)
    elif measure is Measure.RATIO:
        for part in catalogue.parts_of(kpi_id):
            yield from parts_of(catalogue, part)
    else:
        yield Part(kpi_id, Reach.WITHIN)


class Figures:
    """What was read for some KPIs, areas and spans, to be put together value by value."""

    def __init__(
        self,
        site: Site,
        kpis: Iterable[str],
        spans: Sequence[Span],
        by: str | None,
        cells: Mapping[Part, Cells],
        closed: ClosedUntil,
    ) -> None:
        self._catalogue = site.kpis
        self._areas = site.areas
        self._spans = spans
        self._by = by
        self._cells = cells
        self._said = {id_ for found in cells.values() for _, id_ in found}
        self._own: dict[tuple[Part, AreaId, str | None, int, Version], Sequence[Partial]] = {}
        self._covers: dict[AreaId, Sequence[Cover]] = {}
        self._readings: dict[str, _Reading] = {}
        self._only: dict[AreaId, Sequence[AreaId] | None] = {}
        self._nothing: dict[tuple[str, int], Reported] = {}
        self._closed_s = {kpi: closed.until_s(site.kpis.bases_of(kpi)) for kpi in kpis}

    def groups(self, kpi_id: str, area: AreaId) -> list[str | None]:
        """The values of the dimension asked for that occur in the area; only None where the KPI is not split."""
        if self._by is None or self._by not in self._catalogue.dimensions_of(kpi_id):
            return [None]
        cover = self._areas.cover(area)
        found: set[str] = set()
        for part in parts_of(self._catalogue, kpi_id):
            if self._by in self._catalogue.base(part.base).dimensions:
                for id_ in (*cover.whole, *cover.partial, *cover.apart):
                    found.update(self._cells[part].get((part.base, id_), ()))
        return [*sorted(found)]

    def reported(self, kpi_id: str, area: AreaId, group: str | None, at: int) -> Reported:
        """The value in the span of this index, of one dimension value or (None) of all together."""
        if self._said_in(area) == []:
            # Where there is nothing at all the value is the same everywhere.
            if (kpi_id, at) not in self._nothing:
                self._nothing[kpi_id, at] = self._reported(kpi_id, area, group, at)
            return self._nothing[kpi_id, at]
        return self._reported(kpi_id, area, group, at)

    def _reported(self, kpi_id: str, area: AreaId, group: str | None, at: int) -> Reported:
        corrections: list[datetime] = []
        now = self._value(kpi_id, area, group, at, "now", corrections)
        if self._spans[at].end_s > self._closed_s[kpi_id]:
            return Reported(now=now)
        if not corrections:
            return Reported(now=now, first=now, closed=True)
        first = self._value(kpi_id, area, group, at, "first", corrections)
        return Reported(now=now, first=first, corrected_at=max(corrections), closed=True)

    def _value(
        self,
        id_: str,
        area: AreaId,
        group: str | None,
        at: int,
        version: Version,
        corrections: list[datetime],
    ) -> Value:
        """The value of a KPI or of a part; notes when something in it was corrected."""
        catalogue, reading = self._catalogue, self._reading(id_)
        partials = self._partials
        match reading.measure:
            case Measure.BALANCE:
                plus, minus = (
                    self._value(part, area, group, at, version, corrections)
                    if base is None
                    else _bounded(catalogue, part, *partials(base, area, group, at, version, corrections))
                    for part, base in reading.parts
                )
                return balance_value(plus, minus)
            case Measure.SILENT:
                (of, heard), (_, seen) = reading.parts
                assert heard is not None
                assert seen is not None
                before = _bounded(catalogue, of, *partials(seen, area, group, at, version, corrections))
                return silent_value(
                    before, _bounded(catalogue, of, *partials(heard, area, group, at, version, corrections))
                )
            case Measure.RATIO:
                certain: dict[str, Sequence[Partial]] = {}
                possible: dict[str, Sequence[Partial]] = {}
                for part, base in reading.parts:
                    if base is None:
                        above, below = (
                            self._value(one, area, group, at, version, corrections) for one, _ in reading.parts
                        )
                        return ratio_value(catalogue[id_], above, below)
                    certain[part], possible[part] = partials(base, area, group, at, version, corrections)
                if not any(possible.values()):
                    return kpi_value(catalogue, id_, certain)
                return bounds(catalogue, id_, certain, possible)
            case _:
                ((_, base),) = reading.parts
                assert base is not None
                return _bounded(catalogue, id_, *partials(base, area, group, at, version, corrections))

    def _reading(self, id_: str) -> "_Reading":
        """How a KPI or a part is read; found once, for it is asked for each of thousands of areas."""
        found = self._readings.get(id_)
        if found is None:
            found = self._readings[id_] = _reading_of(self._catalogue, id_)
        return found

    def _partials(
        self,
        part: Part,
        area: AreaId,
        group: str | None,
        at: int,
        version: Version,
        corrections: list[datetime],
    ) -> tuple[list[Partial], list[Partial]]:
        """What certainly belongs to the area in this span, and what may."""
        cells = self._cells[part]
        if group is not None and self._by not in self._catalogue.base(part.base).dimensions:
            group = None

        def of(id_: AreaId) -> list[Partial]:
            rows: list[Partial] = []
            groups = cells.get((part.base, id_))
            if groups is None:
                return rows
            for spans in groups.values() if group is None else (groups.get(group, {}),):
                held = spans.get(at, NOTHING)
                rows.extend(held.now if version == "now" else held.first)
                if held.corrected_at is not None:
                    corrections.append(held.corrected_at)
            return rows

        only = self._said_in(area)
        if only is not None:
            return of(only[0]) if only else [], []
        base = self._catalogue.base(part.base)

        def over(cover: Cover) -> tuple[list[Partial], list[Partial]]:
            whole = [row for id_ in cover.whole for row in of(id_)]
            partial = [row for id_ in cover.partial for row in of(id_)]
            for id_ in cover.apart:
                # Many areas have a part of the same one above them.
                key = (part, id_, group, at, version)
                if key not in self._own:
                    rows = of(id_)
                    below = [of(child.id) for child in self._areas.children(id_)] if rows else []
                    self._own[key] = own(base, id_, rows, below) if rows else ()
                partial += self._own[key]
            return whole, partial

        if base.measure is not Measure.LATEST:
            return over(self._areas.cover(area))
        # What was true last on one map is told again on the next, of the same people and houses.
        possible: list[Partial] = []
        for cover in self._maps(area):
            whole, partial = over(cover)
            possible += partial
            if whole:
                return whole, possible
        return [], possible

    def _said_in(self, area: AreaId) -> Sequence[AreaId] | None:
        """The one area that makes up this one, or none, of those of which there is anything; None: there are more, or
        parts.
        """
        if area not in self._only:
            cover = self._areas.cover(area)
            told = [id_ for id_ in cover.whole if id_ in self._said]
            is_simple = len(told) < 2 and self._said.isdisjoint(cover.partial) and self._said.isdisjoint(cover.apart)
            self._only[area] = told if is_simple else None
        return self._only[area]

    def _maps(self, area: AreaId) -> Sequence[Cover]:
        """What makes up an area, map by map, the newest first."""
        maps = self._covers.get(area)
        if maps is None:
            cover = self._areas.cover(area)

            def on(list_id: str) -> Cover:
                parts = (cover.whole, cover.partial, cover.apart)
                return Cover(*(tuple(id_ for id_ in ids if self._areas[id_].list_id == list_id) for ids in parts))

            maps = self._covers[area] = [on(list_id) for list_id in self._areas.lists]
        return maps


class _Reading(NamedTuple):
    """How a KPI is read: its parts by id, each with what is read of it; None where the part is derived itself."""

    measure: Measure | None
    parts: Sequence[tuple[str, Part | None]]


def _reading_of(catalogue: Catalogue, id_: str) -> _Reading:
    measure = catalogue[id_].measure if id_ in catalogue else None
    if measure is Measure.SILENT:
        (of,) = catalogue.parts_of(id_)
        seen = Part(of, Reach.SEEN, catalogue[id_].lookback_days)
        return _Reading(measure, [(of, Part(of, Reach.WITHIN)), (of, seen)])
    if measure is Measure.BALANCE or measure is Measure.RATIO:
        reach = Reach.RUNNING if measure is Measure.BALANCE else Reach.WITHIN
        return _Reading(
            measure,
            [(part, None if _is_derived(catalogue, part) else Part(part, reach)) for part in catalogue.parts_of(id_)],
        )
    return _Reading(measure, [(id_, Part(id_, Reach.WITHIN))])


def own(base: Base, area: AreaId, rows: Sequence[Partial], below: Sequence[Sequence[Partial]]) -> Sequence[Partial]:
    """Of an area's partials those of its own events, without those of the areas directly below.

    Extremes and sketches cannot be taken apart: of these all are returned as soon as there are events of its own, and
    of different ones as soon as it has seen some that no area below has.
    """
    if base.measure is Measure.LATEST:
        return [row for row in rows if row.dim.rpartition(DIM_SEPARATOR)[2] == area]
    if base.measure is Measure.DISTINCT:
        seen, seen_below = _merged(rows), _merged([row for child in below for row in child])
        if seen.sketch is None or seen_below.sketch is None:
            return rows
        return rows if estimate([seen.sketch]) > estimate([seen_below.sketch]) else ()
    if base.measure not in ADDITIVE:
        return rows if sum(row.n for row in rows) > sum(row.n for child in below for row in child) else ()
    left: dict[int, tuple[int, float]] = {}
    for sign, several in ((1, rows), (-1, [row for child in below for row in child])):
        for row in several:
            n, total = left.get(row.bin, (0, 0.0))
            left[row.bin] = (n + sign * row.n, total + sign * row.total)
    return [Partial(bin=bin_, n=n, total=total) for bin_, (n, total) in left.items() if n]


def _bounded(catalogue: Catalogue, id_: str, whole: Sequence[Partial], partial: Sequence[Partial]) -> Value:
    if not partial:
        return kpi_value(catalogue, id_, {id_: whole})
    return bounds(catalogue, id_, {id_: whole}, {id_: partial})


def _is_derived(catalogue: Catalogue, id_: str) -> bool:
    return id_ in catalogue and catalogue[id_].measure in DERIVED


class KnownThen(ClosedUntil, frozen=True):
    """How far the topics had closed at a past moment, for whoever asks what was known then."""

    async def figures(
        self,
        reader: Reader,
        site: Site,
        kpis: Collection[str],
        areas: Collection[AreaId],
        spans: Sequence[Span],
        by: str | None,
        where: Mapping[str, str],
    ) -> Figures:
        """All that was known of these KPIs, areas of one zone, and spans."""
        raise NotImplementedError


async def read_figures(
    reader: Reader,
    site: Site,
    kpis: Collection[str],
    areas: Collection[AreaId],
    spans: Sequence[Span],
    *,
    by: str | None = None,
    where: Mapping[str, str] = {},
    closed: ClosedUntil,
) -> Figures:
    """All that is stored for these KPIs, areas and spans, in a few queries. See `read_values`."""
    if isinstance(closed, KnownThen):
        return await closed.figures(reader, site, kpis, areas, spans, by, where)
    parts = {part for kpi in kpis for part in parts_of(site.kpis, kpi)}
    cells: dict[Part, Cells] = {}
    for reach, days in sorted({(part.reach, part.days) for part in parts}):
        bases = [site.kpis.base(part.base) for part in sorted(parts) if (part.reach, part.days) == (reach, days)]
        found: Cells = {}
        for zone, by_list in _needed(site.areas, tuple(areas)).items():
            plan = _looking_back(spans, days, zone) if reach is Reach.SEEN else _plan(spans, reach, zone)
            some = await _said(reader, site.areas, bases, by_list, plan)
            found |= _over_spans(await _read(reader, bases, some, plan, by, where), plan, reach)
        cells |= {Part(base.id, reach, days): found for base in bases}
    return Figures(site, kpis, spans, by, cells, closed)


@lru_cache(maxsize=NEEDED_MAX)
def _needed(areas: AreaTree, asked: tuple[AreaId, ...]) -> Mapping[ZoneInfo, Mapping[str, Sequence[AreaId]]]:
    """All areas that have to be read for these, by zone and list: stored days are each area's own, so those of
    different zones are read over different buckets.
    """
    ids: set[AreaId] = set()
    taken_apart: set[AreaId] = set()
    for area in asked:
        cover = areas.cover(area)
        ids.update(cover.whole, cover.partial)
        taken_apart.update(cover.apart)
    ids.update(taken_apart, (child.id for id_ in taken_apart for child in areas.children(id_)))
    found: dict[ZoneInfo, dict[str, list[AreaId]]] = {}
    for id_ in ids:
        found.setdefault(areas.zone(id_), {}).setdefault(areas[id_].list_id, []).append(id_)
    return found


class _Piece(NamedTuple):
    """Stored buckets of one tier in [start_s, end_s). What they hold is kept under the number `slot`."""

    start_s: int
    end_s: int
    slot: int


class _Plan(NamedTuple):
    """What has to be read for some spans, by tier in order of time; no bucket is read twice.

    For each span, in which slots it lies (`within`), and in which what comes before it that counts for it.
    """

    pieces: Mapping[Tier, Sequence[_Piece]]
    within: Sequence[Sequence[range]]
    before: Sequence[Sequence[range]]

    def is_one_each(self) -> bool:
        """Whether each span is one slot, so that what is held there is what it comes to."""
        return all(len(runs) == 1 and len(runs[0]) == 1 for runs in self.within)

    def is_one_day_slot_each(self) -> bool:
        """Whether at most one slot of whole days lies in each span."""
        days = self.pieces.get(Tier.DAY)
        if not days:
            return True
        of_days = range(days[0].slot, days[-1].slot + 1)
        return all(sum(len(run) for run in runs if run.start in of_days) <= 1 for runs in self.within)


def _plan(spans: Sequence[Span], reach: Reach, zone: ZoneInfo) -> _Plan:
    """What to read for spans within themselves, or from the beginning on.

    Each is taken apart into the coarsest buckets, and these are cut, tier by tier, where those of another span begin
    or end: what one span reads as days is not read as hours because another one ends on one of these days.
    """
    within = [pieces(span.start_s, span.end_s, zone) for span in spans]
    before: list[list[Piece]] = [[] for _ in spans]
    if reach is Reach.RUNNING:
        before = [pieces(_begin_s(span, reach, 0, zone), span.start_s, zone) for span in spans]
    by_tier: dict[Tier, set[tuple[int, int]]] = {}
    for some in (*within, *before):
        for piece in some:
            by_tier.setdefault(piece.tier, set()).add((piece.start_s, piece.end_s))
    found: dict[Tier, list[_Piece]] = {}
    starts: dict[Tier, list[int]] = {}
    slots = 0
    for tier, needed in by_tier.items():
        cut = _cut(needed, {moment for ends in needed for moment in ends})
        found[tier] = [_Piece(one.start_s, one.end_s, slots + at) for at, one in enumerate(cut)]
        starts[tier] = [one.start_s for one in cut]
        slots += len(cut)

    def runs(some: Sequence[Piece]) -> list[range]:
        return [
            range(*(found[tier][0].slot + bisect_left(starts[tier], moment) for moment in (start_s, end_s)))
            for tier, start_s, end_s in some
        ]

    return _Plan(found, [runs(some) for some in within], [runs(some) for some in before])


def _looking_back(spans: Sequence[Span], days: int, zone: ZoneInfo) -> _Plan:
    """What to read for spans that look so many days back: slots in order of time, each of all of its tiers."""
    needed = [(_begin_s(span, Reach.SEEN, days, zone), span.end_s) for span in spans]
    cut = _cut(
        needed, {moment for span in spans for moment in (span.start_s, span.end_s)} | {one for one, _ in needed}
    )
    by_tier: dict[Tier, list[_Piece]] = {}
    for slot, interval in enumerate(cut):
        for piece in pieces(interval.start_s, interval.end_s, zone):
            by_tier.setdefault(piece.tier, []).append(_Piece(piece.start_s, piece.end_s, slot))
    starts = [interval.start_s for interval in cut]

    def run(begin_s: int, end_s: int) -> list[range]:
        return [range(bisect_left(starts, begin_s), bisect_left(starts, end_s))]

    return _Plan(
        by_tier,
        [run(span.start_s, span.end_s) for span in spans],
        [run(begin_s, span.start_s) for span, (begin_s, _) in zip(spans, needed, strict=True)],
    )


def _cut(needed: Iterable[tuple[int, int]], cuts: Iterable[int]) -> list[Span]:
    """The stretches between cuts that lie in anything that is needed, in order of time."""
    found: list[Span] = []
    covered_s, upcoming = BEGINNING_S, iter(sorted(needed))
    following = next(upcoming, None)
    for start_s, end_s in pairwise(sorted(cuts)):
        while following is not None and following[0] <= start_s:
            covered_s = max(covered_s, following[1])
            following = next(upcoming, None)
        if start_s < covered_s:
            found.append(Span(start_s, end_s))
    return found


async def _said(
    reader: Reader, areas: AreaTree, bases: Sequence[Base], by_list: Mapping[str, Sequence[AreaId]], plan: _Plan
) -> list[AreaId]:
    """The areas without those of maps on which nothing was said: of a map with much to look up its roots are asked
    first. Days have whatever finer buckets have.
    """
    doubtful = [
        list_id
        for list_id, ids in by_list.items()
        if len(bases) * len(ids) >= MAP_MIN and len(ids) > len(areas.roots(list_id))
    ]
    said: set[str] = set()
    if doubtful and plan.pieces:
        roots = {root.id: list_id for list_id in doubtful for root in areas.roots(list_id)}
        rows = await reader.fetch(
            for_tier(_SQL["read_said"], Tier.DAY),
            [base.id for base in bases],
            list(roots),
            _instant(max(0, min(some[0].start_s for some in plan.pieces.values()) - ROOT_SLACK_S)),
            _instant(max(some[-1].end_s for some in plan.pieces.values()) + ROOT_SLACK_S),
        )
        said.update(roots[row["area"]] for row in rows)
    return [id_ for list_id, ids in by_list.items() if list_id in said or list_id not in doubtful for id_ in ids]


def _begin_s(span: Span, reach: Reach, days: int, zone: ZoneInfo) -> int:
    match reach:
        case Reach.WITHIN:
            return span.start_s
        case Reach.RUNNING:
            return min(day_start(BEGINNING_S, zone), span.start_s)
        case Reach.SEEN:
            return min(span.start_s, back(span.end_s, days, zone))


def _over_spans(cells: Cells, plan: _Plan, reach: Reach) -> Cells:
    """What lies in each span, put together from what lies in the slots."""
    if reach is Reach.WITHIN and all(list(runs) == [range(at, at + 1)] for at, runs in enumerate(plan.within)):
        return cells
    joined: Cells = {}
    for key, groups in cells.items():
        for group, held in groups.items():
            match reach:
                case Reach.WITHIN:
                    over = {at: _joined(held, runs) for at, runs in enumerate(plan.within)}
                case Reach.RUNNING:
                    over = _running(held, plan)
                case Reach.SEEN:
                    over = _seen(held, plan)
            joined.setdefault(key, {})[group] = over
    return joined


def _joined(held: Mapping[int, Held], runs: Sequence[range]) -> Held:
    """All that lies in these slots."""
    found: list[Held] = []
    for run in runs:
        slots = run if len(run) < len(held) else [slot for slot in sorted(held) if slot in run]
        found += [held[slot] for slot in slots if slot in held]
    return _together(found) if found else NOTHING


def _together(found: Sequence[Held]) -> Held:
    """All of these."""
    if len(found) == 1:
        return found[0]
    return Held(
        [row for one in found for row in one.now],
        [row for one in found for row in one.first],
        max((one.corrected_at for one in found if one.corrected_at is not None), default=None),
    )


def _running(held: Mapping[int, Held], plan: _Plan) -> dict[int, Held]:
    """Of counts and sums all up to each span's end; what comes before the span is taken as it is now."""
    days = plan.pieces.get(Tier.DAY, ())
    # What all spans look back on is added up once.
    first_day, up_to = days[0].slot if days else -1, [Partial(n=0)]
    for day in days:
        up_to.append(_summed([up_to[-1], *held[day.slot].now]) if day.slot in held else up_to[-1])
    over: dict[int, Held] = {}
    for at, (earlier, own_runs) in enumerate(zip(plan.before, plan.within, strict=True)):
        rows: list[Partial] = []
        for run in earlier:
            rows += [up_to[len(run)]] if run.start == first_day else _joined(held, [run]).now
        past, within = _summed(rows), _joined(held, own_runs)
        now = [_summed([past, *within.now])]
        over[at] = Held(now, now if within.corrected_at is None else [past, *within.first], within.corrected_at)
    return over


def _summed(rows: Sequence[Partial]) -> Partial:
    n, total = 0, 0.0
    for row in rows:
        n += row.n
        total += row.total
    return Partial(n=n, total=total)


def _seen(held: Mapping[int, Held], plan: _Plan) -> dict[int, Held]:
    """The different ones of each span and what it looks back on.

    Sketches cannot be taken away again. So spans that look back over one moment share the sketches from there
    backwards and forwards: each slot is merged a few times, however many spans there are.
    """
    runs, begins = [run for (run,) in plan.within], [run.start for (run,) in plan.before]
    over: dict[int, Held] = {}
    order = sorted(range(len(runs)), key=lambda at: (runs[at].stop, begins[at]))
    while order:
        pivot = runs[order[0]].stop
        sharing = [at for at in order if begins[at] <= pivot <= runs[at].stop]
        order = [at for at in order if at not in set(sharing)]
        before, after = {pivot: Partial(n=0)}, {pivot: Partial(n=0)}
        for at in range(pivot - 1, min(begins[one] for one in sharing) - 1, -1):
            before[at] = _merged([before[at + 1], *(held[at].now if at in held else ())])
        for at in range(pivot, max(runs[one].stop for one in sharing)):
            after[at + 1] = _merged([after[at], *(held[at].now if at in held else ())])
        for at in sharing:
            within = _joined(held, [runs[at]])
            now = [before[begins[at]], after[runs[at].stop]]
            first = now
            if within.corrected_at is not None:
                past = [row for i in range(begins[at], runs[at].start) if i in held for row in held[i].now]
                first = [*past, *within.first]
            over[at] = Held(now, first, within.corrected_at)
    return over


def _merged(rows: Sequence[Partial]) -> Partial:
    sketches = [row.sketch for row in rows if row.sketch is not None]
    n = sum(row.n for row in rows)
    if len(sketches) < 2:
        return Partial(n=n, sketch=sketches[0] if sketches else None)
    return Partial(n=n, sketch=merge(sketches))


async def _read(
    reader: Reader,
    bases: Sequence[Base],
    areas: Sequence[AreaId],
    plan: _Plan,
    by: str | None,
    where: Mapping[str, str],
) -> Cells:
    """What is stored of these bases in these areas of one zone, by slot."""

    def question(base: Base) -> tuple[str, int, list[int], list[str]]:
        wanted = {base.dimensions.index(name) + 1: value for name, value in where.items() if name in base.dimensions}
        split = base.dimensions.index(by) + 1 if by is not None and by in base.dimensions else 0
        return _KEPT_AS.get(base.measure, "sums"), split, list(wanted), list(wanted.values())

    found = _Noted()
    # What is true last of several slots cannot be told from what each of them comes to, unless only one has anything.
    is_whole, is_whole_days = plan.is_one_each(), plan.is_one_day_slot_each()
    for (kept_as, split, at, values), same in groupby(sorted(bases, key=question), question):
        same_bases = list(same)
        statement, held_of = _READ[kept_as]
        across = partial(_latest_across, {base.id: base.across for base in same_bases})
        finer_said: set[str] = set()
        # Days come last: whether they can be read as a whole depends on what finer buckets have.
        for tier in sorted(plan.pieces, key=(Tier.MINUTE, Tier.HOUR, Tier.DAY).index):
            for some in _stretches(plan.pieces[tier]):
                asked = (
                    areas,
                    [_instant(piece.start_s) for piece in some],
                    [_instant(piece.end_s) for piece in some],
                    _instant(some[0].start_s),
                    _instant(some[-1].end_s),
                    split,
                    at,
                    values,
                )
                ids = [base.id for base in same_bases]
                if kept_as == "latest" and tier is Tier.DAY and is_whole_days:
                    alone = [id_ for id_ in ids if id_ not in finer_said]
                    ids = [id_ for id_ in ids if id_ in finer_said]
                    if alone:
                        rows = await reader.fetch(for_tier(_READING["read_own"], tier), alone, *asked)
                        found.note(rows, some, _latest)
                        found.note(await _read_below(reader, (alone, *asked)), some, across)
                elif kept_as == "latest" and is_whole:
                    rows = await reader.fetch(for_tier(_READING["read_across"], tier), ids, *asked)
                    found.note(rows, some, across)
                    continue
                if ids:
                    rows = await reader.fetch(for_tier(_READING[statement], tier), ids, *asked)
                    found.note(rows, some, held_of)
                    finer_said.update(row["kpi"] for row in rows)
    return found.cells()


class _Noted:
    """What has been read so far, by slot."""

    def __init__(self) -> None:
        self._found: Cells = {}
        self._several: dict[tuple[tuple[str, AreaId], str, int], list[Held]] = {}

    # asyncpg's records have no column types.
    def note(self, rows: Iterable[Any], some: Sequence[_Piece], held_of: Callable[[Any], Held]) -> None:
        """Adds what was read of these pieces."""
        for row in rows:
            number: int = row["piece"]
            key, dim, held, slot = (row["kpi"], row["area"]), row["dim"], held_of(row), some[number - 1].slot
            groups = self._found.get(key)
            if groups is None:
                # Of most there is one row.
                self._found[key] = {dim: {slot: held}}
                continue
            by_slot = groups.setdefault(dim, {})
            if slot in by_slot:
                # Of others there is one for each of thousands of places, and they are joined once.
                self._several.setdefault((key, dim, slot), [by_slot[slot]]).append(held)
            else:
                by_slot[slot] = held

    def cells(self) -> Cells:
        """All of it."""
        for (key, dim, slot), several in self._several.items():
            self._found[key][dim][slot] = _together(several)
        return self._found


async def _read_below(reader: Reader, asked: tuple[object, ...]) -> list[Any]:
    """What the places below areas said last, together, in days.

    It is there already where it has not changed lately; else it is put together from the rows.
    """
    rows = await reader.fetch(_SQL["read_below"], *asked)
    unsure = [(row["kpi"], row["area"]) for row in rows if row["piece"] is None]
    if not unsure:
        return rows
    kpis, areas = [kpi for kpi, _ in unsure], [area for _, area in unsure]
    from_rows = await reader.fetch(
        for_tier(_READING["read_across_below"], Tier.DAY),
        *(list(dict.fromkeys(kpis)), list(dict.fromkeys(areas)), *asked[2:], kpis, areas),
    )
    return [row for row in rows if row["piece"] is not None] + from_rows


def _stretches(all_pieces: Sequence[_Piece]) -> list[list[_Piece]]:
    """Pieces that lie close together: a gap that is wider than what comes before it is cheaper to leave out."""
    stretches: list[list[_Piece]] = []
    for piece in all_pieces:
        last = stretches[-1] if stretches else None
        if last is None or piece.start_s - last[-1].end_s > last[-1].end_s - last[0].start_s:
            stretches.append([piece])
        else:
            last.append(piece)
    return stretches if len(stretches) <= STRETCHES_MAX else [list(all_pieces)]


# asyncpg's records have no column types.
def _sums(row: Any) -> Held:  # noqa: ANN401
    now = [Partial(bin=row["bin"], n=row["n"], total=row["total"], low=row["low"], high=row["high"])]
    if row["corrected_at"] is None:
        return Held(now, now, None)
    first = Partial(
        bin=row["bin"],
        n=row["n"] - (row["n_less"] or 0),
        total=row["total"] - (row["total_less"] or 0.0),
        low=row["first_low"],
        high=row["first_high"],
    )
    return Held(now, [first], row["corrected_at"])


def _sketches(row: Any) -> Held:  # noqa: ANN401
    now = _sketched(row["n"], row["sketches"])
    if row["corrected_at"] is None:
        return Held(now, now, None)
    return Held(now, _sketched(row["first_n"], _first_sketches(row)), row["corrected_at"])


def _histograms(row: Any) -> Held:  # noqa: ANN401
    now = _by_bin(row["sketches"])
    return Held(now, now if row["corrected_at"] is None else _by_bin(_first_sketches(row)), row["corrected_at"])


_added_up: dict[bytes, Sequence[Partial]] = {}


def _by_bin(histograms: Iterable[bytes | None]) -> Sequence[Partial]:
    """What a percentile is read from, added up by bin.

    A month's days have thousands of bins, and hardly any of them changes from one question to the next: what the same
    histograms came to is remembered by their digest.
    """
    known = [one for one in histograms if one is not None]
    digest = blake2b(b"".join(known), digest_size=16).digest()
    found = _added_up.pop(digest, None)
    if found is None:
        found = tuple(Partial(bin=bin_, n=n) for bin_, n in merge_bins(known).items() if n)
        if len(_added_up) >= HISTOGRAMS_MAX:
            del _added_up[next(iter(_added_up))]
    _added_up[digest] = found
    return found


def _first_sketches(row: Any) -> list[bytes | None]:  # noqa: ANN401
    """What the buckets closed with: what they hold, where that has not changed since."""
    kept = [sketch for sketch, same in zip(row["sketches"], row["unchanged"], strict=True) if same]
    return [*kept, *(row["first_sketches"] or ())]


def _sketched(n: int, sketches: Iterable[bytes | None]) -> list[Partial]:
    """The events stand with the first sketch, so that they add up."""
    held = [sketch for sketch in sketches if sketch is not None]
    return [Partial(n=0 if at else n, sketch=sketch) for at, sketch in enumerate(held)]


def _latest(row: Any) -> Held:  # noqa: ANN401
    now = _latest_partials(row["whole_dim"], row["latest"])
    if row["corrected_at"] is None:
        return Held(now, now, None)
    return Held(now, _latest_partials(row["whole_dim"], row["first_latest"]), row["corrected_at"])


def _latest_partials(dim: str, latest: Sequence[float] | None) -> list[Partial]:
    if latest is None:
        return []
    # Of the pieces of an interval the one with the later bucket holds, however late another was reported again.
    bucket_s, _, value = latest
    return [Partial(dim=dim, bin=LATEST_BIN, n=1, total=value, high=bucket_s)]


def _latest_across(across: Mapping[str, Across], row: Any) -> Held:  # noqa: ANN401
    """What an area said of itself stands under its own name, what was said below it under one that is no area's."""
    dim = row["area"] if row["is_own"] else f"*{row['area']}"

    def held(sums: Sequence[float | None]) -> list[Partial]:
        n, total, least, most = sums
        if not n or total is None:
            return []
        value = {"sum": total, "mean": total / n, "min": least, "max": most}[across[row["kpi"]]]
        return [Partial(dim=dim, bin=LATEST_BIN, n=int(n), total=value or 0.0, high=0.0)]

    now = held(row["across"])
    return Held(now, now if row["corrected_at"] is None else held(row["first_across"]), row["corrected_at"])


_KEPT_AS: Mapping[Measure, str] = {
    Measure.PERCENTILE: "histograms",
    Measure.DISTINCT: "sketches",
    Measure.LATEST: "latest",
}
_READ: Mapping[str, tuple[str, Callable[[Any], Held]]] = {
    "sums": ("read_sums", _sums),
    "histograms": ("read_sketches", _histograms),
    "sketches": ("read_sketches", _sketches),
    "latest": ("read_latest", _latest),
}


def _instant(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
