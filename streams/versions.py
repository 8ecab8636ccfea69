"""By which version of the site pack does a lane count?

A pack that changes while the centre runs becomes a numbered version in the database. Each lane takes it up at a batch
of its own, in the transaction that counts that batch; from then on the lane's position says so, and whoever takes
the lane over counts by the same version or a later one. So every event is counted by exactly one version, whichever
worker counts it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from schemas.site import Pack, Site, parse_site
from streams.core.batch import Reader
from streams.core.fold import BucketRules, Fold

KEPT_MAX = 8
"""Versions held in memory: the newest, and those that were asked for last. Others are read and compiled again."""


class Version(NamedTuple):
    """A site pack that counts, compiled."""

    number: int
    site: Site
    fold: Fold
    reader: Reader


class RegisteredPack(NamedTuple):
    """A pack as the database has it."""

    version: int
    pack: Pack


def compiled(number: int, site: Site) -> Version:
    """The version ready to count."""
    header = site.header
    rules = BucketRules(
        grace_s=header.closing.grace_s,
        minute_days=header.retention.minute_days,
        hour_days=header.retention.hour_days,
    )
    return Version(number, site, Fold(site.kpis.bases, site.areas, rules), Reader(site))


def encoded(pack: Pack) -> bytes:
    """A pack's texts as the database keeps them: the same pack gives the same bytes."""
    return msgspec.json.encode(dict(sorted(pack.items())))


def decoded(raw: bytes) -> Pack:
    """What `encoded` has written."""
    return msgspec.json.decode(raw, type=dict[str, str])


def digest(pack: Pack) -> str:
    """What tells one pack from another."""
    return hashlib.sha256(encoded(pack)).hexdigest()


class Versions:
    """The versions that this process knows. The newest is the one to count by."""

    def __init__(self, first: Version) -> None:
        """`first` is what the database said when the process began."""
        self.newest = first
        self._known = {first.number: first}

    def add(self, version: Version) -> None:
        """Takes a version up; an older one than the newest only where a lane or a correction asks for it."""
        self._use(version)
        if version.number > self.newest.number:
            self.newest = version
        others = [number for number in self._known if number != self.newest.number]
        for number in others[: max(0, len(self._known) - KEPT_MAX)]:
            del self._known[number]

    async def get(self, number: int, read: Callable[[int], Awaitable[RegisteredPack]]) -> Version:
        """The version of this number, read from the database where it is not known. 0, none, is the newest."""
        if number == 0:
            return self.newest
        found = self._known.get(number)
        if found is None:
            found = compiled(number, parse_site((await read(number)).pack))
            self.add(found)
        else:
            self._use(found)
        return found

    def _use(self, version: Version) -> None:
        """Puts it behind those that are forgotten before it."""
        self._known.pop(version.number, None)
        self._known[version.number] = version
