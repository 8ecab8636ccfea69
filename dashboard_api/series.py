"""What does a live board show of a KPI, bucket by bucket?

Buckets without events are present: a count is 0 there, and what divides has the value null. So a line on a board
never joins two moments with nothing between them by accident.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from zoneinfo import ZoneInfo

from dashboard_api.closing import read_closing
from dashboard_api.database import Reader
from dashboard_api.reported import Reported
from dashboard_api.spans import Span, Step, last_spans, spans
from dashboard_api.statements import load_statements
from dashboard_api.subscription import Series
from dashboard_api.touched import Point, carries
from dashboard_api.values import read_figures
from schemas.event import AreaId
from schemas.site import Site
from schemas.window import Tier

LOOKBACK_S = 7 * 24 * 3600
"""How far back the latest minute with events is looked for; a KPI that was silent for longer has none."""

_T = TypeVar("_T", Series, Point)
_SQL = load_statements("series")


async def read_windows(
    reader: Reader,
    series: Collection[Series],
    site: Site,
    points: int,
    now_s: float,
    ahead_s: int,
) -> dict[Series, list[tuple[int, Reported]]]:
    """Every series over its last `points` buckets up to now, and later ones up to `ahead_s` that hold something."""
    closed = await read_closing(reader, site)
    found: dict[Series, list[tuple[int, Reported]]] = {}
    for (tier, zone), some in _by_tier_and_zone(series, site).items():
        step = Step(tier.value)
        window = last_spans(now_s, points, step, zone)
        ahead = spans(window[-1].end_s, max(ahead_s, window[-1].end_s), step, zone)
        kpis, areas = {one.kpi for one in some}, {one.area for one in some}
        figures = await read_figures(reader, site, kpis, areas, [*window, *ahead], closed=closed)
        for one in some:
            # What a balance will be later is not known before.
            shown = len(window) if carries(site.kpis, one.kpi) else len(window) + len(ahead)
            found[one] = [
                (span.start_s, value)
                for at, span in enumerate([*window, *ahead][:shown])
                if (value := figures.reported(one.kpi, one.area, None, at)).now.n or at < len(window)
            ]
    return {one: found[one] for one in series}


async def read_points(reader: Reader, points: Collection[Point], site: Site) -> dict[Point, Reported]:
    """The present values of these buckets."""
    if not points:
        return {}
    closed = await read_closing(reader, site)
    found: dict[Point, Reported] = {}
    for (tier, zone), some in _by_tier_and_zone(points, site).items():
        starts = sorted({point.bucket_s for point in some})
        at = {start_s: number for number, start_s in enumerate(starts)}
        buckets: list[Span] = [spans(start_s, start_s + 1, Step(tier.value), zone)[0] for start_s in starts]
        kpis, areas = {point.kpi for point in some}, {point.area for point in some}
        figures = await read_figures(reader, site, kpis, areas, buckets, closed=closed)
        for point in some:
            found[point] = figures.reported(point.kpi, point.area, None, at[point.bucket_s])
    return found


async def read_last_minutes(
    reader: Reader, site: Site, kpis: Collection[str], areas: Collection[AreaId], now_s: float, ahead_s: int
) -> dict[tuple[str, AreaId], int]:
    """The latest minute (its start) in which each KPI had events in each area, as far as LOOKBACK_S goes back."""
    bases = {kpi: [base.id for base in site.kpis.bases_of(kpi)] for kpi in kpis}
    covers = {area: site.areas.cover(area).whole for area in areas}
    rows = await reader.fetch(
        _SQL["read_last_minutes"],
        list({id_ for ids in bases.values() for id_ in ids}),
        list({id_ for ids in covers.values() for id_ in ids}),
        datetime.fromtimestamp(int(now_s) - LOOKBACK_S, UTC),
        datetime.fromtimestamp(ahead_s, UTC),
    )
    minutes: Mapping[tuple[str, AreaId], int] = {(row["kpi"], row["area"]): row["minute_s"] for row in rows}
    return {
        (kpi, area): max(known)
        for kpi in kpis
        for area in areas
        if (known := [minutes[key] for base in bases[kpi] for id_ in covers[area] if (key := (base, id_)) in minutes])
    }


def _by_tier_and_zone(wanted: Collection[_T], site: Site) -> dict[tuple[Tier, ZoneInfo], list[_T]]:
    """What has the same buckets."""
    found: dict[tuple[Tier, ZoneInfo], list[_T]] = {}
    for one in wanted:
        found.setdefault((one.tier, site.areas.zone(one.area)), []).append(one)
    return found
