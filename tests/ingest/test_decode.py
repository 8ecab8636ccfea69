"""Does every request on disk decode to what it must, and does nothing a sender writes break the decoder?"""

import contextlib
import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.decode import media
from ingest.decode.cloudevents import BATCH_EVENTS_MAX, Decoder, Judged
from ingest.decode.media import Mode
from schemas import codec
from schemas.errors import InvalidBody, InvalidEvent
from schemas.event import Event
from schemas.location import Locator
from schemas.topics import key_of, topic_of
from tests.ingest.vector import RECEIVED_AT, SITE, body_of, event, headers_of, vectors

DECODER = Decoder(SITE)
LOCATE = Locator(SITE.areas)
_CE_HEADERS = [(f"ce-{name}".encode(), str(value).encode()) for name, value in event(data=None).items()]


class Taken(msgspec.Struct):
    """An event that is fit for the log, and the bytes that are written."""

    event_id: str
    kind: type[Event]
    value: bytes


class Refused(msgspec.Struct):
    """An event that is not taken."""

    event_id: str | None
    error: InvalidEvent


Outcome = Taken | Refused


def decode(headers: list[tuple[bytes, bytes]], body: bytes) -> list[Outcome]:
    return outcomes_of(DECODER.decode(media.mode_of(headers), headers, body, RECEIVED_AT))


def outcomes_of(judged: Judged) -> list[Outcome]:
    """One outcome for each event, in the sender's order. What goes to a place must belong there."""
    written: dict[str, list[Taken]] = {}
    for lot in judged.lots:
        for value in lot.values:
            event = codec.decode(value)
            assert (topic_of(event), key_of(event)) == (lot.topic, lot.key)
            written.setdefault(event.id, []).append(Taken(event.id, type(event), value))
    places = [(lot.topic.name, lot.key) for lot in judged.lots]
    assert len(places) == len(set(places))
    assert sum(map(len, written.values())) == len(judged.ids) - len(judged.refused) == judged.kinds.total()
    return [
        Refused(event_id, judged.refused[index]) if index in judged.refused else written[str(event_id)].pop(0)
        for index, event_id in enumerate(judged.ids)
    ]


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector: dict[str, Any]) -> None:
    expected = vector["expect"]
    if refused := expected.get("body_refused"):
        with pytest.raises(InvalidBody) as caught:
            decode(headers_of(vector), body_of(vector))
        error = caught.value
        assert {"field": error.field, "reason": error.reason} == refused
        assert error.detail
        assert error.fix
    else:
        outcomes = decode(headers_of(vector), body_of(vector))
        assert [_described(outcome) for outcome in outcomes] == [_without_list(one) for one in expected["outcomes"]]


@pytest.mark.parametrize("vector", vectors())
def test_what_is_written_reads_back_as_what_was_sent(vector: dict[str, Any]) -> None:
    try:
        outcomes = decode(headers_of(vector), body_of(vector))
    except InvalidBody:
        return
    for outcome, expected in zip(outcomes, vector["expect"]["outcomes"], strict=True):
        if isinstance(outcome, Taken):
            written = codec.decode(outcome.value)
            assert written.id == outcome.event_id
            assert written.received_at == RECEIVED_AT
            assert written.area_list == expected.get("list", "vn-test")


@pytest.mark.parametrize(
    ("value", "subject"),
    [
        pytest.param(b"plain", "plain", id="plain"),
        pytest.param(b"a%20b%22%C3%BC", 'a b"ü', id="percent-encoded"),
        pytest.param(b'"a \\"b\\" \\\\"', 'a "b" \\', id="quoted with escapes"),
        pytest.param(b'"%25"', "%", id="quoted, then percent-encoded"),
        pytest.param(b"100%", "100%", id="a percent sign alone stays"),
        pytest.param("Phường".encode(), "Phường", id="raw UTF-8 is forgiven"),
        pytest.param(b'"', '"', id="one quote is no quoting"),
        pytest.param(b'x","id":"stolen', 'x","id":"stolen', id="quotes cannot break out"),
    ],
)
def test_binary_header_value(value: bytes, subject: str) -> None:
    headers = [(b"content-type", b"application/json"), *_CE_HEADERS, (b"ce-subject", value)]
    (outcome,) = decode(headers, json.dumps(event()["data"]).encode())
    assert isinstance(outcome, Taken)
    assert codec.decode(outcome.value).subject == subject
    assert outcome.event_id == "n-1"


def test_what_is_told_of_a_wrong_clock_and_of_a_measurement_lets_the_sender_mend_it() -> None:
    late, corrected = event(time="2025-07-02T00:00:00Z"), event(supersedes="n-0")
    judged = DECODER.decode(Mode.BATCHED, [], json.dumps([late, corrected]).encode(), RECEIVED_AT)
    assert "2025-07-01T01:00:01+00:00 by the centre's clock" in judged.refused[0].detail
    assert "an id of its own" in judged.refused[1].fix
    assert "`ioc rebuild`" in judged.refused[1].fix


def test_a_batch_at_its_bound_is_taken() -> None:
    body = json.dumps([event()] * BATCH_EVENTS_MAX).encode()
    judged = DECODER.decode(Mode.BATCHED, [], body, RECEIVED_AT)
    assert all(isinstance(one, Taken) for one in outcomes_of(judged))


def test_events_of_a_key_keep_their_order_also_around_one_that_is_refused() -> None:
    kinds = ["ioc.feedback.received.v1", "ioc.feedback.closed.v1", "ioc.camera.detection.v1"]
    sent = [
        event(id=str(n), type=kinds[n % 3], subject=f"case-{n % 2}", source=f"urn:{n % 4}", data=data)
        for n, data in enumerate([{"category": "c"}, {"category": "c"}, {"camera": "c", "kind": "car"}] * 20)
    ]
    for body in (sent, [*sent[:30], event(area="nowhere"), *sent[30:]]):
        judged = DECODER.decode(Mode.BATCHED, [], json.dumps(body).encode(), RECEIVED_AT)
        assert len(judged.refused) == len(body) - len(sent)
        assert sum(len(lot.values) for lot in judged.lots) == len(sent)
        assert set(judged.kinds.values()) == {20}
        for lot in judged.lots:
            numbers = [int(codec.decode(value).id) for value in lot.values]
            assert numbers == sorted(numbers)
            assert {(topic_of(e), key_of(e)) for e in map(codec.decode, lot.values)} == {(lot.topic, lot.key)}
        assert len({(lot.topic.name, lot.key) for lot in judged.lots}) == len(judged.lots)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
_ATTRIBUTES = [*event(), "subject", "place", "arealist", "exercise", "receivedat", "data_base64", "note"]
_CORRECTIONS = ["supersedes", "withdraws"]
_VALUES = ["2025-06-30T00:00:00Z", "2025-07-02T00:00:00Z", "vn-old", "01", "03", "geo:21,105.5", "geo:1,1", "n-1"]
_mutated = st.dictionaries(
    st.sampled_from([*_ATTRIBUTES, *_CORRECTIONS]),
    st.one_of(_json, st.sampled_from(_VALUES), st.text(max_size=300)),
    max_size=3,
).map(lambda changes: {**event(), **changes})
_located = st.fixed_dictionaries(
    {},
    optional={
        "area": st.sampled_from([None, "00", "01", "02", "03", "04"]),
        "arealist": st.sampled_from([None, "vn-test", "vn-old", "vn-other"]),
        "place": st.sampled_from([None, "geo:21,105.5", "geo:21,106.5", "geo:1,1"]),
        "time": st.datetimes(datetime(2025, 6, 30), datetime(2025, 7, 2)).map(lambda time: time.isoformat() + "Z"),
    },
).map(lambda changes: {**event(), **changes})
_headers = st.lists(
    st.tuples(st.sampled_from([b"ce-id", b"ce-subject", b"ce-area", b"ce-x", b"ce-", b"ce-\xff"]), st.binary()),
    max_size=4,
)


def judged(mode: Mode, headers: list[tuple[bytes, bytes]], body: bytes) -> list[Outcome]:
    """Decodes; anything but the declared error fails the test. What is taken must read back."""
    try:
        outcomes = outcomes_of(DECODER.decode(mode, headers, body, RECEIVED_AT))
    except InvalidBody:
        return []
    for outcome in outcomes:
        if isinstance(outcome, Taken):
            written = codec.decode(outcome.value)
            assert (written.id, type(written)) == (outcome.event_id, outcome.kind)
            assert written.received_at == RECEIVED_AT
            assert written.area is None or written.area_list in SITE.areas.lists
        else:
            assert isinstance(outcome.error, InvalidEvent)
    return outcomes


@given(mode=st.sampled_from(Mode), headers=_headers, body=st.binary())
def test_any_bytes(mode: Mode, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
    judged(mode, headers, body)


@given(mode=st.sampled_from(Mode), headers=_headers, value=_json)
def test_any_json(mode: Mode, headers: list[tuple[bytes, bytes]], value: object) -> None:
    judged(mode, [*_CE_HEADERS, *headers], json.dumps(value).encode())


@given(value=_mutated, cut=st.integers(min_value=0, max_value=400), flip=st.integers(min_value=0, max_value=255))
def test_mutated_events(value: dict[str, Any], cut: int, flip: int) -> None:
    body = json.dumps(value).encode()
    judged(Mode.STRUCTURED, [], body)
    judged(Mode.STRUCTURED, [], body[:cut] + bytes([flip]) + body[cut + 1 :])


@given(values=st.lists(_mutated | _located, max_size=5))
def test_a_batch_is_judged_as_its_events_are_alone(values: list[dict[str, Any]]) -> None:
    raws = [json.dumps(value).encode() for value in values]
    together = judged(Mode.BATCHED, [], b"[" + b",".join(raws) + b"]")
    # Where half a surrogate pair or NaN makes the whole batch malformed there is nothing to compare.
    if len(together) == len(raws):
        for raw, outcome in zip(raws, together, strict=True):
            (alone,) = judged(Mode.BATCHED, [], b"[" + raw + b"]")
            assert _described(alone) == _described(outcome)


@given(value=_mutated | _located)
def test_the_log_holds_the_senders_event_and_what_the_centre_adds(value: dict[str, Any]) -> None:
    raw = json.dumps(value).encode()
    for outcome in judged(Mode.STRUCTURED, [], raw):
        if isinstance(outcome, Taken):
            sent = codec.decode(raw)
            sealed = codec.decode(outcome.value)
            area_list = sent.area_list if sent.area is None else LOCATE(sent).list_id
            assert msgspec.structs.replace(sent, received_at=RECEIVED_AT, area_list=area_list) == sealed
            assert LOCATE(sealed) == LOCATE(sent)


@given(content_type=st.binary(), encoding=st.none() | st.binary())
def test_any_content_type(content_type: bytes, encoding: bytes | None) -> None:
    headers = [(b"content-type", content_type), *_CE_HEADERS]
    if encoding is not None:
        headers.append((b"content-encoding", encoding))
    with contextlib.suppress(InvalidBody):
        assert media.mode_of(headers) in Mode


def _without_list(expected: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in expected.items() if name != "list"}


def _described(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Refused):
        error = outcome.error
        assert error.detail
        assert error.fix
        return {"refused": {"id": outcome.event_id, "field": error.field, "reason": error.reason}}
    return {"taken": outcome.event_id}
