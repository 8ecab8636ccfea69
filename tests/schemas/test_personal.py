"""Is what is personal readable with the right key alone, and is a person known again by a contact?"""

import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import OperatorError
from schemas.personal import (
    KEY_BYTES,
    MASK,
    PLATE_SHOWN_MAX,
    CannotOpen,
    KeyRing,
    Personal,
    Reporter,
    decrypt,
    encrypt,
    event_identity,
    is_masked,
    mask_plate,
    normal_phone,
    parse_key_ring,
    write_key_ring,
)

INDEX = b"i" * KEY_BYTES
OLD, NEW = b"o" * KEY_BYTES, b"n" * KEY_BYTES
RING = KeyRing({"1": OLD}, "1", INDEX)
ROTATED = KeyRing({"1": OLD, "2": NEW}, "2", INDEX)
WITHOUT_OLD = KeyRing({"2": NEW}, "2", INDEX)
TEXT = "Đèn đường số 12 hỏng"
PERSONAL = Personal(reporter=Reporter(name="Nguyễn Thị Mai", phone="0912 345 678"), text=TEXT)


@given(st.binary(max_size=200), st.text(max_size=40))
def test_what_is_sealed_opens_again(plain: bytes, about: str) -> None:
    assert decrypt(OLD, encrypt(OLD, plain, about), about) == plain
    assert RING.open(RING.seal(plain, about), about) == plain


def test_the_same_is_sealed_the_same_and_else_nothing_is() -> None:
    sealed = {
        encrypt(key, plain, about)[:12] for key in (OLD, NEW) for plain in (b"a", b"b") for about in ("x", "y", "xa")
    }
    assert len(sealed) == 12
    assert RING.seal_personal(PERSONAL, "s", "1") == RING.seal_personal(PERSONAL, "s", "1")


@given(st.binary(min_size=1, max_size=60), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_nothing_can_be_changed(plain: bytes, at: int, flip: int) -> None:
    sealed = bytearray(encrypt(OLD, plain, "a"))
    sealed[at % len(sealed)] ^= flip
    with pytest.raises(CannotOpen):
        decrypt(OLD, bytes(sealed), "a")


@given(st.text(max_size=80))
def test_what_is_no_seal_cannot_be_opened(text: str) -> None:
    for sealed in (text, f"1.{text}"):
        with pytest.raises(CannotOpen):
            RING.open(sealed, "a")


def test_a_seal_belongs_to_its_event() -> None:
    sealed = RING.seal_personal(PERSONAL, "s", "1")
    assert RING.open_personal(sealed, "s", "1") == PERSONAL
    for source, id_ in (("s", "2"), ("t", "1")):
        with pytest.raises(CannotOpen):
            RING.open_personal(sealed, source, id_)


def test_an_older_key_opens_until_it_is_taken_off_the_ring() -> None:
    sealed = RING.seal_personal(PERSONAL, "s", "1")
    assert ROTATED.open_personal(sealed, "s", "1") == PERSONAL
    assert ROTATED.seal_personal(PERSONAL, "s", "1").startswith("2.")
    with pytest.raises(CannotOpen):
        WITHOUT_OLD.open_personal(sealed, "s", "1")


def test_a_seal_of_something_else_cannot_be_opened() -> None:
    with pytest.raises(CannotOpen):
        RING.open_personal(RING.seal(b"\xc1", "s\x1f1"), "s", "1")


def test_a_ring_is_written_and_read() -> None:
    text = write_key_ring(INDEX, {"1": OLD, "2": NEW}, "2")
    ring = parse_key_ring(text)
    assert ring.open_personal(RING.seal_personal(PERSONAL, "s", "1"), "s", "1") == PERSONAL
    assert ring.seal_personal(PERSONAL, "s", "1") == ROTATED.seal_personal(PERSONAL, "s", "1")
    assert ring.token("a", "b") == RING.token("a", "b")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param('{"current": "1", "keys": {"1": "SECRET!"}, "index": "AAAA"}', id="no base64"),
        pytest.param('{"current": "1", "keys": {"1": "U0VDUkVU"}, "index": "U0VDUkVU"}', id="too short"),
        pytest.param('{"current": "2", "keys": {}, "index": "U0VDUkVU"}', id="no current key"),
        pytest.param('{"SECRET": 1}', id="another file"),
        pytest.param(write_key_ring(INDEX, {"a.b": OLD}, "a.b"), id="an id with a dot"),
    ],
)
def test_a_bad_ring_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_key_ring(text)
    said = "".join(traceback.format_exception(caught.value))
    assert "SECRET" not in said
    assert "U0VDUkVU" not in said


def test_a_ring_does_not_show_its_keys() -> None:
    assert repr(ROTATED) == "KeyRing(1, 2; current 2)"


@pytest.mark.parametrize(
    "reporter",
    [
        pytest.param(Reporter(phone="0912345678"), id="digits"),
        pytest.param(Reporter(phone="+84 912.345.678"), id="with the country"),
        pytest.param(Reporter(phone="0084-912-345-678", name="Mai"), id="with the country, dialled"),
        pytest.param(Reporter(phone=" 0912 345 678", email="other@example.vn"), id="the phone counts first"),
    ],
)
def test_one_number_is_one_person(reporter: Reporter) -> None:
    person = RING.person_of(PERSONAL, "s", "1", "84")
    assert RING.person_of(Personal(reporter=reporter), "s", "2", "84") == person
    assert len(person) == 64


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(Reporter(phone="0912345678"), Reporter(phone="0912345679"), id="numbers"),
        pytest.param(Reporter(phone="0912345678"), Reporter(zalo="0912345678"), id="channels"),
        pytest.param(Reporter(email="a@x.vn"), Reporter(email="b@x.vn"), id="addresses"),
        pytest.param(Reporter(name="Mai"), Reporter(name="Mai"), id="a name is no contact"),
    ],
)
def test_others_are_others(one: Reporter, other: Reporter) -> None:
    persons = {
        RING.person_of(Personal(reporter=reporter), "s", str(number)) for number, reporter in enumerate((one, other))
    }
    assert len(persons) == 2


def test_an_address_is_known_in_any_case() -> None:
    persons = {
        RING.person_of(Personal(reporter=Reporter(email=email)), "s", "1") for email in ("Mai@X.vn", " mai@x.vn ")
    }
    assert len(persons) == 1


def test_another_index_knows_nobody() -> None:
    other = KeyRing({"1": OLD}, "1", b"j" * KEY_BYTES)
    assert other.person_of(PERSONAL, "s", "1") != RING.person_of(PERSONAL, "s", "1")


def test_the_country_is_the_sites() -> None:
    assert normal_phone("0912", "84") == "84912"
    assert normal_phone("0912", None) == "0912"
    assert normal_phone("(617) 555-0100", "1") == "6175550100"


@pytest.mark.parametrize(
    ("plate", "masked"),
    [
        pytest.param("30A-123.45", "30*-***.45", id="a car"),
        pytest.param("29-B1 456.78", "29-** ***.78", id="a motorcycle"),
        pytest.param("AB12", "A**2", id="a short one"),
        pytest.param("A", "*", id="one letter"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_how_a_plate_is_masked(plate: str, masked: str) -> None:
    assert mask_plate(plate) == masked


@given(st.text(max_size=20))
def test_half_of_a_plate_is_masked_at_least(plate: str) -> None:
    letters = sum(map(str.isalnum, plate))
    masked = mask_plate(plate)
    shown = sum(map(str.isalnum, masked))
    assert len(masked) == len(plate)
    assert shown <= min(PLATE_SHOWN_MAX, letters // 2)
    assert is_masked(masked) or not letters or MASK in plate


def test_a_plate_that_is_hardly_masked_is_not() -> None:
    assert is_masked("30*-***.45")
    assert not is_masked("30A-12*.45")
    assert not is_masked("30A-123.45")


@pytest.mark.parametrize("reporter", [Reporter(), Reporter(name="  ", language="vi")])
def test_who_says_nothing_is_anonymous(reporter: Reporter) -> None:
    assert reporter.is_anonymous


def test_no_names_of_events_run_together() -> None:
    names = ("a", "a\x1fb", "b", "b\x1fc", "c", "\x1e1", "\x1f", "a\x1e1b")
    pairs = [(source, id_) for source in names for id_ in names]
    assert len({event_identity(*one) for one in pairs}) == len(pairs)
    sealed = RING.seal_personal(Personal(text="x"), "a\x1fb", "c")
    with pytest.raises(CannotOpen):
        RING.open_personal(sealed, "a", "b\x1fc")
