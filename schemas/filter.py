"""Which events does a KPI count?

A filter is data: a table of conditions that all hold, or an array of such tables of which one holds. It is compiled
once, to the fields it looks at and a function of their values.

    where = { channel = "phone", category = ["road", "waste"], score = { at_least = 4 } }
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
    rows = [[(fields.index(field), _check(condition)) for field, condition in table.items()] for table in tables]
    if rows == [[]]:
        return Filter(fields, lambda _: True)
    return Filter(fields, lambda values: any(all(check(values[at]) for at, check in row) for row in rows))


def _check(condition: Condition) -> Callable[[Any], bool]:
    if isinstance(condition, Check):
        checks = [
            _TESTS[name](bound) for name, bound in msgspec.structs.asdict(condition).items() if bound is not None
        ]
        return lambda value: all(check(value) for check in checks)
    wanted = frozenset(condition if isinstance(condition, list) else [condition])
    return lambda value: value in wanted


def _is_not(bound: Word | list[Word]) -> Callable[[Any], bool]:
    unwanted = frozenset(bound if isinstance(bound, list) else [bound])
    return lambda value: value not in unwanted


_TESTS: dict[str, Callable[[Any], Callable[[Any], bool]]] = {
    "is_not": _is_not,
    "at_least": lambda bound: lambda value: value is not None and value >= bound,
    "more_than": lambda bound: lambda value: value is not None and value > bound,
    "at_most": lambda bound: lambda value: value is not None and value <= bound,
    "less_than": lambda bound: lambda value: value is not None and value < bound,
    "starts_with": lambda bound: lambda value: value is not None and value.startswith(bound),
    "given": lambda bound: lambda value: (value is not None) is bound,
}
