"""Which span does a written period mean, and which ones lie beside it?"""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import OperatorError
from schemas.period import Grain, Period, last_ended, parse_period, period_of, period_start_s
from schemas.window import day_start

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
BOSTON = ZoneInfo("America/New_York")
HAVANA = ZoneInfo("America/Havana")  # its clocks change at midnight
ZONES = [HANOI, BOSTON, HAVANA, ZoneInfo("Pacific/Apia"), ZoneInfo("Asia/Kathmandu"), ZoneInfo("UTC")]

grains = st.sampled_from(list(Grain))
moments = st.integers(min_value=0, max_value=4_000_000_000)
zones = st.sampled_from(ZONES)


def utc(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "zone", "start", "end"),
    [
        pytest.param("2026", HANOI, "2025-12-31T17:00", "2026-12-31T17:00", id="year"),
        pytest.param("2026-Q1", HANOI, "2025-12-31T17:00", "2026-03-31T17:00", id="first quarter"),
        pytest.param("2026-Q4", HANOI, "2026-09-30T17:00", "2026-12-31T17:00", id="last quarter"),
        pytest.param("2026-09", HANOI, "2026-08-31T17:00", "2026-09-30T17:00", id="month"),
        pytest.param("2026-12", HANOI, "2026-11-30T17:00", "2026-12-31T17:00", id="last month"),
        pytest.param("2026-03", BOSTON, "2026-03-01T05:00", "2026-04-01T04:00", id="month in which clocks change"),
        pytest.param("2026-03-08", BOSTON, "2026-03-08T05:00", "2026-03-09T04:00", id="day of 23 hours"),
        pytest.param("2026-11-01", BOSTON, "2026-11-01T04:00", "2026-11-02T05:00", id="day of 25 hours"),
        pytest.param("2026-03-08", HAVANA, "2026-03-08T05:00", "2026-03-09T04:00", id="day without a midnight"),
        pytest.param("2024-02-29", HANOI, "2024-02-28T17:00", "2024-02-29T17:00", id="leap day"),
    ],
)
def test_spans(text: str, zone: ZoneInfo, start: str, end: str) -> None:
    span = parse_period(text).span(zone)
    assert (span.start_s, span.end_s) == (utc(start), utc(end))
    assert period_start_s(text, zone) == utc(start)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "26",
        "2026-Q0",
        "2026-Q5",
        "2026-q3",
        "2026-13",
        "2026-00",
        "2026-9",
        "2026-02-30",
        "2026-Q3-01",
        "2026-09-30T00:00",
        " 2026",
        "2026\n",
        "١٩٩٩",
        "1969",
        "2200",
        "last month",
    ],
)
def test_what_is_no_period_is_refused_with_the_fix(text: str) -> None:
    with pytest.raises(OperatorError) as refused:
        parse_period(text)
    assert repr(text) in refused.value.what
    assert "2026-Q3" in refused.value.remedy
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("grain", "now", "expected"),
    [
        pytest.param(Grain.MONTH, "2026-09-30T16:59", "2026-08", id="a minute before the local month ends"),
        pytest.param(Grain.MONTH, "2026-09-30T17:00", "2026-09", id="the month has just ended there"),
        pytest.param(Grain.QUARTER, "2026-01-15T00:00", "2025-Q4", id="the quarter before is of the year before"),
        pytest.param(Grain.YEAR, "2025-12-31T17:00", "2025", id="new year comes earlier there"),
        pytest.param(Grain.DAY, "2024-02-29T17:00", "2024-02-29", id="leap day"),
    ],
)
def test_the_period_that_ended_last(grain: Grain, now: str, expected: str) -> None:
    assert str(last_ended(grain, utc(now), HANOI)) == expected


@given(grain=grains, at_s=moments)
def test_what_is_written_is_read_as_the_same(grain: Grain, at_s: int) -> None:
    period = period_of(grain, at_s, HANOI)
    assert parse_period(str(period)) == period
    assert period.after().before() == period


@given(grain=grains, at_s=moments, zone=zones)
def test_periods_follow_each_other_without_gaps_and_begin_where_days_do(
    grain: Grain, at_s: int, zone: ZoneInfo
) -> None:
    period = period_of(grain, at_s, zone)
    span = period.span(zone)
    assert span.start_s <= at_s < span.end_s
    assert period.after().span(zone).start_s == span.end_s
    assert day_start(span.start_s, zone) == span.start_s
    assert last_ended(grain, at_s, zone) == period.before()


def test_a_date_that_a_zone_has_skipped_is_empty() -> None:
    skipped = Period(Grain.DAY, date(2011, 12, 30)).span(ZoneInfo("Pacific/Apia"))
    assert skipped.start_s == skipped.end_s
