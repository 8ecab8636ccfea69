"""Does one bad record leave the rest alone, and is it kept as it was, with the reason?"""

import contextlib
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import SEALED_BYTES_MAX
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_BYTES_MAX, FeedbackReceived
from streams.core.batch import parts, read
from tests.streams.world import LOGGED_MS, SITE, StoredRecord, attributes, batch, raw

BAD = [
    pytest.param(None, Reason.MALFORMED_JSON, "$", id="no value"),
    pytest.param(b"", Reason.MALFORMED_JSON, "$", id="empty"),
    pytest.param(b"\xff\xfe", Reason.INVALID_UTF8, "$", id="not UTF-8"),
    pytest.param(raw(x="§").replace("§".encode(), b"\xff"), Reason.INVALID_UTF8, "$", id="not UTF-8 where not read"),
    pytest.param(raw(x="\x00"), Reason.NUL_CHARACTER, "$", id="NUL where not read"),
    pytest.param(raw(source="a\x00"), Reason.NUL_CHARACTER, "$", id="NUL"),
    pytest.param(raw(x="y" * SEALED_BYTES_MAX), Reason.TOO_LARGE, "$", id="too large"),
    pytest.param(b"[" * 60_000, Reason.NESTED_TOO_DEEP, "$", id="deep in place of an event"),
    pytest.param(raw().replace(b'"specversion"', b'"x":' + b"[" * 20_000 + b"]" * 20_000 + b',"specversion"'),
                 Reason.NESTED_TOO_DEEP, "$", id="deep where not read"),
    pytest.param(raw() + raw(), Reason.MALFORMED_JSON, "$", id="two events in one record"),
    pytest.param(b"[" + raw() + b"]", Reason.INVALID_FIELD, "$", id="a list of one"),
    pytest.param(raw(type="ioc.camera.detection.v9"), Reason.UNKNOWN_TYPE, "type", id="unknown type"),
    pytest.param(raw(area="9999"), Reason.UNKNOWN_AREA, "area", id="unknown area"),
    pytest.param(raw(area=""), Reason.UNKNOWN_AREA, "area", id="empty area"),
    pytest.param(raw(id=None), Reason.MISSING_FIELD, "id", id="no id"),
    pytest.param(raw(time="2025-07-01T08:00:00"), Reason.NAIVE_TIME, "time", id="naive time"),
    pytest.param(raw(time="1970-01-01T00:00:00+07:00"), Reason.INVALID_FIELD, "time", id="1970 only in its own zone"),
    pytest.param(raw(time="0001-01-01T00:00:00+14:00"), Reason.INVALID_FIELD, "time", id="before the first year"),
    pytest.param(raw(time="9999-12-31T23:59:59-12:00"), Reason.INVALID_FIELD, "time", id="after the last year"),
    pytest.param(raw(area="9999", time="1960-01-01T00:00:00Z"), Reason.INVALID_FIELD, "time", id="two mistakes"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "reason", "field"), BAD)
@pytest.mark.parametrize("company", [pytest.param((), id="alone"), pytest.param(("1", "2"), id="among good ones")])
def test_a_bad_record_is_dead_and_the_rest_counts(
    value: bytes | None, reason: Reason, field: str, company: tuple[str, ...]
) -> None:
    good = [raw(id=id_) for id_ in company]
    given_batch = batch([*good[:1], value, *good[1:]], first_offset=70, partition=3)
    reading = read("topic", 3, given_batch.records, SITE.areas)
    assert [(a.event.id, a.raw) for a in reading.arrivals] == list(zip(company, good, strict=True))
    (letter,) = reading.dead
    assert (letter.topic, letter.partition, letter.offset) == ("topic", 3, 70 + len(good[:1]))
    assert (letter.value, letter.key) == (value, b"k")
    assert letter.reason is reason
    assert letter.detail.startswith(f"{field}: ")


def test_what_an_arrival_knows() -> None:
    one = raw(source="s", id="1", time="2025-07-01T08:00:00.250+07:00")
    (found,) = read("t", 0, [StoredRecord(5, LOGGED_MS, b"k", one)], SITE.areas).arrivals
    assert found.event == codec.decode(one)
    assert found.raw == one
    assert found.logged_ms == LOGGED_MS
    assert found.time_s == 1_751_331_600.25
    assert found.received_at == codec.decode(one).received_at


def test_a_record_that_did_not_come_through_ingest_has_the_logs_time() -> None:
    (found,) = read(
        "t", 0, [StoredRecord(5, LOGGED_MS, None, msgspec.json.encode(attributes()))], SITE.areas
    ).arrivals
    assert found.event.received_at is None
    assert found.received_at.timestamp() * 1000 == LOGGED_MS


def test_records_keep_their_order() -> None:
    values = [raw(id=str(n)) if n % 3 else b"bad" for n in range(30)]
    reading = read("t", 0, batch(values).records, SITE.areas)
    assert [a.event.id for a in reading.arrivals] == [str(n) for n in range(30) if n % 3]
    assert [letter.offset for letter in reading.dead] == [n for n in range(30) if not n % 3]


pieces = st.one_of(
    st.binary(max_size=40),
    st.just(None),
    st.sampled_from([value.values[0] for value in BAD if len(value.values[0] or b"") < 1000]),
    st.builds(
        lambda at, damage: raw()[:at] + damage + raw()[at + len(damage) :], st.integers(0, 250), st.binary(max_size=2)
    ),
    st.just(raw()),
)


@given(st.lists(pieces, min_size=1, max_size=12))
def test_each_record_is_judged_as_if_it_stood_alone(values: list[bytes | None]) -> None:
    records = batch(values).records
    together = read("t", 0, records, SITE.areas)
    alone = [read("t", 0, [record], SITE.areas) for record in records]
    assert together.arrivals == [arrival for reading in alone for arrival in reading.arrivals]
    assert together.dead == [letter for reading in alone for letter in reading.dead]
    assert len(together.arrivals) + len(together.dead) == len(values)
    for arrival in together.arrivals:
        # What counts is what the codec takes.
        with contextlib.suppress(InvalidEvent):
            assert codec.decode(arrival.raw) == arrival.event
            continue
        raise AssertionError(arrival.raw)


class TestBatch:
    """Consecutive records."""

    def test_bounds(self) -> None:
        whole = batch([b"a", b"b", b"c"], first_offset=10)
        assert (whole.first_offset, whole.next_offset) == (10, 13)

    @pytest.mark.parametrize(("offset", "kept"), [(0, "abc"), (10, "abc"), (11, "bc"), (12, "c"), (13, ""), (99, "")])
    def test_what_lies_at_or_beyond_an_offset(self, offset: int, kept: str) -> None:
        whole = batch([b"a", b"b", b"c"], first_offset=10)
        assert b"".join(record.value or b"" for record in whole.from_offset(offset)).decode() == kept


def test_the_largest_event_that_the_door_takes_counts() -> None:
    at_the_door = b'{"specversion":"1.0","type":"ioc.camera.detection.v1","source":"s","id":"1","area":"0101",'
    at_the_door += b'"time":"2025-07-01T08:00:00+07:00","data":{"camera":"c","kind":"car"},"x":"%b"}'
    at_the_door %= b"y" * (EVENT_BYTES_MAX - len(at_the_door) + len(b"%b"))
    assert len(at_the_door) == EVENT_BYTES_MAX
    assert codec.decode(at_the_door).area in SITE.areas
    sealed = codec.seal(at_the_door, datetime(2025, 7, 1, 1, tzinfo=UTC), "l" * 128)
    reading = read("t", 0, [StoredRecord(0, LOGGED_MS, b"k", sealed)], SITE.areas)
    assert [one.raw for one in reading.arrivals] == [sealed]


def test_an_event_on_the_topic_of_others_is_dead() -> None:
    (letter,) = read("t", 0, batch([raw()]).records, SITE.areas, types={FeedbackReceived}).dead
    assert (letter.reason, letter.detail) == (
        Reason.WRONG_TOPIC,
        "type: ioc.camera.detection.v1 does not travel on t",
    )


@pytest.mark.parametrize(
    ("days", "cuts"),
    [
        pytest.param([], [([], None)], id="nothing"),
        pytest.param([1, 1, 2], [([1, 1, 2], None)], id="within the bound"),
        pytest.param([1, 2, 3, 3, 4], [([1, 2], 2), ([3, 3, 4], None)], id="one too many"),
        pytest.param([1, 2, 1, 3, 1, 2], [([1, 2, 1], 3), ([3, 1], 5), ([2], None)], id="to and fro"),
    ],
)
def test_a_batch_of_many_days_goes_in_parts(days: list[int], cuts: list[tuple[list[int], int | None]]) -> None:
    values = [raw(id=str(n), time=f"2025-07-{day:02}T08:00:00Z") for n, day in enumerate(days)]
    arrivals = read("t", 0, batch(values).records, SITE.areas).arrivals if values else []
    found = [([one.event.time.day for one in part], cut) for part, cut in parts(arrivals, days_max=2)]
    assert found == cuts
