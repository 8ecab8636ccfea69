"""Is an indicator declared so that it can be counted?

Each rule is a function of what is declared; its mistakes name keys, and `schemas.kpi_table` finds their lines.
"""

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Set
from math import isfinite
from typing import Any, NamedTuple, cast

import msgspec

from schemas.data_field import ENVELOPE_FIELDS, DataField, Kind, data_fields
from schemas.event import EVENT_TYPES, IndicatorObserved
from schemas.filter import Check, Condition, Where, Word
from schemas.kpi import DERIVED, SUPERVISION, Kpi, Measure, Operand, Target
from schemas.period import Grain
from schemas.site_file import Mistake, mistake_of, suggestion
from schemas.toml_lines import Path

DIMENSIONS_MAX = 3
"""Each dimension multiplies the rows that are stored; a KPI that splits by more is refused."""

LOOKBACK_DAYS_MAX = 400
"""A year and what a late report needs; a KPI that looks back further is refused."""

_ID = re.compile(r"[a-z0-9][a-z0-9._]{0,63}")


class _Keys(NamedTuple):
    """What a measure needs besides what all have. `is_fed`: by events; `is_measuring`: a field or a time."""

    needs: Set[str] = frozenset()
    may: Set[str] = frozenset()
    is_fed: bool = True
    is_measuring: bool = False


_KEYS: Mapping[Measure, _Keys] = {
    Measure.COUNT: _Keys(),
    Measure.SUM: _Keys(is_measuring=True),
    Measure.MEAN: _Keys(is_measuring=True),
    Measure.MIN: _Keys(is_measuring=True),
    Measure.MAX: _Keys(is_measuring=True),
    Measure.LATEST: _Keys(is_measuring=True, may={"across"}),
    Measure.PERCENTILE: _Keys(is_measuring=True, needs={"q"}),
    Measure.WITHIN: _Keys(is_measuring=True, needs={"within_s"}),
    Measure.IN_TIME: _Keys(needs={"due"}),
    Measure.DISTINCT: _Keys(needs={"of"}),
    Measure.RATIO: _Keys(is_fed=False, needs={"numerator", "denominator"}, may={"per"}),
    Measure.BALANCE: _Keys(is_fed=False, needs={"plus", "minus"}),
    Measure.SILENT: _Keys(is_fed=False, needs={"of"}, may={"lookback_days"}),
}
_FED_KEYS = frozenset({"event", "dimensions", "where", "period"})
_MEASURING_KEYS = frozenset({"value", "since"})
_MEASURE_KEYS = _FED_KEYS | _MEASURING_KEYS | {key for keys in _KEYS.values() for key in (*keys.needs, *keys.may)}

_FIELD_KINDS: Mapping[str, Kind] = {
    "value": Kind.NUMBER,
    "since": Kind.INSTANT,
    "due": Kind.INSTANT,
    "of": Kind.WORD,
    "dimensions": Kind.WORD,
}


def check_form(table: Mapping[str, Any]) -> list[Mistake]:
    """What keeps a table from being a `Kpi`: keys that are not known or missing, and values of another kind.

    Conditions and names are looked at one by one first, since a conversion does not say which of them is wrong.
    """
    found: list[Mistake] = [*_check_conditions(("where",), table.get("where"))]
    for part in ("numerator", "denominator"):
        if isinstance(operand := table.get(part), dict):
            found += _check_conditions((part, "where"), cast("dict[str, Any]", operand).get("where"))
    if isinstance(names := table.get("names"), dict):
        for language, name in cast("dict[str, object]", names).items():
            if not isinstance(name, str):
                reason = f"the name in {language!r} is not a text"
                found.append(Mistake(("names", language), reason, "Put it in quotes."))
    for path, number in _numbers((), table):
        if not isfinite(number):
            found.append(Mistake(path, f"{number} is not a number to reckon with", "Give a finite one."))
    if not found:
        try:
            msgspec.convert(table, Kpi)
        except msgspec.ValidationError as error:
            found.append(mistake_of(error, Kpi))
    return found


def check_kpi(kpi: Kpi, given: Mapping[str, Any], languages: Iterable[str]) -> Iterator[Mistake]:
    """Everything that can be said of a KPI by itself. `given` is its table."""
    if not _ID.fullmatch(kpi.id):
        fix = "Use up to 64 lowercase letters, digits, dots and underscores, and begin with a letter or a digit."
        yield Mistake(("id",), f"the id {kpi.id!r} is not of the form that ids have", fix)
    for language in languages:
        if not kpi.names.get(language, "").strip():
            fix = f'Add {language} = "…": the site\'s boards speak it.'
            yield Mistake(("names",), f"there is no name in {language!r}", fix)
    if not kpi.names:
        yield Mistake(("names",), "there is no name", 'Write names = { vi = "…", en = "…" }.')
    if not kpi.unit:
        yield Mistake(("unit",), "the unit is empty", "Use UCUM; 1 for counts and shares.")
    if kpi.freshness_s <= 0:
        yield Mistake(("freshness_s",), "`freshness_s` is not above 0", "Give seconds, as 900.")
    yield from _check_measure((), kpi, given)
    for part in ("numerator", "denominator"):
        operand = getattr(kpi, part)
        if isinstance(operand, Operand):
            yield from _check_operand((part,), operand, given[part])
    yield from _check_audience(kpi)
    yield from _check_goals(kpi)


def check_targets(targets: Iterable[Target], areas: Container[str] | None) -> Iterator[Mistake]:
    """`areas` are the ids that are known; None: they cannot be told."""
    seen: set[object] = set()
    for at, target in enumerate(targets):
        if areas is not None and target.area is not None and target.area not in areas:
            yield Mistake(("target", at, "area"), f"area {target.area!r} is not known", "Use an id of areas.csv.")
        if target.start is not None and target.end is not None and not target.start < target.end:
            reason = f"the target ends on {target.end}, which is not after its start {target.start}"
            yield Mistake(("target", at, "end"), reason, "`end` is the first day on which it no longer holds.")
        scope = (target.area, target.start, target.end)
        if scope in seen:
            yield Mistake(("target", at), "an earlier target has the same area, start and end", "Leave one of them.")
        seen.add(scope)


def check_references(kpi: Kpi, kpis: Mapping[str, Kpi], declared: Set[str]) -> Iterator[Mistake]:
    """That the KPIs it names are there and of use to it. `declared` also holds the ids of those that are wrong."""
    named: dict[str, Any] = {
        Measure.RATIO: {"numerator": kpi.numerator, "denominator": kpi.denominator},
        Measure.BALANCE: {"plus": kpi.plus, "minus": kpi.minus},
        Measure.SILENT: {"of": kpi.of},
    }.get(kpi.measure, {})
    for key, id_ in named.items():
        if not isinstance(id_, str):
            continue
        if id_ not in declared:
            yield Mistake((key,), f"`{key}` names {id_!r}, which is not in this file", suggestion(id_, declared))
        elif id_ in kpis:
            yield from _check_part(kpi, key, kpis[id_], kpis)


def _check_part(kpi: Kpi, key: str, part: Kpi, kpis: Mapping[str, Kpi]) -> Iterator[Mistake]:
    is_ = f"`{key}` names {part.id!r}, which is a {part.measure}"
    circle = _circle(kpi, part, kpis)
    if circle is not None:
        fix = "Let one of them name a KPI that events feed."
        yield Mistake((key,), f"`{key}` goes round in a circle: {' → '.join(circle)}", fix)
        return
    match kpi.measure:
        case Measure.RATIO if part.measure is Measure.RATIO:
            fix = f"Name what {part.id!r} divides, or what it divides by."
            yield Mistake((key,), f"{is_}: a ratio of ratios does not add up over areas", fix)
        case Measure.BALANCE if part.measure not in (Measure.COUNT, Measure.SUM, Measure.BALANCE):
            fix = "Name a count, a sum or another balance."
            yield Mistake((key,), f"{is_}, and not a count or a sum", fix)
        case Measure.SILENT if part.measure is not Measure.DISTINCT:
            yield Mistake((key,), f"{is_}, and not a distinct", "Name a KPI of measure distinct.")
        case _:
            pass


def _circle(start: Kpi, first: Kpi, kpis: Mapping[str, Kpi]) -> list[str] | None:
    """The way from a ratio (or a balance) by the ratios (or balances) that they name back to itself."""
    ways = [[start.id, first.id]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        if way[-1] == start.id:
            return way
        if way[-1] in seen:
            continue
        seen.add(way[-1])
        at = kpis.get(way[-1])
        if at is not None and at.measure is start.measure:
            parts = (at.numerator, at.denominator, at.plus, at.minus)
            ways += [[*way, part] for part in parts if isinstance(part, str)]
    return None


def _check_measure(at: Path, declared: Kpi | Operand, given: Mapping[str, Any]) -> Iterator[Mistake]:
    measure = declared.measure
    keys = _KEYS[measure]
    needs: set[str] = {*keys.needs}
    may: set[str] = {*keys.needs, *keys.may}
    if keys.is_fed:
        needs.add("event")
        may |= _FED_KEYS
    if keys.is_measuring:
        may |= _MEASURING_KEYS
    for key in sorted(needs - given.keys()):
        yield Mistake(at, f"measure {measure} needs `{key}`", "Add it.")
    for key in [key for key in given if key in _MEASURE_KEYS and key not in may]:
        yield Mistake((*at, key), f"measure {measure} has no use for `{key}`", "Leave it out, or change the measure.")
    measured = [key for key in given if key in _MEASURING_KEYS]
    if keys.is_measuring and not measured:
        fix = "Name the number to measure as `value`, or the instant to measure the time from as `since`."
        yield Mistake(at, f"measure {measure} needs `value` or `since`", fix)
    if keys.is_measuring and len(measured) > 1:
        yield Mistake((*at, measured[1]), "`value` and `since` are both given", "Leave one of them.")
    yield from _check_numbers(at, declared)
    if keys.is_fed and declared.event is not None:
        if declared.event in EVENT_TYPES:
            yield from _check_reports(at, declared, declared.event)
            yield from _check_fields(at, declared, declared.event, may)
        else:
            reason = f"event type {declared.event!r} is not known"
            yield Mistake((*at, "event"), reason, suggestion(declared.event, EVENT_TYPES))


def _check_reports(at: Path, declared: Kpi | Operand, event: str) -> Iterator[Mistake]:
    """What holds of reports about periods, and of them alone."""
    if EVENT_TYPES[event] is not IndicatorObserved:
        if declared.period is not None:
            yield Mistake((*at, "period"), f"{event} is about a moment and has no `period`", "Leave it out.")
        return
    if declared.period is None:
        fix = f"Add period = {', '.join(map(repr, map(str, Grain)))}: reports of one length count."
        yield Mistake(at, f"{event} needs `period`", fix.replace("'", '"'))
    if declared.measure not in (Measure.LATEST, Measure.COUNT):
        reason = f"a {declared.measure} of {event} counts a period again whenever it is reported again"
        fix = "Use latest for what was reported, or count for how many reports there were."
        yield Mistake((*at, "measure"), reason, fix)


def _check_operand(at: Path, operand: Operand, given: Mapping[str, Any]) -> Iterator[Mistake]:
    if operand.measure in DERIVED or operand.measure is Measure.PERCENTILE:
        reason = f"a part of a ratio cannot be a {operand.measure} of its own"
        yield Mistake((*at, "measure"), reason, "Make it a KPI and name its id.")
    else:
        yield from _check_measure(at, operand, given)


def _check_audience(kpi: Kpi) -> Iterator[Mistake]:
    """What is for supervision has to be fed by events that say whether they are about an official's conduct."""
    if kpi.audience != SUPERVISION:
        return
    operands = [part for part in (kpi.numerator, kpi.denominator) if isinstance(part, Operand)]
    for declared in (kpi, *operands):
        if declared.event in EVENT_TYPES and "category" not in data_fields(declared.event):
            reason = f"the audience is supervision, but {declared.event} has no category"
            yield Mistake(("audience",), reason, "Leave it out: nothing of it is about an official.")
            return


def _check_numbers(at: Path, declared: Kpi | Operand) -> Iterator[Mistake]:
    if declared.within_s is not None and declared.within_s <= 0:
        yield Mistake((*at, "within_s"), "`within_s` is not above 0", "Give seconds, as 14400 for four hours.")
    if isinstance(declared, Operand):
        return
    if declared.q is not None and not 0 < declared.q < 1:
        yield Mistake(("q",), f"`q` is {declared.q:g}, which does not lie between 0 and 1", "Write 0.95 for 95 %.")
    if declared.per <= 0:
        yield Mistake(("per",), "`per` is not above 0", "Write 1000 for so many in a thousand.")
    if not 1 <= declared.lookback_days <= LOOKBACK_DAYS_MAX:
        reason = f"`lookback_days` is {declared.lookback_days}"
        yield Mistake(("lookback_days",), reason, f"Use 1 to {LOOKBACK_DAYS_MAX}.")


def _check_fields(at: Path, declared: Kpi | Operand, event: str, may: Set[str]) -> Iterator[Mistake]:
    fields = data_fields(event)
    named = [((key,), getattr(declared, key)) for key in ("value", "since", "due", "of") if key in may]
    named += [(("dimensions", place), name) for place, name in enumerate(declared.dimensions)]
    for path, name in named:
        if name is None:
            continue
        key, kind = path[0], _FIELD_KINDS[path[0]]
        if name not in fields:
            reason = f"`{key}` names {name!r}, which {event} does not have"
            yield Mistake((*at, *path), reason, suggestion(name, fields))
        elif fields[name].kind is not kind:
            reason = f"`{key}` names {name!r}, which holds {fields[name].kind} and not {kind}"
            fitting = [other for other, field in fields.items() if field.kind is kind]
            fix = f"Use one of: {', '.join(fitting)}." if fitting else f"No field of {event} holds {kind}."
            yield Mistake((*at, *path), reason, fix)
    if len(declared.dimensions) > DIMENSIONS_MAX:
        reason = f"there are {len(declared.dimensions)} dimensions"
        yield Mistake((*at, "dimensions"), reason, f"Use at most {DIMENSIONS_MAX}.")
    if len(set(declared.dimensions)) < len(declared.dimensions):
        yield Mistake((*at, "dimensions"), "a dimension is named twice", "Name it once.")
    yield from _check_where((*at, "where"), declared.where, {**fields, **ENVELOPE_FIELDS}, event)


def _check_goals(kpi: Kpi) -> Iterator[Mistake]:
    for key, goal in (("thresholds", kpi.thresholds), ("target", kpi.target)):
        if goal and kpi.direction is None:
            fix = 'Add direction = "higher" or direction = "lower": which way is better.'
            yield Mistake((key,), f"`{key}` is given, but not the direction", fix)
    if kpi.thresholds is not None and kpi.direction is not None:
        warning, bad = kpi.thresholds.warning, kpi.thresholds.bad
        if not (warning > bad if kpi.direction == "higher" else warning < bad):
            side = "above" if kpi.direction == "higher" else "below"
            reason = f"{kpi.direction} is better, so the warning at {warning:g} has to lie {side} the bad at {bad:g}"
            yield Mistake(("thresholds",), reason, "Swap them, or change the direction.")


def _check_conditions(path: Path, where: object) -> Iterator[Mistake]:
    tables = cast("list[object]", where) if isinstance(where, list) else [where]
    for at, table in enumerate(tables):
        below = (*path, at) if isinstance(where, list) else path
        if not isinstance(table, dict):
            continue
        for field, condition in cast("dict[str, Any]", table).items():
            try:
                msgspec.convert(condition, Condition)
            except msgspec.ValidationError as error:
                mistake = mistake_of(error, Check)
                reason = f"the condition on {field!r}: {mistake.reason}"
                yield Mistake((*below, field, *mistake.path), reason, mistake.fix)


def _check_where(path: Path, where: Where, fields: Mapping[str, DataField], event: str) -> Iterator[Mistake]:
    if isinstance(where, list) and not all(where):
        yield Mistake(path, "one of the tables is empty, so that every event would count", "Leave it out.")
    if where == [] and path:
        yield Mistake(path, "the array is empty", "Leave `where` out to count every event.")
    for at, table in enumerate(where if isinstance(where, list) else [where]):
        below = (*path, at) if isinstance(where, list) else path
        for name, condition in table.items():
            if name not in fields:
                reason = f"`where` names {name!r}, which {event} does not have"
                yield Mistake((*below, name), reason, suggestion(name, fields))
            else:
                for reason, fix in _misfits(name, condition, fields[name]):
                    yield Mistake((*below, name), reason, fix)


def _misfits(name: str, condition: Condition, field: DataField) -> Iterator[tuple[str, str]]:
    """Why this condition can never say anything sensible about this field, each with its fix."""
    if not isinstance(condition, Check):
        yield from _word_misfits(name, condition, field)
        return
    tests = {key: bound for key, bound in msgspec.structs.asdict(condition).items() if bound is not None}
    if not tests:
        yield f"`where` asks nothing of {name!r}", f"Use one of: {', '.join(msgspec.structs.asdict(condition))}."
    if condition.is_not is not None:
        yield from _word_misfits(name, condition.is_not, field)
    for test in tests:
        if test in ("at_least", "more_than", "at_most", "less_than") and field.kind is not Kind.NUMBER:
            yield f"`{test}` compares numbers, and {name!r} holds {field.kind}", _fix(field)
        if test == "starts_with" and field.kind not in (Kind.WORD, Kind.TEXT):
            yield f"`{test}` looks at texts, and {name!r} holds {field.kind}", _fix(field)


def _word_misfits(name: str, words: Word | list[Word], field: DataField) -> Iterator[tuple[str, str]]:
    if words == []:
        yield f"no value is given for {name!r}", "Give one, or leave the condition out."
    for word in words if isinstance(words, list) else [words]:
        kinds = _kinds(word)
        if field.kind not in kinds:
            yield f"{name!r} holds {field.kind}, and is compared with {_said(word)}", _fix(field)
        elif field.words and word not in field.words:
            yield f"{name!r} never holds {word!r}", suggestion(str(word), field.words)


def _kinds(word: Word) -> tuple[Kind, ...]:
    if isinstance(word, bool):
        return (Kind.FLAG,)
    return (Kind.WORD, Kind.TEXT) if isinstance(word, str) else (Kind.NUMBER,)


def _said(word: Word) -> str:
    """The word as TOML has it."""
    return str(word).lower() if isinstance(word, bool) else repr(word)


def _fix(field: DataField) -> str:
    match field.kind:
        case Kind.NUMBER:
            return "Compare it with a number, or use at_least, more_than, at_most, less_than."
        case Kind.FLAG:
            return "Compare it with true or false."
        case Kind.INSTANT:
            return "Only { given = true } or { given = false } can be asked of it."
        case Kind.WORD | Kind.TEXT:
            return f"Use one of: {', '.join(field.words)}." if field.words else "Compare it with a text in quotes."


def _numbers(path: Path, value: object) -> Iterator[tuple[Path, float]]:
    """Every floating-point number in a table, with its path."""
    match value:
        case float():
            yield path, value
        case dict():
            for key, below in cast("dict[str, object]", value).items():
                yield from _numbers((*path, key), below)
        case list():
            for at, below in enumerate(cast("list[object]", value)):
                yield from _numbers((*path, at), below)
        case _:
            pass
