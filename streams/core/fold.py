"""What do these events add to the KPIs?

Events are folded into one cell for each (KPI, area, dimension, sketch bin, minute); the cells of a batch are then
rolled up to hours, days and ancestors, so the price of tiers and levels is paid per cell, not per event.
"""

from collections.abc import Callable, Iterable
from operator import attrgetter
from typing import Any
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
Contribute = Callable[[Cells, AnyEvent, int], None]


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
        self._plan: dict[type[Event], list[Contribute]] = {
            cls: [_compile(kpi) for kpi in catalogue.fed_by(type_name)] for type_name, cls in EVENT_TYPES.items()
        }

    def __call__(self, arrivals: Iterable[Arrival]) -> Folded:
        """Adds the arrivals up. Drills and corrections of earlier events are kept, but not counted as new ones."""
        minutes: Cells = {}
        sources: dict[str, list[Any]] = {}
        plan = self._plan
        for event, _, logged_ms in arrivals:
            time_s = event.time.timestamp()
            received_s = logged_ms / 1000
            seen = sources.get(event.source)
            if seen is None:
                sources[event.source] = [1, time_s, received_s]
            else:
                seen[0] += 1
                seen[1] = max(seen[1], time_s)
                seen[2] = received_s
            if event.exercise or event.withdraws or event.supersedes:
                continue
            minute_s = int(time_s // MINUTE_S) * MINUTE_S
            for contribute in plan[event.__class__]:
                contribute(minutes, event, minute_s)
        cells, touched = self._roll_up(minutes)
        return Folded(
            cells=cells,
            touched=touched,
            sources=[
                SourceSeen(source=source, n=n, time_s=time_s, received_s=received_s)
                for source, (n, time_s, received_s) in sources.items()
            ],
        )

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


def _compile(kpi: Kpi) -> Contribute:
    """A KPI as a function that adds one event to its cell."""
    dim_of = _dimension(kpi)
    counts = _filter(kpi)
    measure = _measure(kpi)
    kpi_id = kpi.id

    def contribute(cells: Cells, event: AnyEvent, minute_s: int) -> None:
        data = event.data
        if counts is not None and not counts(data):
            return
        measured = measure(event)
        if measured is None:
            return
        bin_, value = measured
        key = (kpi_id, event.area, dim_of(data), bin_, minute_s)
        cell = cells.get(key)
        if cell is None:
            cells[key] = [1, value, value, value]
            return
        cell[0] += 1
        cell[1] += value
        if value < cell[2]:
            cell[2] = value
        elif value > cell[3]:
            cell[3] = value

    return contribute


def _dimension(kpi: Kpi) -> Callable[[Any], str]:
    if kpi.dimension is None:
        return lambda _: ALL_DIM
    get = attrgetter(kpi.dimension)

    def dimension(data: Any) -> str:  # noqa: ANN401 (any of the data structs)
        value = get(data)
        return ALL_DIM if value is None else str(value)

    return dimension


def _filter(kpi: Kpi) -> Callable[[Any], bool] | None:
    if not kpi.where:
        return None
    wanted = [(attrgetter(name), value) for name, value in kpi.where.items()]
    return lambda data: all(get(data) == value for get, value in wanted)


def _measure(kpi: Kpi) -> Callable[[AnyEvent], tuple[int, float] | None]:
    """What an event gives: a sketch bin and a value; None when it has nothing to measure."""
    match kpi.measure:
        case Measure.COUNT:
            if kpi.value is None:
                one = (ZERO_BIN, 1.0)
                return lambda _: one
            weight = attrgetter(kpi.value)

            def count(event: AnyEvent) -> tuple[int, float] | None:
                value = weight(event.data)
                return None if value is None else (ZERO_BIN, float(value))

            return count
        case Measure.IN_TIME:
            due = attrgetter(kpi.due or "")

            def in_time(event: AnyEvent) -> tuple[int, float] | None:
                due_at = due(event.data)
                return None if due_at is None else (ZERO_BIN, 1.0 if event.time <= due_at else 0.0)

            return in_time
        case Measure.DISTRIBUTION:
            sample = attrgetter(kpi.value or "")

            def distribution(event: AnyEvent) -> tuple[int, float] | None:
                value = sample(event.data)
                return None if value is None else (bin_of(value), float(value))

            return distribution


def touched_json(folded: Folded, events: int) -> bytes:
    """The change row of a batch, as the change feed's readers expect it."""
    return msgspec.json.encode(
        {
            "kpis": [(kpi, minute_s, sorted(areas)) for (kpi, minute_s), areas in sorted(folded.touched.items())],
            "events": events,
            "sources": sorted(seen.source for seen in folded.sources),
        }
    )
