"""Which columns of a recorded table make which events?

A *recording mapping* says so: a TOML file of the site pack. This module reads its text and finds its mistakes;
`recorded_row` applies it.
"""

import tomllib
from collections.abc import Iterable, Iterator
from string import Formatter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from schemas.area import Zone
from schemas.errors import SiteError
from schemas.event import EVENT_TYPES, AreaCode

ISO = "iso"
"""The `time_format` of ISO 8601; any other is a strptime format."""


class Cell(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is not text: the column that holds a `time`, or the one that holds a `number`."""

    time: str | None = None
    number: str | None = None


class AreaLookup(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The column that names the area, the code of each name, and the code where the column says nothing."""

    column: str
    codes: dict[str, AreaCode]
    missing: AreaCode | None = None


class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns of latitude and longitude. `not_stated` lists "lat,lon" pairs that mean: nobody knows."""

    lat: str
    lon: str
    not_stated: list[str] = []


class EventRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event that a row gives, unless one of the columns in `needs` is missing.

    `id` is a text with {column}s in it, and so is each text of `data`; a field of `data` whose column is missing
    in a row is left out. `time` is a column.
    """

    type: str
    id: str
    time: str
    data: dict[str, str | Cell]
    needs: list[str] = []


class RecordingMapping(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of a mapping's file.

    `area`     a code, or how a column is looked up
    `where`    the only values of a column that are taken; other rows are left out
    `missing`  what a cell holds when it holds nothing, beside blanks
    """

    source: str
    zone: Zone
    event: list[EventRule]
    area: AreaCode | AreaLookup
    time_format: str = ISO
    delimiter: str = ","
    subject: str | None = None
    place: Place | None = None
    where: dict[str, list[str]] = {}
    missing: list[str] = []


def parse_mapping(text: str, file: str, areas: Iterable[AreaCode]) -> RecordingMapping:
    """Reads a mapping and checks it against the site's area codes. Raises SiteError at the first mistake."""
    try:
        mapping = msgspec.convert(tomllib.loads(text), RecordingMapping)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(file, "TOML", str(error), "Correct the syntax.") from error
    except msgspec.ValidationError as error:
        raise SiteError(file, "the file", str(error), "See the recording mapping in docs/demo-data.md.") from error
    for position, reason, fix in _mistakes(mapping, frozenset(areas)):
        raise SiteError(file, position, reason, fix)
    return mapping


def columns_of(mapping: RecordingMapping) -> frozenset[str]:
    """Every column that the mapping reads; a file whose header has them all can be read with it."""
    found = {*mapping.where}
    if isinstance(mapping.area, AreaLookup):
        found.add(mapping.area.column)
    if mapping.place:
        found |= {mapping.place.lat, mapping.place.lon}
    for template in filter(None, (mapping.source, mapping.subject)):
        found |= _columns_in(template)
    for rule in mapping.event:
        found |= {rule.time, *rule.needs} | _columns_in(rule.id)
        for value in rule.data.values():
            if isinstance(value, str):
                found |= _columns_in(value)
            else:
                found |= {name for name in (value.time, value.number) if name}
    return frozenset(found)


def parts_of(template: str) -> Iterator[tuple[str, str | None]]:
    """The template as pairs of plain text and the column after it. Raises ValueError for unpaired braces."""
    for literal, column, _, _ in Formatter().parse(template):
        yield literal, column


def _columns_in(template: str) -> set[str]:
    return {column for _, column in parts_of(template) if column is not None}


def _mistakes(mapping: RecordingMapping, areas: frozenset[AreaCode]) -> Iterator[tuple[str, str, str]]:
    """Position, reason and fix of what a type cannot say."""
    try:
        ZoneInfo(mapping.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield "zone", f"time zone {mapping.zone!r} is not known", "Use an IANA name, as Asia/Ho_Chi_Minh."
    if len(mapping.delimiter) != 1:
        yield "delimiter", f"{mapping.delimiter!r} is not one character", "Give one character."
    if not mapping.event:
        yield "event", "the mapping makes no events", "Add an [[event]]."
    for code in _codes(mapping):
        if code not in areas:
            yield "area", f"code {code!r} is not in areas.csv", "Add the area or correct the code."
    for position, template in _templates(mapping):
        try:
            columns = _columns_in(template)
        except ValueError as error:
            yield position, f"{template!r}: {error}", "Write a column as {name}."
        else:
            if "" in columns:
                yield position, f"{template!r} has braces without a column", "Write a column as {name}."
    for number, rule in enumerate(mapping.event, start=1):
        yield from _rule_mistakes(rule, f"event {number}")


def _rule_mistakes(rule: EventRule, where: str) -> Iterator[tuple[str, str, str]]:
    event_type = EVENT_TYPES.get(rule.type)
    if event_type is None:
        known = ", ".join(sorted(EVENT_TYPES))
        yield f"{where}: type", f"event type {rule.type!r} is not known", f"Use one of: {known}."
        return
    data = next(field.type for field in msgspec.structs.fields(event_type) if field.name == "data")
    fields = {field.encode_name: field.required for field in msgspec.structs.fields(data)}
    for name, value in rule.data.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            yield f"{where}: data.{name}", f"{rule.type} has no such field", f"Use one of: {known}."
        if isinstance(value, Cell) and (value.time is None) == (value.number is None):
            yield f"{where}: data.{name}", "it is neither a time nor a number", "Give one of `time` and `number`."
    for name, required in fields.items():
        if required and name not in rule.data:
            yield f"{where}: data", f"{rule.type} needs the field {name!r}", "Add it."


def _codes(mapping: RecordingMapping) -> Iterator[AreaCode]:
    if isinstance(mapping.area, str):
        yield AreaCode(mapping.area)
        return
    yield from mapping.area.codes.values()
    if mapping.area.missing is not None:
        yield mapping.area.missing


def _templates(mapping: RecordingMapping) -> Iterator[tuple[str, str]]:
    yield "source", mapping.source
    if mapping.subject is not None:
        yield "subject", mapping.subject
    for number, rule in enumerate(mapping.event, start=1):
        yield f"event {number}: id", rule.id
        for name, value in rule.data.items():
            if isinstance(value, str):
                yield f"event {number}: data.{name}", value
