"""Is what is personal sealed before anything of it is written, and nothing else changed?"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from ingest.decode.cloudevents import Decoder, Judged
from ingest.decode.media import Mode
from schemas.codec import SEALED_BYTES_MAX, decode
from schemas.errors import Reason
from schemas.event import CameraIncident, FeedbackReceived
from schemas.personal import KEY_BYTES, KeyRing, Personal, Reporter
from tests.ingest.vector import RECEIVED_AT, SITE, event

RING = KeyRing({"1": b"k" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
OTHER_RING = KeyRing({"1": b"o" * KEY_BYTES}, "1", b"i" * KEY_BYTES)
DECODER = Decoder(SITE, ring=RING)
REPORTER = {"name": "Nguyễn Thị Mai", "phone": "0912 345 678", "address": "12 Lê Lợi"}
TEXT = "Tôi ở nhà số 12, đèn đường hỏng"


def feedback(id_: str = "f-1", **data: Any) -> dict[str, Any]:
    """A citizen's report."""
    return event(type="ioc.feedback.received.v1", id=id_, data={"category": "lighting", "text": TEXT, **data})


def incident(id_: str = "i-1", **data: Any) -> dict[str, Any]:
    """A camera's incident."""
    whole = {"camera": "cam-1", "kind": "red_light", "severity": "minor", **data}
    return event(type="ioc.camera.incident.v1", id=id_, data=whole)


def judged(*events: dict[str, Any], decoder: Decoder = DECODER) -> Judged:
    """What becomes of a batch."""
    return decoder.decode(Mode.BATCHED, (), json.dumps(events).encode(), RECEIVED_AT)


def written(judged: Judged) -> list[bytes]:
    """What goes on the log."""
    return [value for lot in judged.lots for value in lot.values]


def test_a_reporter_and_their_words_are_sealed() -> None:
    (raw,) = written(judged(feedback(reporter=REPORTER, title="Đèn hỏng", district="kept")))
    for word in ("Mai", "0912", "Lê Lợi", "Tôi", "Đèn", "reporter"):
        assert word not in raw.decode()
        assert json.dumps(word)[1:-1].encode() not in raw
    found = decode(raw, SEALED_BYTES_MAX)
    assert isinstance(found, FeedbackReceived)
    assert (found.data.text, found.data.reporter, found.data.title) == (None, None, None)
    # What this version does not know travels on.
    assert json.loads(raw)["data"]["district"] == "kept"
    assert found.data.personal is not None
    personal = RING.open_personal(found.data.personal, found.source, found.id)
    assert personal == Personal(
        reporter=Reporter(name="Nguyễn Thị Mai", phone="0912 345 678", address="12 Lê Lợi"),
        title="Đèn hỏng",
        text=TEXT,
    )
    assert found.data.person == RING.person_of(personal, found.source, found.id)


def test_a_plate_is_masked() -> None:
    (raw,) = written(judged(incident(plate="30A-123.45")))
    assert b"123" not in raw
    found = decode(raw, SEALED_BYTES_MAX)
    assert isinstance(found, CameraIncident)
    assert found.data.plate == "30*-***.45"
    assert RING.open_personal(found.data.personal or "", found.source, found.id) == Personal(plate="30A-123.45")


def test_one_contact_is_one_person_in_all_reports() -> None:
    persons = [
        json.loads(raw)["data"]["person"]
        for raw in written(
            judged(
                feedback("1", reporter=REPORTER),
                feedback("2", reporter={"phone": "0912345678"}),
                feedback("3", reporter={"phone": "0912345679"}),
            )
        )
    ]
    assert persons[0] == persons[1] != persons[2]


def test_the_country_of_a_number_is_the_sites() -> None:
    vietnamese = Decoder(replace(SITE, header=replace(SITE.header, calling_code="84")), ring=RING)
    persons = {
        json.loads(raw)["data"]["person"]
        for raw in written(
            judged(
                feedback("1", reporter={"phone": "+84 912 345 678"}),
                feedback("2", reporter={"phone": "0912 345 678"}),
                decoder=vietnamese,
            )
        )
    }
    assert len(persons) == 1


@pytest.mark.parametrize(
    "reporter", [{}, {"reporter": {}}, {"reporter": {"name": " ", "language": "vi"}}], ids=["none", "empty", "blank"]
)
def test_who_gives_no_name_is_the_author_of_this_report_alone(reporter: dict[str, Any]) -> None:
    first, second = (
        json.loads(raw)["data"] for raw in written(judged(feedback("1", **reporter), feedback("2", **reporter)))
    )
    assert first.keys() == {"category", "personal", "author"}
    assert RING.open_personal(first["personal"], "urn:cam:north", "1") == Personal(text=TEXT)
    assert first["author"] != second["author"]
    # Nobody is told of changes who gives nothing to be reached by: that is what `person` stands for.
    assert "person" not in first


def test_what_corrects_an_anonymous_report_is_of_the_same_author() -> None:
    made = (feedback("1"), feedback("2") | {"supersedes": "1"}, feedback("3") | {"withdraws": "1"})
    assert len({json.loads(raw)["data"]["author"] for raw in written(judged(*made))}) == 1


def test_a_title_is_the_citizens_where_a_citizen_reports() -> None:
    """A list of kinds has titles that nobody wrote for this report."""
    bare, citizens = (
        json.loads(raw)["data"]
        for raw in written(judged(feedback("1", title="Street light"), feedback("2", title="Mai", reporter={})))
    )
    assert (bare["title"], "title" in citizens) == ("Street light", False)
    sealed = RING.open_personal(citizens["personal"], "urn:cam:north", "2")
    assert sealed == Personal(title="Mai", text=TEXT)


def test_who_says_nothing_leaves_nothing_to_be_sealed() -> None:
    (raw,) = written(judged(event(type="ioc.feedback.received.v1", data={"category": "lighting", "title": "Light"})))
    assert json.loads(raw)["data"] == {"category": "lighting", "title": "Light"}


def test_a_resend_is_the_same() -> None:
    assert written(judged(feedback(reporter=REPORTER))) == written(judged(feedback(reporter=REPORTER)))


def test_what_was_on_the_log_can_be_sent_again() -> None:
    once = written(judged(feedback(reporter=REPORTER), feedback("f-2"), incident(plate="30A-123.45")))
    again = judged(*map(json.loads, once))
    assert not again.refused
    assert [json.loads(raw) for raw in written(again)] == [json.loads(raw) for raw in once]


def test_a_title_that_was_left_open_beside_a_person_is_sealed_when_it_is_sent_again() -> None:
    (raw,) = written(judged(feedback(reporter=REPORTER)))
    former = json.loads(raw)
    former["data"]["title"] = "Mr Mai of house 5"
    (again,) = written(judged(former))
    data = json.loads(again)["data"]
    assert data.keys() == {"category", "personal", "person"}
    assert data["person"] == former["data"]["person"]
    personal = RING.open_personal(data["personal"], "urn:cam:north", "f-1")
    assert (personal.title, personal.text) == ("Mr Mai of house 5", TEXT)
    # And now it cannot be said otherwise beside it.
    found = judged(json.loads(again) | {"data": data | {"title": "another"}})
    assert [error.reason for error in found.refused.values()] == [Reason.NOT_SEALED]


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        pytest.param(feedback(person="a" * 64), Reason.NOT_SEALED, id="a person of the sender's choice"),
        pytest.param(feedback(author="a" * 64), Reason.NOT_SEALED, id="an author of the sender's choice"),
        pytest.param(feedback(personal="1.AAAA"), Reason.NOT_SEALED, id="no seal"),
        pytest.param(feedback(personal="x"), Reason.NOT_SEALED, id="no key"),
        pytest.param(
            feedback(text=None, personal=OTHER_RING.seal_personal(Personal(text="x"), "urn:cam:north", "f-1")),
            Reason.NOT_SEALED,
            id="another centre's",
        ),
        pytest.param(
            feedback(text=None, personal=RING.seal_personal(Personal(text="x"), "urn:cam:north", "f-2")),
            Reason.NOT_SEALED,
            id="another event's",
        ),
        pytest.param(
            feedback(
                personal=RING.seal_personal(Personal(text="x"), "urn:cam:north", "f-1"), reporter={"name": "Mai"}
            ),
            Reason.NOT_SEALED,
            id="sealed and open",
        ),
        pytest.param(
            feedback(personal=RING.seal_personal(Personal(text="x"), "urn:cam:north", "f-1")),
            Reason.NOT_SEALED,
            id="words sealed and open",
        ),
        pytest.param(
            incident(plate="30A-123.45", personal=RING.seal_personal(Personal(plate="x"), "urn:cam:north", "i-1")),
            Reason.NOT_SEALED,
            id="a plate sealed and open",
        ),
        pytest.param(feedback(reporter={"name": "x" * 257}), Reason.INVALID_FIELD, id="a name without end"),
        pytest.param(feedback(reporter="Mai"), Reason.INVALID_FIELD, id="no reporter"),
    ],
)
def test_what_only_the_centre_says_is_refused(made: dict[str, Any], reason: Reason) -> None:
    found = judged(feedback("before", reporter=REPORTER), made, feedback("after"))
    assert {index: error.reason for index, error in found.refused.items()} == {1: reason}
    assert found.refused[1].fix
    assert len(written(found)) == 2


def test_without_keys_nothing_personal_is_taken() -> None:
    found = judged(
        feedback("1", reporter=REPORTER),
        incident("2", plate="30A-123.45"),
        feedback("3"),
        event(type="ioc.feedback.received.v1", id="4", data={"category": "lighting"}),
        decoder=Decoder(SITE),
    )
    assert {index: error.reason for index, error in found.refused.items()} == dict.fromkeys((0, 1, 2), Reason.NO_KEYS)
    assert len(written(found)) == 1


def test_an_escape_does_not_hide_a_reporter() -> None:
    body = json.dumps([feedback(reporter=REPORTER)]).replace('"reporter"', '"\\u0072eporter"').encode()
    (raw,) = written(DECODER.decode(Mode.BATCHED, (), body, RECEIVED_AT))
    assert b"0912" not in raw


def test_of_two_reporters_none_is_left() -> None:
    body = json.dumps(feedback(reporter=REPORTER))
    twice = body.replace('"reporter"', '"reporter": {"phone": "0999"}, "reporter"').encode()
    (raw,) = written(DECODER.decode(Mode.STRUCTURED, (), twice, RECEIVED_AT))
    assert b"0912" not in raw
    assert b"0999" not in raw


def test_the_longest_report_fits() -> None:
    longest = "🚧" * 4000
    reporter = {"name": "ế" * 256, "address": "ế" * 512, "phone": "0" * 32, "email": "ế" * 254, "zalo": "ế" * 64}
    (raw,) = written(judged(feedback(text=longest, reporter=reporter)))
    found = decode(raw, SEALED_BYTES_MAX)
    assert isinstance(found, FeedbackReceived)
    assert RING.open_personal(found.data.personal or "", found.source, found.id).text == longest


def test_what_would_be_too_long_when_sealed_is_refused() -> None:
    given_data = {"reporter": REPORTER, "text": "ế" * 4000, "more": "y" * 51_500}
    body = json.dumps([feedback(**given_data)], ensure_ascii=False).encode()
    found = DECODER.decode(Mode.BATCHED, (), body, RECEIVED_AT)
    assert [error.reason for error in found.refused.values()] == [Reason.TOO_LARGE]


def test_in_binary_mode_too() -> None:
    headers = [
        (f"ce-{name}".encode(), str(value).encode()) for name, value in feedback().items() if name not in ("data",)
    ]
    body = json.dumps({"category": "lighting", "text": "Tôi", "reporter": REPORTER}).encode()
    (raw,) = written(DECODER.decode(Mode.BINARY, headers, body, RECEIVED_AT))
    assert b"0912" not in raw


_WORDS = st.text(alphabet=st.characters(exclude_characters="\0\x1f", exclude_categories=["Cs"]), max_size=30)


@given(_WORDS, _WORDS, _WORDS)
def test_whatever_they_say_is_sealed_and_comes_back(name: str, phone: str, text: str) -> None:
    made = feedback(reporter={"name": name, "phone": phone}, text=text)
    (raw,) = written(judged(made))
    data = json.loads(raw)["data"]
    is_named = bool(name.strip() or phone.strip())
    if not is_named and not text:
        assert data.keys() == {"category"}
        return
    assert data.keys() == {"category", "personal", "person" if is_named else "author"}
    personal = RING.open_personal(data["personal"], "urn:cam:north", "f-1")
    assert personal == Personal(reporter=Reporter(name=name, phone=phone) if is_named else None, text=text)
