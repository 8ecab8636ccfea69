"""By which addresses does the live feed come where there is no WebSocket?"""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from dashboard_api.live import LiveFeed

_Wish = Annotated[
    str, Query(description="What is wanted, as JSON: the message `subscribe` of docs/live-protocol.md without `op`.")
]


def live_routes(live: LiveFeed) -> APIRouter:
    """`GET /v1/live/events` and `GET /v1/live/poll`."""
    router = APIRouter()

    @router.get(
        "/v1/live/events",
        response_model=None,
        summary="The live feed as Server-Sent Events",
        description="Each event is a message of the live feed, and its id the position: `Last-Event-ID` resumes.",
        responses={200: {"content": {"text/event-stream": {}}}},
    )
    async def events(request: Request, subscription: _Wish = "{}") -> Response:
        return await live.events(request, subscription)

    @router.get(
        "/v1/live/poll",
        response_model=None,
        summary="The live feed by long polling",
        description="Answers when there is something to tell, at the latest after `wait` seconds. The next request "
        "brings `session` and `position` of the answer.",
        responses={200: {"content": {"application/json": {}, "application/msgpack": {}}}},
    )
    async def poll(
        request: Request,
        subscription: _Wish = "{}",
        position: Annotated[str | None, Query(description="Of the last answer; none for a snapshot.")] = None,
        session: Annotated[str | None, Query(max_length=64, description="Of the last answer.")] = None,
        wait: Annotated[float | None, Query(description="Seconds, at most 25.")] = None,
    ) -> Response:
        return await live.poll(request, subscription, position, session, wait)

    return router
