"""Does a part of a country's tables say of its areas what the whole says?"""

from hypothesis import given
from hypothesis import strategies as st

from schemas.area import Area
from schemas.area_cut import cut_areas
from schemas.area_table import parse_area_tree
from tests.schemas.redrawn_map import ZONE, Country, countries

WITH_A_ROOT = countries(lists=3).flatmap(
    lambda country: st.tuples(
        st.just(country),
        st.sampled_from([area for area in country.areas if area.list_id == country.areas[0].list_id]),
    )
)


@given(given=WITH_A_ROOT)
def test_what_lies_in_the_part_is_covered_as_before(given: tuple[Country, Area]) -> None:
    country, root = given
    tree = country.tree
    part = parse_area_tree(cut_areas(country.pack, tree.list_id, ZONE, root.code, "site.toml"), tree.list_id, ZONE)
    assert part.root.id == root.id
    for area in (root, *tree.descendants(root.id)):
        cover, before = part.cover(area.id), tree.cover(area.id)
        assert set(cover.whole) == set(before.whole)
        assert set(cover.partial) == set(before.partial)
        # What is said of an old district as a whole is told apart only by those who see all of it.
        assert set(cover.apart) <= set(before.apart)
    for area in part:
        assert set(part.path(area.id)) <= set(tree.path(area.id))


@given(country=countries())
def test_the_whole_is_a_part_of_itself(country: Country) -> None:
    tree = country.tree
    part = parse_area_tree(
        cut_areas(country.pack, tree.list_id, ZONE, tree.root.code, "site.toml"), tree.list_id, ZONE
    )
    assert part.ids == tree.ids
    for area in tree.ids:
        assert part.cover(area) == tree.cover(area)
