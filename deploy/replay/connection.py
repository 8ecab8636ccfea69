"""How does a play run until it is over, or until someone ends it?"""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx

from deploy.replay.clock import Clock
from deploy.replay.sender import REQUEST_TIMEOUT_S, EventSender, Say, poster

CONNECTIONS_MAX = 16  # further requests wait for one to be free

T = TypeVar("T")


def run(address: str, play: Callable[[EventSender], Awaitable[T]], clock: Clock, say: Say) -> T | None:
    """Runs a play against the centre at `address`; None when SIGINT or SIGTERM ended it first."""
    return asyncio.run(_until_ended(address, play, clock, say))


async def _until_ended(address: str, play: Callable[[EventSender], Awaitable[T]], clock: Clock, say: Say) -> T | None:
    asked_to_end = False
    task = asyncio.current_task()
    assert task is not None

    def end() -> None:
        nonlocal asked_to_end
        asked_to_end = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    # The environment is read by deploy.settings alone, so a proxy named there is not taken.
    limits = httpx.Limits(max_connections=CONNECTIONS_MAX)
    try:
        async with httpx.AsyncClient(timeout=REQUEST_TIMEOUT_S, limits=limits, trust_env=False) as client:
            return await play(EventSender(poster(client, address), clock, say))
    except asyncio.CancelledError:
        # What is unanswered is not in the position, so the next run sends it again: nothing is lost by ending here.
        if asked_to_end:
            return None
        raise
