"""What do `areas.csv`, `lineage.csv` and `areas.geojson` say?

Every mistake is a SiteError with the file, the line or the area, the reason and the fix.
"""

import csv
import io
from collections.abc import Iterator, Mapping
from datetime import date
from functools import partial

from schemas.area import Area, AreaTree, Link, Point, Zone
from schemas.boundary import BOUNDARIES_FILE, NO_BOUNDARIES, parse_boundaries
from schemas.errors import SiteError
from schemas.event import AreaCode, AreaId
from schemas.site_file import check_zone, control_mistake

AREAS_FILE = "areas.csv"
LINEAGE_FILE = "lineage.csv"

LABEL_CHARACTERS_MAX = 128
"""Of an id, a code or a list: what an event may name. They are in the key of every figure."""

COUNT_DIGITS_MAX = 12
"""Of a population or a number of households. A longer one is a slip."""

_AREA_COLUMNS = ("code", "parent", "kind", "name_vi", "name_en")
_LINEAGE_COLUMNS = ("old", "new", "kind")


def parse_area_tree(pack: Mapping[str, str], list_id: str, zone_default: Zone) -> AreaTree:
    """Reads a pack's `areas.csv`, and its `lineage.csv` and `areas.geojson` where there are any."""
    areas, lines = _parse_areas(pack[AREAS_FILE], list_id, zone_default)
    _check_tree(areas, lines, list_id)
    boundaries = parse_boundaries(pack[BOUNDARIES_FILE], areas) if BOUNDARIES_FILE in pack else NO_BOUNDARIES
    return AreaTree(
        list_id,
        areas.values(),
        _parse_lineage(pack[LINEAGE_FILE], areas) if LINEAGE_FILE in pack else (),
        boundaries.areas,
        boundaries.attribution,
    )


def _parse_areas(text: str, list_id: str, zone_default: Zone) -> tuple[dict[AreaId, Area], dict[AreaId, int]]:
    """The areas by id, and the line of each.

    Columns: code, parent (an id, empty at a root), kind, name_vi, name_en; optionally id (if empty, the code),
    list, valid_from and valid_to (if empty, the parent's), zone, population, households, lat, lon.
    """
    rows: dict[AreaId, dict[str, str]] = {}
    lines: dict[AreaId, int] = {}
    for line, row in _rows(text, AREAS_FILE, _AREA_COLUMNS):
        code = row["code"]
        if not code:
            raise SiteError(AREAS_FILE, f"line {line}", "the code is empty", "Give every area a code.")
        for column in ("id", "code", "list"):
            _check_label(row.get(column, ""), column, f"line {line}")
        for column in ("kind", "name_vi", "name_en"):
            if found := control_mistake(row[column], one_line=True):
                raise SiteError(AREAS_FILE, f"line {line}", f"{column}: {found[0]}", found[1])
        id_ = AreaId(row.get("id") or code)
        if id_ in rows:
            what = f"id {id_!r}" if row.get("id") else f"code {code!r}"
            raise SiteError(AREAS_FILE, f"line {line}", f"{what} is used twice", f"See line {lines[id_]}.")
        rows[id_], lines[id_] = row, line
    if all(row["parent"] for row in rows.values()):
        raise _roots(0, list_id)
    areas: dict[AreaId, Area] = {}
    # A parent may stand below its children, and they take from it what they do not say.
    for id_ in _parents_first(rows, lines):
        row = rows[id_]
        where = f"line {lines[id_]}"
        parent = areas[AreaId(row["parent"])] if row["parent"] else None
        zone = Zone(row.get("zone") or zone_default)
        if row.get("zone"):
            check_zone(zone, partial(SiteError, AREAS_FILE, where))
        areas[id_] = Area(
            id=id_,
            code=AreaCode(row["code"]),
            list_id=row.get("list") or (parent.list_id if parent else list_id),
            parent=parent.id if parent else None,
            kind=row["kind"],
            names={"vi": row["name_vi"] or row["code"], "en": row["name_en"] or row["name_vi"] or row["code"]},
            zone=zone,
            valid_from=_day(row, "valid_from", where) or (parent.valid_from if parent else None),
            valid_to=_day(row, "valid_to", where) or (parent.valid_to if parent else None),
            population=_count(row, "population", where),
            households=_count(row, "households", where),
            point=_point(row, where),
        )
    return {id_: areas[id_] for id_ in rows}, lines


def _check_label(given: str, column: str, where: str) -> None:
    if len(given) > LABEL_CHARACTERS_MAX:
        reason = f"{column} has {len(given)} characters"
        raise SiteError(AREAS_FILE, where, reason, f"Write at most {LABEL_CHARACTERS_MAX}.")
    if not given.isprintable():
        reason = f"{column} {given!r} holds a character that cannot be printed"
        raise SiteError(AREAS_FILE, where, reason, "Remove it.")


def _rows(text: str, file: str, columns: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows by column name, each with the number of its line."""
    # The database could not read the pack back. The other files' own syntax refuses it.
    if (at := text.find("\0")) >= 0:
        line = text.count("\n", 0, at) + 1
        raise SiteError(file, f"line {line}", "it holds the NUL character", "Remove it; save the file as UTF-8.")
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    try:
        yield from _whole_rows(reader, file, columns)
    # As a field that is longer than any could be, or a carriage return by itself: the quotes do not match.
    except csv.Error as error:
        fix = "Mind the quotes, and end each line with a line feed."
        raise SiteError(file, f"line {reader.line_num}", f"it is no CSV: {error}", fix) from None


def _whole_rows(
    reader: "csv.DictReader[str]", file: str, columns: tuple[str, ...]
) -> Iterator[tuple[int, dict[str, str]]]:
    if missing := [c for c in columns if c not in (reader.fieldnames or ())]:
        raise SiteError(file, "line 1", f"columns are missing: {', '.join(missing)}", "Add them to the header.")
    for row in reader:
        # The reader fills a short row with None, and puts what a long one has too many under None.
        if None in row or None in row.values():
            reason = "the row has not as many columns as the header"
            fix = "Mind the commas; put a name that holds one in quotes."
            raise SiteError(file, f"line {reader.line_num}", reason, fix)
        yield reader.line_num, row


def _parents_first(rows: Mapping[AreaId, Mapping[str, str]], lines: Mapping[AreaId, int]) -> Iterator[AreaId]:
    """Every id, after its parent's. Raises SiteError for an unknown parent and for a circle."""
    done: set[AreaId] = set()
    for id_ in rows:
        path: list[AreaId] = []
        at = id_
        while at not in done:
            if at in path:
                where = f"line {lines[id_]}"
                raise SiteError(AREAS_FILE, where, f"area {id_!r} lies within itself", "Correct its parent.")
            path.append(at)
            parent = AreaId(rows[at]["parent"])
            if not parent:
                break
            if parent not in rows:
                where = f"line {lines[at]}"
                raise SiteError(
                    AREAS_FILE, where, f"parent {parent!r} is not in the file", "Add it or correct the code."
                )
            at = parent
        done.update(path)
        yield from reversed(path)


def _check_tree(areas: Mapping[AreaId, Area], lines: Mapping[AreaId, int], present: str) -> None:
    codes: dict[tuple[str, AreaCode], AreaId] = {}
    for area in areas.values():
        where = f"line {lines[area.id]}"
        other = codes.setdefault((area.list_id, area.code), area.id)
        if other != area.id:
            reason = f"code {area.code!r} is used twice on list {area.list_id!r}"
            raise SiteError(AREAS_FILE, where, reason, f"See line {lines[other]}.")
        if area.parent is not None and areas[area.parent].list_id != area.list_id:
            reason = f"its parent {area.parent!r} is on list {areas[area.parent].list_id!r}, not {area.list_id!r}"
            raise SiteError(AREAS_FILE, where, reason, "Name a parent on its own list.")
        if area.valid_from is not None and area.valid_to is not None and area.valid_from >= area.valid_to:
            reason = f"it ends on {area.valid_to}, before it begins"
            raise SiteError(AREAS_FILE, where, reason, "valid_to is the first day after its last.")
    roots = [area.id for area in areas.values() if area.parent is None and area.list_id == present]
    if len(roots) != 1:
        raise _roots(len(roots), present)


def _roots(found: int, present: str) -> SiteError:
    reason = f"there are {found} areas without a parent on the present list {present!r}"
    fix = "Exactly one area of the list that `area_list` names is the root."
    return SiteError(AREAS_FILE, "parent", reason, fix)


def _day(row: Mapping[str, str], column: str, where: str) -> date | None:
    given = row.get(column)
    if not given:
        return None
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise SiteError(AREAS_FILE, where, f"{column} {given!r} is not a day", "Write it as 2025-07-01.") from None


def _count(row: Mapping[str, str], column: str, where: str) -> int | None:
    given = row.get(column)
    if not given:
        return None
    if not (given.isascii() and given.isdigit()):
        raise SiteError(AREAS_FILE, where, f"{column} {given!r} is not a number", "Write it in digits alone.")
    if len(given) > COUNT_DIGITS_MAX:
        reason = f"{column} has {len(given)} digits"
        raise SiteError(AREAS_FILE, where, reason, f"Write at most {COUNT_DIGITS_MAX}.")
    return int(given)


def _point(row: Mapping[str, str], where: str) -> Point | None:
    lat, lon = row.get("lat"), row.get("lon")
    if not lat and not lon:
        return None
    try:
        point = Point(float(lat or ""), float(lon or ""))
    except ValueError:
        point = None
    if point is None or not (-90 <= point.lat <= 90 and -180 <= point.lon <= 180):
        reason = f"({lat!r}, {lon!r}) is not a place"
        raise SiteError(AREAS_FILE, where, reason, "Give lat and lon both, in degrees, as 21.03 and 105.85.")
    return point


def _parse_lineage(text: str, areas: Mapping[AreaId, Area]) -> list[Link]:
    """The links of `lineage.csv`: old, new (empty where a part left the map), kind (full or partial)."""
    links: dict[tuple[AreaId, AreaId | None], Link] = {}
    lines: dict[tuple[AreaId, AreaId | None], int] = {}
    full: dict[tuple[AreaId, str], int] = {}
    partial: dict[tuple[AreaId, str], int] = {}
    joined: dict[AreaId, dict[str, int]] = {}
    for line, row in _rows(text, LINEAGE_FILE, _LINEAGE_COLUMNS):
        where = f"line {line}"
        old, new = AreaId(row["old"]), AreaId(row["new"]) if row["new"] else None
        for id_ in (old, new):
            if id_ is not None and id_ not in areas:
                fix = "Use an id of areas.csv."
                raise SiteError(LINEAGE_FILE, where, f"area {id_!r} is not in {AREAS_FILE}", fix)
        if row["kind"] == "full":
            link = Link(old, new, "full")
        elif row["kind"] == "partial":
            link = Link(old, new, "partial")
        else:
            raise SiteError(LINEAGE_FILE, where, f"kind {row['kind']!r} is not known", "Use full or partial.")
        if (old, new) in links:
            raise SiteError(LINEAGE_FILE, where, "the link is given twice", f"See line {lines[old, new]}.")
        links[old, new], lines[old, new] = link, line
        if new is None:
            if link.kind == "full":
                fix = "Leave the area out of the file, or name where it went."
                raise SiteError(LINEAGE_FILE, where, f"the whole of {old!r} went nowhere", fix)
            continue
        target = areas[new].list_id
        if target == areas[old].list_id:
            reason = f"{old!r} and {new!r} are on the same list"
            raise SiteError(LINEAGE_FILE, where, reason, "A link leads from one list to another.")
        other = full.get((old, target)) or (partial.get((old, target)) if link.kind == "full" else None)
        if other is not None:
            reason = f"the whole of {old!r} went into one area, and yet it went into several"
            raise SiteError(LINEAGE_FILE, where, reason, f"See line {other}; make them all partial.")
        (full if link.kind == "full" else partial)[old, target] = line
        joined.setdefault(old, {}).setdefault(target, line)
        joined.setdefault(new, {}).setdefault(areas[old].list_id, line)
    _check_levels(areas, joined)
    return list(links.values())


def _check_levels(areas: Mapping[AreaId, Area], joined: Mapping[AreaId, Mapping[str, int]]) -> None:
    """What an area's own links say of its ground, no link of an area above it may say again."""
    for id_, lines in joined.items():
        above = areas[id_].parent
        while above is not None:
            for target in lines.keys() & joined.get(above, {}).keys():
                reason = f"{id_!r} is linked to list {target!r}, and so is {above!r}, in which it lies"
                fix = f"See line {joined[above][target]}; link the smaller areas alone."
                raise SiteError(LINEAGE_FILE, f"line {lines[target]}", reason, fix)
            above = areas[above].parent
