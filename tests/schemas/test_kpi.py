"""Does what people read come out of what was added up, and is it within its bounds where a map leaves it open?"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from schemas.distinct import merge, sketch_of
from schemas.kpi import (
    DERIVED,
    LATEST_BIN,
    Across,
    Catalogue,
    Kpi,
    Measure,
    Operand,
    Partial,
    Value,
    balance_value,
    base_value,
    bounds,
    kpi_value,
    ratio_value,
    silent_value,
)
from schemas.sketch import ALPHA, bin_of, representative

amounts = st.integers(-1000, 1000).map(lambda number: number / 8)  # sums of these are exact
SLACK = 1e-9
ABOUT_10 = representative(bin_of(10))
RECEIVED, CLOSED = "ioc.feedback.received.v1", "ioc.feedback.closed.v1"


def kpi(id_: str, measure: Measure, **keys: Any) -> Kpi:
    """A KPI of which only the reckoning matters."""
    if measure not in DERIVED:
        keys = {"event": "ioc.service.metric.v1"} | keys
    return Kpi(id=id_, names={"en": id_}, unit="1", measure=measure, **keys)


def stored(measure: Measure, value: float) -> Partial:
    """What one event leaves: `value` is what it measures, or the name it gives to tell apart."""
    match measure:
        case Measure.COUNT:
            return Partial(n=1, total=0)
        case Measure.PERCENTILE:
            return Partial(bin=bin_of(value), n=1, total=value)
        case Measure.MIN | Measure.MAX:
            return Partial(n=1, total=value, low=value, high=value)
        case Measure.DISTINCT:
            return Partial(n=1, sketch=sketch_of([str(value)]))
        case _:
            return Partial(n=1, total=value)


def added(rows: Sequence[Partial]) -> Partial:
    """Rows of one bin as the database adds them up."""
    return Partial(
        dim=rows[0].dim,
        bin=rows[0].bin,
        n=sum(row.n for row in rows),
        total=sum(row.total for row in rows),
        low=min((row.low for row in rows if row.low is not None), default=None),
        high=max((row.high for row in rows if row.high is not None), default=None),
        sketch=merge(row.sketch for row in rows if row.sketch is not None) if rows[0].sketch is not None else None,
    )


def latest(dim: str, at_s: float, value: float) -> Partial:
    """What a report of a state leaves."""
    return Partial(dim=dim, bin=LATEST_BIN, n=1, total=value, high=at_s)


@pytest.mark.parametrize(
    ("measure", "partials", "value"),
    [
        pytest.param(Measure.COUNT, [], Value(value=0, n=0), id="count of nothing is 0"),
        pytest.param(Measure.COUNT, [Partial(n=2), Partial(n=1)], Value(value=3, n=3), id="count"),
        pytest.param(Measure.SUM, [Partial(n=1, total=5), Partial(n=2, total=2)], Value(value=7, n=3), id="sum"),
        pytest.param(Measure.SUM, [], Value(value=0, n=0), id="sum of nothing is 0"),
        pytest.param(Measure.MEAN, [Partial(n=1, total=5), Partial(n=3, total=3)], Value(value=2, n=4), id="mean"),
        pytest.param(Measure.MEAN, [], Value(value=None, n=0), id="a mean of nothing is no mean"),
        pytest.param(
            Measure.IN_TIME, [], Value(value=None, n=0, numerator=0, denominator=0), id="a share of nothing is none"
        ),
        pytest.param(
            Measure.IN_TIME,
            [Partial(n=3, total=3), Partial(n=1)],
            Value(value=0.75, n=4, numerator=3, denominator=4),
            id="share in time",
        ),
        pytest.param(
            Measure.WITHIN, [Partial(n=1)], Value(value=0, n=1, numerator=0, denominator=1), id="all late is 0"
        ),
        pytest.param(Measure.MIN, [Partial(n=1, low=3, high=9), Partial(n=1, low=4)], Value(value=3, n=2), id="min"),
        pytest.param(Measure.MAX, [Partial(n=1, low=3, high=9), Partial(n=1, high=4)], Value(value=9, n=2), id="max"),
        pytest.param(Measure.MAX, [], Value(value=None, n=0), id="nothing has no greatest"),
        pytest.param(
            Measure.PERCENTILE,
            [Partial(bin=bin_of(10), n=1, total=10)],
            Value(value=ABOUT_10, n=1, p50=ABOUT_10, p95=ABOUT_10),
            id="one value is its own percentiles",
        ),
        pytest.param(Measure.PERCENTILE, [Partial(n=2)], Value(value=0, n=2, p50=0, p95=0), id="zeros"),
        pytest.param(
            Measure.DISTINCT,
            [Partial(n=2, sketch=sketch_of("ab")), Partial(n=2, sketch=sketch_of("bc"))],
            Value(value=3, n=3),
            id="distinct",
        ),
        pytest.param(Measure.DISTINCT, [], Value(value=0, n=0), id="none seen"),
        pytest.param(Measure.COUNT, [Partial(n=2), Partial(n=0)], Value(value=2, n=2), id="a row emptied again"),
    ],
)
def test_values(measure: Measure, partials: list[Partial], value: Value) -> None:
    assert base_value(measure, partials) == value


@pytest.mark.parametrize(
    ("across", "value"),
    [pytest.param("sum", 7, id="sum"), pytest.param("mean", 3.5, id="mean"), ("min", 2), ("max", 5)],
)
def test_the_last_report_of_each_place_holds(across: Across, value: float) -> None:
    rows = [latest("a", 10, 9), latest("a", 20, 5), latest("b", 15, 2), latest("a", 5, 100)]
    assert base_value(Measure.LATEST, rows, across=across) == Value(value=value, n=2)
    assert base_value(Measure.LATEST, [], across=across) == Value(value=None, n=0)


@given(st.lists(amounts, min_size=1, max_size=100), st.floats(0.01, 0.99))
def test_a_percentile_is_near_the_exact_one(values: list[float], q: float) -> None:
    found = base_value(Measure.PERCENTILE, [stored(Measure.PERCENTILE, value) for value in values], q).value
    exact = sorted(values)[int(q * (len(values) - 1))]
    assert found is not None
    assert abs(found - exact) <= ALPHA * abs(exact) * (1 + SLACK)


@given(st.sampled_from(sorted(set(Measure) - DERIVED - {Measure.LATEST})), st.lists(amounts, max_size=40), st.data())
def test_partials_can_be_added_before_or_when_they_are_read(
    measure: Measure, values: list[float], data: st.DataObject
) -> None:
    rows = [stored(measure, value) for value in values]
    groups: dict[Any, list[Partial]] = {}
    for row in rows:
        groups.setdefault((data.draw(st.integers(0, 2)), row.bin), []).append(row)
    together = [added(group) for group in groups.values()]
    assert base_value(measure, data.draw(st.permutations(together))) == base_value(measure, rows)


# What is derived from other indicators.

CATALOGUE = Catalogue(
    [
        kpi("received", Measure.COUNT, event=RECEIVED),
        kpi("closed", Measure.COUNT, event=CLOSED),
        kpi("closed_per_100", Measure.RATIO, numerator="closed", denominator="received", per=100),
        kpi(
            "by_phone",
            Measure.RATIO,
            numerator=Operand(measure=Measure.COUNT, event=RECEIVED, where={"channel": "phone"}),
            denominator="received",
        ),
        kpi(
            "phone_per_road",
            Measure.RATIO,
            numerator=Operand(measure=Measure.COUNT, event=RECEIVED, where={"channel": "phone"}),
            denominator=Operand(measure=Measure.COUNT, event=RECEIVED, where={"category": "road"}),
        ),
        kpi("open", Measure.BALANCE, plus="received", minus="closed"),
        kpi("p90", Measure.PERCENTILE, value="value", q=0.9),
        kpi("spread", Measure.RATIO, numerator="p90", denominator="p90"),
        kpi("cameras", Measure.DISTINCT, event="ioc.camera.detection.v1", of="camera"),
        kpi("silent", Measure.SILENT, of="cameras"),
    ]
)


def test_a_catalogue_knows_what_each_indicator_is_read_from() -> None:
    ids = {one.id: [base.id for base in CATALOGUE.bases_of(one.id)] for one in CATALOGUE.kpis}
    assert ids["closed_per_100"] == ["closed", "received"]
    assert ids["by_phone"] == ["by_phone/numerator", "received"]
    assert ids["open"] == ["received", "closed"]
    assert ids["silent"] == ["cameras"]
    assert [base.id for base in CATALOGUE.bases] == [
        "received",
        "closed",
        "by_phone/numerator",
        "phone_per_road/numerator",
        "phone_per_road/denominator",
        "p90",
        "cameras",
    ]
    assert CATALOGUE.readers_of("received") == ["received", "closed_per_100", "by_phone", "open"]
    assert [base.id for base in CATALOGUE.fed_by(RECEIVED)] == [
        "received",
        "by_phone/numerator",
        "phone_per_road/numerator",
        "phone_per_road/denominator",
    ]


def test_a_ratio_keeps_what_it_divides() -> None:
    rows = {"received": [Partial(n=3), Partial(n=5)], "closed": [Partial(n=2)]}
    assert kpi_value(CATALOGUE, "closed_per_100", rows) == Value(value=25, n=8, numerator=2, denominator=8)
    assert kpi_value(CATALOGUE, "closed_per_100", {}) == Value(value=None, n=0, numerator=0, denominator=0)
    assert kpi_value(CATALOGUE, "by_phone", {"by_phone/numerator": [Partial(n=1)], **rows}).value == 1 / 8


def test_a_percentile_is_read_at_its_own_q() -> None:
    rows = {"p90": [stored(Measure.PERCENTILE, value) for value in range(1, 101)]}
    assert kpi_value(CATALOGUE, "p90", rows).value == pytest.approx(90, rel=ALPHA)
    assert kpi_value(CATALOGUE, "spread", rows).value == 1


def test_a_balance_is_what_came_less_what_went() -> None:
    assert balance_value(Value(value=5, n=5), Value(value=7, n=7)) == Value(value=-2, n=12)
    open_ = balance_value(
        Value(value=5, n=5, exact=False, lower=5, upper=8), Value(value=2, n=2, exact=False, lower=2, upper=4)
    )
    assert open_ == Value(value=3, n=7, exact=False, lower=1, upper=6)
    unknown = balance_value(Value(value=5, n=5, exact=False), Value(value=2, n=2))
    assert (unknown.exact, unknown.lower, unknown.upper) == (False, None, None)


def test_silent_are_those_that_are_not_heard_any_more() -> None:
    assert silent_value(Value(value=5, n=90), Value(value=3, n=8)) == Value(value=2, n=90)
    # Estimates may say that more were heard than were ever seen. Nobody is less than silent.
    assert silent_value(Value(value=5000, n=9000), Value(value=5001, n=8000)).value == 0
    found = silent_value(
        Value(value=5, n=9, exact=False, lower=5, upper=6), Value(value=3, n=8, exact=False, lower=3, upper=7)
    )
    assert (found.lower, found.upper) == (0, 3)


# Where a redrawn map leaves it open.

few = st.lists(st.integers(-3, 3).map(float), max_size=5)
shares = st.lists(st.sampled_from([0.0, 1.0]), max_size=5)
positive = st.lists(st.integers(1, 4).map(float), max_size=5)


def parts_of(events: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Any of these events, in every way."""
    for size in range(len(events) + 1):
        yield from combinations(events, size)


def check(found: Value, truths: list[float | None], *, tight: bool) -> None:
    """Every truth lies within the bounds; tight ones are reached."""
    known = [truth for truth in truths if truth is not None]
    for truth in known:
        assert found.lower is None or found.lower <= truth + SLACK
        assert found.upper is None or found.upper >= truth - SLACK
    if tight and known:
        assert found.lower is not None
        assert found.upper is not None
        assert math.isclose(found.lower, min(known), abs_tol=SLACK)
        assert math.isclose(found.upper, max(known), abs_tol=SLACK)


BOUNDED = {
    "count": (kpi("k", Measure.COUNT), few),
    "sum of what is never negative": (
        kpi("k", Measure.SUM, event="ioc.camera.detection.v1", value="count"),
        positive,
    ),
    "sum of times": (kpi("k", Measure.SUM, event=CLOSED, since="opened_at"), positive),
    "in time": (kpi("k", Measure.IN_TIME, event=CLOSED, due="due_at"), shares),
    "within": (kpi("k", Measure.WITHIN, value="value", within_s=2.0), shares),
    "min": (kpi("k", Measure.MIN, value="value"), few),
    "max": (kpi("k", Measure.MAX, value="value"), few),
    "median": (kpi("k", Measure.PERCENTILE, value="value", q=0.5), few),
    "p90": (kpi("k", Measure.PERCENTILE, value="value", q=0.9), few),
    "distinct": (kpi("k", Measure.DISTINCT, event="ioc.camera.detection.v1", of="camera"), few),
}


@pytest.mark.parametrize("name", BOUNDED)
@given(st.data())
def test_the_bounds_are_those_of_every_part_that_may_belong_here(name: str, data: st.DataObject) -> None:
    one, events = BOUNDED[name]
    catalogue = Catalogue([one])
    certain = [stored(one.measure, value) for value in data.draw(events)]
    possible = [stored(one.measure, value) for value in data.draw(events)]
    # Rows are added up before they are read: bounds cannot look at single events.
    rows: dict[int, list[Partial]] = {}
    for row in possible:
        rows.setdefault(row.bin, []).append(row)
    found = bounds(catalogue, "k", {"k": certain}, {"k": [added(group) for group in rows.values()]})
    truths = [kpi_value(catalogue, "k", {"k": [*certain, *part]}).value for part in parts_of(possible)]
    assert found.value == kpi_value(catalogue, "k", {"k": certain}).value
    if not possible:
        assert found == kpi_value(catalogue, "k", {"k": certain})
        return
    assert not found.exact
    check(found, truths, tight=bool(certain) or one.measure not in (Measure.MIN, Measure.MAX))


@pytest.mark.parametrize(
    "one",
    [
        pytest.param(kpi("k", Measure.MEAN, value="value"), id="mean"),
        pytest.param(kpi("k", Measure.SUM, value="value"), id="sum of what may be negative"),
        pytest.param(kpi("k", Measure.LATEST, value="value"), id="latest"),
    ],
)
def test_where_no_bound_can_be_given_none_is(one: Kpi) -> None:
    found = bounds(Catalogue([one]), "k", {"k": [Partial(n=1, total=1)]}, {"k": [Partial(n=1, total=1)]})
    assert (found.value, found.exact, found.lower, found.upper) == (1, False, None, None)


counts = st.integers(0, 4)


def count(n: int) -> list[Partial]:
    """The rows of so many events."""
    return [Partial(n=1)] * n


@pytest.mark.parametrize(
    "ratio",
    [pytest.param("closed_per_100", id="other events"), pytest.param("phone_per_road", id="other conditions")],
)
@given(counts, counts, counts, counts)
def test_a_ratio_of_two_kinds_of_events_is_bounded(ratio: str, n: int, d: int, n_more: int, d_more: int) -> None:
    above, below = CATALOGUE.parts_of(ratio)
    whole, partial = {above: count(n), below: count(d)}, {above: count(n_more), below: count(d_more)}
    found = bounds(CATALOGUE, ratio, whole, partial)
    truths = [
        kpi_value(CATALOGUE, ratio, {above: count(n + x), below: count(d + y)}).value
        for x in range(n_more + 1)
        for y in range(d_more + 1)
    ]
    if not n_more and not d_more:
        assert found == kpi_value(CATALOGUE, ratio, whole)
        return
    assert not found.exact
    check(found, truths, tight=d > 0)


@given(counts, counts, counts, counts)
def test_a_share_of_the_events_that_it_divides_by_is_bounded_closer(
    phone: int, other: int, phone_more: int, other_more: int
) -> None:
    def rows(phone: int, other: int) -> dict[str, list[Partial]]:
        return {"by_phone/numerator": count(phone), "received": count(phone + other)}

    assume(phone_more or other_more)
    found = bounds(CATALOGUE, "by_phone", rows(phone, other), rows(phone_more, other_more))
    truths = [
        kpi_value(CATALOGUE, "by_phone", rows(phone + x, other + y)).value
        for x in range(phone_more + 1)
        for y in range(other_more + 1)
    ]
    check(found, truths, tight=True)


intervals = st.tuples(st.integers(-4, 4), st.integers(0, 4))


@given(intervals, intervals)
def test_a_ratio_of_parts_within_bounds_is_within_bounds(above: tuple[int, int], below: tuple[int, int]) -> None:
    def value(low: int, span: int) -> Value:
        if not span:
            return Value(value=low, n=1)
        return Value(value=low, n=1, exact=False, lower=low, upper=low + span)

    ratio = CATALOGUE["closed_per_100"]
    found = ratio_value(ratio, value(*above), value(*below))
    truths = [
        100 * (above[0] + x) / (below[0] + y)
        for x in range(above[1] + 1)
        for y in range(below[1] + 1)
        if below[0] + y != 0
    ]
    if found.exact:
        assert above[1] == below[1] == 0
        return
    check(found, truths, tight=below[0] > 0)
