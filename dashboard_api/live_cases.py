"""What changed of cases and units, as the live feed tells it?

Each is read and serialised once for all clients; who may see it, and whether it is among those that a client shows,
is asked for each.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from dashboard_api.case_view import item_of
from dashboard_api.cases import read_some
from dashboard_api.database import Reader
from dashboard_api.units import may_see_unit, read_states, unit_view
from schemas.case import Case
from schemas.command import Actor
from schemas.identity import Seen
from schemas.site import Site

CHUNK = 1_000
"""Cases that are read at once."""


class LiveCase(Struct, frozen=True):
    """A case with what decides who may see it. `text` is what they are told."""

    case: Case
    seen: Seen
    text: str


async def read_live_cases(reader: Reader, site: Site, ids: Collection[str]) -> list[LiveCase]:
    """These cases as they are now."""
    found: list[LiveCase] = []
    ordered = sorted(ids)
    for first in range(0, len(ordered), CHUNK):
        read = await read_some(reader, ordered[first : first + CHUNK])
        found += [LiveCase(one.case, one.seen, case_text(site, one.case)) for one in read.values()]
    return found


def case_text(site: Site, case: Case) -> str:
    """A case as lists show it: the same for everyone who may see it."""
    return msgspec.json.encode(item_of(site, case)).decode()


async def read_live_units(reader: Reader, site: Site, units: Collection[str], now: datetime) -> Mapping[str, str]:
    """These units as they are now, in the order of the site pack.

    At which cases they are is not said: not everybody may see those.
    """
    known = [unit for unit in site.units.values() if unit.id in units]
    states = await read_states(reader, [unit.id for unit in known]) if known else {}
    return {
        unit.id: msgspec.json.encode(unit_view(site, unit, states.get(unit.id), (), now)).decode() for unit in known
    }


def seen_units(site: Site, actor: Actor) -> frozenset[str]:
    """The units that somebody is shown."""
    return frozenset(unit.id for unit in site.units.values() if may_see_unit(site, actor, unit))
