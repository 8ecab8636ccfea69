"""How is an answer sent that is the same for many and changes rarely?

Packed once, with a tag: whoever has it already is told so in a few bytes.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Callable, Hashable, Mapping

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

GZIP_BYTES_MIN = 512
"""A smaller body costs more to take apart than to send."""

GZIP_LEVEL_ASKED = 6
"""Of what somebody waits for; files that are read once at the start are packed as tight as can be."""


class Kept(Struct, frozen=True):
    """A body that is kept. `packed` is the same in gzip, where that is worth it."""

    body: bytes
    packed: bytes | None
    media_type: str
    etag: str


def keep(body: bytes, media_type: str, level: int = 9) -> Kept:
    """The body with its tag. `level` is how hard gzip tries, from 1 to 9."""
    packed = gzip.compress(body, level, mtime=0) if len(body) >= GZIP_BYTES_MIN else None
    if packed is not None and len(packed) >= len(body):
        packed = None
    return Kept(body, packed, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def serve(kept: Kept, request: Request, headers: Mapping[str, str]) -> Response:
    """The answer to a request for it; 304 for whoever has it."""
    sent = {**headers, "ETag": kept.etag, "Vary": "Accept-Encoding"}
    known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
    if kept.etag in known:
        return Response(status_code=304, headers=sent)
    if kept.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(kept.packed, media_type=kept.media_type, headers={**sent, "Content-Encoding": "gzip"})
    return Response(kept.body, media_type=kept.media_type, headers=sent)


class KeptFor:
    """Answers made of one thing, such as the areas of a site pack: when there is another thing, they are made anew.

    Beyond `entries_max` all are forgotten, and made again when they are asked for.
    """

    def __init__(self, media_type: str, entries_max: int) -> None:
        """Keeps nothing yet."""
        self._media_type = media_type
        self._entries_max = entries_max
        self._of: object = None
        self._kept: dict[Hashable, Kept] = {}

    async def get(self, of: object, key: Hashable, make: Callable[[], bytes]) -> Kept:
        """The answer of this key about `of`, made in a thread where it is not there yet."""
        if self._of is not of:
            self._of, self._kept = of, {}
        found = self._kept.get(key)
        if found is None:
            kept = self._kept
            found = await asyncio.to_thread(lambda: keep(make(), self._media_type, GZIP_LEVEL_ASKED))
            if len(kept) >= self._entries_max:
                kept.clear()
            kept[key] = found
        return found
