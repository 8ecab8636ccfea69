"""How does an area stand now, in all its indicators?

What events stream in for has a value for the bucket that is running and for the one that closed last. What is
reported for periods stands in each place until the place's next report, and these come together to one value. Of what
is true until something else is measured, it is the value of the newest day that has one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from dashboard_api.closing import ClosedUntil
from dashboard_api.database import Reader
from dashboard_api.export import BUCKET_COLUMNS, Cell, Column, Kind, Sheet, bucket_cells, name_columns, names_cells
from dashboard_api.reported import Reported
from dashboard_api.spans import DAY_S, Span, Step, back, last_spans, spans
from dashboard_api.statements import load_statements
from dashboard_api.tables import Judged, judged_bucket
from dashboard_api.touched import carries
from dashboard_api.values import Figures, read_figures
from schemas.event import AreaId, IndicatorObserved
from schemas.kpi import Catalogue, Kpi, Measure
from schemas.period import Grain
from schemas.site import Site
from schemas.window import MINUTE_S

LOOKBACK_DAYS = 400
"""How far back a value is looked for: a year, and until its report comes; longer where a KPI stays fresh longer."""

_PERIOD_DAYS = {Grain.DAY: 1, Grain.MONTH: 31, Grain.QUARTER: 92, Grain.YEAR: 366}

CLOSED_AMONG = 8
"""Among so many buckets back the last closed one is looked for; streams that lag further behind have none."""

LONGEST_DAY_S = 25 * 3600

_OBSERVED = str(IndicatorObserved.__struct_config__.tag)
_SQL = load_statements("latest")


class Freshness(StrEnum):
    """Whether there was news within the KPI's `freshness_s`."""

    FRESH = "fresh"
    STALE = "stale"
    NEVER = "never"  # nothing as far as it was looked back


class Latest(Struct, frozen=True, kw_only=True):
    """One indicator now. `now` is the running bucket, or the newest day with a report; None: there is no report. Of
    what is reported for periods it is of that day what each place reported last, for then or for an earlier period.

    `last` is the bucket that closed last; None where none of the last few has, and of what is reported. `heard_at` is
    the end of the last minute with events, or the start of the period reported for; it is stale since `stale_since`.
    """

    kpi: str
    names: dict[str, str]
    unit: str
    measure: Measure
    pillar: str | None
    direction: Literal["higher", "lower"] | None
    now: Judged | None
    last: Judged | None
    freshness: Freshness
    freshness_s: int
    heard_at: datetime | None
    stale_since: datetime | None


class LatestView(Struct, frozen=True, kw_only=True):
    """An area's indicators, in the order asked for, by default that of the site pack."""

    area: str
    names: dict[str, str]
    zone: str
    step: Step
    position: str
    as_of: datetime
    items: list[Latest]


class Heard(NamedTuple):
    """When there was last something of a base: the start of the day, and the end of the minute if it is known."""

    day_s: int
    minute_s: int | None


def is_reported(catalogue: Catalogue, kpi_id: str) -> bool:
    """Whether what was said last holds until something else is said, so that a bucket without news says nothing."""
    return not carries(catalogue, kpi_id) and any(
        base.measure is Measure.LATEST or base.event == _OBSERVED for base in catalogue.bases_of(kpi_id)
    )


def is_told(catalogue: Catalogue, kpi_id: str) -> bool:
    """Whether it is read from nothing but what each place reported last. Not every place reports on one day."""
    return all(base.measure is Measure.LATEST and base.event == _OBSERVED for base in catalogue.bases_of(kpi_id))


async def read_latest(
    reader: Reader, site: Site, kpis: Sequence[Kpi], area: AreaId, step: Step, now: datetime, closed: ClosedUntil
) -> list[Latest]:
    """Each of these KPIs as it stands now."""
    zone, now_s = site.areas.zone(area), now.timestamp()
    heard = await read_heard(reader, site, kpis, area, now_s)
    streamed = [kpi.id for kpi in kpis if not is_reported(site.kpis, kpi.id)]
    recent = last_spans(now_s, CLOSED_AMONG, step, zone)
    flowing = await _figures(reader, site, streamed, area, recent, closed)
    days: dict[str, Span] = {}
    for kpi in kpis:
        if kpi.id not in streamed and (newest := newest_day(site.kpis, kpi.id, heard)) is not None:
            days[kpi.id] = spans(newest, newest + 1, Step.DAY, zone)[0]
    measured_on = {kpi_id: day for kpi_id, day in days.items() if not is_told(site.kpis, kpi_id)}
    reported_on = sorted(set(measured_on.values()), key=lambda span: span.start_s)
    standing = await _figures(reader, site, list(measured_on), area, reported_on, closed)
    at = {span: number for number, span in enumerate(reported_on)}
    told = await _read_told(
        reader, site, [kpi for kpi in kpis if kpi.id in days.keys() - measured_on], area, days, closed
    )

    def bucket(figures: Figures, kpi: Kpi, span: Span, number: int) -> Judged:
        return judged_bucket(site, kpi, area, span, figures.reported(kpi.id, area, None, number), zone)

    items: list[Latest] = []
    for kpi in kpis:
        last = None
        if kpi.id in told:
            present = judged_bucket(site, kpi, area, days[kpi.id], told[kpi.id], zone)
        elif kpi.id in days:
            present = bucket(standing, kpi, days[kpi.id], at[days[kpi.id]])
        elif is_reported(site.kpis, kpi.id):
            present = None
        else:
            present = bucket(flowing, kpi, recent[-1], len(recent) - 1)
            bases = site.kpis.bases_of(kpi.id)
            ended = [n for n, span in enumerate(recent) if closed.is_closed(bases, span.end_s)]
            last = bucket(flowing, kpi, recent[ended[-1]], ended[-1]) if ended else None
        items.append(_item(kpi, present, last, last_heard_s(site.kpis, kpi.id, heard), now_s))
    return items


async def _read_told(
    reader: Reader, site: Site, kpis: Sequence[Kpi], area: AreaId, days: Mapping[str, Span], closed: ClosedUntil
) -> dict[str, Reported]:
    """What each place reported last, as far as it is looked back from the newest day that any KPI has a report on."""
    zone, end_s = site.areas.zone(area), max((days[kpi.id].end_s for kpi in kpis), default=0)
    by_days: dict[int, list[str]] = {}
    for kpi in kpis:
        by_days.setdefault(standing_days(site.kpis, kpi), []).append(kpi.id)
    told: dict[str, Reported] = {}
    for back_days, ids in by_days.items():
        figures = await _figures(reader, site, ids, area, [Span(back(end_s, back_days, zone), end_s)], closed)
        for id_ in ids:
            found = figures.reported(id_, area, None, 0)
            # A correction of what has been replaced since is none of the value that stands.
            is_corrected = found.first != found.now
            told[id_] = found if is_corrected else msgspec.structs.replace(found, corrected_at=None)
    return told


def standing_days(catalogue: Catalogue, kpi: Kpi) -> int:
    """For how long a report stands where no newer one has come: as long as it is fresh, and two periods at least."""
    periods = [_PERIOD_DAYS[base.period] for base in catalogue.bases_of(kpi.id) if base.period is not None]
    return max(-(-kpi.freshness_s // DAY_S), 2 * max(periods, default=1))


def _lookback_s(kpi: Kpi) -> int:
    return max(LOOKBACK_DAYS * DAY_S, kpi.freshness_s)


async def _figures(
    reader: Reader, site: Site, kpis: Collection[str], area: AreaId, over: Sequence[Span], closed: ClosedUntil
) -> Figures:
    return await read_figures(reader, site, kpis, [area], over if kpis else [], closed=closed)


async def read_heard(
    reader: Reader, site: Site, kpis: Sequence[Kpi], area: AreaId, now_s: float
) -> Mapping[str, Heard]:
    """When there was last something of each base that these KPIs are read from."""
    cover = site.areas.cover(area)
    bases = {base.id: base for kpi in kpis for base in site.kpis.bases_of(kpi.id)}
    lookback_s = max((_lookback_s(kpi) for kpi in kpis), default=0)
    rows = await reader.fetch(
        _SQL["read_newest_days"],
        list(bases),
        [*cover.whole, *cover.partial, *cover.apart],
        datetime.fromtimestamp(max(0.0, now_s - lookback_s), UTC),
        datetime.fromtimestamp(now_s, UTC),
    )
    days: dict[str, int] = {}
    for row in rows:
        days[row["base"]] = max(days.get(row["base"], 0), int(row["bucket"].timestamp()))
    # Reports of periods have no minutes. Of other bases the areas that had the newest day tell the minute.
    asked = [
        row
        for row in rows
        if int(row["bucket"].timestamp()) == days[row["base"]] and bases[row["base"]].event != _OBSERVED
    ]
    starts = [row["bucket"] for row in asked]
    stops = [datetime.fromtimestamp(min(now_s, start.timestamp() + LONGEST_DAY_S), UTC) for start in starts]
    minutes = await reader.fetch(
        _SQL["read_newest_minutes"],
        [row["base"] for row in asked],
        [row["area"] for row in asked],
        starts,
        stops,
        min(starts, default=None),
        max(stops, default=None),
    )
    ends: dict[str, int] = {}
    for row in minutes:
        ends[row["base"]] = max(ends.get(row["base"], 0), int(row["bucket"].timestamp()) + MINUTE_S)
    return {base: Heard(day_s, ends.get(base)) for base, day_s in days.items()}


def newest_day(catalogue: Catalogue, kpi_id: str, heard: Mapping[str, Heard]) -> int | None:
    """The newest day for which every base has something: a numerator without its denominator is no value yet."""
    bases = catalogue.bases_of(kpi_id)
    if any(base.id not in heard for base in bases):
        return None
    return min(heard[base.id].day_s for base in bases)


def last_heard_s(catalogue: Catalogue, kpi_id: str, heard: Mapping[str, Heard]) -> int | None:
    known = [heard[base.id] for base in catalogue.bases_of(kpi_id) if base.id in heard]
    return max((one.day_s if one.minute_s is None else one.minute_s for one in known), default=None)


def freshness_of(kpi: Kpi, heard_s: int | None, now_s: float) -> Freshness:
    """Whether what was heard then is still fresh."""
    if heard_s is None:
        return Freshness.NEVER
    return Freshness.STALE if heard_s + kpi.freshness_s < now_s else Freshness.FRESH


def _item(kpi: Kpi, present: Judged | None, last: Judged | None, heard_s: int | None, now_s: float) -> Latest:
    freshness = freshness_of(kpi, heard_s, now_s)
    is_stale = freshness is Freshness.STALE
    return Latest(
        kpi=kpi.id,
        names=kpi.names,
        unit=kpi.unit,
        measure=kpi.measure,
        pillar=kpi.pillar,
        direction=kpi.direction,
        now=present,
        last=last,
        freshness=freshness,
        freshness_s=kpi.freshness_s,
        heard_at=None if heard_s is None else datetime.fromtimestamp(heard_s, UTC),
        stale_since=datetime.fromtimestamp(heard_s + kpi.freshness_s, UTC)
        if heard_s is not None and is_stale
        else None,
    )


def latest_sheet(name: str, area: str, items: Sequence[Latest], languages: Sequence[str]) -> Sheet:
    """A row for each indicator; those of the bucket that closed last are in JSON only."""
    columns = (
        *(Column("area"), Column("kpi"), *name_columns(languages), Column("unit"), *BUCKET_COLUMNS),
        *(Column("target", Kind.NUMBER), Column("attainment", Kind.NUMBER), Column("status"), Column("reason")),
        *(Column("freshness"), Column("heard_at", Kind.INSTANT), Column("stale_since", Kind.INSTANT)),
    )
    rows: list[tuple[Cell, ...]] = []
    for one in items:
        found = one.now
        cells = (None,) * len(BUCKET_COLUMNS) if found is None else bucket_cells(found)
        judged = (None,) * 4 if found is None else (found.target, found.attainment, found.status, found.reason)
        rows.append(
            (
                *(area, one.kpi, *names_cells(one.names, languages), one.unit, *cells, *judged),
                *(one.freshness, one.heard_at, one.stale_since),
            )
        )
    return Sheet(name, columns, rows)
