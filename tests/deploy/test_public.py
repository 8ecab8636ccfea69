"""Is every address closed to whoever has not signed in, unless it is meant for everyone?"""

import asyncio
from typing import Any

import httpx
import pytest

from deploy.web import web_app
from tests.schemas.people import people_site

PUBLIC = {
    "/healthz",
    "/readyz",
    "/v1/me",
    "/v1/site",
    "/v1/areas",
    "/v1/boundaries",
    # Those of its layers that the site calls public.
    "/v1/layers",
    "/v1/kpis",
    "/v1/kpis/{id}/series",
    "/v1/kpis/{id}/table",
    "/v1/kpis/{id}/attainment",
    "/v1/kpis/{id}/compare",
    "/v1/latest",
    "/v1/overview",
    "/v1/past",
    "/v1/past/snapshot",
    "/v1/public/cases",
    "/v1/public/cases.geojson",
    "/v1/public/cases.csv",
    "/v1/public/cap.atom",
}
"""GET addresses that are meant for everyone. What is not here needs a token."""

BY_SECRET = {"/v1/track", "/v1/commands/{id}"}
"""Open to whoever has a case's tracking secret, too; without one they are refused."""

SOME_ARE_PUBLIC = {"/v1/layers/{id}", "/v1/layers/{id}/snapshots/{number}"}
"""What is not for everyone is not there for whoever may not see it."""

LIVE = {"/v1/live/events", "/v1/live/poll"}
"""They give figures to everyone and need the real server: `tests/dashboard/test_live_ways.py` asks them."""

SENT_BY_ANYBODY = {"/v1/events", "/v1/reports"}
"""POST addresses of senders and citizens."""

NEEDED = {"period": "2026-01", "periods": "2026-01", "from": "2026-01-01T00:00:00Z"}


@pytest.fixture
async def app() -> Any:
    site = people_site()
    return web_app("127.0.0.1:1", "postgresql://nobody@127.0.0.1:1/none", lambda: site, "t.")


def client(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, raise_app_exceptions=False), base_url="http://centre")


async def test_what_is_not_meant_for_everyone_needs_a_token(app: Any) -> None:
    async with client(app) as web:
        described = (await web.get("/openapi.json")).json()["paths"]
        asked = {path: operations["get"] for path, operations in described.items() if "get" in operations}
        assert set(asked) >= LIVE
        asked = {path: operation for path, operation in asked.items() if path not in LIVE}
        assert set(asked) >= {"/v1/events", "/v1/cases", "/v1/sources"}
        # At once, for each that is public waits for a database that is away.
        answers = await asyncio.gather(*(_ask(web, path, operation) for path, operation in asked.items()))
    for path, answer in zip(asked, answers, strict=True):
        if path in PUBLIC:
            assert answer.status_code not in (401, 403), path
        elif path in BY_SECRET:
            assert answer.status_code in (401, 404, 422), path
        elif path in SOME_ARE_PUBLIC:
            assert answer.status_code == 404, path
        else:
            assert answer.status_code == 401, path
            assert answer.json()["reason"] == "not_signed_in", path


async def _ask(web: httpx.AsyncClient, path: str, operation: dict[str, Any]) -> httpx.Response:
    """Asks with whatever the operation cannot do without."""
    names = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query" and one["required"]}
    return await web.get(
        path.replace("{id}", "k").replace("{number}", "1"), params={name: NEEDED.get(name, "x") for name in names}
    )


async def test_a_write_of_a_person_needs_a_token(app: Any) -> None:
    async with client(app) as web:
        described = (await web.get("/openapi.json")).json()["paths"]
        for path in (path for path, operations in described.items() if "post" in operations):
            if path not in SENT_BY_ANYBODY:
                assert (await web.post(path, json={})).status_code == 401, path
        assert (await web.post("/v1/commands", json={})).status_code == 401
