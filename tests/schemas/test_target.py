"""Does the right target hold, and is a value judged by it as people would?"""

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.event import AreaId
from schemas.kpi import Kpi, Measure, Target, Thresholds, Value
from schemas.target import Judgement, Status, Why, judge, target_of

COMMUNE, DISTRICT, PROVINCE = AreaId("010"), AreaId("01"), AreaId("0")
PATH = (COMMUNE, DISTRICT, PROVINCE)
YEAR = {"start": date(2026, 1, 1), "end": date(2027, 1, 1)}
QUARTER = {"start": date(2026, 4, 1), "end": date(2026, 7, 1)}
DAY = date(2026, 5, 17)


def kpi(**keys: Any) -> Kpi:
    """A KPI of which only the goals matter."""
    return Kpi(id="k", names={"en": "K"}, unit="1", measure=Measure.COUNT, event="x", **keys)


def target(value: float, **keys: Any) -> Target:
    """A target with some keys."""
    return Target(value=value, **keys)


@pytest.mark.parametrize(
    ("targets", "holds"),
    [
        pytest.param([], None, id="none"),
        pytest.param([target(1)], 1, id="one for everywhere and ever"),
        pytest.param([target(1, area="0"), target(2)], 1, id="the root is narrower than everywhere"),
        pytest.param([target(1, area="0"), target(2, area="010"), target(3, area="01")], 2, id="the narrowest area"),
        pytest.param([target(1, area="02"), target(2)], 2, id="another area's target does not hold"),
        pytest.param([target(1, area="0100")], None, id="nor does one of an area below"),
        pytest.param([target(1, **QUARTER), target(2, **YEAR)], 1, id="the shortest period"),
        pytest.param([target(1, **YEAR), target(2, area="0")], 2, id="the area comes before the period"),
        pytest.param([target(1, **YEAR), target(2)], 1, id="a year is shorter than for ever"),
        pytest.param([target(1, start=date(2026, 1, 1)), target(2)], 1, id="open at one end is shorter than at both"),
        pytest.param(
            [target(1, **YEAR), target(2, end=date(2026, 5, 18))], 1, id="any period is shorter than an open one"
        ),
        pytest.param(
            [target(1, **QUARTER), target(2, start=date(2026, 5, 1), end=date(2026, 7, 31))],
            2,
            id="equally long: the last",
        ),
        pytest.param([target(1, start=DAY)], 1, id="holds from its start"),
        pytest.param([target(1, end=DAY)], None, id="not on its end"),
        pytest.param([target(1, start=date(2026, 5, 18))], None, id="not before its start"),
        pytest.param([target(1, end=date(2026, 5, 18))], 1, id="on the day before its end"),
    ],
)
def test_the_target_that_holds(targets: list[Target], holds: float | None) -> None:
    found = target_of(kpi(target=targets, direction="higher"), PATH, DAY)
    assert (None if found is None else found.value) == holds


LIMITS = Thresholds(warning=0.9, bad=0.7)
"""For what is better when it is higher."""
DELAYS = Thresholds(warning=10, bad=20)
"""For what is better when it is lower."""
GOOD, WARNING, BAD, NONE = Status


@pytest.mark.parametrize(
    ("direction", "thresholds", "goal", "value", "status", "reason"),
    [
        pytest.param(None, None, None, 1, NONE, Why.NO_GOAL, id="nothing to judge by"),
        pytest.param("higher", None, 0.9, None, NONE, Why.NO_VALUE, id="nothing to judge"),
        pytest.param("higher", None, None, None, NONE, Why.NO_GOAL, id="nothing to judge nor to judge by"),
        pytest.param("higher", None, 0.9, 0.9, GOOD, Why.TARGET_REACHED, id="higher: on the target is reached"),
        pytest.param("higher", None, 0.9, 0.89, BAD, Why.TARGET_MISSED, id="higher: below is missed"),
        pytest.param("lower", None, 10, 10, GOOD, Why.TARGET_REACHED, id="lower: on the target is reached"),
        pytest.param("lower", None, 10, 10.5, BAD, Why.TARGET_MISSED, id="lower: above is missed"),
        pytest.param("higher", LIMITS, None, 0.9, GOOD, Why.WITHIN_LIMITS, id="higher: on the warning is good"),
        pytest.param("higher", LIMITS, None, 0.89, WARNING, Why.PAST_WARNING, id="higher: past the warning"),
        pytest.param("higher", LIMITS, None, 0.7, WARNING, Why.PAST_WARNING, id="higher: on the bad is a warning"),
        pytest.param("higher", LIMITS, None, 0.69, BAD, Why.PAST_BAD, id="higher: past the bad"),
        pytest.param("lower", DELAYS, None, 10, GOOD, Why.WITHIN_LIMITS, id="lower: on the warning is good"),
        pytest.param("lower", DELAYS, None, 11, WARNING, Why.PAST_WARNING, id="lower: past the warning"),
        pytest.param("lower", DELAYS, None, 20, WARNING, Why.PAST_WARNING, id="lower: on the bad is a warning"),
        pytest.param("lower", DELAYS, None, 21, BAD, Why.PAST_BAD, id="lower: past the bad"),
        pytest.param("higher", LIMITS, 0.95, 0.96, GOOD, Why.TARGET_REACHED, id="reached, both given"),
        pytest.param("higher", LIMITS, 0.95, 0.92, WARNING, Why.TARGET_MISSED, id="missed within limits: a warning"),
        pytest.param("higher", LIMITS, 0.95, 0.8, WARNING, Why.TARGET_MISSED, id="missed past the warning"),
        pytest.param("higher", LIMITS, 0.95, 0.5, BAD, Why.PAST_BAD, id="missed past the bad"),
        pytest.param("higher", LIMITS, 0.5, 0.6, GOOD, Why.TARGET_REACHED, id="a softer target of a poor commune"),
        pytest.param("higher", LIMITS, 0.5, 0.4, BAD, Why.PAST_BAD, id="a softer target missed"),
    ],
)
def test_judgements(
    direction: Any,
    thresholds: Thresholds | None,
    goal: float | None,
    value: float | None,
    status: Status,
    reason: Why,
) -> None:
    found = judge(
        kpi(direction=direction, thresholds=thresholds),
        Value(value=value, n=1),
        None if goal is None else target(goal),
    )
    assert (found.status, found.reason, found.target) == (status, reason, goal)


@pytest.mark.parametrize(
    ("direction", "goal", "value", "attainment", "gap"),
    [
        pytest.param("higher", 0.8, 0.6, 0.75, -0.2, id="three quarters of the way"),
        pytest.param("higher", 0.8, 0.88, 1.1, 0.08, id="more than all"),
        pytest.param("higher", 80, 0, 0, -80, id="nothing of it"),
        pytest.param("higher", 0, 5, None, 5, id="any is more than a target of 0"),
        pytest.param("higher", 10, -5, None, -15, id="a negative value is no part of a target"),
        pytest.param("higher", -10, -5, None, 5, id="nor is anything of a negative one"),
        pytest.param("lower", 10, 20, 0.5, 10, id="twice as much as it should be"),
        pytest.param("lower", 10, 5, 2, -5, id="half of what it may be"),
        pytest.param("lower", 10, 0, None, -10, id="nothing at all"),
        pytest.param("lower", 0, 5, 0, 5, id="there should be none"),
        pytest.param("lower", -1, 5, None, 6, id="a negative target"),
    ],
)
def test_attainment_and_gap(direction: Any, goal: float, value: float, attainment: float | None, gap: float) -> None:
    found = judge(kpi(direction=direction), Value(value=value, n=1), target(goal))
    assert found.attainment == pytest.approx(attainment)
    assert found.gap == pytest.approx(gap)


@pytest.mark.parametrize(
    ("lower", "upper", "status", "reason"),
    [
        pytest.param(0.95, 0.99, GOOD, Why.TARGET_REACHED, id="good wherever it lies"),
        pytest.param(0.1, 0.6, BAD, Why.PAST_BAD, id="bad wherever it lies"),
        pytest.param(0.6, 0.95, NONE, Why.UNCERTAIN, id="good or bad"),
        pytest.param(0.8, 0.9, WARNING, Why.TARGET_MISSED, id="a warning wherever it lies"),
        pytest.param(0.95, None, NONE, Why.UNCERTAIN, id="no upper bound"),
        pytest.param(None, None, NONE, Why.UNCERTAIN, id="no bounds"),
    ],
)
def test_a_value_within_bounds_is_judged_where_it_makes_no_difference(
    lower: float | None, upper: float | None, status: Status, reason: Why
) -> None:
    value = Value(value=0.95, n=1, exact=False, lower=lower, upper=upper)
    found = judge(kpi(direction="higher", thresholds=LIMITS), value, target(0.95))
    assert found == Judgement(status=status, reason=reason, target=0.95)


numbers = st.integers(-5, 5).map(float)


@given(st.sampled_from(["higher", "lower"]), numbers, numbers, numbers | st.none(), st.lists(numbers, min_size=2))
def test_what_is_better_is_never_judged_worse(
    direction: Any, one: float, other: float, goal: float | None, values: list[float]
) -> None:
    if one == other:
        return
    better, worse = (
        (max(one, other), min(one, other)) if direction == "higher" else (min(one, other), max(one, other))
    )
    judged = kpi(direction=direction, thresholds=Thresholds(warning=better, bad=worse))
    ranks = [
        [GOOD, WARNING, BAD].index(
            judge(judged, Value(value=value, n=1), None if goal is None else target(goal)).status
        )
        for value in sorted(values, reverse=direction == "higher")
    ]
    assert ranks == sorted(ranks)
