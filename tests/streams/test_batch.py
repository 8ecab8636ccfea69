"""Does one bad record leave the rest alone, and is it kept as it was, with the reason?"""

import contextlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.codec import SEALED_BYTES_MAX
from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_BYTES_MAX, FeedbackReceived
from schemas.location import How
from streams.core.batch import Arrival, Reading, closing_cuts, decision_cuts, parts
from tests.streams import naive
from tests.streams.world import LOGGED_MS, SITE, VERSION, StoredRecord, attributes, batch, raw

READER = VERSION.reader
RECEIVED = "ioc.feedback.received.v1"
OBSERVED = "ioc.indicator.observed.v1"

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
    pytest.param(raw(area=""), Reason.INVALID_FIELD, "area", id="empty area"),
    pytest.param(raw(area=None), Reason.MISSING_FIELD, "area", id="neither area nor place"),
    pytest.param(raw(area=None, place="geo:91,0"), Reason.UNKNOWN_PLACE, "place", id="no place on earth"),
    pytest.param(raw(place="geo:99,200"), Reason.UNKNOWN_PLACE, "place", id="no place on earth beside a code"),
    pytest.param(raw(RECEIVED, data={"due_at": "9999-12-31T23:59:59-14:00"}), Reason.INVALID_FIELD, "data.due_at",
                 id="due after the last year"),
    pytest.param(raw().replace(b"test-2025", b"test-1999"), Reason.WRONG_AREA_LIST, "arealist", id="unknown list"),
    pytest.param(raw(time="2025-07-01T02:00:31Z"), Reason.FUTURE_TIME, "time", id="more than an hour to come"),
    pytest.param(raw(supersedes="0"), Reason.NOT_CORRECTABLE, "supersedes", id="corrects what is not kept"),
    pytest.param(raw(RECEIVED, supersedes="1"), Reason.INVALID_FIELD, "supersedes", id="corrects itself"),
    pytest.param(raw(RECEIVED, supersedes="0", withdraws="0"), Reason.INVALID_FIELD, "withdraws", id="both at once"),
    pytest.param(raw(OBSERVED, data={"period": "2025-02-29"}), Reason.INVALID_FIELD, "data.period", id="no such day"),
    pytest.param(raw(OBSERVED, data={"period": "2026"}), Reason.FUTURE_TIME, "data.period", id="a year to come"),
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
    reading = READER.read("topic", 3, given_batch.records)
    assert [(a.event.id, a.raw) for a in reading.arrivals] == list(zip(company, good, strict=True))
    (letter,) = reading.dead
    assert (letter.topic, letter.partition, letter.offset) == ("topic", 3, 70 + len(good[:1]))
    assert (letter.value, letter.key) == (value, b"k")
    assert letter.reason is reason
    assert letter.detail.startswith(f"{field}: ")


def test_what_an_arrival_knows() -> None:
    one = raw(source="s", id="1", time="2025-07-01T08:00:00.250+07:00")
    (found,) = READER.read("t", 0, [StoredRecord(5, LOGGED_MS, b"k", one)]).arrivals
    assert found.event == codec.decode(one)
    assert found.raw == one
    assert found.logged_ms == LOGGED_MS
    assert found.time_s == found.heard_s == 1_751_331_600.25
    assert (found.area, found.how, found.offset) == ("0101", How.CODE, 5)
    assert found.received_at == codec.decode(one).received_at


def test_a_record_that_did_not_come_through_ingest_has_the_logs_time() -> None:
    record = StoredRecord(5, LOGGED_MS, None, msgspec.json.encode(attributes()))
    (found,) = READER.read("t", 0, [record]).arrivals
    assert found.event.received_at is None
    assert found.received_at.timestamp() * 1000 == LOGGED_MS


def test_records_keep_their_order() -> None:
    values = [raw(id=str(n)) if n % 3 else b"bad" for n in range(30)]
    reading = READER.read("t", 0, batch(values).records)
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
    together = READER.read("t", 0, records)
    alone: list[Reading] = []
    for record in records:
        met_s = alone[-1].watermark_s if alone else 0.0
        alone.append(READER.read("t", 0, [record], watermark_s=met_s))
    assert together.watermark_s == alone[-1].watermark_s
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
    received_at = datetime(2025, 7, 1, 1, tzinfo=UTC)
    assert codec.decode(codec.seal(at_the_door, received_at, "l" * 128), SEALED_BYTES_MAX)
    sealed = codec.seal(at_the_door, received_at, "test-2025")
    reading = READER.read("t", 0, [StoredRecord(0, LOGGED_MS, b"k", sealed)])
    assert [one.raw for one in reading.arrivals] == [sealed]


def test_an_event_on_the_topic_of_others_is_dead() -> None:
    (letter,) = READER.read("t", 0, batch([raw()]).records, types={FeedbackReceived}).dead
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
    values = [raw(id=str(n), time=f"2025-06-{day:02}T08:00:00Z") for n, day in enumerate(days)]
    arrivals = READER.read("t", 0, batch(values).records).arrivals if values else []
    found = [
        ([one.event.time.day for one in part], following and following.offset)
        for part, following in parts(arrivals, days_max=2)
    ]
    assert found == cuts


def test_parts_begin_where_they_are_told_to() -> None:
    arrivals = READER.read("t", 0, batch([raw(id=str(n)) for n in range(6)]).records).arrivals
    found = [[one.event.id for one in part] for part, _ in parts(arrivals, days_max=2, apart={0, 2, 3})]
    assert found == [["0", "1"], ["2"], ["3", "4", "5"]]


@pytest.mark.parametrize(
    ("count", "lengths"),
    [
        pytest.param(1, [1], id="one"),
        pytest.param(3, [3], id="as many as a part holds"),
        pytest.param(4, [3, 1], id="one more"),
        pytest.param(9, [3, 3, 3], id="several parts"),
    ],
)
def test_what_is_decided_about_goes_in_parts(count: int, lengths: list[int]) -> None:
    arrivals = READER.read("t", 0, batch([raw(RECEIVED, id=str(number)) for number in range(count)]).records).arrivals
    found = list(parts(arrivals, 30, decision_cuts(arrivals, 3)))
    assert [len(part) for part, _ in found] == lengths
    assert [one for part, _ in found for one in part] == arrivals


def test_a_batch_of_many_corrections_goes_in_parts() -> None:
    events = [raw(RECEIVED, id=str(n)) for n in range(7)]
    withdrawals = [raw(RECEIVED, id=str(n), withdraws="x") for n in range(7)]
    drill = raw(RECEIVED, id="7", withdraws="x", exercise=True)
    values = [*events[:1], *withdrawals[1:3], *events[3:4], *withdrawals[4:6], *events[6:], drill]
    arrivals = READER.read("t", 0, batch(values).records).arrivals
    found = [[one.event.id for one in part] for part, _ in parts(arrivals, days_max=2, corrections_max=2)]
    assert found == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]


class TestWatermark:
    """What closes buckets."""

    @pytest.mark.parametrize(
        ("log", "watermarks"),
        [
            pytest.param([(0, 0), (10, 10)], [0, 0, 10], id="the largest event time"),
            pytest.param([(60, 60), (60, 30), (61, 59)], [0, 60, 60, 60], id="it does not go back"),
            pytest.param([(0, 3000), (10, 3000)], [0, 0, 10], id="no further than the log's clock"),
            pytest.param([(0, 0), (900, -900)], [0, 0, 0], id="silent for as long as it may be"),
            pytest.param([(0, 0), (960, 0)], [0, 60, 60], id="silent for longer"),
            pytest.param([(0, 0), (1019.999, 0)], [0, 60, 60], id="by whole minutes"),
            pytest.param([(0, 0), (1020, 1020)], [0, 120, 1020], id="silent, and then news"),
        ],
    )
    def test_what_events_meet(self, log: list[tuple[float, float]], watermarks: list[float]) -> None:
        begin_s = 1_751_331_600
        records = [
            StoredRecord(at, int((begin_s + logged_s) * 1000), None, at_time(begin_s + time_s, id=str(at)))
            for at, (logged_s, time_s) in enumerate(log)
        ]
        reading = READER.read("t", 0, records, watermark_s=begin_s)
        assert not reading.dead
        found = [*(one.watermark_s for one in reading.arrivals), reading.watermark_s]
        assert [one - begin_s for one in found] == watermarks

    def test_what_cannot_be_counted_does_not_move_it(self) -> None:
        begin_s = LOGGED_MS // 1000
        records = batch([at_time(begin_s, area="9999"), b"bad", raw(id="2")]).records
        reading = READER.read("t", 0, records)
        assert [one.watermark_s for one in reading.arrivals] == [begin_s // 60 * 60 - 15 * 60]

    @given(
        st.lists(st.tuples(st.integers(0, 1_500_000), st.integers(-1_000_000, 1_000_000)), min_size=1, max_size=25),
        st.data(),
    )
    @settings(max_examples=50)
    def test_it_is_a_function_of_the_log(self, steps: list[tuple[int, int]], data: st.DataObject) -> None:
        records: list[StoredRecord] = []
        logged_ms = LOGGED_MS
        for at, (step_ms, ahead_ms) in enumerate(steps):
            logged_ms += step_ms
            value = b"bad" if at % 7 == 6 else at_time((logged_ms + ahead_ms) / 1000, id=str(at))
            records.append(StoredRecord(at, logged_ms, None, value))
        found: list[Arrival] = []
        watermark_s = 0.0
        begin = 0
        while begin < len(records):
            end = data.draw(st.integers(begin + 1, len(records)))
            reading = READER.read("t", 0, records[begin:end], watermark_s=watermark_s)
            for part, following in parts(reading.arrivals, 2):
                # A lane that is taken over in between goes on from what the part has reached.
                found += part
                if following is not None:
                    again = [record for record in records[begin:end] if record.offset >= following.offset]
                    rest = READER.read("t", 0, again, watermark_s=following.watermark_s)
                    assert rest.arrivals[0] == following
                    assert rest.watermark_s == reading.watermark_s
            watermark_s, begin = reading.watermark_s, end
        log = [naive.Moment(one.event, one.logged_ms) for one in found]
        assert [one.watermark_s for one in found] == list(naive.watermarks(log, SITE.header.closing.idle_s))


def at_time(time_s: float, **given_: Any) -> bytes:
    """A report of this moment."""
    time = datetime.fromtimestamp(time_s, UTC).isoformat(timespec="milliseconds")
    return raw(RECEIVED, time=time, **given_)


class TestClosingCuts:
    """Where a batch is settled in parts."""

    @staticmethod
    def cuts(values: list[bytes], step_ms: int = 20_000) -> set[int]:
        """Of records so far apart."""
        records = [StoredRecord(at, LOGGED_MS + at * step_ms, None, value) for at, value in enumerate(values)]
        arrivals = READER.read("t", 0, records, watermark_s=LOGGED_MS // 60_000 * 60).arrivals
        assert len(arrivals) == len(values)
        return closing_cuts(arrivals, grace_s=120)

    @staticmethod
    def reports(count: int, **last: str) -> list[bytes]:
        """One each 20 seconds; the last one with these attributes besides."""
        begin_s = LOGGED_MS / 1000
        return [at_time(begin_s + at * 20, id=str(at), **(last if at == count - 1 else {})) for at in range(count)]

    def test_what_corrects_nothing_stays_together(self) -> None:
        assert self.cuts(self.reports(20)) == set()

    def test_where_something_is_corrected_no_bucket_closes_within_a_part(self) -> None:
        # The log begins half past a minute, and an event meets what came before it.
        assert self.cuts(self.reports(9, supersedes="0")) == {0, 3, 6}
        assert self.cuts(self.reports(9, withdraws="gone")) == {0, 3, 6}

    def test_a_drill_corrects_nothing(self) -> None:
        begin_s = LOGGED_MS / 1000
        drill = raw(
            RECEIVED, time=datetime.fromtimestamp(begin_s, UTC).isoformat(), id="d", supersedes="0", exercise=True
        )
        assert self.cuts([*self.reports(9), drill]) == set()

    def test_a_second_report_of_a_period_is_apart(self) -> None:
        def observed(id_: str, **data: str) -> bytes:
            return raw(OBSERVED, id=id_, data=data)

        assert self.cuts([observed("1"), observed("2", period="2025-05"), observed("3", indicator="x")]) == set()
        assert self.cuts([observed("1"), observed("2"), observed("3"), observed("4", indicator="x")]) == {1, 2}
        assert self.cuts([observed("1"), raw(OBSERVED, id="2", area="0102"), observed("3")]) == {2}

    def test_a_corrected_report_is_apart_wherever_it_is_moved_to(self) -> None:
        moved = raw(OBSERVED, id="2", area="0102", supersedes="1")
        assert 1 in self.cuts([raw(OBSERVED, id="1"), moved], step_ms=0)
        assert 1 in self.cuts([raw(OBSERVED, id="1"), raw(RECEIVED, id="2", withdraws="1")], step_ms=0)

    @pytest.mark.parametrize(
        ("attributes", "found"),
        [
            pytest.param({"withdraws": "late"}, {0, 2}, id="what takes it back"),
            pytest.param({"supersedes": "late"}, {0, 2}, id="what replaces it"),
            pytest.param({"withdraws": "early"}, {0, 2}, id="what takes back what it replaces"),
            pytest.param({"withdraws": "late", "source": "another"}, {0}, id="another source"),
            pytest.param({"withdraws": "gone"}, {0}, id="what corrects another"),
            pytest.param({"withdraws": "late", "exercise": True}, {0}, id="a drill"),
        ],
    )
    def test_what_came_late_is_apart_from(self, attributes: dict[str, Any], found: set[int]) -> None:
        begin_s = LOGGED_MS / 1000
        late = at_time(begin_s - 3600, id="late", supersedes="early")
        log = [late, at_time(begin_s, id="1"), at_time(begin_s, id="2", **attributes), at_time(begin_s, id="3")]
        assert self.cuts(log, step_ms=0) == found


def test_a_command_is_read_without_a_place_and_a_unit_wherever_it_is() -> None:
    command = {"do": {"action": "accept"}, "actor": {"id": "a", "roles": ["operator"]}}
    values = [
        raw("ioc.case.command.v1", id="1", area=None, subject="mfrggzdfmztwq2lk", data=command),
        raw("ioc.unit.position.v1", id="2", area=None, place="geo:48.2,16.4", data={"unit": "u"}),
        raw("ioc.case.command.v1", id="3", area="0101", subject="mfrggzdfmztwq2lk", data=command),
        raw("ioc.case.command.v1", id="4", area="9999", subject="mfrggzdfmztwq2lk", data=command),
        # No place on earth is no place of a unit.
        raw("ioc.unit.position.v1", id="5", area=None, place="geo:91,0", data={"unit": "u"}),
    ]
    reading = READER.read("t", 0, batch(values).records)
    assert [(one.event.id, one.area, one.how) for one in reading.arrivals] == [
        ("1", SITE.areas.root.id, How.CERTAIN),
        ("2", SITE.areas.root.id, How.CERTAIN),
        ("3", "0101", How.CODE),
    ]
    assert [letter.reason for letter in reading.dead] == [Reason.UNKNOWN_AREA, Reason.UNKNOWN_PLACE]
