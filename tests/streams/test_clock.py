"""Do a case's clocks run, pause and stop as the law has it?"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.area_id import AreaId
from schemas.case import Clock, ClockName, Kind, Severity, State
from schemas.working_time import remaining_s, worked_between_s, worked_s
from streams.core.clock import (
    clock_deadlines,
    passed,
    pause,
    plan_of,
    replan,
    resume,
    run_on,
    start_clocks,
    stop,
)
from tests.schemas.case_pack import AT, CLOCKS, case, hanoi, site

SITE = site()
HOUR_S = 3600.0
ANSWER = ClockName.FIRST_ANSWER
RESOLUTION = ClockName.RESOLUTION

moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))


def one(clocks: tuple[Clock, ...], name: ClockName) -> Clock:
    (found,) = (clock for clock in clocks if clock.name is name)
    return found


def answer_clock(start: str) -> tuple[Clock, ...]:
    """The four hours for a first answer, started."""
    return tuple(clock for clock in start_clocks(SITE, case(), hanoi(start)) if clock.name is ANSWER)


def test_started() -> None:
    """A common case has a clock for its answer and one for its end, each by its plan."""
    clocks = start_clocks(SITE, case(), AT)
    assert [clock.name for clock in clocks] == [ANSWER, RESOLUTION]
    answer = one(clocks, ANSWER)
    assert (answer.allowed_s, answer.since, answer.due_at) == (4 * HOUR_S, AT, hanoi("2026-03-09T15:00"))
    assert answer.warn_at == hanoi("2026-03-09T14:00")


def test_day_of_the_report_does_not_count() -> None:
    """Three days begin with the next day, and end with the third day's last hour."""
    resolution = one(start_clocks(SITE, case(), AT), RESOLUTION)
    assert resolution.started_at == hanoi("2026-03-10T00:00")
    assert resolution.due_at == hanoi("2026-03-12T17:00")
    assert worked_s(SITE, resolution, hanoi("2026-03-09T17:00")) == 0
    assert worked_s(SITE, resolution, hanoi("2026-03-10T08:30")) == HOUR_S


def test_days_over_a_short_saturday() -> None:
    """A day is a working day, long or short: 20 August and three days end with Monday."""
    resolution = one(start_clocks(SITE, case(), hanoi("2026-08-20T10:00")), RESOLUTION)
    assert resolution.due_at == hanoi("2026-08-24T17:00")


def test_from_the_eve_of_tet() -> None:
    """16:55 on the last day before Tết 2026: five minutes then, the rest on Monday the 23rd."""
    (answer,) = answer_clock("2026-02-13T16:55")
    assert answer.due_at == hanoi("2026-02-23T11:25")
    assert answer.warn_at == hanoi("2026-02-23T10:25")
    assert remaining_s(SITE, answer, hanoi("2026-02-17T12:00")) == 4 * HOUR_S - 300


def test_paused_over_tet() -> None:
    """The citizen is asked at 16:30 and answers a day after everyone else is back."""
    clocks = pause(SITE, answer_clock("2026-02-13T16:00"), hanoi("2026-02-13T16:30"))
    assert (clocks[0].ran_s, clocks[0].since, clocks[0].due_at, clocks[0].warn_at) == (1800, None, None, None)
    assert not clock_deadlines(case(clocks=clocks))
    (answer,) = resume(SITE, clocks, hanoi("2026-02-24T09:00"))
    assert answer.due_at == hanoi("2026-02-24T14:30")
    assert answer.warn_at == hanoi("2026-02-24T11:30")


def test_paused_before_it_began() -> None:
    """A clock that begins tomorrow does not begin sooner because it was paused today."""
    clocks = pause(SITE, start_clocks(SITE, case(), AT), AT + timedelta(minutes=5))
    resolution = one(resume(SITE, clocks, AT + timedelta(minutes=10)), RESOLUTION)
    assert resolution.due_at == hanoi("2026-03-12T17:00")


@pytest.mark.parametrize(
    ("at", "breached"),
    [
        pytest.param("2026-03-09T15:00", None, id="as it runs out"),
        pytest.param("2026-03-09T15:00:01", "2026-03-09T15:00", id="a second later"),
        pytest.param("2026-03-09T10:00", None, id="in time"),
    ],
)
def test_stopped(at: str, breached: str | None) -> None:
    """What was done after the due time was done late, and the breach is when it was due."""
    (answer,) = stop(SITE, answer_clock("2026-03-09T09:00"), ANSWER, hanoi(at))
    assert answer.breached_at == (None if breached is None else hanoi(breached))
    assert (answer.stopped_at, answer.since, answer.due_at) == (hanoi(at), None, None)
    assert answer.ran_s == worked_between_s(SITE.calendars["office"], AT, hanoi(at))


def test_late_on_a_rest_day() -> None:
    """Due on Friday at 17:00, done on Saturday: late, though no working time has passed."""
    (answer,) = stop(SITE, answer_clock("2026-03-13T11:00"), ANSWER, hanoi("2026-03-14T09:00"))
    assert answer.breached_at == hanoi("2026-03-13T17:00")
    assert answer.ran_s == 4 * HOUR_S


def test_breach_taken_back() -> None:
    """A unit without a signal was in time: when that becomes known, the breach was none."""
    clocks = passed(SITE, answer_clock("2026-03-09T09:00"), "clock:first_answer:due", hanoi("2026-03-09T15:00"))
    assert clocks[0].breached_at == hanoi("2026-03-09T15:00")
    assert stop(SITE, clocks, ANSWER, hanoi("2026-03-09T14:00"))[0].breached_at is None
    assert stop(SITE, clocks, ANSWER, hanoi("2026-03-09T15:30"))[0].breached_at == hanoi("2026-03-09T15:00")


def test_breach_survives_a_pause() -> None:
    """A clock that ran out does not become good by being paused."""
    clocks = passed(SITE, answer_clock("2026-03-09T09:00"), "clock:first_answer:due", hanoi("2026-03-09T15:00"))
    clocks = pause(SITE, clocks, hanoi("2026-03-09T16:00"))
    assert stop(SITE, clocks, ANSWER, hanoi("2026-03-10T09:00"))[0].breached_at == hanoi("2026-03-09T15:00")
    unnoted = pause(SITE, answer_clock("2026-03-09T09:00"), hanoi("2026-03-09T16:00"))
    assert stop(SITE, unnoted, ANSWER, hanoi("2026-03-10T09:00"))[0].breached_at == hanoi("2026-03-10T09:00")


def test_stopped_for_good() -> None:
    """A second answer, a pause or the end of a wait changes nothing of a clock that was stopped."""
    clocks = stop(SITE, answer_clock("2026-03-09T09:00"), ANSWER, hanoi("2026-03-09T10:00"))
    later = hanoi("2026-03-11T10:00")
    assert stop(SITE, clocks, ANSWER, later) == clocks
    assert resume(SITE, pause(SITE, clocks, later), later) == clocks
    assert stop(SITE, clocks, ClockName.ARRIVAL, later) == clocks


def test_disputed() -> None:
    """A case that is opened again runs on from where it stood."""
    clocks = stop(SITE, start_clocks(SITE, case(category="pothole"), AT), RESOLUTION, hanoi("2026-03-09T10:30"))
    resolution = one(run_on(SITE, clocks, RESOLUTION, hanoi("2026-03-16T08:00")), RESOLUTION)
    assert (resolution.stopped_at, resolution.due_at) == (None, hanoi("2026-03-16T08:30"))
    assert one(run_on(SITE, clocks, ANSWER, AT), ANSWER) == one(clocks, ANSWER)


def test_deadlines() -> None:
    """A warning and a breach of each clock, as long as they are to come."""
    clocks = answer_clock("2026-03-09T09:00")
    held = case(clocks=clocks)
    names = {one.name: one.due_at for one in clock_deadlines(held)}
    assert names == {
        "clock:first_answer:warn": hanoi("2026-03-09T14:00"),
        "clock:first_answer:due": hanoi("2026-03-09T15:00"),
    }
    warned = passed(SITE, clocks, "clock:first_answer:warn", hanoi("2026-03-09T14:00"))
    assert warned[0].warned_at == hanoi("2026-03-09T14:00")
    assert [one.name for one in clock_deadlines(case(clocks=warned))] == ["clock:first_answer:due"]
    breached = passed(SITE, warned, "clock:first_answer:due", hanoi("2026-03-09T15:00"))
    assert not clock_deadlines(case(clocks=breached))


@pytest.mark.parametrize("name", ["clock:first_answer:due", "clock:first_answer:warn", "clock:arrival:due", "other"])
def test_not_yet(name: str) -> None:
    """What is not due, or not a clock of the case, is not noted."""
    clocks = answer_clock("2026-03-09T09:00")
    assert passed(SITE, clocks, name, hanoi("2026-03-09T13:59")) == clocks


def test_worse_than_thought() -> None:
    """A report turns out to be a pothole on the next day: two hours in all, half an hour is left."""
    held = case(clocks=start_clocks(SITE, case(), AT))
    clocks = replan(SITE, case(clocks=held.clocks, category="pothole"), hanoi("2026-03-10T09:00"))
    resolution = one(clocks, RESOLUTION)
    assert resolution.allowed_s == 2 * HOUR_S
    assert worked_s(SITE, resolution, hanoi("2026-03-10T09:00")) == 1.5 * HOUR_S
    assert resolution.due_at == hanoi("2026-03-10T09:30")
    assert one(clocks, ANSWER) == one(held.clocks, ANSWER), "its plan is the same"


def test_due_already() -> None:
    """With a shorter allowance it may turn out that a clock ran out an hour ago."""
    shorter = site({"clocks.toml": CLOCKS.replace('"4h"', '"1h"')})
    answer = one(replan(shorter, case(clocks=answer_clock("2026-03-09T09:00")), hanoi("2026-03-09T11:00")), ANSWER)
    assert answer.due_at == hanoi("2026-03-09T10:00")
    assert remaining_s(shorter, answer, hanoi("2026-03-09T11:00")) == -HOUR_S


def test_longer_after_all() -> None:
    """With a longer allowance, a breach of the shorter one does not stand."""
    pothole = case(category="pothole")
    clocks = passed(SITE, start_clocks(SITE, pothole, AT), "clock:resolution:due", hanoi("2026-03-09T11:00"))
    assert one(clocks, RESOLUTION).breached_at == hanoi("2026-03-09T11:00")
    resolution = one(replan(SITE, case(clocks=clocks), hanoi("2026-03-09T13:30")), RESOLUTION)
    assert (resolution.breached_at, resolution.ran_s) == (None, 2.5 * HOUR_S)
    assert resolution.allowed_s == 22.5 * HOUR_S


def test_replan_of_what_is_over() -> None:
    """A clock that was stopped stays; one that stands still stays still; one without a plan goes."""
    clocks = stop(SITE, start_clocks(SITE, case(), AT), ANSWER, hanoi("2026-03-09T10:00"))
    clocks = pause(SITE, clocks, hanoi("2026-03-10T08:30"))
    after = replan(
        SITE, case(category="pothole", clocks=clocks, state=State.WAITING_CITIZEN), hanoi("2026-03-11T09:00")
    )
    assert one(after, ANSWER) == one(clocks, ANSWER)
    assert (one(after, RESOLUTION).since, one(after, RESOLUTION).ran_s) == (None, HOUR_S)
    none = site({"clocks.toml": CLOCKS.replace('"4h"', '"none"')})
    assert [clock.name for clock in replan(none, case(clocks=start_clocks(SITE, case(), AT)), AT)] == [RESOLUTION]


def test_new_clock_after_replan() -> None:
    """A clock that is asked for only now has run since the case began, not counting what was paused."""
    held = case(clocks=start_clocks(SITE, case(), AT))
    after = replan(SITE, case(clocks=held.clocks, kind=Kind.INCIDENT), AT + timedelta(minutes=10))
    arrival = one(after, ClockName.ARRIVAL)
    assert (arrival.started_at, arrival.ran_s, arrival.due_at) == (AT, 600, AT + timedelta(minutes=15))


@pytest.mark.parametrize(
    "done",
    [
        pytest.param({"arrived_at": AT}, id="a unit was there"),
        pytest.param({"state": State.RESOLVED}, id="it is done, and nobody had to go"),
        pytest.param({"state": State.CLOSED}, id="it is over"),
    ],
)
def test_no_clock_for_what_was_done(done: dict[str, object]) -> None:
    """Nobody is given time for what has happened already: such a clock would never stop."""
    clocks = replan(SITE, case(kind=Kind.INCIDENT, **done), AT)
    assert ClockName.ARRIVAL not in [clock.name for clock in clocks]


SPECIFIC = """
[[clock]]
clock = "resolution"
allowed = "10h"
[[clock]]
clock = "resolution"
allowed = "9h"
severities = ["major"]
[[clock]]
clock = "resolution"
allowed = "8h"
areas = ["00"]
[[clock]]
clock = "resolution"
allowed = "7h"
areas = ["01"]
[[clock]]
clock = "resolution"
allowed = "6h"
agencies = ["roads"]
[[clock]]
clock = "resolution"
allowed = "5h"
categories = ["pothole", "fire"]
[[clock]]
clock = "resolution"
allowed = "4h"
categories = ["fire"]
severities = ["critical"]
[[clock]]
clock = "resolution"
allowed = "3h"
categories = ["fire"]
severities = ["critical"]
"""


@pytest.mark.parametrize(
    ("other", "allowed"),
    [
        pytest.param({"area": AreaId("x"), "areas": (AreaId("x"),)}, "10h", id="nothing applies but the common one"),
        pytest.param(
            {"area": AreaId("x"), "areas": (AreaId("x"),), "severity": Severity.MAJOR}, "9h", id="a severity"
        ),
        pytest.param({"areas": (AreaId("00"), AreaId("02")), "area": AreaId("02")}, "8h", id="an area above"),
        pytest.param({"severity": Severity.MAJOR}, "7h", id="the deeper area, before the severity"),
        pytest.param({"agency": "roads"}, "6h", id="the agency, before the area"),
        pytest.param({"agency": "roads", "category": "pothole"}, "5h", id="the category, before the agency"),
        pytest.param(
            {"category": "fire", "severity": Severity.CRITICAL}, "4h", id="the category and more; first of equals"
        ),
    ],
)
def test_most_specific_plan(other: dict[str, object], allowed: str) -> None:
    """Which of several plans holds."""
    found = plan_of(site({"clocks.toml": SPECIFIC}), case(**other), RESOLUTION)
    assert found is not None
    assert found.allowed == allowed


@given(moments, st.lists(st.integers(0, 400_000), min_size=2, max_size=9))
def test_pauses_take_nothing_away(start: datetime, gaps_s: list[int]) -> None:
    """However often a clock pauses, it has run for as long as it was not paused, to the second."""
    office = SITE.calendars["office"]
    clocks = tuple(clock for clock in start_clocks(SITE, case(), start) if clock.name is ANSWER)
    at, ran_s, runs = start, 0.0, True
    for gap_s in gaps_s:
        after = at + timedelta(seconds=gap_s)
        if runs:
            ran_s += worked_between_s(office, at, after)
        clocks = (pause if runs else resume)(SITE, clocks, after)
        at, runs = after, not runs
    assert worked_s(SITE, clocks[0], at) == pytest.approx(ran_s, abs=1e-6)
    if clocks[0].due_at is not None and ran_s < clocks[0].allowed_s:
        assert worked_s(SITE, clocks[0], clocks[0].due_at) == pytest.approx(clocks[0].allowed_s, abs=1e-6)


@given(moments, st.integers(0, 2_000_000), st.sampled_from(["other", "pothole", "fire"]), st.sampled_from(list(Kind)))
def test_replan_keeps_what_has_run(start: datetime, later_s: int, category: str, kind: Kind) -> None:
    """And to and fro gives back what was, but for clocks that begin later by their plan."""
    held = case(clocks=start_clocks(SITE, case(), start))
    at = start + timedelta(seconds=later_s)
    other = replan(SITE, case(clocks=held.clocks, category=category, kind=kind), at)
    for clock in held.clocks:
        assert worked_s(SITE, one(other, clock.name), at) == worked_s(SITE, clock, at)
    back = replan(SITE, case(clocks=other), at)
    for clock in held.clocks:
        again = one(back, clock.name)
        assert again.allowed_s == clock.allowed_s
        assert worked_s(SITE, again, at) == worked_s(SITE, clock, at)


@given(moments, st.integers(0, 500_000))
def test_a_stop_is_late_exactly_when_its_deadline_had_passed(start: datetime, later_s: int) -> None:
    """The board's due time and the judgement of a stop are the same."""
    clocks = start_clocks(SITE, case(), start)
    at = start + timedelta(seconds=later_s)
    for clock in clocks:
        assert clock.due_at is not None
        (stopped,) = stop(SITE, (clock,), clock.name, at)
        assert (stopped.breached_at is not None) == (at > clock.due_at)
