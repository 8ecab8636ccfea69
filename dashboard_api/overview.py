"""How do all indicators of an area stand over a period: against their targets, the time before, and the areas below?

What events stream in for is read over the period. While a period is still running it is set beside the same part of
the period before and of the one a year ago, for a month so far is no match for a whole one. What is reported for
periods, and not yet for this one, stands as each place reported it last; the value's span says so.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from dashboard_api.bucket import Bucket, bucket_of
from dashboard_api.closing import ClosedUntil
from dashboard_api.compare import Change, change_of
from dashboard_api.config import Bounds
from dashboard_api.database import Reader
from dashboard_api.export import BUCKET_COLUMNS, Cell, Column, Kind, Sheet, bucket_cells, name_columns, names_cells
from dashboard_api.latest import (
    Freshness,
    Heard,
    freshness_of,
    is_reported,
    is_told,
    last_heard_s,
    newest_day,
    read_heard,
    standing_days,
)
from dashboard_api.replay_known import AsOf, heard_then
from dashboard_api.reported import Reported
from dashboard_api.spans import DAY_S, Span, back
from dashboard_api.tables import Judged, by_zone, check_size, judged_bucket
from dashboard_api.values import Figures, read_figures
from schemas.area import Area
from schemas.event import AreaId
from schemas.kpi import Catalogue, Kpi, Measure
from schemas.period import YEAR_MIN, Grain, Period
from schemas.site import Site
from schemas.target import Status
from schemas.window import HOUR_S

POINTS = 13
"""Periods of a trend, with the one asked for: of months a year, and the same month of the year before."""

ENDS = 3
"""How many of the best and of the worst areas are named."""

MERGING = frozenset({Measure.COUNT, Measure.MIN, Measure.MAX, Measure.PERCENTILE, Measure.DISTINCT})
"""Measures whose value is the same to the last digit, of whatever parts it is put together."""

COURSES_MAX = 64
"""Courses of periods that are remembered; the one asked for longest ago goes."""

LENGTHS = (Grain.DAY, Grain.MONTH, Grain.QUARTER, Grain.YEAR)
"""From the shortest to the longest."""


class NamedArea(Struct, frozen=True, kw_only=True):
    """An area, of whichever map."""

    id: str
    code: str
    list: str
    kind: str
    names: dict[str, str]


class Counterpart(NamedArea, frozen=True, kw_only=True):
    """An area of another map. `whole`: all of it lies in this one."""

    whole: bool


class OtherMap(Struct, frozen=True, kw_only=True):
    """What an area was, or became, on another map, which was in force in [`valid_from`, `valid_to`)."""

    valid_from: date | None
    valid_to: date | None
    areas: list[Counterpart]
    list: str


class AreaBelow(NamedArea, frozen=True, kw_only=True):
    """An area directly below: how many of its judged indicators have which status, and whether areas lie in it."""

    counts: dict[str, int]
    has_below: bool


class Placed(Struct, frozen=True, kw_only=True):
    """How one of the areas below stands in an indicator."""

    area: str
    names: dict[str, str]
    value: float | None
    status: Status


class Overlooked(Struct, frozen=True, kw_only=True):
    """One indicator over the period. `own` says over which span it was read.

    `standing`: it is what was said last, by each place, because the period is not over, or is shorter than those that
    it is reported for. `before` and `year_ago` are as long as what has passed of the period. `trend` holds the
    exact values of up to 13 periods of the length `trend_step` up to this one, the oldest first. `counts` is how many
    areas below have which status, null where nothing is judged; `best` and `worst` are the ends of their order.
    """

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    pillar: str | None
    group: str | None
    direction: Literal["higher", "lower"] | None
    own: Judged
    standing: bool
    before: Bucket
    change: Change
    year_ago: Bucket
    year_change: Change
    trend_step: Grain
    trend_from: date
    trend: list[float | None]
    counts: dict[str, int] | None
    best: list[Placed]
    worst: list[Placed]
    freshness: Freshness
    freshness_s: int
    heard_at: datetime | None
    stale_since: datetime | None


class OverviewView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """An area's indicators over a period, in the order of the site pack. `path` begins at the root.

    `previous` and `next` are the periods beside this one. While it is `running`, `before_to` says up to where the
    period before was read.
    """

    area: str
    names: dict[str, str]
    kind: str
    zone: str
    path: list[NamedArea]
    maps: list[OtherMap]
    below: list[AreaBelow]
    period: str
    previous: str
    next: str
    start: datetime
    end: datetime
    running: bool
    before_to: datetime
    position: str
    as_of: datetime
    items: list[Overlooked]
    list: str


class Asked(NamedTuple):
    """What is asked for: which indicators, where, and of which period, as known at a moment."""

    site: Site
    kpis: Sequence[Kpi]
    area: AreaId
    period: Period
    now: datetime
    kept_at: datetime | None = None
    """The real time where `now` is past: it says what is still kept."""


class Way(NamedTuple):
    """Over which time an indicator is read: the period itself, or of what is reported days back from a day."""

    day: date | None = None
    days: int = 0


class Spans(NamedTuple):
    """What one way comes to by the clocks of a zone."""

    own: Span
    before: Span
    year_ago: Span


def period_now(now: datetime, site: Site, area: AreaId, grain: Grain = Grain.MONTH) -> Period:
    """The period of this length that is running in an area."""
    return period_with(now.astimezone(site.areas.zone(area)).date(), grain)


def period_with(day: date, grain: Grain) -> Period:
    """The period of this length that holds a day."""
    match grain:
        case Grain.DAY:
            first = day
        case Grain.MONTH:
            first = day.replace(day=1)
        case Grain.QUARTER:
            first = day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
        case Grain.YEAR:
            first = day.replace(month=1, day=1)
    return Period(grain, first)


def a_year_before(day: date) -> date:
    """The same date of the year before; of a 29 February the 28th."""
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


class Periods:
    """The spans of a question, by the clocks of any zone."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked
        self._spans: dict[tuple[Way, ZoneInfo], Spans] = {}
        self._trends: dict[tuple[Period, ZoneInfo], tuple[Span, ...]] = {}

    def is_running(self, zone_of: AreaId) -> bool:
        """Whether the period is not over there yet."""
        span = self._asked.period.span(self._asked.site.areas.zone(zone_of))
        return span.start_s <= self._asked.now.timestamp() < span.end_s

    def of(self, way: Way, at: AreaId) -> Spans:
        """The three spans of a way by the clock of an area."""
        zone = self._asked.site.areas.zone(at)
        if (way, zone) not in self._spans:
            self._spans[way, zone] = self._of(way, zone)
        return self._spans[way, zone]

    def trend(self, kpi: Kpi, at: AreaId) -> tuple[Span, ...]:
        """The spans of an indicator's trend by the clock of an area, the oldest first."""
        zone, found = self._asked.site.areas.zone(at), _trend(self._asked, kpi)
        if (found[0], zone) not in self._trends:
            spans = (one.span(zone) for one in found)
            self._trends[found[0], zone] = tuple(Span(span.start_s, span.end_s) for span in spans)
        return self._trends[found[0], zone]

    def _of(self, way: Way, zone: ZoneInfo) -> Spans:
        period = self._asked.period
        if way.day is not None:

            def standing(day: date) -> Span:
                end_s = period_with(day, Grain.DAY).span(zone).end_s
                return Span(back(end_s, way.days, zone), end_s)

            # What stood until the newest report came, and a year ago.
            newest = Period(Grain.DAY, way.day)
            return Spans(standing(way.day), standing(newest.before().first), standing(a_year_before(way.day)))
        own = period.span(zone)
        year_before = period_with(a_year_before(period.first), period.grain)
        return Spans(Span(own.start_s, own.end_s), self._cut(period.before(), zone), self._cut(year_before, zone))

    def _cut(self, other: Period, zone: ZoneInfo) -> Span:
        """Another period of this length, up to where the present one has come."""
        site, now_s = self._asked.site, self._asked.now.timestamp()
        own, whole = self._asked.period.span(zone), other.span(zone)
        if not own.start_s <= now_s < own.end_s:
            return Span(whole.start_s, whole.end_s)
        passed_s = int(now_s) - own.start_s
        cut_s = whole.start_s + passed_s // HOUR_S * HOUR_S
        kept_at_s = now_s if self._asked.kept_at is None else self._asked.kept_at.timestamp()
        if cut_s - DAY_S < kept_at_s - site.header.retention.hour_days * DAY_S:
            # Hours are kept no more so far back; the day that is running counts as a whole one.
            days = (self._asked.now.astimezone(zone).date() - self._asked.period.first).days
            cut_s = period_with(date.fromordinal(other.first.toordinal() + days), Grain.DAY).span(zone).end_s
        # In the first hour there is nothing to set beside it but the first hour.
        return Span(whole.start_s, min(max(cut_s, whole.start_s + HOUR_S), whole.end_s))


def _reported_for(catalogue: Catalogue, kpi: Kpi) -> Grain | None:
    """The longest of the periods that an indicator is reported for; None: it is not reported for periods."""
    grains = [base.period for base in catalogue.bases_of(kpi.id) if base.period is not None]
    return max(grains, key=LENGTHS.index, default=None)


def _ways(asked: Asked, heard: Mapping[str, Heard], *, is_running: bool) -> dict[str, Way]:
    """Over which time each indicator is read."""
    catalogue, zone = asked.site.kpis, asked.site.areas.zone(asked.area)
    ways: dict[str, Way] = {}
    for kpi in asked.kpis:
        ways[kpi.id] = Way()
        grain = _reported_for(catalogue, kpi)
        is_longer = grain is not None and LENGTHS.index(grain) > LENGTHS.index(asked.period.grain)
        newest = newest_day(catalogue, kpi.id, heard) if is_running or is_longer else None
        if newest is None:
            continue
        day = datetime.fromtimestamp(newest, zone).date()
        if is_told(catalogue, kpi.id):
            ways[kpi.id] = Way(day, standing_days(catalogue, kpi))
        elif is_reported(catalogue, kpi.id) and day < asked.period.first:
            ways[kpi.id] = Way(day, 1)
    return ways


def _trend(asked: Asked, kpi: Kpi) -> tuple[Period, ...]:
    """The periods of an indicator's trend: of the length asked for, or that it is reported for if that is longer."""
    grain = _reported_for(asked.site.kpis, kpi)
    longer = max((asked.period.grain, grain or asked.period.grain), key=LENGTHS.index)
    return _course(asked.period.first, longer)


@lru_cache(maxsize=COURSES_MAX)
def _course(last: date, grain: Grain) -> tuple[Period, ...]:
    """The periods of this length up to the one that holds a day, the oldest first."""
    periods = [period_with(last, grain)]
    while len(periods) < POINTS and periods[-1].first.year > YEAR_MIN:
        periods.append(periods[-1].before())
    return tuple(reversed(periods))


def is_judged(kpi: Kpi) -> bool:
    """Whether an indicator has anything that it is judged by, here or elsewhere, now or then."""
    return bool(kpi.target) or kpi.thresholds is not None


class _Read(NamedTuple):
    """All that was read for a question. `own` is by indicator and span: what was read, and which span it is there."""

    ways: Mapping[str, Way]
    heard: Mapping[str, Heard]
    trends: Mapping[str, Sequence[Span]]
    own: Mapping[tuple[str, Span], tuple[Figures, int]]
    below: Mapping[tuple[Way, AreaId], Figures]

    def value(self, kpi_id: str, area: AreaId, span: Span) -> Reported:
        """What an indicator of the area itself comes to."""
        figures, at = self.own[kpi_id, span]
        return figures.reported(kpi_id, area, None, at)


async def read_overview(
    reader: Reader, asked: Asked, below: Sequence[Area], bounds: Bounds, closed: ClosedUntil
) -> tuple[list[Overlooked], list[AreaBelow]]:
    """Every indicator of the area, and how the areas below it stand in those that are judged."""
    site, periods = asked.site, Periods(asked)
    judged = [kpi for kpi in asked.kpis if is_judged(kpi)]
    check_size(len(asked.kpis) * (POINTS + 3) + len(judged) * len(below), bounds)
    until_s = min(asked.now.timestamp(), float(asked.period.span(site.areas.zone(asked.area)).end_s))
    if isinstance(closed, AsOf):
        heard = await heard_then(reader, site, asked.kpis, asked.area, until_s, closed)
    else:
        heard = await read_heard(reader, site, asked.kpis, asked.area, until_s)
    ways = _ways(asked, heard, is_running=periods.is_running(asked.area))
    trends = {kpi.id: periods.trend(kpi, asked.area) for kpi in asked.kpis}

    # What is asked of the same spans is asked at once.
    wanted: dict[tuple[Span, ...], list[str]] = {}
    for kpi in asked.kpis:
        for spans in _at_once(site.kpis, kpi, periods.of(ways[kpi.id], asked.area), trends[kpi.id]):
            wanted.setdefault(spans, []).append(kpi.id)
    own: dict[tuple[str, Span], tuple[Figures, int]] = {}
    for spans, ids in wanted.items():
        figures = await read_figures(reader, site, ids, [asked.area], spans, closed=closed)
        own |= {(id_, span): (figures, at) for id_ in ids for at, span in enumerate(spans)}
    found: dict[tuple[Way, AreaId], Figures] = {}
    for way in dict.fromkeys(ways[kpi.id] for kpi in judged):
        ids = [kpi.id for kpi in judged if ways[kpi.id] == way]
        for some in by_zone(site, [area.id for area in below]).values():
            figures = await read_figures(reader, site, ids, some, [periods.of(way, some[0]).own], closed=closed)
            found |= {(way, area): figures for area in some}
    read = _Read(ways, heard, trends, own, found)
    # Thousands of values take a while to put together, and other requests and the live feed are waiting.
    return await asyncio.to_thread(_put_together, asked, periods, below, read, until_s)


def _at_once(catalogue: Catalogue, kpi: Kpi, of: Spans, trend: Sequence[Span]) -> Iterator[tuple[Span, ...]]:
    """The spans of an indicator that are best read in one go, each span once.

    Spans that overlap are put together from parts. That changes the last digit of a sum, and what was true last would
    have to be read place by place; it is for what is counted, and for what merges.
    """
    if all(base.measure in MERGING for base in catalogue.bases_of(kpi.id)):
        yield tuple(dict.fromkeys((*trend, *of)))
        return
    yield tuple(trend)
    others = sorted({span for span in of if span not in trend}, key=lambda span: span.start_s)
    if all(one.end_s <= other.start_s for one, other in pairwise(others)):
        if others:
            yield tuple(others)
    else:
        for span in others:
            yield (span,)


def _put_together(
    asked: Asked, periods: Periods, below: Sequence[Area], read: _Read, until_s: float
) -> tuple[list[Overlooked], list[AreaBelow]]:
    counts = {area.id: _no_counts() for area in below}
    items: list[Overlooked] = []
    for kpi in asked.kpis:
        rows = list(_rows_below(asked, periods, below, read, kpi)) if is_judged(kpi) else []
        for area, row in rows:
            counts[area.id][row.status.value] += 1
        items.append(_item(asked, periods, read, kpi, rows, until_s))
    tree = asked.site.areas
    return items, [
        AreaBelow(
            id=area.id,
            code=area.code,
            list=area.list_id,
            kind=area.kind,
            names=area.names,
            counts=counts[area.id],
            has_below=bool(tree.children(area.id)),
        )
        for area in below
    ]


def _no_counts() -> dict[str, int]:
    return {status.value: 0 for status in Status}


def _rows_below(
    asked: Asked, periods: Periods, below: Sequence[Area], read: _Read, kpi: Kpi
) -> Iterator[tuple[Area, Judged]]:
    way = read.ways[kpi.id]
    for area in below:
        value = read.below[way, area.id].reported(kpi.id, area.id, None, 0)
        span = periods.of(way, area.id).own
        yield area, judged_bucket(asked.site, kpi, area.id, span, value, asked.site.areas.zone(area.id))


def _item(
    asked: Asked,
    periods: Periods,
    read: _Read,
    kpi: Kpi,
    rows: Sequence[tuple[Area, Judged]],
    until_s: float,
) -> Overlooked:
    site, area, way = asked.site, asked.area, read.ways[kpi.id]
    zone, spans, trend = site.areas.zone(area), periods.of(way, area), _trend(asked, kpi)
    values = [read.value(kpi.id, area, span) for span in spans]
    own = judged_bucket(site, kpi, area, spans.own, values[0], zone)
    before, year_ago = bucket_of(spans.before, values[1], zone), bucket_of(spans.year_ago, values[2], zone)
    course = [read.value(kpi.id, area, span).now for span in read.trends[kpi.id]]
    best, worst = _ends(kpi, rows)
    heard_s = last_heard_s(site.kpis, kpi.id, read.heard)
    freshness = freshness_of(kpi, heard_s, until_s)
    return Overlooked(
        kpi=kpi.id,
        names=kpi.names,
        unit=kpi.unit,
        measure=kpi.measure,
        pillar=kpi.pillar,
        group=kpi.group,
        direction=kpi.direction,
        own=own,
        standing=way.day is not None,
        before=before,
        change=change_of(kpi, own, before),
        year_ago=year_ago,
        year_change=change_of(kpi, own, year_ago),
        trend_step=trend[0].grain,
        trend_from=trend[0].first,
        trend=[value.value if value.exact else None for value in course],
        counts=_counted(row for _, row in rows) if is_judged(kpi) else None,
        best=best,
        worst=worst,
        freshness=freshness,
        freshness_s=kpi.freshness_s,
        heard_at=None if heard_s is None else datetime.fromtimestamp(heard_s, UTC),
        stale_since=datetime.fromtimestamp(heard_s + kpi.freshness_s, UTC)
        if heard_s is not None and freshness is Freshness.STALE
        else None,
    )


def _counted(rows: Iterable[Judged]) -> dict[str, int]:
    counts = _no_counts()
    for row in rows:
        counts[row.status.value] += 1
    return counts


def _ends(kpi: Kpi, rows: Sequence[tuple[Area, Judged]]) -> tuple[list[Placed], list[Placed]]:
    """The best, the first first, and the worst, the last first; no area is in both."""
    sign = 1 if kpi.direction == "lower" else -1
    known = [(sign * row.value, area, row) for area, row in rows if row.value is not None and row.exact]
    placed = [
        Placed(area=area.id, names=area.names, value=row.value, status=row.status)
        for _, area, row in sorted(known, key=lambda one: (one[0], one[1].code))
    ]
    few = min(ENDS, len(placed) // 2)
    return placed[:few], placed[::-1][:few]


def named_area(area: Area) -> NamedArea:
    """The area as others name it."""
    return NamedArea(id=area.id, code=area.code, list=area.list_id, kind=area.kind, names=area.names)


def other_maps(site: Site, of: AreaId) -> list[OtherMap]:
    """What the area is on each of the other maps: areas of its own kind, else the smallest with a part of it."""
    tree, home = site.areas, site.areas[of]
    cover = tree.cover(of)
    maps: list[OtherMap] = []
    for span in tree.spans:
        if span.list_id == home.list_id:
            continue

        def on(ids: Iterable[AreaId], list_id: str = span.list_id) -> list[AreaId]:
            return [id_ for id_ in ids if tree[id_].list_id == list_id]

        whole, parts = on(cover.whole), on((*cover.partial, *cover.apart))
        alike = [id_ for id_ in (*whole, *parts) if tree[id_].kind == home.kind]
        found = alike or [*whole, *on(cover.partial)]
        if found:
            areas = [
                Counterpart(**msgspec.structs.asdict(named_area(tree[id_])), whole=id_ in whole)
                for id_ in sorted(found, key=lambda id_: tree[id_].code)
            ]
            maps.append(OtherMap(list=span.list_id, valid_from=span.start, valid_to=span.end, areas=areas))
    return maps


def overview_sheet(
    name: str, area: AreaId, period: str, items: Iterable[Overlooked], languages: Sequence[str]
) -> Sheet:
    """A row for each indicator."""
    columns = (
        *(Column("area"), Column("period"), Column("kpi"), *name_columns(languages), Column("unit")),
        *(Column("pillar"), Column("group"), *BUCKET_COLUMNS, Column("standing", Kind.FLAG)),
        *(Column("target", Kind.NUMBER), Column("attainment", Kind.NUMBER), Column("gap", Kind.NUMBER)),
        *(Column("status"), Column("reason"), Column("before", Kind.NUMBER), Column("year_ago", Kind.NUMBER)),
        *(Column(f"below_{status}", Kind.WHOLE) for status in Status),
        *(Column("freshness"), Column("heard_at", Kind.INSTANT), Column("stale_since", Kind.INSTANT)),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(area, period, one.kpi, *names_cells(one.names, languages), one.unit, one.pillar, one.group),
            *(*bucket_cells(one.own), one.standing, one.own.target, one.own.attainment, one.own.gap),
            *(one.own.status.value, one.own.reason.value, one.before.value, one.year_ago.value),
            *(None if one.counts is None else one.counts[status.value] for status in Status),
            *(one.freshness.value, one.heard_at, one.stale_since),
        )
        for one in items
    ]
    return Sheet(name, columns, rows)
