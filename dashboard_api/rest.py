"""What can be asked, and in what form is it answered?

Times need a zone; a naive one is refused. Every answer is what the database had committed.
"""

import base64
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Header, Query, Request
from msgspec import Struct
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from dashboard_api import events, sources, workers
from dashboard_api.answers import read_horizon
from dashboard_api.bucket import Bucket, bucket_of
from dashboard_api.closing import read_closing
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.export import BUCKET_COLUMNS, Column, Format, Sheet, bucket_cells, format_of, reply
from dashboard_api.guard import SignedIn, Viewer
from dashboard_api.kept import KeptFor, serve
from dashboard_api.messages import EventItem
from dashboard_api.position import Position, parse_position
from dashboard_api.problem import CONTENT_TYPE, Problem
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.scope import seen_kpis
from dashboard_api.sources import SourceState
from dashboard_api.spans import DAY_S, SHORTEST_S, Span, Step, pieces, spans
from dashboard_api.subscription import area_of, kpi_of
from dashboard_api.values import read_figures
from dashboard_api.workers import WorkerState
from schemas.area import Area, Point
from schemas.case import Kind as CaseKind
from schemas.command import Actor
from schemas.kpi import Across, Catalogue, Kpi, Measure, Target, Thresholds
from schemas.map_tiles import MapTiles
from schemas.site import Retention, Site
from schemas.window import Tier

RANGE_S = 3600
"""How far a series reaches back when nothing is said."""

YEARS = range(1970, 2200)
"""Years that can be asked for; every zone and every table can hold them."""


def _no_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("the text holds the NUL character")
    return text


Word = Annotated[str, Field(min_length=1, max_length=512), AfterValidator(_no_nul)]


class SeriesQuery(BaseModel):
    """Which buckets of a series."""

    model_config = ConfigDict(extra="forbid")
    area: Annotated[Word | None, Field(description="An area's id; the root when left out.")] = None
    step: Annotated[Step, Field(description="The width of a bucket. Days and more are the area's local ones.")] = (
        Step.MINUTE
    )
    start: Annotated[AwareDatetime | None, Field(alias="from", description="Default: an hour before `to`.")] = None
    end: Annotated[AwareDatetime | None, Field(alias="to", description="Exclusive. Default: now.")] = None
    by: Annotated[Word | None, Field(description="A dimension of the KPI: one series for each of its values.")] = None
    where: Annotated[
        list[Annotated[str, Field(max_length=512), AfterValidator(_no_nul)]],
        Field(max_length=8, description="`dimension:value`, several times: only what has these values."),
    ] = []
    format: Annotated[
        Format | None, Field(description="`csv` and `parquet` are files; the header `Accept` can ask for them, too.")
    ] = None


class EventsQuery(BaseModel):
    """Which events of the list."""

    model_config = ConfigDict(extra="forbid")
    type: Annotated[Word | None, Field(description="A CloudEvents type.")] = None
    area: Annotated[Word | None, Field(description="An area's id; what lies in it is included.")] = None
    source: Word | None = None
    subject: Word | None = None
    exercise: Annotated[bool | None, Field(description="Only those of drills, or none of them.")] = None
    limit: Annotated[int, Field(ge=1, description="At most 500.")] = 50
    before: Annotated[Word | None, Field(description="`next` of the page before, or any position.")] = None


class AreasQuery(BaseModel):
    """Which areas."""

    model_config = ConfigDict(extra="forbid")
    list: Annotated[Word | None, Field(description="Only those of this code list.")] = None


class KpisQuery(BaseModel):
    """Which indicators."""

    model_config = ConfigDict(extra="forbid")
    exercise: Annotated[bool, Field(description="Those of drills, whose ids begin with `drill:`.")] = False


class NoQuery(BaseModel):
    """No parameters; an unknown one is a mistake that should be heard of."""

    model_config = ConfigDict(extra="forbid")


class KpiView(Struct, frozen=True, kw_only=True):
    """An indicator of the catalogue. Without news for longer than `freshness_s`, its value is stale.

    `dimensions` is what it can be split by, `events` the CloudEvents types that it is read from, in the end, and
    `parts` the ids of what a ratio, balance or silent one is computed from; one with a slash has no life of its own.
    """

    id: str
    names: dict[str, str]
    unit: str
    measure: Measure
    dimensions: tuple[str, ...]
    events: list[str]
    parts: tuple[str, ...]
    pillar: str | None
    group: str | None
    owner: str | None
    document: str | None
    direction: Literal["higher", "lower"] | None
    thresholds: Thresholds | None
    target: list[Target]
    per: float
    q: float | None
    within_s: float | None
    lookback_days: int | None
    across: Across | None
    freshness_s: int


class KpiList(Struct, frozen=True):
    """All indicators, in the order of the site pack."""

    items: list[KpiView]


class DimensionView(Struct, frozen=True):
    """One line of a chart; `dim` is null for all values of the dimension together."""

    dim: str | None
    buckets: list[Bucket]


class SeriesView(Struct, frozen=True, kw_only=True, rename={"start": "from", "end": "to"}):
    """A series. Every bucket that touches [from, to) is there: without events a count is 0, and a ratio is null."""

    kpi: str
    unit: str
    measure: Measure
    area: str
    step: Step
    by: str | None
    zone: str
    start: datetime
    end: datetime
    position: str
    as_of: datetime
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


class AreaView(Struct, frozen=True, kw_only=True):
    """A version of an area: a node of the tree of one code list, in force in [`valid_from`, `valid_to`)."""

    id: str
    code: str
    list: str
    parent: str | None
    kind: str
    names: dict[str, str]
    zone: str
    valid_from: date | None
    valid_to: date | None
    population: int | None
    households: int | None
    point: Point | None


class AreaList(Struct, frozen=True):
    """Areas in the order of the site pack. `area_list` is the present code list, `root` the id of its root."""

    area_list: str
    root: str
    lists: list[str]
    items: list[AreaView]


class NamedView(Struct, frozen=True):
    """Something that the site pack names."""

    id: str
    names: dict[str, str]


class CategoryView(Struct, frozen=True):
    """What a signal can be about. `steps` are those that the law gives, in their order.

    `publish`: cases of it are shown to everyone unless somebody says otherwise, and `sensitive`: then with a rounded
    place.
    """

    id: str
    names: dict[str, str]
    kind: CaseKind
    opens: bool
    publish: bool
    sensitive: bool
    steps: list[NamedView]


class SiteView(Struct, frozen=True):
    """The site as a whole, and what its pages offer to choose from. The first of `languages` is its own.

    `map` is where maps take a picture under them; null: nowhere.
    """

    id: str
    names: dict[str, str]
    zone: str
    area_list: str
    languages: list[str]
    categories: list[CategoryView]
    agencies: list[NamedView]
    map: MapTiles | None


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
"""What OpenAPI describes of these routes."""


AREA_LISTS_MAX = 16
"""How many lists of areas are kept packed."""


def routes(config: DashboardConfig, database: Database) -> APIRouter:
    """The routes under /v1, over one database. The site may change from one request to the next."""
    router, bounds = APIRouter(prefix="/v1", tags=["dashboard"]), config.bounds
    kept_areas = KeptFor("application/json", AREA_LISTS_MAX)

    @router.get("/site", **described(SiteView))
    async def read_site(_: Annotated[NoQuery, Query()]) -> Response:
        """What this site is called, where it is, and what it speaks."""
        site = config.site
        header, categories = site.header, () if site.cases is None else site.cases.category
        return _json(
            SiteView(
                header.id,
                header.names,
                header.zone,
                header.area_list,
                header.languages,
                [
                    CategoryView(
                        id=c.id,
                        names=c.names,
                        kind=c.kind,
                        opens=c.opens,
                        publish=c.publish,
                        sensitive=c.sensitive,
                        steps=[NamedView(s.id, s.names) for s in c.steps],
                    )
                    for c in categories
                ],
                [NamedView(agency.id, agency.names) for agency in site.agencies.values()],
                header.map,
            )
        )

    @router.get("/areas", **described(AreaList))
    async def read_areas(request: Request, query: Annotated[AreasQuery, Query()]) -> Response:
        """The administrative trees: of the present code list, and of earlier ones."""
        areas = config.site.areas
        if query.list is not None and query.list not in areas.lists:
            fix = f"Use one of: {', '.join(areas.lists)}."
            raise Refused("list", RefusalReason.INVALID, "this site has no such code list", fix)

        def listed() -> bytes:
            items = [_area_view(area) for area in areas if query.list in (None, area.list_id)]
            return msgspec.json.encode(AreaList(areas.list_id, areas.root.id, list(areas.lists), items))

        return serve(await kept_areas.get(areas, query.list, listed), request, {"Cache-Control": "no-cache"})

    @router.get("/kpis", **described(KpiList))
    async def read_kpis(viewer: Viewer, query: Annotated[KpisQuery, Query()]) -> Response:
        """The catalogue of indicators, as far as one may see them."""
        site = config.site
        return _json(KpiList([_kpi_view(site.kpis, kpi) for kpi in seen_kpis(site, viewer, exercise=query.exercise)]))

    @router.get("/kpis/{id}/series", **described(SeriesView, 404))
    async def read_series(
        id: str,  # noqa: A002  # its name in the address
        viewer: Viewer,
        query: Annotated[SeriesQuery, Query()],
        accept: Annotated[str, Header()] = "",
    ) -> Response:
        """One indicator over a range of time."""
        site = config.site
        kpi = known_kpi(site, viewer, id)
        area = area_of(site, query.area, "area") if query.area is not None else site.areas.root.id
        where = where_of(site.kpis, kpi, query.by, query.where)
        start, end = _range(query, config.now())
        zone = site.areas.zone(area)
        asked = spans_between(start, end, query.step, zone, bounds.buckets_max)
        check_kept(asked[0], zone, site.header.retention, config.now())
        async with database.reading("series") as reader:
            horizon = await read_horizon(reader)
            closed = await read_closing(reader, site)
            figures = await read_figures(
                reader, site, [kpi.id], [area], asked, by=query.by, where=where, closed=closed
            )
        groups = figures.groups(kpi.id, area)
        if len(groups) * len(asked) > bounds.values_max:
            detail = (
                f"{len(groups)} values of `{query.by}` in {len(asked)} buckets are {len(groups) * len(asked)} values"
            )
            fix = f"Ask for at most {bounds.values_max}: a shorter range or a coarser `step`."
            raise Refused("by", RefusalReason.TOO_MANY, detail, fix)
        answer = SeriesView(
            kpi=kpi.id,
            unit=kpi.unit,
            measure=kpi.measure,
            area=area,
            step=query.step,
            by=query.by,
            zone=site.areas[area].zone,
            start=start,
            end=end,
            position=str(horizon),
            as_of=config.now().astimezone(UTC),
            series=[
                DimensionView(
                    group,
                    [
                        bucket_of(span, figures.reported(kpi.id, area, group, at), zone)
                        for at, span in enumerate(asked)
                    ],
                )
                for group in groups
            ],
        )
        return await reply(answer, lambda: _sheet(answer), format_of(query.format, accept))

    @router.get("/events", **described(EventPage, 401))
    async def read_events(actor: SignedIn, query: Annotated[EventsQuery, Query()]) -> Response:
        """Events that one may see as they were committed, the newest first."""
        if query.limit > bounds.events_max:
            detail, fix = f"`limit` is {query.limit}", f"Ask for at most {bounds.events_max} and page with `before`."
            raise Refused("limit", RefusalReason.OUT_OF_RANGE, detail, fix)
        before = _cursor(query.before)
        wanted = events.EventFilter(
            type=query.type,
            areas=None
            if query.area is None
            else events.descendants(config.site.areas, [area_of(config.site, query.area, "area")]),
            source=query.source,
            subject=query.subject,
            exercise=query.exercise,
        )
        async with database.reading("events") as reader:
            horizon = await read_horizon(reader)
            if before is not None and before[0] != horizon.epoch:
                fix = "Begin again without `before`: the database was restored meanwhile."
                raise Refused("before", RefusalReason.INVALID, "the cursor is of another epoch", fix)
            # One more than asked for tells whether there is a next page.
            found = await events.read_recent(
                reader,
                actor,
                config.site.areas,
                horizon.epoch,
                wanted,
                before[1] if before else None,
                query.limit + 1,
            )
        page = found[: query.limit]
        following = _cursor_text(horizon.epoch, page[-1].cursor) if len(found) > query.limit else None
        items = ",".join(item.text for item in page)
        return Response(
            f'{{"items":[{items}],"next":{msgspec.json.encode(following).decode()}}}', media_type="application/json"
        )

    @router.get("/sources", **described(SourceList, 401))
    async def read_sources(_actor: SignedIn, _: Annotated[NoQuery, Query()]) -> Response:
        """Who sends, and when they were last heard."""
        now = config.now()
        async with database.reading("sources") as reader:
            return _json(SourceList(now, await sources.read_all(reader, config.site, now, bounds.sources_max)))

    @router.get("/workers", **described(WorkerList, 401))
    async def read_workers(_actor: SignedIn, _: Annotated[NoQuery, Query()]) -> Response:
        """Who counts, and why who does not has stopped."""
        async with database.reading("workers") as reader:
            return _json(WorkerList(await workers.read_all(reader, bounds.workers_max)))

    return router


_SAID = {
    401: "It is not public: sign in, or send a token.",
    403: "It is not for your role.",
    409: "It is not kept.",
}


def describe(
    generated: Callable[[], dict[str, Any]], answers: Sequence[type[Struct]] = ANSWERS
) -> Callable[[], dict[str, Any]]:
    """Adds the answers' schemas to a generated OpenAPI document."""

    def openapi() -> dict[str, Any]:
        document = generated()
        _, components = msgspec.json.schema_components(answers, ref_template="#/components/schemas/{name}")
        document.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return document

    return openapi


def described(answer: type[Struct], *further: int) -> dict[str, Any]:
    """What OpenAPI says of a route's answers; FastAPI itself leaves them alone."""
    problem = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    reference = {"$ref": f"#/components/schemas/{answer.__name__}"}
    return {
        "response_model": None,
        "responses": {
            200: {"description": answer.__doc__, "content": {"application/json": {"schema": reference}}},
            422: {"description": "A parameter is wrong; the problem names it and the fix.", **problem},
            503: {"description": "The database is away; try again after `Retry-After` seconds.", **problem},
            **{
                status: {"description": _SAID.get(status, "There is no such thing."), **problem} for status in further
            },
        },
    }


def known_kpi(site: Site, actor: Actor, id_: str) -> Kpi:
    """The KPI that an address names, if the actor may see it. Raises Refused with the status 404."""
    try:
        return kpi_of(site, actor, id_, "id")
    except Refused as unknown:
        raise Refused(unknown.field, unknown.reason, unknown.detail, unknown.fix, status=404) from None


def where_of(catalogue: Catalogue, kpi: Kpi, by: str | None, texts: Sequence[str]) -> dict[str, str]:
    """The values that dimensions must have. Raises Refused where the KPI cannot be split so, or by `by`."""
    dimensions = catalogue.dimensions_of(kpi.id)
    where = dict(_filter(text, at) for at, text in enumerate(texts))
    for field, name in [("by", by), *(("where", name) for name in where)]:
        if name is not None and name not in dimensions:
            fix = f"Use one of: {', '.join(dimensions)}." if dimensions else "Leave it out."
            raise Refused(field, RefusalReason.INVALID, f"the KPI has no dimension {name!r}", fix)
    return where


def check_years(start: datetime | None, end: datetime | None) -> None:
    """Raises Refused for a moment that no zone and no table need hold."""
    for name, moment in (("from", start), ("to", end)):
        if moment is not None and moment.year not in YEARS:
            fix = f"Ask for a time from {YEARS.start} to {YEARS.stop - 1}."
            raise Refused(name, RefusalReason.OUT_OF_RANGE, f"the year {moment.year} cannot be asked for", fix)


def _range(query: SeriesQuery, now: datetime) -> tuple[datetime, datetime]:
    check_years(query.start, query.end)
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


def spans_between(start: datetime, end: datetime, step: Step, zone: ZoneInfo, buckets_max: int) -> list[Span]:
    """Every bucket of this width that touches [start, end). Raises Refused when there are too many."""
    length_s = (end - start).total_seconds()
    # Estimated before they are listed, for a century of minutes would fill the memory.
    if length_s / SHORTEST_S[step] > buckets_max:
        coarser = "a shorter range" if step is Step.YEAR else "a shorter range or a coarser `step`"
        raise Refused(
            "from",
            RefusalReason.TOO_MANY,
            f"the range holds about {length_s / SHORTEST_S[step]:.0f} buckets",
            f"Ask for at most {buckets_max} buckets: {coarser}.",
        )
    return spans(int(start.timestamp()), -int(-end.timestamp() // 1), step, zone)


def check_kept(oldest: Span, zone: ZoneInfo, retention: Retention, now: datetime) -> None:
    """Raises Refused for what was dropped long ago: it would look as if nothing had happened."""
    days = {Tier.MINUTE: retention.minute_days, Tier.HOUR: retention.hour_days}
    for piece in pieces(oldest.start_s, oldest.end_s, zone):
        kept_days = days.get(piece.tier)
        if kept_days is not None and piece.start_s < now.timestamp() - kept_days * DAY_S:
            fix = f"Let `from` be within the last {kept_days} days, or ask for a coarser `step`."
            detail = f"buckets of a {piece.tier} are kept for {kept_days} days"
            raise Refused("from", RefusalReason.OUT_OF_RANGE, detail, fix)


def _filter(text: str, at: int) -> tuple[str, str]:
    """Reads `dimension:value`."""
    name, colon, value = text.partition(":")
    if not colon:
        fix = "Write `dimension:value`, as `channel:phone`."
        raise Refused(f"where.{at}", RefusalReason.INVALID, "there is no colon in it", fix)
    return name, value


def _kpi_view(catalogue: Catalogue, kpi: Kpi) -> KpiView:
    parts = catalogue.parts_of(kpi.id)
    return KpiView(
        id=kpi.id,
        names=kpi.names,
        unit=kpi.unit,
        measure=kpi.measure,
        dimensions=catalogue.dimensions_of(kpi.id),
        events=list(dict.fromkeys(base.event for base in catalogue.bases_of(kpi.id))),
        parts=() if parts == (kpi.id,) else parts,
        pillar=kpi.pillar,
        group=kpi.group,
        owner=kpi.owner,
        document=kpi.document,
        direction=kpi.direction,
        thresholds=kpi.thresholds,
        target=kpi.target,
        per=kpi.per,
        q=kpi.q,
        within_s=kpi.within_s,
        lookback_days=kpi.lookback_days if kpi.measure is Measure.SILENT else None,
        across=kpi.across if kpi.measure is Measure.LATEST else None,
        freshness_s=kpi.freshness_s,
    )


def _area_view(area: Area) -> AreaView:
    return AreaView(
        id=area.id,
        code=area.code,
        list=area.list_id,
        parent=area.parent,
        kind=area.kind,
        names=area.names,
        zone=area.zone,
        valid_from=area.valid_from,
        valid_to=area.valid_to,
        population=area.population,
        households=area.households,
        point=area.point,
    )


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


def _sheet(answer: SeriesView) -> Sheet:
    """A row for each bucket of each line."""
    columns = (Column("kpi"), Column("area"), Column("dim"), *BUCKET_COLUMNS)
    rows = [
        (answer.kpi, answer.area, line.dim, *bucket_cells(bucket))
        for line in answer.series
        for bucket in line.buckets
    ]
    return Sheet(f"{answer.kpi}-{answer.area}-{answer.step}-{answer.start:%Y-%m-%dT%H%M}", columns, rows)


def _json(value: Struct) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")
