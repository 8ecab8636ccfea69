"""What changed of cases and units, as the live feed tells it?

Each is read and serialised once for all clients, and once more with a citizen's first words for those who handle it;
who may see it, and whether it is among those that a client shows, is asked for each.
"""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from msgspec import Struct

from dashboard_api.case_view import CaseItem, item_of
from dashboard_api.cases import read_some
from dashboard_api.database import Reader
from dashboard_api.units import UnitView, may_see_unit, read_states, unit_view
from dashboard_api.written import read_excerpts, reads_words
from schemas.case import Case, State
from schemas.command import Actor
from schemas.display import is_display
from schemas.identity import Seen
from schemas.personal import KeyRing
from schemas.site import Site

CHUNK = 1_000
"""Cases that are read at once."""

_units = msgspec.json.Decoder(UnitView)


class LiveCase(Struct, frozen=True):
    """A case with what decides who may see it. `text` is what people are told, `wordless` what screens are.

    `worded` is what those are told who handle it, where a citizen's words stand for a title.
    """

    case: Case
    seen: Seen
    text: str
    wordless: str = ""
    worded: str | None = None

    def text_for(self, actor: Actor) -> str:
        """What somebody who may see it is told."""
        if is_display(actor):
            return self.wordless
        return self.worded if self.worded is not None and reads_words(actor, self.case) else self.text


async def read_live_cases(
    reader: Reader, site: Site, ids: Collection[str], ring: KeyRing | None = None
) -> list[LiveCase]:
    """These cases as they are now. `ring` opens what citizens wrote."""
    found: list[LiveCase] = []
    ordered = sorted(ids)
    for first in range(0, len(ordered), CHUNK):
        read = await read_some(reader, ordered[first : first + CHUNK])
        # Of one that was merged the reports may have gone where not everybody sees them who sees what is left of it.
        whole = (one.case for one in read.values() if one.case.state is not State.MERGED)
        excerpts = await read_excerpts(reader, ring, whole)
        for id_, one in read.items():
            item, excerpt = item_of(site, one.case), excerpts.get(id_)
            worded = None if excerpt is None else _text(msgspec.structs.replace(item, excerpt=excerpt))
            found.append(LiveCase(one.case, one.seen, _text(item), _text(wordless(site, item)), worded))
    return found


def case_text(site: Site, case: Case, actor: Actor, excerpt: str | None = None) -> str:
    """A case as lists show it: the same for all people who may see it, but for a citizen's first words."""
    item = item_of(site, case, excerpt)
    return _text(wordless(site, item) if is_display(actor) else item)


def wordless(site: Site, item: CaseItem) -> CaseItem:
    """What a screen is told of a case: no word that somebody wrote, nor who acknowledged it.

    Of a sensitive kind not even the place, but for the area.
    """
    declared = () if site.cases is None else site.cases.category
    shows_place = any(one.id == item.category and not one.sensitive for one in declared)
    return msgspec.structs.replace(
        item,
        title="",
        excerpt=None,
        acknowledged_by=None if item.acknowledged_by is None else "",
        place=item.place if shows_place else None,
    )


def wordless_unit(text: str) -> str:
    """A unit as screens are told of it, of what people are told: without its note."""
    return _text(msgspec.structs.replace(_units.decode(text), note=""))


def _text(item: CaseItem | UnitView) -> str:
    return msgspec.json.encode(item).decode()


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
