"""Does a row become the events that its mapping says, whatever is in its cells?"""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from ingest.decode.recorded_row import RowMapper, instant
from ingest.decode.recording import RecordingMapping, columns_of, parse_mapping
from schemas.area import Area, Zone
from schemas.errors import InvalidEvent, Reason, SiteError
from schemas.event import (
    AreaCode,
    AreaId,
    DossierClosed,
    DossierRated,
    DossierReceived,
    FeedbackClosed,
    FeedbackReceived,
    IndicatorObserved,
    ServiceMetric,
)

AREAS = [
    Area(id=AreaId(code), code=AreaCode(code), list_id=list_id, kind="ward", names={}, zone=Zone("UTC"))
    for code, list_id in (("X", "l"), ("X-1", "l"), ("X-0", "l-old"))
]

CASES = """
source = "desk"
subject = "{case}"
zone = "America/New_York"
missing = ["n/a"]

[place]
lat = "lat"
lon = "lon"
not_stated = ["1.0,2.0"]

[area]
column = "quarter"
missing = "X"
[area.codes]
"Old Town" = "X-1"

[where]
kind = ["report", "complaint"]

[[event]]
type = "ioc.feedback.received.v1"
id = "{case}/in"
time = "opened"
[event.data]
category = "{kind}"
title = "{kind} of {quarter}"
due_at = { time = "due" }

[[event]]
type = "ioc.feedback.closed.v1"
id = "{case}/out"
time = "closed"
needs = ["closed"]
[event.data]
category = "{kind}"
due_at = { time = "due" }
"""

SAMPLES = """
source = "meter"
zone = "UTC"
area = "X"
time_format = "%d/%m/%Y %H:%M"
delimiter = ";"

[[event]]
type = "ioc.service.metric.v1"
id = "{at}"
time = "at"
[event.data]
service = "desk"
metric = "load"
value = { number = "value" }
"""

DOSSIERS = """
source = "one-stop"
subject = "{number}"
zone = "Asia/Ho_Chi_Minh"
area_list = "l-old"
time_format = "%d/%m/%Y %H:%M"

[place]
lat = "lat"
lon = "lon"
[area]
column = "ward"
[area.codes]
"Old" = "X-0"

[[event]]
type = "ioc.dossier.received.v1"
id = "{number}/received"
time = "received"
[event.data]
procedure = "{procedure}"
channel = { word = "by", words = { "Trực tuyến" = "online", "Trực tiếp" = "desk" } }
complete = { word = "complete", words = { "Có" = true, "Không" = false } }

[[event]]
type = "ioc.dossier.closed.v1"
id = "{number}/closed"
time = "closed"
needs = ["closed"]
[event.data]
procedure = "{procedure}"
channel = { word = "by", words = { "Trực tuyến" = "online", "Trực tiếp" = "desk" } }
submitted_at = { time = "received" }

[[event]]
type = "ioc.dossier.rated.v1"
id = "{number}/rated"
time = "closed"
needs = ["closed", "score"]
[event.data]
score = { number = "score" }
"""

DOSSIER = {
    "number": "H1",
    "procedure": "1.004222",
    "by": "Trực tuyến",
    "complete": "Không",
    "ward": "Old",
    "lat": "",
    "lon": "",
    "received": "27/06/2025 09:00",
    "closed": "30/06/2025 16:00",
    "score": "5",
}

OBSERVATIONS = """
source = "statistics"
zone = "UTC"
area = "X"

[[event]]
type = "ioc.indicator.observed.v1"
id = "{indicator}/{month}"
time = "reported"
[event.data]
indicator = "{indicator}"
period = "{month}"
value = { number = "value" }
of = { number = "of" }
"""

ROW = {
    "case": "17",
    "kind": "report",
    "quarter": "Old Town",
    "lat": "42.5",
    "lon": "-71.25",
    "opened": "2011-07-01 09:00:00",
    "due": "2011-07-03 09:00:00",
    "closed": "2011-07-02 10:30:00",
}


def mapper(text: str = CASES) -> RowMapper:
    return RowMapper(mapping(text))


def mapping(text: str = CASES) -> RecordingMapping:
    return parse_mapping(text, "recordings/test.toml", AREAS)


def test_one_row_gives_a_reception_and_a_closing() -> None:
    received, closed = mapper().events(ROW)
    assert isinstance(received, FeedbackReceived)
    assert isinstance(closed, FeedbackClosed)
    assert (received.id, closed.id) == ("17/in", "17/out")
    assert received.subject == closed.subject == "17"
    assert received.area == "X-1"
    assert received.place == "geo:42.5,-71.25"
    assert received.time.isoformat() == "2011-07-01T13:00:00+00:00"
    assert received.data.title == "report of Old Town"
    assert closed.time.isoformat() == "2011-07-02T14:30:00+00:00"
    assert closed.data.due_at == received.data.due_at


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        pytest.param({"quarter": ""}, "area", "X", id="no area means the one for a missing name"),
        pytest.param({"quarter": "  "}, "area", "X", id="blanks are no name"),
        pytest.param({"quarter": "n/a"}, "area", "X", id="what the mapping calls missing is missing"),
        pytest.param({"quarter": " Old Town "}, "area", "X-1", id="blanks around a name do not count"),
        pytest.param({"lat": ""}, "place", None, id="half a place is none"),
        pytest.param({"lat": "1.0", "lon": "2.0"}, "place", None, id="a place that means nobody knows is none"),
        pytest.param({"case": "Điểm 17"}, "subject", "Điểm 17", id="text beyond ASCII"),
    ],
)
def test_envelope_of_a_changed_row(change: dict[str, str], field: str, value: str | None) -> None:
    assert getattr(mapper().events(ROW | change)[0], field) == value


def test_a_missing_cell_leaves_its_field_out() -> None:
    received, closed = mapper().events(ROW | {"due": "", "quarter": ""})
    assert isinstance(received, FeedbackReceived)
    assert received.data.due_at is None
    assert received.data.title is None
    assert isinstance(closed, FeedbackClosed)
    assert closed.data.due_at is None


def test_an_open_case_gives_its_reception_alone() -> None:
    assert [event.id for event in mapper().events(ROW | {"closed": " "})] == ["17/in"]


@pytest.mark.parametrize(
    ("kind", "taken"),
    [
        pytest.param("report", True, id="first value"),
        pytest.param("complaint", True, id="second value"),
        pytest.param("praise", False, id="another value"),
        pytest.param("", False, id="no value"),
    ],
)
def test_where_chooses_rows(kind: str, taken: bool) -> None:
    assert mapper().takes(ROW | {"kind": kind}) is taken


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        pytest.param({"opened": "1 July"}, "opened", Reason.INVALID_FIELD, id="time in another format"),
        pytest.param({"opened": "2011-02-30 09:00:00"}, "opened", Reason.INVALID_FIELD, id="day that does not exist"),
        pytest.param({"opened": ""}, "time", Reason.MISSING_FIELD, id="no time"),
        pytest.param({"opened": "0001-01-01T00:00:00+10:00"}, "opened", Reason.INVALID_FIELD, id="before year 1"),
        pytest.param({"case": ""}, "id", Reason.MISSING_FIELD, id="no id"),
        pytest.param({"case": "9" * 300}, "id", Reason.INVALID_FIELD, id="id too long"),
        pytest.param({"kind": ""}, "data.category", Reason.MISSING_FIELD, id="no required field"),
        pytest.param({"quarter": "Atlantis"}, "quarter", Reason.UNKNOWN_AREA, id="area not in the table"),
        pytest.param({"lat": "north"}, "place", Reason.INVALID_FIELD, id="place that is none"),
        pytest.param({"kind": "a\0b"}, "kind", Reason.NUL_CHARACTER, id="NUL"),
        pytest.param({"kind": "caf\udce9"}, "kind", Reason.INVALID_UTF8, id="byte that is not UTF-8"),
        pytest.param({"closed": "soon"}, "closed", Reason.INVALID_FIELD, id="second event is bad, so none is sent"),
    ],
)
def test_rows_that_give_no_event(change: dict[str, str], field: str, reason: Reason) -> None:
    with pytest.raises(InvalidEvent) as caught:
        mapper().events(ROW | change)
    assert (caught.value.field, caught.value.reason) == (field, reason)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("12", 12.0, id="whole"),
        pytest.param("-3", -3.0, id="negative"),
        pytest.param("94.79799999999999", 94.79799999999999, id="fraction"),
        pytest.param("1e3", 1000.0, id="exponent"),
        pytest.param("nan", None, id="not a number"),
        pytest.param("inf", None, id="infinite"),
        pytest.param("9" * 400, None, id="beyond a float"),
        pytest.param("9" * 15, 999_999_999_999_999.0, id="fifteen digits"),
        pytest.param("1,5", None, id="decimal comma"),
        pytest.param("", None, id="empty"),
    ],
)
def test_numbers(text: str, value: float | None) -> None:
    row = {"at": "31/12/2014 23:59", "value": text}
    if value is None:
        with pytest.raises(InvalidEvent):
            mapper(SAMPLES).events(row)
        return
    (event,) = mapper(SAMPLES).events(row)
    assert isinstance(event, ServiceMetric)
    assert event.data.value == value
    assert event.time.isoformat() == "2014-12-31T23:59:00+00:00"


@pytest.mark.parametrize(
    ("zone", "local", "utc"),
    [
        pytest.param("America/New_York", "2011-11-05 01:30:00", "2011-11-05T05:30:00", id="summer time"),
        pytest.param("America/New_York", "2011-11-06 00:59:59", "2011-11-06T04:59:59", id="before the repeated hour"),
        pytest.param(
            "America/New_York", "2011-11-06 01:30:00", "2011-11-06T05:30:00", id="repeated hour: first pass"
        ),
        pytest.param("America/New_York", "2011-11-06 02:00:00", "2011-11-06T07:00:00", id="after the repeated hour"),
        pytest.param("America/New_York", "2011-11-07 01:30:00", "2011-11-07T06:30:00", id="winter time"),
        pytest.param("America/New_York", "2011-03-13 01:59:59", "2011-03-13T06:59:59", id="before the skipped hour"),
        pytest.param(
            "America/New_York", "2011-03-13 02:30:00", "2011-03-13T07:30:00", id="skipped hour: 02:30 is 03:30"
        ),
        pytest.param("America/New_York", "2011-03-13 03:30:00", "2011-03-13T07:30:00", id="after the skipped hour"),
        pytest.param("Australia/Lord_Howe", "2011-04-03 01:45:00", "2011-04-02T14:45:00", id="half an hour repeated"),
        pytest.param("Asia/Ho_Chi_Minh", "2011-07-01 00:00:00", "2011-06-30T17:00:00", id="zone without a change"),
        pytest.param("America/New_York", "2011-11-06T01:30:00-05:00", "2011-11-06T06:30:00", id="an offset wins"),
        pytest.param("America/New_York", "2011-07-01T01:30:00Z", "2011-07-01T01:30:00", id="Z wins"),
    ],
)
def test_local_times(zone: str, local: str, utc: str) -> None:
    assert instant(local, "iso", ZoneInfo(zone)) == datetime.fromisoformat(f"{utc}+00:00")


def test_columns_are_all_that_the_mapping_reads() -> None:
    assert columns_of(mapping()) == set(ROW)
    assert columns_of(mapping(SAMPLES)) == {"at", "value"}


@pytest.mark.parametrize(
    ("old", "new", "position", "reason"),
    [
        pytest.param('source = "desk"', "source = ", "TOML", "Invalid value", id="syntax"),
        pytest.param('source = "desk"', "", "the file", "missing required field `source`", id="no source"),
        pytest.param('source = "desk"', 'source = "desk"\ncolour = "red"', "the file", "colour", id="unknown key"),
        pytest.param('"America/New_York"', '"America/Atlantis"', "zone", "not known", id="zone"),
        pytest.param('"X-1"', '"X-9"', "area", "'X-9' is not in areas.csv", id="area code"),
        pytest.param('missing = "X"', 'missing = "Y"', "area", "'Y' is not in areas.csv", id="code for missing"),
        pytest.param("feedback.closed", "feedback.lost", "event 2: type", "not known", id="event type"),
        pytest.param('title = "', 'colour = "', "event 1: data.colour", "no such field", id="field"),
        pytest.param('{ time = "due" }', "{}", "event 1: data.due_at", "neither", id="cell of nothing"),
        pytest.param(
            '{ time = "due" }', '{ time = "a", number = "b" }', "event 1: data.due_at", "neither", id="both"
        ),
        pytest.param('id = "{case}/in"', 'id = "{case/in"', "event 1: id", "expected '}'", id="brace left open"),
        pytest.param(
            'id = "{case}/in"', 'id = "{}/in"', "event 1: id", "without a column", id="brace without a name"
        ),
        pytest.param('category = "{kind}"', "", "event 1: data", "needs the field 'category'", id="required field"),
        pytest.param("[place]", "delimiter = ''\n[place]", "delimiter", "not one character", id="delimiter"),
        pytest.param('zone = "America', 'area_list = "m"\nzone = "America', "area_list", "no list 'm'", id="list"),
        pytest.param(
            'zone = "America',
            'area_list = "l-old"\nzone = "America',
            "area",
            "'X-1' is not in areas.csv",
            id="code of another list",
        ),
        pytest.param(
            '{ time = "due" }', '{ word = "due" }', "event 1: data.due_at", "do not come together", id="no words"
        ),
        pytest.param(
            'title = "{kind} of {quarter}"',
            'agency = { word = "kind", words = { report = 7 } }',
            "event 1: data.agency.words",
            "'report' cannot stand for 7",
            id="word of the wrong kind",
        ),
    ],
)
def test_mistakes_in_a_mapping(old: str, new: str, position: str, reason: str) -> None:
    with pytest.raises(SiteError) as caught:
        mapping(CASES.replace(old, new))
    assert caught.value.file == "recordings/test.toml"
    assert caught.value.position == position
    assert reason in caught.value.reason
    assert caught.value.fix


def test_a_mapping_without_events() -> None:
    with pytest.raises(SiteError, match="makes no events"):
        mapping('source = "a"\nzone = "UTC"\narea = "X"\nevent = []')


def test_a_mapping_that_says_nowhere() -> None:
    with pytest.raises(SiteError, match="does not say where"):
        mapping(SAMPLES.replace('area = "X"\n', ""))


def test_a_row_gives_a_dossiers_course() -> None:
    received, closed, rated = mapper(DOSSIERS).events(DOSSIER)
    assert isinstance(received, DossierReceived)
    assert isinstance(closed, DossierClosed)
    assert isinstance(rated, DossierRated)
    assert (received.area, received.area_list) == ("X-0", "l-old")
    assert (received.data.channel, received.data.complete, received.data.assisted) == ("online", False, False)
    assert closed.data.submitted_at == received.time
    assert rated.data.score == 5


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        pytest.param({"by": "Bưu điện"}, "by", Reason.INVALID_FIELD, id="word that stands for nothing"),
        pytest.param({"by": ""}, "data.channel", Reason.MISSING_FIELD, id="no word for a required field"),
        pytest.param({"score": "4.5"}, "data.score", Reason.INVALID_FIELD, id="half a star"),
        pytest.param({"score": "9"}, "data.score", Reason.INVALID_FIELD, id="beyond the scale"),
        pytest.param({"ward": ""}, "area", Reason.MISSING_FIELD, id="neither area nor place"),
    ],
)
def test_dossiers_that_give_no_event(change: dict[str, str], field: str, reason: Reason) -> None:
    with pytest.raises(InvalidEvent) as caught:
        mapper(DOSSIERS).events(DOSSIER | change)
    assert (caught.value.field, caught.value.reason) == (field, reason)


def test_a_word_that_is_missing_leaves_its_field_as_it_is_by_itself() -> None:
    received, *_ = mapper(DOSSIERS).events(DOSSIER | {"complete": ""})
    assert isinstance(received, DossierReceived)
    assert received.data.complete is True


def test_a_place_does_without_an_area() -> None:
    received, *_ = mapper(DOSSIERS).events(DOSSIER | {"ward": "", "lat": "21.0", "lon": "105.8"})
    assert (received.area, received.place) == (None, "geo:21.0,105.8")


def test_a_row_gives_an_observation() -> None:
    row = {"indicator": "online", "month": "2025-06", "reported": "2025-07-03", "value": "812", "of": "1033"}
    (observed,) = mapper(OBSERVATIONS).events(row)
    assert isinstance(observed, IndicatorObserved)
    assert (observed.data.period, observed.data.value, observed.data.of) == ("2025-06", 812, 1033)
    with pytest.raises(InvalidEvent):
        mapper(OBSERVATIONS).events(row | {"month": "06/2025"})
