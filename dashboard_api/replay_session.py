"""What is one client told that watches the past again?

The messages are those of the live feed: a snapshot as of where the replay begins, changes as its moment goes on, and
heartbeats that carry the moment. The page needs nothing new but the time that it shows.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

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


class Replayed:
    """One replay: what its client shows by now. Nothing here waits but for the database."""

    def __init__(self, config: DashboardConfig, wish: PastWish, actor: Actor) -> None:
        self._config = config
        self._actor = actor
        self._shown = restricted(wish.shown, config.site, actor)
        self.clock = ReplayClock(course=wish.course, begun_at=config.now())
        self.at = wish.course.start
        self.has_ended = False
        self._cases: set[str] = set()
        self._series: dict[Series, PastSeries] = {}
        self._closed: object = None

    def check(self, floors: reading.Floors, now: datetime, field: str = "replay.from") -> None:
        """Raises Refused where there is no such past."""
        shown = self._shown
        reading.check_moment(
            *(self.clock.course.start, now, floors, field),
            cases=shown.cases is not None,
            units=shown.units,
            kpis=bool(shown.kpis),
        )

    async def begin(self, reader: Reader, moment: datetime) -> str:
        """Everything as of the moment."""
        site, shown = self._config.site, self._shown
        most = self._config.bounds.cases_max
        self.at = moment
        self._closed = await read_closed_at(reader, moment)
        self._series = await self._figures(reader, moment)
        cases, has_more = None, False
        if shown.cases is not None:
            found = await reading.read_cases(reader, self._actor, shown.cases, moment, most + 1)
            has_more = len(found) > most
            self._cases = {case.id for case in found[:most]}
            cases = await self._case_texts(reader, found[:most])
        units = await self._units(reader, moment, None)
        events = await self._events(reader, moment - LOOKBACK, moment)
        return snapshot_text(
            position_of(moment),
            moment,
            None,
            [_series_text(one, site.areas[one.area].zone, past) for one, past in self._series.items()],
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

    async def go_on(self, reader: Reader, moment: datetime) -> str | None:
        """What is different at the moment than at the one before; None: nothing."""
        after, shown = self.at, self._shown
        if moment <= after:
            return None
        values = await self._changed_values(reader, moment)
        cases: list[Case] = []
        gone: list[str] = []
        has_more = False
        if shown.cases is not None:
            changed = await reading.read_changed(reader, self._actor, after, moment)
            if changed is None:
                return await self.begin(reader, moment)
            for case in changed:
                if not shown.cases.takes(case):
                    if case.id in self._cases:
                        self._cases.discard(case.id)
                        gone.append(case.id)
                elif case.id in self._cases or len(self._cases) < self._config.bounds.cases_max:
                    self._cases.add(case.id)
                    cases.append(case)
                else:
                    has_more = True
        units = await self._units(reader, moment, after)
        events = await self._events(reader, after, moment)
        self.at = moment
        if not (values or cases or gone or has_more or units or events):
            return None
        return change_text(
            position_of(moment),
            moment,
            values,
            events,
            0,
            [],
            handling=handling_text(
                await self._case_texts(reader, cases) if cases else None, gone, units or None, (), has_more=has_more
            ),
        )

    async def _changed_values(self, reader: Reader, moment: datetime) -> list[str]:
        if not self._shown.kpis:
            return []
        # What was known changes when more has closed, and with nothing else.
        closed = await read_closed_at(reader, moment)
        if closed == self._closed:
            return []
        self._closed = closed
        before, self._series = self._series, await self._figures(reader, moment)
        version = version_of(moment)
        texts: list[str] = []
        for one, past in self._series.items():
            held = {point.bucket_s: point for point in before[one].points} if one in before else {}
            for point in past.points:
                if held.get(point.bucket_s) != point:
                    about = {"kpi": one.kpi, "area": one.area, "tier": one.tier, "version": version}
                    texts.append(_text(about | point.fields | {"last_minute": past.last_minute_s}))
        return texts

    async def _figures(self, reader: Reader, moment: datetime) -> dict[Series, PastSeries]:
        site, shown = self._config.site, self._shown
        wanted = [one for one in shown.series if one.kpi in site.kpis and one.area in site.areas]
        return await read_past(reader, site, wanted, shown.points, moment, self._config.now())

    async def _case_texts(self, reader: Reader, cases: Sequence[Case]) -> list[str]:
        return await reading.case_texts(reader, self._config.site, self._config.key_ring, self._actor, cases)

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
