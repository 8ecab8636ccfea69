"""What must the KPIs be, counted one event at a time by somebody who has not read the code?

Slow and plain on purpose, and without a line of `streams` or of the window arithmetic.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from schemas.event import AnyEvent, IndicatorObserved, type_of
from schemas.filter import Check, Where
from schemas.kpi import Base, Measure
from schemas.site import Site

Bucket = tuple[str, str, str, str, int]
"""Tier, base, area, dimension values, start in epoch seconds. Of `latest` the last dimension value is the place."""

Sums = dict[Bucket, tuple[int, int]]
"""How many events, and the sum of what they measure in millionths."""

_APART = "\x1f"


class Amount(NamedTuple):
    """What a bucket holds. `values` are all that a percentile is of, `items` all different ones."""

    n: int = 0
    total: int = 0
    low: float | None = None
    high: float | None = None
    values: tuple[float, ...] = ()
    items: frozenset[str] = frozenset()


class Moment(NamedTuple):
    """An event, and when the log got it, in milliseconds since the epoch."""

    event: AnyEvent
    logged_ms: int


def sums(events: Iterable[AnyEvent], site: Site) -> Sums:
    """Events and totals of every bucket that holds something."""
    return {bucket: (amount.n, amount.total) for bucket, amount in amounts(countable(events), site).items()}


def countable(events: Iterable[AnyEvent]) -> list[AnyEvent]:
    """The events that count: of those with one identity the first; no drill; nothing that was taken back or replaced,
    also by what came before it; of several replacements for one event, also by way of each other, the last received.
    """
    kept: dict[tuple[str, str], AnyEvent] = {}
    for event in events:
        kept.setdefault((event.source, event.id), event)
    real = [event for event in kept.values() if not event.exercise]
    targets = {
        (event.source, event.id): (event.source, target)
        for event in real
        if (target := event.supersedes or event.withdraws) is not None
    }
    by_way_of: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for event in real:
        at, way = (event.source, event.id), set[tuple[str, str]]()
        while at not in way:
            way.add(at)
            at = targets.get(at, at)
        by_way_of[event.source, event.id] = way
    came = {(event.source, event.id): (event.received_at, event.id) for event in real if event.withdraws is None}

    def is_last(event: tuple[str, str]) -> bool:
        # What hangs on a circle replaces nothing that there is.
        return not by_way_of[event] <= targets.keys() and not any(
            rival not in by_way_of[event]
            and by_way_of[rival] & by_way_of[event]
            and all(came[one] < came[rival] for one in by_way_of[event] - by_way_of[rival] if one in came)
            for rival in came
        )

    gone = set(targets.values())
    alone = came.keys() - targets.keys()
    return [
        event
        for event in real
        for at in [(event.source, event.id)]
        if at in came and at not in gone and (at in alone or is_last(at))
    ]


def amounts(events: Iterable[AnyEvent], site: Site) -> dict[Bucket, Amount]:
    """Every bucket that these events, all of which count, put something into."""
    found: defaultdict[Bucket, list[Amount]] = defaultdict(list)
    latest = {base.id for base in site.kpis.bases if base.measure is Measure.LATEST}
    for event in events:
        for bucket, amount in contributions(event, site):
            found[bucket].append(amount)
    return {bucket: together(parts, latest=bucket[1] in latest) for bucket, parts in found.items()}


def together(parts: Sequence[Amount], *, latest: bool) -> Amount:
    """What is in a bucket into which these were put."""
    if latest:
        # The one that was true last, and of two that were true at once the larger.
        last = max(parts, key=lambda one: (one.high or 0.0, one.total), default=Amount())
        return Amount(sum(one.n for one in parts), last.total, None, last.high)
    return Amount(
        sum(one.n for one in parts),
        sum(one.total for one in parts),
        min((one.low for one in parts if one.low is not None), default=None),
        max((one.high for one in parts if one.high is not None), default=None),
        tuple(sorted(value for one in parts for value in one.values)),
        frozenset(item for one in parts for item in one.items),
    )


def first_reported(log: Sequence[Moment], site: Site) -> dict[Bucket, Amount]:
    """What each bucket held when the watermark of this partition passed its end and the grace; of one that is still
    open what it holds. A bucket of reports closes with the first of them. A bucket that held nothing is left out.
    """
    closing = site.header.closing
    met_s = list(watermarks(log, closing.idle_s))
    latest = {base.id for base in site.kpis.bases if base.measure is Measure.LATEST}
    kept: dict[tuple[str, str], tuple[int, AnyEvent]] = {}
    for at, moment in enumerate(log):
        kept.setdefault((moment.event.source, moment.event.id), (at, moment.event))
    standing = [
        {(one.source, one.id) for one in countable(m.event for m in log[:end])} for end in range(len(log) + 1)
    ]
    given: defaultdict[Bucket, list[tuple[int, AnyEvent, Amount]]] = defaultdict(list)
    for at, event in kept.values():
        for bucket, amount in contributions(event, site):
            given[bucket].append((at, event, amount))
    found: dict[Bucket, Amount] = {}
    for bucket, all_ in given.items():
        if isinstance(all_[0][1], IndicatorObserved):
            counted = (at + 1 for at, event, _ in sorted(all_, key=lambda one: one[0])
                       if (event.source, event.id) in standing[at + 1])  # fmt: skip
            end = next(counted, 0)
        else:
            closes_s = _end(bucket, site) + closing.grace_s
            end = sum(watermark_s < closes_s for watermark_s in met_s)
        parts = [one for at, event, one in all_ if at < end and (event.source, event.id) in standing[end]]
        if parts:
            found[bucket] = together(parts, latest=bucket[1] in latest)
    return found


def watermarks(log: Sequence[Moment], idle_s: int) -> Iterator[float]:
    """What each event meets: the largest event time before it, never beyond the log's clock and never further behind
    it than `idle_s` before the minute that begins.
    """
    watermark_s = 0.0
    for event, logged_ms in log:
        silent_s = (logged_ms - idle_s * 1000) // 60_000 * 60
        watermark_s = max(watermark_s, float(silent_s))
        yield watermark_s
        watermark_s = max(watermark_s, min(event.time.timestamp(), logged_ms / 1000))


_contributed: dict[tuple[int, AnyEvent], list[tuple[Bucket, Amount]]] = {}


def contributions(event: AnyEvent, site: Site) -> list[tuple[Bucket, Amount]]:
    """What one event puts into which buckets."""
    key = (id(site), event)
    if key not in _contributed:
        _contributed[key] = list(_contributions(event, site))
    return _contributed[key]


def _contributions(event: AnyEvent, site: Site) -> Iterator[tuple[Bucket, Amount]]:
    above = _areas(event, site)
    moment, only_days = event.time, False
    if isinstance(event, IndicatorObserved):
        moment, only_days = _begin(event.data.period, above[0][1]), True
    for base in site.kpis.bases:
        if base.event != type_of(event) or not _accepts(base.where, event):
            continue
        if isinstance(event, IndicatorObserved) and base.period != _grain(event.data.period):
            continue
        amount = _measured(event, base)
        if amount is None:
            continue
        given = [getattr(event.data, name) for name in base.dimensions]
        dim = _APART.join("" if one is None else str(one) for one in given)
        if base.measure is Measure.LATEST:
            dim = _APART.join([dim, above[0][0]]) if given else above[0][0]
        for area, zone in above:
            for tier, start_s in _starts(moment, zone).items():
                if tier == "day" or not only_days:
                    yield (tier, base.id, area, dim, start_s), amount


def _measured(event: AnyEvent, base: Base) -> Amount | None:
    if base.measure is Measure.COUNT:
        return Amount(n=1)
    if base.measure is Measure.DISTINCT:
        item = getattr(event.data, base.of or "")
        return None if item is None else Amount(items=frozenset([item]))
    if base.measure is Measure.IN_TIME:
        due = getattr(event.data, base.due or "")
        return None if due is None else Amount(n=1, total=1_000_000 if event.time <= due else 0)
    value = _number(event, base)
    if value is None:
        return None
    millionths = round(Decimal(str(value)) * 1_000_000)
    match base.measure:
        case Measure.SUM | Measure.MEAN:
            return Amount(n=1, total=millionths)
        case Measure.MIN:
            return Amount(n=1, low=value)
        case Measure.MAX:
            return Amount(n=1, high=value)
        case Measure.LATEST:
            return Amount(n=1, total=millionths, high=event.time.timestamp())
        case Measure.PERCENTILE:
            return Amount(n=1, total=millionths, values=(value,))
        case Measure.WITHIN:
            assert base.within_s is not None
            return Amount(n=1, total=1_000_000 if value <= base.within_s else 0)
        case _:
            raise AssertionError(base.measure)


def _number(event: AnyEvent, base: Base) -> float | None:
    if base.since is not None:
        since = getattr(event.data, base.since)
        return None if since is None else (event.time - since) / timedelta(seconds=1)
    value = getattr(event.data, base.value or "")
    return None if value is None else float(value)


def _accepts(where: Where, event: AnyEvent) -> bool:
    tables: Sequence[Mapping[str, Any]] = where if isinstance(where, list) else [where]
    return any(all(_holds(name, condition, event) for name, condition in table.items()) for table in tables or [{}])


def _holds(name: str, condition: Any, event: AnyEvent) -> bool:
    value = getattr(event if name in ("source", "subject") else event.data, name)
    if not isinstance(condition, Check):
        return value in condition if isinstance(condition, list) else value == condition
    assert (condition.more_than, condition.at_most, condition.less_than, condition.starts_with) == (None,) * 4
    return (
        (condition.given is None or condition.given == (value is not None))
        and (condition.is_not is None or value != condition.is_not)
        and (condition.at_least is None or (value is not None and value >= condition.at_least))
    )


def _areas(event: AnyEvent, site: Site) -> list[tuple[str, ZoneInfo]]:
    above: list[tuple[str, ZoneInfo]] = []
    area = next(one for one in site.areas if (one.list_id, one.code) == (event.area_list, event.area))
    while True:
        above.append((area.id, ZoneInfo(area.zone)))
        if area.parent is None:
            return above
        area = site.areas[area.parent]


def _grain(period: str) -> str:
    if "Q" in period:
        return "quarter"
    return ("year", "month", "day")[period.count("-")]


def _begin(period: str, zone: ZoneInfo) -> datetime:
    year, *rest = period.split("-")
    if rest and rest[0].startswith("Q"):
        rest = [str(3 * int(rest[0][1:]) - 2)]
    month, day = (*map(int, rest), 1, 1)[:2]
    return datetime(int(year), month, day, tzinfo=zone)


def _starts(moment: datetime, zone: ZoneInfo) -> dict[str, int]:
    """Walks back minute by minute until the clock on the wall shows another hour, and another date."""
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return {
        "minute": int(minute.timestamp()),
        "hour": _walk(minute, zone, "%Y-%m-%d %H", 59 + 60, -1),
        "day": _walk(minute, zone, "%Y-%m-%d", 26 * 60, -1),
    }


def _end(bucket: Bucket, site: Site) -> int:
    """Walks on in the same way, from the bucket's start to its last minute."""
    tier, _, area, _, start_s = bucket
    start = datetime.fromtimestamp(start_s, UTC)
    zone = ZoneInfo(site.areas[area].zone)  # type: ignore[index]
    match tier:
        case "minute":
            return start_s + 60
        case "hour":
            return _walk(start, zone, "%Y-%m-%d %H", 59 + 60, 1) + 60
        case _:
            return _walk(start, zone, "%Y-%m-%d", 26 * 60, 1) + 60


_walked: dict[tuple[int, str, str, int], int] = {}


def _walk(minute: datetime, zone: ZoneInfo, shown: str, minutes_max: int, way: int) -> int:
    key = (int(minute.timestamp()), zone.key, shown, way)
    if key not in _walked:
        local = minute.astimezone(zone)
        wall = local.strftime(shown)
        last = minute
        for steps in range(1, minutes_max + 1):
            there = minute + way * timedelta(minutes=steps)
            at = there.astimezone(zone)
            # A repeated hour is an hour of its own, where the clock went back by a whole one.
            repeated = "%H" in shown and abs(at.utcoffset() - local.utcoffset()) == timedelta(hours=1)  # type: ignore[operator]
            if at.strftime(shown) != wall or repeated:
                break
            last = there
        _walked[key] = int(last.timestamp())
    return _walked[key]
