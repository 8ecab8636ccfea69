"""How do the public data sets about Viet Nam's areas become this pack's tables?

    python deploy/sites/vietnam/derive.py FOLDER

FOLDER holds the files that README.md names. Writes areas.csv, lineage.csv and areas.geojson beside this file; the
same input gives the same bytes.
"""

import csv
import json
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import shapely
from shapely import MultiPolygon, Polygon
from shapely.geometry import mapping, shape

Boundary = Polygon | MultiPolygon

HERE = Path(__file__).parent

PRESENT, EARLIER = "vn-2025", "vn-2024"
EARLIER_SUFFIX = "-2024"
"""Codes were reused, so an earlier area's id is its code and the last whole year of the earlier list."""

REDRAWN_ON = "2025-07-01"
SIMPLIFY_DEG = 0.01
COORDINATE_DECIMALS = 4
ATTRIBUTION = "Open Development Vietnam"
"""Whom every map with these boundaries has to name."""

CORRECTED_LINKS = {
    # Two communes called Tân Phú lay in two districts called Châu Thành; the source has both go to Đồng Tháp. This
    # one lay in An Giang, no part of which went elsewhere, and became a part of Vĩnh An.
    ("30622", "30259"): "30604",
}

_ENGLISH_KINDS = {
    "Tỉnh": "Province",
    "Thành phố": "City",
    "Phường": "Ward",
    "Xã": "Commune",
    "Đặc khu": "Special Zone",
}

# Of places whose name in the boundaries differs from the one in the tables by more than its kind.
_BOUNDARY_NAMES = {"HCM": "Hồ Chí Minh", "Khánh Hoà": "Khánh Hòa", "Thanh Hoá": "Thanh Hóa"}


class Row(NamedTuple):
    """A line of areas.csv, in the order of its columns. An empty id is the code."""

    id: str
    code: str
    list: str
    parent: str
    kind: str
    name_vi: str
    name_en: str
    valid_from: str = ""
    valid_to: str = ""
    lat: str = ""
    lon: str = ""


def main(source: Path) -> None:
    """Reads the data sets in a folder and writes the pack's tables."""
    earlier = _read(source / "thanglequoc_63prov_simplified_min.json")
    merges = _read(source / "2025_34prov_new_to_old_merges.json")["data"]
    splits = _read(source / "2025_34prov_old_to_new_splits.json")["data"]
    boundaries = _boundaries(_read(source / "boundaries_34prov.geojson")["features"], merges)
    rows = [*_present(merges, boundaries), *_earlier(earlier, splits)]
    _write(HERE / "areas.csv", Row._fields, rows)
    _write(HERE / "lineage.csv", ("old", "new", "kind"), _lineage(merges))
    features = [
        # One feature a line, so that a change of one province is seen as such.
        json.dumps(
            {"type": "Feature", "properties": {"id": code}, "geometry": mapping(boundary)}, separators=(",", ":")
        )
        for code, boundary in sorted(boundaries.items())
    ]
    head = f'{{"type":"FeatureCollection","attribution":"{ATTRIBUTION}","features":[\n'
    text = head + ",\n".join(features) + "\n]}\n"
    (HERE / "areas.geojson").write_text(text, encoding="utf-8")


def _present(merges: Sequence[Any], boundaries: dict[str, Boundary]) -> Iterator[Row]:
    yield Row("", "vn", PRESENT, "", "country", "Việt Nam", "Viet Nam", valid_from=REDRAWN_ON)
    for province in merges:
        code = province["level1_id"]
        point = boundaries[code].representative_point()
        lat, lon = (f"{value:.{COORDINATE_DECIMALS}f}" for value in (point.y, point.x))
        name = _tidy(province["name"])
        yield Row("", code, "", "vn", "province", name, _english(name), lat=lat, lon=lon)
        for commune in province["level2s"]:
            name = _tidy(commune["name"])
            yield Row("", commune["level2_id"], "", code, "commune", name, _english(name))


def _earlier(provinces: Sequence[Any], splits: Sequence[Any]) -> Iterator[Row]:
    def row(code: str, parent: str, kind: str, name_vi: str, name_en: str) -> Row:
        return Row(code + EARLIER_SUFFIX, code, "", parent + EARLIER_SUFFIX, kind, _tidy(name_vi), _tidy(name_en))

    yield Row("vn" + EARLIER_SUFFIX, "vn", EARLIER, "", "country", "Việt Nam", "Viet Nam", valid_to=REDRAWN_ON)
    listed: set[str] = set()
    for province in provinces:
        yield row(province["Code"], "vn", "province", province["FullName"], province["FullNameEn"])
        for district in province["District"]:
            yield row(district["Code"], province["Code"], "district", district["FullName"], district["FullNameEn"])
            listed.add(district["Code"])
            for commune in district["Ward"] or ():
                yield row(commune["Code"], district["Code"], "commune", commune["FullName"], commune["FullNameEn"])
                listed.add(commune["Code"])
    # The links name twelve communes that the table of 63 provinces no longer has. Their province is known, their
    # district is not.
    for province in splits:
        for commune in province["level3s"]:
            if commune["level3_id"] not in listed:
                name = _tidy(commune["name"])
                yield row(commune["level3_id"], province["level1_id"], "commune", name, _english(name))


def _lineage(merges: Sequence[Any]) -> Iterator[Sequence[str]]:
    for province in merges:
        for commune in province["level2s"]:
            for old in commune["merges"]:
                new = str(CORRECTED_LINKS.get((old["old_id"], commune["level2_id"]), commune["level2_id"]))
                yield old["old_id"] + EARLIER_SUFFIX, new, old["type"]


def _boundaries(features: Sequence[Any], merges: Sequence[Any]) -> dict[str, Boundary]:
    """Simplified boundaries by present province code. Borders are simplified once for both sides, so none opens."""
    codes = {_bare(province["name"]): province["level1_id"] for province in merges}
    found: dict[str, shapely.Geometry] = {}
    for feature in features:
        name = _bare(feature["properties"]["ten_tinh"])
        found[codes[_BOUNDARY_NAMES.get(name, name)]] = shape(feature["geometry"])
    if len(found) != len(merges):
        raise SystemExit(f"{len(merges) - len(found)} provinces have no boundary")
    simple = shapely.coverage_simplify(list(found.values()), SIMPLIFY_DEG)
    return {code: _rounded(one) for code, one in zip(found, simple, strict=True)}


def _rounded(boundary: shapely.Geometry) -> Boundary:
    grid = shapely.set_precision(boundary, 10**-COORDINATE_DECIMALS)  # pyright: ignore[reportUnknownMemberType]
    # On the grid is not enough: its binary fractions have more digits than that.
    rounded = shapely.transform(grid, lambda xy: xy.round(COORDINATE_DECIMALS))
    normal = shapely.normalize(rounded)
    if not isinstance(normal, Polygon | MultiPolygon) or not normal.is_valid:
        raise SystemExit(f"a boundary is not valid: {shapely.is_valid_reason(rounded)}")
    return normal


def _bare(name: str) -> str:
    """A province's name without its kind."""
    name = _tidy(name)
    for kind in ("Tỉnh ", "Thành phố ", "TP "):
        name = name.removeprefix(kind)
    return name


def _tidy(name: str) -> str:
    return " ".join(unicodedata.normalize("NFC", name).split())


def _english(name: str) -> str:
    """The name without marks, its kind behind it: "Phường Ba Đình" is "Ba Dinh Ward"."""
    kind = next(kind for kind in _ENGLISH_KINDS if name.startswith(kind + " "))
    letters = unicodedata.normalize("NFD", name.removeprefix(kind + " ").replace("Đ", "D").replace("đ", "d"))
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return f"{bare} {_ENGLISH_KINDS[kind]}"


def _read(file: Path) -> Any:  # noqa: ANN401 - JSON may hold anything
    return json.loads(file.read_text(encoding="utf-8"))


def _write(file: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
