"""Where does the ground of each area lie, as a board draws it?

From the site pack's own boundaries, as fine as a screen can show. Neighbours keep their common border, and no island
is left out. An area without a boundary is a point where the pack says where it is.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import shapely
from fastapi import APIRouter, Query, Request
from msgspec import Struct
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import mapping
from starlette.responses import Response

from dashboard_api.config import DashboardConfig
from dashboard_api.kept import KeptFor, serve
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.rest import Word, described
from dashboard_api.subscription import area_of
from schemas.area import Area, AreaTree, Boundary
from schemas.event import AreaId

GEOJSON = "application/geo+json"

MAPS_MAX = 64
"""How many maps are kept. Beyond that all are drawn again when they are asked for."""

FEATURES_MAX = 5_000
"""Areas of one map; more are refused with 422."""

SCREEN_PX = 2_000
"""No screen shows a map larger than this, and no line of it finer than a pixel."""


class BoundariesQuery(BaseModel):
    """Which areas."""

    model_config = ConfigDict(extra="forbid")
    parent: Annotated[Word | None, Field(description="What lies in this area; the root when left out.")] = None
    kind: Annotated[
        Word | None,
        Field(description="Only areas of this kind, as `province`; else the nearest ones below that have a place."),
    ] = None


class BoundaryMap(Struct, frozen=True, kw_only=True):
    """A GeoJSON FeatureCollection. A feature's properties are `id`, `code`, `kind`, `names` and `parent`.

    `root` is the area that was asked for; its own ground, where that is known, is the first feature.
    `attribution` is whom a map that shows these lines has to name.
    """

    type: str
    root: str
    attribution: str | None
    features: list[dict[str, Any]]


ANSWERS: tuple[type[Struct], ...] = (BoundaryMap,)
"""What OpenAPI describes of these routes."""


def boundary_routes(config: DashboardConfig) -> APIRouter:
    """`GET /v1/boundaries`."""
    router = APIRouter(prefix="/v1", tags=["dashboard"])
    kept = KeptFor(GEOJSON, MAPS_MAX)

    @router.get("/boundaries", **described(BoundaryMap))
    async def read_boundaries(request: Request, query: Annotated[BoundariesQuery, Query()]) -> Response:
        """The ground of areas, simplified to what a screen shows."""
        site = config.site
        tree = site.areas
        root = tree.root.id if query.parent is None else area_of(site, query.parent, "parent")
        shown = areas_shown(tree, root, query.kind)
        if query.kind is not None and not shown and all(area.kind != query.kind for area in tree):
            kinds = ", ".join(sorted({area.kind for area in tree}))
            raise Refused(
                "kind", RefusalReason.INVALID, "this site has no areas of this kind", f"Use one of: {kinds}."
            )
        if len(shown) > FEATURES_MAX:
            fix = f"Ask for the areas in one `parent`, at most {FEATURES_MAX}."
            raise Refused("parent", RefusalReason.TOO_MANY, f"{len(shown)} areas have a place there", fix)
        found = await kept.get(tree, (root, query.kind), lambda: msgspec.json.encode(boundary_map(tree, root, shown)))
        return serve(found, request, {"Cache-Control": "no-cache"})

    return router


def areas_shown(tree: AreaTree, root: AreaId, kind: str | None) -> Sequence[Area]:
    """The areas in `root` that a map can show: of this kind, else the nearest ones below."""
    if kind is not None:
        return [area for area in tree.descendants(root) if area.kind == kind and _has_place(tree, area)]
    level = tree.children(root)
    while level and not any(_has_place(tree, area) for area in level):
        level = [child for area in level for child in tree.children(area.id)]
    return [area for area in level if _has_place(tree, area)]


def boundary_map(tree: AreaTree, root: AreaId, shown: Sequence[Area]) -> BoundaryMap:
    """The map of these areas in `root`."""
    drawn = simplified({area.id: tree.polygons[area.id] for area in shown if area.id in tree.polygons})
    around = {} if root not in tree.polygons else simplified({root: tree.polygons[root]})
    features = [_feature(tree[root], mapping(around[root]))] if around else []
    for area in shown:
        if area.id in drawn:
            features.append(_feature(area, mapping(drawn[area.id])))
        elif area.point is not None:
            point = {"type": "Point", "coordinates": (area.point.lon, area.point.lat)}
            features.append(_feature(area, point))
    attribution = tree.attribution if drawn or around else None
    return BoundaryMap(type="FeatureCollection", root=root, attribution=attribution, features=features)


def simplified(grounds: Mapping[AreaId, Boundary]) -> dict[AreaId, Boundary]:
    """The same grounds, as fine as a screen that shows them all. What is one border stays one."""
    if not grounds:
        return {}
    given = list(grounds.values())
    west, south, east, north = shapely.MultiPolygon([part for one in given for part in _parts(one)]).bounds
    tolerance_deg = max(east - west, north - south) / SCREEN_PX
    if tolerance_deg <= 0:
        return dict(grounds)
    # A tenth of what is left out: rounding may not show.
    decimals = max(0, math.ceil(-math.log10(tolerance_deg)) + 1)

    def rounded(coordinates: "NDArray[Any]") -> "NDArray[Any]":
        return coordinates.round(decimals)

    coarse = shapely.transform(shapely.coverage_simplify(given, tolerance_deg), rounded)
    # An islet may be smaller than a pixel; it keeps the ground that the pack gives it.
    return {
        id_: fine if one.is_empty or one.area == 0 else one
        for (id_, fine), one in zip(grounds.items(), coarse, strict=True)
    }


def _parts(ground: Boundary) -> Sequence[shapely.Polygon]:
    return [ground] if isinstance(ground, shapely.Polygon) else list(ground.geoms)


def _has_place(tree: AreaTree, area: Area) -> bool:
    return area.id in tree.polygons or area.point is not None


def _feature(area: Area, geometry: Mapping[str, Any]) -> dict[str, Any]:
    properties = {
        "id": area.id,
        "code": area.code,
        "kind": area.kind,
        "names": area.names,
        "parent": area.parent,
    }
    return {"type": "Feature", "properties": properties, "geometry": geometry}
