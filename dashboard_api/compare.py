"""What has changed from one period to the next, and how do areas differ, on the same or on different maps?"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import product
from typing import Literal

import msgspec
from msgspec import Struct

from dashboard_api.bucket import Bucket, bucket_of
from dashboard_api.closing import ClosedUntil
from dashboard_api.database import Reader
from dashboard_api.export import BUCKET_COLUMNS, Cell, Column, Kind, Sheet, bucket_cells, name_columns, names_cells
from dashboard_api.refusal import RefusalReason, Refused
from dashboard_api.spans import Span
from dashboard_api.tables import by_zone
from dashboard_api.values import read_figures
from schemas.event import AreaId
from schemas.interval import difference
from schemas.kpi import Kpi, Measure, Value
from schemas.period import Period
from schemas.site import Site

COMPARED_MAX = 12
"""Periods, and areas, in one comparison; more is refused."""


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One value less another: `absolute` in the KPI's unit, `relative` as a share of the other's size.

    Where one of the two is not exact, there are only bounds. `better` follows from the KPI's direction.
    """

    absolute: float | None
    relative: float | None = None
    better: bool | None = None
    exact: bool = True
    lower: float | None = None
    upper: float | None = None


class Compared(Bucket, frozen=True, kw_only=True, omit_defaults=True):
    """A value, its change since the period before it in the list, and how it differs from the first area's."""

    period: str
    change: Change | None = None
    difference: Change | None = None


class ComparedArea(Struct, frozen=True, kw_only=True):
    """An area over all periods, in the order asked for."""

    cells: list[Compared]
    area: str
    code: str
    list: str
    kind: str
    names: dict[str, str]


class CompareView(Struct, frozen=True, kw_only=True):
    """One indicator, areas against periods. `exact`: every value is."""

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    direction: Literal["higher", "lower"] | None
    periods: list[str]
    position: str
    as_of: datetime
    exact: bool
    areas: list[ComparedArea]


def check_counts(periods: Sequence[Period], areas: Sequence[AreaId]) -> None:
    """Raises Refused when there is nothing to compare, or too much."""
    for field, count in (("periods", len(periods)), ("areas", len(areas))):
        if count > COMPARED_MAX:
            fix = f"Name at most {COMPARED_MAX}."
            raise Refused(field, RefusalReason.TOO_MANY, f"there are {count} of them", fix)
    if len(periods) * len(areas) < 2:
        fix = "Name two periods or two areas at least, with commas in between."
        raise Refused("periods", RefusalReason.OUT_OF_RANGE, "there is nothing to compare with", fix)


async def read_compared(
    reader: Reader,
    site: Site,
    kpi: Kpi,
    areas: Sequence[AreaId],
    periods: Sequence[Period],
    *,
    where: Mapping[str, str],
    closed: ClosedUntil,
) -> list[ComparedArea]:
    """Every area over every period, each by its own clock."""
    buckets: dict[tuple[AreaId, int], Bucket] = {}
    for zone, some in by_zone(site, areas).items():
        asked = [Span(span.start_s, span.end_s) for span in (period.span(zone) for period in periods)]
        figures = await read_figures(reader, site, [kpi.id], some, asked, where=where, closed=closed)
        for area, (at, span) in product(some, enumerate(asked)):
            buckets[area, at] = bucket_of(span, figures.reported(kpi.id, area, None, at), zone)
    return [
        ComparedArea(
            area=area,
            code=site.areas[area].code,
            list=site.areas[area].list_id,
            kind=site.areas[area].kind,
            names=site.areas[area].names,
            cells=[
                Compared(
                    period=str(period),
                    change=change_of(kpi, buckets[area, at], buckets[area, at - 1]) if at else None,
                    difference=change_of(kpi, buckets[area, at], buckets[areas[0], at]) if area != areas[0] else None,
                    **msgspec.structs.asdict(buckets[area, at]),
                )
                for at, period in enumerate(periods)
            ],
        )
        for area in areas
    ]


def change_of(kpi: Kpi, value: Value, other: Value) -> Change:
    """How much `value` is more than `other`."""
    if not (value.exact and other.exact):
        lower, upper = difference(_interval(value), _interval(other))
        return Change(absolute=None, exact=False, lower=lower, upper=upper)
    if value.value is None or other.value is None:
        return Change(absolute=None)
    absolute = value.value - other.value
    return Change(
        absolute=absolute,
        relative=absolute / abs(other.value) if other.value else None,
        better=(absolute > 0) == (kpi.direction == "higher") if kpi.direction and absolute else None,
    )


def _interval(value: Value) -> tuple[float | None, float | None]:
    return (value.value, value.value) if value.exact else (value.lower, value.upper)


def compare_sheet(name: str, kpi: str, areas: Iterable[ComparedArea], languages: Sequence[str]) -> Sheet:
    """A row for each area and period."""
    changes = [
        f"{of}_{what}" for of in ("change", "difference") for what in ("absolute", "relative", "lower", "upper")
    ]
    columns = (
        *(Column("kpi"), Column("area"), Column("code"), Column("list"), Column("kind"), *name_columns(languages)),
        *(Column("period"), *BUCKET_COLUMNS, *(Column(change, Kind.NUMBER) for change in changes)),
    )
    rows: list[tuple[Cell, ...]] = [
        (
            *(kpi, one.area, one.code, one.list, one.kind, *names_cells(one.names, languages)),
            *(cell.period, *bucket_cells(cell), *_change_cells(cell.change), *_change_cells(cell.difference)),
        )
        for one in areas
        for cell in one.cells
    ]
    return Sheet(name, columns, rows)


def _change_cells(change: Change | None) -> tuple[Cell, ...]:
    return (None,) * 4 if change is None else (change.absolute, change.relative, change.lower, change.upper)
