"""Who may see what, and who may do what?

A token says who somebody is; `people.toml` in the site pack says what that person may do. The one rule of what is
seen is `may_see`; the dashboard says the same in SQL, and tests hold the two together.
"""

from collections.abc import Collection, Sequence
from datetime import time
from enum import StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from schemas.agency import AgencyId
from schemas.area_id import AreaId
from schemas.command import Actor

PEOPLE_FILE = "people.toml"

PersonId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}\Z")]


class Role(StrEnum):
    """What somebody is here for."""

    OPERATOR = "operator"
    DISPATCHER = "dispatcher"
    UNIT = "unit"
    LEADER = "leader"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"
    CITIZEN = "citizen"
    SYSTEM = "system"


class Person(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody who signs in. `id` is the token's subject.

    `agency`    the agency that the person belongs to
    `agencies`  others whose cases the person handles; `["*"]` for all (complaints about conduct excepted)
    `areas`     codes of the present list; the person works there and below
    `unit`      the field unit that the person is in
    `address`   where messages go, by channel: `{ mail = "…", sms = "…", zalo = "…" }`
    """

    id: PersonId
    name: str
    roles: Annotated[list[Role], Meta(min_length=1)]
    areas: Annotated[list[str], Meta(min_length=1)]
    agency: AgencyId | None = None
    agencies: list[str] = []
    unit: str | None = None
    language: str | None = None
    address: dict[str, str] = {}
    quiet_from: time | None = None
    quiet_to: time | None = None
    digest: bool = False


class Seen(Struct, frozen=True, kw_only=True):
    """What of a case decides who may see it. `areas` is its area with all ancestors."""

    areas: Sequence[AreaId]
    agency: str | None
    accused_agency: str | None
    units: Collection[str] = ()
    tracking: Collection[str] = ()


def may_see(actor: Actor, case: Seen) -> bool:
    """Whether somebody may know that a case exists.

    A citizen sees what the tracking secret opens. A complaint about conduct is seen by the supervising agency alone,
    never by the accused one, also not by who sees all. Else a person sees what lies in the person's areas and belongs
    to the person's agencies, or to none yet; and a unit what it has been offered, wherever that is.
    """
    if Role.SYSTEM in actor.roles:
        return True
    if actor.tracking is not None:
        return actor.tracking in case.tracking
    if case.accused_agency is not None:
        own = actor.agency is not None and actor.agency == case.agency
        return own and case.accused_agency not in (actor.agency, *actor.agencies) and _within(actor, case)
    if actor.unit is not None and actor.unit in case.units:
        return True
    if set(actor.roles) <= {Role.UNIT}:
        return False
    handles = actor.sees_all or case.agency is None or case.agency in (actor.agency, *actor.agencies)
    return handles and _within(actor, case)


def _within(actor: Actor, case: Seen) -> bool:
    return any(area in actor.areas for area in case.areas)
