"""In which area did it happen, and how is that known?

A code says it, read on the list that the event names or else on the one in force at its time. Without a code the
place says it: from the root down into the boundary that holds it, and to the nearest point where there are none.
"""

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from enum import StrEnum
from typing import NamedTuple
from zoneinfo import ZoneInfo

import shapely
from shapely import STRtree
from shapely.ops import nearest_points

from schemas.area import Area, AreaTree, ListSpan, Point
from schemas.errors import InvalidEvent, Reason
from schemas.event import AreaCode, AreaId, CaseCommand, Event, UnitPositioned

NEAREST_MAX_M = 50_000.0
"""An area's point is not the nearest to a place that lies further from it: the place stays with the larger area."""

BORDER_SLACK_M = 2_000.0
"""Boundaries are simplified, and quays lie outside them: a place so near to one is within it, if in no other."""

_ROAMING = (CaseCommand, UnitPositioned)
"""What need not be anywhere: a command is about a case, which has an area, and a unit may leave the site."""

_EARTH_RADIUS_M = 6_371_008.8
_METRES_PER_DEGREE = _EARTH_RADIUS_M * math.pi / 180
_OPEN_START = datetime.min.replace(tzinfo=UTC)
_OPEN_END = datetime.max.replace(tzinfo=UTC)


class How(StrEnum):
    """How an event's area is known."""

    CODE = "code"  # the sender said so
    POLYGON = "polygon"  # its place lies in the area
    NEAREST = "nearest"  # the area's point, or its boundary, is the nearest one to its place
    CERTAIN = "certain"  # the smallest area that is certain to hold it


class Located(NamedTuple):
    """An event's area, how it is known, and the code list that the area is on."""

    area: AreaId
    how: How
    list_id: str


class _NotWithin(InvalidEvent):
    """Nothing says where it happened, or a place on earth that is not in this site."""


class Locator:
    """Locates events on a site's maps. A function of the event and the site pack alone."""

    def __init__(self, areas: AreaTree) -> None:
        self.by_code = {(area.list_id, area.code): Located(area.id, How.CODE, area.list_id) for area in areas}
        """Where a code of a list is: all that an event on the log nearly always needs."""
        zone = areas.zone(areas.root.id)
        self._spans = [_Span(span, zone) for span in areas.spans]
        self._lists = areas.lists
        self._everywhere = Located(areas.root.id, How.CERTAIN, areas.root.list_id)
        self.changes_s = sorted({at.timestamp() for span in self._spans for at in (span.start, span.end)})
        """When the list in force may change, in seconds since the epoch, oldest first."""
        self._maps = {list_id: _Map(areas, list_id) for list_id in areas.lists}

    def __call__(self, event: Event) -> Located:
        """Raises InvalidEvent when its code or its place is not known here, and when it has neither.

        A command or a unit's position without a code need not say where, or may lie outside: all that is certain of
        it is the site, its root.
        """
        try:
            return self.strictly(event)
        except _NotWithin:
            if isinstance(event, _ROAMING):
                return self._everywhere
            raise

    def strictly(self, event: Event) -> Located:
        """The same for an event whose place has to be known, whatever its type."""
        # On the log an event always names the list of its code: this is all that nearly every event costs.
        found = self.by_code.get((event.area_list, event.area))  # pyright: ignore[reportArgumentType, reportCallIssue]
        if found is not None:
            return found
        if event.area_list is not None and event.area_list not in self._maps:
            raise InvalidEvent(
                "arealist",
                Reason.WRONG_AREA_LIST,
                f"area list {event.area_list!r} is not known",
                f"Use one of: {', '.join(self._lists)}; or leave it out.",
            )
        if event.area is not None:
            return self._by_its_code(event, event.area)
        if event.place is not None:
            return self._by_its_place(event, parse_geo(event.place))
        raise _NotWithin(
            "area",
            Reason.MISSING_FIELD,
            "nothing says where it happened",
            "Send `area`, a code, or `place`, a geo: URI.",
        )

    def _by_its_code(self, event: Event, code: AreaCode) -> Located:
        if event.area_list is None:
            for list_id in (self._in_force(event.time), *self._lists):
                if (found := self.by_code.get((list_id, code))) is not None:
                    return found
        where = "this site" if event.area_list is None else f"area list {event.area_list!r}"
        fix = "Use a code of the site's areas.csv."
        raise InvalidEvent("area", Reason.UNKNOWN_AREA, f"area {code!r} is not known to {where}", fix)

    def _by_its_place(self, event: Event, place: Point) -> Located:
        list_id = event.area_list or self._in_force(event.time)
        # A list without a map cannot say where a place lies: the present one can.
        map_ = self._maps[list_id] if self._maps[list_id].is_drawn else self._maps[self._lists[0]]
        located = map_.locate(place)
        if located is None:
            raise _NotWithin(
                "place",
                Reason.UNKNOWN_PLACE,
                f"the place ({place.lat}, {place.lon}) lies outside of this site",
                "Latitude comes first, then longitude. Correct the place, or name the area by its code.",
            )
        return located

    def _in_force(self, at: datetime) -> str:
        """The list in force at a time: the present one where several are, or none is."""
        return next((span.list_id for span in self._spans if span.start <= at < span.end), self._lists[0])


def parse_geo(uri: str) -> Point:
    """The place of a `geo:` URI. Raises InvalidEvent where its degrees are none. Source: RFC 5870 §3.4.2."""
    lat, lon = map(float, uri.removeprefix("geo:").partition(";")[0].split(","))
    if not (-90 <= lat <= 90 and -180 <= lon <= 180):
        fix = "Latitude comes first, in [-90, 90], then longitude, in [-180, 180]."
        raise InvalidEvent("place", Reason.UNKNOWN_PLACE, f"({lat}, {lon}) is no place on earth", fix)
    return Point(lat, lon)


def place_of(uri: str | None) -> Point | None:
    """The place of a `geo:` URI; None where there is none, or it was let in before it was looked at."""
    try:
        return None if uri is None else parse_geo(uri)
    except InvalidEvent:
        return None


def distance_m(a: Point, b: Point) -> float:
    """The great-circle distance between two places, in metres."""
    lat_a, lat_b = math.radians(a.lat), math.radians(b.lat)
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin(math.radians(b.lon - a.lon) / 2) ** 2
    return 2 * _EARTH_RADIUS_M * math.asin(min(1.0, math.sqrt(half)))


class _Span:
    """A list's span in instants: its days begin at the site's midnight."""

    def __init__(self, span: ListSpan, zone: ZoneInfo) -> None:
        def midnight(day: date) -> datetime:
            return datetime.combine(day, time(), zone).astimezone(UTC)

        self.list_id = span.list_id
        self.start = _OPEN_START if span.start is None else midnight(span.start)
        self.end = _OPEN_END if span.end is None else midnight(span.end)


class _Map:
    """What can be seen of one list: boundaries and points."""

    def __init__(self, areas: AreaTree, list_id: str) -> None:
        self._areas = areas
        self._list_id = list_id
        self._top = areas.roots(list_id)
        self._levels: dict[AreaId | None, _Level] = {}
        self.is_drawn = any(
            area.list_id == list_id and (area.point is not None or area.id in areas.polygons) for area in areas
        )

    def locate(self, place: Point) -> Located | None:
        """The smallest area known to hold the place. None when it lies outside of them all."""
        at: Area | None = None
        how = How.CERTAIN
        # A root without a boundary holds everything; with one it holds what lies within.
        if len(self._top) == 1 and self._top[0].id not in self._areas.polygons:
            at = self._top[0]
        while True:
            level = self._level(at)
            if (inside := level.containing(place)) is not None:
                at, how = inside, How.POLYGON
                continue
            if (near := level.nearest(place)) is not None:
                at, how = near, How.NEAREST
                if near.id in self._areas.polygons:
                    continue
            elif level.is_bounded and how is How.CERTAIN:
                return None
            return None if at is None else Located(at.id, how, self._list_id)

    def _level(self, at: Area | None) -> "_Level":
        key = None if at is None else at.id
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = _Level(self._areas, self._top if at is None else self._areas.children(at.id))
        return level


class _Level:
    """What is drawn next below an area: boundaries, and the points that lie in none of them."""

    def __init__(self, areas: AreaTree, below: Sequence[Area]) -> None:
        self._bounded: list[Area] = []
        self._points: list[tuple[Area, Point]] = []
        queue = list(below)
        for area in queue:
            # A point stands for its area only where no boundary says better where that is.
            if area.id in areas.polygons:
                self._bounded.append(area)
                continue
            if area.point is not None:
                self._points.append((area, area.point))
            queue.extend(areas.children(area.id))
        self._polygons = [areas.polygons[area.id] for area in self._bounded]
        shapely.prepare(self._polygons)
        self._tree = STRtree(self._polygons)

    @property
    def is_bounded(self) -> bool:
        return bool(self._bounded)

    def containing(self, place: Point) -> Area | None:
        """The first area whose boundary holds the place, or runs through it."""
        hits = self._tree.query(shapely.Point(place.lon, place.lat), predicate="intersects")
        return self._bounded[int(hits.min())] if hits.size else None

    def nearest(self, place: Point) -> Area | None:
        """The area whose boundary is next to the place, else the one whose point is the nearest."""
        spot = shapely.Point(place.lon, place.lat)
        lat_slack = BORDER_SLACK_M / _METRES_PER_DEGREE
        lon_slack = lat_slack / max(math.cos(math.radians(place.lat)), 1e-6)
        box = shapely.box(place.lon - lon_slack, place.lat - lat_slack, place.lon + lon_slack, place.lat + lat_slack)
        found: list[tuple[float, int, Area]] = []
        for index in map(int, self._tree.query(box)):
            edge, _ = nearest_points(self._polygons[index], spot)
            away_m = distance_m(place, Point(edge.y, edge.x))
            if away_m <= BORDER_SLACK_M:
                found.append((away_m, index, self._bounded[index]))
        if not found:
            for index, (area, point) in enumerate(self._points):
                away_m = distance_m(place, point)
                if away_m <= NEAREST_MAX_M:
                    found.append((away_m, index, area))
        return min(found, key=lambda one: one[:2])[2] if found else None
