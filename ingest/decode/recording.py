"""Which columns of a recorded table make which events?

A *recording mapping* says so: a TOML file of the site pack. This module reads its text and finds its mistakes;
`recorded_row` applies it.
"""

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from string import Formatter
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Struct

from schemas.area import Area, Zone
from schemas.errors import SiteError
from schemas.event import EVENT_TYPES, AreaCode

ISO = "iso"
"""The `time_format` of ISO 8601; any other is a strptime format."""


class Cell(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A value that is not the column's own text: the column of a `time`, of a `number`, or of a `word`.

    `words` says what each word of the column stands for; a row with another one gives no event.
    """

    time: str | None = None
    number: str | None = None
    word: str | None = None
    words: dict[str, str | bool | int | float] = {}

    @property
    def columns(self) -> list[str]:
        """The columns that it names: one, where it is as it should be."""
        return [column for column in (self.time, self.number, self.word) if column is not None]


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

    `area`       a code, or how a column is looked up; may be left out where `place` is given
    `area_list`  the list that the codes are of; without it each is read on the list in force at the event's time
    `where`      the only values of a column that are taken; other rows are left out
    `missing`    what a cell holds when it holds nothing, beside blanks
    """

    source: str
    zone: Zone
    event: list[EventRule]
    area: AreaCode | AreaLookup | None = None
    area_list: str | None = None
    time_format: str = ISO
    delimiter: str = ","
    subject: str | None = None
    place: Place | None = None
    where: dict[str, list[str]] = {}
    missing: list[str] = []


def parse_mapping(text: str, file: str, areas: Iterable[Area]) -> RecordingMapping:
    """Reads a mapping and checks it against the site's areas. Raises SiteError at the first mistake."""
    try:
        mapping = msgspec.convert(tomllib.loads(text), RecordingMapping)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(file, "TOML", str(error), "Correct the syntax.") from error
    except msgspec.ValidationError as error:
        raise SiteError(file, "the file", str(error), "See the recording mapping in docs/demo-data.md.") from error
    for position, reason, fix in _mistakes(mapping, tuple(areas)):
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
                found.update(value.columns)
    return frozenset(found)


def parts_of(template: str) -> Iterator[tuple[str, str | None]]:
    """The template as pairs of plain text and the column after it. Raises ValueError for unpaired braces."""
    for literal, column, _, _ in Formatter().parse(template):
        yield literal, column


def _columns_in(template: str) -> set[str]:
    return {column for _, column in parts_of(template) if column is not None}


def _mistakes(mapping: RecordingMapping, areas: Sequence[Area]) -> Iterator[tuple[str, str, str]]:
    """Position, reason and fix of what a type cannot say."""
    try:
        ZoneInfo(mapping.zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield "zone", f"time zone {mapping.zone!r} is not known", "Use an IANA name, as Asia/Ho_Chi_Minh."
    if len(mapping.delimiter) != 1:
        yield "delimiter", f"{mapping.delimiter!r} is not one character", "Give one character."
    if not mapping.event:
        yield "event", "the mapping makes no events", "Add an [[event]]."
    yield from _area_mistakes(mapping, areas)
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


def _area_mistakes(mapping: RecordingMapping, areas: Sequence[Area]) -> Iterator[tuple[str, str, str]]:
    if mapping.area is None and mapping.place is None:
        yield "area", "the mapping does not say where anything happens", "Give `area` or `place`."
    lists = sorted({area.list_id for area in areas})
    if mapping.area_list is not None and mapping.area_list not in lists:
        yield "area_list", f"areas.csv has no list {mapping.area_list!r}", f"Use one of: {', '.join(lists)}."
        return
    known = {area.code for area in areas if mapping.area_list in (None, area.list_id)}
    for code in _codes(mapping):
        if code not in known:
            yield "area", f"code {code!r} is not in areas.csv", "Add the area or correct the code."


def _rule_mistakes(rule: EventRule, where: str) -> Iterator[tuple[str, str, str]]:
    event_type = EVENT_TYPES.get(rule.type)
    if event_type is None:
        known = ", ".join(sorted(EVENT_TYPES))
        yield f"{where}: type", f"event type {rule.type!r} is not known", f"Use one of: {known}."
        return
    data = next(field.type for field in msgspec.structs.fields(event_type) if field.name == "data")
    fields = {field.encode_name: field for field in msgspec.structs.fields(data)}
    for name, value in rule.data.items():
        if name not in fields:
            known = ", ".join(sorted(fields))
            yield f"{where}: data.{name}", f"{rule.type} has no such field", f"Use one of: {known}."
        elif isinstance(value, Cell):
            yield from _cell_mistakes(value, fields[name].type, f"{where}: data.{name}")
    for name, field in fields.items():
        if field.required and name not in rule.data:
            yield f"{where}: data", f"{rule.type} needs the field {name!r}", "Add it."


def _cell_mistakes(cell: Cell, kind: object, position: str) -> Iterator[tuple[str, str, str]]:
    if len(cell.columns) != 1:
        fix = "Give one of `time`, `number` and `word`."
        yield position, "it is neither a time nor a number nor a word, or several of them", fix
    if (cell.word is None) != (not cell.words):
        yield position, "`word` and `words` do not come together", "Say in `words` what each word stands for."
    for word, value in cell.words.items():
        try:
            msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            yield f"{position}.words", f"{word!r} cannot stand for {value!r}: {error}", "Correct the value."


def _codes(mapping: RecordingMapping) -> Iterator[AreaCode]:
    if isinstance(mapping.area, str):
        yield AreaCode(mapping.area)
    elif mapping.area is not None:
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
