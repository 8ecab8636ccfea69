"""What does `kpis.toml` say? Every mistake is a SiteError with the position, the reason and the fix."""

from datetime import datetime
from types import NoneType, UnionType
from typing import Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from schemas.errors import SiteError
from schemas.event import EVENT_TYPES, Label
from schemas.filter import fields_of
from schemas.kpi import DERIVED, Catalogue, Kpi, Measure
from schemas.site_file import convert, read_toml

KPIS_FILE = "kpis.toml"


def parse_kpis(text: str) -> Catalogue:
    """Reads `kpis.toml`: an array of tables `[[kpi]]`, one for each indicator."""
    tables = read_toml(text, KPIS_FILE).get("kpi", [])
    if not isinstance(tables, list):
        raise SiteError(KPIS_FILE, "kpi", "`kpi` is not an array of tables", "Begin each indicator with [[kpi]].")
    kpis: dict[str, Kpi] = {}
    for number, table in enumerate(cast("list[object]", tables), start=1):
        where = f"kpi {number}"
        kpi = convert(table, Kpi, KPIS_FILE, where)
        where = f"kpi {kpi.id!r}"
        if kpi.id in kpis:
            raise SiteError(KPIS_FILE, where, "the id is used twice", "Give every KPI an id of its own.")
        _check_kpi(kpi, where)
        kpis[kpi.id] = kpi
    return Catalogue(kpis.values())


def _check_kpi(kpi: Kpi, where: str) -> None:
    if kpi.measure in DERIVED:
        return
    if kpi.event not in EVENT_TYPES:
        fix = f"Use one of: {', '.join(sorted(EVENT_TYPES))}."
        raise SiteError(KPIS_FILE, where, f"event type {kpi.event!r} is not known", fix)
    data: type[Struct] = get_type_hints(EVENT_TYPES[kpi.event])["data"]
    fields = {f.name for f in msgspec.structs.fields(data)}
    for key, name in (
        ("value", kpi.value),
        ("due", kpi.due),
        *(("dimensions", name) for name in kpi.dimensions),
        *(("where", w) for w in fields_of(kpi.where)),
    ):
        if name is not None and name not in fields:
            fix = f"Use one of: {', '.join(sorted(fields))}."
            raise SiteError(KPIS_FILE, where, f"`{key}` names {name!r}, which {kpi.event} does not have", fix)
    hints = get_type_hints(data)
    labels = get_type_hints(data, include_extras=True)
    for key, name, wanted, is_called in (
        ("value", kpi.value, (int, float), "a number"),
        ("due", kpi.due, (datetime,), "a time"),
    ):
        if name is not None and not _holds(hints[name], wanted):
            raise SiteError(
                KPIS_FILE, where, f"`{key}` names {name!r}, which is not {is_called}", "Name another field."
            )
    for name in kpi.dimensions:
        if not _is_label(labels[name]):
            reason = f"`dimensions` names {name!r}, whose values may be too long or too many to split by"
            raise SiteError(KPIS_FILE, where, reason, "Name a field that holds a short word.")
    if kpi.measure is Measure.IN_TIME and kpi.due is None:
        raise SiteError(KPIS_FILE, where, "measure in_time needs `due`", "Name the field that holds the target.")


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
