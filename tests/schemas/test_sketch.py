"""Are percentiles of a sketch near enough, and do sketches add up?"""

from collections import Counter
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.sketch import ALPHA, ZERO_BIN, bin_of, quantile, quantile_range, representative

SLACK = 1 + 1e-9
"""Floating point itself."""

magnitudes = st.floats(min_value=1e-12, max_value=1e15)
values = st.one_of(magnitudes, magnitudes.map(lambda value: -value), st.just(0.0))
quantiles = st.floats(min_value=0, max_value=1)


def sketch(given_values: list[float]) -> Counter[int]:
    """What is stored of these values."""
    return Counter(map(bin_of, given_values))


@given(st.lists(values, min_size=1, max_size=200), quantiles)
def test_a_quantile_is_within_a_hundredth_of_the_exact_one(xs: list[float], q: float) -> None:
    exact = sorted(xs)[int(q * (len(xs) - 1))]
    found = quantile(sketch(xs).items(), q)
    assert found is not None
    assert abs(found - exact) <= ALPHA * abs(exact) * SLACK


@given(st.lists(values, max_size=100), st.lists(values, max_size=100), quantiles)
def test_sketches_merge_by_adding(xs: list[float], ys: list[float], q: float) -> None:
    assert sketch(xs) + sketch(ys) == sketch(xs + ys)
    # Rows of the same bin need not even be added before they are read.
    apart = [*sketch(xs).items(), *sketch(ys).items()]
    assert quantile(apart, q) == quantile(sketch(xs + ys).items(), q)


@given(values, values)
def test_bins_are_ordered_as_values_are(x: float, y: float) -> None:
    if x <= y:
        assert bin_of(x) <= bin_of(y)


@given(values)
def test_a_representative_lies_in_its_bin(x: float) -> None:
    assert bin_of(representative(bin_of(x))) == bin_of(x)
    assert abs(representative(bin_of(x)) - x) <= ALPHA * abs(x) * SLACK


@given(magnitudes)
def test_negative_values_mirror_positive_ones(x: float) -> None:
    assert bin_of(-x) == -bin_of(x)
    assert representative(bin_of(-x)) == -representative(bin_of(x))


@pytest.mark.parametrize(
    ("value", "bin_"),
    [
        pytest.param(0.0, ZERO_BIN, id="zero"),
        pytest.param(-0.0, ZERO_BIN, id="negative zero"),
        pytest.param(1.0, 8192, id="one"),
        pytest.param(1e300, 8192 + 8191, id="beyond the largest bin"),
        pytest.param(5e-324, 1, id="beyond the smallest bin"),
        pytest.param(-5e-324, -1, id="beyond the smallest bin, negative"),
    ],
)
def test_bins(value: float, bin_: int) -> None:
    assert bin_of(value) == bin_


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([(7, 0)], 0.5) is None


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("spread", [0.1, 1.0, 3.0])
def test_merged_parts_are_within_a_hundredth_of_the_exact_order_statistic(q: float, spread: float) -> None:
    random = Random(f"{q} {spread}")
    xs = [random.lognormvariate(5, spread) for _ in range(10_001)]
    parts: list[list[float]] = [[] for _ in range(24)]
    for x in xs:
        random.choice(parts).append(x)
    merged = [pair for part in parts for pair in sketch(part).items()]
    exact = sorted(xs)[int(q * (len(xs) - 1))]
    found = quantile(merged, q)
    assert found is not None
    assert abs(found - exact) <= ALPHA * exact * SLACK


few = st.lists(st.integers(-3, 3).map(float), max_size=6)


@given(few, few, quantiles)
def test_the_range_of_a_quantile_is_that_of_all_parts(certain: list[float], possible: list[float], q: float) -> None:
    found = [
        quantile(sketch([*certain, *part]).items(), q)
        for size in range(len(possible) + 1)
        for part in combinations(possible, size)
    ]
    given_ones = [one for one in found if one is not None]
    expected = (min(given_ones), max(given_ones)) if given_ones else (None, None)
    assert quantile_range(sketch(certain).items(), sketch(possible).items(), q) == expected
