"""Does a connection end although its client takes nothing, and is what was written to it no longer held then?"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from dashboard_api import frames, live_stream
from dashboard_api.app import SERVER_OPTIONS
from dashboard_api.frames import close_within, outlet_of
from dashboard_api.live_client import End
from dashboard_api.live_stream import EventStream
from dashboard_api.outgoing import Message
from dashboard_api.places import Places
from dashboard_api.subscription import Subscription
from schemas.window import Tier
from tests.dashboard.centre import WAIT_S

BYTES = 30_000_000
"""More than the sockets of both ends hold."""

UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

App = Callable[[Scope, Receive, Send], Awaitable[None]]


@asynccontextmanager
async def mute(app: App, request: bytes) -> AsyncGenerator[uvicorn.Server]:
    """A client of this app that asks, and reads nothing."""
    config = uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1, **SERVER_OPTIONS)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as listener:
        task = asyncio.create_task(server.serve([listener]))
        try:
            with contextlib.closing(socket.create_connection(listener.getsockname())) as client:
                client.sendall(request)
                yield server
        finally:
            server.should_exit = True
            await task


async def until_cut(server: uvicorn.Server, done: asyncio.Event) -> None:
    """Returns when the server holds no connection any more, although its client is still there."""
    async with asyncio.timeout(WAIT_S):
        await done.wait()
        while server.server_state.connections:  # noqa: ASYNC110  # uvicorn offers no event
            await asyncio.sleep(0.01)


def much() -> bytes:
    """A frame that no socket holds."""
    return b"\x82\x7f" + BYTES.to_bytes(8) + bytes(BYTES)


@pytest.mark.parametrize("says_why", [True, False], ids=["closed with a reason", "its app just ends"])
async def test_a_socket_whose_client_takes_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, *, says_why: bool
) -> None:
    monkeypatch.setattr(frames, "CLOSE_LINGER_S", 0.1)
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        outlet_of(scope).write_frames([much()])
        if says_why:
            await close_within(websocket, 1013, "nothing was read")
        done.set()

    async with mute(app, UPGRADE) as server:
        await until_cut(server, done)


async def test_a_socket_that_answers_no_ping_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "CLOSE_LINGER_S", 0.1)
    done = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        outlet_of(scope).write_frames([much()])
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass
        done.set()

    monkeypatch.setitem(SERVER_OPTIONS, "ws_ping_interval", 0.1)
    monkeypatch.setitem(SERVER_OPTIONS, "ws_ping_timeout", 0.1)
    async with mute(app, UPGRADE) as server:
        await until_cut(server, done)


class SlowClient:
    """A live client that is told too much."""

    async def run(self, hear: Awaitable[None], tell: Callable[[Message], Awaitable[None]]) -> End:
        """As `LiveClient` does."""
        hearing = asyncio.ensure_future(hear)
        try:
            async with asyncio.timeout(0.1):
                while True:
                    await tell(Message('{"op":"' + "x" * 1_000_000 + '"}'))
        except TimeoutError:
            return End.TOO_SLOW
        finally:
            hearing.cancel()

    def subscribe(self, _: Subscription) -> None:
        """It is told the same whatever it wants."""


async def test_a_stream_of_events_that_nobody_reads_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "LAST_WORDS_S", 0.1)
    places, done = Places(1), asyncio.Event()
    assert places.take()
    wish = Subscription(kpis=(), areas=(), tier=Tier.DAY, points=1, events=0, sources=False)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        stream = EventStream(SlowClient(), wish, places, stream_max_s=WAIT_S)  # type: ignore[arg-type]
        await stream(scope, receive, send)
        done.set()

    # Cut off at once, and not after the time that a client has which takes something.
    async with mute(app, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as server:
        await until_cut(server, done)
    assert places.take()
