"""How are the personal parts of an event kept apart, so that only the centre reads them and a person can be erased?

Who reports, what they say in their own words, and a number plate are sealed at the door under the centre's key ring,
before anything is written. Where events are kept each is sealed anew under a key of the person's own; without that
key nothing of the person can be read. All of this is a function of values: the same event always gives the same
bytes, so a resend is a resend.

Source: AES-256-GCM (NIST SP 800-38D), with a nonce made of what is sealed as RFC 5297 (SIV) does.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Meta, Struct
from msgspec.structs import replace

from schemas.case import pair_of
from schemas.errors import OperatorError

KEY_BYTES = 32
_NONCE_BYTES = 12
_TAG_BYTES = 16

PLATE_SHOWN_MAX = 4
"""Letters and digits of a plate that stay readable, half of them at either end; at least as many are masked."""

MASK = "*"

_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
_FIX = "Restore the file of keys from its backup: what was sealed under a lost key cannot be read by anybody."


class CannotOpen(Exception):  # the caller says what that means
    """Sealed under a key that is not on the ring or was destroyed, about something else, or by somebody else."""


class Reporter(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who reports, as far as they say. `language` is what they want to be written to in."""

    name: Annotated[str, Meta(max_length=256)] | None = None
    phone: Annotated[str, Meta(max_length=32)] | None = None
    email: Annotated[str, Meta(max_length=254)] | None = None
    zalo: Annotated[str, Meta(max_length=64)] | None = None
    address: Annotated[str, Meta(max_length=512)] | None = None
    language: Annotated[str, Meta(max_length=16)] | None = None

    @property
    def is_anonymous(self) -> bool:
        """Whether nothing of it says who it is."""
        return not any((one or "").strip() for one in (self.name, self.phone, self.email, self.zalo, self.address))


class Personal(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What of an event is personal: who reports, their own title and words, or a plate in full."""

    reporter: Reporter | None = None
    title: str | None = None
    text: str | None = None
    plate: str | None = None


def citizens_part(reporter: Reporter | None, title: str | None, text: str | None) -> Personal | None:
    """What of a report is personal; None where a citizen says nothing. Beside a `reporter` the title is theirs."""
    named = None if reporter is None or reporter.is_anonymous else reporter
    own_title = None if reporter is None else title
    if named is None and not own_title and not text:
        return None
    return Personal(reporter=named, title=own_title, text=text)


def with_title(personal: Personal, title: str | None) -> Personal:
    """A part that was sealed while a citizen's title was still left open beside it, with that title."""
    return personal if personal.title is not None else replace(personal, title=title)


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    current: str
    keys: dict[str, str]
    index: str


class KeyRing:
    """The centre's keys. The current one seals; older ones still open what they sealed.

    `index` makes the ids of persons and the secrets of reports. It never changes: another one would not know anyone.
    """

    def __init__(self, keys: Mapping[str, bytes], current: str, index: bytes) -> None:
        """Raises ValueError for a ring that cannot seal."""
        if current not in keys or not all(map(_KEY_ID.match, keys)):
            raise ValueError("the current key is not on the ring, or an id is not valid")
        if any(len(key) != KEY_BYTES for key in (*keys.values(), index)):
            raise ValueError(f"a key has not {KEY_BYTES} bytes")
        self._keys = dict(keys)
        self._current = current
        self._index = index

    def __repr__(self) -> str:
        """Names the keys and shows none, since whatever is logged may hold a ring."""
        return f"KeyRing({', '.join(self._keys)}; current {self._current})"

    def seal(self, plain: bytes, about: str) -> str:
        """Seals under the current key. `about` has to be said again to open it, so that it cannot be moved."""
        sealed = encrypt(self._keys[self._current], plain, about)
        return f"{self._current}.{base64.urlsafe_b64encode(sealed).decode()}"

    def open(self, sealed: str, about: str) -> bytes:
        """What was sealed. Raises CannotOpen."""
        key_id, dot, text = sealed.partition(".")
        key = self._keys.get(key_id)
        if key is None or not dot:
            raise CannotOpen("its key is not on the ring")
        try:
            raw = base64.b64decode(text, altchars=b"-_", validate=True)
        except ValueError as error:
            raise CannotOpen("it is not base64") from error
        return decrypt(key, raw, about)

    def seal_personal(self, personal: Personal, source: str, id_: str) -> str:
        """Seals the personal part of an event."""
        return self.seal(encode_personal(personal), event_identity(source, id_))

    def open_personal(self, sealed: str, source: str, id_: str) -> Personal:
        """The personal part of an event. Raises CannotOpen."""
        return decode_personal(self.open(sealed, event_identity(source, id_)))

    def wrap(self, key: bytes, person: str) -> str:
        """Seals a person's own key."""
        return self.seal(key, f"key\x1f{person}")

    def unwrap(self, wrapped: str, person: str) -> bytes:
        """A person's own key. Raises CannotOpen."""
        return self.open(wrapped, f"key\x1f{person}")

    def person_of(self, personal: Personal, source: str, id_: str, calling_code: str | None = None) -> str:
        """The pseudonym of whom it is about: the same for the same contact, however it is written.

        Who can be reached by phone, then Zalo, then e-mail is known again by it; who gives no contact is known by
        this event alone. `calling_code` is the country of phone numbers that begin with 0.
        """
        return self.token("person", _contact(personal, calling_code) or f"event:{event_identity(source, id_)}").hex()

    def pseudonym(
        self, personal: Personal, source: str, id_: str, calling_code: str | None = None, corrects: str | None = None
    ) -> dict[str, str]:
        """How an event names whom its personal part is about: `person`, or `author` who says nothing of themselves.

        An author is known by this one report alone; what `corrects` names is the report that an event corrects.
        """
        if personal.reporter is None and personal.plate is None:
            return {"author": self.person_of(personal, source, corrects or id_)}
        return {"person": self.person_of(personal, source, id_, calling_code)}

    def token(self, purpose: str, text: str) -> bytes:
        """32 bytes that only who has the ring can make of this text."""
        return hmac.digest(self._index, f"{purpose}\x1f{text}".encode(), hashlib.sha256)


def parse_key_ring(text: str) -> KeyRing:
    """Reads a file of keys. Raises OperatorError, which shows nothing of it."""
    return KeyRing(*_read(text))


def write_key_ring(index: bytes, keys: Mapping[str, bytes], current: str) -> str:
    """The text that `parse_key_ring` reads."""

    def text(key: bytes) -> str:
        return base64.b64encode(key).decode()

    file = _File(current=current, keys={key_id: text(key) for key_id, key in keys.items()}, index=text(index))
    return msgspec.json.format(msgspec.json.encode(file), indent=2).decode() + "\n"


def with_further_key(text: str, key: bytes) -> tuple[str, str]:
    """The text of a ring on which this key is the current one, and the key's id. Raises OperatorError."""
    keys, _, index = _read(text)
    key_id = str(1 + max((int(one) for one in keys if one.isascii() and one.isdecimal()), default=0))
    return write_key_ring(index, {**keys, key_id: key}, key_id), key_id


def _read(text: str) -> tuple[dict[str, bytes], str, bytes]:
    try:
        file = msgspec.json.decode(text, type=_File)
        keys = {key_id: base64.b64decode(key, validate=True) for key_id, key in file.keys.items()}
        index = base64.b64decode(file.index, validate=True)
        KeyRing(keys, file.current, index)
    except (ValueError, RecursionError):
        # What the decoders say may quote the text, so that the cause is left out of the traceback, too.
        raise OperatorError("The file of keys for personal data cannot be read.", _FIX) from None
    return keys, file.current, index


def encrypt(key: bytes, plain: bytes, about: str) -> bytes:
    """Nonce and ciphertext. The nonce is a keyed hash of all that goes in: it repeats only where all of it does."""
    bound = about.encode()
    nonce_key = hmac.digest(key, b"nonce", hashlib.sha256)
    nonce = hmac.digest(nonce_key, len(bound).to_bytes(8) + bound + plain, hashlib.sha256)[:_NONCE_BYTES]
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def decrypt(key: bytes, sealed: bytes, about: str) -> bytes:
    """What `encrypt` was given. Raises CannotOpen."""
    if len(sealed) < _NONCE_BYTES + _TAG_BYTES:
        raise CannotOpen("it is too short")
    try:
        return AESGCM(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], about.encode())
    except InvalidTag as error:
        raise CannotOpen("it was sealed under another key, or about something else") from error


def encode_personal(personal: Personal) -> bytes:
    """As it is sealed."""
    return msgspec.msgpack.encode(personal)


def decode_personal(plain: bytes) -> Personal:
    """What `encode_personal` has written. Raises CannotOpen."""
    try:
        return msgspec.msgpack.decode(plain, type=Personal)
    except msgspec.DecodeError as error:
        raise CannotOpen("it holds something else") from error


def kept_part(
    ring: KeyRing,
    *,
    source: str,
    id_: str,
    person: str | None,
    wrapped: str | None,
    sealed: bytes | None,
    as_it_came: str | None,
) -> Personal | None:
    """The personal part of an event from its row in `personal`, with `wrapped` from the person's in `person_key`.

    None for what was erased. Raises CannotOpen.
    """
    if as_it_came is not None:
        return ring.open_personal(as_it_came, source, id_)
    if sealed is None:
        return None
    if wrapped is None or person is None:
        raise CannotOpen("the person's key was destroyed")
    return decode_personal(decrypt(ring.unwrap(wrapped, person), sealed, event_identity(source, id_)))


def event_identity(source: str, id_: str) -> str:
    """What the personal part of an event is sealed to: no other event has it, whatever senders call theirs."""
    return pair_of(source, id_)


def holder_of(tracking: str) -> str:
    """The pseudonym of whoever holds a report's secret, by its hash, where nothing says who wrote the report."""
    return hashlib.sha256(f"holder\x1f{tracking}".encode()).hexdigest()


def is_masked(plate: str) -> bool:
    """Whether a plate came masked already, showing no more than `mask_plate` would leave."""
    return MASK in plate and sum(map(str.isalnum, plate)) <= PLATE_SHOWN_MAX


def mask_plate(plate: str) -> str:
    """A plate with its middle masked: `30A-123.45` becomes `30*-***.45`."""
    places = [index for index, character in enumerate(plate) if character.isalnum()]
    shown = min(PLATE_SHOWN_MAX, len(places) // 2)
    head = (shown + 1) // 2
    hidden = set(places[head : len(places) - (shown - head)])
    return "".join(MASK if index in hidden else character for index, character in enumerate(plate))


def _contact(personal: Personal, calling_code: str | None) -> str | None:
    if personal.plate is not None:
        return f"plate:{''.join(filter(str.isalnum, personal.plate)).upper()}"
    reporter = personal.reporter
    if reporter is None:
        return None
    return (
        (f"phone:{phone}" if (phone := normal_phone(reporter.phone or "", calling_code)) else None)
        or (f"zalo:{zalo}" if (zalo := (reporter.zalo or "").strip().casefold()) else None)
        or (f"mail:{mail}" if (mail := (reporter.email or "").strip().casefold()) else None)
    )


def normal_phone(phone: str, calling_code: str | None) -> str:
    """A number's digits with its country; empty where there are none. `0912 345 678` is `84912345678` in Vietnam."""
    digits = "".join(character for character in phone if character in "0123456789")
    if phone.strip().startswith("+"):
        return digits
    if digits.startswith("00"):
        return digits[2:]
    if digits.startswith("0") and calling_code is not None:
        return calling_code + digits[1:]
    return digits
