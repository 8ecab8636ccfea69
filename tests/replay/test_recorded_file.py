"""Is what a file holds read whole, and is everything that is wrong with it said?"""

import gzip
from pathlib import Path

import msgspec
import pytest

from deploy.replay.recorded_file import (
    LINE_BYTES_MAX,
    Recorded,
    RecordingError,
    Unmapped,
    choose_mapping,
    read_recording,
)
from ingest.decode.recording import RecordingMapping, parse_mapping
from schemas.area import Area, Zone
from schemas.event import AreaCode, AreaId

MAPPING = """
source = "meter"
zone = "UTC"
area = "X"
[where]
kind = ["", "load"]
[[event]]
type = "ioc.service.metric.v1"
id = "{at}"
time = "at"
needs = ["at"]
[event.data]
service = "desk"
metric = "load"
value = { number = "value" }
"""
HEADER = "at,kind,value,note\n"
GOOD = "2014-01-01 00:00:00,load,1,\n"
EVENT = (
    b'{"specversion":"1.0","id":"a","source":"s","type":"ioc.service.metric.v1","time":"2014-01-01T00:00:00Z",'
    b'"area":"X","traceparent":"kept","data":{"service":"d","metric":"m","value":1}}'
)

AREAS = [Area(id=AreaId("X"), code=AreaCode("X"), list_id="l", kind="city", names={}, zone=Zone("UTC"))]


@pytest.fixture
def mapping() -> RecordingMapping:
    return parse_mapping(MAPPING.replace('["", "load"]', '["load"]'), "test.toml", AREAS)


def write(folder: Path, content: str | bytes, name: str = "samples.csv") -> Path:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return file


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "gzipped"])
def test_a_table(tmp_path: Path, mapping: RecordingMapping, pack: bool) -> None:
    text = (HEADER + GOOD + "\n" + GOOD.replace("00:00:00", "00:05:00")).encode()
    file = write(tmp_path, gzip.compress(text) if pack else text, "samples.csv.gz" if pack else "samples.csv")
    rows = list(read_recording(file, mapping))
    assert [(row.line, row.event.id) for row in rows if isinstance(row, Recorded)] == [
        (2, "2014-01-01 00:00:00"),
        (4, "2014-01-01 00:05:00"),
    ]
    assert len(rows) == 2


def test_a_mark_before_the_header_is_no_part_of_it(tmp_path: Path, mapping: RecordingMapping) -> None:
    file = write(tmp_path, "\ufeff" + HEADER + GOOD)
    assert len(list(read_recording(file, mapping))) == 1


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        pytest.param(b"2014-01-01,load,1\n", "3 columns, the header 4", id="a column too few"),
        pytest.param(b"2014-01-01,load,1,2,3\n", "5 columns, the header 4", id="a column too many"),
        pytest.param(b"yesterday,load,1,\n", "at: 'yesterday' is not such a time", id="no time"),
        pytest.param(b"2014-01-01,load,x,\n", "value: 'x' is not a number", id="no number"),
        pytest.param(b"2014-01-01,load\xff,1,\n", "kind: it is not UTF-8", id="not UTF-8 where it is read"),
        pytest.param(b',load,1,"unneeded"\n', "every event of the mapping needs is empty", id="no event at all"),
        pytest.param(b'2014-01-01,load,1,"a"b\n', "it is not CSV", id="quotes within quotes"),
        pytest.param(b"2014-01-01," + b"x" * 200_000 + b",1,\n", "field larger than", id="endless cell"),
    ],
)
def test_a_bad_row_spoils_itself_alone(tmp_path: Path, mapping: RecordingMapping, row: bytes, reason: str) -> None:
    after = GOOD.replace("00:00:00", "00:10:00").encode()
    first, bad, last = read_recording(write(tmp_path, HEADER.encode() + GOOD.encode() + row + after), mapping)
    assert isinstance(first, Recorded)
    assert isinstance(bad, Unmapped)
    assert (bad.line, bad.left_out) == (3, False)
    assert reason in bad.reason
    assert isinstance(last, Recorded)
    assert last.line == 4


def test_bytes_that_nobody_reads_may_be_anything(tmp_path: Path, mapping: RecordingMapping) -> None:
    file = write(tmp_path, HEADER.encode() + b"2014-01-01,load,1,caf\xe9\n")
    assert [type(row) for row in read_recording(file, mapping)] == [Recorded]


def test_a_quote_that_is_never_closed_is_told(tmp_path: Path, mapping: RecordingMapping) -> None:
    rows = list(read_recording(write(tmp_path, HEADER + GOOD + '2014-01-01,"load,1,\n' + GOOD), mapping))
    assert isinstance(rows[0], Recorded)
    assert [(row.line, row.reason) for row in rows[1:] if isinstance(row, Unmapped)] == [
        (3, "it is not CSV: unexpected end of data")
    ]


def test_rows_that_the_mapping_leaves_out_are_told_apart(tmp_path: Path, mapping: RecordingMapping) -> None:
    (row,) = read_recording(write(tmp_path, HEADER + "2014-01-01,heat,1,\n"), mapping)
    assert isinstance(row, Unmapped)
    assert row.left_out


def test_events_keep_their_bytes(tmp_path: Path) -> None:
    file = write(tmp_path, EVENT + b"\r\n\n" + EVENT.replace(b'"id":"a"', b'"id":"b"'), "events.ndjson")
    first, second = read_recording(file, None)
    assert isinstance(first, Recorded)
    assert first.raw == EVENT
    assert isinstance(second, Recorded)
    assert (second.line, second.event.id) == (3, "b")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(b"{", "malformed_json", id="half a line"),
        pytest.param(b"[]", "invalid_field", id="not an object"),
        pytest.param(EVENT.replace(b'"area":"X"', b'"area":""'), "area: ", id="empty area"),
        pytest.param(EVENT.replace(b"00Z", b"00"), "naive_time", id="time without a zone"),
        pytest.param(EVENT.replace(b"metric.v1", b"metric.v9"), "unknown_type", id="unknown type"),
        pytest.param(EVENT.replace(b"kept", b"k" * LINE_BYTES_MAX), "too_large", id="endless line"),
        pytest.param(EVENT.replace(b"kept", b"\xff"), "invalid_utf8", id="not UTF-8"),
    ],
)
def test_a_bad_event_spoils_itself_alone(tmp_path: Path, line: bytes, reason: str) -> None:
    bad, good = read_recording(write(tmp_path, line + b"\n" + EVENT + b"\n", "events.jsonl"), None)
    assert isinstance(bad, Unmapped)
    assert bad.line == 1
    assert reason in bad.reason
    assert isinstance(good, Recorded)
    assert good.line == 2


_LONG = gzip.compress((HEADER + "".join(f"2014-01-01,load,{n * 7919 % 1000},\n" for n in range(20_000))).encode())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        pytest.param("a.csv", None, "No such file", id="absent"),
        pytest.param("a.csv", b"", "the file is empty", id="empty table"),
        pytest.param("a.ndjson", b"\n\n", "the file is empty", id="blank events"),
        pytest.param("a.csv", b"when,what\n1,2\n", "columns are missing: at, kind, value", id="other columns"),
        pytest.param("a.csv", b"at,kind,value,at\n", "columns occur twice: at", id="column twice"),
        pytest.param("a.csv.gz", b"at,kind,value\n", "its content does not", id="gz that is none"),
        pytest.param("a.csv.gz", _LONG[: len(_LONG) // 2], "end too early", id="gzip cut off"),
        pytest.param("a.csv.gz", _LONG[:-6] + b"\0\0\0\0\0\0", "are damaged", id="gzip with a wrong checksum"),
        pytest.param("a.csv.gz", _LONG[:40] + b"\xff" * 40 + _LONG[80:], "are damaged", id="gzip with wrong bytes"),
        pytest.param("a.ndjson.gz", gzip.compress(EVENT * 9)[:-12], "end too early", id="events cut off"),
    ],
)
def test_files_that_cannot_be_read(
    tmp_path: Path, mapping: RecordingMapping, name: str, content: bytes | None, reason: str
) -> None:
    file = tmp_path / name if content is None else write(tmp_path, content, name)
    with pytest.raises(RecordingError) as caught:
        list(read_recording(file, None if "ndjson" in name else mapping))
    line = str(caught.value)
    assert str(file) in line
    assert reason in line
    assert "\n" not in line
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("name", "header", "chosen", "expected"),
    [
        pytest.param("a.csv", "at,kind,value", None, "small", id="the one that fits"),
        pytest.param("a.csv", "at,kind,value,unit", None, "large", id="the one that reads most"),
        pytest.param("a.csv", "at,kind,value,unit", "small", "small", id="the one that is named"),
        pytest.param("a.ndjson", "", None, None, id="events need none"),
        pytest.param("a.csv", "at,value", None, "no mapping's columns are all there", id="none fits"),
        pytest.param("a.csv", "at,kind,value", "huge", "there is no mapping 'huge'", id="unknown name"),
        pytest.param("a.xlsx", "at,kind,value", None, "does not say what the file is", id="unknown kind of file"),
        pytest.param("a.csv", "at,kind,value,other", None, "small", id="further columns do not matter"),
        pytest.param("a.csv", "at,kind,value,unit,twin", None, "mappings large and twin fit equally", id="a tie"),
    ],
)
def test_the_mapping_is_chosen(
    tmp_path: Path, mapping: RecordingMapping, name: str, header: str, chosen: str | None, expected: str | None
) -> None:
    def reading(column: str) -> RecordingMapping:
        (rule,) = mapping.event
        return msgspec.structs.replace(mapping, event=[msgspec.structs.replace(rule, needs=["at", column])])

    mappings = {"small": mapping, "large": reading("unit"), "twin": reading("twin")}
    file = write(tmp_path, header + "\n", name)
    if expected is None or expected in mappings:
        found = choose_mapping(file, mappings, chosen)
        assert found == (mappings[expected] if expected else None)
    else:
        with pytest.raises(RecordingError, match=expected):
            choose_mapping(file, mappings, chosen)
