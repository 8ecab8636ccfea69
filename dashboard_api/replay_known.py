"""What was known at a past moment, over any span: of a month that was running then, of an area, of a table of areas?

A span that had ended is told as it was then, and of one that was running what had closed of it (see `replay_figures`,
which tells the same bucket by bucket). Whatever puts figures together reads them by this as it reads those of now, so
that an overview of the past is made by the code that makes the present one.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from math import inf
from zoneinfo import ZoneInfo

from msgspec import Struct
from msgspec.structs import replace

from dashboard_api.closing import ClosedUntil
from dashboard_api.database import Reader
from dashboard_api.latest import Heard, read_heard
from dashboard_api.replay_figures import Late, read_closed_at, read_late
from dashboard_api.reported import Known, Reported, closed_balance
from dashboard_api.spans import BEGINNING_S, DAY_S, Span
from dashboard_api.touched import carries
from dashboard_api.values import Figures, KnownThen, read_figures
from schemas.event import AreaId
from schemas.kpi import Kpi, Measure, Value
from schemas.site import Site
from schemas.window import MINUTE_S, day_start, hour_start

_NOTHING = Value(value=None, n=0)
_UNKNOWN = Reported(now=_NOTHING, known=Known.NONE)


class AsOf(KnownThen, frozen=True):
    """What had closed at `moment`, and what came after it without being marked in its bucket. `now` is the real time,
    which says what is still kept.
    """

    moment: datetime
    now: datetime
    late: Late

    async def figures(
        self,
        reader: Reader,
        site: Site,
        kpis: Collection[str],
        areas: Collection[AreaId],
        spans: Sequence[Span],
        by: str | None,
        where: Mapping[str, str],
    ) -> Figures:
        """All that was known of these KPIs, areas of one zone, and spans."""
        plain_closed = ClosedUntil(self.closed_s)
        groups: dict[float, list[str]] = {}
        for kpi in kpis:
            groups.setdefault(self.until_s(site.kpis.bases_of(kpi)), []).append(kpi)
        read: dict[str, _Read] = {}
        for until_s, ids in groups.items() if areas else ():
            zone = site.areas.zone(next(iter(areas)))
            told = [told_of(span, until_s, site, zone, self.now) for span in spans]
            parts = list(dict.fromkeys(part for part in told if part is not None))
            running = [Span(min(BEGINNING_S, part.start_s), part.end_s) for part in parts]
            plain = [id_ for id_ in ids if not carries(site.kpis, id_)]
            sides = {
                side
                for id_ in ids
                if _is_balance(site, id_)
                for side in site.kpis.parts_of(id_)
                if not carries(site.kpis, side)
            }

            async def found(some: Collection[str], over: Sequence[Span]) -> Figures:
                asked = [*over] if some else list[Span]()
                return await read_figures(reader, site, some, areas, asked, by=by, where=where, closed=plain_closed)

            one = _Read(told, parts, await found(plain, parts), await found(sides, running), frozenset(sides))
            read |= dict.fromkeys(ids, one)
        return _PastFigures(self, site, kpis, spans, by, read)


class _Read(Struct, frozen=True):
    """What was read for indicators that had closed equally far: of each span the part that is told, and the figures
    of all different parts. `of_sides` are those of what balances are put together from, over all their time.
    """

    told: Sequence[Span | None]
    parts: Sequence[Span]
    plain: Figures
    of_sides: Figures
    sides: frozenset[str]


class _PastFigures(Figures):
    """Figures as they were known."""

    def __init__(
        self,
        as_of: AsOf,
        site: Site,
        kpis: Collection[str],
        spans: Sequence[Span],
        by: str | None,
        read: Mapping[str, _Read],
    ) -> None:
        super().__init__(site, kpis, spans, by, {}, as_of)
        self._as_of = as_of
        self._site = site
        self._read = read
        self._over = spans

    def groups(self, kpi_id: str, area: AreaId) -> list[str | None]:
        """The dimension values that occur in what was read, by what is known now."""
        read = self._read[kpi_id]
        if _is_balance(self._site, kpi_id):
            found = [group for side in read.sides for group in read.of_sides.groups(side, area)]
            return list(dict.fromkeys(found)) or [None]
        return [None] if carries(self._site.kpis, kpi_id) else read.plain.groups(kpi_id, area)

    def reported(self, kpi_id: str, area: AreaId, group: str | None, at: int) -> Reported:
        """The value that was known of the span with this index, and how."""
        read, span, late = self._read[kpi_id], self._over[at], self._as_of.late
        part = read.told[at]
        if part is None or late.hides(self._site, kpi_id, area, span):
            return _UNKNOWN
        number = read.parts.index(part)
        if _is_balance(self._site, kpi_id):
            found = self._balance(read, kpi_id, area, group, number)
        elif carries(self._site.kpis, kpi_id):
            found = None
        else:
            found = read.plain.reported(kpi_id, area, group, number)
        if found is None:
            return _UNKNOWN
        is_later = found.corrected_at is not None and found.corrected_at > self._as_of.moment
        value = (found.first or _NOTHING) if is_later else found.now
        if part != span:
            return Reported(now=value, known=Known.PART, until_s=part.end_s)
        if is_later:
            return Reported(now=value, first=value, closed=True, known=Known.FIRST)
        return replace(found, closed=True, known=Known.FINAL)

    def _balance(self, read: _Read, kpi_id: str, area: AreaId, group: str | None, number: int) -> Reported | None:
        both = self._site.kpis.parts_of(kpi_id)
        if any(side not in read.sides for side in both):
            return None
        plus, minus = (read.of_sides.reported(side, area, group, number) for side in both)
        return closed_balance(plus, minus)


def told_of(span: Span, until_s: float, site: Site, zone: ZoneInfo, now: datetime) -> Span | None:
    """What of a span had closed, as far as that is stored by itself; None: nothing. At the end of what had closed
    there are minutes as long as these are kept, then hours, then days.
    """
    if span.end_s <= until_s:
        return span
    if until_s <= span.start_s:
        return None
    age_s, kept = now.timestamp() - until_s, site.header.retention
    if age_s + DAY_S < kept.minute_days * DAY_S:
        end_s = int(until_s) // MINUTE_S * MINUTE_S
    elif age_s + DAY_S < kept.hour_days * DAY_S:
        end_s = hour_start(int(until_s), zone)
    else:
        end_s = day_start(int(until_s), zone)
    return Span(span.start_s, end_s) if end_s > span.start_s else None


def _is_balance(site: Site, kpi_id: str) -> bool:
    return kpi_id in site.kpis and site.kpis[kpi_id].measure is Measure.BALANCE


async def read_as_of(reader: Reader, site: Site, kpis: Collection[str], moment: datetime, now: datetime) -> AsOf:
    """What has to be known to read figures of these KPIs as they were known at a moment."""
    closed = await read_closed_at(reader, moment)
    return AsOf(closed_s=closed.closed_s, moment=moment, now=now, late=await read_late(reader, site, kpis, moment))


async def heard_then(
    reader: Reader, site: Site, kpis: Sequence[Kpi], area: AreaId, until_s: float, as_of: AsOf
) -> Mapping[str, Heard]:
    """When there had last been something of each base, as far as had closed, and before anything that was reported
    later: never news from after the moment, and maybe not the newest before it.
    """
    groups: dict[float, list[Kpi]] = {}
    for kpi in kpis:
        bases = site.kpis.bases_of(kpi.id)
        known_s = min(until_s, as_of.until_s(bases), as_of.late.begins_s(site, kpi.id, area))
        if known_s != -inf:
            groups.setdefault(known_s, []).append(kpi)
    found: dict[str, Heard] = {}
    for known_s, some in groups.items():
        for base, heard in (await read_heard(reader, site, some, area, known_s)).items():
            # A base that feeds indicators which had closed to different moments: the earlier one says less.
            found[base] = min(found.get(base, heard), heard, key=lambda one: (one.day_s, one.minute_s or 0))
    return found
