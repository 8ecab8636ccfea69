"""What does `alerts.toml` say? Every mistake is a SiteError with the line, the reason and the fix."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from graphlib import CycleError, TopologicalSorter
from math import isfinite
from string import Formatter
from typing import NamedTuple, cast

import msgspec

from schemas.alert import (
    ALERTS_FILE,
    PAST_MAX,
    RULES_MAX,
    Absence,
    AlertRule,
    Change,
    Deviation,
    Every,
    Grid,
    Kind,
    Limits,
    Rule,
    past_days,
)
from schemas.area import Area, AreaTree
from schemas.data_field import ENVELOPE_FIELDS, data_fields
from schemas.data_field import Kind as FieldKind
from schemas.event import EVENT_TYPES, CaseCommand
from schemas.filter import fields_of
from schemas.kpi import Catalogue, Measure
from schemas.site_file import Mistake, mistake_at, mistake_of, read_toml, suggestion
from schemas.toml_lines import Path
from schemas.topics import CASES, RECORDS

TITLE_FIELDS = ("rule", "area", "by", "kpi", "unit", "value", "limit")
"""What a title may name."""

TITLE_CHARS_MAX = 200

KEPT_TYPES = frozenset(
    name for name, cls in EVENT_TYPES.items() if cls in (*CASES.types, *RECORDS.types) and cls is not CaseCommand
)
"""Events that are kept one by one, so that rules can count them. What people command says nothing of its case's kind,
which may be for few to know."""


class Surroundings(NamedTuple):
    """What of the rest of the pack a rule may name. None: it is not known, and not checked."""

    languages: Sequence[str]
    areas: AreaTree
    kpis: Catalogue
    minute_days: int
    hour_days: int
    agencies: Collection[str] | None = None
    categories: Collection[str] | None = None


def parse_alerts(text: str, around: Surroundings) -> tuple[AlertRule, ...]:
    """Reads `alerts.toml`: an array of tables `[[rule]]`, in an order in which whoever inhibits stands before whom it
    inhibits. Raises SiteError at the first mistake.
    """
    tables = read_toml(text, ALERTS_FILE)
    wrong_at = partial(mistake_at, ALERTS_FILE, text)
    declared: object = tables.get("rule", [])
    for key in tables:
        if key != "rule" or not isinstance(declared, list):
            raise wrong_at((key,), f"`{key}` is not an array of tables `rule`", "Begin each rule with [[rule]].")
    given = cast("list[object]", declared)
    if len(given) > RULES_MAX:
        raise wrong_at(("rule", RULES_MAX), f"there are {len(given)} rules", f"Declare at most {RULES_MAX}.")
    rules: dict[str, Rule] = {}
    at: dict[str, int] = {}
    for number, table in enumerate(given):
        try:
            rule = msgspec.convert(table, Rule)
        except msgspec.ValidationError as error:
            wrong = mistake_of(error, Rule)
            raise wrong_at(("rule", number, *wrong.path), wrong.reason, wrong.fix) from error
        if rule.id in rules:
            raise wrong_at(("rule", number, "id"), f"the id {rule.id!r} is used twice", "Give every rule its own.")
        wrong = next(_mistakes(rule, around), None)
        if wrong is not None:
            raise wrong_at(("rule", number, *wrong.path), f"rule {rule.id!r}: {wrong.reason}", wrong.fix)
        rules[rule.id], at[rule.id] = rule, number
    for rule in rules.values():
        for index, other in enumerate(rule.inhibited_by):
            if other not in rules:
                path = ("rule", at[rule.id], "inhibited_by", index)
                raise wrong_at(path, f"rule {rule.id!r}: rule {other!r} is not known", suggestion(other, rules))
    try:
        order = [*TopologicalSorter({rule.id: rule.inhibited_by for rule in rules.values()}).static_order()]
    except CycleError as error:
        circle = cast("list[str]", error.args[1])
        path = ("rule", at[circle[0]], "inhibited_by")
        reason = f"rules inhibit each other in a circle: {', '.join(circle)}"
        raise wrong_at(path, reason, "Leave one of them out.") from None
    return tuple(_placed(rules[id_], around.areas) for id_ in order)


def _placed(rule: Rule, tree: AreaTree) -> AlertRule:
    """The rule with its areas. They share one zone."""
    top, areas = _top(rule, tree), _areas(rule, tree)
    assert top is not None
    zone = areas[0].zone
    return AlertRule(rule=rule, top=top.id, areas=tuple(area.id for area in areas), grid=Grid(rule.every, zone))


def _top(rule: Rule, tree: AreaTree) -> Area | None:
    return tree.root if rule.area is None else tree.present.get(rule.area)


def _areas(rule: Rule, tree: AreaTree) -> list[Area]:
    top = _top(rule, tree)
    if top is None:
        return []
    if not rule.levels:
        return [top]
    return [area for area in (top, *tree.descendants(top.id)) if area.kind in rule.levels]


def _mistakes(rule: Rule, around: Surroundings) -> Iterator[Mistake]:
    """What is wrong with a rule of the right form."""
    yield from _mistakes_of_test(rule)
    yield from _mistakes_of_names(rule, around.languages)
    yield from _mistakes_of_subject(rule, around.kpis)
    yield from _mistakes_of_areas(rule, around.areas)
    yield from _mistakes_of_reach(rule, around)
    if around.agencies is not None and rule.agency is not None and rule.agency not in around.agencies:
        yield Mistake(("agency",), f"agency {rule.agency!r} is not known", _known(rule.agency, around.agencies))
    if around.categories is not None and rule.category not in around.categories:
        fix = _known(rule.category, around.categories)
        yield Mistake(("category",), f"category {rule.category!r} is not declared in cases.toml", fix)


def _known(word: str, known: Collection[str]) -> str:
    return suggestion(word, known) if known else "Declare it."


def _mistakes_of_test(rule: Rule) -> Iterator[Mistake]:
    kinds = [kind.value for kind in Kind]
    given = [kind for kind in kinds if getattr(rule, kind) is not None]
    if len(given) != 1:
        reason = "it says nothing to look for" if not given else f"it has both {' and '.join(given)}"
        yield Mistake(tuple(given[1:2]), reason, f"Give one of: {', '.join(kinds)}.")
        return
    (kind,), test = given, rule.test
    if isinstance(test, Limits):
        numbers = {"above": test.above, "below": test.below, "margin": test.margin}
        for key, number in numbers.items():
            if number is not None and not isfinite(number):
                yield Mistake((kind, key), f"{number} is not a number to reckon with", "Give a finite one.")
        if test.above is None and test.below is None:
            yield Mistake((kind,), "it has no limit", "Give `above`, `below` or both.")
        elif (
            test.above is not None and test.below is not None and test.above - test.margin < test.below + test.margin
        ):
            reason = "no value is far enough within both limits to be over"
            yield Mistake((kind,), reason, "Put the limits further apart, or make `margin` smaller.")
    match test:
        case Deviation(past=past, count=count, neighbours=neighbours, values_min=least):
            most = count if past == "recent" else count * (2 * neighbours + 1)
            if most > PAST_MAX:
                fix = f"Look at no more than {PAST_MAX}: with fewer `neighbours` or a smaller `count`."
                yield Mistake((kind, "count"), f"it looks at {most} past values", fix)
            if least > most:
                reason = f"`values_min` is {least}, but there are never more than {most} past values"
                yield Mistake((kind, "values_min"), reason, "Make it smaller, or `count` larger.")
        case _:
            pass


def _mistakes_of_names(rule: Rule, languages: Sequence[str]) -> Iterator[Mistake]:
    for language in languages:
        if not rule.names.get(language):
            reason = f"it has no name in the language {language!r}"
            yield Mistake(("names",), reason, 'Write { vi = "…", en = "…" }.')
    for language, title in rule.titles.items():
        try:
            named = [name for _, name, spec, how in Formatter().parse(title) if name is not None or spec or how]
        except ValueError as error:
            yield Mistake(("titles", language), f"the title cannot be read: {error}", "Write a brace twice.")
            continue
        for name in named:
            if name not in TITLE_FIELDS:
                fix = suggestion(name or "", TITLE_FIELDS)
                yield Mistake(("titles", language), f"a title cannot say {{{name}}}", fix)
        if len(title) > TITLE_CHARS_MAX:
            yield Mistake(
                ("titles", language), f"the title has {len(title)} characters", f"{TITLE_CHARS_MAX} at most."
            )


def _mistakes_of_subject(rule: Rule, kpis: Catalogue) -> Iterator[Mistake]:
    if (rule.kpi is None) is (rule.event is None):
        reason = "it names neither an indicator nor a type of event" if rule.kpi is None else "it names both"
        yield Mistake(("event",) if rule.kpi else (), reason, "Give either `kpi` or `event`.")
    elif rule.kpi is not None:
        yield from _mistakes_of_kpi(rule, rule.kpi, kpis)
    else:
        assert rule.event is not None
        yield from _mistakes_of_event(rule, rule.event)


def _mistakes_of_kpi(rule: Rule, id_: str, kpis: Catalogue) -> Iterator[Mistake]:
    if id_ not in kpis:
        yield Mistake(("kpi",), f"indicator {id_!r} is not known", suggestion(id_, [kpi.id for kpi in kpis.kpis]))
        return
    if kpis.is_for_supervision(id_):
        reason = f"indicator {id_!r} is for supervising agencies alone, and an alert would tell others of it"
        yield Mistake(("kpi",), reason, "Look at another one.")
    if rule.where:
        yield Mistake(("where",), "`where` is for events", "Give values of the indicator's dimensions in `only`.")
    split = kpis.dimensions_of(id_)
    named: list[tuple[Path, str]] = [(("only", name), name) for name in rule.only]
    if rule.by is not None:
        named.append((("by",), rule.by))
    for path, name in named:
        if name not in split:
            fix = suggestion(name, split) if split else "Declare it in its `dimensions`, or leave this out."
            yield Mistake(path, f"indicator {id_!r} has no dimension {name!r}", fix)
    if isinstance(rule.test, Absence) and any(kpis[id_].measure is one for one in (Measure.BALANCE, Measure.SILENT)):
        fix = "Look at the indicator that it is made of."
        yield Mistake(("kpi",), f"a {kpis[id_].measure.value} is never absent", fix)


def _mistakes_of_event(rule: Rule, type_: str) -> Iterator[Mistake]:
    if type_ not in EVENT_TYPES:
        yield Mistake(("event",), f"event type {type_!r} is not known", suggestion(type_, KEPT_TYPES))
        return
    if type_ not in KEPT_TYPES:
        reason = f"events of type {type_!r} cannot be counted one by one"
        yield Mistake(("event",), reason, "Declare an indicator that counts them, and give that as `kpi`.")
        return
    fields = data_fields(type_)
    for name in fields_of(rule.where):
        if name not in fields and name not in ENVELOPE_FIELDS:
            yield Mistake(
                ("where",), f"{type_!r} has no field {name!r}", suggestion(name, [*fields, *ENVELOPE_FIELDS])
            )
    if rule.by is not None and (rule.by not in fields or fields[rule.by].kind is not FieldKind.WORD):
        words = [name for name, field in fields.items() if field.kind is FieldKind.WORD]
        yield Mistake(("by",), f"{type_!r} has no field {rule.by!r} to split by", suggestion(rule.by, words))
    if rule.only:
        yield Mistake(("only",), "`only` is for indicators", "Say which events count in `where`.")


def _mistakes_of_areas(rule: Rule, tree: AreaTree) -> Iterator[Mistake]:
    top = _top(rule, tree)
    if top is None:
        fix = f"Give a code of the list {tree.list_id!r}, or leave it out for the whole site."
        yield Mistake(("area",), f"area {rule.area!r} is not known", fix)
        return
    kinds = dict.fromkeys(area.kind for area in (top, *tree.descendants(top.id)))
    for at, level in enumerate(rule.levels):
        if level not in kinds:
            yield Mistake(("levels", at), f"there is no {level!r} in {top.code!r}", suggestion(level, kinds))
    areas = _areas(rule, tree)
    if len({area.zone for area in areas}) > 1:
        fix = "Make one for each zone, with `area`."
        yield Mistake(("levels",), "its areas have clocks of several zones", fix)


def _mistakes_of_reach(rule: Rule, around: Surroundings) -> Iterator[Mistake]:
    """Minutes and hours are kept for a time; days for ever, and events too."""
    if rule.event is not None or rule.every is Every.DAY or isinstance(rule.test, Absence):
        return
    kept = around.hour_days if rule.every is Every.HOUR else around.minute_days
    if (days := past_days(rule)) >= kept:
        what = "hours" if rule.every is Every.HOUR else "minutes"
        key = rule.kind.value if isinstance(rule.test, Deviation | Change) else "over"
        reason = f"it looks {days:.0f} days back, and {what} are kept for {kept} days"
        fix = "Make `every` wider, look back less, or keep them for longer in site.toml."
        yield Mistake((key,), reason, fix)


def inhibitors(rules: Iterable[AlertRule], rule: AlertRule) -> Mapping[str, AlertRule]:
    """The rules that make this one keep silent."""
    return {one.id: one for one in rules if one.id in rule.rule.inhibited_by}
