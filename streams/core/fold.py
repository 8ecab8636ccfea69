"""What do these events add to the KPIs?

Events are counted by the few attributes that a KPI looks at before anything is measured, then added up in one cell
for each (KPI, area, dimension, sketch bin, minute); the cells of a batch are rolled up to hours, days and ancestors.
So the price of measures, tiers and levels is paid per distinct value and per cell, not per event.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Struct

from schemas.area import AreaTree
from schemas.event import EVENT_TYPES, AnyEvent, AreaCode, Event
from schemas.kpi import ALL_DIM, Catalogue, Kpi, Measure
from schemas.sketch import ZERO_BIN, bin_of
from schemas.window import MINUTE_S, TIERS, Tier, day_start, hour_start
from streams.core.batch import Arrival

Key = tuple[str, AreaCode, str, int, int]
"""KPI, area, dimension value, sketch bin, start of the bucket in epoch seconds."""

Cell = list[Any]
"""[n, total, low, high]: mutable, because a fold touches each thousands of times."""

Cells = dict[Key, Cell]

Measured = tuple[str, int, float]
"""Dimension value, sketch bin and value of one event."""


class Plan(NamedTuple):
    """A KPI, compiled: which attributes to take off an event, and what they measure (None: nothing)."""

    kpi: str
    attributes: Callable[[AnyEvent], tuple[Any, ...]]
    measure: Callable[[tuple[Any, ...]], Measured | None]


class SourceSeen(Struct, frozen=True, kw_only=True):
    """The newest that a batch brought of one source: event time and time of receipt, in epoch seconds."""

    source: str
    n: int
    time_s: float
    received_s: float


class Folded(Struct, frozen=True, kw_only=True):
    """What a batch adds. `touched` says which areas changed, by KPI and minute."""

    cells: dict[Tier, Cells]
    touched: dict[tuple[str, int], set[AreaCode]]
    sources: list[SourceSeen]


class Fold:
    """The catalogue compiled for one area tree. Stateless: the same arrivals give the same result."""

    def __init__(self, catalogue: Catalogue, areas: AreaTree) -> None:
        """Compiles every KPI once."""
        self._areas = areas
        self._plans: dict[type[Event], list[Plan]] = {
            cls: [_compile(kpi) for kpi in catalogue.fed_by(type_name)] for type_name, cls in EVENT_TYPES.items()
        }

    def __call__(self, arrivals: Sequence[Arrival]) -> Folded:
        """Adds the arrivals up. Drills and corrections of earlier events are kept, but not counted as new ones."""
        by_type: dict[type[Event], tuple[list[AnyEvent], list[int]]] = {
            cls: ([], []) for cls in {arrival.event.__class__ for arrival in arrivals}
        }
        for arrival in arrivals:
            event = arrival.event
            if event.exercise or event.withdraws or event.supersedes:
                continue
            events, minutes = by_type[event.__class__]
            events.append(event)
            minutes.append(int(arrival.time_s // MINUTE_S) * MINUTE_S)
        leaves: Cells = {}
        for cls, (events, minutes) in by_type.items():
            for plan in self._plans[cls]:
                _measure(plan, events, minutes, leaves)
        cells, touched = self._roll_up(leaves)
        return Folded(cells=cells, touched=touched, sources=_sources(arrivals))

    def _roll_up(self, minutes: Cells) -> tuple[dict[Tier, Cells], dict[tuple[str, int], set[AreaCode]]]:
        cells: dict[Tier, Cells] = {tier: {} for tier in TIERS}
        minute_cells, hour_cells, day_cells = (cells[tier] for tier in TIERS)
        touched: dict[tuple[str, int], set[AreaCode]] = {}
        starts: dict[tuple[str, int], tuple[int, int]] = {}
        for (kpi, leaf, dim, bin_, minute_s), cell in minutes.items():
            path = self._areas.path(leaf)
            touched.setdefault((kpi, minute_s), set()).update(path)
            for area in path:
                zone = self._areas.zone(area)
                bounds = starts.get((zone.key, minute_s))
                if bounds is None:
                    bounds = starts[zone.key, minute_s] = _hour_and_day(minute_s, zone)
                _add(minute_cells, (kpi, area, dim, bin_, minute_s), cell)
                _add(hour_cells, (kpi, area, dim, bin_, bounds[0]), cell)
                _add(day_cells, (kpi, area, dim, bin_, bounds[1]), cell)
        return cells, touched


def _hour_and_day(minute_s: int, zone: ZoneInfo) -> tuple[int, int]:
    return hour_start(minute_s, zone), day_start(minute_s, zone)


def _add(cells: Cells, key: Key, addend: Cell) -> None:
    cell = cells.get(key)
    if cell is None:
        cells[key] = addend.copy()
        return
    cell[0] += addend[0]
    cell[1] += addend[1]
    cell[2] = min(cell[2], addend[2])
    cell[3] = max(cell[3], addend[3])


def _sources(arrivals: Sequence[Arrival]) -> list[SourceSeen]:
    names = [arrival.event.source for arrival in arrivals]
    newest: dict[str, float] = {}
    for name, arrival in zip(names, arrivals, strict=True):
        if arrival.time_s > newest.get(name, -1.0):
            newest[name] = arrival.time_s
    # Later ones overwrite earlier ones, and the log's time does not go back.
    logged = dict(zip(names, (arrival.logged_ms for arrival in arrivals), strict=True))
    return [
        SourceSeen(source=name, n=n, time_s=newest[name], received_s=logged[name] / 1000)
        for name, n in Counter(names).items()
    ]


def _measure(plan: Plan, events: Sequence[AnyEvent], minutes: Sequence[int], cells: Cells) -> None:
    """Adds what a KPI sees in events of its type. Equal attributes in one minute are measured once."""
    alike = Counter(zip(map(plan.attributes, events), minutes, strict=True))
    for ((area, *attributes), minute_s), n in alike.items():
        measured = plan.measure(tuple(attributes))
        if measured is None:
            continue
        dim, bin_, value = measured
        _add(cells, (plan.kpi, area, dim, bin_, minute_s), [n, value * n, value, value])


def _compile(kpi: Kpi) -> Plan:
    """A KPI as the attributes it needs, the area first, and a function of the others."""
    wanted = tuple(kpi.where.values())
    dimension = [] if kpi.dimension is None else [f"data.{kpi.dimension}"]
    measured, value_of = _value(kpi)
    # The last one is there because `attrgetter` gives no tuple for a single name.
    names = ["area", *(f"data.{name}" for name in kpi.where), *dimension, *measured, "specversion"]
    first = len(wanted)

    def measure(attributes: tuple[Any, ...]) -> Measured | None:
        if attributes[:first] != wanted:
            return None
        valued = value_of(attributes[first + len(dimension) :])
        if valued is None:
            return None
        dim = attributes[first] if dimension else None
        return ALL_DIM if dim is None else str(dim), *valued

    return Plan(kpi.id, attrgetter(*names), measure)


def _value(kpi: Kpi) -> tuple[list[str], Callable[[tuple[Any, ...]], tuple[int, float] | None]]:
    """The attributes that the measure needs, and how they become a sketch bin and a value."""
    match kpi.measure:
        case Measure.COUNT if kpi.value is None:
            return [], lambda _: (ZERO_BIN, 1.0)
        case Measure.COUNT:
            return [f"data.{kpi.value}"], lambda at: None if at[0] is None else (ZERO_BIN, float(at[0]))
        case Measure.IN_TIME:
            return [
                "time",
                f"data.{kpi.due}",
            ], lambda at: None if at[1] is None else (ZERO_BIN, 1.0 if at[0] <= at[1] else 0.0)
        case Measure.DISTRIBUTION:
            return [f"data.{kpi.value}"], lambda at: None if at[0] is None else (bin_of(at[0]), float(at[0]))


def touched_json(folds: Sequence[Folded], events: int) -> bytes:
    """The change row of a transaction, as the change feed's readers expect it."""
    touched: dict[tuple[str, int], set[AreaCode]] = {}
    for folded in folds:
        for key, areas in folded.touched.items():
            touched.setdefault(key, set()).update(areas)
    return msgspec.json.encode(
        {
            "kpis": [(kpi, minute_s, sorted(areas)) for (kpi, minute_s), areas in sorted(touched.items())],
            "events": events,
            "sources": sorted({seen.source for folded in folds for seen in folded.sources}),
        }
    )
