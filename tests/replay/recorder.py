"""What does a centre get to see of a replay? A real HTTP server on loopback that writes down every batch.

A script says how it behaves: each entry is what the next request meets, and after the last one all is well.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

OK = "ok"
UNAVAILABLE = "503"
UNAVAILABLE_FOR_7_S = "503 with Retry-After: 7"
TOO_MANY = "429"
DROP_UNREAD = "hangs up before it takes the batch"
DROP_TAKEN = "takes the batch and hangs up without an answer"
STALL = "takes the batch and never answers"

_STATUS = {
    UNAVAILABLE: "503 Service Unavailable",
    UNAVAILABLE_FOR_7_S: "503 Service Unavailable",
    TOO_MANY: "429 Too",
}


@dataclass
class Recorder:
    """What came in, and what the next requests meet."""

    script: list[str] = field(default_factory=list)
    refuse: set[str] = field(default_factory=set)
    taken: list[dict[str, Any]] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    requests: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    url: str = ""

    @property
    def ids(self) -> list[str]:
        """Every id as it came, twice where it came twice."""
        return [event["id"] for event in self.taken]

    def by_case(self) -> dict[str, list[str]]:
        """The ids of each subject, in order of first arrival."""
        found: dict[str, list[str]] = {}
        for event in self.taken:
            ids = found.setdefault(event["subject"], [])
            if event["id"] not in ids:
                ids.append(event["id"])
        return found

    async def until_requests(self, count: int) -> None:
        """Returns when so many requests have come in."""
        async with self.changed:
            await self.changed.wait_for(lambda: self.requests >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side closes it."""
        try:
            while head := await self._head(reader):
                body = await reader.readexactly(int(head["content-length"]))
                assert head["content-type"] == "application/cloudevents-batch+json"
                if not await self._answer(body, writer):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _head(self, reader: asyncio.StreamReader) -> dict[str, str]:
        line = await reader.readline()
        if not line:
            return {}
        assert line.startswith(b"POST /v1/events "), line
        head: dict[str, str] = {}
        while (line := await reader.readline()).strip():
            name, _, value = line.decode().partition(":")
            head[name.lower()] = value.strip()
        return head

    async def _answer(self, body: bytes, writer: asyncio.StreamWriter) -> bool:
        behaviour = self.script.pop(0) if self.script else OK
        if behaviour in (OK, DROP_TAKEN, STALL):
            events = json.loads(body)
            self.batches.append(len(events))
            self.taken += [event for event in events if event["id"] not in self.refuse]
        self.requests += 1
        async with self.changed:
            self.changed.notify_all()
        if behaviour in (DROP_UNREAD, DROP_TAKEN):
            return False
        if behaviour == STALL:
            await asyncio.Event().wait()
        if behaviour == OK:
            await _reply(writer, "202 Accepted", self._results(json.loads(body)))
        else:
            extra = "Retry-After: 7\r\n" if behaviour == UNAVAILABLE_FOR_7_S else ""
            await _reply(writer, _STATUS[behaviour], b"{}", extra)
        return True

    def _results(self, events: Iterable[dict[str, Any]]) -> bytes:
        results: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            if event["id"] in self.refuse:
                refusal = {"field": "area", "reason": "unknown_area", "detail": "no such area", "fix": "Correct it."}
                results.append({"index": index, "id": event["id"], "status": "rejected", **refusal})
            else:
                results.append({"index": index, "id": event["id"], "status": "accepted"})
        return json.dumps({"accepted": 0, "rejected": 0, "results": results}).encode()


async def _reply(writer: asyncio.StreamWriter, status: str, body: bytes, extra: str = "") -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body)
    await writer.drain()


@asynccontextmanager
async def recording(script: Iterable[str] = (), refuse: Iterable[str] = ()) -> AsyncIterator[Recorder]:
    """A recorder that listens, with its address in `url`."""
    recorder = Recorder(script=list(script), refuse=set(refuse))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await recorder.serve(reader, writer)
        except asyncio.CancelledError:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
    recorder.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield recorder
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
