"""How are commands given over a bad link, where a request's headers weigh more than what it says?

On a WebSocket at the address that they are posted to, for who signs in: whoever only shows the secret of a report
posts. Each message is what a request's body would be, judged by the same rules and for whoever the handshake's token
says at that moment; one is answered before the next one is read.
"""

import asyncio
import time
from collections import Counter

import msgspec
from msgspec import Struct
from starlette.types import Message, Receive, Scope, Send

from ingest.gateway import answer, metrics
from ingest.gateway.answer import Answer, RejectedResult
from ingest.gateway.commands import CommandResults, CommandsEndpoint
from ingest.gateway.rate import address_of
from schemas.credential import COMMANDS_PROTOCOL
from schemas.errors import AccessRefused, DependencyUnavailable, InvalidBody

SOCKETS_MAX = 2_000
"""Sockets of one process. A further one is closed with 1013, and its owner posts."""

SOCKETS_OF_ONE_MAX = 32
"""Sockets of one person at one address. A further one is closed with 1013: nobody takes all of a process."""

IDLE_S = 600.0
"""A socket on which nothing was said for so long is closed."""

SEND_TIMEOUT_S = 10.0
"""Whoever takes no answer for so long is not waited for: the connection ends, and gives its place back."""

TRY_AGAIN_LATER = 1013
NOT_LET_IN = 4401  # as on the live feed: who it was at the handshake may give no commands any more
IDLE = 1000

_encode = msgspec.json.Encoder().encode
_results = msgspec.json.Decoder(CommandResults)


class Told(Struct, frozen=True, omit_defaults=True):
    """The answer to message `n` of the connection, counted from 1. `results` are those of rejected commands alone."""

    n: int
    status: int
    results: list[RejectedResult] = []


class CommandSocket:
    """`WS /v1/commands`, plain ASGI."""

    def __init__(
        self,
        commands: CommandsEndpoint,
        sockets_max: int = SOCKETS_MAX,
        of_one_max: int = SOCKETS_OF_ONE_MAX,
        idle_s: float = IDLE_S,
    ) -> None:
        self._commands = commands
        self._sockets_max = sockets_max
        self._of_one_max = of_one_max
        self._idle_s = idle_s
        self._open: Counter[tuple[str, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection, from its handshake to its end."""
        # A page of another site may not give commands here either: the same check as of a request that writes.
        asked: Scope = {**scope, "method": "POST"}
        await receive()
        try:
            actor = await self._commands.sender_of(asked)
        except (AccessRefused, InvalidBody, DependencyUnavailable):
            actor = None
        # Anybody can make up a secret: whether a report has it is found out only when a command is decided.
        if actor is None or actor.tracking is not None:
            await send({"type": "websocket.close"})  # before the handshake: the server answers 403
            return
        protocol = COMMANDS_PROTOCOL if COMMANDS_PROTOCOL in scope.get("subprotocols", ()) else None
        await send({"type": "websocket.accept", "subprotocol": protocol})
        who = actor.id, address_of(scope)
        if self._open.total() >= self._sockets_max or self._open[who] >= self._of_one_max:
            await _close(send, TRY_AGAIN_LATER, "too many sockets; post commands instead")
            return
        self._open[who] += 1
        metrics.COMMAND_SOCKETS.inc()
        try:
            await self._serve(asked, receive, send)
        except OSError:
            return  # it has gone while it was answered, or took no answer in time
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]
            metrics.COMMAND_SOCKETS.dec()

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        number = 0
        while True:
            try:
                async with asyncio.timeout(self._idle_s):
                    message = await receive()
            except TimeoutError:
                await _close(send, IDLE, "nothing was said for long")
                return
            if message["type"] == "websocket.disconnect":
                return
            number += 1
            begun_s = time.perf_counter()
            reply = await self._reply(scope, message)
            await _tell(send, {"type": "websocket.send", "text": _text(number, reply).decode()})
            metrics.REQUESTS.labels(str(reply.status)).inc()
            metrics.REQUEST_SECONDS.observe(time.perf_counter() - begun_s)
            if reply.status in {401, 403}:
                await _close(send, NOT_LET_IN, "sign in and connect again")
                return

    async def _reply(self, scope: Scope, message: Message) -> Answer:
        text: str | None = message.get("text")
        body: bytes = message["bytes"] if text is None else text.encode(errors="replace")
        try:
            # Asked for each message: what the token and the site pack said at the handshake may no longer hold.
            actor = await self._commands.sender_of(scope)
            return await self._commands.take(body, actor)
        except InvalidBody as error:
            metrics.REFUSED.labels(error.reason.value).inc()
            return answer.for_invalid_body(error)
        except AccessRefused as error:
            return answer.for_access_refused(error)
        except DependencyUnavailable as error:
            return answer.for_unavailable(error)


def _text(number: int, reply: Answer) -> bytes:
    """What is said of a message: little where all is well, else what a request would have been answered with."""
    if reply.status != 202:
        return b'{"n":%d,%b' % (number, reply.body[1:])
    results = _results.decode(reply.body).results
    return _encode(Told(number, 202, [one for one in results if isinstance(one, RejectedResult)]))


async def _close(send: Send, code: int, reason: str) -> None:
    await _tell(send, {"type": "websocket.close", "code": code, "reason": reason})


async def _tell(send: Send, message: Message) -> None:
    """Raises TimeoutError, an OSError, where the client takes nothing."""
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await send(message)
