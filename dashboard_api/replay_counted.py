"""Which indicators were counted at a past moment?

Buckets of before an indicator was there hold nothing, which reads as a final 0. Every site pack that has counted is
kept with when it began to: what its catalogue does not have was not counted then.
"""

import asyncio
from collections.abc import Collection
from datetime import datetime

import msgspec

from dashboard_api.database import Reader
from dashboard_api.statements import load_statements
from schemas.errors import SiteError
from schemas.exercise import real_name
from schemas.site import parse_catalogue

CATALOGUES_MAX = 16
"""Site packs of which it is remembered what they count; the one asked for longest ago is read again."""

_SQL = load_statements("replay")
_known: dict[str, frozenset[str] | None] = {}


async def read_uncounted(reader: Reader, bases: Collection[str], moment: datetime) -> set[str]:
    """Which of these bases no site pack counted that was in force at the moment. Empty where nobody can say."""
    row = await reader.fetchrow(_SQL["read_site_then"], moment)
    if row is None:
        return set()
    if row["digest"] not in _known:
        pack = await reader.fetchval(_SQL["read_pack"], row["version"])
        counted = await asyncio.to_thread(_counted, bytes(pack))
        if len(_known) >= CATALOGUES_MAX:
            del _known[next(iter(_known))]
        _known[row["digest"]] = counted
    counted = _known[row["digest"]] = _known.pop(row["digest"])
    return set() if counted is None else {base for base in bases if real_name(base) not in counted}


def _counted(pack: bytes) -> frozenset[str] | None:
    """The bases of a pack; None: it is of a time whose packs are read no more."""
    try:
        return frozenset(base.id for base in parse_catalogue(msgspec.json.decode(pack, type=dict[str, str])).bases)
    except (SiteError, KeyError):
        return None
