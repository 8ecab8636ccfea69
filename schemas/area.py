"""Which area lies in which, and in what time zone?"""

from collections.abc import Iterable, Iterator, Set
from typing import NewType
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.event import AreaCode

Zone = NewType("Zone", str)
"""An IANA time zone name, known to zoneinfo."""


class Area(Struct, frozen=True, kw_only=True):
    """A node of the administrative tree. `names` is by language; `parent` is None at the root."""

    code: AreaCode
    kind: str
    names: dict[str, str]
    zone: Zone
    parent: AreaCode | None = None


class AreaTree:
    """All areas of one code list. Immutable; look-ups are dictionary reads."""

    def __init__(self, list_id: str, areas: Iterable[Area]) -> None:
        """Builds the tree from areas whose parents are all among them, without cycles (`site.parse_areas` checks)."""
        self.list_id = list_id
        self._areas = {area.code: area for area in areas}
        self._paths = {code: tuple(self._climb(code)) for code in self._areas}
        self._zones = {area.code: ZoneInfo(area.zone) for area in self._areas.values()}

    def __contains__(self, code: object) -> bool:
        return code in self._areas

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas.values())

    def __len__(self) -> int:
        return len(self._areas)

    def __getitem__(self, code: AreaCode) -> Area:
        return self._areas[code]

    @property
    def codes(self) -> Set[AreaCode]:
        """Every area's code."""
        return self._areas.keys()

    @property
    def root(self) -> Area:
        """The area that holds all others."""
        return next(area for area in self._areas.values() if area.parent is None)

    def path(self, code: AreaCode) -> tuple[AreaCode, ...]:
        """The area and its ancestors, from itself up to the root."""
        return self._paths[code]

    def zone(self, code: AreaCode) -> ZoneInfo:
        """The zone whose midnight begins this area's days."""
        return self._zones[code]

    def children(self, code: AreaCode) -> list[Area]:
        """The areas directly below, in the order of the code list."""
        return [area for area in self._areas.values() if area.parent == code]

    def _climb(self, code: AreaCode) -> Iterator[AreaCode]:
        at: AreaCode | None = code
        while at is not None:
            yield at
            at = self._areas[at].parent
