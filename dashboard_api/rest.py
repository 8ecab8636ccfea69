"""What can be asked, and in what form is it answered?

Times need a zone; a naive one is refused. Every answer is what the database had committed.
"""

import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from dashboard_api import events, series, sources, workers
from dashboard_api.answers import read_horizon
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.messages import EventItem
from dashboard_api.position import Position, parse_position
from dashboard_api.problem import CONTENT_TYPE, Problem
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.sources import SourceState
from dashboard_api.subscription import area_of, kpi_of
from dashboard_api.workers import WorkerState
from schemas.kpi import Measure, Value
from schemas.window import HOUR_S, MINUTE_S, Tier, bucket_starts

RANGE_S = 3600
"""How far a series reaches back when nothing is said."""

YEARS = range(1970, 2200)
"""Years that can be asked for; every zone and every table can hold them."""

_SHORTEST_S = {Tier.MINUTE: MINUTE_S, Tier.HOUR: HOUR_S, Tier.DAY: 23 * HOUR_S}


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the text holds the NUL character")
    return text


Word = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_no_nul)]


class SeriesQuery(BaseModel):
    """Which buckets of a series."""

    model_config = ConfigDict(extra="forbid")
    area: Annotated[Word | None, Field(description="An area's code; the root when left out.")] = None
    step: Annotated[Tier, Field(description="The width of a bucket. Days are the area's local days.")] = Tier.MINUTE
    start: Annotated[AwareDatetime | None, Field(alias="from", description="Default: an hour before `to`.")] = None
    end: Annotated[AwareDatetime | None, Field(alias="to", description="Exclusive. Default: now.")] = None
    dim: Annotated[
        str | None,
        Field(max_length=512, description="Only this dimension value."),
        AfterValidator(lambda dim: None if dim is None else _no_nul(dim)),
    ] = None
    by: Annotated[Literal["dim"] | None, Field(description="`dim`: one series for each dimension value.")] = None


class EventsQuery(BaseModel):
    """Which events of the list."""

    model_config = ConfigDict(extra="forbid")
    type: Annotated[Word | None, Field(description="A CloudEvents type.")] = None
    area: Annotated[Word | None, Field(description="An area's code; what lies in it is included.")] = None
    source: Word | None = None
    subject: Word | None = None
    limit: Annotated[int, Field(ge=1, description="At most 500.")] = 50
    before: Annotated[Word | None, Field(description="`next` of the page before, or any position.")] = None


class NoQuery(BaseModel):
    """No parameters; an unknown one is a mistake that should be heard of."""

    model_config = ConfigDict(extra="forbid")


class KpiView(Struct, frozen=True, kw_only=True):
    """An indicator of the catalogue. Without news for longer than `freshness_s`, its value is stale."""

    id: str
    names: dict[str, str]
    unit: str
    measure: Measure
    event: str
    dimension: str | None
    freshness_s: int


class KpiList(Struct, frozen=True):
    """All indicators, in the order of the site pack."""

    items: list[KpiView]


class Bucket(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A value over [start, end), in the area's local time."""

    start: datetime
    end: datetime


class DimensionView(Struct, frozen=True):
    """One line of a chart; `dim` is null for all dimension values together."""

    dim: str | None
    buckets: list[Bucket]


class SeriesView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A series. Every bucket that touches [from, to) is there: without events a count is 0, and a ratio is null."""

    kpi: str
    unit: str
    measure: Measure
    area: str
    step: Tier
    zone: str
    start: datetime
    end: datetime
    position: str
    series: list[DimensionView]


class EventPage(Struct, frozen=True):
    """Events, the newest committed first. `next` goes into `before` for the older ones; null at the end."""

    items: list[EventItem]
    next: str | None


class SourceList(Struct, frozen=True):
    """Declared sources, then others that were heard."""

    time: datetime
    items: list[SourceState]


class WorkerList(Struct, frozen=True):
    """Workers heard within the hour, those heard last first. Figures are live only while one of them is counting."""

    items: list[WorkerState]


class AreaView(Struct, frozen=True):
    """A node of the administrative tree."""

    code: str
    parent: str | None
    kind: str
    names: dict[str, str]
    zone: str


class AreaList(Struct, frozen=True):
    """All areas of one code list, in its order."""

    area_list: str
    root: str
    items: list[AreaView]


class SiteView(Struct, frozen=True):
    """The site as a whole. The first of `languages` is its own."""

    id: str
    names: dict[str, str]
    zone: str
    area_list: str
    languages: list[str]


ANSWERS: tuple[type[Struct], ...] = (
    KpiList,
    SeriesView,
    EventPage,
    SourceList,
    WorkerList,
    AreaList,
    SiteView,
    Problem,
)
"""What OpenAPI describes."""


def routes(config: DashboardConfig, database: Database) -> APIRouter:
    """The routes under /v1, over one site and one database."""
    router, site, bounds = APIRouter(prefix="/v1", tags=["dashboard"]), config.site, config.bounds

    @router.get("/site", **_described(SiteView))
    async def read_site(_: Annotated[NoQuery, Query()]) -> Response:
        """What this site is called, where it is, and what it speaks."""
        header = site.header
        return _json(SiteView(header.id, header.names, header.zone, header.area_list, header.languages))

    @router.get("/areas", **_described(AreaList))
    async def read_areas(_: Annotated[NoQuery, Query()]) -> Response:
        """The administrative tree."""
        items = [AreaView(a.code, a.parent, a.kind, a.names, a.zone) for a in site.areas]
        return _json(AreaList(site.areas.list_id, site.areas.root.code, items))

    @router.get("/kpis", **_described(KpiList))
    async def read_kpis(_: Annotated[NoQuery, Query()]) -> Response:
        """The catalogue of indicators."""
        views = [
            KpiView(
                id=kpi.id,
                names=kpi.names,
                unit=kpi.unit,
                measure=kpi.measure,
                event=kpi.event,
                dimension=kpi.dimension,
                freshness_s=kpi.freshness_s,
            )
            for kpi in site.kpis.kpis
        ]
        return _json(KpiList(views))

    @router.get("/kpis/{id}/series", **_described(SeriesView, 404))
    async def read_series(id: str, query: Annotated[SeriesQuery, Query()]) -> Response:  # noqa: A002  # its name in the address
        """One indicator over a range of time."""
        try:
            kpi = kpi_of(site, id, "id")
        except Refused as unknown:
            raise Refused(unknown.field, unknown.reason, unknown.detail, unknown.fix, status=404) from None
        area = area_of(site, query.area, "area") if query.area is not None else site.areas.root.code
        if (query.dim is not None or query.by is not None) and kpi.dimension is None:
            fix = "Leave `dim` and `by` out; `dimension` in GET /v1/kpis says which KPIs have one."
            raise Refused(
                "dim" if query.dim is not None else "by", RefusalReason.INVALID, "the KPI has no dimension", fix
            )
        start, end = _range(query, config.now())
        starts = _starts(start, end, query.step, site.areas.zone(area), bounds.buckets_max)
        zone = site.areas.zone(area)
        # Where the last bucket ends is where the next one begins.
        ends = [*starts[1:], bucket_starts(starts[-1], starts[-1] + 2 * 25 * HOUR_S, query.step, zone)[1]]
        async with database.reading("series") as reader:
            horizon = await read_horizon(reader)
            found = await series.read_range(
                reader, kpi, area, query.step, starts, ends[-1], query.dim, query.by is not None
            )
        return _json(
            SeriesView(
                kpi=kpi.id,
                unit=kpi.unit,
                measure=kpi.measure,
                area=area,
                step=query.step,
                zone=site.areas[area].zone,
                start=start,
                end=end,
                position=str(horizon),
                series=[DimensionView(one.dim, _buckets(one, ends, zone)) for one in found],
            )
        )

    @router.get("/events", **_described(EventPage))
    async def read_events(query: Annotated[EventsQuery, Query()]) -> Response:
        """Events as they were committed, the newest first."""
        if query.limit > bounds.events_max:
            detail, fix = f"`limit` is {query.limit}", f"Ask for at most {bounds.events_max} and page with `before`."
            raise Refused("limit", RefusalReason.OUT_OF_RANGE, detail, fix)
        before = _cursor(query.before)
        wanted = events.EventFilter(
            type=query.type,
            areas=None if query.area is None else events.descendants(site.areas, [area_of(site, query.area, "area")]),
            source=query.source,
            subject=query.subject,
        )
        async with database.reading("events") as reader:
            horizon = await read_horizon(reader)
            if before is not None and before[0] != horizon.epoch:
                fix = "Begin again without `before`: the database was restored meanwhile."
                raise Refused("before", RefusalReason.INVALID, "the cursor is of another epoch", fix)
            # One more than asked for tells whether there is a next page.
            found = await events.read_recent(
                reader, horizon.epoch, wanted, before[1] if before else None, query.limit + 1
            )
        page = found[: query.limit]
        following = _cursor_text(horizon.epoch, page[-1].cursor) if len(found) > query.limit else None
        items = ",".join(item.text for item in page)
        return Response(
            f'{{"items":[{items}],"next":{msgspec.json.encode(following).decode()}}}', media_type="application/json"
        )

    @router.get("/sources", **_described(SourceList))
    async def read_sources(_: Annotated[NoQuery, Query()]) -> Response:
        """Who sends, and when they were last heard."""
        now = config.now()
        async with database.reading("sources") as reader:
            return _json(SourceList(now, await sources.read_all(reader, site, now, bounds.sources_max)))

    @router.get("/workers", **_described(WorkerList))
    async def read_workers(_: Annotated[NoQuery, Query()]) -> Response:
        """Who counts, and why who does not has stopped."""
        async with database.reading("workers") as reader:
            return _json(WorkerList(await workers.read_all(reader, bounds.workers_max)))

    return router


def describe(generated: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """Adds the answers' schemas to a generated OpenAPI document."""

    def openapi() -> dict[str, Any]:
        document = generated()
        _, components = msgspec.json.schema_components(ANSWERS, ref_template="#/components/schemas/{name}")
        document.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return document

    return openapi


def _described(answer: type[Struct], *further: int) -> dict[str, Any]:
    """What OpenAPI says of a route's answers; FastAPI itself leaves them alone."""
    problem = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    reference = {"$ref": f"#/components/schemas/{answer.__name__}"}
    return {
        "response_model": None,
        "responses": {
            200: {"description": answer.__doc__, "content": {"application/json": {"schema": reference}}},
            422: {"description": "A parameter is wrong; the problem names it and the fix.", **problem},
            503: {"description": "The database is away; try again after `Retry-After` seconds.", **problem},
            **{status: {"description": "There is no such thing.", **problem} for status in further},
        },
    }


def _range(query: SeriesQuery, now: datetime) -> tuple[datetime, datetime]:
    for name, moment in (("from", query.start), ("to", query.end)):
        if moment is not None and moment.year not in YEARS:
            fix = f"Ask for a time from {YEARS.start} to {YEARS.stop - 1}."
            raise Refused(name, RefusalReason.OUT_OF_RANGE, f"the year {moment.year} cannot be asked for", fix)
    end = (query.end or now).astimezone(UTC)
    start = (
        query.start.astimezone(UTC)
        if query.start
        else max(end - timedelta(seconds=RANGE_S), datetime(YEARS.start, 1, 1, tzinfo=UTC))
    )
    if start >= end:
        fix = "Let `from` be earlier than `to`; both default to the last hour."
        raise Refused("from", RefusalReason.OUT_OF_RANGE, "`from` is not before `to`", fix)
    return start, end


def _starts(start: datetime, end: datetime, step: Tier, zone: ZoneInfo, buckets_max: int) -> list[int]:
    length_s = (end - start).total_seconds()
    # Estimated before they are listed, for a century of minutes would fill the memory.
    if length_s / _SHORTEST_S[step] > buckets_max:
        coarser = "a shorter range" if step is Tier.DAY else "a shorter range or a coarser `step`"
        raise Refused(
            "from",
            RefusalReason.TOO_MANY,
            f"the range holds about {length_s / _SHORTEST_S[step]:.0f} buckets",
            f"Ask for at most {buckets_max} buckets: {coarser}.",
        )
    return bucket_starts(int(start.timestamp()), -int(-end.timestamp() // 1), step, zone)


def _buckets(one: series.DimensionSeries, ends: list[int], zone: ZoneInfo) -> list[Bucket]:
    return [
        Bucket(
            start=datetime.fromtimestamp(start_s, zone),
            end=datetime.fromtimestamp(end_s, zone),
            **msgspec.structs.asdict(value),
        )
        for (start_s, value), end_s in zip(one.points, ends, strict=True)
    ]


def _cursor_text(epoch: int, cursor: events.EventCursor) -> str:
    key = base64.urlsafe_b64encode(f"{cursor.source}\n{cursor.id}".encode()).decode().rstrip("=")
    return f"{Position(epoch, cursor.xid)}.{key}"


def _cursor(text: str | None) -> tuple[int, events.EventCursor] | None:
    """Reads `<epoch>-<xid>` with or without the key that `next` appends."""
    if text is None:
        return None
    position_text, _, key = text.partition(".")
    position = parse_position(position_text)
    try:
        raw = base64.b64decode(key + "=" * (-len(key) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:  # as binascii.Error and UnicodeError are
        raw = "\x00"
    if position is None or "\x00" in raw:
        fix = "Send `next` of the page before as it came."
        raise Refused("before", RefusalReason.INVALID, "the cursor cannot be read", fix)
    source, _, id_ = raw.partition("\n")
    return position.epoch, events.EventCursor(position.xid, source, id_)


def _json(value: Struct) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
