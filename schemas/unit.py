"""Who can be sent, what can they do, and where are they now?

`units.toml` in the site pack says what does not change by the hour; a unit's state follows from what it and its cases
report. Every mistake in the file is a SiteError with the line, the reason and the fix.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.agency import AgencyId
from schemas.area import AreaTree
from schemas.calendar import ALWAYS, Calendar, check_calendar
from schemas.case import CaseId
from schemas.errors import InvalidEvent
from schemas.event import GeoUri
from schemas.location import parse_geo
from schemas.site_file import check_declared, convert_file, mistake_at, numbered
from schemas.toml_lines import Path

UNITS_FILE = "units.toml"

UnitId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


class UnitStatus(StrEnum):
    """What a unit says of itself."""

    AVAILABLE = "available"
    BUSY = "busy"
    OFF = "off"


class Unit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A team, a vehicle or a person that is sent.

    `area`      a code of the present list; it is sent there and below
    `skills`    what it can do, in the words of a category's `skills`
    `base`      where it is when nothing newer is known
    `calendar`  when it is on duty
    `capacity`  how many cases it may have at once
    `members`   persons of `people.toml`
    `channels`  how its members are told: the first one, and those that an escalation goes on to
    """

    id: UnitId
    names: dict[str, str]
    agency: AgencyId
    area: str
    base: GeoUri
    skills: tuple[str, ...] = ()
    calendar: str = ALWAYS
    capacity: Annotated[int, Meta(ge=1, le=100)] = 1
    members: tuple[str, ...] = ()
    channels: Annotated[tuple[str, ...], Meta(min_length=1, max_length=8)] = ("push",)


class UnitState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a unit at one moment. `version` grows by one with each change; 0 is a unit never heard of.

    `until`        when `status` ends and it is available again; None: until it says so
    `position_at`  when it was at `lat`, `lon`
    `cases`        those that it has been offered or is at
    `duty_since`, `duty_at`  from when and up to when its time on duty was told to the figures
    """

    unit: str
    version: int = 0
    status: UnitStatus = UnitStatus.AVAILABLE
    status_at: datetime | None = None
    until: datetime | None = None
    note: str = ""
    lat: float | None = None
    lon: float | None = None
    position_at: datetime | None = None
    cases: tuple[CaseId, ...] = ()
    duty_since: datetime | None = None
    duty_at: datetime | None = None

    def status_by(self, now: datetime) -> UnitStatus:
        """What it says of itself, at a moment."""
        return UnitStatus.AVAILABLE if self.until is not None and self.until <= now else self.status


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    unit: list[Unit] = []


def parse_units(text: str) -> dict[str, Unit]:
    """The units by id, in the file's order. Raises SiteError."""
    given = convert_file(text, _File, UNITS_FILE).unit
    for number, unit in numbered(given, UNITS_FILE, text, "unit"):
        try:
            parse_geo(unit.base)
        except InvalidEvent as error:
            path: Path = ("unit", number, "base")
            raise mistake_at(UNITS_FILE, text, path, f"`base`: {error.detail}", error.fix) from None
    return {unit.id: unit for unit in given}


def check_units(
    text: str,
    units: Mapping[str, Unit],
    *,
    calendars: Mapping[str, Calendar],
    agencies: Collection[str],
    areas: AreaTree,
    people: Collection[str] | None,
    skills: Collection[str],
) -> None:
    """Raises SiteError where a unit names what the rest of the pack does not declare.

    Members are checked where the pack has people, and skills where it has categories that need some: a skill that no
    category asks for is most likely a slip of the hand.
    """
    for number, unit in enumerate(units.values()):
        path = ("unit", number)
        check_declared([unit.agency], agencies, "agency", UNITS_FILE, text, (*path, "agency"))
        check_declared([unit.area], areas.present, "area", UNITS_FILE, text, (*path, "area"))
        check_calendar(calendars, unit.calendar, UNITS_FILE, text, (*path, "calendar"))
        if people is not None:
            check_declared(unit.members, people, "person", UNITS_FILE, text, (*path, "members"))
        if skills:
            check_declared(unit.skills, skills, "skill", UNITS_FILE, text, (*path, "skills"))
