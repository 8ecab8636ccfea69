"""Which area lies in which, in what time zone, and what became of it when the map was redrawn?

Codes are reused: commune 00004 was Trúc Bạch and is Ba Đình. So an area is one version, with an id of its own, on one
code list. What counts is stored under ids; codes are only how senders name areas.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from datetime import date
from typing import NamedTuple, NewType
from zoneinfo import ZoneInfo

from msgspec import Struct
from shapely import MultiPolygon, Polygon

from schemas.event import AreaCode, AreaId
from schemas.lineage import Cover, Lineage, Link, Node

Zone = NewType("Zone", str)
"""An IANA time zone name, known to zoneinfo."""

Boundary = Polygon | MultiPolygon
"""The ground of an area: longitude and latitude in degrees, WGS 84."""

COVERS_MAX = 65_536
"""How many areas' covers are kept. Beyond that all are forgotten, and computed again when they are needed."""


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


class ListSpan(NamedTuple):
    """A code list was in force in [`start`, `end`); None is open."""

    list_id: str
    start: date | None
    end: date | None


class AreaTree:
    """All areas of a site, of its present code list and of earlier ones. Look-ups are dictionary reads.

    What follows from the lineage (`cover`, `touched_by`) is computed when it is first asked for, and kept.
    """

    def __init__(
        self,
        list_id: str,
        areas: Iterable[Area],
        lineage: Iterable[Link] = (),
        polygons: Mapping[AreaId, Boundary] | None = None,
        attribution: str | None = None,
    ) -> None:
        """Takes areas whose parents are all among them, without cycles (`area_table` checks).

        `list_id` is the present code list, `attribution` whom maps have to name that show the polygons.
        """
        self.list_id = list_id
        self.polygons: Mapping[AreaId, Boundary] = polygons or {}
        self.attribution = attribution
        self._areas = {area.id: area for area in areas}
        self._paths = {id_: tuple(self._climb(id_)) for id_ in self._areas}
        self._zones = {area.id: ZoneInfo(area.zone) for area in self._areas.values()}
        self._by_code = {(area.list_id, area.code): area for area in self._areas.values()}
        self.present: Mapping[str, Area] = {a.code: a for a in self._areas.values() if a.list_id == list_id}
        """The areas of the present list by code."""
        self._children: dict[AreaId | None, list[Area]] = {}
        for area in self._areas.values():
            self._children.setdefault(area.parent, []).append(area)
        below = {parent: [child.id for child in children] for parent, children in self._children.items()}
        nodes = {id_: Node(area.list_id, self._paths[id_], below.get(id_, ())) for id_, area in self._areas.items()}
        self._lineage = Lineage(lineage, nodes)
        self._covers: dict[AreaId, Cover] = {}
        self._touched: dict[AreaId, tuple[AreaId, ...]] = {}
        self.spans = _spans(list_id, self._areas.values())

    def __contains__(self, area: object) -> bool:
        return area in self._areas

    def __iter__(self) -> Iterator[Area]:
        return iter(self._areas.values())

    def __len__(self) -> int:
        return len(self._areas)

    def __getitem__(self, area: AreaId) -> Area:
        return self._areas[area]

    def or_root(self, area: AreaId) -> Area:
        """The area, or of one that the map does not have any more the whole site's."""
        return self._areas.get(area) or self.root

    @property
    def ids(self) -> Set[AreaId]:
        """Every area's id."""
        return self._areas.keys()

    @property
    def lists(self) -> tuple[str, ...]:
        """Every code list: the present one first, then the newest."""
        return tuple(span.list_id for span in self.spans)

    @property
    def root(self) -> Area:
        """The area of the present list that holds all others."""
        return next(area for area in self._children[None] if area.list_id == self.list_id)

    def roots(self, list_id: str) -> list[Area]:
        """The areas of a list that lie in no other: one on the present list, maybe several on earlier ones."""
        return [area for area in self._children[None] if area.list_id == list_id]

    def by_code(self, list_id: str, code: AreaCode) -> Area | None:
        """The area that a list calls by this code."""
        return self._by_code.get((list_id, code))

    def path(self, area: AreaId) -> tuple[AreaId, ...]:
        """The area and its ancestors, from itself up to the root."""
        return self._paths[area]

    def zone(self, area: AreaId) -> ZoneInfo:
        """The zone whose midnight begins this area's days."""
        return self._zones[area]

    def children(self, area: AreaId) -> list[Area]:
        """The areas directly below, in the order of the code list."""
        return list(self._children.get(area, ()))

    def descendants(self, area: AreaId) -> list[Area]:
        """The areas below at any depth, the nearest first."""
        found = self.children(area)
        for child in found:
            found.extend(self._children.get(child.id, ()))
        return found

    def leaves(self, area: AreaId) -> list[Area]:
        """The smallest areas in this one: itself when there is none below."""
        return [leaf for leaf in (self._areas[area], *self.descendants(area)) if leaf.id not in self._children]

    def cover(self, area: AreaId) -> Cover:
        """The areas whose stored figures make up this one's, itself first.

        `whole` is the smallest set: of other lists it holds the largest areas that lie wholly in this one.
        """
        cover = self._covers.get(area)
        if cover is None:
            if len(self._covers) >= COVERS_MAX:
                self._covers.clear()
            cover = self._covers[area] = self._lineage.cover(area)
        return cover

    def touched_by(self, area: AreaId) -> tuple[AreaId, ...]:
        """The areas, of any list, whose figures an event in this one may change: its path first.

        Those of other lists are those that have this area, or one above it, in their cover.
        """
        touched = self._touched.get(area)
        if touched is None:
            if len(self._touched) >= COVERS_MAX:
                self._touched.clear()
            touched = self._touched[area] = (*self._paths[area], *self._lineage.overlapping(area))
        return touched

    def _climb(self, area: AreaId) -> Iterator[AreaId]:
        at: AreaId | None = area
        while at is not None:
            yield at
            at = self._areas[at].parent


def _spans(present: str, areas: Iterable[Area]) -> tuple[ListSpan, ...]:
    """When each list was in force, the present one first: from its first area's first day to its last area's last."""
    starts: dict[str, date] = {}
    ends: dict[str, date] = {}
    for area in areas:
        start, end = area.valid_from or date.min, area.valid_to or date.max
        starts[area.list_id] = min(starts.get(area.list_id, start), start)
        ends[area.list_id] = max(ends.get(area.list_id, end), end)
    newest_first = sorted(
        starts, key=lambda list_id: (list_id == present, starts[list_id], ends[list_id]), reverse=True
    )
    return tuple(
        ListSpan(
            list_id,
            None if starts[list_id] == date.min else starts[list_id],
            None if ends[list_id] == date.max else ends[list_id],
        )
        for list_id in newest_first
    )
