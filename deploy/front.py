"""Which room answers a request? One origin, by method and path.

| request                         | answered by                       |
| ------------------------------- | --------------------------------- |
| `POST /v1/…`, `WS /v1/commands` | `ingest`: all writes come in there |
| `/v1/admin/…`                   | `deploy.admin`: what an administrator sees and changes |
| `/oidc/…`                       | the local issuer, where there is one |
| `GET /readyz`                   | both: what is away on either side |
| `GET /metrics`                  | the process's Prometheus registry |
| `GET /openapi.json`             | both documents as one             |
| anything else                   | `dashboard_api`: REST, live feed, board |

One process on one machine; in a cluster an ingress holds the same table.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from deploy.admin.app import PATH as ADMIN_PATH
from deploy.identity import Identity
from deploy.issuer.app import PATH as ISSUER_PATH

Readiness = Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]]
"""What a room depends on, each with its `state`: `up` or `away`. One with `needed` false may be away."""


class Room:
    """An app of the origin, with what it depends on."""

    def __init__(self, app: FastAPI, readiness: Readiness) -> None:
        """Holds both; the app's lifespan is run by the front."""
        self.app = app
        self.readiness = readiness


def create_front(
    ingest: Room, dashboard: Room, identity: Identity | None = None, admin: FastAPI | None = None
) -> Starlette:
    """Both rooms behind one origin, with one lifespan; whoever signs people in, and the administrator's app."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            for app in (ingest.app, dashboard.app, *([] if admin is None else [admin])):
                await stack.enter_async_context(app.router.lifespan_context(app))
            if identity is not None:
                stack.push_async_callback(identity.client.close)
                await identity.client.start()
            yield

    async def readyz(_: Request) -> Response:
        dependencies = await dependencies_of(ingest, dashboard, identity)
        ready = all(one["state"] == "up" or one.get("needed") is False for one in dependencies.values())
        return JSONResponse({"ready": ready, "dependencies": dependencies}, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    async def openapi(_: Request) -> Response:
        return JSONResponse(_merged(dashboard.app.openapi(), ingest.app.openapi()))

    return _Front(
        writes=ingest.app,
        lifespan=lifespan,
        routes=[
            Route("/readyz", readyz),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi),
            *([] if identity is None or identity.issuer is None else [Mount(ISSUER_PATH, identity.issuer)]),
            *([] if admin is None else [Mount(ADMIN_PATH, admin)]),
            Mount("/", dashboard.app),
        ],
    )


async def dependencies_of(ingest: Room, dashboard: Room, identity: Identity | None) -> dict[str, Mapping[str, Any]]:
    """What the centre depends on, as `/readyz` tells of it."""
    dependencies = {**await ingest.readiness(), **await dashboard.readiness()}
    if identity is not None:
        dependencies["issuer"] = msgspec.to_builtins(identity.client.state)
    return dependencies


class _Front(Starlette):
    """Writes go to their app directly: a way through the routes would cost a single event a fifth of its time."""

    def __init__(
        self,
        *,
        writes: ASGIApp,
        routes: Sequence[BaseRoute],
        lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
    ) -> None:
        super().__init__(routes=routes, lifespan=lifespan)
        self._writes = writes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_write = (
            scope["type"] == "http"
            and scope["method"] == "POST"
            and scope["path"].startswith("/v1/")
            and not scope["path"].startswith(f"{ADMIN_PATH}/")
        )
        is_write |= scope["type"] == "websocket" and scope["path"] == "/v1/commands"
        await (self._writes if is_write else super().__call__)(scope, receive, send)


def _merged(base: MutableMapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two OpenAPI documents as one. Operations on the same path stand side by side; `base` names the whole."""
    document = {**base, "info": {**base["info"], "title": "Intelligent Operations Center"}}
    document["paths"] = {
        path: {**other["paths"].get(path, {}), **base["paths"].get(path, {})}
        for path in sorted({*base["paths"], *other["paths"]})
    }
    parts: dict[str, Any] = {}
    for source in (other, base):
        for kind, named in source.get("components", {}).items():
            parts[kind] = {**parts.get(kind, {}), **named}
    document["components"] = parts
    return document
