"""What was known of an indicator at a past moment, bucket by bucket?

Buckets keep what they hold now, and what they held when they closed. So of a bucket that had closed by then it is
known what it held, unless it was corrected since: then what it closed with is told, and said to be that. Of one that
was still open it is known what had closed in it: the minutes before the moment. What came later is never told as
known then: where no such value was kept there is none.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

import msgspec
from msgspec import Struct

from dashboard_api.closing import ClosedUntil
from dashboard_api.database import Reader
from dashboard_api.replay_counted import read_uncounted
from dashboard_api.reported import Known, Reported, closed_balance
from dashboard_api.series import read_last_minutes
from dashboard_api.spans import BEGINNING_S, DAY_S, Span, Step, last_spans
from dashboard_api.statements import load_statements
from dashboard_api.subscription import Series
from dashboard_api.touched import carries
from dashboard_api.values import read_figures
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.event import AnyEvent, AreaId
from schemas.exercise import is_drill
from schemas.kpi import Base, Measure, Value, filter_of
from schemas.site import Site
from schemas.topics import INPUTS
from schemas.window import MINUTE_S, Tier, hour_start

REPORTS_MAX = 5_000
"""Reports that came later and are looked at; with more of them nothing is told of what they are about."""

_OBSERVED = "ioc.indicator.observed.v1"
_ENVELOPE = frozenset({"source", "subject"})
_SQL = load_statements("replay")


class PastPoint(Struct, frozen=True):
    """A bucket as it was known. `until_s` is how far a part reaches."""

    bucket_s: int
    value: Value
    known: Known
    until_s: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """As messages have it."""
        told: dict[str, Any] = {"bucket": self.bucket_s, **msgspec.to_builtins(self.value), "known": self.known.value}
        return told if self.until_s is None else told | {"until": self.until_s}


class PastSeries(Struct, frozen=True):
    """A series as it was known, oldest bucket first, and the last minute with events that was known."""

    points: Sequence[PastPoint]
    last_minute_s: int | None


_NOTHING = Value(value=None, n=0)


async def read_closed_at(reader: Reader, moment: datetime) -> ClosedUntil:
    """Up to when each topic had closed, as it was noted last by that moment."""
    rows = await reader.fetch(_SQL["read_closed"], moment)
    return ClosedUntil(
        {topic.name: row["closed_s"] for row in rows for topic in INPUTS if row["topic"].endswith(topic.name)}
    )


async def read_past(
    reader: Reader, site: Site, wanted: Collection[Series], points: int, moment: datetime, now: datetime
) -> dict[Series, PastSeries]:
    """Every series over its last `points` buckets up to the moment, as it was known then."""
    if not wanted:
        return {}
    closed = await read_closed_at(reader, moment)
    late = await read_late(reader, site, {one.kpi for one in wanted}, moment)
    found: dict[Series, PastSeries] = {}
    groups: dict[tuple[Tier, Any, float], list[Series]] = {}
    for one in wanted:
        until_s = closed.until_s(site.kpis.bases_of(one.kpi))
        groups.setdefault((one.tier, site.areas.zone(one.area), until_s), []).append(one)
    for (tier, zone, until_s), some in groups.items():
        window = last_spans(moment.timestamp(), points, Step(tier.value), zone)
        told = {span: _told(span, until_s, site, zone, now) for span in window}
        kpis, areas = list({one.kpi for one in some}), list({one.area for one in some})
        reported = await _reported(reader, site, kpis, areas, [part for part in told.values() if part], closed)
        minutes = (
            {}
            if until_s == -inf
            else await read_last_minutes(reader, site, kpis, areas, moment.timestamp(), int(until_s))
        )

        # Thousands of values: the live feed goes on meanwhile.
        points_by = await asyncio.to_thread(_points, site, some, told, late, reported, moment)
        for one, put_together in zip(some, points_by, strict=True):
            found[one] = PastSeries(put_together, minutes.get((one.kpi, one.area)))
    return found


def _points(
    site: Site,
    some: Sequence[Series],
    told: Mapping[Span, Span | None],
    late: "Late",
    reported: Callable[[Series, Span], Reported | None],
    moment: datetime,
) -> list[list[PastPoint]]:
    return [
        [
            PastPoint(span.start_s, _NOTHING, Known.NONE)
            if part is None or late.hides(site, one.kpi, one.area, span) or (of := reported(one, part)) is None
            else _point(span, of, part, moment)
            for span, part in told.items()
        ]
        for one in some
    ]


async def _reported(
    reader: Reader,
    site: Site,
    kpis: Sequence[str],
    areas: Sequence[AreaId],
    parts: Sequence[Span],
    closed: ClosedUntil,
) -> Callable[[Series, Span], Reported | None]:
    """The value of a series in each of these spans. None where it looks back at what may have been corrected since
    without that being noted: who is silent, and shares of such.

    A balance is put together here, from all that its sides have ever had: of those it is known what was corrected.
    """
    catalogue, at = site.kpis, {part: number for number, part in enumerate(parts)}
    plain = [kpi for kpi in kpis if not carries(catalogue, kpi)]
    balances = {kpi: catalogue.parts_of(kpi) for kpi in kpis if catalogue[kpi].measure is Measure.BALANCE}
    sides = list({side for both in balances.values() for side in both if not carries(catalogue, side)})
    running = [Span(min(BEGINNING_S, part.start_s), part.end_s) for part in parts]
    figures = await read_figures(reader, site, plain, areas, parts if plain else [], closed=closed)
    of_sides = await read_figures(reader, site, sides, areas, running if sides else [], closed=closed)

    def reported(one: Series, part: Span) -> Reported | None:
        if one.kpi not in balances:
            return None if carries(catalogue, one.kpi) else figures.reported(one.kpi, one.area, None, at[part])
        if any(side not in sides for side in balances[one.kpi]):
            return None
        plus, minus = (of_sides.reported(side, one.area, None, at[part]) for side in balances[one.kpi])
        return closed_balance(plus, minus)

    return reported


def _told(span: Span, until_s: float, site: Site, zone: Any, now: datetime) -> Span | None:  # noqa: ANN401
    """What of a bucket had closed, as far as that is stored by itself; None: nothing."""
    if span.end_s <= until_s:
        return span
    if until_s <= span.start_s:
        return None
    age_s, kept = now.timestamp() - span.start_s, site.header.retention
    if age_s < kept.minute_days * DAY_S:
        end_s = int(until_s) // MINUTE_S * MINUTE_S
    elif age_s < kept.hour_days * DAY_S:
        end_s = hour_start(int(until_s), zone)
    else:
        return None
    return Span(span.start_s, end_s) if end_s > span.start_s else None


def _point(span: Span, found: Reported, part: Span, moment: datetime) -> PastPoint:
    is_later = found.corrected_at is not None and found.corrected_at > moment
    value = found.now
    if is_later:
        value = found.first or _NOTHING
    if part != span:
        return PastPoint(span.start_s, value, Known.PART, part.end_s)
    return PastPoint(span.start_s, value, Known.FIRST if is_later else Known.FINAL)


class Late:
    """What came after the moment without being marked in its bucket: reports of periods, whose bucket closes with the
    first of them, and what a back-fill has counted.
    """

    def __init__(self, filled: Collection[str], reports: Mapping[str, Sequence[tuple[AreaId, float]]]) -> None:
        self._filled = frozenset(filled)
        self._reports = reports

    def hides(self, site: Site, kpi: str, shown: AreaId, span: Span) -> bool:
        """Whether what the bucket holds now may be of later."""
        for base in site.kpis.bases_of(kpi):
            if base.id in self._filled:
                return True
            for area, at_s in self._reports.get(base.id, ()):
                # A report stands until the next one of its place, so it counts in later buckets of nothing else.
                if span.start_s <= at_s < span.end_s and _touches(site, area, shown):
                    return True
        return False

    def begins_s(self, site: Site, kpi: str, shown: AreaId) -> float:
        """Before which moment nothing is of later, for as long as anything is; inf: nowhere is anything of later."""
        bases = site.kpis.bases_of(kpi)
        if any(base.id in self._filled for base in bases):
            return -inf
        told = (one for base in bases for one in self._reports.get(base.id, ()))
        return min((at_s for area, at_s in told if _touches(site, area, shown)), default=inf)


def _touches(site: Site, area: AreaId, shown: AreaId) -> bool:
    if area not in site.areas:
        return True
    return shown in site.areas.touched_by(area)


async def read_late(reader: Reader, site: Site, kpis: Collection[str], moment: datetime) -> Late:
    """What came after the moment of these KPIs, and is not marked in its bucket."""
    bases = {base.id: base for kpi in kpis for base in site.kpis.bases_of(kpi)}
    rows = await reader.fetch(_SQL["read_filled"], list(bases), moment)
    observed = [base for base in bases.values() if base.event == _OBSERVED]
    reports: dict[str, list[tuple[AreaId, float]]] = {}
    hidden = {row["kpi"] for row in rows} | await read_uncounted(reader, bases, moment)
    for exercise in {is_drill(base.id) for base in observed}:
        some = [base for base in observed if is_drill(base.id) is exercise]
        found = await reader.fetch(
            _SQL["read_reports"],
            *(datetime.fromtimestamp(0, UTC), moment, moment, REPORTS_MAX, _OBSERVED, exercise),
        )
        if len(found) == REPORTS_MAX:
            hidden |= {base.id for base in some}
            continue
        for row in found:
            event = decode(row["body"], SEALED_BYTES_MAX)
            for base in some:
                if _counts(base, event):
                    reports.setdefault(base.id, []).append((row["area"], row["window_time"].timestamp()))
    return Late(hidden, reports)


def _counts(base: Base, event: AnyEvent) -> bool:
    filter_ = filter_of(base)
    values = [getattr(event if name in _ENVELOPE else event.data, name) for name in filter_.fields]
    return filter_.accepts(values)
