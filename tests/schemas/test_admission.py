"""Is what cannot be counted told apart from what can, at the bound too?"""

from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import inspect

from schemas import codec
from schemas.admission import TIMED, check_event, check_sent, is_suspect
from schemas.command import Accept, Actor, Command
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_TYPES, INTERNAL, SENT_TYPES, CaseCommand, type_of
from schemas.topics import Dedupe, topic_of
from tests.schemas.test_codec import GOOD, raw

FUTURE_MAX_S = 3600.0
RECEIVED_S = 1_751_331_600.0  # 2025-07-01T01:00:00Z
OBSERVED = "ioc.indicator.observed.v1"
COMMAND = "ioc.case.command.v1"


def check(**given: Any) -> None:
    check_event(codec.decode(raw(**given)), RECEIVED_S, FUTURE_MAX_S)


@pytest.mark.parametrize(
    ("time", "fits"),
    [
        pytest.param("1970-01-01T00:00:00Z", True, id="long ago"),
        pytest.param("2025-07-01T02:00:00Z", True, id="at the bound"),
        pytest.param("2025-07-01T09:00:00+07:00", True, id="at the bound by another clock"),
        pytest.param("2025-07-01T02:00:00.000001Z", False, id="beyond it"),
        pytest.param("2199-12-31T23:59:59Z", False, id="as late as can be"),
    ],
)
def test_how_far_ahead_a_clock_may_be(time: str, fits: bool) -> None:
    if fits:
        check(time=time)
        return
    with pytest.raises(InvalidEvent, match="future_time") as caught:
        check(time=time)
    assert caught.value.field == "time"
    assert "2025-07-01T01:00:00+00:00 by the centre's clock" in caught.value.detail


@pytest.mark.parametrize("type_", EVENT_TYPES)
@pytest.mark.parametrize("how", ["supersedes", "withdraws"])
def test_what_is_kept_for_ever_can_be_corrected_and_nothing_else(type_: str, how: str) -> None:
    given = {"type": type_, "data": GOOD[type_], how: "0"}
    if topic_of(codec.decode(raw(**given))).dedupe is Dedupe.FOREVER:
        check(**given)
        return
    with pytest.raises(InvalidEvent) as caught:
        check(**given)
    assert (caught.value.field, caught.value.reason) == (how, Reason.NOT_CORRECTABLE)


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_what_is_no_suspect_has_nothing_to_look_at(type_: str) -> None:
    """Whatever the check can find, `is_suspect` tells before."""
    found = codec.decode(raw(type=type_, data=GOOD[type_]))
    assert is_suspect(found, found.time) is (found.__class__ in TIMED or type_ == OBSERVED)
    for more in ({"place": "geo:99,200"}, {"time": "2199-12-31T23:59:59Z"}, {"supersedes": "1"}):
        worse = codec.decode(raw(type=type_, data=GOOD[type_], **more))
        assert is_suspect(worse, found.time)
        with pytest.raises(InvalidEvent):
            check_event(worse, RECEIVED_S, FUTURE_MAX_S)


def _moments(form: inspect.Type, path: str) -> Iterator[str]:
    match form:
        case inspect.DateTimeType():
            yield path
        case inspect.UnionType(types=forms):
            for one in forms:
                yield from _moments(one, path)
        case inspect.StructType(fields=fields):
            for one in fields:
                yield from _moments(one.type, f"{path}.{one.name}")
        case _:
            pass


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_every_moment_in_the_data_is_one_that_tables_hold(type_: str) -> None:
    data = next(
        one.type
        for one in inspect.type_info(EVENT_TYPES[type_]).fields
        if one.name == "data"  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType]
    )
    paths = list(_moments(data, "data")) if type_ != COMMAND else []
    assert bool(paths) is (EVENT_TYPES[type_] in TIMED) or type_ == COMMAND
    for path in paths:
        given = GOOD[type_] | {path.removeprefix("data."): "9999-12-31T23:59:59-14:00"}
        with pytest.raises(InvalidEvent) as caught:
            check(type=type_, data=given)
        assert (caught.value.field, caught.value.reason) == (path, Reason.INVALID_FIELD)


@pytest.mark.parametrize(
    ("period", "reason"),
    [
        pytest.param("1970", None, id="the first year"),
        pytest.param("2025", None, id="the present year"),
        pytest.param("2025-Q3", None, id="a quarter that begins today"),
        pytest.param("2025-07-01", None, id="today"),
        pytest.param("2025-07-02", Reason.FUTURE_TIME, id="tomorrow"),
        pytest.param("2025-Q4", Reason.FUTURE_TIME, id="the next quarter"),
        pytest.param("2026", Reason.FUTURE_TIME, id="the next year"),
        pytest.param("9999-12-31", Reason.INVALID_FIELD, id="after the years"),
        pytest.param("1969-12-31", Reason.INVALID_FIELD, id="before the years"),
        pytest.param("2025-02-29", Reason.INVALID_FIELD, id="no leap year"),
        pytest.param("2024-02-29", None, id="a leap year"),
    ],
)
def test_periods(period: str, reason: Reason | None) -> None:
    given = {"type": OBSERVED, "data": GOOD[OBSERVED] | {"period": period}}
    if reason is None:
        check(**given)
        return
    with pytest.raises(InvalidEvent) as caught:
        check(**given)
    assert (caught.value.field, caught.value.reason) == ("data.period", reason)


def test_a_period_may_begin_where_the_day_begins_first() -> None:
    # It is 2025-07-01 already in Kiritimati when it is 10:00 on the day before in Greenwich.
    observed = codec.decode(
        raw(type=OBSERVED, time="2025-06-30T10:00:00Z", data=GOOD[OBSERVED] | {"period": "2025-07"})
    )
    check_event(observed, observed.time.timestamp(), 0)
    with pytest.raises(InvalidEvent, match="future_time"):
        check_event(observed, observed.time.timestamp() - 1, 1 - 0.001)


def test_a_sender_gives_no_commands_as_events() -> None:
    command = CaseCommand(
        specversion="1.0",
        id="1",
        source="boss",
        time=codec.decode(raw()).time,
        data=Command(do=Accept(), actor=Actor(id="boss", roles=("administrator",))),
    )
    with pytest.raises(InvalidEvent) as caught:
        check_sent(command)
    assert (caught.value.field, caught.value.reason) == ("type", Reason.INTERNAL_TYPE)
    assert "/v1/commands" in caught.value.fix
    check_sent(codec.decode(raw()))
    assert type_of(command) not in SENT_TYPES
    assert len(SENT_TYPES) == len(EVENT_TYPES) - len(INTERNAL)


@pytest.mark.parametrize("source", ["person:boss", "citizen:0123456789abcdef", "ioc.streams", "ioc.web"])
def test_a_sender_has_a_source_of_its_own(source: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        check_sent(codec.decode(raw(source=source)))
    assert (caught.value.field, caught.value.reason) == ("source", Reason.RESERVED_SOURCE)
    check_sent(codec.decode(raw(source=f"urn:{source}")))
