"""Is an area's ground drawn as the pack has it, as fine as a screen shows, and sent once?"""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import shapely
from fastapi import FastAPI
from msgspec.structs import replace
from shapely.geometry import shape

from dashboard_api.app import create_app
from dashboard_api.boundaries import SCREEN_PX, areas_shown, boundary_map, simplified
from dashboard_api.config import DashboardConfig
from deploy.site import load_site
from schemas.area import Boundary
from schemas.event import AreaId
from schemas.map_tiles import MapTiles
from schemas.site import Site

VIETNAM = Path("deploy/sites/vietnam")
BOSTON = Path("deploy/sites/boston")
KILOBYTES_MAX = 100
"""What a board on a weak link has to wait for, in gzip."""


@pytest.fixture(scope="module")
def vietnam() -> Site:
    return load_site(VIETNAM)


@pytest.fixture(scope="module")
def boston() -> Site:
    return load_site(BOSTON)


def app_of(site: Site) -> FastAPI:
    """The routes, over a database that nothing here asks."""
    return create_app(DashboardConfig(database_url="postgresql://nowhere", current_site=lambda: site))


class Client:
    """Asks an app whose lifespan is not run: what is asked for here needs no database."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str, **asked: Any) -> httpx.Response:
        async def answer() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.get(path, **asked)

        return asyncio.run(answer())


def client_of(site: Site) -> Client:
    return Client(app_of(site))


def features(answer: Any) -> dict[str, Any]:
    return {one["properties"]["id"]: one for one in answer.json()["features"]}


def test_the_country_is_its_provinces_and_one_province_is_its_own_ground(vietnam: Site) -> None:
    client = client_of(vietnam)
    answer = client.get("/v1/boundaries")
    assert answer.headers["content-type"] == "application/geo+json"
    found = features(answer)
    assert set(found) == {area.id for area in vietnam.areas if area.kind == "province" and area.list_id == "vn-2025"}
    assert answer.json()["attribution"] == "Open Development Vietnam"
    assert found["01"]["properties"]["names"]["vi"] == "Thành phố Hà Nội"
    assert all(shape(one["geometry"]).is_valid for one in found.values())
    assert len(gzip.compress(answer.content, 6)) < KILOBYTES_MAX * 1024
    # No commune has a boundary, so that a province is shown by its own.
    assert list(features(client.get("/v1/boundaries", params={"parent": "01"}))) == ["01"]
    assert set(features(client.get("/v1/boundaries", params={"kind": "province"}))) == set(found)


def test_no_island_is_left_out(vietnam: Site) -> None:
    tree = vietnam.areas
    shown = areas_shown(tree, tree.root.id, None)
    drawn = boundary_map(tree, tree.root.id, shown)

    def parts(ground: Any) -> int:
        return len(getattr(ground, "geoms", [ground]))

    assert sum(parts(shape(one["geometry"])) for one in drawn.features) == sum(
        parts(tree.polygons[area.id]) for area in shown
    )


def test_where_there_are_no_boundaries_areas_are_points(boston: Site) -> None:
    found = features(client_of(boston).get("/v1/boundaries"))
    assert found
    placed = {area.id: area.point for area in boston.areas if area.point is not None and area.parent is not None}
    assert {id_: one["geometry"] for id_, one in found.items()} == {
        id_: {"type": "Point", "coordinates": [point.lon, point.lat]} for id_, point in placed.items()
    }


def test_neighbours_keep_one_border() -> None:
    # A coast of many small steps between two areas, and all around them.
    border = [(100 + (0.0004 if step % 2 else 0), 10 + step * 0.002) for step in range(1_001)]
    west = shapely.Polygon([(99, 10), *border, (99, 12)])
    east = shapely.Polygon([(101, 10), *border, (101, 12)])
    found: dict[AreaId, Boundary] = simplified({AreaId("west"): west, AreaId("east"): east})
    drawn = found[AreaId("west")]
    assert isinstance(drawn, shapely.Polygon)
    assert len(drawn.exterior.coords) < len(west.exterior.coords) / 2
    assert found[AreaId("west")].intersection(found[AreaId("east")]).area == 0
    gap = shapely.box(99, 10, 101, 12).difference(shapely.union_all(list(found.values())))
    assert gap.area < 2 * 2 / SCREEN_PX


def test_who_has_it_is_not_sent_it_again(vietnam: Site) -> None:
    current = [vietnam]
    app = create_app(DashboardConfig(database_url="postgresql://nowhere", current_site=lambda: current[0]))
    client = Client(app)
    for path in ("/v1/boundaries", "/v1/areas?list=vn-2025", "/v1/areas"):
        plain = client.get(path, headers={"Accept-Encoding": "identity"})
        packed = client.get(path, headers={"Accept-Encoding": "gzip"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
        assert packed.content == plain.content
        again = client.get(path, headers={"If-None-Match": f'W/"other", {packed.headers["etag"]}'})
        assert (again.status_code, again.content) == (304, b"")
    # Another pack is another map.
    tags = {path: client.get(path).headers["etag"] for path in ("/v1/boundaries", "/v1/areas")}
    current[0] = load_site(BOSTON)
    assert all(client.get(path).headers["etag"] != tag for path, tag in tags.items())


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        pytest.param({"parent": "nowhere"}, "parent", id="unknown area"),
        pytest.param({"kind": "planet"}, "kind", id="unknown kind"),
        pytest.param({"level": "2"}, "level", id="unknown parameter"),
    ],
)
def test_what_makes_no_sense_is_refused(vietnam: Site, asked: dict[str, str], field: str) -> None:
    answer = client_of(vietnam).get("/v1/boundaries", params=asked)
    assert answer.status_code == 422
    assert field in answer.json()["field"]


def test_only_pages_with_a_map_may_load_tiles_and_only_from_there(boston: Site) -> None:
    tiles = MapTiles(tiles="https://tiles.example.vn/{z}/{x}/{y}.png", attribution="Who drew it")
    with_tiles = replace(boston, header=replace(boston.header, map=tiles))
    client = client_of(with_tiles)
    policies = {path: client.get(path).headers["content-security-policy"] for path in ("/operator", "/open", "/")}
    assert "img-src 'self' data: blob: https://tiles.example.vn;" in policies["/operator"]
    assert policies["/open"] == policies["/operator"]
    assert "tiles.example.vn" not in policies["/"]
    assert client.get("/v1/site").json()["map"] == {**msgspec.to_builtins(tiles)}
    # Nothing from elsewhere unless the pack says so.
    plain = client_of(boston)
    assert plain.get("/v1/site").json()["map"] is None
    assert plain.get("/operator").headers["content-security-policy"] == policies["/"]
