"""Does what people read come out of what was added up?"""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.kpi import Measure, Partial, Value, value_of
from schemas.sketch import ALPHA, bin_of

amounts = st.integers(-1000, 1000).map(lambda number: number / 8)  # sums of these are exact


def one(value: float, bin_: int = 0, n: int = 1) -> Partial:
    """What one event leaves, or several that are alike."""
    return Partial(bin=bin_, n=n, total=value * n, low=value, high=value)


@pytest.mark.parametrize(
    ("measure", "partials", "value"),
    [
        pytest.param(Measure.COUNT, [], Value(value=0, n=0), id="count of nothing is 0"),
        pytest.param(Measure.COUNT, [one(1), one(1)], Value(value=2, n=2), id="count"),
        pytest.param(Measure.COUNT, [one(5), one(2)], Value(value=7, n=2), id="weights"),
        pytest.param(
            Measure.IN_TIME,
            [],
            Value(value=None, n=0, numerator=0, denominator=0),
            id="a share of nothing is no share",
        ),
        pytest.param(
            Measure.IN_TIME, [one(1, n=3), one(0)], Value(value=0.75, n=4, numerator=3, denominator=4), id="share"
        ),
        pytest.param(
            Measure.IN_TIME,
            [one(0)],
            Value(value=0, n=1, numerator=0, denominator=1),
            id="all late is 0, not nothing",
        ),
        pytest.param(Measure.DISTRIBUTION, [], Value(value=None, n=0), id="distribution of nothing"),
        pytest.param(
            Measure.DISTRIBUTION,
            [one(10, bin_of(10))],
            Value(value=10, n=1, low=10, high=10, p50=10, p95=10),
            id="one value is its own percentiles",
        ),
        pytest.param(
            Measure.DISTRIBUTION,
            [one(0, 0), one(0, 0)],
            Value(value=0, n=2, low=0, high=0, p50=0, p95=0),
            id="zeros",
        ),
    ],
)
def test_values(measure: Measure, partials: list[Partial], value: Value) -> None:
    assert value_of(measure, partials) == value


@given(st.lists(amounts, min_size=1, max_size=100))
def test_a_distribution_is_what_its_values_are(values: list[float]) -> None:
    found = value_of(Measure.DISTRIBUTION, [one(value, bin_of(value)) for value in values])
    assert found.value is not None
    assert math.isclose(found.value, sum(values) / len(values), abs_tol=1e-12)
    assert (found.n, found.low, found.high) == (len(values), min(values), max(values))
    for q, percentile in ((0.5, found.p50), (0.95, found.p95)):
        exact = sorted(values)[int(q * (len(values) - 1))]
        assert percentile is not None
        assert abs(percentile - exact) <= ALPHA * abs(exact) * (1 + 1e-9)


@given(st.sampled_from(Measure), st.lists(amounts, max_size=40), st.data())
def test_partials_can_be_added_before_or_when_they_are_read(
    measure: Measure, values: list[float], data: st.DataObject
) -> None:
    bin_ = bin_of if measure is Measure.DISTRIBUTION else (lambda _: 0)
    rows = [one(value, bin_(value)) for value in values]
    groups: dict[Any, list[Partial]] = {}
    for row in rows:
        groups.setdefault((data.draw(st.integers(0, 2)), row.bin), []).append(row)
    added = [
        Partial(
            bin=group[0].bin,
            n=sum(row.n for row in group),
            total=sum(row.total for row in group),
            low=min(row.low for row in group),
            high=max(row.high for row in group),
        )
        for group in groups.values()
    ]
    assert value_of(measure, data.draw(st.permutations(added))) == value_of(measure, rows)
