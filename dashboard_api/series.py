"""What was a KPI, bucket by bucket?

Buckets without events are present: a count is 0 there, and what divides has the value null. So a line on a board
never joins two moments with nothing between them by accident.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from dashboard_api.subscription import Series
from dashboard_api.touched import Point, oldest_shown_s
from schemas.area import AreaTree
from schemas.event import AreaCode
from schemas.kpi import Kpi, Measure, Partial, Value, value_of
from schemas.site import Site
from schemas.statements import for_tier
from schemas.window import TIERS, Tier, bucket_starts

LOOKBACK_S = 7 * 24 * 3600
"""How far back the latest minute with events is looked for; a KPI that was silent for longer has none."""

_POINTS_AT_ONCE = 2_000  # keys of one query; more are read by several, so that none takes long
_SQL = load_statements("series")


class DimensionSeries(Struct, frozen=True):
    """The values of one dimension value, or of all together (`dim` is None), oldest first."""

    dim: str | None
    points: list[tuple[int, Value]]


def fill(measure: Measure, starts: Iterable[int], partials: Mapping[int, list[Partial]]) -> list[tuple[int, Value]]:
    """One value for each of the buckets, whether it has partials or not."""
    return [(start, value_of(measure, partials.get(start, ()))) for start in starts]


def window_starts(now_s: float, tier: Tier, area: AreaCode, tree: AreaTree, points: int) -> list[int]:
    """The last `points` buckets up to the one that holds now, oldest first."""
    oldest_s = max(0, oldest_shown_s(now_s, tier, points))
    return bucket_starts(oldest_s, int(now_s) + 1, tier, tree.zone(area))[-points:]


async def read_range(
    reader: Reader, kpi: Kpi, area: AreaCode, tier: Tier, starts: list[int], end_s: int, dim: str | None, by_dim: bool
) -> list[DimensionSeries]:
    """The series over these buckets, one for all dimension values or one for each that has events there."""
    rows = await reader.fetch(
        for_tier(_SQL["read_range"], tier), kpi.id, area, _instant(starts[0]), _instant(end_s), dim
    )
    by: dict[str | None, dict[int, list[Partial]]] = {} if by_dim else {dim: {}}
    for row in rows:
        buckets = by.setdefault(row["dim"] if by_dim else dim, {})
        buckets.setdefault(row["bucket_s"], []).append(_partial(row))
    return [DimensionSeries(name, fill(kpi.measure, starts, by[name])) for name in sorted(by, key=lambda d: d or "")]


async def read_windows(
    reader: Reader, series: Collection[Series], site: Site, starts: Mapping[AreaCode, list[int]], ahead_s: int
) -> dict[Series, list[tuple[int, Value]]]:
    """Every series over its area's buckets, and over later ones up to `ahead_s` that hold something already."""
    found: dict[Series, dict[int, list[Partial]]] = {one: {} for one in series}
    for tier in TIERS:
        wanted = [one for one in series if one.tier is tier]
        if not wanted:
            continue
        kpis, areas = list({one.kpi for one in wanted}), list({one.area for one in wanted})
        first_s = min(starts[area][0] for area in areas)
        for row in await reader.fetch(
            for_tier(_SQL["read_many_ranges"], tier), kpis, areas, _instant(first_s), _instant(ahead_s)
        ):
            buckets = found.get(Series(row["kpi"], row["area"], tier))
            if buckets is not None:
                buckets.setdefault(row["bucket_s"], []).append(_partial(row))
    return {
        one: fill(
            site.kpis[one.kpi].measure,
            starts[one.area] + sorted(bucket_s for bucket_s in buckets if bucket_s > starts[one.area][-1]),
            buckets,
        )
        for one, buckets in found.items()
    }


async def read_points(reader: Reader, points: Collection[Point], site: Site) -> dict[Point, Value]:
    """The present values of these buckets."""
    partials: dict[Point, list[Partial]] = {point: [] for point in points}
    for tier in TIERS:
        wanted = sorted(point for point in points if point.tier is tier)
        for at in range(0, len(wanted), _POINTS_AT_ONCE):
            some = wanted[at : at + _POINTS_AT_ONCE]
            buckets = [_instant(point.bucket_s) for point in some]
            rows = await reader.fetch(
                for_tier(_SQL["read_points"], tier),
                [point.kpi for point in some],
                [point.area for point in some],
                buckets,
                min(buckets),
                max(buckets),
            )
            for row in rows:
                partials[Point(row["kpi"], row["area"], tier, row["bucket_s"])].append(_partial(row))
    return {point: value_of(site.kpis[point.kpi].measure, rows) for point, rows in partials.items()}


async def read_last_minutes(
    reader: Reader, kpis: Collection[str], areas: Collection[AreaCode], now_s: float, ahead_s: int
) -> dict[tuple[str, AreaCode], int]:
    """The latest minute (its start) in which each KPI had events in each area, as far as LOOKBACK_S goes back."""
    rows = await reader.fetch(
        _SQL["read_last_minutes"], list(kpis), list(areas), _instant(int(now_s) - LOOKBACK_S), _instant(ahead_s)
    )
    return {(row["kpi"], row["area"]): row["minute_s"] for row in rows}


def _partial(row: Any) -> Partial:  # noqa: ANN401  # an asyncpg record has no column types
    return Partial(bin=row["bin"], n=row["n"], total=row["total"], low=row["low"], high=row["high"])


def _instant(epoch_s: int) -> datetime:
    return datetime.fromtimestamp(epoch_s, UTC)
