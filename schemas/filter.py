"""Which events does a KPI count?

A filter is data: a table of conditions that all hold, or an array of such tables of which one holds. It is compiled
once, to the fields it looks at and a function of their values.

    where = { channel = "phone", category = ["road", "waste"], score = { at_least = 4 } }

Fields are those of the event's data, and `source` and `subject` of its envelope.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

Word = str | int | float | bool


class Check(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions on one field that all hold. On a field that is absent only `given = false` and `is_not` hold."""

    is_not: Word | list[Word] | None = None
    at_least: float | None = None
    more_than: float | None = None
    at_most: float | None = None
    less_than: float | None = None
    starts_with: str | None = None
    given: bool | None = None


Condition = Word | list[Word] | Check
"""A value that the field has, several of which it has one, or a test."""

Where = dict[str, Condition] | list[dict[str, Condition]]


class Filter(NamedTuple):
    """`fields` names what `accepts` wants the values of, in this order."""

    fields: tuple[str, ...]
    accepts: Callable[[Sequence[Any]], bool]


def fields_of(where: Where) -> tuple[str, ...]:
    """The fields that a filter looks at, each once."""
    tables = where if isinstance(where, list) else [where]
    return tuple(dict.fromkeys(field for table in tables for field in table))


def compile_filter(where: Where) -> Filter:
    """The filter as a function. An empty one accepts everything."""
    fields = fields_of(where)
    tables = where if isinstance(where, list) else [where]
    # Of no conditions all hold.
    rows = [
        [(fields.index(field), _test(condition)) for field, condition in table.items()] for table in tables or [{}]
    ]

    def accepts(values: Sequence[Any]) -> bool:
        return any(all(test(values[at]) for at, test in row) for row in rows)

    return Filter(fields, accepts)


def _test(condition: Condition) -> Callable[[Any], bool]:
    if not isinstance(condition, Check):
        return _is_one_of(condition)
    tests = [_TESTS[name](bound) for name, bound in msgspec.structs.asdict(condition).items() if bound is not None]
    return lambda value: all(test(value) for test in tests)


def _is_one_of(words: Word | list[Word]) -> Callable[[Any], bool]:
    # Python holds 1 and True for equal. Nobody who filters does.
    wanted = frozenset((isinstance(word, bool), word) for word in (words if isinstance(words, list) else [words]))
    return lambda value: (isinstance(value, bool), value) in wanted


def _is_not(words: Word | list[Word]) -> Callable[[Any], bool]:
    is_one_of = _is_one_of(words)
    return lambda value: not is_one_of(value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_TESTS: dict[str, Callable[[Any], Callable[[Any], bool]]] = {
    "is_not": _is_not,
    "at_least": lambda bound: lambda value: _is_number(value) and value >= bound,
    "more_than": lambda bound: lambda value: _is_number(value) and value > bound,
    "at_most": lambda bound: lambda value: _is_number(value) and value <= bound,
    "less_than": lambda bound: lambda value: _is_number(value) and value < bound,
    "starts_with": lambda bound: lambda value: isinstance(value, str) and value.startswith(bound),
    "given": lambda bound: lambda value: (value is not None) is bound,
}
