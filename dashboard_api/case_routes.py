"""What can be asked about cases, units and commands, and by whom?

Every answer is for one reader: what that person may not see is not there. Without people in the site pack everybody
who reaches the centre is one; with people, whoever has not signed in gets what is public.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header, Query
from msgspec import Struct
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from dashboard_api import cases as reading
from dashboard_api.audit import AuditRow, ChainHead, read_chain, read_heads, read_subject
from dashboard_api.case_view import (
    CaseDetail,
    CaseItem,
    EntryView,
    ProposalView,
    cases_in,
    detail_of,
    entry_view,
    item_of,
    named_cases,
)
from dashboard_api.cases import (
    COUNT_MAX,
    Box,
    CaseFilter,
    Order,
    cursor_text,
    parse_cursor,
    place_of,
)
from dashboard_api.commands import WAIT_MAX_S, Outcome, Waiting, source_of
from dashboard_api.config import DashboardConfig
from dashboard_api.cursor import decode_cursor, encode_cursor, from_us, to_us
from dashboard_api.database import Database
from dashboard_api.export import Cell, Column, Format, Kind, Sheet, format_of, name_columns, names_cells, reply
from dashboard_api.guard import SIGN_IN, SignedIn, Viewer, require
from dashboard_api.homes import still_shown
from dashboard_api.moment import Moment, one_moment
from dashboard_api.position import parse_position
from dashboard_api.public_alerts import read_alerts
from dashboard_api.public_cases import PublicCase, PublicFilter, public_sheet, read_public
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.rest import NoQuery, Word, described
from dashboard_api.revealed import RevealedView, Showings, read_revealed
from dashboard_api.subscription import area_of
from dashboard_api.track import TrackView, citizen, read_track, tracking_hash
from dashboard_api.units import UnitView, may_see_unit, read_states, unit_view
from dashboard_api.within import descendants
from dashboard_api.written import first_words, read_excerpts, read_said, read_words, reads_words
from schemas.cap import ATOM_MEDIA_TYPE, cap_feed
from schemas.case import CaseId, Severity, State
from schemas.case import Kind as CaseKind
from schemas.dispatching import suggest
from schemas.errors import AccessReason, AccessRefused
from schemas.identity import NOBODY, Role
from schemas.location import place_of as point_of
from schemas.site import Site
from schemas.unit import UnitStatus

LIMIT = 50
"""Rows of a page when nothing is said."""

FILE_MAX = 10_000
"""Rows of a file."""

SUGGESTIONS = 10
"""Units suggested when nothing is said."""

GEOJSON = "application/geo+json"
"""RFC 7946."""

PUBLIC_CACHE = "public, max-age=60"


class CaseFormat(StrEnum):
    """In what form cases are given."""

    JSON = "json"
    CSV = "csv"
    PARQUET = "parquet"
    XLSX = "xlsx"
    GEOJSON = "geojson"


Secret = Annotated[str | None, Header(alias="Tracking-Secret")]
Accept = Annotated[str, Header()]
BoxText = Annotated[
    Annotated[str, Field(max_length=100)] | None,
    Field(description="`south,west,north,east` in degrees: only what has a place in it."),
]


class CasesQuery(BaseModel):
    """Which cases, in what order and form."""

    model_config = ConfigDict(extra="forbid")
    state: Annotated[list[State], Field(max_length=20, description="Several times: any of them.")] = []
    open: Annotated[bool | None, Field(description="Whether somebody still has to do something.")] = None
    kind: Annotated[list[CaseKind], Field(max_length=10)] = []
    category: Annotated[list[Word], Field(max_length=50)] = []
    severity: Annotated[list[Severity], Field(max_length=10)] = []
    area: Annotated[Word | None, Field(description="An area's id; what lies in it is included.")] = None
    agency: Word | None = None
    unit: Annotated[Word | None, Field(description="Offered to this unit, or handled by it.")] = None
    due_before: AwareDatetime | None = None
    text: Annotated[Word | None, Field(description="Words of the title, in either case.")] = None
    box: BoxText = None
    changed_since: Annotated[
        Word | None, Field(description="A position: what was committed after it. Or a time with its zone.")
    ] = None
    exercise: Annotated[bool, Field(description="Only drills; they are in no other list.")] = False
    order: Order = Order.OPENED
    limit: Annotated[
        int | None, Field(ge=1, description="At most 500, in a file 10,000. Default: 50, in a file all.")
    ] = None
    after: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024)] | None, Field(description="`next` of the page before.")
    ] = None
    count: Annotated[bool, Field(description=f"Also how many there are, up to {COUNT_MAX}.")] = False
    format: CaseFormat | None = None


class TimelineQuery(BaseModel):
    """Which lines."""

    model_config = ConfigDict(extra="forbid")
    after: Annotated[int, Field(ge=0, le=2**31 - 1, description="The number of the last line that is known.")] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class SuggestionsQuery(BaseModel):
    """How many units."""

    model_config = ConfigDict(extra="forbid")
    limit: Annotated[int, Field(ge=1, le=100)] = SUGGESTIONS


class RevealedQuery(BaseModel):
    """Which showing."""

    model_config = ConfigDict(extra="forbid")
    showing: Annotated[Word, Field(description="The id of one's own command `reveal`, which was applied.")]


class UnitsQuery(BaseModel):
    """Which units."""

    model_config = ConfigDict(extra="forbid")
    area: Annotated[Word | None, Field(description="An area's id; what lies in it is included.")] = None
    agency: Word | None = None
    skill: Word | None = None
    status: UnitStatus | None = None


class ProposalsQuery(BaseModel):
    """Which pairs."""

    model_config = ConfigDict(extra="forbid")
    state: Annotated[Word, Field(description="`proposed`, `merged` or `dismissed`.")] = "proposed"
    case: Annotated[Word | None, Field(description="Pairs that this case is one of.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = LIMIT
    before: Annotated[Annotated[str, Field(min_length=1, max_length=1024)] | None, Field()] = None


class CommandQuery(BaseModel):
    """How long to wait."""

    model_config = ConfigDict(extra="forbid")
    wait: Annotated[float, Field(ge=0, le=WAIT_MAX_S, description="Seconds to wait for the outcome.")] = 0


class PublicQuery(BaseModel):
    """Which published cases."""

    model_config = ConfigDict(extra="forbid")
    category: Word | None = None
    area: Annotated[Word | None, Field(description="An area's id; what lies in it is included.")] = None
    open: bool | None = None
    box: BoxText = None
    limit: Annotated[int, Field(ge=1, le=1000)] = 200
    after: Annotated[Annotated[str, Field(min_length=1, max_length=1024)] | None, Field()] = None


class AuditQuery(BaseModel):
    """Which rows: of a chain after a number, or about a subject."""

    model_config = ConfigDict(extra="forbid")
    chain: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    number: Annotated[int, Field(ge=0, le=2**62, description="After this number of the chain.")] = 0
    subject: Annotated[Word | None, Field(description="A case, `unit:…`, `alert:…` or `person:…`.")] = None
    limit: Annotated[int, Field(ge=1, le=500)] = LIMIT


class CaseList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Cases in the order asked for. `next` goes into `after`; it is missing at the end.

    `total` is how many there are, of which `total_capped` says that there may be more.
    """

    position: str
    as_of: datetime
    items: list[CaseItem]
    next: str | None = None
    total: int | None = None
    total_capped: bool = False


class Timeline(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Lines of a case's timeline, the oldest first. `next` goes into `after`; it is missing at the end."""

    case: CaseId
    position: str
    as_of: datetime
    items: list[EntryView]
    next: int | None = None


class SuggestionView(Struct, frozen=True, kw_only=True):
    """A unit for a case. `score` is from 0 to 1; `reasons` are words as `skill:road`, `near_m:420`, `busy`."""

    unit: UnitView
    score: float
    distance_m: float | None
    capable: bool
    reasons: tuple[str, ...]


class SuggestionList(Struct, frozen=True, kw_only=True):
    """Units for a case, the best first."""

    case: CaseId
    position: str
    as_of: datetime
    items: list[SuggestionView]


class UnitList(Struct, frozen=True, kw_only=True):
    """Units in the order of the site pack."""

    position: str
    as_of: datetime
    items: list[UnitView]


class ProposalList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Pairs of cases that may be one, the newest first. `next` goes into `before`; it is missing at the end."""

    position: str
    as_of: datetime
    items: list[ProposalView]
    next: str | None = None


class PublicList(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Published cases, those opened last first. `next` goes into `after`; it is missing at the end."""

    position: str
    as_of: datetime
    items: list[PublicCase]
    next: str | None = None


class AuditPage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Rows of the audit log in order. `heads` say where each chain stands."""

    position: str
    as_of: datetime
    heads: list[ChainHead]
    items: list[AuditRow]


ANSWERS: tuple[type[Struct], ...] = (
    CaseList,
    CaseDetail,
    Timeline,
    SuggestionList,
    UnitList,
    ProposalList,
    Outcome,
    TrackView,
    PublicList,
    AuditPage,
    RevealedView,
)
"""What OpenAPI describes of these routes."""


def case_routes(config: DashboardConfig, database: Database, waiting: Waiting) -> APIRouter:
    """The routes under /v1 about cases."""
    router, bounds = APIRouter(prefix="/v1", tags=["cases"]), config.bounds
    showings = Showings()

    @router.get("/cases", **described(CaseList, 401))
    async def list_cases(actor: SignedIn, query: Annotated[CasesQuery, Query()], accept: Accept = "") -> Response:
        """Cases that one may see, filtered, page by page or as a file."""
        site = config.site
        form = query.format or CaseFormat(format_of(None, accept).value)
        most = bounds.events_max if form is CaseFormat.JSON else FILE_MAX
        limit = query.limit or (LIMIT if form is CaseFormat.JSON else FILE_MAX)
        if limit > most:
            fix = f"Ask for at most {most} and page with `after`."
            raise Refused("limit", RefusalReason.OUT_OF_RANGE, f"`limit` is {limit}", fix)
        wanted, after = filter_of(site, query), parse_cursor(query.after, query.order)
        async with one_moment(config, database, "cases") as moment:
            found = await reading.read_list(moment.reader, actor, wanted, query.order, after, limit + 1)
            total = await reading.count(moment.reader, actor, wanted) if query.count else None
            page = found[:limit]
            # Files go further than whoever asks for them; what citizens wrote does not.
            handled = [case for case in page if reads_words(actor, case)] if form is CaseFormat.JSON else []
            told = await still_shown(moment.reader, actor, handled)
            excerpts = await read_excerpts(moment.reader, config.key_ring, told)
        answer = CaseList(
            position=moment.position,
            as_of=moment.as_of,
            items=[item_of(site, case, excerpts.get(case.id)) for case in page],
            next=cursor_text(place_of(page[-1], query.order)) if len(found) > limit else None,
            total=total,
            total_capped=total == COUNT_MAX,
        )
        headers = {"Cache-Control": "no-store"} | ({"IOC-Next": answer.next} if answer.next is not None else {})
        if form is CaseFormat.GEOJSON:
            places = ((item, _point(item.place)) for item in answer.items)
            features = [feature(item, point) for item, point in places if point is not None]
            return _geojson(features, headers, moment)
        return await reply(
            answer, lambda: case_sheet(answer.items, site.header.languages), Format(form.value), headers
        )

    @router.get("/cases/{id}", **described(CaseDetail, 401, 404))
    async def read_one(id: str, actor: SignedIn, _: Annotated[NoQuery, Query()]) -> Response:  # noqa: A002
        """One case with all that is known of it."""
        site = config.site
        async with one_moment(config, database, "case") as moment:
            [case] = await still_shown(moment.reader, actor, [await reading.read_case(moment.reader, actor, _id(id))])
            seen = await reading.visible(moment.reader, actor, named_cases(case))
            words = await read_words(moment.reader, config.key_ring, actor, case)
            proposals = await reading.read_proposals(
                moment.reader, actor, state="proposed", case=case.id, before=None, limit=LIMIT
            )
            usual = await reading.read_usual(moment.reader, site, actor, case.category) if case.clocks else {}
        return _json(
            detail_of(
                site,
                case,
                actor,
                seen=seen,
                words=words,
                excerpt=first_words(case, words),
                proposals=proposals,
                actions=config.next_actions(site, case, actor),
                usual=usual,
                position=moment.position,
                as_of=moment.as_of,
            )
        )

    @router.get("/cases/{id}/timeline", **described(Timeline, 401, 404))
    async def read_lines(id: str, actor: SignedIn, query: Annotated[TimelineQuery, Query()]) -> Response:  # noqa: A002
        """What happened to a case, line by line."""
        async with one_moment(config, database, "timeline") as moment:
            [case] = await still_shown(moment.reader, actor, [await reading.read_case(moment.reader, actor, _id(id))])
            found = await reading.read_timeline(moment.reader, actor, case.id, query.after, query.limit + 1)
            page = found[: query.limit]
            seen = await reading.visible(moment.reader, actor, cases_in(page))
            said = await read_said(moment.reader, config.key_ring, actor, case, page)
        return _json(
            Timeline(
                case=case.id,
                position=moment.position,
                as_of=moment.as_of,
                items=[entry_view(entry, seen, said) for entry in page],
                next=page[-1].number if len(found) > query.limit else None,
            )
        )

    @router.get("/cases/{id}/suggestions", **described(SuggestionList, 401, 403, 404))
    async def read_suggestions(
        id: str,  # noqa: A002  # its name in the address
        actor: SignedIn,
        query: Annotated[SuggestionsQuery, Query()],
    ) -> Response:
        """Which unit should go, and why that one."""
        require(actor, Role.OPERATOR, Role.DISPATCHER)
        site = config.site
        async with one_moment(config, database, "suggestions") as moment:
            case = await reading.read_case(moment.reader, actor, _id(id))
            states = await read_states(moment.reader, site.units)
            best = [
                one
                for one in suggest(site, case, states, moment.as_of)
                if may_see_unit(site, actor, site.units[one.unit])
            ][: query.limit]
            handled = {id_ for one in best if one.unit in states for id_ in states[one.unit].cases}
            seen = await reading.visible(moment.reader, actor, handled)
        items = [
            SuggestionView(
                unit=unit_view(site, site.units[one.unit], states.get(one.unit), seen, moment.as_of),
                score=one.score,
                distance_m=one.distance_m,
                capable=one.capable,
                reasons=one.reasons,
            )
            for one in best
        ]
        return _json(SuggestionList(case=case.id, position=moment.position, as_of=moment.as_of, items=items))

    @router.get("/cases/{id}/revealed", **described(RevealedView, 401, 403, 404))
    async def read_what_was_masked(
        id: str,  # noqa: A002
        actor: SignedIn,
        query: Annotated[RevealedQuery, Query()],
    ) -> Response:
        """What is masked, once, within a minute after one's own command `reveal` was applied."""
        require(actor, Role.OPERATOR, Role.DISPATCHER)
        async with one_moment(config, database, "revealed") as moment:
            case = await reading.read_case(moment.reader, actor, _id(id))
            found = await read_revealed(moment.reader, config.key_ring, actor, case.id, query.showing)
        showings.claim(source_of(actor), query.showing, moment.as_of)
        return _json(found)

    @router.get("/units", **described(UnitList, 401))
    async def list_units(actor: SignedIn, query: Annotated[UnitsQuery, Query()]) -> Response:
        """Units that one may see, and where they are."""
        site = config.site
        inside = _areas(site, query.area)
        units = [
            unit
            for unit in site.units.values()
            if may_see_unit(site, actor, unit)
            and (query.agency is None or unit.agency == query.agency)
            and (query.skill is None or query.skill in unit.skills)
        ]
        async with one_moment(config, database, "units") as moment:
            states = await read_states(moment.reader, [unit.id for unit in units])
            seen = await reading.visible(
                moment.reader, actor, {id_ for state in states.values() for id_ in state.cases}
            )
        items = [unit_view(site, unit, states.get(unit.id), seen, moment.as_of) for unit in units]
        items = [
            item
            for item in items
            if (inside is None or item.area in inside) and (query.status is None or item.status is query.status)
        ]
        return _json(UnitList(position=moment.position, as_of=moment.as_of, items=items))

    @router.get("/proposals", **described(ProposalList, 401, 403))
    async def list_proposals(actor: SignedIn, query: Annotated[ProposalsQuery, Query()]) -> Response:
        """Cases that may be one, with the score and its reasons."""
        require(actor, Role.OPERATOR, Role.DISPATCHER, Role.LEADER)
        before = _proposal_cursor(query.before)
        async with one_moment(config, database, "proposals") as moment:
            found = await reading.read_proposals(
                moment.reader, actor, state=query.state, case=query.case, before=before, limit=query.limit + 1
            )
        page = found[: query.limit]
        following = None
        if len(found) > query.limit:
            last = page[-1]
            following = encode_cursor((to_us(last.made_at), last.case, last.other))
        return _json(ProposalList(position=moment.position, as_of=moment.as_of, items=page, next=following))

    @router.get("/commands/{id}", **described(Outcome, 401))
    async def read_outcome(
        id: str,  # noqa: A002  # its name in the address
        viewer: Viewer,
        query: Annotated[CommandQuery, Query()],
        secret: Secret = None,
    ) -> Response:
        """What became of one's own command; 202 while that is not known."""
        actor = viewer if secret is None else citizen(tracking_hash(secret))
        if actor is NOBODY:
            raise AccessRefused(AccessReason.NOT_SIGNED_IN, "this needs a sign-in, or a tracking secret", SIGN_IN)
        found = await waiting.outcome((source_of(actor), _id(id)), query.wait)
        return Response(
            msgspec.json.encode(found),
            202 if found.state == "pending" else 200,
            {"Cache-Control": "no-store"},
            "application/json",
        )

    @router.get("/track", **described(TrackView, 404))
    async def track(_: Annotated[NoQuery, Query()], secret: Secret = None) -> Response:
        """How a report stands, for whoever holds its secret. The secret goes into a header, which no log keeps."""
        site, tracking = config.site, tracking_hash(secret or "")
        async with one_moment(config, database, "track") as moment:
            found = await read_track(
                moment.reader,
                site,
                tracking,
                config.key_ring,
                config.next_actions,
                moment.position,
                moment.as_of,
            )
        return _json(found)

    async def published(site: Site, query: PublicQuery) -> tuple[PublicList, Moment]:
        wanted = PublicFilter(
            category=query.category, areas=_areas(site, query.area), open=query.open, box=parse_box(query.box)
        )
        after = None
        if query.after is not None:
            at_us, id_ = decode_cursor(query.after, tuple[int, str], "after")
            after = (from_us(at_us, "after"), _id(id_))
        async with one_moment(config, database, "public") as moment:
            found = await read_public(moment.reader, site, wanted, after, query.limit + 1)
        page = found[: query.limit]
        following = encode_cursor((to_us(page[-1].at), page[-1].case.id)) if len(found) > query.limit else None
        answer = PublicList(
            position=moment.position, as_of=moment.as_of, items=[row.case for row in page], next=following
        )
        return answer, moment

    @router.get("/public/cases", **described(PublicList))
    async def list_public(query: Annotated[PublicQuery, Query()]) -> Response:
        """Published cases: what kind, where, since which day, and how they stand."""
        answer, _ = await published(config.site, query)
        return Response(msgspec.json.encode(answer), 200, _public_headers(answer), "application/json")

    @router.get("/public/cases.csv", **described(PublicList))
    async def list_public_csv(query: Annotated[PublicQuery, Query()]) -> Response:
        """The same as a table."""
        site = config.site
        answer, _ = await published(site, query)
        languages = site.header.languages
        return await reply(answer, lambda: public_sheet(answer.items, languages), Format.CSV, _public_headers(answer))

    @router.get("/public/cases.geojson", **described(PublicList))
    async def list_public_geojson(query: Annotated[PublicQuery, Query()]) -> Response:
        """The same as a map: those that have a place."""
        answer, moment = await published(config.site, query)
        features = [
            feature(item, (item.lon, item.lat), "lat", "lon")
            for item in answer.items
            if item.lat is not None and item.lon is not None
        ]
        return _geojson(features, _public_headers(answer), moment)

    @router.get(
        "/public/cap.atom",
        response_class=Response,
        responses={200: {"content": {ATOM_MEDIA_TYPE: {}}}, 404: {"description": "The site pack has no [cap]"}},
    )
    async def list_alerts(_: Annotated[NoQuery, Query()]) -> Response:
        """Published cases that are open and severe, as CAP 1.2 alerts in an Atom feed."""
        site = config.site
        if (settings := site.channels.cap) is None:
            raise HTTPException(404, "The site pack's channels.toml has no [cap], so there are no alerts.")
        async with one_moment(config, database, "public") as moment:
            alerts = await read_alerts(moment.reader, site, settings, moment.as_of)
        address = f"{config.public_url}/v1/public/cap.atom"
        title = site.header.names.get(site.header.languages[0], site.header.id)
        body = cap_feed(address, title, address, alerts, max((one.sent for one in alerts), default=moment.as_of))
        return Response(body, 200, {"Cache-Control": PUBLIC_CACHE}, ATOM_MEDIA_TYPE)

    @router.get("/audit", **described(AuditPage, 401, 403))
    async def read_audit(actor: SignedIn, query: Annotated[AuditQuery, Query()]) -> Response:
        """The record of every decision, for auditors."""
        require(actor, Role.AUDITOR)
        async with one_moment(config, database, "audit") as moment:
            heads = await read_heads(moment.reader)
            if query.subject is None:
                items = await read_chain(moment.reader, actor, query.chain, query.number, query.limit)
            else:
                # The first row that is wanted may be the first of all: chains begin at 0.
                place = (query.chain, query.number) if query.number else (query.chain - 1, 2**62)
                items = await read_subject(moment.reader, actor, query.subject, place, query.limit)
        return _json(AuditPage(position=moment.position, as_of=moment.as_of, heads=heads, items=items))

    return router


def filter_of(site: Site, query: CasesQuery) -> CaseFilter:
    """What is asked for. Raises Refused."""
    since_xid, changed_after = None, None
    if query.changed_since is not None:
        position = parse_position(query.changed_since)
        if position is not None:
            since_xid = position.xid
        else:
            changed_after = _instant(query.changed_since)
    return CaseFilter(
        states=tuple(query.state) or None,
        open=query.open,
        kinds=tuple(query.kind) or None,
        categories=tuple(query.category) or None,
        severities=tuple(query.severity) or None,
        areas=_areas(site, query.area),
        agency=query.agency,
        unit=query.unit,
        due_before=query.due_before,
        words=query.text,
        box=parse_box(query.box),
        since_xid=since_xid,
        changed_after=changed_after,
        exercise=query.exercise,
    )


def parse_box(text: str | None) -> Box | None:
    """Reads `south,west,north,east`. Raises Refused."""
    if text is None:
        return None
    fix = "Write `south,west,north,east` in degrees, as `20.9,105.7,21.1,105.9`."
    try:
        south, west, north, east = (float(part) for part in text.split(","))
    except ValueError:
        raise Refused("box", RefusalReason.INVALID, "it is not four numbers", fix) from None
    if not (-90 <= south <= north <= 90 and -180 <= west <= east <= 180):
        raise Refused("box", RefusalReason.OUT_OF_RANGE, "these are not the edges of a box on earth", fix)
    return Box(south, west, north, east)


def case_sheet(items: Sequence[CaseItem], languages: Sequence[str]) -> Sheet:
    """A row for each case."""
    columns = (
        *(Column("id"), Column("version", Kind.WHOLE), Column("kind"), Column("state"), Column("open", Kind.FLAG)),
        *(Column("category"), *name_columns(languages), Column("severity")),
        *(Column("area"), Column("title"), Column("agency"), Column("units"), Column("members", Kind.WHOLE)),
        *(Column("lat", Kind.NUMBER), Column("lon", Kind.NUMBER), Column("opened_at", Kind.INSTANT)),
        *(Column("changed_at", Kind.INSTANT), Column("due_at", Kind.INSTANT), Column("answered_at", Kind.INSTANT)),
        *(Column("resolved_at", Kind.INSTANT), Column("closed_at", Kind.INSTANT), Column("rating", Kind.WHOLE)),
        *(Column("disputes", Kind.WHOLE), Column("reopened", Kind.WHOLE), Column("escalations", Kind.WHOLE)),
    )
    return Sheet("cases", columns, [_cells(item, languages) for item in items])


def feature(item: Struct, point: tuple[float, float], *left_out: str) -> dict[str, Any]:
    """A GeoJSON feature. `point` is longitude and latitude, in this order; `left_out` fields say the same."""
    fields: dict[str, Any] = msgspec.to_builtins(item)
    properties = {name: value for name, value in fields.items() if name not in left_out}
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": list(point)}, "properties": properties}


def _cells(item: CaseItem, languages: Sequence[str]) -> tuple[Cell, ...]:
    lon, lat = _point(item.place) or (None, None)
    return (
        *(item.id, item.version, item.kind.value, item.state.value, item.open, item.category),
        *names_cells(item.names, languages),
        *(item.severity.value, item.area, item.title, item.agency, " ".join(item.units), item.members),
        *(lat, lon, item.opened_at, item.changed_at, item.due_at, item.answered_at, item.resolved_at),
        *(item.closed_at, item.rating, item.disputes, item.reopened, item.escalations),
    )


def _point(place: str | None) -> tuple[float, float] | None:
    """Longitude and latitude; None where there is none, or it was let in before it was looked at."""
    point = point_of(place)
    return None if point is None else (point.lon, point.lat)


def _geojson(features: list[dict[str, Any]], headers: dict[str, str], moment: Moment) -> Response:
    body = msgspec.json.encode({"type": "FeatureCollection", "features": features})
    about = {"IOC-Position": moment.position, "IOC-As-Of": moment.as_of.isoformat()}
    return Response(body, 200, headers | about, GEOJSON)


def _public_headers(answer: PublicList) -> dict[str, str]:
    return {"Cache-Control": PUBLIC_CACHE} | ({"IOC-Next": answer.next} if answer.next is not None else {})


def _areas(site: Site, area: str | None) -> frozenset[Any] | None:
    if area is None:
        return None
    inside = descendants(site.areas, [area_of(site, area, "area")])
    return None if inside is None else frozenset(inside)


def _id(text: str) -> str:
    """An id from an address. No id holds what the database cannot take."""
    if "\x00" in text or len(text) > 512:
        raise reading.unknown_case()
    return text


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        fix = "Send a `position` as it came, or a time with its zone as 2026-09-01T08:00:00Z."
        raise Refused("changed_since", RefusalReason.INVALID, "it is neither a position nor a time", fix)
    return at


def _proposal_cursor(text: str | None) -> tuple[datetime, str, str] | None:
    if text is None:
        return None
    at_us, case, other = decode_cursor(text, tuple[int, str, str], "before")
    return from_us(at_us, "before"), _id(case), _id(other)


def _json(value: Struct) -> Response:
    return Response(msgspec.json.encode(value), 200, {"Cache-Control": "no-store"}, "application/json")
