"""Does working time follow the law's calendar, to the microsecond?"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.calendar import Calendar
from schemas.case import Clock, ClockName
from schemas.working_time import (
    END,
    after_working_s,
    forecast,
    is_working,
    next_midnight,
    remaining_s,
    worked_between_s,
    worked_s,
    working_days_s,
)
from tests.schemas.case_pack import AT, BERLIN, HANOI, berlin, hanoi, site

SITE = site()
OFFICE = SITE.calendars["office"]
BERLIN_HOURS = SITE.calendars["berlin"]
HOUR_S = 3600

CALENDARS: list[Calendar | None] = [OFFICE, BERLIN_HOURS, None]
calendars = st.sampled_from(CALENDARS)
zones = st.sampled_from([HANOI, BERLIN])
# In UTC, since Python adds to times of a zone by the wall clock.
moments = st.datetimes(datetime(2023, 1, 1), datetime(2029, 1, 1), timezones=zones).map(lambda at: at.astimezone(UTC))
amounts_us = st.integers(min_value=1, max_value=2000 * HOUR_S * 1_000_000)


def us(seconds: float) -> int:
    return round(seconds * 1_000_000)


@pytest.mark.parametrize(
    ("start", "hours", "end"),
    [
        pytest.param("2026-03-09T09:00", 2, "2026-03-09T11:00", id="within a morning"),
        pytest.param("2026-03-09T11:00", 1, "2026-03-09T14:00", id="over lunch"),
        pytest.param("2026-03-09T10:30", 1, "2026-03-09T11:30", id="ends as lunch begins, not when it is over"),
        pytest.param("2026-03-09T12:00", 1, "2026-03-09T14:30", id="begins at lunch"),
        pytest.param("2026-03-09T16:00", 2, "2026-03-10T08:30", id="over night"),
        pytest.param("2026-03-13T16:00", 2, "2026-03-16T08:30", id="over a weekend"),
        pytest.param("2026-03-14T10:00", 1, "2026-03-16T08:30", id="begins on a Saturday"),
        pytest.param("2026-02-13T16:55", 4, "2026-02-23T11:25", id="16:55 on the last day before Tết 2026"),
        pytest.param("2025-01-24T16:55", 4, "2025-02-03T11:25", id="16:55 on the last day before Tết 2025"),
        pytest.param("2024-02-07T16:55", 4, "2024-02-15T11:25", id="Tết 2024, with two days for its weekend"),
        pytest.param("2026-02-17T00:00", 4, "2026-02-23T11:30", id="begins on the first day of the lunar year"),
        pytest.param("2025-12-31T16:00", 2, "2026-01-05T08:30", id="New Year, with a further day off"),
        pytest.param("2026-01-09T16:30", 2, "2026-01-10T09:00", id="on into a made-up Saturday"),
        pytest.param("2026-01-10T16:30", 1, "2026-01-12T08:00", id="from a made-up Saturday into Monday"),
        pytest.param("2026-08-21T16:30", 1, "2026-08-22T08:30", id="a made-up Saturday with its own hours"),
        pytest.param("2026-08-22T11:00", 2, "2026-08-24T08:30", id="that Saturday has no afternoon"),
        pytest.param("2026-08-28T16:30", 1, "2026-09-03T08:00", id="National Day, and the day before it"),
        pytest.param("2026-04-24T16:30", 1, "2026-04-28T08:00", id="Hùng Kings' day on a Sunday frees the Monday"),
        pytest.param("2026-04-29T16:30", 1, "2026-05-04T08:00", id="30 April and 1 May"),
        pytest.param("2024-04-26T16:30", 1, "2024-05-02T08:00", id="29 April 2024, which was swapped"),
        pytest.param("2024-05-03T16:30", 1, "2024-05-04T08:00", id="and the Saturday on which it was made up"),
        pytest.param("2026-03-09T07:30", 37.5, "2026-03-13T17:00", id="a week is 37.5 hours"),
    ],
)
def test_office_hours(start: str, hours: float, end: str) -> None:
    """Each end was counted by hand from the announced holidays of that year."""
    assert after_working_s(OFFICE, hanoi(start), hours * HOUR_S) == hanoi(end)
    assert worked_between_s(OFFICE, hanoi(start), hanoi(end)) == hours * HOUR_S


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        pytest.param(berlin("2026-03-27T16:00"), berlin("2026-03-30T09:00"), 8, id="the weekend of summer time"),
        pytest.param(berlin("2026-03-29T00:00"), berlin("2026-03-29T06:00"), 4, id="the hour that is skipped"),
        pytest.param(berlin("2026-03-29T03:00"), berlin("2026-03-29T06:00"), 2, id="from the change on"),
        pytest.param(berlin("2026-10-25T00:00"), berlin("2026-10-25T06:00"), 6, id="the hour that is repeated"),
        pytest.param(berlin("2026-10-25T02:00"), berlin("2026-10-25T02:00", fold=1), 1, id="both of its passes"),
        pytest.param(berlin("2026-10-24T23:00"), berlin("2026-10-25T01:00"), 2, id="over midnight"),
    ],
)
def test_clocks_change(start: datetime, end: datetime, hours: float) -> None:
    """Working time is real time: an hour that does not exist is not worked, one that comes twice is worked twice."""
    assert worked_between_s(BERLIN_HOURS, start, end) == hours * HOUR_S


def test_due_after_clocks_change() -> None:
    """Two hours from Friday 22:00 in Berlin, over the night in which summer time begins."""
    assert after_working_s(BERLIN_HOURS, berlin("2026-03-28T21:00"), 3 * HOUR_S) == berlin("2026-03-29T01:00")
    assert after_working_s(BERLIN_HOURS, berlin("2026-03-28T21:00"), 5 * HOUR_S) == berlin("2026-03-29T04:00")


@given(calendars, st.lists(moments, min_size=3, max_size=3).map(sorted))
def test_spans_add_up(calendar: Calendar | None, moments: list[datetime]) -> None:
    """Whatever lies between a and c lies between a and b or between b and c."""
    a, b, c = moments
    parts = us(worked_between_s(calendar, a, b)) + us(worked_between_s(calendar, b, c))
    assert us(worked_between_s(calendar, a, c)) == parts
    assert worked_between_s(calendar, c, a) == 0 or a == c


@given(calendars, moments, amounts_us)
def test_adding_and_measuring_give_back(calendar: Calendar | None, start: datetime, amount_us: int) -> None:
    """And the end is the earliest one that does: a microsecond before it, one is missing."""
    end = after_working_s(calendar, start, amount_us / 1e6)
    assert us(worked_between_s(calendar, start, end)) == amount_us
    assert us(worked_between_s(calendar, start, end - timedelta(microseconds=1))) == amount_us - 1


HOURS = {
    OFFICE.id: dict.fromkeys(range(5), ((450, 690), (810, 1020))),
    BERLIN_HOURS.id: dict.fromkeys(range(5), ((480, 1020),)) | {5: ((1320, 1440),), 6: ((0, 300),)},
}
"""The same calendars once more: minutes of the day by weekday. March 2026 has no holidays in Vietnam."""


@given(st.sampled_from([OFFICE, BERLIN_HOURS]), st.integers(0, 30 * 1440), st.integers(1, 4000))
def test_every_minute_counted(calendar: Calendar, first: int, minutes: int) -> None:
    """The same as a look at the wall clock every minute, also when clocks change (in Berlin on the 29th)."""
    start = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(minutes=first)
    seen = 0
    for number in range(minutes):
        wall = (start + timedelta(minutes=number)).astimezone(calendar.clock)
        minute = wall.hour * 60 + wall.minute
        seen += any(begin <= minute < end for begin, end in HOURS[calendar.id].get(wall.weekday(), ()))
    assert worked_between_s(calendar, start, start + timedelta(minutes=minutes)) == seen * 60


@given(calendars, moments)
def test_working_now(calendar: Calendar | None, at: datetime) -> None:
    """Work is done at a moment if and only if the next microsecond is worked."""
    assert is_working(calendar, at) == (worked_between_s(calendar, at, at + timedelta(microseconds=1)) > 0)


def test_always() -> None:
    """By the built-in calendar every second counts."""
    assert worked_between_s(None, AT, AT + timedelta(days=3)) == 3 * 86_400
    assert after_working_s(None, AT, 90) == AT + timedelta(seconds=90)
    assert is_working(None, AT)


def test_nothing_is_due_after_the_last_year() -> None:
    """A clock that could not run out in the years that events name ends with them."""
    assert after_working_s(OFFICE, hanoi("2199-12-30T00:00"), 1e6) == END
    assert after_working_s(None, hanoi("2199-12-30T00:00"), 1e9) == END


def test_nothing_to_do() -> None:
    """An amount of nothing has passed at once."""
    assert after_working_s(OFFICE, AT, 0) == AT
    assert after_working_s(OFFICE, AT, -5) == AT


@pytest.mark.parametrize(
    ("at", "midnight"),
    [
        pytest.param("2026-03-09T00:00", "2026-03-09T00:00", id="midnight itself"),
        pytest.param("2026-03-09T00:00:01", "2026-03-10T00:00", id="a second later"),
        pytest.param("2026-03-09T23:59", "2026-03-10T00:00", id="late"),
    ],
)
def test_next_midnight(at: str, midnight: str) -> None:
    """The day on which something happened does not count."""
    assert next_midnight(OFFICE, hanoi(at)) == hanoi(midnight)


@pytest.mark.parametrize(
    ("start", "days", "hours"),
    [
        pytest.param("2026-03-10T00:00", 3, 22.5, id="three common days"),
        pytest.param("2026-02-14T00:00", 1, 7.5, id="the first day after Tết"),
        pytest.param("2026-08-22T00:00", 2, 4 + 7.5, id="a short Saturday is a day"),
    ],
)
def test_working_days(start: str, days: int, hours: float) -> None:
    """Rest days are not counted; a day counts with the hours that it has."""
    assert working_days_s(OFFICE, hanoi(start), days) == hours * HOUR_S


def clock(**other: object) -> Clock:
    values = {"name": ClockName.RESOLUTION, "calendar": "office", "allowed_s": 4.0 * HOUR_S, "started_at": AT}
    return Clock(**(values | {"since": AT} | other))  # type: ignore[arg-type]


def test_remaining() -> None:
    """What is left, negative once it has run out."""
    assert worked_s(SITE, clock(), hanoi("2026-03-09T10:00")) == HOUR_S
    assert remaining_s(SITE, clock(ran_s=1800.0), hanoi("2026-03-09T10:00")) == 2.5 * HOUR_S
    assert remaining_s(SITE, clock(), hanoi("2026-03-10T10:00")) == -4.5 * HOUR_S
    assert remaining_s(SITE, clock(since=None, ran_s=60.0), hanoi("2027-01-01T00:00")) == 4 * HOUR_S - 60


def test_calendar_that_is_gone() -> None:
    """A clock whose calendar the pack no longer has runs all the time: sooner due, never lost."""
    assert worked_s(SITE, clock(calendar="gone"), AT + timedelta(days=1)) == 86_400


@pytest.mark.parametrize(
    ("hour", "usual_h", "chance"),
    [
        pytest.param("09:30", [], None, id="nothing is known"),
        pytest.param("09:30", [1.0] * 8, 1 / 10, id="such cases were quick"),
        pytest.param("09:30", [5.0] * 8, 9 / 10, id="such cases were late"),
        pytest.param("11:00", [1.0] * 6 + [3.0, 5.0], 2 / 4, id="what was done sooner no longer counts"),
        pytest.param("11:00", [1.0], 1 / 2, id="it takes longer than any did"),
        pytest.param("16:59", [1.0], 1.0, id="it has run out"),
    ],
)
def test_forecast(hour: str, usual_h: list[float], chance: float | None) -> None:
    """Of the cases that took as long as this one has, some ran out of its allowance."""
    now = hanoi(f"2026-03-09T{hour}")
    assert forecast(SITE, clock(), now, [one * HOUR_S for one in usual_h]) == chance


def test_forecast_of_what_is_over() -> None:
    """A clock that was stopped has nothing to fear, one that ran out nothing to hope."""
    stopped = clock(since=None, ran_s=60.0, stopped_at=AT)
    assert forecast(SITE, stopped, AT, [9e9]) == 0.0
    assert forecast(SITE, clock(since=None, ran_s=60.0, breached_at=AT), AT, []) == 1.0


@given(moments, st.lists(st.floats(1, 1e6), max_size=20), st.floats(1, 1e6), st.floats(1, 1e6))
def test_longer_allowance_is_never_more_at_risk(
    start: datetime, usual_s: list[float], allowed_s: float, more_s: float
) -> None:
    """The chance is one, and falls as more is allowed."""
    now = start + timedelta(hours=1)
    shorter = forecast(SITE, clock(since=start, allowed_s=allowed_s), now, usual_s)
    longer = forecast(SITE, clock(since=start, allowed_s=allowed_s + more_s), now, usual_s)
    if shorter is not None and longer is not None:
        assert 0 <= longer <= shorter <= 1
