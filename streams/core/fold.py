"""What do these events add to the KPIs?

Events are counted by the few attributes that KPIs look at before anything is measured, then added up in one cell for
each (KPI, area, dimension, sketch bin, minute); the cells of a batch are rolled up level by level to ancestors, and
then to hours and days. So the price of measures, tiers and levels is paid per distinct value and per cell, not per
event.

Everything is added up in integers or merged by maximum and union: the order of events changes nothing.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple, get_args, get_type_hints
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from schemas.area import AreaTree
from schemas.event import EVENT_TYPES, AnyEvent, AreaId, Event, IndicatorObserved
from schemas.exercise import drill_name
from schemas.kpi import ADDITIVE, ALL_DIM, DIM_SEPARATOR, LATEST_BIN, MICRO, Base, Measure, filter_of
from schemas.sketch import ZERO_BIN, bin_of
from schemas.window import HOUR_S, MINUTE_S, TIERS, Tier, bucket_end, day_start, hour_start
from streams.core.batch import Arrival

DAY_S = 24 * HOUR_S

Key = tuple[str, AreaId, str, int, int]
"""Base, area, dimension value, sketch bin, start of the bucket in epoch seconds."""

Cell = list[Any]
"""[n, total, low, high, items]: mutable, because a fold touches each thousands of times. `total` is in millionths;
`low` and `high` are None where the measure keeps none. `items` are None, the counts of a histogram by its bins, or
the set of different values: where there is a set nothing else is counted, so what is not new changes nothing."""

Cells = dict[Key, Cell]

LOOKS_MAX = 10_000
"""Combinations of what filters look at whose bases are remembered. When they are full all are forgotten."""

Measured = tuple[str, int, int, float | None, float | None, str | None]
"""Dimension value, sketch bin, value in millionths, low, high, and the item to tell apart."""


class Plan(NamedTuple):
    """A base, compiled: how its attributes are picked from those of its pass, and what they measure, if anything."""

    base: Base
    pick: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    measure: Callable[[tuple[Any, ...]], Measured | None]


class _Pass(NamedTuple):
    """Plans that share one count of the events by their attributes."""

    attributes: Callable[[AnyEvent], tuple[Any, ...]]
    plans: list[Plan]


class _Plans:
    """All bases of one event type.

    Events are first told apart by the fields that any filter looks at, so that each filter is asked once for each
    combination, and each base sees only what it counts.
    """

    def __init__(self, cls: type[Event], bases: Sequence[Base]) -> None:
        hints = get_type_hints(get_type_hints(cls)["data"])
        self._filters = [(base, filter_of(base)) for base in bases]
        self._fields = list(dict.fromkeys(name for _, one in self._filters for name in one.fields))
        # The last one is there because `attrgetter` gives no tuple for a single name.
        self._look = attrgetter(*map(_path, self._fields), "specversion")
        self._hints = hints
        self._by_look: dict[tuple[Any, ...], list[_Pass]] = {}

    def groups(self, arrivals: Sequence[Arrival]) -> Iterable[tuple[list[_Pass], Sequence[Arrival]]]:
        """The arrivals by what counts them."""
        if not self._filters:
            return
        if not self._fields:
            yield self._passes((None,)), arrivals
            return
        by_look: dict[tuple[Any, ...], list[Arrival]] = {}
        for look, arrival in zip(map(self._look, [one.event for one in arrivals]), arrivals, strict=True):
            by_look.setdefault(look, []).append(arrival)
        for look, some in by_look.items():
            if passes := self._passes(look):
                yield passes, some

    def _passes(self, look: tuple[Any, ...]) -> list[_Pass]:
        """The passes over events that look so: one for all bases of words and counts, and one for those that look at
        the same finer things. Events are alike in their words; times and measured values differ from one to the next.
        """
        found = self._by_look.get(look)
        if found is None:
            accepting = [
                base
                for base, one in self._filters
                if one.accepts([look[self._fields.index(name)] for name in one.fields])
            ]
            alike: dict[tuple[str, ...], list[Base]] = {}
            for base in accepting:
                alike.setdefault(() if _is_coarse(base, self._hints) else tuple(_attributes(base)), []).append(base)
            if len(self._by_look) >= LOOKS_MAX:
                self._by_look.clear()
            found = self._by_look[look] = [_pass(bases) for bases in alike.values()]
        return found


class SourceSeen(Struct, frozen=True, kw_only=True):
    """The newest that a batch brought of one source: event time and time of receipt, in epoch seconds."""

    source: str
    n: int
    time_s: float
    received_s: float


def no_cells() -> dict[Tier, Cells]:
    """Empty cells of every tier."""
    return {tier: {} for tier in TIERS}


class Folded(Struct, frozen=True, kw_only=True):
    """What a batch adds. `touched` says which areas changed, by base and minute.

    `cells` go to buckets that were open, `late` to buckets that had closed, and `reported` are those of observations,
    whose buckets close with the first report. All three are by tier.
    """

    cells: dict[Tier, Cells]
    late: dict[Tier, Cells]
    reported: dict[Tier, Cells]
    touched: dict[tuple[str, int], set[AreaId]]

    @property
    def parts(self) -> tuple[dict[Tier, Cells], dict[Tier, Cells], dict[Tier, Cells]]:
        """The open, the late and the reported cells, in this order."""
        return self.cells, self.late, self.reported


class BucketRules(Struct, frozen=True, kw_only=True):
    """When a bucket is closed, and which buckets are not kept any more, as far as a fold needs to know."""

    grace_s: int
    minute_days: int
    hour_days: int


_DAYS_ONLY = {Tier.MINUTE: float("inf"), Tier.HOUR: float("inf"), Tier.DAY: float("-inf")}
"""An observation is about a day or more: there is nothing to say of its minutes."""

NEVER = BucketRules(grace_s=10**9, minute_days=10**6, hour_days=10**6)
"""For folds over history: no bucket is closed, and all tiers are kept."""


class Fold:
    """Some bases compiled for one map. Stateless: the same arrivals give the same result."""

    def __init__(self, bases: Iterable[Base], areas: AreaTree, rules: BucketRules = NEVER) -> None:
        """Compiles every base once."""
        self._areas = areas
        self._rules = rules
        by_type: dict[type[Event], list[Base]] = {cls: [] for cls in EVENT_TYPES.values()}
        for base in bases:
            by_type[EVENT_TYPES[base.event]].append(base)
        self._plans = {cls: _Plans(cls, fed) for cls, fed in by_type.items()}
        self._measures = {base.id: base.measure for fed in by_type.values() for base in fed}

    def of(self, bases: Iterable[Base]) -> "Fold":
        """The fold of other bases for the same map, with the same closing."""
        return Fold(bases, self._areas, self._rules)

    def __call__(self, arrivals: Sequence[Arrival]) -> Folded:
        """Adds the arrivals up. They are in log order; those that do not count as events are not among them.

        Drills go into cells of other names, so that nothing real holds them. They correct nothing: what would replace
        or take back another event counts not at all.
        """
        drills = [arrival for arrival in arrivals if arrival.event.exercise]
        if not drills:
            return self._added(arrivals)
        real = [arrival for arrival in arrivals if not arrival.event.exercise]
        played = [one for one in drills if one.event.supersedes is None and one.event.withdraws is None]
        return added_up([self._added(real), _in_drill(self._added(played))])

    def _added(self, arrivals: Sequence[Arrival]) -> Folded:
        open_, late, reported = no_cells(), no_cells(), no_cells()
        touched: dict[tuple[str, int], set[AreaId]] = {}
        observed = [arrival for arrival in arrivals if arrival.event.__class__ is IndicatorObserved]
        # Hardly any batch has reports among other events.
        streamed = arrivals
        if observed:
            streamed = [arrival for arrival in arrivals if arrival.event.__class__ is not IndicatorObserved]
        if streamed:
            on_time, behind = self._split(streamed)
            floors = self._floors(streamed[0].logged_ms / 1000)
            self._roll_up(self._leaves(on_time), floors, open_, touched)
            for closed_s, group in behind.items():
                self._roll_up(self._leaves(group), floors, open_, touched, closed_s, late)
        if observed:
            leaves = self._leaves(observed)
            # What counts reports, and not what they say, is not corrected by the next one.
            counts = {key: cell for key, cell in leaves.items() if key[3] != LATEST_BIN}
            self._roll_up(counts, _DAYS_ONLY, open_, touched)
            self._roll_up({key: leaves[key] for key in leaves.keys() - counts.keys()}, _DAYS_ONLY, reported, touched)
        return Folded(cells=open_, late=late, reported=reported, touched=touched)

    def retract(self, arrivals: Sequence[Arrival]) -> tuple[Folded, dict[Tier, dict[Key, bool]]]:
        """What takes these arrivals away again, and the cells that cannot be told by taking away.

        Those (minimum, maximum, latest and different ones) have to be found anew from all events that remain. Each
        comes with whether its bucket has closed; a report closes its bucket.
        """
        added = self(arrivals)
        anew: dict[Tier, dict[Key, bool]] = {tier: {} for tier in TIERS}
        negative = no_cells(), no_cells(), no_cells()
        for part, kept in zip(added.parts, negative, strict=True):
            for tier, cells in part.items():
                for key, cell in cells.items():
                    if self._measures[key[0]] in ADDITIVE:
                        bins = None if cell[4] is None else {bin_: -n for bin_, n in cell[4].items()}
                        kept[tier][key] = [-cell[0], -cell[1], None, None, bins]
                    else:
                        anew[tier][key] = anew[tier].get(key, False) or part is not added.cells
        cells, late, reported = negative
        return Folded(cells=cells, late=late, reported=reported, touched=added.touched), anew

    def _split(self, arrivals: Sequence[Arrival]) -> tuple[Sequence[Arrival], dict[float, list[Arrival]]]:
        """Those whose minute was open when they came, and the others by the moment up to which buckets had closed."""
        grace_s = self._rules.grace_s
        # Watermarks do not go back, so one comparison settles a batch in which nothing is late.
        if min(arrival.time_s for arrival in arrivals) + grace_s > arrivals[-1].watermark_s:
            return arrivals, {}
        on_time: list[Arrival] = []
        behind: dict[float, list[Arrival]] = {}
        for arrival in arrivals:
            # Buckets begin and end with whole minutes, so that few moments differ, though every event may meet a
            # watermark of its own.
            closed_s = (arrival.watermark_s - grace_s) // MINUTE_S * MINUTE_S
            if arrival.time_s >= closed_s:
                on_time.append(arrival)
            else:
                behind.setdefault(closed_s, []).append(arrival)
        return on_time, behind

    def _floors(self, now_s: float) -> Mapping[Tier, float]:
        """Buckets that start before these are not kept any more."""
        return {
            Tier.MINUTE: now_s - self._rules.minute_days * DAY_S,
            Tier.HOUR: now_s - self._rules.hour_days * DAY_S,
            Tier.DAY: float("-inf"),
        }

    def _leaves(self, arrivals: Sequence[Arrival]) -> Cells:
        """The cells of the minutes, in the areas that the events name."""
        leaves: Cells = {}
        for cls in {arrival.event.__class__ for arrival in arrivals}:
            of_type = [arrival for arrival in arrivals if arrival.event.__class__ is cls]
            for passes, some in self._plans[cls].groups(of_type):
                events = [arrival.event for arrival in some]
                areas = [arrival.area for arrival in some]
                minutes = [int(arrival.time_s // MINUTE_S) * MINUTE_S for arrival in some]
                for one in passes:
                    alike = Counter(zip(areas, minutes, map(one.attributes, events), strict=True))
                    for plan in one.plans:
                        _measure(plan, alike, leaves)
        return leaves

    def _roll_up(
        self,
        leaves: Cells,
        floors: Mapping[Tier, float],
        on_time: dict[Tier, Cells],
        touched: dict[tuple[str, int], set[AreaId]],
        closed_s: float = float("-inf"),
        late: dict[Tier, Cells] | None = None,
    ) -> None:
        """Adds leaf cells, their ancestors, their hours and days to `on_time`, or to `late` where they have ended by
        `closed_s`.
        """
        direct: dict[tuple[str, int], set[AreaId]] = {}
        for kpi, area, _dim, _bin, minute_s in leaves:
            direct.setdefault((kpi, minute_s), set()).add(area)
        for at, areas in direct.items():
            reached = touched.setdefault(at, set())
            for area in areas:
                reached.update(self._areas.touched_by(area))

        def into(tier: Tier, start_s: int, zone: ZoneInfo) -> Cells:
            closed = late is not None and bucket_end(start_s, tier, zone) <= closed_s
            return late[tier] if late is not None and closed else on_time[tier]

        starts: dict[tuple[str, int], list[tuple[Cells, int]]] = {}
        for (kpi, area, dim, bin_, minute_s), cell in self._climb(leaves).items():
            zone = self._areas.zone(area)
            bounds = starts.get((zone.key, minute_s))
            if bounds is None:
                all_starts = (minute_s, hour_start(minute_s, zone), day_start(minute_s, zone))
                bounds = starts[zone.key, minute_s] = [
                    (into(tier, start_s, zone), start_s)
                    for tier, start_s in zip(TIERS, all_starts, strict=True)
                    if start_s >= floors[tier]
                ]
            for cells, start_s in bounds:
                _add(cells, (kpi, area, dim, bin_, start_s), cell)

    def _climb(self, leaves: Cells) -> Cells:
        """The leaves and their ancestors' cells, from the deepest level up: each adds up what the next needs."""
        levels: list[Cells] = []
        for key, cell in leaves.items():
            depth = len(self._areas.path(key[1]))
            while len(levels) < depth:
                levels.append({})
            levels[depth - 1][key] = cell
        for upper, lower in zip(levels[-2::-1], levels[:0:-1], strict=True):
            parents: dict[AreaId, AreaId] = {}
            for (kpi, area, dim, bin_, minute_s), cell in lower.items():
                parent = parents.get(area)
                if parent is None:
                    parent = parents[area] = self._areas.path(area)[1]
                _add(upper, (kpi, parent, dim, bin_, minute_s), cell)
        return {key: cell for level in levels for key, cell in level.items()}


def _add(cells: Cells, key: Key, addend: Cell) -> None:
    cell = cells.get(key)
    if cell is None:
        cells[key] = addend.copy()
        if addend[4] is not None:
            cells[key][4] = addend[4].copy()
        return
    cell[0] += addend[0]
    if key[3] == LATEST_BIN:
        if (addend[3], addend[1]) > (cell[3], cell[1]):
            cell[1], cell[3] = addend[1], addend[3]
        return
    cell[1] += addend[1]
    if addend[2] is not None:
        cell[2] = addend[2] if cell[2] is None else min(cell[2], addend[2])
    if addend[3] is not None:
        cell[3] = addend[3] if cell[3] is None else max(cell[3], addend[3])
    items = addend[4]
    if items is None:
        return
    if isinstance(items, set):
        cell[4] |= items
    else:
        counts = cell[4]
        for bin_, n in items.items():
            counts[bin_] = counts.get(bin_, 0) + n


def _in_drill(folded: Folded) -> Folded:
    """The same under the names of drills."""

    def renamed(part: dict[Tier, Cells]) -> dict[Tier, Cells]:
        return {
            tier: {(drill_name(key[0]), *key[1:]): cell for key, cell in cells.items()}
            for tier, cells in part.items()
        }

    return Folded(
        cells=renamed(folded.cells),
        late=renamed(folded.late),
        reported=renamed(folded.reported),
        touched={(drill_name(base), minute_s): areas for (base, minute_s), areas in folded.touched.items()},
    )


def added_up(folds: Sequence[Folded]) -> Folded:
    """Several folds, at least one, as if they were one."""
    if len(folds) == 1:
        return folds[0]
    parts = (no_cells(), no_cells(), no_cells())
    touched: dict[tuple[str, int], set[AreaId]] = {}
    for folded in folds:
        for into, part in zip(parts, folded.parts, strict=True):
            for tier, cells in part.items():
                for key, cell in cells.items():
                    _add(into[tier], key, cell)
        for at, areas in folded.touched.items():
            touched.setdefault(at, set()).update(areas)
    return Folded(cells=parts[0], late=parts[1], reported=parts[2], touched=touched)


def sources_seen(arrivals: Sequence[Arrival]) -> list[SourceSeen]:
    """Who was heard in a batch, corrections included.

    Not who was heard in a drill alone: it may be played under the name of a source that has fallen silent.
    """
    arrivals = [arrival for arrival in arrivals if not arrival.event.exercise]
    names = [arrival.event.source for arrival in arrivals]
    newest: dict[str, float] = {}
    for name, arrival in zip(names, arrivals, strict=True):
        time_s = arrival.heard_s
        if time_s > newest.get(name, -1.0):
            newest[name] = time_s
    # Later ones overwrite earlier ones, and the log's time does not go back.
    logged = dict(zip(names, (arrival.logged_ms for arrival in arrivals), strict=True))
    return [
        SourceSeen(source=name, n=n, time_s=newest[name], received_s=logged[name] / 1000)
        for name, n in Counter(names).items()
    ]


def _measure(plan: Plan, alike: Mapping[tuple[AreaId, int, tuple[Any, ...]], int], cells: Cells) -> None:
    """Adds what a base sees in events of its type. Equal attributes are measured once."""
    base_id, pick, measure = plan.base.id, plan.pick, plan.measure
    kind = plan.base.measure
    measured: dict[tuple[Any, ...], Measured | None] = {}
    for (area, minute_s, attributes), n in alike.items():
        values = pick(attributes)
        try:
            found = measured[values]
        except KeyError:
            found = measured[values] = measure(values)
        if found is None:
            continue
        dim, bin_, value, low, high, item = found
        if kind is Measure.LATEST:
            # What each place said last is kept apart up to the root, for only then can the last one replace it.
            dim = f"{dim}{DIM_SEPARATOR}{area}" if plan.base.dimensions else area
            addend: Cell = [n, value, None, high, None]
        elif kind is Measure.PERCENTILE:
            addend, bin_ = [n, value * n, None, None, {bin_: n}], ZERO_BIN
        elif kind is Measure.DISTINCT:
            addend = [0, 0, None, None, {item}]
        else:
            addend = [n, value * n, low, high, None]
        key = (base_id, area, dim, bin_, minute_s)
        if key in cells:
            _add(cells, key, addend)
        else:
            cells[key] = addend


def _is_coarse(base: Base, hints: Mapping[str, Any]) -> bool:
    needs_time = base.since is not None or base.due is not None or base.measure is Measure.LATEST
    return not needs_time and (base.value is None or float not in (hints[base.value], *get_args(hints[base.value])))


def _pass(bases: Sequence[Base]) -> _Pass:
    names = list(dict.fromkeys(name for base in bases for name in _attributes(base)))
    # The last one is there because `attrgetter` gives no tuple for a single name.
    return _Pass(attrgetter(*names, "specversion"), [_plan(base, names) for base in bases])


def _plan(base: Base, names: Sequence[str]) -> Plan:
    places = [names.index(name) for name in _attributes(base)]
    return Plan(base, itemgetter(*places, len(names)), _measurement(base))


def _attributes(base: Base) -> list[str]:
    """The attributes of an event that a base looks at once it counts it: dimensions, and what is measured."""
    dimensions = [f"data.{name}" for name in base.dimensions]
    measured = [f"data.{name}" for name in (base.value, base.since, base.due, base.of) if name is not None]
    needs_time = base.since is not None or base.due is not None or base.measure is Measure.LATEST
    return [*dimensions, *measured, *(["time"] if needs_time else [])]


def _path(name: str) -> str:
    """Where a filter's field stands: `source` and `subject` in the envelope, all others in the data."""
    return name if name in {"source", "subject"} else f"data.{name}"


def _measurement(base: Base) -> Callable[[tuple[Any, ...]], Measured | None]:
    """A function of a base's attributes, as `_attributes` orders them."""
    last = len(base.dimensions)
    value_of = _value(base)

    def measure(attributes: tuple[Any, ...]) -> Measured | None:
        valued = value_of(attributes[last:])
        if valued is None:
            return None
        dim = DIM_SEPARATOR.join(ALL_DIM if one is None else str(one) for one in attributes[:last])
        return dim, *valued

    return measure


_Valued = tuple[int, int, float | None, float | None, str | None]


def _value(base: Base) -> Callable[[tuple[Any, ...]], _Valued | None]:
    """How what is measured becomes a sketch bin, millionths, extremes and an item."""

    number = _number(base)
    match base.measure:
        case Measure.COUNT:
            return lambda _: (ZERO_BIN, 0, None, None, None)
        case Measure.DISTINCT:
            return lambda at: None if at[0] is None else (ZERO_BIN, 0, None, None, str(at[0]))
        case Measure.IN_TIME:
            return lambda at: None if at[0] is None else (ZERO_BIN, MICRO * (at[1] <= at[0]), None, None, None)
        case Measure.LATEST:
            return lambda at: (
                None
                if (value := number(at)) is None
                else (LATEST_BIN, round(value * MICRO), None, _seconds(at[1]), None)
            )
        case _:
            of_number = _OF_NUMBER[base.measure](base)
            return lambda at: None if (value := number(at)) is None else of_number(value)


_OF_NUMBER: dict[Measure, Callable[[Base], Callable[[float], _Valued]]] = {
    Measure.SUM: lambda _: lambda value: (ZERO_BIN, round(value * MICRO), None, None, None),
    Measure.MEAN: lambda _: lambda value: (ZERO_BIN, round(value * MICRO), None, None, None),
    Measure.MIN: lambda _: lambda value: (ZERO_BIN, 0, value, None, None),
    Measure.MAX: lambda _: lambda value: (ZERO_BIN, 0, None, value, None),
    Measure.PERCENTILE: lambda _: lambda value: (bin_of(value), round(value * MICRO), None, None, None),
    Measure.WITHIN: lambda base: lambda value: (ZERO_BIN, MICRO * (value <= (base.within_s or 0)), None, None, None),
}


def _seconds(moment: datetime) -> float:
    return moment.timestamp()


def _number(base: Base) -> Callable[[tuple[Any, ...]], float | None]:
    """The number that a base measures: a field, or the time that has passed since another."""
    if base.since is not None:
        # Nothing ends before it begins; where two clocks differ by a little it seems so.
        return lambda at: None if at[0] is None else max(0.0, (at[1] - at[0]).total_seconds())
    return lambda at: None if at[0] is None else float(at[0])


def touched_json(
    folds: Collection[Folded], events: int, sources: Iterable[str], besides: Mapping[str, object] | None = None
) -> bytes:
    """The change row of a transaction, as the change feed's readers expect it. `besides` is what else has changed."""
    touched: dict[tuple[str, int], set[AreaId]] = {}
    for folded in folds:
        for key, areas in folded.touched.items():
            touched.setdefault(key, set()).update(areas)
    return msgspec.json.encode(
        {
            "kpis": [(kpi, minute_s, sorted(areas)) for (kpi, minute_s), areas in sorted(touched.items())],
            "events": events,
            "sources": sorted(set(sources)),
            **(besides or {}),
        }
    )
