"""Which units are there, where, and can they be sent?

A unit is shown to those who work in its area for its agency, and to its own members. Of the cases that it is at, each
reader is told those that the reader may see.
"""

from collections.abc import Collection, Iterable
from datetime import datetime

import msgspec
from msgspec import Struct

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.case import CaseId
from schemas.event import AreaCode, AreaId
from schemas.identity import may_see_unit as may_see_unit
from schemas.site import Site
from schemas.unit import Unit, UnitState, UnitStatus
from schemas.working_time import is_working

_SQL = load_statements("units")
_states = msgspec.json.Decoder(UnitState)


class UnitView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A unit now. `on_duty` is by its calendar, `status` what it says of itself; `cases` are those that one may see.

    `lat`, `lon` are where it was at `position_at`; without one it is where it usually is (`base`).
    """

    id: str
    version: int
    names: dict[str, str]
    agency: str
    area: str | None
    skills: tuple[str, ...]
    capacity: int
    on_duty: bool
    status: UnitStatus
    base: str
    until: datetime | None = None
    note: str = ""
    lat: float | None = None
    lon: float | None = None
    position_at: datetime | None = None
    cases: list[CaseId] = []


def area_id(site: Site, unit: Unit) -> AreaId | None:
    """The id of the area that a unit is sent in; None when the present list has no such code."""
    area = site.areas.by_code(site.areas.list_id, AreaCode(unit.area))
    return None if area is None else area.id


async def read_states(reader: Reader, units: Iterable[str]) -> dict[str, UnitState]:
    """What is known of these units; one never heard of is left out."""
    rows = await reader.fetch(_SQL["read_units"], sorted(units))
    states = (
        msgspec.structs.replace(
            _states.decode(row["body"]), lat=row["lat"], lon=row["lon"], position_at=row["position_at"]
        )
        for row in rows
    )
    return {state.unit: state for state in states}


def unit_view(site: Site, unit: Unit, state: UnitState | None, seen: Collection[CaseId], now: datetime) -> UnitView:
    """A unit as of now, to somebody who may see the cases `seen`."""
    known = state or UnitState(unit=unit.id)
    return UnitView(
        id=unit.id,
        version=known.version,
        names=unit.names,
        agency=unit.agency,
        area=area_id(site, unit),
        skills=unit.skills,
        capacity=unit.capacity,
        on_duty=is_working(site.calendars.get(unit.calendar), now),
        status=known.status_by(now),
        base=unit.base,
        until=known.until,
        note=known.note,
        lat=known.lat,
        lon=known.lon,
        position_at=known.position_at,
        cases=[id_ for id_ in known.cases if id_ in seen],
    )
