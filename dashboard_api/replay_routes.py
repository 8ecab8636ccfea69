"""What can be asked about the past, and by whom?

Every answer says as of which moment it is. Rights are those of today: a case's past is shown to whoever may see the
case now. Nothing here can be acted on.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query
from msgspec import Struct
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response
from starlette.websockets import WebSocket

from dashboard_api import replay_reading as reading
from dashboard_api.case_routes import LIMIT, CaseList, Timeline
from dashboard_api.case_view import CaseDetail, cases_in, detail_of, entry_view, item_of, named_cases
from dashboard_api.cases import CaseFilter, read_case, visible
from dashboard_api.config import DashboardConfig
from dashboard_api.cursor import decode_cursor, encode_cursor, from_us, to_us
from dashboard_api.database import Database, Reader
from dashboard_api.guard import SignedIn, Viewer
from dashboard_api.homes import still_shown
from dashboard_api.replay import Course, PastWish, bounds_of_past, check_reckonable, position_of
from dashboard_api.replay_reading import After, Floors, read_floors
from dashboard_api.replay_session import Replayed
from dashboard_api.replay_socket import REPLAYS_MAX, ReplayFeed
from dashboard_api.rest import NoQuery, Word, described
from dashboard_api.subscription import area_of, parse_wish
from dashboard_api.within import descendants
from dashboard_api.written import first_words, read_excerpts, read_said, read_words, reads_words
from schemas.case import Kind, Severity, State


def _reckonable(moment: datetime) -> datetime:
    check_reckonable(moment, "as_of")
    return moment


AsOf = Annotated[AwareDatetime, AfterValidator(_reckonable), Field(description="The moment, with its zone.")]


class PastQuery(BaseModel):
    """As of when."""

    model_config = ConfigDict(extra="forbid")
    as_of: AsOf


class SnapshotQuery(PastQuery):
    """What to show, as a live client says it."""

    wish: Annotated[str, Field(max_length=16_384, description="A subscription as JSON, without `op`.")] = "{}"


class PastCasesQuery(PastQuery):
    """Which cases, as they were then."""

    state: Annotated[list[State], Field(max_length=20, description="Several times: any of them.")] = []
    open: bool | None = None
    kind: Annotated[list[Kind], Field(max_length=10)] = []
    category: Annotated[list[Word], Field(max_length=50)] = []
    severity: Annotated[list[Severity], Field(max_length=10)] = []
    area: Annotated[Word | None, Field(description="An area's id; what lies in it is included.")] = None
    agency: Word | None = None
    unit: Word | None = None
    exercise: Annotated[bool, Field(description="Only drills; they are in no other list.")] = False
    limit: Annotated[int, Field(ge=1, le=500)] = LIMIT
    after: Annotated[
        Annotated[str, Field(min_length=1, max_length=1024)] | None, Field(description="`next` of the page before.")
    ] = None


class PastTimelineQuery(PastQuery):
    """Which lines."""

    after: Annotated[int, Field(ge=0, le=2**31 - 1, description="The number of the last line that is known.")] = 0
    limit: Annotated[int, Field(ge=1, le=500)] = 200


class PastView(Struct, frozen=True, kw_only=True):
    """Since when the past is there, of each kind, and how many may watch it go by at once on this process."""

    now: datetime
    since: Floors
    replays_max: int


ANSWERS: tuple[type[Struct], ...] = (PastView,)
"""What OpenAPI describes of these routes, besides what others do."""


def replay_routes(config: DashboardConfig, database: Database) -> APIRouter:
    """The routes under /v1/past, and the socket of replays."""
    router, feed = APIRouter(prefix="/v1", tags=["past"]), ReplayFeed(config, database)

    @asynccontextmanager
    async def at(moment: datetime) -> AsyncGenerator[Reader]:
        """Reads at one moment of the database, if that past is there."""
        async with (
            database.reading("past") as reader,
            reader.transaction(isolation="repeatable_read", readonly=True),
        ):
            floors = await read_floors(reader)
            reading.check_moment(moment, config.now(), floors, "as_of", cases=True, units=False, kpis=False)
            yield reader

    @router.get("/past", **described(PastView))
    async def read_past(_viewer: Viewer, _: Annotated[NoQuery, Query()]) -> Response:
        """How far back one can look."""
        async with database.reading("past") as reader:
            floors = await read_floors(reader)
        return _json(PastView(now=config.now().astimezone(UTC), since=floors, replays_max=REPLAYS_MAX))

    @router.get("/past/snapshot", response_model=None)
    async def read_snapshot(viewer: Viewer, query: Annotated[SnapshotQuery, Query()]) -> Response:
        """What a replay that begins at this moment would be told first."""
        shown = parse_wish(query.wish, None, config.site, bounds_of_past(config.bounds), viewer)
        replayed = Replayed(config, PastWish(shown=shown, course=Course(start=query.as_of, speed=0)), viewer)
        async with (
            database.reading("past") as reader,
            reader.transaction(isolation="repeatable_read", readonly=True),
        ):
            replayed.check(await read_floors(reader), config.now(), "as_of")
            told = await replayed.begin(reader, query.as_of.astimezone(UTC))
        return Response(told.text, 200, {"Cache-Control": "no-store"}, "application/json")

    @router.get("/past/cases", **described(CaseList, 401))
    async def list_cases(actor: SignedIn, query: Annotated[PastCasesQuery, Query()]) -> Response:
        """Cases as they were, those opened last first."""
        site = config.site
        areas = None if query.area is None else descendants(site.areas, [area_of(site, query.area, "area")])
        wanted = CaseFilter(
            states=tuple(query.state) or None,
            open=query.open,
            kinds=tuple(query.kind) or None,
            categories=tuple(query.category) or None,
            severities=tuple(query.severity) or None,
            areas=None if areas is None else frozenset(areas),
            agency=query.agency,
            unit=query.unit,
            exercise=query.exercise,
        )
        async with at(query.as_of) as reader:
            after = None if query.after is None else _after(query.after)
            found = await reading.read_cases(reader, actor, wanted, query.as_of, query.limit + 1, after)
            page = found[: query.limit]
            told = [case for case in page if reads_words(actor, case)]
            excerpts = await read_excerpts(reader, config.key_ring, told, query.as_of)
        following = encode_cursor((to_us(page[-1].opened_at), page[-1].id)) if len(found) > query.limit else None
        return _json(
            CaseList(
                position=str(position_of(query.as_of)),
                as_of=query.as_of.astimezone(UTC),
                items=[item_of(site, case, excerpts.get(case.id)) for case in page],
                next=following,
            )
        )

    @router.get("/past/cases/{id}", **described(CaseDetail, 401, 404))
    async def read_one(id: str, actor: SignedIn, query: Annotated[PastQuery, Query()]) -> Response:  # noqa: A002
        """One case as it was. Nothing can be asked of it; what may have been one with it then is not kept."""
        site, as_of = config.site, query.as_of.astimezone(UTC)
        async with at(as_of) as reader:
            case = await reading.read_case(reader, actor, _id(id), as_of)
            seen = await visible(reader, actor, named_cases(case))
            words = await read_words(reader, config.key_ring, actor, case, as_of)
        return _json(
            detail_of(
                site,
                case,
                actor,
                seen=seen,
                words=words,
                proposals=(),
                actions=(),
                usual={},
                excerpt=first_words(case, words),
                position=str(position_of(as_of)),
                as_of=as_of,
            )
        )

    @router.get("/past/cases/{id}/timeline", **described(Timeline, 401, 404))
    async def read_lines(id: str, actor: SignedIn, query: Annotated[PastTimelineQuery, Query()]) -> Response:  # noqa: A002
        """What had happened to a case by then."""
        as_of = query.as_of.astimezone(UTC)
        async with at(as_of) as reader:
            case = await reading.read_case(reader, actor, _id(id), as_of)
            found = await reading.read_timeline(reader, actor, case.id, as_of, query.after, query.limit + 1)
            page = found[: query.limit]
            seen = await visible(reader, actor, cases_in(page))
            [now] = await still_shown(reader, actor, [await read_case(reader, actor, case.id)])
            said = await read_said(reader, config.key_ring, actor, now, page)
        return _json(
            Timeline(
                case=case.id,
                position=str(position_of(as_of)),
                as_of=as_of,
                items=[entry_view(entry, seen, said) for entry in page],
                next=page[-1].number if len(found) > query.limit else None,
            )
        )

    @router.websocket("/replay")
    async def replay(websocket: WebSocket) -> None:
        await feed.serve(websocket)

    return router


def _after(text: str) -> After:
    opened_us, id_ = decode_cursor(text, tuple[int, str], "after")
    return After(from_us(opened_us, "after"), _id(id_))


def _id(text: str) -> str:
    """An id from an address. No id holds what the database cannot take."""
    if "\x00" in text or len(text) > 512:
        raise reading.unknown_case()
    return text


def _json(value: Struct) -> Response:
    return Response(msgspec.json.encode(value), 200, {"Cache-Control": "no-store"}, "application/json")
