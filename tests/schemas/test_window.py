"""Do windows follow the clocks on the wall, in every zone?"""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.window import TIERS, Tier, bucket_start, bucket_starts, day_start, hour_start, minute_start

VIETNAM = ZoneInfo("Asia/Ho_Chi_Minh")
BOSTON = ZoneInfo("America/New_York")
INDIA = ZoneInfo("Asia/Kolkata")  # 5 h 30 min
NEPAL = ZoneInfo("Asia/Kathmandu")  # 5 h 45 min
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")  # summer time is half an hour
BEIRUT = ZoneInfo("Asia/Beirut")  # clocks go forward at midnight, so that day begins at 01:00
APIA = ZoneInfo("Pacific/Apia")  # 30 December 2011 did not happen
ZONES = [VIETNAM, BOSTON, INDIA, NEPAL, LORD_HOWE, BEIRUT, APIA, ZoneInfo("UTC"), ZoneInfo("America/St_Johns")]

moments_s = st.integers(
    int(datetime(2000, 1, 1, tzinfo=UTC).timestamp()), int(datetime(2100, 1, 1, tzinfo=UTC).timestamp())
)
zones = st.sampled_from(ZONES)
tiers = st.sampled_from(TIERS)


def s(text: str) -> int:
    """Epoch seconds of a moment with its offset."""
    return int(datetime.fromisoformat(text).timestamp())


def hours_of_day(date: str, zone: ZoneInfo) -> float:
    """How long the local day lasts."""
    noon = int(datetime.fromisoformat(f"{date}T12:00").replace(tzinfo=zone).timestamp())
    start, end = bucket_starts(day_start(noon, zone), day_start(noon, zone) + 26 * 3600, Tier.DAY, zone)[:2]
    return (end - start) / 3600


@pytest.mark.parametrize(
    ("epoch_ms", "start_s"),
    [
        pytest.param(0, 0, id="the first ms belongs to the window"),
        pytest.param(59_999, 0, id="the last ms belongs to the window"),
        pytest.param(60_000, 60, id="the end belongs to the next"),
        pytest.param(-1, -60, id="before 1970"),
    ],
)
def test_minutes(epoch_ms: int, start_s: int) -> None:
    assert minute_start(epoch_ms / 1000) == start_s


@pytest.mark.parametrize(
    ("moment", "zone", "hour"),
    [
        pytest.param("2025-07-01T08:59:59+07:00", VIETNAM, "2025-07-01T08:00+07:00", id="last second"),
        pytest.param("2025-07-01T09:00:00+07:00", VIETNAM, "2025-07-01T09:00+07:00", id="first second"),
        pytest.param("2025-07-01T09:29:59+05:30", INDIA, "2025-07-01T09:00+05:30", id="half-hour offset"),
        pytest.param("2025-07-01T09:44:59+05:45", NEPAL, "2025-07-01T09:00+05:45", id="quarter-hour offset"),
        pytest.param("2025-11-02T01:30-04:00", BOSTON, "2025-11-02T01:00-04:00", id="repeated hour, first time"),
        pytest.param("2025-11-02T01:30-05:00", BOSTON, "2025-11-02T01:00-05:00", id="repeated hour, second time"),
        pytest.param("2025-03-09T03:00-04:00", BOSTON, "2025-03-09T03:00-04:00", id="after the hour that is not"),
        pytest.param("2025-04-06T01:45+10:30", LORD_HOWE, "2025-04-06T01:00+11:00", id="an hour of 90 minutes"),
        pytest.param("2025-10-05T02:45+11:00", LORD_HOWE, "2025-10-05T02:30+11:00", id="an hour of 30 minutes"),
    ],
)
def test_hours(moment: str, zone: ZoneInfo, hour: str) -> None:
    assert hour_start(s(moment), zone) == s(hour)


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        pytest.param("2025-07-01T23:59:59+07:00", VIETNAM, "2025-07-01T00:00+07:00", id="last second"),
        pytest.param("2025-07-02T00:00:00+07:00", VIETNAM, "2025-07-02T00:00+07:00", id="first second"),
        pytest.param("2025-07-01T18:30:00+00:00", INDIA, "2025-07-02T00:00+05:30", id="half-hour offset"),
        pytest.param(
            "2025-03-09T12:00-04:00", BOSTON, "2025-03-09T00:00-05:00", id="begins before the clocks change"
        ),
        pytest.param("2025-03-30T12:00+03:00", BEIRUT, "2025-03-30T01:00+03:00", id="midnight does not exist"),
    ],
)
def test_days(moment: str, zone: ZoneInfo, day: str) -> None:
    assert day_start(s(moment), zone) == s(day)


@pytest.mark.parametrize(
    ("date", "zone", "hours"),
    [
        pytest.param("2025-03-09", BOSTON, 23, id="clocks go forward"),
        pytest.param("2025-11-02", BOSTON, 25, id="clocks go back"),
        pytest.param("2025-07-01", BOSTON, 24, id="an ordinary day"),
        pytest.param("2025-04-06", LORD_HOWE, 24.5, id="back by half an hour"),
        pytest.param("2025-10-05", LORD_HOWE, 23.5, id="forward by half an hour"),
        pytest.param("2025-03-30", BEIRUT, 23, id="forward at midnight"),
        pytest.param("2011-12-29", APIA, 24, id="before the day that is not"),
    ],
)
def test_length_of_a_day(date: str, zone: ZoneInfo, hours: float) -> None:
    assert hours_of_day(date, zone) == hours


@given(moments_s, tiers, zones)
def test_a_bucket_begins_where_it_says(moment_s: int, tier: Tier, zone: ZoneInfo) -> None:
    start_s = bucket_start(moment_s, tier, zone)
    assert start_s <= moment_s
    assert bucket_start(start_s, tier, zone) == start_s
    assert bucket_start(start_s - 1, tier, zone) < start_s


@given(moments_s, zones)
def test_minutes_lie_in_hours_and_hours_in_days(moment_s: int, zone: ZoneInfo) -> None:
    assert hour_start(minute_start(moment_s), zone) == hour_start(moment_s, zone)
    assert day_start(minute_start(moment_s), zone) == day_start(moment_s, zone)
    if zone is not LORD_HOWE:
        assert day_start(hour_start(moment_s, zone), zone) == day_start(moment_s, zone)


@given(moments_s, st.integers(1, 5 * 24 * 3600), tiers, zones, st.data())
def test_buckets_of_a_range_follow_each_other_and_cover_it(
    start_s: int, length_s: int, tier: Tier, zone: ZoneInfo, data: st.DataObject
) -> None:
    starts = bucket_starts(start_s, start_s + length_s, tier, zone)
    assert starts[0] <= start_s
    assert all(earlier < later for earlier, later in pairwise(starts))
    inside_s = data.draw(st.integers(start_s, start_s + length_s - 1))
    assert bucket_start(inside_s, tier, zone) in starts
    assert all(bucket_start(one, tier, zone) == one for one in starts)


@pytest.mark.parametrize("zone", ZONES, ids=str)
@pytest.mark.parametrize("tier", [Tier.HOUR, Tier.DAY])
def test_every_change_of_clocks_in_2011_and_2025(zone: ZoneInfo, tier: Tier) -> None:
    for year in (2011, 2025):
        begin = datetime(year, 1, 1, tzinfo=UTC)
        end = begin + timedelta(days=366)
        starts = set(bucket_starts(int(begin.timestamp()), int(end.timestamp()), tier, zone))
        moments = range(int(begin.timestamp()), int(end.timestamp()), 1800)
        assert {bucket_start(moment, tier, zone) for moment in moments} == starts


def test_an_empty_range_has_the_bucket_that_it_lies_in_or_none() -> None:
    assert bucket_starts(90, 90, Tier.MINUTE, VIETNAM) == [60]
    assert bucket_starts(60, 60, Tier.MINUTE, VIETNAM) == []
