"""Is every mistake in the area files named with its file and line, and is what is right read whole?"""

from datetime import date

import pytest

from schemas.area import Area, Point, Zone
from schemas.area_table import parse_area_tree
from schemas.errors import SiteError
from schemas.event import AreaCode, AreaId
from schemas.site import parse_site

ZONE = Zone("Asia/Ho_Chi_Minh")
AREAS = "code,parent,kind,name_vi,name_en\n00,,province,Tỉnh,Province\n01,00,commune,Xã,Commune\n"
VERSIONS = """id,code,list,parent,kind,name_vi,name_en,valid_from,valid_to,population,households,lat,lon
,00,,,province,Tỉnh,Province,2025-07-01,,1200000,300000,21.5,105.8
,01,,00,commune,Xã Một,,2026-01-01,,,,,
old-01,01,before,old-00,commune,Xã Cũ,,,,,,,
old-02,02,,old-00,commune,,,,2024-12-31,,,,
old-00,00,before,,province,Tỉnh Cũ,,,2025-07-01,,,,
old-03,03,before,,commune,Xã Lẻ,,,2025-07-01,,,,
"""
LINEAGE = "old,new,kind\nold-01,01,full\nold-02,01,partial\nold-02,,partial\n"
SQUARE = '{"type":"Polygon","coordinates":[[[105,21],[106,21],[106,22],[105,22],[105,21]]]}'


def feature(id_: str = '"00"', geometry: str = SQUARE) -> str:
    return f'{{"type":"Feature","properties":{{"id":{id_}}},"geometry":{geometry}}}'


def collection(*features: str) -> str:
    return f'{{"type":"FeatureCollection","features":[{",".join(features)}]}}'


def with_columns(columns: str, row: str) -> str:
    """The table with more columns, which only the second row fills."""
    gaps = "," * columns.count(",")
    return f"code,parent,kind,name_vi,name_en,{columns}\n00,,p,X,X,{gaps}\n01,00,c,X,X,{row}\n"


BAD_AREAS = [
    pytest.param("", "line 1", "columns are missing: code", id="nothing at all"),
    pytest.param("code,parent,kind\n", "line 1", "name_vi, name_en", id="columns missing"),
    pytest.param(AREAS + ",00,commune,X,X\n", "line 4", "code is empty", id="no code"),
    pytest.param(AREAS + "01,00,commune,X,X\n", "line 4", "'01' is used twice", id="code twice"),
    pytest.param(AREAS + "02,77,commune,X,X\n", "line 4", "parent '77'", id="unknown parent"),
    pytest.param(AREAS + "02,03,c,X,X\n03,02,c,X,X\n", "line 4", "lies within itself", id="a circle"),
    pytest.param(AREAS + "02,02,c,X,X\n", "line 4", "lies within itself", id="its own parent"),
    pytest.param(AREAS + "02,,c,X,X\n", "parent", "2 areas without", id="two roots"),
    pytest.param(AREAS.replace("00,,", "00,01,"), "parent", "0 areas without", id="no root"),
    pytest.param(AREAS.splitlines()[0], "parent", "0 areas without", id="no row"),
    pytest.param(with_columns("zone", "Mars/Base"), "line 3", "'Mars/Base'", id="a zone"),
    pytest.param(AREAS + "02,00\n", "line 4", "columns", id="a short row"),
    pytest.param(AREAS + "02,00,c,X,X,,\n", "line 4", "columns", id="a long row"),
    pytest.param(with_columns("id", "00"), "line 3", "id '00' is used twice", id="id twice"),
    pytest.param(
        with_columns("list", "old"), "line 3", "on list 'vn-test', not 'old'", id="a parent on another list"
    ),
    pytest.param(with_columns("id", "x") + "01,00,c,X,X,y\n", "line 4", "'01' is used twice on list", id="versions"),
    pytest.param(with_columns("valid_from", "1/7/2025"), "line 3", "'1/7/2025' is not a day", id="a day"),
    pytest.param(with_columns("valid_to", "2025-02-30"), "line 3", "valid_to '2025-02-30'", id="no such day"),
    pytest.param(
        with_columns("valid_from,valid_to", "2025-07-01,2025-07-01"), "line 3", "before it begins", id="an empty span"
    ),
    pytest.param(with_columns("population", "1.2e6"), "line 3", "population '1.2e6'", id="a population"),
    pytest.param(with_columns("households", "-1"), "line 3", "households '-1'", id="households"),
    pytest.param(with_columns("lat,lon", "21.5,"), "line 3", "('21.5', '') is not", id="half a place"),
    pytest.param(with_columns("lat,lon", "105.8,21.5"), "line 3", "('105.8', '21.5')", id="longitude first"),
    pytest.param(with_columns("lat,lon", "nan,nan"), "line 3", "is not a place", id="not a number"),
    pytest.param(with_columns("lat,lon", "21°30',105"), "line 3", "is not a place", id="minutes"),
]


def assert_named(mistake: SiteError, file: str, position: str, reason: str) -> None:
    assert (mistake.file, mistake.position) == (file, position)
    assert reason in mistake.reason
    assert mistake.fix


@pytest.mark.parametrize(("areas", "position", "reason"), BAD_AREAS)
def test_a_mistake_in_the_areas(areas: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as mistake:
        parse_area_tree({"areas.csv": areas}, "vn-test", ZONE)
    assert_named(mistake.value, "areas.csv", position, reason)


@pytest.mark.parametrize(
    ("lineage", "position", "reason"),
    [
        pytest.param("old,new\n", "line 1", "columns are missing: kind", id="columns"),
        pytest.param("old,new,kind\nold-01,01\n", "line 2", "columns", id="a short row"),
        pytest.param("old,new,kind\n77,01,full\n", "line 2", "area '77' is not in areas.csv", id="unknown old"),
        pytest.param("old,new,kind\nold-01,77,full\n", "line 2", "area '77'", id="unknown new"),
        pytest.param("old,new,kind\nold-01,01,most\n", "line 2", "kind 'most'", id="kind"),
        pytest.param(LINEAGE + "old-01,01,full\n", "line 5", "given twice", id="twice"),
        pytest.param(LINEAGE + "old-01,00,partial\n", "line 5", "yet it went into several", id="a part of the whole"),
        pytest.param(
            "old,new,kind\nold-02,01,partial\nold-02,00,full\n", "line 3", "into several", id="the whole after a part"
        ),
        pytest.param(LINEAGE + "old-03,,full\n", "line 5", "went nowhere", id="nowhere"),
        pytest.param("old,new,kind\nold-01,old-03,full\n", "line 2", "on the same list", id="one list"),
        pytest.param(LINEAGE + "old-00,00,full\n", "line 2", "so is 'old-00', in which it lies", id="two levels"),
        pytest.param(LINEAGE + "old-03,00,full\n", "line 2", "'01' is linked to list 'before'", id="two new levels"),
    ],
)
def test_a_mistake_in_the_lineage(lineage: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as mistake:
        parse_area_tree({"areas.csv": VERSIONS, "lineage.csv": lineage}, "vn-test", ZONE)
    assert_named(mistake.value, "lineage.csv", position, reason)


@pytest.mark.parametrize(
    ("boundaries", "position", "reason"),
    [
        pytest.param("{", "JSON", "Expecting", id="no JSON"),
        pytest.param("[]", "the file", "not a FeatureCollection", id="an array"),
        pytest.param(feature(), "the file", "not a FeatureCollection", id="a feature alone"),
        pytest.param('{"type":"FeatureCollection"}', "the file", "not a Feature", id="no features"),
        pytest.param(collection("1"), "feature 1", "whose boundary", id="no feature"),
        pytest.param(collection(feature(), feature("1")), "feature 2", "whose boundary", id="the id is a number"),
        pytest.param(collection(feature('"77"')), "feature 1 (77)", "'77' is not in areas.csv", id="unknown area"),
        pytest.param(collection(feature(), feature()), "feature 2 (00)", "a boundary already", id="twice"),
        pytest.param(collection(feature(geometry="null")), "feature 1 (00)", "", id="no geometry"),
        pytest.param(collection(feature(geometry='{"type":"Globe"}')), "feature 1 (00)", "cannot be read", id="type"),
        pytest.param(
            collection(feature(geometry='{"type":"Polygon","coordinates":[[["a","b"]]]}')),
            "feature 1 (00)",
            "cannot be read",
            id="coordinates",
        ),
        pytest.param(
            collection(feature(geometry='{"type":"Point","coordinates":[105,21]}')),
            "feature 1 (00)",
            "no Polygon",
            id="a point",
        ),
        pytest.param(
            collection(feature(geometry='{"type":"Polygon","coordinates":[]}')),
            "feature 1 (00)",
            "no Polygon",
            id="empty",
        ),
        pytest.param(
            collection(feature(geometry='{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1],[0,0]]]}')),
            "feature 1 (00)",
            "Self-intersection",
            id="a bow tie",
        ),
        pytest.param(
            collection(feature(geometry=SQUARE.replace("105", "590000"))),
            "feature 1 (00)",
            "which are no degrees",
            id="metres",
        ),
    ],
)
def test_a_mistake_in_the_boundaries(boundaries: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as mistake:
        parse_area_tree({"areas.csv": AREAS, "areas.geojson": boundaries}, "vn-test", ZONE)
    assert_named(mistake.value, "areas.geojson", position, reason)


def test_versions_are_read_whole() -> None:
    tree = parse_area_tree({"areas.csv": VERSIONS, "lineage.csv": LINEAGE}, "vn-test", ZONE)
    assert [area.id for area in tree] == ["00", "01", "old-01", "old-02", "old-00", "old-03"]
    assert tree[AreaId("00")] == Area(
        id=AreaId("00"),
        code=AreaCode("00"),
        list_id="vn-test",
        kind="province",
        names={"vi": "Tỉnh", "en": "Province"},
        zone=ZONE,
        valid_from=date(2025, 7, 1),
        population=1_200_000,
        households=300_000,
        point=Point(21.5, 105.8),
    )
    # What a row does not say, its parent says: the list, and since when and until when.
    assert tree[AreaId("old-02")] == Area(
        id=AreaId("old-02"),
        code=AreaCode("02"),
        list_id="before",
        kind="commune",
        names={"vi": "02", "en": "02"},
        zone=ZONE,
        parent=AreaId("old-00"),
        valid_to=date(2024, 12, 31),
    )
    assert tree[AreaId("old-01")].valid_to == date(2025, 7, 1)
    assert tree[AreaId("01")].valid_from == date(2026, 1, 1)
    assert tree.cover(AreaId("01")).whole == ("01", "old-01")
    assert tree.cover(AreaId("01")).partial == ("old-02",)


def test_a_tree_tells_its_areas() -> None:
    tree = parse_area_tree({"areas.csv": VERSIONS}, "vn-test", ZONE)
    assert tree.lists == ("vn-test", "before")
    assert [(span.start, span.end) for span in tree.spans] == [(date(2025, 7, 1), None), (None, date(2025, 7, 1))]
    assert tree.root.id == "00"
    assert [area.id for area in tree.roots("before")] == ["old-00", "old-03"]
    assert [area.id for area in tree.children(AreaId("old-00"))] == ["old-01", "old-02"]
    assert [area.id for area in tree.descendants(AreaId("00"))] == ["01"]
    assert [area.id for area in tree.leaves(AreaId("00"))] == ["01"]
    assert [area.id for area in tree.leaves(AreaId("01"))] == ["01"]
    found = tree.by_code("before", AreaCode("01"))
    assert found is not None
    assert found.id == "old-01"
    assert tree.by_code("before", AreaCode("99")) is None
    assert tree.cover(AreaId("00")).whole == ("00",)
    assert tree.touched_by(AreaId("01")) == ("01", "00")


def test_villages_are_a_further_level() -> None:
    tree = parse_area_tree({"areas.csv": AREAS + "01-1,01,village,Thôn Một,\n"}, "vn-test", ZONE)
    assert tree.path(AreaId("01-1")) == ("01-1", "01", "00")
    assert [area.id for area in tree.descendants(AreaId("00"))] == ["01", "01-1"]
    assert [area.id for area in tree.leaves(AreaId("00"))] == ["01-1"]


def test_a_whole_pack_has_its_map() -> None:
    site = parse_site(
        {
            "site.toml": 'id = "t"\nnames = { en = "T" }\nzone = "Asia/Ho_Chi_Minh"\narea_list = "vn-test"\n'
            'languages = ["en"]\n',
            "areas.csv": VERSIONS,
            "lineage.csv": LINEAGE,
            "areas.geojson": collection(feature()),
            "kpis.toml": "",
        }
    )
    assert site.areas.cover(AreaId("01")).whole == ("01", "old-01")
    assert set(site.areas.polygons) == {"00"}
