"""What must the KPIs be, counted one event at a time by somebody who has not read the code?

Slow and plain on purpose, and without a line of `streams` or of the window arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from schemas.event import AnyEvent, type_of
from schemas.kpi import Kpi, Measure
from schemas.site import Site

Bucket = tuple[str, str, str, str, int]
"""Tier, KPI, area, dimension value, start in epoch seconds."""

Sums = dict[Bucket, tuple[int, float]]
"""How many events, and the sum of what they weigh."""


def sums(events: Iterable[AnyEvent], site: Site) -> Sums:
    """Every bucket that holds something."""
    found: defaultdict[Bucket, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for event in events:
        if event.exercise or event.supersedes is not None or event.withdraws is not None:
            continue
        for kpi in site.kpis.kpis:
            if kpi.event != type_of(event):
                continue
            weight = _weight(event, kpi)
            if weight is None:
                continue
            dim = "" if kpi.dimension is None else getattr(event.data, kpi.dimension) or ""
            for area, zone in _areas(event, site):
                for tier, start_s in _starts(event.time, zone).items():
                    n, total = found[tier, kpi.id, area, dim, start_s]
                    found[tier, kpi.id, area, dim, start_s] = (n + 1, total + weight)
    return dict(found)


def _weight(event: AnyEvent, kpi: Kpi) -> float | None:
    for name, wanted in kpi.where.items():
        if getattr(event.data, name) != wanted:
            return None
    if kpi.measure is Measure.IN_TIME:
        assert kpi.due is not None
        due = getattr(event.data, kpi.due)
        return None if due is None else float(event.time <= due)
    if kpi.value is None:
        return 1.0
    value = getattr(event.data, kpi.value)
    return None if value is None else float(value)


def _areas(event: AnyEvent, site: Site) -> list[tuple[str, ZoneInfo]]:
    above: list[tuple[str, ZoneInfo]] = []
    code = event.area
    while True:
        area = site.areas[code]
        above.append((area.code, ZoneInfo(area.zone)))
        if area.parent is None:
            return above
        code = area.parent


def _starts(moment: datetime, zone: ZoneInfo) -> dict[str, int]:
    """Walks back minute by minute until the clock on the wall shows another hour, and another date."""
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return {
        "minute": int(minute.timestamp()),
        "hour": _walk_back(minute, zone, "%Y-%m-%d %H", 59 + 60),
        "day": _walk_back(minute, zone, "%Y-%m-%d", 26 * 60),
    }


_walked: dict[tuple[int, str, str], int] = {}


def _walk_back(minute: datetime, zone: ZoneInfo, shown: str, minutes_max: int) -> int:
    key = (int(minute.timestamp()), zone.key, shown)
    if key not in _walked:
        local = minute.astimezone(zone)
        offset = local.utcoffset()
        wall = local.strftime(shown)
        start = minute
        for back in range(1, minutes_max + 1):
            before = (minute - timedelta(minutes=back)).astimezone(zone)
            # A repeated hour is an hour of its own, where the clock went back by a whole one.
            repeated = "%H" in shown and before.utcoffset() - offset == timedelta(hours=1)  # type: ignore[operator]
            if before.strftime(shown) != wall or repeated:
                break
            start = minute - timedelta(minutes=back)
        _walked[key] = int(start.timestamp())
    return _walked[key]
