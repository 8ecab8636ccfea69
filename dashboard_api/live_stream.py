"""How do messages travel where WebSocket is blocked, but an answer may go on and on?

As Server-Sent Events. Each has the position as its id, so that a browser that lost the stream goes on where it was by
itself. The stream ends after a while, which also ends those whose other end has silently gone.

Source: the HTML Living Standard §9.2 (server-sent events).
"""

import asyncio
import contextlib

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dashboard_api import frames, metrics
from dashboard_api.live_client import ENDED, SIGN_IN_ENDED, TRY_AGAIN_LATER, End, LiveClient
from dashboard_api.messages import close_text, position_of
from dashboard_api.outgoing import Message
from dashboard_api.places import Places
from dashboard_api.subscription import Subscription

RETRY_MS = 1000
"""How soon a browser comes back by itself."""

LAST_WORDS_S = 1.0
"""How long a stream that ends waits for room to say why. Who reads nothing is then cut off."""

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A stream that ends may be cut off, and no other request is to be on its connection then.
    (b"connection", b"close"),
    # What proxies that gather answers have to be told.
    (b"x-accel-buffering", b"no"),
]


class EventStream(Response):
    """The answer to `GET /v1/live/events`. It gives its place back when it ends."""

    def __init__(self, client: LiveClient, wanted: Subscription, places: Places, *, stream_max_s: float) -> None:
        """Holds a place already."""
        super().__init__()
        self._client = client
        self._wanted = wanted
        self._places = places
        self._stream_max_s = stream_max_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends until the client has gone, or has to come anew."""

        async def tell(message: Message) -> None:
            await send({"type": "http.response.body", "body": message.once("event", event_of), "more_body": True})

        connection = frames.severable_of(scope)
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            await send({"type": "http.response.body", "body": b"retry: %d\n\n" % RETRY_MS, "more_body": True})
            end = await self._client.run(self._until_gone(receive), tell)
            last = b""
            if end is End.TOO_SLOW:
                metrics.CLOSED_SLOW_CLIENTS.inc()
                last = event_of(close_text(TRY_AGAIN_LATER, "too little was read; come again with your position"))
            elif end is End.SIGN_IN_ENDED:
                last = event_of(close_text(SIGN_IN_ENDED, ENDED))
            try:
                async with asyncio.timeout(LAST_WORDS_S):
                    await send({"type": "http.response.body", "body": last, "more_body": False})
            except TimeoutError:
                connection.abort()
        finally:
            # The server closes it, but first lets the client take what was written, without end.
            asyncio.get_running_loop().call_later(frames.CLOSE_LINGER_S, connection.abort)
            self._places.give_back()

    async def _until_gone(self, receive: Receive) -> None:
        self._client.subscribe(self._wanted)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._stream_max_s):
                while (await receive())["type"] != "http.disconnect":
                    pass


def event_of(text: str) -> bytes:
    """A message as one event. A line break can only stand between JSON's parts, where a space does as well."""
    line = text.replace("\r", " ").replace("\n", " ")
    position = position_of(text)
    mark = "" if position is None else f"id: {position}\n"
    return f"{mark}data: {line}\n\n".encode()
