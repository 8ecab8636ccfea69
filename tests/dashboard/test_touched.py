"""Which points are read again, how soon, and what is a position?"""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard_api.pace import GAP_MAX_S, GAP_MIN_S, gap_s
from dashboard_api.position import Position, parse_position
from dashboard_api.touched import AHEAD_S, Change, Point, Touched, Wanted, decode_touched, touched_points
from schemas.event import AreaId
from schemas.statements import parse_statements
from schemas.window import Tier
from tests.dashboard.centre import site

NOW_S = int(datetime(2026, 3, 28, 17, 5, tzinfo=UTC).timestamp())
"""00:05 on 29 March in Ho Chi Minh City, and 07:05 in Kiritimati."""

KPI = "feedback_received"
PROVINCE, ISLAND = AreaId("00"), AreaId("03")


def found(minute_s: int, tier: Tier, area: AreaId, oldest_s: int = 0, kpi: str = KPI) -> dict[Point, int]:
    """What one change in this minute makes to be read again, when one tier of one area is shown."""
    change = Change(1, datetime.now(UTC), Touched([(KPI, minute_s, [PROVINCE, ISLAND]), ("other", minute_s, [])]))
    wanted = Wanted({kpi: {area: {tier}}}, dict.fromkeys(Tier, oldest_s), False, False)
    return touched_points([change], wanted, site(), NOW_S)


@pytest.mark.parametrize(
    ("tier", "area", "start"),
    [
        pytest.param(Tier.MINUTE, PROVINCE, "2026-03-28T17:05:00Z", id="minutes are the same everywhere"),
        pytest.param(Tier.HOUR, PROVINCE, "2026-03-28T17:00:00Z", id="hour"),
        pytest.param(Tier.DAY, PROVINCE, "2026-03-28T17:00:00Z", id="a province's day"),
        pytest.param(Tier.DAY, ISLAND, "2026-03-28T10:00:00Z", id="an area in another zone has its own day"),
    ],
)
def test_a_minute_touches_the_bucket_of_the_areas_own_zone(tier: Tier, area: AreaId, start: str) -> None:
    bucket_s = int(datetime.fromisoformat(start).timestamp())
    assert found(NOW_S, tier, area) == {Point(KPI, area, tier, bucket_s): NOW_S}


@pytest.mark.parametrize(
    ("minute_s", "oldest_s", "is_read"),
    [
        pytest.param(NOW_S - 3600, NOW_S - 3600, True, id="the oldest that is shown"),
        pytest.param(NOW_S - 3660, NOW_S - 3600, False, id="older than anybody shows"),
        pytest.param(NOW_S + AHEAD_S, 0, True, id="as far ahead as a clock may be wrong"),
        pytest.param(NOW_S + AHEAD_S + 60, 0, False, id="further ahead"),
    ],
)
def test_what_nobody_shows_is_not_read(minute_s: int, oldest_s: int, is_read: bool) -> None:
    assert bool(found(minute_s, Tier.MINUTE, PROVINCE, oldest_s)) is is_read


@pytest.mark.parametrize(
    ("kpi", "tier", "minutes_back", "buckets_back"),
    [
        pytest.param("in_handling", Tier.MINUTE, 2, [2, 1, 0], id="a balance goes on to now"),
        pytest.param("in_handling", Tier.MINUTE, 500, [3, 2, 1, 0], id="as far as somebody shows it"),
        pytest.param("in_handling", Tier.MINUTE, -1, [-1], id="ahead of now only its own"),
        pytest.param("closed_share", Tier.MINUTE, 2, [2], id="a ratio is of its bucket"),
        pytest.param("closed_in_time", Tier.MINUTE, 2, [], id="fed by something else"),
    ],
)
def test_a_base_touches_the_kpis_that_are_read_from_it(
    kpi: str, tier: Tier, minutes_back: int, buckets_back: list[int]
) -> None:
    minute_s = NOW_S - minutes_back * 60
    points = found(minute_s, tier, PROVINCE, NOW_S - 180, kpi)
    assert points == {Point(kpi, PROVINCE, tier, NOW_S - back * 60): minute_s for back in buckets_back}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff", id="no UTF-8"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"kpis":[["k"]]}', id="half an entry"),
    ],
)
def test_what_cannot_be_read_is_known_as_such(raw: bytes) -> None:
    assert decode_touched(raw) is None


@given(epoch=st.integers(0, 10**18 - 1), xid=st.integers(0, 10**18 - 1))
def test_a_position_is_read_as_it_was_written(epoch: int, xid: int) -> None:
    assert parse_position(str(Position(epoch, xid))) == Position(epoch, xid)


@given(text=st.text(max_size=30))
def test_what_is_no_position_is_none_or_means_the_same(text: str) -> None:
    position = parse_position(text)
    assert position is None or parse_position(str(position)) == position


@given(spent_s=st.floats(0, 60), more_s=st.floats(0, 60))
def test_more_work_never_makes_the_gap_shorter(spent_s: float, more_s: float) -> None:
    assert GAP_MIN_S <= gap_s(spent_s) <= gap_s(spent_s + more_s) <= GAP_MAX_S


def test_statements_are_found_by_name_with_their_description() -> None:
    text = "-- The file.\n\n-- one --\n-- Gives 1.\nSELECT 1\n\n-- two --\n-- Gives 2.\nSELECT 2\n"
    assert parse_statements(text) == {"one": "-- Gives 1.\nSELECT 1", "two": "-- Gives 2.\nSELECT 2"}
