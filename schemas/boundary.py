"""Where does each area's ground lie? Reads `areas.geojson`.

Source: RFC 7946 (longitude before latitude, WGS 84).
"""

import json
from collections.abc import Container
from typing import Any, NamedTuple, cast

import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry import shape

from schemas.area import Boundary
from schemas.errors import SiteError
from schemas.event import AreaId

BOUNDARIES_FILE = "areas.geojson"


ATTRIBUTION_CHARACTERS_MAX = 256
"""Of what a map has to say about whose boundaries they are. It is one line."""


class Boundaries(NamedTuple):
    """The boundaries by area. `attribution` is whom every map that shows them has to name."""

    areas: dict[AreaId, Boundary]
    attribution: str | None


NO_BOUNDARIES = Boundaries({}, None)
"""Of a pack without the file."""


def parse_boundaries(text: str, known: Container[AreaId]) -> Boundaries:
    """The boundaries of a FeatureCollection by the property `id` of each feature. Raises SiteError.

    Its member `attribution`, if there is one, says whom maps have to name.
    """
    try:
        content: Any = json.loads(text.removeprefix("\ufeff"))
    except RecursionError:
        raise SiteError(BOUNDARIES_FILE, "JSON", "it nests too deep", "Export it as GeoJSON, RFC 7946.") from None
    except ValueError as error:
        raise SiteError(BOUNDARIES_FILE, "JSON", str(error), "Correct the syntax.") from None
    features = _member(content, "features")
    if _member(content, "type") != "FeatureCollection" or not isinstance(features, list):
        reason = "it is not a FeatureCollection"
        raise SiteError(BOUNDARIES_FILE, "the file", reason, "Export it as GeoJSON, RFC 7946.")
    boundaries: dict[AreaId, Boundary] = {}
    for number, feature in enumerate(cast("list[object]", features), start=1):
        given = _member(_member(feature, "properties"), "id")
        if not isinstance(given, str):
            fix = "Give it `properties.id`, a text: an id of areas.csv."
            raise SiteError(BOUNDARIES_FILE, f"feature {number}", "it does not say whose boundary it is", fix)
        area = AreaId(given)
        where = f"feature {number} ({area})"
        if area not in known:
            raise SiteError(BOUNDARIES_FILE, where, f"area {area!r} is not in areas.csv", "Use an id of areas.csv.")
        if area in boundaries:
            reason = f"area {area!r} has a boundary already"
            raise SiteError(BOUNDARIES_FILE, where, reason, "Make one MultiPolygon of its parts.")
        boundaries[area] = _boundary(_member(feature, "geometry"), where)
    return Boundaries(boundaries, _attribution(_member(content, "attribution")))


def _attribution(given: object) -> str | None:
    if given is None:
        return None
    if not isinstance(given, str) or not given.isprintable() or len(given) > ATTRIBUTION_CHARACTERS_MAX:
        fix = f"Write one line of at most {ATTRIBUTION_CHARACTERS_MAX} characters."
        raise SiteError(BOUNDARIES_FILE, "attribution", "it is no line that a map could show", fix)
    return given


def _boundary(geometry: object, where: str) -> Boundary:
    try:
        boundary = shape(cast("dict[str, Any]", geometry))
    # What shapely makes of a bad geometry depends on where it is bad.
    except Exception as error:
        reason = f"its geometry cannot be read: {error}"
        raise SiteError(BOUNDARIES_FILE, where, reason, "Give it a Polygon or a MultiPolygon.") from None
    if not isinstance(boundary, Polygon | MultiPolygon) or boundary.is_empty:
        reason = "it has no Polygon or MultiPolygon"
        raise SiteError(BOUNDARIES_FILE, where, reason, "An area's boundary encloses its ground.")
    if not boundary.is_valid:
        reason = f"its boundary is not valid: {shapely.is_valid_reason(boundary)}"
        raise SiteError(BOUNDARIES_FILE, where, reason, "Mend it, as with ST_MakeValid.")
    west, south, east, north = boundary.bounds
    if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
        reason = f"it reaches from ({south}, {west}) to ({north}, {east}), which are no degrees"
        raise SiteError(BOUNDARIES_FILE, where, reason, "Export it in WGS 84, longitude before latitude.")
    return boundary


def _member(value: object, name: str) -> object:
    """A member of a JSON object; None when there is none."""
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
