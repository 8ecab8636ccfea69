"""What is an indicator, and how does it come out of what was added up?

A KPI is declared in the site pack. `streams` adds up `Partial`s; this module turns partials into the value that
people read. Only what adds is stored, so any range of time and any set of areas can be put together on read.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from msgspec import Struct

from schemas.sketch import quantile

ALL_DIM = ""
"""The dimension value of a KPI that has no dimension."""


class Measure(StrEnum):
    """How events become a number."""

    COUNT = "count"  # events, or the sum of `value` where it is given
    IN_TIME = "in_time"  # the share of events whose `time` is not after the instant in `due`
    DISTRIBUTION = "distribution"  # mean, minimum, maximum and percentiles of `value`


class Kpi(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One indicator of the catalogue.

    `event`        the CloudEvents type that feeds it
    `value`, `due`, `dimension`   field names within the event's `data`
    `where`        the event counts only when each of these `data` fields has this value
    `freshness_s`  without news for longer than this, the value on a board is stale
    """

    id: str
    names: dict[str, str]
    unit: str
    event: str
    measure: Measure
    value: str | None = None
    due: str | None = None
    dimension: str | None = None
    where: dict[str, str] = {}
    freshness_s: int = 900


class Partial(Struct, frozen=True, kw_only=True):
    """What is stored of a bucket, by sketch bin. Partials of one bin add up to a partial.

    `n` events; `total` the sum of weights, of values, or of events in time; `low`, `high` the extremes.
    """

    bin: int
    n: int
    total: float
    low: float
    high: float


class Value(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What people read. `value` is the headline; a ratio keeps its numerator and denominator.

    `value` is None when there is nothing to divide by: no closed report is not 0 % in time.
    """

    value: float | None
    n: int
    numerator: float | None = None
    denominator: float | None = None
    low: float | None = None
    high: float | None = None
    p50: float | None = None
    p95: float | None = None


def value_of(measure: Measure, partials: Iterable[Partial]) -> Value:
    """Puts partials of any buckets, areas, dimensions and shards together and reads the measure off them."""
    rows = list(partials)
    n = sum(row.n for row in rows)
    total = sum(row.total for row in rows)
    match measure:
        case Measure.COUNT:
            return Value(value=total, n=n)
        case Measure.IN_TIME:
            return Value(value=total / n if n else None, n=n, numerator=total, denominator=float(n))
        case Measure.DISTRIBUTION:
            if n == 0:
                return Value(value=None, n=0)
            bins = [(row.bin, row.n) for row in rows]
            low, high = min(row.low for row in rows), max(row.high for row in rows)
            return Value(
                value=total / n,
                n=n,
                low=low,
                high=high,
                p50=_within(quantile(bins, 0.5), low, high),
                p95=_within(quantile(bins, 0.95), low, high),
            )


def _within(value: float | None, low: float, high: float) -> float | None:
    """A bin's representative can lie a hair outside the values that were seen; the extremes are exact."""
    return None if value is None else min(max(value, low), high)


class Catalogue:
    """All KPIs of a site by id, in the order of the file."""

    def __init__(self, kpis: Iterable[Kpi]) -> None:
        """Takes KPIs with distinct ids (`site.parse_kpis` checks)."""
        self.kpis: tuple[Kpi, ...] = tuple(kpis)
        self._by_id: Mapping[str, Kpi] = {kpi.id: kpi for kpi in self.kpis}

    def __contains__(self, kpi_id: object) -> bool:
        return kpi_id in self._by_id

    def __getitem__(self, kpi_id: str) -> Kpi:
        return self._by_id[kpi_id]

    def fed_by(self, event_type: str) -> list[Kpi]:
        """The KPIs that events of this type feed."""
        return [kpi for kpi in self.kpis if kpi.event == event_type]
