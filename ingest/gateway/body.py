"""Does a request's body come in whole, in time and within its bounds?

Bytes are counted as they come: a Content-Length may be absent, or lie.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from schemas.errors import DependencyUnavailable, InvalidBody, Reason

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_BYTES_MAX = 4 * 1024 * 1024
"""One request's body. A larger one is refused, before it is read where its length is declared."""

BODY_WAIT_S = 30.0
"""How long a body may take to come in. A slower one is refused, so that its connection does not stay open."""

BODIES_BYTES_MAX = 64 * 1024 * 1024
"""All bodies that are being read or judged. Beyond it a request is refused with DependencyUnavailable."""


class SenderGone(Exception):
    """The sender hung up before its body was complete: there is nobody to answer."""


class BodyReader:
    """Reads bodies, and keeps count of the bytes that all of them hold."""

    def __init__(
        self,
        body_bytes_max: int = BODY_BYTES_MAX,
        body_wait_s: float = BODY_WAIT_S,
        bodies_bytes_max: int = BODIES_BYTES_MAX,
    ) -> None:
        self._body_bytes_max = body_bytes_max
        self._body_wait_s = body_wait_s
        self._bodies_bytes_max = bodies_bytes_max
        self._held_bytes = 0

    async def read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        """Returns the body; `release` gives back its room.

        Raises InvalidBody, DependencyUnavailable or SenderGone, and then there is nothing to give back.
        """
        for name, value in headers:
            if name == b"content-length" and _declared(value) > self._body_bytes_max:
                raise self._too_large()
        pieces: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self._body_wait_s):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise SenderGone
                    piece: bytes = message.get("body", b"")
                    self._check_room(len(piece), size)
                    size += len(piece)
                    self._held_bytes += len(piece)
                    pieces.append(piece)
                    if not message.get("more_body", False):
                        return b"".join(pieces)
        except TimeoutError:
            self.release(size)
            raise self._too_slow() from None
        except BaseException:
            self.release(size)
            raise

    def release(self, size: int) -> None:
        """Gives back the room of a body that was read."""
        self._held_bytes -= size

    @property
    def held_bytes(self) -> int:
        """Bytes of all bodies that are not released."""
        return self._held_bytes

    def _check_room(self, more: int, size: int) -> None:
        """Raises when there is no room for `more` bytes of a body that holds `size`."""
        if size + more > self._body_bytes_max:
            raise self._too_large()
        if self._held_bytes + more > self._bodies_bytes_max:
            raise DependencyUnavailable("ingest", "too many bodies come in at once", retry_after_s=1)

    def _too_large(self) -> InvalidBody:
        return InvalidBody(
            "$",
            Reason.TOO_LARGE,
            f"the body has more than {self._body_bytes_max} bytes",
            "Send fewer events in one request.",
        )

    def _too_slow(self) -> InvalidBody:
        return InvalidBody(
            "$",
            Reason.SLOW_BODY,
            f"the body did not come in within {self._body_wait_s:g} s",
            "Send it again, in smaller pieces if the link is slow.",
        )


def _declared(content_length: bytes) -> int:
    """The declared length, or 0 where it says nothing. Longer numbers than this are no lengths."""
    return int(content_length[:18]) if content_length.isdigit() else 0
