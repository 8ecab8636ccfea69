"""What was an indicator, or how many events were there, at the steps that a rule looks at?

Rows of the stored buckets are read here and put together by `schemas.kpi`. A rule looks at the present map alone:
what was counted on an earlier one is no past of its areas.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from schemas import codec
from schemas.alert import Absence, AlertRule, Series, past_steps
from schemas.area_id import AreaId
from schemas.case import Kind as CaseKind
from schemas.data_field import ENVELOPE_FIELDS
from schemas.event import EVENT_TYPES, AnyEvent, CaseStepped, FeedbackReceived
from schemas.filter import compile_filter
from schemas.kpi import (
    DERIVED,
    LATEST_BIN,
    Base,
    Catalogue,
    Measure,
    Partial,
    Value,
    balance_value,
    kpi_value,
    ratio_value,
    silent_value,
)
from schemas.pieces import BEGINNING_S, Piece, back, pieces
from schemas.site import Site
from schemas.sketch import merge_bins
from schemas.statements import for_tier, parse_statements
from schemas.topics import INPUTS
from schemas.window import Tier, day_start
from streams.core.alert import NO_SAMPLE, Sample
from streams.store.cells import Connection

EVENTS_MAX = 50_000
"""Events that are read for one look of a rule. Beyond it the rule knows nothing at these steps."""

STRETCHES_MAX = 4_000
"""Stretches of time that one query asks for."""

SQL = parse_statements((files("streams.alerts") / "values.sql").read_text())

_READING = {
    name: f"WITH held AS ({SQL['held']}) {SQL[name]}" for name in ("read_sums", "read_sketches", "read_latest")
}
_KEPT_AS: Mapping[Measure, str] = {
    Measure.PERCENTILE: "read_sketches",
    Measure.DISTINCT: "read_sketches",
    Measure.LATEST: "read_latest",
}
_TOPIC_BY_TYPE: Mapping[str, str] = {
    name: topic.name for name, cls in EVENT_TYPES.items() for topic in INPUTS if cls in topic.types
}

Samples = dict[Series, dict[int, Sample]]
"""By series and step."""


class Read(NamedTuple):
    """What a rule reads. `is_whole` is false where there was more than may be read."""

    samples: Samples
    is_whole: bool = True


class _Stretch(NamedTuple):
    start_s: int
    end_s: int


_Rows = dict[tuple[str, AreaId, str], dict[_Stretch, list[Partial]]]
"""By base, area and dimension value: by stretch."""


async def read_settled_s(connection: Connection, site: Site, rule: AlertRule) -> float | None:
    """Up to which moment all is there that the rule looks at; None when nothing was ever counted of it."""
    rows = await connection.fetch(SQL["read_settled"])
    kpi, event = rule.rule.kpi, rule.rule.event
    types = [base.event for base in site.kpis.bases_of(kpi)] if kpi is not None else [event or ""]
    wanted = {_TOPIC_BY_TYPE[type_] for type_ in types}
    # The prefix before a topic's name is the deployment's; names never end in one another.
    found = {name: row["until_s"] for row in rows for name in wanted if row["topic"].endswith(name)}
    if len(found) < len(wanted):
        return None
    return min(found.values()) - rule.rule.settle_s


async def read_samples(
    connection: Connection, site: Site, rule: AlertRule, steps: Sequence[int], held: Iterable[Series] = ()
) -> Read:
    """The samples at these steps and at the past ones that they are measured against.

    Series are those in which there is anything, those that are held, and without a dimension all areas.
    """
    if not steps:
        return Read({})
    asked = {*steps}
    for step_s in steps:
        asked.update(past_steps(rule.rule, rule.grid, step_s))
    wanted = sorted(one for one in asked if rule.grid.before(one, rule.rule.over) >= BEGINNING_S)
    series = {*held}
    if rule.rule.by is None:
        series.update(Series(area, "") for area in rule.areas)
    if rule.rule.event is not None:
        return await _read_events(connection, site, rule, wanted, series)
    samples = await _read_kpi(connection, site, rule, wanted, series)
    if isinstance(rule.rule.test, Absence):
        samples = await _expected(connection, site, rule, steps, samples)
    return Read(samples)


def units_of(rule: AlertRule, step_s: int) -> list[tuple[int, int]]:
    """The widths of one step that make up the value at this one."""
    found: list[tuple[int, int]] = []
    for _ in range(rule.rule.over):
        start_s = rule.grid.before(step_s)
        found.append((start_s, step_s))
        step_s = start_s
    return found


# ── Indicators ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def _read_kpi(
    connection: Connection, site: Site, rule: AlertRule, steps: Sequence[int], series: Iterable[Series]
) -> Samples:
    kpi = rule.rule.kpi
    assert kpi is not None
    units = {step_s: [_Stretch(*one) for one in units_of(rule, step_s)] for step_s in steps}
    stretches = sorted({one for some in units.values() for one in some})
    bases = site.kpis.bases_of(kpi)
    rows = await _read_rows(connection, rule, bases, stretches)
    reader = _KpiReader(site.kpis, rule, rows, units)
    await reader.look_back(connection)
    known = {*series, *reader.series()}
    return {one: {step_s: reader.sample(kpi, one, step_s) for step_s in steps} for one in sorted(known)}


class _KpiReader:
    """Puts a KPI together, step by step, from what was read of its bases."""

    def __init__(
        self, catalogue: Catalogue, rule: AlertRule, rows: _Rows, units: Mapping[int, Sequence[_Stretch]]
    ) -> None:
        self._catalogue = catalogue
        self._rule = rule
        self._rows = rows
        self._units = units
        self._running: dict[int, _Rows] = {}
        self._seen: dict[tuple[str, int], _Rows] = {}

    def splits(self, base: str) -> bool:
        """Whether the rows of a base tell the rule's series apart."""
        by = self._rule.rule.by
        return by is None or by in self._catalogue.base(base).dimensions

    async def look_back(self, connection: Connection) -> None:
        """Reads what balances and silent ones look back on, each step by itself."""
        for part, kpi_id in self._looking_back(self._rule.rule.kpi or ""):
            bases = self._catalogue.bases_of(part)
            zone = self._rule.grid.zone
            for step_s in self._units:
                if kpi_id is None:
                    begin_s = day_start(BEGINNING_S, zone)
                    found = await _read_rows(connection, self._rule, bases, [_Stretch(begin_s, step_s)])
                    self._running.setdefault(step_s, {}).update(found)
                else:
                    days = self._catalogue[kpi_id].lookback_days
                    begin_s = min(back(step_s, days, zone), self._units[step_s][-1].start_s)
                    self._seen[kpi_id, step_s] = await _read_rows(
                        connection, self._rule, bases, [_Stretch(begin_s, step_s)]
                    )

    def _looking_back(self, id_: str) -> Iterable[tuple[str, str | None]]:
        """The parts that are read from further back, with the silent KPI; with None what runs from the beginning."""
        if id_ not in self._catalogue or self._catalogue[id_].measure not in DERIVED:
            return
        for part in self._catalogue.parts_of(id_):
            match self._catalogue[id_].measure:
                case Measure.BALANCE if not self._is_derived(part):
                    yield part, None
                case Measure.SILENT:
                    yield part, id_
                case _:
                    yield from self._looking_back(part)

    def _is_derived(self, id_: str) -> bool:
        return id_ in self._catalogue and self._catalogue[id_].measure in DERIVED

    def series(self) -> set[Series]:
        """All series of which something is stored."""
        all_rows = (self._rows, *self._running.values(), *self._seen.values())
        return {Series(area, word) for rows in all_rows for base, area, word in rows if self.splits(base)}

    def sample(self, id_: str, series: Series, step_s: int) -> Sample:
        """The value of a KPI at a step."""
        value = self._value(id_, series, step_s)
        return Sample(value.value, value.n, self._is_there(id_, series, step_s))

    def _is_there(self, id_: str, series: Series, step_s: int) -> bool:
        """Whether something of the series itself is stored that the value at this step is made of."""
        looked_back = [self._running.get(step_s, {})]
        looked_back += [rows for (_, at_s), rows in self._seen.items() if at_s == step_s]
        for base in self._catalogue.bases_of(id_):
            if self.splits(base.id):
                key = (base.id, series.area, series.by)
                if any(key in rows for rows in looked_back):
                    return True
                stored = self._rows.get(key, {})
                if any(one in stored for one in self._units[step_s]):
                    return True
        return False

    def _value(self, id_: str, series: Series, step_s: int) -> Value:
        measure = self._catalogue[id_].measure if id_ in self._catalogue else None
        match measure:
            case Measure.RATIO:
                above, below = (self._value(part, series, step_s) for part in self._catalogue.parts_of(id_))
                return ratio_value(self._catalogue[id_], above, below)
            case Measure.BALANCE:
                plus, minus = (
                    self._value(part, series, step_s)
                    if self._is_derived(part)
                    else self._base(part, series, self._running.get(step_s, {}))
                    for part in self._catalogue.parts_of(id_)
                )
                return balance_value(plus, minus)
            case Measure.SILENT:
                of = self._catalogue.parts_of(id_)[0]
                seen = self._base(of, series, self._seen.get((id_, step_s), {}))
                return silent_value(seen, self._base(of, series, self._rows, self._units[step_s]))
            case _:
                return self._base(id_, series, self._rows, self._units[step_s])

    def _base(self, id_: str, series: Series, rows: _Rows, units: Sequence[_Stretch] | None = None) -> Value:
        """The value of a base, over these stretches, or over all that was read."""
        word = series.by if self.splits(id_) else ""
        stored = rows.get((id_, series.area, word), {})
        chosen = stored if units is None else [one for one in units if one in stored]
        return kpi_value(self._catalogue, id_, {id_: [row for one in chosen for row in stored[one]]})


async def _read_rows(
    connection: Connection, rule: AlertRule, bases: Sequence[Base], stretches: Sequence[_Stretch]
) -> _Rows:
    """What is stored of these bases in the rule's areas; the stretches are disjoint and ordered."""
    by_tier: dict[Tier, list[tuple[Piece, _Stretch]]] = {}
    for one in stretches:
        for piece in pieces(one.start_s, one.end_s, rule.grid.zone):
            by_tier.setdefault(piece.tier, []).append((piece, one))

    def question(base: Base) -> tuple[str, int, list[int], list[str]]:
        return _KEPT_AS.get(base.measure, "read_sums"), *_words_asked(rule, base)

    found: _Rows = {}
    for (statement, split, at, words), same in groupby(sorted(bases, key=question), question):
        measures = {base.id: base.measure for base in same}
        for tier, all_asked in by_tier.items():
            for some in _at_most(all_asked, STRETCHES_MAX):
                rows = await connection.fetch(
                    for_tier(_READING[statement], tier),
                    list(measures),
                    list(rule.areas),
                    [_instant(piece.start_s) for piece, _ in some],
                    [_instant(piece.end_s) for piece, _ in some],
                    _instant(some[0][0].start_s),
                    _instant(some[-1][0].end_s),
                    split,
                    at,
                    words,
                )
                for row in rows:
                    key = (row["kpi"], row["area"], row["word"])
                    number: int = row["stretch"]
                    stretch = some[number - 1][1]
                    partials = _partials(statement, measures[row["kpi"]], row)
                    found.setdefault(key, {}).setdefault(stretch, []).extend(partials)
    return found


def _words_asked(rule: AlertRule, base: Base) -> tuple[int, list[int], list[str]]:
    """By which of a base's dimensions (from 1; 0: none) rows are told apart, and which have to hold which words."""
    split = base.dimensions.index(rule.rule.by) + 1 if rule.rule.by in base.dimensions else 0
    only = {base.dimensions.index(at) + 1: word for at, word in rule.rule.only.items() if at in base.dimensions}
    return split, [*only], [*only.values()]


def _at_most(some: Sequence[tuple[Piece, _Stretch]], most: int) -> Iterable[Sequence[tuple[Piece, _Stretch]]]:
    for at in range(0, len(some), most):
        yield some[at : at + most]


# asyncpg's records have no column types.
def _partials(statement: str, measure: Measure, row: Any) -> list[Partial]:  # noqa: ANN401
    match statement:
        case "read_sums":
            return [Partial(n=row["n"], total=row["total"], low=row["low"], high=row["high"])]
        case "read_latest":
            # The later bucket holds, however late another one was reported again.
            bucket_s, _, value = row["latest"]
            return [Partial(dim=row["dim"], bin=LATEST_BIN, n=1, total=value, high=bucket_s)]
        case _ if measure is Measure.PERCENTILE:
            return [Partial(bin=bin_, n=n) for bin_, n in merge_bins(row["sketches"] or ()).items() if n]
        case _:
            # The events stand with the first sketch, so that they add up.
            return [
                Partial(n=0 if at else row["n"], sketch=sketch) for at, sketch in enumerate(row["sketches"] or ())
            ]


async def _expected(
    connection: Connection, site: Site, rule: AlertRule, steps: Sequence[int], samples: Samples
) -> Samples:
    """Of each series the steps at which something is expected of it: what was heard of in the days before."""
    test = rule.rule.test
    assert isinstance(test, Absence)
    assert rule.rule.kpi is not None
    bases = site.kpis.bases_of(rule.rule.kpi)
    by = rule.rule.by
    zone = rule.grid.zone
    days: dict[Series, set[int]] = {}
    for base in bases:
        if by is not None and by not in base.dimensions:
            continue
        rows = await connection.fetch(
            SQL["read_seen"],
            [base.id],
            list(rule.areas),
            _instant(day_start(back(steps[0], test.lookback_days, zone), zone)),
            _instant(steps[-1]),
            *_words_asked(rule, base),
        )
        for row in rows:
            days.setdefault(Series(row["area"], row["word"]), set()).add(row["day_s"])
    found: Samples = {}
    for series, seen in days.items():
        for step_s in steps:
            from_s = day_start(back(step_s, test.lookback_days, zone), zone)
            if any(from_s <= day_s < step_s for day_s in seen):
                found.setdefault(series, {})[step_s] = samples.get(series, {}).get(step_s, NO_SAMPLE)
    return found


# ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _read_events(
    connection: Connection, site: Site, rule: AlertRule, steps: Sequence[int], series: Iterable[Series]
) -> Read:
    """How many kept events there were. Of a series that nothing is known of there were none."""
    test = rule.rule.test
    lookback_days = test.lookback_days if isinstance(test, Absence) else None
    units = {step_s: units_of(rule, step_s) for step_s in steps}
    if lookback_days is None:
        stretches = _joined(_Stretch(*one) for some in units.values() for one in some)
    else:
        stretches = [_Stretch(back(steps[0], lookback_days, rule.grid.zone), steps[-1])]
    rows = await connection.fetch(
        SQL["read_events"],
        rule.rule.event,
        [_instant(one.start_s) for one in stretches],
        [_instant(one.end_s) for one in stretches],
        EVENTS_MAX + 1,
    )
    if len(rows) > EVENTS_MAX:
        return Read({}, is_whole=False)
    moments: dict[Series, list[float]] = {one: [] for one in series}
    filter_, areas = compile_filter(rule.rule.where), {*rule.areas}
    fields = filter_.fields if rule.rule.by is None else (*filter_.fields, rule.rule.by)
    # The last one is there because `attrgetter` gives no tuple for a single name.
    look = attrgetter(*(name if name in ENVELOPE_FIELDS else f"data.{name}" for name in fields), "specversion")
    for row in rows:
        event: AnyEvent = codec.decode(row["body"], codec.SEALED_BYTES_MAX)
        values = look(event)
        if _is_about_conduct(site, event):
            continue
        if not filter_.accepts(values[: len(filter_.fields)]) or row["area"] not in site.areas:
            continue
        word = values[len(filter_.fields)] or "" if rule.rule.by is not None else ""
        for area in site.areas.path(row["area"]):
            if area in areas:
                moments.setdefault(Series(area, word), []).append(row["time_s"])
    found: Samples = {}
    for one, times in moments.items():
        times.sort()
        for step_s in steps:
            start_s = units[step_s][-1][0]
            if lookback_days is not None:
                from_s = back(step_s, lookback_days, rule.grid.zone)
                if not _between(times, from_s, step_s):
                    continue
            n = _between(times, start_s, step_s)
            found.setdefault(one, {})[step_s] = Sample(float(n), n, n > 0)
    return Read(found)


def _is_about_conduct(site: Site, event: AnyEvent) -> bool:
    """Whether an event is about an official's conduct. Of that supervising agencies alone may know."""
    if isinstance(event, CaseStepped):
        return event.data.kind == CaseKind.CONDUCT
    if isinstance(event, FeedbackReceived) and event.data.accused_agency is not None:
        return True
    return site.cases is not None and getattr(event.data, "category", None) in site.cases.conduct


def _between(times: Sequence[float], start_s: float, end_s: float) -> int:
    """How many of these, in order, lie in [start, end)."""
    return bisect_left(times, end_s) - bisect_left(times, start_s)


def _joined(stretches: Iterable[_Stretch]) -> list[_Stretch]:
    """The same time in the fewest stretches."""
    found: list[_Stretch] = []
    for one in sorted(set(stretches)):
        if found and found[-1].end_s >= one.start_s:
            found[-1] = _Stretch(found[-1].start_s, max(found[-1].end_s, one.end_s))
        else:
            found.append(one)
    return found


def _instant(epoch_s: float) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
