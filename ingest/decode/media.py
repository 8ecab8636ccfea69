"""How does a request wrap its events, and can it be read at all?

The media type alone decides: a batch, one event with its envelope, or bare data with the envelope in headers.

Source: CloudEvents 1.0 HTTP protocol binding §3.
"""

from collections.abc import Iterable
from enum import StrEnum

from schemas.errors import InvalidBody, Reason

Headers = Iterable[tuple[bytes, bytes]]
"""Header names in lower case with their values, as ASGI hands them over."""


class Mode(StrEnum):
    """The content modes of the HTTP protocol binding."""

    BATCHED = "batched"
    STRUCTURED = "structured"
    BINARY = "binary"


BATCHED = "application/cloudevents-batch+json"
STRUCTURED = "application/cloudevents+json"
BINARY = "application/json"
ACCEPTED = (BATCHED, STRUCTURED, BINARY)

_EXACT = {BATCHED.encode(): Mode.BATCHED, STRUCTURED.encode(): Mode.STRUCTURED}
_CHARSETS = ("utf-8", "utf8", "us-ascii")
_TYPES_FIX = f"Send {STRUCTURED}, {BATCHED}, or {BINARY} with the attributes in ce- headers."


def mode_of(headers: Headers) -> Mode:
    """Reads the content mode. Raises InvalidBody with Reason.UNSUPPORTED_MEDIA and the accepted types."""
    content_type: bytes | None = None
    has_attributes = False
    for name, value in headers:
        if name == b"content-type":
            if content_type is not None:
                raise _unsupported("the header Content-Type is given twice", "Send it once.")
            content_type = value
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            raise _unsupported(
                f"the content encoding {value.decode('latin-1')!r} is not supported", "Send the body uncompressed."
            )
        elif name.startswith(b"ce-"):
            has_attributes = True
    if content_type is None:
        raise _unsupported("the header Content-Type is missing", _TYPES_FIX)
    # Nearly every sender writes the media type without parameters.
    if mode := _EXACT.get(content_type):
        return mode
    return _mode_of_media_type(content_type.decode("latin-1"), has_attributes=has_attributes)


def _mode_of_media_type(content_type: str, *, has_attributes: bool) -> Mode:
    media_type, *parameters = (part.strip().lower() for part in content_type.split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _CHARSETS:
            raise _unsupported(f"the charset {value!r} is not supported", "Send UTF-8.")
    if media_type == BATCHED:
        return Mode.BATCHED
    if media_type == STRUCTURED:
        return Mode.STRUCTURED
    if media_type.startswith("application/cloudevents"):
        raise _unsupported(f"the event format {media_type!r} is not supported", _TYPES_FIX)
    if not has_attributes:
        raise _unsupported(f"{media_type!r} without ce- headers is not a CloudEvent", _TYPES_FIX)
    if media_type != BINARY:
        raise _unsupported(f"data of type {media_type!r} is not supported", f"Send the data as {BINARY}.")
    return Mode.BINARY


def _unsupported(detail: str, fix: str) -> InvalidBody:
    return InvalidBody("$", Reason.UNSUPPORTED_MEDIA, detail, fix)
