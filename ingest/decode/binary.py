"""Which event do `ce-` headers and a bare JSON body make together?

The parts become one JSON object, so that every event on the log has the same shape whatever mode it came in.

Source: CloudEvents 1.0 HTTP protocol binding §3.1.
"""

import re
from urllib.parse import unquote_to_bytes

import msgspec

from ingest.decode.media import Headers
from schemas import codec
from schemas.errors import InvalidBody, InvalidEvent, Reason

_NAME = re.compile(r"[a-z0-9]+\Z")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_BOOLEANS = {"true": True, "false": False}
_BOOLEAN_ATTRIBUTES = frozenset({"exercise"})
_ELSEWHERE = {
    "data": "Send the data as the body.",
    "datacontenttype": "Say it in the header Content-Type.",
}

_raw_decoder = msgspec.json.Decoder(msgspec.Raw)


def compose(headers: Headers, body: bytes) -> bytes:
    """Builds the structured JSON object. Raises InvalidEvent for a header, InvalidBody for data that is not JSON."""
    attributes: dict[str, str | bool] = {}
    for header, value in headers:
        if not header.startswith(b"ce-"):
            continue
        name = header[3:].decode("latin-1")
        if not _NAME.match(name):
            raise InvalidEvent(
                name,
                Reason.INVALID_FIELD,
                "the attribute's name is not valid",
                "Use only the letters a-z and digits.",
            )
        if fix := _ELSEWHERE.get(name):
            raise InvalidEvent(name, Reason.INVALID_FIELD, f"the header ce-{name} has no meaning", fix)
        if name in attributes:
            raise InvalidEvent(name, Reason.INVALID_FIELD, f"the header ce-{name} is given twice", "Send it once.")
        text = _text(name, value)
        # Headers know only strings; CloudEvents 1.0 §2.2 writes a Boolean as `true` or `false`.
        attributes[name] = _BOOLEANS.get(text, text) if name in _BOOLEAN_ATTRIBUTES else text
    envelope = msgspec.json.encode(attributes)
    # Without data the object is left without it, and the decoder says that it is missing.
    if not body.strip():
        return envelope
    # The body must be one JSON value by itself, or it could close the object and add attributes of its own.
    try:
        data = bytes(_raw_decoder.decode(body))
    except (msgspec.DecodeError, RecursionError) as error:
        why = codec.explain(error)
        raise InvalidBody("data", why.reason, why.detail, why.fix) from error
    return b'%b%b"data":%b}' % (envelope[:-1], b"," if attributes else b"", data)


def _text(name: str, value: bytes) -> str:
    """Undoes quoting, then percent-encoding (§3.1.3.2)."""
    value = value.strip(b" \t")
    if len(value) >= 2 and value[:1] == value[-1:] == b'"':
        value = _ESCAPED.sub(rb"\1", value[1:-1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeDecodeError as error:
        raise InvalidEvent(
            name,
            Reason.INVALID_UTF8,
            f"the header ce-{name} is not percent-encoded UTF-8",
            "Encode the text as UTF-8, then percent-encode what is not ASCII.",
        ) from error
