"""What does this site watch?

A site pack is a folder of files: `site.toml`, `areas.csv` and `kpis.toml`. This module reads their text; whoever
runs the centre reads the files. Every mistake is a `SiteError` with the file, the position, the reason and the fix.
"""

import csv
import io
import tomllib
from collections.abc import Mapping
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from schemas.area import Area, AreaTree, Zone
from schemas.errors import SiteError
from schemas.event import EVENT_TYPES, AreaCode, Label
from schemas.kpi import Catalogue, Kpi, Measure

SITE_FILE = "site.toml"
AREAS_FILE = "areas.csv"
KPIS_FILE = "kpis.toml"

_T = TypeVar("_T")
_AREA_COLUMNS = ("code", "parent", "kind", "name_vi", "name_en")


class Source(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sender the site expects to hear from. Silent for longer than `silent_after_s`, it is shown as stale."""

    id: str
    names: dict[str, str]
    silent_after_s: int
    simulated: bool = False


class Header(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `site.toml`."""

    id: str
    names: dict[str, str]
    zone: Zone
    area_list: Label
    languages: list[str]
    source: list[Source] = []


class Site(Struct, frozen=True, kw_only=True):
    """A whole site pack, read and checked."""

    header: Header
    areas: AreaTree
    kpis: Catalogue


def parse_site(site_toml: str, areas_csv: str, kpis_toml: str) -> Site:
    """Reads the three files' texts. Raises SiteError at the first mistake."""
    header = _convert(_toml(site_toml, SITE_FILE), Header, SITE_FILE, "the file")
    _check_zone(header.zone, SITE_FILE, "zone")
    return Site(header=header, areas=parse_areas(areas_csv, header), kpis=parse_kpis(kpis_toml))


def parse_areas(text: str, header: Header) -> AreaTree:
    """Reads `areas.csv`: code, parent (empty at the root), kind, name_vi, name_en, optionally zone."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")))
    if missing := [c for c in _AREA_COLUMNS if c not in (reader.fieldnames or ())]:
        raise SiteError(AREAS_FILE, "line 1", f"columns are missing: {', '.join(missing)}", "Add them to the header.")
    areas: dict[AreaCode, Area] = {}
    lines: dict[AreaCode, int] = {}
    for row in reader:
        where = f"line {reader.line_num}"
        # The reader fills a short row with None, and puts what a long one has too many under None.
        if None in row or None in row.values():
            reason = "the row has not as many columns as the header"
            raise SiteError(AREAS_FILE, where, reason, "Mind the commas; put a name that holds one in quotes.")
        code = AreaCode(row["code"])
        if not code:
            raise SiteError(AREAS_FILE, where, "the code is empty", "Give every area a code.")
        if code in areas:
            raise SiteError(AREAS_FILE, where, f"code {code!r} is used twice", f"See line {lines[code]}.")
        zone = Zone(row.get("zone") or header.zone)
        _check_zone(zone, AREAS_FILE, where)
        areas[code] = Area(
            code=code,
            parent=AreaCode(row["parent"]) if row["parent"] else None,
            kind=row["kind"],
            names={"vi": row["name_vi"] or code, "en": row["name_en"] or row["name_vi"] or code},
            zone=zone,
        )
        lines[code] = reader.line_num
    _check_tree(areas, lines)
    return AreaTree(header.area_list, areas.values())


def parse_kpis(text: str) -> Catalogue:
    """Reads `kpis.toml`: an array of tables `[[kpi]]`, one for each indicator."""
    tables = _toml(text, KPIS_FILE).get("kpi", [])
    if not isinstance(tables, list):
        raise SiteError(KPIS_FILE, "kpi", "`kpi` is not an array of tables", "Begin each indicator with [[kpi]].")
    kpis: dict[str, Kpi] = {}
    for number, table in enumerate(cast("list[object]", tables), start=1):
        where = f"kpi {number}"
        kpi = _convert(table, Kpi, KPIS_FILE, where)
        where = f"kpi {kpi.id!r}"
        if kpi.id in kpis:
            raise SiteError(KPIS_FILE, where, "the id is used twice", "Give every KPI an id of its own.")
        _check_kpi(kpi, where)
        kpis[kpi.id] = kpi
    return Catalogue(kpis.values())


def _check_kpi(kpi: Kpi, where: str) -> None:
    if kpi.event not in EVENT_TYPES:
        fix = f"Use one of: {', '.join(sorted(EVENT_TYPES))}."
        raise SiteError(KPIS_FILE, where, f"event type {kpi.event!r} is not known", fix)
    data: type[Struct] = get_type_hints(EVENT_TYPES[kpi.event])["data"]
    fields = {f.name for f in msgspec.structs.fields(data)}
    for key, name in (
        ("value", kpi.value),
        ("due", kpi.due),
        ("dimension", kpi.dimension),
        *(("where", w) for w in kpi.where),
    ):
        if name is not None and name not in fields:
            fix = f"Use one of: {', '.join(sorted(fields))}."
            raise SiteError(KPIS_FILE, where, f"`{key}` names {name!r}, which {kpi.event} does not have", fix)
    hints = get_type_hints(data)
    labels = get_type_hints(data, include_extras=True)
    for key, name, wanted, is_called in (
        ("value", kpi.value, (int, float), "a number"),
        ("due", kpi.due, (datetime,), "a time"),
        *(("where", w, (str,), "a text") for w in kpi.where),
    ):
        if name is not None and not _holds(hints[name], wanted):
            raise SiteError(
                KPIS_FILE, where, f"`{key}` names {name!r}, which is not {is_called}", "Name another field."
            )
    if kpi.dimension is not None and not _is_label(labels[kpi.dimension]):
        reason = f"`dimension` names {kpi.dimension!r}, whose values may be too long or too many to split by"
        raise SiteError(KPIS_FILE, where, reason, "Name a field that holds a short word.")
    if kpi.measure is Measure.IN_TIME and kpi.due is None:
        raise SiteError(KPIS_FILE, where, "measure in_time needs `due`", "Name the field that holds the target.")
    if kpi.measure is Measure.DISTRIBUTION and kpi.value is None:
        raise SiteError(KPIS_FILE, where, "measure distribution needs `value`", "Name the field to measure.")


def _is_label(hint: object) -> bool:
    """Whether a field holds a `Label` or one of a few words."""
    given = [hint, *get_args(hint)]
    return any(part == Label or get_origin(part) is Literal for part in given)


def _holds(hint: object, wanted: tuple[type, ...]) -> bool:
    """Whether a field of this type, when it is given at all, holds one of the wanted ones."""
    given = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    return all(
        kind is NoneType or kind in wanted or (get_origin(kind) is Literal and str in wanted) for kind in given
    )


def _check_tree(areas: Mapping[AreaCode, Area], lines: Mapping[AreaCode, int]) -> None:
    roots = [area.code for area in areas.values() if area.parent is None]
    if len(roots) != 1:
        reason = f"there are {len(roots)} areas without a parent"
        raise SiteError(AREAS_FILE, "parent", reason, "Exactly one area is the root.")
    for area in areas.values():
        seen: set[AreaCode] = set()
        at: AreaCode | None = area.code
        while at is not None:
            where = f"line {lines[area.code]}"
            if at not in areas:
                raise SiteError(AREAS_FILE, where, f"parent {at!r} is not in the file", "Add it or correct the code.")
            if at in seen:
                raise SiteError(AREAS_FILE, where, f"area {area.code!r} lies within itself", "Correct its parent.")
            seen.add(at)
            at = areas[at].parent


def _check_zone(zone: Zone, file: str, where: str) -> None:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        fix = "Use an IANA name, as Asia/Ho_Chi_Minh."
        raise SiteError(file, where, f"time zone {zone!r} is not known", fix) from None


def _toml(text: str, file: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(file, "TOML", str(error), "Correct the syntax.") from error


def _convert(value: object, cls: type[_T], file: str, where: str) -> _T:
    try:
        return msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        raise SiteError(file, where, str(error), f"See the fields of {cls.__name__} in the documents.") from error
