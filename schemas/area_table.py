"""What does `areas.csv` say? Every mistake is a SiteError with the line, the reason and the fix."""

import csv
import io
from collections.abc import Mapping

from schemas.area import Area, AreaTree, Zone
from schemas.errors import SiteError
from schemas.event import AreaCode, AreaId
from schemas.site_file import check_zone

AREAS_FILE = "areas.csv"

_AREA_COLUMNS = ("code", "parent", "kind", "name_vi", "name_en")


def parse_areas(text: str, list_id: str, zone_default: Zone) -> AreaTree:
    """Reads `areas.csv`: code, parent (empty at the root), kind, name_vi, name_en, optionally zone."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := [c for c in _AREA_COLUMNS if c not in (reader.fieldnames or ())]:
        raise SiteError(AREAS_FILE, "line 1", f"columns are missing: {', '.join(missing)}", "Add them to the header.")
    areas: dict[AreaId, Area] = {}
    lines: dict[AreaId, int] = {}
    for row in reader:
        where = f"line {reader.line_num}"
        # The reader fills a short row with None, and puts what a long one has too many under None.
        if None in row or None in row.values():
            reason = "the row has not as many columns as the header"
            raise SiteError(AREAS_FILE, where, reason, "Mind the commas; put a name that holds one in quotes.")
        code = AreaId(row["code"])
        if not code:
            raise SiteError(AREAS_FILE, where, "the code is empty", "Give every area a code.")
        if code in areas:
            raise SiteError(AREAS_FILE, where, f"code {code!r} is used twice", f"See line {lines[code]}.")
        zone = Zone(row.get("zone") or zone_default)
        check_zone(zone, AREAS_FILE, where)
        areas[code] = Area(
            id=code,
            code=AreaCode(code),
            list_id=list_id,
            parent=AreaId(row["parent"]) if row["parent"] else None,
            kind=row["kind"],
            names={"vi": row["name_vi"] or code, "en": row["name_en"] or row["name_vi"] or code},
            zone=zone,
        )
        lines[code] = reader.line_num
    _check_tree(areas, lines)
    return AreaTree(list_id, areas.values())


def _check_tree(areas: Mapping[AreaId, Area], lines: Mapping[AreaId, int]) -> None:
    roots = [area.code for area in areas.values() if area.parent is None]
    if len(roots) != 1:
        reason = f"there are {len(roots)} areas without a parent"
        raise SiteError(AREAS_FILE, "parent", reason, "Exactly one area is the root.")
    for area in areas.values():
        seen: set[AreaId] = set()
        at: AreaId | None = area.code
        while at is not None:
            where = f"line {lines[area.code]}"
            if at not in areas:
                raise SiteError(AREAS_FILE, where, f"parent {at!r} is not in the file", "Add it or correct the code.")
            if at in seen:
                raise SiteError(AREAS_FILE, where, f"area {area.code!r} lies within itself", "Correct its parent.")
            seen.add(at)
            at = areas[at].parent
