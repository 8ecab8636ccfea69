"""How does something run for as long as a test looks at it?"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from http.server import HTTPServer
from typing import TypeVar

from streams.outbound.log_channel import LogChannel
from streams.outbound.relay import Relay

_Server = TypeVar("_Server", bound=HTTPServer)


@asynccontextmanager
async def running(*senders: Relay | LogChannel) -> AsyncGenerator[None]:
    """What sends, as long as the context lasts; that it does not end by itself is checked."""
    stop = asyncio.Event()
    tasks = [asyncio.create_task(sender.run(stop)) for sender in senders]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        stop.set()
        await asyncio.gather(*tasks)


@contextmanager
def answering(server: _Server) -> Generator[_Server]:
    """A server of the standard library in a thread of its own, as long as the context lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
