"""Does a message really come from the centre, and has it come just now?

HMAC-SHA256 over the time and the body, as it travels: a receiver that has the secret knows both. A message that is
repeated later, by whoever has recorded it, is too old.
"""

import hashlib
import hmac
from enum import StrEnum

TIMESTAMP_HEADER = "Ioc-Timestamp"
SIGNATURE_HEADER = "Ioc-Signature"

REPLAY_WINDOW_S = 300
"""A message whose time is further away than this is refused. Each attempt is signed anew."""

_VERSION = "v1="


class Doubt(StrEnum):
    """Why a message is not believed."""

    MALFORMED = "malformed"
    OUTSIDE_WINDOW = "outside_window"
    WRONG = "wrong_signature"


def signature(secret: bytes, timestamp_s: int, body: bytes) -> str:
    """The value of SIGNATURE_HEADER; `timestamp_s` goes into TIMESTAMP_HEADER, in seconds since 1970."""
    return _VERSION + hmac.digest(secret, b"%d." % timestamp_s + body, hashlib.sha256).hex()


def doubt(secret: bytes, timestamp: str, given: str, body: bytes, now_s: float) -> Doubt | None:
    """Why a message with these two headers is not to be believed, or None. For receivers.

    Who also drops an Idempotency-Key that it has seen within the window takes nothing twice.
    """
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15):
        return Doubt.MALFORMED
    if not given.isascii() or not hmac.compare_digest(signature(secret, int(timestamp), body), given):
        return Doubt.WRONG
    return Doubt.OUTSIDE_WINDOW if abs(now_s - int(timestamp)) > REPLAY_WINDOW_S else None
