"""Does the table of Viet Nam hold what the public record says, and does its cover add up?"""

import random
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from deploy.site import SHIPPED, load_pack, load_site
from schemas.area import AreaTree
from schemas.area_cut import cut_areas
from schemas.area_table import parse_area_tree
from schemas.errors import InvalidEvent, Reason, SiteError
from schemas.event import AreaCode, AreaId, CameraIncident, Incident
from schemas.location import How, Located, Locator
from schemas.site import Pack, parse_header

PRESENT, EARLIER = "vn-2025", "vn-2024"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
FIXTURES_BYTES_MAX = 2_000_000


@cache
def pack() -> Pack:
    return load_pack(SHIPPED / "vietnam")


@cache
def tree() -> AreaTree:
    header = parse_header(pack()["site.toml"])
    return parse_area_tree(pack(), header.area_list, header.zone)


@cache
def locator() -> Locator:
    return Locator(tree())


def kinds(list_id: str) -> Counter[str]:
    return Counter(area.kind for area in tree() if area.list_id == list_id)


def test_the_numbers_of_areas() -> None:
    assert tree().lists == (PRESENT, EARLIER)
    assert kinds(PRESENT) == {"country": 1, "province": 34, "commune": 3_321}
    # Twelve communes more than the table of 63 provinces has: the links name them.
    assert kinds(EARLIER) == {"country": 1, "province": 63, "district": 696, "commune": 10_035 + 12}
    links = pack()["lineage.csv"].splitlines()[1:]
    assert Counter(link.rpartition(",")[2] for link in links) == {"full": 9_592, "partial": 1_012}


def test_codes_were_reused() -> None:
    assert tree()[AreaId("00004")].names == {"vi": "Phường Ba Đình", "en": "Ba Dinh Ward"}
    assert tree()[AreaId("00004-2024")].names == {"vi": "Phường Trúc Bạch", "en": "Truc Bach Ward"}
    assert tree()[AreaId("24")].names["vi"] == "Tỉnh Bắc Ninh"
    assert tree()[AreaId("24-2024")].names["vi"] == "Tỉnh Bắc Giang"


@pytest.mark.parametrize(
    ("province", "earlier"),
    [
        pytest.param("79", ["74", "77", "79"], id="Bình Dương is in Hồ Chí Minh"),
        pytest.param("40", ["40"], id="Nghệ An is as it was"),
        pytest.param("08", ["02", "08"], id="Tuyên Quang with Hà Giang"),
        pytest.param("19", ["06", "19"], id="Bắc Kạn is in Thái Nguyên"),
        pytest.param("24", ["24", "27"], id="Bắc Giang is in Bắc Ninh"),
    ],
)
def test_what_became_of_provinces(province: str, earlier: list[str]) -> None:
    cover = tree().cover(AreaId(province))
    assert cover.whole == (province, *(f"{code}-2024" for code in earlier))
    assert not cover.partial


def test_all_provinces_and_most_communes_are_exact() -> None:
    inexact = Counter(area.kind for area in tree() if area.list_id == PRESENT and tree().cover(area.id).partial)
    # 2,874 of 3,321 communes are made of whole ones; 447 have parts of communes that were divided.
    assert inexact == {"commune": 447}


def test_counts_of_old_communes_add_up_to_new_provinces_and_bound_new_communes() -> None:
    random_ = random.Random(34)
    counts: Counter[AreaId] = Counter()
    truth: Counter[AreaId] = Counter()
    news: dict[str, list[str]] = {}
    for line in pack()["lineage.csv"].splitlines()[1:]:
        old, new, _ = line.split(",")
        news.setdefault(old, []).append(new)
    for old, its_news in news.items():
        for _ in range(random_.randrange(6)):
            counts.update(tree().path(AreaId(old)))
            # Where it really was: in one of those that the commune went to.
            truth.update(tree().path(AreaId(random_.choice(its_news))))
    for area in tree():
        if area.list_id != PRESENT:
            continue
        cover = tree().cover(area.id)
        lower = sum(counts[id_] for id_ in cover.whole)
        upper = lower + sum(counts[id_] for id_ in cover.partial)
        assert lower <= truth[area.id] <= upper
        assert (lower == truth[area.id]) or cover.partial
    assert sum(truth[area.id] for area in tree().children(AreaId("vn"))) == counts[AreaId("vn-2024")] > 10_000


# The seats of all 34 provinces, and towns that were seats before.
PLACES = [
    ("01", 21.0285, 105.8542, "Hà Nội"),
    ("04", 22.6657, 106.2579, "Cao Bằng"),
    ("08", 21.8233, 105.2140, "Tuyên Quang"),
    ("11", 21.3860, 103.0230, "Điện Biên Phủ"),
    ("12", 22.3964, 103.4582, "Lai Châu"),
    ("14", 21.3270, 103.9141, "Sơn La"),
    ("15", 21.7051, 104.8752, "Yên Bái"),
    ("19", 21.5942, 105.8482, "Thái Nguyên"),
    ("20", 21.8530, 106.7610, "Lạng Sơn"),
    ("22", 20.9517, 107.0748, "Hạ Long"),
    ("24", 21.2731, 106.1946, "Bắc Giang"),
    ("25", 21.3227, 105.4019, "Việt Trì"),
    ("31", 20.8561, 106.6822, "Hải Phòng"),
    ("33", 20.6464, 106.0511, "Hưng Yên"),
    ("37", 20.2539, 105.9750, "Ninh Bình"),
    ("38", 19.8067, 105.7852, "Thanh Hóa"),
    ("40", 18.6790, 105.6813, "Vinh"),
    ("42", 18.3428, 105.9057, "Hà Tĩnh"),
    ("44", 17.4689, 106.6223, "Đồng Hới"),
    ("46", 16.4637, 107.5909, "Huế"),
    ("48", 16.0544, 108.2022, "Đà Nẵng"),
    ("51", 15.1205, 108.7923, "Quảng Ngãi"),
    ("52", 13.7820, 109.2190, "Quy Nhơn"),
    ("56", 12.2388, 109.1967, "Nha Trang"),
    ("66", 12.6667, 108.0500, "Buôn Ma Thuột"),
    ("68", 11.9404, 108.4583, "Đà Lạt"),
    ("75", 10.9574, 106.8426, "Biên Hòa"),
    ("79", 10.7769, 106.7009, "Hồ Chí Minh"),
    ("80", 10.5356, 106.4137, "Tân An"),
    ("82", 10.3600, 106.3600, "Mỹ Tho"),
    ("86", 10.2537, 105.9722, "Vĩnh Long"),
    ("91", 10.0125, 105.0809, "Rạch Giá"),
    ("92", 10.0452, 105.7469, "Cần Thơ"),
    ("96", 9.1769, 105.1524, "Cà Mau"),
    ("19", 22.1470, 105.8348, "Bắc Kạn"),
    ("08", 22.8233, 104.9836, "Hà Giang"),
    ("15", 22.4856, 103.9707, "Lào Cai"),
    ("79", 10.9804, 106.6519, "Thủ Dầu Một"),
    ("24", 21.1861, 106.0763, "Bắc Ninh"),
    ("79", 10.3460, 107.0843, "Vũng Tàu"),
    ("51", 14.3545, 108.0076, "Kon Tum"),
    ("91", 10.2170, 103.9600, "Phú Quốc"),
    ("79", 8.6833, 106.6090, "Côn Đảo"),
    ("51", 15.3800, 109.1170, "Lý Sơn"),
]


@pytest.mark.parametrize(("province", "lat", "lon"), [pytest.param(*row[:3], id=row[3]) for row in PLACES])
def test_a_place_is_found_in_its_province(province: str, lat: float, lon: float) -> None:
    found = locator()(event(place=f"geo:{lat},{lon}"))
    assert (found.area, found.list_id) == (province, PRESENT)
    assert found.how in (How.POLYGON, How.NEAREST)


def test_every_province_holds_its_point() -> None:
    for province in tree().children(AreaId("vn")):
        assert province.point is not None
        found = locator()(event(place=f"geo:{province.point.lat},{province.point.lon}"))
        assert found == Located(province.id, How.POLYGON, PRESENT)


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        pytest.param(17.9757, 102.6331, id="Vientiane"),
        pytest.param(11.5564, 104.9282, id="Phnom Penh"),
        pytest.param(22.8170, 108.3665, id="Nanning"),
        pytest.param(105.8542, 21.0285, id="longitude first"),
    ],
)
def test_a_place_in_another_country_is_refused(lat: float, lon: float) -> None:
    with pytest.raises(InvalidEvent) as refusal:
        locator()(event(place=f"geo:{lat},{lon}"))
    assert refusal.value.reason is Reason.UNKNOWN_PLACE


def event(
    area: str | None = None, area_list: str | None = None, place: str | None = None, time: datetime = NOW
) -> CameraIncident:
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


@pytest.mark.parametrize(
    ("area_list", "time", "expected"),
    [
        pytest.param(PRESENT, NOW, "00004", id="now, by the new list"),
        pytest.param(EARLIER, NOW, "00004-2024", id="a sender that still uses the old list"),
        pytest.param(EARLIER, datetime(2025, 6, 1, tzinfo=UTC), "00004-2024", id="late, by the old list"),
        pytest.param(PRESENT, datetime(2025, 6, 1, tzinfo=UTC), "00004", id="late, by the new list"),
        pytest.param(None, datetime(2025, 6, 1, tzinfo=UTC), "00004-2024", id="late, by none"),
        pytest.param(None, NOW, "00004", id="now, by none"),
    ],
)
def test_a_reused_code(area_list: str | None, time: datetime, expected: str) -> None:
    found = locator()(event("00004", area_list, time=time))
    assert found.area == expected
    # Both are a part of today's Ba Đình, so either way its figures change.
    assert "00004" in tree().touched_by(found.area)


SITE = """
id = "province"
names = {{ vi = "Tỉnh", en = "Province" }}
zone = "Asia/Ho_Chi_Minh"
area_list = "{area_list}"
languages = ["vi", "en"]
areas = {{ from = "{pack}", root = "{root}" }}
"""


def province(folder: Path, root: str = "19", name: str = "vietnam", area_list: str = PRESENT) -> Path:
    """A province's pack without tables of its own."""
    (folder / "site.toml").write_text(SITE.format(root=root, pack=name, area_list=area_list))
    (folder / "kpis.toml").write_text("")
    return folder


def test_a_province_takes_its_part(tmp_path: Path) -> None:
    areas = load_site(province(tmp_path)).areas
    assert areas.root.names["vi"] == "Tỉnh Thái Nguyên"
    assert areas.cover(areas.root.id).whole == ("19", "06-2024", "19-2024")
    assert areas.lists == (PRESENT, EARLIER)
    assert [span.end for span in areas.spans] == [span.end for span in tree().spans]
    kept = set(tree().path(AreaId("19"))[:1]) | {area.id for area in tree().descendants(AreaId("19"))}
    assert {area.id for area in areas if area.list_id == PRESENT} == kept
    assert set(areas.polygons) == {"19"}
    bac_kan = event(place="geo:22.1470,105.8348")
    assert Locator(areas)(bac_kan) == Located(AreaId("19"), How.POLYGON, PRESENT)
    with pytest.raises(InvalidEvent):
        Locator(areas)(event(place="geo:21.0285,105.8542"))


@pytest.mark.parametrize("code", ["01", "24", "79", "91", "00004"])
def test_a_part_says_of_its_areas_what_the_whole_says(code: str) -> None:
    part = parse_area_tree(
        cut_areas(pack(), PRESENT, tree().root.zone, AreaCode(code), "site.toml"), PRESENT, tree().root.zone
    )
    for area in (part.root, *part.descendants(part.root.id)):
        cover, whole = part.cover(area.id), tree().cover(area.id)
        assert (cover.whole, cover.partial) == (whole.whole, whole.partial)
        assert set(cover.apart) <= set(whole.apart)
        assert part[area.id] == area


@pytest.mark.parametrize(
    ("root", "name", "area_list", "position", "reason"),
    [
        pytest.param("99", "vietnam", PRESENT, "areas", "area '99' is not known", id="no such province"),
        pytest.param("19-2024", "vietnam", PRESENT, "areas", "is not known", id="an id, not a code"),
        pytest.param("19", "atlantis", PRESENT, "areas", "no shipped pack 'atlantis'", id="no such pack"),
        pytest.param("19", "../vietnam", PRESENT, "areas", "no shipped pack", id="a path"),
        pytest.param("19", "vietnam", "vn", "area_list", "'vn-2025', not 'vn'", id="another list"),
    ],
)
def test_a_part_that_cannot_be(
    tmp_path: Path, root: str, name: str, area_list: str, position: str, reason: str
) -> None:
    with pytest.raises(SiteError) as mistake:
        load_site(province(tmp_path, root, name, area_list))
    assert mistake.value.file == str(tmp_path / "site.toml")
    assert mistake.value.position == position
    assert reason in mistake.value.reason
    assert mistake.value.fix


def test_a_part_and_a_table_are_one_too_many(tmp_path: Path) -> None:
    (province(tmp_path) / "areas.csv").write_text("code,parent,kind,name_vi,name_en\n")
    with pytest.raises(SiteError, match="Remove one of the two"):
        load_site(tmp_path)


def test_the_shipped_data_stays_small() -> None:
    assert (
        sum(file.stat().st_size for file in SHIPPED.rglob("*") if file.is_file() and file.suffix != ".pyc")
        <= FIXTURES_BYTES_MAX
    )
