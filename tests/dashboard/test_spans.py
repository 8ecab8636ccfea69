"""Are the spans that people ask for whole, and made of as few stored buckets as can be?"""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard_api.spans import SHORTEST_S, Step, back, last_spans, pieces, spans
from schemas.window import HOUR_S, Tier, bucket_start

HANOI = ZoneInfo("Asia/Ho_Chi_Minh")
BOSTON = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
ZONES = st.sampled_from([HANOI, BOSTON, LORD_HOWE, ZoneInfo("America/Sao_Paulo"), ZoneInfo("Asia/Kathmandu")])
MOMENTS = st.integers(0, 2_000_000_000)


def at(text: str, zone: ZoneInfo) -> int:
    """A local time in epoch seconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())


def local(moment_s: int, zone: ZoneInfo) -> str:
    """A moment as clocks show it."""
    return datetime.fromtimestamp(moment_s, zone).isoformat(timespec="minutes")


@pytest.mark.parametrize(
    ("step", "moment", "zone", "start", "end"),
    [
        pytest.param("5m", "2026-03-29T10:07", HANOI, "2026-03-29T10:05", "2026-03-29T10:10", id="five minutes"),
        pytest.param(
            "15m", "2026-03-29T10:14", HANOI, "2026-03-29T10:00", "2026-03-29T10:15", id="quarter of an hour"
        ),
        pytest.param("6h", "2026-03-29T05:59", HANOI, "2026-03-29T00:00", "2026-03-29T06:00", id="night"),
        pytest.param("6h", "2026-03-29T23:00", HANOI, "2026-03-29T18:00", "2026-03-30T00:00", id="evening"),
        pytest.param("6h", "2026-03-08T04:00", BOSTON, "2026-03-08T00:00", "2026-03-08T06:00", id="a night of 5 h"),
        pytest.param("day", "2026-11-01T12:00", BOSTON, "2026-11-01T00:00", "2026-11-02T00:00", id="a day of 25 h"),
        pytest.param(
            "week", "2026-03-29T10:00", HANOI, "2026-03-23T00:00", "2026-03-30T00:00", id="Sunday ends a week"
        ),
        pytest.param("week", "2026-01-01T00:00", HANOI, "2025-12-29T00:00", "2026-01-05T00:00", id="over New Year"),
        pytest.param("month", "2026-02-28T23:59", HANOI, "2026-02-01T00:00", "2026-03-01T00:00", id="February"),
        pytest.param("month", "2026-12-31T00:00", HANOI, "2026-12-01T00:00", "2027-01-01T00:00", id="December"),
        pytest.param(
            "quarter", "2026-06-30T12:00", HANOI, "2026-04-01T00:00", "2026-07-01T00:00", id="second quarter"
        ),
        pytest.param("year", "2026-06-30T12:00", HANOI, "2026-01-01T00:00", "2027-01-01T00:00", id="year"),
    ],
)
def test_the_bucket_of_a_moment(step: str, moment: str, zone: ZoneInfo, start: str, end: str) -> None:
    [span] = spans(at(moment, zone), at(moment, zone) + 1, Step(step), zone)
    assert (span.start_s, span.end_s) == (at(start, zone), at(end, zone))


@given(MOMENTS, st.integers(1, 40), st.sampled_from(Step), ZONES)
def test_buckets_follow_each_other_without_gaps(start_s: int, count: int, step: Step, zone: ZoneInfo) -> None:
    end_s = start_s + count * SHORTEST_S[step]
    found = spans(start_s, end_s, step, zone)
    assert found[0].start_s <= start_s < found[0].end_s
    assert found[-1].start_s < end_s <= found[-1].end_s
    assert all(one.end_s == following.start_s for one, following in pairwise(found))
    # The bound on points is checked by this estimate, so it may never be too low by more than the two ends.
    assert len(found) <= count + 2


@given(MOMENTS, st.sampled_from(Step), ZONES)
def test_the_last_buckets_end_with_the_one_of_now(now_s: int, step: Step, zone: ZoneInfo) -> None:
    found = last_spans(now_s, 3, step, zone)
    assert found[-1].start_s <= now_s < found[-1].end_s
    assert len(found) == 3 or found[0].start_s <= 0


@given(MOMENTS, st.integers(1, 400 * 24 * 60), ZONES)
def test_pieces_make_up_the_span_of_whole_buckets(start_s: int, minutes: int, zone: ZoneInfo) -> None:
    start_s -= start_s % 60
    end_s = start_s + minutes * 60
    found = pieces(start_s, end_s, zone)
    assert (found[0].start_s, found[-1].end_s) == (start_s, end_s)
    assert all(one.end_s == following.start_s for one, following in pairwise(found))
    for piece in found:
        assert bucket_start(piece.start_s, piece.tier, zone) == piece.start_s
        assert bucket_start(piece.end_s, piece.tier, zone) == piece.end_s
    days = [piece for piece in found if piece.tier is Tier.DAY]
    assert len(days) == (1 if minutes >= 49 * 60 else len(days))


@pytest.mark.parametrize(
    ("start", "end", "tiers"),
    [
        pytest.param("2025-01-01T00:00", "2026-01-01T00:00", ["day"], id="a year is days"),
        pytest.param("2026-03-23T00:00", "2026-03-30T00:00", ["day"], id="a week is days"),
        pytest.param("2026-03-29T06:00", "2026-03-29T12:00", ["hour"], id="a morning is hours"),
        pytest.param("2026-03-29T10:00", "2026-03-29T10:15", ["minute"], id="a quarter of an hour is minutes"),
        pytest.param(
            "2026-03-27T22:58", "2026-03-30T01:02", ["minute", "hour", "day", "hour", "minute"], id="anything else"
        ),
    ],
)
def test_the_coarsest_tier_that_fits_is_read(start: str, end: str, tiers: list[str]) -> None:
    assert [piece.tier.value for piece in pieces(at(start, HANOI), at(end, HANOI), HANOI)] == tiers


def test_days_back_are_calendar_days() -> None:
    assert local(back(at("2026-03-09T00:00", BOSTON), 2, BOSTON), BOSTON).startswith("2026-03-07T00:00")
    assert at("2026-03-09T00:00", BOSTON) - back(at("2026-03-09T00:00", BOSTON), 2, BOSTON) == 47 * HOUR_S
