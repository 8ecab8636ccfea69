"""Which agencies handle cases, and who supervises whom?

`agencies.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated

from msgspec import Meta, Struct

from schemas.site_file import convert_file, mistake_at, numbered, suggestion

AGENCIES_FILE = "agencies.toml"

AgencyId = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]


class Agency(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An authority. `supervisor` is the agency that complaints about its officials go to; `area` a code."""

    id: AgencyId
    names: dict[str, str]
    supervisor: AgencyId | None = None
    area: str | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    agency: list[Agency] = []


def parse_agencies(text: str) -> dict[str, Agency]:
    """The agencies by id, in the file's order. Raises SiteError."""
    given = convert_file(text, _File, AGENCIES_FILE).agency
    found = {agency.id: agency for _, agency in numbered(given, AGENCIES_FILE, text, "agency")}
    for number, agency in enumerate(given):
        wrong = partial(mistake_at, AGENCIES_FILE, text, ("agency", number, "supervisor"))
        if agency.supervisor == agency.id:
            raise wrong(f"{agency.id!r} supervises itself", "Name another agency.")
        if agency.supervisor is not None and agency.supervisor not in found:
            raise wrong(f"agency {agency.supervisor!r} is not known", suggestion(agency.supervisor, found))
    return found


def supervisors_of(agencies: Mapping[str, Agency], agency: str) -> tuple[str, ...]:
    """Who is over an agency, the nearest first; those that supervise each other in a circle once each."""
    found: dict[str, None] = {}
    at = agencies[agency].supervisor if agency in agencies else None
    while at is not None and at not in found:
        found[at] = None
        at = agencies[at].supervisor if at in agencies else None
    return tuple(found)


def is_below(agencies: Mapping[str, Agency], agency: str, over: str) -> bool:
    """Whether an agency is `over` itself, or supervised by it at any depth."""
    return agency == over or over in supervisors_of(agencies, agency)
