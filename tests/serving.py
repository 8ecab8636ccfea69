"""How does a test put an app behind a real socket?"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

START_WAIT_S = 30.0


def listener() -> socket.socket:
    """A socket on a free port of the loopback, so that an address is known before its app is made."""
    found = socket.socket()
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", 0))
    return found


def origin_of(bound: socket.socket) -> str:
    """The address that the socket's app is reached by."""
    return f"http://127.0.0.1:{bound.getsockname()[1]}"


@asynccontextmanager
async def serving(app: Any, bound: socket.socket | None = None, **options: Any) -> AsyncIterator[str]:
    """The app behind a socket; its origin."""
    bound = bound or listener()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, **options))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve([bound]))
    try:
        async with asyncio.timeout(START_WAIT_S):
            while not server.started:  # noqa: ASYNC110  # uvicorn offers no event
                await asyncio.sleep(0.01)
        yield origin_of(bound)
    finally:
        server.should_exit = True
        await task
        bound.close()
