"""Does a play move and stretch time without changing what happened?"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.replay.timeline import NAME_LENGTH_MAX, Play, follow, instant_fields, plan, play_ms, retime
from schemas import codec
from schemas.event import DossierClosed, FeedbackClosed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST = datetime(2011, 7, 1, 5, tzinfo=UTC)
LAST = FIRST + timedelta(days=10)

MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))
# Close together as well as far apart, so that rounding is met.
DISTANCES = st.integers(-3000, 3000).map(lambda us: timedelta(microseconds=us)) | st.timedeltas(
    timedelta(days=-3000), timedelta(days=3000)
)
SPEEDS = st.floats(0.01, 100_000)


def ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def closed(time: datetime, **data: datetime) -> bytes:
    content: dict[str, Any] = {
        "specversion": "1.0",
        "type": "ioc.feedback.closed.v1",
        "id": "17/out",
        "source": "desk",
        "subject": "17",
        "time": time,
        "area": "X",
        "traceparent": "kept",
        "data": {"category": "light", **data},
    }
    return msgspec.json.encode(content)


@pytest.mark.parametrize(
    ("speed", "lead", "recorded", "played"),
    [
        pytest.param(1.0, "0", "0", "0", id="the first moment is now"),
        pytest.param(1.0, "0", "1h", "1h", id="at its own pace"),
        pytest.param(60.0, "0", "1h", "1m", id="sixty times as fast"),
        pytest.param(0.5, "0", "1h", "2h", id="half as fast"),
        pytest.param(60.0, "3h", "0", "-3h", id="a lead puts the start into the past"),
        pytest.param(60.0, "3h", "180h", "0", id="so that this is now"),
        pytest.param(None, "0", "10d", "0", id="without pacing the last moment is now"),
        pytest.param(None, "0", "0", "-10d", id="and distances are kept"),
    ],
)
def test_where_a_moment_falls(speed: float | None, lead: str, recorded: str, played: str) -> None:
    play = plan(FIRST, LAST, NOW, speed=speed, shifted=True, lead=length(lead))
    assert play_ms(play, FIRST + length(recorded)) == ms(NOW + length(played))


def length(text: str) -> timedelta:
    units = {"d": 86_400, "h": 3_600, "m": 60}
    return timedelta(seconds=0 if text == "0" else float(text[:-1]) * units[text[-1]])


def test_a_shifted_event_carries_the_times_and_names_of_its_play() -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=True, lead=timedelta(0))
    due = FIRST + timedelta(hours=2)
    event = codec.decode(retime(play, closed(FIRST + timedelta(hours=1), opened_at=FIRST, due_at=due)))
    assert isinstance(event, FeedbackClosed)
    assert event.time == NOW + timedelta(minutes=1)
    assert event.data.opened_at == NOW
    assert event.data.due_at == NOW + timedelta(minutes=2)
    assert (event.id, event.subject) == ("17/out@20260301T120000.000Z", "17@20260301T120000.000Z")


def test_what_this_version_does_not_know_travels_on() -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=True, lead=timedelta(0))
    assert json.loads(retime(play, closed(FIRST)))["traceparent"] == "kept"


def test_kept_events_are_the_same_bytes() -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=False, lead=timedelta(0))
    raw = closed(FIRST) + b" "
    assert retime(play, raw) is raw


def test_a_subject_that_is_no_case_keeps_its_name() -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=True, lead=timedelta(0))
    raw = msgspec.json.encode(
        {
            "specversion": "1.0",
            "type": "ioc.service.metric.v1",
            "id": "1",
            "source": "meter",
            "subject": "desk",
            "time": FIRST,
            "area": "X",
            "supersedes": "0",
            "data": {"service": "desk", "metric": "load", "value": 1},
        }
    )
    event = codec.decode(retime(play, raw))
    assert event.subject == "desk"
    assert event.id == f"1@{play.tag}"
    assert event.supersedes == f"0@{play.tag}"


def observed(time: datetime, period: str) -> bytes:
    data = {"indicator": "online", "period": period, "value": 1}
    content: dict[str, Any] = {
        "specversion": "1.0",
        "type": "ioc.indicator.observed.v1",
        "id": "1",
        "source": "statistics",
        "subject": "statistics",
        "time": time,
        "area": "X",
        "data": data,
    }
    return msgspec.json.encode(content)


@pytest.mark.parametrize(
    ("period", "moved"),
    [
        pytest.param("2011-07-01", "2026-03-01", id="the day itself"),
        pytest.param("2011-06-29", "2026-02-27", id="two days before"),
        pytest.param("2011-06", "2026-02", id="the month before"),
        pytest.param("2010-12", "2025-08", id="seven months before, across a year"),
        pytest.param("2011-Q2", "2025-Q4", id="the quarter before"),
        pytest.param("2011-Q4", "2026-Q2", id="the next quarter"),
        pytest.param("2010", "2025", id="the year before"),
        pytest.param("2011-02-30", "2011-02-30", id="none is left to the centre to refuse"),
    ],
)
def test_a_period_stays_as_far_before_its_report(period: str, moved: str) -> None:
    play = plan(FIRST, LAST, NOW, speed=1.0, shifted=True, lead=timedelta(0))
    content = json.loads(retime(play, observed(FIRST, period)))
    assert content["data"]["period"] == moved
    assert content["subject"] == "statistics"


def test_a_dossier_belongs_to_its_play() -> None:
    play = plan(FIRST, LAST, NOW, speed=1.0, shifted=True, lead=timedelta(0))
    dossier = {"procedure": "p", "channel": "desk", "submitted_at": FIRST - timedelta(days=1)}
    raw = json.loads(observed(FIRST, "2011")) | {"type": "ioc.dossier.closed.v1", "data": dossier, "supersedes": "0"}
    event = codec.decode(retime(play, msgspec.json.encode(raw)))
    assert isinstance(event, DossierClosed)
    assert event.subject == f"statistics@{play.tag}"
    assert event.supersedes == f"0@{play.tag}"
    assert event.data.submitted_at == NOW - timedelta(days=1)


def test_long_names_stay_within_the_envelope_and_apart() -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=True, lead=timedelta(0))
    names = ["x" * 255 + end for end in "ab"]
    found = [codec.decode(retime(play, closed(FIRST).replace(b"17/out", name.encode()))).id for name in names]
    assert len(set(found)) == 2
    assert {len(name) for name in found} == {NAME_LENGTH_MAX}


def test_a_time_without_an_end_does_not_leave_the_calendar() -> None:
    play = plan(FIRST, LAST, NOW, speed=0.01, shifted=True, lead=timedelta(0))
    for_ever = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    event = codec.decode(retime(play, closed(FIRST, due_at=for_ever)))
    assert isinstance(event, FeedbackClosed)
    assert event.data.due_at is not None
    assert event.time <= event.data.due_at


@given(
    first=MOMENTS, to_due=DISTANCES, to_opened=DISTANCES, speed=SPEEDS, lead=st.timedeltas(timedelta(0), timedelta(9))
)
def test_verdicts_are_preserved_by_any_shift_and_speed(
    first: datetime, to_due: timedelta, to_opened: timedelta, speed: float, lead: timedelta
) -> None:
    play = plan(first, first, NOW, speed=speed, shifted=True, lead=lead)
    due, opened = first + to_due, first + to_opened
    event = codec.decode(retime(play, closed(first, due_at=due, opened_at=opened)))
    assert isinstance(event, FeedbackClosed)
    assert event.data.due_at is not None
    assert event.data.opened_at is not None
    assert (event.time <= event.data.due_at) == (first <= due)
    assert (event.time < event.data.opened_at) == (first < opened)
    assert (event.data.opened_at <= event.data.due_at) == (opened <= due)


@given(anchor=MOMENTS, moment=MOMENTS, later=st.timedeltas(timedelta(0), timedelta(days=900)), speed=SPEEDS)
def test_order_is_preserved_by_any_shift_and_speed(
    anchor: datetime, moment: datetime, later: timedelta, speed: float
) -> None:
    play = plan(anchor, anchor, NOW, speed=speed, shifted=True, lead=timedelta(0))
    assert play_ms(play, moment) <= play_ms(play, moment + later)


@given(first=MOMENTS, speed=SPEEDS, at=DISTANCES)
def test_a_stored_play_is_the_same_play(first: datetime, speed: float, at: timedelta) -> None:
    play = plan(first, first, NOW + at, speed=speed, shifted=True, lead=timedelta(0))
    again = msgspec.json.decode(msgspec.json.encode(play), type=Play)
    raw = closed(first + at, due_at=first)
    assert retime(again, raw) == retime(play, raw)


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        pytest.param(NOW + timedelta(hours=4), timedelta(hours=4, milliseconds=1), id="where the last one ended"),
        pytest.param(NOW + timedelta(days=5), timedelta(days=5, hours=-3), id="at most the lead before now"),
    ],
)
def test_the_next_play_follows(now: datetime, begins: timedelta) -> None:
    play = plan(FIRST, LAST, NOW, speed=60.0, shifted=True, lead=timedelta(0))
    after = follow(play, LAST, now, timedelta(hours=3))
    assert after.played_at == NOW + begins
    assert after.tag != play.tag
    assert play_ms(after, FIRST) > play_ms(play, LAST)


@pytest.mark.parametrize(
    ("event_type", "expected"),
    [
        ("ioc.feedback.received.v1", ("time", "receivedat", "data.due_at")),
        ("ioc.feedback.closed.v1", ("time", "receivedat", "data.opened_at", "data.due_at")),
        ("ioc.camera.detection.v1", ("time", "receivedat")),
        ("ioc.camera.incident.v1", ("time", "receivedat", "data.ended_at")),
        ("ioc.service.metric.v1", ("time", "receivedat")),
    ],
)
def test_every_instant_of_an_event_is_known(event_type: str, expected: tuple[str, ...]) -> None:
    assert instant_fields(event_type) == expected
