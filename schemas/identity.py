"""Who may see what, and who may do what?

A token says who somebody is; `people.toml` in the site pack says what that person may do. The one rule of what is
seen is `may_see`; the dashboard says the same in SQL, and tests hold the two together.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import time
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from schemas.agency import AgencyId, supervisors_of
from schemas.area_id import AreaId
from schemas.command import Actor
from schemas.errors import AccessReason, AccessRefused
from schemas.site_file import check_known, convert_file, mistake_at, numbered, suggestion
from schemas.toml_lines import Path

if TYPE_CHECKING:
    from schemas.area import AreaTree
    from schemas.site import Site
    from schemas.unit import Unit

PEOPLE_FILE = "people.toml"

EVERY_AGENCY = "*"
"""In `agencies`: cases of all of them, complaints about conduct excepted."""

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


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    # A file that declares nobody would open everything to everyone, for that is what having no file means.
    person: Annotated[list[Person], Meta(min_length=1)]


NOT_STAFF = {
    Role.CITIZEN: "whoever holds a case's tracking secret is one",
    Role.SYSTEM: "only the centre itself is",
}
"""Roles that nobody is given in `people.toml`, each with the reason."""

NOBODY = Actor(id="nobody", roles=())
"""Who has not signed in where one has to: sees what is public."""

SECRET_CHARS_MAX = 128
"""The secret by which a citizen follows a report; a longer one is none."""


_wrong = partial(mistake_at, PEOPLE_FILE)


def parse_people(text: str) -> dict[str, Person]:
    """The people by id, in the file's order. Raises SiteError."""
    given = convert_file(text, _File, PEOPLE_FILE).person
    for number, person in numbered(given, PEOPLE_FILE, text, "person", "their"):
        path: Path = ("person", number)
        for at, role in enumerate(person.roles):
            if role in NOT_STAFF:
                reason = f"nobody is given the role {role.value!r}: {NOT_STAFF[role]}"
                staff = ", ".join(other for other in Role if other not in NOT_STAFF)
                raise _wrong(text, (*path, "roles", at), reason, f"Use some of: {staff}.")
        if (person.unit is None) is (Role.UNIT in person.roles):
            reason = f"{person.id!r} has {'no unit' if person.unit is None else 'a unit'}, "
            reason += "but the role 'unit'" if person.unit is None else "but not the role 'unit'"
            raise _wrong(text, (*path, "roles"), reason, "Give both, or neither.")
        if (person.quiet_from is None) is not (person.quiet_to is None):
            reason = f"{person.id!r} has only one of `quiet_from` and `quiet_to`"
            raise _wrong(text, path, reason, "Give both, or neither.")
    return {person.id: person for person in given}


def check_people(
    text: str,
    people: Mapping[str, Person],
    *,
    areas: "AreaTree",
    agencies: Collection[str],
    units: Collection[str],
    languages: Sequence[str],
) -> None:
    """Raises SiteError for an area, agency, unit or language that the rest of the pack does not declare."""
    for number, person in enumerate(people.values()):
        path: Path = ("person", number)
        if person.agency is not None:
            check_known(person.agency, agencies, "agency", PEOPLE_FILE, text, (*path, "agency"))
        for at, agency in enumerate(person.agencies):
            if agency != EVERY_AGENCY:
                check_known(agency, agencies, "agency", PEOPLE_FILE, text, (*path, "agencies", at))
        if person.unit is not None:
            check_known(person.unit, units, "unit", PEOPLE_FILE, text, (*path, "unit"))
        if person.language is not None:
            check_known(person.language, languages, "language", PEOPLE_FILE, text, (*path, "language"))
        for at, code in enumerate(person.areas):
            if code not in areas.present:
                fix = f"{_short(suggestion(code, areas.present))} Codes are those of the list {areas.list_id!r}."
                raise _wrong(text, (*path, "areas", at), f"area {code!r} is not known", fix)


def _short(fix: str) -> str:
    """A list of thousands of codes helps nobody."""
    return fix if len(fix) <= 200 else "See areas.csv."


def actor_from(site: "Site", person: Person) -> Actor:
    """Who a person of `people.toml` is, to whoever decides or shows: codes become area ids.

    An area of the present list stands for those of earlier lists that lie wholly in it, too. A code that a newer pack
    no longer has gives nothing.
    """
    found = (site.areas.present.get(code) for code in person.areas)
    ids = [whole for area in found if area is not None for whole in site.areas.cover(area.id).whole]
    own = _agencies_of(person)
    return Actor(
        id=person.id,
        roles=tuple(role.value for role in person.roles),
        agency=person.agency,
        agencies=tuple(agency for agency in person.agencies if agency != EVERY_AGENCY),
        under=tuple(dict.fromkeys(over for agency in own for over in supervisors_of(site.agencies, agency))),
        sees_all=EVERY_AGENCY in person.agencies,
        areas=tuple(dict.fromkeys(ids)),
        unit=person.unit,
    )


def seeing_all(people: Mapping[str, Person] | None) -> list[tuple[str, ...]] | None:
    """The agencies of each operator who sees the cases of every agency; None where everyone may do everything."""
    if people is None:
        return None
    return [
        _agencies_of(person)
        for person in people.values()
        if EVERY_AGENCY in person.agencies and Role.OPERATOR in person.roles
    ]


def _agencies_of(person: Person) -> tuple[str, ...]:
    """The person's own agency, and the others that are named."""
    return tuple(one for one in (person.agency, *person.agencies) if one is not None and one != EVERY_AGENCY)


def actor_without_token(site: "Site") -> Actor:
    """Who somebody is that shows no token: NOBODY, but where the pack declares no people everyone may do all."""
    if site.people:
        return NOBODY
    return Actor(
        id="anyone",
        roles=(Role.OPERATOR.value, Role.DISPATCHER.value, Role.LEADER.value),
        sees_all=True,
        areas=tuple(site.areas.cover(site.areas.root.id).whole),
    )


def actor_of_subject(site: "Site", subject: str) -> Actor | None:
    """Who a verified token's subject is; None for somebody whom the pack does not, or no longer, declare."""
    person = site.people.get(subject)
    return None if person is None else actor_from(site, person)


def actor_let_in(site: "Site", subject: str) -> Actor:
    """Who a verified token's subject is. Raises AccessRefused for somebody whom the pack does not declare."""
    actor = actor_of_subject(site, subject)
    if actor is None:
        raise AccessRefused(
            AccessReason.UNKNOWN_PERSON,
            f"people.toml has nobody with the id {subject!r}",
            "Let an administrator add this person.",
        )
    return actor


def tracking_of(secret: bytes) -> str:
    """What is kept of a report's secret: enough to know it again, and not to find it out."""
    return hashlib.sha256(secret).hexdigest()


def citizen(tracking: str) -> Actor:
    """Whoever shows the secret with this hash."""
    return Actor(id="citizen", roles=(Role.CITIZEN.value,), tracking=tracking)


class Seen(Struct, frozen=True, kw_only=True):
    """What of a case decides who may see it. `areas` is its area with all ancestors."""

    areas: Sequence[AreaId]
    agency: str | None
    accused_agency: str | None
    units: Collection[str] = ()
    tracking: Collection[str] = ()


def may_see(actor: Actor, case: Seen) -> bool:
    """Whether somebody may know that a case exists.

    A citizen sees what the tracking secret opens. A complaint about conduct is seen by the agency that has it, or by
    who sees all where none can have it; never by the accused one or one that it supervises. Else a person sees what
    lies in the person's areas and belongs to the person's agencies, or to none yet; and a unit what it was offered.
    """
    if Role.SYSTEM in actor.roles:
        return True
    if actor.tracking is not None:
        return actor.tracking in case.tracking
    if case.accused_agency is not None:
        has_it = actor.sees_all if case.agency is None else actor.agency == case.agency
        is_about = case.accused_agency in (actor.agency, *actor.agencies, *actor.under)
        return has_it and not is_about and _within(actor, case)
    if actor.unit is not None and actor.unit in case.units:
        return True
    if set(actor.roles) <= {Role.UNIT}:
        return False
    handles = actor.sees_all or case.agency is None or case.agency in (actor.agency, *actor.agencies)
    return handles and _within(actor, case)


def may_see_unit(site: "Site", actor: Actor, unit: "Unit") -> bool:
    """Whether somebody may know of a unit, and send it: who is in it, or works in its area for its agency."""
    if actor.unit == unit.id:
        return True
    if not (actor.sees_all or unit.agency in (actor.agency, *actor.agencies)):
        return False
    area = site.areas.present.get(unit.area)
    return area is not None and not set(actor.areas).isdisjoint(site.areas.touched_by(area.id))


def may_see_around(actor: Actor, path: Collection[AreaId]) -> bool:
    """Whether somebody may read what belongs to no case. `path` is its area and all that this lies or may lie in.

    People see what happens in their areas. A unit sees nothing: it is sent to cases.
    """
    if Role.SYSTEM in actor.roles:
        return True
    if actor.tracking is not None or set(actor.roles) <= {Role.UNIT}:
        return False
    return any(area in actor.areas for area in path)


def _within(actor: Actor, case: Seen) -> bool:
    return any(area in actor.areas for area in case.areas)
