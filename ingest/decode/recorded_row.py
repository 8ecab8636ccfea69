"""Which events does one row of a recorded table give?

One row may give several, such as a report's reception and its closing. Nothing here reads a file; a row is a
dictionary of texts.

Local times are resolved as PEP 495 does with `fold=0`: an hour that the clocks repeat is its first pass, and a time
that the clocks skip is as far past the change as it would have been without one (02:30 becomes 03:30).
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from ingest.decode.recording import ISO, AreaLookup, Cell, EventRule, RecordingMapping, parts_of
from schemas.codec import explain
from schemas.errors import InvalidEvent, Reason
from schemas.event import AnyEvent, AreaCode


def instant(text: str, time_format: str, zone: ZoneInfo) -> datetime:
    """The moment, in UTC, that a recorded time names; without an offset of its own it is local to `zone`.

    Raises ValueError when it is not in the format, or outside the years that a datetime can hold.
    """
    moment = datetime.fromisoformat(text) if time_format == ISO else datetime.strptime(text, time_format)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone, fold=0)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


class RowMapper:
    """A mapping made ready for many rows."""

    def __init__(self, mapping: RecordingMapping) -> None:
        """Takes a mapping that `parse_mapping` has checked."""
        self._mapping = mapping
        self._zone = ZoneInfo(mapping.zone)
        self._missing = frozenset(mapping.missing)
        self._templates: dict[str, list[tuple[str, str | None]]] = {}

    def takes(self, row: Mapping[str, str]) -> bool:
        """Whether the mapping's `where` lets this row in."""
        return all(self._cell(row, column) in values for column, values in self._mapping.where.items())

    def events(self, row: Mapping[str, str]) -> list[AnyEvent]:
        """The row's events, in the order of the mapping. Raises InvalidEvent: then the row gives none at all."""
        return [
            self._event(rule, row)
            for rule in self._mapping.event
            if all(self._cell(row, column) is not None for column in rule.needs)
        ]

    def _event(self, rule: EventRule, row: Mapping[str, str]) -> AnyEvent:
        data = {name: self._value(value, row) for name, value in rule.data.items()}
        area, place = self._area(row), self._place(row)
        if area is None and place is None:
            fix = "Fill it in, or give the mapping's [area] a code for rows that `missing` it."
            raise InvalidEvent("area", Reason.MISSING_FIELD, "the row does not say where it happened", fix)
        content: dict[str, Any] = {
            "specversion": "1.0",
            "type": rule.type,
            "id": self._text(rule.id, row),
            "source": self._text(self._mapping.source, row),
            "subject": self._text(self._mapping.subject, row) if self._mapping.subject else None,
            "time": self._time(rule.time, row),
            "area": area,
            "arealist": self._mapping.area_list,
            "place": place,
            "data": {name: value for name, value in data.items() if value is not None},
        }
        present = {name: value for name, value in content.items() if value is not None}
        try:
            return msgspec.convert(present, AnyEvent)
        except msgspec.ValidationError as error:
            raise explain(error) from error

    def _cell(self, row: Mapping[str, str], column: str) -> str | None:
        """The cell without blanks around it; None when it is missing."""
        text = row[column].strip()
        if not text or text in self._missing:
            return None
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InvalidEvent(column, Reason.INVALID_UTF8, "it is not UTF-8", "Encode it as UTF-8.") from error
        if "\0" in text:
            raise InvalidEvent(column, Reason.NUL_CHARACTER, "it holds the NUL character", "Remove it.")
        return text

    def _text(self, template: str, row: Mapping[str, str]) -> str | None:
        """The template with its columns filled in; None when one of them is missing."""
        parts = self._templates.get(template)
        if parts is None:
            parts = self._templates[template] = list(parts_of(template))
        filled: list[str] = []
        for literal, column in parts:
            filled.append(literal)
            if column is not None:
                text = self._cell(row, column)
                if text is None:
                    return None
                filled.append(text)
        return "".join(filled)

    def _value(self, value: str | Cell, row: Mapping[str, str]) -> object:
        if isinstance(value, str):
            return self._text(value, row)
        if value.time is not None:
            return self._time(value.time, row)
        if value.number is not None:
            return self._number(value.number, row)
        return self._word(value, row)

    def _time(self, column: str, row: Mapping[str, str]) -> datetime | None:
        text = self._cell(row, column)
        if text is None:
            return None
        try:
            return instant(text, self._mapping.time_format, self._zone)
        except ValueError as error:
            fix = f"Write it as {self._mapping.time_format}."
            raise InvalidEvent(column, Reason.INVALID_FIELD, f"{text!r} is not such a time", fix) from error

    def _number(self, column: str, row: Mapping[str, str]) -> int | float | None:
        text = self._cell(row, column)
        if text is None:
            return None
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise InvalidEvent(column, Reason.INVALID_FIELD, f"{text!r} is not a number", "Write a decimal number.")
        # Counts are whole; beyond 2**53 a float is as exact as the text can be trusted to be.
        return int(number) if text.removeprefix("-").isdecimal() and abs(number) < 2**53 else number

    def _word(self, cell: Cell, row: Mapping[str, str]) -> object:
        column = cell.word or ""
        text = self._cell(row, column)
        if text is None:
            return None
        if text not in cell.words:
            fix = "Correct it, or add it to the mapping's `words`."
            raise InvalidEvent(column, Reason.INVALID_FIELD, f"{text!r} stands for nothing", fix)
        return cell.words[text]

    def _area(self, row: Mapping[str, str]) -> AreaCode | None:
        lookup = self._mapping.area
        if not isinstance(lookup, AreaLookup):
            return lookup
        name = self._cell(row, lookup.column)
        if name is None:
            return lookup.missing
        if name not in lookup.codes:
            fix = "Add it to the mapping's [area.codes]."
            raise InvalidEvent(lookup.column, Reason.UNKNOWN_AREA, f"{name!r} has no area code", fix)
        return lookup.codes[name]

    def _place(self, row: Mapping[str, str]) -> str | None:
        columns = self._mapping.place
        if columns is None:
            return None
        lat, lon = self._cell(row, columns.lat), self._cell(row, columns.lon)
        if lat is None or lon is None or f"{lat},{lon}" in columns.not_stated:
            return None
        return f"geo:{lat},{lon}"
