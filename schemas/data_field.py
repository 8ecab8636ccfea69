"""What does a field of an event's data hold?

Read off the structs of `schemas.event`, so that the site pack's checks follow whatever a new event type declares.
"""

from collections.abc import Mapping
from enum import StrEnum
from functools import cache

from msgspec import Struct, inspect

from schemas.event import EVENT_TYPES

WORD_LENGTH_MAX = 128
"""A text that may be longer than this is too long to split by, and there may be too many of them."""


class Kind(StrEnum):
    """What can be done with a field. The value is how people are told."""

    NUMBER = "a number"
    INSTANT = "an instant"
    WORD = "a short word"
    TEXT = "a text"
    FLAG = "true or false"


class DataField(Struct, frozen=True, kw_only=True):
    """`words` are all that the field can hold, where they are few; `non_negative`: no event holds less than 0."""

    kind: Kind
    words: tuple[str, ...] = ()
    non_negative: bool = False


ENVELOPE_FIELDS: Mapping[str, DataField] = {"source": DataField(kind=Kind.TEXT), "subject": DataField(kind=Kind.TEXT)}
"""What a filter may look at besides the data. No data has a field of these names."""


@cache
def data_fields(event_type: str) -> Mapping[str, DataField]:
    """The fields of this type's data by name, in the order of the struct. The type must be known."""
    envelope = inspect.type_info(EVENT_TYPES[event_type])
    assert isinstance(envelope, inspect.StructType)
    data = next(field.type for field in envelope.fields if field.name == "data")
    assert isinstance(data, inspect.StructType)
    found = {field.name: _field(field.type) for field in data.fields}
    return {name: field for name, field in found.items() if field is not None}


def _field(type_: inspect.Type) -> DataField | None:
    """None for what no indicator can look at: lists, and structs within structs."""
    match type_:
        case inspect.UnionType(types=types):
            given = [one for one in types if not isinstance(one, inspect.NoneType)]
            return _field(given[0]) if len(given) == 1 else None
        case inspect.IntType() | inspect.FloatType():
            return DataField(kind=Kind.NUMBER, non_negative=type_.ge is not None and type_.ge >= 0)
        case inspect.BoolType():
            return DataField(kind=Kind.FLAG)
        case inspect.DateTimeType():
            return DataField(kind=Kind.INSTANT)
        case inspect.LiteralType(values=values):
            return DataField(kind=Kind.WORD, words=tuple(sorted(str(value) for value in values)))
        case inspect.StrType(max_length=length):
            return DataField(kind=Kind.WORD if length is not None and length <= WORD_LENGTH_MAX else Kind.TEXT)
        case _:
            return None
