"""How do a thousand WebSocket clients listen without being what takes the time?

In a process of their own, by a protocol that reads frames and keeps when each message came. What many clients are
told is decoded once.
"""

import asyncio
import base64
import os
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import NamedTuple, cast

import msgspec
import uvloop
from msgspec import Struct

OPEN_AT_ONCE = 50
READY_S = 60.0
MASK = bytes(4)
"""What a client sends is masked; with zeros it stays as it is."""
MARKER = "response_max"
"""The KPI whose value is the number of the change."""
SEEN_MAX = 1_000


class Plan(Struct, frozen=True):
    """One client: its path, its token, what it says first, and which of the scopes it is."""

    path: str
    token: str | None
    wish: str | None
    scope: int


class Heard(NamedTuple):
    """A change has come to a client: the client's number, that of the change, and when, since the Unix epoch."""

    client: int
    number: int
    at_s: float


class _Value(Struct):
    kpi: str
    value: float | None = None


class _Message(Struct):
    op: str = ""
    values: list[_Value] = []


class Listeners:
    """All clients of this process."""

    def __init__(self) -> None:
        self.clients: list[Listener] = []
        self.heard: list[Heard] = []
        self.texts: dict[int, dict[int, bytes]] = {}
        self.lost = 0
        self._decoder = msgspec.json.Decoder(_Message)
        self._seen: dict[bytes, _Message] = {}

    def read(self, listener: "Listener", body: bytes) -> None:
        """A client has a message."""
        at_s = time.time()
        message = self._seen.get(body)
        if message is None:
            message = self._decoder.decode(body)
            if len(self._seen) >= SEEN_MAX:
                self._seen.clear()
            self._seen[body] = message
        if message.op == "heartbeat":
            return
        if not listener.ready.done():
            listener.ready.set_result(None)
            if message.op != "change":
                return
        numbers = [int(one.value) for one in message.values if one.kpi == MARKER and one.value is not None]
        if numbers:
            self.heard.append(Heard(listener.number, max(numbers), at_s))
            self.texts.setdefault(max(numbers), {})[listener.plan.scope] = body


class Listener(asyncio.Protocol):
    """One WebSocket client."""

    def __init__(self, listeners: Listeners, number: int, plan: Plan, host: str) -> None:
        self.number = number
        self.plan = plan
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._listeners = listeners
        self._host = host
        self._open = False
        self._buffer: bytes = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asks for the socket."""
        # uvloop's own class is none of asyncio's.
        transport = self._transport = cast("asyncio.Transport", transport)
        token = "" if self.plan.token is None else f"Authorization: Bearer {self.plan.token}\r\n"
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.plan.path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{token}\r\n".encode()
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Counts it: nobody should lose the server here."""
        self._listeners.lost += 1

    def data_received(self, data: bytes) -> None:
        """Takes whole frames."""
        data = self._buffer + data
        if not self._open:
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if not head.startswith(b"HTTP/1.1 101"):
                raise RuntimeError(head[:200].decode(errors="replace"))
            self._open = True
            if self.plan.wish is not None:
                self.send(0x81, self.plan.wish.encode())
        at = 0
        while len(data) - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(data[start : start + width]), start + width
            if start + size > len(data) or start > len(data):
                break
            body = data[start : start + size]
            if data[at] == 0x81:
                self._listeners.read(self, body)
            elif data[at] == 0x89:
                self.send(0x8A, body)
            at = start + size
        self._buffer = data[at:]

    def send(self, opcode: int, body: bytes) -> None:
        """Sends one frame."""
        assert self._transport is not None
        size = bytes([0x80 | len(body)]) if len(body) < 126 else bytes([0x80 | 126]) + len(body).to_bytes(2)
        self._transport.write(bytes([opcode]) + size + MASK + body)


def listen(pipe: Connection, port: int) -> None:
    """Does as it is told: adds clients, forgets what was heard, hands it over. Answers each word when it is done."""
    uvloop.run(_listen(pipe, port))


async def _listen(pipe: Connection, port: int) -> None:
    listeners = Listeners()
    while True:
        word, plans = await asyncio.to_thread(pipe.recv)
        match word:
            case "add":
                await _add(listeners, port, plans)
                pipe.send(len(listeners.clients))
            case "forget":
                listeners.heard, listeners.texts = [], {}
                pipe.send(None)
            case "tell":
                pipe.send((listeners.heard, listeners.texts, listeners.lost))
            case _:
                return


async def _add(listeners: Listeners, port: int, plans: Sequence[Plan]) -> None:
    loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(OPEN_AT_ONCE)

    async def one(plan: Plan) -> None:
        async with gate:
            listener = Listener(listeners, len(listeners.clients), plan, f"127.0.0.1:{port}")
            listeners.clients.append(listener)
            await loop.create_connection(lambda: listener, "127.0.0.1", port)
            async with asyncio.timeout(READY_S):
                await listener.ready

    await asyncio.gather(*map(one, plans))
