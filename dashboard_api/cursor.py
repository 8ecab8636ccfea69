"""How is a place in a list written as one word?

Clients send it back as it came. What they have changed is refused, never guessed at.
"""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from dashboard_api.refusal import RefusalReason, Refused

AS_IT_CAME = "Send `next` of the page before as it came."

YEARS = range(1970, 2200)
"""What is listed lies in these years."""

_EPOCH = datetime.fromtimestamp(0, UTC)


def encode_cursor(value: object) -> str:
    """A place in a list as one word."""
    return base64.urlsafe_b64encode(msgspec.json.encode(value)).decode().rstrip("=")


def decode_cursor(
    text: str,
    form: Any,  # noqa: ANN401  # it says what comes out
    field: str,
    fix: str = AS_IT_CAME,
) -> Any:  # noqa: ANN401
    """Reads what `encode_cursor` wrote. Raises Refused about the parameter `field`."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return msgspec.json.decode(raw, type=form)
    except (ValueError, RecursionError, msgspec.MsgspecError) as wrong:  # as binascii.Error and UnicodeError are
        raise unreadable(field, fix) from wrong


def to_us(at: datetime) -> int:
    """A moment in microseconds since the Unix epoch."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_us(at_us: int, field: str, fix: str = AS_IT_CAME) -> datetime:
    """The moment that `to_us` wrote. Raises Refused for one that no list has."""
    try:
        at = _EPOCH + timedelta(microseconds=at_us)
    except OverflowError:
        raise unreadable(field, fix) from None
    if at.year not in YEARS:
        raise unreadable(field, fix)
    return at


def unreadable(field: str, fix: str = AS_IT_CAME) -> Refused:
    """What is said of a cursor that nobody was given."""
    return Refused(field, RefusalReason.INVALID, "the cursor cannot be read", fix)
