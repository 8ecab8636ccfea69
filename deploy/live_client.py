"""How does a program in Python follow the live feed, and what does it show then?

The reference client of docs/live-protocol.md: `LiveClient` brings messages, over a WebSocket or, where none gets
through, as a stream of events, and comes back with the last position after every loss; `Shown` is what they add up
to.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any, cast
from urllib.parse import urlencode

import httpx
import msgspec
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus

from schemas.credential import PACKED_LIVE_PROTOCOL
from schemas.errors import OperatorError

Message = dict[str, Any]

SILENT_AFTER_S = 10.0
"""A connection that says nothing for so long is given up. Heartbeats come every 2 s."""

RETRY_MIN_S, RETRY_MAX_S = 0.3, 10.0
"""Before the next attempt: later and later, and never at the same moment as all the others."""

SOCKETS_TRIED = 2
"""Sockets in a row that brought nothing; then a stream of events is tried, and then sockets again."""

SIGN_IN_ENDED = 4401

_LOST = (OSError, ConnectionClosed, InvalidHandshake, InvalidMessage, TimeoutError, httpx.HTTPError)


class Line(StrEnum):
    """By what messages come; or that none do, and another attempt is to be made."""

    SOCKET = "socket"
    EVENTS = "events"
    LOST = "lost"


class LiveClient:
    """Follows one wish, which is what `subscribe` has beside `op` and `position`."""

    def __init__(
        self,
        origin: str,
        wish: Mapping[str, Any],
        *,
        token: str | None = None,
        retry_min_s: float = RETRY_MIN_S,
        silent_after_s: float = SILENT_AFTER_S,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`origin` is as `http://127.0.0.1:8080`. Without a token one is told what everybody may see."""
        self._origin = origin.rstrip("/")
        self._wish = dict(wish)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._retry_min_s = retry_min_s
        self._silent_after_s = silent_after_s
        self._pause = pause
        self.position: str | None = None
        self.line = Line.LOST
        self.trouble = ""
        self._failed = 0
        self._attempts = 0

    async def messages(self) -> AsyncGenerator[Message]:
        """Messages without end, through all losses. Raises OperatorError when the sign-in does not hold."""
        while True:
            heard = False
            way = Line.EVENTS if self._failed % (SOCKETS_TRIED + 1) == SOCKETS_TRIED else Line.SOCKET
            try:
                async with contextlib.aclosing(self._socket() if way is Line.SOCKET else self._events()) as line:
                    async for message in line:
                        heard, self.line, self.trouble = True, way, ""
                        yield self._noted(message)
            except _LOST as error:
                _check_let_in(error)
                self.trouble = str(error) or type(error).__name__
            self.line = Line.LOST
            # A way that works is kept; one that brings nothing gives way.
            self._failed += not heard
            ceiling_s = min(RETRY_MAX_S, self._retry_min_s * 2**self._attempts)
            self._attempts = min(self._attempts + 1, 16)
            await self._pause(ceiling_s * random.uniform(0.5, 1.0))  # noqa: S311 - apart from others, no secret

    def _noted(self, message: Message) -> Message:
        if message["op"] == "snapshot" or message.get("resumed"):
            self._attempts = 0
        if message["op"] == "close":
            if message["code"] == SIGN_IN_ENDED:
                raise _not_let_in(message["reason"])
        elif message["op"] == "error":
            raise OperatorError(
                f"the centre refuses the wish: {message['field']}: {message['detail']}", message["fix"]
            )
        elif message.get("position"):
            self.position = message["position"]
        return message

    def _asked(self) -> dict[str, Any]:
        return {**self._wish, **({} if self.position is None else {"position": self.position})}

    async def _socket(self) -> AsyncGenerator[Message]:
        address = f"{self._origin.replace('http', 'ws', 1)}/v1/live"
        async with connect(
            address,
            additional_headers=self._headers,
            subprotocols=[cast("Any", PACKED_LIVE_PROTOCOL)],
            compression=None,
            max_size=None,
            proxy=None,
        ) as socket:
            await socket.send(msgspec.msgpack.encode({"op": "subscribe", **self._asked()}))
            while True:
                async with asyncio.timeout(self._silent_after_s):
                    frame = await socket.recv()
                yield msgspec.json.decode(frame) if isinstance(frame, str) else msgspec.msgpack.decode(frame)

    async def _events(self) -> AsyncGenerator[Message]:
        query = urlencode({"subscription": msgspec.json.encode(self._asked()).decode()})
        timeout = httpx.Timeout(self._silent_after_s)
        async with (
            httpx.AsyncClient(headers=self._headers, timeout=timeout, trust_env=False) as client,
            client.stream("GET", f"{self._origin}/v1/live/events?{query}") as answer,
        ):
            if answer.status_code == 422:
                problem = msgspec.json.decode(await answer.aread())
                raise OperatorError(f"the centre refuses the wish: {problem['detail']}", problem["fix"])
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    yield msgspec.json.decode(line.removeprefix("data: "))


def _check_let_in(error: Exception) -> None:
    """Raises OperatorError where coming again would help nothing."""
    if isinstance(error, ConnectionClosed) and error.rcvd is not None and error.rcvd.code == SIGN_IN_ENDED:
        raise _not_let_in(error.rcvd.reason)
    status = error.response.status_code if isinstance(error, (InvalidStatus, httpx.HTTPStatusError)) else 0
    if status in {401, 403}:
        raise _not_let_in(f"the centre answers {status}")


def _not_let_in(why: str) -> OperatorError:
    return OperatorError(f"the live feed is closed to this sign-in: {why}.", "Sign in anew, or give another token.")


class Shown:
    """What a client shows, as its messages add up. `values` are by KPI, area and bucket."""

    def __init__(self, points: int) -> None:
        """`points`: how many buckets of a series are shown; older ones are forgotten."""
        self._points = points
        self.values: dict[tuple[str, str], dict[int, Message]] = {}
        self.last_minutes: dict[tuple[str, str], int] = {}
        self.cases: dict[str, Message] = {}
        self.units: dict[str, Message] = {}
        self.sources: dict[str, Message] = {}
        self.event_ids: list[tuple[str, str]] = []
        self.feed: Message | None = None
        self.streams: Message | None = None
        self.database: Message | None = None

    def apply(self, message: Message) -> None:
        """Takes one message."""
        match message["op"]:
            case "snapshot":
                self._start(message)
            case "change":
                self._change(message)
            case "heartbeat":
                self.feed, self.streams = message["feed"], message["streams"]
                if self.feed is not None and self.feed["state"] != "away":
                    self.database = None
            case "status":
                self.database = message["database"]
            case _:
                pass

    def _start(self, message: Message) -> None:
        self.values = {(s["kpi"], s["area"]): {p["bucket"]: p for p in s["points"]} for s in message["series"]}
        self.last_minutes = {
            (s["kpi"], s["area"]): s["last_minute"] for s in message["series"] if s["last_minute"] is not None
        }
        self.event_ids = [_event_id(event) for event in message["events"]]
        self.sources = {source["id"]: source for source in message["sources"]}
        self.cases = {case["id"]: case for case in message.get("cases", ())}
        self.units = {unit["id"]: unit for unit in message.get("units", ())}

    def _change(self, message: Message) -> None:
        for value in message["values"]:
            key = (value["kpi"], value["area"])
            series = self.values.setdefault(key, {})
            # Of two for one bucket the one with the higher version holds; a snapshot's are as old as its position.
            if series.get(value["bucket"], {}).get("version", 0) <= value["version"]:
                series[value["bucket"]] = value
            self.last_minutes[key] = max(self.last_minutes.get(key, 0), value["last_minute"])
            for old in sorted(series)[: -self._points]:
                del series[old]
        self.event_ids += [_event_id(event) for event in message["events"]]
        self.sources |= {source["id"]: source for source in message["sources"]}
        if message.get("resumed") and "cases" in message:
            self.cases = {}
        for case in message.get("cases", ()):
            if self.cases.get(case["id"], {}).get("version", 0) <= case["version"]:
                self.cases[case["id"]] = case
        for gone in message.get("cases_gone", ()):
            self.cases.pop(gone, None)
        if message.get("resumed") and "units" in message:
            self.units = {}
        self.units |= {unit["id"]: unit for unit in message.get("units", ())}


def _event_id(item: Message) -> tuple[str, str]:
    return (item["event"]["source"], item["event"]["id"])
