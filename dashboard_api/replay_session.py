"""What is one client told that watches the past again?

The messages are those of the live feed: a snapshot as of where the replay begins, changes as its moment goes on, and
heartbeats that carry the moment. The page needs nothing new but the time that it shows.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from dashboard_api import replay_reading as reading
from dashboard_api.config import DashboardConfig
from dashboard_api.database import Reader
from dashboard_api.live_cases import seen_units
from dashboard_api.messages import change_text, handling_text, snapshot_text
from dashboard_api.replay import PastWish, ReplayClock, position_of, version_of
from dashboard_api.replay_figures import PastSeries, read_closed_at, read_past
from dashboard_api.subscription import Series, restricted
from schemas.case import Case
from schemas.command import Actor

LOOKBACK = timedelta(days=7)
"""How far back the list of events reaches."""

FIGURES_S = 2.0
"""Between two looks at figures: all that are shown are read anew."""


class Stand(Struct, frozen=True, kw_only=True):
    """What a client shows that has been told everything up to `at`; `figures_at` is the real time when figures were
    read.
    """

    at: datetime
    cases: frozenset[str] = frozenset()
    series: Mapping[Series, PastSeries] = {}
    closed: object = None
    figures_at: datetime | None = None


class Told(NamedTuple):
    """What a client is to be told, None: nothing is different; and what it shows then."""

    text: str | None
    stand: Stand


class Replayed:
    """One replay: what its client shows by now. Nothing here waits but for the database.

    `begin` and `go_on` change nothing: whoever tells the client what they return says so by `keep`. So what cannot be
    read to its end is read again from where the client is.
    """

    def __init__(self, config: DashboardConfig, wish: PastWish, actor: Actor) -> None:
        self._config = config
        self._actor = actor
        self._shown = restricted(wish.shown, config.site, actor)
        self.clock = ReplayClock(course=wish.course, begun_at=config.now())
        self.has_ended = False
        self._ends_at: datetime | None = None
        self._stand = Stand(at=wish.course.start)

    @property
    def at(self) -> datetime:
        """Up to when the client has been told everything."""
        return self._stand.at

    def keep(self, told: Told) -> None:
        """The client is told this."""
        self._stand = told.stand

    def moment(self, now: datetime, settled: datetime) -> datetime:
        """Where the replay is by now: no further than everything is committed that belongs before it."""
        wanted = self.clock.moment(now)
        if self._ends_at is None and self.clock.has_caught_up(now):
            self._ends_at = wanted
        self.has_ended = self._ends_at is not None and settled >= self._ends_at
        return min(wanted, settled.astimezone(UTC))

    def check(self, floors: reading.Floors, now: datetime, field: str = "replay.from") -> None:
        """Raises Refused where there is no such past."""
        shown = self._shown
        reading.check_moment(
            *(self.clock.course.start, now, floors, field),
            cases=shown.cases is not None,
            units=shown.units,
            kpis=bool(shown.kpis),
        )

    async def begin(self, reader: Reader, moment: datetime) -> Told:
        """Everything as of the moment."""
        site, shown = self._config.site, self._shown
        most = self._config.bounds.cases_max
        read_at = self._config.now()
        closed = await read_closed_at(reader, moment)
        series = await self._figures(reader, moment)
        cases, has_more, held = None, False, frozenset[str]()
        if shown.cases is not None:
            found = await reading.read_cases(reader, self._actor, shown.cases, moment, most + 1)
            has_more = len(found) > most
            held = frozenset(case.id for case in found[:most])
            cases = await self._case_texts(reader, found[:most], moment)
        units = await self._units(reader, moment, None)
        events = await self._events(reader, moment - LOOKBACK, moment)
        zones = {one: site.areas[one.area].zone for one in series}
        text = snapshot_text(
            position_of(moment),
            moment,
            None,
            await asyncio.to_thread(lambda: [_series_text(one, zones[one], past) for one, past in series.items()]),
            events,
            [],
            handling=handling_text(
                cases,
                (),
                units,
                (),
                has_more=has_more,
            ),
        )
        return Told(text, Stand(at=moment, cases=held, series=series, closed=closed, figures_at=read_at))

    async def go_on(self, reader: Reader, moment: datetime) -> Told:
        """What is different at the moment than at the one before."""
        stand, shown = self._stand, self._shown
        after, held = stand.at, set(stand.cases)
        if moment <= after:
            return Told(None, stand)
        values, figures = await self._changed_values(reader, moment)
        cases: list[Case] = []
        gone: list[str] = []
        has_more = False
        if shown.cases is not None:
            changed = await reading.read_changed(reader, self._actor, after, moment)
            if changed is None:
                return await self.begin(reader, moment)
            for case in changed:
                if not shown.cases.takes(case):
                    if case.id in held:
                        held.discard(case.id)
                        gone.append(case.id)
                elif case.id in held or len(held) < self._config.bounds.cases_max:
                    held.add(case.id)
                    cases.append(case)
                else:
                    has_more = True
        units = await self._units(reader, moment, after)
        events = await self._events(reader, after, moment)
        texts = await self._case_texts(reader, cases, moment) if cases else None
        reached = replace(figures, at=moment, cases=frozenset(held))
        if not (values or cases or gone or has_more or units or events):
            return Told(None, reached)
        text = change_text(
            position_of(moment),
            moment,
            values,
            events,
            0,
            [],
            handling=handling_text(texts, gone, units or None, (), has_more=has_more),
        )
        return Told(text, reached)

    async def _changed_values(self, reader: Reader, moment: datetime) -> tuple[list[str], Stand]:
        """The values that are different now, and what the client has with them."""
        stand, now = self._stand, self._config.now()
        waits = stand.figures_at is not None and (now - stand.figures_at).total_seconds() < FIGURES_S
        if not self._shown.kpis or waits:
            return [], stand
        # What was known changes when more has closed, and with nothing else.
        closed = await read_closed_at(reader, moment)
        if closed == stand.closed:
            return [], stand
        series = await self._figures(reader, moment)
        # Thousands of values: the live feed goes on meanwhile.
        texts = await asyncio.to_thread(_changed_texts, stand.series, series, version_of(moment))
        return texts, replace(stand, series=series, closed=closed, figures_at=now)

    async def _figures(self, reader: Reader, moment: datetime) -> dict[Series, PastSeries]:
        site, shown = self._config.site, self._shown
        wanted = [one for one in shown.series if one.kpi in site.kpis and one.area in site.areas]
        return await read_past(reader, site, wanted, shown.points, moment, self._config.now())

    async def _case_texts(self, reader: Reader, cases: Sequence[Case], moment: datetime) -> list[str]:
        return await reading.case_texts(reader, self._config.site, self._config.key_ring, self._actor, cases, moment)

    async def _units(self, reader: Reader, moment: datetime, after: datetime | None) -> Sequence[str] | None:
        if not self._shown.units:
            return None
        site = self._config.site
        units = await reading.read_units(reader, site, seen_units(site, self._actor), moment, after)
        return list(units.values())

    async def _events(self, reader: Reader, after: datetime, through: datetime) -> Sequence[str]:
        shown, site = self._shown, self._config.site
        areas = [area for area in shown.areas if area in site.areas]
        return await reading.read_events(
            reader, self._actor, site, areas, (after, through), shown.events, exercise=shown.exercise
        )


def _changed_texts(
    before: Mapping[Series, PastSeries], after: Mapping[Series, PastSeries], version: int
) -> list[str]:
    texts: list[str] = []
    for one, past in after.items():
        held = {point.bucket_s: point for point in before[one].points} if one in before else {}
        for point in past.points:
            if held.get(point.bucket_s) != point:
                about = {"kpi": one.kpi, "area": one.area, "tier": one.tier, "version": version}
                texts.append(_text(about | point.fields | {"last_minute": past.last_minute_s}))
    return texts


def _series_text(series: Series, zone: str, past: PastSeries) -> str:
    return _text(
        {
            "kpi": series.kpi,
            "area": series.area,
            "tier": series.tier,
            "zone": zone,
            "last_minute": past.last_minute_s,
            "points": [point.fields for point in past.points],
        }
    )


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
