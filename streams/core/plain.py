"""Which indicators can be read with plain SQL: one sum, or one sum over another?

The tables hold sums by base. Whoever adds them up by hand, as Grafana does, needs to know which sum over which makes
the indicator. What needs more than that (a sketch, what was true last, a balance since the beginning) is read through
`dashboard_api`, and so is what is for supervising agencies alone.
"""

from typing import Literal

from msgspec import Struct

from schemas.exercise import is_drill
from schemas.kpi import Catalogue, Kpi, Measure

Column = Literal["n", "total"]
"""Of a row: how many events, or the sum of what they measure."""


class Sum(Struct, frozen=True):
    """What is added up: this column of the rows of this base."""

    base: str
    column: Column


class PlainReading(Struct, frozen=True):
    """`numerator` times `per`, over `denominator` where there is one."""

    kpi: Kpi
    numerator: Sum
    denominator: Sum | None = None


_TOTALS: dict[Measure, Column] = {Measure.COUNT: "n", Measure.SUM: "total"}
_MEANS = frozenset({Measure.MEAN, Measure.IN_TIME, Measure.WITHIN})


def plain_readings(catalogue: Catalogue) -> list[PlainReading]:
    """The indicators for all that are plain sums or shares, in the order of the catalogue; no drills."""
    seen = [kpi for kpi in catalogue.kpis if not is_drill(kpi.id) and not catalogue.is_for_supervision(kpi.id)]
    return [reading for kpi in seen if (reading := _reading(catalogue, kpi)) is not None]


def _reading(catalogue: Catalogue, kpi: Kpi) -> PlainReading | None:
    if kpi.measure in _MEANS:
        return PlainReading(kpi, Sum(kpi.id, "total"), Sum(kpi.id, "n"))
    if kpi.measure is not Measure.RATIO:
        total = _total(catalogue, kpi.id)
        return None if total is None else PlainReading(kpi, total)
    above, below = (_total(catalogue, part) for part in catalogue.parts_of(kpi.id))
    return None if above is None or below is None else PlainReading(kpi, above, below)


def _total(catalogue: Catalogue, part: str) -> Sum | None:
    # A part that is computed from others has no base of its own.
    base = next((base for base in catalogue.bases if base.id == part), None)
    column = None if base is None else _TOTALS.get(base.measure)
    return None if column is None else Sum(part, column)
