"""How does an event cross a wire?

On the log an event is a CloudEvents JSON object in structured mode. The sender's own bytes are kept, so
attributes this version does not know travel on; what the centre adds is appended before the closing brace.

Source: CloudEvents 1.0 JSON format §2–3, Kafka protocol binding §3.3.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from schemas.errors import InvalidEvent, Reason
from schemas.event import EVENT_BYTES_MAX, SEAL_BYTES_MAX, SENT_TYPES, TIME_END_S, AnyEvent

CONTENT_TYPE = "application/cloudevents+json"

_decoder: msgspec.json.Decoder[AnyEvent] = msgspec.json.Decoder(AnyEvent)
_list_decoder: msgspec.json.Decoder[list[AnyEvent]] = msgspec.json.Decoder(list[AnyEvent])
_TIME_START = datetime.fromtimestamp(0, UTC)
_TIME_END = datetime.fromtimestamp(TIME_END_S, UTC)
_YEAR_SURE_FIRST = _TIME_START.year + 1
_YEAR_SURE_END = _TIME_END.year - 1
"""A local time in these years lies in between, whatever its offset. Telling the year is ten times as fast."""
NESTING_MAX = 64
"""Objects and arrays within each other. A deeper event is refused."""

BRACKETS_LEAST = 2
"""Opening brackets of a valid event: its own and its data's."""

_FLATTEN = f"Flatten the data: at most {NESTING_MAX} objects and arrays within each other."
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_NUL = re.compile(rb"\\+(?=u0000)")
_SEPARATOR = re.compile(rb"\\+(?=u001[fF])")
_AT = re.compile(r"^(?P<detail>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"missing required field `(?P<name>[^`]*)`")


SEALED_BYTES_MAX = EVENT_BYTES_MAX + SEAL_BYTES_MAX
"""The size of an event on the log."""


def decode(raw: bytes, bytes_max: int = EVENT_BYTES_MAX) -> AnyEvent:
    """Reads one event from its JSON object. Raises InvalidEvent with the field, the reason and the fix."""
    _check_text(raw, len(raw), bytes_max)
    try:
        event = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError) as error:
        raise explain(error) from error
    check_time(event)
    return event


def decode_all(raws: Sequence[bytes]) -> list[AnyEvent]:
    """Reads many events as `decode` does, but in one go, which is nearly twice as fast.

    Each of `raws` must be one JSON value. Raises InvalidEvent when any of them is not a valid event; `decode` says
    which it is.
    """
    text = b"[%b]" % b",".join(raws)
    _check_text(text, max(map(len, raws), default=0), events=len(raws), wrapped=1)
    try:
        events = _list_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise explain(error) from error
    for event in events:
        if not _YEAR_SURE_FIRST <= event.time.year < _YEAR_SURE_END:
            check_time(event)
    return events


def is_plain(raws: Sequence[bytes]) -> bool:
    """Whether all records pass the checks that look at every byte: size, encoding, NUL. `decode_plain` has none."""
    try:
        # A line feed between them, so that no character can be made of the end of one and the start of the next.
        _check_text(b"\n".join(raws), max(map(len, raws), default=0), SEALED_BYTES_MAX, len(raws))
    except InvalidEvent:
        return False
    return True


decode_plain = _decoder.decode
"""Reads one event of which `is_plain` is known. Raises msgspec.DecodeError or RecursionError; checks no time."""


def explain(error: Exception) -> InvalidEvent:
    """Says what a decoder's error means to the sender: field, reason, detail and fix."""
    if isinstance(error, RecursionError):
        return InvalidEvent("$", Reason.NESTED_TOO_DEEP, "the JSON nests too deep", _FLATTEN)
    if isinstance(error, UnicodeDecodeError):
        return InvalidEvent("$", Reason.INVALID_UTF8, f"byte {error.start} is not UTF-8", "Encode the text as UTF-8.")
    if not isinstance(error, msgspec.ValidationError):
        return InvalidEvent("$", Reason.MALFORMED_JSON, str(error), "Send one JSON value as RFC 8259 has it.")
    match = _AT.match(str(error))
    detail, path = (match["detail"], match["path"] or "$") if match else (str(error), "$")
    field = path.removeprefix("$").removeprefix(".") or "$"
    if missing := _MISSING.search(detail):
        name = missing["name"] if field == "$" else f"{field}.{missing['name']}"
        return InvalidEvent(name, Reason.MISSING_FIELD, "the field is missing", f"Add `{name}`.")
    if "timezone" in detail:
        return InvalidEvent(field, Reason.NAIVE_TIME, "the time has no zone", "Append `Z` or an offset as `+07:00`.")
    if field == "type" and detail.startswith("Invalid value"):
        known = ", ".join(sorted(SENT_TYPES))
        return InvalidEvent(field, Reason.UNKNOWN_TYPE, detail, f"Use one of: {known}.")
    return InvalidEvent(field, Reason.INVALID_FIELD, detail, f"Correct `{field}`.")


def seal(raw: bytes, received_at: datetime, area_list: str | None) -> bytes:
    """Adds what the centre knows to a decoded event's own bytes: when it came in, and the list that its code is of.

    `raw` must have passed `decode`. `area_list` is None for an event without a code, which needs no list. A later key
    wins over an earlier one, so a sender cannot set these.
    """
    return raw.rstrip()[:-1] + seal_tail(received_at, area_list)


def seal_tail(received_at: datetime, area_list: str | None) -> bytes:
    """What `seal` puts in place of the closing brace; one for all events of a request with codes of one list."""
    stamp = received_at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00")
    if area_list is None:
        return b',"receivedat":"%bZ"}' % stamp.encode()
    return b',"receivedat":"%bZ","arealist":%b}' % (stamp.encode(), msgspec.json.encode(area_list))


def _check_text(
    text: bytes, event_bytes: int, bytes_max: int = EVENT_BYTES_MAX, events: int = 1, wrapped: int = 0
) -> None:
    """Raises InvalidEvent for what msgspec lets pass: size, and the text of attributes that it skips over."""
    if event_bytes > bytes_max:
        raise InvalidEvent(
            "$",
            Reason.TOO_LARGE,
            f"the event has {event_bytes} bytes",
            f"Send at most {bytes_max} bytes an event; put photos and files elsewhere and link them.",
        )
    # PostgreSQL text cannot hold NUL. One backslash is found faster than the escape, and most events have none.
    if b"\\" in text:
        if b"\\u0000" in text and _holds(_NUL, text):
            raise InvalidEvent("$", Reason.NUL_CHARACTER, "a string holds the NUL character", "Remove \\u0000.")
        # It separates the values of several dimensions: a word that holds it would forge those after its own.
        if b"\\u001" in text and _holds(_SEPARATOR, text):
            detail = "a string holds the separator U+001F"
            raise InvalidEvent("$", Reason.INVALID_FIELD, detail, "Remove \\u001f.")
    # How deep msgspec goes depends on Python's version and on who calls. A valid event has two brackets at least, so
    # with fewer in all than this none of them can be too deep, and the depth is seldom looked at.
    brackets = text.count(b"{") + text.count(b"[")
    if brackets > NESTING_MAX + BRACKETS_LEAST * (events - 1) and _depth(text) > NESTING_MAX + wrapped:
        raise InvalidEvent("$", Reason.NESTED_TOO_DEEP, "the JSON nests too deep", _FLATTEN)
    if text.isascii():
        return
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise explain(error) from error


def check_time(event: AnyEvent) -> None:
    """Raises InvalidEvent for a time that a table or a zone may not hold; `decode_plain` leaves it to its caller."""
    check_moment("time", event.time)
    if event.received_at is not None:
        check_moment("receivedat", event.received_at)


def check_moment(field: str, moment: datetime) -> None:
    """The same for one moment of an event, wherever in it."""
    if _YEAR_SURE_FIRST <= moment.year < _YEAR_SURE_END or _TIME_START <= moment < _TIME_END:
        return
    detail = f"{moment.isoformat()} is not in the years 1970 to 2199"
    raise InvalidEvent(field, Reason.INVALID_FIELD, detail, "Send a moment within them.")


def _holds(escape: re.Pattern[bytes], raw: bytes) -> bool:
    """Whether the escape stands in the JSON text as one, not behind an escaped backslash."""
    return any(len(found[0]) % 2 == 1 for found in escape.finditer(raw))


def _depth(text: bytes) -> int:
    """How many objects and arrays stand within each other at most; of any bytes, also of those that are no JSON."""
    depth = deepest = 0
    for token in _TOKEN.finditer(text):
        match token[0]:
            case b"{" | b"[":
                depth += 1
                deepest = max(deepest, depth)
            case b"}" | b"]":
                depth -= 1
            case _:
                pass
    return deepest
