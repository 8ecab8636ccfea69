"""Which events are behind this number?

The rows of low-rate events are kept for ever, so a leader gets from a red share to the cases. Whether a KPI counts an
event is asked again here, by the same declaration as in the stream worker: filter, dimensions, and what is measured.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.bucket import Bucket
from dashboard_api.cursor import decode_cursor, encode_cursor, from_us, to_us, unreadable
from dashboard_api.database import Reader
from dashboard_api.export import Cell, Column, Kind, Sheet
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.scope import inside, parameters, scoped_statements
from dashboard_api.spans import BEGINNING_S, Span, back
from dashboard_api.values import Part, Reach, parts_of
from schemas.area import AreaTree
from schemas.codec import decode_plain
from schemas.command import Actor
from schemas.event import EVENT_TYPES, AnyEvent, AreaId
from schemas.exercise import is_drill
from schemas.kpi import ALL_DIM, Base, Kpi, Measure, filter_of
from schemas.site import Site
from schemas.topics import INPUTS, Dedupe, Topic

CHUNK = 1_000
"""Events read at once; of a small page first only as many as it takes when most of them count."""

SCAN_MAX = 10_000
"""Events looked at for one page. At it the page ends early, and `next` goes on from there."""

ENVELOPE = frozenset({"source", "subject"})
"""Fields of a filter that stand in the envelope; all others are of the data."""

_TOPICS: Mapping[str, Topic] = {
    name: topic for name, cls in EVENT_TYPES.items() for topic in INPUTS if cls in topic.types
}
_SQL = scoped_statements("drill")
_OF_DRILLS = _SQL["read_behind"].replace("countable_event", "countable_drill")


class Counted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an event counts in one part of the KPI.

    `part` is `value`, or which part of a ratio, a balance or a silent one. `measured` is the number that goes in,
    `what` the word that is told apart, `in_time` whether a deadline was met.
    """

    part: str
    measured: float | None = None
    what: str | None = None
    in_time: bool | None = None


class Behind(Struct, frozen=True, kw_only=True):
    """An event that the number is made of.

    `belongs_at` is the moment whose bucket it is in: its time, or the start of the period that it reports on.
    `dims` are its values of the KPI's dimensions. `case` is the case that it opened or belongs to. The whole event
    is in `GET /v1/events`, by source and subject.
    """

    source: str
    id: str
    type: str
    subject: str | None
    time: datetime
    belongs_at: datetime
    area: str
    case: str | None
    dims: dict[str, str]
    counted: list[Counted]


class DrillView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """Events behind a KPI's value in an area and span, the newest first. `next` goes into `before` for older ones.

    Over all pages as many count in a part as its `n` says, where the KPI has counted since those events came.
    `uncertain` are areas of other lists of which only a part, nobody knows which, lies in this one: their events are
    not listed, but the bounds of the value allow for them. `scanned` events were looked at for this page.
    """

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    area: str
    start: datetime
    end: datetime
    value: Bucket
    uncertain: list[str]
    position: str
    as_of: datetime
    scanned: int
    items: list[Behind]
    next: str | None


class Role(NamedTuple):
    """A base, in which part of the KPI it counts, and over which time."""

    part: str
    base: Base
    span: Span


class Cursor(NamedTuple):
    """A place in the list, newest first: what comes after it is older."""

    at: datetime
    source: str
    id: str


class Page(NamedTuple):
    """Events, where the next page begins, and how many were looked at."""

    items: list[Behind]
    after: Cursor | None
    scanned: int


class _Candidate(NamedTuple):
    """An event that counts, and for a part that keeps the last report of each place: of which one, and how new."""

    event: Behind
    stands: dict[str, tuple[tuple[str, ...], tuple[float, float, float]]]


def roles_of(site: Site, kpi: Kpi, area: AreaId, span: Span, only: str | None) -> list[Role]:
    """What to look for, by part of the KPI. Raises Refused where it has none such, or its events are not kept."""
    named = _part_names(kpi)
    parts = site.kpis.parts_of(kpi.id)
    if only is not None and only not in named:
        fix = f"Use one of: {', '.join(named)}." if len(named) > 1 else "Leave it out."
        raise Refused("part", RefusalReason.INVALID, f"the KPI has no part {only!r}", fix)
    if kpi.measure is Measure.BALANCE:
        # Over which time a side is read is told by the balance, not by the side.
        read = [[part._replace(reach=Reach.RUNNING) for part in parts_of(site.kpis, id_)] for id_ in parts]
    else:
        read = [[*parts_of(site.kpis, id_)] for id_ in (parts if kpi.measure is Measure.RATIO else [kpi.id])]
    # Who is silent is read twice from one base, of which the longer time, named last, holds the shorter one.
    by_part = {name: {part.base: part for part in some}.values() for name, some in zip(named, read, strict=True)}
    zone = site.areas.zone(area)
    roles = [
        Role(name, site.kpis.base(part.base), _reached(part, span, lambda days: back(span.end_s, days, zone)))
        for name, all_parts in by_part.items()
        if only in (None, name)
        for part in all_parts
    ]
    for role in roles:
        topic = _TOPICS[role.base.event]
        if topic.dedupe is not Dedupe.FOREVER:
            days = topic.retention_ms // (24 * 3600 * 1000)
            kept = [name for name in named if name != role.part and only is None]
            raise Refused(
                "id" if only is None else "part",
                RefusalReason.NOT_KEPT,
                f"events of the type {role.base.event} come too fast to be kept one by one; "
                f"only the log has them, as {topic.name}, for {days} days",
                f"Ask for `part={kept[0]}`." if kept else "Read them from the log, or ask for the series.",
                status=409,
            )
    return roles


def _part_names(kpi: Kpi) -> tuple[str, ...]:
    match kpi.measure:
        case Measure.RATIO:
            return "numerator", "denominator"
        case Measure.BALANCE:
            return "plus", "minus"
        case Measure.SILENT:
            return ("of",)
        case _:
            return ("value",)


def _reached(part: Part, span: Span, days_back: Callable[[int], int]) -> Span:
    match part.reach:
        case Reach.WITHIN:
            return span
        case Reach.RUNNING:
            return Span(min(BEGINNING_S, span.start_s), span.end_s)
        case Reach.SEEN:
            return Span(min(span.start_s, days_back(part.days)), span.end_s)


def areas_behind(site: Site, area: AreaId) -> set[AreaId]:
    """The areas whose events certainly belong to this one."""
    whole = site.areas.cover(area).whole
    return {*whole, *(below.id for id_ in whole for below in site.areas.descendants(id_))}


def uncertain(site: Site, area: AreaId) -> list[str]:
    """The areas of which only a part lies in this one."""
    cover = site.areas.cover(area)
    return [*cover.partial, *cover.apart]


async def read_page(
    reader: Reader,
    actor: Actor,
    site: Site,
    kpi: Kpi,
    roles: Sequence[Role],
    areas: set[AreaId],
    where: Mapping[str, str],
    before: Cursor | None,
    limit: int,
) -> Page:
    """At most `limit` events of these parts that the actor may see, the newest first, with bounded work.

    Of a KPI that keeps what was true last, all events of the span have to be looked at. Raises Refused where these
    are more than SCAN_MAX.
    """
    asked = _Asked(actor, roles, areas, where, site.areas)
    if all(role.base.measure is not Measure.LATEST for role in roles):
        return await asked.page(reader, before, limit)
    found, scanned = await asked.all(reader, kpi)
    # Sorted here, for the database may have another order of letters.
    newest_first = sorted(_standing(found, site.areas), key=_place, reverse=True)
    kept = [one for one in newest_first if before is None or _place(one) < before]
    page = kept[:limit]
    return Page(page, _place(page[-1]) if len(kept) > limit else None, scanned)


class _Asked:
    """One question, compiled."""

    def __init__(
        self, actor: Actor, roles: Sequence[Role], areas: set[AreaId], where: Mapping[str, str], tree: AreaTree
    ) -> None:
        self._scope, self._inside = parameters(actor), inside(actor, tree)
        self._areas = areas
        # Most of all areas are no help to the database; they are told apart here.
        self._listed = None if 2 * len(areas) > len(tree) else sorted(areas)
        self._checks = [(role, _counting(role, where)) for role in roles]
        self._is_drill = any(is_drill(role.base.id) for role in roles)
        self._spans: dict[str, Span] = {}
        for role in roles:
            known = self._spans.get(role.base.event, role.span)
            self._spans[role.base.event] = Span(
                min(known.start_s, role.span.start_s), max(known.end_s, role.span.end_s)
            )
        self._newest = Cursor(datetime.fromtimestamp(max(span.end_s for span in self._spans.values()), UTC), "", "")

    async def page(self, reader: Reader, before: Cursor | None, limit: int) -> Page:
        items: list[Behind] = []
        cursor, scanned = before or self._newest, 0
        # One more than the page holds tells whether there is a next one.
        chunk = min(CHUNK, limit + 1)
        while scanned < SCAN_MAX:
            rows = await self._read(reader, cursor, chunk)
            for row in rows:
                scanned += 1
                if (one := self._candidate(row)) is not None:
                    if len(items) == limit:
                        return Page(items, _place(items[-1]), scanned)
                    items.append(one.event)
            if len(rows) < chunk:
                return Page(items, None, scanned)
            cursor, chunk = _row_place(rows[-1]), CHUNK
        return Page(items, cursor, scanned)

    async def all(self, reader: Reader, kpi: Kpi) -> tuple[list[_Candidate], int]:
        found: list[_Candidate] = []
        cursor, scanned = self._newest, 0
        while True:
            rows = await self._read(reader, cursor, CHUNK)
            scanned += len(rows)
            found += [one for row in rows if (one := self._candidate(row)) is not None]
            if len(rows) < CHUNK:
                return found, scanned
            if scanned >= SCAN_MAX:
                detail = (
                    f"to find the last report of each place in {kpi.id!r}, more than {SCAN_MAX} events were looked at"
                )
                fix = "Ask for a smaller area or a shorter time."
                raise Refused("area", RefusalReason.TOO_MANY, detail, fix)
            cursor = _row_place(rows[-1])

    async def _read(self, reader: Reader, cursor: Cursor, chunk: int) -> Sequence[Any]:
        return await reader.fetch(
            _OF_DRILLS if self._is_drill else _SQL["read_behind"],
            *self._scope,
            list(self._spans),
            [datetime.fromtimestamp(span.start_s, UTC) for span in self._spans.values()],
            [datetime.fromtimestamp(span.end_s, UTC) for span in self._spans.values()],
            self._listed,
            *cursor,
            chunk,
            self._inside,
        )

    # asyncpg's records have no column types.
    def _candidate(self, row: Any) -> _Candidate | None:  # noqa: ANN401
        if row["area"] not in self._areas:
            return None
        event = decode_plain(row["body"])
        if self._is_drill and event.supersedes is not None:
            # A drill corrects nothing, and what would correct something counts not at all.
            return None
        at_s = row["window_time"].timestamp()
        counted: list[Counted] = []
        dims: dict[str, str] = {}
        stands: dict[str, tuple[tuple[str, ...], tuple[float, float, float]]] = {}
        for role, count in self._checks:
            if row["type"] != role.base.event or not role.span.start_s <= at_s < role.span.end_s:
                continue
            if (how := count(event)) is None:
                continue
            counted.append(how)
            own = {name: _dim(event, name) for name in role.base.dimensions}
            dims |= own
            if role.base.measure is Measure.LATEST:
                stands[role.part] = (
                    (role.base.id, row["area"], *own.values()),
                    (at_s, event.time.timestamp(), how.measured or 0.0),
                )
        if not counted:
            return None
        found = Behind(
            source=row["source"],
            id=row["id"],
            type=row["type"],
            subject=row["subject"],
            time=row["time"],
            belongs_at=row["window_time"],
            area=row["area"],
            case=row["case_id"],
            dims=dims,
            counted=counted,
        )
        return _Candidate(found, stands)


def _standing(found: Iterable[_Candidate], areas: AreaTree) -> list[Behind]:
    """Without what a later report of the same place has replaced, or the reports of places on a newer map."""
    candidates = list(found)

    def age(area: str) -> int:
        return areas.lists.index(areas[AreaId(area)].list_id)

    newest_map: dict[tuple[str, str], int] = {}
    for _, stands in candidates:
        for part, ((base, area, *_), _) in stands.items():
            newest_map[part, base] = min(newest_map.get((part, base), age(area)), age(area))
    last: dict[tuple[str, tuple[str, ...]], tuple[tuple[float, float, float], str, str]] = {}
    for event, stands in candidates:
        for part, (place, rank) in stands.items():
            newest = (rank, event.source, event.id)
            last[part, place] = max(last.get((part, place), newest), newest)
    kept: list[Behind] = []
    for event, stands in candidates:
        replaced = {
            part
            for part, (place, rank) in stands.items()
            if last[part, place] != (rank, event.source, event.id) or age(place[1]) > newest_map[part, place[0]]
        }
        if counted := [one for one in event.counted if one.part not in replaced]:
            kept.append(msgspec.structs.replace(event, counted=counted))
    return kept


def _counting(role: Role, where: Mapping[str, str]) -> Callable[[AnyEvent], Counted | None]:
    """How a base counts an event; None where it does not. As `streams.core.fold` does it, but one by one."""
    base, filter_ = role.base, filter_of(role.base)
    wanted = {name: value for name, value in where.items() if name in base.dimensions}

    def count(event: AnyEvent) -> Counted | None:
        if not filter_.accepts([_field(event, name) for name in filter_.fields]):
            return None
        if any(_dim(event, name) != value for name, value in wanted.items()):
            return None
        match base.measure:
            case Measure.COUNT:
                return Counted(part=role.part)
            case Measure.DISTINCT:
                assert base.of is not None
                what = getattr(event.data, base.of)
                return None if what is None else Counted(part=role.part, what=str(what))
            case Measure.IN_TIME:
                assert base.due is not None
                due: datetime | None = getattr(event.data, base.due)
                return None if due is None else Counted(part=role.part, in_time=event.time <= due)
            case _:
                number = _number(base, event)
                if number is None:
                    return None
                is_in_time = number <= (base.within_s or 0) if base.measure is Measure.WITHIN else None
                return Counted(part=role.part, measured=number, in_time=is_in_time)

    return count


def _number(base: Base, event: AnyEvent) -> float | None:
    if base.since is not None:
        since: datetime | None = getattr(event.data, base.since)
        # Nothing ends before it begins; where two clocks differ by a little it seems so.
        return None if since is None else max(0.0, (event.time - since).total_seconds())
    assert base.value is not None
    value = getattr(event.data, base.value)
    return None if value is None else float(value)


def _field(event: AnyEvent, name: str) -> Any:  # noqa: ANN401  # fields hold words, numbers and flags
    return getattr(event if name in ENVELOPE else event.data, name)


def _dim(event: AnyEvent, name: str) -> str:
    value = getattr(event.data, name)
    return ALL_DIM if value is None else str(value)


def _place(event: Behind) -> Cursor:
    return Cursor(event.belongs_at, event.source, event.id)


def _row_place(row: Any) -> Cursor:  # noqa: ANN401
    return Cursor(row["window_time"], row["source"], row["id"])


def cursor_text(cursor: Cursor | None) -> str | None:
    """The cursor as it goes into `before`."""
    if cursor is None:
        return None
    return encode_cursor((to_us(cursor.at), cursor.source, cursor.id))


def parse_cursor(text: str | None) -> Cursor | None:
    """Reads what `cursor_text` wrote. Raises Refused."""
    if text is None:
        return None
    at_us, source, id_ = decode_cursor(text, tuple[int, str, str], "before")
    if "\x00" in source + id_:
        raise unreadable("before")
    return Cursor(from_us(at_us, "before"), source, id_)


def drill_sheet(name: str, kpi: str, dimensions: Sequence[str], items: Iterable[Behind]) -> Sheet:
    """A row for each event and part, so that as many rows name a part as count in it."""
    columns = (
        *(Column("kpi"), Column("part"), Column("source"), Column("id"), Column("type"), Column("subject")),
        *(Column("time", Kind.INSTANT), Column("belongs_at", Kind.INSTANT), Column("area"), Column("case")),
        *(Column(f"dim_{dimension}") for dimension in dimensions),
        *(Column("measured", Kind.NUMBER), Column("what"), Column("in_time", Kind.FLAG)),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(kpi, how.part, one.source, one.id, one.type, one.subject, one.time, one.belongs_at, one.area, one.case),
            *(one.dims.get(dimension) for dimension in dimensions),
            *(how.measured, how.what, how.in_time),
        )
        for one in items
        for how in one.counted
    ]
    return Sheet(name, columns, rows)
