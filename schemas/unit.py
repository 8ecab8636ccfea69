"""Who can be sent, what can they do, and where are they now?

`units.toml` in the site pack says what does not change by the hour; a unit's state follows from what it and its cases
report. Every mistake in the file is a SiteError with the line, the reason and the fix.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.agency import AgencyId
from schemas.calendar import ALWAYS
from schemas.case import CaseId
from schemas.event import GeoUri

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
    channels: tuple[str, ...] = ("push",)


class UnitState(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a unit at one moment. `version` grows by one with each change; 0 is a unit never heard of.

    `until`        when `status` ends and it is available again; None: until it says so
    `position_at`  when it was at `lat`, `lon`
    `cases`        those that it has been offered or is at
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

    def status_by(self, now: datetime) -> UnitStatus:
        """What it says of itself, at a moment."""
        return UnitStatus.AVAILABLE if self.until is not None and self.until <= now else self.status
