"""Is an area's cover all of its ground and nothing else, whatever became of the map?"""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.area import Area, AreaTree, Cover, Link, Zone
from schemas.event import AreaCode, AreaId
from tests.schemas.redrawn_map import Country, Happening, countries, happenings, stored

COUNTRY_AND_EVENTS = countries().flatmap(lambda country: st.tuples(st.just(country), happenings(country)))
CHAIN_AND_EVENTS = countries(lists=3).flatmap(lambda country: st.tuples(st.just(country), happenings(country)))


@given(country=countries())
def test_a_cover_is_what_the_ground_says(country: Country) -> None:
    tree, ground = country.tree, country.ground
    for area in tree:
        own = {other.id for other in tree if other.list_id == area.list_id}
        # Links are between communes: of villages a list says nothing, so theirs is their commune's ground.
        seen = {
            other: ground[tree.path(other)[1] if tree[other].kind == "village" else other] for other in tree.ids - own
        }
        mine = ground[tree.path(area.id)[1] if area.kind == "village" else area.id]
        # Nothing is known to lie in a part of what the links speak of.
        within = {other for other, plots in seen.items() if plots <= mine and area.kind != "village"}
        around = {other for other, plots in seen.items() if plots & mine} - within
        above = {tree[other].parent for other in within | around}
        cover = tree.cover(area.id)
        assert cover.whole[0] == area.id
        assert set(cover.whole[1:]) == {other for other in within if tree[other].parent not in within}
        assert set(cover.partial) == around - above
        assert set(cover.apart) == around & above


@given(given=countries(only_merged=True, villages=False).flatmap(lambda c: st.tuples(st.just(c), happenings(c))))
def test_where_areas_were_only_merged_the_totals_are_exact(given: tuple[Country, list[Happening]]) -> None:
    country, told = given
    tree = country.tree
    # Of what is said of a whole district, nobody can tell in which of its communes it was.
    told = [one for one in told if tree[one.area].kind == "commune"]
    counts = stored(tree, told)
    for area in (area for area in tree if area.list_id == tree.list_id):
        cover = tree.cover(area.id)
        assert not cover.partial
        total = sum(counts[id_] for id_ in cover.whole)
        assert total == sum(one.plot in country.ground[area.id] for one in told)


@given(given=st.one_of(COUNTRY_AND_EVENTS, CHAIN_AND_EVENTS))
def test_the_truth_lies_within_the_bounds(given: tuple[Country, list[Happening]]) -> None:
    country, told = given
    tree = country.tree
    counts = stored(tree, told)
    for area in tree:
        cover = tree.cover(area.id)
        above = tree.path(area.id)[1:]
        truth = sum(one.plot in country.ground[area.id] and one.area not in above for one in told)
        lower = sum(counts[id_] for id_ in cover.whole)
        own = {id_: counts[id_] - sum(counts[child.id] for child in tree.children(id_)) for id_ in cover.apart}
        assert lower <= truth <= lower + sum(counts[id_] for id_ in cover.partial) + sum(own.values())


@given(country=countries(lists=3))
def test_nothing_is_covered_twice(country: Country) -> None:
    tree = country.tree
    for area in tree.ids:
        cover = tree.cover(area)
        named = (*cover.whole, *cover.partial)
        assert len(set(named)) == len(named)
        for id_ in named:
            assert set(tree.path(id_)[1:]).isdisjoint(named)


@given(country=countries(lists=3))
def test_an_event_touches_the_areas_that_its_own_is_in_the_cover_of(country: Country) -> None:
    tree = country.tree
    covers = {area: tree.cover(area) for area in tree.ids}
    for area in tree.ids:
        path = tree.path(area)
        expected = {
            other
            for other, cover in covers.items()
            if not set(path).isdisjoint((*cover.whole, *cover.partial)) or area in cover.apart
        }
        touched = tree.touched_by(area)
        assert touched[: len(path)] == path
        assert len(set(touched)) == len(touched)
        assert set(touched) == expected | set(path)


def tree_of(*links: Link, present: str = "new") -> AreaTree:
    """Two lists: country > district > communes, `old` with a and b in A and c in B, `new` with x, y in X."""
    parents = {
        "old": {"O": "", "A": "O", "B": "O", "a": "A", "b": "A", "c": "B"},
        "new": {"X": "", "x": "X", "y": "X"},
    }
    return AreaTree(
        present,
        [
            Area(
                id=AreaId(id_),
                code=AreaCode(id_),
                list_id=list_id,
                kind="",
                names={},
                zone=Zone("UTC"),
                parent=AreaId(parent) if parent else None,
                valid_from=date(2025, 7, 1) if list_id == "new" else None,
            )
            for list_id, areas in parents.items()
            for id_, parent in areas.items()
        ],
        links,
    )


def full(old: str, new: str) -> Link:
    return Link(AreaId(old), AreaId(new), "full")


def part(old: str, new: str | None) -> Link:
    return Link(AreaId(old), AreaId(new) if new else None, "partial")


def cover(whole: str, partial: str = "", apart: str = "") -> Cover:
    """Areas by their letters, in the order of a cover: the area itself, then the others by name."""
    return Cover(tuple(map(AreaId, whole)), tuple(map(AreaId, partial)), tuple(map(AreaId, apart)))


MERGED = [full("a", "x"), full("b", "x"), full("c", "y")]
SPLIT = [full("a", "x"), part("b", "x"), part("b", "y"), full("c", "y")]


@pytest.mark.parametrize(
    ("links", "area", "expected"),
    [
        pytest.param([], "x", cover("x"), id="no links"),
        pytest.param(MERGED, "x", cover("xA", "", "O"), id="a whole old district"),
        pytest.param(MERGED, "X", cover("XO"), id="the whole country"),
        pytest.param(MERGED, "a", cover("a", "x", "X"), id="an old commune is a part of a new one"),
        pytest.param(MERGED, "A", cover("Ax", "", "X"), id="an old district is a new commune"),
        pytest.param(SPLIT, "x", cover("xa", "b", "AO"), id="a divided commune"),
        pytest.param(SPLIT, "y", cover("yB", "b", "AO"), id="its other side"),
        pytest.param(SPLIT, "X", cover("XO"), id="both sides lie in the country"),
        pytest.param([part("a", "x")], "x", cover("x", "a", "AO"), id="nobody says where the rest went"),
        pytest.param([part("a", "x"), part("a", None)], "X", cover("X", "a", "AO"), id="the rest left the map"),
        pytest.param([part("a", "x"), part("a", "y"), part("a", None)], "X", cover("X", "a", "AO"), id="some left"),
        pytest.param([full("A", "x")], "x", cover("xA", "", "O"), id="a link between districts and communes"),
        pytest.param([full("A", "x")], "a", cover("a", "x", "X"), id="what is below a linked district"),
        pytest.param([full("A", "X")], "x", cover("x", "ab", "AO"), id="linked to what lies above"),
    ],
)
def test_cover(links: list[Link], area: str, expected: Cover) -> None:
    assert tree_of(*links).cover(AreaId(area)) == expected


def test_the_direction_of_the_lists_makes_no_difference() -> None:
    assert tree_of(*SPLIT, present="old").cover(AreaId("x")) == tree_of(*SPLIT).cover(AreaId("x"))


def test_an_event_told_of_a_whole_old_district_touches_those_it_may_have_happened_in() -> None:
    assert tree_of(*SPLIT).touched_by(AreaId("A")) == ("A", "O", "X", "x", "y")
    assert tree_of(*MERGED).touched_by(AreaId("a")) == ("a", "A", "O", "X", "x")
