"""How near is a count of different ones, when it is put together from many parts?"""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.distinct import estimate, merge, sketch_of

names = st.text(min_size=1, max_size=8)


@pytest.mark.parametrize("n", [0, 1, 10, 100, 1_000, 3_000, 10_000, 50_000, 200_000])
def test_merged_parts_are_near_enough(n: int) -> None:
    random = Random(n)
    # Each of them is seen once to three times, in any of 24 parts.
    parts: list[list[str]] = [[] for _ in range(24)]
    for one in range(n):
        for _ in range(random.randint(1, 3)):
            random.choice(parts).append(f"camera-{one}")
    found = estimate(sketch_of(part) for part in parts)
    assert abs(found - n) <= (0 if n <= 1_000 else 0.02 * n)


@given(st.lists(st.lists(names, max_size=30), max_size=6), st.data())
def test_few_are_exact_in_any_order_and_any_grouping(parts: list[list[str]], data: st.DataObject) -> None:
    exact = len({name for part in parts for name in part})
    sketches = [sketch_of(part) for part in data.draw(st.permutations(parts))]
    cut = data.draw(st.integers(0, len(sketches)))
    assert estimate(sketches) == exact
    assert estimate([merge(sketches[:cut]), merge(sketches[cut:])]) == exact
    assert estimate([*sketches, *sketches]) == exact
