"""How is the same frame handed to a thousand sockets, and how does a connection end whose client takes nothing?

An ASGI `send` for each of them costs a task's turn, a message's framing and a wait. What a server sends is not
masked, so a frame that is made once can be written to each socket as it is. The server gives the app a way to do
that: an extension of the connection's scope, beside `send`, which stays for all else.

A server that closes a connection first waits until the client has taken all that was written to it, without end. So
the extension also says how to cut it off, and a socket whose app is done is cut off after a while.
"""

import asyncio
import contextlib
from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, cast

from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "ioc.frames"

_NO_EXTENSION = "the live feed needs uvicorn with `**SERVER_OPTIONS` of dashboard_api.app"

CLOSE_LINGER_S = 30.0
"""How long a connection that is to end waits for its client to take what was written. Then it is cut off."""


class Severable(Protocol):
    """A connection that need not wait for its client."""

    def abort(self) -> None:
        """Cuts the connection off now. What the client has not taken is gone, and no longer held."""
        ...


class Outlet(Severable, Protocol):
    """What frames are written to. `on_writable` is called when the client takes something again, with how long it
    had taken nothing, in seconds.
    """

    on_writable: Callable[[float], None] | None

    def write_frame(self, frame: bytes) -> bool:
        """Hands a whole frame to the socket, which keeps what does not go through at once. False: nothing was taken.

        It takes nothing once the connection ends, and while more than 64 KiB wait in it.
        """
        ...

    def write_frames(self, frames: list[bytes]) -> None:
        """Hands over several, also those after one that fills the socket. Ask `is_writable` before."""
        ...

    @property
    def is_writable(self) -> bool:
        """Whether a frame would be taken."""
        ...

    @property
    def blocked_s(self) -> float:
        """For how long the client has taken nothing although something waits in the socket; 0 when it is writable."""
        ...


class FrameProtocol(WebSocketsSansIOProtocol):
    """uvicorn's own WebSocket, with an `Outlet` in the scope."""

    _blocked_at_s: float | None = None
    _cut_off: asyncio.TimerHandle | None = None
    on_writable: Callable[[float], None] | None = None

    def handle_connect(self, event: Request) -> None:
        """Puts itself into the scope, which the app's task has not seen yet."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = self

    async def run_asgi(self) -> None:
        """Runs the app. The connection does not outlive it by long."""
        try:
            await super().run_asgi()
        finally:
            self._end_soon()

    def keepalive_timeout(self) -> None:
        """No ping was answered. The app hears of it when the connection ends, which is not left to the client."""
        super().keepalive_timeout()
        self._end_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self._cut_off is not None:
            self._cut_off.cancel()
        super().connection_lost(exc)

    def abort(self) -> None:
        """Cuts it off."""
        self.transport.abort()

    def _end_soon(self) -> None:
        if self._cut_off is None and not self.disconnected:
            self._cut_off = self.loop.call_later(CLOSE_LINGER_S, self.abort)

    def pause_writing(self) -> None:
        """The socket is full."""
        self._blocked_at_s = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        """There is room again."""
        waited_s, self._blocked_at_s = self.blocked_s, None
        super().resume_writing()
        if self.on_writable is not None:
            self.on_writable(waited_s)

    @property
    def is_writable(self) -> bool:
        """Whether a frame would be taken."""
        return self._blocked_at_s is None and not self.close_sent and not self.transport.is_closing()

    @property
    def blocked_s(self) -> float:
        """For how long the client has taken nothing."""
        return 0.0 if self._blocked_at_s is None else self.loop.time() - self._blocked_at_s

    def write_frame(self, frame: bytes) -> bool:
        """Writes it, or says that it cannot."""
        if self._blocked_at_s is not None or self.close_sent or self.transport.is_closing():
            return False
        self.transport.write(frame)
        return True

    def write_frames(self, frames: list[bytes]) -> None:
        """Writes them all, unless the connection ends."""
        if not self.close_sent and not self.transport.is_closing():
            for frame in frames:
                self.transport.write(frame)


class AnswerProtocol(HttpToolsProtocol):
    """uvicorn's own HTTP, with a `Severable` in the scope."""

    def on_message_begin(self) -> None:
        """Puts the connection into the scope of the request."""
        super().on_message_begin()
        # Not itself: the protocol holds the scope, and would be freed by the collector alone.
        cast("dict[str, Any]", self.scope)["extensions"] = {EXTENSION: _Connection(self.transport)}


class _Connection:
    """An HTTP connection."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def abort(self) -> None:
        """Cuts it off."""
        self._transport.abort()


async def close_within(websocket: WebSocket, code: int, reason: str) -> None:
    """Closes a socket for this reason, and cuts it off when the client does not take that in time."""
    try:
        with contextlib.suppress(WebSocketDisconnect):
            async with asyncio.timeout(CLOSE_LINGER_S):
                await websocket.close(code, reason)
    # Starlette says so of a socket that has been closed already.
    except RuntimeError:
        return
    except TimeoutError:
        outlet_of(websocket.scope).abort()


def severable_of(scope: MutableMapping[str, Any]) -> Severable:
    """The connection, to cut it off. Raises RuntimeError under a server not started as `SERVER_OPTIONS` says."""
    severable: Severable | None = scope.get("extensions", {}).get(EXTENSION)
    if severable is None:
        raise RuntimeError(_NO_EXTENSION)
    return severable


def outlet_of(scope: MutableMapping[str, Any]) -> Outlet:
    """The connection's outlet. Raises RuntimeError under a server that was not started as `SERVER_OPTIONS` says."""
    outlet: Outlet | None = scope.get("extensions", {}).get(EXTENSION)
    if outlet is None:
        raise RuntimeError(_NO_EXTENSION)
    return outlet
