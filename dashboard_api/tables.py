"""How do areas, or the values of a dimension, stand to each other and to their targets?"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from dashboard_api.bucket import Bucket, bucket_of
from dashboard_api.closing import ClosedUntil
from dashboard_api.config import Bounds
from dashboard_api.database import Reader
from dashboard_api.export import BUCKET_COLUMNS, Cell, Column, Kind, Sheet, bucket_cells, name_columns, names_cells
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.reported import Reported
from dashboard_api.spans import Span, Step, spans
from dashboard_api.subscription import area_of
from dashboard_api.values import Figures, read_figures
from schemas.area import Area
from schemas.errors import OperatorError
from schemas.event import AreaId
from schemas.kpi import Kpi, Measure
from schemas.period import Period, parse_period
from schemas.site import Site
from schemas.target import Judgement, Status, Why, judge, target_of
from schemas.window import MINUTE_S

TOTALS = frozenset({Measure.COUNT, Measure.SUM, Measure.DISTINCT, Measure.LATEST, Measure.BALANCE, Measure.SILENT})
"""Measures of which a part is less than the whole: what is good for the whole says nothing of one dimension value."""


class Judged(Bucket, frozen=True, kw_only=True, omit_defaults=True):
    """A bucket, and how it stands to the target that holds on its last day. `attainment` 1 is all of the target."""

    status: Status
    reason: Why
    target: float | None = None
    attainment: float | None = None
    gap: float | None = None


class Row(Judged, frozen=True, kw_only=True, omit_defaults=True):
    """An area's value, or that of one dimension value (`dim`) in it.

    `rank` is 1 for the best; equal values share a rank and the ones after are left out (1, 2, 2, 4). What is not
    there or not exact has none.
    """

    area: str
    code: str
    list: str
    kind: str
    names: dict[str, str]
    dim: str | None = None
    rank: int | None = None


class TableView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """Rows of one indicator, those of one bucket together. `total` is how many there were before `limit` was applied.

    `start` and `end` are by the clock of `area`; each row says its own.
    """

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    direction: Literal["higher", "lower"] | None
    area: str
    by: str | None
    start: datetime
    end: datetime
    position: str
    as_of: datetime
    total: int
    rows: list[Row]


class AttainmentView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """How an area and those directly below it stand to their targets. `counts` is of those below, by status."""

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    direction: Literal["higher", "lower"] | None
    area: str
    start: datetime
    end: datetime
    position: str
    as_of: datetime
    own: Row
    rows: list[Row]
    counts: dict[str, int]


class Order(StrEnum):
    """How rows are sorted. What has no value comes last, but by code."""

    RANK = "rank"  # the best first
    VALUE = "value"
    VALUE_DOWN = "-value"
    CODE = "code"


class When(Struct, frozen=True, kw_only=True):
    """Of which time: a calendar period, or [start, end), as a whole or in steps; each area goes by its own clock."""

    period: Period | None = None
    start: datetime
    end: datetime
    step: Step | None = None

    def spans(self, zone: ZoneInfo) -> list[Span]:
        """The spans by the clocks of a zone, oldest first."""
        if self.period is not None:
            span = self.period.span(zone)
            return [Span(span.start_s, span.end_s)]
        start_s, end_s = int(self.start.timestamp()), -int(-self.end.timestamp() // 1)
        if self.step is not None:
            return spans(start_s, end_s, self.step, zone)
        return [Span(start_s // MINUTE_S * MINUTE_S, -(-end_s // MINUTE_S) * MINUTE_S)]


def when_of(
    period: str | None, start: datetime | None, end: datetime | None, step: Step | None, now: datetime
) -> When:
    """What the parameters `period`, `from`, `to` and `step` mean; without any the day so far. Raises Refused."""
    if period is not None:
        for name, given in (("from", start), ("to", end), ("step", step)):
            if given is not None:
                fix = f"Leave out `period` or `{name}`."
                raise Refused("period", RefusalReason.INVALID, f"`period` and `{name}` are both given", fix)
        return When(period=period_of_text(period, "period"), start=now, end=now)
    if end is not None and start is None and step is None:
        fix = "Add `from`, or `step` for the bucket of this width that holds `to`."
        raise Refused("from", RefusalReason.MISSING, "`to` says only where it ends", fix)
    until = (end or now).astimezone(UTC)
    if start is None:
        return When(start=until - timedelta(seconds=1), end=until, step=step or Step.DAY)
    if start >= until:
        fix = "Let `from` be earlier than `to`, which is now when it is left out."
        raise Refused("from", RefusalReason.OUT_OF_RANGE, "`from` is not before `to`", fix)
    return When(start=start.astimezone(UTC), end=until, step=step)


def period_of_text(text: str, field: str) -> Period:
    """Reads a period. Raises Refused."""
    try:
        return parse_period(text)
    except OperatorError as wrong:
        raise Refused(field, RefusalReason.INVALID, wrong.what, wrong.remedy) from wrong


def areas_of(site: Site, asked: str, of: AreaId, last_day_end: datetime) -> list[Area]:
    """The areas that are asked for: `self`, `children`, `leaves`, a kind, or ids with commas in between.

    Those of the present list that were dissolved before the time asked for ended are left out, unless they are named.
    Raises Refused.
    """
    areas = site.areas
    match asked:
        case "self":
            return [areas[of]]
        case "children":
            found = areas.children(of)
        case "leaves":
            found = areas.leaves(of)
        case _:
            below = areas.descendants(of)
            found = [area for area in below if area.kind == asked]
            if not found:
                named = list(dict.fromkeys(asked.split(",")))
                return [areas[area_of(site, id_, f"areas.{at}")] for at, id_ in enumerate(named)]
    last_day = (last_day_end - timedelta(seconds=1)).astimezone(areas.zone(of)).date()
    return [
        area for area in found if area.list_id != areas.list_id or area.valid_to is None or area.valid_to > last_day
    ]


class Read(NamedTuple):
    """What was read of some areas of one zone, over these spans."""

    zone: ZoneInfo
    areas: Sequence[AreaId]
    spans: Sequence[Span]
    figures: Figures


class Found(NamedTuple):
    """What a row is about: the value of an area, or of one dimension value (`dim`), in the span of this number."""

    at: int
    area: Area
    dim: str | None
    value: Reported
    goals: "_Goals"


async def read_all(
    reader: Reader,
    site: Site,
    kpi: Kpi,
    areas: Sequence[Area],
    when: When,
    *,
    by: str | None,
    where: Mapping[str, str],
    closed: ClosedUntil,
) -> list[Read]:
    """All that is stored for a table of these areas."""
    found: list[Read] = []
    for zone, some in by_zone(site, [area.id for area in areas]).items():
        asked = when.spans(zone)
        figures = await read_figures(reader, site, [kpi.id], some, asked, by=by, where=where, closed=closed)
        found.append(Read(zone, some, asked, figures))
    return found


async def values_of(site: Site, kpi: Kpi, reads: Sequence[Read], bounds: Bounds) -> list[Found]:
    """The values, area by area. Raises Refused when there are too many."""
    groups = [{area: read.figures.groups(kpi.id, area) for area in read.areas} for read in reads]
    check_size(
        sum(sum(map(len, some.values())) * len(read.spans) for some, read in zip(groups, reads, strict=True)), bounds
    )
    # Thousands of values take a while to put together, and other requests and the live feed are waiting.
    return await asyncio.to_thread(_put_together, site, kpi, reads, groups)


def _put_together(
    site: Site, kpi: Kpi, reads: Sequence[Read], groups: Sequence[Mapping[AreaId, Sequence[str | None]]]
) -> list[Found]:
    found: list[Found] = []
    for read, some in zip(reads, groups, strict=True):
        goals = [_Goals(site, kpi, span, read.zone) for span in read.spans]
        reported = read.figures.reported
        found += [
            Found(at, site.areas[id_], dim, reported(kpi.id, id_, dim, at), one)
            for id_ in read.areas
            for dim in some[id_]
            for at, one in enumerate(goals)
        ]
    return found


async def rows_of(
    kpi: Kpi, found: Sequence[Found], where: Mapping[str, str], order: Order, limit: int | None
) -> list[Row]:
    """The rows of each bucket in this order with their ranks, at most `limit` of each; the oldest bucket first."""
    return await asyncio.to_thread(_rows, kpi, found, where, order, limit)


def _rows(kpi: Kpi, found: Sequence[Found], where: Mapping[str, str], order: Order, limit: int | None) -> list[Row]:
    places = ranks(found, kpi.direction)
    kept = ordered(found, order, kpi.direction, limit)
    return [row_of(found[number], where, places[number]) for number in kept]


def by_zone(site: Site, areas: Iterable[AreaId]) -> dict[ZoneInfo, list[AreaId]]:
    """Areas of different zones are read over different spans."""
    found: dict[ZoneInfo, list[AreaId]] = {}
    for area in areas:
        found.setdefault(site.areas.zone(area), []).append(area)
    return found


def check_size(rows: int, bounds: Bounds) -> None:
    """Raises Refused for more rows than an answer holds."""
    if rows > bounds.values_max:
        fix = f"Ask for at most {bounds.values_max}: fewer areas, a shorter range, or a coarser `step`."
        raise Refused("areas", RefusalReason.TOO_MANY, f"that would be {rows} rows", fix)


class _Goals:
    """The judge of one span, which knows its ends by the clocks of the zone."""

    def __init__(self, site: Site, kpi: Kpi, span: Span, zone: ZoneInfo) -> None:
        self._site = site
        self._kpi = kpi
        self.start = datetime.fromtimestamp(span.start_s, zone)
        self.end = datetime.fromtimestamp(span.end_s, zone)
        # The target that holds on the last day is the span's.
        self._day = datetime.fromtimestamp(span.end_s - 1, zone).date()

    def judge(self, area: AreaId, value: Reported, *, is_part: bool) -> Judgement:
        kpi = self._kpi
        if (is_part and kpi.measure in TOTALS) or (not kpi.target and kpi.thresholds is None):
            return _NO_GOAL
        return judge(kpi, value.now, target_of(kpi, self._site.areas.path(area), self._day))


_NO_GOAL = Judgement(status=Status.NONE, reason=Why.NO_GOAL)


def judged_bucket(site: Site, kpi: Kpi, area: AreaId, span: Span, value: Reported, zone: ZoneInfo) -> Judged:
    """A value of all dimensions together, judged."""
    judged = _Goals(site, kpi, span, zone).judge(area, value, is_part=False)
    return Judged(**_fields(bucket_of(span, value, zone)), **_fields(judged))


def row_of(found: Found, where: Mapping[str, str], rank: int | None = None) -> Row:
    """The row of what was found; `where` is what was asked for."""
    area, value, now, goals = found.area, found.value, found.value.now, found.goals
    judged = goals.judge(area.id, value, is_part=found.dim is not None or bool(where))
    # Field by field, for there are thousands of rows.
    return Row(
        area=area.id,
        code=area.code,
        list=area.list_id,
        kind=area.kind,
        names=area.names,
        dim=found.dim,
        rank=rank,
        start=goals.start,
        end=goals.end,
        closed=value.closed,
        first=value.first,
        corrected_at=value.corrected_at,
        known=value.known,
        until=None if value.until_s is None else datetime.fromtimestamp(value.until_s, goals.start.tzinfo),
        value=now.value,
        n=now.n,
        numerator=now.numerator,
        denominator=now.denominator,
        p50=now.p50,
        p95=now.p95,
        exact=now.exact,
        lower=now.lower,
        upper=now.upper,
        status=judged.status,
        reason=judged.reason,
        target=judged.target,
        attainment=judged.attainment,
        gap=judged.gap,
    )


def _fields(struct: Struct) -> dict[str, Any]:
    return msgspec.structs.asdict(struct)


def ranks(found: Sequence[Found], direction: str | None) -> list[int | None]:
    """The rank of each.

    Several areas are ranked within each bucket and dimension value, the dimension values of one area among each
    other. Without a direction the greatest is the first.
    """
    is_one = len({one.area.id for one in found}) == 1
    sign = 1 if direction == "lower" else -1
    groups: dict[tuple[int, str | None], list[tuple[float, int]]] = {}
    for number, one in enumerate(found):
        now = one.value.now
        if now.value is not None and now.exact:
            groups.setdefault((one.at, None if is_one else one.dim), []).append((sign * now.value, number))
    places: list[int | None] = [None] * len(found)
    for group in groups.values():
        last, rank = None, 0
        for at, (value, number) in enumerate(sorted(group), 1):
            if value != last:
                last, rank = value, at
            places[number] = rank
    return places


def ordered(found: Sequence[Found], order: Order, direction: str | None, limit: int | None) -> list[int]:
    """The numbers of what was found in this order, at most `limit` of each bucket, the oldest bucket first."""
    is_rising = order is Order.VALUE or (order is Order.RANK and direction == "lower")
    sign = 1 if is_rising else -1

    def key(number: int) -> tuple[bool, float, str, str, str]:
        _, area, dim, reported, _ = found[number]
        value = reported.now.value
        if order is Order.CODE:
            return False, 0.0, area.list_id, area.code, dim or ""
        return value is None, 0.0 if value is None else sign * value, area.list_id, area.code, dim or ""

    by_span: dict[int, list[int]] = {}
    for number, one in enumerate(found):
        by_span.setdefault(one.at, []).append(number)
    return [number for at in sorted(by_span) for number in sorted(by_span[at], key=key)[:limit]]


def counts_of(rows: Iterable[Row]) -> dict[str, int]:
    """How many there are of each status, of every one."""
    counted = Counter(row.status for row in rows)
    return {status.value: counted[status] for status in Status}


def table_sheet(name: str, kpi: str, rows: Iterable[Row], languages: Sequence[str]) -> Sheet:
    """The rows as a flat table."""
    columns = (
        *(Column("kpi"), Column("area"), Column("code"), Column("list"), Column("kind"), *name_columns(languages)),
        *(Column("dim"), *BUCKET_COLUMNS, Column("rank", Kind.WHOLE)),
        *(Column("target", Kind.NUMBER), Column("attainment", Kind.NUMBER), Column("gap", Kind.NUMBER)),
        *(Column("status"), Column("reason")),
    )
    return Sheet(name, columns, [_cells(kpi, row, languages) for row in rows])


def _cells(kpi: str, row: Row, languages: Sequence[str]) -> tuple[Cell, ...]:
    return (
        *(kpi, row.area, row.code, row.list, row.kind, *names_cells(row.names, languages)),
        *(row.dim, *bucket_cells(row), row.rank),
        *(row.target, row.attainment, row.gap, row.status.value, row.reason.value),
    )
