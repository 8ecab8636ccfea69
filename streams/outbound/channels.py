"""How is one message handed to one receiver?

A channel tries once and says how it went. Whoever calls it decides when to try again.
"""

import asyncio
import contextlib
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx
from msgspec import Struct

from streams.store.outbox import Claimed, Message

SEND_TIMEOUT_S = 15.0
"""An attempt that takes longer has failed. It may have arrived all the same, so the next one has the same key."""

RETRY_AFTER_MAX_S = 24 * 60 * 60.0
"""A receiver that asks for a longer wait is asked again after this."""

IDEMPOTENCY_HEADER = "Idempotency-Key"

_TOO_BUSY = frozenset({408, 429})

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", re.ASCII)


class Failure(Struct, frozen=True, kw_only=True):
    """Why the receiver does not have it, or may not. `for_good`: another attempt would end like this one.

    `wait_s` is how long the receiver wants to be left alone, `status` what it answered by HTTP.
    """

    reason: str
    for_good: bool = False
    wait_s: float = 0.0
    status: int | None = None


Channel = Callable[[Claimed], Awaitable[Failure | None]]
"""Tries once; None when the receiver has the message. Ends within SEND_TIMEOUT_S or so."""


class Folder:
    """Files in a folder of this machine. A file is there whole or not at all, under the message's id."""

    def __init__(self, base: Path) -> None:
        """Targets that are not absolute lie in `base`."""
        self._base = base

    async def __call__(self, claimed: Claimed) -> Failure | None:
        """See Channel."""
        if _FILE_NAME.fullmatch(claimed.message.id) is None:
            return Failure(reason=f"the id {claimed.message.id!r} is not a file's name", for_good=True)
        if ".." in Path(claimed.message.target).parts:
            return Failure(reason="the target leads out of its folder", for_good=True)
        folder = self._base / claimed.message.target
        try:
            # A thread cannot be stopped, but nobody waits for a share on the network that has gone.
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await asyncio.to_thread(_write, folder, claimed.message, claimed.attempt)
        except TimeoutError:
            return Failure(reason=f"not written within {SEND_TIMEOUT_S:g} s")
        except (OSError, ValueError) as error:
            return Failure(reason=getattr(error, "strerror", None) or type(error).__name__)
        return None


def _write(folder: Path, message: Message, attempt: int) -> None:
    """Through a file with another name, so that nobody sees a part, not even after a loss of power."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f".{message.id}.*.part"):
        # Of an attempt whose process ended.
        left.unlink(missing_ok=True)
    part = folder / f".{message.id}.{attempt}.part"
    try:
        with part.open("xb") as file:
            file.write(message.body)
            file.flush()
            os.fsync(file.fileno())
        part.replace(folder / message.id)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    entry = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


class Webhook:
    """An HTTP POST of the body. The message's id goes along as a key, by which the receiver knows a repetition."""

    def __init__(self, timeout_s: float = SEND_TIMEOUT_S) -> None:
        """Connections are kept between messages until `close`."""
        self._timeout_s = timeout_s
        # A redirect is not followed: the body must not go where nobody has said that it may.
        self._client = httpx.AsyncClient(timeout=timeout_s, follow_redirects=False, trust_env=False)

    async def close(self) -> None:
        """Ends all connections."""
        await self._client.aclose()

    async def __call__(self, claimed: Claimed) -> Failure | None:
        """See Channel."""
        message = claimed.message
        headers = {
            "Content-Type": message.content_type,
            "User-Agent": "ioc-streaming",
            IDEMPOTENCY_HEADER: message.id,
        }
        failure, _ = await post(self._client, message.target, message.body, headers, self._timeout_s)
        return failure


async def post(
    client: httpx.AsyncClient,
    target: str,
    body: bytes,
    headers: Mapping[str, str],
    timeout_s: float = SEND_TIMEOUT_S,
    *,
    read_bytes: int = 0,
) -> tuple[Failure | None, bytes]:
    """One POST: what came of it, and at most so many bytes of what was answered."""
    try:
        # httpx bounds each step; this bounds all of them.
        async with (
            asyncio.timeout(timeout_s),
            client.stream("POST", target, content=body, headers=headers) as answer,
        ):
            said = b""
            # What it says beyond that is not read, however long it is.
            if read_bytes:
                async for chunk in answer.aiter_bytes():
                    said += chunk
                    if len(said) >= read_bytes:
                        break
            return _judged(answer), said[:read_bytes]
    except (TimeoutError, httpx.TimeoutException):
        return Failure(reason=f"no answer within {timeout_s:g} s"), b""
    except (httpx.InvalidURL, httpx.UnsupportedProtocol):
        return Failure(reason="the target is not an address", for_good=True), b""
    except httpx.HTTPError as error:
        return Failure(reason=type(error).__name__), b""


def _judged(answer: httpx.Response) -> Failure | None:
    status = answer.status_code
    if answer.is_success:
        return None
    reason = f"answered {status}"
    if answer.is_server_error or status in _TOO_BUSY:
        return Failure(reason=reason, wait_s=_retry_after_s(answer.headers.get("Retry-After", "")), status=status)
    return Failure(reason=reason, for_good=True, status=status)


def _retry_after_s(value: str) -> float:
    """Seconds to wait; a date, which the header may also hold, is left to our own backoff."""
    return min(float(value), RETRY_AFTER_MAX_S) if value.isascii() and value.isdecimal() else 0.0
