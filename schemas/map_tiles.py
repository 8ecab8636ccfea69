"""From where may maps take a picture under them, if from anywhere?

`[map]` of `site.toml`. Without it a map is drawn of what the centre itself has, and nothing is asked of anybody else.
"""

import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from schemas.errors import SiteError

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?\Z")
_PATH = re.compile(r"/[A-Za-z0-9/._~@{}?&=%+-]*\Z")
_PLACES = ("{z}", "{x}", "{y}")
_FIX = "Write it as https://tiles.example.vn/{z}/{x}/{y}.png."


class MapTiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tiles` is the address of a tile with {z}, {x} and {y}; `attribution` what its owner asks to be named as.

    `zoom_max` is the finest level that it has.
    """

    tiles: Annotated[str, Meta(max_length=512)]
    attribution: Annotated[str, Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f-\x9f]*\Z")]
    zoom_max: Annotated[int, Meta(ge=1, le=22)] = 19

    @property
    def origin(self) -> str:
        """What a page's policy has to allow: the scheme and the host."""
        parts = urlsplit(self.tiles)
        return f"{parts.scheme}://{parts.netloc}"


def check_tiles(given: MapTiles, mistake: Callable[[str, str], SiteError]) -> None:
    """Raises what `mistake` makes of a reason and a fix.

    The address goes into the policy that pages are sent with, so it holds no sign that could end a policy's word.
    """
    parts = urlsplit(given.tiles)
    if parts.scheme not in {"https", "http"}:
        raise mistake(f"{given.tiles!r} is no address of the web", _FIX)
    if _HOST.match(parts.netloc) is None:
        raise mistake(f"{given.tiles!r} has a host that cannot be used", f"Give one host for all tiles. {_FIX}")
    rest = given.tiles[len(parts.scheme) + len("://") + len(parts.netloc) :]
    if _PATH.match(rest) is None:
        raise mistake(f"{given.tiles!r} has a sign that an address cannot have", _FIX)
    found = re.findall(r"\{[^{}]*\}", rest)
    if sorted(found) != sorted(_PLACES) or rest.count("{") != len(_PLACES) or rest.count("}") != len(_PLACES):
        raise mistake(f"{given.tiles!r} does not have each of {', '.join(_PLACES)} once, and nothing else", _FIX)
