"""How is a file of the site pack read, and how is a mistake in it told?"""

import tomllib
from typing import Any, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from schemas.area import Zone
from schemas.errors import SiteError

_T = TypeVar("_T")


def check_zone(zone: Zone, file: str, where: str) -> None:
    """Raises SiteError for a time zone that is not known."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        fix = "Use an IANA name, as Asia/Ho_Chi_Minh."
        raise SiteError(file, where, f"time zone {zone!r} is not known", fix) from None


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text. Raises SiteError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SiteError(file, "TOML", str(error), "Correct the syntax.") from error


def convert(value: object, cls: type[_T], file: str, where: str) -> _T:
    """The value as a `cls`. Raises SiteError."""
    try:
        return msgspec.convert(value, cls)
    except msgspec.ValidationError as error:
        raise SiteError(file, where, str(error), f"See the fields of {cls.__name__} in the documents.") from error
