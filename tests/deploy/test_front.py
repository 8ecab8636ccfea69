"""Does one origin send every request to the room that answers it?"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from deploy.front import Room, create_front
from deploy.identity import Identity
from deploy.oidc_client import OidcClient
from deploy.settings import PACKAGED_SITE
from deploy.site import load_site
from deploy.web import web_app


def room(name: str, running: list[str], state: str = "up") -> Room:
    """An app that says its name on every path, notes while it runs, and depends on one thing."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        running.append(name)
        yield
        running.remove(name)

    app = FastAPI(title=name, lifespan=lifespan)

    @app.api_route("/v1/events", methods=["GET" if name == "dashboard" else "POST"], operation_id=f"{name}_events")
    async def events() -> str:
        return name

    if name == "dashboard":

        @app.get("/{path:path}", include_in_schema=False)
        async def anything(path: str) -> str:
            return f"{name}: {path}"

    async def readiness() -> Mapping[str, Mapping[str, Any]]:
        return {f"{name}'s": {"state": state}}

    return Room(app, readiness)


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://centre")


@pytest.mark.parametrize(
    ("method", "path", "answer"),
    [
        pytest.param("POST", "/v1/events", "ingest", id="a write"),
        pytest.param("GET", "/v1/events", "dashboard", id="a read of the same path"),
        pytest.param("GET", "/", "dashboard: ", id="the board"),
        pytest.param("GET", "/board.js", "dashboard: board.js", id="a part of the board"),
        pytest.param("GET", "/healthz", "dashboard: healthz", id="liveness"),
    ],
)
async def test_method_and_path_choose_the_room(method: str, path: str, answer: str) -> None:
    running: list[str] = []
    async with client(create_front(room("ingest", running), room("dashboard", running))) as web:
        assert (await web.request(method, path)).json() == answer


async def test_a_post_elsewhere_is_no_write() -> None:
    running: list[str] = []
    async with client(create_front(room("ingest", running), room("dashboard", running))) as web:
        assert (await web.post("/elsewhere")).status_code == httpx.codes.METHOD_NOT_ALLOWED


async def test_both_rooms_run_while_the_front_does() -> None:
    running: list[str] = []
    front = create_front(room("ingest", running), room("dashboard", running))
    async with front.router.lifespan_context(front):
        assert running == ["ingest", "dashboard"]
    assert running == []


@pytest.mark.parametrize(
    ("ingest", "dashboard", "status"),
    [
        pytest.param("up", "up", 200, id="all is up"),
        pytest.param("away", "up", 503, id="ingest lacks something"),
        pytest.param("up", "away", 503, id="the dashboard lacks something"),
    ],
)
async def test_ready_when_both_are(ingest: str, dashboard: str, status: int) -> None:
    running: list[str] = []
    async with client(create_front(room("ingest", running, ingest), room("dashboard", running, dashboard))) as web:
        answer = await web.get("/readyz")
    assert answer.status_code == status
    assert answer.json() == {
        "ready": status == httpx.codes.OK,
        "dependencies": {"ingest's": {"state": ingest}, "dashboard's": {"state": dashboard}},
    }


async def test_metrics_are_those_of_the_process() -> None:
    running: list[str] = []
    async with client(create_front(room("ingest", running), room("dashboard", running))) as web:
        answer = await web.get("/metrics")
    assert "process_cpu_seconds_total" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


async def test_the_description_is_of_both_real_rooms_and_whole() -> None:
    app = web_app("127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", lambda: load_site(PACKAGED_SITE), "t.")
    async with client(app) as web:
        document = (await web.get("/openapi.json")).json()
    assert {"post", "get"} <= document["paths"]["/v1/events"].keys()
    assert "/v1/kpis/{kpi_id}/series" in document["paths"] or "/v1/kpis/{id}/series" in document["paths"]
    missing = [ref for ref in _references(document) if not _resolves(document, ref)]
    assert missing == []


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in _references(value)]
    return [ref for value in node for ref in _references(value)] if isinstance(node, list) else []


def _resolves(document: Any, reference: str) -> bool:
    node = document
    for part in reference.removeprefix("#/").split("/"):
        if part not in node:
            return False
        node = node[part]
    return True


async def test_an_issuer_that_is_away_is_shown_and_stops_nothing() -> None:
    away = OidcClient(
        issuer="http://127.0.0.1:1", client_id="board", open_http=lambda: httpx.AsyncClient(trust_env=False)
    )
    front = create_front(room("ingest", []), room("dashboard", []), Identity(client=away, public_url="http://centre"))
    async with front.router.lifespan_context(front), client(front) as web:
        answer = await web.get("/readyz")
    assert answer.status_code == 200
    issuer = answer.json()["dependencies"]["issuer"]
    assert (issuer["state"], issuer["needed"]) == ("away", False)
