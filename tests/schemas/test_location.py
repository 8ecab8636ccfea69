"""Is an event put into the area where it happened, whatever it says of that?"""

import math
from datetime import UTC, date, datetime

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from schemas.area import Area, AreaTree, Boundary, Point, Zone
from schemas.command import Accept, Actor, Command
from schemas.errors import InvalidEvent, Reason
from schemas.event import AreaCode, AreaId, CameraIncident, CaseCommand, Event, Incident, Position, UnitPositioned
from schemas.location import BORDER_SLACK_M, NEAREST_MAX_M, How, Located, Locator, distance_m, parse_geo

NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = datetime(2025, 1, 1, tzinfo=UTC)


def event(
    area: str | None = None, area_list: str | None = None, place: str | None = None, time: datetime = NOW
) -> Event:
    return CameraIncident(
        specversion="1.0",
        id="1",
        source="test",
        time=time,
        area=AreaCode(area) if area else None,
        area_list=area_list,
        place=place,
        data=Incident(camera="c", kind="fire", severity="minor"),
    )


def area(id_: str, parent: str = "", list_id: str = "new", point: Point | None = None) -> Area:
    """An area whose code is its id up to the @. The old list ended on 1 July 2025, when the new one began."""
    return Area(
        id=AreaId(id_),
        code=AreaCode(id_.partition("@")[0]),
        list_id=list_id,
        kind="",
        names={},
        zone=Zone("Asia/Ho_Chi_Minh"),
        parent=AreaId(parent) if parent else None,
        valid_from=date(2025, 7, 1) if list_id == "new" else None,
        valid_to=date(2025, 7, 1) if list_id == "old" else None,
        point=point,
    )


# Two provinces side by side. West has three communes: one with a boundary, one with a point, one of which nobody says
# where it is. East has two villages with points in a commune without. The old list is not drawn.
AREAS = [
    area("vn"),
    area("west", "vn", point=Point(10.5, 105.5)),
    area("east", "vn", point=Point(10.5, 106.5)),
    area("drawn", "west"),
    area("dotted", "west", point=Point(10.9, 105.9)),
    area("hidden", "west"),
    area("plain", "east"),
    area("north", "plain", point=Point(10.9, 106.5)),
    area("south", "plain", point=Point(10.1, 106.5)),
    area("vn@old", list_id="old"),
    area("west@old", "vn@old", list_id="old"),
    area("gone", "vn@old", list_id="old"),
]
POLYGONS: dict[AreaId, Boundary] = {
    AreaId("west"): shapely.box(105, 10, 106, 11),
    AreaId("east"): shapely.box(106, 10, 107, 11),
    AreaId("drawn"): shapely.box(105, 10, 105.2, 10.2),
}
TREE = AreaTree("new", AREAS, polygons=POLYGONS)
LOCATE = Locator(TREE)


def located(id_: str, how: How = How.CODE) -> Located:
    return Located(AreaId(id_), how, TREE[AreaId(id_)].list_id)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(event("west", "new"), located("west"), id="a code and its list"),
        pytest.param(event("west", "old"), located("west@old"), id="the same code on another list"),
        pytest.param(event("west", "old", time=BEFORE), located("west@old"), id="a late event with its list"),
        pytest.param(event("west", "new", time=BEFORE), located("west"), id="the new list before its time"),
        pytest.param(event("west"), located("west"), id="no list: the one in force now"),
        pytest.param(event("west", time=BEFORE), located("west@old"), id="no list: the one in force then"),
        pytest.param(
            event("west", time=datetime(2025, 6, 30, 16, 59, 59, tzinfo=UTC)),
            located("west@old"),
            id="the last second of the old list by the site's clock",
        ),
        pytest.param(
            event("west", time=datetime(2025, 6, 30, 17, 0, tzinfo=UTC)), located("west"), id="the new list's first"
        ),
        pytest.param(event("gone"), located("gone"), id="a code that only the old list has"),
        pytest.param(
            event("drawn", time=BEFORE), located("drawn"), id="a code that only the new list has, too early"
        ),
        pytest.param(event("west", "new", "geo:10.5,106.5"), located("west"), id="the code wins over the place"),
        pytest.param(event(place="geo:10.1,105.1"), located("drawn", How.POLYGON), id="down into the smallest"),
        pytest.param(event(place="geo:10.8,105.8"), located("dotted", How.NEAREST), id="near a commune's point"),
        pytest.param(event(place="geo:10.5,105.2;u=20"), located("west", How.POLYGON), id="near none"),
        pytest.param(event(place="geo:10.85,106.4"), located("north", How.NEAREST), id="near a village"),
        pytest.param(event(place="geo:10.15,106.4"), located("south", How.NEAREST), id="near another village"),
        pytest.param(event(place="geo:10.1,105.1", time=BEFORE), located("drawn", How.POLYGON), id="old, not drawn"),
        pytest.param(event(None, "old", "geo:10.1,105.1"), located("drawn", How.POLYGON), id="a list without a map"),
        pytest.param(event(place="geo:10.5,104.99"), located("west", How.NEAREST), id="on a quay off the coast"),
        pytest.param(event(place="geo:10.0,105.0"), located("drawn", How.POLYGON), id="on a corner"),
    ],
)
def test_located(given: Event, expected: Located) -> None:
    assert LOCATE(given) == expected


@pytest.mark.parametrize(
    ("given", "field", "reason"),
    [
        pytest.param(event("west", "other"), "arealist", Reason.WRONG_AREA_LIST, id="a list nobody knows"),
        pytest.param(
            event(None, "other", "geo:10.5,105.5"), "arealist", Reason.WRONG_AREA_LIST, id="also with a place alone"
        ),
        pytest.param(event("nowhere", "new"), "area", Reason.UNKNOWN_AREA, id="a code nobody knows"),
        pytest.param(event("nowhere"), "area", Reason.UNKNOWN_AREA, id="a code on no list"),
        pytest.param(event("gone", "new"), "area", Reason.UNKNOWN_AREA, id="a code of another list than it says"),
        pytest.param(
            event("nowhere", None, "geo:10.5,105.5"), "area", Reason.UNKNOWN_AREA, id="the code wins, wrong"
        ),
        pytest.param(event(place="geo:48.2,16.4"), "place", Reason.UNKNOWN_PLACE, id="a place in another country"),
        pytest.param(event(place="geo:10.5,104.9"), "place", Reason.UNKNOWN_PLACE, id="out at sea"),
        pytest.param(event(place="geo:91,104.9"), "place", Reason.UNKNOWN_PLACE, id="no place on earth"),
        pytest.param(event(place="geo:10.5,181"), "place", Reason.UNKNOWN_PLACE, id="no longitude"),
        pytest.param(event(), "area", Reason.MISSING_FIELD, id="neither code nor place"),
        pytest.param(event(None, "new"), "area", Reason.MISSING_FIELD, id="a list alone"),
    ],
)
def test_refused(given: Event, field: str, reason: Reason) -> None:
    with pytest.raises(InvalidEvent) as refusal:
        LOCATE(given)
    assert (refusal.value.field, refusal.value.reason) == (field, reason)
    assert refusal.value.fix


def roaming(place: str | None = None, area: str | None = None, area_list: str | None = None) -> list[Event]:
    """A command and a unit's position."""
    where = {"place": place, "area": AreaCode(area) if area else None, "area_list": area_list}
    do = Command(do=Accept(), actor=Actor(id="a", roles=()))
    envelope = {"specversion": "1.0", "id": "1", "source": "test", "time": NOW, **where}
    return [CaseCommand(**envelope, data=do), UnitPositioned(**envelope, data=Position(unit="u"))]


@pytest.mark.parametrize(
    ("place", "area_", "expected"),
    [
        pytest.param(None, None, located("vn", How.CERTAIN), id="nowhere"),
        pytest.param("geo:48.2,16.4", None, located("vn", How.CERTAIN), id="in another country"),
        pytest.param("geo:10.0,105.0", None, located("drawn", How.POLYGON), id="a place"),
        pytest.param("geo:48.2,16.4", "west", located("west"), id="a code"),
    ],
)
def test_what_need_not_be_anywhere_is_at_the_root(place: str | None, area_: str | None, expected: Located) -> None:
    assert [LOCATE(one) for one in roaming(place, area_)] == [expected, expected]


@pytest.mark.parametrize(
    ("place", "area_", "area_list", "field"),
    [
        pytest.param("geo:91,104.9", None, None, "place", id="no place on earth"),
        pytest.param(None, "nowhere", None, "area", id="a code nobody knows"),
        pytest.param(None, None, "other", "arealist", id="a list nobody knows"),
    ],
)
def test_where_it_is_said_it_is_said_right(
    place: str | None, area_: str | None, area_list: str | None, field: str
) -> None:
    for one in roaming(place, area_, area_list):
        with pytest.raises(InvalidEvent) as refusal:
            LOCATE(one)
        assert refusal.value.field == field


def test_what_has_to_be_somewhere_is_asked_strictly() -> None:
    for one in (*roaming(), *roaming("geo:48.2,16.4")):
        with pytest.raises(InvalidEvent):
            LOCATE.strictly(one)


@pytest.mark.parametrize(
    ("areas", "polygons", "expected"),
    [
        pytest.param(
            [area("vn"), area("a", "vn")], {}, Located(AreaId("vn"), How.CERTAIN, "new"), id="nothing drawn"
        ),
        pytest.param(
            [area("vn"), area("a", "vn", point=Point(0, 0))],
            {},
            Located(AreaId("vn"), How.CERTAIN, "new"),
            id="points alone, all far away",
        ),
        pytest.param(
            [area("vn"), area("p", "vn"), area("a", "p")],
            {AreaId("a"): shapely.box(105, 10, 106, 11)},
            Located(AreaId("a"), How.POLYGON, "new"),
            id="a boundary below an area without",
        ),
        pytest.param(
            [area("p")],
            {AreaId("p"): shapely.box(105, 10, 106, 11)},
            Located(AreaId("p"), How.POLYGON, "new"),
            id="a province alone",
        ),
        pytest.param([area("p")], {AreaId("p"): shapely.box(0, 0, 1, 1)}, None, id="outside of a province alone"),
    ],
)
def test_how_much_is_drawn(areas: list[Area], polygons: dict[AreaId, Boundary], expected: Located | None) -> None:
    locate = Locator(AreaTree("new", areas, polygons=polygons))
    if expected is None:
        with pytest.raises(InvalidEvent, match="outside of this site"):
            locate(event(place="geo:10.5,105.5"))
    else:
        assert locate(event(place="geo:10.5,105.5")) == expected


def test_a_list_that_is_drawn_says_where_a_place_lay_in_its_time() -> None:
    ground = shapely.box(105, 10, 106, 11)
    areas = [area("vn"), area("a", "vn"), area("vn@old", list_id="old"), area("b@old", "vn@old", list_id="old")]
    locate = Locator(AreaTree("new", areas, polygons={AreaId("a"): ground, AreaId("b@old"): ground}))
    assert locate(event(place="geo:10.5,105.5")).area == "a"
    assert locate(event(place="geo:10.5,105.5", time=BEFORE)) == Located(AreaId("b@old"), How.POLYGON, "old")
    assert locate(event(None, "old", "geo:10.5,105.5")).area == "b@old"


def test_the_present_list_comes_first_though_another_is_newer() -> None:
    tree = AreaTree("old", [area("vn"), area("vn@old", list_id="old"), area("vn@x", list_id="x")])
    assert tree.lists == ("old", "new", "x")
    assert tree.root.id == "vn@old"


def test_before_any_list_and_where_several_hold_the_present_one_is_meant() -> None:
    late = AreaTree("new", [area("vn"), area("vn@x", list_id="x")])
    assert Locator(late)(event("vn", time=BEFORE)).list_id == "x"
    assert Locator(late)(event("vn")).list_id == "new"
    assert Locator(AreaTree("new", [area("vn")]))(event("vn", time=BEFORE)).list_id == "new"


LATS, LONS = st.floats(9.5, 11.5), st.floats(104.5, 107.5)


@given(lat=LATS, lon=LONS)
def test_a_place_is_found_within_the_bounds_that_are_stated(lat: float, lon: float) -> None:
    lat, lon = round(lat, 5), round(lon, 5)
    spot, place = shapely.Point(lon, lat), Point(lat, lon)
    inside = [id_ for id_ in ("west", "east") if POLYGONS[AreaId(id_)].intersects(spot)]
    try:
        found = LOCATE(event(place=f"geo:{lat:.5f},{lon:.5f}"))
    except InvalidEvent:
        assert not inside
        edge = Point(min(max(lat, 10.0), 11.0), min(max(lon, 105.0), 107.0))
        assert distance_m(place, edge) > BORDER_SLACK_M * 0.99
        return
    path = TREE.path(found.area)
    if inside:
        assert not set(inside).isdisjoint(path)
    point = TREE[found.area].point
    if found.how is How.NEAREST and found.area not in POLYGONS:
        assert point is not None
        away_m = distance_m(place, point)
        assert away_m <= NEAREST_MAX_M
        others = [one.point for one in TREE.descendants(path[-2]) if one.point is not None]
        assert away_m == min(distance_m(place, other) for other in others)


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        pytest.param(Point(0, 0), Point(0, 0), 0, id="the same"),
        pytest.param(Point(0, 0), Point(0, 1), 111_195, id="a degree of the equator"),
        pytest.param(Point(90, 0), Point(-90, 0), math.pi * 6_371_008.8, id="pole to pole"),
        pytest.param(Point(21.0285, 105.8542), Point(10.7769, 106.7009), 1_143_500, id="Hà Nội to Hồ Chí Minh"),
        pytest.param(Point(0, 179.5), Point(0, -179.5), 111_195, id="across the date line"),
    ],
)
def test_distance(a: Point, b: Point, metres: float) -> None:
    assert distance_m(a, b) == pytest.approx(metres, rel=1e-3)
    assert distance_m(a, b) == distance_m(b, a)


def test_a_geo_uri_begins_with_the_latitude() -> None:
    assert parse_geo("geo:21.03,105.85;u=35") == Point(21.03, 105.85)
