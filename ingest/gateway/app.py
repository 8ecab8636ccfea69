"""Which routes does the gateway have, and when does it connect?"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime
from typing import Any, cast

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from msgspec import Struct
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.decode.cloudevents import BATCH_EVENTS_MAX
from ingest.gateway.body import BODIES_BYTES_MAX, BODY_BYTES_MAX, BODY_WAIT_S, BodyReader
from ingest.gateway.command_socket import CommandSocket
from ingest.gateway.commands import CommandsEndpoint
from ingest.gateway.events import EventsEndpoint
from ingest.gateway.guard import Guard
from ingest.gateway.openapi import describe
from ingest.gateway.producer import ACK_WAIT_S, PENDING_BYTES_MAX, Producer, State
from ingest.gateway.rate import RateLimit
from ingest.gateway.reports import REPORT_BYTES_MAX, ReportsEndpoint
from schemas.personal import KeyRing
from schemas.site import Site
from schemas.token import Trust

EVENTS_PATH = "/v1/events"
COMMANDS_PATH = "/v1/commands"
REPORTS_PATH = "/v1/reports"

CITIZEN_PER_MINUTE = 12.0
CITIZEN_BURST = 20
"""What one address may send without a sign-in, reports and citizens' commands together. A family behind one address
gets along with it; beyond it the answer is 429, with the seconds to wait."""


class IngestConfig(Struct, frozen=True, kw_only=True):
    """All that the gateway is told from outside. `kafka` is a list of bootstrap servers, as `host:port,host:port`.

    `trust` is whose tokens count; without it nobody can sign in. `ring` seals what is personal; without one that is
    refused. `citizen_per_minute` and `citizen_burst` hold for each address.
    """

    kafka: str
    topic_prefix: str
    current_site: Callable[[], Site]
    now: Callable[[], datetime]
    body_bytes_max: int = BODY_BYTES_MAX
    body_wait_s: float = BODY_WAIT_S
    bodies_bytes_max: int = BODIES_BYTES_MAX
    batch_events_max: int = BATCH_EVENTS_MAX
    pending_bytes_max: int = PENDING_BYTES_MAX
    ack_wait_s: float = ACK_WAIT_S
    trust: Trust | None = None
    ring: KeyRing | None = None
    citizen_per_minute: float = CITIZEN_PER_MINUTE
    citizen_burst: int = CITIZEN_BURST

    @property
    def site(self) -> Site:
        """The site pack in force. It may change while the process runs: keep it for a request at most."""
        return self.current_site()


class Gateway(FastAPI):
    """A FastAPI application whose one hot route goes past the framework: a single event costs half as much so."""

    def __init__(
        self,
        events: EventsEndpoint,
        others: Mapping[str, ASGIApp],
        lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    ) -> None:
        """`others` are the plain endpoints that may go through the framework, by path."""
        super().__init__(title="IOC ingest", version="1", lifespan=lifespan)
        self._events = events
        # The route is in the table as well, for other methods and for whoever lists the routes.
        self.router.routes += [
            Route(path, endpoint, methods=["POST"]) for path, endpoint in {EVENTS_PATH: events, **others}.items()
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a POST of events directly, and anything else as FastAPI does."""
        if scope["type"] == "http" and scope["method"] == "POST" and scope["path"] == EVENTS_PATH:
            await self._events(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(config: IngestConfig) -> FastAPI:
    """The gateway. It connects when its lifespan begins, and starts also while Kafka is away."""
    producer = Producer(
        config.kafka,
        topic_prefix=config.topic_prefix,
        pending_bytes_max=config.pending_bytes_max,
        ack_wait_s=config.ack_wait_s,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        producer.start()
        try:
            yield
        finally:
            await producer.stop()

    bodies = BodyReader(config.body_bytes_max, config.body_wait_s, config.bodies_bytes_max)
    small_bodies = BodyReader(REPORT_BYTES_MAX, config.body_wait_s, config.bodies_bytes_max)
    limit = RateLimit(config.citizen_per_minute, config.citizen_burst, time.monotonic)
    endpoint = EventsEndpoint(
        current_site=config.current_site,
        now=config.now,
        producer=producer,
        bodies=bodies,
        batch_events_max=config.batch_events_max,
        ring=config.ring,
    )
    commands = CommandsEndpoint(
        current_site=config.current_site,
        now=config.now,
        producer=producer,
        bodies=bodies,
        guard=Guard(config.current_site, config.now, config.trust),
        limit=limit,
        ring=config.ring,
    )
    reports = ReportsEndpoint(
        current_site=config.current_site,
        now=config.now,
        producer=producer,
        bodies=small_bodies,
        limit=limit,
        ring=config.ring,
    )
    app = Gateway(endpoint, {COMMANDS_PATH: commands, REPORTS_PATH: reports}, lifespan)
    app.router.routes.append(WebSocketRoute(COMMANDS_PATH, CommandSocket(commands)))
    app.state.producer = producer
    app.add_api_route("/healthz", _healthz, methods=["GET"], summary="Whether the process answers")
    app.add_api_route(
        "/readyz",
        _readyz(app),
        methods=["GET"],
        response_model=None,
        summary="Whether events can be taken, and which dependency is away",
        responses={503: {"description": "A dependency is away"}},
    )
    _describe(app, config)
    return app


async def readiness(app: FastAPI) -> dict[str, Any]:
    """What `/readyz` says: `{"ready": bool, "dependencies": {"kafka": {"state": "up" | "away", "detail": …}}}`."""
    kafka = cast("Producer", app.state.producer).dependency
    return {
        "ready": kafka.state is State.UP,
        "dependencies": {"kafka": {"state": kafka.state.value, "detail": kafka.detail}},
    }


async def _healthz() -> dict[str, str]:
    return {"status": "ok"}


def _readyz(app: FastAPI) -> Callable[[], Any]:
    async def readyz() -> JSONResponse:
        state = await readiness(app)
        return JSONResponse(state, status_code=200 if state["ready"] else 503)

    return readyz


def _describe(app: FastAPI, config: IngestConfig) -> None:
    """Adds the plain routes, which FastAPI does not describe by itself, to the OpenAPI document."""
    generated = app.openapi

    def openapi() -> dict[str, Any]:
        document = generated()
        if EVENTS_PATH not in document["paths"]:
            paths, schemas = describe(body_bytes_max=config.body_bytes_max, batch_events_max=config.batch_events_max)
            document["paths"] |= paths
            document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
        return document

    app.openapi = openapi
