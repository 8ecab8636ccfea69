"""Which target holds here and now, and is the value good?"""

from collections.abc import Sequence
from datetime import date
from enum import StrEnum

from msgspec import Struct

from schemas.event import AreaId
from schemas.kpi import Kpi, Target, Thresholds, Value


class Status(StrEnum):
    """The colour on a board."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"
    NONE = "none"  # nothing to judge, or nothing to judge by


class Why(StrEnum):
    """What a status follows from."""

    NO_VALUE = "no_value"  # there is nothing to judge yet
    NO_GOAL = "no_goal"  # the KPI has neither a target here and now nor thresholds
    UNCERTAIN = "uncertain"  # the value is known within bounds only, and they are judged differently
    TARGET_REACHED = "target_reached"
    TARGET_MISSED = "target_missed"
    WITHIN_LIMITS = "within_limits"  # no target, and on the good side of both thresholds
    PAST_WARNING = "past_warning"
    PAST_BAD = "past_bad"


class Judgement(Struct, frozen=True, kw_only=True):
    """How a value stands to its target. A share of 1: `attainment` 1 is all of the target.

    `attainment` is value / target where higher is better and target / value where lower is; None where nobody would
    read it so: no target, a value that is not certain, or a quotient that is not of two positive numbers.
    `gap` is value less target, in the KPI's unit.
    """

    status: Status
    reason: Why
    target: float | None = None
    attainment: float | None = None
    gap: float | None = None


def target_of(kpi: Kpi, path: Sequence[AreaId], day: date) -> Target | None:
    """The target that holds in an area on a day of its own calendar. `path` is the area and those it lies in.

    Of several the one of the narrowest area holds, among these the one of the shortest period, among these the one
    that stands last in the file. A target without an area is wider than any; a period open at one end is longer than
    any that is not.
    """
    places = {area: place for place, area in enumerate(path)}
    found: Target | None = None
    best: tuple[int, int] | None = None
    for target in kpi.target:
        place = len(path) if target.area is None else places.get(AreaId(target.area))
        if place is None or not _holds_on(target, day):
            continue
        rank = (place, _length_days(target))
        if best is None or rank <= best:
            found, best = target, rank
    return found


def judge(kpi: Kpi, value: Value, target: Target | None) -> Judgement:
    """How the value stands to its target and to the KPI's thresholds.

    A target is set for its area and time, thresholds for all: who reaches the target is good, whatever the thresholds
    say. Who misses it is never good: bad, or where there are thresholds and `bad` is not passed, a warning.
    """
    goal = None if target is None else target.value
    if target is None and kpi.thresholds is None:
        return Judgement(status=Status.NONE, reason=Why.NO_GOAL)
    if value.value is None:
        return Judgement(status=Status.NONE, reason=Why.NO_VALUE, target=goal)
    if not value.exact:
        return _judge_bounds(kpi, value, goal)
    status, reason = _verdict(kpi, value.value, goal)
    if goal is None:
        return Judgement(status=status, reason=reason)
    gap = value.value - goal
    return Judgement(
        status=status, reason=reason, target=goal, attainment=_attainment(kpi, value.value, goal), gap=gap
    )


def _judge_bounds(kpi: Kpi, value: Value, goal: float | None) -> Judgement:
    """Judged alike at both ends it is so all the way: a verdict only changes in one direction along the values."""
    if value.lower is not None and value.upper is not None:
        verdict = _verdict(kpi, value.lower, goal)
        if verdict == _verdict(kpi, value.upper, goal):
            return Judgement(status=verdict[0], reason=verdict[1], target=goal)
    return Judgement(status=Status.NONE, reason=Why.UNCERTAIN, target=goal)


def _verdict(kpi: Kpi, value: float, goal: float | None) -> tuple[Status, Why]:
    if goal is not None and _reaches(kpi, value, goal):
        return Status.GOOD, Why.TARGET_REACHED
    passed = None if kpi.thresholds is None else _passed(kpi, value, kpi.thresholds)
    if passed is Why.PAST_BAD:
        return Status.BAD, Why.PAST_BAD
    if goal is not None:
        return Status.BAD if kpi.thresholds is None else Status.WARNING, Why.TARGET_MISSED
    if passed is Why.PAST_WARNING:
        return Status.WARNING, Why.PAST_WARNING
    return Status.GOOD, Why.WITHIN_LIMITS


def _passed(kpi: Kpi, value: float, thresholds: Thresholds) -> Why | None:
    """The limit that the value has passed. On the limit itself it has not."""
    if not _reaches(kpi, value, thresholds.bad):
        return Why.PAST_BAD
    return None if _reaches(kpi, value, thresholds.warning) else Why.PAST_WARNING


def _reaches(kpi: Kpi, value: float, limit: float) -> bool:
    assert kpi.direction is not None, "who has a goal has a direction (`parse_kpis` checks)"
    return value >= limit if kpi.direction == "higher" else value <= limit


def _attainment(kpi: Kpi, value: float, goal: float) -> float | None:
    part, whole = (value, goal) if kpi.direction == "higher" else (goal, value)
    return part / whole if part >= 0 and whole > 0 else None


def _holds_on(target: Target, day: date) -> bool:
    return (target.start is None or target.start <= day) and (target.end is None or day < target.end)


def _length_days(target: Target) -> int:
    """How long the period is; one that is open at an end is longer than any calendar."""
    if target.start is None or target.end is None:
        return date.max.toordinal() + (target.start is None) + (target.end is None)
    return (target.end - target.start).days
