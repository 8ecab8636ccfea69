"""Which area lies in which, in what time zone, and what became of it when the map was redrawn?

Codes are reused: commune 00004 was Trúc Bạch and is Ba Đình. So an area is one version, with an id of its own, on one
code list. What counts is stored under ids; codes are only how senders name areas.
"""

from collections.abc import Iterable, Iterator, Set
from datetime import date
from typing import NamedTuple, NewType
from zoneinfo import ZoneInfo

from msgspec import Struct

from schemas.event import AreaCode, AreaId

Zone = NewType("Zone", str)
"""An IANA time zone name, known to zoneinfo."""


class Point(NamedTuple):
    """A place in degrees, WGS 84."""

    lat: float
    lon: float


class Area(Struct, frozen=True, kw_only=True):
    """A node of an administrative tree. `names` is by language; `parent` is None at the root.

    It was in force in [`valid_from`, `valid_to`); None is open. `population` and `households` where they are known.
    """

    id: AreaId
    code: AreaCode
    list_id: str
    kind: str
    names: dict[str, str]
    zone: Zone
    parent: AreaId | None = None
    valid_from: date | None = None
    valid_to: date | None = None
    population: int | None = None
    households: int | None = None
    point: Point | None = None


class Cover(Struct, frozen=True):
    """What an area's figures are put together from: areas that lie wholly in it, and those of which it has a part.

    Of a partial area's own list, `partial` holds the smallest ones, and `apart` those above them whose own events
    (not those of the areas below) may belong here.
    """

    whole: tuple[AreaId, ...]
    partial: tuple[AreaId, ...] = ()
    apart: tuple[AreaId, ...] = ()


class AreaTree:
    """All areas of a site, of its present code list and of earlier ones. Immutable; look-ups are dictionary reads."""

    def __init__(self, list_id: str, areas: Iterable[Area]) -> None:
        """Takes areas whose parents are all among them, without cycles (`site.parse_areas` checks).

        `list_id` is the present code list.
        """
        self.list_id = list_id
        self._areas = {area.id: area for area in areas}
        self._paths = {id_: tuple(self._climb(id_)) for id_ in self._areas}
        self._zones = {area.id: ZoneInfo(area.zone) for area in self._areas.values()}

    def __contains__(self, area: object) -> bool:
        return area in self._areas

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas.values())

    def __len__(self) -> int:
        return len(self._areas)

    def __getitem__(self, area: AreaId) -> Area:
        return self._areas[area]

    @property
    def ids(self) -> Set[AreaId]:
        """Every area's id."""
        return self._areas.keys()

    @property
    def root(self) -> Area:
        """The area of the present list that holds all others."""
        return next(area for area in self._areas.values() if area.parent is None and area.list_id == self.list_id)

    def path(self, area: AreaId) -> tuple[AreaId, ...]:
        """The area and its ancestors, from itself up to the root."""
        return self._paths[area]

    def zone(self, area: AreaId) -> ZoneInfo:
        """The zone whose midnight begins this area's days."""
        return self._zones[area]

    def children(self, area: AreaId) -> list[Area]:
        """The areas directly below, in the order of the code list."""
        return [child for child in self._areas.values() if child.parent == area]

    def cover(self, area: AreaId) -> Cover:
        """The areas whose stored figures make up this one's, itself first."""
        return Cover((area,))

    def touched_by(self, area: AreaId) -> tuple[AreaId, ...]:
        """The areas, of any list, whose figures an event in this one may change: its path first."""
        return self._paths[area]

    def _climb(self, area: AreaId) -> Iterator[AreaId]:
        at: AreaId | None = area
        while at is not None:
            yield at
            at = self._areas[at].parent
