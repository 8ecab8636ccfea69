"""What became of an area when the map was redrawn, and so which areas of other lists make up this one?

An area of one list lies in an area of another when all that it is linked to does. What has links says where all that
lies below it went; what has none is known by what lies below it. Lists that no link joins are reached through those
in between.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, NamedTuple

from msgspec import Struct

from schemas.event import AreaId


class Link(Struct, frozen=True):
    """`old` went into `new`: the `full` whole of it, or a part. `new` is None for a part that left the map."""

    old: AreaId
    new: AreaId | None
    kind: Literal["full", "partial"]


class Cover(Struct, frozen=True):
    """What an area's figures are put together from: areas that lie wholly in it, and those of which it has a part.

    Of a partial area's own list, `partial` holds the smallest ones, and `apart` those above them whose own events
    (not those of the areas below) may belong here.
    """

    whole: tuple[AreaId, ...]
    partial: tuple[AreaId, ...] = ()
    apart: tuple[AreaId, ...] = ()


class Node(NamedTuple):
    """Where an area stands on its list: `path` from itself up to the root, `below` the areas directly under it."""

    list_id: str
    path: tuple[AreaId, ...]
    below: Sequence[AreaId]


class Share(StrEnum):
    """How much of an area lies in another one. Where nothing does, there is no share."""

    ALL = "all"
    SOME = "some"


class Lineage:
    """Follows links between the lists of a map. Immutable; every answer is computed anew, so callers keep them."""

    def __init__(self, links: Iterable[Link], nodes: Mapping[AreaId, Node]) -> None:
        """Takes links between the lists of `nodes`, on every path at one level (`area_table` checks)."""
        self._nodes = nodes
        self._ends: dict[AreaId, dict[str, list[AreaId]]] = {}
        # Parts of these went where no link says: they lie wholly in nothing newer.
        self._scattered: set[tuple[AreaId, str]] = set()
        parts: dict[tuple[AreaId, str], int] = {}
        left: set[AreaId] = set()
        self._next: dict[str, list[str]] = {}
        for link in links:
            if link.new is None:
                left.add(link.old)
                continue
            old_list, new_list = nodes[link.old].list_id, nodes[link.new].list_id
            self._ends.setdefault(link.old, {}).setdefault(new_list, []).append(link.new)
            self._ends.setdefault(link.new, {}).setdefault(old_list, []).append(link.old)
            for here, there in ((old_list, new_list), (new_list, old_list)):
                if there not in (neighbours := self._next.setdefault(here, [])):
                    neighbours.append(there)
            if link.kind == "partial":
                parts[link.old, new_list] = parts.get((link.old, new_list), 0) + 1
        self._scattered |= {key for key, n in parts.items() if n == 1 or key[0] in left}

    def cover(self, area: AreaId) -> Cover:
        """The areas whose stored figures make up this one's, itself first."""
        shares = self._shares(area)
        whole: list[AreaId] = []
        partial: list[AreaId] = []
        apart: list[AreaId] = []
        for id_, share in shares.items():
            above = self._nodes[id_].path[1:2]
            if share is Share.ALL:
                if not above or shares.get(above[0]) is not Share.ALL:
                    whole.append(id_)
            elif any(child in shares for child in self._nodes[id_].below):
                apart.append(id_)
            else:
                partial.append(id_)
        return Cover((area, *sorted(whole)), tuple(sorted(partial)), tuple(sorted(apart)))

    def overlapping(self, area: AreaId) -> tuple[AreaId, ...]:
        """The areas of other lists that have some ground in common with this one."""
        # Common ground is common to both, so those that share in it are those it has a share in.
        return tuple(sorted(self._shares(area)))

    def _shares(self, area: AreaId) -> dict[AreaId, Share]:
        """How much of each area of other lists lies in this one."""
        home = self._nodes[area]
        known = dict.fromkeys(home.path[1:], Share.SOME) | dict.fromkeys(self._downward(area), Share.ALL)
        own = set(known)
        # The lists, from this one outward, each by the list through which it is reached.
        reached, queue = {home.list_id}, [home.list_id]
        while queue:
            here = queue.pop(0)
            for there in self._next.get(here, ()):
                if there not in reached:
                    reached.add(there)
                    queue.append(there)
                    known |= self._carried(known, here, there)
        return {id_: share for id_, share in known.items() if id_ not in own}

    def _carried(self, known: Mapping[AreaId, Share], here: str, there: str) -> dict[AreaId, Share]:
        """The shares of the areas of list `there`, from those of list `here`."""
        shares: dict[AreaId, Share] = {}
        linked = {
            end for id_ in known if self._nodes[id_].list_id == here for end in self._ends.get(id_, {}).get(there, ())
        }
        for id_ in linked:
            is_all = (id_, here) not in self._scattered and all(
                known.get(end) is Share.ALL for end in self._ends[id_][here]
            )
            shares |= dict.fromkeys(self._downward(id_), Share.ALL if is_all else Share.SOME)
        above = {id_ for end in linked for id_ in self._nodes[end].path[1:]}
        for id_ in sorted(above, key=lambda id_: -len(self._nodes[id_].path)):
            is_all = all(shares.get(child) is Share.ALL for child in self._nodes[id_].below)
            shares[id_] = Share.ALL if is_all else Share.SOME
        return shares

    def _downward(self, area: AreaId) -> Iterable[AreaId]:
        """The area and all below it."""
        queue = [area]
        for id_ in queue:
            queue.extend(self._nodes[id_].below)
        return queue
