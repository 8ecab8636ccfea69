"""Which routes does the dashboard have, and what runs behind them?

The feed's task starts and ends with the app's lifespan. The database need not be there at the start or at any time
after; whoever asks is told so.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from fastapi import FastAPI, WebSocket
from starlette.responses import JSONResponse

from dashboard_api.boundaries import ANSWERS as BOUNDARIES
from dashboard_api.boundaries import boundary_routes
from dashboard_api.case_routes import ANSWERS as CASES
from dashboard_api.case_routes import case_routes
from dashboard_api.commands import Waiting
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Database
from dashboard_api.display_key import display_routes
from dashboard_api.feed import Feed
from dashboard_api.frames import AnswerProtocol, FrameProtocol
from dashboard_api.guard import Guard
from dashboard_api.hub import Hub
from dashboard_api.layers import ANSWERS as LAYERS
from dashboard_api.layers import layer_routes
from dashboard_api.live import LiveFeed
from dashboard_api.live_routes import live_routes
from dashboard_api.pages import load_pages, page_routes
from dashboard_api.problem import answer_problems
from dashboard_api.queries import ANSWERS as FIGURES
from dashboard_api.queries import query_routes
from dashboard_api.replay_routes import ANSWERS as PAST
from dashboard_api.replay_routes import replay_routes
from dashboard_api.rest import ANSWERS, describe, routes
from dashboard_api.sign_in import ANSWERS as SIGN_IN
from dashboard_api.sign_in import sign_in_routes

OPENAPI_PATH = "/v1/openapi/dashboard.json"

SERVER_OPTIONS: dict[str, Any] = {
    "ws": FrameProtocol,
    "http": AnswerProtocol,
    # Compression would cost each connection 50 KiB, and each client its own run over texts that are serialised once.
    "ws_per_message_deflate": False,
    # A message between the app's own bound and this one is answered with its reason; a larger one closes with 1009.
    "ws_max_size": 64 * 1024,
    "ws_ping_interval": 20.0,
    "ws_ping_timeout": 20.0,
}
"""What uvicorn has to be told for the live feed."""


def create_app(config: DashboardConfig) -> FastAPI:
    """The dashboard. Its lifespan must be run, by the server or by the app that it is put into."""
    database, hub = Database(config), Hub()
    feed = Feed(config, database, hub)
    live = LiveFeed(config, database, hub, feed)
    waiting = Waiting(config, database)
    feed.on_commit(waiting.wake)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(feed.run()), asyncio.create_task(waiting.run())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await database.close()

    # The pages that FastAPI makes of the document load scripts from elsewhere, so they are off.
    app = FastAPI(
        title="IOC dashboard",
        version="1",
        description="State becomes a view: indicators, events and sources. The live feed is `WS /v1/live`.",
        lifespan=lifespan,
        openapi_url=OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
    )
    app.state.database = database
    app.state.feed = feed
    app.state.guard = Guard(config.current_site, config.now, config.trust)
    app.openapi = describe(app.openapi, (*ANSWERS, *FIGURES, *CASES, *BOUNDARIES, *LAYERS, *PAST, *SIGN_IN))
    answer_problems(app)
    app.include_router(routes(config, database))
    app.include_router(query_routes(config, database))
    app.include_router(case_routes(config, database, waiting))
    app.include_router(boundary_routes(config))
    app.include_router(layer_routes(config))
    app.include_router(sign_in_routes(config))
    app.include_router(display_routes(config))
    app.include_router(page_routes(load_pages(), lambda: config.site.header.map))

    @app.websocket("/v1/live")
    async def live_feed(websocket: WebSocket) -> None:
        await live.serve(websocket)

    app.include_router(live_routes(live))
    app.include_router(replay_routes(config, database))

    @app.get("/healthz", summary="Whether the process answers")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get(
        "/readyz",
        response_model=None,
        summary="Whether questions can be answered, and which dependency is away",
        responses={503: {"description": "The database is away"}},
    )
    async def readyz() -> JSONResponse:
        state = await readiness(app)
        # Questions are answered also while nobody counts; a whole centre is ready only when somebody does.
        return JSONResponse(state, status_code=200 if state["database"]["state"] == "up" else 503)

    return app


async def readiness(app: FastAPI) -> dict[str, Any]:
    """What `/readyz` says, here or of a whole centre: `database` and `streams`, each with state, since and detail.

    `state` is `up` or `away`. Streams are up when at least one worker counts.
    """
    return {
        "database": msgspec.to_builtins(cast("Database", app.state.database).state),
        "streams": msgspec.to_builtins(cast("Feed", app.state.feed).streams),
    }
