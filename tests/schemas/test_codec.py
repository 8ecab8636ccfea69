"""Is a bad event refused with the field and the reason that let its sender mend it?"""

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_BYTES_MAX, EVENT_TYPES, type_of
from schemas.kpi import DIM_SEPARATOR

RECEIVED_AT = datetime(2025, 7, 1, 8, 0, 1, 250_999, tzinfo=timezone(timedelta(hours=7)))

GOOD: dict[str, dict[str, Any]] = {
    "ioc.feedback.received.v1": {"category": "road"},
    "ioc.feedback.closed.v1": {"category": "road", "due_at": "2025-07-01T08:00:00Z"},
    "ioc.feedback.answered.v1": {"category": "road", "opened_at": "2025-06-30T08:00:00Z"},
    "ioc.feedback.reopened.v1": {"category": "road", "reason": "not mended"},
    "ioc.feedback.rated.v1": {"score": 5, "agency": "roads"},
    "ioc.dossier.received.v1": {"procedure": "p", "channel": "online", "complete": False, "digitised": True},
    "ioc.dossier.closed.v1": {"procedure": "p", "channel": "post", "payment": "cashless", "result": "refused"},
    "ioc.dossier.rated.v1": {"score": 1},
    "ioc.indicator.observed.v1": {"indicator": "i", "period": "2025-Q2", "value": 8.0, "of": 9.5},
    "ioc.case.command.v1": {"do": {"action": "accept"}, "actor": {"id": "lan", "roles": ["operator"]}},
    "ioc.case.step.v1": {"case": "c", "step": "opened", "kind": "service", "category": "c", "severity": "minor"},
    "ioc.unit.position.v1": {"unit": "doi-1"},
    "ioc.unit.duty.v1": {"unit": "doi-1", "seconds": 3600},
    "ioc.alert.changed.v1": {
        "rule": "r",
        "state": "firing",
        "category": "c",
        "severity": "major",
        "title": "t",
    },
    "ioc.camera.detection.v1": {"camera": "c", "kind": "car", "count": 3, "score": 0.5},
    "ioc.camera.incident.v1": {"camera": "c", "kind": "fire", "severity": "major"},
    "ioc.service.metric.v1": {"service": "portal", "metric": "latency", "value": 1.5, "unit": "s"},
}


def event(**given: Any) -> dict[str, Any]:
    """A valid detection's attributes, with some set otherwise; None leaves one out."""
    whole = {
        "specversion": "1.0",
        "type": "ioc.camera.detection.v1",
        "source": "s",
        "id": "1",
        "time": "2025-07-01T08:00:00+07:00",
        "area": "01",
        "data": {"camera": "c", "kind": "car"},
    } | given
    return {name: value for name, value in whole.items() if value is not None}


def raw(**given: Any) -> bytes:
    """The same as bytes."""
    return msgspec.json.encode(event(**given))


def data(**given: Any) -> bytes:
    """A valid detection with other data."""
    return raw(data={"camera": "c", "kind": "car"} | given)


@pytest.mark.parametrize("type_", EVENT_TYPES)
def test_every_type_is_read(type_: str) -> None:
    read = codec.decode(raw(type=type_, data=GOOD[type_]))
    assert type_of(read) == type_
    assert isinstance(read, EVENT_TYPES[type_])
    assert msgspec.json.decode(msgspec.json.encode(read.data)) == GOOD[type_]


BAD = [
    pytest.param(b"", "$", Reason.MALFORMED_JSON, id="empty"),
    pytest.param(b"{", "$", Reason.MALFORMED_JSON, id="cut off"),
    pytest.param(raw() + b"x", "$", Reason.MALFORMED_JSON, id="trailing"),
    pytest.param(b"\xef\xbb\xbf" + raw(), "$", Reason.MALFORMED_JSON, id="byte order mark"),
    pytest.param(b"null", "$", Reason.INVALID_FIELD, id="null"),
    pytest.param(b"[]", "$", Reason.INVALID_FIELD, id="array"),
    pytest.param(b"[" * 100_00 + b"]" * 100_00, "$", Reason.NESTED_TOO_DEEP, id="deep array in place of the event"),
    pytest.param(
        raw().replace(b'"1.0"', b'"1.0","x":' + b"[" * 9000 + b"]" * 9000),
        "$",
        Reason.NESTED_TOO_DEEP,
        id="deep extension",
    ),
    pytest.param(raw(x="y" * EVENT_BYTES_MAX), "$", Reason.TOO_LARGE, id="too large"),
    pytest.param(raw(source="a\x00b"), "$", Reason.NUL_CHARACTER, id="NUL"),
    pytest.param(raw(x={"y": ["\x00"]}), "$", Reason.NUL_CHARACTER, id="NUL in an attribute that is not read"),
    pytest.param(
        raw(data={"camera": f"c{DIM_SEPARATOR}car", "kind": "k"}), "$", Reason.INVALID_FIELD, id="two words in one"
    ),
    pytest.param(raw(source="§").replace("§".encode(), rb"\u001F"), "$", Reason.INVALID_FIELD, id="in capitals"),
    pytest.param(raw(source="§").replace("§".encode(), b"\x1f"), "$", Reason.MALFORMED_JSON, id="not escaped"),
    pytest.param(raw(x="§").replace("§".encode(), b"\xff"), "$", Reason.INVALID_UTF8, id="not UTF-8 where not read"),
    pytest.param(raw(id="§").replace("§".encode(), b"\xff"), "$", Reason.INVALID_UTF8, id="not UTF-8"),
    pytest.param(raw(id=None), "id", Reason.MISSING_FIELD, id="no id"),
    pytest.param(raw(time=None), "time", Reason.MISSING_FIELD, id="no time"),
    pytest.param(raw(area=""), "area", Reason.INVALID_FIELD, id="empty area"),
    pytest.param(raw(area="x" * 129), "area", Reason.INVALID_FIELD, id="long area"),
    pytest.param(raw(data=None), "data", Reason.MISSING_FIELD, id="no data"),
    pytest.param(raw(data={"camera": "c"}), "data.kind", Reason.MISSING_FIELD, id="no field of data"),
    pytest.param(raw(type=None), "type", Reason.MISSING_FIELD, id="no type"),
    pytest.param(raw(type="ioc.camera.detection.v2"), "type", Reason.UNKNOWN_TYPE, id="unknown type"),
    pytest.param(raw(type=7), "type", Reason.INVALID_FIELD, id="type is a number"),
    pytest.param(raw(specversion="0.3"), "specversion", Reason.INVALID_FIELD, id="another version"),
    pytest.param(raw(id=""), "id", Reason.INVALID_FIELD, id="empty id"),
    pytest.param(raw(id=1), "id", Reason.INVALID_FIELD, id="number as id"),
    pytest.param(raw(source="x" * 257), "source", Reason.INVALID_FIELD, id="long source"),
    pytest.param(raw(time="2025-07-01T08:00:00"), "time", Reason.NAIVE_TIME, id="naive time"),
    pytest.param(raw(time="yesterday"), "time", Reason.INVALID_FIELD, id="no time at all"),
    pytest.param(raw(time="2025-02-30T00:00:00Z"), "time", Reason.INVALID_FIELD, id="no such day"),
    pytest.param(raw(time="1969-12-31T23:59:59Z"), "time", Reason.INVALID_FIELD, id="before the years"),
    pytest.param(raw(time="2200-01-01T00:00:00Z"), "time", Reason.INVALID_FIELD, id="after the years"),
    pytest.param(raw(place="12,34"), "place", Reason.INVALID_FIELD, id="place is no geo URI"),
    pytest.param(raw(exercise="yes"), "exercise", Reason.INVALID_FIELD, id="exercise is no boolean"),
    pytest.param(raw(datacontenttype="text/xml"), "datacontenttype", Reason.INVALID_FIELD, id="data is not JSON"),
    pytest.param(data(count=0), "data.count", Reason.INVALID_FIELD, id="count of nothing"),
    pytest.param(data(count=2.5), "data.count", Reason.INVALID_FIELD, id="count of a half"),
    pytest.param(
        raw(type="ioc.feedback.rated.v1", data={"score": 0}), "data.score", Reason.INVALID_FIELD, id="rating below 1"
    ),
    pytest.param(
        raw(type="ioc.dossier.closed.v1", data={"procedure": "p", "channel": "fax"}),
        "data.channel",
        Reason.INVALID_FIELD,
        id="channel that is none",
    ),
    pytest.param(
        raw(type="ioc.indicator.observed.v1", data={"indicator": "i", "period": "2025-13", "value": 1}),
        "data.period",
        Reason.INVALID_FIELD,
        id="thirteenth month",
    ),
    pytest.param(data(score=1.01), "data.score", Reason.INVALID_FIELD, id="score beyond 1"),
    pytest.param(data().replace(b'"car"', b'"car","score":NaN'), "$", Reason.MALFORMED_JSON, id="NaN"),
    pytest.param(
        raw(type="ioc.service.metric.v1", data={"service": "s", "metric": "m", "value": 1e16}),
        "data.value",
        Reason.INVALID_FIELD,
        id="value out of range",
    ),
    pytest.param(
        raw(type="ioc.feedback.closed.v1", data={"category": "c", "due_at": "2025-07-01T08:00:00"}),
        "data.due_at",
        Reason.NAIVE_TIME,
        id="naive time in data",
    ),
]


@pytest.mark.parametrize(("bad", "field", "reason"), BAD)
def test_what_is_bad_is_refused_with_field_and_reason(bad: bytes, field: str, reason: Reason) -> None:
    with pytest.raises(InvalidEvent) as refusal:
        codec.decode(bad)
    assert (refusal.value.field, refusal.value.reason) == (field, reason)
    assert refusal.value.detail
    assert refusal.value.fix


@pytest.mark.parametrize(("bad", "field", "reason"), BAD)
def test_one_bad_event_refuses_a_list(bad: bytes, field: str, reason: Reason) -> None:
    del field, reason
    try:
        msgspec.json.decode(bad)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return  # not a JSON value, which the caller has made sure of
    with pytest.raises(InvalidEvent):
        codec.decode_all([raw(), bad, raw()])


def test_a_list_is_read_as_one_by_one() -> None:
    raws = [raw(id=str(number), type=type_, data=GOOD[type_]) for number, type_ in enumerate(EVENT_TYPES)]
    assert codec.decode_all(raws) == [codec.decode(one) for one in raws]
    assert codec.decode_all([]) == []


@pytest.mark.parametrize(
    "text",
    [r"\u0000", r"\\u0000", r"\\\u0000", r"\\\\u0000"],
    ids=["escape", "text", "text and escape", "text twice"],
)
def test_a_nul_is_told_from_the_text_of_one(text: str) -> None:
    bytes_ = raw(x="§").replace("§".encode(), text.encode())
    if "\x00" in msgspec.json.decode(bytes_)["x"]:
        with pytest.raises(InvalidEvent, match="nul_character"):
            codec.decode(bytes_)
    else:
        codec.decode(bytes_)


@pytest.mark.parametrize(
    "text",
    [r"\u001f", r"\u001F", r"\\u001f", r"\\\u001F", r"\u001e", r"\\\\u001f"],
    ids=["escape", "in capitals", "text", "text and escape", "another", "text twice"],
)
def test_a_separator_of_words_is_told_from_the_text_of_one(text: str) -> None:
    bytes_ = raw(x="§").replace("§".encode(), text.encode())
    assert codec.is_plain([raw(), bytes_]) is (DIM_SEPARATOR not in msgspec.json.decode(bytes_)["x"])


def test_the_largest_event_is_taken() -> None:
    whole = raw(x="")
    codec.decode(raw(x="y" * (EVENT_BYTES_MAX - len(whole))))


class TestSeal:
    """What the centre adds."""

    def test_it_says_when_and_by_which_list(self) -> None:
        sealed = codec.decode(codec.seal(raw(), RECEIVED_AT, "vn-2025"))
        assert sealed.received_at == datetime(2025, 7, 1, 1, 0, 1, 250_000, tzinfo=UTC)
        assert sealed.area_list == "vn-2025"

    def test_it_keeps_the_senders_bytes(self) -> None:
        assert codec.seal(raw(traceparent="00-1"), RECEIVED_AT, "l").startswith(raw(traceparent="00-1")[:-1])

    def test_a_sender_cannot_set_these(self) -> None:
        lying = raw(receivedat="1999-01-01T00:00:00Z", arealist="of-mine")
        sealed = codec.decode(codec.seal(lying, RECEIVED_AT, "vn-2025"))
        assert sealed.area_list == "vn-2025"
        assert sealed.received_at is not None
        assert sealed.received_at.year == 2025

    def test_an_event_without_a_code_has_no_list(self) -> None:
        sealed = codec.decode(codec.seal(raw(area=None, place="geo:1,2"), RECEIVED_AT, None))
        assert sealed.area_list is None
        assert sealed.received_at is not None

    def test_space_after_the_brace_does_no_harm(self) -> None:
        assert codec.decode(codec.seal(raw() + b" \n\t", RECEIVED_AT, "l")).area_list == "l"

    def test_a_list_name_with_quotes_stays_one_value(self) -> None:
        assert codec.decode(codec.seal(raw(), RECEIVED_AT, 'a"},{"é')).area_list == 'a"},{"é'

    @given(st.text(st.characters(exclude_characters="\x00\x1f", exclude_categories=["Cs"]), min_size=1, max_size=128))
    def test_any_text_survives(self, text: str) -> None:
        sealed = codec.decode(codec.seal(raw(id=text, source=text), RECEIVED_AT, text))
        assert (sealed.id, sealed.source, sealed.area_list) == (text, text, text)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_are_refused(bytes_: bytes) -> None:
    with pytest.raises(InvalidEvent):
        codec.decode(bytes_)


@given(st.integers(0, 400), st.binary(max_size=3))
def test_a_damaged_event_is_read_or_refused(at: int, damage: bytes) -> None:
    whole = raw()
    with contextlib.suppress(InvalidEvent):
        codec.decode(whole[:at] + damage + whole[at + len(damage) :])


@pytest.mark.parametrize(
    ("extension", "taken"),
    [
        pytest.param(b"[" * 63 + b"]" * 63, True, id="as deep as may be"),
        pytest.param(b"[" * 64 + b"]" * 64, False, id="one deeper"),
        pytest.param(b"[" + b"{}," * 500 + b"[]]", True, id="wide, not deep"),
        pytest.param(b'"' + b"[" * 500 + b'"', True, id="brackets in a text"),
        pytest.param(b'"\\"' + b"[" * 500 + b'"', True, id="brackets behind an escaped quote"),
    ],
)
def test_nesting_has_a_bound_that_does_not_depend_on_python(extension: bytes, taken: bool) -> None:
    event = raw()[:-1] + b',"extension":' + extension + b"}"
    if taken:
        assert codec.decode(event) == codec.decode_all([event, event])[0]
        assert codec.is_plain([event])
        return
    with pytest.raises(InvalidEvent, match="nests too deep"):
        codec.decode(event)
    with pytest.raises(InvalidEvent):
        codec.decode_all([raw(), event])
    assert not codec.is_plain([event])
