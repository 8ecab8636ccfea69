"""What can leaders ask: who stands where, what is it now, what has changed, is it enough, and why?

Every answer is of one moment of the database, and says of which. The site may change from one request to the next.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from msgspec import Struct
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from dashboard_api.bucket import bucket_of
from dashboard_api.closing import ClosedUntil, read_closing
from dashboard_api.compare import CompareView, check_counts, compare_sheet, read_compared
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.drill import (
    SCAN_MAX,
    DrillView,
    areas_behind,
    cursor_text,
    drill_sheet,
    parse_cursor,
    read_page,
    roles_of,
    uncertain,
)
from dashboard_api.export import MEDIA, Format, format_of, reply
from dashboard_api.guard import SignedIn, Viewer
from dashboard_api.latest import LatestView, latest_sheet, read_latest
from dashboard_api.moment import Moment, one_moment
from dashboard_api.overview import (
    Asked,
    OverviewView,
    Periods,
    Way,
    named_area,
    other_maps,
    overview_sheet,
    period_now,
    read_overview,
)
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.replay import position_of
from dashboard_api.replay_known import read_as_of
from dashboard_api.replay_reading import check_moment, read_floors
from dashboard_api.replay_routes import AsOf
from dashboard_api.rest import Word, check_kept, check_years, described, known_kpi, spans_between, where_of
from dashboard_api.scope import seen_kpis
from dashboard_api.spans import Step
from dashboard_api.subscription import area_of, kpi_of
from dashboard_api.tables import (
    AttainmentView,
    Order,
    TableView,
    When,
    areas_of,
    by_zone,
    check_size,
    counts_of,
    period_of_text,
    read_all,
    row_of,
    rows_of,
    table_sheet,
    values_of,
    when_of,
)
from dashboard_api.values import read_figures
from schemas.command import Actor
from schemas.event import AreaId
from schemas.kpi import Kpi
from schemas.period import YEAR_MIN
from schemas.site import Site

DRILL_LIMIT = 50
"""Events of a page when nothing is said."""

SomeKpis = Annotated[
    Annotated[str, Field(min_length=1, max_length=40_000)] | None,
    Field(description="Ids with commas in between; all of them when left out."),
]
AreaParameter = Annotated[Word | None, Field(description="An area's id; the root when left out.")]
Exercise = Annotated[bool, Field(description="Without `kpis`: those of drills instead of the real ones.")]
Accept = Annotated[str, Header()]
Wheres = Annotated[
    list[Word], Field(max_length=8, description="`dimension:value`, several times: only what has these values.")
]


class FormatQuery(BaseModel):
    """In what form."""

    model_config = ConfigDict(extra="forbid")
    format: Annotated[
        Format | None, Field(description="All but `json` are files; the header `Accept` can ask for them, too.")
    ] = None


class PastQuery(FormatQuery):
    """As of when."""

    as_of: Annotated[
        AsOf | None,
        Field(description="What was known at this moment, as JSON; each value says how it is `known`. Default: now."),
    ] = None


class WhenQuery(FormatQuery):
    """Of which time: a calendar period, or a range; the day so far when nothing is said."""

    period: Annotated[Word | None, Field(description="2026, 2026-Q3, 2026-09 or 2026-09-30.")] = None
    start: Annotated[AwareDatetime | None, Field(alias="from")] = None
    end: Annotated[AwareDatetime | None, Field(alias="to", description="Exclusive. Default: now.")] = None


class TableQuery(PastQuery, WhenQuery):
    """Which rows."""

    area: AreaParameter = None
    areas: Annotated[
        Word | None,
        Field(
            description="`children` of the area (the default), `leaves`, `self` (the default with `by`), a kind as "
            "`commune`, or ids with commas in between."
        ),
    ] = None
    step: Annotated[Step | None, Field(description="Rows for each bucket of this width.")] = None
    by: Annotated[Word | None, Field(description="A dimension of the KPI: a row for each of its values.")] = None
    where: Wheres = []
    order: Annotated[Order, Field(description="`rank` has the best first, by the KPI's direction.")] = Order.RANK
    limit: Annotated[int | None, Field(ge=1, description="Rows of each bucket.")] = None


class LatestQuery(FormatQuery):
    """Which indicators of which area."""

    area: AreaParameter = None
    exercise: Exercise = False
    kpis: SomeKpis = None
    step: Annotated[Step, Field(description="The width of the running bucket and of the one closed last.")] = Step.DAY


class OverviewQuery(PastQuery):
    """Which indicators of which area, and over which period."""

    area: AreaParameter = None
    exercise: Exercise = False
    kpis: SomeKpis = None
    period: Annotated[
        Word | None, Field(description="As 2026, 2026-Q3, 2026-09 or 2026-09-30. Default: this month.")
    ] = None


class CompareQuery(PastQuery):
    """What is set side by side: up to 12 periods and up to 12 areas."""

    periods: Annotated[
        Word,
        Field(
            description="With commas in between, as 2026-09,2026-10; each is compared with the "
            "one before it in the list."
        ),
    ]
    areas: Annotated[
        Word | None,
        Field(
            description="Ids with commas in between, of any list; each is compared with the first. Default: the root."
        ),
    ] = None
    where: Wheres = []


class AttainmentQuery(WhenQuery):
    """Whose targets."""

    area: AreaParameter = None


class DrillQuery(WhenQuery):
    """Which events behind a value."""

    area: AreaParameter = None
    where: Wheres = []
    part: Annotated[
        Word | None, Field(description="Of a ratio `numerator` or `denominator`, of a balance `plus` or `minus`.")
    ] = None
    limit: Annotated[
        int | None, Field(ge=1, description=f"At most 500, or {SCAN_MAX} in a file. Default: 50, in a file all.")
    ] = None
    before: Annotated[
        Annotated[str, Field(min_length=1, max_length=4096)] | None, Field(description="`next` of the page before.")
    ] = None


ANSWERS: tuple[type[Struct], ...] = (TableView, LatestView, OverviewView, CompareView, AttainmentView, DrillView)
"""What OpenAPI describes of these routes."""


def query_routes(config: DashboardConfig, database: Database) -> APIRouter:
    """The routes under /v1 that put figures together."""
    router, bounds = APIRouter(prefix="/v1", tags=["figures"]), config.bounds

    def checked(site: Site, when: When, areas: list[AreaId]) -> None:
        for zone in by_zone(site, areas):
            if when.step is not None:
                spans_between(when.start, when.end, when.step, zone, bounds.buckets_max)
            check_kept(when.spans(zone)[0], zone, site.header.retention, config.now())

    async def known(moment: Moment, site: Site, kpis: Sequence[Kpi], query: PastQuery) -> tuple[Moment, ClosedUntil]:
        """The moment that is asked about, and what had closed by then."""
        if query.as_of is None:
            return moment, await read_closing(moment.reader, site)
        as_of, now = query.as_of.astimezone(UTC), moment.as_of
        floors = await read_floors(moment.reader)
        check_moment(as_of, now, floors, "as_of", cases=False, units=False, kpis=True)
        closed = await read_as_of(moment.reader, site, [kpi.id for kpi in kpis], as_of, now)
        return moment._replace(position=str(position_of(as_of)), as_of=as_of), closed

    @router.get("/kpis/{id}/table", **_described(TableView, 404))
    async def read_table(
        id: str,  # noqa: A002  # its name in the address
        viewer: Viewer,
        query: Annotated[TableQuery, Query()],
        accept: Accept = "",
    ) -> Response:
        """One indicator in many areas, or by the values of a dimension, ranked and judged."""
        site = config.site
        kpi, of = known_kpi(site, viewer, id), _area(site, query.area)
        where = where_of(site.kpis, kpi, query.by, query.where)
        when, format_ = _when(query, query.step, query.as_of or config.now()), _format(query, accept)
        home = site.areas.zone(of)
        checked(site, when, [of])
        own = when.spans(home)
        end = datetime.fromtimestamp(own[-1].end_s, home)
        areas = areas_of(site, query.areas or ("self" if query.by else "children"), of, end)
        check_size(len(areas) * len(own), bounds)
        checked(site, when, [area.id for area in areas])
        async with one_moment(config, database, "table") as present:
            moment, closed = await known(present, site, [kpi], query)
            reads = await read_all(moment.reader, site, kpi, areas, when, by=query.by, where=where, closed=closed)
        found = await values_of(site, kpi, reads, bounds)
        answer = TableView(
            **_about(kpi),
            direction=kpi.direction,
            area=of,
            by=query.by,
            start=datetime.fromtimestamp(own[0].start_s, home),
            end=end,
            position=moment.position,
            as_of=moment.as_of,
            total=len(found),
            rows=await rows_of(kpi, found, where, query.order, query.limit),
        )
        languages = site.header.languages
        return await reply(
            answer,
            lambda: table_sheet(_name(kpi.id, "table", of, when, home), kpi.id, answer.rows, languages),
            format_,
        )

    @router.get("/kpis/{id}/attainment", **_described(AttainmentView, 404))
    async def read_attainment(
        id: str,  # noqa: A002  # its name in the address
        viewer: Viewer,
        query: Annotated[AttainmentQuery, Query()],
        accept: Accept = "",
    ) -> Response:
        """One indicator against its targets: of an area, and of those directly below it."""
        site = config.site
        kpi, of = known_kpi(site, viewer, id), _area(site, query.area)
        when = _when(query, None, config.now())
        home = site.areas.zone(of)
        [own] = when.spans(home)
        end = datetime.fromtimestamp(own.end_s, home)
        areas = [site.areas[of], *areas_of(site, "children", of, end)]
        checked(site, when, [area.id for area in areas])
        async with one_moment(config, database, "attainment") as moment:
            closed = await read_closing(moment.reader, site)
            reads = await read_all(moment.reader, site, kpi, areas, when, by=None, where={}, closed=closed)
        found = await values_of(site, kpi, reads, bounds)
        # The area itself is there once, wherever its zone has put it.
        [first] = [one for one in found if one.area.id == of]
        below = [one for one in found if one.area.id != of]
        rows = await rows_of(kpi, below, {}, Order.RANK, None)
        answer = AttainmentView(
            **_about(kpi),
            direction=kpi.direction,
            area=of,
            start=datetime.fromtimestamp(own.start_s, home),
            end=end,
            position=moment.position,
            as_of=moment.as_of,
            own=row_of(first, {}),
            rows=rows,
            counts=counts_of(rows),
        )
        name, languages = _name(kpi.id, "attainment", of, when, home), site.header.languages
        return await reply(
            answer,
            lambda: table_sheet(name, kpi.id, [answer.own, *rows], languages),
            format_of(query.format, accept),
        )

    @router.get("/latest", **_described(LatestView))
    async def read_now(viewer: Viewer, query: Annotated[LatestQuery, Query()], accept: Accept = "") -> Response:
        """All indicators of an area as they stand now."""
        site = config.site
        of = _area(site, query.area)
        kpis = _kpis(site, viewer, query.kpis, exercise=query.exercise)
        async with one_moment(config, database, "latest") as moment:
            closed = await read_closing(moment.reader, site)
            items = await read_latest(moment.reader, site, kpis, of, query.step, moment.as_of, closed)
        area = site.areas[of]
        answer = LatestView(
            area=of,
            names=area.names,
            zone=area.zone,
            step=query.step,
            position=moment.position,
            as_of=moment.as_of,
            items=items,
        )
        languages = site.header.languages
        return await reply(
            answer,
            lambda: latest_sheet(f"latest-{of}", of, items, languages),
            format_of(query.format, accept),
        )

    @router.get("/overview", **_described(OverviewView))
    async def read_all_kpis(
        viewer: Viewer, query: Annotated[OverviewQuery, Query()], accept: Accept = ""
    ) -> Response:
        """All indicators of an area over a period: judged, and beside the time before and the areas below."""
        site, kept_at = config.site, config.now()
        now, format_ = query.as_of or kept_at, _format(query, accept)
        of = _area(site, query.area)
        kpis = _kpis(site, viewer, query.kpis, exercise=query.exercise)
        period = period_now(now, site, of) if query.period is None else period_of_text(query.period, "period")
        if period.first.year <= YEAR_MIN:
            fix = f"Ask for a period from {YEAR_MIN + 1} on."
            raise Refused("period", RefusalReason.OUT_OF_RANGE, "there is no year before it to compare with", fix)
        asked = Asked(site, kpis, of, period, now, kept_at)
        zone, periods = site.areas.zone(of), Periods(asked)
        span = period.span(zone)
        end = datetime.fromtimestamp(span.end_s, zone)
        below = areas_of(site, "children", of, end)
        async with one_moment(config, database, "overview") as present:
            moment, closed = await known(present, site, kpis, query)
            items, areas = await read_overview(moment.reader, asked, below, bounds, closed)
        area = site.areas[of]
        answer = OverviewView(
            area=of,
            names=area.names,
            kind=area.kind,
            list=area.list_id,
            zone=area.zone,
            path=[named_area(site.areas[id_]) for id_ in reversed(site.areas.path(of))],
            maps=other_maps(site, of),
            below=areas,
            period=str(period),
            previous=str(period.before()),
            next=str(period.after()),
            start=datetime.fromtimestamp(span.start_s, zone),
            end=end,
            running=periods.is_running(of),
            before_to=datetime.fromtimestamp(periods.of(Way(), of).before.end_s, zone),
            position=moment.position,
            as_of=moment.as_of,
            items=items,
        )
        languages = site.header.languages
        return await reply(
            answer,
            lambda: overview_sheet(f"overview-{of}-{period}", of, str(period), items, languages),
            format_,
        )

    @router.get("/kpis/{id}/compare", **_described(CompareView, 404))
    async def read_comparison(
        id: str,  # noqa: A002  # its name in the address
        viewer: Viewer,
        query: Annotated[CompareQuery, Query()],
        accept: Accept = "",
    ) -> Response:
        """One indicator over several periods, and in several areas, also of different maps."""
        site = config.site
        kpi = known_kpi(site, viewer, id)
        where, format_ = where_of(site.kpis, kpi, None, query.where), _format(query, accept)
        texts = list(dict.fromkeys(query.periods.split(",")))
        periods = [period_of_text(text, f"periods.{at}") for at, text in enumerate(texts)]
        named = [site.areas.root.id] if query.areas is None else list(dict.fromkeys(query.areas.split(",")))
        areas = [area_of(site, text, f"areas.{at}") for at, text in enumerate(named)]
        check_counts(periods, areas)
        async with one_moment(config, database, "compare") as present:
            moment, closed = await known(present, site, [kpi], query)
            compared = await read_compared(moment.reader, site, kpi, areas, periods, where=where, closed=closed)
        answer = CompareView(
            **_about(kpi),
            direction=kpi.direction,
            periods=[str(period) for period in periods],
            position=moment.position,
            as_of=moment.as_of,
            exact=all(cell.exact for one in compared for cell in one.cells),
            areas=compared,
        )
        languages = site.header.languages
        return await reply(
            answer,
            lambda: compare_sheet(f"{kpi.id}-compare", kpi.id, compared, languages),
            format_,
        )

    @router.get("/kpis/{id}/events", **_described(DrillView, 401, 404, 409))
    async def read_behind(
        id: str,  # noqa: A002  # its name in the address
        viewer: SignedIn,
        query: Annotated[DrillQuery, Query()],
        accept: Accept = "",
    ) -> Response:
        """The events that a value is made of: from a red share to the cases."""
        site = config.site
        kpi, of = known_kpi(site, viewer, id), _area(site, query.area)
        where = where_of(site.kpis, kpi, None, query.where)
        format_ = format_of(query.format, accept)
        limit = _limit(query.limit, format_, bounds.events_max)
        before = parse_cursor(query.before)
        when = _when(query, None, config.now())
        zone = site.areas.zone(of)
        [span] = when.spans(zone)
        checked(site, when, [of])
        roles = roles_of(site, kpi, of, span, query.part)
        async with one_moment(config, database, "drill") as moment:
            closed = await read_closing(moment.reader, site)
            figures = await read_figures(moment.reader, site, [kpi.id], [of], [span], where=where, closed=closed)
            areas = areas_behind(site, of)
            page = await read_page(moment.reader, viewer, site, kpi, roles, areas, where, before, limit)
        value = bucket_of(span, figures.reported(kpi.id, of, None, 0), zone)
        answer = DrillView(
            **_about(kpi),
            area=of,
            start=value.start,
            end=value.end,
            value=value,
            uncertain=uncertain(site, of),
            position=moment.position,
            as_of=moment.as_of,
            scanned=page.scanned,
            items=page.items,
            next=cursor_text(page.after),
        )
        name, dimensions = _name(kpi.id, "events", of, when, zone), site.kpis.dimensions_of(kpi.id)
        return await reply(
            answer,
            lambda: drill_sheet(name, kpi.id, dimensions, page.items),
            format_,
            {"IOC-Next": answer.next} if answer.next is not None else None,
        )

    return router


def _area(site: Site, asked: str | None) -> AreaId:
    return site.areas.root.id if asked is None else area_of(site, asked, "area")


def _kpis(site: Site, viewer: Actor, asked: str | None, *, exercise: bool) -> list[Kpi]:
    """The indicators with these ids, or all that somebody may see: real ones, or those of drills. Raises Refused."""
    shown = seen_kpis(site, viewer, exercise=exercise)
    named = [kpi.id for kpi in shown] if asked is None else asked.split(",")
    return [kpi_of(site, viewer, id_, f"kpis.{at}") for at, id_ in enumerate(dict.fromkeys(named))]


def _format(query: PastQuery, accept: str) -> Format:
    """In what form. Raises Refused for a file of the past, whose columns do not say how a value is known."""
    format_ = format_of(query.format, accept)
    if query.as_of is not None and format_ is not Format.JSON:
        fix = "Leave out `as_of`, or take JSON."
        raise Refused("as_of", RefusalReason.INVALID, "files are of what is known now", fix)
    return format_


def _when(query: WhenQuery, step: Step | None, now: datetime) -> When:
    check_years(query.start, query.end)
    return when_of(query.period, query.start, query.end, step, now)


def _limit(asked: int | None, format_: Format, events_max: int) -> int:
    most = events_max if format_ is Format.JSON else SCAN_MAX
    if asked is None:
        return DRILL_LIMIT if format_ is Format.JSON else SCAN_MAX
    if asked > most:
        fix = f"Ask for at most {most} and page with `before`."
        raise Refused("limit", RefusalReason.OUT_OF_RANGE, f"`limit` is {asked}", fix)
    return asked


def _about(kpi: Kpi) -> dict[str, Any]:
    return {"kpi": kpi.id, "names": kpi.names, "unit": kpi.unit, "measure": kpi.measure}


def _name(kpi: str, what: str, area: AreaId, when: When, zone: Any) -> str:  # noqa: ANN401
    first = datetime.fromtimestamp(when.spans(zone)[0].start_s, zone)
    return f"{kpi}-{what}-{area}-{when.period or first.strftime('%Y-%m-%dT%H%M')}"


def _described(answer: type[Struct], *further: int) -> dict[str, Any]:
    """What OpenAPI says, with the files that the answer can be had as."""
    said = described(answer, *further)
    content: dict[str, Any] = said["responses"][200]["content"]
    content |= {
        media: {"schema": {"type": "string", "format": "binary"}}
        for form, media in MEDIA.items()
        if form is not Format.JSON
    }
    return said
