"""How is the same frame handed to a thousand sockets?

An ASGI `send` for each of them costs a task's turn, a message's framing and a wait. What a server sends is not
masked, so a frame that is made once can be written to each socket as it is. The server gives the app a way to do
that: an extension of the connection's scope, beside `send`, which stays for all else.
"""

from collections.abc import Callable, MutableMapping
from typing import Any, Protocol, cast

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

EXTENSION = "ioc.frames"


class Outlet(Protocol):
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
    on_writable: Callable[[float], None] | None = None

    def handle_connect(self, event: Request) -> None:
        """Puts itself into the scope, which the app's task has not seen yet."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            cast("dict[str, Any]", self.scope)["extensions"][EXTENSION] = self

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


def outlet_of(scope: MutableMapping[str, Any]) -> Outlet:
    """The connection's outlet. Raises RuntimeError under a server that was not started as `SERVER_OPTIONS` says."""
    outlet: Outlet | None = scope.get("extensions", {}).get(EXTENSION)
    if outlet is None:
        raise RuntimeError("the live feed needs uvicorn with `**SERVER_OPTIONS` of dashboard_api.app")
    return outlet
