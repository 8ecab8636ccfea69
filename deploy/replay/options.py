"""What do the words on the command line mean: a speed, a length of time, an address?"""

import re
from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlsplit

from deploy.replay.timeline import SPEED_MAX, SPEED_MIN
from schemas.errors import OperatorError

FASTEST = "max"
LEAD_MAX = timedelta(days=366)
_UNITS_S: Mapping[str, int] = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LENGTH = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


def parse_speed(text: str) -> float | None:
    """`60` is sixty times as fast as it happened; `max` (None) waits for nothing. Raises OperatorError."""
    if text == FASTEST:
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    # Compared this way round, so that "nan" is refused as well.
    if not SPEED_MIN <= speed <= SPEED_MAX:
        raise OperatorError(
            f"--speed {text!r} is not a speed.", f"Give {SPEED_MIN:g} to {SPEED_MAX:.0f}, or {FASTEST!r}."
        )
    return speed


def parse_length(text: str) -> timedelta:
    """`3h`, `1d12h`, `90s` or `0`. Raises OperatorError."""
    fix = f"Give a length such as 90s, 30m, 3h or 1d12h, at most {LEAD_MAX.days} days."
    if text == "0":
        return timedelta(0)
    if not _LENGTH.fullmatch(text):
        raise OperatorError(f"--lead {text!r} is not a length of time.", fix)
    parts = re.findall(r"(\d+(?:\.\d+)?)([dhms])", text)
    length_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    if length_s > LEAD_MAX.total_seconds():
        raise OperatorError(f"--lead {text!r} is too long.", fix)
    return timedelta(seconds=length_s)


def check_url(url: str) -> str:
    """The address of a centre, as it was given. Raises OperatorError."""
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise OperatorError(f"--url {url!r} is not an address.", "Give one such as http://127.0.0.1:8080.")
    return url
