"""A small country whose map was redrawn, with the ground that everything really happens on.

Ground is cut into plots that no map divides. Every list parts the plots among communes, those among districts, and
those lie in one country. The links between lists are what follows from that, so every answer can be checked by plot.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

from schemas.area import Area, AreaTree, Link, Zone
from schemas.area_table import AREAS_FILE, LINEAGE_FILE
from schemas.event import AreaCode, AreaId

ZONE = Zone("Asia/Ho_Chi_Minh")

Plots = frozenset[int]

_KINDS = {"v": "village", "c": "commune", "d": "district", "n": "country"}


class Country(NamedTuple):
    """Areas of all lists, the newest first; the plots of each; the links between each list and the next."""

    areas: list[Area]
    ground: Mapping[AreaId, Plots]
    links: list[Link]

    @property
    def tree(self) -> AreaTree:
        return AreaTree(self.areas[0].list_id, self.areas, self.links)

    @property
    def pack(self) -> dict[str, str]:
        """The texts of its files."""
        areas = "".join(
            f"{area.id},{area.code},{area.list_id},{area.parent or ''},{area.kind},{area.code},\n"
            for area in self.areas
        )
        links = "".join(f"{link.old},{link.new},{link.kind}\n" for link in self.links)
        return {
            AREAS_FILE: "id,code,list,parent,kind,name_vi,name_en\n" + areas,
            LINEAGE_FILE: "old,new,kind\n" + links,
        }


def _list(number: int, communes: Sequence[int], districts: Sequence[int], has_villages: bool) -> Country:
    """One list: `communes` says in which commune each plot lies, `districts` in which district each commune does."""
    list_id = f"list-{number}"
    ground: dict[AreaId, set[int]] = {}
    parents: dict[AreaId, AreaId | None] = {}
    for plot, commune in enumerate(communes):
        path = [f"c{commune}", f"d{districts[commune]}", "n"]
        if has_villages:
            # A village is a plot and its neighbour, so that some communes have several and some one.
            path.insert(0, f"v{commune}-{plot // 2}")
        ids = [AreaId(f"{code}@{number}") for code in path]
        for id_, parent in zip(ids, [*ids[1:], None], strict=True):
            ground.setdefault(id_, set()).add(plot)
            parents[id_] = parent
    areas = [
        Area(
            id=id_,
            code=AreaCode(id_.partition("@")[0]),
            list_id=list_id,
            kind=_KINDS[id_[0]],
            names={"vi": id_},
            zone=ZONE,
            parent=parent,
        )
        for id_, parent in parents.items()
    ]
    return Country(areas, {id_: frozenset(plots) for id_, plots in ground.items()}, [])


def _links(old: Country, new: Country) -> Iterable[Link]:
    """The links between the communes of two lists."""
    for here in (area.id for area in old.areas if area.kind == "commune"):
        for there in (area.id for area in new.areas if area.kind == "commune"):
            if old.ground[here] <= new.ground[there]:
                yield Link(here, there, "full")
            elif old.ground[here] & new.ground[there]:
                yield Link(here, there, "partial")


@st.composite
def countries(draw: st.DrawFn, lists: int = 2, only_merged: bool = False, villages: bool = True) -> Country:
    """A country with so many lists. `only_merged`: nothing was ever divided."""
    plots = draw(st.integers(2, 9))
    codes = st.integers(0, 4)
    communes = draw(st.lists(codes, min_size=plots, max_size=plots))
    maps: list[Country] = []
    for number in range(1, lists + 1):
        districts = draw(st.lists(st.integers(0, 2), min_size=5, max_size=5))
        maps.append(_list(number, communes, districts, villages and draw(st.booleans())))
        if only_merged:
            merged = draw(st.lists(codes, min_size=5, max_size=5))
            communes = [merged[commune] for commune in communes]
        else:
            communes = draw(st.lists(codes, min_size=plots, max_size=plots))
    links = [link for old, new in pairwise(maps) for link in _links(old, new)]
    areas = [area for one in reversed(maps) for area in one.areas]
    return Country(areas, {id_: plots for one in maps for id_, plots in one.ground.items()}, links)


class Happening(NamedTuple):
    """Something happened on a plot, and was said to have happened in an area."""

    plot: int
    area: AreaId


@st.composite
def happenings(draw: st.DrawFn, country: Country) -> list[Happening]:
    """What happened in a country, each told of an area of any list and level."""
    areas = st.sampled_from([area.id for area in country.areas])
    told = draw(st.lists(areas, max_size=30))
    return [Happening(draw(st.sampled_from(sorted(country.ground[area]))), area) for area in told]


def stored(tree: AreaTree, told: Iterable[Happening]) -> Counter[AreaId]:
    """What is counted of each area: what was said of it and of all below it."""
    return Counter(id_ for one in told for id_ in tree.path(one.area))
