"""Which agencies handle cases, and who supervises whom?

`agencies.toml` in the site pack. Every mistake is a SiteError with the line, the reason and the fix.
"""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.errors import SiteError
from schemas.site_file import convert_file, suggestion
from schemas.toml_lines import line_of, toml_lines

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
    lines = toml_lines(text)
    found: dict[str, Agency] = {}
    for number, agency in enumerate(given):
        if agency.id in found:
            where = f"line {line_of(lines, ('agency', number, 'id'))}"
            raise SiteError(AGENCIES_FILE, where, f"the id {agency.id!r} is used twice", "Give every agency its own.")
        found[agency.id] = agency
    for number, agency in enumerate(given):
        where = f"line {line_of(lines, ('agency', number, 'supervisor'))}"
        if agency.supervisor == agency.id:
            raise SiteError(AGENCIES_FILE, where, f"{agency.id!r} supervises itself", "Name another agency.")
        if agency.supervisor is not None and agency.supervisor not in found:
            reason = f"agency {agency.supervisor!r} is not known"
            raise SiteError(AGENCIES_FILE, where, reason, suggestion(agency.supervisor, found))
    return found
