"""Does a map get the layers that its viewer may see, packed and only when they changed, and a camera's picture?"""

import asyncio
import gzip
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard_api import layers
from dashboard_api.config import DashboardConfig
from dashboard_api.guard import Guard
from dashboard_api.layers import layer_routes
from dashboard_api.problem import answer_problems
from dashboard_api.refusal import Refused
from schemas.site import Site, parse_site
from tests.dashboard.case_centre import PACK, Issuer
from tests.dashboard.centre import utc_now
from tests.schemas.test_layer import FILES, LAYERS, collection, feature, point

JPEG = b"\xff\xd8\xff a picture"
CAMERAS = collection(
    *(
        feature(point(), name=path, picture=f"http://camera{path}")
        for path in ("/ok", "/page", "/away", "/large", "/elsewhere", "/packed")
    )
)
SITE = parse_site({**PACK, **FILES, "cameras.geojson": CAMERAS})


class Cameras:
    """A few cameras, and how often they were asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.pages = 0
        self.app = Starlette(
            routes=[
                Route("/ok", self.picture),
                Route("/page", self.page),
                Route("/large", self.large),
                Route("/elsewhere", self.elsewhere),
                Route("/packed", self.packed),
            ]
        )

    async def picture(self, _: Request) -> Response:
        """A picture."""
        self.asked += 1
        return Response(JPEG, media_type="image/jpeg")

    async def page(self, _: Request) -> Response:
        """What is none."""
        self.pages += 1
        return Response("<script>", media_type="text/html")

    async def large(self, _: Request) -> Response:
        """Too much."""
        return Response(b"x" * (layers.SNAPSHOT_BYTES_MAX + 1), media_type="image/png")

    async def packed(self, _: Request) -> Response:
        """Little that would be much."""
        body = gzip.compress(b"x" * 100_000)
        return Response(body, media_type="image/png", headers={"Content-Encoding": "gzip"})

    async def elsewhere(self, _: Request) -> Response:
        """Another place."""
        return RedirectResponse("http://camera/ok")


@asynccontextmanager
async def client_of(site: Site, cameras: Cameras, issuer: Issuer) -> AsyncGenerator[httpx.AsyncClient]:
    """A client of the routes of layers alone."""
    transport = httpx.ASGITransport(cameras.app)
    async with httpx.AsyncClient(transport=transport) as http:
        config = DashboardConfig(database_url="", current_site=lambda: site, trust=issuer)
        app = FastAPI()
        app.state.guard = Guard(config.current_site, utc_now, issuer)
        answer_problems(app)
        app.include_router(layer_routes(config, http))
        inside = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=inside, base_url="http://centre") as client:
            yield client


async def test_everyone_gets_the_layers_that_are_for_them() -> None:
    issuer = Issuer()
    async with client_of(SITE, Cameras(), issuer) as client:
        shown = {}
        for who in (None, "lena", "olga"):
            headers = {} if who is None else issuer.header(who)
            answer = await client.get("/v1/layers", headers=headers)
            shown[who] = [one["id"] for one in answer.json()["items"]]
            inside = await client.get("/v1/layers/cameras", headers=headers)
            assert inside.status_code == (200 if "cameras" in shown[who] else 404)
            assert (await client.get("/v1/layers/plan", headers=headers)).status_code == 200
            picture = await client.get("/v1/layers/cameras/snapshots/0", headers=headers)
            assert picture.status_code == (200 if "cameras" in shown[who] else 404)
        assert shown == {None: ["plan"], "lena": ["plan"], "olga": ["cameras", "plan"]}
        assert (await client.get("/v1/layers/none")).json()["fix"]


async def test_an_unchanged_layer_is_not_sent_again() -> None:
    async with client_of(SITE, Cameras(), Issuer()) as client:
        answer = await client.get("/v1/layers/plan", headers={"Accept-Encoding": "identity"})
        assert answer.headers["content-type"] == "application/geo+json"
        assert answer.content == SITE.layers["plan"].content
        (view,) = (await client.get("/v1/layers")).json()["items"]
        assert f'"{view["tag"]}"' == answer.headers["etag"]
        again = await client.get("/v1/layers/plan", headers={"If-None-Match": f"W/{answer.headers['etag']}"})
        assert (again.status_code, again.content) == (304, b"")


async def test_a_large_layer_is_packed() -> None:
    many = collection(*[feature(point(), name="x")] * 100)
    site = parse_site({**PACK, **FILES, "layers.toml": LAYERS, "plan.geojson": many})
    async with client_of(site, Cameras(), Issuer()) as client:
        packed = await client.get("/v1/layers/plan", headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.content == site.layers["plan"].content
        assert int(packed.headers["content-length"]) < len(packed.content) / 4


async def test_a_camera_is_asked_once_for_all_who_look() -> None:
    issuer, cameras = Issuer(), Cameras()
    async with client_of(SITE, cameras, issuer) as client:
        for _ in range(3):
            answer = await client.get("/v1/layers/cameras/snapshots/0", headers=issuer.header("olga"))
            assert (answer.status_code, answer.content) == (200, JPEG)
            assert answer.headers["content-type"] == "image/jpeg"
            assert answer.headers["x-content-type-options"] == "nosniff"
    assert cameras.asked == 1


@pytest.mark.parametrize(
    ("number", "status", "reason"),
    [
        pytest.param(1, 502, "no picture", id="a page"),
        pytest.param(2, 502, "answers 404", id="nothing there"),
        pytest.param(3, 502, "more than", id="too large"),
        pytest.param(4, 502, "answers 307", id="sent elsewhere"),
        pytest.param(5, 502, "packed", id="packed"),
        pytest.param(9, 404, "no picture", id="no such feature"),
    ],
)
async def test_what_is_no_picture_is_not_shown(number: int, status: int, reason: str) -> None:
    issuer = Issuer()
    async with client_of(SITE, Cameras(), issuer) as client:
        answer = await client.get(f"/v1/layers/cameras/snapshots/{number}", headers=issuer.header("olga"))
        assert answer.status_code == status
        assert reason in answer.json()["detail"]
        assert "camera/" not in answer.text


async def test_a_camera_without_a_picture_is_not_asked_for_each_who_looks() -> None:
    issuer, cameras = Issuer(), Cameras()
    async with client_of(SITE, cameras, issuer) as client:
        for _ in range(5):
            answer = await client.get("/v1/layers/cameras/snapshots/1", headers=issuer.header("olga"))
            assert answer.status_code == 502
    assert cameras.pages == 1


class Many:
    """Any number of cameras: when each was asked, and how many at once."""

    def __init__(self, *, together: int = 1) -> None:
        self.asked: dict[str, list[float]] = {}
        self.now = self.most = 0
        self._enough = asyncio.Event()
        self._together = together
        self.http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.setdefault(request.url.host, []).append(time.monotonic())
        self.now += 1
        self.most = max(self.most, self.now)
        if self.now >= self._together:
            self._enough.set()
        await self._enough.wait()
        await asyncio.sleep(0)
        self.now -= 1
        return httpx.Response(200, headers={"content-type": "image/png"}, content=b"x" * 100)


async def test_each_of_many_cameras_is_asked_once_and_only_so_many_at_a_time() -> None:
    many = Many(together=layers.CAMERAS_ASKED_MAX)
    pictures = layers.Pictures(many.http)
    addresses = [f"http://c{number}/" for number in range(3 * layers.CAMERAS_ASKED_MAX)]
    for _ in range(3):
        await asyncio.gather(*map(pictures.read, addresses))
    assert [len(times) for times in many.asked.values()] == [1] * len(addresses)
    assert many.most == layers.CAMERAS_ASKED_MAX


async def test_a_picture_that_is_not_kept_is_not_asked_for_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "SNAPSHOT_KEPT_S", 0.1)
    monkeypatch.setattr(layers, "SNAPSHOTS_BYTES_MAX", 150)
    many = Many()
    pictures = layers.Pictures(many.http)
    for _ in range(2):
        for host in ("a", "b"):
            assert (await pictures.read(f"http://{host}/")).body == b"x" * 100
    assert all(later - sooner >= 0.1 for sooner, later in (many.asked["a"], many.asked["b"]))


async def test_one_client_asks_all_cameras_and_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[httpx.AsyncClient] = []

    class Counted(httpx.AsyncClient):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(httpx, "AsyncClient", Counted)
    pictures = layers.Pictures(None)
    for port in (1, 2):
        with pytest.raises(Refused, match="no picture"):
            await pictures.read(f"http://127.0.0.1:{port}/")
    assert [client.is_closed for client in made] == [False]
    await pictures.close()
    assert made[0].is_closed
